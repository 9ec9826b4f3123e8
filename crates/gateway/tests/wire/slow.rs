//! A slow reader costs a cursor, not a queue.

use std::time::Duration;

use protocol::EventType;

use crate::bed::{Bed, hear, say, sequences_until_done};

/// Twelve megabytes on the wire: more than the kernel's buffers of both ends hold.
const EVENTS: usize = 24_000;

#[tokio::test]
async fn a_long_history_comes_at_once_although_nothing_else_happens() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    bed.append(&generation, 1, 2_000, None).await;
    bed.append(&generation, 2_001, 1, Some(EventType::Complete)).await;
    let mut socket = bed.live().await;
    say(&mut socket, &format!(r#"{{"type":"subscribe","generationId":"{generation}","after":"start"}}"#)).await;
    // No event, ping or timer helps for fifteen seconds: what is needed from the log has to be asked for by itself.
    let all = tokio::time::timeout(Duration::from_secs(10), sequences_until_done(&mut socket)).await;
    assert_eq!(all.expect("it does not wait for a timer"), (1..=2_002).collect::<Vec<u64>>());
}

/// Watchers that come while events do.
const CROWD: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_comes_while_events_do_sees_the_state_then_subscribed_then_each_event_once() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let subscribe = format!(r#"{{"type":"subscribe","generationId":"{generation}"}}"#);
    let watch = async || {
        let mut socket = bed.live().await;
        say(&mut socket, &subscribe).await;
        let first = hear(&mut socket).await["data"]["sequence"].as_u64().unwrap();
        assert_eq!(hear(&mut socket).await["type"], "subscribed");
        let mut last = first;
        loop {
            let said = hear(&mut socket).await;
            match said["type"].as_str().unwrap() {
                "status_update" => {
                    last += 1;
                    assert_eq!(said["data"]["sequence"], last, "began at {first}");
                }
                "done" => return last,
                other => panic!("{other}"),
            }
        }
    };
    let write = async {
        for head in 1..=400 {
            bed.append(&generation, head, 1, None).await;
        }
        bed.append(&generation, 401, 1, Some(EventType::Complete)).await;
    };
    let crowd = futures_util::future::join_all((0..CROWD).map(|_| watch()));
    let (seen, ()) = tokio::join!(crowd, write);
    assert_eq!(seen, vec![402; CROWD]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stands_still_gets_everything_in_order_afterwards() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let mut slow = bed.live().await;
    let mut quick = bed.live().await;
    let subscribe = format!(r#"{{"type":"subscribe","generationId":"{generation}"}}"#);
    for socket in [&mut slow, &mut quick] {
        say(socket, &subscribe).await;
        assert_eq!(hear(socket).await["data"]["sequence"], 1);
        assert_eq!(hear(socket).await["type"], "subscribed");
    }
    let write = async {
        for batch in 0..EVENTS / 200 {
            bed.append(&generation, 1 + batch as u64 * 200, 200, None).await;
        }
        bed.append(&generation, 1 + EVENTS as u64, 1, Some(EventType::Complete)).await;
    };
    let all: Vec<u64> = (2..=EVENTS as u64 + 2).collect();
    // The slow one reads nothing while all is written and the quick one gets it all.
    let (seen, ()) = tokio::join!(sequences_until_done(&mut quick), write);
    assert_eq!(seen, all);
    let held = bed.gateway.hub().tail(&generation).unwrap().look(|recent| {
        use rushes_gateway::cursor::Window;
        recent.log.last().0 + 1 - recent.log.first().0
    });
    assert!(held <= protocol::limits::TAIL_EVENTS_MAX as u64, "{held} events in memory");
    assert_eq!(sequences_until_done(&mut slow).await, all);
    assert!(bed.gateway.counts().log_pages.get() > 0, "the slow one read the log");
}
