//! Mounts: hearth makes none that stays, so none may be below its data directory.

use crate::{Finding, Kind, Target};
use anyhow::Result;
use std::{fs, path::Path};

pub fn check(target: &Target) -> Result<Vec<Finding>> {
    let data = fs::canonicalize(&target.data_dir)?;
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    // The directory itself may be a file system of its own.
    let below = points.map(plain).filter(|point| Path::new(point).starts_with(&data) && Path::new(point) != data);
    Ok(below.map(|point| Finding::new(Kind::OrphanMount, point)).collect())
}

/// The kernel writes a space as `\040`.
fn plain(point: &str) -> String {
    point.replace("\\040", " ")
}
