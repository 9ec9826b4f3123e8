//! The first dialect, row by row, with its exact words.

use proptest::prelude::*;
use protocol::{
    EventType::{Complete, Queued, StageProgress, StageStarted},
    limits,
};
use serde_json::json;

use super::bench::{Bench, Said, client_frame};
use crate::session::{Dialect, Ended};

const SUBSCRIBE: &str = r#"{"type":"subscribe","generationId":"gen_abc"}"#;
const NO_ACCESS: &str = "error: You do not have access to this generation";
const EARLY: &str = "error: Must authenticate before subscribing";
const BAD_TOKEN: [&str; 2] = ["error: Invalid or expired token", "close 4003 Authentication failed"];

#[test]
fn w1_silence_ends_after_ten_seconds() {
    let mut bench = Bench::new(Dialect::First);
    bench.later(9_999);
    assert!(bench.gists().is_empty());
    bench.later(1);
    assert_eq!(
        bench.gists(),
        [
            "error: Authentication timeout. Send authenticate message within 10 seconds.",
            "close 4001 Authentication timeout"
        ]
    );
    assert_eq!(bench.ended(), Ended::Closing);
    bench.later(2_000);
    assert_eq!(bench.ended(), Ended::Gone);
}

#[test]
fn w2_a_bad_or_missing_token_is_refused() {
    for message in [
        r#"{"type":"authenticate","token":"nonsense"}"#,
        r#"{"type":"authenticate"}"#,
        r#"{"type":"authenticate","token":7}"#,
    ] {
        let mut bench = Bench::new(Dialect::First);
        bench.say(message);
        assert_eq!(bench.gists(), BAD_TOKEN);
    }
}

#[test]
fn w3_w4_the_state_comes_before_subscribed() {
    let mut bench = Bench::authenticated(Dialect::First);
    bench.commit("gen_abc", &[Queued, StageStarted]);
    bench.say(SUBSCRIBE);
    let said = bench.heard();
    assert_eq!(said.iter().map(Said::gist).collect::<Vec<_>>(), ["status_update 2", "subscribed"]);
    let Said::Json(update) = &said[0] else { panic!("not a text") };
    assert_eq!(update["generationId"], "gen_abc");
    assert_eq!(update["position"], "k3f9:2");
    assert_eq!(update["timestamp"], bench.now.0);
    assert_eq!(update["data"]["userId"], "user_456");
    assert_eq!(update["data"].get("metadata"), None);
    assert_eq!(update.get("previous"), None);
    assert_eq!(
        said[1],
        Said::Json(json!({"type": "subscribed", "generationId": "gen_abc", "position": "k3f9:2", "recovery": "fresh",
            "timestamp": bench.now.0}))
    );
    bench.commit("gen_abc", &[StageProgress]);
    assert_eq!(bench.gists(), ["status_update 3"]);
}

#[test]
fn w4_the_state_comes_out_of_the_log_where_it_is_not_in_memory() {
    let mut bench = Bench::authenticated(Dialect::First);
    bench.write("gen_abc", &[Queued, StageStarted]);
    bench.say(SUBSCRIBE);
    assert_eq!(bench.gists(), ["status_update 2", "subscribed"]);
}

#[test]
fn w6_foreign_unknown_and_missing_ids_look_alike() {
    let mut bench = Bench::authenticated(Dialect::First);
    bench.commit("gen_abc", &[Queued]);
    let token = bench.token("somebody_else");
    bench.say(&format!(r#"{{"type":"authenticate","token":"{token}"}}"#));
    assert_eq!(bench.gists(), ["authenticated"]);
    for message in [
        SUBSCRIBE,
        r#"{"type":"subscribe","generationId":"gen_unknown"}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","generationId":"../x"}"#,
        r#"{"type":"subscribe","generationId":7}"#,
    ] {
        bench.say(message);
        assert_eq!(bench.gists(), [NO_ACCESS], "{message}");
    }
    assert_eq!(bench.ended(), Ended::Not);
    assert_eq!(bench.node.hub.tails(), 1, "a refused id leaves a tail behind");
}

#[test]
fn w7_w8_w9_before_authentication() {
    let mut bench = Bench::new(Dialect::First);
    bench.say(SUBSCRIBE);
    bench.say(r#"{"type":"ping"}"#);
    bench.say(r#"{"type":"unsubscribe","generationId":"gen_abc"}"#);
    let said = bench.heard();
    assert_eq!(said.iter().map(Said::gist).collect::<Vec<_>>(), [EARLY, "pong", "unsubscribed"]);
    assert_eq!(said[1], Said::Json(json!({"type": "pong", "timestamp": bench.now.0})));
    assert_eq!(
        said[2],
        Said::Json(json!({"type": "unsubscribed", "generationId": "gen_abc", "timestamp": bench.now.0}))
    );
}

#[test]
fn w10_w11_what_is_no_message_is_answered_and_what_is_unknown_is_not() {
    let mut bench = Bench::new(Dialect::First);
    for bad in ["{", "null", "not json", ""] {
        bench.say(bad);
        assert_eq!(bench.gists(), ["error: Invalid message format"], "{bad:?}");
    }
    for unknown in [r#"{"type":"dance"}"#, "{}", "7", "[]", r#""text""#] {
        bench.say(unknown);
        assert!(bench.gists().is_empty(), "{unknown}");
    }
    bench.say(r#"{"type":"ping"}"#);
    assert_eq!(bench.gists(), ["pong"]);
}

#[test]
fn w12_subscribing_twice_catches_up_twice_and_updates_once() {
    let mut bench = Bench::authenticated(Dialect::First);
    bench.commit("gen_abc", &[Queued]);
    bench.say(SUBSCRIBE);
    bench.say(SUBSCRIBE);
    let twice = ["status_update 1", "subscribed"];
    let mut heard = bench.gists();
    bench.say(SUBSCRIBE);
    heard.extend(bench.gists());
    assert_eq!(heard, [twice, twice].concat());
    bench.commit("gen_abc", &[StageStarted]);
    assert_eq!(bench.gists(), ["status_update 2"]);
}

#[test]
fn w13_another_identity_takes_the_subscriptions_of_the_first_away() {
    let mut bench = Bench::authenticated(Dialect::First);
    bench.commit("gen_abc", &[Queued]);
    bench.say(SUBSCRIBE);
    bench.heard();
    let same = bench.token("user_456");
    bench.say(&format!(r#"{{"type":"authenticate","token":"{same}"}}"#));
    bench.commit("gen_abc", &[StageStarted]);
    assert_eq!(bench.gists(), ["authenticated", "status_update 2"]);
    let other = bench.token("somebody_else");
    bench.say(&format!(r#"{{"type":"authenticate","token":"{other}"}}"#));
    bench.commit("gen_abc", &[StageProgress]);
    assert_eq!(bench.gists(), ["authenticated"]);
}

#[test]
fn w14_a_bad_second_token_closes() {
    let mut bench = Bench::authenticated(Dialect::First);
    bench.say(r#"{"type":"authenticate","token":"nonsense"}"#);
    assert_eq!(bench.gists(), BAD_TOKEN);
}

#[test]
fn w15_an_expired_token_closes_after_its_grace() {
    let mut bench = Bench::authenticated(Dialect::First);
    for _ in 0..120 {
        bench.later(30_000);
        bench.send(&client_frame(0x8a, b""));
        bench.heard();
    }
    assert_eq!(bench.ended(), Ended::Not);
    bench.later(30_000);
    assert_eq!(bench.gists(), ["error: Invalid or expired token", "close 4003 Token expired"]);
    // From then on only the client's close is waited for.
    assert_eq!(bench.session.deadline(true), bench.now.plus(2_000));
}

#[test]
fn w16_no_pong_by_the_next_ping_drops_the_socket() {
    let mut bench = Bench::authenticated(Dialect::First);
    bench.later(30_000);
    assert_eq!(bench.gists(), ["ping"]);
    bench.send(&client_frame(0x8a, b""));
    bench.later(30_000);
    assert_eq!(bench.gists(), ["ping"]);
    // A JSON ping is no sign of life.
    bench.say(r#"{"type":"ping"}"#);
    bench.later(30_000);
    assert_eq!(bench.ended(), Ended::Gone);
}

#[test]
fn w18_the_end_comes_like_any_other_and_then_done() {
    let mut bench = Bench::authenticated(Dialect::First);
    bench.commit("gen_abc", &[Queued]);
    bench.say(SUBSCRIBE);
    bench.heard();
    bench.commit("gen_abc", &[StageStarted, Complete]);
    assert_eq!(bench.gists(), ["status_update 2", "status_update 3", "done"]);
    bench.say(SUBSCRIBE);
    assert_eq!(bench.gists(), ["status_update 3", "subscribed", "done"]);
    assert_eq!(bench.ended(), Ended::Not);
}

#[test]
fn a_binary_message_holding_json_is_taken() {
    let mut bench = Bench::new(Dialect::First);
    bench.send(&client_frame(0x82, br#"{"type":"ping"}"#));
    assert_eq!(bench.gists(), ["pong"]);
}

#[test]
fn messages_over_the_limit_of_their_path_close_with_1009() {
    for (dialect, fits, too_big) in [(Dialect::First, 1_000, 1_100), (Dialect::Native, 30_000, 33_000)] {
        let padded = |length| format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(length));
        let mut bench = Bench::authenticated(dialect);
        bench.say(&padded(fits));
        assert_eq!(bench.gists(), ["pong"]);
        bench.say(&padded(too_big));
        assert!(matches!(bench.heard().as_slice(), [Said::Close(1009, _)]));
        assert_eq!(bench.ended(), Ended::Closing);
    }
}

#[test]
fn a_close_is_answered_and_what_comes_behind_it_is_not() {
    let mut bench = Bench::authenticated(Dialect::First);
    let mut bytes = client_frame(0x88, &[&1000_u16.to_be_bytes()[..], b"Component unmounting"].concat());
    bytes.extend(client_frame(0x81, br#"{"type":"ping"}"#));
    bench.send(&bytes);
    assert_eq!(bench.gists(), ["close 1000 "]);
    assert_eq!(bench.ended(), Ended::Gone);
}

#[test]
fn a_deleted_generation_is_said_to_be_gone() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_abc", &[Queued]);
    bench.say(SUBSCRIBE);
    bench.heard();
    bench.delete("gen_abc");
    assert_eq!(bench.gists(), ["error: the generation was deleted"]);
    assert_eq!(bench.node.hub.tails(), 0);
}

#[test]
fn too_many_subscribes_are_answered_and_the_socket_stays() {
    let mut bench = Bench::authenticated(Dialect::First);
    for _ in 0..120 {
        bench.say(r#"{"type":"unsubscribe","generationId":"gen_abc"}"#);
    }
    assert_eq!(bench.gists().len(), 120);
    bench.say(SUBSCRIBE);
    assert_eq!(bench.gists(), ["error: Too many subscribe and unsubscribe messages, slow down"]);
    assert_eq!(bench.ended(), Ended::Not);
}

const FULL: &str = "error: At most 512 subscriptions on one connection";

#[test]
fn the_513th_generation_of_a_connection_is_refused_until_another_is_left() {
    let mut bench = Bench::authenticated(Dialect::Native);
    let id = |n: usize| format!("gen_{n}");
    let say = |bench: &mut Bench, kind: &str, n: usize| {
        // No faster than anybody may, and alive all the while.
        bench.later(200);
        bench.send(&client_frame(0x8a, b""));
        bench.say(&format!(r#"{{"type":"{kind}","generationId":"{}"}}"#, id(n)));
        let mut gists = bench.gists();
        gists.retain(|gist| gist != "ping");
        gists
    };
    for n in 0..=limits::SUBSCRIPTIONS_PER_CONNECTION_MAX {
        bench.write(&id(n), &[Queued]);
    }
    let last = limits::SUBSCRIPTIONS_PER_CONNECTION_MAX;
    for n in 0..last {
        assert_eq!(say(&mut bench, "subscribe", n), ["status_update 1", "subscribed"], "{n}");
    }
    assert_eq!(say(&mut bench, "subscribe", last), [FULL]);
    assert_eq!(bench.node.hub.tails(), last, "who was refused follows nothing");
    assert_eq!(say(&mut bench, "subscribe", 7), ["status_update 1", "subscribed"], "again is not one more");
    assert_eq!(say(&mut bench, "unsubscribe", 7), ["unsubscribed"]);
    assert_eq!(say(&mut bench, "subscribe", last), ["status_update 1", "subscribed"]);
    assert_eq!(bench.ended(), Ended::Not);
}

#[test]
fn of_more_than_512_of_ones_own_the_first_are_watched_and_the_rest_refused() {
    let mut bench = Bench::authenticated(Dialect::Native);
    for n in 0..limits::SUBSCRIPTIONS_PER_CONNECTION_MAX + 3 {
        bench.write(&format!("gen_{n}"), &[Queued]);
    }
    bench.say(r#"{"type":"subscribe","mine":true}"#);
    let mut gists = bench.gists();
    assert_eq!(gists.iter().filter(|gist| *gist == FULL).count(), 1, "said once");
    gists.retain(|gist| gist == "status_update 1");
    assert_eq!(gists.len(), limits::SUBSCRIPTIONS_PER_CONNECTION_MAX);
    // One that is made later has no place either, and nothing of it comes.
    bench.commit("gen_new", &[Queued, StageStarted]);
    assert_eq!(bench.gists(), [FULL]);
    bench.commit("gen_7", &[StageStarted]);
    assert_eq!(bench.gists(), ["status_update 2"]);
}

#[test]
fn a_drain_says_when_to_come_back_and_closes_with_1001() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.session.drain(700, bench.now);
    assert_eq!(bench.gists(), ["reconnect", "close 1001 Server is restarting"]);
}

#[test]
fn a_cancel_asks_and_answers_only_whoever_may() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_abc", &[Queued]);
    bench.say(r#"{"type":"cancel","generationId":"gen_abc"}"#);
    assert_eq!(bench.gists(), ["status_update 1"]);
    bench.say(r#"{"type":"cancel","generationId":"gen_unknown"}"#);
    let said = bench.gists();
    assert!(said[0].starts_with("error: no such generation"), "{said:?}");
    bench.say(r#"{"type":"generate","requestId":"r1","prompt":"a lake","webhook":"http://x"}"#);
    assert_eq!(bench.gists(), ["error: field `webhook` is not supported yet"]);
}

proptest! {
    #[test]
    fn no_bytes_break_a_session(bytes in prop::collection::vec(any::<u8>(), 0..4_096), cuts in 1..97usize) {
        let mut bench = Bench::authenticated(Dialect::Native);
        for chunk in bytes.chunks(cuts) {
            bench.send(chunk);
            bench.heard();
        }
    }

    #[test]
    fn no_message_breaks_a_session(
        messages in prop::collection::vec(
            prop_oneof![
                Just(r#"{"type":"subscribe","generationId":"gen_abc","after":"start"}"#.to_owned()),
                Just(r#"{"type":"subscribe","mine":true,"frames":{}}"#.to_owned()),
                Just(r#"{"type":"unsubscribe","mine":true}"#.to_owned()),
                Just(r#"{"type":"credit","generationId":"gen_abc","events":1}"#.to_owned()),
                "[{\"}:,a-z0-9]{0,40}",
                r#"\{"type":"(subscribe|cancel|credit|generate|prioritize)","generationId":"[a-z_./]{0,9}"\}"#,
            ],
            0..20,
        ),
    ) {
        let mut bench = Bench::authenticated(Dialect::Native);
        bench.commit("gen_abc", &[Queued, StageStarted]);
        for message in messages {
            if !message.contains("generate") || message.contains("generationId") {
                bench.say(&message);
                bench.commit("gen_abc", &[StageProgress]);
                bench.heard();
            }
        }
        prop_assert_eq!(bench.ended(), Ended::Not);
    }
}
