//! The people behind a number.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    matching::Plan,
    walk::{Seen, Walker},
};
use crate::{analysis::scope::PeopleSet, index::View};

/// What came of somebody at a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Did the step.
    #[default]
    Entered,
    /// Did a later one, too; at the last step, did it.
    Completed,
    /// Did no later one.
    Dropped,
}

/// Returns who stands behind a number of the funnel. `step` counts from 0.
///
/// In funnels that count sessions, a person belongs to it with any of them.
pub fn find_people(view: &View, plan: &Plan, step: usize, outcome: StepOutcome) -> PeopleSet {
    let is_last = step + 1 == plan.rules.steps();
    let start = || (PeopleSet::default(), Walker::new(plan));
    let (found, _) = view.fold(
        start,
        |(found, walker), person| {
            walker.walk(person, |seen| {
                let Seen::Counted(actor) = seen else { return };
                let has_stopped = actor.chain.furthest() == step && !is_last;
                let belongs = match outcome {
                    StepOutcome::Entered => true,
                    StepOutcome::Completed => !has_stopped,
                    StepOutcome::Dropped => has_stopped,
                };
                if belongs && actor.chain.has_reached(step) {
                    found.insert(person.number());
                }
            });
        },
        |(found, _), (other, _)| found.merge(&other),
    );
    found
}
