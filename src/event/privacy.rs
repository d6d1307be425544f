//! E-mail addresses become tokens before anything is kept.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::pseudonym::Hasher;

/// Domain of the keyed hash.
const DOMAIN: &str = "email";
/// Longest address that can be delivered to, in bytes (RFC 5321, section 4.5.3.1.3, without the brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// Returns the token that stands for this e-mail address, or `None` when the text is no e-mail address.
///
/// Case and surrounding blanks make no difference. A token is not an address, so hashing twice changes nothing.
pub fn email_token(hasher: &Hasher, text: &str) -> Option<String> {
    let text = text.trim();
    if !is_email(text) {
        return None;
    }
    let token = hasher.token(DOMAIN, &text.to_lowercase());
    Some(format!("email_{token}"))
}

/// Says whether the whole text is an address as people have them: quoted local parts, comments and bare host
/// names are not.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    text.len() <= EMAIL_BYTES_MAX
        && !local.is_empty()
        && local.chars().all(is_local)
        && domain.contains('.')
        && domain
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(is_label))
}

fn is_local(char: char) -> bool {
    char.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(char)
}

fn is_label(char: char) -> bool {
    char.is_alphanumeric() || char == '-' || !char.is_ascii() && !char.is_whitespace() && !char.is_control()
}

/// Removes NUL, the one character PostgreSQL cannot hold.
pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.as_bytes().contains(&0) {
        Cow::Owned(text.replace('\0', ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// Makes texts fit to be kept: no NUL, and no e-mail address where the operator wants none.
#[derive(Clone, Copy)]
pub(crate) struct Cleaner<'a> {
    hasher: Option<&'a Hasher>,
}

impl<'a> Cleaner<'a> {
    /// Makes a cleaner; without a hasher, e-mail addresses stay as they are.
    pub fn new(hasher: Option<&'a Hasher>) -> Self {
        Self { hasher }
    }

    /// Returns the token of a text that is wholly an e-mail address.
    pub fn token(&self, text: &str) -> Option<String> {
        email_token(self.hasher?, text)
    }

    /// Returns the text as it may be kept.
    pub fn clean(&self, text: &str) -> String {
        let text = without_nul(text);
        self.token(&text).unwrap_or_else(|| text.into_owned())
    }

    /// Cleans every text and every name of an object, at any depth.
    pub fn clean_object(&self, object: &mut Map<String, Value>) {
        if object.keys().any(|name| self.is_unclean(name)) {
            for (name, value) in std::mem::take(object) {
                object.insert(self.clean(&name), value);
            }
        }
        for (_, value) in object.iter_mut() {
            self.clean_value(value);
        }
    }

    fn clean_value(&self, value: &mut Value) {
        match value {
            Value::String(text) if self.is_unclean(text) => *text = self.clean(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.clean_value(value)),
            Value::Object(object) => self.clean_object(object),
            _ => {}
        }
    }

    /// A cheap look that spares nearly all texts a copy.
    fn is_unclean(&self, text: &str) -> bool {
        text.bytes().any(|byte| byte == 0 || byte == b'@')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hasher() -> Hasher {
        Hasher::new("a salt of sixteen")
    }

    #[test]
    fn e_mail_addresses_are_told_from_other_texts() {
        for text in [
            "a@b.de",
            "first.last+tag@sub.example.co.uk",
            "O'Neil@example.com",
            "größe@bücher.example",
        ] {
            assert!(is_email(text), "{text}");
        }
        for text in [
            "",
            "@",
            "a@b",
            "@b.de",
            "a@",
            "a@.de",
            "a@b.",
            "a@b..de",
            "a b@c.de",
            "a@b c.de",
            "a@b@c.de",
            "git@github.com:team/shop",
            "write to a@b.de",
            "@handle",
            "https://a@b.de/",
            "email_0123",
        ] {
            assert!(!is_email(text), "{text}");
        }
        assert!(!is_email(&format!("{}@b.de", "a".repeat(250))));
    }

    #[test]
    fn one_address_has_one_token() {
        let token = email_token(&hasher(), "Ann@Example.com").unwrap();
        assert_eq!(token.len(), "email_".len() + 32);
        assert_eq!(email_token(&hasher(), "  ann@example.COM\n").unwrap(), token);
        assert_ne!(email_token(&hasher(), "bob@example.com").unwrap(), token);
        assert_eq!(email_token(&hasher(), &token), None);
    }

    #[test]
    fn objects_are_cleaned_at_any_depth() {
        let hasher = hasher();
        let token = email_token(&hasher, "a@b.de").unwrap();
        let dirty = json!({"a": ["A@b.de", {"na\0me": "x\0y", "a@b.de": 1}], "b": "mail a@b.de", "n": 1.5});
        let mut object = dirty.as_object().unwrap().clone();
        Cleaner::new(Some(&hasher)).clean_object(&mut object);
        let expected = json!({"a": [token, {"name": "xy", (&token): 1}], "b": "mail a@b.de", "n": 1.5});
        assert_eq!(Value::Object(object), expected);

        let mut object = dirty.as_object().unwrap().clone();
        Cleaner::new(None).clean_object(&mut object);
        assert_eq!(object["a"], json!(["A@b.de", {"name": "xy", "a@b.de": 1}]));
    }

    proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(text in r"[a-zA-Z.@ \x00é+-]{0,12}@?[a-z]{0,4}\.?[a-z]{0,3}") {
            let hasher = hasher();
            let cleaner = Cleaner::new(Some(&hasher));
            let once = cleaner.clean(&text);
            prop_assert!(!once.contains('\0'));
            prop_assert_eq!(cleaner.clean(&once), once);
        }
    }
}
