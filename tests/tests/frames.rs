//! Preview pictures: made while somebody looks, in the size they look at, and right to the last byte.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{Frame, Heard, Puppet, Reply, Server, Socket, Watcher, Worker, program::token};
use serde_json::{Value, json};

/// Subscribes a socket of ada's with this wish for frames.
async fn subscribe(server: &Server, id: &str, frames: Value) -> Result<Socket> {
    let mut socket = Socket::live(&server.url, "ada").await?;
    socket.say(&json!({"type": "subscribe", "generationId": id, "frames": frames})).await?;
    socket.until("subscribed").await?;
    Ok(socket)
}

/// All pictures until the end of the generation.
async fn frames_until_done(socket: &mut Socket) -> Result<Vec<Frame>> {
    let mut frames = Vec::new();
    loop {
        match socket.hear().await? {
            Heard::Frame(bytes) => frames.push(Frame::read(&bytes)?),
            Heard::Message(message) if message["type"] == "done" => return Ok(frames),
            Heard::Message(message) => ensure!(message["type"] != "error", "{message}"),
            Heard::Closed(code, reason) => anyhow::bail!("closed: {code} {reason}"),
        }
    }
}

/// The pictures of one film, made by the reference renderer for one watcher.
async fn pictures(wish: Value) -> Result<(String, Vec<Frame>)> {
    let server = Server::start()?;
    let id = server.submit("ada").await?;
    let mut socket = subscribe(&server, &id, wish).await?;
    // Only now: no picture is made before somebody looks.
    let _worker = Worker::start(&server, "w1")?;
    let frames = frames_until_done(&mut socket).await?;
    ensure!(!frames.is_empty(), "no picture came");
    Ok((id, frames))
}

/// What is true of every picture of a film.
fn assert_right(id: &str, frames: &[Frame]) -> Result<()> {
    let mut pts_of = BTreeMap::new();
    for frame in frames {
        frame.ensure_webp()?;
        assert_eq!((frame.generation.as_str(), frame.fence), (id, 1), "the first grant made all of them");
        assert!(frame.index < frame.total && frame.total == frames[0].total, "{} of {}", frame.index, frame.total);
        assert!(frame.size.0 > 0 && frame.size.1 > 0);
        let pts = *pts_of.entry(frame.index).or_insert(frame.pts);
        assert_eq!(pts, frame.pts, "a picture keeps its time in all its revisions");
    }
    let times: Vec<u64> = pts_of.into_values().collect();
    assert!(times.is_sorted_by(|earlier, later| earlier < later), "times rise with the index: {times:?}");
    Ok(())
}

/// Decodes with a decoder we did not write, and answers width and height.
fn decoded_size(picture: &[u8]) -> Result<(u16, u16)> {
    let file = tempfile::Builder::new().suffix(".webp").tempfile()?;
    std::fs::write(file.path(), picture)?;
    let probe = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-of", "json", "-show_entries", "stream=width,height,nb_read_frames"])
        .arg(file.path())
        .output()?;
    let probe: Value = serde_json::from_slice(&probe.stdout)?;
    let stream = &probe["streams"][0];
    ensure!(stream["nb_read_frames"] == "1", "does not decode: {probe}");
    let side = |key: &str| Ok::<_, anyhow::Error>(u16::try_from(stream[key].as_u64().context("a side")?)?);
    Ok((side("width")?, side("height")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_asks_gets_pictures_with_right_headers_that_decode() -> Result<()> {
    let (id, frames) = pictures(json!({"maxFps": 60, "maxWidth": 854})).await?;
    assert_right(&id, &frames)?;
    for frame in [frames.first(), frames.last()].into_iter().flatten() {
        assert_eq!(decoded_size(&frame.picture)?, frame.size);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_plays_what_comes_gets_each_picture_in_order() -> Result<()> {
    let (id, frames) = pictures(json!({"maxFps": 60, "maxWidth": 854, "delivery": "all"})).await?;
    assert_right(&id, &frames)?;
    let finest = frames.iter().map(|frame| frame.revision).max().context("a revision")?;
    for revision in 0..=finest {
        let indexes: Vec<u32> = frames.iter().filter(|f| f.revision == revision).map(|f| f.index).collect();
        assert_eq!(indexes, (0..frames[0].total).collect::<Vec<_>>(), "revision {revision}");
    }
    let last = frames.last().context("a picture")?;
    assert_eq!((last.flags & 2, last.index + 1, last.revision), (2, last.total, finest), "the last says so");
    assert_eq!(frames.iter().filter(|frame| frame.flags & 2 != 0).count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_gets_small_pictures() -> Result<()> {
    let (id, frames) = pictures(json!({"maxFps": 4, "maxWidth": 160})).await?;
    assert_right(&id, &frames)?;
    for frame in &frames {
        assert!(frame.size.0 <= 160, "{:?}", frame.size);
    }
    assert_eq!(decoded_size(&frames[0].picture)?, frames[0].size);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_looks_no_picture_is_made() -> Result<()> {
    let server = Server::start()?;
    let _worker = Worker::start(&server, "w1")?;
    let id = server.submit("ada").await?;
    let events = Watcher::Socket.watch(server.url.clone(), "ada", &id).await?;
    assert_eq!(events.last().context("an event")?["type"], "complete");
    assert_eq!(server.metric("rushes_generations_complete_total").await?, 1.0, "metrics are read");
    assert_eq!(server.metric("rushes_frames_received_total").await?, 0.0);
    let request = server.http("GET", &format!("/v1/generations/{id}/frames/latest"))?;
    let none = Reply::of(request.bearer_auth(token("ada", Role::User))).await?;
    none.assert_refused(404, "not_found", &["picture", "frames"]);
    Ok(())
}

/// A server, a run in the hands of a puppet, and its id.
async fn puppet() -> Result<(Server, Puppet, rushes_tests::puppet::Lease)> {
    let server = Server::start()?;
    server.submit("ada").await?;
    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    Ok((server, worker, lease))
}

#[tokio::test]
async fn the_worker_hears_who_looks_and_that_nobody_does_any_more() -> Result<()> {
    let (server, mut worker, lease) = puppet().await?;
    let mut player = subscribe(&server, &lease.generation, json!({"maxFps": 10, "maxWidth": 640})).await?;
    let wanted = worker.socket.until("wanted").await?;
    assert_eq!(wanted["full"], json!({"maxFps": 10, "maxWidth": 640}), "{wanted}");
    assert_eq!((wanted.get("tile"), &wanted["lease"]), (None, &json!(lease.id)), "{wanted}");
    let tile = subscribe(&server, &lease.generation, json!({"maxFps": 2, "maxWidth": 160})).await?;
    let wanted = worker.socket.until("wanted").await?;
    assert_eq!(wanted["tile"], json!({"maxFps": 2, "maxWidth": 160}), "{wanted}");
    drop(tile);
    let wanted = worker.socket.until("wanted").await?;
    assert!(wanted.get("tile").is_none() && wanted.get("full").is_some(), "{wanted}");
    player.say(&json!({"type": "unsubscribe", "generationId": lease.generation})).await?;
    player.until("unsubscribed").await?;
    let wanted = worker.socket.until("wanted").await?;
    assert!(wanted.get("tile").is_none() && wanted.get("full").is_none(), "{wanted}");
    Ok(())
}

/// A second is what the specification gives; the median of several rounds, for this machine may have other things to do.
#[tokio::test]
async fn demand_rises_and_falls_within_a_second() -> Result<()> {
    const ROUNDS: usize = 5;
    let (server, mut worker, lease) = puppet().await?;
    let (mut rising, mut falling) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut player = Socket::live(&server.url, "ada").await?;
        let looked = Instant::now();
        player
            .say(&json!({"type": "subscribe", "generationId": lease.generation, "frames": {"maxFps": 10, "maxWidth": 640}}))
            .await?;
        let wanted = worker.socket.until("wanted").await?;
        assert_eq!(wanted["full"], json!({"maxFps": 10, "maxWidth": 640}), "{wanted}");
        rising.push(looked.elapsed());
        player.until("subscribed").await?;
        let left = Instant::now();
        // By word, and by a connection that is cut.
        if round % 2 == 0 {
            player.say(&json!({"type": "unsubscribe", "generationId": lease.generation})).await?;
        } else {
            drop(player);
        }
        let wanted = worker.socket.until("wanted").await?;
        assert!(wanted.get("full").is_none() && wanted.get("tile").is_none(), "{wanted}");
        falling.push(left.elapsed());
    }
    for (what, times) in [("rises", &mut rising), ("falls", &mut falling)] {
        times.sort_unstable();
        println!("demand {what} within {times:?}");
        assert!(times[ROUNDS / 2] < Duration::from_secs(1), "demand {what} within {times:?}");
    }
    Ok(())
}

#[tokio::test]
async fn after_unsubscribe_no_picture_comes() -> Result<()> {
    let (server, mut worker, lease) = puppet().await?;
    let mut socket = subscribe(&server, &lease.generation, json!({"maxFps": 60})).await?;
    let sent = Frame::sample(lease.fence, 0);
    worker.socket.say_bytes(&sent.of_worker(lease.handle)).await?;
    let Heard::Frame(bytes) = socket.hear().await? else { anyhow::bail!("no picture") };
    assert_eq!(Frame::read(&bytes)?, Frame { generation: lease.generation.clone(), ..sent });
    socket.say(&json!({"type": "unsubscribe", "generationId": lease.generation})).await?;
    socket.until("unsubscribed").await?;
    worker.socket.say_bytes(&Frame::sample(lease.fence, 1).of_worker(lease.handle)).await?;
    // Acknowledged behind the picture: the server has had it.
    let log = json!({"type": "event", "event": "log", "message": "sent", "lease": lease.id, "eventId": "log"});
    assert_eq!(worker.durable(&log).await?["type"], "ack");
    assert_eq!(server.metric("rushes_frames_received_total").await?, 2.0);
    for _ in 0..2 {
        socket.say(&json!({"type": "ping"})).await?;
        let Heard::Message(pong) = socket.hear().await? else { anyhow::bail!("a picture came") };
        assert_eq!(pong["type"], "pong");
    }
    Ok(())
}

#[tokio::test]
async fn a_picture_takes_the_place_of_a_lower_revision_only() -> Result<()> {
    let (server, mut worker, lease) = puppet().await?;
    let mut socket = subscribe(&server, &lease.generation, json!({"maxFps": 60, "delivery": "all"})).await?;
    for (index, revision) in [(0, 0), (0, 2), (0, 1), (1, 0)] {
        let frame = Frame { revision, ..Frame::sample(lease.fence, index) };
        worker.socket.say_bytes(&frame.of_worker(lease.handle)).await?;
    }
    let mut shown = Vec::new();
    while shown.last() != Some(&(1, 0)) {
        let Heard::Frame(bytes) = socket.hear().await? else { anyhow::bail!("no picture: {shown:?}") };
        let frame = Frame::read(&bytes)?;
        shown.push((frame.index, frame.revision));
    }
    // The first may be replaced before it is sent; the older one after the newer never comes.
    assert!(shown == [(0, 0), (0, 2), (1, 0)] || shown == [(0, 2), (1, 0)], "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn the_latest_picture_is_there_for_those_without_a_socket() -> Result<()> {
    let (server, mut worker, lease) = puppet().await?;
    let mut socket = subscribe(&server, &lease.generation, json!({"maxFps": 60})).await?;
    let path = format!("/v1/generations/{}/frames/latest", lease.generation);
    let latest = async |known: &str| {
        let request = server.http("GET", &path)?.bearer_auth(token("ada", Role::User));
        Reply::of(if known.is_empty() { request } else { request.header("if-none-match", known) }).await
    };
    let mut tags = vec![String::new()];
    for index in [0, 1] {
        let sent = Frame::sample(lease.fence, index);
        worker.socket.say_bytes(&sent.of_worker(lease.handle)).await?;
        while !matches!(socket.hear().await?, Heard::Frame(_)) {}
        let before = tags.last().cloned().unwrap_or_default();
        let fresh = latest(&before).await?;
        assert_eq!((fresh.status, &fresh.body), (200, &sent.picture));
        assert_eq!((fresh.header("content-type"), fresh.header("x-content-type-options")), ("image/webp", "nosniff"));
        let tag = fresh.header("etag").to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag} {tags:?}");
        let same = latest(&tag).await?;
        assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, tag.as_str()));
        tags.push(tag);
    }
    Ok(())
}

/// Sends pictures and waits until the server has had them.
async fn show(worker: &mut Puppet, lease: &rushes_tests::puppet::Lease, frames: &[Frame]) -> Result<()> {
    for frame in frames {
        worker.socket.say_bytes(&frame.of_worker(lease.handle)).await?;
    }
    let last = frames.last().context("a picture")?.index;
    let log =
        json!({"type": "event", "event": "log", "message": "sent", "lease": lease.id, "eventId": format!("log{last}")});
    ensure!(worker.durable(&log).await?["type"] == "ack");
    Ok(())
}

/// The next so many pictures of a socket, by their indexes.
async fn shown(socket: &mut Socket, count: usize) -> Result<Vec<u32>> {
    let mut indexes = Vec::new();
    while indexes.len() < count {
        if let Heard::Frame(bytes) = socket.hear().await? {
            indexes.push(Frame::read(&bytes)?.index);
        }
    }
    Ok(indexes)
}

#[tokio::test]
async fn whoever_comes_later_sees_the_newest_picture_at_once_and_none_before_it() -> Result<()> {
    let (server, mut worker, lease) = puppet().await?;
    let mut first = subscribe(&server, &lease.generation, json!({"maxFps": 60, "delivery": "all"})).await?;
    let pictures: Vec<_> = (0..4).map(|index| Frame::sample(lease.fence, index)).collect();
    show(&mut worker, &lease, &pictures).await?;
    assert_eq!(shown(&mut first, 4).await?, [0, 1, 2, 3]);
    for delivery in ["latest", "all"] {
        let wish = json!({"maxFps": 60, "delivery": delivery});
        let mut late = subscribe(&server, &lease.generation, wish.clone()).await?;
        assert_eq!(shown(&mut late, 1).await?, [3], "{delivery}");
    }
    // The last of them is kept for whoever comes when nobody looked for a while.
    drop(first);
    let mut late = subscribe(&server, &lease.generation, json!({"maxFps": 60})).await?;
    assert_eq!(shown(&mut late, 1).await?, [3]);
    show(&mut worker, &lease, &[Frame::sample(lease.fence, 4)]).await?;
    assert_eq!(shown(&mut late, 1).await?, [4], "and what comes after it");
    Ok(())
}

/// Format 5 is H.264, flag 4 a key frame: what stands between two of them is nothing by itself.
#[tokio::test]
async fn video_begins_with_its_key_frame_for_whoever_comes_later() -> Result<()> {
    let (server, mut worker, lease) = puppet().await?;
    let video = |index: u32, key: bool| Frame {
        format: 5,
        flags: if key { 4 } else { 0 },
        picture: [&[0, 0, 0, 1][..], &index.to_le_bytes()].concat(),
        ..Frame::sample(lease.fence, index)
    };
    let mut first = subscribe(&server, &lease.generation, json!({"maxFps": 60})).await?;
    show(&mut worker, &lease, &[video(0, true), video(1, false), video(2, false)]).await?;
    assert_eq!(shown(&mut first, 3).await?, [0, 1, 2]);
    let mut late = subscribe(&server, &lease.generation, json!({"maxFps": 60})).await?;
    assert_eq!(shown(&mut late, 3).await?, [0, 1, 2], "from the key frame on, without a hole");
    show(&mut worker, &lease, &[video(3, true), video(4, false)]).await?;
    for watcher in [&mut first, &mut late] {
        assert_eq!(shown(watcher, 2).await?, [3, 4]);
    }
    let mut later = subscribe(&server, &lease.generation, json!({"maxFps": 60})).await?;
    assert_eq!(shown(&mut later, 2).await?, [3, 4], "nothing of what came before the newest key frame");
    Ok(())
}
