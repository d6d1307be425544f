//! The period a report is about, with every default filled in.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{list::RangeQuery, problem::Problem, state::AppState};
use crate::{
    analysis::calendar::{self, Interval},
    store::metrics_read::Period,
};

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) period: Period,
    pub(super) zone: Tz,
    pub(super) now: DateTime<Utc>,
}

/// Works out the period. A begin that is not said is that of a day, so that no report opens with half a one.
///
/// # Errors
/// Those of [`RangeQuery::resolve`].
pub(super) fn choose(range: &RangeQuery, state: &AppState) -> Result<Chosen, Problem> {
    let now = state.clock.now();
    let resolved = range.resolve(&state.config.site.timezone, now)?;
    let from = match range.from {
        Some(_) => resolved.from,
        None => calendar::floor(resolved.from, Interval::Day, resolved.tz).unwrap_or(resolved.from),
    };
    Ok(Chosen {
        period: Period {
            from,
            to: resolved.to,
        },
        zone: resolved.tz,
        now,
    })
}

/// Returns a number of entries within `1..=max`.
///
/// # Errors
/// 400 `invalid_query` names the parameter.
pub(super) fn bounded(name: &str, given: Option<i64>, default: i64, max: i64) -> Result<i64, Problem> {
    match given.unwrap_or(default) {
        number if (1..=max).contains(&number) => Ok(number),
        _ => Err(Problem::bad_request(
            "invalid_query",
            format!("{name}: must be from 1 to {max}"),
        )),
    }
}
