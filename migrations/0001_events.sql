-- The raw events: the only truth, everything else is derived from them.
--
-- There is no unique key here. "Stored once" is held by event_keys below, because a hypertable's unique
-- key must hold its time column, and the time the server gives to a re-sent event may differ from the
-- first one. It also leaves the widest table with two indexes only, the cheapest to write.
-- Ids are compared byte by byte (COLLATE "C"), the same order that the derivation of sessions uses.
CREATE TABLE events (
    timestamp              timestamptz NOT NULL,
    event_id               text COLLATE "C" NOT NULL,
    event_type             text NOT NULL,
    client_timestamp       timestamptz,
    received_at            timestamptz NOT NULL,
    seq                    bigint,
    device_id              text COLLATE "C" NOT NULL,
    user_id                text,
    session_id             text,
    key_id                 integer NOT NULL,
    page_url               text,
    page_host              text,
    page_path              text,
    page_title             text,
    referrer               text,
    referrer_host          text,
    utm_source             text,
    utm_medium             text,
    utm_campaign           text,
    utm_term               text,
    utm_content            text,
    click_id               text,
    element_selector       text,
    element_text           text,
    element_id             text,
    element_classes        text,
    x                      integer,
    y                      integer,
    scroll_depth           smallint,
    form_id                text,
    form_field_name        text,
    form_field_type        text,
    form_validation_errors text[],
    product_id             text,
    product_name           text,
    product_category       text,
    product_price          numeric,
    quantity               integer,
    cart_total             numeric,
    order_id               text,
    order_total            numeric,
    currency               text,
    search_query           text,
    search_results_count   integer,
    error_message          text,
    error_stack            text,
    device_type            text NOT NULL,
    browser                text,
    os                     text,
    country                text,
    ip_hash                text,
    screen_width           integer,
    screen_height          integer,
    viewport_width         integer,
    viewport_height        integer,
    page_load_time_ms      integer,
    time_on_page_seconds   double precision,
    properties             jsonb,
    truncated              text[]
);

CREATE INDEX events_timestamp_idx ON events (timestamp DESC);
CREATE INDEX events_device_idx ON events (device_id, timestamp);

-- Which event ids were stored, and under which time. A UUID event id is its own key, any other text is
-- hashed to one, so the index stays narrow and ids made in time order are appended to its right edge.
CREATE TABLE event_keys (
    event_key uuid PRIMARY KEY,
    timestamp timestamptz NOT NULL
);

-- Retention walks the table by time; block ranges are enough for that and cost next to nothing to keep.
CREATE INDEX event_keys_timestamp_idx ON event_keys USING brin (timestamp);
