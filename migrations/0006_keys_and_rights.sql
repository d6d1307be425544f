-- API keys: only a keyed hash is kept.
CREATE TABLE api_keys (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('write', 'secret')),
    name         text NOT NULL,
    -- The first characters of the key, enough to recognise it in a list.
    prefix       text NOT NULL,
    key_hash     bytea NOT NULL UNIQUE,
    -- Origins a write key may be used from; empty means any.
    origins      text[] NOT NULL DEFAULT '{}',
    scopes       text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    rotated_from integer REFERENCES api_keys (id)
);

-- Who was erased, as keyed hashes of their device and user ids: enough to refuse what a restored backup or
-- a queue still holds of them, and nothing that names them.
CREATE TABLE erasure_tombstones (
    subject_hash bytea PRIMARY KEY,
    erased_at    timestamptz NOT NULL
);

-- What was done with people's data, without saying whose it was.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    action  text NOT NULL,
    details jsonb NOT NULL
);
