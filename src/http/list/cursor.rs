//! Cursors: where a page ended, opaque to the caller.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::{event::Hasher, http::Problem};

/// Bytes of the seal. It keeps no secret, it only tells a cursor of ours from one that was made or changed
/// by hand, and a cursor of another list.
const SEAL_LENGTH: usize = 8;

/// Returns the position as text for an address. `list` names the list it belongs to, with all that
/// changes its order.
pub fn encode_cursor<P: Serialize>(hasher: &Hasher, list: &str, position: &P) -> String {
    let json = serde_json::to_string(position).expect("a position is plain data");
    let mut bytes = seal(hasher, list, &json).to_vec();
    bytes.extend_from_slice(json.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the position a cursor stands for.
///
/// # Errors
/// 400 `invalid_cursor` when [`encode_cursor`] has not made it for this list.
pub fn decode_cursor<P: DeserializeOwned>(hasher: &Hasher, list: &str, cursor: &str) -> Result<P, Problem> {
    open(hasher, list, cursor).ok_or_else(|| {
        Problem::bad_request(
            "invalid_cursor",
            "This cursor does not belong to this list: pass next_cursor of its last page, unchanged.",
        )
    })
}

fn open<P: DeserializeOwned>(hasher: &Hasher, list: &str, cursor: &str) -> Option<P> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (given_seal, json) = bytes.split_at_checked(SEAL_LENGTH)?;
    let json = std::str::from_utf8(json).ok()?;
    if given_seal != seal(hasher, list, json) {
        return None;
    }
    serde_json::from_str(json).ok()
}

fn seal(hasher: &Hasher, list: &str, json: &str) -> [u8; SEAL_LENGTH] {
    let digest = hasher.digest(&format!("cursor:{list}"), json);
    std::array::from_fn(|index| digest[index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hasher() -> Hasher {
        Hasher::new("a salt of sixteen")
    }

    proptest! {
        #[test]
        fn a_position_comes_back_as_it_went(time in any::<i64>(), id in ".*") {
            let cursor = encode_cursor(&hasher(), "events", &(time, &id));
            let back: (i64, String) = decode_cursor(&hasher(), "events", &cursor).unwrap();
            prop_assert_eq!(back, (time, id));
        }

        #[test]
        fn a_changed_cursor_is_refused(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_-]") {
            let cursor = encode_cursor(&hasher(), "events", &(1_700_000_000_i64, "an id"));
            let at = at.index(cursor.len());
            let changed = format!("{}{letter}{}", &cursor[..at], &cursor[at + 1..]);
            prop_assume!(changed != cursor);
            let answer = decode_cursor::<(i64, String)>(&hasher(), "events", &changed);
            prop_assert_eq!(answer.unwrap_err().code(), "invalid_cursor");
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in ".*") {
            prop_assert!(decode_cursor::<i64>(&hasher(), "events", &text).is_err());
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = encode_cursor(&hasher(), "events", &7);
        assert!(decode_cursor::<i32>(&hasher(), "sessions", &cursor).is_err());
    }
}
