//! Undoing a merge: a device is not the user's after all.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;
use sqlx::Connection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Rights, RightsError, find_person, patiently};
use crate::{
    ingest::derive,
    session::customer_id_of_life,
    store::{
        StoreError, devices, erasure, identity,
        span::{self, Owner},
    },
};

/// What an unmerge left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unmerged {
    pub device_id: String,
    /// Whom the device was taken from.
    pub customer_id: Uuid,
    /// Whose the device is now.
    pub customers: Vec<Uuid>,
}

impl Rights {
    /// Takes back every claim of a user on a device that was received up to now, and derives the device again.
    ///
    /// The log is only appended to. Claims received from now on count again. Where retention has dropped the
    /// events of a life, what is left of it stands on its own, as nobody's.
    ///
    /// # Errors
    /// [`RightsError`]; nothing has changed then.
    pub async fn unmerge(
        &self,
        reference: &str,
        device_id: &str,
        reason: &str,
        actor: &str,
    ) -> Result<Unmerged, RightsError> {
        patiently(|| self.take_back(reference, device_id, reason, actor)).await
    }

    async fn take_back(
        &self,
        reference: &str,
        device_id: &str,
        reason: &str,
        actor: &str,
    ) -> Result<Unmerged, RightsError> {
        let step = "store.unmerge";
        let mut connection = self.pool.acquire().await.map_err(StoreError::during(step))?;
        let mut transaction = connection.begin().await.map_err(StoreError::during(step))?;
        erasure::lock_shared(&mut transaction).await?;
        let person = find_person(&mut transaction, &self.hasher, reference).await?;
        let user = person.user_id.as_deref().ok_or(RightsError::NotMerged)?;
        if !person.lives.iter().any(|life| life.device_id == device_id) {
            return Err(RightsError::NotLinked);
        }
        let now = self.clock.now();
        devices::lock(&mut transaction, &[device_id], now).await?;
        identity::append_unlink(&mut transaction, device_id, user, reason, now).await?;
        let mut touched = BTreeSet::from([person.customer_id]);
        // Read again now that nobody else can change them.
        for life in span::find_lives(&mut transaction, Owner::Device(device_id)).await? {
            if life.customer_id == person.customer_id {
                let nobody = customer_id_of_life(device_id, life.life, &life.start_event);
                span::disown(&mut transaction, device_id, life.life, nobody).await?;
                touched.insert(nobody);
            }
        }
        let mut changes = derive::rederive(&mut transaction, device_id, &self.rules, now).await?;
        let owners: BTreeSet<Uuid> = devices::customers_of(&mut transaction, &[device_id])
            .await?
            .into_iter()
            .collect();
        touched.extend(&owners);
        changes.customers.extend(&touched);
        changes.attributes.extend(&touched);
        derive::recompute(&mut transaction, &changes).await?;
        let details = json!({ "unmerge_id": Uuid::now_v7(), "lives": owners.len() });
        erasure::append_audit(&mut transaction, now, actor, "unmerge", &details).await?;
        transaction.commit().await.map_err(StoreError::during(step))?;
        Ok(Unmerged {
            device_id: device_id.to_owned(),
            customer_id: person.customer_id,
            customers: owners.into_iter().collect(),
        })
    }
}
