//! PID 1 of the initramfs: from the kernel's hand-over to the image's init. Owns no policy beyond the kernel command line's words.
//!
//! What can't be done without (the root) ends PID 1: the kernel panics, pvpanic tells the host, the console says why.
mod cmdline;
mod init;
mod modules;
mod mount;
mod root;

pub use cmdline::Cmdline;

use crate::{keeper, kmsg, network};
use std::process::ExitCode;

/// Returns only to end PID 1.
pub fn run() -> ExitCode {
    if let Err(error) = mount::kernel_filesystems() {
        kmsg::log(&format!("can't mount {error}"));
    }
    let text = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let cmdline = Cmdline::parse(&text);
    modules::load_all();
    let network = cmdline.network();
    let further = cmdline.further_networks();
    for error in network::configure_at_boot(network.iter().chain(&further)) {
        kmsg::log(&format!("the network can't be set up: {error}"));
    }
    if let Some(device) = cmdline.root() {
        if let Err(error) = root::enter(device, &cmdline) {
            kmsg::log(&format!("can't move into the root {device}: {error}"));
            return ExitCode::FAILURE;
        }
        mount::for_programs();
    }
    if let Some(config) = &network {
        network::write_files(config);
    }
    if cmdline.root().is_some()
        && let Some(program) = init::find(cmdline.init())
    {
        if let Err(error) = keeper::start(cmdline.machine()) {
            kmsg::log(&format!("the agent's keeper can't be started: {error}"));
        }
        let error = init::become_it(&program);
        kmsg::log(&format!("the image's init {program} can't be executed: {error}"));
        return ExitCode::FAILURE;
    }
    mount::for_ourselves_as_init();
    keeper::run(cmdline.machine())
}
