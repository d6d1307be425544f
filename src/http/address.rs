//! Whose request it is, as far as the proxies in front can be believed.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderName, request::Parts},
};

use super::state::AppState;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address; `None` when it is not known, as on a Unix socket without a trusted proxy.
///
/// Never stored and never logged: it serves geography and bot checks and is hashed or dropped then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl FromRequestParts<AppState> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(peer)| peer.ip());
        let hops = state.config.server.trusted_proxy_hops;
        Ok(Self(client_address(peer, &parts.headers, hops)))
    }
}

/// Returns the address of the client behind `trusted_hops` proxies.
///
/// Each proxy appends the address it was called from to `X-Forwarded-For`, so the entry that the outermost
/// trusted proxy wrote is the `trusted_hops`-th from the right; all left of it is hearsay. With fewer
/// entries the first one is what some trusted proxy wrote; with none the peer called directly. An entry
/// that is no address makes the client unknown: the proxy's address would stand for everybody.
pub fn client_address(peer: Option<IpAddr>, headers: &HeaderMap, trusted_hops: usize) -> Option<IpAddr> {
    if trusted_hops == 0 {
        return peer.map(|address| address.to_canonical());
    }
    let entries: Vec<&[u8]> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
        .collect();
    if entries.is_empty() {
        return peer.map(|address| address.to_canonical());
    }
    let chosen = entries[entries.len().saturating_sub(trusted_hops)];
    std::str::from_utf8(chosen).ok().and_then(parse_entry)
}

/// Some proxies write a port too: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (FORWARDED_FOR, value.parse().unwrap()))
            .collect()
    }

    fn client(peer: &str, forwarded: &[&str], hops: usize) -> Option<String> {
        client_address(peer.parse().ok(), &headers(forwarded), hops).map(|address| address.to_string())
    }

    #[test]
    fn without_trusted_proxies_only_the_peer_counts() {
        assert_eq!(client("192.0.2.9", &["10.0.0.1"], 0).unwrap(), "192.0.2.9");
    }

    #[test]
    fn a_spoofed_entry_stays_left_of_what_the_proxy_wrote() {
        assert_eq!(
            client("127.0.0.1", &["1.1.1.1, 203.0.113.7"], 1).unwrap(),
            "203.0.113.7"
        );
        assert_eq!(
            client("127.0.0.1", &["1.1.1.1", "203.0.113.7, 10.0.0.2"], 2).unwrap(),
            "203.0.113.7"
        );
    }

    #[test]
    fn fewer_entries_than_hops_use_the_first_and_none_the_peer() {
        assert_eq!(client("127.0.0.1", &["203.0.113.7"], 3).unwrap(), "203.0.113.7");
        assert_eq!(client("127.0.0.1", &[], 1).unwrap(), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &[" , "], 1).unwrap(), "127.0.0.1");
    }

    #[test]
    fn on_a_unix_socket_the_proxy_is_believed_and_else_nothing_is_known() {
        assert_eq!(client("", &["203.0.113.7"], 1).unwrap(), "203.0.113.7");
        assert_eq!(client("", &["203.0.113.7"], 0), None);
    }

    #[test]
    fn an_entry_that_is_no_address_makes_the_client_unknown() {
        assert_eq!(client("127.0.0.1", &["203.0.113.7, unknown"], 1), None);
        assert_eq!(client("127.0.0.1", &["<script>"], 1), None);
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_understood() {
        for (entry, address) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client("127.0.0.1", &[entry], 1).unwrap(), address);
        }
    }
}
