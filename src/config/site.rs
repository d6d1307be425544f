//! The web site whose visits are counted.

use super::keys::section;

/// Hosts that people come back from after paying or logging in, at the most common providers.
const PASS_THROUGH_HOSTS: [&str; 8] = [
    "paypal.com",
    "checkout.stripe.com",
    "hooks.stripe.com",
    "pay.google.com",
    "klarna.com",
    "accounts.google.com",
    "appleid.apple.com",
    "login.microsoftonline.com",
];

section! {
    /// The web site.
    pub struct Site in "site" {
        /// IANA time zone that days, weeks and months of reports are cut in.
        timezone: String = "UTC".into(),
        /// Hosts of the site itself; a visit from them has no source.
        own_hosts: Vec<String> = Vec::new(),
        /// Payment and login hosts people come back from; they are no source either.
        pass_through_hosts: Vec<String> = PASS_THROUGH_HOSTS.map(String::from).into(),
    }
}
