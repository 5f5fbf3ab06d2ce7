//! What a guest with cloud-init is given for its first boot, and the credentials that are told of it once.

use serde::{Deserialize, Serialize};
use std::fmt;

/// For cloud-init in the guest. The same VM is the same instance: what cloud-init does once, it does once in the VM's life.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CloudInit {
    /// `#cloud-config`, a script that begins with `#!`, or whatever else cloud-init reads; handed over as it is. At most 32 KiB. Who may read
    /// the VM may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Public keys for the image's default user, as in `authorized_keys`. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// A password for the image's default user. Absent: none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// Asked for with `generate`, shown as `set`. hearth keeps and hands over a hash of it; the password itself is told once, in `credentials`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Password {
    /// Have one made. Only until the VM is started for the first time: cloud-init sets passwords at a guest's first boot.
    Generate,
    /// One was made; in a PATCH: it stays.
    Set,
}

impl CloudInit {
    /// In one line, for people: how much there is, not what.
    pub fn words(&self) -> String {
        let data = self
            .user_data
            .as_ref()
            .map_or_else(|| "no user data".to_owned(), |data| format!("user data of {} bytes", data.len()));
        let s = if self.ssh_keys.len() == 1 { "" } else { "s" };
        let password = if self.password.is_some() { ", a password" } else { "" };
        format!("{data}, {} key{s}{password}", self.ssh_keys.len())
    }
}

/// What one answer tells and no other.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Credentials {
    /// `default`: the image's default user, by cloud-init's word for it. What it is called is the image's: `debian`, `ubuntu`, …
    pub user: String,
    /// Absent in the answer to a repetition by its Idempotency-Key: it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Where the password is absent: what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Credentials {
    /// For people, in one line.
    pub fn words(&self) -> String {
        match &self.password {
            Some(password) => format!("the password of the image's default user, shown this once: {password}"),
            None => self.hint.clone().unwrap_or_default(),
        }
    }
}

/// Without the password: answers are printed where something is wrong.
impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        out.debug_struct("Credentials").field("user", &self.user).field("password", &password).field("hint", &self.hint).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_the_document_and_not_in_what_is_printed() {
        let told = Credentials { user: "default".into(), password: Some("hunter2".into()), hint: None };
        assert_eq!(serde_json::to_string(&told).unwrap(), r#"{"user":"default","password":"hunter2"}"#);
        assert!(told.words().ends_with(": hunter2"));
        let printed = format!("{told:?} {told:#?}");
        assert!(!printed.contains("hunter2") && printed.contains("default"), "{printed}");
    }

    #[test]
    fn what_there_is_is_told_by_its_size() {
        let mut given = CloudInit { user_data: Some("secret".into()), ssh_keys: vec![String::new()], password: None };
        assert_eq!(given.words(), "user data of 6 bytes, 1 key");
        given.password = Some(Password::Set);
        assert_eq!(given.words(), "user data of 6 bytes, 1 key, a password");
        assert_eq!(CloudInit::default().words(), "no user data, 0 keys");
        let asked: CloudInit = serde_json::from_str(r#"{"password":"generate"}"#).unwrap();
        assert_eq!(asked.password, Some(Password::Generate));
        assert!(serde_json::from_str::<CloudInit>(r#"{"password":"hunter2"}"#).is_err());
    }
}
