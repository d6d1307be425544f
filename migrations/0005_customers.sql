-- People. A customer is the user when known, else one life of one device.
CREATE TABLE customers (
    id              uuid PRIMARY KEY,
    user_id         text,
    first_seen      timestamptz NOT NULL,
    last_seen       timestamptz NOT NULL,
    devices         integer NOT NULL,
    sessions        integer NOT NULL,
    events          bigint NOT NULL,
    page_views      bigint NOT NULL,
    conversions     integer NOT NULL,
    -- Sums by currency: {"EUR": "129.90"}. Exact decimals as text, since a sum over currencies means nothing.
    revenue         jsonb NOT NULL,
    abandoned_carts integer NOT NULL,
    visible_seconds double precision NOT NULL,
    -- First touch.
    source          text NOT NULL,
    medium          text,
    campaign        text,
    channel         text NOT NULL,
    entry_page      text,
    -- Last seen.
    device_type     text NOT NULL,
    country         text,
    -- Current value of every attribute: {"plan": "pro"}.
    attributes      jsonb NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX customers_user_idx ON customers (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX customers_first_seen_idx ON customers (first_seen DESC, id DESC);

-- What was said about a person, and when. Current values, old values and the history of a merged or
-- unmerged person are all read from here, so no order of arrival can change them. `subject` is the device
-- that said it.
CREATE TABLE attribute_facts (
    device_id   text NOT NULL,
    name        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    seq         bigint,
    event_id    text NOT NULL,
    user_id     text,
    category    text NOT NULL CHECK (category IN
        ('demographic', 'behavioural', 'transactional', 'acquisition', 'engagement', 'device', 'custom')),
    value       jsonb NOT NULL,
    -- `event:<type>`: what made the service record it.
    reason      text NOT NULL,
    PRIMARY KEY (device_id, name, occurred_at, event_id)
);
