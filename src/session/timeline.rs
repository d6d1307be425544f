//! The lives and sessions of one device, event by event.
//!
//! A life is a stretch of events that belongs to one person. An event with a user claims the life it falls
//! into, unless another user has it: then it starts the next one. After a logout the next event starts a
//! new life. A session lies within one life and ends at a gap or at its greatest length.
//!
//! Where a person was erased between two others, a break is left: the event after it starts a new life, as
//! after a logout, so that the people on both sides are not taken for one.

use std::collections::HashSet;
use uuid::Uuid;

use super::fold::{SessionFold, StateError};
use super::identity::{customer_id_of_life, customer_id_of_user, id_of_assigned_session, id_of_kept_session};
use super::model::{Life, OrderKey, Rules, Session, SessionEvent};
use super::source::present;

/// The event type that ends a life.
const LOGOUT: &str = "logout";

/// The resumable derivation of one device.
#[derive(Clone, Debug)]
pub struct Timeline {
    device_id: String,
    cursor: Option<OrderKey>,
    logged_out: bool,
    /// The lives this timeline knows, oldest first; the last is the current one.
    lives: Vec<Life>,
    /// Whether the first of `lives` was resumed and has not changed since.
    first_untouched: bool,
    claimed: Option<Claim>,
    /// Sessions that are over.
    closed: Vec<Session>,
    current: Option<SessionFold>,
    /// Whether `current` took an event since it was resumed.
    current_touched: bool,
    /// Session ids that earlier sessions of the device have.
    taken: HashSet<String>,
    /// Where lives of erased people began.
    breaks: Vec<OrderKey>,
}

/// A stored life that became a user's after sessions of it had been stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub life: i32,
    pub user_id: String,
    pub customer_id: Uuid,
}

/// What a timeline changed since it was made or resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    pub device_id: String,
    /// New or changed lives, complete rows, oldest first.
    pub lives: Vec<Life>,
    /// New or changed sessions, complete rows, oldest first.
    pub sessions: Vec<Session>,
    /// Order key of the newest event; `None` when the device has none.
    pub cursor: Option<OrderKey>,
    /// The newest event was a logout.
    pub logged_out: bool,
    /// Set when the resumed life was claimed: its stored sessions get this user and customer, too.
    pub claimed: Option<Claim>,
}

impl Timeline {
    /// Starts before the first event of a device.
    pub fn new(device_id: &str) -> Self {
        Self {
            device_id: device_id.to_owned(),
            cursor: None,
            logged_out: false,
            lives: Vec::new(),
            first_untouched: false,
            claimed: None,
            closed: Vec::new(),
            current: None,
            current_touched: false,
            taken: HashSet::new(),
            breaks: Vec::new(),
        }
    }

    /// Says where lives of erased people began.
    pub fn with_breaks(self, breaks: Vec<OrderKey>) -> Self {
        Self { breaks, ..self }
    }

    /// Takes a device up where it was left.
    ///
    /// - `cursor`: order key of its newest event; `logged_out`: whether that was a logout.
    /// - `life`: its last life.
    /// - `session`: its last session, by `(life, started_at)`; `None` when retention removed it.
    /// - `taken`: which of the client session ids of the events to come are the `session_id` of any stored
    ///   session of this device. More than those do no harm; the last session's own may be left out.
    ///
    /// # Errors
    /// [`StateError`] when the session was stored by a release whose state this one does not extend. The
    /// rows then follow from [`derive`] over all events of the device.
    pub fn resume(
        device_id: &str,
        cursor: OrderKey,
        logged_out: bool,
        life: Life,
        session: Option<Session>,
        mut taken: HashSet<String>,
    ) -> Result<Self, StateError> {
        // A session of an earlier life is over, whatever follows.
        let session = session.filter(|session| session.life == life.life);
        taken.extend(session.as_ref().map(|session| session.session_id.clone()));
        Ok(Self {
            cursor: Some(cursor),
            logged_out,
            lives: vec![life],
            first_untouched: true,
            current: session.map(SessionFold::resume).transpose()?,
            taken,
            ..Self::new(device_id)
        })
    }

    /// Whether an event comes after everything seen so far.
    pub fn follows(&self, key: &OrderKey) -> bool {
        self.cursor.as_ref().is_none_or(|cursor| cursor < key)
    }

    /// Takes the next event, which must follow the ones before.
    pub fn push(&mut self, event: &SessionEvent, rules: &Rules) {
        let key = event.order_key();
        debug_assert!(self.follows(&key), "events are pushed in order");
        let is_new_life = self.enter_life(event, &key);
        let continues = !is_new_life
            && self
                .current
                .as_ref()
                .is_some_and(|session| session.covers(event.timestamp, rules));
        if !continues {
            self.close_session();
            self.current = Some(self.open_session(event));
        }
        if let Some(session) = &mut self.current {
            session.push(event, rules);
            self.current_touched = true;
        }
        self.cursor = Some(key);
        self.logged_out = event.event_type == LOGOUT;
    }

    /// Finds the life an event belongs to, and claims it if need be; true when the event starts it.
    fn enter_life(&mut self, event: &SessionEvent, key: &OrderKey) -> bool {
        let user_id = present(&event.user_id);
        let resumed = self.first_untouched && self.lives.len() == 1;
        let after_break = self.is_after_break(key);
        let ended = self.logged_out || after_break;
        let Some(life) = self.lives.last_mut().filter(|_| !ended) else {
            self.start_life(event, user_id, after_break);
            return true;
        };
        match (life.user_id.as_deref(), user_id) {
            (Some(owner), Some(user)) if owner != user => {
                self.start_life(event, Some(user), false);
                return true;
            }
            (None, Some(user)) => {
                life.user_id = Some(user.to_owned());
                life.customer_id = customer_id_of_user(user);
                if resumed {
                    self.first_untouched = false;
                    self.claimed = Some(Claim {
                        life: life.life,
                        user_id: user.to_owned(),
                        customer_id: life.customer_id,
                    });
                }
            }
            _ => {}
        }
        false
    }

    /// Whether a break lies between the newest event and this one.
    fn is_after_break(&self, key: &OrderKey) -> bool {
        let passed = |at: &OrderKey| self.cursor.as_ref().is_none_or(|cursor| cursor < at);
        self.breaks.iter().any(|at| at <= key && passed(at))
    }

    fn start_life(&mut self, event: &SessionEvent, user_id: Option<&str>, after_break: bool) {
        let life = self.lives.last().map_or(0, |life| life.life + 1);
        // The device's first life was an erased one; this one keeps the id it had as a later one.
        let place = if after_break { life.max(1) } else { life };
        self.lives.push(Life {
            life,
            started_at: event.timestamp,
            start_seq: event.seq,
            start_event: event.event_id.clone(),
            user_id: user_id.map(str::to_owned),
            customer_id: match user_id {
                Some(user_id) => customer_id_of_user(user_id),
                None => customer_id_of_life(&self.device_id, place, &event.event_id),
            },
        });
    }

    /// Opens a session and settles its id for good.
    ///
    /// The first event decides: its client's id is kept unless an earlier session has it. An id that only a
    /// later event brings is recorded, but does not rename a session that others may have read already.
    fn open_session(&mut self, first: &SessionEvent) -> SessionFold {
        let life = self.lives.last().map_or(0, |life| life.life);
        let kept = present(&first.session_id).filter(|id| !self.taken.contains(*id));
        let (id, session_id) = match kept {
            Some(client_id) => (
                id_of_kept_session(&self.device_id, client_id),
                client_id.to_owned(),
            ),
            None => {
                let id = id_of_assigned_session(&self.device_id, first.timestamp, &first.event_id);
                (id, id.to_string())
            }
        };
        self.taken.insert(session_id.clone());
        SessionFold::start(&self.device_id, life, id, session_id, first)
    }

    fn close_session(&mut self) {
        let session = self.current.take().filter(|_| self.current_touched);
        self.closed.extend(session.map(SessionFold::into_row));
        self.current_touched = false;
    }

    /// Takes all these events, in whatever order they are given, a repeated one once. Returns what changed.
    pub fn run(mut self, mut events: Vec<SessionEvent>, rules: &Rules) -> Derived {
        events.sort_by_cached_key(SessionEvent::order_key);
        for event in &events {
            if self.follows(&event.order_key()) {
                self.push(event, rules);
            }
        }
        self.finish()
    }

    /// Returns what changed.
    pub fn finish(mut self) -> Derived {
        self.close_session();
        // Lives are numbered without a gap, so a session's life is found by its distance from the first.
        let first_life = self.lives.first().map_or(0, |life| life.life);
        for session in &mut self.closed {
            if let Some(life) = self.lives.get((session.life - first_life) as usize) {
                session.user_id.clone_from(&life.user_id);
                session.customer_id = life.customer_id;
            }
        }
        Derived {
            device_id: self.device_id,
            lives: self.lives.split_off(usize::from(self.first_untouched)),
            sessions: self.closed,
            cursor: self.cursor,
            logged_out: self.logged_out,
            claimed: self.claimed,
        }
    }
}

/// Derives a device from all its events, in whatever order they are given. A repeated event counts once.
pub fn derive(device_id: &str, events: Vec<SessionEvent>, rules: &Rules) -> Derived {
    Timeline::new(device_id).run(events, rules)
}
