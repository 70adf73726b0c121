//! Masking of client frames (RFC 6455 §5.3).

/// XORs `payload` in place with `key`, whose first byte falls on the payload's byte `offset` of the
/// frame. Masking and unmasking are the same operation.
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let key = u32::from_le_bytes(key).rotate_right(8 * (offset % 4) as u32);
    let double = u64::from(key) << 32 | u64::from(key);
    let wide = u128::from(double) << 64 | u128::from(double);
    let (words, rest) = payload.as_chunks_mut::<16>();
    for word in words {
        *word = (u128::from_le_bytes(*word) ^ wide).to_le_bytes();
    }
    let rest = match rest.split_first_chunk_mut::<8>() {
        Some((word, rest)) => {
            *word = (u64::from_le_bytes(*word) ^ double).to_le_bytes();
            rest
        }
        None => rest,
    };
    let rest = match rest.split_first_chunk_mut::<4>() {
        Some((word, rest)) => {
            *word = (u32::from_le_bytes(*word) ^ key).to_le_bytes();
            rest
        }
        None => rest,
    };
    for (byte, mask) in rest.iter_mut().zip(key.to_le_bytes()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..70 {
            for offset in 0..9 {
                let original: Vec<u8> = (0..length).map(|i| i as u8 ^ 0x5a).collect();
                let mut masked = original.clone();
                apply_mask(&mut masked, key, offset);
                let expected: Vec<u8> =
                    original.iter().enumerate().map(|(i, b)| b ^ key[(i + offset) % 4]).collect();
                assert_eq!(masked, expected, "length {length}, offset {offset}");
            }
        }
    }

    #[test]
    fn the_sample_of_the_specification() {
        // RFC 6455 §5.7: a single-frame masked text message that holds "Hello".
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply_mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }
}
