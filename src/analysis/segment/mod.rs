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

use std::sync::Arc;

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
        let bits = by_number(&view, &matching);
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

/// Lays the store's answers out by the people's numbers. Whom the index does not know is left out.
fn by_number(view: &View, matching: &[(Uuid, i64)]) -> Vec<u64> {
    let names = view.names();
    let mut by_number = Vec::new();
    for (id, bits) in matching {
        let Some(number) = names.people.find(*id) else {
            continue;
        };
        let place = number as usize;
        if place >= by_number.len() {
            by_number.resize(place + 1, 0);
        }
        by_number[place] = *bits as u64;
    }
    by_number
}

/// Returns the ids of these people, ascending.
pub(crate) fn ids_of(view: &View, people: &PeopleSet) -> Vec<Uuid> {
    let names = view.names();
    let mut ids: Vec<Uuid> = people.iter().map(|person| *names.people.get(person)).collect();
    ids.sort_unstable();
    ids
}
