-- A device that several people used outlives the erasure of one of them: a tombstone then covers only the
-- erased person's stretches of it.
ALTER TABLE erasure_tombstones
    -- Events of the subject from `since` to `until`, both included, are refused.
    ADD COLUMN since timestamptz NOT NULL DEFAULT '1900-01-01 00:00:00+00',
    ADD COLUMN until timestamptz;
UPDATE erasure_tombstones SET until = erased_at;
ALTER TABLE erasure_tombstones
    ALTER COLUMN until SET NOT NULL,
    DROP CONSTRAINT erasure_tombstones_pkey,
    ADD PRIMARY KEY (subject_hash, since);

-- Where lives of erased people began. The event after such a place starts a new life, so that the people
-- before and after are not taken for one. Three arrays of equal length, a place in the order of events:
-- times, counters or NULL, and texts between event ids, which name no event that was erased.
ALTER TABLE devices
    ADD COLUMN break_times  timestamptz[] NOT NULL DEFAULT '{}',
    ADD COLUMN break_seqs   bigint[] NOT NULL DEFAULT '{}',
    ADD COLUMN break_events text[] COLLATE "C" NOT NULL DEFAULT '{}';
