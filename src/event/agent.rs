//! User agents: the device, browser and system a visitor uses, and whether it is a visitor at all.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use woothee::parser::{Parser, WootheeResult};

/// Longest part of a user agent that is looked at, in bytes. Real ones stay below 400.
const AGENT_BYTES_MAX: usize = 1024;
/// Agents remembered, at most about 2.5 MB. A shop sees a few hundred in a day.
const CACHE_MAX: usize = 2048;

/// Parts of the names of crawlers, previews, monitors and driven browsers that do not call themselves a bot.
///
/// HTTP libraries (curl, python-requests, …) are not among them: that is how a shop's own server reports
/// purchases.
const BOT_PARTS: [&str; 38] = [
    "adsbot",
    "archive.org",
    "apis-google",
    "bingpreview",
    "chatgpt-user",
    "chrome-lighthouse",
    "claude-user",
    "crawler",
    "cypress/",
    "dareboost",
    "electron-prerender",
    "facebookexternalhit",
    "google-extended",
    "google-inspectiontool",
    "google-read-aloud",
    "google page speed",
    "googleother",
    "gtmetrix",
    "headlesschrome",
    "heritrix",
    "httrack",
    "ia_archiver",
    "mediapartners-google",
    "meta-externalagent",
    "meta-externalfetcher",
    "perplexity-user",
    "phantomjs",
    "pingdom",
    "playwright",
    "prerender",
    "ptst/",
    "puppeteer",
    "scrapy",
    "selenium",
    "site24x7",
    "slurp",
    "spider",
    "statuscake",
];

/// What a user agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// `desktop`, `mobile`, `tablet` or `unknown`.
    pub device_type: &'static str,
    pub browser: Option<Box<str>>,
    pub os: Option<Box<str>>,
    pub bot: bool,
}

/// Returns what this user agent says, from memory when it was seen lately.
pub(crate) fn describe(user_agent: &str) -> Arc<Agent> {
    static CACHE: LazyLock<RwLock<HashMap<Box<str>, Arc<Agent>>>> = LazyLock::new(Default::default);
    let user_agent = shorten(user_agent);
    let cache = CACHE.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(agent) = cache.get(user_agent) {
        return Arc::clone(agent);
    }
    drop(cache);
    let agent = Arc::new(parse(user_agent));
    let mut cache = CACHE.write().unwrap_or_else(PoisonError::into_inner);
    // Forgetting all at once is rare and cheap: the common agents are back within a second.
    if cache.len() >= CACHE_MAX {
        cache.clear();
    }
    cache.insert(user_agent.into(), Arc::clone(&agent));
    agent
}

fn shorten(user_agent: &str) -> &str {
    &user_agent[..user_agent.floor_char_boundary(AGENT_BYTES_MAX)]
}

fn parse(user_agent: &str) -> Agent {
    let result = Parser::new().parse(user_agent).unwrap_or_default();
    Agent {
        device_type: device_type(user_agent, &result),
        browser: browser(&result),
        os: os(result.os),
        bot: result.category == "crawler" || is_bot(user_agent),
    }
}

fn device_type(user_agent: &str, result: &WootheeResult) -> &'static str {
    let is_tablet = match result.os {
        "iPad" => true,
        // Google asks makers of tablets to leave out the word.
        "Android" => !user_agent.contains("Mobile") || user_agent.contains("Tablet"),
        _ => user_agent.contains("Tablet;"),
    };
    match result.category {
        "smartphone" if is_tablet => "tablet",
        "smartphone" | "mobilephone" => "mobile",
        "pc" => "desktop",
        _ => "unknown",
    }
}

fn browser(result: &WootheeResult) -> Option<Box<str>> {
    match result.name {
        "UNKNOWN" | "" | "HTTP Library" => None,
        "SamsungBrowser" => Some("Samsung Internet".into()),
        name => Some(name.into()),
    }
}

/// Names the family of a system: versions would split every report.
fn os(name: &str) -> Option<Box<str>> {
    let family = match name {
        "UNKNOWN" | "" => return None,
        "Mac OSX" | "Mac OS Classic" => "macOS",
        "iPhone" | "iPad" | "iPod" | "iOS" => "iOS",
        "Windows Phone OS" | "Windows CE" => "Windows Phone",
        name if name.starts_with("Windows") => "Windows",
        name => name,
    };
    Some(family.into())
}

fn is_bot(user_agent: &str) -> bool {
    let user_agent = user_agent.to_ascii_lowercase();
    names_a_bot(&user_agent) || BOT_PARTS.iter().any(|part| user_agent.contains(part))
}

/// Finds a word that ends in `bot` (`GPTBot/1.0`), except the phones of the maker Cubot.
fn names_a_bot(user_agent: &str) -> bool {
    user_agent.match_indices("bot").any(|(start, _)| {
        let (before, after) = (&user_agent[..start], &user_agent[start + 3..]);
        !after.starts_with(|char: char| char.is_ascii_alphabetic()) && !before.ends_with("cu")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

    #[test]
    fn browsers_are_described() {
        for (user_agent, device, browser, os) in [
            (CHROME, "desktop", "Chrome", "Windows"),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
                "desktop",
                "Safari",
                "macOS",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "desktop",
                "Firefox",
                "Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "mobile",
                "Safari",
                "iOS",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
                "tablet",
                "Safari",
                "iOS",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                "mobile",
                "Chrome",
                "Android",
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; SM-X900) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Safari/537.36",
                "tablet",
                "Samsung Internet",
                "Android",
            ),
            (
                "Mozilla/5.0 (Linux; Android 9; CUBOT) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                "mobile",
                "Chrome",
                "Android",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
                "desktop",
                "Edge",
                "Windows",
            ),
        ] {
            let agent = describe(user_agent);
            assert_eq!(agent.device_type, device, "{user_agent}");
            assert_eq!(agent.browser.as_deref(), Some(browser), "{user_agent}");
            assert_eq!(agent.os.as_deref(), Some(os), "{user_agent}");
            assert!(!agent.bot, "{user_agent}");
        }
    }

    #[test]
    fn bots_are_told_from_servers() {
        for user_agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.0; +https://openai.com/gptbot)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
            "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Mozilla/5.0 (compatible; Bytespider; spider-feedback@bytedance.com)",
            "my-bot",
        ] {
            assert!(describe(user_agent).bot, "{user_agent}");
        }
        for user_agent in [
            "",
            "-",
            "curl/8.5.0",
            "python-requests/2.31.0",
            "axios/1.7.2",
            "Go-http-client/2.0",
            "bottle/0.12",
        ] {
            let agent = describe(user_agent);
            assert_eq!((agent.device_type, agent.bot), ("unknown", false), "{user_agent}");
            assert_eq!(agent.browser, None, "{user_agent}");
        }
    }

    #[test]
    fn a_long_agent_is_shortened_at_a_character() {
        assert_eq!(shorten(&"é".repeat(600)).len(), 1024);
        assert_eq!(shorten(&format!("x{}", "é".repeat(600))).len(), 1023);
        assert_eq!(*describe(&format!("{CHROME}{}", "é".repeat(2000))), parse(CHROME));
    }

    proptest! {
        #[test]
        fn any_text_is_described(
            start in "(Mozilla/5.0 \\()?(Windows |iPhone|Android |PSP|DoCoMo/|KDDI-|Nintendo |BlackBerry)?",
            rest in ".{0,60}",
        ) {
            let agent = parse(&format!("{start}{rest}"));
            prop_assert!(["desktop", "mobile", "tablet", "unknown"].contains(&agent.device_type));
        }

        #[test]
        fn the_cache_answers_like_the_parser(user_agent in "[a-zA-Z/0-9. ]{0,20}") {
            prop_assert_eq!(&*describe(&user_agent), &parse(&user_agent));
            prop_assert_eq!(&*describe(&user_agent), &parse(&user_agent));
        }
    }
}
