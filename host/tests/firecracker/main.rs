//! Firecracker's driver with real guests, jailed unless a test says otherwise. Needs root, a KVM on which guests boot, HEARTH_FIRECRACKER (and
//! HEARTH_JAILER, else the jailer beside it), HEARTH_IMAGES and HEARTH_AGENT (see `support/guests.rs`); without them each test says SKIPPED.
//! `make test-firecracker` finds all of it and, where guests don't boot, a machine where they do. Nothing here measures a time.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

mod adoption;
mod confinement;
#[path = "../support/contract.rs"]
mod contract;
#[path = "../support/guests.rs"]
mod guests;
mod lab;
mod life;
mod many;
mod memory;
mod metadata;
mod network;
mod ports;
mod rates;
#[path = "../support/real.rs"]
mod real;
#[path = "../support/seed.rs"]
mod seed;
mod several;
mod snapshot;
mod templates;
