//! Random commits against a model that fits on a page.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::conformance::sample::claim;

/// One change as the test draws it. Small numbers, so that repeats and conflicts are common.
#[derive(Debug, Clone)]
struct Drawn {
    generation: u8,
    command: u8,
    /// Added to the model's head; 0 is right.
    off: i8,
    events: usize,
    row: bool,
    claim: Option<(u8, u8)>,
    relaxed: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let off = prop_oneof![8 => Just(0_i8), 1 => Just(1), 1 => Just(-1)];
    let claim = prop::option::weighted(0.2, (0..4_u8, 0..2_u8));
    (0..4_u8, 0..30_u8, off, 1..4_usize, any::<bool>(), claim, any::<bool>()).prop_map(
        |(generation, command, off, events, row, claim, relaxed)| Drawn {
            generation,
            command,
            off,
            events,
            row,
            claim,
            relaxed,
        },
    )
}

#[derive(Default)]
struct Model {
    heads: HashMap<u8, u64>,
    commands: HashMap<(u8, u8), u64>,
    claims: HashMap<u8, (u8, u8)>,
}

impl Model {
    /// The change as the store gets it, and how it must answer.
    fn step(&mut self, drawn: &Drawn) -> (Change, Result<Committed, CommitError>) {
        let head = self.heads.get(&drawn.generation).copied().unwrap_or(0);
        let expected = head.saturating_add_signed(drawn.off.into());
        let mut change = change(&name(drawn.generation), &format!("c{}", drawn.command), expected, drawn.events);
        change.row = (drawn.row || expected == 0).then(|| row("t", State::Running));
        change.claim = drawn.claim.map(|(key, digest)| claim(&key.to_string(), digest));
        if drawn.relaxed {
            change.durability = Durability::Relaxed;
        }
        (change, self.answer(drawn, head, expected))
    }

    fn answer(&mut self, drawn: &Drawn, head: u64, expected: u64) -> Result<Committed, CommitError> {
        if let Some(last) = self.commands.get(&(drawn.generation, drawn.command)) {
            return Ok(Committed::Repeated { last: Sequence(*last) });
        }
        if let Some((key, digest)) = drawn.claim
            && let Some((holder, with)) = self.claims.get(&key)
        {
            return Ok(Committed::Claimed { generation: name(*holder), same: *with == digest });
        }
        if expected != head {
            return Err(CommitError::Conflict { head: Sequence(head) });
        }
        let last = head + drawn.events as u64;
        self.heads.insert(drawn.generation, last);
        self.commands.insert((drawn.generation, drawn.command), last);
        if let Some((key, digest)) = drawn.claim {
            self.claims.insert(key, (drawn.generation, digest));
        }
        Ok(Committed::New { last: Sequence(last) })
    }
}

fn name(n: u8) -> protocol::GenerationId {
    generation(&n.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_interleaving_is_answered_as_the_model_says(
        calls in prop::collection::vec(prop::collection::vec(drawn(), 1..6), 1..20),
        restart in 0..20_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let heard = Heard::default();
            let mut store = listening(folder.path(), heard.listener());
            let mut model = Model::default();
            for (n, call) in calls.iter().enumerate() {
                if n == restart {
                    drop(store);
                    store = listening(folder.path(), heard.listener());
                }
                let (changes, expected): (Vec<_>, Vec<_>) = call.iter().map(|drawn| model.step(drawn)).unzip();
                prop_assert_eq!(store.commit(changes).await, expected);
            }
            let heard = heard.all();
            for n in 0..4 {
                let head = model.heads.get(&n).copied().unwrap_or(0);
                let stored = store.events_after(&name(n), Sequence(0), 10_000).await.unwrap();
                let sequences: Vec<u64> = stored.iter().map(|stored| stored.event.sequence.0).collect();
                prop_assert_eq!(sequences, (1..=head).collect::<Vec<_>>());
                let told: Vec<_> =
                    heard.iter().filter(|told| told.event.generation_id == name(n)).cloned().collect();
                prop_assert_eq!(told, stored);
            }
            Ok(())
        })?;
    }
}
