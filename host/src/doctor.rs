//! What this machine can do, one check a line, each with its remedy. (Checks follow below.)

pub(crate) mod programs;
