//! The verdict on each event: kept as what, or refused why.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::address::{Campaign, Reducer};
use super::agent::{self, Agent};
use super::country::CountryDatabase;
use super::draft::{Draft, USER_DEVICE_PREFIX};
use super::error::{Refusal, RejectReason, Rejection};
use super::model::Event;
use super::privacy::{Cleaner, without_nul};
use super::pseudonym::Hasher;
use super::wire::Batch;
use super::{field, key, kind, lift, limit, sample, time};

/// What a request said around its events.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub received_at: DateTime<Utc>,
    /// Database id of the API key.
    pub key_id: i32,
    pub client_ip: Option<IpAddr>,
    /// The header; an event's own `user_agent` comes before it.
    pub user_agent: Option<String>,
    /// Do-Not-Track was sent.
    pub dnt: bool,
    /// Global Privacy Control was sent.
    pub gpc: bool,
}

/// How events are judged; built once from the configuration.
#[derive(Debug)]
pub struct Policy {
    pub hasher: Hasher,
    /// Keep a hash of the client address; otherwise nothing of it.
    pub ip_hash: bool,
    pub hash_emails: bool,
    pub honour_dnt: bool,
    pub honour_gpc: bool,
    /// Make a device id, new each day (UTC), for events that name neither a device nor a user.
    pub cookieless: bool,
    /// Query parameters kept besides the campaign's. Case matters.
    pub url_parameters_allowed: Vec<String>,
    /// Hosts of the site itself. Not looked at here: what a source is, the session decides.
    pub own_hosts: Vec<String>,
    pub filter_bots: bool,
    /// Events older than this are refused.
    pub events_age_max: Option<TimeDelta>,
    /// For the caller, who checks it with [`Batch::check_size`].
    pub batch_events_max: usize,
    pub countries: Option<CountryDatabase>,
}

/// How one event ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Accepted(Box<Event>),
    Rejected(Rejection),
}

/// What all events of a request have in common.
struct Origin {
    ip_hash: Option<String>,
    country: Option<String>,
}

/// Judges every event of a batch; one verdict for each, in order.
pub fn judge_batch(batch: Batch, context: &RequestContext, policy: &Policy) -> Vec<Verdict> {
    let offset = time::clock_offset(context.received_at, batch.sent_at);
    let origin = Origin::of(context, policy);
    let judge = |(place, value)| match judge_from(&origin, value, offset, context, policy) {
        Ok(mut event) => {
            // Events of one batch often share a time; without a counter of the client's own, the order they
            // were sent in is the order they happened in.
            event.seq = event.seq.or(i64::try_from(place).ok());
            Verdict::Accepted(Box::new(event))
        }
        Err(rejection) => Verdict::Rejected(rejection),
    };
    batch.events.into_iter().enumerate().map(judge).collect()
}

/// Judges one event. `offset` is what to add to its times, `None` when they are right as they are.
///
/// # Errors
/// The [`Rejection`].
pub fn judge(
    value: Value,
    offset: Option<TimeDelta>,
    context: &RequestContext,
    policy: &Policy,
) -> Result<Event, Rejection> {
    judge_from(&Origin::of(context, policy), value, offset, context, policy)
}

impl Origin {
    fn of(context: &RequestContext, policy: &Policy) -> Self {
        // An IPv4 client of an IPv6 socket is the same client.
        let address = context.client_ip.map(|address| address.to_canonical());
        let hash = |address: IpAddr| policy.hasher.token("ip", &address.to_string());
        Self {
            ip_hash: address.filter(|_| policy.ip_hash).map(hash),
            country: address.and_then(|address| policy.countries.as_ref()?.find_country(address)),
        }
    }
}

fn judge_from(
    origin: &Origin,
    value: Value,
    offset: Option<TimeDelta>,
    context: &RequestContext,
    policy: &Policy,
) -> Result<Event, Rejection> {
    if let Some(refusal) = refuse_untracked(context, policy) {
        return Err(reject(refusal, Value::Null));
    }
    let object = match value {
        Value::Object(object) => object,
        other => {
            let refusal = Refusal::new(RejectReason::NotAnObject, "An event must be a JSON object.");
            return Err(reject(refusal, sample::draw_other(&other)));
        }
    };
    let reading = Reading {
        origin,
        offset,
        context,
        policy,
    };
    match reading.read(&object) {
        Ok((draft, unknown)) => Ok(finish(draft, object, &unknown)),
        Err(refusal) => Err(reject(refusal, sample::draw(&object))),
    }
}

fn reject(refusal: Refusal, sample: Value) -> Rejection {
    Rejection {
        reason: refusal.reason,
        field: refusal.field,
        detail: refusal.detail,
        sample,
    }
}

fn refuse_untracked(context: &RequestContext, policy: &Policy) -> Option<Refusal> {
    if context.gpc && policy.honour_gpc {
        let detail = "The browser sends Global Privacy Control, which this installation honours.";
        return Some(Refusal::new(RejectReason::GlobalPrivacyControl, detail));
    }
    if context.dnt && policy.honour_dnt {
        let detail = "The browser sends Do-Not-Track, which this installation honours.";
        return Some(Refusal::new(RejectReason::DoNotTrack, detail));
    }
    None
}

/// The part of the judgement that can fail. It leaves the raw event whole, so that a sample can be drawn.
#[derive(Clone, Copy)]
struct Reading<'a> {
    origin: &'a Origin,
    offset: Option<TimeDelta>,
    context: &'a RequestContext,
    policy: &'a Policy,
}

impl<'a> Reading<'a> {
    /// Returns the draft and the names of the fields the service does not know.
    fn read(self, object: &Map<String, Value>) -> Result<(Draft<'a>, Vec<String>), Refusal> {
        let event_type = read_event_type(object)?;
        let user_agent = read_user_agent(object)?;
        let user_agent = user_agent.as_deref().or(self.context.user_agent.as_deref());
        let agent = user_agent.map(agent::describe);
        if self.policy.filter_bots && agent.as_ref().is_some_and(|agent| agent.bot) {
            return Err(Refusal::new(
                RejectReason::Bot,
                "The user agent is that of a bot.",
            ));
        }
        let mut draft = self.start(event_type);
        let mut unknown = Vec::new();
        for (name, value) in object {
            match draft.read(name, value) {
                Ok(true) => {}
                Ok(false) => unknown.push(name.clone()),
                Err(detail) => return Err(Refusal::invalid(name, detail)),
            }
        }
        self.settle_identity(&mut draft.event, user_agent)?;
        self.settle_time(&mut draft.event)?;
        settle_agent(&mut draft.event, agent.as_deref());
        limit::check_properties(object, &unknown)?;
        limit::check_attributes(object)?;
        Ok((draft, unknown))
    }

    fn start(self, event_type: String) -> Draft<'a> {
        let cleaner = Cleaner::new(self.policy.hash_emails.then_some(&self.policy.hasher));
        Draft {
            event: Event {
                event_type,
                received_at: time::truncate(self.context.received_at),
                key_id: self.context.key_id,
                ip_hash: self.origin.ip_hash.clone(),
                country: self.origin.country.clone(),
                ..Event::default()
            },
            cleaner,
            reducer: Reducer {
                allowed: &self.policy.url_parameters_allowed,
                cleaner,
            },
            campaign: Campaign::default(),
            refuse_long: false,
        }
    }

    fn settle_identity(self, event: &mut Event, user_agent: Option<&str>) -> Result<(), Refusal> {
        if event.event_id.is_empty() {
            event.event_id = key::make_event_id(self.context.received_at);
        }
        if !event.device_id.is_empty() {
            return Ok(());
        }
        event.device_id = match (&event.user_id, self.context.client_ip) {
            (Some(user_id), _) => format!("{USER_DEVICE_PREFIX}{user_id}"),
            (None, Some(address)) if self.policy.cookieless => self.day_device(address, user_agent),
            _ => return Err(self.no_identity()),
        };
        Ok(())
    }

    /// Says what the client can send, and what the operator can set instead.
    fn no_identity(self) -> Refusal {
        let detail = if self.policy.cookieless {
            "An event needs a `device_id` or a `user_id`. Cookieless mode knows no client address to make an id \
             from: does the proxy pass it on, and is `server.trusted_proxy_hops` right?"
        } else {
            "An event needs a `device_id` or a `user_id`. For pages without storage the operator can set \
             `privacy.cookieless = true`, which makes an id for the day."
        };
        Refusal::new(RejectReason::MissingIdentity, detail)
    }

    /// Makes a device id that tells the visitors of one day apart and says nothing the day after.
    ///
    /// Needs an address: without one, all users of a browser would be one person.
    fn day_device(self, address: IpAddr, user_agent: Option<&str>) -> String {
        let day = self.context.received_at.date_naive();
        let address = address.to_canonical();
        let source = format!("{day}\n{address}\n{}", user_agent.unwrap_or_default());
        format!("day_{}", self.policy.hasher.token("day", &source))
    }

    fn settle_time(self, event: &mut Event) -> Result<(), Refusal> {
        let received_at = event.received_at;
        event.timestamp = match event.client_timestamp {
            Some(time) => time::correct(time, self.offset, received_at),
            None => received_at,
        };
        let age = received_at.signed_duration_since(event.timestamp);
        if self.policy.events_age_max.is_some_and(|max| age > max) {
            let detail = "The event is older than events are kept.";
            return Err(Refusal::of_field(RejectReason::TooOld, "timestamp", detail));
        }
        Ok(())
    }
}

fn read_event_type(object: &Map<String, Value>) -> Result<String, Refusal> {
    const NAME: &str = "event_type";
    let name = match object.get(NAME) {
        Some(Value::String(name)) => without_nul(name),
        None | Some(Value::Null) => "".into(),
        Some(_) => {
            let detail = "The type must be a text.";
            return Err(Refusal::of_field(RejectReason::InvalidEventType, NAME, detail));
        }
    };
    if name.is_empty() {
        let detail = "An event needs an `event_type`.";
        return Err(Refusal::of_field(RejectReason::MissingEventType, NAME, detail));
    }
    if !kind::is_valid(&name) {
        let detail = "The type must be 1 to 64 characters of a-z, 0-9, `_`, `.`, `:` and `-`.";
        return Err(Refusal::of_field(RejectReason::InvalidEventType, NAME, detail));
    }
    Ok(name.into_owned())
}

fn read_user_agent(object: &Map<String, Value>) -> Result<Option<Cow<'_, str>>, Refusal> {
    const NAME: &str = "user_agent";
    let Some(value) = object.get(NAME) else {
        return Ok(None);
    };
    field::text(value).map_err(|detail| Refusal::invalid(NAME, detail))
}

fn settle_agent(event: &mut Event, agent: Option<&Agent>) {
    if event.device_type.is_empty() {
        event.device_type = agent.map_or("unknown", |agent| agent.device_type).to_owned();
    }
    if let Some(agent) = agent {
        event.browser = agent.browser.as_deref().map(str::to_owned);
        event.os = agent.os.as_deref().map(str::to_owned);
    }
}

/// The part of the judgement that cannot fail, and takes the raw event apart.
fn finish(mut draft: Draft, mut object: Map<String, Value>, unknown: &[String]) -> Event {
    let mut properties = take_object(&mut object, "custom_properties");
    for name in unknown {
        // A property of the client's own comes before a stray field of the same name.
        if let Some(value) = object.remove(name)
            && !properties.contains_key(name)
        {
            properties.insert(name.clone(), value);
        }
    }
    draft.cleaner.clean_object(&mut properties);
    lift::lift(&mut draft, &mut properties);
    draft.apply_campaign();
    let mut attributes = take_object(&mut object, "customer_attributes");
    draft.cleaner.clean_object(&mut attributes);
    draft.event.properties = properties;
    draft.event.attributes = attributes;
    draft.event
}

fn take_object(object: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match object.remove(name) {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
