//! Requests to other machines: one way to make a client, so that all of them trust the same certificates.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};

/// Whom this machine trusts; where it says nothing, as in a bare container, whom Mozilla trusts.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
});

/// Begins a client that follows no redirect: what is sent is meant for the address it was sent to.
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(TLS.clone())
        .redirect(reqwest::redirect::Policy::none())
}
