//! Why a connection ends (RFC 6455, section 7.4): the codes that may stand in a close frame, and ours among them.
//!
//! What each end means for a session is decided by whoever closes it.

use std::fmt;

/// The code of a close frame. Only codes that may be sent exist: 1005, 1006 and 1015 do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The work is done.
    pub const NORMAL: Self = Self(1000);
    /// The server drains, or the page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The frames break RFC 6455.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of message that is not taken here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// A text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A rule of ours was broken.
    pub const POLICY: Self = Self(1008);
    /// A message larger than the endpoint takes.
    pub const TOO_BIG: Self = Self(1009);
    /// The server met a condition it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server restarts: come back.
    pub const RESTART: Self = Self(1012);
    /// The server is overloaded: come back later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// The client did not authenticate in time.
    pub const AUTHENTICATION_TIMEOUT: Self = Self(4001);
    /// Authentication failed or expired: come back only with a new token.
    pub const AUTHENTICATION_FAILED: Self = Self(4003);

    /// The code as it stands in a close frame; `None` for one that no endpoint may send.
    ///
    /// 1000 to 2999 belong to the RFC and its registry, of which only the assigned are valid; 3000 to 4999 to
    /// libraries and applications.
    #[must_use]
    pub const fn from_wire(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::CloseCode;

    /// The whole of `u16` against the ranges written out the other way round.
    #[test]
    fn section_7_4_exactly_the_codes_an_endpoint_may_send_exist() {
        for code in 0..=u16::MAX {
            let refused = matches!(code, 0..=999 | 1004 | 1005 | 1006 | 1015..=2999 | 5000..);
            assert_eq!(CloseCode::from_wire(code).map(CloseCode::get), (!refused).then_some(code), "{code}");
        }
    }

    #[test]
    fn section_7_4_every_named_code_may_be_sent() {
        for (code, number) in [
            (CloseCode::NORMAL, 1000),
            (CloseCode::GOING_AWAY, 1001),
            (CloseCode::PROTOCOL_ERROR, 1002),
            (CloseCode::UNSUPPORTED, 1003),
            (CloseCode::INVALID_PAYLOAD, 1007),
            (CloseCode::POLICY, 1008),
            (CloseCode::TOO_BIG, 1009),
            (CloseCode::INTERNAL_ERROR, 1011),
            (CloseCode::RESTART, 1012),
            (CloseCode::TRY_AGAIN_LATER, 1013),
            (CloseCode::AUTHENTICATION_TIMEOUT, 4001),
            (CloseCode::AUTHENTICATION_FAILED, 4003),
        ] {
            assert_eq!(CloseCode::from_wire(number), Some(code));
        }
    }
}
