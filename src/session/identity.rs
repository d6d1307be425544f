//! Ids that are computed, never drawn: the same events give the same ids on every machine and every day.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Returns the customer of a known user, on whatever device.
pub fn customer_id_of_user(user_id: &str) -> Uuid {
    uuid_of(&[b"user:", user_id.as_bytes()])
}

/// Returns the customer of a life that no user has claimed.
///
/// The first life depends on the device alone, so an event that arrives late and starts earlier does not
/// make another person of it. Later lives depend on the event that starts them, not on their number, which
/// a late event may shift.
pub fn customer_id_of_life(device_id: &str, life: i32, start_event: &str) -> Uuid {
    match life {
        0 => uuid_of(&[b"device:", device_id.as_bytes()]),
        _ => uuid_of(&[b"life:", &frame(device_id), start_event.as_bytes()]),
    }
}

/// Returns the id of a session that keeps the client's `session_id`.
pub(crate) fn id_of_kept_session(device_id: &str, session_id: &str) -> Uuid {
    uuid_of(&[b"session kept:", &frame(device_id), session_id.as_bytes()])
}

/// Returns the id of a session whose `session_id` the service assigns.
pub(crate) fn id_of_assigned_session(device_id: &str, started_at: DateTime<Utc>, event_id: &str) -> Uuid {
    let started_at = started_at.timestamp_micros().to_be_bytes();
    uuid_of(&[
        b"session assigned:",
        &frame(device_id),
        &started_at,
        event_id.as_bytes(),
    ])
}

/// Puts the length before a text that others follow, so that no two lists of parts read the same.
fn frame(text: &str) -> Vec<u8> {
    let mut framed = (text.len() as u64).to_be_bytes().to_vec();
    framed.extend_from_slice(text.as_bytes());
    framed
}

/// Returns a UUIDv8 (RFC 9562) from the first 16 bytes of the SHA-256 of all parts.
fn uuid_of(parts: &[&[u8]]) -> Uuid {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    Uuid::new_v8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_user_is_the_sha256_of_its_tagged_name() {
        let digest = Sha256::digest(b"user:ada");
        let id = customer_id_of_user("ada");
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(id.as_bytes()[..6], digest[..6]);
        assert_eq!(id.as_bytes()[9..], digest[9..16]);
    }

    #[test]
    fn only_the_first_life_ignores_its_starting_event() {
        assert_eq!(customer_id_of_life("d", 0, "a"), customer_id_of_life("d", 0, "b"));
        assert_ne!(customer_id_of_life("d", 1, "a"), customer_id_of_life("d", 1, "b"));
        assert_eq!(customer_id_of_life("d", 1, "a"), customer_id_of_life("d", 2, "a"));
    }

    #[test]
    fn parts_that_run_together_stay_apart() {
        assert_ne!(
            customer_id_of_life("ab", 1, "c"),
            customer_id_of_life("a", 1, "bc")
        );
        assert_ne!(id_of_kept_session("ab", "c"), id_of_kept_session("a", "bc"));
    }
}
