//! Retention against a reference that counts local dates, and the laws it keeps.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate, TimeDelta};
use chrono_tz::America::New_York;
use proptest::{prelude::*, sample::select};

use super::*;
use crate::{
    analysis::{dimension::Dimension, scope::SessionCondition},
    index::testing::{Story, Visit},
};

/// One session: person, hours after the begin of the story, whether it is on a phone, whether it buys.
type Told = (u128, i64, bool, bool);

/// The clocks of New York went forward on 25 April of this year.
fn begin() -> DateTime<Utc> {
    "1971-03-10T07:00:00Z".parse().unwrap()
}

fn after(hours: i64) -> DateTime<Utc> {
    begin() + TimeDelta::hours(hours)
}

fn told() -> impl Strategy<Value = Vec<Told>> {
    let hours = prop_oneof![0..2500_i64, 1000..1200_i64];
    prop::collection::vec((1_u128..6, hours, any::<bool>(), any::<bool>()), 1..25)
}

fn story(told: &[Told]) -> Story {
    let mut story = Story::default();
    for (device, (person, hours, phone, buys)) in told.iter().enumerate() {
        let visit = Visit {
            device: device as u32,
            device_type: if *phone { "mobile" } else { "desktop" },
            flags: if *buys { flag::CONVERTED } else { 0 },
            ..Visit::default()
        };
        let start = after(*hours).timestamp_micros();
        story.visit_as(
            *person,
            visit,
            &[(start, "page_view", "/"), (start + 5, "click", "/")],
        );
    }
    story
}

fn question(interval: Interval, entry: Entry, returned: Return, periods: usize) -> Question {
    Question {
        interval,
        zone: New_York,
        entry,
        returned,
        periods,
        now: after(5000),
    }
}

/// Numbers days, weeks from Monday on, or months, by the clock on the wall.
fn number(time: DateTime<Utc>, interval: Interval) -> i64 {
    let date = time.with_timezone(&New_York).date_naive();
    // 5 January 1970 was a Monday.
    let days = (date - NaiveDate::from_ymd_opt(1970, 1, 5).unwrap()).num_days();
    match interval {
        Interval::Week => days.div_euclid(7),
        Interval::Month => i64::from(date.year()) * 12 + i64::from(date.month0()),
        _ => days,
    }
}

/// By number of the cohort: its people, each with the periods in which they came back.
fn reference(
    told: &[Told],
    hours: std::ops::Range<i64>,
    only_phones: bool,
    question: &Question,
) -> BTreeMap<i64, Vec<BTreeSet<i64>>> {
    let mut cohorts: BTreeMap<i64, Vec<BTreeSet<i64>>> = BTreeMap::new();
    for person in 1..6 {
        let mut sessions: Vec<Told> = told
            .iter()
            .filter(|session| session.0 == person)
            .copied()
            .collect();
        sessions.sort_by_key(|session| session.1);
        let first = match question.entry {
            Entry::FirstVisit => sessions.first(),
            Entry::FirstPurchase => sessions.iter().find(|session| session.3),
        };
        let Some((_, entered, phone, _)) = first.filter(|session| hours.contains(&session.1)) else {
            continue;
        };
        if only_phones && !phone {
            continue;
        }
        let cohort = number(after(*entered), question.interval);
        let periods = sessions
            .iter()
            .filter(|(_, begun, ..)| begun >= entered && hours.contains(begun))
            .filter(|(.., buys)| *buys || question.returned == Return::Visit)
            .map(|(_, begun, ..)| number(after(*begun), question.interval) - cohort);
        let periods = periods.collect();
        cohorts.entry(cohort).or_default().push(periods);
    }
    cohorts
}

fn scope(hours: std::ops::Range<i64>, only_phones: bool) -> Scope {
    let condition = SessionCondition {
        dimension: Dimension::DeviceType,
        values: vec![Some("mobile".to_owned())],
        not: false,
    };
    Scope {
        sessions: Some(condition).filter(|_| only_phones).into_iter().collect(),
        ..Scope::of_time(
            after(hours.start).timestamp_micros(),
            after(hours.end).timestamp_micros(),
        )
    }
}

fn asked() -> impl Strategy<Value = Question> {
    (
        select(&[Interval::Day, Interval::Week, Interval::Month][..]),
        select(&[Entry::FirstVisit, Entry::FirstPurchase][..]),
        select(&[Return::Visit, Return::Purchase][..]),
        0_usize..15,
    )
        .prop_map(|(interval, entry, returned, periods)| question(interval, entry, returned, periods))
}

proptest! {
    #[test]
    fn people_come_back_when_the_definition_says(
        told in told(),
        question in asked(),
        only_phones in any::<bool>(),
        from in 0_i64..1000,
    ) {
        let hours = from..2200;
        let found = retain(&story(&told).view(), &scope(hours.clone(), only_phones), &question).unwrap();
        let expected = reference(&told, hours, only_phones, &question);
        let people: usize = expected.values().map(Vec::len).sum();
        prop_assert_eq!(found.cohorts.iter().map(|cohort| cohort.size).sum::<u64>(), people as u64);
        for cohort in &found.cohorts {
            let people = expected.get(&number(cohort.start, question.interval)).cloned().unwrap_or_default();
            prop_assert_eq!(cohort.size, people.len() as u64);
            for cell in &cohort.periods {
                let period = cell.period as i64;
                let returned = people.iter().filter(|periods| periods.contains(&period)).count();
                let later = people.iter().filter(|periods| periods.iter().any(|other| *other >= period)).count();
                prop_assert_eq!((cell.returned, cell.returned_or_later), (returned as u64, later as u64));
            }
        }
    }

    #[test]
    fn nobody_comes_back_who_was_not_there(told in told(), question in asked()) {
        let found = retain(&story(&told).view(), &scope(0..2600, false), &question).unwrap();
        for cohort in &found.cohorts {
            for pair in cohort.periods.windows(2) {
                prop_assert!(pair[1].returned_or_later <= pair[0].returned_or_later);
            }
            for cell in &cohort.periods {
                prop_assert!(cell.returned <= cell.returned_or_later && cell.returned_or_later <= cohort.size);
            }
            if question.returned == Return::Visit || question.entry == Entry::FirstPurchase {
                prop_assert_eq!(cohort.periods[0].returned, cohort.size);
            }
        }
    }
}

/// The worked example of docs/analysis/retention.md: 40 people come in one week; 10 of them the week after, of whom 4
/// again two weeks later, with 6 others.
fn example() -> Vec<Told> {
    let week = 7 * 24;
    let mut told: Vec<Told> = Vec::new();
    for person in 1..=40 {
        told.push((person, 0, false, false));
        if person <= 10 {
            told.push((person, week, false, person == 1));
        }
        if (7..=16).contains(&person) {
            told.push((person, 3 * week, false, false));
        }
    }
    told
}

#[test]
fn the_example_of_the_documentation_holds() {
    let found = retain(
        &story(&example()).view(),
        // 10 March was a Wednesday: up to the Monday in four weeks, and two days more.
        &scope(-48..28 * 24, false),
        &question(Interval::Week, Entry::FirstVisit, Return::Visit, 12),
    )
    .unwrap();
    let first = &found.cohorts[0];
    assert_eq!(
        (found.cohorts.len(), first.size, first.complete, first.covered),
        (5, 40, false, true)
    );
    let cells: Vec<(u64, u64, Option<f64>, bool)> = first
        .periods
        .iter()
        .map(|cell| {
            (
                cell.returned,
                cell.returned_or_later,
                cell.share_or_later,
                cell.complete,
            )
        })
        .collect();
    assert_eq!(
        cells,
        [
            (40, 40, Some(1.0), true),
            (10, 16, Some(0.4), true),
            (0, 10, Some(0.25), true),
            (10, 10, Some(0.25), true),
            (0, 0, Some(0.0), false),
        ]
    );
}

#[test]
fn few_people_have_no_share_and_the_present_is_not_over() {
    let told: Vec<Told> = example().into_iter().filter(|session| session.0 <= 29).collect();
    let mut question = question(Interval::Day, Entry::FirstVisit, Return::Purchase, 30);
    question.now = after(7 * 24);
    let found = retain(&story(&told).view(), &scope(-2..20 * 24, false), &question).unwrap();
    let first = &found.cohorts[0];
    assert_eq!((first.size, first.periods[7].returned), (29, 1));
    assert_eq!(first.periods[7].share, None);
    assert!(first.periods[6].complete && !first.periods[7].complete);
    assert_eq!(found.overall.len(), 7);
    assert!(
        found
            .overall
            .iter()
            .all(|overall| overall.share.is_none() && overall.people <= 29)
    );
}

#[test]
fn all_cohorts_together_are_those_that_are_complete() {
    let found = retain(
        &story(&example()).view(),
        &scope(-72 + 5..26 * 24, false),
        &question(Interval::Week, Entry::FirstVisit, Return::Visit, 2),
    )
    .unwrap();
    let complete: Vec<bool> = found.cohorts.iter().map(|cohort| cohort.complete).collect();
    assert_eq!(complete, [false, true, true, true, true, false]);
    let overall: Vec<(u64, Option<f64>)> = found
        .overall
        .iter()
        .map(|period| (period.people, period.share))
        .collect();
    assert_eq!(overall, [(40, Some(1.0)), (40, Some(0.25)), (40, Some(0.0))]);
}

#[test]
fn bounds_are_kept() {
    let view = Story::default().view();
    let of = |interval, periods| {
        let question = question(interval, Entry::FirstVisit, Return::Visit, periods);
        retain(&view, &scope(0..24 * 401, false), &question).map(|_| ())
    };
    assert_eq!(of(Interval::Day, 5), Err(RetentionError::Cohorts));
    assert_eq!(of(Interval::Week, 101), Err(RetentionError::Periods));
    assert_eq!(of(Interval::Week, 100), Ok(()));
}
