//! Encodings for which a browser offers nothing that works on plain HTTP: base64url of a token, and random ids.

/// Base64url without padding. A token travels as a WebSocket subprotocol, where `+`, `/` and `=` are not allowed.
pub fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            out.push(DIGITS[(word >> (18 - 6 * digit)) as usize & 63] as char);
        }
    }
    out
}

/// A random UUID (RFC 9562 version 4) of 16 random bytes.
pub fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut out = String::with_capacity(36);
    for (at, byte) in random.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// One segment of a path or a value of a query: all but unreserved characters are escaped.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Bytes that arrive in pieces, as text: a character that is cut in two waits for its other half.
#[derive(Debug, Default)]
pub struct Utf8 {
    /// At most three bytes.
    pending: Vec<u8>,
}

impl Utf8 {
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let complete = match std::str::from_utf8(&self.pending) {
            Ok(_) => self.pending.len(),
            // Only an end that may still become a character is kept back.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.pending.len() - tail(&self.pending),
        };
        let rest = self.pending.split_off(complete);
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending = rest;
        text
    }
}

/// How many bytes at the end begin a character and do not end it.
fn tail(bytes: &[u8]) -> usize {
    let last = bytes.len().saturating_sub(3);
    (last..bytes.len())
        .find(|&at| std::str::from_utf8(&bytes[at..]).is_err_and(|e| e.error_len().is_none() && e.valid_up_to() == 0))
        .map_or(0, |at| bytes.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_may_arrive_in_halves() {
        let mut text = Utf8::default();
        assert_eq!(text.push(b"a\xe2\x82"), "a");
        assert_eq!(text.push(b"\xacb"), "€b");
        assert_eq!(text.push(b"\xff\xe2\x82"), "\u{fffd}");
        assert_eq!(text.push(b"\xac"), "€");
        assert_eq!(text.push(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn base64url_of_rfc_4648() {
        for (plain, encoded) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE")]
        {
            assert_eq!(base64url(plain.as_bytes()), encoded);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn uuid_says_its_version() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn segments_cannot_leave_their_place() {
        assert_eq!(segment("a/../b?c=d"), "a%2F..%2Fb%3Fc%3Dd");
        assert_eq!(segment("vm_01-x"), "vm_01-x");
    }
}
