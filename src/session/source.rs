//! What an event says about where its visitor came from.

use super::channel::{self, SiteKind, belongs_to, find_site};
use super::model::{Rules, SessionEvent};

/// Where a visit came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub source: String,
    pub medium: Option<String>,
    pub campaign: Option<String>,
    /// Only a host outside the site.
    pub referrer_host: Option<String>,
}

/// The source of a campaign tag that names only a medium or a campaign.
const NO_NAME: &str = "(not set)";

/// Click ids that advertising platforms add to an address: id, source, medium.
///
/// Some are added to unpaid posts as well (`fbclid`, `igshid`): they prove the platform, not the payment.
const CLICK_IDS: &[(&str, &str, &str)] = &[
    ("gclid", "google", "cpc"),
    ("gbraid", "google", "cpc"),
    ("wbraid", "google", "cpc"),
    ("dclid", "google", "display"),
    ("gad_source", "google", "cpc"),
    ("msclkid", "bing", "cpc"),
    ("yclid", "yandex", "cpc"),
    ("fbclid", "facebook", "social"),
    ("igshid", "instagram", "social"),
    ("ttclid", "tiktok", "cpc"),
    ("twclid", "twitter", "cpc"),
    ("li_fat_id", "linkedin", "cpc"),
    ("rdt_cid", "reddit", "cpc"),
    ("sccid", "snapchat", "cpc"),
    ("epik", "pinterest", "cpc"),
    ("irclickid", "impact", "affiliate"),
    ("mc_eid", "mailchimp", "email"),
    ("mc_cid", "mailchimp", "email"),
    ("_kx", "klaviyo", "email"),
];

/// Returns the source an event carries: campaign tags, else a click id, else the referrer.
///
/// Tags that lack a source or a medium take it from the click id, then from the referrer. `None` when the
/// event says nothing, or only that the visitor came from the site itself or back from a pass-through host.
pub(crate) fn arrival_of(event: &SessionEvent, rules: &Rules) -> Option<Arrival> {
    let referrer_host = external_referrer(event, rules);
    let hint = click_source(event).or_else(|| referrer_host.map(referrer_source));
    let [source, medium, campaign] = [&event.utm_source, &event.utm_medium, &event.utm_campaign].map(present);
    let tagged = source.or(medium).or(campaign).is_some();
    if !tagged && hint.is_none() {
        return None;
    }
    let (hint_source, hint_medium) = hint.unzip();
    // A tag's own source does not get the medium of another site that the visitor happened to come from.
    let hint_medium = hint_medium.filter(|_| source.is_none() || click_source(event).is_some());
    Some(Arrival {
        source: source.or(hint_source).unwrap_or(NO_NAME).to_owned(),
        medium: medium.or(hint_medium).map(str::to_owned),
        campaign: campaign.map(str::to_owned),
        referrer_host: referrer_host.map(str::to_owned),
    })
}

/// Returns a text that is there and not empty.
pub(crate) fn present(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn click_source(event: &SessionEvent) -> Option<(&str, &'static str)> {
    let click_id = present(&event.click_id)?;
    let known = CLICK_IDS
        .iter()
        .find(|(id, _, _)| id.eq_ignore_ascii_case(click_id));
    // A click id that the tables do not know still says that an advertisement was clicked.
    Some(known.map_or((click_id, "cpc"), |(_, source, medium)| (*source, *medium)))
}

fn referrer_source(host: &str) -> (&str, &'static str) {
    match find_site(host) {
        None => (host, "referral"),
        Some(site) => match site.kind {
            SiteKind::Search => (site.name, "organic"),
            SiteKind::Social => (site.name, "social"),
            SiteKind::Email => (site.name, "email"),
            SiteKind::Video | SiteKind::Shopping | SiteKind::Assistant => (site.name, "referral"),
        },
    }
}

/// Returns the referrer's host without `www.`, unless it is the site itself or a pass-through host.
fn external_referrer<'a>(event: &'a SessionEvent, rules: &Rules) -> Option<&'a str> {
    let host = present(&event.referrer_host)?;
    let host = host.strip_prefix("www.").unwrap_or(host);
    let internal = rules
        .own_hosts
        .iter()
        .chain(&rules.pass_through_hosts)
        .chain(&event.page_host);
    let is_internal = internal
        .filter(|domain| !domain.is_empty())
        .any(|domain| belongs_to(host, domain));
    (!is_internal).then_some(host)
}

impl Arrival {
    /// Returns the channel of this arrival.
    pub fn channel(&self) -> &'static str {
        channel::channel_of(&self.source, self.medium.as_deref(), self.campaign.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn rules() -> Rules {
        Rules {
            inactivity: TimeDelta::minutes(30),
            length_max: TimeDelta::hours(24),
            own_hosts: vec!["www.Example.com".into()],
            pass_through_hosts: vec!["paypal.com".into()],
        }
    }

    fn event(source: &str, medium: &str, click_id: &str, referrer: &str) -> SessionEvent {
        let text = |text: &str| Some(text.to_owned());
        SessionEvent {
            utm_source: text(source),
            utm_medium: text(medium),
            click_id: text(click_id),
            referrer_host: text(referrer),
            page_host: text("other.test"),
            ..SessionEvent::default()
        }
    }

    #[test]
    fn tags_come_before_click_ids_and_those_before_referrers() {
        let cases = [
            (
                ("spring", "email", "gclid", "bing.com"),
                Some(("spring", Some("email"))),
            ),
            (("google", "", "gclid", "bing.com"), Some(("google", Some("cpc")))),
            (("spring", "", "", "bing.com"), Some(("spring", None))),
            (("", "email", "", ""), Some(("(not set)", Some("email")))),
            (("", "cpc", "", "bing.com"), Some(("bing", Some("cpc")))),
            (("", "", "fbclid", "bing.com"), Some(("facebook", Some("social")))),
            (("", "", "newclid", ""), Some(("newclid", Some("cpc")))),
            (("", "", "", "www.google.de"), Some(("google", Some("organic")))),
            (
                ("", "", "", "l.instagram.com"),
                Some(("instagram", Some("social"))),
            ),
            (("", "", "", "mail.google.com"), Some(("gmail", Some("email")))),
            (("", "", "", "chatgpt.com"), Some(("chatgpt", Some("referral")))),
            (("", "", "", "blog.test"), Some(("blog.test", Some("referral")))),
            (("", "", "", ""), None),
        ];
        for ((source, medium, click_id, referrer), expected) in cases {
            let arrival = arrival_of(&event(source, medium, click_id, referrer), &rules());
            let found = arrival
                .as_ref()
                .map(|it| (it.source.as_str(), it.medium.as_deref()));
            assert_eq!(found, expected, "{source} {medium} {click_id} {referrer}");
        }
    }

    #[test]
    fn the_site_itself_and_pass_through_hosts_are_no_source() {
        for host in [
            "example.com",
            "shop.example.com",
            "www.paypal.com",
            "checkout.paypal.com",
            "other.test",
        ] {
            assert_eq!(arrival_of(&event("", "", "", host), &rules()), None, "{host}");
        }
        let tagged = arrival_of(&event("spring", "email", "", "example.com"), &rules()).unwrap();
        assert_eq!(tagged.referrer_host, None);
        assert_eq!(tagged.channel(), channel::EMAIL);
    }
}
