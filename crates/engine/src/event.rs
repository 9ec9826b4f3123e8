//! An event as the engine makes it: what a screen shows, and the fact the state is folded from.

use std::sync::Arc;

use protocol::{
    ArtifactName, EventId, Fence, LeaseId, Metadata, PoolName, StageName, State, Timestamp, UserId, WorkerId,
    http::Priority,
    json_of,
    worker::{Artifact, FailureKind},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    command::Request,
    holds::Hold,
    state::{Ending, Failed},
};

/// One event. `show` is complete for a screen, `fact` for the fold.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What watchers see, shared by all who carry it there. Its sequence is what it will be if it is committed next.
    pub show: Arc<protocol::Event>,
    /// What happened, for [`crate::evolve`].
    pub fact: Fact,
}

/// What happened, without what a screen needs. Stored beside the event; old facts must stay readable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// Submitted.
    Accepted(Request),
    /// A worker got the run; its first stage begins.
    Granted {
        /// The right.
        lease: LeaseId,
        /// Its fence.
        fence: Fence,
        /// Who has it.
        worker: WorkerId,
        /// Its process.
        instance: String,
        /// The node that granted.
        node: String,
        /// Whose token the lease is bound to.
        bearer: UserId,
        /// Which stage begins.
        stage: StageName,
        /// What its lane was charged, in worker-milliseconds; 0 in facts of before it was noted.
        #[serde(default)]
        charged_ms: i64,
    },
    /// The next stage of the same run begins.
    StageStarted {
        /// Which one.
        stage: StageName,
    },
    /// The stage moved on.
    Progressed {
        /// 0 to 100 of the stage.
        progress: f64,
    },
    /// The stage ended well.
    StageCompleted {
        /// Which one.
        stage: StageName,
        /// Facts for later stages.
        outputs: Option<Metadata>,
    },
    /// A try of the stage ended badly.
    StageFailed {
        /// Which one.
        stage: StageName,
        /// How.
        kind: FailureKind,
        /// For programs.
        code: String,
        /// For people.
        message: String,
        /// Does it count against the stage's retries?
        burned: bool,
    },
    /// Waits for its next run: after a run of another pool, a failed try, a hand-back.
    Queued {
        /// At which stage it goes on.
        stage: StageName,
        /// Not before; 0 for at once.
        not_before: Timestamp,
        /// Facts of the stage before, when they came after its end.
        outputs: Option<Metadata>,
        /// The run goes on in this pool instead of its own; absent changes nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<PoolName>,
    },
    /// What holds runs back holds this one.
    Parked {
        /// What.
        hold: Hold,
    },
    /// It no longer does.
    Unparked,
    /// People were told that the stage stands still.
    Warned,
    /// What it will end as is decided; its clean-up waits for a worker.
    CleanUpStarted {
        /// The end, and why.
        ending: Ending,
        /// Not before; 0 for at once.
        not_before: Timestamp,
    },
    /// The client changed its place.
    Prioritized {
        /// The new one.
        priority: Priority,
    },
    /// A line worth keeping.
    Logged {
        /// Facts that stay visible.
        metadata: Option<Arc<Metadata>>,
    },
    /// A file was kept.
    Kept {
        /// In which stage.
        stage: StageName,
        /// Which file.
        artifact: Artifact,
    },
    /// A point to go on from.
    Checkpointed {
        /// In which stage.
        stage: StageName,
        /// A kept file.
        artifact: Option<ArtifactName>,
        /// Or the point itself.
        data: Option<Value>,
    },
    /// A slot is free although the run goes on.
    Released {
        /// Of which pool.
        pool: PoolName,
    },
    /// Somebody asked it to stop.
    CancelRequested {
        /// For people.
        reason: String,
        /// When the grace of a running worker ends.
        grace_until: Timestamp,
    },
    /// An external producer said something.
    Reported {
        /// Per cent of the whole.
        progress: f64,
        /// The producer's word.
        status: String,
    },
    /// The end.
    Ended {
        /// Which one.
        state: State,
        /// Why, when it failed here and not at a producer outside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failed>,
    },
}

/// A stored fact is not one this version knows. Going on without it would fold a false state.
#[derive(Debug, thiserror::Error)]
#[error("the stored fact of event {event} cannot be read")]
pub struct UnreadableFact {
    /// Whose fact.
    pub event: EventId,
    /// Where it went wrong.
    #[source]
    pub source: serde_json::Error,
}

impl Event {
    /// Does the generation's row have to be rewritten? Progress and what is like a log line leaves the row as it is:
    /// whoever loads the generation folds these on top. A report of an external producer counts, because the row's
    /// time is what its watchdog goes by.
    #[must_use]
    pub const fn is_edge(&self) -> bool {
        !matches!(
            self.fact,
            Fact::Progressed { .. }
                | Fact::Logged { .. }
                | Fact::Kept { .. }
                | Fact::Checkpointed { .. }
                | Fact::Released { .. }
                | Fact::Warned
        )
    }

    /// The event as it was committed.
    ///
    /// # Errors
    /// [`UnreadableFact`] when `fact` was written by a version that knows more, or is damaged.
    pub fn from_stored(show: Arc<protocol::Event>, fact: &[u8]) -> Result<Self, UnreadableFact> {
        match serde_json::from_slice(fact) {
            Ok(fact) => Ok(Self { show, fact }),
            Err(source) => Err(UnreadableFact { event: show.event_id.clone(), source }),
        }
    }

    /// The fact as it is stored beside the show.
    ///
    /// # Panics
    /// Never: a fact has text keys and finite numbers only, which JSON can always hold.
    #[must_use]
    pub fn fact_bytes(&self) -> Vec<u8> {
        json_of(&self.fact).expect("a fact has text keys and finite numbers only")
    }
}
