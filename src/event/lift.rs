//! Lifts what a client put among its own properties into the typed fields that exist for it.

use serde_json::{Map, Value};

use super::draft::Draft;
use super::model::Event;

/// Moves known properties into the fields of the event that are still empty.
///
/// A value that does not fit its field stays where it was. A property named like the field comes before one
/// of another name (`product_price` before `price`). Click ids are noted and their values dropped.
pub(crate) fn lift(draft: &mut Draft, properties: &mut Map<String, Value>) {
    draft.refuse_long = true;
    let mut found: Vec<(String, &'static str)> = properties
        .keys()
        .filter_map(|name| Some((name.clone(), field_of(name, &draft.event.event_type)?)))
        .collect();
    found.sort_by_key(|(name, field)| name != field);
    for (name, field) in found {
        if !is_empty(&draft.event, field) {
            continue;
        }
        let fits = properties
            .get(&name)
            .is_some_and(|value| draft.read(field, value).is_ok());
        if fits && !is_empty(&draft.event, field) {
            properties.remove(&name);
        }
    }
    properties.retain(|name, value| !draft.note_click_id(name, value));
    draft.refuse_long = false;
}

/// Returns the typed field a property stands for.
fn field_of(property: &str, event_type: &str) -> Option<&'static str> {
    Some(match property {
        "product_id" => "product_id",
        "product_name" => "product_name",
        "product_category" => "product_category",
        "product_price" | "price" => "product_price",
        "quantity" => "quantity",
        "cart_total" => "cart_total",
        "order_id" => "order_id",
        "order_total" => "order_total",
        "currency" => "currency",
        "search_query" => "search_query",
        "search_results_count" => "search_results_count",
        "form_id" => "form_id",
        "form_field_name" => "form_field_name",
        "form_field_type" => "form_field_type",
        "scroll_depth" => "scroll_depth",
        "error_message" => "error_message",
        "error_stack" => "error_stack",
        "page_load_time_ms" => "page_load_time_ms",
        "time_on_page_seconds" => "time_on_page_seconds",
        // The total of what depends on the event; elsewhere it may be the total of anything.
        "total" => match event_type {
            "purchase" => "order_total",
            "add_to_cart" | "remove_from_cart" | "checkout_start" => "cart_total",
            _ => return None,
        },
        _ => return None,
    })
}

fn is_empty(event: &Event, field: &str) -> bool {
    match field {
        "product_id" => event.product_id.is_none(),
        "product_name" => event.product_name.is_none(),
        "product_category" => event.product_category.is_none(),
        "product_price" => event.product_price.is_none(),
        "quantity" => event.quantity.is_none(),
        "cart_total" => event.cart_total.is_none(),
        "order_id" => event.order_id.is_none(),
        "order_total" => event.order_total.is_none(),
        "currency" => event.currency.is_none(),
        "search_query" => event.search_query.is_none(),
        "search_results_count" => event.search_results_count.is_none(),
        "form_id" => event.form_id.is_none(),
        "form_field_name" => event.form_field_name.is_none(),
        "form_field_type" => event.form_field_type.is_none(),
        "scroll_depth" => event.scroll_depth.is_none(),
        "error_message" => event.error_message.is_none(),
        "error_stack" => event.error_stack.is_none(),
        "page_load_time_ms" => event.page_load_time_ms.is_none(),
        "time_on_page_seconds" => event.time_on_page_seconds.is_none(),
        _ => false,
    }
}
