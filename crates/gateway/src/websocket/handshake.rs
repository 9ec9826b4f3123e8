//! The server's side of the opening handshake (RFC 6455, section 4.2): a request's headers in, the answer's out.
//!
//! The method, the path, the origin and who is asking are for others to check. Extensions are never agreed on.

use data_encoding::BASE64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The one subprotocol spoken here. A client that offers none gets none.
pub const SUBPROTOCOL: &str = "rushes.v1";
/// The one version of WebSocket, to be sent as `Sec-WebSocket-Version` with a refusal of another.
pub const VERSION: &str = "13";

/// From section 1.3: what a server appends to the key to show that it speaks WebSocket.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// 16 bytes in base64: 22 characters and two of padding.
const KEY_BYTES: usize = 24;

const UPGRADE: &str = "upgrade";
const CONNECTION: &str = "connection";
const KEY: &str = "sec-websocket-key";
const SEC_VERSION: &str = "sec-websocket-version";
const PROTOCOL: &str = "sec-websocket-protocol";

/// What the 101 answer says, beside `Upgrade: websocket` and `Connection: Upgrade`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// `Sec-WebSocket-Accept`.
    pub accept: String,
    /// `Sec-WebSocket-Protocol`; without one the header is left out.
    pub subprotocol: Option<&'static str>,
}

/// Why a request is not a WebSocket handshake. Answered with 400, but for another version with 426 and [`VERSION`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A header is not there at all.
    #[error("header `{header}` is missing")]
    Missing {
        /// Its name in lower case.
        header: &'static str,
    },
    /// A list header is there without the word that makes it a handshake.
    #[error("header `{header}` does not name `{token}`")]
    NotNamed {
        /// Its name in lower case.
        header: &'static str,
        /// The word.
        token: &'static str,
    },
    /// A header that may stand only once stands twice.
    #[error("header `{header}` is repeated")]
    Repeated {
        /// Its name in lower case.
        header: &'static str,
    },
    /// The key is not 16 bytes in base64.
    #[error("header `sec-websocket-key` is not 16 bytes in base64")]
    InvalidKey,
    /// Another version than [`VERSION`].
    #[error("header `sec-websocket-version` is not 13")]
    Version,
}

/// Checks a request's headers, given as names in any case and values, and makes the answer's.
///
/// # Errors
/// [`Refused`] names the first header that is missing or wrong, in the order of section 4.2.1.
pub fn accept<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Accepted, Refused> {
    let mut offer = Offer::default();
    for (name, value) in headers {
        offer.note(name, value)?;
    }
    offer.upgrade.require(UPGRADE, "websocket")?;
    offer.connection.require(CONNECTION, "upgrade")?;
    let key = offer.key.ok_or(Refused::Missing { header: KEY })?;
    if !is_key(key) {
        return Err(Refused::InvalidKey);
    }
    let version = offer.version.ok_or(Refused::Missing { header: SEC_VERSION })?;
    if version != VERSION.as_bytes() {
        return Err(Refused::Version);
    }
    Ok(Accepted { accept: answer_to(key), subprotocol: offer.subprotocol })
}

/// A header that lists words, of which one is looked for.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default)]
enum Named {
    #[default]
    Absent,
    Without,
    With,
}

impl Named {
    fn note(&mut self, value: &[u8], token: &str) {
        let named = tokens(value).any(|found| found.eq_ignore_ascii_case(token.as_bytes()));
        let seen = if named { Self::With } else { Self::Without };
        if seen > *self {
            *self = seen;
        }
    }

    const fn require(self, header: &'static str, token: &'static str) -> Result<(), Refused> {
        match self {
            Self::With => Ok(()),
            Self::Without => Err(Refused::NotNamed { header, token }),
            Self::Absent => Err(Refused::Missing { header }),
        }
    }
}

/// What the headers seen so far ask for.
#[derive(Default)]
struct Offer<'a> {
    upgrade: Named,
    connection: Named,
    key: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    subprotocol: Option<&'static str>,
}

impl<'a> Offer<'a> {
    fn note(&mut self, name: &str, value: &'a [u8]) -> Result<(), Refused> {
        if name.eq_ignore_ascii_case(UPGRADE) {
            self.upgrade.note(value, "websocket");
        } else if name.eq_ignore_ascii_case(CONNECTION) {
            self.connection.note(value, "upgrade");
        } else if name.eq_ignore_ascii_case(KEY) {
            once(&mut self.key, value, KEY)?;
        } else if name.eq_ignore_ascii_case(SEC_VERSION) {
            once(&mut self.version, value, SEC_VERSION)?;
        } else if name.eq_ignore_ascii_case(PROTOCOL) && tokens(value).any(|offered| offered == SUBPROTOCOL.as_bytes())
        {
            self.subprotocol = Some(SUBPROTOCOL);
        }
        Ok(())
    }
}

fn once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], header: &'static str) -> Result<(), Refused> {
    match slot.replace(value.trim_ascii()) {
        None => Ok(()),
        Some(_) => Err(Refused::Repeated { header }),
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Checks the form alone. The bits that the last character has too many are not looked at: the RFC's own example of
/// a key (section 4.1) sets them.
fn is_key(value: &[u8]) -> bool {
    value.len() == KEY_BYTES
        && value.ends_with(b"==")
        && value[..KEY_BYTES - 2].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn answer_to(key: &[u8]) -> String {
    // SHA-1 is what the RFC prescribes; nothing here depends on its strength.
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, KEY_SUFFIX].concat()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::{Accepted, Refused, SUBPROTOCOL, accept};

    const REQUEST: [(&str, &str); 5] = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];

    fn try_accept(headers: &[(&str, &str)]) -> Result<Accepted, Refused> {
        accept(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    /// The request with one header replaced by those given.
    fn with(name: &str, values: &[&'static str]) -> Result<Accepted, Refused> {
        let mut headers: Vec<(&str, &str)> = REQUEST.iter().copied().filter(|(other, _)| *other != name).collect();
        headers.extend(values.iter().map(|value| (name, *value)));
        try_accept(&headers)
    }

    #[test]
    fn section_1_3_the_sample_key_is_answered_as_printed() {
        let accepted = try_accept(&REQUEST).unwrap();
        assert_eq!(accepted, Accepted { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(), subprotocol: None });
    }

    #[test]
    fn section_4_1_the_sample_key_with_stray_bits_is_taken() {
        assert!(with("Sec-WebSocket-Key", &["AQIDBAUGBwgJCgsMDQ4PEC=="]).is_ok());
    }

    #[test]
    fn section_4_2_1_a_missing_header_is_named() {
        for header in ["upgrade", "connection", "sec-websocket-key", "sec-websocket-version"] {
            let headers: Vec<_> =
                REQUEST.iter().copied().filter(|(name, _)| !name.eq_ignore_ascii_case(header)).collect();
            let refused = try_accept(&headers).unwrap_err();
            assert_eq!(refused, Refused::Missing { header });
            assert_eq!(refused.to_string(), format!("header `{header}` is missing"));
        }
    }

    #[test]
    fn section_4_2_1_names_and_words_match_in_any_case_and_anywhere_in_a_list() {
        let shouted: Vec<(String, &str)> =
            REQUEST.iter().map(|(name, value)| (name.to_ascii_uppercase(), *value)).collect();
        assert!(accept(shouted.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))).is_ok());
        assert!(with("Upgrade", &["h2c, WebSocket"]).is_ok());
        assert!(with("Connection", &["keep-alive, upgrade"]).is_ok());
        assert!(with("Connection", &["keep-alive", "Upgrade", "te"]).is_ok());
    }

    #[test]
    fn section_4_2_1_a_list_without_the_word_is_refused() {
        let no_word = |header, token| Err(Refused::NotNamed { header, token });
        assert_eq!(with("Upgrade", &["h2c"]), no_word("upgrade", "websocket"));
        assert_eq!(with("Upgrade", &["websockets"]), no_word("upgrade", "websocket"));
        assert_eq!(with("Connection", &["keep-alive", "close"]), no_word("connection", "upgrade"));
    }

    #[test]
    fn section_4_2_1_a_key_that_is_not_16_bytes_is_refused() {
        for key in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZXM=",
            "dGhlIHNhbXBsZSBub25jZXMh",
            "dGhlIHNhbXBsZSBub2 jZQ==",
            "dGhlIHNhbXBsZSBub=5jZQ==",
            "dGhlIHNhbXBsZSBub25jZXMgdG9vIGxvbmc==",
        ] {
            assert_eq!(with("Sec-WebSocket-Key", &[key]), Err(Refused::InvalidKey), "{key}");
        }
    }

    #[test]
    fn section_4_4_another_version_is_refused() {
        for version in ["8", "0", "", "130", "13, 8"] {
            assert_eq!(with("Sec-WebSocket-Version", &[version]), Err(Refused::Version), "{version}");
        }
    }

    #[test]
    fn section_11_3_a_repeated_key_or_version_is_refused() {
        let key = REQUEST[3].1;
        assert_eq!(with("Sec-WebSocket-Key", &[key, key]), Err(Refused::Repeated { header: "sec-websocket-key" }));
        assert_eq!(
            with("Sec-WebSocket-Version", &["13", "13"]),
            Err(Refused::Repeated { header: "sec-websocket-version" })
        );
    }

    #[test]
    fn section_4_2_2_our_subprotocol_is_chosen_when_offered_and_none_otherwise() {
        for (offers, chosen) in [
            (&["rushes.v1"][..], Some(SUBPROTOCOL)),
            (&["graphql-ws, rushes.v1"], Some(SUBPROTOCOL)),
            (&["graphql-ws", "rushes.v1,other"], Some(SUBPROTOCOL)),
            (&["graphql-ws"], None),
            (&["Rushes.V1"], None),
            (&["rushes.v10"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(with("Sec-WebSocket-Protocol", offers).unwrap().subprotocol, chosen, "{offers:?}");
        }
    }
}
