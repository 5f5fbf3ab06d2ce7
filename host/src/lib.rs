//! The ports to the machine: VMMs, disks, images, networks, and what this machine can do.
//!
//! Everything that starts a process or opens a device is here, behind traits that the actors use. Nothing here decides what should
//! happen next; that is `domain`. What each call leaves behind when it fails or is dropped is said at the trait.

pub mod doctor;
pub mod facts;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod guest;
pub mod image;
pub mod net;
pub mod secret;
pub mod seed;
pub mod vmm;
