//! The signature of a delivery: HMAC-SHA256 over id, time and body, as the Standard Webhooks convention has it, so that receivers find a
//! library that checks it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use host::secret::Secret;
use sha2::Sha256;

/// Stands before the base64 of a secret, so that a leaked one is recognised.
pub const SECRET_PREFIX: &str = "whsec_";
/// The convention's bounds.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// 256 bits, as many as the hash has.
pub fn new_secret() -> Secret {
    Secret::new(rand::random::<[u8; 32]>().to_vec())
}

/// # Errors
/// What is wrong with it, without repeating it.
pub fn parse_secret(text: &str) -> Result<Secret, &'static str> {
    let base64 = text.strip_prefix(SECRET_PREFIX).ok_or("must begin with whsec_")?;
    let bytes = STANDARD.decode(base64).map_err(|_| "must be base64 after whsec_")?;
    if SECRET_BYTES.contains(&bytes.len()) { Ok(Secret::new(bytes)) } else { Err("must stand for 24 to 64 bytes") }
}

/// For the one answer that tells it.
pub fn show_secret(secret: &Secret) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(secret.reveal()))
}

pub fn signature(secret: &Secret, id: &str, at_s: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal()).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{at_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the convention's specification, and the same computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn the_signature_is_the_conventions() {
        // Shorter than what is taken from users: the convention's own example is.
        let secret = Secret::new(STANDARD.decode("plJ3nmyCDGBKInavdOK15jsl").expect("base64"));
        let body = br#"{"event_type":"ping","data":{"success":true}}"#;
        let signed = signature(&secret, "msg_loFOjxBNrRLzqYUf", 1_731_705_121, body);
        assert_eq!(signed, "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
    }

    #[test]
    fn secrets_are_read_as_they_are_shown() {
        let secret = new_secret();
        assert_eq!(parse_secret(&show_secret(&secret)).as_ref(), Ok(&secret));
        for bad in ["", "whsec_", "whsec_!", "plJ3nmyCDGBKInavdOK15jsl", "whsec_c2hvcnQ=", &format!("whsec_{}", "A".repeat(88))] {
            assert!(parse_secret(bad).is_err(), "{bad}");
        }
    }
}
