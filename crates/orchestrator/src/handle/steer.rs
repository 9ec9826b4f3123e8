//! What operators decide about gates: pauses and breakers. It is stored first and holds over restarts.

use engine::breaker::Forced;
use protocol::{BreakerName, ErrorCode, PipelineName, Problem};

use super::{Handle, MakeInput, store_problem};
use crate::{
    core::{Answer, GatesView, Input, Switch, Ticket},
    shell::Letter,
};

/// How a pause is named among the stored switches.
const PAUSE: &str = "pause ";
/// How a forced breaker is.
const BREAKER: &str = "breaker ";

#[derive(Debug)]
struct AskedGates;

impl MakeInput for AskedGates {
    fn make(self: Box<Self>, ticket: Ticket) -> Input {
        Input::Gates { ticket }
    }
}

impl Handle {
    /// Which pipelines are paused and which breakers are not at rest.
    ///
    /// # Errors
    /// `unavailable` while the server stops.
    pub async fn gates(&self) -> Result<GatesView, Problem> {
        match self.question(Box::new(AskedGates)).await? {
            Answer::Gates(view) => Ok(view),
            _ => Ok(GatesView::default()),
        }
    }

    /// Starts no more runs of a pipeline, or starts them again. What runs goes on.
    ///
    /// # Errors
    /// `not_found` when there is no such pipeline, `storage_full`, `unavailable`.
    pub async fn pause(&self, pipeline: &PipelineName, paused: bool) -> Result<(), Problem> {
        let known = self.pipelines.newest(pipeline.as_str());
        // One that is gone can still be resumed: its generations run on under what they began with.
        if paused && known.is_none_or(|known| known.pipeline.is_external()) {
            return Err(Problem::new(ErrorCode::NotFound, format!("no pipeline {pipeline} is run here"))
                .hint("see GET /v1/pipelines"));
        }
        let name = format!("{PAUSE}{pipeline}");
        self.store.put_switch(&name, paused.then_some("on")).await.map_err(|error| store_problem(&error))?;
        self.steer(Switch::Pause { pipeline: pipeline.clone(), paused }).await
    }

    /// Holds a breaker open or closed, or leaves it to itself.
    ///
    /// # Errors
    /// `storage_full`, `unavailable`.
    pub async fn force(&self, breaker: &BreakerName, forced: Option<Forced>) -> Result<(), Problem> {
        let word = forced.map(|forced| match forced {
            Forced::Open => "open",
            Forced::Closed => "closed",
        });
        let name = format!("{BREAKER}{breaker}");
        self.store.put_switch(&name, word).await.map_err(|error| store_problem(&error))?;
        self.steer(Switch::Force { breaker: breaker.clone(), forced }).await
    }

    async fn steer(&self, switch: Switch) -> Result<(), Problem> {
        let gone = |_| Problem::new(ErrorCode::Unavailable, "the server is stopping").hint("repeat in a few seconds");
        self.doorway.letters.send(Letter::Plain(Input::Switch(switch))).await.map_err(gone)
    }
}

/// Stored switches; one that cannot be read is reported and left out.
pub(crate) fn switches(stored: Vec<(String, String)>) -> Vec<Switch> {
    let read = |(name, value): (String, String)| {
        let switch = read(&name, &value);
        if switch.is_none() {
            tracing::warn!(name, "a stored switch cannot be read");
        }
        switch
    };
    stored.into_iter().filter_map(read).collect()
}

fn read(name: &str, value: &str) -> Option<Switch> {
    if let Some(pipeline) = name.strip_prefix(PAUSE) {
        return Some(Switch::Pause { pipeline: pipeline.parse().ok()?, paused: true });
    }
    let breaker = name.strip_prefix(BREAKER)?.parse().ok()?;
    let forced = match value {
        "open" => Forced::Open,
        "closed" => Forced::Closed,
        _ => return None,
    };
    Some(Switch::Force { breaker, forced: Some(forced) })
}
