//! Random streams, right and wrong. The seed is printed with a failure; `SEED=<number>` runs it again.

use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
};

use super::{
    DecodeError, Decoder, Message,
    client::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame},
};
use crate::websocket::close::CloseCode;

const MAX: usize = 2048;
const STREAMS: usize = 3_000;
const FUZZED: usize = 100_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            Err(_) => RandomState::new().hash_one(0),
        };
        println!("SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn within(&mut self, range: Range<usize>) -> usize {
        range.start + (self.next() % (range.end - range.start) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.within(0..n) == 0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self, bytes_max: usize) -> String {
        let mut text = String::new();
        loop {
            let character = ['a', 'ß', '€', '𝄞', '\0', '\u{10ffff}'][self.within(0..6)];
            if text.len() + character.len_utf8() > bytes_max {
                return text;
            }
            text.push(character);
        }
    }

    /// Lengths around the borders of their forms, and others.
    fn length(&mut self) -> usize {
        match self.within(0..4) {
            0 => self.within(0..4),
            1 => self.within(120..132),
            2 => self.within(0..300),
            _ => self.within(0..MAX + 1),
        }
    }

    fn key(&mut self) -> [u8; 4] {
        (self.next() as u32).to_ne_bytes()
    }

    fn control(&mut self) -> Message {
        let len = self.within(0..126);
        let payload = self.bytes(len).into();
        if self.one_in(2) { Message::Ping(payload) } else { Message::Pong(payload) }
    }

    fn message(&mut self) -> Message {
        let length = self.length();
        match self.within(0..5) {
            0 | 1 => Message::Text(self.text(length)),
            2 | 3 => Message::Binary(self.bytes(length).into()),
            _ => self.control(),
        }
    }

    /// Writes a message as a client may, and what must be read of it: control frames between its fragments first.
    fn write(&mut self, message: Message, out: &mut Vec<u8>, read: &mut Vec<Message>) {
        let (opcode, payload) = match &message {
            Message::Text(text) => (TEXT, text.as_bytes()),
            Message::Binary(bytes) => (BINARY, &bytes[..]),
            Message::Ping(payload) => (PING, &payload[..]),
            Message::Pong(payload) => (PONG, &payload[..]),
            Message::Close(_) => panic!("written by `write_close`"),
        };
        if matches!(opcode, PING | PONG) || self.one_in(2) {
            out.extend(frame(FIN | opcode, self.key(), payload));
        } else {
            let (mut first, mut rest) = (opcode, payload);
            while !self.one_in(4) {
                let (fragment, after) = rest.split_at(self.within(0..rest.len() + 1));
                out.extend(frame(first, self.key(), fragment));
                (first, rest) = (CONTINUATION, after);
                if self.one_in(3) {
                    let control = self.control();
                    self.write(control, out, read);
                }
            }
            out.extend(frame(FIN | first, self.key(), rest));
        }
        read.push(message);
    }

    fn write_close(&mut self, out: &mut Vec<u8>, read: &mut Vec<Message>) {
        let reason = self.text(100);
        let payload = [&CloseCode::POLICY.get().to_be_bytes()[..], reason.as_bytes()].concat();
        out.extend(frame(FIN | CLOSE, self.key(), &payload));
        read.push(Message::Close(Some((CloseCode::POLICY, reason))));
    }

    /// A valid stream and what it says.
    fn stream(&mut self, messages_max: usize) -> (Vec<u8>, Vec<Message>) {
        let (mut out, mut read) = (Vec::new(), Vec::new());
        for _ in 0..self.within(0..messages_max + 1) {
            let message = self.message();
            self.write(message, &mut out, &mut read);
        }
        if self.one_in(4) {
            self.write_close(&mut out, &mut read);
        }
        (out, read)
    }

    /// Cuts `bytes` at random places, often into crumbs.
    fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let most = [1, 7, 150, 5_000][self.within(0..4)];
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.within(0..most + 1).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

/// Reads all pieces, and checks what holds for any input.
fn read(pieces: &[&[u8]]) -> (Vec<Message>, Option<DecodeError>) {
    let mut decoder = Decoder::new(MAX);
    let (mut messages, mut error) = (Vec::new(), None);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match decoder.decode(&mut rest) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(first) => assert_eq!(error.replace(first), None, "an error comes once"),
            }
        }
        assert!(rest.is_empty(), "`None` means that all was taken");
        assert!(decoder.held_bytes() <= 2 * (MAX + 125), "{} bytes held", decoder.held_bytes());
    }
    if error.is_some() {
        assert_eq!(decoder.held_bytes(), 0, "an ended decoder holds nothing");
    }
    (messages, error)
}

/// Whatever the bytes are: no panic, bounded memory, bounded messages, and the same reading however they are cut.
fn fuzz(data: &[u8]) {
    let (piece, data) = data.split_first().map_or((1, data), |(first, rest)| (usize::from(*first) + 1, rest));
    let (messages, error) = read(&[data]);
    for message in &messages {
        match message {
            Message::Text(text) => assert!(text.len() <= MAX),
            Message::Binary(payload) => assert!(payload.len() <= MAX),
            Message::Ping(payload) | Message::Pong(payload) => assert!(payload.len() <= 125),
            Message::Close(reason) => assert!(reason.as_ref().is_none_or(|(_, text)| text.len() <= 123)),
        }
    }
    let pieces: Vec<&[u8]> = data.chunks(piece).collect();
    assert_eq!(read(&pieces), (messages, error), "in pieces of {piece}");
}

#[test]
fn whatever_a_client_says_is_read_however_it_is_fragmented_and_cut() {
    let mut random = Random::new();
    for _ in 0..STREAMS {
        let (bytes, said) = random.stream(8);
        let pieces = random.cut(&bytes);
        assert_eq!(read(&pieces), (said, None));
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new();
    for _ in 0..FUZZED {
        let len = random.within(0..64);
        let mut data = random.bytes(len);
        // Bytes drawn blindly rarely pass the second one: half of the inputs are given a valid start.
        if random.one_in(2) && data.len() > 3 {
            data[1] = [0x01, 0x02, 0x81, 0x82, 0x88, 0x89][random.within(0..6)];
            data[2] |= 0x80;
        }
        fuzz(&data);
    }
}

#[test]
fn mutated_streams_never_panic() {
    let mut random = Random::new();
    let seeds: Vec<Vec<u8>> = (0..500).map(|_| random.stream(3).0).collect();
    for _ in 0..FUZZED {
        let mut data = vec![random.next() as u8];
        let seed = &seeds[random.within(0..seeds.len())];
        // Most of a long stream is payload; its front holds as many headers per byte as any part.
        data.extend(&seed[..seed.len().min(random.within(0..400))]);
        for _ in 0..random.within(1..4) {
            let at = random.within(0..data.len());
            match random.within(0..4) {
                0 => data[at] ^= 1 << random.within(0..8),
                1 => data[at] = random.next() as u8,
                2 => data.insert(at, random.next() as u8),
                _ => data.truncate(at.max(1)),
            }
        }
        fuzz(&data);
    }
}
