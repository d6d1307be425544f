//! Which time, people and sessions a question is about.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dimension::Dimension;
use crate::index::{Micros, Names, Person, Session};

/// A set of people by their numbers in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeopleSet {
    words: Vec<u64>,
}

impl PeopleSet {
    pub fn insert(&mut self, person: u32) {
        let word = person as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (person % 64);
    }

    pub fn contains(&self, person: u32) -> bool {
        let word = self.words.get(person as usize / 64);
        word.is_some_and(|word| word >> (person % 64) & 1 == 1)
    }

    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Returns the numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = self.words.iter().enumerate();
        words.flat_map(|(word, bits)| {
            (0..u64::BITS)
                .filter(move |bit| bits >> bit & 1 == 1)
                .map(move |bit| word as u32 * u64::BITS + bit)
        })
    }

    /// Adds everybody of another set.
    pub fn merge(&mut self, other: &Self) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }
}

impl FromIterator<u32> for PeopleSet {
    fn from_iter<People: IntoIterator<Item = u32>>(people: People) -> Self {
        let mut set = Self::default();
        people.into_iter().for_each(|person| set.insert(person));
        set
    }
}

/// One condition on a session: its value is among these.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionCondition {
    pub dimension: Dimension,
    /// Any of these; `null` stands for sessions without a value. In texts `*` stands for any text.
    #[serde(rename = "in")]
    #[schema(example = json!(["mobile", "tablet"]))]
    pub values: Vec<Option<String>>,
    /// The condition holds where the value is none of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// Whom and what a question is about.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Inclusive.
    pub from: Micros,
    /// Exclusive.
    pub to: Micros,
    /// Everybody when absent.
    pub people: Option<Arc<PeopleSet>>,
    /// All must hold.
    pub sessions: Vec<SessionCondition>,
}

impl Scope {
    /// Everything everybody did from `from` to before `to`.
    pub fn of_time(from: Micros, to: Micros) -> Self {
        Self {
            from,
            to,
            people: None,
            sessions: Vec::new(),
        }
    }

    pub fn contains(&self, time: Micros) -> bool {
        (self.from..self.to).contains(&time)
    }

    pub fn admits_person(&self, person: Person<'_>) -> bool {
        self.people
            .as_ref()
            .is_none_or(|people| people.contains(person.number()))
    }

    /// Prepares the conditions on sessions for many questions.
    pub fn session_filter(&self, names: &Names) -> SessionFilter {
        let conditions = self
            .sessions
            .iter()
            .map(|condition| Compiled::new(condition, names));
        SessionFilter {
            conditions: conditions.collect(),
        }
    }
}

/// Conditions on sessions as tables to look up in. Belongs to the names it was made with: a session that came later
/// may have values that it does not know, and is not admitted by them.
#[derive(Clone, Debug)]
pub struct SessionFilter {
    conditions: Vec<Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    dimension: Dimension,
    /// By key: whether the value is among the wanted ones.
    is_wanted: Vec<bool>,
    not: bool,
}

impl Compiled {
    fn new(condition: &SessionCondition, names: &Names) -> Self {
        let dimension = condition.dimension;
        let keys = match dimension {
            _ if dimension.flag().is_some() => 2,
            Dimension::LandingPage => names.pages.len(),
            _ => names.labels.len(),
        };
        let is_wanted = (0..keys as u32).map(|key| {
            let text = dimension.text(names, key);
            let matches = |wanted: &Option<String>| match (wanted, text) {
                (Some(glob), Some(text)) => matches_glob(glob, text),
                (None, None) => true,
                _ => false,
            };
            condition.values.iter().any(matches)
        });
        Self {
            dimension,
            is_wanted: is_wanted.collect(),
            not: condition.not,
        }
    }
}

impl SessionFilter {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether a session meets every condition.
    pub fn admits(&self, names: &Names, session: Session<'_>) -> bool {
        self.conditions.iter().all(|condition| {
            let key = condition.dimension.key(names, session) as usize;
            condition.is_wanted.get(key).copied().unwrap_or(false) != condition.not
        })
    }
}

/// Whether `text` matches `glob`, in which `*` stands for any text, also none. Everything else stands for itself.
pub fn matches_glob(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // Each part as early as possible leaves the most text for the later ones.
    for part in parts {
        match rest.find(part) {
            Some(found) => rest = &rest[found + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::index::testing::{Story, Visit};

    #[test]
    fn an_asterisk_stands_for_any_text() {
        for (glob, text, expected) in [
            ("/cart", "/cart", true),
            ("/cart", "/cart/", false),
            ("/cart*", "/cart/pay", true),
            ("*/pay", "/cart/pay", true),
            ("/a*b*c", "/a-b-b-c", true),
            ("/a*b*c", "/a-c", false),
            ("/a*a", "/a", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches_glob(glob, text), expected, "{glob} {text}");
        }
    }

    /// What a glob means, one character after the other.
    fn matches_slowly(glob: &[char], text: &[char]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| matches_slowly(rest, &text[skip..])),
            Some((first, rest)) => text.first() == Some(first) && matches_slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_glob_means_what_it_means_character_by_character(glob in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let slowly = matches_slowly(
                &glob.chars().collect::<Vec<_>>(),
                &text.chars().collect::<Vec<_>>(),
            );
            prop_assert_eq!(matches_glob(&glob, &text), slowly);
        }
    }

    #[test]
    fn a_session_must_meet_every_condition() {
        let mut story = Story::default();
        let phone = Visit {
            device_type: "mobile",
            campaign: Some("spring-deal"),
            ..Visit::default()
        };
        story.visit_as(1, phone, &[(0, "page_view", "/")]);
        story.visit(1, &[(9, "page_view", "/")]);
        let view = story.view();
        let names = view.names();
        let admitted = |conditions: Vec<SessionCondition>| -> Vec<bool> {
            let scope = Scope {
                sessions: conditions,
                ..Scope::of_time(0, 10)
            };
            let filter = scope.session_filter(&names);
            let person = view.find(names.people.find(Uuid::from_u128(1)).unwrap()).unwrap();
            person
                .sessions()
                .map(|session| filter.admits(&names, session))
                .collect()
        };
        let is = |dimension, value: Option<&str>, not| SessionCondition {
            dimension,
            values: vec![value.map(str::to_owned)],
            not,
        };
        let mobile = is(Dimension::DeviceType, Some("mobile"), false);
        assert_eq!(admitted(vec![mobile.clone()]), [true, false]);
        assert_eq!(
            admitted(vec![is(Dimension::Campaign, Some("spring*"), true)]),
            [false, true]
        );
        assert_eq!(
            admitted(vec![is(Dimension::Campaign, None, false)]),
            [false, true]
        );
        assert_eq!(
            admitted(vec![mobile, is(Dimension::Campaign, None, false)]),
            [false, false]
        );
        assert_eq!(admitted(vec![]), [true, true]);
    }

    #[test]
    fn a_set_knows_whom_it_holds() {
        let mut set: PeopleSet = [1, 64, 200].into_iter().collect();
        assert!(set.contains(64) && !set.contains(63) && !set.contains(9999));
        set.merge(&[2, 1000].into_iter().collect());
        assert_eq!(set.len(), 5);
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 2, 64, 200, 1000]);
    }
}
