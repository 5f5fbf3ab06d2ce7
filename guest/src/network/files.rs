//! What programs read about the network: the hostname and the resolver's file.
use crate::kmsg;
use api::guest::NetworkConfig;
use std::{fs, path::Path};

const RESOLVER: &str = "/etc/resolv.conf";
const HOSTNAME: &str = "/etc/hostname";

/// What can't be written (a read-only root) is said and passed over: addresses work without.
pub fn write_files(config: &NetworkConfig) {
    if let Some(name) = &config.hostname {
        if let Err(error) = nix::unistd::sethostname(name) {
            kmsg::log(&format!("the hostname can't be set: {error}"));
        }
        // Else an init such as systemd would set the image's own again.
        replace(Path::new(HOSTNAME), &format!("{name}\n"));
    }
    if !config.dns.is_empty() {
        replace(Path::new(RESOLVER), &config.dns.iter().map(|server| format!("nameserver {server}\n")).collect::<String>());
    }
}

/// A link (to the file of a resolver daemon, say) is replaced as well: the host's word counts.
fn replace(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|now| now == text) {
        return;
    }
    if !path.parent().is_some_and(Path::is_dir) {
        return;
    }
    let _ = fs::remove_file(path);
    if let Err(error) = fs::write(path, text) {
        kmsg::log(&format!("{} can't be written: {error}", path.display()));
    }
}
