//! What the binary carries: the web console's files and the guest's agent, put in by the build script. Owns no serving.

/// One file of the console, with its compressed forms where they were made.
pub struct File {
    /// Relative, with `/`.
    pub name: &'static str,
    pub plain: &'static [u8],
    pub brotli: Option<&'static [u8]>,
    pub gzip: Option<&'static [u8]>,
    /// Of the content, without quotes.
    pub etag: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

pub const INDEX: &str = "index.html";
/// What Trunk and wasm-bindgen put before the extension has this many hexadecimal digits.
const HASH_DIGITS: usize = 16;

/// A file of the console by its name.
pub fn console(name: &str) -> Option<&'static File> {
    CONSOLE.binary_search_by(|file| file.name.cmp(name)).ok().map(|at| &CONSOLE[at])
}

/// The guest's agent, a static executable; `None` when it was not there at build time, and then no VM of the qemu driver can start.
pub fn agent() -> Option<&'static [u8]> {
    AGENT
}

impl File {
    /// Whether the name carries a hash of the content: `console-0123456789abcdef_bg.wasm`.
    pub fn is_hashed(&self) -> bool {
        let digits = |word: &str| word.len() == HASH_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.name.split(['-', '_', '.', '/']).any(digits)
    }

    pub fn content_type(&self) -> &'static str {
        match self.name.rsplit('.').next().unwrap_or_default() {
            "html" => "text/html; charset=utf-8",
            "js" | "mjs" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "wasm" => "application/wasm",
            "json" | "webmanifest" => "application/json",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "ico" => "image/x-icon",
            "woff2" => "font/woff2",
            "txt" | "LICENSE" => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_hashes_are_seen() {
        assert!(CONSOLE.is_sorted_by_key(|file| file.name));
        let file = |name| File { name, plain: b"", brotli: None, gzip: None, etag: "" };
        assert!(file("hearth-console-0123456789abcdef_bg.wasm").is_hashed());
        assert!(!file("vendor/xterm/xterm.mjs").is_hashed());
        assert_eq!(file("a/b.wasm").content_type(), "application/wasm");
    }
}
