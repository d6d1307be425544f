-- The drop ledger: received = stored + duplicate + rejected + queued, at any moment.

-- One row for each queue the service has ever fed from. A Redis that comes back empty gets a new epoch,
-- so that what the old one lost stays visible instead of being averaged away.
CREATE TABLE queue_epochs (
    epoch         uuid PRIMARY KEY,
    started_at    timestamptz NOT NULL,
    -- The queue's own count of received events when the writer last looked.
    received_seen bigint NOT NULL DEFAULT 0,
    seen_at       timestamptz NOT NULL
);

-- One row for each queue entry that was settled, written in the transaction that stored its events:
-- an entry delivered again after a crash is recognised and not counted twice.
CREATE TABLE queue_entries (
    epoch      uuid NOT NULL,
    entry_ms   bigint NOT NULL,
    entry_seq  bigint NOT NULL,
    settled_at timestamptz NOT NULL,
    stored     integer NOT NULL,
    duplicate  integer NOT NULL,
    rejected   integer NOT NULL,
    PRIMARY KEY (epoch, entry_ms, entry_seq)
);

-- Events by hour of receipt, key, outcome and reason. `epoch` is the queue they came through, or the nil
-- UUID for events committed directly; only those have rows of the outcome `received`, since the queue
-- keeps that count itself.
CREATE TABLE ingest_ledger (
    epoch   uuid NOT NULL,
    hour    timestamptz NOT NULL,
    key_id  integer NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('received', 'stored', 'duplicate', 'rejected')),
    reason  text NOT NULL DEFAULT '',
    count   bigint NOT NULL,
    PRIMARY KEY (epoch, hour, key_id, outcome, reason)
);

-- A few redacted examples of what was rejected, for the person who has to find out why.
CREATE TABLE drop_samples (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    key_id      integer NOT NULL,
    reason      text NOT NULL,
    field       text,
    detail      text NOT NULL,
    sample      jsonb
);
CREATE INDEX drop_samples_reason_idx ON drop_samples (reason, id DESC);
