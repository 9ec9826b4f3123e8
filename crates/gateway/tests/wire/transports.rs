//! One history over three transports.

use access::Role;
use bus::Bus;
use futures_util::StreamExt;
use protocol::{EventType, Hint, Tick};
use rushes_gateway::Crowds;
use serde_json::Value;

use crate::bed::{Bed, PATIENCE, USER, hear, http, picture, say, sequences_until_done};

/// A stream of server-sent events, taken apart as far as these tests need.
pub(crate) struct Stream {
    body: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn open(request: reqwest::RequestBuilder) -> Self {
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { body: Box::pin(response.bytes_stream()), text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut sent = Sent::default();
                for line in block.lines() {
                    match line.split_once(": ") {
                        Some(("event", name)) => sent.name = Some(name.to_owned()),
                        Some(("id", id)) => sent.id = Some(id.to_owned()),
                        Some(("data", data)) => sent.data = serde_json::from_str(data).unwrap(),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                if !sent.data.is_null() {
                    return Some(sent);
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("the stream goes on")?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    async fn sequences_until_done(&mut self) -> Vec<u64> {
        let mut sequences = Vec::new();
        while let Some(sent) = self.next().await {
            match sent.name.as_deref() {
                None => sequences.push(sent.data["sequence"].as_u64().unwrap()),
                Some("done") => break,
                Some(other) => panic!("{other}"),
            }
        }
        assert!(self.next().await.is_none(), "the stream ends after done");
        sequences
    }
}

/// A long-poll loop to the end.
async fn poll_until_done(bed: &Bed, path: &str) -> Vec<u64> {
    let mut sequences = Vec::new();
    let mut after = "start".to_owned();
    loop {
        let request = bed.get(&format!("{path}?limit=7&after={after}")).header("prefer", "wait=5");
        let page: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        let events = page["events"].as_array().unwrap();
        sequences.extend(events.iter().map(|event| event["sequence"].as_u64().unwrap()));
        after = page["position"].as_str().unwrap().to_owned();
        if page["done"] == true {
            return sequences;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_transports_tell_the_same_story() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    bed.append(&generation, 1, 300, None).await;
    let path = format!("/v1/generations/{generation}/events");

    let mut socket = bed.live().await;
    say(&mut socket, &format!(r#"{{"type":"subscribe","generationId":"{generation}","after":"start"}}"#)).await;
    let mut stream = Stream::open(bed.get(&path)).await;
    let write = async {
        let mut head = 301;
        for _ in 0..20 {
            bed.append(&generation, head, 5, None).await;
            head += 5;
        }
        bed.append(&generation, head, 1, Some(EventType::Complete)).await;
    };
    let (live, streamed, polled, ()) = tokio::join!(
        sequences_until_done(&mut socket),
        stream.sequences_until_done(),
        poll_until_done(&bed, &path),
        write
    );
    let all: Vec<u64> = (1..=402).collect();
    assert_eq!(live, all);
    assert_eq!(streamed, all);
    assert_eq!(polled, all);
}

#[tokio::test]
async fn a_position_of_one_transport_resumes_on_another() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    bed.append(&generation, 1, 9, None).await;
    let path = format!("/v1/generations/{generation}/events");

    let mut stream = Stream::open(bed.get(&path)).await;
    let mut id = None;
    for _ in 0..4 {
        id = stream.next().await.unwrap().id;
    }
    let position = id.unwrap();
    drop(stream);

    let mut socket = bed.live().await;
    let subscribe = format!(r#"{{"type":"subscribe","generationId":"{generation}","after":"{position}"}}"#);
    say(&mut socket, &subscribe).await;
    for sequence in 5..=10 {
        assert_eq!(hear(&mut socket).await["data"]["sequence"], sequence);
    }
    let subscribed = hear(&mut socket).await;
    assert_eq!((&subscribed["type"], &subscribed["recovery"]), (&"subscribed".into(), &"resumed".into()));

    let mut stream = Stream::open(bed.get(&path).header("last-event-id", &position)).await;
    assert_eq!(stream.next().await.unwrap().data["sequence"], 5);

    let page: Value = bed.get(&format!("{path}?after={position}")).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["events"][0]["sequence"], 5);
    assert_eq!((&page["more"], &page["done"]), (&false.into(), &false.into()));
}

#[tokio::test]
async fn a_position_of_another_history_gets_the_state_on_every_transport() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    bed.append(&generation, 1, 4, None).await;
    let path = format!("/v1/generations/{generation}/events");

    let page: Value = bed.get(&format!("{path}?after=zzz:1")).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["recovery"], "snapshot");
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    assert_eq!(page["events"][0]["sequence"], 5);

    let mut stream = Stream::open(bed.get(&format!("{path}?after=zzz:1"))).await;
    assert_eq!(stream.next().await.unwrap().name.as_deref(), Some("recovery"));
    assert_eq!(stream.next().await.unwrap().data["sequence"], 5);

    let bad = bed.get(&format!("{path}?after=garbage")).send().await.unwrap();
    assert_eq!(bad.status(), 400);
    let body: Value = bad.json().await.unwrap();
    assert_eq!(body["error"]["code"], "invalid_position");
}

#[tokio::test]
async fn many_generations_come_in_one_stream_and_resume_by_its_cursor() {
    let bed = Bed::start().await;
    let (a, b) = (bed.create("a").await, bed.create("b").await);
    let path = format!("/v1/events?generation={a}&generation={b}");
    let page: Value = bed.get(&path).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    let cursor = page["cursor"].as_str().unwrap().to_owned();

    bed.append(&a, 1, 2, None).await;
    bed.append(&b, 1, 1, Some(EventType::Complete)).await;
    let mut stream = Stream::open(bed.get(&format!("{path}&after={cursor}"))).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let sent = stream.next().await.unwrap();
        seen.push((sent.data["generationId"].as_str().unwrap().to_owned(), sent.data["sequence"].as_u64().unwrap()));
    }
    seen.sort();
    assert_eq!(seen, [(a.to_string(), 2), (a.to_string(), 3), (b.to_string(), 2)]);
    let ended = stream.next().await.unwrap();
    assert_eq!((ended.name.as_deref(), &ended.data["generationId"]), (Some("ended"), &b.as_str().into()));

    bed.append(&a, 3, 1, Some(EventType::Complete)).await;
    assert_eq!(stream.next().await.unwrap().data["sequence"], 4);
    assert_eq!(stream.next().await.unwrap().name.as_deref(), Some("ended"));
    assert_eq!(stream.next().await.unwrap().name.as_deref(), Some("done"));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_cursor_that_was_forged_or_changed_is_refused() {
    let bed = Bed::start().await;
    let generation = bed.create("forged").await;
    let path = format!("/v1/events?generation={generation}");
    let page: Value = bed.get(&path).send().await.unwrap().json().await.unwrap();
    let cursor = page["cursor"].as_str().unwrap().to_owned();
    let unsigned =
        data_encoding::BASE64URL_NOPAD.encode(format!(r#"{{"e":"k3f9","t":0,"g":{{"{generation}":0}}}}"#).as_bytes());
    let mut changed = cursor.clone();
    changed.replace_range(40..41, if &cursor[40..41] == "A" { "B" } else { "A" });
    for bad in [&unsigned, &changed, "AAAA", "%00", &cursor[1..], &"A".repeat(5_000)] {
        let answer = bed.get(&format!("{path}&after={bad}")).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{bad}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "invalid_position", "{body}");
        let answer = bed.get(&path).header("last-event-id", bad).header("accept", "text/event-stream");
        assert_eq!(answer.send().await.unwrap().status(), 400, "{bad}");
    }
}

/// What the answer to `token` has to say, which must be 200: generations and sequences, and the whole of it.
async fn told(bed: &Bed, path: &str, token: &str) -> (Vec<(String, u64)>, String) {
    let answer = http().get(format!("http://{}{path}", bed.address)).bearer_auth(token).timeout(PATIENCE);
    let answer = answer.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    let events = body["events"].as_array().unwrap().iter();
    let seen = events.map(|e| (e["generationId"].as_str().unwrap().to_owned(), e["sequence"].as_u64().unwrap()));
    (seen.collect(), text)
}

/// A cursor names places; what its bearer may see there is asked each time.
#[tokio::test]
async fn a_true_cursor_in_other_hands_opens_nothing() {
    let bed = Bed::start().await;
    let generation = bed.create("secret").await;
    let (owner, other) = (bed.token(USER, Role::User), bed.token("user_other", Role::User));
    let path = format!("/v1/events?generation={generation}");
    let page: Value = bed.get(&path).send().await.unwrap().json().await.unwrap();
    let cursor = page["cursor"].as_str().unwrap().to_owned();
    // Something to see behind it: an answer without events means something then.
    bed.append(&generation, 1, 2, None).await;
    for path in [format!("{path}&after={cursor}"), format!("/v1/events?mine&after={cursor}")] {
        let (seen, _) = told(&bed, &path, &owner).await;
        assert_eq!(seen, [(generation.to_string(), 2), (generation.to_string(), 3)], "{path}");
        let (seen, text) = told(&bed, &path, &other).await;
        assert_eq!(seen, [], "{path}");
        assert!(!text.contains(USER) && !text.contains(generation.as_str()), "{text}");
    }
}

#[tokio::test]
async fn each_of_many_begins_at_its_own_position_and_tells_the_next() {
    let bed = Bed::start().await;
    let (a, b) = (bed.create("a").await, bed.create("b").await);
    bed.append(&a, 1, 5, None).await;
    bed.append(&b, 1, 2, None).await;
    let page: Value =
        bed.get(&format!("/v1/generations/{a}/events?limit=4")).send().await.unwrap().json().await.unwrap();
    let position = page["position"].as_str().unwrap().to_owned();
    assert!(position.ends_with(":4"), "{position}");
    let epoch = position.strip_suffix(":4").unwrap().to_owned();

    let mut stream = Stream::open(bed.get(&format!("/v1/events?generation={a}@{position}&generation={b}@start"))).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let data = stream.next().await.unwrap().data;
        let (id, sequence) = (data["generationId"].as_str().unwrap().to_owned(), data["sequence"].as_u64().unwrap());
        assert_eq!(data["position"], format!("{epoch}:{sequence}"));
        seen.push((id, sequence));
    }
    seen.sort();
    let (a_text, b_text) = (a.to_string(), b.to_string());
    let expected = [(&a_text, 5), (&a_text, 6), (&b_text, 1), (&b_text, 2), (&b_text, 3)];
    assert_eq!(seen.iter().map(|(id, sequence)| (id, *sequence)).collect::<Vec<_>>(), expected);

    let unknown = bed.get(&format!("/v1/events?generation={a}&generation=gen_nobodys")).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    let problem = unknown.json::<Value>().await.unwrap();
    assert_eq!(problem["error"]["details"]["generationId"], "gen_nobodys", "which of them: {problem}");

    let bad = bed.get(&format!("/v1/events?generation={a}@garbage")).send().await.unwrap();
    assert_eq!(bad.status(), 400);
    assert_eq!(bad.json::<Value>().await.unwrap()["error"]["code"], "invalid_position");
}

#[tokio::test]
async fn a_65th_generation_in_one_stream_is_refused_and_room_is_made_by_one_that_ended() {
    const MAX: usize = 64;
    let bed = Bed::start().await;
    let mut path = "/v1/events?".to_owned();
    let mut all = Vec::new();
    for n in 0..MAX {
        let generation = bed.create(&format!("many{n}")).await;
        path.push_str(&format!("generation={generation}&"));
        all.push(generation);
    }
    let page: Value = bed.get(&path).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["events"].as_array().unwrap().len(), MAX);
    let mut mine = Stream::open(bed.get("/v1/events?mine")).await;
    for _ in 0..MAX {
        assert!(mine.next().await.unwrap().name.is_none());
    }

    // One of the 64 ends and makes room for the next of one's own; the one after that finds none.
    bed.append(&all[0], 1, 1, Some(EventType::Complete)).await;
    assert_eq!(mine.next().await.unwrap().data["sequence"], 2);
    assert_eq!(mine.next().await.unwrap().name.as_deref(), Some("ended"));
    let next = bed.create("next").await;
    let Sent { data, id: cursor, .. } = mine.next().await.unwrap();
    assert_eq!(data["generationId"], next.as_str());
    let beyond = bed.create("beyond").await;
    let problem = mine.next().await.unwrap();
    assert_eq!((problem.name.as_deref(), &problem.data["code"]), (Some("problem"), &"invalid_request".into()));
    assert!(mine.next().await.is_none(), "it is honest to stop");

    for path in [format!("{path}generation={beyond}"), format!("/v1/events?mine&after={}", cursor.unwrap())] {
        for accept in ["text/event-stream", "application/json"] {
            let refused = bed.get(&path).header("accept", accept).send().await.unwrap();
            assert_eq!(refused.status(), 400, "{path}");
            let problem = refused.json::<Value>().await.unwrap();
            assert_eq!(problem["error"]["code"], "invalid_request", "{problem}");
            assert!(problem["error"]["message"].as_str().unwrap().contains("at most 64"), "{problem}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_opens_too_many_streams_waits_and_is_served_all_the_same() {
    /// Two seconds apart behind these: however slowly they come, sooner or later one has to wait.
    const AT_ONCE: u64 = 30;
    let per_minute = u32::try_from(AT_ONCE).unwrap();
    let bed = Bed::with_crowds(Crowds { connects_per_minute: Some(per_minute), ..Crowds::default() }).await;
    let generation = bed.create("busy").await;
    let one = format!("/v1/generations/{generation}/events");
    let delayed = || bed.gateway.counts().connects_delayed.get();
    // Both ways of asking are counted, each user for itself.
    for (user, path) in [(USER, one.as_str()), ("user_other", "/v1/events?mine")] {
        let token = bed.token(user, Role::User);
        let get = || http().get(format!("http://{}{path}", bed.address)).bearer_auth(&token);
        let (mut opened, before) = (0, delayed());
        while delayed() == before {
            // It is served, if later.
            drop(Stream::open(get()).await);
            opened += 1;
            assert!(opened < 10 * AT_ONCE, "nobody waits at {path}");
        }
        assert!(opened > AT_ONCE, "the first {AT_ONCE} come at once: {opened} at {path}");
        for _ in 0..AT_ONCE {
            assert_eq!(get().send().await.unwrap().status(), 200, "a page is a request, and no connection");
        }
        assert_eq!(delayed(), before + 1, "{path}");
    }
}

/// A page may end before each of several restored generations gave its state; its cursor must not call that a place.
#[tokio::test]
async fn who_has_not_been_told_of_another_history_is_told_by_the_next_page() {
    let bed = Bed::start().await;
    let (a, b) = (bed.create("a").await, bed.create("b").await);
    bed.append(&a, 1, 4, None).await;
    bed.append(&b, 1, 4, None).await;
    let mut path = format!("/v1/events?limit=1&generation={a}@zzz:2&generation={b}@zzz:2");
    let mut told = Vec::new();
    for _ in 0..2 {
        let page: Value = bed.get(&path).send().await.unwrap().json().await.unwrap();
        let [event] = page["events"].as_array().unwrap().as_slice() else { panic!("{page}") };
        assert_eq!((&event["sequence"], &page["snapshots"][0]), (&5.into(), &event["generationId"]), "{page}");
        told.push(event["generationId"].as_str().unwrap().to_owned());
        path = format!("/v1/events?limit=1&generation={a}&generation={b}&after={}", page["cursor"].as_str().unwrap());
    }
    told.sort();
    assert_eq!(told, [a.to_string(), b.to_string()]);
    let page: Value = bed.get(&path).send().await.unwrap().json().await.unwrap();
    assert_eq!((&page["events"], &page["more"]), (&serde_json::json!([]), &false.into()), "{page}");
}

#[tokio::test]
async fn pictures_are_announced_of_those_that_are_asked_for() {
    let bed = Bed::start().await;
    let (a, b) = (bed.create("a").await, bed.create("b").await);
    let mut stream = Stream::open(bed.get(&format!("/v1/events?generation={a}&generation={b}&frames={b}"))).await;
    for _ in 0..2 {
        assert!(stream.next().await.unwrap().id.is_some());
    }
    bed.bus.publish(bus::Signal::Frame(picture(&a, 1, 0).into()));
    bed.bus.publish(bus::Signal::Frame(picture(&b, 2, 0).into()));
    let announced = stream.next().await.unwrap();
    assert_eq!(announced.name.as_deref(), Some("frame"));
    assert_eq!((&announced.data["generationId"], &announced.data["index"]), (&b.as_str().into(), &2.into()));
}

#[tokio::test]
async fn what_one_made_while_away_comes_with_the_cursor_of_mine() {
    let bed = Bed::start().await;
    let a = bed.create("a").await;
    let page: Value = bed.get("/v1/events?mine").send().await.unwrap().json().await.unwrap();
    assert_eq!(page["events"][0]["generationId"], a.as_str());
    let cursor = page["cursor"].as_str().unwrap().to_owned();
    // Made and ended while nobody looked.
    let b = bed.create("b").await;
    bed.append(&b, 1, 1, Some(EventType::Complete)).await;
    let page: Value = bed.get(&format!("/v1/events?mine&after={cursor}")).send().await.unwrap().json().await.unwrap();
    let events = page["events"].as_array().unwrap();
    let seen: Vec<_> =
        events.iter().map(|e| (e["generationId"].as_str().unwrap(), e["sequence"].as_u64().unwrap())).collect();
    assert_eq!(seen, [(b.as_str(), 1), (b.as_str(), 2)]);
}

#[tokio::test]
async fn a_long_poll_waits_for_what_comes_and_says_when_nothing_did() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let path = format!("/v1/generations/{generation}/events?after=1");
    let poll = async {
        let answer = bed.get(&path).header("prefer", "wait=20").send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let write = async {
        // Not before the poll waits.
        while bed.gateway.hub().watched() == 0 {
            tokio::task::yield_now().await;
        }
        bed.append(&generation, 1, 1, None).await;
    };
    let (page, ()) = tokio::join!(poll, write);
    assert_eq!(page["events"][0]["sequence"], 2);

    let path = format!("/v1/generations/{generation}/events?after=2");
    let page: Value = bed.get(&path).header("prefer", "wait=1").send().await.unwrap().json().await.unwrap();
    assert_eq!(page["events"], serde_json::json!([]));
    assert!(page["position"].as_str().unwrap().ends_with(":2"));
    assert_eq!(bed.gateway.hub().watched(), 0);
}

#[tokio::test]
async fn since_passes_over_what_is_older() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    bed.append(&generation, 1, 3, None).await;
    let events = format!("/v1/generations/{generation}/events");
    let all: Value = bed.get(&format!("{events}?since=0")).send().await.unwrap().json().await.unwrap();
    assert_eq!(all["events"].as_array().unwrap().len(), 4);
    let later = crate::bed::now().0 + 60_000;
    let none: Value = bed.get(&format!("{events}?since={later}")).send().await.unwrap().json().await.unwrap();
    assert_eq!(none["events"], serde_json::json!([]));
}

#[tokio::test]
async fn a_hint_has_no_id_and_a_picture_is_announced_and_fetched() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let mut stream = Stream::open(bed.get(&format!("/v1/generations/{generation}/events?frames"))).await;
    assert!(stream.next().await.unwrap().id.is_some());

    let mut status = store::conformance::sample::event(&generation, "hint");
    status.sequence = protocol::Sequence(1);
    status.message = "Waiting in queue (position 3)".to_owned();
    bed.bus.publish(bus::Signal::Hint(Hint::new(status, Tick(1)).into()));
    let hint = stream.next().await.unwrap();
    assert_eq!((hint.id, &hint.data["ephemeral"]), (None, &true.into()));

    bed.bus.publish(bus::Signal::Frame(picture(&generation, 7, 0).into()));
    let announced = stream.next().await.unwrap();
    assert_eq!((announced.name.as_deref(), &announced.data["index"]), (Some("frame"), &7.into()));
    let path = format!("/v1/generations/{generation}/frames/latest");
    let fetched = bed.get(&path).send().await.unwrap();
    assert_eq!(fetched.headers()["content-type"], "image/webp");
    assert_eq!(fetched.headers()["x-content-type-options"], "nosniff");
    let tag = fetched.headers()["etag"].clone();
    assert!(fetched.bytes().await.unwrap().starts_with(b"RIFF"));
    let again = bed.get(&path).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
}

#[tokio::test]
async fn the_first_dialects_status_and_health_have_their_exact_keys() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    bed.append(&generation, 1, 1, Some(EventType::Complete)).await;
    let status = bed.get(&format!("/api/generations/{generation}/status")).send().await.unwrap();
    assert_eq!(status.headers()["cache-control"], "no-store");
    let status: Value = status.json().await.unwrap();
    assert_eq!(status["generationId"], generation.as_str());
    assert_eq!(status["userId"], "user_456");
    let link = status["metadata"]["videoUrl"].as_str().unwrap();
    assert!(
        link.starts_with(&format!("https://films.example/v1/generations/{generation}/artifacts/film.mp4?")),
        "{link}"
    );

    let mut socket = bed.live().await;
    say(&mut socket, &format!(r#"{{"type":"subscribe","generationId":"{}"}}"#, bed.create("b").await)).await;
    hear(&mut socket).await;
    let health: Value = bed.get("/health").send().await.unwrap().json().await.unwrap();
    let keys: Vec<_> = health.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["connections", "status", "subscriptions", "uptime"]);
    assert_eq!(health["status"], "healthy");
    assert_eq!((&health["connections"], &health["subscriptions"]), (&1.into(), &1.into()));
    assert!(health["uptime"].is_f64());
}
