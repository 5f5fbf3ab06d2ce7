//! What forms make of network interfaces: one a line, its network, and the MAC that it is to have, if any.

use api::problem::Problem;
use api::v1::Interface;

/// A machine's interfaces in the guest's order. A third word goes out with the MAC, which the server refuses in its own words.
pub fn asked(text: &str) -> Vec<Interface> {
    let one = |line: &str| {
        let (network, mac) = line.split_once(char::is_whitespace).map_or((line, ""), |(network, mac)| (network, mac.trim()));
        Interface { network: network.to_owned(), mac: Some(mac.to_owned()).filter(|mac| !mac.is_empty()) }
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(one).collect()
}

/// As [`asked`] reads it.
pub fn text(interfaces: &[Interface]) -> String {
    let line = |Interface { network, mac }: &Interface| match mac {
        None => network.clone(),
        Some(mac) => format!("{network} {mac}"),
    };
    interfaces.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What to send to have them changed; nothing where they say the same.
pub fn changed(now: &str, before: &str) -> Option<Vec<Interface>> {
    let now = asked(now);
    (now != asked(before)).then_some(now)
}

/// What is wrong with them, or with one of them.
pub fn wrong(problem: Option<&Problem>) -> Option<&str> {
    let fields = problem.map(|problem| problem.fields.as_slice()).unwrap_or_default();
    fields.iter().find(|found| found.field.starts_with("spec.networks")).map(|found| found.detail.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_interface() {
        let asked = asked(" default \n\ndefault   02:00:00:00:00:01\n");
        let with = Interface { mac: Some("02:00:00:00:00:01".into()), .."default".into() };
        assert_eq!(asked, ["default".into(), with]);
        assert_eq!(super::asked(&text(&asked)), asked);
        assert_eq!(super::asked("default a b")[0].mac.as_deref(), Some("a b"), "not lost");
        assert_eq!((super::asked(" \n"), text(&[])), (vec![], String::new()));
    }

    #[test]
    fn only_what_changed_is_sent() {
        assert_eq!(changed("default\n\n default", "default\ndefault\n"), None, "blanks say nothing");
        assert_eq!(changed("default", "default\ndefault"), Some(vec!["default".into()]));
        assert_eq!((changed("", "default"), changed(" ", "")), (Some(vec![]), None));
    }
}
