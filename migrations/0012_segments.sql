-- Segments: people chosen by rules. Only the rules are kept: who belongs is worked out when it is asked, so that a
-- segment never names anybody, and nobody has to be taken out of one.
CREATE TABLE segments (
    id          uuid PRIMARY KEY,
    name        text NOT NULL CONSTRAINT segments_name_unique UNIQUE,
    description text,
    -- The rules, as the API takes them.
    definition  jsonb NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

-- How many people a segment had, day by day: the past cannot be counted again, since it moves with `now`.
CREATE TABLE segment_sizes (
    segment_id uuid NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    -- A day of the site's time zone.
    day        date NOT NULL,
    people     bigint NOT NULL,
    -- Everybody the index covered then, to see a share by.
    everybody  bigint NOT NULL,
    PRIMARY KEY (segment_id, day)
);
