//! How far a generation is: the stages' weights laid end to end on a bar of 100.

use protocol::Pipeline;

use crate::{
    refusal::Refusal,
    state::{Phase, State},
};

/// Per cent as a worker or producer said it.
///
/// # Errors
/// [`Refusal::Invalid`] for what is no number from 0 to 100.
pub fn check(progress: f64) -> Result<f64, Refusal> {
    if (0.0..=100.0).contains(&progress) {
        // Adding zero takes the sign off a negative zero, which JSON would print.
        Ok(progress + 0.0)
    } else {
        Err(Refusal::Invalid(format!("progress is {progress}: a number from 0 to 100")))
    }
}

/// Per cent of the whole as it is to be shown, which never falls: a stage that is tried again shows what was shown before
/// until it gets further.
pub(crate) fn overall(state: &State) -> f64 {
    if state.phase == Phase::Complete {
        return 100.0;
    }
    // A clean-up is no part of the film.
    let here = state.stages.get(state.stage).filter(|_| state.stage < state.pipeline.stages.len());
    let Some(here) = here else { return state.progress };
    let reached = at(&state.pipeline, state.stage, if here.completed { 100.0 } else { here.progress });
    state.progress.max(reached)
}

/// Per cent of the whole at `progress` per cent of the stage, to two decimals: finer than a pixel of any bar.
fn at(pipeline: &Pipeline, stage: usize, progress: f64) -> f64 {
    let weight = |stages: &[protocol::Stage]| stages.iter().map(|stage| f64::from(stage.weight)).sum::<f64>();
    let before = weight(&pipeline.stages[..stage]);
    let own = f64::from(pipeline.stages[stage].weight);
    let reached = (before + own * progress / 100.0) / weight(&pipeline.stages) * 100.0;
    ((reached * 100.0).round() / 100.0).clamp(0.0, 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_from_zero_to_a_hundred_are_progress() {
        for bad in [f64::NAN, f64::INFINITY, -0.1, 100.1, 400.0] {
            assert!(check(bad).is_err(), "{bad} was taken");
        }
        assert!(check(-0.0).unwrap().is_sign_positive());
    }

    #[test]
    fn stages_of_the_default_pipeline_begin_where_the_specification_says() {
        let video = Pipeline::video();
        let begins: Vec<f64> = (0..5).map(|stage| at(&video, stage, 0.0)).collect();
        assert_eq!(begins, [0.0, 5.0, 60.0, 75.0, 90.0]);
        assert!((at(&video, 4, 100.0) - 100.0).abs() < f64::EPSILON);
        assert!((at(&video, 1, 50.0) - 32.5).abs() < f64::EPSILON);
    }
}
