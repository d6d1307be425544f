//! Types of event.

/// The types the service knows a meaning for; any other valid name is a custom event. In order of name.
pub const KNOWN: [&str; 27] = [
    "add_to_cart",
    "checkout_start",
    "click",
    "consent",
    "custom",
    "dead_click",
    "error",
    "file_download",
    "form_abandon",
    "form_error",
    "form_input",
    "form_submit",
    "hover",
    "identify",
    "login",
    "logout",
    "page_leave",
    "page_view",
    "purchase",
    "rage_click",
    "remove_from_cart",
    "scroll",
    "search",
    "signup",
    "video_pause",
    "video_play",
    "web_vital",
];

/// Characters.
const LENGTH_MAX: usize = 64;

/// Returns the known type of this name, for labels that must stay few.
pub fn known(name: &str) -> Option<&'static str> {
    KNOWN.binary_search(&name).ok().map(|index| KNOWN[index])
}

/// Says whether this may be the type of an event: 1 to 64 characters of `a-z 0-9 _ . : -`.
pub fn is_valid(name: &str) -> bool {
    (1..=LENGTH_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_types_are_found_and_valid() {
        assert!(KNOWN.is_sorted());
        for name in KNOWN {
            assert_eq!(known(name), Some(name));
            assert!(is_valid(name));
        }
        assert_eq!(known("newsletter_signup"), None);
    }

    #[test]
    fn names_are_of_the_allowed_characters() {
        for name in ["a", "shop:item.view-2", &"x".repeat(64)] {
            assert!(is_valid(name), "{name}");
        }
        for name in ["", "Click", "page view", "größe", "a/b", &"x".repeat(65)] {
            assert!(!is_valid(name), "{name}");
        }
    }
}
