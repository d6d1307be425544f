//! The values that credit goes to: channels, sources, media, campaigns.

use std::{cmp::Reverse, collections::HashMap};

use super::Question;
use crate::{
    analysis::{counted::Counted, dimension::Dimension},
    index::{NameId, Names, View, names::Source},
    session::channel::DIRECT,
};

type KeyMap<T> = HashMap<NameId, T, foldhash::fast::RandomState>;

/// The values of one dimension.
#[derive(Debug)]
pub(super) struct Values {
    /// By number of a source: its value, and whether it is direct.
    pub(super) of_source: Vec<(u16, bool)>,
    /// By value, in the order of the texts; `None` for sessions that have none.
    pub(super) texts: Vec<Option<String>>,
    /// Whether one more value stands for all the others.
    pub(super) has_other: bool,
}

/// A text and its number.
type Label = (Option<String>, NameId);

impl Values {
    /// Gives each source its value. Where there are more values than asked for, those with the most sessions have one
    /// of their own.
    pub(super) fn new(view: &View, counted: &Counted<'_>, question: &Question) -> Self {
        let (sources, mut labels) = read(&view.names(), question.dimension);
        let has_other = labels.len() > question.limit;
        if has_other {
            let sessions = count_sessions(view, counted, &sources);
            let count = |label: &Label| sessions.get(&label.1).copied().unwrap_or(0);
            // Stable, so texts decide between equals.
            labels.sort_by_key(|label| Reverse(count(label)));
            labels.truncate(question.limit);
            labels.sort();
        }
        let places = labels.iter().enumerate();
        let places: KeyMap<u16> = places.map(|(place, (_, key))| (*key, place as u16)).collect();
        let other = labels.len() as u16;
        let value =
            |(key, is_direct): &(NameId, bool)| (places.get(key).copied().unwrap_or(other), *is_direct);
        Self {
            of_source: sources.iter().map(value).collect(),
            texts: labels.into_iter().map(|(text, _)| text).collect(),
            has_other,
        }
    }

    /// Returns how many values there are, that of all others included.
    pub(super) fn len(&self) -> usize {
        self.texts.len() + usize::from(self.has_other)
    }

    /// Returns the text of a value, and whether it is that of all others.
    pub(super) fn text(&self, value: usize) -> (Option<String>, bool) {
        match self.texts.get(value) {
            Some(text) => (text.clone(), false),
            None => (None, true),
        }
    }
}

/// Returns key and directness by number of a source, and the labels of all keys in the order of their texts: numbers
/// differ from one index to the next.
fn read(names: &Names, dimension: Dimension) -> (Vec<(NameId, bool)>, Vec<Label>) {
    let is_direct = |source: &Source| {
        let channel = names.label(source.channel);
        channel.is_some_and(|channel| channel.eq_ignore_ascii_case(DIRECT))
    };
    let sources = names.sources.values();
    let sources: Vec<(NameId, bool)> = sources
        .map(|source| (key_of(dimension, source), is_direct(source)))
        .collect();
    let mut keys: Vec<NameId> = sources.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    let label = |key: NameId| (names.label(key).map(str::to_owned), key);
    let mut labels: Vec<Label> = keys.into_iter().map(label).collect();
    labels.sort();
    (sources, labels)
}

fn key_of(dimension: Dimension, source: &Source) -> NameId {
    match dimension {
        Dimension::Source => source.source,
        Dimension::Medium => source.medium,
        Dimension::Campaign => source.campaign,
        Dimension::ReferrerHost => source.referrer_host,
        _ => source.channel,
    }
}

fn count_sessions(view: &View, counted: &Counted<'_>, sources: &[(NameId, bool)]) -> KeyMap<u64> {
    view.fold(
        KeyMap::default,
        |counts, person| {
            if !counted.has_person(person) {
                return;
            }
            for session in person.sessions().filter(|session| counted.has(*session)) {
                *counts.entry(sources[session.source() as usize].0).or_default() += 1;
            }
        },
        |total, part| {
            for (key, count) in part {
                *total.entry(key).or_default() += count;
            }
        },
    )
}
