-- What the service needs of TimescaleDB community, tried once before the tests rely on it. Any surprise is an error.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

CREATE TABLE event (id uuid NOT NULL, at timestamptz NOT NULL, site int NOT NULL, amount numeric(12, 2), UNIQUE (id, at));
SELECT create_hypertable('event', by_range('at', interval '1 day'));
INSERT INTO event
SELECT gen_random_uuid(), timestamptz '2026-01-01' + i * interval '10 min', i % 3, i
FROM generate_series(0, 1999) AS i;

CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS
SELECT time_bucket('1 hour', at) AS hour, site, count(*) AS events FROM event GROUP BY 1, 2
WITH NO DATA;
CALL refresh_continuous_aggregate('hourly', NULL, NULL);
DO $$ BEGIN ASSERT (SELECT sum(events) FROM hourly) = 2000, 'the continuous aggregate misses events'; END $$;

ALTER TABLE event SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'site', timescaledb.orderby = 'at, id');
CALL add_columnstore_policy('event', after => interval '7 days');
SELECT add_retention_policy('event', interval '90 days');
SELECT compress_chunk(chunk) FROM show_chunks('event', older_than => timestamptz '2026-01-05') AS chunk;
DO $$ BEGIN
  ASSERT (SELECT number_compressed_chunks FROM hypertable_compression_stats('event')) = 4, 'chunks are not compressed';
END $$;

-- Erasing a person reaches into compressed chunks, and the aggregate follows when it is refreshed.
DELETE FROM event WHERE site = 1 AND at < '2026-01-03';
CALL refresh_continuous_aggregate('hourly', NULL, NULL);
DO $$ BEGIN
  ASSERT NOT EXISTS (SELECT FROM event WHERE site = 1 AND at < '2026-01-03'), 'a deleted event is still there';
  ASSERT NOT EXISTS (SELECT FROM hourly WHERE site = 1 AND hour < '2026-01-03'), 'the aggregate kept deleted events';
END $$;

-- The same event again, into a compressed chunk: refused as a duplicate.
INSERT INTO event SELECT * FROM event WHERE at = '2026-01-02' ON CONFLICT DO NOTHING;
DO $$ BEGIN ASSERT (SELECT count(*) FROM event WHERE at = '2026-01-02') = 1, 'a duplicate was stored'; END $$;

-- No background worker runs here, so the policies are run by hand.
SELECT job_id AS retention FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' \gset
SELECT alter_job(:retention, config => (SELECT config || '{"drop_after": "1 day"}' FROM timescaledb_information.jobs WHERE job_id = :retention));
CALL run_job(:retention);
DO $$ BEGIN ASSERT (SELECT count(*) FROM event WHERE at < now() - interval '2 days') = 0, 'retention kept old events'; END $$;
