//! A webhook of the operator's own: JSON, signed.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use super::{Envelope, SendError, client, deliver};

/// Header that carries the signature: `t=<seconds since 1970>,v1=<hexadecimal HMAC-SHA256>`.
pub const SIGNATURE_HEADER: &str = "X-Journey-Signature";

/// An address with the secret that its receiver knows too.
#[derive(Clone)]
pub struct Webhook {
    client: reqwest::Client,
    address: String,
    secret: String,
}

// Address and secret stay out of everything printed.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Webhook(…)")
    }
}

impl Webhook {
    /// # Errors
    /// When no client can be made.
    pub fn new(address: &str, secret: &str, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self {
            client: client(timeout)?,
            address: address.into(),
            secret: secret.into(),
        })
    }

    pub(super) async fn send(&self, envelope: &Envelope<'_>) -> Result<(), SendError> {
        let notice = envelope.notice;
        let body = json!({
            "id": envelope.id,
            "event": format!("alert.{}", notice.event),
            "title": notice.title,
            "text": notice.text(),
            "url": notice.url,
            "alert": notice.alert,
        })
        .to_string();
        let request = self
            .client
            .post(&self.address)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", envelope.id.to_string())
            .header(
                SIGNATURE_HEADER,
                signature(&self.secret, envelope.now.timestamp(), &body),
            )
            .body(body);
        deliver(request).await
    }
}

/// Returns the value of the signature's header: HMAC-SHA256 with the secret over `timestamp.body`.
///
/// The time is signed along, so that a receiver can refuse an old message somebody sends again.
pub fn signature(secret: &str, timestamp: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{timestamp}.{body}").as_bytes());
    format!("t={timestamp},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_openssl_computes() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of sixteen'
        assert_eq!(
            signature("a secret of sixteen", 1_700_000_000, "{\"a\":1}"),
            "t=1700000000,v1=fbd8ce753f0c0643c2d4fef4959c30b175367059e6f5453bddeb7b24a3d1ae24"
        );
    }
}
