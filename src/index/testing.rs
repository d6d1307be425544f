//! Small indexes for tests, written as stories.

use std::sync::{Arc, RwLock};

use rust_decimal::Decimal;
use uuid::Uuid;

use super::{
    Micros,
    block::{BlockBuilder, Order},
    names::{Client, Names, Source},
    rows::{EventRow, SessionRow, SessionRows},
    view::{SHARDS, Shard, View, shard_of},
};

/// People and what they did.
#[derive(Debug, Default)]
pub struct Story {
    names: Names,
    people: Vec<(Micros, Vec<SessionRows>)>,
}

/// How a visit came about.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    pub device_type: &'a str,
    pub browser: &'a str,
    pub country: &'a str,
    pub channel: &'a str,
    pub source: &'a str,
    pub campaign: Option<&'a str>,
    pub flags: u16,
    pub order: Option<(Decimal, &'a str)>,
}

impl Default for Visit<'_> {
    fn default() -> Self {
        Self {
            device_type: "desktop",
            browser: "Firefox",
            country: "AT",
            channel: "direct",
            source: "(direct)",
            campaign: None,
            flags: 0,
            order: None,
        }
    }
}

impl Story {
    /// Adds a session of an ordinary visit: `(time, type, page path)` in the order of time. An empty path is no page.
    pub fn visit(&mut self, person: u128, events: &[(Micros, &str, &str)]) -> &mut Self {
        self.visit_as(person, Visit::default(), events)
    }

    /// Adds a session.
    pub fn visit_as(&mut self, person: u128, visit: Visit<'_>, events: &[(Micros, &str, &str)]) -> &mut Self {
        let names = &mut self.names;
        let client = Client {
            device_type: names.intern_label(Some(visit.device_type)),
            browser: names.intern_label(Some(visit.browser)),
            os: 0,
            country: names.intern_label(Some(visit.country)),
        };
        let source = Source {
            channel: names.intern_label(Some(visit.channel)),
            source: names.intern_label(Some(visit.source)),
            campaign: names.intern_label(visit.campaign),
            ..Source::default()
        };
        let events: Vec<EventRow> = events
            .iter()
            .map(|(time, event_type, path)| EventRow {
                time: *time,
                event_type: names.intern_type(event_type) as u16,
                page: names.intern_page(Some("shop.example"), Some(*path).filter(|path| !path.is_empty())),
                marks: 0,
            })
            .collect();
        let order = visit.order.map(|(value, currency)| Order {
            value,
            currency: names.intern_label(Some(currency)),
        });
        let start = events[0].time;
        let row = SessionRow {
            start,
            client: names.clients.intern(client),
            source: names.sources.intern(source),
            flags: visit.flags,
        };
        let number = names.people.intern(Uuid::from_u128(person)) as usize;
        self.people
            .resize_with(self.people.len().max(number + 1), || (Micros::MAX, Vec::new()));
        let (first_seen, sessions) = &mut self.people[number];
        *first_seen = start.min(*first_seen);
        sessions.push(SessionRows { row, events, order });
        self
    }

    /// Returns the index of what was told.
    pub fn view(&self) -> View {
        // A block holds nine years from its origin, and stories play in 1970 as well as today.
        let starts = self.people.iter().flat_map(|(_, sessions)| sessions);
        let origin = starts.map(|session| session.row.start).min().unwrap_or(0);
        let mut shards: Vec<BlockBuilder> = (0..SHARDS).map(|_| BlockBuilder::new(origin, false)).collect();
        for (person, (first_seen, sessions)) in self.people.iter().enumerate() {
            let person = person as u32;
            shards[shard_of(person)].push(person, *first_seen, &mut sessions.clone());
        }
        let shards = shards.into_iter().map(|builder| Shard::new(builder.finish()));
        View::new(Arc::new(RwLock::new(self.names.clone())), shards.collect(), 0)
    }
}
