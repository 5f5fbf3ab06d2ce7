//! A VM: its record, what may be asked of it, and what happens next.
//!
//! ```text
//!           create            start              agent says hello
//!  (none) ---------> creating -> created -> starting ----------> running <-> pausing/paused/resuming
//!                       |           ^          | ^                  |
//!                       v           |          v | back-off         v
//!                     failed <------+------ stopping -> stopped <---+
//!                       |                      |
//!                       +---- deleting <-------+          then the record is gone
//! ```
//! Every path out of a run goes through `stopping`, whose last stage gives back what the run used; so cleaning up is a state, not a
//! destructor, and a crash in the middle of it repeats it.

pub mod actions;
pub mod cancel;
mod change;
pub mod devices;
pub mod drives;
pub mod effect;
pub mod hold;
pub mod input;
pub mod invariant;
pub mod nic;
pub mod spec;
pub mod state;
pub mod step;

pub use actions::{Action, admit, table};
pub use devices::{CloudInit, CpuTemplate, Devices, RateLimits, SSH_KEY_TYPES, USER_DATA_MAX};
pub use drives::{DRIVE_NAME_MAX, DRIVES_MAX, DiskSizes, Drive, DriveChange, DriveName, Drives, DrivesChange};
pub use effect::{Effect, Step};
pub use hold::Hold;
pub use input::{
    Agent, Change, Command, Exit, Finished, Input, Inspection, Observed, PasswordChange, RateLimitsChange, StopMode, Ticket,
    Timer,
};
pub use nic::{BadMac, Interface, Mac, NetworksChange};
pub use spec::{RestartPolicy, VmSpec};
pub use state::{
    BootImages, Driver, InFlight, Machine, MachineMemory, Nic, Reason, ReasonCode, Restarts, Starting, State, StopStage,
    Stopping, Then, Vm,
};
pub use step::{Draft, create, quarantine, step};
