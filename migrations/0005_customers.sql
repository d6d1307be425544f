-- People. A customer is the user when known, else one life of one device. Every column but the id is
-- recomputed from the customer's sessions and facts; the defaults let a writer lock a new customer's row
-- before it computes the rest.
CREATE TABLE customers (
    id              uuid PRIMARY KEY,
    user_id         text,
    first_seen      timestamptz NOT NULL DEFAULT 'epoch',
    last_seen       timestamptz NOT NULL DEFAULT 'epoch',
    devices         integer NOT NULL DEFAULT 0,
    sessions        integer NOT NULL DEFAULT 0,
    events          bigint NOT NULL DEFAULT 0,
    page_views      bigint NOT NULL DEFAULT 0,
    conversions     integer NOT NULL DEFAULT 0,
    -- Sums by currency: {"EUR": "129.90"}. Exact decimals as text, since a sum over currencies means nothing.
    revenue         jsonb NOT NULL DEFAULT '{}',
    abandoned_carts integer NOT NULL DEFAULT 0,
    visible_seconds double precision NOT NULL DEFAULT 0,
    -- First touch.
    source          text NOT NULL DEFAULT '',
    medium          text,
    campaign        text,
    channel         text NOT NULL DEFAULT '',
    entry_page      text,
    -- Last seen.
    device_type     text NOT NULL DEFAULT 'unknown',
    country         text,
    -- Current value of every attribute: {"plan": "pro"}.
    attributes      jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 80);
CREATE INDEX customers_user_idx ON customers (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX customers_first_seen_idx ON customers (first_seen DESC, id DESC);

-- What was said about a person, and when. Current values, old values and the history of a merged or
-- unmerged person are all read from here, so no order of arrival can change them.
-- The device is the one that said it.
CREATE TABLE attribute_facts (
    device_id   text COLLATE "C" NOT NULL,
    name        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    seq         bigint,
    event_id    text COLLATE "C" NOT NULL,
    user_id     text,
    category    text NOT NULL CHECK (category IN
        ('demographic', 'behavioural', 'transactional', 'acquisition', 'engagement', 'device', 'custom')),
    -- NULL: the attribute was taken away.
    value       jsonb,
    -- `event:<type>`: what made the service record it.
    reason      text NOT NULL,
    PRIMARY KEY (device_id, name, occurred_at, event_id)
);
