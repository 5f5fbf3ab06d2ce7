//! What a release of Firecracker can and another can't.

/// A release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `1.16.1`.
    pub text: String,
    /// Absent where it tells none that can be read: then it is taken to be a new one.
    number: Option<(u32, u32)>,
}

impl Version {
    /// Of `1.16.1`, or `1.17.0-dev`.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split(|letter: char| !letter.is_ascii_digit());
        let mut part = || parts.next()?.parse().ok();
        let number = part().zip(part());
        Self { text: text.to_owned(), number }
    }

    /// The guest names what it frees all the time.
    pub fn has_free_page_reporting(&self) -> bool {
        self.number.is_none_or(|number| number >= (1, 14))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_not_said_to_an_old_one() {
        for (text, has) in
            [("1.16.1", true), ("1.14.0", true), ("1.13.2", false), ("1.8.0-dev", false), ("2.0.0", true), ("x", true)]
        {
            assert_eq!(Version::parse(text).has_free_page_reporting(), has, "{text}");
        }
    }
}
