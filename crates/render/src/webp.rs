//! Lossy WebP through libwebp, and nothing else: one of the three files where `unsafe` is allowed.
#![expect(unsafe_code, reason = "libwebp is a C library; the calls are kept in this file")]

use libwebp_sys::{
    WebPConfig, WebPEncCSP, WebPEncode, WebPMemoryWrite, WebPMemoryWriter, WebPMemoryWriterClear, WebPMemoryWriterInit,
    WebPPicture,
};

use crate::error::Error;
use crate::frame::Frame;

/// How much time to spend. The figures are for one 480p picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Method 1: 12 ms, for previews.
    Preview,
    /// Method 4: 50 ms and a fifth smaller, for pictures that are kept.
    Kept,
}

/// Quality 75: 43 dB and about 20 KB at 480p.
pub(crate) const PREVIEW_QUALITY: f32 = 75.0;

/// Frees what libwebp wrote, whichever way the encoding ends.
struct Output(WebPMemoryWriter);

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: the writer was initialised by `WebPMemoryWriterInit` and is cleared once, here.
        unsafe { WebPMemoryWriterClear(&raw mut self.0) };
    }
}

/// Encodes `frame` at `quality` (0 to 100).
///
/// # Errors
/// What libwebp answers; sides over 16,383 or no memory.
pub(crate) fn encode(frame: &Frame, quality: f32, effort: Effort) -> Result<Vec<u8>, Error> {
    let refuse = |reason: String| Error::Encoder { encoder: "webp", reason };
    let mut config = WebPConfig::new().map_err(|()| refuse("another version of libwebp".into()))?;
    config.quality = quality;
    config.method = match effort {
        Effort::Preview => 1,
        Effort::Kept => 4,
    };
    let mut planes = to_bt601(frame);
    let mut picture = WebPPicture::new().map_err(|()| refuse("another version of libwebp".into()))?;
    picture.use_argb = 0;
    picture.colorspace = WebPEncCSP::WEBP_YUV420;
    picture.width = frame.size.width as i32;
    picture.height = frame.size.height as i32;
    picture.y = planes.y.as_mut_ptr();
    picture.u = planes.u.as_mut_ptr();
    picture.v = planes.v.as_mut_ptr();
    picture.y_stride = frame.size.width as i32;
    picture.uv_stride = frame.size.width as i32 / 2;
    let mut output = Output(WebPMemoryWriter { mem: std::ptr::null_mut(), size: 0, max_size: 0, pad: [0] });
    // SAFETY: the pointer is to a live writer of ours.
    unsafe { WebPMemoryWriterInit(&raw mut output.0) };
    picture.writer = Some(WebPMemoryWrite);
    picture.custom_ptr = (&raw mut output.0).cast();
    // SAFETY: `picture` points into `planes`, which has `height` rows of `y_stride` and half as many of `uv_stride`
    // bytes (a `Frame` has even sides and full planes) and outlives the call; `custom_ptr` is the writer its callback
    // expects. The picture owns no memory of its own (the planes are ours), so nothing of it needs freeing: libwebp
    // frees what it allocates inside the call.
    let ok = unsafe { WebPEncode(&raw const config, &raw mut picture) };
    if ok == 0 || output.0.mem.is_null() {
        return Err(refuse(format!("{:?}", picture.error_code)));
    }
    // SAFETY: after success `mem` holds `size` initialised bytes until the writer is cleared, when `output` drops.
    Ok(unsafe { std::slice::from_raw_parts(output.0.mem, output.0.size) }.to_vec())
}

/// WebP is defined with BT.601 colours; our pictures are BT.709. Both are limited range, so one matrix does it.
fn to_bt601(frame: &Frame) -> Frame {
    let mut out = frame.clone();
    let (width, half) = (frame.size.width as usize, frame.size.width as usize / 2);
    let byte = |value: i32| ((value + 128) >> 8).clamp(0, 255) as u8;
    for (row, rows) in out.y.chunks_exact_mut(width * 2).enumerate() {
        let chroma = row * half..(row + 1) * half;
        let colours = frame.u[chroma.clone()].iter().zip(&frame.v[chroma]);
        let (upper, lower) = rows.split_at_mut(width);
        for ((upper, lower), (u, v)) in upper.chunks_exact_mut(2).zip(lower.chunks_exact_mut(2)).zip(colours) {
            // 0.0993 and 0.1917, in 256ths.
            let shift = 25 * (i32::from(*u) - 128) + 49 * (i32::from(*v) - 128);
            for value in upper.iter_mut().chain(lower) {
                *value = byte((i32::from(*value) << 8) + shift);
            }
        }
    }
    for ((u, v), (u709, v709)) in out.u.iter_mut().zip(&mut out.v).zip(frame.u.iter().zip(&frame.v)) {
        let (cb, cr) = (i32::from(*u709) - 128, i32::from(*v709) - 128);
        *u = byte((128 << 8) + 253 * cb - 28 * cr); // 0.9899, -0.1107
        *v = byte((128 << 8) + 252 * cr - 19 * cb); // 0.9834, -0.0725
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Size;

    #[test]
    fn a_picture_becomes_a_webp_file_of_its_size() {
        let mut frame = Frame::new(Size::new(66, 50));
        for (i, value) in frame.y.iter_mut().enumerate() {
            *value = (i % 200) as u8 + 20;
        }
        for effort in [Effort::Preview, Effort::Kept] {
            let bytes = encode(&frame, 75.0, effort).unwrap();
            assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WEBP"[..]));
            let (mut width, mut height) = (0, 0);
            // SAFETY: pointer and length are those of one live vector; the two results are live integers.
            let known =
                unsafe { libwebp_sys::WebPGetInfo(bytes.as_ptr(), bytes.len(), &raw mut width, &raw mut height) };
            assert_eq!((known, width, height), (1, 66, 50));
        }
    }

    /// What another part of libwebp reads in a file: its three planes.
    fn decoded(bytes: &[u8]) -> Frame {
        let (mut width, mut height, mut stride, mut uv_stride) = (0, 0, 0, 0);
        let (mut u, mut v) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: pointer and length are those of one live slice; the results are live variables of ours.
        let y = unsafe {
            libwebp_sys::WebPDecodeYUV(
                bytes.as_ptr(),
                bytes.len(),
                &raw mut width,
                &raw mut height,
                &raw mut u,
                &raw mut v,
                &raw mut stride,
                &raw mut uv_stride,
            )
        };
        assert!(!y.is_null(), "it does not decode");
        let mut frame = Frame::new(Size::new(width as u32, height as u32));
        let rows = |plane: *const u8, stride: i32, width: usize, height: usize| -> Vec<u8> {
            // SAFETY: the decoder made `height` rows of `stride` bytes each, of which the first `width` are pixels.
            (0..height)
                .flat_map(|row| unsafe { std::slice::from_raw_parts(plane.add(row * stride as usize), width) })
                .copied()
                .collect()
        };
        let (wide, high) = (width as usize, height as usize);
        frame.y = rows(y, stride, wide, high);
        frame.u = rows(u, uv_stride, wide / 2, high / 2);
        frame.v = rows(v, uv_stride, wide / 2, high / 2);
        // SAFETY: all three planes are parts of the one block that begins at `y`, freed once.
        unsafe { libwebp_sys::WebPFree(y.cast()) };
        frame
    }

    /// The same colours, worked out in floating point.
    fn scalar_bt601(frame: &Frame) -> Frame {
        let mut out = frame.clone();
        let width = frame.size.width as usize;
        for (at, value) in out.y.iter_mut().enumerate() {
            let chroma = at / width / 2 * (width / 2) + at % width / 2;
            let (cb, cr) = (f64::from(frame.u[chroma]) - 128.0, f64::from(frame.v[chroma]) - 128.0);
            *value = (f64::from(frame.y[at]) + 0.0993 * cb + 0.1917 * cr).round().clamp(0.0, 255.0) as u8;
        }
        for (at, (u, v)) in out.u.iter_mut().zip(&mut out.v).enumerate() {
            let (cb, cr) = (f64::from(frame.u[at]) - 128.0, f64::from(frame.v[at]) - 128.0);
            *u = (128.0 + 0.9899 * cb - 0.1107 * cr).round().clamp(0.0, 255.0) as u8;
            *v = (128.0 + 0.9834 * cr - 0.0725 * cb).round().clamp(0.0, 255.0) as u8;
        }
        out
    }

    #[test]
    fn any_picture_of_any_size_comes_back_as_much_alike_as_its_quality_says() {
        let mut chance = crate::prompt::Chance::new(crate::simd::seed());
        for round in 0..150 {
            let side = |chance: &mut crate::prompt::Chance| (2 + chance.next() as u32 % 180) & !1;
            let size = Size::new(side(&mut chance), side(&mut chance));
            let mut frame = Frame::new(size);
            // Every third is noise, which no quality keeps; the others are slopes, as sky and water are.
            let noise = round % 3 == 0;
            let (right, down) = (chance.within(-0.7, 0.7), chance.within(-0.7, 0.7));
            let width = size.width as usize;
            for (at, value) in frame.y.iter_mut().enumerate() {
                let slope = 120.0 + right * ((at % width) as f32 - 90.0) + down * ((at / width) as f32 - 90.0);
                *value = if noise { chance.next() as u8 } else { slope.clamp(16.0, 235.0) as u8 };
            }
            for value in frame.u.iter_mut().chain(&mut frame.v) {
                *value = if noise { chance.next() as u8 } else { 120 };
            }
            let (made, plain) = (to_bt601(&frame), scalar_bt601(&frame));
            for (made, plain) in made.planes().into_iter().zip(plain.planes()) {
                let off = made.0.iter().zip(plain.0).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(off <= Some(1), "{size}: {off:?} levels from the exact colours");
            }
            for (effort, quality) in [(Effort::Preview, PREVIEW_QUALITY), (Effort::Kept, chance.within(60.0, 100.0))] {
                let back = decoded(&encode(&frame, quality, effort).unwrap());
                let likeness = back.psnr(&made);
                assert!(back.size == size && (noise || likeness > 32.0), "{size} at {quality}: {likeness:.1} dB");
            }
        }
    }

    #[test]
    fn grey_stays_grey_between_colour_systems() {
        let frame = Frame::new(Size::new(64, 64));
        assert_eq!(to_bt601(&frame), frame);
    }
}
