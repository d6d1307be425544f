//! Addresses: what of a URL is kept, and what its query says about the campaign.

use url::{Url, form_urlencoded};

use super::privacy::{Cleaner, without_nul};

/// Parameters that advertisers add to recognise one click. Lower case, in order.
const CLICK_IDS: [&str; 18] = [
    "dclid",
    "dicbo",
    "epik",
    "fbclid",
    "gbraid",
    "gclid",
    "gclsrc",
    "igshid",
    "irclickid",
    "li_fat_id",
    "msclkid",
    "rdt_cid",
    "sccid",
    "srsltid",
    "ttclid",
    "twclid",
    "wbraid",
    "yclid",
];

/// Length of the longest of them, in bytes.
const CLICK_ID_LENGTH_MAX: usize = 9;

/// Longest host name there can be, in bytes (RFC 1035, section 3.1: 255 with the length bytes of both ends).
const HOST_BYTES_MAX: usize = 253;

/// Returns the known name of a click id parameter, whatever its case.
pub(crate) fn click_id(name: &str) -> Option<&'static str> {
    // Spares nearly all names the copy.
    if name.len() > CLICK_ID_LENGTH_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase();
    CLICK_IDS
        .binary_search(&name.as_str())
        .ok()
        .map(|index| CLICK_IDS[index])
}

/// What the query of an address says about where the visit came from. The first of each name counts.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Campaign {
    pub source: Option<String>,
    pub medium: Option<String>,
    pub campaign: Option<String>,
    pub term: Option<String>,
    pub content: Option<String>,
    pub click_id: Option<&'static str>,
}

/// An address as it is kept.
#[derive(Debug, PartialEq)]
pub(crate) struct Address {
    /// Without credentials, with a reduced query, with a fragment only where that is a route.
    pub url: String,
    /// Lower case, without port.
    pub host: String,
    pub path: String,
    pub campaign: Campaign,
}

/// Reduces addresses to what privacy allows.
pub(crate) struct Reducer<'a> {
    /// Parameters kept besides the campaign's.
    pub allowed: &'a [String],
    pub cleaner: Cleaner<'a>,
}

impl Reducer<'_> {
    /// Reads the address of a page; `None` when it is not an http or https address.
    pub fn read_page(&self, text: &str) -> Option<Address> {
        let url = Url::parse(&without_nul(text)).ok()?;
        matches!(url.scheme(), "http" | "https").then(|| self.reduce(url))?
    }

    /// Reads a referrer, which may also be an Android app; its host comes without `www.`.
    pub fn read_referrer(&self, text: &str) -> Option<Address> {
        let url = Url::parse(&without_nul(text)).ok()?;
        if !matches!(url.scheme(), "http" | "https" | "android-app") {
            return None;
        }
        let mut address = self.reduce(url)?;
        if let Some(host) = address
            .host
            .strip_prefix("www.")
            .filter(|host| host.contains('.'))
        {
            address.host = host.to_owned();
        }
        Some(address)
    }

    fn reduce(&self, mut url: Url) -> Option<Address> {
        let host = url.host_str()?.to_ascii_lowercase();
        if host.len() > HOST_BYTES_MAX {
            return None;
        }
        let mut campaign = Campaign::default();
        if !url.username().is_empty() || url.password().is_some() {
            url.set_username("").ok()?;
            url.set_password(None).ok()?;
        }
        if let Some(path) = self.hide_emails(url.path()) {
            url.set_path(&path);
        }
        if let Some(query) = url.query() {
            let query = self.reduce_query(query, &mut campaign);
            url.set_query(query.as_deref());
        }
        if let Some(fragment) = url.fragment() {
            let route = self.reduce_fragment(fragment, &mut campaign);
            url.set_fragment(route.as_deref());
        }
        Some(Address {
            host,
            path: url.path().to_owned(),
            campaign,
            url: url.into(),
        })
    }

    /// Keeps the fragment of applications that route by it (`#/…`, `#!/…`), its query reduced like any other.
    fn reduce_fragment(&self, fragment: &str, campaign: &mut Campaign) -> Option<String> {
        if !fragment.starts_with('/') && !fragment.starts_with("!/") {
            return None;
        }
        let (path, query) = fragment.split_once('?').unwrap_or((fragment, ""));
        let mut route = self.hide_emails(path).unwrap_or_else(|| path.to_owned());
        if let Some(query) = self.reduce_query(query, campaign) {
            route.push('?');
            route.push_str(&query);
        }
        Some(route)
    }

    /// Notes the campaign and returns the parameters that are kept, or `None` when none is.
    fn reduce_query(&self, query: &str, campaign: &mut Campaign) -> Option<String> {
        let mut kept = form_urlencoded::Serializer::new(String::new());
        let mut any = false;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            if let Some(known) = click_id(&name) {
                campaign.click_id.get_or_insert(known);
                continue;
            }
            let is_campaign = name
                .get(..4)
                .is_some_and(|start| start.eq_ignore_ascii_case("utm_"));
            if !is_campaign && !self.allowed.iter().any(|allowed| *allowed == name) {
                continue;
            }
            let value = self.cleaner.clean(&value);
            kept.append_pair(&name, &value);
            any = true;
            note(campaign, &name, value);
        }
        any.then(|| kept.finish())
    }

    /// Replaces segments that are e-mail addresses; `None` when there are none.
    fn hide_emails(&self, path: &str) -> Option<String> {
        if !path.contains('@') && !path.contains("%40") {
            return None;
        }
        let segments: Vec<_> = path.split('/').map(|segment| self.hide_email(segment)).collect();
        Some(segments.join("/"))
    }

    fn hide_email(&self, segment: &str) -> String {
        // The decoder is made for queries; these characters mean something else there.
        let query = segment
            .replace('+', "%2B")
            .replace('&', "%26")
            .replace('=', "%3D");
        let decoded = form_urlencoded::parse(query.as_bytes()).next();
        decoded
            .and_then(|(text, _)| self.cleaner.token(&text))
            .unwrap_or_else(|| segment.to_owned())
    }
}

fn note(campaign: &mut Campaign, name: &str, value: String) {
    let slot = match name.to_ascii_lowercase().as_str() {
        "utm_source" => &mut campaign.source,
        "utm_medium" => &mut campaign.medium,
        "utm_campaign" => &mut campaign.campaign,
        "utm_term" => &mut campaign.term,
        "utm_content" => &mut campaign.content,
        _ => return,
    };
    slot.get_or_insert(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Hasher, email_token};

    fn with_reducer<T>(check: impl FnOnce(&Reducer) -> T) -> T {
        let hasher = Hasher::new("a salt of sixteen");
        let allowed = ["page".to_owned(), "mail".to_owned()];
        check(&Reducer {
            allowed: &allowed,
            cleaner: Cleaner::new(Some(&hasher)),
        })
    }

    fn page(text: &str) -> Option<Address> {
        with_reducer(|reducer| reducer.read_page(text))
    }

    #[test]
    fn a_page_address_is_reduced() {
        for (text, expected) in [
            (
                "https://Shop.Example/a?token=s&page=2#top",
                "https://shop.example/a?page=2",
            ),
            ("https://shop.example?x=1", "https://shop.example/"),
            (
                "http://user:secret@shop.example:8080/",
                "http://shop.example:8080/",
            ),
            ("https://shop.example/#/cart", "https://shop.example/#/cart"),
            (
                "https://shop.example/#!/cart?token=s&page=3",
                "https://shop.example/#!/cart?page=3",
            ),
            ("https://shop.example/a?gclid=abc", "https://shop.example/a"),
            (
                "https://shop.example/a?utm_id=7&UTM_Source=x",
                "https://shop.example/a?utm_id=7&UTM_Source=x",
            ),
            ("https://shop.example/a%00b\0", "https://shop.example/a%00b"),
        ] {
            assert_eq!(page(text).unwrap().url, expected, "{text}");
        }
        let address = page("https://WWW.Shop.Example:8443/Größe/?a=1#x").unwrap();
        assert_eq!(address.host, "www.shop.example");
        assert_eq!(address.path, "/Gr%C3%B6%C3%9Fe/");
    }

    #[test]
    fn other_schemes_are_no_pages() {
        for text in [
            "",
            "/a",
            "shop.example",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "ftp://a/b",
            "data:,x",
            "https://",
        ] {
            assert_eq!(page(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_longer_than_any_real_one_is_no_address() {
        let longest = format!("{}.example", "a.".repeat(122) + "b");
        assert_eq!(longest.len(), HOST_BYTES_MAX);
        assert_eq!(page(&format!("https://{longest}/")).unwrap().host, longest);
        assert_eq!(page(&format!("https://a{longest}/")), None);
        let referrer = format!("https://a{longest}/");
        assert_eq!(with_reducer(|reducer| reducer.read_referrer(&referrer)), None);
    }

    #[test]
    fn the_campaign_is_read_and_click_ids_are_only_named() {
        let text = "https://a.example/?utm_source=news&utm_source=other&utm_medium=e%20mail&utm_campaign=x\
                    &utm_term=t&utm_content=%00c&GCLID=secret&fbclid=y#/?utm_term=late";
        let address = page(text).unwrap();
        let some = |text: &str| Some(text.to_owned());
        let expected = Campaign {
            source: some("news"),
            medium: some("e mail"),
            campaign: some("x"),
            term: some("t"),
            content: some("c"),
            click_id: Some("gclid"),
        };
        assert_eq!(address.campaign, expected);
        assert!(!address.url.contains("secret"));
        assert!(CLICK_IDS.is_sorted());
        assert!(CLICK_IDS.iter().all(|name| click_id(name) == Some(name)));
    }

    #[test]
    fn e_mail_addresses_in_addresses_are_hashed() {
        let token = email_token(&Hasher::new("a salt of sixteen"), "a+b@c.de").unwrap();
        for text in [
            "https://a.example/u/a+b@c.de/edit?mail=a%2Bb@c.de#/x/a%2bb%40c.de",
            "https://a.example/u/A%2Bb%40C.de/edit?mail=a%2Bb%40c.de#/x/a+b@c.de",
        ] {
            let expected = format!("https://a.example/u/{token}/edit?mail={token}#/x/{token}");
            assert_eq!(page(text).unwrap().url, expected, "{text}");
        }
        assert_eq!(page("https://a.example/@ann/x@y").unwrap().path, "/@ann/x@y");
    }

    #[test]
    fn referrers_lose_www_and_unreadable_ones_are_none() {
        let referrer = |text: &str| with_reducer(|reducer| reducer.read_referrer(text));
        let address = referrer("https://www.google.com/search?q=me").unwrap();
        assert_eq!(
            (address.host.as_str(), address.url.as_str()),
            ("google.com", "https://www.google.com/search")
        );
        assert_eq!(
            referrer("android-app://com.google.android.gm/").unwrap().host,
            "com.google.android.gm"
        );
        assert_eq!(referrer("https://www.de/").unwrap().host, "www.de");
        for text in ["", "null", "about:blank", "android-app:", "mailto:a@b.de"] {
            assert_eq!(referrer(text), None, "{text}");
        }
    }
}
