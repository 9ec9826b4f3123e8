//! Signed cursors: where a client is in many generations at once, carried by the client, and known again as ours.
//!
//! A signature says that we wrote it, not that its bearer may see anything: whoever reads a cursor authorises each generation in
//! it again. What stands in it, and for how long that is good, belongs to the gateway.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;

use crate::secret::Secret;

/// Bytes of signature: 128 bits are out of reach of guessing, and the cursor comes with every event.
const SIGNATURE_BYTES: usize = 16;
/// Longest text that is looked at: ten times a cursor of 64 generations with ids of the longest.
const TEXT_BYTES_MAX: usize = 128 * 1024;

/// Writes and reads cursors. Cheap to call: the key is prepared once.
pub struct Cursors {
    key: hmac::Key,
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursors(..)")
    }
}

impl Cursors {
    /// Cursors of this deployment: of every node that has the secret, before and after a restart.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret.derive("events cursor 1")) }
    }

    /// The text a client carries; the same for the same content.
    #[must_use]
    pub fn seal(&self, content: &[u8]) -> String {
        let signature = hmac::sign(&self.key, content);
        BASE64URL_NOPAD.encode(&[&signature.as_ref()[..SIGNATURE_BYTES], content].concat())
    }

    /// What is in it, if we wrote it.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (signature, content) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        let ours = hmac::sign(&self.key, content);
        // Each byte is looked at, however early one differs.
        let differ = signature.iter().zip(ours.as_ref()).fold(0, |differ, (a, b)| differ | (a ^ b));
        (differ == 0).then(|| content.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(secret: &str) -> Cursors {
        Cursors::new(&Secret::new(secret).unwrap())
    }

    #[test]
    fn what_was_sealed_is_opened_by_the_same_secret_alone() {
        let text = cursors("s3cret").seal(b"{\"e\":\"k3f9\"}");
        assert_eq!(cursors("s3cret").open(&text).as_deref(), Some(&b"{\"e\":\"k3f9\"}"[..]));
        assert_eq!(cursors("s3cret ").open(&text), None);
        assert_eq!(cursors("s3cret").seal(b"{\"e\":\"k3f9\"}"), text, "the same text each time");
    }

    #[test]
    fn a_cursor_that_was_changed_anywhere_is_nobodys() {
        let cursors = cursors("s3cret");
        let text = cursors.seal(b"{\"g\":{\"gen_a\":12}}");
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(cursors.open(&String::from_utf8(bytes).unwrap()), None, "byte {at}");
        }
        let unsigned = BASE64URL_NOPAD.encode(b"{\"g\":{\"gen_a\":12}}");
        for bad in ["", "=", "ä", "start", &text[1..], &text[..text.len() - 2], &format!("{text}AAAA"), &unsigned] {
            assert_eq!(cursors.open(bad), None, "{bad:?}");
        }
        assert_eq!(cursors.open(&"A".repeat(TEXT_BYTES_MAX + 4)), None);
    }
}
