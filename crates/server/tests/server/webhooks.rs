//! Webhooks against receivers that are honest, slow, lying or gone.

use std::{collections::BTreeMap, sync::Arc};

use access::{Role, webhook};
use protocol::{TenantId, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    bed::Bed,
    receiver::{Act, Call, Receiver, status},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// An endpoint called `hook`, with further lines.
fn hook(url: &str, lines: &str) -> String {
    format!("[[webhook]]\nname = \"hook\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{lines}\n")
}

/// A server with one endpoint, which may be called although it is on this machine.
async fn bed(receiver: &Receiver, lines: &str) -> Bed {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    Bed::with_file(folder, &hook(&receiver.url(), lines), &[("webhooks.allow", "127.0.0.0/8")]).await
}

fn operator(bed: &Bed) -> String {
    bed.token("op", "default", Role::Operator)
}

/// A generation that begins and ends: three events, `queued`, `cancel_requested` and `cancelled`.
async fn live_and_end(bed: &Bed, token: &str) -> String {
    let id = bed.submit(token).await;
    let answer = bed.post(&format!("/v1/generations/{id}/cancel"), token, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    id
}

async fn view(bed: &Bed) -> Value {
    bed.get("/v1/webhooks", &operator(bed)).await.json()["webhooks"][0].clone()
}

/// Looks until the endpoint stands as it must.
async fn until(bed: &Bed, fits: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            let view = view(bed).await;
            if fits(&view) {
                return view;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), look).await.expect("it stands otherwise")
}

fn sequences(calls: &[Call], generation: &str) -> Vec<u64> {
    calls.iter().filter(|call| call.generation() == generation).map(Call::sequence).collect()
}

#[tokio::test]
async fn an_endpoint_hears_of_the_end_once_and_signed() {
    let receiver = Receiver::start(|_, _| status(204)).await;
    let bed = bed(&receiver, "").await;
    let ada = bed.user("ada");
    let stranger = bed.token("bob", "elsewhere", Role::User);
    live_and_end(&bed, &stranger).await;
    let id = live_and_end(&bed, &ada).await;
    live_and_end(&bed, &ada).await;
    let calls = receiver.until(|calls| calls.len() == 2).await;
    // Between generations nothing is promised of the order.
    let call = calls.iter().find(|call| call.generation() == id).expect("it ended");
    assert_eq!(call.body["type"], "generation.cancelled");
    assert_eq!((call.sequence(), &call.body["data"]["state"]), (3, &json!("cancelled")));
    let page = bed.get(&format!("/v1/generations/{id}/events"), &ada).await.json();
    assert_eq!(call.body["data"], page["events"][2], "as every watcher sees it");
    assert_eq!(call.headers["x-correlation-id"], call.body["data"]["causalId"].as_str().unwrap());
    assert_eq!(call.headers["content-type"], "application/json");
    assert!(call.body["timestamp"].as_str().unwrap().ends_with('Z'), "{}", call.body);
    let seconds: u64 = call.headers["webhook-timestamp"].parse().unwrap();
    assert!(rushes_server::now().0.abs_diff(seconds * 1_000) < 60_000);
    let keys = [SECRET.parse().unwrap()];
    let signed = webhook::signature(&keys, call.id(), Timestamp(seconds * 1_000), &call.text);
    assert_eq!(call.headers["webhook-signature"], signed);
    assert!(call.id().starts_with("msg_") && !call.id().contains('.') && calls[0].id() != calls[1].id());
    let view = until(&bed, |view| view["due"] == 0).await;
    assert_eq!((&view["name"], &view["failing"], &view["deadLetters"]), (&json!("hook"), &json!(0), &json!(0)));
    assert!(!view.to_string().contains("MfKQ"), "secrets are not shown: {view}");
    let metrics = bed.get("/metrics", "").await.text();
    for line in [
        r#"rushes_webhook_calls_total{endpoint="hook",outcome="taken"} 2"#,
        r#"rushes_webhook_due{endpoint="hook"} 0"#,
        "rushes_webhook_behind_events 0",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_failing_generation_blocks_only_itself_and_keeps_its_order() {
    // The first generation to come is refused three times, each time at its second event.
    let receiver = Receiver::start(|_, _| status(200)).await;
    let bed = bed(&receiver, "events = [\"*\"]\nretries = [\"100ms\", \"100ms\", \"100ms\", \"100ms\"]").await;
    let ada = bed.user("ada");
    let slow = bed.submit(&ada).await;
    receiver.until(|calls| calls.len() == 1).await;
    let (name, refused) = (slow.clone(), parking_lot::Mutex::new(0));
    receiver.act(move |call, _| {
        let mut refused = refused.lock();
        if call.generation() == name && *refused < 3 {
            *refused += 1;
            return status(500);
        }
        status(200)
    });
    bed.post(&format!("/v1/generations/{slow}/cancel"), &ada, "").await;
    let quick = live_and_end(&bed, &ada).await;
    let calls =
        receiver.until(|calls| sequences(calls, &slow).contains(&3) && sequences(calls, &quick).len() == 3).await;
    assert_eq!(sequences(&calls, &quick), [1, 2, 3], "the other generation");
    assert_eq!(sequences(&calls, &slow), [1, 2, 2, 2, 2, 3], "in order, and nothing before what failed");
    let mut ids: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.generation() == slow) {
        ids.entry(call.sequence()).or_default().push(call.id());
    }
    assert!(ids[&2].windows(2).all(|pair| pair[0] == pair[1]), "one id whatever the try: {ids:?}");
    assert!(ids[&1] != ids[&2] && ids[&2][..1] != ids[&3]);
}

/// Answers that are no use, and what each is counted as.
fn useless() -> Vec<(&'static str, Act, &'static str)> {
    vec![
        ("500", status(500), "status"),
        ("an early end", Act::Close, "connection"),
        ("no HTTP", Act::Say("SSH-2.0-OpenSSH_9.9\r\n".into()), "connection"),
        ("half a head", Act::Say("HTTP/1.1 200 OK\r\ncontent-le".into()), "connection"),
        ("endless headers", Act::Flood("HTTP/1.1 200 OK\r\nx: ".to_owned() + &"x".repeat(4_096)), "connection"),
    ]
}

#[tokio::test]
async fn what_is_no_yes_is_a_no_and_ends_as_a_dead_letter() {
    for (name, act, outcome) in useless() {
        let receiver = Receiver::start(move |_, _| act.clone()).await;
        let bed = bed(&receiver, "retries = [\"10ms\"]").await;
        let id = live_and_end(&bed, &bed.user("ada")).await;
        let view = until(&bed, |view| view["deadLetters"] == 1).await;
        assert_eq!((&view["due"], receiver.calls().len()), (&json!(0), 2), "{name}: tried once more and given up");
        let op = operator(&bed);
        let letters = bed.get("/v1/webhooks/hook/dead-letters", &op).await.json();
        let letter = &letters["deadLetters"][0];
        assert_eq!((&letter["generation"], &letter["attempts"]), (&json!(id), &json!(2)), "{name}: {letter}");
        assert_eq!((&letter["type"], &letter["lastSequence"]), (&json!("dlq.webhook.v1"), &json!(3)), "{letter}");
        let metrics = bed.get("/metrics", "").await.text();
        let line = format!(r#"rushes_webhook_calls_total{{endpoint="hook",outcome="{outcome}"}} 2"#);
        assert!(metrics.contains(&line), "{name}: {line} in\n{metrics}");

        receiver.act(|_, _| status(200));
        let redriven = bed.post("/v1/webhooks/hook/dead-letters/redrive", &op, r#"{"all":true}"#).await;
        assert_eq!(redriven.json(), json!({"count": 1}), "{name}");
        let calls = receiver.until(|calls| calls.len() == 3).await;
        assert_eq!((calls[2].id(), calls[2].sequence()), (calls[0].id(), 3), "{name}: under its old id");
        until(&bed, |view| view["due"] == 0 && view["deadLetters"] == 0).await;
        bed.server.stop().await;
    }
}

/// The head says that it was taken; what the receiver says of the length of the rest, true or not, costs nothing.
#[tokio::test]
async fn a_receiver_that_lies_about_its_answer_has_taken_the_message() {
    for (name, act) in [
        ("too short", Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nok".into())),
        ("too long", Act::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "x".repeat(100_000)))),
        ("endless", Act::Flood("HTTP/1.1 200 OK\r\n\r\n".to_owned() + &"x".repeat(65_536))),
        ("bad chunks", Act::Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n".into())),
        ("no length", Act::Say("HTTP/1.1 200 OK\r\n\r\nthanks".into())),
    ] {
        let receiver = Receiver::start(move |_, _| act.clone()).await;
        let bed = bed(&receiver, "").await;
        let ada = bed.user("ada");
        live_and_end(&bed, &ada).await;
        receiver.until(|calls| calls.len() == 1).await;
        until(&bed, |view| view["due"] == 0).await;
        live_and_end(&bed, &ada).await;
        let calls = receiver.until(|calls| calls.len() == 2).await;
        assert_ne!(calls[0].id(), calls[1].id(), "{name}: nothing came twice");
    }
}

#[tokio::test]
async fn what_is_redriven_during_a_call_is_sent_and_what_was_called_follows_again() {
    let receiver = Receiver::start(|_, _| status(500)).await;
    let bed = bed(&receiver, "events = [\"*\"]\nretries = []").await;
    let (ada, op) = (bed.user("ada"), operator(&bed));
    let id = bed.submit(&ada).await;
    until(&bed, |view| view["deadLetters"] == 1).await;
    let answer = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&answer);
    receiver.act(move |_, before| if before == 1 { Act::Held(Arc::clone(&held)) } else { status(200) });
    bed.post(&format!("/v1/generations/{id}/cancel"), &ada, "").await;
    receiver.until(|calls| calls.len() == 2).await;
    let redriven = bed.post("/v1/webhooks/hook/dead-letters/redrive", &op, r#"{"all":true}"#).await;
    assert_eq!(redriven.json(), json!({"count": 1}));
    answer.notify_one();
    let calls = receiver.until(|calls| sequences(calls, &id).contains(&3)).await;
    assert_eq!(sequences(&calls, &id), [1, 2, 1, 2, 3], "in order from the letter on");
    until(&bed, |view| view["due"] == 0 && view["deadLetters"] == 0).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let inner = Receiver::start(|_, _| status(200)).await;
    let target = inner.url();
    let outer = Receiver::start(move |_, _| {
        Act::Say(format!("HTTP/1.1 307 X\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
    })
    .await;
    let bed = bed(&outer, "retries = []").await;
    live_and_end(&bed, &bed.user("ada")).await;
    until(&bed, |view| view["deadLetters"] == 1).await;
    let letters = bed.get("/v1/webhooks/hook/dead-letters", &operator(&bed)).await.json();
    let error = letters["deadLetters"][0]["error"].as_str().unwrap();
    assert!(error.contains("307") && error.contains("not followed"), "{error}");
    assert_eq!((outer.calls().len(), inner.calls().len()), (1, 0));
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_its_own_generation_only() {
    let receiver = Receiver::start(|_, before| if before == 0 { Act::Hang } else { status(200) }).await;
    let bed = bed(&receiver, "").await;
    let ada = bed.user("ada");
    let hangs = live_and_end(&bed, &ada).await;
    receiver.until(|calls| calls.len() == 1).await;
    for _ in 0..20 {
        live_and_end(&bed, &ada).await;
    }
    let calls = receiver.until(|calls| calls.len() == 21).await;
    assert_eq!(sequences(&calls, &hangs).len(), 1);
    assert_eq!(until(&bed, |view| view["due"] == 1).await["failing"], 0, "it may still answer");
}

#[tokio::test]
async fn gone_disables_the_endpoint_until_an_operator_enables_it() {
    let receiver = Receiver::start(|_, _| status(410)).await;
    let bed = bed(&receiver, "").await;
    let (ada, op) = (bed.user("ada"), operator(&bed));
    let first = live_and_end(&bed, &ada).await;
    let view = until(&bed, |view| view["disabledAt"].is_u64()).await;
    assert_eq!((&view["due"], &view["deadLetters"]), (&json!(0), &json!(1)), "kept for when it is back: {view}");
    assert!(view["disabledWhy"].as_str().unwrap().contains("410"), "{view}");
    receiver.act(|_, _| status(200));
    live_and_end(&bed, &ada).await;
    let refused = bed.post("/v1/webhooks/hook/dead-letters/redrive", &op, r#"{"all":true}"#).await;
    assert_eq!(refused.refusal(), (409, "state_conflict".into()));
    // Whatever it would still send it has seen by now: the cursor stands at the end of the log.
    let behind = async || bed.get("/metrics", "").await.text().contains("rushes_webhook_behind_events 0");
    while !behind().await {}
    assert_eq!(receiver.calls().len(), 1, "nothing is sent while it is disabled");

    let enabled = bed.post("/v1/webhooks/hook/enable", &op, "").await;
    assert_eq!(enabled.status, 200, "{}", enabled.text());
    assert!(enabled.json()["disabledAt"].is_null());
    let third = live_and_end(&bed, &ada).await;
    let calls = receiver.until(|calls| calls.len() == 2).await;
    assert_eq!(calls[1].generation(), third, "what happened meanwhile is not told");
    bed.post("/v1/webhooks/hook/dead-letters/redrive", &op, json!({"generation": first}).to_string()).await;
    let calls = receiver.until(|calls| calls.len() == 3).await;
    assert_eq!(calls[2].id(), calls[0].id(), "the dead letter is told when somebody asks");
}

#[tokio::test]
async fn an_address_of_this_machine_is_not_called_unless_allowed() {
    let receiver = Receiver::start(|_, _| status(200)).await;
    for url in [
        receiver.url(),
        format!("http://localhost:{}/hook", receiver.port),
        format!("https://localhost:{}/", receiver.port),
    ] {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let bed = Bed::with_file(folder, &hook(&url, "retries = []"), &[]).await;
        live_and_end(&bed, &bed.user("ada")).await;
        until(&bed, |view| view["deadLetters"] == 1).await;
        let letters = bed.get("/v1/webhooks/hook/dead-letters", &operator(&bed)).await.json();
        let error = letters["deadLetters"][0]["error"].as_str().unwrap();
        assert!(error.contains("webhooks.allow"), "{url}: {error}");
        let metrics = bed.get("/metrics", "").await.text();
        assert!(metrics.contains(r#"outcome="refused"} 1"#), "{metrics}");
    }
    assert_eq!(receiver.calls().len(), 0);
}

#[tokio::test]
async fn what_was_due_when_the_server_stopped_is_sent_by_the_next() {
    let receiver = Receiver::start(|_, _| status(503)).await;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let file = hook(&receiver.url(), "retries = [\"50ms\", \"50ms\", \"50ms\", \"50ms\", \"50ms\", \"50ms\", \"24h\"]");
    let allow = [("webhooks.allow", "127.0.0.0/8")];
    let bed = Bed::with_file(Arc::clone(&folder), &file, &allow).await;
    let id = live_and_end(&bed, &bed.user("ada")).await;
    receiver.until(|calls| calls.len() >= 2).await;
    bed.server.stop().await;
    let before = receiver.calls().len();
    receiver.act(|_, _| status(200));
    let bed = Bed::with_file(Arc::clone(&folder), &file, &allow).await;
    let calls = receiver.until(|calls| calls.len() > before).await;
    assert_eq!((calls[before].generation(), calls[before].id()), (id.as_str(), calls[0].id()));
    until(&bed, |view| view["due"] == 0).await;
    bed.server.stop().await;

    // Out of the file, it is forgotten; in it again, it begins anew.
    let bed = Bed::with_file(Arc::clone(&folder), "", &allow).await;
    live_and_end(&bed, &bed.user("ada")).await;
    assert_eq!(bed.get("/v1/webhooks", &operator(&bed)).await.json(), json!({"webhooks": []}));
    bed.server.stop().await;
    let bed = Bed::with_file(folder, &file, &allow).await;
    let last = live_and_end(&bed, &bed.user("ada")).await;
    let calls = receiver.until(|calls| calls.len() > before + 1).await;
    assert_eq!(calls.last().unwrap().generation(), last, "what happened while nobody was to hear is not told");
}

#[tokio::test]
async fn operators_alone_see_webhooks_and_mistakes_are_named() {
    let receiver = Receiver::start(|_, _| status(200)).await;
    let bed = bed(&receiver, "").await;
    let (ada, op) = (bed.user("ada"), operator(&bed));
    let path = "/v1/webhooks/hook/dead-letters";
    for (method, path) in [
        (Method::GET, "/v1/webhooks"),
        (Method::GET, path),
        (Method::POST, "/v1/webhooks/hook/enable"),
        (Method::POST, "/v1/webhooks/hook/disable"),
        (Method::POST, "/v1/webhooks/hook/dead-letters/redrive"),
        (Method::POST, "/v1/webhooks/hook/dead-letters/purge"),
    ] {
        assert_eq!(bed.send(method.clone(), path, &ada).await.refusal(), (403, "forbidden".into()), "{method} {path}");
        assert_eq!(bed.send(method, path, "").await.status, 401, "{path}");
    }
    for body in ["{}", r#"{"ids":[]}"#, r#"{"all":true,"ids":[1]}"#, r#"{"everything":true}"#, "[1]", ""] {
        for verb in ["redrive", "purge"] {
            let answer = bed.post(&format!("{path}/{verb}"), &op, body).await;
            assert_eq!(answer.refusal(), (400, "invalid_request".into()), "{verb} {body}");
        }
    }
    for query in ["limit=0", "limit=201", "cursor=x", "colour=red"] {
        let answer = bed.get(&format!("{path}?{query}"), &op).await;
        assert_eq!(answer.refusal(), (400, "invalid_request".into()), "{query}");
    }
    assert_eq!(bed.get("/v1/webhooks/nobody/dead-letters", &op).await.status, 404);
    assert_eq!(bed.post("/v1/webhooks/nobody/enable", &op, "").await.status, 404);
    let disabled = bed.post("/v1/webhooks/hook/disable", &op, "").await.json();
    assert!(disabled["disabledWhy"].as_str().unwrap().contains("operator"), "{disabled}");
    assert_eq!(view(&bed).await["tenant"], json!(TenantId::fallback()));
}
