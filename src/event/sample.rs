//! A picture of a refused event that shows its shape and nothing of its content.

use serde_json::{Map, Value, json};

use super::kind;

/// Room for the fields of a sample, in bytes; the rest of its 1 KiB is for what surrounds them.
const FIELDS_BYTES_MAX: usize = 900;
const NAME_LENGTH_MAX: usize = 64;

/// Describes an event by its type, the names of its fields, and the type and length of each value.
///
/// Names of unusual form are left out like those beyond the room, since they may be data themselves.
pub(crate) fn draw(object: &Map<String, Value>) -> Value {
    let mut fields = Map::new();
    let (mut bytes, mut left_out) = (0, 0);
    for (name, value) in object {
        let shape = shape(value);
        // Two pairs of quotes, a colon and a comma.
        let cost = name.len() + shape.len() + 6;
        if !is_plain(name) || bytes + cost > FIELDS_BYTES_MAX {
            left_out += 1;
            continue;
        }
        bytes += cost;
        fields.insert(name.clone(), shape.into());
    }
    let mut sample = json!({ "fields": fields });
    if left_out > 0 {
        sample["fields_left_out"] = left_out.into();
    }
    if let Some(event_type) = object.get("event_type").and_then(Value::as_str)
        && kind::is_valid(event_type)
    {
        sample["event_type"] = event_type.into();
    }
    sample
}

/// Describes a value that is not even an object.
pub(crate) fn draw_other(value: &Value) -> Value {
    json!({ "value": shape(value) })
}

/// Says whether a name can be shown: at most 64 bytes of letters, digits, `_`, `-`, `.` and `:`.
pub(crate) fn is_plain(name: &str) -> bool {
    name.len() <= NAME_LENGTH_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':'))
}

fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(text) => format!("text({})", text.chars().count()),
        Value::Array(values) => format!("array({})", values.len()),
        Value::Object(object) => format!("object({})", object.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_sample_shows_shapes_only() {
        let sample = draw(&object(json!({
            "event_type": "click", "user_id": "ann", "x": 1, "list": [1, 2], "deep": {"a": 1}, "flag": true,
            "none": null, "ann@example.com": 1,
        })));
        let expected = json!({
            "event_type": "click",
            "fields": {
                "event_type": "text(5)", "user_id": "text(3)", "x": "number", "list": "array(2)",
                "deep": "object(1)", "flag": "boolean", "none": "null",
            },
            "fields_left_out": 1,
        });
        assert_eq!(sample, expected);
        assert_eq!(
            draw(&object(json!({"event_type": "Ann Smith"}))).get("event_type"),
            None
        );
        assert_eq!(draw_other(&json!("ann")), json!({"value": "text(3)"}));
    }

    #[test]
    fn a_sample_stays_within_a_kibibyte() {
        let many = (0..1000)
            .map(|i| (format!("{i:0>60}"), Value::from("x".repeat(5000))))
            .collect();
        let mut many: Map<String, Value> = many;
        many.insert("event_type".into(), "y".repeat(64).into());
        let sample = draw(&many);
        assert!(serde_json::to_vec(&sample).unwrap().len() <= 1024);
        assert!(sample["fields_left_out"].as_u64().unwrap() > 900);
    }
}
