//! Stages: how far the one that runs is, and how it hands over to the next of its run.

use std::sync::Arc;

use protocol::{EventType, Metadata, StageName, limits};

use crate::{
    decide::{Decision, draft::Draft},
    event::Fact,
    metadata, progress,
    refusal::Refusal,
    show::Says,
    state::State,
    words,
};

/// What a worker says of a stage's progress.
#[derive(Debug)]
pub(super) struct Moved<'a> {
    pub(super) stage: &'a StageName,
    pub(super) progress: f64,
    pub(super) message: Option<&'a str>,
    pub(super) metadata: Option<&'a Arc<Metadata>>,
}

/// The stage moved on. A lower value than the last is not shown: the bar stays. A later stage of the run ends those before it.
pub(super) fn moved(mut draft: Draft<'_>, moved: &Moved<'_>) -> Result<Decision, Refusal> {
    let reached = progress::check(moved.progress)?;
    let facts = moved.metadata.map(|metadata| &**metadata);
    metadata::check("metadata", facts)?;
    let target = place(draft.state(), moved.stage)?;
    let known = &draft.state().stages[draft.state().stage];
    if target < draft.state().stage || (target == draft.state().stage && known.completed) {
        return Err(Refusal::NothingNew);
    }
    if target == draft.state().stage {
        let stall_ms = draft.state().pipeline.stage_at(target).map_or(0, |stage| stage.stall_ms);
        draft.check_room(known.moved_at.unwrap_or_else(|| draft.now()), stall_ms)?;
        check_new(draft.state(), moved)?;
    }
    while draft.state().stage < target {
        complete(&mut draft, None);
        start_next(&mut draft);
    }
    let line = match moved.message.filter(|message| !message.is_empty()) {
        Some(message) => words::clip(message, limits::MESSAGE_BYTES_MAX),
        None => {
            let own = draft.state().pipeline.stage_at(target).map(words::stage);
            words::counted(own.unwrap_or_default(), facts)
        }
    };
    let fact = Fact::Progressed { progress: reached.max(draft.state().stages[target].progress) };
    let metadata = moved.metadata.map(metadata::of_worker).unwrap_or_default();
    draft.push(EventType::StageProgress, fact, Says { message: Some(line), metadata, attempt: None });
    Ok(draft.finish())
}

/// Would anybody see a difference?
fn check_new(state: &State, moved: &Moved<'_>) -> Result<(), Refusal> {
    let further = moved.progress > state.stages[state.stage].progress;
    let facts = moved.metadata.is_some_and(|metadata| !metadata.is_empty());
    let words = moved.message.is_some_and(|message| !message.is_empty() && message != state.message);
    if further || facts || words { Ok(()) } else { Err(Refusal::NothingNew) }
}

/// The stage ended well, and the next one of the run begins. After the run's last stage the worker still has to say `done`.
pub(super) fn completed(
    mut draft: Draft<'_>,
    stage: &StageName,
    outputs: Option<&Metadata>,
) -> Result<Decision, Refusal> {
    metadata::check("outputs", outputs)?;
    let named = place(draft.state(), stage)?;
    let current = draft.state().stage;
    if named > current {
        return Err(wrong(stage));
    }
    if draft.state().stages[named].completed {
        return Err(Refusal::NothingNew);
    }
    complete(&mut draft, outputs);
    if current + 1 < draft.state().run().end {
        start_next(&mut draft);
    }
    Ok(draft.finish())
}

/// Index of a stage that belongs to the run, or to what came before it.
fn place(state: &State, stage: &StageName) -> Result<usize, Refusal> {
    state.index_of(stage).filter(|&index| index < state.run().end).ok_or_else(|| wrong(stage))
}

fn wrong(stage: &StageName) -> Refusal {
    Refusal::WrongStage { given: stage.to_string() }
}

/// Ends the current stage well.
pub(super) fn complete(draft: &mut Draft<'_>, outputs: Option<&Metadata>) {
    let index = draft.state().stage;
    complete_at(draft, index, outputs);
}

/// Ends the stage at `index` well.
pub(super) fn complete_at(draft: &mut Draft<'_>, index: usize, outputs: Option<&Metadata>) {
    let Some(stage) = draft.state().pipeline.stage_at(index).map(|stage| stage.name.clone()) else { return };
    draft.push(EventType::StageCompleted, Fact::StageCompleted { stage, outputs: outputs.cloned() }, Says::default());
}

fn start_next(draft: &mut Draft<'_>) {
    let next = &draft.state().pipeline.stages[draft.state().stage + 1];
    let (stage, line) = (next.name.clone(), words::stage(next));
    let says = with_attempt(draft.state(), draft.state().stage + 1, Says::message(line));
    draft.push(EventType::StageStarted, Fact::StageStarted { stage }, says);
}

/// People are told which try it is only when it is not the first.
pub(super) fn with_attempt(state: &State, stage: usize, says: Says) -> Says {
    match state.stages.get(stage) {
        Some(known) if known.failures > 0 => says.fact("attempt", known.failures + 1),
        _ => says,
    }
}
