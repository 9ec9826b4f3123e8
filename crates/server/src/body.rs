//! Request bodies: bounded, JSON, and refused with a sentence that names the place and the field.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use protocol::{ErrorCode, limits};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::problem::{Answer, Failure};

/// A JSON body must be there after so long: 128 KiB at the speed of a poor mobile connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a whole body of bounded size.
pub(crate) async fn read(body: Body) -> Answer<Bytes> {
    let whole = Limited::new(body, limits::BODY_BYTES_MAX).collect();
    let Ok(read) = timeout(BODY_TIMEOUT, whole).await else {
        return Err(Failure::new(ErrorCode::InvalidRequest, "the body did not come to its end", "send it again"));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::new(
            ErrorCode::TooLarge,
            "the body is too large",
            format!("at most {} bytes; send media through /v1/uploads", limits::BODY_BYTES_MAX),
        )),
        Err(_) => Err(Failure::new(ErrorCode::InvalidRequest, "the body ended early", "send it again")),
    }
}

/// Reads a body as `T`.
pub(crate) async fn json<T: DeserializeOwned>(body: Body) -> Answer<T> {
    let bytes = read(body).await?;
    parse(&bytes)
}

/// Reads `bytes` as `T`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    serde_json::from_slice(bytes).map_err(|error| refused(&error))
}

/// What serde says, without the prefix of its enums, and with its line and column.
fn refused(error: &serde_json::Error) -> Failure {
    use serde_json::error::Category;
    let hint = match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => "send one JSON value, in UTF-8",
        Category::Data => "compare with /openapi.json",
    };
    let what = match error.classify() {
        Category::Data => error.to_string(),
        _ => format!("not JSON: {error}"),
    };
    Failure::new(ErrorCode::InvalidRequest, what, hint)
}

/// Reads `bytes` as an object of the fields in `known`, all optional, and names the field that is wrong.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8], known: &[&str], unsupported: &[&str]) -> Answer<T> {
    let fields: Map<String, Value> = parse(bytes)?;
    for name in fields.keys() {
        if unsupported.contains(&name.as_str()) {
            return Err(Failure::new(
                ErrorCode::Unsupported,
                format!("this version does not have `{name}`"),
                "leave the field out",
            ));
        }
        if !known.contains(&name.as_str()) {
            return Err(Failure::new(
                ErrorCode::InvalidRequest,
                format!("unknown field `{name}`"),
                format!("known fields: {}", known.join(", ")),
            ));
        }
    }
    serde_json::from_slice(bytes).map_err(|error| {
        // Serde says where, not in which field; alone, the wrong one fails again.
        let alone = |(name, value): (&String, &Value)| {
            let object = Map::from_iter([(name.clone(), value.clone())]);
            serde_json::from_value::<T>(Value::Object(object)).err().map(|error| (name.clone(), error))
        };
        match fields.iter().find_map(alone) {
            Some((name, why)) => {
                Failure::new(ErrorCode::InvalidRequest, format!("`{name}`: {why}"), "compare with /openapi.json")
            }
            None => refused(&error),
        }
    })
}
