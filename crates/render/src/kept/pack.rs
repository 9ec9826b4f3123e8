//! Packs one plane: the difference to the row above, folded so that small differences are small numbers, in blocks of
//! 32 at the width the largest of them needs. Chosen over an entropy coder because it runs at memory speed.

/// 32 residuals a block: one byte of width costs 3 %, and a block is 4 bytes for each bit of width.
const BLOCK: usize = 32;

fn fold(difference: u8) -> u8 {
    (difference << 1) ^ (0_u8.wrapping_sub(difference >> 7))
}

fn unfold(folded: u8) -> u8 {
    (folded >> 1) ^ (0_u8.wrapping_sub(folded & 1))
}

/// Appends `plane` of rows of `width` to `out`.
pub(super) fn plane(plane: &[u8], width: usize, out: &mut Vec<u8>) {
    let mut residuals = vec![0_u8; plane.len().next_multiple_of(BLOCK)];
    for (residual, value) in residuals.iter_mut().zip(&plane[..width]) {
        *residual = fold(value.wrapping_sub(128));
    }
    for ((residual, value), above) in residuals[width..].iter_mut().zip(&plane[width..]).zip(plane) {
        *residual = fold(value.wrapping_sub(*above));
    }
    for block in residuals.chunks_exact(BLOCK) {
        let bits = 8 - block.iter().fold(0, |all, value| all | value).leading_zeros() as usize;
        out.push(bits as u8);
        for eight in block.chunks_exact(8) {
            let mut word = 0_u64;
            for (i, &value) in eight.iter().enumerate() {
                word |= u64::from(value) << (i * bits);
            }
            out.extend_from_slice(&word.to_le_bytes()[..bits]);
        }
    }
}

/// Fills `plane` of rows of `width` from the start of `bytes`; what follows it is returned. `None`: not a packed plane.
pub(super) fn unplane<'a>(mut bytes: &'a [u8], width: usize, plane: &mut [u8]) -> Option<&'a [u8]> {
    let mut residuals = vec![0_u8; plane.len().next_multiple_of(BLOCK)];
    for block in residuals.chunks_exact_mut(BLOCK) {
        let (&bits, rest) = bytes.split_first()?;
        let bits = usize::from(bits);
        if bits > 8 {
            return None;
        }
        let (packed, rest) = rest.split_at_checked(bits * BLOCK / 8)?;
        bytes = rest;
        let mask = ((1_u32 << bits) - 1) as u8;
        if bits == 0 {
            continue;
        }
        for (eight, packed) in block.chunks_exact_mut(8).zip(packed.chunks_exact(bits)) {
            let mut word = [0; 8];
            word[..bits].copy_from_slice(packed);
            let word = u64::from_le_bytes(word);
            for (i, value) in eight.iter_mut().enumerate() {
                *value = (word >> (i * bits)) as u8 & mask;
            }
        }
    }
    let (first, others) = residuals.split_at(width);
    for (value, residual) in plane.iter_mut().zip(first) {
        *value = unfold(*residual).wrapping_add(128);
    }
    for (row, residuals) in (1..plane.len() / width).zip(others.chunks(width)) {
        let (above, below) = plane.split_at_mut(row * width);
        let above = &above[(row - 1) * width..];
        for ((value, above), residual) in below.iter_mut().zip(above).zip(residuals) {
            *value = unfold(*residual).wrapping_add(*above);
        }
    }
    Some(bytes)
}
