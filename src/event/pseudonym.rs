//! Keyed hashes: how addresses, e-mails and API keys are kept without being kept.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA256 under the installation's salt.
///
/// The `domain` keeps hashes of different kinds apart: the hash of an address never equals the hash of an
/// equal text that was an e-mail.
#[derive(Clone)]
pub struct Hasher {
    keyed: Hmac<Sha256>,
}

impl Hasher {
    /// Makes a hasher from the salt of the configuration.
    pub fn new(salt: &str) -> Self {
        let keyed = Hmac::new_from_slice(salt.as_bytes()).expect("HMAC takes a key of any length");
        Self { keyed }
    }

    /// Returns the 32 byte hash of `value` within `domain`.
    pub fn digest(&self, domain: &str, value: &str) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(domain.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Returns the first 16 bytes of the hash in lower-case hexadecimal: short enough for an id, long
    /// enough (128 bits) that no two people collide.
    pub fn token(&self, domain: &str, value: &str) -> String {
        hex::encode(&self.digest(domain, value)[..16])
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hasher(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_of_different_kinds_have_different_hashes() {
        let hasher = Hasher::new("a salt of sixteen");
        assert_eq!(hasher.token("ip", "10.0.0.1"), hasher.token("ip", "10.0.0.1"));
        assert_ne!(hasher.token("ip", "10.0.0.1"), hasher.token("email", "10.0.0.1"));
        assert_ne!(
            Hasher::new("another salt here").digest("ip", "x"),
            hasher.digest("ip", "x")
        );
    }
}
