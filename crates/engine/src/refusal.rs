//! Why a command changes nothing.

use protocol::{ErrorCode, Fence, Problem, State, Timestamp};

use crate::holds::Hold;

/// A refused command wrote nothing. Each variant is a decision some caller takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The generation exists already.
    #[error("the generation exists already")]
    Exists,
    /// There is no such generation.
    #[error("no such generation")]
    Unknown,
    /// Another lease or fence holds the run now, or none does: stop. Never retry.
    #[error("the run is held under fence {current}")]
    LeaseLost {
        /// The latest fence granted.
        current: Fence,
    },
    /// Only the holder of the lease writes a managed generation.
    #[error("a managed generation is written by the worker that holds its lease")]
    LeaseRequired,
    /// It ended; nothing follows. A cancel takes this as its answer.
    #[error("it ended as {}", .0.as_str())]
    Ended(State),
    /// The command does not fit where the generation stands.
    #[error("{command} does not fit a generation that is {}", .state.as_str())]
    NotNow {
        /// What was asked.
        command: &'static str,
        /// Where it stands.
        state: State,
    },
    /// The stage named is not the one that runs.
    #[error("stage {given} is not the one that runs")]
    WrongStage {
        /// What was named.
        given: String,
    },
    /// Progress that changes nothing, or beyond the bound of events: dropped, without harm.
    #[error("nothing new")]
    NothingNew,
    /// Something outside the generation keeps its run from starting: it waits on, and is offered again when that is over.
    #[error("it is held back")]
    Held(Hold),
    /// The deadline asked for makes no sense.
    #[error("deadline {} is refused: {why}", .deadline.0)]
    Deadline {
        /// What was asked.
        deadline: Timestamp,
        /// Why, and what would do.
        why: String,
    },
    /// A value is not acceptable.
    #[error("{0}")]
    Invalid(String),
}

impl Refusal {
    /// As clients and workers see it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::Exists | Self::Ended(_) | Self::NotNow { .. } => {
                Problem::new(ErrorCode::StateConflict, text).hint("read the generation and decide again")
            }
            Self::Unknown => Problem::not_found(),
            Self::LeaseLost { .. } => {
                Problem::new(ErrorCode::LeaseLost, text).hint("stop this run and take new offers")
            }
            Self::LeaseRequired => Problem::new(ErrorCode::LeaseRequired, text)
                .hint("write through a worker, or submit with pipeline `external`"),
            Self::WrongStage { .. } | Self::Invalid(_) => {
                Problem::new(ErrorCode::InvalidRequest, text).hint("compare with the stages of the offer")
            }
            Self::Deadline { .. } => Problem::new(ErrorCode::InvalidRequest, text)
                .hint("a time within the pipeline's own bound, in milliseconds since 1970"),
            Self::Held(_) => Problem::new(ErrorCode::StateConflict, text).hint("wait until it is offered again"),
            Self::NothingNew => Problem::new(ErrorCode::StateConflict, text).hint("nothing to do"),
        }
    }
}
