//! How callers name people.

use super::state::AppState;
use crate::event::email_token;

/// Returns what the store keeps for a user id or an attribute: an e-mail address is a token there, unless the
/// operator keeps addresses as they are.
pub(super) fn as_kept(state: &AppState, text: String) -> String {
    if !state.config.privacy.hash_emails {
        return text;
    }
    email_token(&state.hasher, &text).unwrap_or(text)
}
