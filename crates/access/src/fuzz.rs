//! Bodies for fuzzers: each takes any bytes, and must neither panic, nor take long, nor let anybody in.

use protocol::Timestamp;

use crate::{
    Cursors, Door, Doors, Links, Secret,
    origin::{OriginPolicy, Origins, origin_allowed},
};

/// Nobody signs with it: the corpus holds tokens and cursors of another secret.
const SECRET: &str = "the secret of a server that nobody talks to";
const NOW: Timestamp = Timestamp(1_737_331_280_000);

fn secret() -> Secret {
    Secret::new(SECRET).expect("the secret is not empty")
}

/// A token at every door.
///
/// # Panics
/// When one is taken that nobody signed.
pub fn token(bytes: &[u8]) {
    let doors = Doors::new(&secret());
    let text = String::from_utf8_lossy(bytes);
    for door in [Door::Api, Door::Live, Door::Worker] {
        assert!(doors.identify(&text, door, NOW).is_err());
    }
}

/// The expiry and the signature of a link, apart by a space.
///
/// # Panics
/// When one opens that nobody signed.
pub fn link(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (expires, signature) = text.split_once(' ').unwrap_or((&text, ""));
    let (generation, name) = ("gen_a".parse(), "film.mp4".parse());
    let (generation, name) = (generation.expect("a literal id is valid"), name.expect("a literal name is valid"));
    let expires = expires.parse().unwrap_or(u64::MAX);
    assert!(!Links::new(&secret(), None).check(&generation, &name, expires, signature, NOW));
}

/// A cursor of many generations.
///
/// # Panics
/// When one opens that nobody signed.
pub fn cursor(bytes: &[u8]) {
    assert_eq!(Cursors::new(&secret()).open(&String::from_utf8_lossy(bytes)), None);
}

/// `Origin` and `Host`, apart by a space, and as an entry of the configuration.
///
/// # Panics
/// When a page may talk to the demo whose host is none of this machine.
pub fn origin(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (origin, host) = text.split_once(' ').unwrap_or((&text, ""));
    let _ = Origins::parse(&[origin]);
    let of_demo = origin_allowed(Some(origin), Some(host), &OriginPolicy::Loopback);
    assert!(!of_demo || crate::origin::is_loopback_host(host));
}
