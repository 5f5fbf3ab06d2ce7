//! Words for people: the kernel's log where that can be written (it reaches the serial console), else standard error.
use std::io::Write;

/// One line. Failing to say something is no reason to fail.
pub fn log(text: &str) {
    // Half a million times a minute nobody reads it.
    if cfg!(fuzzing) {
        return;
    }
    if std::process::id() == 1 || std::env::args().any(|word| word == "--port" || word == "--keep") {
        // Priority 4 (warning) passes `quiet`'s console level of 4 only from 3 downwards, so errors of the boot are said with 3.
        let priority = if std::process::id() == 1 { 3 } else { 6 };
        if let Ok(mut kmsg) = std::fs::OpenOptions::new().write(true).open("/dev/kmsg") {
            let _ = kmsg.write_all(format!("<{priority}>hearth-agent: {text}\n").as_bytes());
            return;
        }
    }
    let _ = writeln!(std::io::stderr(), "hearth-agent: {text}");
}
