//! What a column can become.

use crate::config::nearest_name;

use super::mapping::MappingError;

/// Fields of the wire form, as `POST /api/v1/events` takes them.
const WIRE_FIELDS: [&str; 49] = [
    "click_id",
    "coordinates",
    "cart_total",
    "currency",
    "custom_properties",
    "customer_attributes",
    "device_id",
    "device_type",
    "element_classes",
    "element_id",
    "element_selector",
    "element_text",
    "error_message",
    "error_stack",
    "event_id",
    "event_type",
    "form_field_name",
    "form_field_type",
    "form_id",
    "form_validation_errors",
    "order_id",
    "order_total",
    "page_load_time_ms",
    "page_title",
    "page_url",
    "product_category",
    "product_id",
    "product_name",
    "product_price",
    "quantity",
    "referrer",
    "screen_resolution",
    "scroll_depth",
    "search_query",
    "search_results_count",
    "seq",
    "session_id",
    "time_on_page_seconds",
    "timestamp",
    "user_agent",
    "user_id",
    "utm_campaign",
    "utm_content",
    "utm_medium",
    "utm_source",
    "utm_term",
    "viewport_size",
    // Not a field of its own: the client's address, which a live request brings by itself.
    "ip",
    EXPORT_MARK,
];

/// What the service finds out about an event by itself when it comes live, and an import must be told.
pub const KEPT_FIELDS: [&str; 3] = ["browser", "country", "os"];

/// What only our own exports can say of an event; in other files these are properties.
pub const OWN_FIELDS: [&str; 3] = ["client_timestamp", "ip_hash", "truncated"];

/// Marks a row as one of our own exports, whose types are taken as they are.
pub const EXPORT_MARK: &str = "journey_export";

/// Other names of fields, in `--map` and as columns.
const ALIASES: [(&str, &str); 9] = [
    ("event", "event_type"),
    ("event_name", "event_type"),
    ("time", "timestamp"),
    ("ip_address", "ip"),
    ("client_ip", "ip"),
    ("remote_addr", "ip"),
    ("url", "page_url"),
    ("referer", "referrer"),
    ("useragent", "user_agent"),
];

/// What a column becomes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A field of the wire form, or one of [`KEPT_FIELDS`] and [`OWN_FIELDS`].
    Field(&'static str),
    Property(String),
    Attribute(String),
}

impl Target {
    /// Reads the name of a target: a field, `custom_properties.NAME` or `customer_attributes.NAME`.
    ///
    /// # Errors
    /// [`MappingError::UnknownTarget`] with the nearest field there is.
    pub fn parse(name: &str) -> Result<Self, MappingError> {
        let plain = plain(name);
        if let Some(field) = find_field(&plain).or_else(|| find_alias(&plain)) {
            return Ok(Self::Field(field));
        }
        match name.split_once('.') {
            Some(("custom_properties", rest)) if !rest.is_empty() => Ok(Self::Property(rest.to_owned())),
            Some(("customer_attributes", rest)) if !rest.is_empty() => Ok(Self::Attribute(rest.to_owned())),
            _ => Err(MappingError::UnknownTarget {
                name: name.to_owned(),
                nearest: nearest_field(&plain),
            }),
        }
    }
}

/// The beginning of a name says more than letters in common: `user` is `user_id`.
fn nearest_field(name: &str) -> Option<&'static str> {
    let longer = || fields().find(|field| name.len() > 2 && field.starts_with(name));
    longer().or_else(|| nearest_name(name, fields()))
}

fn fields() -> impl Iterator<Item = &'static str> {
    WIRE_FIELDS.into_iter().chain(KEPT_FIELDS).chain(OWN_FIELDS)
}

/// Returns the field of this name.
pub fn find_field(name: &str) -> Option<&'static str> {
    fields().find(|field| *field == name)
}

/// Returns the field that this is another name of.
pub fn find_alias(name: &str) -> Option<&'static str> {
    let found = ALIASES.iter().find(|(alias, _)| *alias == name)?;
    Some(found.1)
}

/// The name of a column as names are compared: `User ID` is `user_id`.
pub fn plain(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

/// Whether a field holds a list or an object, which in CSV is written as JSON.
pub fn is_structured(field: &str) -> bool {
    matches!(
        field,
        "coordinates"
            | "custom_properties"
            | "customer_attributes"
            | "element_classes"
            | "form_validation_errors"
            | "screen_resolution"
            | "truncated"
            | "viewport_size"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_named_in_every_way() {
        for (name, expected) in [
            ("user_id", Target::Field("user_id")),
            ("User ID", Target::Field("user_id")),
            ("event", Target::Field("event_type")),
            ("country", Target::Field("country")),
            ("custom_properties.Plan", Target::Property("Plan".into())),
            ("customer_attributes.a.b", Target::Attribute("a.b".into())),
        ] {
            assert_eq!(Target::parse(name).unwrap(), expected, "{name}");
        }
        let error = Target::parse("colour").unwrap_err().to_string();
        assert!(
            error.contains("`colour`") && !error.contains("did you mean"),
            "{error}"
        );
        let error = Target::parse("device").unwrap_err().to_string();
        assert!(error.contains("did you mean `device_id`"), "{error}");
        let error = Target::parse("evnt_type").unwrap_err().to_string();
        assert!(error.contains("did you mean `event_type`"), "{error}");
    }
}
