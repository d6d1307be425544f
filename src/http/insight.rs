//! What all analyses share: whom and which time they are about, where they run, and how they are answered.

use std::{sync::Arc, time::Instant};

use axum::{extract::FromRequestParts, http::request::Parts};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    extract::Query,
    list::{RangeQuery, TimeRange},
    list_query::refuse_unknown_among,
    period::choose,
    problem::Problem,
    segments::people_of_segment,
    state::AppState,
};
use crate::{
    analysis::{
        dimension::{DIMENSIONS, Dimension},
        scope::{Scope, SessionCondition},
    },
    index::{View, load::time_of},
};

/// Conditions in one request at most.
const CONDITIONS_MAX: usize = 20;

/// Seconds a caller is told to wait while the index is filled.
const LOADING_RETRY_SECONDS: u64 = 5;

/// Whom and what an analysis is about, besides its time.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents what Asked reads")]
pub(super) struct ScopeIn {
    /// A condition on sessions, `dimension:value`, as in `device_type:mobile`. Several values are joined by `|`, `*` stands for
    /// any text, nothing for sessions without a value; `!` before the dimension turns it around. May be repeated; all
    /// must hold. Dimensions: `device_type`, `browser`, `os`, `country`, `channel`, `source`, `medium`, `campaign`,
    /// `referrer_host`, `landing_page`; and with the values `true` and `false`: `converted`, `abandoned`, `engaged`, `rage_clicks`,
    /// `dead_clicks`, `form_errors`, `script_errors`, `slow_page`, `searched`, `empty_search`.
    #[param(example = "device_type:mobile|tablet")]
    filter: Option<Vec<String>>,
    /// Only people of this segment, as it is now.
    segment: Option<Uuid>,
}

/// The part of it that can be read at once.
#[derive(Debug, Deserialize)]
struct SegmentIn {
    segment: Option<Uuid>,
}

/// The query string of an analysis: its own question, and the parameters that all have.
#[derive(Debug)]
pub(super) struct Asked<T> {
    pub(super) question: T,
    pub(super) range: RangeQuery,
    pub(super) conditions: Vec<SessionCondition>,
    pub(super) segment: Option<Uuid>,
}

impl<T, S> FromRequestParts<S> for Asked<T>
where
    T: DeserializeOwned + IntoParams + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await?;
        let groups = [
            T::into_params(|| None),
            RangeQuery::into_params(|| None),
            ScopeIn::into_params(|| None),
        ];
        refuse_unknown_among(&pairs, groups)?;
        let Query(question) = Query::from_request_parts(parts, state).await?;
        let Query(range) = Query::from_request_parts(parts, state).await?;
        let Query(SegmentIn { segment }) = Query::from_request_parts(parts, state).await?;
        let filters: Vec<&str> = pairs
            .iter()
            .filter(|(name, _)| name == "filter")
            .map(|(_, value)| value.as_str())
            .collect();
        Ok(Self {
            question,
            range,
            conditions: read_conditions(&filters)?,
            segment,
        })
    }
}

/// Reads conditions on sessions: `dimension:value|value`.
///
/// # Errors
/// 400 `invalid_filter` says which one and why.
pub(super) fn read_conditions(filters: &[&str]) -> Result<Vec<SessionCondition>, Problem> {
    if filters.len() > CONDITIONS_MAX {
        return Err(Problem::bad_request(
            "invalid_filter",
            format!("filter: at most {CONDITIONS_MAX} at a time"),
        ));
    }
    filters.iter().map(|filter| read_condition(filter)).collect()
}

fn read_condition(filter: &str) -> Result<SessionCondition, Problem> {
    let refuse = |detail: String| Problem::bad_request("invalid_filter", detail);
    let (name, values) = filter
        .split_once(':')
        .ok_or_else(|| refuse(format!("filter: {filter:?} must be like device_type:mobile")))?;
    let (name, not) = match name.strip_prefix('!') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let dimension = find_dimension(name).ok_or_else(|| {
        let known: Vec<&str> = DIMENSIONS.iter().map(|dimension| dimension.as_str()).collect();
        refuse(format!(
            "filter: {name:?} is no dimension. There are: {}.",
            known.join(", ")
        ))
    })?;
    let values: Vec<Option<String>> = values
        .split('|')
        .map(|value| (!value.is_empty()).then(|| value.to_owned()))
        .collect();
    let is_truth = |value: &Option<String>| matches!(value.as_deref(), Some("true" | "false"));
    if dimension.flag().is_some() && !values.iter().all(is_truth) {
        return Err(refuse(format!("filter: {name} is true or false")));
    }
    Ok(SessionCondition {
        dimension,
        values,
        not,
    })
}

/// Returns the dimension of a name on the wire.
pub(super) fn find_dimension(name: &str) -> Option<Dimension> {
    DIMENSIONS
        .into_iter()
        .find(|dimension| dimension.as_str() == name)
}

/// What a question is asked of, and about.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) view: Arc<View>,
    pub(super) scope: Scope,
    pub(super) range: TimeRange,
    asked_at: Instant,
}

impl<T> Asked<T> {
    /// Works out what the question is about. What lies before the index's own beginning is left out.
    ///
    /// # Errors
    /// 400 for a time or zone that cannot be read; 404 for a segment that does not exist; 503 `index_loading` while the
    /// index is filled, `index_disabled` where none is kept.
    pub(super) async fn subject(&self, state: &AppState) -> Result<Subject, Problem> {
        let asked_at = Instant::now();
        let chosen = choose(&self.range, state)?;
        let view = view(state)?;
        let people = match self.segment {
            Some(id) => Some(Arc::new(people_of_segment(state, &view, id).await?)),
            None => None,
        };
        let from = chosen.period.from.timestamp_micros().max(view.covered_from);
        let scope = Scope {
            sessions: self.conditions.clone(),
            people,
            ..Scope::of_time(from, chosen.period.to.timestamp_micros())
        };
        Ok(Subject {
            view,
            scope,
            range: TimeRange {
                from: chosen.period.from,
                to: chosen.period.to,
                tz: chosen.zone,
            },
            asked_at,
        })
    }
}

/// Returns the newest state of the index.
///
/// # Errors
/// 503 `index_loading` or `index_disabled`.
pub(super) fn view(state: &AppState) -> Result<Arc<View>, Problem> {
    let index = state.index.as_ref().ok_or_else(|| {
        Problem::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "index_disabled",
            "This node keeps no journey index: set index.enabled to true, or ask another node.",
        )
    })?;
    index.view().ok_or_else(|| {
        let share = index.status().loading.map_or(0.0, |progress| progress.share);
        Problem::unavailable(
            "index_loading",
            format!(
                "The journey index is being filled, {:.0} % so far.",
                share * 100.0
            ),
            LOADING_RETRY_SECONDS,
        )
    })
}

/// Runs an analysis where it blocks nobody.
///
/// # Errors
/// 500 when it panics.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)
}

/// What answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Engine {
    /// The journey index, in memory.
    Index,
    /// PostgreSQL, for what the index does not hold.
    Sql,
}

/// An analysis with what it was made from.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer<T> {
    #[serde(flatten)]
    pub(super) data: T,
    pub(super) engine: Engine,
    /// Inclusive.
    pub(super) from: DateTime<Utc>,
    /// Exclusive.
    pub(super) to: DateTime<Utc>,
    /// IANA zone of days, weeks and months.
    pub(super) timezone: String,
    /// Where the data begins, when that is after `from`: retention, or the index's memory, took what was before.
    pub(super) covered_from: Option<DateTime<Utc>>,
    /// Milliseconds from the request to the answer.
    pub(super) took_ms: f64,
}

impl Subject {
    /// Puts an analysis of this subject into its frame.
    pub(super) fn answer<T>(&self, data: T, engine: Engine) -> Answer<T> {
        let covered_from = self.view.covered_from;
        let is_cut = covered_from > self.range.from.timestamp_micros();
        Answer {
            data,
            engine,
            from: self.range.from,
            to: self.range.to,
            timezone: self.range.tz.name().to_owned(),
            covered_from: is_cut.then(|| time_of(covered_from)),
            took_ms: self.asked_at.elapsed().as_secs_f64() * 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_dimension_and_its_values() {
        let read = read_conditions(&["device_type:mobile|tablet", "!campaign:", "rage_clicks:true"]).unwrap();
        assert_eq!(
            read[0].values,
            [Some("mobile".to_owned()), Some("tablet".to_owned())]
        );
        assert!(read[1].not && read[1].values == [None]);
        assert_eq!(read[2].dimension, Dimension::RageClicks);
    }

    #[test]
    fn a_condition_that_means_nothing_is_refused_by_name() {
        for (filter, word) in [
            ("mobile", "must be like"),
            ("colour:red", "is no dimension"),
            ("converted:yes", "true or false"),
        ] {
            let problem = read_conditions(&[filter]).unwrap_err();
            assert_eq!(problem.code(), "invalid_filter");
            assert!(problem.detail().contains(word), "{filter}: {}", problem.detail());
        }
        assert!(read_conditions(&["engaged:true"; 21]).is_err());
    }
}
