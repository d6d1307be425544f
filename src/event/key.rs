//! The identity of an event for "stored once".

use std::sync::{LazyLock, Mutex};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::{ContextV7, Timestamp, Uuid};

/// Length of a UUID written with hyphens.
const HYPHENATED_LENGTH: usize = 36;

/// Returns the key an event is stored once under.
///
/// The id itself when it is a UUID in its hyphenated form, in any case; else a UUIDv8 made of the first
/// 122 free bits of the id's SHA-256.
pub fn event_key(event_id: &str) -> Uuid {
    if event_id.len() == HYPHENATED_LENGTH
        && let Ok(uuid) = Uuid::try_parse(event_id)
    {
        return uuid;
    }
    let digest = Sha256::digest(event_id.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes)
}

/// Makes an id for an event that came without one: a UUIDv7 of its receipt, rising within a process so that
/// events of one request keep their order.
pub(crate) fn make_event_id(received_at: DateTime<Utc>) -> String {
    static CONTEXT: LazyLock<Mutex<ContextV7>> = LazyLock::new(|| Mutex::new(ContextV7::new()));
    let seconds = u64::try_from(received_at.timestamp()).unwrap_or(0);
    // A leap second is counted beyond its second; the format has no room for that.
    let nanoseconds = received_at.timestamp_subsec_nanos().min(999_999_999);
    Uuid::new_v7(Timestamp::from_unix(&*CONTEXT, seconds, nanoseconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hyphenated_uuid_is_its_own_key_in_any_case() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        assert_eq!(event_key(id).to_string(), id);
        assert_eq!(event_key(&id.to_uppercase()), event_key(id));
    }

    #[test]
    fn any_other_text_is_hashed() {
        let simple = "0190163d8694739baea5966c26f8ad91";
        for id in [
            "order-17",
            "",
            simple,
            "{0190163d-8694-739b-aea5-966c26f8ad91}",
            "ключ",
        ] {
            let key = event_key(id);
            assert_eq!(key.get_version_num(), 8, "{id}");
            assert_eq!(key, event_key(id));
            assert_ne!(key.simple().to_string(), simple);
        }
        // The first 16 bytes of SHA-256("abc") with version and variant set.
        assert_eq!(
            event_key("abc").to_string(),
            "ba7816bf-8f01-8fea-8141-40de5dae2223"
        );
    }

    #[test]
    fn made_ids_rise() {
        let received_at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let ids: Vec<_> = (0..100).map(|_| make_event_id(received_at)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(event_key(&ids[0]).get_version_num(), 7);
    }
}
