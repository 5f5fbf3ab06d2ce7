//! The bytes of netlink messages: writing one, walking through received ones. Native byte order, everything aligned to four (netlink(7)).

const HEADER: usize = 16;
const ALIGN: usize = 4;
/// Flags in an attribute's kind (nested, byte order) are not part of it.
const KIND_MASK: u16 = 0x3FFF;

pub struct Message(Vec<u8>);

impl Message {
    pub fn new(kind: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        Self(bytes)
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = (ALIGN + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        self
    }

    pub fn finish(mut self, flags: i32, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// Kind, sequence and body of each message in a datagram; ends at the first that can't be.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32_at(datagram, 0)? as usize;
        let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
        let sequence = u32_at(datagram, 8)?;
        let body = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind, sequence, body))
    })
}

/// Kind and value of each attribute; ends at the first that can't be.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & KIND_MASK;
        let value = bytes.get(ALIGN..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
