//! One thing that is wrong.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    OrphanProcess,
    LostProcess,
    OrphanDevice,
    LostDevice,
    OrphanRule,
    LostRule,
    OrphanMount,
    OrphanGroup,
    OrphanFile,
    LostFile,
    /// A VM that was acknowledged and is not there.
    LostVm,
    /// A VM whose deletion was acknowledged, or that nobody made.
    UnknownVm,
    /// A VM that is not in the state that was acknowledged.
    WrongState,
    /// An operation that was acknowledged and that nobody remembers.
    LostOperation,
    /// An operation that failed although nothing had happened that it may fail of.
    FailedOperation,
    /// An operation that does not end, a VM that does not come to rest.
    Unfinished,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::OrphanProcess => "orphan process",
            Kind::LostProcess => "lost process",
            Kind::OrphanDevice => "orphan network device",
            Kind::LostDevice => "lost network device",
            Kind::OrphanRule => "orphan rule",
            Kind::LostRule => "lost rule",
            Kind::OrphanMount => "orphan mount",
            Kind::OrphanGroup => "orphan cgroup",
            Kind::OrphanFile => "orphan file",
            Kind::LostFile => "lost file",
            Kind::LostVm => "lost VM",
            Kind::UnknownVm => "VM that should not be",
            Kind::WrongState => "wrong state",
            Kind::LostOperation => "lost operation",
            Kind::FailedOperation => "failed operation",
            Kind::Unfinished => "unfinished",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub what: String,
}

impl Finding {
    pub fn new(kind: Kind, what: impl Into<String>) -> Finding {
        Finding { kind, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.words(), self.what)
    }
}
