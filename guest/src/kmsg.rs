//! Words for people: the kernel's log where that can be written (it reaches the serial console), else standard error.
use std::io::Write;

/// One line. Failing to say something is no reason to fail.
pub fn log(text: &str) {
    // Half a million times a minute nobody reads it.
    if cfg!(fuzzing) {
        return;
    }
    if std::process::id() == 1 || std::env::args().any(|word| word == "--port" || word == "--vsock") {
        // Priority 4 (warning) passes `quiet`'s console level of 4 only from 3 downwards, so errors of the boot are said with 3.
        let priority = if std::process::id() == 1 { 3 } else { 6 };
        if write("/dev/kmsg", &format!("<{priority}>hearth-agent: {text}\n")).is_ok() {
            return;
        }
    }
    let _ = writeln!(std::io::stderr(), "hearth-agent: {text}");
}

/// A line for the host's driver, which reads the console: with the highest priority, so that it gets there whatever `quiet` or an init has
/// set, and without our name in front.
pub fn to_the_host(line: &str) {
    // The kernel's log can be closed to programs (`printk.devkmsg=off`).
    if write("/dev/kmsg", &format!("<0>{line}\n")).is_err() {
        let _ = write("/dev/console", &format!("\r\n{line}\r\n"));
    }
}

fn write(path: &str, text: &str) -> std::io::Result<()> {
    // One write: the kernel takes each for a record.
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}
