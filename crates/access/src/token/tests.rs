//! Tokens as their issuers make them, and as attackers do.

use ::hmac::{Hmac, Mac, digest::KeyInit};
use proptest::prelude::*;
use serde_json::json;
use sha2::{Sha256, Sha384, Sha512};

use super::*;

const SECRET: &str = "the secret of the tests, 32 bytes";
/// 2025-01-20T02:00:00.250Z.
const NOW: Timestamp = Timestamp(1_737_338_400_250);
/// Ten minutes later, in seconds.
const EXP: u64 = 1_737_339_000;
const DOORS: [Door; 3] = [Door::Api, Door::Live, Door::Worker];

fn doors() -> Doors {
    Doors::new(&Secret::new(SECRET).unwrap())
}

/// What a foreign issuer that knows `key` would sign.
fn signed_by(key: &[u8], algorithm: Algorithm, claims: &Value) -> String {
    let name = match algorithm {
        Algorithm::Hs256 => "HS256",
        Algorithm::Hs384 => "HS384",
        Algorithm::Hs512 => "HS512",
    };
    let head = json!({"typ": "JWT", "alg": name});
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", encode(&head), encode(claims));
    format!("{message}.{}", signature(key, algorithm, &message))
}

/// By another implementation of HMAC than ours.
fn signature(key: &[u8], algorithm: Algorithm, message: &str) -> String {
    fn of<M: Mac + KeyInit>(key: &[u8], message: &str) -> String {
        let mac = <M as Mac>::new_from_slice(key).unwrap().chain_update(message);
        BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
    }
    match algorithm {
        Algorithm::Hs256 => of::<Hmac<Sha256>>(key, message),
        Algorithm::Hs384 => of::<Hmac<Sha384>>(key, message),
        Algorithm::Hs512 => of::<Hmac<Sha512>>(key, message),
    }
}

fn signed(claims: &Value) -> String {
    signed_by(SECRET.as_bytes(), Algorithm::Hs256, claims)
}

/// Header and claims as given, with a true HS256 signature over them.
fn sealed(head: &Value, claims: &Value) -> String {
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", encode(head), encode(claims));
    let signature = signature(SECRET.as_bytes(), Algorithm::Hs256, &message);
    format!("{message}.{signature}")
}

fn identify(token: &str, door: Door) -> Result<Identity, TokenError> {
    doors().identify(token, door, NOW).map(Arc::unwrap_or_clone)
}

fn refusal(claims: &Value) -> TokenError {
    identify(&signed(claims), Door::Api).unwrap_err()
}

fn ada() -> UserId {
    "ada".parse().unwrap()
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn generations(count: usize) -> Vec<GenerationId> {
    (0..count).map(|n| format!("gen_{n}").parse().unwrap()).collect()
}

#[test]
fn a_token_of_the_first_dialect_is_a_users_of_the_default_tenant() {
    let token = signed(&json!({"userId": "user_456", "exp": EXP, "email": "a@b", "generations": 7}));
    for door in [Door::Api, Door::Live] {
        let identity = identify(&token, door).unwrap();
        assert_eq!(identity.user.as_str(), "user_456");
        assert_eq!(identity.tenant, TenantId::fallback());
        assert_eq!((identity.role, identity.scope), (Role::User, Scope::Everything));
        assert_eq!(identity.expires_at, Some(Timestamp(EXP * 1_000)));
    }
}

/// The claims of a token as Node's `jsonwebtoken` writes it, signed by hand with another implementation of HMAC.
#[test]
fn a_token_made_by_another_program_is_read() {
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOiJ1c2VyXzQ1NiIsImlhdCI6MTczNzMzODAwMCwiZXhwIjoxNzM3MzM5MDAwfQ.H0cpuiCfG6jLFN0Sf5xANzYmzHzgS6oZHzJnnpevkSk";
    let doors = Doors::new(&Secret::new("s3cret").unwrap());
    assert_eq!(doors.identify(token, Door::Live, NOW).unwrap().user.as_str(), "user_456");
}

#[test]
fn the_three_hmac_algorithms_are_taken() {
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let token = signed_by(SECRET.as_bytes(), algorithm, &json!({"userId": "ada", "exp": EXP}));
        assert!(identify(&token, Door::Api).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn the_role_of_a_token_is_its_own() {
    for role in Role::ALL {
        let token = signed(&json!({"userId": "ada", "exp": EXP, "role": role.as_str(), "tenantId": "acme"}));
        let identity = identify(&token, Door::Api).unwrap();
        assert_eq!((identity.role, identity.tenant), (role, acme()));
    }
}

#[test]
fn a_role_of_another_vocabulary_is_a_user() {
    for role in [json!(null), json!("editor"), json!("Admin"), json!(""), json!(["admin"]), json!({"admin": true})] {
        let token = signed(&json!({"userId": "ada", "exp": EXP, "role": role}));
        assert_eq!(identify(&token, Door::Api).unwrap().role, Role::User, "{role}");
    }
}

#[test]
fn only_workers_enter_as_workers() {
    for role in Role::ALL {
        let token = doors().mint(&ada(), &acme(), role, Timestamp(EXP * 1_000));
        let entered = identify(&token, Door::Worker).map(|identity| identity.role);
        assert_eq!(entered, if role == Role::Worker { Ok(role) } else { Err(TokenError::Role) });
    }
}

#[test]
fn a_minted_token_is_good_at_once_and_ends_no_later_than_asked() {
    let token = doors().mint(&ada(), &acme(), Role::Service, Timestamp(EXP * 1_000 + 999));
    let identity = identify(&token, Door::Api).unwrap();
    assert_eq!((identity.user, identity.tenant, identity.role), (ada(), acme(), Role::Service));
    assert_eq!(identity.scope, Scope::Everything);
    assert_eq!(identity.expires_at, Some(Timestamp(EXP * 1_000)));
}

#[test]
fn a_live_token_watches_what_it_names_at_two_doors_and_never_works() {
    let named = generations(2);
    let token = doors().mint_live(&ada(), &acme(), &named, Timestamp(EXP * 1_000));
    for door in [Door::Api, Door::Live] {
        let identity = identify(&token, door).unwrap();
        assert_eq!((identity.user, identity.tenant, identity.role), (ada(), acme(), Role::User));
        assert_eq!(identity.scope, Scope::Watch(named.clone().into()));
        assert_eq!(identity.expires_at, Some(Timestamp(EXP * 1_000)));
    }
    assert_eq!(identify(&token, Door::Worker), Err(TokenError::Audience));
}

#[test]
fn the_largest_live_token_is_not_too_long() {
    let longest = "g".repeat(protocol::limits::ID_BYTES_MAX);
    // A quotation mark takes two bytes in JSON: the worst a printable id can do.
    let quotes = "\"".repeat(protocol::limits::ID_BYTES_MAX);
    let named = vec![longest.parse().unwrap(); LIVE_GENERATIONS_MAX];
    let token = doors().mint_live(&quotes.parse().unwrap(), &quotes.parse().unwrap(), &named, Timestamp(EXP * 1_000));
    let identity = identify(&token, Door::Live).unwrap();
    assert_eq!(identity.scope, Scope::Watch(named.into()));
    assert_eq!(identity.user.as_str(), quotes);
}

#[test]
fn knowing_the_secret_is_not_enough_to_make_a_live_token() {
    let claims = json!({"userId": "ada", "exp": EXP, "aud": "rushes:live", "generations": ["gen_a"]});
    assert_eq!(refusal(&claims), TokenError::Signature);
}

#[test]
fn the_live_key_signs_nothing_but_live_tokens() {
    let live = Secret::new(SECRET).unwrap().derive("live token 1");
    let forge = |algorithm, claims: &Value| identify(&signed_by(&live, algorithm, claims), Door::Live);
    let good = json!({"userId": "ada", "exp": EXP, "aud": "rushes:live", "generations": ["gen_a"]});
    assert!(forge(Algorithm::Hs256, &good).is_ok(), "the key of this test is not the one in use");
    assert_eq!(forge(Algorithm::Hs512, &good), Err(TokenError::Algorithm));
    let shared = json!({"userId": "ada", "exp": EXP, "role": "admin"});
    assert_eq!(forge(Algorithm::Hs256, &shared), Err(TokenError::Signature));
    for generations in [json!(null), json!("gen_a"), json!([1]), json!(["a/b"])] {
        let claims = json!({"userId": "ada", "exp": EXP, "aud": "rushes:live", "generations": generations});
        assert_eq!(forge(Algorithm::Hs256, &claims), Err(TokenError::Malformed), "{generations}");
    }
    // A role in a live token lifts nothing.
    let lifted = json!({"userId": "ada", "exp": EXP, "aud": "rushes:live", "generations": [], "role": "worker"});
    assert_eq!(forge(Algorithm::Hs256, &lifted).unwrap().role, Role::User);
}

#[test]
fn a_token_for_another_audience_enters_nowhere() {
    for audience in [json!("rushes:link"), json!("my-app"), json!(""), json!(["rushes:live"]), json!([]), json!(7)] {
        let token = signed(&json!({"userId": "ada", "exp": EXP, "aud": audience, "role": "worker"}));
        for door in DOORS {
            assert_eq!(identify(&token, door), Err(TokenError::Audience), "{audience} at {door:?}");
        }
    }
}

#[test]
fn a_link_signature_is_no_token() {
    let links = crate::Links::new(&Secret::new(SECRET).unwrap(), None);
    let url = links.url(&"gen_a".parse().unwrap(), &"film.mp4".parse().unwrap(), NOW);
    let (_, signature) = url.split_once("signature=").unwrap();
    for door in DOORS {
        assert_eq!(identify(signature, door), Err(TokenError::Malformed));
    }
}

#[test]
fn a_token_ends_exactly_at_its_expiry() {
    let token = signed(&json!({"userId": "ada", "exp": EXP}));
    let at = |now| doors().identify(&token, Door::Api, Timestamp(now)).map(|_| ());
    assert_eq!(at(EXP * 1_000 - 1), Ok(()));
    assert_eq!(at(EXP * 1_000), Err(TokenError::Expired));
    assert_eq!(at(EXP * 1_000 + 1), Err(TokenError::Expired));
    assert_eq!(at(u64::MAX), Err(TokenError::Expired));
}

#[test]
fn times_are_seconds_with_or_without_a_fraction() {
    let end = |exp: Value| identify(&signed(&json!({"userId": "ada", "exp": exp})), Door::Api).map(|i| i.expires_at);
    assert_eq!(end(json!(1_737_339_000.5)), Ok(Some(Timestamp(EXP * 1_000 + 500))));
    assert_eq!(end(json!(u64::MAX)), Ok(Some(Timestamp(u64::MAX))));
    assert_eq!(end(json!(1e300)), Ok(Some(Timestamp(u64::MAX))));
    assert_eq!(end(json!(0)), Err(TokenError::Expired));
    assert_eq!(end(json!(-1)), Err(TokenError::Expired));
    assert_eq!(end(json!(-1e300)), Err(TokenError::Expired));
    for bad in [json!("1737339000"), json!(true), json!([EXP])] {
        assert_eq!(end(bad.clone()), Err(TokenError::Malformed), "{bad}");
    }
}

#[test]
fn a_token_without_an_end_is_refused() {
    assert_eq!(refusal(&json!({"userId": "ada"})), TokenError::NoExpiry);
    assert_eq!(refusal(&json!({"userId": "ada", "exp": null})), TokenError::NoExpiry);
}

#[test]
fn a_token_waits_for_its_beginning() {
    let doors = doors();
    let token = signed(&json!({"userId": "ada", "exp": EXP, "nbf": EXP - 60}));
    let at = |now| doors.identify(&token, Door::Api, Timestamp(now)).map(|_| ());
    assert_eq!(at((EXP - 60) * 1_000 - 1), Err(TokenError::NotYet));
    assert_eq!(at((EXP - 60) * 1_000), Ok(()));
}

#[test]
fn a_token_without_a_user_is_refused() {
    for user in [json!(null), json!(""), json!(7), json!("a\nb"), json!("x".repeat(129)), json!(["ada"])] {
        assert_eq!(refusal(&json!({"userId": user, "sub": "ada", "exp": EXP})), TokenError::NoUser, "{user}");
    }
    assert_eq!(refusal(&json!({"exp": EXP})), TokenError::NoUser);
}

#[test]
fn a_tenant_that_cannot_be_read_is_not_the_default_one() {
    for tenant in [json!(""), json!(7), json!(["acme"]), json!("x".repeat(129))] {
        let claims = json!({"userId": "ada", "exp": EXP, "tenantId": tenant});
        assert_eq!(refusal(&claims), TokenError::Tenant, "{tenant}");
    }
    let absent = signed(&json!({"userId": "ada", "exp": EXP, "tenantId": null}));
    assert_eq!(identify(&absent, Door::Api).unwrap().tenant, TenantId::fallback());
}

#[test]
fn a_token_that_is_not_signed_with_hmac_is_refused() {
    let claims = json!({"userId": "ada", "exp": EXP, "role": "admin"});
    for algorithm in ["none", "None", "NONE", "", "hs256", "RS256", "ES256", "EdDSA", "HS1"] {
        let token = sealed(&json!({"typ": "JWT", "alg": algorithm}), &claims);
        assert_eq!(identify(&token, Door::Api), Err(TokenError::Algorithm), "{algorithm:?}");
    }
    let unsigned = sealed(&json!({"alg": "none"}), &claims);
    let (message, _) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(identify(&format!("{message}."), Door::Api), Err(TokenError::Algorithm));
    let extended = sealed(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &claims);
    assert_eq!(identify(&extended, Door::Api), Err(TokenError::Algorithm));
    assert!(identify(&sealed(&json!({"alg": "HS256", "kid": "../../etc"}), &claims), Door::Api).is_ok());
}

#[test]
fn a_foreign_signature_is_refused() {
    let claims = json!({"userId": "ada", "exp": EXP});
    for key in ["", "the secret of the tests, 32 byteS", "another"] {
        let token = signed_by(key.as_bytes(), Algorithm::Hs256, &claims);
        assert_eq!(identify(&token, Door::Api), Err(TokenError::Signature), "{key:?}");
    }
    // True, and of another algorithm than the header says.
    let token = signed_by(SECRET.as_bytes(), Algorithm::Hs512, &claims);
    let (message, _) = token.rsplit_once('.').unwrap();
    let signature = signature(SECRET.as_bytes(), Algorithm::Hs256, message);
    assert_eq!(identify(&format!("{message}.{signature}"), Door::Api), Err(TokenError::Signature));
    assert_eq!(identify(&format!("{message}."), Door::Api), Err(TokenError::Signature));
}

#[test]
fn changed_claims_are_refused() {
    let token = signed(&json!({"userId": "ada", "exp": EXP}));
    let lifted = signed_by(b"another", Algorithm::Hs256, &json!({"userId": "ada", "exp": EXP, "role": "admin"}));
    let parts: Vec<&str> = token.split('.').collect();
    let claims = lifted.split('.').nth(1).unwrap();
    let mixed = format!("{}.{claims}.{}", parts[0], parts[2]);
    assert_eq!(identify(&mixed, Door::Api), Err(TokenError::Signature));
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let doors = doors();
    let live = doors.mint_live(&ada(), &acme(), &generations(1), Timestamp(EXP * 1_000));
    for token in [signed(&json!({"userId": "ada", "exp": EXP})), live] {
        assert!(doors.identify(&token, Door::Live, NOW).is_ok());
        for at in 0..token.len() {
            for with in [b'A', b'B', b'.', b'=', b'_'] {
                let mut bytes = token.clone().into_bytes();
                if bytes[at] == with {
                    continue;
                }
                bytes[at] = with;
                let tampered = String::from_utf8(bytes).unwrap();
                assert!(doors.identify(&tampered, Door::Live, NOW).is_err(), "byte {at} of {token}");
            }
        }
        for cut in 0..token.len() {
            assert!(doors.identify(&token[..cut], Door::Live, NOW).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    assert_eq!(identify("", Door::Live), Err(TokenError::Missing));
    let good = signed(&json!({"userId": "ada", "exp": EXP}));
    for bad in [
        " ",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.",
        "ä.ö.ü",
        &format!("Bearer {good}"),
        &format!(" {good}"),
        &format!("{good}\n"),
        &format!("{good}=="),
        &format!(".{good}"),
        &format!("{good}."),
        &format!("\"{good}\""),
    ] {
        assert_eq!(identify(bad, Door::Live), Err(TokenError::Malformed), "{bad:?}");
    }
    assert_eq!(identify(&"a".repeat(TOKEN_BYTES_MAX), Door::Live), Err(TokenError::Malformed));
    assert_eq!(identify(&"a".repeat(TOKEN_BYTES_MAX + 1), Door::Live), Err(TokenError::TooLong));
}

#[test]
fn claims_that_are_not_an_object_or_say_things_twice_are_refused() {
    for claims in [&b"7"[..], b"null", b"\"ada\"", b"{", b"\xff", br#"{"userId":"ada","userId":"bob","exp":1}"#] {
        let message = format!("{}.{}", BASE64URL_NOPAD.encode(br#"{"alg":"HS256"}"#), BASE64URL_NOPAD.encode(claims));
        let signature = signature(SECRET.as_bytes(), Algorithm::Hs256, &message);
        assert_eq!(identify(&format!("{message}.{signature}"), Door::Api), Err(TokenError::Malformed), "{claims:?}");
    }
}

#[test]
fn a_remembered_token_still_expires() {
    let doors = doors();
    let token = signed(&json!({"userId": "ada", "exp": EXP}));
    assert!(doors.identify(&token, Door::Live, NOW).is_ok());
    assert!(doors.identify(&token, Door::Live, Timestamp(EXP * 1_000 - 1)).is_ok());
    assert_eq!(doors.identify(&token, Door::Live, Timestamp(EXP * 1_000)), Err(TokenError::Expired));
    assert_eq!(doors.identify(&token, Door::Live, Timestamp(EXP * 1_000)), Err(TokenError::Expired));
}

#[test]
fn a_remembered_token_enters_no_other_door() {
    let doors = doors();
    let user = signed(&json!({"userId": "ada", "exp": EXP}));
    let live = doors.mint_live(&ada(), &acme(), &generations(1), Timestamp(EXP * 1_000));
    let first = doors.identify(&user, Door::Live, NOW).unwrap();
    assert_eq!(doors.identify(&user, Door::Worker, NOW), Err(TokenError::Role));
    assert_eq!(doors.identify(&user, Door::Api, NOW), Ok(first));
    assert!(doors.identify(&live, Door::Live, NOW).is_ok());
    assert_eq!(doors.identify(&live, Door::Worker, NOW), Err(TokenError::Audience));
}

#[test]
fn a_remembered_token_keeps_the_same_ids_in_memory() {
    let doors = doors();
    let token = signed(&json!({"userId": "ada", "exp": EXP}));
    let first = doors.identify(&token, Door::Live, NOW).unwrap();
    let second = doors.identify(&token, Door::Live, NOW).unwrap();
    assert!(std::ptr::eq(first.user.as_str(), second.user.as_str()), "verified twice");
}

#[test]
fn a_refused_token_is_not_remembered_as_good() {
    let doors = doors();
    let token = signed(&json!({"userId": "ada", "exp": EXP}));
    assert_eq!(doors.identify(&token, Door::Live, Timestamp(EXP * 1_000)), Err(TokenError::Expired));
    let forged = signed_by(b"another", Algorithm::Hs256, &json!({"userId": "ada", "exp": EXP}));
    for _ in 0..2 {
        assert_eq!(doors.identify(&forged, Door::Live, NOW), Err(TokenError::Signature));
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_enters(text in any::<String>()) {
        prop_assert!(identify(&text, Door::Live).is_err());
    }

    #[test]
    fn no_three_parts_panic_or_enter(text in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
        prop_assert!(identify(&text, Door::Live).is_err());
    }

    /// Behind a good header and a good signature any claims are judged, none panics.
    #[test]
    fn no_claims_panic(
        user in json_value(), tenant in json_value(), role in json_value(), aud in json_value(), exp in json_value(),
        nbf in json_value(), generations in json_value(),
    ) {
        let claims = json!({
            "userId": user, "tenantId": tenant, "role": role, "aud": aud, "exp": exp, "nbf": nbf,
            "generations": generations,
        });
        if let Ok(identity) = identify(&signed(&claims), Door::Api) {
            prop_assert!(aud.is_null());
            prop_assert_eq!(Some(identity.user.as_str()), user.as_str());
            prop_assert!(identity.expires_at > Some(NOW));
        }
    }

    #[test]
    fn what_is_minted_comes_back(user in "\\PC{1,32}", tenant in "\\PC{1,32}", role in 0..5usize, count in 0..5usize) {
        let (user, tenant): (UserId, TenantId) = (user.parse().unwrap(), tenant.parse().unwrap());
        let (doors, expires_at) = (doors(), Timestamp(EXP * 1_000));
        let token = doors.mint(&user, &tenant, Role::ALL[role], expires_at);
        let (role, scope) = (Role::ALL[role], Scope::Everything);
        let wanted = Identity { user, tenant, role, scope, expires_at: Some(expires_at) };
        prop_assert_eq!(doors.identify(&token, Door::Api, NOW).map(Arc::unwrap_or_clone), Ok(wanted.clone()));
        let live = doors.mint_live(&wanted.user, &wanted.tenant, &generations(count), expires_at);
        let wanted = Identity { role: Role::User, scope: Scope::Watch(generations(count).into()), ..wanted };
        prop_assert_eq!(doors.identify(&live, Door::Live, NOW).map(Arc::unwrap_or_clone), Ok(wanted));
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (EXP - 5..EXP + 5).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z]{1,8}".prop_map(Value::from),
        prop::collection::vec("[a-z/]{0,8}", 0..3).prop_map(Value::from),
    ]
}
