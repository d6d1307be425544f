//! What the browser's tracker would send: the wire form of an event, with the field names of the API.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::{dice::Dice, people::Model};

/// What the tracker keeps in the browser's storage.
#[derive(Default)]
pub(super) struct Client {
    /// Empty until the first session.
    device_id: String,
    session_id: String,
    pub(super) user_id: Option<String>,
    seq: u64,
}

impl Client {
    /// Begins a session; tells whether the browser was unknown until now.
    pub(super) fn begin_session(&mut self, dice: &mut Dice, now: DateTime<Utc>) -> bool {
        let unknown = self.device_id.is_empty();
        if unknown {
            self.device_id = dice.uuid_v7(now);
        }
        self.session_id = dice.uuid_v7(now);
        unknown
    }

    /// Forgets device, session and person, as the tracker's `reset()` does; a new anonymous life begins.
    pub(super) fn reset(&mut self, dice: &mut Dice, now: DateTime<Utc>) {
        *self = Self::default();
        self.begin_session(dice, now);
    }

    /// Makes the fields every event carries.
    pub(super) fn envelope(
        &mut self,
        dice: &mut Dice,
        event_type: &str,
        at: DateTime<Utc>,
    ) -> Map<String, Value> {
        self.seq += 1;
        let mut event = Map::new();
        event.insert("event_id".into(), dice.uuid_v7(at).into());
        event.insert("event_type".into(), event_type.into());
        event.insert(
            "timestamp".into(),
            at.to_rfc3339_opts(SecondsFormat::Millis, true).into(),
        );
        event.insert("seq".into(), self.seq.into());
        event.insert("device_id".into(), self.device_id.clone().into());
        event.insert("session_id".into(), self.session_id.clone().into());
        if let Some(user_id) = &self.user_id {
            event.insert("user_id".into(), user_id.clone().into());
        }
        event
    }
}

/// The address bar: what every event says about the page it happened on.
#[derive(Clone, Default)]
pub(super) struct Place {
    pub(super) url: String,
    pub(super) title: String,
    pub(super) referrer: Option<String>,
}

impl Place {
    /// Adds the place and the browser's sizes to an event.
    pub(super) fn describe(&self, event: &mut Map<String, Value>, model: &Model) {
        event.insert("page_url".into(), self.url.clone().into());
        event.insert("page_title".into(), self.title.clone().into());
        if let Some(referrer) = &self.referrer {
            event.insert("referrer".into(), referrer.clone().into());
        }
        event.insert("screen_resolution".into(), json!(model.screen));
        event.insert("viewport_size".into(), json!(model.viewport));
    }
}

/// Writes one visit's events down while its clock runs.
pub(super) struct Recorder<'a> {
    pub(super) dice: Dice,
    pub(super) client: &'a mut Client,
    pub(super) model: &'static Model,
    pub(super) place: Place,
    pub(super) now: DateTime<Utc>,
    pub(super) events: Vec<Value>,
    /// Events later than this have not happened yet.
    end: DateTime<Utc>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        dice: Dice,
        client: &'a mut Client,
        model: &'static Model,
        now: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Self {
        Self {
            dice,
            client,
            model,
            place: Place::default(),
            now,
            events: Vec::new(),
            end,
        }
    }

    /// Lets some milliseconds pass, from `low` to `high`.
    pub(super) fn wait_ms(&mut self, low: i64, high: i64) {
        self.now += TimeDelta::milliseconds(self.dice.between(low, high));
    }

    /// Records one event; `fields` is a JSON object with what this type adds.
    pub(super) fn track(&mut self, event_type: &str, fields: Value) {
        if self.now > self.end {
            return;
        }
        let mut event = self.client.envelope(&mut self.dice, event_type, self.now);
        self.place.describe(&mut event, self.model);
        if let Value::Object(fields) = fields {
            event.extend(fields);
        }
        self.events.push(Value::Object(event));
    }

    /// Records a click and lets a moment pass.
    pub(super) fn click(&mut self, target: &Target) {
        let [x, y] = self.aim(target);
        self.track("click", target.fields(x, y));
        self.wait_ms(120, 900);
    }

    /// Returns where on the target the pointer lands.
    pub(super) fn aim(&mut self, target: &Target) -> [i64; 2] {
        let width = self.model.viewport[0];
        let middle = width * target.across_percent / 100;
        let reach_x = (width / 12).max(12);
        let reach_y = 16;
        let x = (middle + self.dice.between(-reach_x, reach_x)).clamp(4, width - 4);
        [x, (target.y + self.dice.between(-reach_y, reach_y)).max(4)]
    }
}

/// Something on a page that can be clicked.
pub(super) struct Target {
    pub(super) selector: String,
    pub(super) id: Option<&'static str>,
    pub(super) text: String,
    /// Middle of the element, as percent of the window's width.
    pub(super) across_percent: i64,
    /// Middle of the element in pixels from the top of the page.
    pub(super) y: i64,
}

impl Target {
    /// Returns a target that is found by its id.
    pub(super) fn by_id(id: &'static str, text: &str, across_percent: i64, y: i64) -> Self {
        Self {
            selector: format!("#{id}"),
            id: Some(id),
            text: text.into(),
            across_percent,
            y,
        }
    }

    /// Returns the fields a click at that point adds.
    pub(super) fn fields(&self, x: i64, y: i64) -> Value {
        let mut fields = json!({ "element_selector": self.selector, "coordinates": [x, y] });
        if let Some(id) = self.id {
            fields["element_id"] = id.into();
        }
        if !self.text.is_empty() {
            fields["element_text"] = self.text.clone().into();
        }
        fields
    }
}
