//! `POST /v1/uploads`: input files (image to video, upscaling, transcoding), used by their id anywhere in `input`.
//!
//! How much one owner may upload is in `uploads/room.rs`.

mod room;

use access::{Verb, may, may_see_tenant};
use axum::{
    Json,
    body::{Body, HttpBody as _},
    extract::{Path, State},
};
use http::{HeaderMap, StatusCode};
use protocol::{FileId, http::Uploaded};

pub(crate) use self::room::Rooms;
use crate::{
    artifacts::refused,
    blobs::ReceiveError,
    download::{self, File},
    problem::Answer,
    random::random,
    surface::{Caller, Surface, forbidden},
};

pub(crate) async fn write(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    body: Body,
) -> Answer<(StatusCode, Json<Uploaded>)> {
    if !may(&identity, Verb::Submit, None) {
        return Err(forbidden());
    }
    let announced = body.size_hint().exact();
    let room = surface.rooms.take(&*surface.store, &identity, announced, surface.blobs.bytes_max()).await?;
    let received = surface.blobs.receive_within(room.bytes(), body).await.map_err(|error| match error {
        ReceiveError::TooLarge { max } if max < surface.blobs.bytes_max() => room.exceeded(),
        error => refused(error),
    })?;
    let at = (surface.now)();
    let upload = store::Upload {
        file: FileId::generate(at, random()),
        owner: identity.user,
        tenant: identity.tenant,
        size: received.size,
        sha256: received.sha256.clone(),
        at,
    };
    let answer = Uploaded { file: upload.file.clone(), size: upload.size, sha256: upload.sha256.clone() };
    let pin = received.keep(&*surface.store).await.map_err(refused)?;
    surface.store.put_upload(upload).await?;
    drop(pin);
    // From here on its row counts.
    drop(room);
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(crate) async fn read(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let file = FileId::new(file).map_err(|_| download::gone())?;
    let upload = surface.store.upload(&file).await?.ok_or_else(download::gone)?;
    let own = may(&identity, Verb::Submit, None) && upload.owner == identity.user && upload.tenant == identity.tenant;
    if !own && !may_see_tenant(&identity, &upload.tenant) && !may(&identity, Verb::Work, None) {
        return Err(download::gone());
    }
    // Never shown in place: its sender chose every byte of it.
    let file = File { name: file.as_str(), sha256: &upload.sha256, inline: false };
    download::send(&surface.blobs, &file, &headers).await
}
