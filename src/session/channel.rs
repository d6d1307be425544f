//! The closed list of channels, and the tables that put a source into one of them.
//!
//! The names and rules are those of Google Analytics 4's default channel group, which analysts know, with
//! two differences: a medium that names its channel (`email`, `affiliate`, `sms`, …) wins over the site in
//! the source, and assistants that answer with links have a channel of their own.

pub const DIRECT: &str = "Direct";
pub const CROSS_NETWORK: &str = "Cross-network";
pub const PAID_SEARCH: &str = "Paid Search";
pub const PAID_SOCIAL: &str = "Paid Social";
pub const PAID_VIDEO: &str = "Paid Video";
pub const PAID_SHOPPING: &str = "Paid Shopping";
pub const DISPLAY: &str = "Display";
pub const PAID_OTHER: &str = "Paid Other";
pub const EMAIL: &str = "Email";
pub const AFFILIATES: &str = "Affiliates";
pub const AUDIO: &str = "Audio";
pub const SMS: &str = "SMS";
pub const PUSH: &str = "Mobile Push Notifications";
pub const ORGANIC_SOCIAL: &str = "Organic Social";
pub const ORGANIC_VIDEO: &str = "Organic Video";
pub const ORGANIC_SHOPPING: &str = "Organic Shopping";
pub const ORGANIC_SEARCH: &str = "Organic Search";
pub const AI_ASSISTANT: &str = "AI Assistant";
pub const REFERRAL: &str = "Referral";
/// A source whose medium says nothing that is known.
pub const UNASSIGNED: &str = "Unassigned";

/// Every channel there is.
pub const CHANNELS: [&str; 20] = [
    DIRECT,
    CROSS_NETWORK,
    PAID_SEARCH,
    PAID_SOCIAL,
    PAID_VIDEO,
    PAID_SHOPPING,
    DISPLAY,
    PAID_OTHER,
    EMAIL,
    AFFILIATES,
    AUDIO,
    SMS,
    PUSH,
    ORGANIC_SOCIAL,
    ORGANIC_VIDEO,
    ORGANIC_SHOPPING,
    ORGANIC_SEARCH,
    AI_ASSISTANT,
    REFERRAL,
    UNASSIGNED,
];

/// The source of a session that came from nowhere known.
pub const DIRECT_SOURCE: &str = "(direct)";

/// What a known site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SiteKind {
    Search,
    Social,
    Video,
    Shopping,
    Email,
    Assistant,
}

/// A site that has a name of its own among the sources.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// A host, which also stands for its subdomains; `name.*` is that name under any country's ending, with
    /// nothing but `www.` before it. Short names that campaign tags use are listed as if they were hosts.
    pattern: &'static str,
    pub name: &'static str,
    pub kind: SiteKind,
}

const fn site(pattern: &'static str, name: &'static str, kind: SiteKind) -> Site {
    Site { pattern, name, kind }
}

use SiteKind::{Assistant, Email, Search, Shopping, Social, Video};

/// The first that matches counts, so a host stands before the domain it belongs to.
const SITES: &[Site] = &[
    site("gemini.google.com", "gemini", Assistant),
    site("bard.google.com", "gemini", Assistant),
    site("chatgpt.com", "chatgpt", Assistant),
    site("openai.com", "chatgpt", Assistant),
    site("claude.ai", "claude", Assistant),
    site("perplexity.ai", "perplexity", Assistant),
    site("copilot.microsoft.com", "copilot", Assistant),
    site("deepseek.com", "deepseek", Assistant),
    site("grok.com", "grok", Assistant),
    site("mistral.ai", "mistral", Assistant),
    site("meta.ai", "meta-ai", Assistant),
    site("poe.com", "poe", Assistant),
    site("you.com", "you", Assistant),
    site("mail.google.com", "gmail", Email),
    site("com.google.android.gm", "gmail", Email),
    site("outlook.live.com", "outlook", Email),
    site("outlook.office.com", "outlook", Email),
    site("outlook.office365.com", "outlook", Email),
    site("mail.yahoo.com", "yahoo-mail", Email),
    site("mail.proton.me", "proton-mail", Email),
    site("navigator.gmx.net", "gmx", Email),
    site("navigator.web.de", "web.de", Email),
    site("e.mail.ru", "mail.ru", Email),
    site("newsletter", "newsletter", Email),
    site("e-mail", "email", Email),
    site("e_mail", "email", Email),
    site("shopping.google.com", "google-shopping", Shopping),
    site("amazon.*", "amazon", Shopping),
    site("ebay.*", "ebay", Shopping),
    site("etsy.com", "etsy", Shopping),
    site("walmart.com", "walmart", Shopping),
    site("aliexpress.com", "aliexpress", Shopping),
    site("idealo.*", "idealo", Shopping),
    site("google.*", "google", Search),
    site("com.google.android.googlequicksearchbox", "google", Search),
    site("adwords", "google", Search),
    site("bing.com", "bing", Search),
    site("search.yahoo.com", "yahoo", Search),
    site("search.yahoo.co.jp", "yahoo", Search),
    site("duckduckgo.com", "duckduckgo", Search),
    site("ddg.gg", "duckduckgo", Search),
    site("ecosia.org", "ecosia", Search),
    site("qwant.com", "qwant", Search),
    site("startpage.com", "startpage", Search),
    site("search.brave.com", "brave", Search),
    site("kagi.com", "kagi", Search),
    site("yandex.*", "yandex", Search),
    site("ya.ru", "yandex", Search),
    site("baidu.com", "baidu", Search),
    site("naver.com", "naver", Search),
    site("daum.net", "daum", Search),
    site("sogou.com", "sogou", Search),
    site("so.com", "360", Search),
    site("seznam.cz", "seznam", Search),
    site("swisscows.com", "swisscows", Search),
    site("mojeek.com", "mojeek", Search),
    site("metager.org", "metager", Search),
    site("metager.de", "metager", Search),
    site("search.aol.com", "aol", Search),
    site("ask.com", "ask", Search),
    site("facebook.com", "facebook", Social),
    site("fb.com", "facebook", Social),
    site("fb.me", "facebook", Social),
    site("fb", "facebook", Social),
    site("meta", "facebook", Social),
    site("messenger.com", "messenger", Social),
    site("instagram.com", "instagram", Social),
    site("ig", "instagram", Social),
    site("threads.net", "threads", Social),
    site("threads.com", "threads", Social),
    site("twitter.com", "twitter", Social),
    site("t.co", "twitter", Social),
    site("x.com", "twitter", Social),
    site("x", "twitter", Social),
    site("linkedin.com", "linkedin", Social),
    site("lnkd.in", "linkedin", Social),
    site("pinterest.*", "pinterest", Social),
    site("pin.it", "pinterest", Social),
    site("reddit.com", "reddit", Social),
    site("tiktok.com", "tiktok", Social),
    site("snapchat.com", "snapchat", Social),
    site("tumblr.com", "tumblr", Social),
    site("vk.com", "vk", Social),
    site("ok.ru", "ok", Social),
    site("whatsapp.com", "whatsapp", Social),
    site("wa.me", "whatsapp", Social),
    site("telegram.org", "telegram", Social),
    site("t.me", "telegram", Social),
    site("discord.com", "discord", Social),
    site("bsky.app", "bluesky", Social),
    site("mastodon.social", "mastodon", Social),
    site("xing.com", "xing", Social),
    site("quora.com", "quora", Social),
    site("news.ycombinator.com", "hackernews", Social),
    site("nextdoor.com", "nextdoor", Social),
    site("weibo.com", "weibo", Social),
    site("weixin.qq.com", "wechat", Social),
    site("line.me", "line", Social),
    site("youtube.com", "youtube", Video),
    site("youtu.be", "youtube", Video),
    site("yt", "youtube", Video),
    site("vimeo.com", "vimeo", Video),
    site("dailymotion.com", "dailymotion", Video),
    site("twitch.tv", "twitch", Video),
    site("bilibili.com", "bilibili", Video),
];

/// Media that name their channel whatever the source is.
const MEDIA: &[(&str, &str)] = &[
    ("email", EMAIL),
    ("e-mail", EMAIL),
    ("e_mail", EMAIL),
    ("e mail", EMAIL),
    ("newsletter", EMAIL),
    ("affiliate", AFFILIATES),
    ("affiliates", AFFILIATES),
    ("audio", AUDIO),
    ("podcast", AUDIO),
    ("sms", SMS),
    ("social", ORGANIC_SOCIAL),
    ("social-network", ORGANIC_SOCIAL),
    ("social-media", ORGANIC_SOCIAL),
    ("social network", ORGANIC_SOCIAL),
    ("social media", ORGANIC_SOCIAL),
    ("sm", ORGANIC_SOCIAL),
];

/// Media of paid pictures, where it does not matter who shows them.
const DISPLAY_MEDIA: &[&str] = &["display", "banner", "expandable", "interstitial", "cpm"];

/// Media that say no more than that a link was followed.
const LINK_MEDIA: &[&str] = &["referral", "app", "link"];

/// Returns the channel of a source: always one of [`CHANNELS`].
///
/// Upper and lower case are the same. `medium` and `campaign` are as the session carries them.
pub fn channel_of(source: &str, medium: Option<&str>, campaign: Option<&str>) -> &'static str {
    let source = source.to_lowercase();
    let medium = medium.unwrap_or_default().to_lowercase();
    if source == DIRECT_SOURCE && matches!(medium.as_str(), "" | "(none)" | "(not set)") {
        return DIRECT;
    }
    if campaign.is_some_and(|campaign| campaign.to_lowercase().contains("cross-network")) {
        return CROSS_NETWORK;
    }
    let kind = find_site(&source).map(|site| site.kind);
    paid_channel(kind, &medium)
        .or_else(|| channel_of_medium(&source, &medium))
        .or_else(|| organic_channel(kind, &medium))
        .unwrap_or(UNASSIGNED)
}

/// Returns the channel of a medium that somebody paid for.
fn paid_channel(kind: Option<SiteKind>, medium: &str) -> Option<&'static str> {
    let paid = medium.contains("cp") || medium.starts_with("paid") || matches!(medium, "ppc" | "retargeting");
    let display = DISPLAY_MEDIA.contains(&medium);
    match kind {
        Some(Search) if paid && !display => Some(PAID_SEARCH),
        Some(Social) if paid => Some(PAID_SOCIAL),
        Some(Video) if paid => Some(PAID_VIDEO),
        Some(Shopping) if paid => Some(PAID_SHOPPING),
        _ if display => Some(DISPLAY),
        _ if paid => Some(PAID_OTHER),
        _ => None,
    }
}

fn channel_of_medium(source: &str, medium: &str) -> Option<&'static str> {
    if let Some((_, channel)) = MEDIA.iter().find(|(name, _)| *name == medium) {
        return Some(channel);
    }
    if source == "sms" {
        return Some(SMS);
    }
    let push = medium.ends_with("push") || medium.contains("mobile") || medium.contains("notification");
    (push || source == "firebase").then_some(PUSH)
}

fn organic_channel(kind: Option<SiteKind>, medium: &str) -> Option<&'static str> {
    match kind {
        Some(Search) => Some(ORGANIC_SEARCH),
        Some(Social) => Some(ORGANIC_SOCIAL),
        Some(Video) => Some(ORGANIC_VIDEO),
        Some(Shopping) => Some(ORGANIC_SHOPPING),
        Some(Email) => Some(EMAIL),
        Some(Assistant) => Some(AI_ASSISTANT),
        None if medium.contains("video") => Some(ORGANIC_VIDEO),
        None if medium == "organic" => Some(ORGANIC_SEARCH),
        None if LINK_MEDIA.contains(&medium) => Some(REFERRAL),
        None => None,
    }
}

/// Finds a site by its host, or by its name or short name as campaign tags give it; in lower case.
pub(crate) fn find_site(source: &str) -> Option<&'static Site> {
    SITES
        .iter()
        .find(|site| site.name == source || matches_pattern(site.pattern, source))
}

fn matches_pattern(pattern: &str, host: &str) -> bool {
    match pattern.strip_suffix(".*") {
        None => belongs_to(host, pattern),
        Some(name) => {
            let host = host.strip_prefix("www.").unwrap_or(host);
            host.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(is_country_ending)
        }
    }
}

/// Whether a text can end a site's name: `com`, `de`, `co.uk`; but not `example.com`.
fn is_country_ending(ending: &str) -> bool {
    ending.split('.').count() <= 2 && ending.split('.').all(|label| (2..=3).contains(&label.len()))
}

/// Whether a host is the domain or one of its subdomains. `www.` before the domain means nothing.
pub(crate) fn belongs_to(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix("www.").unwrap_or(domain);
    match host.len().checked_sub(domain.len()) {
        None => false,
        Some(0) => host.eq_ignore_ascii_case(domain),
        Some(start) => {
            let (host, domain) = (host.as_bytes(), domain.as_bytes());
            host[start - 1] == b'.' && host[start..].eq_ignore_ascii_case(domain)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_land_in_the_channel_analysts_expect() {
        let cases: &[(&str, Option<&str>, Option<&str>, &str)] = &[
            ("(direct)", None, None, DIRECT),
            ("(direct)", Some("(none)"), None, DIRECT),
            ("google", Some("organic"), None, ORGANIC_SEARCH),
            ("Google", Some("CPC"), None, PAID_SEARCH),
            ("google", Some("cpc"), Some("Cross-Network 1"), CROSS_NETWORK),
            ("google", Some("display"), None, DISPLAY),
            ("google", Some("cpm"), None, DISPLAY),
            ("bing", Some("ppc"), None, PAID_SEARCH),
            ("facebook", Some("paid_social"), None, PAID_SOCIAL),
            ("fb", Some("cpc"), None, PAID_SOCIAL),
            ("facebook", Some("cpm"), None, PAID_SOCIAL),
            ("facebook", None, None, ORGANIC_SOCIAL),
            ("m.facebook.com", Some("referral"), None, ORGANIC_SOCIAL),
            ("somewhere", Some("social"), None, ORGANIC_SOCIAL),
            ("youtube", Some("cpv"), None, PAID_VIDEO),
            ("youtube.com", Some("referral"), None, ORGANIC_VIDEO),
            ("somewhere", Some("video"), None, ORGANIC_VIDEO),
            ("amazon.de", Some("cpc"), None, PAID_SHOPPING),
            ("amazon.de", Some("referral"), None, ORGANIC_SHOPPING),
            ("chatgpt.com", None, None, AI_ASSISTANT),
            ("perplexity", Some("referral"), None, AI_ASSISTANT),
            ("newsletter", None, None, EMAIL),
            ("facebook", Some("email"), None, EMAIL),
            ("partner", Some("affiliate"), None, AFFILIATES),
            ("partner", Some("podcast"), None, AUDIO),
            ("sms", None, None, SMS),
            ("partner", Some("sms"), None, SMS),
            ("partner", Some("web_push"), None, PUSH),
            ("firebase", None, None, PUSH),
            ("partner", Some("cpc"), None, PAID_OTHER),
            ("partner", Some("retargeting"), None, PAID_OTHER),
            ("partner", Some("banner"), None, DISPLAY),
            ("partner.example", Some("referral"), None, REFERRAL),
            ("partner", Some("leaflet"), None, UNASSIGNED),
            ("partner", None, None, UNASSIGNED),
            ("(direct)", Some("email"), None, EMAIL),
        ];
        for (source, medium, campaign, channel) in cases {
            assert_eq!(
                channel_of(source, *medium, *campaign),
                *channel,
                "{source} {medium:?}"
            );
            assert!(CHANNELS.contains(channel));
        }
        for channel in CHANNELS {
            assert!(
                cases.iter().any(|case| case.3 == channel),
                "{channel} has no case"
            );
        }
    }

    #[test]
    fn every_site_is_found_by_its_host_and_its_name() {
        for site in SITES {
            let host = site.pattern.replace(".*", ".com");
            assert_eq!(
                find_site(&host).map(|found| (found.name, found.kind)),
                Some((site.name, site.kind))
            );
            assert_eq!(find_site(site.name).map(|found| found.kind), Some(site.kind));
        }
    }

    #[test]
    fn a_name_under_any_country_is_the_site_and_a_lookalike_is_not() {
        for host in ["google.com", "google.de", "www.google.co.uk", "google.com.au"] {
            assert_eq!(find_site(host).map(|site| site.name), Some("google"), "{host}");
        }
        for host in [
            "docs.google.com",
            "google.example.com",
            "notgoogle.com",
            "google.",
            "mygoogle.de",
        ] {
            assert_eq!(find_site(host), None, "{host}");
        }
        assert_eq!(find_site("notfacebook.com"), None);
        assert_eq!(
            find_site("l.facebook.com").map(|site| site.name),
            Some("facebook")
        );
    }

    #[test]
    fn a_host_belongs_to_its_domain_whatever_the_case() {
        assert!(belongs_to("shop.example.com", "Example.com"));
        assert!(belongs_to("example.com", "www.example.com"));
        assert!(!belongs_to("example.com", "shop.example.com"));
        assert!(!belongs_to("badexample.com", "example.com"));
        assert!(!belongs_to("ü.com", "xü.com"));
    }
}
