//! Many who come and go at once: made to wait, named, and spread over time; none of them loses anything.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use access::Role;
use futures_util::{StreamExt, future::join_all};
use protocol::{EventType, live::Delivery};
use rushes_gateway::Crowds;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::bed::{Bed, PATIENCE, Socket, USER, hear, next, say, sequences_until_done};

async fn subscribe(socket: &mut Socket, generation: &str, after: &str) {
    let delivery = serde_json::to_value(Delivery::All).unwrap();
    let message =
        json!({"type": "subscribe", "generationId": generation, "after": after, "delivery": delivery}).to_string();
    say(socket, &message).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_returns_to_one_generation_gets_all_of_it_from_shared_reads() {
    let bed = Bed::start().await;
    let generation = bed.create("crowd").await;
    bed.append(&generation, 1, 999, Some(EventType::Complete)).await;
    let mut sockets = Vec::new();
    for _ in 0..40 {
        sockets.push(bed.live().await);
    }
    let id = generation.as_str();
    let watch = |mut socket: Socket| async move {
        subscribe(&mut socket, id, "start").await;
        sequences_until_done(&mut socket).await
    };
    for seen in join_all(sockets.into_iter().map(watch)).await {
        assert_eq!(seen, (1..=1_000).collect::<Vec<_>>());
    }
    let (read, shared) = (bed.gateway.counts().log_pages.get(), bed.gateway.counts().log_pages_shared.get());
    // Four pages for each of forty. A page lives while somebody is sent from it, and sockets that take all at once hold it
    // shortly: how much is shared depends on how much they overlap, but most of it is.
    assert!(read + shared == 160 && shared > 80, "{read} read, {shared} shared");
}

/// A crowd that reads old pages stands in line; who was live and fell behind its tail does not stand behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fell_behind_has_caught_up_before_a_crowd_of_newcomers() {
    /// Each comes to a generation of its own, so that each needs a read.
    const NEWCOMERS: usize = 300;
    const EVENTS: usize = 40;
    /// More than a tail keeps.
    const BEHIND: usize = 400;
    let bed = Bed::with_crowds(Crowds { log_reads_max: 2, ..Crowds::default() }).await;
    let (live, aside) = (bed.create("live").await, bed.create("aside").await);
    let mut behind = bed.live().await;
    for (generation, pause) in [(&live, true), (&aside, false)] {
        subscribe(&mut behind, generation.as_str(), "start").await;
        while hear(&mut behind).await["type"] != "subscribed" {}
        if pause {
            say(&mut behind, &json!({"type": "credit", "generationId": live.as_str(), "events": 0}).to_string()).await;
        }
    }
    // It was heard before the second subscription: from here on nothing is sent.
    bed.append(&live, 1, BEHIND, None).await;
    let bed = &bed;
    let cold = join_all((0..NEWCOMERS).map(async |n| {
        let generation = bed.create(&format!("cold{n}")).await;
        bed.append(&generation, 1, EVENTS - 1, Some(EventType::Complete)).await;
        generation
    }));
    let (cold, mut crowd) = (cold.await, join_all((0..NEWCOMERS).map(|_| bed.live())).await);
    for (newcomer, generation) in crowd.iter_mut().zip(&cold) {
        subscribe(newcomer, generation.as_str(), "start").await;
    }
    // When the server said the last of it: clients in one process take turns of their own.
    let newcomer = |mut socket: Socket| async move {
        let mut sequence = 0_usize;
        loop {
            let said = hear(&mut socket).await;
            match said["type"].as_str().unwrap() {
                "status_update" => {
                    sequence += 1;
                    assert_eq!(said["data"]["sequence"], sequence);
                }
                "done" => {
                    assert_eq!(sequence, EVENTS);
                    return said["timestamp"].as_u64().unwrap();
                }
                _ => {}
            }
        }
    };
    let catches_up = async {
        say(&mut behind, &json!({"type": "credit", "generationId": live.as_str(), "events": BEHIND}).to_string()).await;
        let mut at = 0;
        for sequence in 2..=BEHIND + 1 {
            let said = hear(&mut behind).await;
            assert_eq!(said["data"]["sequence"], sequence);
            at = said["timestamp"].as_u64().unwrap();
        }
        at
    };
    let (caught_up, served) = futures_util::future::join(catches_up, join_all(crowd.into_iter().map(newcomer))).await;
    let before = served.iter().filter(|at| **at < caught_up).count();
    assert!(before < NEWCOMERS / 2, "{before} newcomers were served first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_opens_too_many_sockets_waits_and_is_served_all_the_same() {
    const AT_ONCE: u32 = 120;
    let bed = Bed::with_crowds(Crowds { connects_per_minute: Some(AT_ONCE), ..Crowds::default() }).await;
    let generation = bed.create("busy").await;
    let token = bed.token(USER, Role::User);
    let mut open = Vec::new();
    for _ in 0..AT_ONCE {
        open.push(bed.connect(&format!("/ws?token={token}")).await);
    }
    for socket in &mut open {
        assert_eq!(hear(socket).await["type"], "authenticated");
    }
    assert_eq!(bed.gateway.counts().connects_delayed.get(), 0);
    // More: what they say meanwhile is heard when they are let in.
    let late = |n: u32| {
        let (bed, path, id) = (&bed, format!("/ws?token={token}&n={n}"), generation.as_str());
        async move {
            let mut late = bed.connect(&path).await;
            subscribe(&mut late, id, "start").await;
            assert_eq!(hear(&mut late).await["type"], "authenticated");
            assert_eq!(hear(&mut late).await["data"]["sequence"], 1);
            assert_eq!(hear(&mut late).await["type"], "subscribed");
        }
    };
    // However slowly the first ones came: beyond them one is let in each half second.
    join_all((0..8).map(late)).await;
    let delayed = bed.gateway.counts().connects_delayed.get();
    assert!(delayed > 0);
    // Somebody else is let in at once.
    let mut other = bed.connect(&format!("/ws?token={}", bed.token("user_other", Role::User))).await;
    assert_eq!(hear(&mut other).await["type"], "authenticated");
    assert_eq!(bed.gateway.counts().connects_delayed.get(), delayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_one_generation_again_and_again_is_counted() {
    let bed = Bed::start().await;
    let generation = bed.create("churn").await;
    for n in 0..30 {
        assert_eq!(bed.gateway.counts().churning.get(), u64::from(n > 20), "after {n} visits");
        let mut socket = bed.live().await;
        subscribe(&mut socket, generation.as_str(), "start").await;
        while hear(&mut socket).await["type"] != "subscribed" {}
    }
}

/// Ids and the `retry:` of a stream that ended by itself.
async fn stream(bed: &Bed, path: &str, after: &str) -> (Vec<String>, Option<u64>, String) {
    let request = bed.get(path).header("accept", "text/event-stream").header("last-event-id", after);
    let body = request.send().await.unwrap().text().await.unwrap();
    let ids = body.lines().filter_map(|line| line.strip_prefix("id: ").map(str::to_owned)).collect();
    let retry = body.lines().filter_map(|line| line.strip_prefix("retry: ")?.parse().ok()).next();
    (ids, retry, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_for_its_age_and_the_next_one_goes_on() {
    let bed = Bed::with_crowds(Crowds { stream_age_max_ms: 200, ..Crowds::default() }).await;
    let generation = bed.create("age").await;
    let path = format!("/v1/generations/{generation}/events");
    let (first, retry, body) = stream(&bed, &path, "start").await;
    assert_eq!(first.len(), 1, "{body}");
    assert!(retry.is_some_and(|retry| retry < 1_000), "{body}");
    assert!(!body.contains("event: done"), "{body}");
    bed.append(&generation, 1, 5, Some(EventType::Complete)).await;
    let (rest, _, body) = stream(&bed, &path, &first[0]).await;
    assert_eq!(rest.len(), 5, "{body}");
    assert!(body.contains("event: done"), "{body}");
    assert_eq!(bed.gateway.counts().streams_rotated.get(), 1);
}

/// Streams that were opened together neither end together nor come back together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_streams_ends_at_random_ages() {
    /// Fewer than one user may open at once.
    const STREAMS: usize = 16;
    const AGE_MAX: Duration = Duration::from_secs(2);
    let age_max_ms = u64::try_from(AGE_MAX.as_millis()).unwrap();
    let bed = Bed::with_random(Crowds { stream_age_max_ms: age_max_ms, ..Crowds::default() }).await;
    let generation = bed.create("ages").await;
    let path = format!("/v1/generations/{generation}/events");
    let one = async || {
        let began = Instant::now();
        let (_, retry, body) = stream(&bed, &path, "start").await;
        (began.elapsed(), retry.unwrap_or_else(|| panic!("{body}")))
    };
    let ended = join_all((0..STREAMS).map(|_| one())).await;
    let ages = || ended.iter().map(|(age, _)| *age);
    let retries: HashSet<u64> = ended.iter().map(|(_, retry)| *retry).collect();
    assert!(ages().all(|age| age >= AGE_MAX / 2), "{ended:?}");
    // Random over a second: sixteen of them fall into one eighth of it once in 10^12 runs.
    assert!(ages().max().unwrap() - ages().min().unwrap() > AGE_MAX / 16, "{ended:?}");
    assert!(retries.len() > STREAMS / 4, "{retries:?}");
    assert_eq!(bed.gateway.counts().connects_delayed.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_closes_its_sockets_one_after_the_other() {
    const SOCKETS: usize = 600;
    let bed = Bed::with_random(Crowds::default()).await;
    let token = bed.token(USER, Role::User);
    let path = format!("/ws?token={token}");
    let mut sockets = join_all((0..SOCKETS).map(|_| bed.connect(&path))).await;
    for socket in &mut sockets {
        assert_eq!(hear(socket).await["type"], "authenticated");
    }
    bed.stop.cancel();
    let left = |mut socket: Socket| async move {
        let told = hear(&mut socket).await;
        assert_eq!((&told["type"], &told["reason"]), (&json!("reconnect"), &json!("drain")), "{told}");
        assert!(told["afterMs"].as_u64().is_some_and(|after| after >= 500), "{told}");
        let Message::Close(Some(close)) = next(&mut socket).await else { panic!("not closed") };
        assert_eq!(u16::from(close.code), 1001);
        assert!(tokio::time::timeout(PATIENCE, socket.next()).await.is_ok());
        told["timestamp"].as_u64().unwrap()
    };
    let left = join_all(sockets.into_iter().map(left)).await;
    let (first, last) = (left.iter().min().unwrap(), left.iter().max().unwrap());
    // 600 connections at 0.3 ms each: most of 180 ms.
    assert!(last - first > 100, "{first} to {last}");
}
