//! How large and how deep the free part of an event may be.

use serde_json::{Map, Value};

use super::error::{Refusal, RejectReason};
use super::sample;

/// Bytes of `custom_properties` with the unknown fields, and of `customer_attributes`, as JSON.
const OBJECT_BYTES_MAX: usize = 16 * 1024;
/// Characters in the name of an attribute.
const ATTRIBUTE_NAME_MAX: usize = 64;
/// Levels within a property or an attribute. serde_json reads 128 at most, and an event travels inside the
/// objects of the queue and of answers: what one level reads, the next must read as well.
const DEPTH_MAX: usize = 32;

/// Refuses properties and fields of no known name that are too large together, or too deep.
pub(crate) fn check_properties(object: &Map<String, Value>, unknown: &[String]) -> Result<(), Refusal> {
    const NAME: &str = "custom_properties";
    let own = read_object(object, NAME)?;
    let mut bytes = own.map_or(0, json_bytes);
    for name in unknown {
        let value = &object[name];
        if is_deeper(value, DEPTH_MAX) {
            let detail = "The value nests too deeply: 32 levels are kept.";
            // The ledger cannot hold a NUL, and must not hold data that came as a name.
            return Err(Refusal {
                field: sample::is_plain(name).then(|| name.clone()),
                ..Refusal::new(RejectReason::InvalidField, detail)
            });
        }
        // The quotes, a colon and a comma.
        bytes += name.len() + 4 + json_bytes(value);
    }
    if bytes > OBJECT_BYTES_MAX {
        let detail = "The properties, with fields of no known name, may take 16 KiB of JSON.";
        return Err(Refusal::of_field(RejectReason::PropertiesTooLarge, NAME, detail));
    }
    Ok(())
}

/// Refuses attributes that are too large, too deep, or have long names.
pub(crate) fn check_attributes(object: &Map<String, Value>) -> Result<(), Refusal> {
    const NAME: &str = "customer_attributes";
    let Some(attributes) = read_object(object, NAME)? else {
        return Ok(());
    };
    // The members of a category are attributes themselves.
    let members = attributes
        .values()
        .filter_map(Value::as_object)
        .flat_map(Map::keys);
    if attributes
        .keys()
        .chain(members)
        .any(|name| name.chars().nth(ATTRIBUTE_NAME_MAX).is_some())
    {
        return Err(Refusal::invalid(
            NAME,
            "The name of an attribute may have 64 characters.",
        ));
    }
    if json_bytes(attributes) > OBJECT_BYTES_MAX {
        let detail = "The attributes may take 16 KiB of JSON.";
        return Err(Refusal::of_field(RejectReason::AttributesTooLarge, NAME, detail));
    }
    Ok(())
}

fn read_object<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, Refusal> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(inner)) => {
            if inner.values().any(|value| is_deeper(value, DEPTH_MAX)) {
                return Err(Refusal::invalid(
                    name,
                    "The value nests too deeply: 32 levels are kept.",
                ));
            }
            Ok(Some(inner))
        }
        Some(_) => Err(Refusal::invalid(name, "The value must be an object.")),
    }
}

/// Says whether a value has more than `levels` of arrays and objects.
fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(values) => levels == 0 || values.iter().any(|value| is_deeper(value, levels - 1)),
        Value::Object(object) => levels == 0 || object.values().any(|value| is_deeper(value, levels - 1)),
        _ => false,
    }
}

/// Counts the bytes of a value as JSON, without writing them anywhere.
fn json_bytes(value: &impl serde::Serialize) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Neither a JSON value nor the counter can fail.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}
