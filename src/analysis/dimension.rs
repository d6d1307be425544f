//! What sessions can be told apart by.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::index::{NONE, Names, Session, names::path_of, rows::flag};

/// A property of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    DeviceType,
    Browser,
    Os,
    /// ISO 3166-1 alpha-2.
    Country,
    Channel,
    Source,
    Medium,
    Campaign,
    ReferrerHost,
    /// Path of the first page.
    LandingPage,
    Converted,
    Abandoned,
    Engaged,
    /// Whether there were rage clicks.
    RageClicks,
    /// Whether there were dead clicks.
    DeadClicks,
    /// Whether there were form errors.
    FormErrors,
    /// Whether there were JavaScript errors.
    ScriptErrors,
    /// Whether a page took longer than 4 seconds.
    SlowPage,
    Searched,
    /// Whether a search found nothing.
    EmptySearch,
}

/// Every dimension.
pub const DIMENSIONS: [Dimension; 20] = [
    Dimension::DeviceType,
    Dimension::Browser,
    Dimension::Os,
    Dimension::Country,
    Dimension::Channel,
    Dimension::Source,
    Dimension::Medium,
    Dimension::Campaign,
    Dimension::ReferrerHost,
    Dimension::LandingPage,
    Dimension::Converted,
    Dimension::Abandoned,
    Dimension::Engaged,
    Dimension::RageClicks,
    Dimension::DeadClicks,
    Dimension::FormErrors,
    Dimension::ScriptErrors,
    Dimension::SlowPage,
    Dimension::Searched,
    Dimension::EmptySearch,
];

impl Dimension {
    /// Returns the name it has on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceType => "device_type",
            Self::Browser => "browser",
            Self::Os => "os",
            Self::Country => "country",
            Self::Channel => "channel",
            Self::Source => "source",
            Self::Medium => "medium",
            Self::Campaign => "campaign",
            Self::ReferrerHost => "referrer_host",
            Self::LandingPage => "landing_page",
            Self::Converted => "converted",
            Self::Abandoned => "abandoned",
            Self::Engaged => "engaged",
            Self::RageClicks => "rage_clicks",
            Self::DeadClicks => "dead_clicks",
            Self::FormErrors => "form_errors",
            Self::ScriptErrors => "script_errors",
            Self::SlowPage => "slow_page",
            Self::Searched => "searched",
            Self::EmptySearch => "empty_search",
        }
    }

    /// Returns the flag behind a dimension that is true or false.
    pub fn flag(self) -> Option<u16> {
        Some(match self {
            Self::Converted => flag::CONVERTED,
            Self::Abandoned => flag::ABANDONED,
            Self::Engaged => flag::ENGAGED,
            Self::RageClicks => flag::RAGE_CLICKS,
            Self::DeadClicks => flag::DEAD_CLICKS,
            Self::FormErrors => flag::FORM_ERRORS,
            Self::ScriptErrors => flag::SCRIPT_ERRORS,
            Self::SlowPage => flag::SLOW_PAGE,
            Self::Searched => flag::SEARCHED,
            Self::EmptySearch => flag::EMPTY_SEARCH,
            _ => return None,
        })
    }

    /// Returns a session's value as a number that is equal for equal values: a quick key to count by.
    ///
    /// What it means says [`Dimension::text`].
    pub fn key(self, names: &Names, session: Session<'_>) -> u32 {
        if let Some(flag) = self.flag() {
            return u32::from(session.has(flag));
        }
        let client = || names.clients.get(session.client());
        let source = || names.sources.get(session.source());
        match self {
            Self::DeviceType => client().device_type,
            Self::Browser => client().browser,
            Self::Os => client().os,
            Self::Country => client().country,
            Self::Channel => source().channel,
            Self::Source => source().source,
            Self::Medium => source().medium,
            Self::Campaign => source().campaign,
            Self::ReferrerHost => source().referrer_host,
            _ => session.landing_page(),
        }
    }

    /// Returns the value of a key; `None` where the session has none.
    pub fn text(self, names: &Names, key: u32) -> Option<&str> {
        if self.flag().is_some() {
            return Some(if key == 0 { "false" } else { "true" });
        }
        match self {
            Self::LandingPage => (key != NONE).then(|| path_of(names.pages.get(key))),
            _ => names.label(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::index::testing::{Story, Visit};

    #[test]
    fn names_on_the_wire_are_those_of_serde() {
        for dimension in DIMENSIONS {
            let written = serde_json::to_value(dimension).unwrap();
            assert_eq!(written, dimension.as_str());
        }
    }

    #[test]
    fn a_session_has_a_text_for_each_dimension() {
        let mut story = Story::default();
        let visit = Visit {
            campaign: Some("spring"),
            flags: flag::RAGE_CLICKS,
            ..Visit::default()
        };
        story.visit_as(1, visit, &[(0, "click", ""), (5, "page_view", "/cart")]);
        let view = story.view();
        let names = view.names();
        let person = view.find(names.people.find(Uuid::from_u128(1)).unwrap()).unwrap();
        let session = person.sessions().next().unwrap();
        let text = |dimension: Dimension| dimension.text(&names, dimension.key(&names, session));
        assert_eq!(text(Dimension::LandingPage), Some("/cart"));
        assert_eq!(text(Dimension::Campaign), Some("spring"));
        assert_eq!(text(Dimension::Medium), None);
        assert_eq!(text(Dimension::RageClicks), Some("true"));
        assert_eq!(text(Dimension::Converted), Some("false"));
    }
}
