//! Steps of a funnel by hour, as alerts watch them.
//!
//! Sessions are counted, whatever the funnel counts by: what happens in an hour must be decided soon after it. A session
//! that did a step in an hour is a trial of that hour, and a success when it did the next step that is not optional
//! within [`MATURITY`].

use super::{
    Funnel, Plan,
    definition::CountBy,
    walk::{Actor, Seen, Walker},
};
use crate::{
    analysis::{
        contrast::{Segment, segments_of_trials},
        scope::Scope,
        series::{Count, HOUR, Hour, Hourly, MATURITY, hour_of},
    },
    index::View,
};

/// Returns the steps that are watched, counted from 0: those that may not be left out, but for the last.
pub fn watched_steps(funnel: &Funnel) -> Vec<usize> {
    let mut required = required_steps(funnel);
    required.pop();
    required
}

fn required_steps(funnel: &Funnel) -> Vec<usize> {
    let is_required = |step: &usize| funnel.rules.optional >> step & 1 == 0;
    (0..funnel.steps.len()).filter(is_required).collect()
}

/// Counts the hours from `first` to before `end` for each of the [`watched_steps`].
pub fn step_series(view: &View, funnel: &Funnel, first: Hour, end: Hour) -> Vec<Hourly> {
    let required = required_steps(funnel);
    let plan = plan(view, funnel, first, end);
    let empty = || vec![Hourly::zeros(first, end); required.len() - 1];
    let (_, series) = view.fold(
        || (Walker::new(&plan), empty()),
        |(walker, series), person| {
            walker.walk(person, |seen| {
                if let Seen::Counted(actor) = seen {
                    for (hourly, pair) in series.iter_mut().zip(required.windows(2)) {
                        if let Some((hour, is_success)) = trial(&actor, pair[0], pair[1]) {
                            hourly.add(hour, Count::new(1, is_success.into()));
                        }
                    }
                }
            });
        },
        |(_, total), (_, part)| {
            for (total, part) in total.iter_mut().zip(part) {
                total.merge(part);
            }
        },
    );
    series.into_iter().map(Hourly::trim).collect()
}

/// Counts the trials of a watched step, counted from 0, by the segment of their session.
pub fn step_segments(
    view: &View,
    funnel: &Funnel,
    step: usize,
    now: &[Hour],
    reference: &[Hour],
) -> Vec<Segment> {
    let hours = || now.iter().chain(reference);
    let (Some(first), Some(last)) = (hours().min(), hours().max()) else {
        return Vec::new();
    };
    let Some(next) = required_steps(funnel).into_iter().find(|next| *next > step) else {
        return Vec::new();
    };
    // What was entered before may reach the step in these hours.
    let plan = plan(view, funnel, first - 24, last + 1);
    segments_of_trials(
        view,
        now,
        reference,
        || Walker::new(&plan),
        |walker, person, see| {
            walker.walk(person, |seen| {
                if let Seen::Counted(actor) = seen
                    && let Some((hour, is_success)) = trial(&actor, step, next)
                {
                    see(actor.session_of(step), hour, is_success);
                }
            });
        },
    )
}

fn plan(view: &View, funnel: &Funnel, first: Hour, end: Hour) -> Plan {
    let of_sessions = Funnel {
        count_by: CountBy::Session,
        ..funnel.clone()
    };
    let scope = Scope::of_time(first * HOUR, end * HOUR);
    Plan::new(&of_sessions, &scope, &view.names())
}

/// Returns the hour in which an actor did a step, and whether the next one followed in time.
fn trial(actor: &Actor<'_>, step: usize, next: usize) -> Option<(Hour, bool)> {
    let time = actor.chain.time(step)?;
    let followed = actor.chain.time(next).is_some_and(|then| then - time <= MATURITY);
    Some((hour_of(time), followed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{analysis::funnel::FunnelDefinition, index::testing::Story};

    fn funnel() -> Funnel {
        let definition = serde_json::json!({
            "steps": [
                { "number": 1, "name": "cart", "event_type": "add_to_cart" },
                { "number": 2, "name": "details", "event_type": "details", "optional": true },
                { "number": 3, "name": "checkout", "event_type": "checkout_start" },
                { "number": 4, "name": "order", "event_type": "purchase" },
            ],
        });
        let definition: FunnelDefinition = serde_json::from_value(definition).unwrap();
        definition.check().unwrap()
    }

    #[test]
    fn each_session_is_a_trial_in_the_hour_of_its_step_and_a_success_within_an_hour() {
        let mut story = Story::default();
        let minute = 60_000_000;
        let mut visit = |person, start: i64, steps: &[(i64, &str)]| {
            let events: Vec<_> = steps
                .iter()
                .map(|(after, step)| (start * HOUR + after * minute, *step, ""))
                .collect();
            story.visit(person, &events);
        };
        // Person 1 counts twice, since sessions are counted; the second time the order comes too late.
        visit(
            1,
            10,
            &[(0, "add_to_cart"), (5, "checkout_start"), (20, "purchase")],
        );
        visit(
            1,
            12,
            &[(50, "add_to_cart"), (70, "checkout_start"), (140, "purchase")],
        );
        visit(2, 10, &[(30, "add_to_cart"), (31, "details")]);
        let view = story.view();
        let funnel = funnel();
        assert_eq!(watched_steps(&funnel), [0, 2]);
        let series = step_series(&view, &funnel, 9, 20);
        assert_eq!(
            (series[0].at(10), series[0].at(12)),
            (Count::new(2, 1), Count::new(1, 1))
        );
        assert_eq!(
            (series[1].at(10), series[1].at(13)),
            (Count::new(1, 1), Count::new(1, 0))
        );

        let segments = step_segments(&view, &funnel, 2, &[13], &[10]);
        let desktop = segments
            .iter()
            .find(|one| one.value.as_deref() == Some("desktop"))
            .unwrap();
        assert_eq!(
            (desktop.now, desktop.reference),
            (Count::new(1, 0), Count::new(1, 1))
        );
    }
}
