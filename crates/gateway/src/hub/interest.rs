//! Demand: from the wishes of all watchers to one sentence for the worker.

use bus::Interest;
use protocol::{
    GenerationId, limits,
    live::{Delivery, FrameWish},
    worker::Demand,
};

use super::frames::Size;

/// Does this watcher want each frame?
#[must_use]
pub(super) fn wants_every(wish: &FrameWish) -> bool {
    wish.delivery == Delivery::All
}

/// By how much the generator stretches the time between frames, when so many frames and bytes wait for a requester that
/// wants them all: not at all up to half a window, twice up to a full one, four times beyond it and sixteen times in the
/// last half, for what comes until the requester is given up has to fit into the second window.
#[must_use]
pub(super) fn slow((frames, bytes): (usize, usize)) -> f64 {
    let halves = |n: usize, window: usize| n / (window / 2);
    match halves(frames, limits::TAIL_FRAMES_MAX).max(halves(bytes, limits::TAIL_FRAMES_BYTES_MAX)) {
        0 => 1.0,
        1 => 2.0,
        2 => 4.0,
        _ => 16.0,
    }
}

/// The greatest wish of players and of tiles, and how many watch with or without frames.
#[must_use]
pub(super) fn sum(generation: &GenerationId, wishes: impl Iterator<Item = Option<FrameWish>>, slow: f64) -> Interest {
    let mut interest = Interest { generation: generation.clone(), full: None, tile: None, watchers: 0, slow };
    for wish in wishes {
        interest.watchers += 1;
        let Some(wish) = wish else { continue };
        let demand = Demand { max_fps: wish.max_fps, max_width: wish.max_width, every: wants_every(&wish) };
        let of = match Size::of(wish.max_width) {
            Size::Tile => &mut interest.tile,
            Size::Full => &mut interest.full,
        };
        *of = Some(of.map_or(demand, |known| known.max(demand)));
    }
    interest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(max_fps: u32, max_width: u32) -> Option<FrameWish> {
        Some(FrameWish { max_fps, max_width, delivery: Delivery::Latest })
    }

    #[test]
    fn demand_is_the_greatest_wish_of_players_and_of_tiles() {
        let id = GenerationId::new("gen_a").unwrap();
        let interest = sum(&id, [wish(5, 854), wish(12, 480), wish(2, 192), None].into_iter(), 1.0);
        assert_eq!(interest.full, Some(Demand { max_fps: 12, max_width: 854, every: false }));
        assert_eq!(interest.tile, Some(Demand { max_fps: 2, max_width: 192, every: false }));
        assert_eq!(interest.watchers, 4);
    }

    #[test]
    fn a_full_window_slows_the_generator() {
        assert!(slow((0, 0)) <= 1.0);
        assert!(slow((limits::TAIL_FRAMES_MAX, 0)) > 1.0);
        assert!(slow((1, limits::TAIL_FRAMES_BYTES_MAX)) > 1.0);
        assert!(slow((limits::TAIL_FRAMES_MAX * 2, 0)) > slow((limits::TAIL_FRAMES_MAX, 0)));
    }

    #[test]
    fn one_that_wants_every_frame_makes_the_worker_give_every_frame() {
        let id = GenerationId::new("gen_a").unwrap();
        let every = Some(FrameWish { max_fps: 1, max_width: 854, delivery: Delivery::All });
        let interest = sum(&id, [wish(12, 480), every, wish(2, 192)].into_iter(), 1.0);
        assert_eq!(interest.full, Some(Demand { max_fps: 12, max_width: 854, every: true }));
        assert_eq!(interest.tile, Some(Demand { max_fps: 2, max_width: 192, every: false }));
    }
}
