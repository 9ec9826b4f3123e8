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
        match bits {
            0 => {}
            1 => squeeze::<1>(block, out),
            2 => squeeze::<2>(block, out),
            3 => squeeze::<3>(block, out),
            4 => squeeze::<4>(block, out),
            5 => squeeze::<5>(block, out),
            6 => squeeze::<6>(block, out),
            7 => squeeze::<7>(block, out),
            _ => out.extend_from_slice(block),
        }
    }
}

/// One loop for each width, so that every shift is a constant.
fn squeeze<const BITS: usize>(block: &[u8], out: &mut Vec<u8>) {
    for eight in block.chunks_exact(8) {
        let mut word = 0_u64;
        for (i, &value) in eight.iter().enumerate() {
            word |= u64::from(value) << (i * BITS);
        }
        out.extend_from_slice(&word.to_le_bytes()[..BITS]);
    }
}

fn expand<const BITS: usize>(packed: &[u8], block: &mut [u8]) {
    let mask = ((1_u32 << BITS) - 1) as u8;
    for (eight, packed) in block.chunks_exact_mut(8).zip(packed.chunks_exact(BITS)) {
        let mut word = [0; 8];
        word[..BITS].copy_from_slice(packed);
        let word = u64::from_le_bytes(word);
        for (i, value) in eight.iter_mut().enumerate() {
            *value = (word >> (i * BITS)) as u8 & mask;
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
        match bits {
            0 => {}
            1 => expand::<1>(packed, block),
            2 => expand::<2>(packed, block),
            3 => expand::<3>(packed, block),
            4 => expand::<4>(packed, block),
            5 => expand::<5>(packed, block),
            6 => expand::<6>(packed, block),
            7 => expand::<7>(packed, block),
            _ => block.copy_from_slice(packed),
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
