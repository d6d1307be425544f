-- What the journey index, which is in memory, must read again: one row for each transaction that changed sessions.
-- A reader takes every row of a transaction that was not complete when it last looked, so that no change is missed
-- whatever the order of commits. Ids of customers name nobody once their customer is erased.
CREATE TABLE index_changes (
    transaction  bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    -- The database's clock: what is recorded may be told by a clock of another time, as imports do.
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    -- Two arrays of equal length.
    customer_ids uuid[] NOT NULL,
    -- Sessions that ended before this did not change; NULL when any of the customer's may have.
    since        timestamptz[] NOT NULL
);
CREATE INDEX index_changes_transaction_idx ON index_changes (transaction);
