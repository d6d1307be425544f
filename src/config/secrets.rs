//! Secrets: where they come from, and how they stay out of everything printed.

use std::{borrow::Cow, fmt, path::Path};

use super::keys::section;

section! {
    /// Secrets: given as values only in development, by files or systemd credentials elsewhere.
    pub struct Secrets in "secrets" {
        /// Keys every hash: API keys, addresses, e-mails. At least 16 characters; losing it makes all keys invalid.
        api_key_salt: String = String::new(),
        /// File that holds `secrets.api_key_salt`.
        api_key_salt_file: String = String::new(),
        /// File that holds `database.url`.
        database_url_file: String = String::new(),
        /// File that holds `redis.queue_url`.
        redis_queue_url_file: String = String::new(),
        /// Signs the messages to `alerts.webhook_url`. At least 16 characters.
        alert_webhook_secret: String = String::new(),
        /// File that holds `secrets.alert_webhook_secret`.
        alert_webhook_secret_file: String = String::new(),
        /// File that holds `alerts.webhook_url`.
        alert_webhook_url_file: String = String::new(),
        /// File that holds `alerts.slack_webhook_url`.
        slack_webhook_url_file: String = String::new(),
        /// Password for `alerts.smtp_user`.
        smtp_password: String = String::new(),
        /// File that holds `secrets.smtp_password`.
        smtp_password_file: String = String::new(),
    }
}

/// A value that may come from a file of its own.
pub(super) struct SecretSource {
    /// Key the content is written to.
    pub target: &'static str,
    /// Key that names the file.
    pub file_key: &'static str,
    /// Name of the systemd credential.
    pub credential: &'static str,
}

pub(super) const SECRET_SOURCES: &[SecretSource] = &[
    SecretSource {
        target: "secrets.api_key_salt",
        file_key: "secrets.api_key_salt_file",
        credential: "api-key-salt",
    },
    SecretSource {
        target: "database.url",
        file_key: "secrets.database_url_file",
        credential: "database-url",
    },
    SecretSource {
        target: "redis.queue_url",
        file_key: "secrets.redis_queue_url_file",
        credential: "redis-queue-url",
    },
    SecretSource {
        target: "secrets.alert_webhook_secret",
        file_key: "secrets.alert_webhook_secret_file",
        credential: "alert-webhook-secret",
    },
    SecretSource {
        target: "alerts.webhook_url",
        file_key: "secrets.alert_webhook_url_file",
        credential: "alert-webhook-url",
    },
    SecretSource {
        target: "alerts.slack_webhook_url",
        file_key: "secrets.slack_webhook_url_file",
        credential: "slack-webhook-url",
    },
    SecretSource {
        target: "secrets.smtp_password",
        file_key: "secrets.smtp_password_file",
        credential: "smtp-password",
    },
];

/// Reads a secret; the line break that editors leave at the end does not belong to it.
pub(super) fn read_secret(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(secret.into())
}

/// What stands for a secret in everything printed.
const MASK: &str = "********";

/// Keys whose whole value is a secret; who knows the address of a webhook can post to it.
const HIDDEN: [&str; 5] = [
    "secrets.api_key_salt",
    "secrets.alert_webhook_secret",
    "secrets.smtp_password",
    "alerts.webhook_url",
    "alerts.slack_webhook_url",
];

/// Returns `text`, the value of `path`, without what must stay secret: whole values, and passwords in addresses.
pub(super) fn mask<'a>(path: &str, text: &'a str) -> Cow<'a, str> {
    if HIDDEN.contains(&path) && text.chars().any(|character| character != '"') {
        return Cow::Borrowed(MASK);
    }
    if path.ends_with("url") {
        return mask_address(text);
    }
    Cow::Borrowed(text)
}

/// Masks the password between `user:` and the last `@` before the path, and a `password=` parameter.
///
/// Works on the text instead of a parsed address, because a broken address must not show its password either.
fn mask_address(text: &str) -> Cow<'_, str> {
    let mut shown = text.to_owned();
    if let Some(start) = shown.find("://").map(|at| at + 3)
        && let Some(end) = shown.rfind('@').filter(|end| *end > start)
        && let Some(colon) = shown[start..end].find(':').map(|at| start + at)
    {
        shown.replace_range(colon + 1..end, MASK);
    }
    if let Some(start) = shown.find("password=").map(|at| at + "password=".len()) {
        let end = shown[start..]
            .find(['&', '"'])
            .map_or(shown.len(), |length| start + length);
        shown.replace_range(start..end, MASK);
    }
    Cow::Owned(shown)
}

/// Prints a field of a section with its secrets masked.
pub(super) struct Masked<'a> {
    path: &'static str,
    value: &'a dyn fmt::Debug,
}

impl<'a> Masked<'a> {
    pub fn new(path: &'static str, value: &'a dyn fmt::Debug) -> Self {
        Self { path, value }
    }
}

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&mask(self.path, &format!("{:?}", self.value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_and_the_rest_of_an_address_stays() {
        let cases = [
            (
                "postgres://me:p@ss:word@db/journey",
                "postgres://me:********@db/journey",
            ),
            ("postgres://me@db/journey", "postgres://me@db/journey"),
            ("redis://:hunter2@cache:6379/1", "redis://:********@cache:6379/1"),
            (
                "postgres:///j?host=/run&password=abc&x=1",
                "postgres:///j?host=/run&password=********&x=1",
            ),
            (
                "\"postgres:///j?password=abc\"",
                "\"postgres:///j?password=********\"",
            ),
        ];
        for (address, shown) in cases {
            assert_eq!(mask("database.url", address), shown);
        }
    }

    #[test]
    fn printing_a_section_for_debugging_shows_no_secret() {
        let secrets = Secrets {
            api_key_salt: "salt-of-the-earth".into(),
            ..Secrets::default()
        };
        let database = crate::config::Database {
            url: "postgres://me:hunter2@db/journey".into(),
            ..Default::default()
        };
        let text = format!("{secrets:?} {database:?}");
        assert!(!text.contains("earth") && !text.contains("hunter2"), "{text}");
        assert!(text.contains("me:********@db"), "{text}");
    }

    #[test]
    fn a_secret_file_loses_its_line_break_and_may_not_be_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("salt");
        std::fs::write(&path, " spaces stay \r\n").unwrap();
        assert_eq!(read_secret(&path).unwrap(), " spaces stay ");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_secret(&path).unwrap_err().ends_with("is empty"));
        assert!(
            read_secret(&folder.path().join("none"))
                .unwrap_err()
                .contains("cannot be read")
        );
    }
}
