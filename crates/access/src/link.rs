//! Signed artifact links: whoever holds one may download that artifact until it expires, and nothing else.
//!
//! Events store names; encoders add links when they write. The expiry moves in whole hours, so that within an hour all
//! watchers get the same bytes and an encoded event can be shared. Serving the file belongs to `server`.

use data_encoding::BASE64URL_NOPAD;
use protocol::{ArtifactName, GenerationId, Timestamp};
use ring::hmac;

use crate::secret::Secret;

/// The text of a link changes once in so long, in seconds: an event encoded once serves all watchers of that hour.
const STEP_S: u64 = 60 * 60;

/// Steps a link lasts, counted from the start of the one it is written in. 25, so that one written in the last moment
/// of its hour still lives 24 hours.
const LIFE_STEPS: u64 = 25;

/// Writes and checks links. Cheap to call: the key is prepared once.
#[derive(Debug)]
pub struct Links {
    key: hmac::Key,
    public_url: String,
}

impl Links {
    /// Links under `public_url` (for example `https://films.example`), or paths without a host where there is none.
    #[must_use]
    pub fn new(secret: &Secret, public_url: Option<String>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.derive("artifact link 1"));
        let mut public_url = public_url.unwrap_or_default();
        public_url.truncate(public_url.trim_end_matches('/').len());
        Self { key, public_url }
    }

    /// A link valid for more than 24 hours and at most 25; the same text for each call within one hour of the clock.
    #[must_use]
    pub fn url(&self, generation: &GenerationId, name: &ArtifactName, now: Timestamp) -> String {
        let expires = (now.0 / 1_000 / STEP_S).saturating_add(LIFE_STEPS).saturating_mul(STEP_S);
        let signature = BASE64URL_NOPAD.encode(hmac::sign(&self.key, &message(generation, name, expires)).as_ref());
        let base = &self.public_url;
        // Neither id needs escaping: both allow only characters that stand for themselves in a path.
        format!("{base}/v1/generations/{generation}/artifacts/{name}?expires={expires}&signature={signature}")
    }

    /// Did we sign this, and is it still valid at `now`? `expires` is in seconds since 1970; from that second on it is
    /// not.
    #[must_use]
    pub fn check(
        &self,
        generation: &GenerationId,
        name: &ArtifactName,
        expires: u64,
        signature: &str,
        now: Timestamp,
    ) -> bool {
        let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else { return false };
        // Constant time: how much of a guess was right does not show.
        let ours = hmac::verify(&self.key, &message(generation, name, expires), &signature).is_ok();
        ours && now.0 < expires.saturating_mul(1_000)
    }
}

/// What is signed. No id holds a line break, so no two links have the same message.
fn message(generation: &GenerationId, name: &ArtifactName, expires: u64) -> Vec<u8> {
    format!("{generation}\n{name}\n{expires}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    /// 2025-01-20T02:00:00Z, the start of an hour.
    const HOUR: Timestamp = Timestamp(1_737_338_400_000);

    fn links(secret: &str) -> Links {
        Links::new(&Secret::new(secret).unwrap(), None)
    }

    fn film() -> (GenerationId, ArtifactName) {
        (GenerationId::new("gen_a").unwrap(), ArtifactName::new("film.mp4").unwrap())
    }

    /// The two values of the query, as a server reads them.
    fn query(url: &str) -> (u64, String) {
        let (_, query) = url.split_once("?expires=").unwrap();
        let (expires, signature) = query.split_once("&signature=").unwrap();
        (expires.parse().unwrap(), signature.to_owned())
    }

    #[test]
    fn a_link_is_the_same_text_for_a_whole_hour_and_another_in_the_next() {
        let (generation, name) = film();
        let links = links("s3cret");
        let first = links.url(&generation, &name, HOUR);
        assert_eq!(first, links.url(&generation, &name, HOUR.plus(HOUR_MS - 1)));
        assert_ne!(first, links.url(&generation, &name, HOUR.plus(HOUR_MS)));
    }

    #[test]
    fn a_link_lives_at_least_a_day_and_ends_on_its_second() {
        let (generation, name) = film();
        let links = links("s3cret");
        for written in [HOUR, HOUR.plus(1), HOUR.plus(HOUR_MS / 2), HOUR.plus(HOUR_MS - 1)] {
            let (expires, signature) = query(&links.url(&generation, &name, written));
            let check = |now| links.check(&generation, &name, expires, &signature, now);
            assert!(check(written));
            assert!(check(written.plus(24 * HOUR_MS)), "written at {written}");
            assert!(check(Timestamp(expires * 1_000 - 1)));
            assert!(!check(Timestamp(expires * 1_000)));
            assert!(!check(written.plus(25 * HOUR_MS)));
        }
    }

    #[test]
    fn a_link_opens_nothing_but_what_it_was_signed_for() {
        let (generation, name) = film();
        let links = links("s3cret");
        let (expires, signature) = query(&links.url(&generation, &name, HOUR));
        let other_generation = GenerationId::new("gen_b").unwrap();
        let other_name = ArtifactName::new("film.mp5").unwrap();
        assert!(!links.check(&other_generation, &name, expires, &signature, HOUR));
        assert!(!links.check(&generation, &other_name, expires, &signature, HOUR));
        assert!(!links.check(&generation, &name, expires + 3_600, &signature, HOUR));
        assert!(!links.check(&generation, &name, u64::MAX, &signature, HOUR));
    }

    #[test]
    fn a_tampered_or_foreign_signature_is_refused() {
        let (generation, name) = film();
        let links = links("s3cret");
        let (expires, signature) = query(&links.url(&generation, &name, HOUR));
        for at in 0..signature.len() {
            let mut bytes = signature.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(bytes).unwrap();
            assert!(!links.check(&generation, &name, expires, &tampered, HOUR), "byte {at}");
        }
        for bad in ["", "=", "ä", &signature[1..], &format!("{signature}="), &format!("{signature}AAAA")] {
            assert!(!links.check(&generation, &name, expires, bad, HOUR), "{bad:?} was taken");
        }
        assert!(!self::links("another").check(&generation, &name, expires, &signature, HOUR));
    }

    #[test]
    fn a_link_starts_with_the_public_address() {
        let (generation, name) = film();
        let secret = Secret::new("s3cret").unwrap();
        let path = Links::new(&secret, None).url(&generation, &name, HOUR);
        assert!(path.starts_with("/v1/generations/gen_a/artifacts/film.mp4?expires=1737428400&signature="), "{path}");
        for public_url in ["https://films.example", "https://films.example/"] {
            let url = Links::new(&secret, Some(public_url.to_owned())).url(&generation, &name, HOUR);
            assert_eq!(url, format!("https://films.example{path}"));
        }
    }

    #[test]
    fn no_time_makes_a_link_overflow() {
        let (generation, name) = film();
        let links = links("s3cret");
        for now in [Timestamp(0), Timestamp(u64::MAX)] {
            let (expires, signature) = query(&links.url(&generation, &name, now));
            assert_eq!(links.check(&generation, &name, expires, &signature, now), now.0 == 0);
        }
    }
}
