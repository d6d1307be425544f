//! Churn risk: the probability that somebody does not come back within 30 days.
//!
//! People are compared with those who had as many sessions and had stayed away as long, measured by their own habit:
//! days since the last session, divided by the mean days between sessions. Who came once has no habit; there the days
//! themselves count.

use chrono::{DateTime, Utc};

use super::Behaviour;

/// Days since the only session, up to which each group of one-time visitors reaches; the last is open.
const ONCE_DAYS: [f64; 6] = [1.0, 3.0, 7.0, 14.0, 30.0, 60.0];

/// Sessions from which each group of returning visitors begins.
const SESSIONS: [i64; 4] = [2, 3, 5, 10];

/// Time away as a multiple of the own habit, up to which each group reaches; the last is open.
const RATIOS: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];

/// How many groups there are.
pub(crate) const BINS: usize = (ONCE_DAYS.len() + 1) + SESSIONS.len() * (RATIOS.len() + 1);

/// Returns the group a person is in as of `at`.
pub(crate) fn bin(person: &Behaviour, at: DateTime<Utc>) -> usize {
    let recency = person.recency_days(at);
    match person.mean_gap_days() {
        None => place(&ONCE_DAYS, recency),
        Some(gap) => {
            let reached = SESSIONS.iter().filter(|from| person.sessions >= **from).count();
            let class = reached.max(1) - 1;
            ONCE_DAYS.len() + 1 + class * (RATIOS.len() + 1) + place(&RATIOS, recency / gap)
        }
    }
}

/// Returns how many bounds a value has reached.
pub(super) fn place(bounds: &[f64], value: f64) -> usize {
    bounds.iter().filter(|bound| value >= **bound).count()
}

/// Says who is in a group.
pub(crate) fn meaning(bin: usize) -> String {
    match bin.checked_sub(ONCE_DAYS.len() + 1) {
        None => format!("one session, {} days ago", span(&ONCE_DAYS, bin)),
        Some(rest) => {
            let (class, ratio) = (rest / (RATIOS.len() + 1), rest % (RATIOS.len() + 1));
            let sessions = match SESSIONS.get(class + 1) {
                Some(next) if next - 1 == SESSIONS[class] => format!("{} sessions", SESSIONS[class]),
                Some(next) => format!("{} to {} sessions", SESSIONS[class], next - 1),
                None => format!("{} sessions or more", SESSIONS[class]),
            };
            format!(
                "{sessions}, away for {} times the own mean gap",
                span(&RATIOS, ratio)
            )
        }
    }
}

/// Says between which bounds a place lies.
pub(super) fn span(bounds: &[f64], place: usize) -> String {
    match (place.checked_sub(1).map(|below| bounds[below]), bounds.get(place)) {
        (None, Some(end)) => format!("less than {end}"),
        (Some(begin), Some(end)) => format!("{begin} to less than {end}"),
        (Some(begin), None) => format!("{begin} or more"),
        (None, None) => "any number of".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;

    use super::*;
    use crate::customer::testing::visitor;

    fn now() -> DateTime<Utc> {
        "2026-06-15T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn each_group_has_a_meaning_of_its_own() {
        let meanings: BTreeSet<String> = (0..BINS).map(meaning).collect();
        assert_eq!(meanings.len(), BINS);
    }

    #[test]
    fn a_person_is_in_the_group_whose_meaning_fits() {
        let away = |days: i64| visitor(1, now() - TimeDelta::days(days));
        let with = |sessions: i64, gap_days: i64, days: i64| Behaviour {
            sessions,
            first_session_at: now() - TimeDelta::days(days + gap_days * (sessions - 1)),
            ..away(days)
        };
        for (person, expected) in [
            (away(0), "one session, less than 1 days ago"),
            (away(7), "one session, 7 to less than 14 days ago"),
            (away(100), "one session, 60 or more days ago"),
            (
                with(2, 10, 4),
                "2 sessions, away for less than 0.5 times the own mean gap",
            ),
            (
                with(4, 10, 10),
                "3 to 4 sessions, away for 1 to less than 2 times the own mean gap",
            ),
            (
                with(30, 2, 16),
                "10 sessions or more, away for 8 or more times the own mean gap",
            ),
            // Two sessions at once: the habit is a day.
            (
                with(2, 0, 3),
                "2 sessions, away for 2 to less than 4 times the own mean gap",
            ),
        ] {
            assert_eq!(meaning(bin(&person, now())), expected);
        }
    }
}
