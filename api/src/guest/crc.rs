//! CRC-32 (IEEE 802.3, reflected), the check at the end of each frame. Not a protection against a liar, only against torn frames.

/// `TABLES[n][b]` is the CRC of byte `b` with `n` zero bytes after it: eight bytes take eight independent look-ups ("slicing by 8"), which
/// is four times faster in an emulated guest.
const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        tables[0][i] = value;
        i += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut i = 0;
        while i < 256 {
            let before = tables[n - 1][i];
            tables[n][i] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            i += 1;
        }
        n += 1;
    }
    tables
}

/// The CRC of `parts` one after another.
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    !parts.iter().fold(u32::MAX, |crc, part| update(crc, part))
}

fn update(mut crc: u32, bytes: &[u8]) -> u32 {
    let at = |n: usize, word: u32, shift: u32| TABLES[n][((word >> shift) & 0xFF) as usize];
    let mut eights = bytes.chunks_exact(8);
    for eight in &mut eights {
        let low = u32::from_le_bytes([eight[0], eight[1], eight[2], eight[3]]) ^ crc;
        let high = u32::from_le_bytes([eight[4], eight[5], eight[6], eight[7]]);
        crc = at(7, low, 0) ^ at(6, low, 8) ^ at(5, low, 16) ^ at(4, low, 24);
        crc ^= at(3, high, 0) ^ at(2, high, 8) ^ at(1, high, 16) ^ at(0, high, 24);
    }
    for byte in eights.remainder() {
        crc = (crc >> 8) ^ at(0, crc ^ u32::from(*byte), 0);
    }
    crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_published_check_value() {
        assert_eq!(super::crc32(&[b"1234", b"56789"]), 0xCBF4_3926);
        assert_eq!(super::crc32(&[b"123456789"]), 0xCBF4_3926);
    }
}
