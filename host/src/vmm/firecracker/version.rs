//! What a release of Firecracker can and another can't.

/// A release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `1.16.1`.
    pub text: String,
    /// Absent where it tells none that can be read: then it is taken to be a new one.
    number: Option<(u32, u32, u32)>,
}

impl Version {
    /// Of `1.16.1`, or `1.17.0-dev`.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split(|letter: char| !letter.is_ascii_digit());
        let mut part = || parts.next()?.parse().ok();
        let number = part().zip(part()).map(|(major, minor)| (major, minor, part().unwrap_or(0)));
        Self { text: text.to_owned(), number }
    }

    /// The guest names what it frees all the time.
    pub fn has_free_page_reporting(&self) -> bool {
        self.number.is_none_or(|number| number >= (1, 14, 0))
    }

    /// Memory can be given to a guest that runs (virtio-mem), and taken back. 1.14 and 1.15 had it as well, and left a guest what they took back, or
    /// did not give what they said (upstream's #5793).
    pub fn has_memory_hotplug(&self) -> bool {
        self.number.is_none_or(|number| number >= (1, 16, 0))
    }

    /// A guest that was paused and goes on can be connected to by vsock, as its agent is. These two wait after a bare pause for a word of the guest's
    /// that it has no reason to say (`pending_event_ack`; upstream's #6100).
    pub fn pauses_well(&self) -> bool {
        !matches!(self.number, Some((1, 16, 0 | 1)))
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

    #[test]
    fn memory_is_given_by_those_that_take_it_back() {
        for (text, has) in
            [("1.16.1", true), ("1.16.0", true), ("1.17.0-dev", true), ("1.15.2", false), ("1.13.2", false), ("x", true)]
        {
            assert_eq!(Version::parse(text).has_memory_hotplug(), has, "{text}");
        }
    }

    #[test]
    fn those_that_lose_the_agent_after_a_pause_are_known() {
        let ones = [("1.15.3", true), ("1.16.0", false), ("1.16.1", false), ("1.16.2", true), ("1.17.0-dev", true), ("x", true)];
        for (text, well) in ones {
            assert_eq!(Version::parse(text).pauses_well(), well, "{text}");
        }
    }
}
