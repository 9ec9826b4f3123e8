//! Each rule of RFC 6455 for what a server reads, by section; then what an idle connection costs.

mod client;
mod random;

use bytes::Bytes;

use self::client::{BINARY, CLOSE, CONTINUATION, FIN, KEY, PING, PONG, TEXT, frame};
use super::{DecodeError, Decoder, Violation};
use crate::websocket::{close::CloseCode, message::Message};

const MAX: usize = 1024;

/// All messages of `input`, given in pieces of `piece` bytes, and the error that ended it.
fn decode_in_pieces(input: &[u8], piece: usize) -> (Vec<Message>, Option<DecodeError>) {
    let mut decoder = Decoder::new(MAX);
    let mut messages = Vec::new();
    for mut bytes in input.chunks(piece) {
        loop {
            match decoder.decode(&mut bytes) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(bytes.is_empty(), "`None` means that all was taken");
    }
    (messages, None)
}

/// What `input` says, however it is cut.
fn decode(input: &[u8]) -> (Vec<Message>, Option<DecodeError>) {
    let whole = decode_in_pieces(input, input.len().max(1));
    for piece in [1, 2, 3, 5, 7, 64] {
        assert_eq!(decode_in_pieces(input, piece), whole, "in pieces of {piece}");
    }
    whole
}

fn says(input: &[u8], expected: &[Message]) {
    assert_eq!(decode(input), (expected.to_vec(), None));
}

/// Without its last byte `input` might still become something; with it, it is refused.
fn refused_at_the_last_byte(input: &[u8], expected: impl Into<DecodeError>) {
    let expected = expected.into();
    let (last, before) = input.split_last().expect("an input has a byte");
    assert_eq!(decode(before).1, None, "refused before byte {last:#x}");
    assert_eq!(decode(input).1, Some(expected));
}

fn text(text: &str) -> Message {
    Message::Text(text.to_owned())
}

/// The first bytes of a masked frame that declares `length` in 64 bits.
fn header_64(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0x80 | 127][..], &length.to_be_bytes()].concat()
}

#[test]
fn section_5_7_the_masked_hello_is_read() {
    says(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], &[text("Hello")]);
}

#[test]
fn section_5_1_an_unmasked_frame_is_a_protocol_error() {
    for first in [TEXT, BINARY, CLOSE, PING, PONG] {
        refused_at_the_last_byte(&[FIN | first, 0x05], Violation::Unmasked);
    }
}

#[test]
fn section_5_2_each_reserved_bit_is_a_protocol_error() {
    for bit in [0x40, 0x20, 0x10] {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            refused_at_the_last_byte(&[FIN | bit | opcode], Violation::ReservedBits);
        }
    }
}

#[test]
fn section_5_2_each_reserved_opcode_is_a_protocol_error() {
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        refused_at_the_last_byte(&[FIN | opcode], Violation::ReservedOpcode(opcode));
    }
}

#[test]
fn section_5_2_a_length_not_in_its_shortest_form_is_a_protocol_error() {
    for length in [0u16, 1, 125] {
        let header = [&[FIN | TEXT, 0x80 | 126][..], &length.to_be_bytes()].concat();
        refused_at_the_last_byte(&header, Violation::LengthNotShortest(length.into()));
    }
    for length in [0, 125, 126, 65_535] {
        refused_at_the_last_byte(&header_64(FIN | BINARY, length), Violation::LengthNotShortest(length));
    }
}

#[test]
fn section_5_2_a_length_with_the_top_bit_is_a_protocol_error() {
    for length in [1 << 63, u64::MAX] {
        refused_at_the_last_byte(&header_64(FIN | BINARY, length), Violation::LengthTopBit);
    }
}

#[test]
fn section_5_2_every_form_of_length_is_read() {
    for length in [0, 1, 125, 126, 127, MAX] {
        says(&frame(FIN | BINARY, KEY, &vec![7; length]), &[Message::Binary(vec![7; length].into())]);
    }
    let mut decoder = Decoder::new(70_000);
    let long = frame(FIN | BINARY, KEY, &[7; 65_536]);
    assert_eq!(decoder.decode(&mut &long[..]), Ok(Some(Message::Binary(vec![7; 65_536].into()))));
}

#[test]
fn section_5_4_fragments_make_one_message() {
    let input =
        [frame(TEXT, KEY, b"Hel"), frame(CONTINUATION, KEY, b""), frame(FIN | CONTINUATION, KEY, b"lo")].concat();
    says(&input, &[text("Hello")]);
    let input = [frame(BINARY, KEY, b""), frame(FIN | CONTINUATION, [0; 4], &[255])].concat();
    says(&input, &[Message::Binary(Bytes::from_static(&[255]))]);
}

#[test]
fn section_5_4_control_frames_come_between_fragments() {
    let input = [
        frame(TEXT, KEY, b"Hel"),
        frame(FIN | PING, KEY, b"a"),
        frame(FIN | PONG, KEY, b""),
        frame(FIN | CONTINUATION, KEY, b"lo"),
        frame(FIN | TEXT, KEY, b"!"),
    ]
    .concat();
    let ping = Message::Ping(Bytes::from_static(b"a"));
    says(&input, &[ping, Message::Pong(Bytes::new()), text("Hello"), text("!")]);
}

#[test]
fn section_5_4_a_continuation_of_nothing_is_a_protocol_error() {
    for first in [CONTINUATION, FIN | CONTINUATION] {
        refused_at_the_last_byte(&frame(first, KEY, b""), Violation::NothingToContinue);
        let after_a_message = [frame(FIN | TEXT, KEY, b"whole"), frame(first, KEY, b"")].concat();
        refused_at_the_last_byte(&after_a_message, Violation::NothingToContinue);
    }
}

#[test]
fn section_5_4_a_new_message_inside_a_fragmented_one_is_a_protocol_error() {
    for outer in [TEXT, BINARY] {
        for inner in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
            let input = [frame(outer, KEY, b"a"), frame(inner, KEY, b"")].concat();
            refused_at_the_last_byte(&input, Violation::MessageUnderWay);
        }
    }
}

#[test]
fn section_5_5_a_fragmented_control_frame_is_a_protocol_error() {
    for opcode in [CLOSE, PING, PONG] {
        refused_at_the_last_byte(&[opcode], Violation::ControlFragmented);
    }
}

#[test]
fn section_5_5_control_frame_longer_than_125_is_a_protocol_error() {
    for opcode in [CLOSE, PING, PONG] {
        for length in [126, 127] {
            refused_at_the_last_byte(&[FIN | opcode, 0x80 | length], Violation::ControlTooLong);
        }
    }
}

#[test]
fn section_5_5_a_control_frame_of_125_bytes_is_read_even_where_messages_must_be_shorter() {
    let payload = [b'p'; 125];
    let mut decoder = Decoder::new(10);
    let input = [frame(FIN | PING, KEY, &payload), frame(FIN | PONG, KEY, &payload)].concat();
    let mut rest = &input[..];
    assert_eq!(decoder.decode(&mut rest), Ok(Some(Message::Ping(Bytes::copy_from_slice(&payload)))));
    assert_eq!(decoder.decode(&mut rest), Ok(Some(Message::Pong(Bytes::copy_from_slice(&payload)))));
}

#[test]
fn section_5_5_1_a_close_without_a_code_is_read() {
    says(&frame(FIN | CLOSE, KEY, b""), &[Message::Close(None)]);
}

#[test]
fn section_5_5_1_a_close_with_a_code_and_a_reason_is_read() {
    says(&frame(FIN | CLOSE, KEY, b"\x03\xe8"), &[Message::Close(Some((CloseCode::NORMAL, String::new())))]);
    let reason = "€".repeat(41); // 123 bytes, the most there can be.
    let payload = [&4999u16.to_be_bytes()[..], reason.as_bytes()].concat();
    let code = CloseCode::from_wire(4999).expect("a private code");
    says(&frame(FIN | CLOSE, KEY, &payload), &[Message::Close(Some((code, reason)))]);
}

#[test]
fn section_5_5_1_a_close_of_one_byte_is_a_protocol_error() {
    refused_at_the_last_byte(&frame(FIN | CLOSE, KEY, &[3]), Violation::CloseCodeHalf);
}

#[test]
fn section_5_5_1_nothing_is_read_after_a_close() {
    let input = [frame(FIN | CLOSE, KEY, b""), frame(FIN | TEXT, KEY, b"late"), vec![0xff; 20]].concat();
    says(&input, &[Message::Close(None)]);
}

#[test]
fn section_7_4_a_close_code_that_may_not_be_sent_is_a_protocol_error() {
    let invalid = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    for code in invalid {
        refused_at_the_last_byte(&frame(FIN | CLOSE, KEY, &u16::to_be_bytes(code)), Violation::CloseCodeInvalid(code));
    }
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    for code in valid {
        let expected = CloseCode::from_wire(code).map(|code| (code, String::new()));
        assert!(expected.is_some(), "{code}");
        says(&frame(FIN | CLOSE, KEY, &code.to_be_bytes()), &[Message::Close(expected)]);
    }
}

/// Sequences that stop being UTF-8 at their last byte.
const NOT_UTF8: [&[u8]; 14] = [
    b"\x80",
    b"abc\xbf",
    b"\xc0",
    b"\xc1",
    b"\xc3(",
    b"\xe0\x80",
    b"\xe0\x9f",
    b"\xed\xa0",
    b"\xe2\x82(",
    b"\xf0\x80",
    b"\xf4\x90",
    b"\xf0\x9d\x84(",
    b"\xf5",
    b"\xce\xba\xff",
];

#[test]
fn section_8_1_a_text_fails_at_the_byte_that_is_not_utf8() {
    for bad in NOT_UTF8 {
        // The frame declares more than has come.
        let whole = frame(FIN | TEXT, KEY, &[bad, b"and more"].concat());
        refused_at_the_last_byte(&whole[..6 + bad.len()], DecodeError::NotUtf8);
        let first_fragment = frame(TEXT, KEY, bad);
        refused_at_the_last_byte(&first_fragment, DecodeError::NotUtf8);
    }
}

#[test]
fn section_8_1_a_text_cut_inside_a_character_fails_at_its_end() {
    for cut in [&b"\xce"[..], b"a\xe2\x82", b"\xf0\x9d\x84"] {
        refused_at_the_last_byte(&frame(FIN | TEXT, KEY, cut), DecodeError::NotUtf8);
        let fragmented = [frame(TEXT, KEY, cut), frame(FIN | CONTINUATION, KEY, b"")].concat();
        refused_at_the_last_byte(&fragmented, DecodeError::NotUtf8);
    }
}

#[test]
fn section_8_1_characters_may_be_cut_by_fragments() {
    let whole = "a κόσμε € 𝄞 \u{10ffff}\0";
    let mut input = frame(TEXT, KEY, b"");
    for byte in whole.as_bytes() {
        input.extend(frame(CONTINUATION, KEY, &[*byte]));
        input.extend(frame(FIN | PING, KEY, b""));
    }
    input.extend(frame(FIN | CONTINUATION, KEY, b""));
    let (messages, error) = decode(&input);
    assert_eq!((messages.last(), error), (Some(&text(whole)), None));
    assert_eq!(messages.len(), whole.len() + 1);
}

#[test]
fn section_8_1_bytes_that_are_not_utf8_are_fine_in_a_binary_message() {
    says(&frame(FIN | BINARY, KEY, b"\xff\xfe"), &[Message::Binary(Bytes::from_static(b"\xff\xfe"))]);
}

#[test]
fn section_8_1_a_close_reason_that_is_not_utf8_is_refused_as_such() {
    refused_at_the_last_byte(&frame(FIN | CLOSE, KEY, b"\x03\xe8\xce\xba\xff"), DecodeError::NotUtf8);
    refused_at_the_last_byte(&frame(FIN | CLOSE, KEY, b"\x03\xe8\xe2\x82"), DecodeError::NotUtf8);
}

#[test]
fn section_10_4_a_declared_length_over_the_maximum_is_too_big_before_any_memory_is_taken() {
    for length in [65_536, u64::from(u32::MAX) + 1, u64::MAX >> 1] {
        let input = [header_64(FIN | BINARY, length), KEY.to_vec()].concat();
        refused_at_the_last_byte(&input, DecodeError::TooBig { declared: length, max: MAX });
    }
    let one_more = frame(FIN | TEXT, KEY, &[b'a'; MAX + 1]);
    refused_at_the_last_byte(&one_more[..8], DecodeError::TooBig { declared: MAX as u64 + 1, max: MAX });
}

#[test]
fn section_10_4_fragments_count_together() {
    let mut input = frame(BINARY, KEY, &[0; MAX]);
    input.extend(&frame(FIN | CONTINUATION, KEY, &[0])[..6]);
    refused_at_the_last_byte(&input, DecodeError::TooBig { declared: MAX as u64 + 1, max: MAX });
    let mut huge = frame(BINARY, KEY, &[0; MAX]);
    huge.extend(header_64(FIN | CONTINUATION, u64::MAX >> 1));
    huge.extend(KEY);
    refused_at_the_last_byte(&huge, DecodeError::TooBig { declared: MAX as u64 + (u64::MAX >> 1), max: MAX });
}

#[test]
fn another_maximum_holds_from_the_next_message_in_the_same_bytes() {
    let input = [frame(FIN | TEXT, KEY, b"token"), frame(FIN | TEXT, KEY, b"longer")].concat();
    let mut decoder = Decoder::new(5);
    let mut rest = &input[..];
    assert_eq!(decoder.decode(&mut rest), Ok(Some(text("token"))));
    let mut narrow = rest;
    assert_eq!(decoder.decode(&mut narrow), Err(DecodeError::TooBig { declared: 6, max: 5 }));

    let mut decoder = Decoder::new(5);
    let mut rest = &input[..];
    assert_eq!(decoder.decode(&mut rest), Ok(Some(text("token"))));
    decoder.set_max(6);
    assert_eq!(decoder.decode(&mut rest), Ok(Some(text("longer"))));
}

#[test]
fn section_7_1_7_nothing_is_read_after_an_error() {
    let mut decoder = Decoder::new(MAX);
    let mut input = &[frame(TEXT, KEY, b"held"), vec![0xff; 9]].concat()[..];
    assert_eq!(decoder.decode(&mut input), Err(Violation::ReservedBits.into()));
    assert_eq!((input.len(), decoder.held_bytes()), (0, 0));
    let late = frame(FIN | TEXT, KEY, b"late");
    let mut input = &late[..];
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert!(input.is_empty());
}

#[test]
fn every_error_has_its_code_and_says_what_was_wrong() {
    let too_big = DecodeError::TooBig { declared: 9, max: 8 };
    for (error, code, says) in [
        (Violation::ReservedOpcode(0xb).into(), 1002, "opcode 0xb is reserved"),
        (Violation::CloseCodeInvalid(1005).into(), 1002, "close code 1005 may not be sent"),
        (Violation::LengthNotShortest(3).into(), 1002, "length 3 is not in its shortest form"),
        (too_big, 1009, "message of 9 bytes is larger than 8"),
        (DecodeError::NotUtf8, 1007, "text is not UTF-8"),
    ] {
        assert_eq!((error.code().get(), error.to_string().as_str()), (code, says));
    }
}

/// 96: a hundred thousand idle watchers cost under 10 MB of decoders.
#[test]
fn an_idle_decoder_is_small_and_owns_no_heap() {
    assert!(size_of::<Decoder>() <= 96, "{} bytes", size_of::<Decoder>());
    let mut decoder = Decoder::new(MAX);
    assert_eq!(decoder.held_bytes(), 0);
    let input = [frame(BINARY, KEY, &[1; 600]), frame(FIN | PING, KEY, &[2; 50]), frame(FIN | CONTINUATION, KEY, &[3])];
    for (at, bytes) in input.concat().into_iter().enumerate() {
        let last = decoder.decode(&mut &[bytes][..]).expect("the input is valid");
        let done = matches!(last, Some(Message::Binary(_)));
        assert_eq!(decoder.held_bytes() == 0, at < 8 || done, "after byte {at}");
    }
}

#[test]
fn memory_follows_what_came_and_not_what_a_header_declares() {
    let mut decoder = Decoder::new(1 << 30);
    let input = [header_64(FIN | BINARY, 1 << 30), KEY.to_vec(), vec![0; 10]].concat();
    for (at, byte) in input.iter().enumerate() {
        assert_eq!(decoder.decode(&mut &[*byte][..]), Ok(None));
        let came = (at + 1).saturating_sub(14);
        assert!(decoder.held_bytes() <= 2 * came, "{} held of {came}", decoder.held_bytes());
    }
}

/// Preview frames of workers are kept: they must not drag spare memory along.
#[test]
fn a_message_that_came_in_pieces_ends_in_a_buffer_of_its_own_size() {
    let input = frame(FIN | BINARY, KEY, &[9; 1000]);
    for piece in [1, 10, 300, 999] {
        let (mut messages, error) = decode_in_pieces(&input, piece);
        assert_eq!(error, None);
        let Some(Message::Binary(payload)) = messages.pop() else { panic!("one binary message") };
        assert_eq!(Vec::from(payload).capacity(), 1000, "in pieces of {piece}");
    }
}
