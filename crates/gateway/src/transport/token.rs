//! Where a token is carried: `Authorization: Bearer …`, or `?token=` for those that cannot set a header.

use std::sync::Arc;

use access::{Door, Identity, token::bearer};
use axum::http::{HeaderMap, Uri, header};
use protocol::Problem;

use crate::Gateway;

/// The token of a request, if it has one.
pub(super) fn of(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    token.map(str::to_owned).or_else(|| param(uri, "token"))
}

/// The first value of a query parameter.
pub(super) fn param(uri: &Uri, name: &str) -> Option<String> {
    params(uri, name).next()
}

/// All values of a query parameter, in order.
pub(super) fn params<'a>(uri: &'a Uri, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let query = uri.query().unwrap_or_default();
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decode(value))
    })
}

/// Whether the parameter is there and does not say no: `?mine`, `?mine=1`, `?mine=true`.
pub(super) fn flag(uri: &Uri, name: &str) -> bool {
    param(uri, name).is_some_and(|value| !matches!(value.as_str(), "0" | "false"))
}

/// Who asks; the same 401 for every token that is not good.
pub(super) fn identify(
    gateway: &Gateway,
    headers: &HeaderMap,
    uri: &Uri,
    door: Door,
) -> Result<Arc<Identity>, Problem> {
    let token = of(headers, uri);
    Ok(gateway.identify(token.as_deref(), door)?)
}

/// Percent-decoding; a broken escape stands for itself.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'+' => b' ',
            b'%' => {
                let mut ahead = bytes.clone();
                let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                match (hex(ahead.next()), hex(ahead.next())) {
                    (Some(high), Some(low)) => {
                        bytes = ahead;
                        u8::try_from(high * 16 + low).unwrap_or(b'%')
                    }
                    _ => b'%',
                }
            }
            other => other,
        };
        out.push(decoded);
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded_and_broken_escapes_stand_for_themselves() {
        let uri: Uri = "/x?a=b%3A1&a=two&mine&c=%zz%4".parse().unwrap();
        assert_eq!(params(&uri, "a").collect::<Vec<_>>(), ["b:1", "two"]);
        assert!(flag(&uri, "mine"));
        assert!(!flag(&uri, "tenant"));
        assert_eq!(param(&uri, "c").as_deref(), Some("%zz%4"));
    }
}
