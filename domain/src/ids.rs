//! Typed ids: opaque to users, stable for life, prefixed by kind (`vm_01jd…`), sorted by the time they were made.
//!
//! Randomness is not drawn here: whoever makes an id hands over the 128 bits.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use ulid::Ulid;

/// Why a text is not an id of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct IdError;

fn parse(prefix: &str, text: &str) -> Result<u128, IdError> {
    let rest = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(IdError)?;
    if rest.len() != 26 || rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(IdError);
    }
    let ulid = Ulid::from_string(rest).map_err(|_| IdError)?;
    // 26 characters hold two bits more than an id has, and the decoder drops them: one id would have four texts.
    if ulid.to_string().eq_ignore_ascii_case(rest) { Ok(ulid.0) } else { Err(IdError) }
}

/// One newtype a kind; a function cannot declare types, hence the macro.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u128);

        impl $name {
            /// What an id of this kind begins with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// From the 128 bits of a ULID.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            pub const fn bits(self) -> u128 {
                self.0
            }

            /// The last ten characters: short enough for a device name (15 characters), 50 random bits.
            pub fn short(self) -> String {
                Ulid(self.0).to_string()[16..].to_ascii_lowercase()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, Ulid(self.0).to_string().to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse($prefix, text).map(Self)
            }
        }
    };
}

id!(
    /// A virtual machine.
    VmId,
    "vm"
);
id!(
    /// A machine that runs VMs.
    HostId,
    "host"
);
id!(
    /// A kernel or a root file system.
    ImageId,
    "img"
);
id!(
    /// Something that takes longer than a request.
    OperationId,
    "op"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = VmId::from_bits(0x0192_f0e1_d2c3_b4a5_9687_7869_5a4b_3c2d);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with("vm_"));
        assert_eq!(id.short().len(), 10);
    }

    #[test]
    fn another_kinds_id_is_refused() {
        let id = HostId::from_bits(7).to_string();
        assert_eq!(id.parse::<VmId>(), Err(IdError));
        for bad in ["", "vm_", "vm_0", "01jd", "vm_0000000000000000000000000U", "vm_80000000000000000000000000"] {
            assert_eq!(bad.parse::<VmId>(), Err(IdError), "{bad}");
        }
    }
}
