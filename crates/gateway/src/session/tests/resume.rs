//! Coming back: from a position, through the log, and honestly when the position is gone.

use std::sync::Arc;

use bus::{Listener as _, Signal};
use protocol::{
    EventType::{Complete, Queued, StageProgress, StageStarted},
    limits,
};

use super::bench::{Bench, Said, client_frame, event};
use crate::session::{Dialect, Need};

fn subscribe(bench: &mut Bench, rest: &str) {
    bench.say(&format!(r#"{{"type":"subscribe","generationId":"gen_abc"{rest}}}"#));
}

fn sequences(said: &[Said]) -> Vec<u64> {
    let updates = said.iter().filter_map(|said| match said {
        Said::Json(value) if value["type"] == "status_update" => value["data"]["sequence"].as_u64(),
        _ => None,
    });
    updates.collect()
}

#[test]
fn from_the_start_everything_comes_once_and_in_order() {
    let mut bench = Bench::authenticated(Dialect::Native);
    let many = vec![StageProgress; 3 * limits::TAIL_EVENTS_MAX];
    bench.commit("gen_abc", &many);
    subscribe(&mut bench, r#","after":"start""#);
    bench.commit("gen_abc", &[StageStarted]);
    let said = bench.heard();
    let all: Vec<u64> = (1..=many.len() as u64 + 1).collect();
    assert_eq!(sequences(&said), all);
    let subscribed: Vec<_> = said.iter().filter(|said| said.gist() == "subscribed").collect();
    assert_eq!(subscribed.len(), 1);
    assert!(bench.reads <= 4, "{} pages for {} events", bench.reads, all.len());
}

#[test]
fn a_position_is_resumed() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_abc", &[Queued, StageStarted, StageProgress, StageProgress]);
    subscribe(&mut bench, r#","after":"k3f9:2""#);
    let said = bench.heard();
    assert_eq!(said.iter().map(Said::gist).collect::<Vec<_>>(), ["status_update 3", "status_update 4", "subscribed"]);
    assert!(matches!(&said[2], Said::Json(value) if value["recovery"] == "resumed"));
}

#[test]
fn w5_from_now_on_there_is_no_state_first() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_abc", &[Queued, StageStarted]);
    subscribe(&mut bench, r#","after":"now""#);
    assert_eq!(bench.gists(), ["subscribed"]);
    bench.commit("gen_abc", &[StageProgress]);
    assert_eq!(bench.gists(), ["status_update 3"]);
}

#[test]
fn another_epoch_and_a_place_beyond_the_head_get_the_state() {
    for after in ["z9z9:1", "k3f9:77"] {
        let mut bench = Bench::authenticated(Dialect::Native);
        bench.commit("gen_abc", &[Queued, StageStarted]);
        subscribe(&mut bench, &format!(r#","after":"{after}""#));
        let said = bench.heard();
        assert_eq!(said.iter().map(Said::gist).collect::<Vec<_>>(), ["status_update 2", "subscribed"], "{after}");
        for message in &said {
            assert!(matches!(message, Said::Json(value) if value["recovery"] == "snapshot"), "{message:?}");
        }
    }
}

#[test]
fn a_swept_position_gets_the_state() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.write("gen_abc", &[StageProgress; 20]);
    bench.swept = 10;
    subscribe(&mut bench, r#","after":"start""#);
    let said = bench.heard();
    assert_eq!(said.iter().map(Said::gist).collect::<Vec<_>>(), ["status_update 20", "subscribed"]);
    assert!(matches!(&said[0], Said::Json(value) if value["recovery"] == "snapshot"));
}

#[test]
fn what_the_bus_lost_comes_out_of_the_log() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_abc", &[Queued]);
    subscribe(&mut bench, "");
    assert_eq!(bench.gists(), ["status_update 1", "subscribed"]);
    bench.write("gen_abc", &[StageStarted, StageProgress]);
    bench.commit("gen_abc", &[StageProgress]);
    assert_eq!(bench.gists(), ["status_update 2", "status_update 3", "status_update 4"]);
}

#[test]
fn the_latest_names_what_it_skipped() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_abc", &[Queued]);
    subscribe(&mut bench, r#","delivery":"latest""#);
    bench.heard();
    bench.commit("gen_abc", &[StageProgress, StageProgress, StageStarted, StageProgress, StageProgress]);
    let said = bench.heard();
    assert_eq!(sequences(&said), [4, 6]);
    assert!(matches!(&said[0], Said::Json(value) if value["previous"] == 1));
}

#[test]
fn credit_pauses_and_goes_on() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_abc", &[Queued]);
    subscribe(&mut bench, "");
    bench.heard();
    bench.say(r#"{"type":"credit","generationId":"gen_abc","events":2}"#);
    bench.commit("gen_abc", &[StageProgress, StageProgress, StageProgress, Complete]);
    assert_eq!(bench.gists(), ["status_update 2", "status_update 3"]);
    bench.say(r#"{"type":"credit","generationId":"gen_abc","events":9}"#);
    assert_eq!(bench.gists(), ["status_update 4", "status_update 5", "done"]);
}

/// Far behind the tail, where events come out of the log: what credit lets through is dense across the edges of pages.
#[test]
fn credit_pauses_and_goes_on_within_pages_of_the_log() {
    let mut bench = Bench::authenticated(Dialect::Native);
    let many = vec![StageProgress; 3 * limits::TAIL_EVENTS_MAX];
    bench.commit("gen_abc", &many);
    subscribe(&mut bench, r#","after":"start""#);
    bench.say(r#"{"type":"credit","generationId":"gen_abc","events":0}"#);
    assert_eq!((bench.gists(), bench.reads), (Vec::new(), 0), "who may not be sent anything needs no page");
    let mut seen = Vec::new();
    // Within a page, to its edge, over the edge of the next one, and by single events.
    let page = limits::PAGE_EVENTS_MAX;
    for credit in [1, page - 1, 1, page + 9, page - 11, 1] {
        bench.say(&format!(r#"{{"type":"credit","generationId":"gen_abc","events":{credit}}}"#));
        let said = sequences(&bench.heard());
        assert_eq!(said.len(), credit, "behind {}", seen.len());
        seen.extend(said);
        assert!(bench.heard().is_empty());
    }
    bench.commit("gen_abc", &[StageProgress, Complete]);
    assert!(bench.heard().is_empty());
    bench.say(r#"{"type":"credit","generationId":"gen_abc","events":900}"#);
    let rest = bench.heard();
    seen.extend(sequences(&rest));
    assert_eq!(seen, (1..=many.len() as u64 + 2).collect::<Vec<_>>());
    assert_eq!(rest.last().map(Said::gist).as_deref(), Some("done"));
}

#[test]
fn all_of_ones_own_are_watched_present_and_to_come() {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.commit("gen_a", &[Queued, StageStarted]);
    bench.write("gen_b", &[Queued]);
    bench.say(r#"{"type":"subscribe","mine":true}"#);
    let mut heard = bench.gists();
    assert_eq!(heard.pop().as_deref(), Some("subscribed"));
    heard.sort();
    assert_eq!(heard, ["status_update 1", "status_update 2"]);
    bench.commit("gen_c", &[Queued, StageStarted]);
    assert_eq!(bench.gists(), ["status_update 1", "status_update 2"]);
    bench.say(r#"{"type":"unsubscribe","mine":true}"#);
    bench.commit("gen_c", &[StageProgress]);
    bench.commit("gen_d", &[Queued]);
    assert_eq!(bench.gists(), ["unsubscribed"]);
}

/// A log of which the tail holds little, and a read of its first page under way for whoever began at the start.
fn reading_from_the_start() -> (Bench, Need, u64) {
    let mut bench = Bench::authenticated(Dialect::Native);
    let many = vec![StageProgress; 5 * limits::PAGE_EVENTS_MAX];
    bench.commit("gen_abc", &many);
    subscribe(&mut bench, r#","after":"start""#);
    let (said, need) = bench.asks();
    assert!(said.is_empty(), "{said:?}");
    (bench, need, many.len() as u64)
}

#[test]
fn a_page_that_was_read_for_an_earlier_position_costs_the_new_one_nothing() {
    for leaves in [false, true] {
        let (mut bench, need, head) = reading_from_the_start();
        if leaves {
            bench.say(r#"{"type":"unsubscribe","generationId":"gen_abc"}"#);
            assert_eq!(bench.gather_unanswered().len(), 1);
        }
        subscribe(&mut bench, r#","after":"k3f9:1000""#);
        assert!(bench.gather_unanswered().is_empty());
        bench.answer(need);
        let said = bench.heard();
        assert_eq!(sequences(&said), (1_001..=head).collect::<Vec<_>>());
        let recoveries = said.iter().filter_map(|said| match said {
            Said::Json(value) => value["recovery"].as_str(),
            _ => None,
        });
        assert_eq!(recoveries.collect::<Vec<_>>(), ["resumed"]);
    }
}

#[test]
fn a_page_that_was_read_for_an_earlier_position_doubles_no_state() {
    let (mut bench, need, head) = reading_from_the_start();
    subscribe(&mut bench, "");
    let said: Vec<_> = bench.gather_unanswered().iter().map(Said::gist).collect();
    assert_eq!(said, [format!("status_update {head}"), "subscribed".to_owned()]);
    bench.answer(need);
    assert!(bench.heard().is_empty());
    bench.commit("gen_abc", &[Complete]);
    assert_eq!(bench.gists(), [format!("status_update {}", head + 1), "done".to_owned()]);
}

#[test]
fn a_page_that_comes_while_answers_fill_the_socket_is_sent() {
    let (mut bench, need, head) = reading_from_the_start();
    let pings = limits::GATHER_BYTES_MAX / 125 + 1;
    bench.send(&client_frame(0x89, &[b'x'; 125]).repeat(pings));
    bench.commit("gen_abc", &[StageProgress]);
    bench.gather_unanswered();
    bench.answer(need);
    assert_eq!(sequences(&bench.heard()), (1..=head + 1).collect::<Vec<_>>());
    assert_eq!(bench.reads, 5, "each page once");
}

/// Another who came learned the state and left it in the tail, before the page is there or before it is sent.
#[test]
fn a_page_of_what_the_tail_learned_meanwhile_doubles_nothing_and_keeps_nobody_waiting() {
    for page_is_there in [false, true] {
        let mut bench = Bench::authenticated(Dialect::Native);
        bench.commit("gen_abc", &[Queued]);
        subscribe(&mut bench, "");
        assert_eq!(bench.gists(), ["status_update 1", "subscribed"]);
        let newest = bench.write("gen_abc", &[StageStarted])[0].clone();
        let tail = bench.node.hub.tail(&newest.generation_id).unwrap();
        tail.heard_of(newest.sequence);
        let mut need = Some(bench.asks().1);
        if page_is_there {
            bench.answer(need.take().unwrap());
        }
        tail.seed((*newest).clone());
        let said: Vec<_> = bench.gather_unanswered().iter().map(Said::gist).collect();
        assert_eq!(said, ["status_update 2"]);
        if let Some(need) = need {
            bench.answer(need);
        }
        assert!(bench.heard().is_empty());
        // A page is held for one subscription at a time.
        bench.commit("gen_other", &vec![StageProgress; limits::TAIL_EVENTS_MAX + 1]);
        bench.say(r#"{"type":"subscribe","generationId":"gen_other","after":"start"}"#);
        assert_eq!(sequences(&bench.heard()).len(), limits::TAIL_EVENTS_MAX + 1);
    }
}

#[test]
fn a_page_of_who_may_be_sent_nothing_keeps_nobody_waiting() {
    let (mut bench, need, head) = reading_from_the_start();
    bench.answer(need);
    bench.say(r#"{"type":"credit","generationId":"gen_abc","events":0}"#);
    bench.commit("gen_other", &vec![StageProgress; limits::TAIL_EVENTS_MAX + 1]);
    bench.say(r#"{"type":"subscribe","generationId":"gen_other","after":"start"}"#);
    assert_eq!(sequences(&bench.heard()).len(), limits::TAIL_EVENTS_MAX + 1);
    bench.say(r#"{"type":"credit","generationId":"gen_abc","events":9000}"#);
    assert_eq!(sequences(&bench.heard()), (1..=head).collect::<Vec<_>>());
}

/// All of one's own are watched, and nothing was there yet.
fn watching_mine(rest: &str) -> Bench {
    let mut bench = Bench::authenticated(Dialect::Native);
    bench.say(&format!(r#"{{"type":"subscribe","mine":true{rest}}}"#));
    assert_eq!(bench.gists(), ["subscribed"]);
    bench
}

#[test]
fn new_ones_that_ended_while_the_socket_was_full_come_from_their_beginning_to_their_end() {
    let mut bench = watching_mine("");
    let count = limits::SUBSCRIPTIONS_PER_CONNECTION_MAX;
    for n in 0..count {
        bench.commit(&format!("gen_{n}"), &[Queued, StageStarted]);
        if n % 2 == 0 {
            bench.commit(&format!("gen_{n}"), &[Complete]);
        }
    }
    let gists = bench.gists();
    let said = |gist: &str| gists.iter().filter(|said| *said == gist).count();
    let counts = ["status_update 1", "status_update 2", "status_update 3", "done"].map(said);
    assert_eq!(counts, [count, count, count / 2, count / 2]);
    assert_eq!(gists.len(), counts.iter().sum::<usize>(), "and nothing else");
    bench.commit("gen_1", &[Complete]);
    assert_eq!(bench.gists(), ["status_update 3", "done"]);
}

#[test]
fn more_new_ones_than_a_connection_watches_are_said_to_have_been_too_many() {
    for rest in ["", r#","after":"now""#] {
        let mut bench = watching_mine(rest);
        for n in 0..=limits::SUBSCRIPTIONS_PER_CONNECTION_MAX {
            bench.commit(&format!("gen_{n}"), if n < 3 { &[Queued, StageStarted] } else { &[Queued, Complete] });
        }
        let said = bench.heard();
        assert_eq!(
            said.iter().map(Said::gist).collect::<Vec<_>>(),
            ["backpressure", "status_update 2", "status_update 2", "status_update 2"]
        );
        assert!(
            matches!(&said[0], Said::Json(value) if value["reason"] == "generations" && value.get("dropped").is_none())
        );
        bench.commit("gen_new", &[Queued]);
        assert_eq!(bench.gists(), ["status_update 1"], "said once");
    }
}

/// More generations than there are tails for those nobody watches, most of them somebody else's.
#[test]
fn a_new_one_whose_tail_was_forgotten_comes_out_of_the_log() {
    let mut bench = watching_mine("");
    bench.commit("gen_gone", &[Queued, Complete]);
    bench.delete("gen_gone");
    bench.commit("gen_abc", &[Queued, StageStarted, Complete]);
    for n in 0..2_000 {
        let mut others = event(&format!("gen_{n}").parse().unwrap(), 1, Queued);
        others.user_id = "somebody_else".parse().unwrap();
        bench.node.hub.hear(&Signal::Events(Arc::from([Arc::new(others)])));
    }
    assert!(bench.node.hub.tail(&"gen_abc".parse().unwrap()).is_none());
    let gists = bench.gists();
    assert_eq!(
        gists,
        [
            "error: You do not have access to this generation",
            "status_update 1",
            "status_update 2",
            "status_update 3",
            "done"
        ]
    );
}

#[test]
fn a_list_that_was_read_for_one_user_is_not_the_next_ones() {
    let mut bench = watching_mine("");
    for n in 0..=limits::SUBSCRIPTIONS_PER_CONNECTION_MAX {
        bench.commit(&format!("gen_{n}"), &[Queued]);
    }
    let (_, list) = bench.asks();
    assert!(matches!(list, Need::Mine { .. }), "{list:?}");
    let other = bench.token("somebody_else");
    bench.say(&format!(r#"{{"type":"authenticate","token":"{other}"}}"#));
    bench.say(r#"{"type":"subscribe","mine":true}"#);
    bench.answer(list);
    assert_eq!(bench.gists(), ["authenticated", "subscribed"]);
    bench.commit("gen_7", &[Complete]);
    assert!(bench.heard().is_empty());
}

/// A deadline that has passed and stays would wake the connection a thousand times a second.
#[test]
fn while_a_message_waits_for_the_log_nothing_is_due_that_only_it_could_end() {
    let (mut bench, _, head) = reading_from_the_start();
    bench.fail();
    assert_eq!(bench.session.deadline(true), bench.now.plus(1_000), "asked again after a second");
    bench.write("gen_cold", &[Queued]);
    bench.say(r#"{"type":"subscribe","generationId":"gen_cold"}"#);
    let (_, need) = bench.asks();
    assert!(matches!(need, Need::Latest(_)), "{need:?}");
    bench.later(1_500);
    assert!(bench.session.deadline(true) > bench.now, "{} at {}", bench.session.deadline(true), bench.now);
    // What was to be asked again is, as soon as there is an answer.
    bench.answer(need);
    let said = bench.heard();
    assert_eq!(sequences(&said).len() as u64, head + 1);
}

#[test]
fn a_retry_that_is_still_to_come_is_due_again_when_the_message_is_answered() {
    let (mut bench, _, head) = reading_from_the_start();
    bench.fail();
    bench.write("gen_cold", &[Queued]);
    bench.say(r#"{"type":"subscribe","generationId":"gen_cold"}"#);
    let (_, need) = bench.asks();
    bench.answer(need);
    assert_eq!(bench.gists(), ["status_update 1", "subscribed"]);
    assert_eq!(bench.session.deadline(true), bench.now.plus(1_000));
    bench.later(1_000);
    assert_eq!(sequences(&bench.heard()).len() as u64, head);
}

#[test]
fn who_is_told_to_go_has_nothing_more_to_ask() {
    let (mut bench, _, _) = reading_from_the_start();
    bench.fail();
    bench.session.drain(700, bench.now);
    bench.later(1_500);
    assert_eq!(bench.session.deadline(true), bench.now.plus(500));
}
