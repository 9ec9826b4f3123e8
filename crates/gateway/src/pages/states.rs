//! The newest events of generations, for newcomers: those that wait for a place to read are answered by one read.
//!
//! Whose turn it is to read is for `pages.rs` to say.

use std::collections::VecDeque;

use parking_lot::Mutex;
use protocol::GenerationId;
use store::{Latest, StoreError};
use tokio::sync::oneshot;

use super::{Pages, Reader};

/// States read at once: what takes a millisecond, so that nobody's read is long.
const STATES_AT_ONCE: usize = 64;

/// Newcomers who wait for states.
#[derive(Default)]
pub(super) struct States {
    /// First come first. Each is a connection; who is gone is passed over.
    pub(super) asked: Mutex<VecDeque<Asked>>,
}

/// Somebody who waits for a state.
pub(super) struct Asked {
    generation: GenerationId,
    answer: oneshot::Sender<Result<Option<Latest>, StoreError>>,
}

impl States {
    /// What [`Pages::latest`] says.
    pub(super) async fn latest(&self, generation: &GenerationId, pages: &Pages) -> Result<Option<Latest>, StoreError> {
        'ask: loop {
            let (answer, mut mine) = oneshot::channel();
            self.asked.lock().push_back(Asked { generation: generation.clone(), answer });
            loop {
                let place = tokio::select! {
                    biased;
                    answer = &mut mine => match answer {
                        Ok(answer) => return answer,
                        // Who read for this one went away before the answer came.
                        Err(_) => continue 'ask,
                    },
                    place = pages.place(Reader::Newcomer) => place,
                };
                let read = self.answer_some(pages).await;
                drop(place);
                if !read {
                    // Another reads it already.
                    match mine.await {
                        Ok(answer) => return answer,
                        Err(_) => continue 'ask,
                    }
                }
            }
        }
    }

    /// Reads for those who wait longest. False when nobody waits.
    async fn answer_some(&self, pages: &Pages) -> bool {
        let some: Vec<Asked> = {
            let mut asked = self.asked.lock();
            let waiting = std::iter::from_fn(|| asked.pop_front()).filter(|one| !one.answer.is_closed());
            waiting.take(STATES_AT_ONCE).collect()
        };
        let generations: Vec<_> = some.iter().map(|one| one.generation.clone()).collect();
        if generations.is_empty() {
            return false;
        }
        // Who went away meanwhile needs no answer.
        match pages.history.latest_of(&generations).await {
            Ok(found) => some.into_iter().zip(found).for_each(|(one, found)| drop(one.answer.send(Ok(found)))),
            Err(error) => some.into_iter().for_each(|one| drop(one.answer.send(Err(error.clone())))),
        }
        true
    }
}
