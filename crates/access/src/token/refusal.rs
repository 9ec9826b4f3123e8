//! Why a token was refused, and what to tell its holder.

use protocol::{ErrorCode, Problem, limits};

use super::{AUDIENCE_LIVE, TOKEN_BYTES_MAX};

/// Why a token was refused. The same token never passes later, except one that is [`TokenError::NotYet`] valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// There was none.
    #[error("no token")]
    Missing,
    /// It is over the limit, and was not looked at.
    #[error("token longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JWT, or a claim we read has a wrong type.
    #[error("malformed token")]
    Malformed,
    /// It is signed in a way we do not take, or not at all.
    #[error("token algorithm is not accepted")]
    Algorithm,
    /// Somebody else signed it, or it was changed.
    #[error("token signature is wrong")]
    Signature,
    /// It says nothing about its end.
    #[error("token has no `exp`")]
    NoExpiry,
    /// Its time is over.
    #[error("token expired")]
    Expired,
    /// Its time has not come.
    #[error("token is not valid yet")]
    NotYet,
    /// It was made for somebody else, or for another door.
    #[error("token is meant for another audience")]
    Audience,
    /// It names no user.
    #[error("token has no `userId`")]
    NoUser,
    /// It names a tenant that cannot be one.
    #[error("token has a malformed `tenantId`")]
    Tenant,
    /// It is good, and its role does not enter by this door.
    #[error("only tokens of role `worker` enter here")]
    Role,
}

impl TokenError {
    /// All refusals.
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::TooLong,
        Self::Malformed,
        Self::Algorithm,
        Self::Signature,
        Self::NoExpiry,
        Self::Expired,
        Self::NotYet,
        Self::Audience,
        Self::NoUser,
        Self::Tenant,
        Self::Role,
    ];

    /// `forbidden` where another role would do, else `unauthorized`.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Role => ErrorCode::Forbidden,
            _ => ErrorCode::Unauthorized,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> String {
        let id_bytes = limits::ID_BYTES_MAX;
        match self {
            Self::Missing => "send `Authorization: Bearer <token>`; `rushes token` makes one".into(),
            Self::TooLong => "name fewer generations, or put fewer claims into it".into(),
            Self::Malformed => "send the JWT itself: three parts with dots between, without `Bearer` or quotes".into(),
            Self::Algorithm => "sign with HS256, HS384 or HS512; live tokens are minted by this server alone".into(),
            Self::Signature => {
                "sign with the secret this server was started with; a live token comes from this server".into()
            }
            Self::NoExpiry => "set `exp`, in seconds since 1970".into(),
            Self::Expired => "get a new token; if this one is new, compare the clocks of both machines".into(),
            Self::NotYet => "wait until `nbf`; if it has passed, compare the clocks of both machines".into(),
            Self::Audience => {
                format!("leave `aud` out; tokens with `aud` `{AUDIENCE_LIVE}` only watch, and never enter as workers")
            }
            Self::NoUser => format!("set the claim `userId` to a text of 1 to {id_bytes} printable characters"),
            Self::Tenant => {
                format!("set the claim `tenantId` to a text of 1 to {id_bytes} printable characters, or leave it out")
            }
            Self::Role => "mint a token with the claim `role` set to `worker`".into(),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(refused: TokenError) -> Self {
        Self::new(refused.code(), refused.to_string()).hint(refused.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        let problems: Vec<Problem> = TokenError::ALL.into_iter().map(Problem::from).collect();
        for (at, problem) in problems.iter().enumerate() {
            assert!(!problem.hint.is_empty() && !problem.retryable);
            assert!(problems[..at].iter().all(|p| p.message != problem.message && p.hint != problem.hint), "{problem}");
        }
        let forbidden: Vec<_> = TokenError::ALL.into_iter().filter(|e| e.code() != ErrorCode::Unauthorized).collect();
        assert_eq!(forbidden, [TokenError::Role]);
    }
}
