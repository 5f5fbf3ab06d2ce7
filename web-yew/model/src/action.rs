//! Whether the server allows an action now, and its reason if not. Nothing is derived here: both come from `status`.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    Allowed,
    Refused(String),
}

impl Availability {
    pub fn of(action: &str, actions: &[String], refused: &BTreeMap<String, String>) -> Self {
        if actions.iter().any(|allowed| allowed == action) {
            return Availability::Allowed;
        }
        let reason = refused.get(action).cloned();
        Availability::Refused(reason.unwrap_or_else(|| format!("this server does not offer {action}")))
    }

    pub fn allowed(&self) -> bool {
        matches!(self, Availability::Allowed)
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Availability::Allowed => None,
            Availability::Refused(reason) => Some(reason),
        }
    }
}

/// How a VM may be deleted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    Plain,
    /// The server wants it stopped, and offers to stop it: deleting by force is offered, with what the server said.
    Force(String),
    Refused(String),
}

pub fn deletion(actions: &[String], refused: &BTreeMap<String, String>) -> Deletion {
    let stop = Availability::of("stop", actions, refused);
    match (Availability::of("delete", actions, refused), stop.allowed()) {
        (Availability::Allowed, false) => Deletion::Plain,
        (Availability::Allowed, true) => Deletion::Force("it runs and is ended at once".to_owned()),
        (Availability::Refused(reason), true) => Deletion::Force(reason),
        (Availability::Refused(reason), false) => Deletion::Refused(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_servers_reason_is_passed_on() {
        let refused = BTreeMap::from([("start".to_owned(), "it already runs".to_owned())]);
        assert_eq!(Availability::of("stop", &names(&["stop"]), &refused), Availability::Allowed);
        assert_eq!(Availability::of("start", &names(&["stop"]), &refused).reason(), Some("it already runs"));
        assert!(!Availability::of("fly", &names(&["stop"]), &refused).allowed());
    }

    #[test]
    fn a_running_vm_is_deleted_only_by_force() {
        let refused = BTreeMap::from([("delete".to_owned(), "stop it first".to_owned())]);
        assert_eq!(deletion(&names(&["delete"]), &BTreeMap::new()), Deletion::Plain);
        assert_eq!(deletion(&names(&["stop"]), &refused), Deletion::Force("stop it first".to_owned()));
        assert_eq!(deletion(&names(&[]), &refused), Deletion::Refused("stop it first".to_owned()));
        assert!(matches!(deletion(&names(&["stop", "delete"]), &BTreeMap::new()), Deletion::Force(_)));
    }
}
