//! The names of the fields that the service knows.

/// Every field of an event that is read by its name, in order of name. Any other is kept as a property.
///
/// Nothing is read that is not listed here, and the API's description is held to this list, so that a new field
/// cannot be forgotten there.
pub const FIELDS: [&str; 47] = [
    "cart_total",
    "click_id",
    "coordinates",
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
];

/// Says whether a field of this name is read.
pub(crate) fn is_field(name: &str) -> bool {
    FIELDS.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_order_and_found() {
        assert!(FIELDS.is_sorted());
        assert!(FIELDS.iter().all(|name| is_field(name)));
        assert!(!is_field("gclid") && !is_field(""));
    }
}
