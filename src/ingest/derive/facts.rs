//! What events say about people.

use std::collections::{BTreeSet, HashSet};

use sqlx::PgConnection;

use super::Changes;
use crate::{
    event::Event,
    store::{StoreError, attributes, devices},
};

/// Records what the events say about people, and notes whose attributes that changes.
pub(super) async fn append(
    connection: &mut PgConnection,
    new: &[&Event],
    changes: &mut Changes,
) -> Result<(), StoreError> {
    let facts: Vec<attributes::Fact> = new.iter().flat_map(|event| facts_of(event)).collect();
    if facts.is_empty() {
        return Ok(());
    }
    attributes::append(connection, &facts).await?;
    let devices: BTreeSet<&str> = facts.iter().map(|fact| fact.device_id.as_str()).collect();
    let owners = devices::customers_of(connection, &devices.into_iter().collect::<Vec<_>>()).await?;
    changes.attributes.extend(owners);
    Ok(())
}

const CATEGORIES: [&str; 7] = [
    "demographic",
    "behavioural",
    "transactional",
    "acquisition",
    "engagement",
    "device",
    "custom",
];

/// Returns the facts of an event: `{"plan": "pro"}` is of the category `custom`, and
/// `{"demographic": {"city": "Oslo"}}` names its category.
fn facts_of(event: &Event) -> Vec<attributes::Fact> {
    let fact = |category: &'static str, name: &str, value: &serde_json::Value| attributes::Fact {
        device_id: event.device_id.clone(),
        name: name.to_owned(),
        occurred_at: event.timestamp,
        seq: event.seq,
        event_id: event.event_id.clone(),
        user_id: event.user_id.clone(),
        category,
        value: value.clone(),
        reason: format!("event:{}", event.event_type),
    };
    let mut facts = Vec::new();
    for (name, value) in &event.attributes {
        let category = CATEGORIES.into_iter().find(|category| category == name);
        match (category, value) {
            (Some(category), serde_json::Value::Object(members)) => {
                facts.extend(members.iter().map(|(name, value)| fact(category, name, value)));
            }
            _ => facts.push(fact("custom", name, value)),
        }
    }
    // One event says one thing about a name; the last category to mention it wins.
    let mut seen = HashSet::new();
    facts.reverse();
    facts.retain(|fact| seen.insert(fact.name.clone()));
    facts
}
