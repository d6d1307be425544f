//! What the OpenAPI document says about an event. The SDK's types are made from it.
//!
//! Events are read by `event`, which is more lenient than this: numbers also come as texts, sizes as `1920x1080`.
//! Described is the one form that a new client should send. Tests hold names, examples and limits to what is read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, OneOfBuilder, Schema, Type},
    },
};

/// One event.
///
/// `event_type` is required, and `device_id` or `user_id`. A field that is not listed here is kept among the
/// properties; `null` and the empty text are the same as no field.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "describes an event for the OpenAPI document; events are read by `event`"
)]
pub(crate) struct EventIn {
    /// What happened. The service knows a meaning for `add_to_cart`, `checkout_start`, `click`, `consent`, `custom`,
    /// `dead_click`, `error`, `file_download`, `form_abandon`, `form_error`, `form_input`, `form_submit`, `hover`,
    /// `identify`, `login`, `logout`, `page_leave`, `page_view`, `purchase`, `rage_click`, `remove_from_cart`,
    /// `scroll`, `search`, `signup`, `video_pause`, `video_play` and `web_vital`; any other name is an event of
    /// your own.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[a-z0-9_.:-]+$",
        example = "page_view"
    )]
    event_type: String,
    /// Any unique text, best a UUIDv7. The same id sent again is never a second event; without an id, every sending
    /// is a new one.
    #[schema(max_length = 64, example = "0198c5f2-7d1b-7c3a-9a52-2f6f0f6f4d11")]
    event_id: Option<String>,
    /// When it happened, by the client's clock. The time of receipt when absent.
    timestamp: Option<TimeIn>,
    /// Counts up within a client and orders events of the same instant. The place in the request when absent.
    #[schema(example = 17)]
    seq: Option<i64>,
    /// Anonymous id of the browser or device, made by the client. Must not begin with `user:`.
    #[schema(max_length = 128, example = "0198c5f2-7d1b-7c3a-9a52-2f6f0f6f4d12")]
    device_id: Option<String>,
    /// Id of the person at the site, once it is known. An e-mail address is kept as a keyed hash, unless the operator
    /// decides otherwise.
    #[schema(max_length = 128, example = "customer-4711")]
    user_id: Option<String>,
    /// The visit, as the client sees it; it is kept as long as it fits the service's rules for sessions.
    #[schema(max_length = 128, example = "0198c5f2-7d1b-7c3a-9a52-2f6f0f6f4d13")]
    session_id: Option<String>,

    /// Full http or https address of the page. Of the query, campaign parameters and those the operator allows are
    /// kept. Cut after 2048 characters.
    #[schema(
        format = "uri",
        example = "https://shop.example/tents?utm_source=news&utm_medium=email"
    )]
    page_url: Option<String>,
    /// Cut after 512 characters.
    #[schema(example = "Tents for two")]
    page_title: Option<String>,
    /// Full address of the page before; one that cannot be read is dropped. Cut after 2048 characters.
    #[schema(example = "https://search.example/")]
    referrer: Option<String>,
    /// Comes before the parameter of the same name in `page_url`, as the next four do. Cut after 256 characters.
    #[schema(example = "news")]
    utm_source: Option<String>,
    /// Cut after 256 characters.
    #[schema(example = "email")]
    utm_medium: Option<String>,
    /// Cut after 256 characters.
    #[schema(example = "spring")]
    utm_campaign: Option<String>,
    /// Cut after 256 characters.
    #[schema(example = "tent for two")]
    utm_term: Option<String>,
    /// Cut after 256 characters.
    #[schema(example = "second picture")]
    utm_content: Option<String>,
    /// Name of the click id parameter that the address carried, such as `gclid`. Its value is never kept; a field
    /// that is named like one is taken for its name alone.
    #[schema(example = "gclid")]
    click_id: Option<String>,

    /// A stable CSS selector. Cut after 512 characters.
    #[schema(example = "main > form > button.buy")]
    element_selector: Option<String>,
    /// Visible text of the element. Cut after 256 characters.
    #[schema(example = "Add to cart")]
    element_text: Option<String>,
    /// Attribute `id` of the element. Cut after 128 characters.
    #[schema(example = "buy")]
    element_id: Option<String>,
    /// Classes of the element, separated by spaces. Cut after 512 characters.
    #[schema(example = "button primary")]
    element_classes: Option<String>,
    /// Pixels from the left and from the top edge of the page, each from -1000000 to 1000000.
    #[schema(min_items = 2, max_items = 2, example = json!([640, 1312]))]
    coordinates: Option<Vec<i32>>,
    /// Percent of the page's height that was seen. A fraction is rounded.
    #[schema(minimum = 0, maximum = 100, example = 75)]
    scroll_depth: Option<i32>,

    #[schema(max_length = 128, example = "checkout")]
    form_id: Option<String>,
    /// Name of the field, never its value. Cut after 128 characters.
    #[schema(example = "postcode")]
    form_field_name: Option<String>,
    /// Cut after 128 characters.
    #[schema(example = "text")]
    form_field_type: Option<String>,
    /// What the form found wrong: at most 50 texts, the others are dropped. Each is cut after 256 characters.
    #[schema(example = json!(["postcode: required"]))]
    form_validation_errors: Option<Vec<String>>,

    #[schema(max_length = 128, example = "tent-2")]
    product_id: Option<String>,
    /// Cut after 256 characters.
    #[schema(example = "Tent Fjell 2")]
    product_name: Option<String>,
    /// Cut after 256 characters.
    #[schema(example = "Tents")]
    product_category: Option<String>,
    /// Price of one piece.
    product_price: Option<AmountIn>,
    /// Pieces.
    #[schema(minimum = 0, maximum = 2_147_483_647, example = 2)]
    quantity: Option<i32>,
    /// Value of the whole cart after this event.
    cart_total: Option<AmountIn>,
    #[schema(max_length = 128, example = "order-1017")]
    order_id: Option<String>,
    /// Value of the order.
    order_total: Option<AmountIn>,
    /// ISO 4217 code of every amount of this event, in any case.
    #[schema(pattern = "^[A-Za-z]{3}$", example = "EUR")]
    currency: Option<String>,

    /// What was searched for. Cut after 256 characters.
    #[schema(example = "rain jacket")]
    search_query: Option<String>,
    /// Results that were found.
    #[schema(minimum = 0, maximum = 2_147_483_647, example = 12)]
    search_results_count: Option<i32>,
    /// Cut after 1024 characters.
    #[schema(example = "cart is undefined")]
    error_message: Option<String>,
    /// Cut after 8192 characters.
    #[schema(example = "at add (https://shop.example/shop.js:12:7)")]
    error_stack: Option<String>,

    /// The request's own header when absent.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")]
    user_agent: Option<String>,
    /// What the user agent says when absent.
    #[schema(inline)]
    device_type: Option<DeviceTypeIn>,
    /// Width and height of the screen in pixels, each from 0 to 1000000.
    #[schema(min_items = 2, max_items = 2, example = json!([1920, 1080]))]
    screen_resolution: Option<Vec<i32>>,
    /// Width and height of the window's inside in pixels, each from 0 to 1000000.
    #[schema(min_items = 2, max_items = 2, example = json!([1280, 720]))]
    viewport_size: Option<Vec<i32>>,
    /// Milliseconds until the page was loaded. A fraction is rounded.
    #[schema(minimum = 0, maximum = 2_147_483_647, example = 840)]
    page_load_time_ms: Option<i32>,
    /// Seconds that the page was visible. Those of all `page_leave` events of a session are added up.
    #[schema(minimum = 0, maximum = 50_000_000, example = 12.5)]
    time_on_page_seconds: Option<f64>,

    /// Anything else about the event: at most 16 KiB of JSON, with the fields that are not listed here, and 32 levels.
    #[schema(example = json!({"experiment": "b"}))]
    custom_properties: Option<Map<String, Value>>,
    /// What is now known about the person: at most 16 KiB of JSON, 32 levels, names of up to 64 characters.
    #[schema(example = json!({"plan": "pro"}))]
    customer_attributes: Option<Map<String, Value>>,

    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// A time: RFC 3339 with a zone, or milliseconds since 1970.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[schema(example = "2026-11-23T10:00:00.123Z")]
#[expect(dead_code, reason = "describes a time for the OpenAPI document")]
pub(crate) enum TimeIn {
    Text(DateTime<Utc>),
    Milliseconds(i64),
}

/// An exact decimal amount, as a number or as a text.
#[derive(Debug)]
pub(crate) struct AmountIn;

impl PartialSchema for AmountIn {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0));
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9]+([.][0-9]+)?$"));
        OneOfBuilder::new()
            .description(Some(
                "An exact decimal amount of at most 28 digits, never negative. A number keeps 15 digits, which is \
                 enough for any price; a text keeps all.",
            ))
            .item(number)
            .item(text)
            .examples([json!("289.00"), json!(19.99)])
            .into()
    }
}

impl ToSchema for AmountIn {}

/// A class of device.
#[derive(Debug, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(example = "tablet")]
#[expect(dead_code, reason = "describes a class of device for the OpenAPI document")]
pub(crate) enum DeviceTypeIn {
    Desktop,
    Mobile,
    Tablet,
    Unknown,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::{self, Event, Hasher, Policy, Rejection, RequestContext, kind};

    /// The schema with what it refers to put in its place.
    fn properties() -> Map<String, Value> {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        let mut schema = document["components"]["schemas"]["EventIn"].clone();
        assert_eq!(schema["required"], json!(["event_type"]));
        assert!(
            schema["additionalProperties"].is_object(),
            "other fields are welcome"
        );
        resolve(&mut schema, &document);
        schema["properties"].as_object().unwrap().clone()
    }

    fn resolve(value: &mut Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.remove("$ref") {
                    let target = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
                    members.extend(target.as_object().unwrap().clone());
                }
                members.values_mut().for_each(|member| resolve(member, document));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, document)),
            _ => {}
        }
    }

    fn judged(fields: &Value) -> Result<Event, Rejection> {
        let context = RequestContext {
            received_at: "2026-11-23T12:00:00Z".parse().unwrap(),
            key_id: 1,
            client_ip: None,
            user_agent: None,
            dnt: false,
            gpc: false,
        };
        let policy = Policy {
            hasher: Hasher::new("a salt of sixteen"),
            ip_hash: false,
            hash_emails: true,
            honour_dnt: true,
            honour_gpc: true,
            cookieless: false,
            url_parameters_allowed: Vec::new(),
            own_hosts: Vec::new(),
            filter_bots: true,
            events_age_max: None,
            batch_events_max: 100,
            countries: None,
        };
        let mut value = json!({"event_type": "click", "event_id": "e", "device_id": "d"});
        value
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        event::judge(value, None, &context, &policy)
    }

    /// Finds an annotation of a property, or of one of the forms it may have.
    fn find<'a>(property: &'a Value, name: &str) -> Option<&'a Value> {
        property.get(name).or_else(|| {
            let forms = property.get("oneOf").or_else(|| property.get("anyOf"))?;
            forms.as_array()?.iter().find_map(|form| find(form, name))
        })
    }

    #[test]
    fn the_described_fields_are_those_that_are_read() {
        let described: BTreeSet<String> = properties().keys().cloned().collect();
        let read: BTreeSet<String> = event::FIELDS.map(str::to_owned).into();
        assert_eq!(described, read);
    }

    #[test]
    fn every_example_is_read_into_a_field_of_its_own() {
        let plain = judged(&json!({})).unwrap();
        for (name, property) in properties() {
            let example = find(&property, "example").or_else(|| find(&property, "examples")?.get(0));
            let example = example.unwrap_or_else(|| panic!("{name} has no example"));
            let event = judged(&json!({ name.as_str(): example }));
            let event = event.unwrap_or_else(|rejection| panic!("{name}: {rejection:?}"));
            assert_ne!(event, plain, "{name} changes nothing");
            assert!(!event.properties.contains_key(&name), "{name} is not read");
        }
    }

    #[test]
    fn every_known_type_is_described() {
        let description = properties()["event_type"]["description"].clone();
        let description = description.as_str().unwrap();
        for name in kind::KNOWN {
            assert!(description.contains(&format!("`{name}`")), "{name}");
        }
    }

    /// Makes a text of so many characters that the field takes.
    fn text_of(name: &str, length: usize) -> String {
        let start = match name {
            "page_url" | "referrer" => "https://shop.example/",
            _ => "",
        };
        format!("{start}{}", "x".repeat(length - start.len()))
    }

    #[test]
    fn every_described_limit_of_a_text_is_the_real_one() {
        let (mut cut, mut refused) = (0, 0);
        for (name, property) in properties() {
            let value = |length| {
                let text = text_of(&name, length);
                let is_list = name == "form_validation_errors";
                json!({ name.as_str(): if is_list { json!([text]) } else { json!(text) } })
            };
            let description = property["description"]
                .as_str()
                .unwrap_or_default()
                .to_lowercase();
            if let Some((_, rest)) = description.split_once("cut after ") {
                let limit: usize = rest.split(' ').next().unwrap().parse().unwrap();
                let truncated = |length| judged(&value(length)).unwrap().truncated;
                assert_eq!(truncated(limit), Vec::<String>::new(), "{name}");
                assert!(truncated(limit + 1).contains(&name), "{name}");
                cut += 1;
            }
            if let Some(limit) = find(&property, "maxLength").and_then(Value::as_u64) {
                let limit = usize::try_from(limit).unwrap();
                assert!(judged(&value(limit)).is_ok(), "{name}");
                let rejection = judged(&value(limit + 1)).unwrap_err();
                assert_eq!(rejection.field.as_deref(), Some(name.as_str()));
                refused += 1;
            }
        }
        assert!(cut > 15 && refused > 5, "{cut} {refused}");
    }

    #[test]
    fn every_described_range_of_a_number_is_the_real_one() {
        let mut checked = 0;
        for (name, property) in properties() {
            let judged = |number: i64| judged(&json!({ name.as_str(): number }));
            for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
                let Some(limit) = find(&property, bound).and_then(Value::as_f64) else {
                    continue;
                };
                let limit = limit as i64;
                assert!(judged(limit).is_ok(), "{name} {bound}");
                assert!(judged(limit + beyond).is_err(), "{name} {bound}");
                checked += 1;
            }
        }
        assert!(checked > 10, "{checked}");
    }
}
