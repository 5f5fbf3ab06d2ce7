//! `make bench`: every figure that hearth promises, on this machine, beside its reference where that can run here, as one table.
//!
//! Needs the release binary (HEARTH_BIN), the images of `make setup` (HEARTH_IMAGES, a folder) and what the build embeds
//! (HEARTH_EMBED_DIR). Names of parts as arguments run only those: `overhead firecracker events commands scale idle sizes`. Every part starts a server
//! of its own on a temporary data directory. Times are of this machine: only ratios mean something elsewhere.

#[path = "bench/parts.rs"]
mod parts;

fn main() -> anyhow::Result<()> {
    parts::run()
}
