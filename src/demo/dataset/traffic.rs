//! When people come: the plan of all visits, before any of them is played.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::{dice::Dice, people::Population, stories::Stories};

/// The zone the shop's customers live in; its evenings and Sundays are the busy ones.
pub(super) const SITE_ZONE: Tz = chrono_tz::Europe::Berlin;
/// Least time between the starts of two visits of one household: longer than any visit plus the 30 minutes after
/// which a session ends.
pub(super) const PAUSE_MIN: TimeDelta = TimeDelta::minutes(120);
/// Regular customers may have begun to come this many days before the data set does.
const LEAD_DAYS: i64 = 30;
/// Who wants more visits than this is a regular customer.
const REGULAR_VISITS: u32 = 3;

/// Monday first.
const WEEKDAY_WEIGHTS: [f64; 7] = [1.0, 0.95, 0.94, 0.98, 0.86, 0.9, 1.3];
/// Midnight first.
const HOUR_WEIGHTS: [f64; 24] = [
    1.1, 0.6, 0.3, 0.2, 0.2, 0.4, 1.0, 2.0, 2.9, 3.6, 4.2, 4.4, 5.0, 4.4, 4.0, 4.0, 4.3, 5.0, 5.8, 6.9, 7.6,
    7.2, 4.9, 2.5,
];

/// A visit that is to be played.
#[derive(Clone, Copy)]
pub(super) struct PlannedVisit {
    pub(super) start: DateTime<Utc>,
    pub(super) person: usize,
    pub(super) device: usize,
    /// Whether the person has never come before.
    pub(super) is_first: bool,
}

/// The time a data set covers; `end` is exclusive.
pub(super) struct Period {
    pub(super) end: DateTime<Utc>,
    pub(super) days: u32,
}

impl Period {
    pub(super) fn start(&self) -> DateTime<Utc> {
        self.end - TimeDelta::days(i64::from(self.days))
    }

    /// Returns the site's date at the start.
    fn first_date(&self) -> NaiveDate {
        self.start().with_timezone(&SITE_ZONE).date_naive()
    }
}

/// Plans every visit, in the order of their starts.
pub(super) fn plan(
    dice: &mut Dice,
    population: &Population,
    period: &Period,
    stories: &Stories,
) -> Vec<PlannedVisit> {
    let mut visits = Vec::new();
    for (position, person) in population.people.iter().enumerate() {
        let starts = if person.spring_deal {
            campaign_starts(dice, stories, person.visits_wanted)
        } else {
            ordinary_starts(dice, period, person.visits_wanted)
        };
        for start in starts {
            let device = person.devices[pick_device(dice, person.devices.len())];
            visits.push(PlannedVisit {
                start,
                person: position,
                device,
                is_first: false,
            });
        }
    }
    visits.retain(|visit| visit.start >= period.start() && visit.start < period.end);
    keep_apart(population, &mut visits);
    visits.sort_by_key(|visit| (visit.start, visit.person));
    mark_first(population, &mut visits);
    visits
}

fn pick_device(dice: &mut Dice, count: usize) -> usize {
    dice.weighted_position(&[0.66, 0.24, 0.10][..count])
}

/// Removes visits that begin before the household's previous one is surely over.
fn keep_apart(population: &Population, visits: &mut Vec<PlannedVisit>) {
    visits.sort_by_key(|visit| {
        (
            population.people[visit.person].household,
            visit.start,
            visit.person,
        )
    });
    let mut last: Option<(usize, DateTime<Utc>)> = None;
    visits.retain(|visit| {
        let household = population.people[visit.person].household;
        let keep = last.is_none_or(|(other, start)| other != household || visit.start - start >= PAUSE_MIN);
        if keep {
            last = Some((household, visit.start));
        }
        keep
    });
}

fn mark_first(population: &Population, visits: &mut [PlannedVisit]) {
    let mut seen = vec![false; population.people.len()];
    for visit in visits {
        visit.is_first = !seen[visit.person];
        seen[visit.person] = true;
    }
}

/// Returns the starts of a person's visits: an arrival on some day, then pauses of which few are long.
fn ordinary_starts(dice: &mut Dice, period: &Period, visits_wanted: u32) -> Vec<DateTime<Utc>> {
    let regular = visits_wanted > REGULAR_VISITS;
    let (pause_min_days, pause_max_days) = if visits_wanted > 10 { (1, 20) } else { (2, 40) };
    let mut day = pick_arrival_day(dice, period, if regular { -LEAD_DAYS } else { 0 });
    let mut starts = Vec::new();
    while starts.len() < visits_wanted as usize && day <= i64::from(period.days) {
        if let Some(date) = date_at(period, day) {
            starts.push(start_on(dice, date));
        }
        day += dice.long_tailed(pause_min_days, pause_max_days);
        day += i64::from(!is_welcome(dice, period, day));
    }
    starts
}

/// Returns the day of a first visit, counted from the data set's first date.
fn pick_arrival_day(dice: &mut Dice, period: &Period, earliest: i64) -> i64 {
    let days: Vec<i64> = (earliest..=i64::from(period.days)).collect();
    let weights: Vec<f64> = days.iter().map(|day| day_weight(period, *day)).collect();
    days[dice.weighted_position(&weights)]
}

/// Busy weekdays weigh more, and the shop grows by a third over the time.
fn day_weight(period: &Period, day: i64) -> f64 {
    let Some(date) = date_at(period, day) else {
        return 0.0;
    };
    let weekday = date.weekday().num_days_from_monday() as usize;
    let growth = 1.0 + day as f64 / (3.0 * f64::from(period.days.max(1)));
    WEEKDAY_WEIGHTS[weekday] * growth
}

/// Decides whether a return visit happens on that day or a day later, so that returns follow the week too.
fn is_welcome(dice: &mut Dice, period: &Period, day: i64) -> bool {
    let busiest = WEEKDAY_WEIGHTS.iter().copied().fold(0.0, f64::max);
    date_at(period, day).is_none_or(|date| {
        let weekday = date.weekday().num_days_from_monday() as usize;
        dice.chance(WEEKDAY_WEIGHTS[weekday] / busiest)
    })
}

fn date_at(period: &Period, day: i64) -> Option<NaiveDate> {
    let first = period.first_date();
    let distance = Days::new(day.unsigned_abs());
    if day < 0 {
        first.checked_sub_days(distance)
    } else {
        first.checked_add_days(distance)
    }
}

/// Returns a moment on that date of the site's zone, more often in its busy hours.
fn start_on(dice: &mut Dice, date: NaiveDate) -> DateTime<Utc> {
    let hour = dice.weighted_position(&HOUR_WEIGHTS) as i64;
    let since_midnight = TimeDelta::milliseconds(hour * 3_600_000 + dice.between(0, 3_599_999));
    let local = date.and_time(NaiveTime::MIN) + since_midnight;
    // In spring one hour of the night does not exist; whoever would come then comes an hour later.
    let local = SITE_ZONE.from_local_datetime(&local).earliest().or_else(|| {
        SITE_ZONE
            .from_local_datetime(&(local + TimeDelta::hours(1)))
            .earliest()
    });
    local.expect("no zone skips more than an hour here").to_utc()
}

/// Returns the starts of somebody whom the campaign brought, within its time.
fn campaign_starts(dice: &mut Dice, stories: &Stories, visits_wanted: u32) -> Vec<DateTime<Utc>> {
    let range = &stories.spring_deal;
    let days = (range.end - range.start).num_days();
    let first_date = range.start.with_timezone(&SITE_ZONE).date_naive();
    (0..visits_wanted)
        .map(|_| {
            loop {
                let date = first_date + TimeDelta::days(dice.between(0, days));
                let start = start_on(dice, date);
                if range.contains(&start) {
                    break start;
                }
            }
        })
        .collect()
}
