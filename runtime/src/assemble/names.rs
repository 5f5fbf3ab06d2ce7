//! What a node is known by and whom it asks for names: the data directory's own id, the machine's name, its name servers.

use super::AssembleError;
use std::{io::Write, net::Ipv4Addr, path::Path};

/// Which hearth this is: made once per data directory, stands on everything that belongs to it.
pub(super) fn owner(data_dir: &Path) -> Result<String, AssembleError> {
    let path = data_dir.join("id");
    let file = |source| AssembleError::File { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) if is_owner(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => {
            let source = std::io::Error::other("it holds no id; restore it from a backup, or move it away when no VM runs");
            return Err(file(source));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file(error)),
    }
    let id = format!("{:08x}", rand::random::<u32>());
    let temporary = data_dir.join("id.new");
    let write = || -> std::io::Result<()> {
        let mut handle = std::fs::File::create(&temporary)?;
        handle.write_all(id.as_bytes())?;
        handle.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        std::fs::File::open(data_dir)?.sync_all()
    };
    write().map_err(file)?;
    Ok(id)
}

fn is_owner(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The host's own name servers, as guests can use them: one on the loopback is of no use to a guest.
pub(super) fn nameservers() -> Vec<Ipv4Addr> {
    let usable = |path: &str| -> Vec<Ipv4Addr> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let servers =
            text.lines().filter_map(|line| line.strip_prefix("nameserver ")).filter_map(|rest| rest.trim().parse().ok());
        servers.filter(|address: &Ipv4Addr| !address.is_loopback()).take(3).collect()
    };
    let found = usable("/etc/resolv.conf");
    // systemd-resolved keeps the real ones here.
    if found.is_empty() { usable("/run/systemd/resolve/resolv.conf") } else { found }
}

/// A host's name as a name of ours: what is not allowed in one becomes a dash.
pub(super) fn hostname() -> String {
    let raw = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let clean: String = raw
        .to_ascii_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' || letter == '-' { letter } else { '-' })
        .take(domain::name::NAME_MAX)
        .collect();
    let clean = clean.trim_matches(['.', '-']).to_owned();
    if clean.is_empty() { "host".to_owned() } else { clean }
}
