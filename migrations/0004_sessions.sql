-- Sessions: a pure function of the events of one device.
CREATE TABLE sessions (
    id                 uuid PRIMARY KEY,
    session_id         text NOT NULL,
    client_session_id  text,
    device_id          text COLLATE "C" NOT NULL,
    life               integer NOT NULL,
    customer_id        uuid NOT NULL,
    user_id            text,
    started_at         timestamptz NOT NULL,
    ended_at           timestamptz NOT NULL,
    duration_seconds   double precision NOT NULL,
    event_count        integer NOT NULL,
    page_views         integer NOT NULL,
    clicks             integer NOT NULL,
    rage_clicks        integer NOT NULL,
    dead_clicks        integer NOT NULL,
    form_errors        integer NOT NULL,
    errors             integer NOT NULL,
    searches           integer NOT NULL,
    -- {"page_view": 3, "click": 7}
    event_counts       jsonb NOT NULL,
    -- Ordered page paths, repeats collapsed, at most 200.
    pages              text[] NOT NULL,
    entry_page         text,
    exit_page          text,
    source             text NOT NULL,
    medium             text,
    campaign           text,
    channel            text NOT NULL,
    referrer_host      text,
    device_type        text NOT NULL,
    browser            text,
    os                 text,
    country            text,
    converted          boolean NOT NULL,
    conversion_value   numeric NOT NULL,
    currency           text,
    order_ids          text[] NOT NULL,
    cart_value         numeric,
    abandoned          boolean NOT NULL,
    drop_off_page      text,
    drop_off_reason    text,
    -- Percent, over the pages that reported one.
    mean_scroll_depth  double precision,
    visible_seconds    double precision NOT NULL,
    engagement         smallint NOT NULL,
    engaged            boolean NOT NULL,
    -- What a later event needs to extend the session exactly as if all of it were read again.
    state              jsonb NOT NULL
) WITH (fillfactor = 70);

-- Only columns that never change while a session grows are indexed, so that growing stays a heap-only update.
CREATE INDEX sessions_started_idx ON sessions (started_at DESC, id DESC);
CREATE INDEX sessions_device_idx ON sessions (device_id, started_at);
CREATE INDEX sessions_customer_idx ON sessions (customer_id, started_at);
CREATE INDEX sessions_session_id_idx ON sessions (session_id);
