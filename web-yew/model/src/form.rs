//! What forms make of text before the server judges it.

pub mod devices;
pub mod drives;
pub mod metadata;
pub mod networks;

use api::v1::{CloudInit, Labels, Password};

/// `tier=web owner=ops`: words by spaces or commas; one without `=` has an empty value.
pub fn labels(text: &str) -> Labels {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    words.map(|word| word.split_once('=').unwrap_or((word, ""))).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub fn labels_text(labels: &Labels) -> String {
    let word = |(key, value): (&String, &String)| if value.is_empty() { key.clone() } else { format!("{key}={value}") };
    labels.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// What a guest is given for its first boot: user data as it is, keys, one a line, and a password to be made. Nothing where none is there.
pub fn cloud_init(user_data: &str, ssh_keys: &str, password: bool) -> Option<CloudInit> {
    let lines = ssh_keys.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let given = CloudInit {
        user_data: Some(user_data.to_owned()).filter(|text| !text.trim().is_empty()),
        ssh_keys: lines.map(str::to_owned).collect(),
        password: password.then_some(Password::Generate),
    };
    (given != CloudInit::default()).then_some(given)
}

/// A private key must not leave the browser.
pub fn ssh_keys_hint(ssh_keys: &str) -> Option<&'static str> {
    ssh_keys.contains("PRIVATE KEY").then_some("That is a private key. Give the public one, which ends in .pub.")
}

/// A hint while typing. The rule itself is the server's; this catches only what is wrong under any rule of host names.
pub fn vm_name_hint(name: &str) -> Option<&'static str> {
    let wrong = name.chars().any(|c| c.is_uppercase() || c.is_whitespace() || c == '_');
    wrong.then_some("Use lower-case letters, digits and hyphens.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_there_and_back() {
        let parsed = labels("tier=web, owner=ops  spare x=a=b");
        assert_eq!(parsed.len(), 4);
        assert_eq!(parsed["spare"], "");
        assert_eq!(parsed["x"], "a=b");
        assert_eq!(labels(&labels_text(&parsed)), parsed);
    }

    #[test]
    fn a_first_boot_that_is_asked_for() {
        assert_eq!(cloud_init(" \n", "\n# mine\n", false), None);
        let asked = cloud_init("", "", true).map(|given| given.password);
        assert_eq!(asked, Some(Some(Password::Generate)));
        let given = cloud_init("#cloud-config\n", " ssh-rsa A b\r\n\nssh-rsa C d", false).unwrap();
        assert_eq!(given.user_data.as_deref(), Some("#cloud-config\n"), "as it is");
        assert_eq!(given.ssh_keys, ["ssh-rsa A b", "ssh-rsa C d"]);
        assert!(ssh_keys_hint("-----BEGIN OPENSSH PRIVATE KEY-----").is_some() && ssh_keys_hint("ssh-rsa A b").is_none());
    }

    #[test]
    fn a_hint_only_for_what_is_surely_wrong() {
        assert_eq!(vm_name_hint("web-01"), None);
        assert!(vm_name_hint("Web 01").is_some());
    }
}
