//! Frames on a byte stream. Owns their encoding and finding them again after garbage; knows nothing of messages.
//!
//! A frame is `kind u8, stream u32 LE, payload, crc32 LE`, written by COBS (consistent overhead byte stuffing: no zero byte inside, one
//! byte more per 254), with a zero byte before and after. The zero before ends whatever half frame an earlier session left in the pipe.
//! A length prefix was rejected: half a frame would swallow the next session's hello as its payload, and escape from that needs a timer.
use super::crc::crc32;
use super::limits::MAX_PAYLOAD;

const HEADER: usize = 5;
const TRAILER: usize = 4;
const MAX_BODY: usize = HEADER + MAX_PAYLOAD + TRAILER;
/// One code byte per 254 bytes, rounded up, and one to begin with.
const MAX_ENCODED: usize = MAX_BODY + MAX_BODY / 254 + 1;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A JSON message; the stream is the request's id, 0 for what nobody asked for.
    Control = 1,
    /// Bytes for a process' standard input, or for who listens at a port; no bytes means its end.
    Stdin = 2,
    /// Bytes of a process' standard output or terminal, or of who listens at a port; no bytes means its end.
    Stdout = 3,
    /// Bytes of a process' standard error; no bytes means its end.
    Stderr = 4,
    /// u32 LE: the sender of data on this stream may send so much more.
    Credit = 5,
}

/// One frame, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: FrameKind,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// Why a frame cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("payload of {len} bytes is over the {MAX_PAYLOAD} that a frame takes; split it")]
    TooLong { len: usize },
}

impl Frame {
    /// A frame that raises the other end's credit.
    pub fn credit(stream: u32, bytes: u32) -> Self {
        Self { kind: FrameKind::Credit, stream, payload: bytes.to_le_bytes().to_vec() }
    }

    /// The amount in a credit frame; `None` when it is malformed.
    pub fn credit_amount(&self) -> Option<u32> {
        Some(u32::from_le_bytes(self.payload.as_slice().try_into().ok()?))
    }

    /// Appends the frame to `out`, with its zero bytes.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        encode(self.kind, self.stream, &self.payload, out)
    }
}

/// Appends a frame to `out`, with its zero bytes, without owning the payload.
pub fn encode(kind: FrameKind, stream: u32, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameError::TooLong { len: payload.len() });
    }
    let mut header = [kind as u8, 0, 0, 0, 0];
    header[1..].copy_from_slice(&stream.to_le_bytes());
    let crc = crc32(&[&header, payload]).to_le_bytes();
    out.reserve(payload.len() + payload.len() / 254 + HEADER + TRAILER + 4);
    out.push(0);
    let mut stuffer = Stuffer::new(out);
    stuffer.put(&header);
    stuffer.put(payload);
    stuffer.put(&crc);
    stuffer.finish();
    out.push(0);
    Ok(())
}

/// Writes COBS: each run of up to 254 bytes without a zero follows its length plus one.
struct Stuffer<'a> {
    out: &'a mut Vec<u8>,
    code_at: usize,
}

impl<'a> Stuffer<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        let code_at = out.len();
        out.push(0);
        Self { out, code_at }
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = 255 - (self.out.len() - self.code_at);
            let window = &bytes[..bytes.len().min(room)];
            match memchr::memchr(0, window) {
                Some(zero) => {
                    self.out.extend_from_slice(&window[..zero]);
                    bytes = &bytes[zero + 1..];
                    self.close_run();
                }
                None => {
                    self.out.extend_from_slice(window);
                    bytes = &bytes[window.len()..];
                    if self.out.len() - self.code_at == 255 {
                        self.close_run();
                    }
                }
            }
        }
    }

    fn close_run(&mut self) {
        self.finish();
        self.code_at = self.out.len();
        self.out.push(0);
    }

    fn finish(&mut self) {
        // A run is at most 255 long with its code, which the loop above keeps.
        self.out[self.code_at] = (self.out.len() - self.code_at) as u8;
    }
}

/// Finds frames in a byte stream. Never holds more than one frame; what is torn, too long or of an unknown kind is dropped and counted.
#[derive(Debug, Default)]
pub struct Decoder {
    encoded: Vec<u8>,
    overflowed: bool,
    dropped: u64,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pieces between zero bytes were no frame: half frames of earlier sessions, garbage, or kinds of a later generation.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes bytes up to the end of the next frame. Gives how many it took, all of them when no frame is complete yet. Call until all are
    /// taken.
    pub fn push(&mut self, bytes: &[u8]) -> (usize, Option<Frame>) {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            let Some(zero) = memchr::memchr(0, rest) else {
                self.keep(rest);
                return (bytes.len(), None);
            };
            self.keep(&rest[..zero]);
            taken += zero + 1;
            if let Some(frame) = self.finish() {
                return (taken, Some(frame));
            }
        }
        (taken, None)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.overflowed || self.encoded.len() + bytes.len() > MAX_ENCODED {
            self.overflowed = true;
            self.encoded.clear();
            return;
        }
        self.encoded.extend_from_slice(bytes);
    }

    fn finish(&mut self) -> Option<Frame> {
        // Two zero bytes in a row are the end of one frame and the start of the next.
        if self.encoded.is_empty() && !self.overflowed {
            return None;
        }
        let frame = if self.overflowed { None } else { unstuff(&self.encoded).and_then(parse) };
        if frame.is_none() {
            self.dropped += 1;
        }
        self.encoded.clear();
        self.overflowed = false;
        frame
    }
}

fn unstuff(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while at < encoded.len() {
        let code = usize::from(encoded[at]);
        let end = at + code;
        body.extend_from_slice(encoded.get(at + 1..end)?);
        if code < 255 && end < encoded.len() {
            body.push(0);
        }
        at = end;
    }
    Some(body)
}

fn parse(mut body: Vec<u8>) -> Option<Frame> {
    if body.len() < HEADER + TRAILER || body.len() > MAX_BODY {
        return None;
    }
    let crc = u32::from_le_bytes(body[body.len() - TRAILER..].try_into().ok()?);
    body.truncate(body.len() - TRAILER);
    if crc32(&[&body]) != crc {
        return None;
    }
    let kind = match body[0] {
        1 => FrameKind::Control,
        2 => FrameKind::Stdin,
        3 => FrameKind::Stdout,
        4 => FrameKind::Stderr,
        5 => FrameKind::Credit,
        _ => return None,
    };
    let stream = u32::from_le_bytes(body[1..HEADER].try_into().ok()?);
    body.drain(..HEADER);
    Some(Frame { kind, stream, payload: body })
}

#[cfg(test)]
mod tests;
