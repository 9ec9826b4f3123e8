//! What nobody uses costs little, and is gone when it goes.

use bus::{Bus, Listener, Signal};
use parking_lot::Mutex;
use protocol::{limits, worker::Demand};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

use crate::bed::{Bed, PATIENCE, hear, picture, say};

#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<bus::Interest>>,
    notify: Notify,
}

impl Listener for Ear {
    fn hear(&self, signal: &Signal) {
        if let Signal::Interest(interests) = signal {
            self.heard.lock().extend(interests.iter().cloned());
            self.notify.notify_one();
        }
    }
}

impl Ear {
    async fn wait_for(&self, wanted: impl Fn(&bus::Interest) -> bool) {
        let found = async {
            while !self.heard.lock().iter().any(&wanted) {
                self.notify.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("that demand is announced");
    }
}

#[tokio::test]
async fn demand_is_announced_when_somebody_looks_and_when_nobody_does() {
    let bed = Bed::start().await;
    let ear = Arc::<Ear>::default();
    bed.bus.listen(Arc::clone(&ear) as Arc<dyn Listener>);
    let generation = bed.create("a").await;
    let mut socket = bed.live().await;
    let frames = r#"{"maxFps":12,"maxWidth":480}"#;
    say(&mut socket, &format!(r#"{{"type":"subscribe","generationId":"{generation}","frames":{frames}}}"#)).await;
    hear(&mut socket).await;
    ear.wait_for(|interest| {
        interest.full == Some(Demand { max_fps: 12, max_width: 480, every: false }) && interest.watchers == 1
    })
    .await;
    drop(socket);
    ear.wait_for(|interest| interest.watchers == 0 && interest.full.is_none()).await;
    assert_eq!(bed.gateway.hub().watched(), 0);
}

/// Pictures wake whoever watches; a stream that does not show them has nothing to say, and says so in time.
#[tokio::test]
async fn a_stream_without_pictures_keeps_alive_beside_others_that_show_them() {
    let silence = Duration::from_millis(limits::SSE_KEEP_ALIVE_MS);
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let stream = bed.get(&format!("/v1/generations/{generation}/events")).timeout(3 * silence);
    let mut stream = stream.header("accept", "text/event-stream").send().await.unwrap();
    let pictures = async {
        for index in 1.. {
            bed.bus.publish(Signal::Frame(picture(&generation, index, 0).into()));
            tokio::time::sleep(silence / 30).await;
        }
    };
    let mut text = String::new();
    let is_kept = async {
        while !text.contains("keep-alive") {
            text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
        }
    };
    tokio::select! {
        () = pictures => unreachable!("they never end"),
        kept = tokio::time::timeout(silence + PATIENCE / 2, is_kept) => kept.expect("a comment while pictures come"),
    }
}
