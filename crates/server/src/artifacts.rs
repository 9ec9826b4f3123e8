//! Kept files of a generation: workers put them under their lease, watchers get them by token or signed link.
//!
//! A file is uploaded first and announced after; the announcement is what events show, and it is the orchestrator's.

use access::{Identity, Subject, Verb, may};
use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
};
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, StatusCode};
use protocol::{ArtifactName, ErrorCode, GenerationId, LeaseId, Pipeline, limits, worker};
use serde::Deserialize;
use store::Listed;

use crate::{
    blobs::{ReceiveError, Received},
    download::{self, File},
    problem::{Answer, Failure, storage_full},
    surface::{Caller, MaybeCaller, Surface, forbidden, unauthorized},
};

/// The lease under which a worker writes.
const LEASE: &str = "x-rushes-lease";
/// The hash its sender computed, in hex.
const SHA256: &str = "x-rushes-sha256";

/// What a signed link carries.
#[derive(Deserialize)]
pub(crate) struct Link {
    expires: Option<u64>,
    signature: Option<String>,
}

pub(crate) async fn read(
    State(surface): State<Surface>,
    MaybeCaller(identity): MaybeCaller,
    Path((id, name)): Path<(String, String)>,
    Query(link): Query<Link>,
    headers: HeaderMap,
) -> Answer {
    let (Ok(id), Ok(name)) = (GenerationId::new(id), ArtifactName::new(name)) else { return Err(Failure::not_found()) };
    match link {
        Link { expires: Some(expires), signature: Some(signature) } => {
            if !surface.links.check(&id, &name, expires, &signature, (surface.now)()) {
                return Err(Failure::new(
                    ErrorCode::Unauthorized,
                    "the link has expired or was changed",
                    "read the generation again; its links are fresh",
                ));
            }
        }
        _ => readable(&surface, &identity.ok_or_else(unauthorized)?, &id).await?,
    }
    let artifact = surface.store.artifact(&id, &name).await?.ok_or_else(download::gone)?;
    let file = File { name: name.as_str(), sha256: &artifact.sha256, inline: true };
    download::send(&surface.blobs, &file, &headers).await
}

/// Watchers read what they may see. Workers read the inputs of runs, wherever an earlier run left them.
async fn readable(surface: &Surface, identity: &Identity, id: &GenerationId) -> Answer<()> {
    if may(identity, Verb::Work, None) {
        return Ok(());
    }
    surface.permitted(identity, id.as_str(), Verb::Read).await.map(|_| ())
}

pub(crate) async fn write(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer<(StatusCode, Json<worker::Artifact>)> {
    let listed = writable(&surface, &identity, &id).await?;
    let name = ArtifactName::new(name.as_str()).map_err(|error| {
        Failure::new(ErrorCode::InvalidRequest, error.to_string(), "send the name of a file, not a path")
    })?;
    let expected = expected_hash(&headers)?;
    holds(&surface, &identity, &listed, &headers).await?;
    has_room(&surface, &listed.generation, &name).await?;
    let received = surface.blobs.receive(body).await.map_err(refused)?;
    same_hash(expected, &received)?;
    let artifact = worker::Artifact { name, size: received.size, sha256: received.sha256.clone() };
    // Again: an upload takes minutes, and another worker may hold the run by now.
    holds(&surface, &identity, &listed, &headers).await?;
    let pin = received.keep(&*surface.store).await.map_err(refused)?;
    let row = store::Artifact {
        name: artifact.name.clone(),
        size: artifact.size,
        sha256: artifact.sha256.clone(),
        at: (surface.now)(),
    };
    surface.store.put_artifact(&listed.generation, row).await?;
    drop(pin);
    Ok((StatusCode::CREATED, Json(artifact)))
}

/// The generation, if the caller could write to it at all. Who cannot see it gets the same 404 as for an unknown one.
async fn writable(surface: &Surface, identity: &Identity, id: &str) -> Answer<Listed> {
    let id = GenerationId::new(id).map_err(|_| Failure::not_found())?;
    let listed = surface.store.get(&id).await?.ok_or_else(Failure::not_found)?;
    let subject = Some(Subject { generation: &id, owner: &listed.row.owner, tenant: &listed.row.tenant });
    if may(identity, Verb::WriteArtifact, subject) {
        return Ok(listed);
    }
    Err(if may(identity, Verb::Read, subject) { forbidden() } else { Failure::not_found() })
}

/// A managed generation is written under its lease. One of a producer outside has none and is written by whoever may
/// report on it.
async fn holds(surface: &Surface, identity: &Identity, listed: &Listed, headers: &HeaderMap) -> Answer<()> {
    let external = listed.row.pipeline.split('@').next() == Some(Pipeline::EXTERNAL);
    if external && !may(identity, Verb::Work, None) {
        return Ok(());
    }
    let Some(lease) = headers.get(LEASE) else {
        return Err(Failure::new(
            ErrorCode::LeaseRequired,
            "files of a managed generation are written under its lease",
            format!("send the lease of the run as `{LEASE}`"),
        ));
    };
    let lease = lease.to_str().ok().and_then(|text| text.parse::<LeaseId>().ok());
    let good = match lease {
        Some(lease) => surface.orchestrator.holds(&listed.generation, &lease, &identity.user).await?,
        None => false,
    };
    if good {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::LeaseLost,
        "this lease does not hold the run, or not with this token",
        "stop this run and take new offers",
    ))
}

/// A new name needs room among the generation's files; an old one replaces itself.
async fn has_room(surface: &Surface, generation: &GenerationId, name: &ArtifactName) -> Answer<()> {
    let there = surface.store.artifacts(generation).await?;
    if there.len() < limits::ARTIFACTS_MAX || there.iter().any(|artifact| artifact.name == *name) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::InvalidInput,
        format!("the generation has {} files", there.len()),
        format!("at most {}; write to a name it has", limits::ARTIFACTS_MAX),
    ))
}

/// `x-rushes-sha256` in hex, or `Content-Digest` (RFC 9530). Absent takes whatever comes.
pub(crate) fn expected_hash(headers: &HeaderMap) -> Answer<Option<String>> {
    let bad =
        |name: &str, hint: &str| Err(Failure::new(ErrorCode::InvalidRequest, format!("{name} cannot be read"), hint));
    if let Some(value) = headers.get(SHA256) {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        return match HEXLOWER.decode(text.as_bytes()) {
            Ok(hash) if hash.len() == 32 => Ok(Some(text)),
            _ => bad(SHA256, "send 64 hex digits"),
        };
    }
    let Some(value) = headers.get("content-digest") else { return Ok(None) };
    // Other algorithms may stand beside ours and are not ours to judge.
    let ours = value.to_str().unwrap_or_default().split(',').find_map(|one| one.trim().strip_prefix("sha-256="));
    let Some(ours) = ours else { return Ok(None) };
    let encoded = ours.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).unwrap_or_default();
    match BASE64.decode(encoded.as_bytes()) {
        Ok(hash) if hash.len() == 32 => Ok(Some(HEXLOWER.encode(&hash))),
        _ => bad("Content-Digest", "send sha-256=:<base64>:"),
    }
}

fn same_hash(expected: Option<String>, received: &Received) -> Answer<()> {
    let Some(expected) = expected.filter(|expected| *expected != received.sha256) else { return Ok(()) };
    let problem = protocol::Problem::new(ErrorCode::HashMismatch, format!("the content hashes to {}", received.sha256))
        .hint("send it again; nothing was kept")
        .details(serde_json::json!({"expected": expected, "actual": received.sha256}));
    Err(problem.into())
}

/// What a body that did not become a file is answered with.
pub(crate) fn refused(error: ReceiveError) -> Failure {
    match error {
        ReceiveError::TooLarge { max } => Failure::new(
            ErrorCode::TooLarge,
            "the file is too large",
            format!("at most {max} bytes (`limits.artifact_bytes`)"),
        ),
        ReceiveError::Ended => {
            Failure::new(ErrorCode::InvalidRequest, "the body ended early or stood still", "send it again")
        }
        ReceiveError::Full => storage_full(),
        ReceiveError::Disk(error) => Failure::internal(&format!("writing a file: {error}")),
        ReceiveError::Store(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(name: &'static str, value: &str) -> Result<Option<String>, ErrorCode> {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        expected_hash(&headers).map_err(|failure| failure.0.code)
    }

    #[test]
    fn an_expected_hash_is_read_from_either_header() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let base64 = BASE64.encode(&HEXLOWER.decode(hex.as_bytes()).unwrap());
        assert_eq!(hash(SHA256, hex), Ok(Some(hex.to_owned())));
        assert_eq!(hash(SHA256, &hex.to_uppercase()), Ok(Some(hex.to_owned())));
        assert_eq!(hash("content-digest", &format!("sha-512=:x:, sha-256=:{base64}:")), Ok(Some(hex.to_owned())));
        assert_eq!(hash("content-digest", "sha-512=:x:"), Ok(None));
        for bad in ["", "abc", &hex[1..], &format!("{hex}0")] {
            assert_eq!(hash(SHA256, bad), Err(ErrorCode::InvalidRequest), "{bad}");
        }
        assert_eq!(hash("content-digest", "sha-256=abc"), Err(ErrorCode::InvalidRequest));
    }
}
