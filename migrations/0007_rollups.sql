-- Hours whose roll-up must be computed again. Only filled where no continuous aggregate does that work.
CREATE TABLE rollup_dirty_hours (
    hour timestamptz PRIMARY KEY
);

-- The roll-up itself, for plain PostgreSQL and TimescaleDB's Apache edition. On the community edition a
-- continuous aggregate takes its place; either way it is read through the relation `events_hourly`, which
-- the service creates at start because the two cannot be one migration.
CREATE TABLE events_hourly_rows (
    hour              timestamptz NOT NULL,
    event_type        text NOT NULL,
    device_type       text NOT NULL,
    country           text,
    currency          text,
    events            bigint NOT NULL,
    order_total       numeric,
    page_load_ms_sum  bigint,
    page_load_count   bigint NOT NULL
);
CREATE INDEX events_hourly_rows_hour_idx ON events_hourly_rows (hour);

-- What the scheduler did, so that one process leads and a second one can see when a job last ran.
CREATE TABLE job_runs (
    job         text PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    outcome     text,
    detail      text
);
