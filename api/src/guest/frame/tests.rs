//! Property-style tests of the frame codec: seeded, so that a failure repeats.
use super::*;

/// splitmix64: good enough to vary inputs, and no dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn frame(&mut self) -> Frame {
        let kinds = [FrameKind::Control, FrameKind::Stdin, FrameKind::Stdout, FrameKind::Stderr, FrameKind::Credit];
        let len = match self.below(8) {
            0 => 0,
            1 => 250 + self.below(12),
            2 => self.below(MAX_PAYLOAD + 1),
            _ => self.below(600),
        };
        // Rich in zeros or free of them: the two ends of what COBS has to do.
        let zeros = self.below(3);
        let byte = |random: &mut Self| match zeros {
            0 => random.next() as u8,
            1 => (random.below(3) == 0) as u8,
            _ => random.next() as u8 | 1,
        };
        let payload = (0..len).map(|_| byte(self)).collect();
        Frame { kind: kinds[self.below(5)], stream: self.next() as u32, payload }
    }
}

fn decode(decoder: &mut Decoder, mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (taken, frame) = decoder.push(bytes);
        frames.extend(frame);
        bytes = &bytes[taken..];
    }
    frames
}

#[test]
fn any_frames_in_any_pieces_come_back() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let frames: Vec<Frame> = (0..1 + random.below(12)).map(|_| random.frame()).collect();
        let mut wire = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut wire).unwrap());
        let mut decoder = Decoder::new();
        let mut got = Vec::new();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            let piece = 1 + random.below(rest.len().min(5_000));
            got.extend(decode(&mut decoder, &rest[..piece]));
            rest = &rest[piece..];
        }
        assert!(got == frames, "seed {seed}");
        assert_eq!(decoder.dropped(), 0, "seed {seed}");
    }
}

#[test]
fn the_frame_after_half_a_frame_is_found() {
    for seed in 0..300 {
        let mut random = Random(1_000 + seed);
        let (torn, whole) = (random.frame(), random.frame());
        let mut wire = Vec::new();
        torn.encode(&mut wire).unwrap();
        // Short of its closing zero at least; a lost closing zero alone loses nothing.
        wire.truncate(random.below(wire.len() - 1));
        whole.encode(&mut wire).unwrap();
        assert!(decode(&mut Decoder::new(), &wire) == [whole], "seed {seed}");
    }
}

#[test]
fn garbage_gives_no_frame_and_hides_none() {
    for seed in 0..300 {
        let mut random = Random(2_000 + seed);
        let whole = random.frame();
        let len = random.below(3 * MAX_ENCODED);
        let mut wire: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        whole.encode(&mut wire).unwrap();
        assert!(decode(&mut Decoder::new(), &wire) == [whole], "seed {seed}");
    }
}

#[test]
fn a_flipped_bit_never_passes() {
    for seed in 0..300 {
        let mut random = Random(3_000 + seed);
        let frame = random.frame();
        let mut wire = Vec::new();
        frame.encode(&mut wire).unwrap();
        let at = random.below(wire.len());
        wire[at] ^= 1 << random.below(8);
        let got = decode(&mut Decoder::new(), &wire);
        // A flip in the zero before or after may leave the frame whole, but never changes it.
        assert!(got.is_empty() || got == [frame], "seed {seed}");
    }
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut decoder = Decoder::new();
    for _ in 0..64 {
        decoder.push(&[7; 8192]);
        assert!(decoder.encoded.len() <= MAX_ENCODED);
    }
    let mut wire = Vec::new();
    Frame::credit(3, 9).encode(&mut wire).unwrap();
    let frames = decode(&mut decoder, &wire);
    assert_eq!(frames[0].credit_amount(), Some(9));
    assert_eq!(decoder.dropped(), 1);
}

#[test]
fn the_largest_frame_fits_and_a_larger_one_is_refused() {
    for byte in [0, 1, 255] {
        let frame = Frame { kind: FrameKind::Stdout, stream: 1, payload: vec![byte; MAX_PAYLOAD] };
        let mut wire = Vec::new();
        frame.encode(&mut wire).unwrap();
        assert!(wire.len() - 2 <= MAX_ENCODED);
        assert!(decode(&mut Decoder::new(), &wire) == [frame]);
    }
    let long = Frame { kind: FrameKind::Stdout, stream: 1, payload: vec![0; MAX_PAYLOAD + 1] };
    assert_eq!(long.encode(&mut Vec::new()), Err(FrameError::TooLong { len: MAX_PAYLOAD + 1 }));
}
