//! The site in an index, and what that takes.

use std::sync::{Arc, RwLock};

use customer_journey::index::{
    Client, Names, Order, Source, View,
    block::BlockBuilder,
    rows::{EventRow, SessionRow, SessionRows},
    view::{SHARDS, Shard, shard_of},
};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::site::{self, Session};

/// A site of some size.
pub struct Filled {
    pub view: View,
    /// People that were made, the ones whose first visit lies too late included.
    pub people_made: u64,
    /// Bytes of the index, as it counts them itself.
    pub bytes: usize,
}

/// Makes people until there are `events` events.
pub fn fill(events: u64) -> Filled {
    let mut names = Names::default();
    let numbers = Numbers::new(&mut names);
    let mut builders: Vec<BlockBuilder> = (0..SHARDS)
        .map(|_| BlockBuilder::new(site::ORIGIN, false))
        .collect();
    let (mut people, mut made) = (0, 0);
    let mut sessions = Vec::new();
    while made < events {
        site::visit(people, &mut sessions);
        people += 1;
        let Some(first) = sessions.first() else { continue };
        made += sessions
            .iter()
            .map(|session| session.events.len() as u64)
            .sum::<u64>();
        let mut rows: Vec<SessionRows> = sessions
            .iter()
            .map(|session| numbers.rows(&mut names, session))
            .collect();
        let person = names.people.intern(Uuid::from_u128(u128::from(people) << 64 | 1));
        builders[shard_of(person)].push(person, first.start(), &mut rows);
    }
    let blocks: Vec<_> = builders.into_iter().map(BlockBuilder::finish).collect();
    let bytes = names.bytes() + blocks.iter().map(|block| block.bytes()).sum::<usize>();
    let shards = blocks.into_iter().map(Shard::new).collect();
    Filled {
        view: View::new(Arc::new(RwLock::new(names)), shards, site::ORIGIN),
        people_made: people,
        bytes,
    }
}

/// Numbers in the index of what has one on the site.
struct Numbers {
    types: Vec<u16>,
    pages: Vec<u32>,
}

impl Numbers {
    fn new(names: &mut Names) -> Self {
        let types = site::TYPES.map(|name| names.intern_type(name) as u16).to_vec();
        let pages = site::paths()
            .iter()
            .map(|path| names.intern_page(Some(site::HOST), Some(path)))
            .collect();
        Self { types, pages }
    }

    fn rows(&self, names: &mut Names, session: &Session) -> SessionRows {
        let mut label = |texts: &[&str], at: u8| names.intern_label(Some(texts[usize::from(at)]));
        let client = Client {
            device_type: label(&site::DEVICES, session.device),
            browser: label(&site::BROWSERS, session.browser),
            os: label(&site::SYSTEMS, session.system),
            country: label(&site::COUNTRIES, session.country),
        };
        let order = session.purchase.map(|purchase| Order {
            value: Decimal::new(purchase.cents, 2),
            currency: label(&site::CURRENCIES, purchase.currency),
        });
        let (channel, source) = site::SOURCES[usize::from(session.source)];
        let source = Source {
            channel: names.intern_label(Some(channel)),
            source: names.intern_label(Some(source)),
            ..Source::default()
        };
        let event = |event: &site::Event| EventRow {
            time: event.time,
            event_type: self.types[usize::from(event.event_type)],
            page: self.pages[usize::from(event.page)],
            marks: 0,
        };
        SessionRows {
            row: SessionRow {
                start: session.start(),
                client: names.clients.intern(client),
                source: names.sources.intern(source),
                flags: session.flags,
            },
            events: session.events.iter().map(event).collect(),
            order,
        }
    }
}
