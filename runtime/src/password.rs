//! Passwords that hearth makes for guests: drawn here, told once by whoever asked for one, and nowhere kept. What is kept and given to a guest is
//! what `crypt(3)` makes of one.

use host::secret::Secret;
use rand::{TryRngCore, rngs::OsRng};
use sha_crypt::{ROUNDS_DEFAULT, Sha512Params, sha512_crypt_b64};

/// Without what is taken for something else (0 and o, 1, i and l), and in lower case: it may have to be typed at a serial console.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Of [`GROUP`] characters each: 25 characters of one in 31 are 123 bits.
const GROUPS: usize = 5;
const GROUP: usize = 5;
/// `crypt(3)` takes no more.
const SALT: usize = 16;
/// As `crypt(3)` has them.
const SALT_ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new password and its hash.
#[derive(Debug)]
pub struct Password {
    pub plain: Secret,
    /// `$6$SALT$HASH`, of SHA-512 in its default 5,000 rounds: more would be for passwords that people choose.
    pub hash: Box<str>,
}

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("the operating system gives no randomness for a password")]
    Random(#[source] rand::rand_core::OsError),
    #[error("a password can't be hashed")]
    Hash,
}

impl Password {
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn new() -> Result<Password, PasswordError> {
        let letters = draw(ALPHABET, GROUPS * GROUP)?;
        let groups: Vec<&[u8]> = letters.chunks(GROUP).collect();
        let plain = groups.join(&b'-');
        let salt = draw(SALT_ALPHABET, SALT)?;
        let hash = hash(&plain, &String::from_utf8_lossy(&salt))?;
        Ok(Password { plain: Secret::new(plain), hash })
    }

    /// For the one answer that tells it.
    pub fn reveal(&self) -> String {
        String::from_utf8_lossy(self.plain.reveal()).into_owned()
    }
}

fn hash(password: &[u8], salt: &str) -> Result<Box<str>, PasswordError> {
    let params = Sha512Params::new(ROUNDS_DEFAULT).map_err(|_| PasswordError::Hash)?;
    let hashed = sha512_crypt_b64(password, salt.as_bytes(), &params).map_err(|_| PasswordError::Hash)?;
    Ok(format!("$6${salt}${hashed}").into_boxed_str())
}

/// Each as likely as any other: a byte that would favour the first ones is drawn again.
fn draw(alphabet: &[u8], count: usize) -> Result<Vec<u8>, PasswordError> {
    let fair = 256 - 256 % alphabet.len();
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let mut bytes = [0; 64];
        OsRng.try_fill_bytes(&mut bytes).map_err(PasswordError::Random)?;
        let wanted = count - drawn.len();
        let fitting = bytes.into_iter().map(usize::from).filter(|byte| *byte < fair);
        drawn.extend(fitting.filter_map(|byte| alphabet.get(byte % alphabet.len())).take(wanted));
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Drepper's own examples: https://www.akkadia.org/drepper/SHA-crypt.txt, of the default rounds.
    #[test]
    fn the_hash_is_the_one_that_guests_know() {
        assert_eq!(
            &*hash(b"Hello world!", "saltstring").unwrap(),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
    }

    #[test]
    fn a_password_is_long_readable_and_its_hash_fits_it() {
        let bits = (GROUPS * GROUP) as f64 * (ALPHABET.len() as f64).log2();
        assert!(bits >= 100.0, "{bits}");
        assert_eq!(ALPHABET.iter().chain(SALT_ALPHABET).collect::<HashSet<_>>().len(), 64, "each once, and none of hash's own $");
        let (mut seen, mut letters) = (HashSet::new(), HashSet::new());
        for _ in 0..20 {
            let made = Password::new().unwrap();
            let plain = made.reveal();
            let groups: Vec<&str> = plain.split('-').collect();
            assert!(groups.len() == GROUPS && groups.iter().all(|group| group.len() == GROUP), "{plain}");
            assert!(!plain.contains(['0', 'o', '1', 'l', 'i']) && plain == plain.to_lowercase(), "{plain}");
            letters.extend(plain.bytes().filter(|byte| *byte != b'-'));
            let parts: Vec<&str> = made.hash.split('$').collect();
            let ["", "6", salt, _] = parts.as_slice() else { panic!("{}", made.hash) };
            assert_eq!((salt.len(), made.hash.len()), (SALT, 106));
            assert_eq!(hash(plain.as_bytes(), salt).unwrap(), made.hash);
            assert!(!format!("{made:?}").contains(&plain));
            assert!(seen.insert(plain) && seen.insert(made.hash.to_string()));
        }
        assert!(letters.len() > 25, "of 500 letters almost all kinds: {}", letters.len());
    }
}
