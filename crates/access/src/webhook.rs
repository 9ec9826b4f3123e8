//! Signatures of webhooks, as Standard Webhooks 1.0 has them: `v1` is HMAC-SHA256 with a secret both sides know, `v1a`
//! is Ed25519, whose receivers need nothing secret.
//!
//! Which events are announced, when, and to whom is `server`'s.

use std::{fmt, str::FromStr, sync::Arc};

use data_encoding::BASE64;
use protocol::Timestamp;
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};

/// Before a shared secret.
const SHARED: &str = "whsec_";
/// Before a private Ed25519 key.
const PRIVATE: &str = "whsk_";
/// Before a public Ed25519 key.
const PUBLIC: &str = "whpk_";

/// Shared secrets have at least so many bytes: the least that the specification allows.
const SHARED_BYTES_MIN: usize = 24;
/// And at most so many, as the specification says.
const SHARED_BYTES_MAX: usize = 64;
/// Bytes of an Ed25519 seed, which alone or with its public key is a private key.
const SEED_BYTES: usize = 32;

/// Most keys of one endpoint: the old and the new of each kind, while receivers change over.
pub const KEYS_MAX: usize = 4;

/// One key of an endpoint. Never shown, not even by `Debug`.
#[derive(Clone)]
pub struct SigningKey(Kind);

#[derive(Clone)]
enum Kind {
    Shared(Arc<[u8]>),
    Private(Arc<Ed25519KeyPair>),
}

/// A text that is no signing key. The text itself is a secret and is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write whsec_ and base64 of 24 to 64 bytes (`openssl rand -base64 32` makes some), or whsk_ and base64 of an Ed25519 key"
)]
pub struct NotAKey;

impl SigningKey {
    /// What a receiver checks with, where that is no secret: `whpk_…` of an Ed25519 key.
    #[must_use]
    pub fn public(&self) -> Option<String> {
        match &self.0 {
            Kind::Shared(..) => None,
            Kind::Private(pair) => Some(format!("{PUBLIC}{}", BASE64.encode(pair.public_key().as_ref()))),
        }
    }

    fn sign(&self, signed: &[u8]) -> String {
        match &self.0 {
            Kind::Shared(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                format!("v1,{}", BASE64.encode(hmac::sign(&key, signed).as_ref()))
            }
            Kind::Private(pair) => format!("v1a,{}", BASE64.encode(pair.sign(signed).as_ref())),
        }
    }
}

impl FromStr for SigningKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let decode = |encoded: &str| BASE64.decode(encoded.as_bytes()).map_err(|_| NotAKey);
        if let Some(encoded) = text.strip_prefix(SHARED) {
            let bytes = decode(encoded)?;
            if !(SHARED_BYTES_MIN..=SHARED_BYTES_MAX).contains(&bytes.len()) {
                return Err(NotAKey);
            }
            return Ok(Self(Kind::Shared(bytes.into())));
        }
        let bytes = decode(text.strip_prefix(PRIVATE).ok_or(NotAKey)?)?;
        let (seed, public) = bytes.split_at_checked(SEED_BYTES).ok_or(NotAKey)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NotAKey)?;
        // Libraries write the public key behind the seed; one that does not belong to it is a broken paste.
        if !public.is_empty() && public != pair.public_key().as_ref() {
            return Err(NotAKey);
        }
        Ok(Self(Kind::Private(Arc::new(pair))))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// The value of `webhook-signature`: one signature for each key, so that a receiver may know the old or the new one.
/// `id` is what `webhook-id` says; `at` is when this delivery is tried, and goes out in whole seconds.
#[must_use]
pub fn signature(keys: &[SigningKey], id: &str, at: Timestamp, body: &[u8]) -> String {
    debug_assert!(!id.contains('.'), "a full stop separates what is signed");
    let mut signed = format!("{id}.{}.", seconds(at)).into_bytes();
    signed.extend_from_slice(body);
    let signatures: Vec<String> = keys.iter().map(|key| key.sign(&signed)).collect();
    signatures.join(" ")
}

/// What `webhook-timestamp` says.
#[must_use]
pub const fn seconds(at: Timestamp) -> u64 {
    at.0 / 1_000
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: Timestamp = Timestamp(1_614_265_330_000);
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn key(text: &str) -> SigningKey {
        text.parse().unwrap()
    }

    #[test]
    fn a_shared_secret_signs_as_the_libraries_of_the_standard_do() {
        let signed = signature(&[key(SECRET)], ID, AT, BODY);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_ed25519_signature_is_checked_with_the_public_key() {
        let text = format!("whsk_{}", BASE64.encode(&[7; 32]));
        let signed = signature(&[key(&text)], ID, AT, BODY);
        let bytes = BASE64.decode(signed.strip_prefix("v1a,").unwrap().as_bytes()).unwrap();
        let public = key(&text).public().unwrap();
        let public = BASE64.decode(public.strip_prefix("whpk_").unwrap().as_bytes()).unwrap();
        let content = [format!("{ID}.1614265330.").as_bytes(), BODY].concat();
        UnparsedPublicKey::new(&ED25519, &public).verify(&content, &bytes).unwrap();
        // As libraries write it, with the public key behind the seed.
        let whole = format!("whsk_{}", BASE64.encode(&[[7; 32].as_slice(), &public].concat()));
        assert_eq!(signature(&[key(&whole)], ID, AT, BODY), signed);
    }

    #[test]
    fn every_key_signs_so_that_receivers_can_change_over() {
        let other = format!("whsec_{}", BASE64.encode(&[1; 32]));
        let both = signature(&[key(SECRET), key(&other)], ID, AT, BODY);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(first, signature(&[key(SECRET)], ID, AT, BODY));
        assert_eq!(second, signature(&[key(&other)], ID, AT, BODY));
        assert_ne!(first, second);
    }

    #[test]
    fn what_is_no_key_is_refused_and_no_key_is_shown() {
        let short = format!("whsec_{}", BASE64.encode(&[1; 23]));
        let long = format!("whsec_{}", BASE64.encode(&[1; 65]));
        let mixed = format!("whsk_{}", BASE64.encode(&[7; 64]));
        let cut = format!("whsk_{}", BASE64.encode(&[7; 31]));
        for bad in ["", "secret", "whsec_", "whsec_!!!!", "whpk_AAAA", &short, &long, &mixed, &cut] {
            assert_eq!(bad.parse::<SigningKey>().unwrap_err(), NotAKey, "{bad}");
        }
        assert_eq!(format!("{:?}", key(SECRET)), "SigningKey(..)");
        assert_eq!(key(SECRET).public(), None);
    }
}
