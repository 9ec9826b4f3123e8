//! The one secret of a deployment, and the keys derived from it.
//!
//! Tokens of the first dialect are signed with the secret itself, because that is what their issuers do. Everything
//! this server signs for its own use has its own key, so that one kind of signature never passes for another.

use std::fmt;

use ring::hkdf;

/// Shorter secrets are reported as weak: RFC 7518 §3.2 asks for 256 bits behind HS256.
const STRONG_BYTES_MIN: usize = 32;

/// Separates our derived keys from those another program may derive from the same secret.
const SALT: &[u8] = b"rushes";

/// The shared secret (`JWT_SECRET`). Never shown, not even by `Debug`.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

/// The secret has no bytes: anybody could sign with it. Never retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is empty")]
pub struct EmptySecret;

impl Secret {
    /// Takes the bytes as they are; a text is not decoded.
    ///
    /// Short secrets are taken too, since unmodified deployments of the first dialect have them: ask [`Self::is_weak`]
    /// and warn.
    ///
    /// # Errors
    /// [`EmptySecret`] if there are no bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, EmptySecret> {
        let bytes = bytes.into();
        if bytes.is_empty() { Err(EmptySecret) } else { Ok(Self(bytes.into())) }
    }

    /// Is it short enough to be guessed from one token? Below 32 bytes, worth a warning at start.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.0.len() < STRONG_BYTES_MIN
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key for one `purpose` (HKDF-SHA256, RFC 5869). A purpose, once released, never changes its text.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&self.0);
        extracted
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(&mut key))
            .expect("32 bytes are one output of HKDF-SHA256");
        key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_is_refused_and_a_short_one_is_weak() {
        assert_eq!(Secret::new("").unwrap_err(), EmptySecret);
        assert!(Secret::new("x").unwrap().is_weak());
        assert!(Secret::new([7; 31]).unwrap().is_weak());
        assert!(!Secret::new([7; 32]).unwrap().is_weak());
    }

    #[test]
    fn a_secret_is_never_shown() {
        let shown = format!("{:?}", Secret::new("hunter2").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn each_purpose_and_each_secret_has_its_own_key() {
        let secret = Secret::new("s3cret").unwrap();
        let other = Secret::new("s3cret ").unwrap();
        assert_eq!(secret.derive("a"), secret.derive("a"));
        assert_ne!(secret.derive("a"), secret.derive("b"));
        assert_ne!(secret.derive("a"), other.derive("a"));
        assert_ne!(secret.derive("a").as_slice(), secret.bytes());
    }

    /// Derived keys outlive a restart and an upgrade: links in stored mails still open.
    #[test]
    fn a_derived_key_is_the_same_in_every_version() {
        let key = Secret::new("s3cret").unwrap().derive("a");
        assert_eq!(
            data_encoding::HEXLOWER.encode(&key),
            "074993c44e98e1db9e7c135a5f6be0e0e4ada78aa8197e802a580fc65ab7c830"
        );
    }
}
