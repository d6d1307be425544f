//! Who is meant.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::RightsError;
use crate::{
    event::{Hasher, email_token},
    session::{OrderKey, customer_id_of_user},
    store::{
        StoreError,
        span::{self, OwnedLife, Owner, Span},
    },
};

/// A person and where the person's data lies.
#[derive(Clone, Debug)]
pub struct Person {
    pub customer_id: Uuid,
    pub user_id: Option<String>,
    /// The person's stretches of devices.
    pub lives: Vec<OwnedLife>,
    /// Devices that once sent the user's name, also those an unmerge took away again.
    pub named_on: BTreeSet<String>,
}

impl Person {
    /// Returns the events that are the person's.
    pub fn spans(&self) -> Vec<Span> {
        self.lives.iter().map(OwnedLife::span).collect()
    }

    /// Whether an event is the person's.
    pub fn owns(&self, device_id: &str, user_id: Option<&str>, key: &OrderKey) -> bool {
        user_id.is_some() && user_id == self.user_id.as_deref()
            || self.lives.iter().any(|life| life.span().contains(device_id, key))
    }
}

/// Finds the person behind a customer id, a user id (an e-mail address is hashed first) or a device id.
///
/// A customer id wins over an equal user id, and that over an equal device id.
///
/// # Errors
/// [`RightsError::Unknown`]; [`RightsError::Ambiguous`] for a device that several people used.
pub async fn find_person(
    connection: &mut PgConnection,
    hasher: &Hasher,
    reference: &str,
) -> Result<Person, RightsError> {
    let reference = reference.trim();
    if let Ok(id) = Uuid::try_parse(reference) {
        let lives = span::find_lives(connection, Owner::Customer(id)).await?;
        if !lives.is_empty() {
            return Ok(complete(connection, id, lives).await?);
        }
    }
    let token = email_token(hasher, reference);
    for user in [Some(reference), token.as_deref()].into_iter().flatten() {
        if let Some(person) = find_user(connection, user).await? {
            return Ok(person);
        }
    }
    let lives = span::find_lives(connection, Owner::Device(reference)).await?;
    let owners: BTreeSet<Uuid> = lives.iter().map(|life| life.customer_id).collect();
    match owners.into_iter().collect::<Vec<_>>()[..] {
        [] => Err(RightsError::Unknown),
        [owner] => {
            let lives = span::find_lives(connection, Owner::Customer(owner)).await?;
            Ok(complete(connection, owner, lives).await?)
        }
        ref several => Err(RightsError::Ambiguous(several.to_vec())),
    }
}

/// Finds a user, also one whose every link was undone: the events still carry the name.
pub(super) async fn find_user(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Option<Person>, StoreError> {
    let lives = span::find_lives(connection, Owner::User(user_id)).await?;
    let named_on: BTreeSet<String> = span::devices_of_user(connection, user_id)
        .await?
        .into_iter()
        .collect();
    if lives.is_empty() && named_on.is_empty() {
        return Ok(None);
    }
    Ok(Some(Person {
        customer_id: customer_id_of_user(user_id),
        user_id: Some(user_id.to_owned()),
        lives,
        named_on,
    }))
}

async fn complete(
    connection: &mut PgConnection,
    customer_id: Uuid,
    lives: Vec<OwnedLife>,
) -> Result<Person, StoreError> {
    let user_id = lives.iter().find_map(|life| life.user_id.clone());
    let named_on = match &user_id {
        Some(user) => span::devices_of_user(connection, user)
            .await?
            .into_iter()
            .collect(),
        None => BTreeSet::new(),
    };
    Ok(Person {
        customer_id,
        user_id,
        lives,
        named_on,
    })
}
