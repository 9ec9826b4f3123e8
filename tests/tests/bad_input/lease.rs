//! A worker that writes what it does not hold, or not as it may.

use access::{Role, digest::sha256_hex};
use anyhow::Result;
use rushes_tests::{Frame, Puppet, Reply, Server, program::token, puppet::Lease};
use serde_json::{Value, json};

use super::goes_on;

/// What the file is that the holder of a run uploaded and did not announce.
const KEPT: (&str, &[u8]) = ("kept.txt", b"x");

/// A server, a worker and the run it holds.
async fn running() -> Result<(Server, Puppet, Lease)> {
    let server = Server::start()?;
    server.submit("ada").await?;
    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    assert_eq!(worker.put(&server, &lease, KEPT.0, KEPT.1.to_vec()).await?.status, 201);
    Ok((server, worker, lease))
}

/// Everything durable a worker can say of a run, right in all but the lease.
fn writes(lease: &str) -> Vec<Value> {
    let write = |kind: &str, fields: Value| {
        let mut message = json!({"type": kind, "lease": lease, "eventId": format!("{kind}-{lease}")});
        message.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        message
    };
    vec![
        write("event", json!({"event": "log", "message": "mine now"})),
        write("checkpoint", json!({"data": {"step": 7}})),
        write("artifact", json!({"name": KEPT.0, "size": KEPT.1.len(), "sha256": sha256_hex(KEPT.1)})),
        write("release", json!({"pool": "gpu"})),
        write("fail", json!({"kind": "fatal", "code": "X", "message": "x"})),
        write("hand_back", json!({})),
        write("done", json!({"outputs": {}})),
    ]
}

/// Each write is refused as `lease_lost`, by name, and the events of the generation stay as they were.
async fn refused(server: &Server, intruder: &mut Puppet, lease: &str, generation: &str) -> Result<()> {
    let path = format!("/v1/generations/{generation}/events");
    let (_, before) = server.request("GET", &path, "ada", None).await?;
    for message in writes(lease) {
        let answer = intruder.durable(&message).await?;
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("refused"), &json!("lease_lost")),
            "{message}: {answer}"
        );
        assert!(!answer["message"].as_str().unwrap_or_default().is_empty(), "{answer}");
    }
    let request = server.http("PUT", &format!("/v1/generations/{generation}/artifacts/film.mp4"))?;
    let request = request.bearer_auth(&intruder.token).header("x-rushes-lease", lease).body("x");
    Reply::of(request).await?.assert_refused(409, "lease_lost", &["lease", "stop"]);
    let (_, after) = server.request("GET", &path, "ada", None).await?;
    assert_eq!(before["events"], after["events"]);
    Ok(())
}

#[tokio::test]
async fn a_lease_nobody_has_writes_nothing() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    let invented = format!("{}-{}-{}", lease.fence, "0".repeat(26), lease.generation);
    refused(&server, &mut worker, &invented, &lease.generation).await?;
    worker.finish(&server, &lease).await?;
    goes_on(&server).await
}

#[tokio::test]
async fn a_lease_in_the_hands_of_another_worker_writes_nothing() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    let mut thief = Puppet::connect_holding(&server, "w2", &[&lease]).await?;
    refused(&server, &mut thief, &lease.id, &lease.generation).await?;
    worker.finish(&server, &lease).await?;
    goes_on(&server).await
}

#[tokio::test]
async fn a_wrong_announcement_without_the_lease_learns_nothing_of_the_file() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    let mut thief = Puppet::connect(&server, "w2").await?;
    for (id, name) in [("a", KEPT.0), ("b", "never.txt")] {
        let announce = json!({"type": "artifact", "lease": lease.id, "eventId": id, "name": name, "size": 7,
            "sha256": sha256_hex(b"a guess")});
        let answer = thief.durable(&announce).await?;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("refused"), &json!("lease_lost")), "{answer}");
        assert!(!answer.to_string().contains(&sha256_hex(KEPT.1)), "{answer}");
    }
    worker.finish(&server, &lease).await?;
    goes_on(&server).await
}

#[tokio::test]
async fn after_the_end_a_lease_writes_nothing() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    worker.finish(&server, &lease).await?;
    let late = Lease { id: lease.id.clone(), ..lease };
    for mut message in writes(&late.id) {
        message["eventId"] = json!(format!("late-{}", message["eventId"].as_str().unwrap_or_default()));
        let answer = worker.durable(&message).await?;
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("refused"), &json!("lease_lost")),
            "{message}: {answer}"
        );
    }
    worker.put(&server, &late, "film.mp4", b"x".to_vec()).await?.assert_refused(409, "lease_lost", &["lease"]);
    goes_on(&server).await
}

#[tokio::test]
async fn a_lower_fence_writes_nothing_once_another_worker_has_the_run() -> Result<()> {
    let (server, mut first, lease) = running().await?;
    let back = json!({"type": "hand_back", "lease": lease.id, "eventId": "back"});
    assert_eq!(first.durable(&back).await?["type"], "ack");
    first.socket.say(&json!({"type": "drain"})).await?;
    let mut second = Puppet::connect(&server, "w2").await?;
    let granted = second.take().await?;
    assert!(granted.generation == lease.generation && granted.fence > lease.fence, "{granted:?}");
    refused(&server, &mut first, &lease.id, &lease.generation).await?;
    second.finish(&server, &granted).await?;
    goes_on(&server).await
}

#[tokio::test]
async fn a_repeat_of_what_was_acknowledged_is_acknowledged_even_after_the_end() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    let log = json!({"type": "event", "event": "log", "message": "kept", "lease": lease.id, "eventId": "log"});
    let first = worker.durable(&log).await?;
    worker.finish(&server, &lease).await?;
    let again = worker.durable(&log).await?;
    assert_eq!((&again["type"], &again["sequence"]), (&json!("ack"), &first["sequence"]), "{again}");
    goes_on(&server).await
}

#[tokio::test]
async fn a_file_is_refused_by_its_name_its_hash_or_its_missing_lease() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    let put = async |name: &str, headers: &[(&str, &str)]| {
        let path = format!("/v1/generations/{}/artifacts/{name}", lease.generation);
        let mut request = server.http("PUT", &path)?.bearer_auth(&worker.token).body("film");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::of(request).await
    };
    let held = ("x-rushes-lease", lease.id.as_str());
    for name in ["a/b.mp4", "a%2Fb.mp4", "..%2F..%2Fetc%2Fpasswd", "film%20one.mp4", "f%C3%BClm.mp4", &"x".repeat(129)]
    {
        put(name, &[held]).await?.assert_refused(400, "invalid_request", &["name"]);
    }
    put("film.mp4", &[]).await?.assert_refused(409, "lease_required", &["x-rushes-lease"]);
    put("film.mp4", &[("x-rushes-lease", "my lease")]).await?.assert_refused(409, "lease_lost", &["lease"]);
    let (right, wrong) = (sha256_hex(b"film"), sha256_hex(b"another"));
    let mismatch = put("film.mp4", &[held, ("x-rushes-sha256", &wrong)]).await?;
    mismatch.assert_refused(422, "hash_mismatch", &[&right, "again"]);
    assert_eq!(mismatch.json()?["error"]["details"], json!({"expected": wrong, "actual": right}));
    put("film.mp4", &[held, ("x-rushes-sha256", "abc")]).await?.assert_refused(
        400,
        "invalid_request",
        &["sha256", "64"],
    );
    put("film.mp4", &[held, ("content-digest", "sha-256=abc")]).await?.assert_refused(
        400,
        "invalid_request",
        &["Digest"],
    );
    let (_, generation) = server.request("GET", &format!("/v1/generations/{}", lease.generation), "ada", None).await?;
    let kept = generation["artifacts"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(kept.iter().map(|file| &file["name"]).collect::<Vec<_>>(), [KEPT.0], "nothing more was kept");
    worker.finish(&server, &lease).await?;
    goes_on(&server).await
}

#[tokio::test]
async fn a_file_that_was_announced_and_never_uploaded_is_refused() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    let announce = |id: &str, sha256: &str, size: u64| json!({"type": "artifact", "lease": lease.id, "eventId": id, "name": "film.mp4", "size": size, "sha256": sha256});
    let missing = worker.durable(&announce("a", &sha256_hex(b"x"), 1)).await?;
    assert_eq!((&missing["type"], &missing["code"]), (&json!("refused"), &json!("artifact_missing")), "{missing}");
    assert!(missing["message"].as_str().unwrap_or_default().contains("film.mp4"), "{missing}");
    let done = json!({"type": "done", "lease": lease.id, "eventId": "d", "outputs": {"video": "film.mp4"}});
    let refused = worker.durable(&done).await?;
    assert_eq!(refused["type"], "refused", "a film that is not there ends nothing: {refused}");
    assert!(refused["message"].as_str().unwrap_or_default().contains("film.mp4"), "{refused}");
    worker.finish(&server, &lease).await?;
    goes_on(&server).await
}

#[tokio::test]
async fn a_file_announced_with_another_hash_or_size_is_refused() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    assert_eq!(worker.put(&server, &lease, "film.mp4", b"film".to_vec()).await?.status, 201);
    for (id, sha256, size) in [("a", sha256_hex(b"another"), 4), ("b", sha256_hex(b"film"), 5)] {
        let announce = json!({"type": "artifact", "lease": lease.id, "eventId": id, "name": "film.mp4", "size": size,
            "sha256": sha256});
        let answer = worker.durable(&announce).await?;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("refused"), &json!("hash_mismatch")), "{answer}");
    }
    worker.finish(&server, &lease).await?;
    goes_on(&server).await
}

#[tokio::test]
async fn a_picture_under_a_handle_or_fence_it_does_not_hold_is_refused() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    let picture = |handle: u32, fence: u32| Frame::sample(fence, 0).of_worker(handle);
    let broken = |at: usize, byte: u8| {
        let mut bytes = picture(lease.handle, lease.fence);
        bytes[at] = byte;
        bytes
    };
    let wrong = [
        (picture(lease.handle + 1, lease.fence), "handle"),
        (picture(lease.handle, lease.fence + 1), "fence"),
        (broken(4, b'X'), "RF"),
        (broken(7, 99), "format"),
        (b"RF".to_vec(), "shorter"),
        (vec![0; 256 * 1024 + 5], "262144"),
    ];
    for (bytes, name) in &wrong {
        worker.socket.say_bytes(bytes).await?;
        let error = worker.socket.until("error").await?;
        assert!(error["error"].as_str().unwrap_or_default().contains(name), "{name}: {error}");
    }
    worker.socket.say_bytes(&picture(lease.handle, lease.fence)).await?;
    worker.finish(&server, &lease).await?;
    assert_eq!(server.metric("rushes_frames_received_total").await?, 1.0);
    goes_on(&server).await
}

#[tokio::test]
async fn a_worker_that_does_not_greet_or_cannot_be_read_is_told() -> Result<()> {
    let (server, mut worker, lease) = running().await?;
    for (text, name) in [
        ("hello", "expected"),
        ("{}", "type"),
        (r#"{"type":"dance"}"#, "dance"),
        (r#"{"type":"done"}"#, "lease"),
        (r#"{"type":"hello","worker":"w1","instance":"1","pools":{}}"#, "hello"),
    ] {
        worker.socket.say_text(text).await?;
        let error = worker.socket.until("error").await?;
        assert_eq!(error["code"], "invalid_request", "{error}");
        assert!(error["error"].as_str().unwrap_or_default().contains(name), "{name}: {error}");
    }
    worker.finish(&server, &lease).await?;
    let rude = token("w3", Role::Worker);
    let mut rude = rushes_tests::Socket::open(&server.url, "/v1/worker", Some(&rude)).await?;
    rude.say(&json!({"type": "heartbeat", "tokens": 1})).await?;
    assert!(rude.message().await?["error"].as_str().unwrap_or_default().contains("hello"));
    assert_eq!(rude.closed().await?.0, 1008);
    goes_on(&server).await
}
