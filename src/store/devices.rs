//! Devices: the row that writers lock, and where a device's derivation stands.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use crate::session::{Life, OrderKey};

/// Where a device's derivation stands.
#[derive(Clone, Debug, Default, sqlx::FromRow)]
pub struct Device {
    pub device_id: String,
    pub last_timestamp: Option<DateTime<Utc>>,
    pub last_seq: Option<i64>,
    pub last_event_id: Option<String>,
    pub logged_out: bool,
    /// Where lives of erased people began; [`save`] leaves them as they are.
    #[sqlx(flatten)]
    pub breaks: Breaks,
}

/// Where lives of erased people began on a device, as the three columns hold it.
#[derive(Clone, Debug, Default, sqlx::FromRow)]
pub struct Breaks {
    pub break_times: Vec<DateTime<Utc>>,
    pub break_seqs: Vec<Option<i64>>,
    pub break_events: Vec<String>,
}

impl Breaks {
    /// Returns them as places among the device's events.
    pub fn keys(&self) -> Vec<OrderKey> {
        let times = self.break_times.iter().zip(&self.break_seqs);
        times
            .zip(&self.break_events)
            .map(|((timestamp, seq), event_id)| OrderKey {
                timestamp: *timestamp,
                seq: *seq,
                event_id: event_id.clone(),
            })
            .collect()
    }
}

impl Device {
    /// Returns the order key of the newest event; `None` before the first one.
    pub fn cursor(&self) -> Option<OrderKey> {
        Some(OrderKey {
            timestamp: self.last_timestamp?,
            seq: self.last_seq,
            event_id: self.last_event_id.clone()?,
        })
    }
}

/// A life with the device it belongs to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DeviceLife {
    pub device_id: String,
    #[sqlx(flatten)]
    pub life: Life,
}

/// Locks the devices until the transaction ends, making those that are new, and reads their state.
///
/// `device_ids` must be sorted and distinct: all writers then lock in one order. The update that never
/// happens (`WHERE false`) locks an existing row without writing a version of it.
pub async fn lock(
    connection: &mut PgConnection,
    device_ids: &[&str],
    now: DateTime<Utc>,
) -> Result<Vec<Device>, StoreError> {
    let step = "store.devices.lock";
    sqlx::query(
        "INSERT INTO devices (device_id, first_seen) SELECT d, $2 FROM unnest($1::text[]) AS d
         ON CONFLICT (device_id) DO UPDATE SET device_id = excluded.device_id WHERE false",
    )
    .bind(device_ids)
    .bind(now)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    sqlx::query_as(
        "SELECT device_id, last_timestamp, last_seq, last_event_id, logged_out,
                break_times, break_seqs, break_events
         FROM devices WHERE device_id = ANY($1)",
    )
    .bind(device_ids)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during(step))
}

/// Saves where the derivation of these devices stands now.
pub async fn save(connection: &mut PgConnection, devices: &[Device]) -> Result<(), StoreError> {
    let (mut ids, mut times, mut seqs, mut events, mut outs) = (vec![], vec![], vec![], vec![], vec![]);
    for device in devices {
        ids.push(device.device_id.as_str());
        times.push(device.last_timestamp);
        seqs.push(device.last_seq);
        events.push(device.last_event_id.as_deref());
        outs.push(device.logged_out);
    }
    sqlx::query(
        "UPDATE devices SET last_timestamp = n.time, last_seq = n.seq, last_event_id = n.event,
                logged_out = n.out
         FROM unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::text[], $5::boolean[])
              AS n (id, time, seq, event, out)
         WHERE devices.device_id = n.id",
    )
    .bind(ids)
    .bind(times)
    .bind(seqs)
    .bind(events)
    .bind(outs)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.devices.save"))?;
    Ok(())
}

/// Returns the current life of each device that has one.
pub async fn last_lives(
    connection: &mut PgConnection,
    device_ids: &[&str],
) -> Result<Vec<DeviceLife>, StoreError> {
    sqlx::query_as(
        "SELECT l.* FROM unnest($1::text[]) AS d (id) CROSS JOIN LATERAL (
             SELECT device_id, life, started_at, start_seq, start_event, user_id, customer_id
             FROM device_lives WHERE device_id = d.id ORDER BY life DESC LIMIT 1
         ) l",
    )
    .bind(device_ids)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.devices.last_lives"))
}

/// Returns all lives of one device, oldest first.
pub async fn lives(connection: &mut PgConnection, device_id: &str) -> Result<Vec<Life>, StoreError> {
    sqlx::query_as(
        "SELECT life, started_at, start_seq, start_event, user_id, customer_id
         FROM device_lives WHERE device_id = $1 ORDER BY life",
    )
    .bind(device_id)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.devices.lives"))
}

/// Writes the lives, replacing those of the same device and number.
pub async fn save_lives(connection: &mut PgConnection, lives: &[DeviceLife]) -> Result<(), StoreError> {
    if lives.is_empty() {
        return Ok(());
    }
    let (mut devices, mut numbers, mut starts, mut seqs) = (vec![], vec![], vec![], vec![]);
    let (mut events, mut users, mut customers) = (vec![], vec![], vec![]);
    for DeviceLife { device_id, life } in lives {
        devices.push(device_id.as_str());
        numbers.push(life.life);
        starts.push(life.started_at);
        seqs.push(life.start_seq);
        events.push(life.start_event.as_str());
        users.push(life.user_id.as_deref());
        customers.push(life.customer_id);
    }
    sqlx::query(
        "INSERT INTO device_lives
             (device_id, life, started_at, start_seq, start_event, user_id, customer_id)
         SELECT * FROM unnest($1::text[], $2::integer[], $3::timestamptz[], $4::bigint[], $5::text[],
                              $6::text[], $7::uuid[])
         ON CONFLICT (device_id, life) DO UPDATE SET
             started_at = excluded.started_at, start_seq = excluded.start_seq,
             start_event = excluded.start_event, user_id = excluded.user_id,
             customer_id = excluded.customer_id",
    )
    .bind(devices)
    .bind(numbers)
    .bind(starts)
    .bind(seqs)
    .bind(events)
    .bind(users)
    .bind(customers)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.devices.save_lives"))?;
    Ok(())
}

/// Returns where lives of erased people began on a device.
pub async fn breaks(connection: &mut PgConnection, device_id: &str) -> Result<Vec<OrderKey>, StoreError> {
    let breaks: Option<Breaks> =
        sqlx::query_as("SELECT break_times, break_seqs, break_events FROM devices WHERE device_id = $1")
            .bind(device_id)
            .fetch_optional(connection)
            .await
            .map_err(StoreError::during("store.devices.breaks"))?;
    Ok(breaks.map(|breaks| breaks.keys()).unwrap_or_default())
}

/// Notes that the life of an erased person began at this place, unless that is known.
///
/// The id of the erased event is not kept: right after the last remaining event of equal time and counter
/// is as good a place. A text followed by U+0001 has no other text between, since ids cannot hold NUL.
pub async fn add_break(
    connection: &mut PgConnection,
    device_id: &str,
    start: &OrderKey,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE devices SET break_times = array_append(break_times, $2),
                break_seqs = array_append(break_seqs, $3), break_events = array_append(break_events, p.event)
         FROM (SELECT coalesce(max(event_id) || chr(1), '') AS event FROM events
               WHERE device_id = $1 AND timestamp = $2 AND seq IS NOT DISTINCT FROM $3 AND event_id < $4) p
         WHERE devices.device_id = $1 AND NOT EXISTS (
             SELECT 1 FROM unnest(break_times, break_seqs, break_events) AS b (time, seq, event)
             WHERE b.time = $2 AND b.seq IS NOT DISTINCT FROM $3 AND b.event = p.event)",
    )
    .bind(device_id)
    .bind(start.timestamp)
    .bind(start.seq)
    .bind(&start.event_id)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.devices.add_break"))?;
    Ok(())
}

/// Removes the device's row.
pub async fn delete(connection: &mut PgConnection, device_id: &str) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM devices WHERE device_id = $1")
        .bind(device_id)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.devices.delete"))?;
    Ok(done.rows_affected())
}

/// Returns which of the devices are known.
pub async fn existing(connection: &mut PgConnection, device_ids: &[&str]) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT device_id FROM devices WHERE device_id = ANY($1)")
        .bind(device_ids)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.devices.existing"))
}

/// Removes the lives of a device from number `from` on.
pub async fn delete_lives_from(
    connection: &mut PgConnection,
    device_id: &str,
    from: i32,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM device_lives WHERE device_id = $1 AND life >= $2")
        .bind(device_id)
        .bind(from)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.devices.delete_lives_from"))?;
    Ok(())
}

/// Returns up to `limit` device ids after `after`, in order: the way to walk all devices.
pub async fn ids_after(
    connection: &mut PgConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT device_id FROM devices WHERE device_id > $1 ORDER BY device_id LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.devices.ids_after"))
}

/// Returns the customers that have a life on one of these devices.
pub async fn customers_of(
    connection: &mut PgConnection,
    device_ids: &[&str],
) -> Result<Vec<uuid::Uuid>, StoreError> {
    sqlx::query_scalar("SELECT DISTINCT customer_id FROM device_lives WHERE device_id = ANY($1)")
        .bind(device_ids)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.devices.customers_of"))
}
