//! Samples of binary frames, in hex.

use data_encoding::HEXLOWER;
use rushes_protocol::{
    Fence, FrameIndex, GenerationId, Revision,
    frame::{FLAG_KEY, FLAG_LAST, FLAG_LAST_OF_REVISION, Format, HEADER_BYTES, Header},
    limits,
};
use serde_json::{Value, json};

/// The least that begins as a WebP file does.
const WEBP: &[u8] = b"RIFF\x10\0\0\0WEBPVP8 ";

fn sample() -> Header {
    Header {
        format: Format::Webp,
        flags: FLAG_KEY,
        fence: Fence(3),
        index: FrameIndex(7),
        total: 48,
        revision: Revision(2),
        pts_micros: 291_666,
        width: 854,
        height: 480,
        generation: Some(GenerationId::new("gen_abc").expect("a literal id is valid")),
    }
}

fn bytes(header: &Header, picture: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    bytes.extend_from_slice(picture);
    bytes
}

fn case(name: &str, header: &Header, picture: &[u8]) -> Value {
    json!({
        "name": name,
        "hex": HEXLOWER.encode(&bytes(header, picture)),
        "header": {
            "format": header.format, "flags": header.flags, "fence": header.fence, "index": header.index,
            "total": header.total, "revision": header.revision,
            // Text, because it has 64 bits.
            "ptsMicros": header.pts_micros.to_string(),
            "width": header.width, "height": header.height, "generation": header.generation
        },
        "picture": HEXLOWER.encode(picture)
    })
}

fn good() -> Vec<Value> {
    let ends = Header { flags: FLAG_KEY | FLAG_LAST | FLAG_LAST_OF_REVISION, ..sample() };
    let largest = Header {
        flags: u16::MAX,
        fence: Fence(u32::MAX),
        index: FrameIndex(u32::MAX),
        total: u32::MAX,
        revision: Revision(u32::MAX),
        pts_micros: u64::MAX,
        width: u16::MAX,
        height: u16::MAX,
        ..sample()
    };
    let format = |format| Header { format, ..sample() };
    vec![
        case("a preview", &sample(), WEBP),
        case("the last picture of the last revision", &ends, WEBP),
        case("from a worker, without an id", &Header { generation: None, ..sample() }, WEBP),
        case("every number at its largest, and flags of a later version", &largest, WEBP),
        case("jpeg", &format(Format::Jpeg), &[0xff, 0xd8, 0xff, 0xe0]),
        case("png", &format(Format::Png), b"\x89PNG\r\n\x1a\n"),
        case("avif", &format(Format::Avif), b"\0\0\0\x20ftypavif\0"),
        case("h264", &format(Format::H264), &[0, 0, 0, 1, 0x67]),
    ]
}

/// A header of a later version may be longer; what lies behind the id is skipped. Readers only.
fn longer() -> Value {
    let header = sample();
    let mut frame = bytes(&header, &[]);
    let length = u16::try_from(frame.len() + 4).expect("a short sample");
    frame[4..6].copy_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&[0xaa; 4]);
    frame.extend_from_slice(WEBP);
    let mut case = case("a longer header, whose end is skipped", &header, WEBP);
    case["hex"] = HEXLOWER.encode(&frame).into();
    case["readOnly"] = true.into();
    case
}

fn bad() -> Vec<Value> {
    let good = bytes(&sample(), WEBP);
    let changed = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        HEXLOWER.encode(&frame)
    };
    let bad = |name: &str, hex: String, error: &str| json!({"name": name, "hex": hex, "error": error});
    let mut oversized = bad("larger than 256 KiB once zeros follow", HEXLOWER.encode(&good), "too_large");
    oversized["zerosTo"] = (limits::FRAME_BYTES_MAX + 1).into();
    vec![
        bad("nothing", String::new(), "truncated"),
        bad("cut within the header", HEXLOWER.encode(&good[..HEADER_BYTES - 1]), "truncated"),
        bad("cut within the id", HEXLOWER.encode(&good[..HEADER_BYTES + 3]), "truncated"),
        bad("a header length that does not reach the id", changed(4, 36), "truncated"),
        bad("a header length beyond the end", changed(5, 0xff), "truncated"),
        bad("other magic", changed(0, b'X'), "magic"),
        bad("version 2", changed(2, 2), "version"),
        bad("format 0", changed(3, 0), "format"),
        bad("format 6", changed(3, 6), "format"),
        bad("an id with a slash", changed(HEADER_BYTES + 3, b'/'), "id"),
        bad("an id that is not UTF-8", changed(HEADER_BYTES, 0xff), "id"),
        bad("no picture", HEXLOWER.encode(&bytes(&sample(), &[])), "picture"),
        bad("a script as a picture", HEXLOWER.encode(&bytes(&sample(), b"<script>alert(1)</script>")), "picture"),
        bad("a png that says it is a webp", HEXLOWER.encode(&bytes(&sample(), b"\x89PNG\r\n\x1a\n")), "picture"),
        oversized,
    ]
}

pub(super) fn frames() -> Value {
    let cases: Vec<_> = good().into_iter().chain([longer()]).collect();
    let worker = [[7, 0, 0, 0].as_slice(), &bytes(&Header { generation: None, ..sample() }, WEBP)].concat();
    json!({
        "about": "Binary frames in hex: header, id, picture, as one WebSocket message. `zerosTo`: append zeros up to that many bytes first. `readOnly`: readers take it, writers do not make it.",
        "cases": cases,
        "worker": {"hex": HEXLOWER.encode(&worker), "handle": 7, "header": good()[2]["header"]},
        "bad": bad()
    })
}
