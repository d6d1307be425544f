//! The HTTP server.

use super::keys::section;

section! {
    /// The HTTP server.
    pub struct Server in "server" {
        /// Address and port to listen on.
        listen: String = "127.0.0.1:8030".into(),
        /// Address that sites reach the service at, such as `https://journey.example`, for the script tag that
        /// `keys create` prints. Empty: the tag holds a placeholder.
        public_url: String = String::new(),
        /// Proxies in front whose `X-Forwarded-For` entries are believed, counted from the right.
        trusted_proxy_hops: usize = 0,
        /// Origins browsers may call the API from; `*` allows any. Write keys add their own origins.
        cors_origins: Vec<String> = Vec::new(),
        /// Time a request may take before it is answered with 503.
        request_timeout_seconds: u64 = 30 => "seconds",
        /// Time a graceful stop takes at most: half of it for open requests and jobs, the rest for the queue to drain.
        shutdown_timeout_seconds: u64 = 20 => "seconds",
    }
}
