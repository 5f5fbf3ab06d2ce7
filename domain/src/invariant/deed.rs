//! What is done to a machine, and the durable record that must explain it at that moment.

use super::Broken;
use crate::{
    Attempt, VmId,
    vm::{State, Vm},
};

/// Something that is just being done for a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed<'a> {
    PrepareDisk,
    Launch(Attempt),
    /// To a machine of that launch: let it run, pause, resume, end it.
    Touch(Attempt),
    /// Gives the interface.
    Attach(&'a str),
    Clean,
    RemoveDisk,
    /// Removes what belongs to no record.
    Sweep,
}

impl Deed<'_> {
    /// `record` is what the journal has on its disk now, whether or not anybody was told.
    pub fn check(self, vm: VmId, record: Option<&Vm>) -> Result<(), Broken> {
        let no = |detail: String| Err(Broken::NoReason { what: format!("{self:?} of {vm}"), detail });
        let record = match (self, record) {
            (Deed::Sweep, None) => return Ok(()),
            (Deed::Sweep, Some(record)) => return no(format!("its record is there, {}", record.state.name())),
            (_, None) => return no("there is no record".to_owned()),
            (_, Some(record)) => record,
        };
        let explained = match self {
            Deed::PrepareDisk | Deed::Clean | Deed::Sweep => true,
            Deed::Launch(attempt) => record.attempt >= attempt,
            // The machine's identity becomes durable under an attempt that follows its launch.
            Deed::Touch(launch) => record.attempt > launch,
            Deed::Attach(tap) => record.nics.iter().any(|nic| nic.tap == tap),
            Deed::RemoveDisk => record.state == State::Deleting,
        };
        if explained { Ok(()) } else { no(format!("the record is at attempt {}, {}", record.attempt.0, record.state.name())) }
    }
}
