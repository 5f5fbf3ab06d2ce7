//! What a node does, through its commands, on simulated machines: one program, for each that links a node takes as long to compile as all of
//! these. What changes a whole process (`disk.rs`), or takes minutes (`every_step`), has a program of its own.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

mod gate;
#[path = "../support/lab.rs"]
mod lab;
mod slow_store;

mod aside;
mod between;
mod cancel;
mod effect_deadline;
mod fallen;
mod interfaces;
mod keys;
mod life;
mod names;
mod quarantine;
mod recovery;
mod settled;
mod supervision;
mod tune;
