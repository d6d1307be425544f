//! What the index is made of, as it comes from the store: sessions with their events, already in numbers.

use super::{Micros, NameId};

/// What a session's flags say, one bit each.
pub mod flag {
    /// At least one purchase.
    pub const CONVERTED: u16 = 1 << 0;
    /// A cart or checkout was left.
    pub const ABANDONED: u16 = 1 << 1;
    /// The opposite of a bounce.
    pub const ENGAGED: u16 = 1 << 2;
    pub const RAGE_CLICKS: u16 = 1 << 3;
    pub const DEAD_CLICKS: u16 = 1 << 4;
    pub const FORM_ERRORS: u16 = 1 << 5;
    /// JavaScript errors.
    pub const SCRIPT_ERRORS: u16 = 1 << 6;
    /// A page took longer than [`super::SLOW_PAGE_MS`].
    pub const SLOW_PAGE: u16 = 1 << 7;
    pub const SEARCHED: u16 = 1 << 8;
    /// A search found nothing.
    pub const EMPTY_SEARCH: u16 = 1 << 9;
}

/// A page that takes longer is slow. 4 s is where Google's Web Vitals call the largest paint poor.
pub const SLOW_PAGE_MS: i32 = 4000;

/// One session without its events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionRow {
    pub start: Micros,
    /// Number in `names.clients`.
    pub client: NameId,
    /// Number in `names.sources`.
    pub source: NameId,
    /// See [`flag`].
    pub flags: u16,
}

/// One event of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventRow {
    pub time: Micros,
    /// Number in `names.types`.
    pub event_type: u16,
    /// Number in `names.pages`.
    pub page: NameId,
    /// What only the store can tell of it, for an index made for one question: a bit per condition.
    pub marks: u32,
}

/// A session with its events in order.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRows {
    pub row: SessionRow,
    pub events: Vec<EventRow>,
    /// What was bought in it.
    pub order: Option<super::Order>,
}
