-- Who is who. Linking never rewrites an event.

-- The append-only merge log. A 'link' row says that the service saw a device identify as a user; an
-- 'unlink' row takes every claim received up to then back.
CREATE TABLE identity_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    device_id   text COLLATE "C" NOT NULL,
    user_id     text NOT NULL,
    action      text NOT NULL CHECK (action IN ('link', 'unlink')),
    event_id    text,
    reason      text NOT NULL
);
CREATE INDEX identity_log_device_idx ON identity_log (device_id, id);
CREATE INDEX identity_log_user_idx ON identity_log (user_id);

-- Where the derivation of a device stands, so that events which arrive in order extend it without
-- reading the device's history. Also the row that writers lock: one device, one writer at a time.
CREATE TABLE devices (
    device_id      text COLLATE "C" PRIMARY KEY,
    first_seen     timestamptz NOT NULL,
    last_timestamp timestamptz,
    last_seq       bigint,
    last_event_id  text COLLATE "C",
    -- The newest event was a logout: the next one starts a new life.
    logged_out     boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70);

-- A life is a stretch of one device's events that belongs to one person.
CREATE TABLE device_lives (
    device_id   text COLLATE "C" NOT NULL,
    life        integer NOT NULL,
    started_at  timestamptz NOT NULL,
    start_seq   bigint,
    start_event text COLLATE "C" NOT NULL,
    user_id     text,
    customer_id uuid NOT NULL,
    PRIMARY KEY (device_id, life)
) WITH (fillfactor = 80);
CREATE INDEX device_lives_customer_idx ON device_lives (customer_id);
