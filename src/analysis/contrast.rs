//! Where a change of a figure sits: which segments of sessions it is concentrated in.
//!
//! A share of the whole site is made of the shares `p` of its segments, each weighted with its part `w` of the sessions.
//! The change of the whole since the reference is the sum over segments of
//!
//! - `w (p − p₀)`: the share within the segment changed, and
//! - `(w − w₀) (p₀ − P₀)`: there is more or less of a segment that is better or worse than the whole, P₀,
//!
//! exactly, since parts sum to 1. A number, such as of sessions, is compared by `n − E n₀/N₀`, where `E` is the number
//! expected of the whole. (Known as the Oaxaca–Blinder decomposition with the reference's weights.)

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    dimension::Dimension,
    numeric::{count_at_most, normal_tail, two_proportions},
    series::{Count, Hour, hour_of},
};
use crate::index::{NameId, Person, Session, View};

/// Least part of the change that a segment must hold to be named.
const SHARE_MIN: f64 = 0.25;

/// How many times more of the change than of the sessions it must hold: else it only goes with the rest.
const CONCENTRATION_MIN: f64 = 1.25;

/// Probability of naming any segment by chance.
const CHANCE_MAX: f64 = 0.01;

/// Sessions, now and in the reference together, below which nothing is said of a segment.
const SESSIONS_MIN: u64 = 30;

/// Segments that are named at most.
const NAMED_MAX: usize = 5;

/// What sessions are told apart by to find where a change sits.
pub const DIMENSIONS: [Dimension; 11] = [
    Dimension::DeviceType,
    Dimension::Browser,
    Dimension::Os,
    Dimension::Country,
    Dimension::Channel,
    Dimension::Source,
    Dimension::Campaign,
    Dimension::LandingPage,
    Dimension::ScriptErrors,
    Dimension::FormErrors,
    Dimension::SlowPage,
];

/// A segment's counts now and in the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub dimension: Dimension,
    /// `None` stands for sessions without a value.
    pub value: Option<String>,
    pub now: Count,
    pub reference: Count,
}

/// What about a segment changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The share within it.
    Rate,
    /// Its part of the sessions.
    Mix,
    /// Its number of sessions.
    Volume,
}

/// A segment that a change is concentrated in.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Reason {
    pub dimension: Dimension,
    pub value: Option<String>,
    pub change: Change,
    /// The figure before: a share, a part of the sessions, or a number.
    pub expected: f64,
    pub observed: f64,
    /// The part of the whole change that sits here; above 1 when other segments changed the other way.
    pub share: f64,
    /// Sessions of the segment now.
    pub sessions: u64,
}

/// Names the segments that the change of a share is concentrated in, the most telling first: those that hold the most of
/// it beyond their part of the sessions.
pub fn reasons_of_rate(segments: &[Segment]) -> Vec<Reason> {
    let mut named = Vec::new();
    for of_dimension in by_dimension(segments) {
        let (now, reference) = totals(of_dimension);
        let change = now.rate() - reference.rate();
        if change == 0.0 || now.trials == 0 || reference.trials == 0 {
            continue;
        }
        for segment in of_dimension {
            let part = segment.now.trials as f64 / now.trials as f64;
            let reason = rate_reason(segment, now, reference, change, segments.len());
            named.extend(reason.map(|reason| (reason.share - part, reason)));
        }
    }
    strongest(named)
}

fn rate_reason(segment: &Segment, now: Count, reference: Count, change: f64, tests: usize) -> Option<Reason> {
    if segment.now.trials + segment.reference.trials < SESSIONS_MIN {
        return None;
    }
    let part_now = Count::new(now.trials, segment.now.trials);
    let part_before = Count::new(reference.trials, segment.reference.trials);
    // A segment that was not there before has no share to change: it is all mix.
    let before = if segment.reference.trials == 0 {
        segment.now.rate()
    } else {
        segment.reference.rate()
    };
    let within = part_now.rate() * (segment.now.rate() - before);
    let mix = (part_now.rate() - part_before.rate()) * (before - reference.rate());
    let (kind, held, z, expected, observed) = if within / change >= mix / change {
        let z = two_proportions(segment.now, segment.reference, 1.0);
        (Change::Rate, within / change, z, before, segment.now.rate())
    } else {
        let z = two_proportions(part_now, part_before, 1.0);
        (Change::Mix, mix / change, z, part_before.rate(), part_now.rate())
    };
    let is_concentrated = kind == Change::Mix || held >= CONCENTRATION_MIN * part_now.rate();
    let is_sure = normal_tail(z.abs()) * 2.0 <= CHANCE_MAX / tests as f64;
    (held >= SHARE_MIN && is_concentrated && is_sure).then(|| Reason {
        dimension: segment.dimension,
        value: segment.value.clone(),
        change: kind,
        expected,
        observed,
        share: held,
        sessions: segment.now.trials,
    })
}

/// Names the segments that a fall of a number below `expected` is concentrated in, the most telling first.
pub fn reasons_of_fall(segments: &[Segment], expected: f64) -> Vec<Reason> {
    let mut named = Vec::new();
    for of_dimension in by_dimension(segments) {
        let (now, reference) = totals(of_dimension);
        let fall = expected - now.trials as f64;
        if fall <= 0.0 || reference.trials == 0 {
            continue;
        }
        for segment in of_dimension {
            let part = segment.reference.trials as f64 / reference.trials as f64;
            let usual = expected * part;
            let held = (usual - segment.now.trials as f64) / fall;
            let enough = segment.now.trials + segment.reference.trials >= SESSIONS_MIN;
            if !enough || held < SHARE_MIN || held < CONCENTRATION_MIN * part {
                continue;
            }
            // Twice the variance of chance, since no segment comes exactly as often each week.
            let chance = count_at_most(segment.now.trials, usual, 2.0 * usual);
            if chance <= CHANCE_MAX / segments.len() as f64 {
                let reason = Reason {
                    dimension: segment.dimension,
                    value: segment.value.clone(),
                    change: Change::Volume,
                    expected: usual,
                    observed: segment.now.trials as f64,
                    share: held,
                    sessions: segment.now.trials,
                };
                named.push((held - part, reason));
            }
        }
    }
    strongest(named)
}

fn by_dimension(segments: &[Segment]) -> impl Iterator<Item = &[Segment]> {
    segments.chunk_by(|one, next| one.dimension == next.dimension)
}

fn totals(segments: &[Segment]) -> (Count, Count) {
    let (mut now, mut reference) = (Count::default(), Count::default());
    for segment in segments {
        now += segment.now;
        reference += segment.reference;
    }
    (now, reference)
}

fn strongest(mut reasons: Vec<(f64, Reason)>) -> Vec<Reason> {
    reasons.sort_by(|one, other| other.0.total_cmp(&one.0));
    reasons.truncate(NAMED_MAX);
    reasons.into_iter().map(|(_, reason)| reason).collect()
}

/// Sessions' keys by dimension, without holding on to the names of the index.
struct Keys {
    clients: Vec<[NameId; 4]>,
    sources: Vec<[NameId; 3]>,
}

impl Keys {
    fn new(view: &View) -> Self {
        let names = view.names();
        let clients = names.clients.values();
        let sources = names.sources.values();
        Self {
            clients: clients
                .map(|one| [one.device_type, one.browser, one.os, one.country])
                .collect(),
            sources: sources
                .map(|one| [one.channel, one.source, one.campaign])
                .collect(),
        }
    }

    /// In the order of [`DIMENSIONS`].
    fn of(&self, session: Session<'_>) -> [NameId; DIMENSIONS.len()] {
        let [device_type, browser, os, country] = self.clients[session.client() as usize];
        let [channel, source, campaign] = self.sources[session.source() as usize];
        let has = |dimension: Dimension| dimension.flag().map_or(0, |flag| session.has(flag).into());
        [
            device_type,
            browser,
            os,
            country,
            channel,
            source,
            campaign,
            session.landing_page(),
            has(Dimension::ScriptErrors),
            has(Dimension::FormErrors),
            has(Dimension::SlowPage),
        ]
    }
}

/// Counts the sessions that began in the hours of `now` and of `reference` by segment; `succeeded` says which are the
/// successes.
///
/// Segments of a dimension stand together.
pub fn segments(
    view: &View,
    now: &[Hour],
    reference: &[Hour],
    succeeded: impl Fn(Session<'_>) -> bool + Sync,
) -> Vec<Segment> {
    let each = |(): &mut (), person: Person<'_>, see: &mut dyn FnMut(Session<'_>, Hour, bool)| {
        for session in person.sessions() {
            see(session, hour_of(session.start()), succeeded(session));
        }
    };
    segments_of_trials(view, now, reference, || (), each)
}

/// Counts trials in the hours of `now` and of `reference` by the segment of their session.
///
/// `each` tells the trials of a person: the session, the hour it counts in and whether it was a success. It has a helper
/// of its own on each processor, made by `start`. Segments of a dimension stand together.
pub fn segments_of_trials<Helper: Send>(
    view: &View,
    now: &[Hour],
    reference: &[Hour],
    start: impl Fn() -> Helper + Sync,
    each: impl Fn(&mut Helper, Person<'_>, &mut dyn FnMut(Session<'_>, Hour, bool)) + Sync,
) -> Vec<Segment> {
    let keys = Keys::new(view);
    let (now, reference) = (sorted(now), sorted(reference));
    let (_, counted) = view.fold(
        || (start(), HashMap::<(usize, NameId), [Count; 2]>::new()),
        |(helper, sum), person| {
            each(helper, person, &mut |session, hour, is_success| {
                let side = if now.binary_search(&hour).is_ok() {
                    0
                } else if reference.binary_search(&hour).is_ok() {
                    1
                } else {
                    return;
                };
                for (place, key) in keys.of(session).into_iter().enumerate() {
                    sum.entry((place, key)).or_default()[side] += Count::new(1, is_success.into());
                }
            });
        },
        |(_, total), (_, part)| {
            for (key, [now, reference]) in part {
                let known = total.entry(key).or_default();
                known[0] += now;
                known[1] += reference;
            }
        },
    );
    let mut counted: Vec<_> = counted.into_iter().collect();
    counted.sort_unstable_by_key(|(key, _)| *key);
    let names = view.names();
    let segments = counted
        .into_iter()
        .map(|((place, key), [now, reference])| Segment {
            dimension: DIMENSIONS[place],
            value: DIMENSIONS[place].text(&names, key).map(str::to_owned),
            now,
            reference,
        });
    segments.collect()
}

fn sorted(hours: &[Hour]) -> Vec<Hour> {
    let mut hours = hours.to_vec();
    hours.sort_unstable();
    hours
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        analysis::series::HOUR,
        index::testing::{Story, Visit},
    };

    fn segment(value: &str, now: (u64, u64), reference: (u64, u64)) -> Segment {
        Segment {
            dimension: Dimension::DeviceType,
            value: Some(value.into()),
            now: Count::new(now.0, now.1),
            reference: Count::new(reference.0, reference.1),
        }
    }

    #[test]
    fn a_fault_of_one_segment_is_named_and_the_others_are_not() {
        let segments = [
            segment("mobile", (600, 6), (6000, 540)),
            segment("desktop", (400, 41), (4000, 400)),
        ];
        let reasons = reasons_of_rate(&segments);
        assert_eq!(reasons.len(), 1);
        assert_eq!(reasons[0].value.as_deref(), Some("mobile"));
        assert_eq!(reasons[0].change, Change::Rate);
        assert!((reasons[0].expected, reasons[0].observed) == (0.09, 0.01));
        assert!(reasons[0].share > 0.95);
    }

    #[test]
    fn visitors_who_do_not_buy_are_named_as_a_change_of_the_mix() {
        let segments = [
            segment("other", (1000, 100), (10_000, 1000)),
            segment("spring", (1000, 2), (0, 0)),
        ];
        let reasons = reasons_of_rate(&segments);
        assert_eq!(reasons.len(), 1);
        assert_eq!(
            (reasons[0].value.as_deref(), reasons[0].change),
            (Some("spring"), Change::Mix)
        );
        assert!((reasons[0].share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_falls_everywhere_alike_has_no_segment() {
        let segments = [
            segment("mobile", (600, 30), (6000, 600)),
            segment("desktop", (400, 20), (4000, 400)),
        ];
        assert_eq!(reasons_of_rate(&segments), []);
        assert_eq!(reasons_of_fall(&segments, 2000.0), []);
    }

    #[test]
    fn a_source_that_dries_up_holds_the_fall() {
        let segments = [
            segment("search", (100, 0), (8000, 0)),
            segment("direct", (1000, 0), (8000, 0)),
        ];
        let reasons = reasons_of_fall(&segments, 2000.0);
        assert_eq!(reasons.len(), 1);
        assert_eq!(reasons[0].value.as_deref(), Some("search"));
        assert!((reasons[0].share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn sessions_are_counted_by_what_they_are() {
        let mut story = Story::default();
        let mobile = Visit {
            device_type: "mobile",
            ..Visit::default()
        };
        story.visit_as(1, mobile, &[(HOUR * 9, "page_view", "/")]);
        story.visit(2, &[(HOUR * 9 + 1, "page_view", "/")]);
        story.visit(3, &[(HOUR * 2, "page_view", "/")]);
        story.visit(4, &[(HOUR * 5, "page_view", "/")]);
        let segments = segments(&story.view(), &[9], &[2, 1], |_| true);
        let device = |value| {
            let found = segments
                .iter()
                .find(|one| one.dimension == Dimension::DeviceType && one.value.as_deref() == Some(value));
            found.map(|one| (one.now.trials, one.reference.trials))
        };
        assert_eq!(device("mobile"), Some((1, 0)));
        assert_eq!(device("desktop"), Some((1, 1)));
        let dimensions: Vec<_> = by_dimension(&segments).map(|of| of[0].dimension).collect();
        assert_eq!(dimensions, DIMENSIONS);
    }

    proptest! {
        #[test]
        fn the_parts_sum_to_the_whole_change(parts in prop::collection::vec(((1_u64..500, 0.0_f64..1.0), (1_u64..500, 0.0_f64..1.0)), 2..8)) {
            let count = |(trials, share): (u64, f64)| Count::new(trials, (trials as f64 * share) as u64);
            let segments: Vec<(Count, Count)> = parts.into_iter().map(|(now, before)| (count(now), count(before))).collect();
            let (mut now, mut reference) = (Count::default(), Count::default());
            for (a, b) in &segments {
                now += *a;
                reference += *b;
            }
            let sum: f64 = segments.iter().map(|(a, b)| {
                let (w, w0) = (a.trials as f64 / now.trials as f64, b.trials as f64 / reference.trials as f64);
                w * (a.rate() - b.rate()) + (w - w0) * (b.rate() - reference.rate())
            }).sum();
            prop_assert!((sum - (now.rate() - reference.rate())).abs() < 1e-9);
        }
    }
}
