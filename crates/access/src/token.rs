//! Tokens: read, verified, minted.
//!
//! Two kinds. The first dialect's tokens are signed with the secret itself (HS256, HS384 or HS512), carry `userId` and
//! `exp`, and optionally `tenantId` and `role`; any program that knows the secret makes them. Live tokens watch named
//! generations, always carry the `aud` `rushes:live`, and are signed with a key derived from the secret, so neither
//! kind passes for the other.
//!
//! A token is three parts of base64 and an HMAC, so it is read here over the one crypto provider: a library would judge
//! the claims by the system's clock, and bring public-key algorithms nobody here uses. The tests sign with another implementation of HMAC. What an identity may do once it is inside is decided in [`crate::rights`]; signed links are no tokens, see
//! [`crate::link`].

mod cache;
mod refusal;

use std::{fmt, sync::Arc};

use data_encoding::BASE64URL_NOPAD;
use protocol::{GenerationId, TenantId, Timestamp, UserId};
use ring::hmac;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use self::cache::{Cache, Known};
use crate::{
    digest,
    identity::{Door, Identity, Role, Scope},
    secret::Secret,
};

pub use self::refusal::TokenError;

/// Longest token, in bytes: [`LIVE_GENERATIONS_MAX`] of the longest ids, in base64. Anything longer is not looked at.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Most generations a live token names: a page of thumbnails.
pub const LIVE_GENERATIONS_MAX: usize = 64;

/// The header of what we sign.
const HEAD: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// The `aud` of live tokens.
const AUDIENCE_LIVE: &str = "rushes:live";

/// Reads, verifies and mints tokens. One per process, shared by all doors.
pub struct Doors {
    shared: Keys,
    live: Keys,
    cache: Cache,
}

/// One secret as the key of each algorithm, prepared once.
struct Keys {
    hs256: hmac::Key,
    hs384: hmac::Key,
    hs512: hmac::Key,
}

/// What a token may be signed with (RFC 7518 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
}

/// What we read of a token's header. `kid`, `jwk` and the like are not asked: there is one key per kind.
#[derive(Deserialize)]
struct Head {
    alg: String,
    /// Extensions a reader must understand; we understand none (RFC 7515 §4.1.11).
    crit: Option<Value>,
}

/// What we read of a token's claims. Values, so that a claim of another meaning fails where it is used, or nowhere.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    user_id: Option<Value>,
    tenant_id: Option<Value>,
    role: Option<Value>,
    aud: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    generations: Option<Value>,
}

/// The token in the value of an `Authorization` header; `None` where the value is no bearer token.
#[must_use]
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What we write.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Minted<'a> {
    user_id: &'a UserId,
    tenant_id: &'a TenantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generations: Option<&'a [GenerationId]>,
    /// Seconds.
    exp: u64,
}

impl Doors {
    /// Prepares the keys.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let live = secret.derive("live token 1");
        Self { shared: Keys::new(secret.bytes()), live: Keys::new(&live), cache: Cache::new() }
    }

    /// Says whose `token` is, if it is good at `now` and may enter by `door`.
    ///
    /// A token is expired from the second of its `exp` on; there is no leeway. One without `role`, or with a role of
    /// somebody else's vocabulary, is a user's; one without `tenantId` belongs to tenant `default`. Workers alone enter
    /// at [`Door::Worker`]. Live tokens enter at [`Door::Live`], and at [`Door::Api`] for what [`crate::may`] leaves
    /// them. A good token is remembered until it expires.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with the token.
    pub fn identify(&self, token: &str, door: Door, now: Timestamp) -> Result<Arc<Identity>, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let hash = digest::sha256(token.as_bytes());
        let identity = match self.cache.find(&hash, now) {
            Known::Good(identity) => identity,
            Known::Expired => return Err(TokenError::Expired),
            Known::No => {
                let identity = Arc::new(self.verify(token, now)?);
                self.cache.keep(hash, Arc::clone(&identity));
                identity
            }
        };
        // After the cache: what one door remembered says nothing about another.
        admit(identity, door)
    }

    /// Makes a token of the first dialect's form. It ends at the last whole second up to `expires_at`.
    #[must_use]
    pub fn mint(&self, user: &UserId, tenant: &TenantId, role: Role, expires_at: Timestamp) -> String {
        let (user_id, tenant_id, exp) = (user, tenant, expires_at.0 / 1_000);
        let role = Some(role.as_str());
        self.shared.sign(&Minted { user_id, tenant_id, role, aud: None, generations: None, exp })
    }

    /// Makes a token that watches `generations` and nothing else. It ends at the last whole second up to `expires_at`.
    ///
    /// The caller asks [`crate::may`] for each generation first, and sees to it that there are at most
    /// [`LIVE_GENERATIONS_MAX`]: a token over [`TOKEN_BYTES_MAX`] would be refused when it comes back.
    #[must_use]
    pub fn mint_live(
        &self,
        user: &UserId,
        tenant: &TenantId,
        generations: &[GenerationId],
        expires_at: Timestamp,
    ) -> String {
        debug_assert!(generations.len() <= LIVE_GENERATIONS_MAX, "{} generations in a token", generations.len());
        let (user_id, tenant_id, exp) = (user, tenant, expires_at.0 / 1_000);
        let aud = Some(AUDIENCE_LIVE);
        self.live.sign(&Minted { user_id, tenant_id, role: None, aud, generations: Some(generations), exp })
    }

    /// Everything that is the same at each door.
    fn verify(&self, token: &str, now: Timestamp) -> Result<Identity, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (head, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let head: Head = read_part(head)?;
        let claims: Claims = read_part(claims)?;
        // Which key to try is read from what nobody has vouched for yet; a lie only leads to the key that refuses it.
        let live = claims.aud.as_ref().and_then(Value::as_str) == Some(AUDIENCE_LIVE);
        let algorithm = read_algorithm(&head, live)?;
        let keys = if live { &self.live } else { &self.shared };
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| TokenError::Malformed)?;
        hmac::verify(keys.of(algorithm), signed.as_bytes(), &signature).map_err(|_| TokenError::Signature)?;
        claims.judge(live, now)
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

impl Keys {
    fn new(secret: &[u8]) -> Self {
        Self {
            hs256: hmac::Key::new(hmac::HMAC_SHA256, secret),
            hs384: hmac::Key::new(hmac::HMAC_SHA384, secret),
            hs512: hmac::Key::new(hmac::HMAC_SHA512, secret),
        }
    }

    fn of(&self, algorithm: Algorithm) -> &hmac::Key {
        match algorithm {
            Algorithm::Hs256 => &self.hs256,
            Algorithm::Hs384 => &self.hs384,
            Algorithm::Hs512 => &self.hs512,
        }
    }

    fn sign(&self, claims: &Minted<'_>) -> String {
        let claims = serde_json::to_vec(claims).expect("texts and numbers are JSON");
        let mut token = BASE64URL_NOPAD.encode(HEAD.as_bytes());
        token.push('.');
        BASE64URL_NOPAD.encode_append(&claims, &mut token);
        let signature = hmac::sign(&self.hs256, token.as_bytes());
        token.push('.');
        BASE64URL_NOPAD.encode_append(signature.as_ref(), &mut token);
        token
    }
}

impl Claims {
    /// Reads the identity out of claims whose signature is good.
    fn judge(self, live: bool, now: Timestamp) -> Result<Identity, TokenError> {
        let expires_at = time(self.exp)?.ok_or(TokenError::NoExpiry)?;
        if now >= expires_at {
            return Err(TokenError::Expired);
        }
        if time(self.nbf)?.is_some_and(|valid_from| now < valid_from) {
            return Err(TokenError::NotYet);
        }
        if !live && self.aud.is_some() {
            return Err(TokenError::Audience);
        }
        let user = self.user_id.as_ref().and_then(Value::as_str).ok_or(TokenError::NoUser)?;
        let user = user.parse().map_err(|_| TokenError::NoUser)?;
        // A tenant that cannot be read is not `default`: that would open another tenant's door.
        let tenant = match self.tenant_id {
            None => TenantId::fallback(),
            Some(Value::String(text)) if text == TenantId::fallback().as_str() => TenantId::fallback(),
            Some(Value::String(text)) => text.parse().map_err(|_| TokenError::Tenant)?,
            Some(_) => return Err(TokenError::Tenant),
        };
        let (role, scope) = if live {
            let named: Vec<GenerationId> =
                self.generations.and_then(|value| serde_json::from_value(value).ok()).ok_or(TokenError::Malformed)?;
            (Role::User, Scope::Watch(Arc::from(named)))
        } else {
            // Other programs sign with this secret too and have roles of their own; those get the least.
            let role = self.role.as_ref().and_then(Value::as_str).and_then(|text| text.parse().ok());
            (role.unwrap_or(Role::User), Scope::Everything)
        };
        Ok(Identity { user, tenant, role, scope, expires_at: Some(expires_at) })
    }
}

/// Lets an identity in at `door`, or says why not.
fn admit(identity: Arc<Identity>, door: Door) -> Result<Arc<Identity>, TokenError> {
    match (door, &identity.scope, identity.role) {
        (Door::Worker, Scope::Watch(_), _) => Err(TokenError::Audience),
        (Door::Worker, Scope::Everything, Role::Worker) | (Door::Api | Door::Live, ..) => Ok(identity),
        (Door::Worker, Scope::Everything, _) => Err(TokenError::Role),
    }
}

fn read_part<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

/// The algorithm to verify with. `none`, public keys and unknown extensions are refused before any key is touched.
fn read_algorithm(head: &Head, live: bool) -> Result<Algorithm, TokenError> {
    match head.alg.as_str() {
        _ if head.crit.is_some() => Err(TokenError::Algorithm),
        "HS256" => Ok(Algorithm::Hs256),
        "HS384" if !live => Ok(Algorithm::Hs384),
        "HS512" if !live => Ok(Algorithm::Hs512),
        _ => Err(TokenError::Algorithm),
    }
}

/// A `NumericDate` (RFC 7519 §2): seconds, possibly with a fraction. What lies before 1970 counts as 1970.
fn time(claim: Option<Value>) -> Result<Option<Timestamp>, TokenError> {
    let Some(claim) = claim else { return Ok(None) };
    if let Some(seconds) = claim.as_u64() {
        return Ok(Some(Timestamp(seconds.saturating_mul(1_000))));
    }
    let seconds = claim.as_f64().ok_or(TokenError::Malformed)?;
    // The cast saturates at both ends.
    Ok(Some(Timestamp((seconds * 1_000.0) as u64)))
}

#[cfg(test)]
mod tests;
