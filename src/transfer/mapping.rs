//! From the columns of a file to the fields of an event.

use std::{collections::HashSet, net::IpAddr};

use serde_json::{Map, Value};

use super::{
    event_names::EventNames,
    targets::{EXPORT_MARK, KEPT_FIELDS, OWN_FIELDS, Target, find_alias, find_field, is_structured, plain},
    time_format::TimeFormat,
};
use crate::config::nearest_name;

/// What is wrong with the options of an import, or with the header of its file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MappingError {
    #[error("there is no field `{name}` an event could have{}; `custom_properties.{name}=…` makes a property of it",
            suggest(*nearest))]
    UnknownTarget {
        name: String,
        nearest: Option<&'static str>,
    },
    #[error("`{0}` is mapped twice: one column for each field")]
    MappedTwice(String),
    #[error("the file has no column `{name}`{}: its columns are {columns}", suggest_owned(nearest.as_deref()))]
    NoColumn {
        name: String,
        nearest: Option<String>,
        columns: String,
    },
    #[error("the file has two columns `{0}`: rename one of them")]
    ColumnTwice(String),
    #[error("no column says {what}: name it with --map {field}=COLUMN; the columns are {columns}")]
    MissingField {
        what: &'static str,
        field: &'static str,
        columns: String,
    },
    #[error("`{0}` cannot be the type of an event: 1 to 64 characters of a-z, 0-9, `_`, `.`, `:` and `-`")]
    EventName(String),
    #[error(
        "--time-format {0}: write auto, rfc3339, epoch-s, epoch-ms, epoch-us, epoch-ns or a pattern such as %d.%m.%Y %H:%M"
    )]
    TimeFormat(String),
    #[error("--time-format {0}: the pattern has a part that is not one of strftime's")]
    TimePattern(String),
    #[error("--time-format {0}: the pattern says no zone, so --timezone must, as in --timezone Europe/Oslo")]
    TimeZoneMissing(String),
    #[error("--timezone {0}: there is no such IANA time zone; write one as Europe/Oslo or UTC")]
    TimeZone(String),
}

fn suggest(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(": did you mean `{name}`?"))
}

fn suggest_owned(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// Where the values of a row come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// All values are texts.
    Csv,
    Ndjson,
}

/// How rows become events.
#[derive(Clone, Debug)]
pub struct Mapping {
    rules: Vec<(Target, String)>,
    constants: Vec<(Target, String)>,
    /// Columns left out.
    skipped: Vec<String>,
    /// Whether properties from CSV stay texts even if they look like numbers.
    texts_only: bool,
    times: TimeFormat,
    names: EventNames,
}

/// A row as an event of the wire form, with what goes around it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapped {
    pub wire: Map<String, Value>,
    /// Values of [`KEPT_FIELDS`] and [`OWN_FIELDS`].
    pub kept: Map<String, Value>,
    /// Whether the row is one of our own exports.
    pub is_ours: bool,
    pub address: Option<IpAddr>,
    /// The type as the file calls it, when that is another one.
    pub renamed_from: Option<String>,
}

/// A row that cannot become an event.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRefusal {
    pub reason: &'static str,
    pub field: Option<&'static str>,
    pub detail: &'static str,
}

impl Mapping {
    /// Makes a mapping of `TARGET=COLUMN`, `TARGET=VALUE` and columns to leave out.
    ///
    /// # Errors
    /// [`MappingError`] for targets that do not exist or come twice.
    pub fn new(
        map: &[(String, String)],
        set: &[(String, String)],
        skipped: &[String],
        texts_only: bool,
        times: TimeFormat,
        names: EventNames,
    ) -> Result<Self, MappingError> {
        let parse = |(target, value): &(String, String)| Ok((Target::parse(target)?, value.clone()));
        let rules = map.iter().map(parse).collect::<Result<Vec<_>, MappingError>>()?;
        let mut seen = HashSet::new();
        for ((target, _), (name, _)) in rules.iter().zip(map) {
            if !seen.insert(target) {
                return Err(MappingError::MappedTwice(name.clone()));
            }
        }
        Ok(Self {
            constants: set.iter().map(parse).collect::<Result<_, _>>()?,
            rules,
            skipped: skipped.to_vec(),
            texts_only,
            times,
            names,
        })
    }

    /// Checks that a header has every column that is named, and what an event cannot do without.
    ///
    /// # Errors
    /// [`MappingError`] that lists the columns there are.
    pub fn check_header(&self, columns: &[String]) -> Result<(), MappingError> {
        let listed = || columns.join(", ");
        let mut seen = HashSet::new();
        if let Some(twice) = columns.iter().find(|column| !seen.insert(*column)) {
            return Err(MappingError::ColumnTwice(twice.clone()));
        }
        let named = self.rules.iter().map(|(_, column)| column);
        if let Some(name) = named.chain(&self.skipped).find(|name| !columns.contains(*name)) {
            return Err(MappingError::NoColumn {
                name: name.clone(),
                nearest: nearest_name(name, columns.iter().map(String::as_str)).map(str::to_owned),
                columns: listed(),
            });
        }
        let has = |field: &'static str| {
            let target = Target::Field(field);
            let given = |(given, _): &(Target, String)| *given == target;
            self.rules.iter().any(given)
                || self.constants.iter().any(given)
                || columns.iter().any(|column| {
                    !self.is_taken(column)
                        && [find_field(&plain(column)), find_alias(&plain(column))].contains(&Some(field))
                })
        };
        let missing = |what, field| MappingError::MissingField {
            what,
            field,
            columns: listed(),
        };
        if !has("event_type") {
            return Err(missing("what happened", "event_type"));
        }
        if !has("timestamp") {
            return Err(missing("when it happened", "timestamp"));
        }
        if !has("user_id") && !has("device_id") {
            return Err(missing("who did it", "user_id"));
        }
        Ok(())
    }

    fn is_taken(&self, column: &str) -> bool {
        self.rules.iter().any(|(_, source)| source == column)
            || self.skipped.iter().any(|name| name == column)
    }

    /// Makes an event of a row.
    ///
    /// # Errors
    /// [`RowRefusal`] when its time cannot be read.
    pub fn map(&self, mut row: Map<String, Value>, origin: Origin) -> Result<Mapped, RowRefusal> {
        for name in &self.skipped {
            take(&mut row, name);
        }
        let mut fields = Fields::default();
        for (target, source) in &self.rules {
            if let Some(value) = take(&mut row, source) {
                fields.put(target, value);
            }
        }
        let mut left = Vec::new();
        for (name, value) in row {
            match find_field(&plain(&name)) {
                Some(field) if fields.lacks(field) => {
                    fields.single.insert(field.to_owned(), value);
                }
                _ => left.push((name, value)),
            }
        }
        for (name, value) in left {
            match find_alias(&plain(&name)) {
                Some(field) if fields.lacks(field) => {
                    fields.single.insert(field.to_owned(), value);
                }
                _ => {
                    fields.properties.entry(name).or_insert(value);
                }
            }
        }
        for (target, value) in &self.constants {
            fields.put_if_absent(target, value);
        }
        self.finish(fields, origin)
    }

    fn finish(&self, fields: Fields, origin: Origin) -> Result<Mapped, RowRefusal> {
        let Fields {
            mut single,
            mut properties,
            mut attributes,
        } = fields;
        if origin == Origin::Csv {
            // An empty cell says nothing; an empty counter says that there is none.
            single.retain(|field, value| field == "seq" || !is_blank(value));
            single.iter_mut().for_each(|(field, value)| unfold(field, value));
            for object in [&mut properties, &mut attributes] {
                object.retain(|_, value| value.as_str() != Some(""));
                if !self.texts_only {
                    object.iter_mut().for_each(|(_, value)| guess(value));
                }
            }
        }
        let is_ours = single.remove(EXPORT_MARK).is_some_and(|mark| !is_blank(&mark));
        let mut mapped = Mapped {
            is_ours,
            ..Mapped::default()
        };
        for name in OWN_FIELDS {
            match single.remove(name) {
                Some(value) if is_ours => drop(mapped.kept.insert(name.to_owned(), value)),
                Some(value) => drop(properties.entry(name).or_insert(value)),
                None => {}
            }
        }
        if let Some(value) = single.get_mut("timestamp") {
            *value = self.read_time(value)?;
        }
        if single.get("timestamp").is_none_or(Value::is_null) {
            return Err(RowRefusal {
                reason: "missing_timestamp",
                field: Some("timestamp"),
                detail: "The line does not say when it happened.",
            });
        }
        // Whatever its form, an address never becomes a property.
        let address = single.remove("ip");
        mapped.address = address.and_then(|address| address.as_str()?.split(',').next()?.trim().parse().ok());
        for name in KEPT_FIELDS {
            if let Some(value) = single.remove(name) {
                keep(&mut mapped.kept, &mut properties, name, value);
            }
        }
        if !is_ours && let Some(Value::String(name)) = single.get_mut("event_type") {
            let translated = self.names.translate(name);
            if translated != *name {
                mapped.renamed_from = Some(std::mem::replace(name, translated));
            }
        }
        merge(&mut single, "custom_properties", properties);
        merge(&mut single, "customer_attributes", attributes);
        mapped.wire = single;
        Ok(mapped)
    }

    fn read_time(&self, value: &Value) -> Result<Value, RowRefusal> {
        let time = self.times.read(value).map_err(|detail| RowRefusal {
            reason: "invalid_field",
            field: Some("timestamp"),
            detail,
        })?;
        let text = |time: chrono::DateTime<_>| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        Ok(time.map(text).into())
    }
}

/// A row being sorted.
#[derive(Default)]
struct Fields {
    single: Map<String, Value>,
    properties: Map<String, Value>,
    attributes: Map<String, Value>,
}

impl Fields {
    fn slot<'a>(&'a mut self, target: &'a Target) -> (&'a mut Map<String, Value>, &'a str) {
        match target {
            Target::Field(name) => (&mut self.single, name),
            Target::Property(name) => (&mut self.properties, name),
            Target::Attribute(name) => (&mut self.attributes, name),
        }
    }

    fn put(&mut self, target: &Target, value: Value) {
        let (map, name) = self.slot(target);
        map.insert(name.to_owned(), value);
    }

    fn put_if_absent(&mut self, target: &Target, text: &str) {
        let (map, name) = self.slot(target);
        if map.get(name).is_none_or(is_blank) {
            map.insert(name.to_owned(), text.into());
        }
    }

    fn lacks(&self, field: &str) -> bool {
        !self.single.contains_key(field)
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Takes the value at a name, or at a path of names with dots, out of a row.
fn take(row: &mut Map<String, Value>, path: &str) -> Option<Value> {
    if let Some(value) = row.remove(path) {
        return Some(value);
    }
    for (dot, _) in path.match_indices('.') {
        let (head, rest) = (&path[..dot], &path[dot + 1..]);
        if let Some(Value::Object(inner)) = row.get_mut(head)
            && let Some(value) = take(inner, rest)
        {
            if inner.is_empty() {
                row.remove(head);
            }
            return Some(value);
        }
    }
    None
}

/// Puts loose values under an object of the event; those the object has already stay.
fn merge(single: &mut Map<String, Value>, name: &str, loose: Map<String, Value>) {
    if loose.is_empty() {
        return;
    }
    let slot = single.entry(name).or_insert(Value::Null);
    if is_blank(slot) {
        *slot = Value::Object(Map::new());
    }
    // Anything else than an object is left for the judgement to refuse.
    if let Value::Object(object) = slot {
        for (name, value) in loose {
            object.entry(name).or_insert(value);
        }
    }
}

/// A country that is no ISO code is worth keeping, but as a property.
fn keep(kept: &mut Map<String, Value>, properties: &mut Map<String, Value>, name: &str, value: Value) {
    if is_blank(&value) {
        return;
    }
    let is_code = value
        .as_str()
        .is_some_and(|text| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()));
    if name == "country" && !is_code {
        properties.entry(name).or_insert(value);
    } else {
        kept.insert(name.to_owned(), value);
    }
}

/// Turns a cell with JSON in it into the list or object it stands for.
fn unfold(field: &str, value: &mut Value) {
    if let Value::String(text) = value
        && is_structured(field)
        && text.trim_start().starts_with(['[', '{'])
        && let Ok(json) = serde_json::from_str(text)
    {
        *value = json;
    }
}

/// Gives a property of a CSV file the type it looks like.
///
/// Only where the text says so without doubt: `007`, `+5` and numbers of more than 15 digits stay texts, since
/// they are names for things more often than numbers.
fn guess(value: &mut Value) {
    let Value::String(text) = value else { return };
    let guessed = match text.as_str() {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        text if is_plain_number(text) || text.starts_with(['[', '{']) => serde_json::from_str(text).ok(),
        _ => None,
    };
    if let Some(guessed) = guessed {
        *value = guessed;
    }
}

fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(whole)
        && all_digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && whole.len() + fraction.len() <= 15
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let pair = |pair: &str| {
            let (left, right) = pair.split_once('=').unwrap();
            (left.to_owned(), right.to_owned())
        };
        text.split(',')
            .filter(|pair| !pair.is_empty())
            .map(pair)
            .collect()
    }

    fn mapping(map: &str, set: &str, skip: &[&str]) -> Mapping {
        let skip: Vec<String> = skip.iter().map(|name| (*name).to_owned()).collect();
        let times = TimeFormat::new("auto", None).unwrap();
        Mapping::new(
            &pairs(map),
            &pairs(set),
            &skip,
            false,
            times,
            EventNames::default(),
        )
        .unwrap()
    }

    fn row(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn columns_are_found_by_name_alias_and_path() {
        let mapping = mapping(
            "user_id=props.who.id,event=action,customer_attributes.plan=plan",
            "device_type=mobile,currency=EUR",
            &["secret"],
        );
        let mapped = mapping.map(
            row(json!({
                "action": "$pageview", "time": 1_700_000_000, "event_type": "not this one",
                "props": {"who": {"id": "u1"}, "x": 1}, "plan": "pro", "secret": "s", "currency": "USD",
                "Page URL": "https://a.example/", "ip": "1.2.3.4, 5.6.7.8", "country": "de", "colour": "red",
            })),
            Origin::Ndjson,
        );
        let mapped = mapped.unwrap();
        let expected = json!({
            "event_type": "page_view", "timestamp": "2023-11-14T22:13:20.000000Z", "user_id": "u1",
            "device_type": "mobile", "currency": "USD", "page_url": "https://a.example/",
            "custom_properties": {"event_type": "not this one", "props": {"x": 1}, "colour": "red"},
            "customer_attributes": {"plan": "pro"},
        });
        assert_eq!(Value::Object(mapped.wire), expected);
        assert_eq!(Value::Object(mapped.kept), json!({"country": "de"}));
        assert_eq!(mapped.address, Some("1.2.3.4".parse().unwrap()));
        assert_eq!(mapped.renamed_from.as_deref(), Some("$pageview"));
    }

    #[test]
    fn cells_of_csv_get_the_types_they_look_like() {
        let mapping = mapping("", "", &[]);
        let cells = row(json!({
            "event": "click", "time": "1700000000", "user_id": "1", "coordinates": "[3,4]",
            "a": "5", "b": "-1.5", "c": "007", "d": "1234567890123456", "e": "true", "f": "", "g": "[1,\"x\"]",
            "h": "1e5", "i": "{oops", "country": "Germany", "custom_properties": "{\"own\":\"1\"}",
        }));
        let wire = mapping.map(cells, Origin::Csv).unwrap().wire;
        assert_eq!(wire["coordinates"], json!([3, 4]));
        let expected = json!({
            "a": 5, "b": -1.5, "c": "007", "d": "1234567890123456", "e": true, "g": [1, "x"], "h": "1e5",
            "i": "{oops", "country": "Germany", "own": "1",
        });
        assert_eq!(wire["custom_properties"], expected);
        assert_eq!(wire["user_id"], "1");
    }

    #[test]
    fn our_own_exports_keep_their_types() {
        let mapping = mapping("", "", &[]);
        let ours =
            json!({"event_type": "pageview", "timestamp": "2026-01-01T00:00:00Z", "journey_export": 1});
        let mapped = mapping.map(row(ours), Origin::Ndjson).unwrap();
        assert_eq!(mapped.wire["event_type"], "pageview");
        assert!(!mapped.wire.contains_key("journey_export"));
    }

    #[test]
    fn a_line_without_a_readable_time_is_refused() {
        let mapping = mapping("", "", &[]);
        let refused = mapping.map(row(json!({"event": "click", "time": null})), Origin::Ndjson);
        assert_eq!(refused.unwrap_err().reason, "missing_timestamp");
        let refused = mapping.map(row(json!({"event": "click", "time": "soon"})), Origin::Ndjson);
        assert_eq!(refused.unwrap_err().field, Some("timestamp"));
    }

    #[test]
    fn a_header_is_checked_before_anything_is_read() {
        let columns = |names: &str| names.split(',').map(str::to_owned).collect::<Vec<_>>();
        let plain = mapping("", "", &[]);
        assert_eq!(plain.check_header(&columns("Event,Time,User ID")), Ok(()));
        for (names, says) in [
            (
                "time,user_id",
                "no column says what happened: name it with --map event_type=COLUMN; the columns are time, user_id",
            ),
            ("event,user_id", "no column says when it happened"),
            ("event,time", "no column says who did it"),
            ("event,time,user_id,user_id", "two columns `user_id`"),
        ] {
            let error = plain.check_header(&columns(names)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let mapped = mapping("user_id=visitor,event=action,timestamp=at", "", &[]);
        let error = mapped
            .check_header(&columns("visitr,action,at"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "the file has no column `visitor` (did you mean `visitr`?): its columns are visitr, action, at"
        );
        // A column that is mapped to one field says nothing about another.
        let swapped = mapping("custom_properties.when=time", "", &[]);
        assert!(swapped.check_header(&columns("event,time,user_id")).is_err());
        assert_eq!(
            mapping("", "event_type=page_view", &[]).check_header(&columns("time,user_id")),
            Ok(())
        );
    }

    #[test]
    fn one_field_has_one_column() {
        let times = TimeFormat::new("auto", None).unwrap();
        let twice = Mapping::new(
            &pairs("event=a,event_type=b"),
            &[],
            &[],
            false,
            times,
            EventNames::default(),
        );
        assert_eq!(twice.unwrap_err(), MappingError::MappedTwice("event_type".into()));
    }
}
