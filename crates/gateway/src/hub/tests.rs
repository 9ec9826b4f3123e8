//! Bounds of the hub, and what each full case does.

use std::{collections::HashMap, pin::pin, sync::Arc};

use bus::{Frame, Listener, Local, Signal};
use futures_util::poll;
use protocol::{
    EventType, Fence, FrameIndex, GenerationId, Hint, Revision, Sequence, Tick, Timestamp,
    frame::{Format, Header},
    limits,
};
use store::{
    Store as _,
    sqlite::{Options, Sqlite},
};
use tokio_util::sync::CancellationToken;

use super::{Frames, Fresh, Hub, Keep, Size, TAILS_UNWATCHED_MAX, Wake};
use crate::cursor::{Window, tests::event};

fn hub() -> Arc<Hub> {
    Hub::new(Arc::new(|| Timestamp(1)))
}

fn id(name: &str) -> GenerationId {
    name.parse().unwrap()
}

fn committed(hub: &Hub, generation: &str, sequences: std::ops::RangeInclusive<u64>) {
    let events = sequences.map(|sequence| {
        let mut event = event(sequence);
        event.generation_id = id(generation);
        Arc::new(event)
    });
    hub.hear(&Signal::Events(events.collect()));
}

fn frame(index: u32, revision: u32, width: u16, bytes: usize) -> Arc<Frame> {
    let header = Header {
        format: Format::Webp,
        flags: 0,
        fence: Fence(1),
        index: FrameIndex(index),
        total: 48,
        revision: Revision(revision),
        pts_micros: 0,
        width,
        height: 4,
        generation: Some(id("gen_a")),
    };
    Arc::new(Frame { generation: id("gen_a"), header, bytes: vec![0; bytes].into(), picture_at: 0 })
}

#[test]
fn tails_nobody_watches_are_bounded_and_the_oldest_goes() {
    let hub = hub();
    for n in 0..TAILS_UNWATCHED_MAX + 10 {
        committed(&hub, &format!("gen_{n}"), 1..=1);
    }
    assert_eq!(hub.tails(), TAILS_UNWATCHED_MAX);
    assert!(hub.tail(&id("gen_0")).is_none());
    assert!(hub.tail(&id("gen_10")).is_some());
}

#[test]
fn a_watched_tail_stays_and_an_unknown_id_leaves_nothing() {
    let hub = hub();
    let watch = hub.watch(&id("gen_watched"), Arc::default(), None);
    drop(hub.watch(&id("gen_unknown"), Arc::default(), None));
    assert_eq!((hub.tails(), hub.watched()), (1, 1));
    committed(&hub, "gen_watched", 1..=1);
    drop(watch);
    assert_eq!((hub.tails(), hub.watched()), (1, 0));
}

#[test]
fn a_tail_holds_no_more_than_its_bounds() {
    let hub = hub();
    let watch = hub.watch(&id("gen_a"), Arc::default(), None);
    committed(&hub, "gen_a", 1..=1_000);
    watch.tail().look(|recent| {
        assert_eq!(recent.log.head(), Sequence(1_000));
        let held = recent.log.last().0 + 1 - recent.log.first().0;
        assert_eq!(held, limits::TAIL_EVENTS_MAX as u64);
    });
    let tail = Arc::clone(watch.tail());
    drop(watch);
    assert!(tail.look(|recent| recent.log.first().0) > 990, "an unwatched tail keeps the last few");
}

#[test]
fn a_hint_that_is_not_newer_is_dropped() {
    let hub = hub();
    let watch = hub.watch(&id("gen_a"), Arc::default(), None);
    let hint = |sequence, tick| hub.hear(&Signal::Hint(Arc::new(Hint::new(event(sequence), Tick(tick)))));
    for (sequence, tick) in [(2, 5), (2, 4), (1, 9)] {
        hint(sequence, tick);
    }
    assert_eq!(watch.tail().look(|recent| recent.hint.as_ref().map(|(tick, _)| *tick)), Some(Tick(5)));
    hint(3, 1);
    assert_eq!(watch.tail().look(|recent| recent.hint.as_ref().map(|(tick, _)| *tick)), Some(Tick(1)));
}

#[test]
fn a_newer_revision_replaces_its_index_and_an_older_one_is_ignored() {
    let mut frames = Frames::default();
    for (index, revision) in [(0, 0), (1, 0), (0, 2), (0, 1)] {
        frames.insert(frame(index, revision, 854, 10), Keep::Newest);
    }
    assert_eq!(frames.waiting(0, Size::Full), (2, 20));
    let newest = frames.newest(Size::Full).unwrap();
    assert_eq!((newest.frame.header.index, newest.frame.header.revision), (FrameIndex(0), Revision(2)));
}

#[test]
fn for_whoever_wants_every_frame_each_revision_stays_in_order() {
    let mut frames = Frames::default();
    for (index, revision) in [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0)] {
        frames.insert(frame(index, revision, 854, 10), Keep::Every);
    }
    let (mut serial, mut seen) = (0, Vec::new());
    while let Some(held) = frames.after(serial, Size::Full) {
        serial = held.serial;
        seen.push((held.frame.header.index.0, held.frame.header.revision.0));
    }
    assert_eq!(seen, [(0, 0), (1, 0), (0, 1), (1, 1)]);
    for index in 0..100 {
        frames.insert(frame(index, 2, 854, 10), Keep::Every);
    }
    assert_eq!(frames.waiting(0, Size::Full).0, 2 * limits::TAIL_FRAMES_MAX);
    // When nobody wants them all any more, one picture of each index is enough again.
    frames.insert(frame(99, 3, 854, 10), Keep::Newest);
    assert_eq!(frames.waiting(0, Size::Full).0, limits::TAIL_FRAMES_MAX);
}

/// Video: `k` is a key frame, `d` needs those before it.
fn video(frames: &mut Frames, from: u32, kinds: &str) {
    for (index, kind) in (from..).zip(kinds.chars()) {
        let mut one = Frame::clone(&frame(index, 0, 854, 10));
        one.header.format = Format::H264;
        one.header.flags = if kind == 'k' { protocol::frame::FLAG_KEY } else { 0 };
        frames.insert(Arc::new(one), Keep::Newest);
    }
}

#[test]
fn video_goes_on_in_order_and_after_a_gap_with_a_key_frame() {
    let mut frames = Frames::default();
    video(&mut frames, 0, "kdd");
    let next = |frames: &Frames, seen, decoded| {
        frames.latest_after(seen, decoded, Size::Full).map(|held| held.frame.header.index.0)
    };
    assert_eq!(next(&frames, 0, None), Some(0), "a latecomer begins with the key frame");
    assert_eq!(next(&frames, 1, Some(1)), Some(1));
    assert_eq!(next(&frames, 2, Some(2)), Some(2));
    assert_eq!(next(&frames, 2, None), None, "who cannot decode it waits");
    video(&mut frames, 3, "dkd");
    assert_eq!(next(&frames, 2, Some(2)), Some(4), "a key frame passes what stands before it");
    assert_eq!(frames.newest_alone(Size::Full).unwrap().frame.header.index, FrameIndex(4));
    // A full tail dropped the key frame: nobody gets what only it explains.
    video(&mut frames, 6, &"d".repeat(40));
    assert_eq!(next(&frames, 5, Some(5)), None);
    assert!(frames.newest_alone(Size::Full).is_none());
    video(&mut frames, 46, "k");
    frames.shrink();
    assert_eq!(next(&frames, 0, None), Some(46));
}

#[test]
fn frames_are_bounded_in_number_and_in_bytes() {
    let mut frames = Frames::default();
    for index in 0..100 {
        frames.insert(frame(index, 0, 854, 10), Keep::Newest);
    }
    assert_eq!(frames.waiting(0, Size::Full).0, limits::TAIL_FRAMES_MAX);
    for index in 100..110 {
        frames.insert(frame(index, 0, 854, limits::FRAME_BYTES_MAX), Keep::Newest);
    }
    assert!(frames.waiting(0, Size::Full).1 <= limits::TAIL_FRAMES_BYTES_MAX);
}

#[test]
fn tiles_and_pictures_do_not_replace_each_other() {
    let mut frames = Frames::default();
    frames.insert(frame(0, 0, 128, 10), Keep::Newest);
    // Nobody made a big one yet: better a small one than none.
    assert!(frames.newest(Size::Full).is_some());
    frames.insert(frame(0, 0, 854, 10), Keep::Newest);
    assert_eq!(frames.newest(Size::Full).unwrap().frame.header.width, 854);
    assert_eq!(frames.newest(Size::Tile).unwrap().frame.header.width, 128);
}

#[test]
fn whoever_follows_an_owner_hears_of_new_generations_or_that_there_were_too_many() {
    let hub = hub();
    let first = event(1);
    let mut follow = hub.follow(&first.tenant_id, &first.user_id, Arc::<Wake>::default());
    committed(&hub, "gen_a", 1..=1);
    committed(&hub, "gen_a", 2..=2);
    assert_eq!(follow.fresh(), Fresh::Generations(vec![id("gen_a")]));
    assert_eq!(follow.fresh(), Fresh::Generations(Vec::new()));
    for n in 0..100 {
        committed(&hub, &format!("gen_{n}"), 1..=1);
    }
    assert_eq!(follow.fresh(), Fresh::TooMany);
}

#[test]
fn a_terminal_event_is_like_any_other_for_a_tail() {
    let hub = hub();
    let mut end = event(1);
    end.kind = EventType::Complete;
    hub.hear(&Signal::Events(Arc::from([Arc::new(end)])));
    let newest = hub.tail(&id("gen_a")).and_then(|tail| tail.newest()).unwrap();
    assert!(newest.event().kind.is_terminal());
}

/// A hub whose clock is wound by hand.
fn hub_at(now: &Arc<std::sync::atomic::AtomicU64>) -> Arc<Hub> {
    let now = Arc::clone(now);
    Hub::new(Arc::new(move || Timestamp(now.load(std::sync::atomic::Ordering::Relaxed))))
}

fn ended(hub: &Hub, generation: &str, sequence: u64) {
    let mut event = event(sequence);
    event.generation_id = id(generation);
    event.kind = EventType::Complete;
    hub.hear(&Signal::Events(Arc::from([Arc::new(event)])));
}

#[test]
fn a_generation_whose_last_watcher_left_before_its_end_is_counted_once() {
    use std::sync::atomic::Ordering::Relaxed;
    let now = Arc::new(std::sync::atomic::AtomicU64::new(1_000));
    let hub = hub_at(&now);
    for (name, watched, back) in [("gen_left", true, false), ("gen_never", false, false), ("gen_back", true, true)] {
        committed(&hub, name, 1..=2);
        if watched {
            drop(hub.watch(&id(name), Arc::new(Wake::default()), None));
        }
        now.fetch_add(super::WATCHER_BACK_MS, Relaxed);
        let again = back.then(|| hub.watch(&id(name), Arc::new(Wake::default()), None));
        ended(&hub, name, 3);
        drop(again);
    }
    // Between two polls nobody is there, and somebody comes back.
    committed(&hub, "gen_poll", 1..=2);
    drop(hub.watch(&id("gen_poll"), Arc::new(Wake::default()), None));
    now.fetch_add(super::WATCHER_BACK_MS - 1, Relaxed);
    ended(&hub, "gen_poll", 3);
    assert_eq!(hub.abandoned(), 1);
    // Its tail is forgotten long before it ends.
    committed(&hub, "gen_long", 1..=2);
    drop(hub.watch(&id("gen_long"), Arc::new(Wake::default()), None));
    now.fetch_add(limits::FINISHED_IN_MEMORY_MS + 1, Relaxed);
    hub.forget_idle();
    ended(&hub, "gen_long", 3);
    assert_eq!(hub.abandoned(), 2);
}

#[tokio::test]
async fn a_stop_is_obeyed_while_changes_of_demand_are_collected() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        folder: folder.path().to_owned(),
        now: Timestamp(1),
        random: [3; 6],
        on_commit: Arc::new(|_| {}),
        readers: 2,
        weights: HashMap::new(),
    };
    let store = Arc::new(Sqlite::open(options).unwrap());
    let (hub, stop) = (hub(), CancellationToken::new());
    let mut run = pin!(hub.run(Arc::new(Local::default()), Arc::clone(&store) as _, stop.clone()));
    // Until nothing is due: heads are compared at the start, before anybody watches.
    assert!(poll!(run.as_mut()).is_pending());
    let watch = hub.watch(&id("gen_a"), Arc::default(), None);
    assert!(poll!(run.as_mut()).is_pending());
    assert!(watch.tail().announced.lock().is_some(), "the first change was said, and others are collected");
    stop.cancel();
    assert!(poll!(run.as_mut()).is_ready());
    store.close().await;
}
