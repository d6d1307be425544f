//! How visitors come: channels with their referrers, campaign parameters and landing pages.

use chrono::{DateTime, Datelike, Utc};

use super::{
    catalogue::{CATEGORIES, PRODUCTS},
    dice::Dice,
    page::Page,
    people::Person,
    stories::{SPRING_DEAL, Stories},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Direct,
    OrganicSearch,
    PaidSearch,
    Social,
    PaidSocial,
    Newsletter,
    Affiliate,
    Referral,
    SpringDeal,
}

impl Channel {
    /// Returns how readily its visitors buy, where 1 is the mean.
    pub(super) fn appetite(self) -> f64 {
        match self {
            Self::Newsletter => 1.6,
            Self::Direct => 1.3,
            Self::PaidSearch => 1.2,
            Self::OrganicSearch => 1.0,
            Self::Affiliate | Self::Referral => 0.8,
            Self::Social => 0.5,
            Self::PaidSocial => 0.4,
            Self::SpringDeal => 0.0,
        }
    }
}

/// The first moment of a visit.
pub(super) struct Arrival {
    pub(super) channel: Channel,
    pub(super) page: Page,
    pub(super) referrer: Option<&'static str>,
    /// Campaign parameters and click id, without the leading `?` or `&`; empty when there are none.
    pub(super) parameters: String,
}

const FIRST_VISIT_CHANNELS: [(Channel, f64); 7] = [
    (Channel::Direct, 14.0),
    (Channel::OrganicSearch, 35.0),
    (Channel::PaidSearch, 16.0),
    (Channel::Social, 12.0),
    (Channel::PaidSocial, 10.0),
    (Channel::Affiliate, 8.0),
    (Channel::Referral, 5.0),
];
const RETURN_CHANNELS: [(Channel, f64); 5] = [
    (Channel::Direct, 52.0),
    (Channel::OrganicSearch, 27.0),
    (Channel::PaidSearch, 9.0),
    (Channel::Social, 8.0),
    (Channel::Affiliate, 4.0),
];
/// Share of return visits for which the newsletter is the reason, among those who get it.
const NEWSLETTER_SHARE: f64 = 0.45;

const SEARCH_ENGINES: [(&str, f64); 4] = [
    ("https://www.google.com/", 84.0),
    ("https://www.bing.com/", 8.0),
    ("https://duckduckgo.com/", 5.0),
    ("https://www.ecosia.org/", 3.0),
];
const SOCIAL_SITES: [(&str, f64); 5] = [
    ("https://l.instagram.com/", 42.0),
    ("https://l.facebook.com/", 22.0),
    ("https://www.youtube.com/", 16.0),
    ("https://www.pinterest.com/", 12.0),
    ("https://www.reddit.com/", 8.0),
];
const BLOGS: [&str; 3] = [
    "https://trailnotes.example/",
    "https://www.gear-weekly.example/",
    "https://hutnights.example/",
];
const SEARCH_TERMS: [&str; 5] = [
    "two+person+tent",
    "light+sleeping+bag",
    "trekking+pack",
    "camp+stove",
    "fern+and+fjord",
];
const CLICK_ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Arrival {
    /// Decides how this person comes this time.
    pub(super) fn new(dice: &mut Dice, person: &Person, is_first: bool, now: DateTime<Utc>) -> Self {
        let channel = if person.spring_deal && is_first {
            Channel::SpringDeal
        } else if is_first {
            dice.weighted(&FIRST_VISIT_CHANNELS)
        } else if person.newsletter && dice.chance(NEWSLETTER_SHARE) {
            Channel::Newsletter
        } else {
            dice.weighted(&RETURN_CHANNELS)
        };
        Self {
            channel,
            page: landing_page(dice, channel),
            referrer: referrer(dice, channel),
            parameters: parameters(dice, channel, now),
        }
    }
}

fn landing_page(dice: &mut Dice, channel: Channel) -> Page {
    if channel == Channel::SpringDeal {
        return Page::Product(Stories::spring_deal_product());
    }
    let [home, list] = match channel {
        Channel::Direct => [0.75, 0.10],
        Channel::Newsletter => [0.30, 0.35],
        Channel::PaidSearch | Channel::Affiliate | Channel::PaidSocial => [0.10, 0.30],
        _ => [0.30, 0.25],
    };
    match dice.weighted_position(&[home, list, 1.0 - home - list]) {
        0 => Page::Home,
        1 => Page::List(Some(dice.position(CATEGORIES.len()))),
        _ => Page::Product(popular_product(dice)),
    }
}

/// Returns a product, the popular ones more often.
pub(super) fn popular_product(dice: &mut Dice) -> usize {
    let weights: Vec<f64> = PRODUCTS.iter().map(|product| product.popularity).collect();
    dice.weighted_position(&weights)
}

fn referrer(dice: &mut Dice, channel: Channel) -> Option<&'static str> {
    match channel {
        Channel::Direct => None,
        // Most mail programs send no referrer; web mail does.
        Channel::Newsletter => dice.chance(0.3).then_some("https://mail.example/"),
        Channel::OrganicSearch => Some(dice.weighted(&SEARCH_ENGINES)),
        Channel::PaidSearch => Some("https://www.google.com/"),
        Channel::Social => Some(dice.weighted(&SOCIAL_SITES)),
        Channel::PaidSocial | Channel::SpringDeal => Some("https://l.instagram.com/"),
        Channel::Affiliate | Channel::Referral => Some(dice.pick(&BLOGS)),
    }
}

fn parameters(dice: &mut Dice, channel: Channel, now: DateTime<Utc>) -> String {
    match channel {
        Channel::PaidSearch => {
            let campaign = dice.weighted(&[
                ("brand-search", 35.0),
                ("generic-tents", 40.0),
                ("generic-sleep", 25.0),
            ]);
            let term = dice.pick(&SEARCH_TERMS);
            let click_id = dice.text(CLICK_ID_ALPHABET, 52);
            format!(
                "utm_source=google&utm_medium=cpc&utm_campaign={campaign}&utm_term={term}&gclid={click_id}"
            )
        }
        Channel::PaidSocial => {
            let content = dice.pick(&["reel-a", "reel-b", "carousel"]);
            paid_social(dice, "always-on-outdoor", content)
        }
        Channel::SpringDeal => {
            let content = dice.pick(&["tent-20-off", "countdown"]);
            paid_social(dice, SPRING_DEAL, content)
        }
        Channel::Social if dice.chance(0.3) => format!("fbclid={}", dice.text(CLICK_ID_ALPHABET, 61)),
        Channel::Newsletter => {
            let week = now.iso_week().week();
            format!("utm_source=newsletter&utm_medium=email&utm_campaign=weekly-{week:02}")
        }
        Channel::Affiliate => {
            let partner = dice.pick(&["trailnotes", "gear-weekly", "hutnights"]);
            format!("utm_source={partner}&utm_medium=affiliate&utm_campaign=partners")
        }
        Channel::Direct | Channel::OrganicSearch | Channel::Social | Channel::Referral => String::new(),
    }
}

fn paid_social(dice: &mut Dice, campaign: &str, content: &str) -> String {
    let click_id = dice.text(CLICK_ID_ALPHABET, 61);
    format!(
        "utm_source=instagram&utm_medium=paid_social&utm_campaign={campaign}&utm_content={content}&fbclid={click_id}"
    )
}
