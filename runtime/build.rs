//! Puts the web console and the guest's agent into the binary: a table of `include_bytes!` over what the build left in
//! `target/embed` (or HEARTH_EMBED_DIR). What is not there is not put in, and the server says so when it is asked for it.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo gives no OUT_DIR"))?);
    let workspace =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| io::Error::other("cargo gives no manifest dir"))?);
    let default = workspace.parent().map(|root| root.join("target/embed")).unwrap_or_default();
    let dir = env::var_os("HEARTH_EMBED_DIR").map_or(default, PathBuf::from);
    println!("cargo::rerun-if-env-changed=HEARTH_EMBED_DIR");
    // A path that is missing makes cargo look again at each build, which is what is wanted: it may appear.
    println!("cargo::rerun-if-changed={}", dir.join("console").display());
    println!("cargo::rerun-if-changed={}", dir.join("hearth-agent").display());
    let mut files = BTreeMap::new();
    collect(&dir.join("console"), "", &mut files)?;
    let mut text = String::from("static CONSOLE: &[File] = &[\n");
    for (name, path) in &files {
        let compressed = |extension: &str| {
            let full = format!("{name}.{extension}");
            let plain_is_there = files.contains_key(&full);
            if plain_is_there { format!("Some(include_bytes!({:?}))", files[&full]) } else { "None".to_owned() }
        };
        // The compressed forms are no files of their own.
        let stem = name.strip_suffix(".br").or_else(|| name.strip_suffix(".gz"));
        if stem.is_some_and(|stem| files.contains_key(stem)) {
            continue;
        }
        println!("cargo::rerun-if-changed={}", path.display());
        let (brotli, gzip) = (compressed("br"), compressed("gz"));
        let etag = format!("{:016x}", fnv(&fs::read(path)?));
        let _ = writeln!(
            text,
            "    File {{ name: {name:?}, plain: include_bytes!({path:?}), brotli: {brotli}, gzip: {gzip}, etag: {etag:?} }},"
        );
    }
    text.push_str("];\n");
    let agent = dir.join("hearth-agent");
    if agent.is_file() {
        let _ = writeln!(text, "static AGENT: Option<&[u8]> = Some(include_bytes!({agent:?}));");
    } else {
        text.push_str("static AGENT: Option<&[u8]> = None;\n");
    }
    fs::write(out.join("embedded.rs"), text)
}

fn collect(dir: &Path, prefix: &str, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            println!("cargo::rerun-if-changed={}", entry.path().display());
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// FNV-1a: tells versions of a file apart, which is all that an ETag must; it guards nothing.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
