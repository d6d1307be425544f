//! Segments: people chosen by rules over what the store knows of them and what the index saw them do.
//!
//! [`rule`] says what can be asked, [`check`] whether it makes sense. [`evaluate`] is the pure core: the store's
//! answers come in as bits, one for each rule about the customer's row, everything else is counted in one walk over
//! the index. A segment is made of people the index covers; who is known to the store alone is in none.

pub(crate) mod check;
mod evaluate;
#[cfg(test)]
mod oracle_tests;
pub(crate) mod rule;

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::scope::PeopleSet;
use crate::{
    index::View,
    store::{
        StoreError,
        segment_match::{self, CustomerTest},
    },
};
use evaluate::Plan;
pub(crate) use rule::Rule;

/// Why a segment could not be worked out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the walk over the index ended early")]
    Walk(#[source] tokio::task::JoinError),
}

/// Returns the people of a segment as of `now`, by their numbers in `view`.
///
/// The rule must have no [`Rule::problems`].
///
/// # Errors
/// [`SegmentError`] when the store cannot be asked.
pub(crate) async fn people_of(
    pool: &PgPool,
    view: &Arc<View>,
    rule: &Rule,
    now: DateTime<Utc>,
) -> Result<PeopleSet, SegmentError> {
    let tests = evaluate::store_tests(rule, now);
    let matching = list_matching(pool, &tests).await?;
    let (view, rule) = (view.clone(), rule.clone());
    tokio::task::spawn_blocking(move || {
        let bits = by_number(&view, matching);
        let plan = Plan::new(&rule, &view.names(), now);
        plan.people(&view, &bits)
    })
    .await
    .map_err(SegmentError::Walk)
}

async fn list_matching(pool: &PgPool, tests: &[CustomerTest<'_>]) -> Result<Vec<(Uuid, i64)>, StoreError> {
    let step = "store.segment_match.list_matching";
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = pool.acquire().await.map_err(StoreError::during(step))?;
    segment_match::list_matching(&mut connection, tests)
        .await
        .map_err(StoreError::during(step))
}

/// Lays the store's answers out by the people's numbers.
fn by_number(view: &View, matching: Vec<(Uuid, i64)>) -> Vec<u64> {
    if matching.is_empty() {
        return Vec::new();
    }
    let matching: HashMap<Uuid, i64, foldhash::fast::RandomState> = matching.into_iter().collect();
    let names = view.names();
    let bits = names
        .people
        .values()
        .map(|id| matching.get(id).map_or(0, |bits| *bits as u64));
    bits.collect()
}

/// Returns the ids of these people, ascending.
pub(crate) fn ids_of(view: &View, people: &PeopleSet) -> Vec<Uuid> {
    let names = view.names();
    let numbered = names.people.values().zip(0_u32..);
    let mut ids: Vec<Uuid> = numbered
        .filter(|(_, number)| people.contains(*number))
        .map(|(id, _)| *id)
        .collect();
    ids.sort_unstable();
    ids
}
