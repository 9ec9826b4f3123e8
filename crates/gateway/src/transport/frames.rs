//! The last preview picture, for watchers that have no socket.

use std::{str::FromStr, sync::Arc};

use access::{Door, Verb};
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bus::Frame;
use protocol::{ErrorCode, GenerationId, Problem};

use super::{refuse, token};
use crate::{Gateway, hub::Size};

/// `GET /v1/generations/{id}/frames/latest`.
pub(super) async fn latest(
    State(gateway): State<Arc<Gateway>>,
    Path(generation): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    match find(&gateway, &generation, &headers, &uri).await {
        Ok(frame) => answer(&frame, &headers),
        Err(problem) => refuse(problem),
    }
}

async fn find(gateway: &Gateway, generation: &str, headers: &HeaderMap, uri: &Uri) -> Result<Arc<Frame>, Problem> {
    let identity = token::identify(gateway, headers, uri, Door::Live)?;
    let generation = GenerationId::from_str(generation).map_err(|_| Problem::not_found())?;
    gateway.newest(&identity, Verb::Watch, &generation).await?;
    let tail = gateway.hub().tail(&generation);
    let frame = tail.and_then(|tail| {
        tail.look(|recent| recent.frames.newest_alone(Size::Full).map(|held| Arc::clone(&held.frame)))
    });
    frame.ok_or_else(|| {
        Problem::new(ErrorCode::NotFound, "no picture yet")
            .hint("pictures are made while somebody watches with `frames`")
    })
}

fn answer(frame: &Frame, headers: &HeaderMap) -> Response {
    let header = &frame.header;
    let tag = format!("\"{}-{}-{}\"", header.fence, header.index, header.revision);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag || one.trim() == "*"));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Body::from(frame.picture()).into_response();
        let media_type = HeaderValue::from_static(header.format.media_type());
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    };
    let out = response.headers_mut();
    out.insert(header::ETAG, HeaderValue::from_str(&tag).expect("digits, dashes and quotes"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    // A worker made these bytes; no browser shall take them for anything but a picture.
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response
}
