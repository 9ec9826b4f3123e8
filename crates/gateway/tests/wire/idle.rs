//! What nobody uses costs little, and is gone when it goes.

use bus::{Bus, Listener, Signal};
use parking_lot::Mutex;
use protocol::worker::Demand;
use std::sync::Arc;
use tokio::sync::Notify;

use crate::bed::{Bed, PATIENCE, hear, say};

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
