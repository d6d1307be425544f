-- Alerts: what deviated from earlier weeks, and whom it was told. An alert is a row for its whole life, so that the
-- list of alerts is the history of the site's troubles.
CREATE TABLE alerts (
    id                uuid PRIMARY KEY,
    -- `traffic`, `conversion_rate`, `error_rate`, `no_data` or `funnel:<id>:step:<number>`.
    subject           text NOT NULL,
    severity          text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    status            text NOT NULL CHECK (status IN ('open', 'acknowledged', 'resolved')),
    opened_at         timestamptz NOT NULL,
    -- When an evaluation last found it, or somebody changed it.
    updated_at        timestamptz NOT NULL,
    acknowledged_at   timestamptz,
    -- The API key that acknowledged it.
    acknowledged_by   text,
    resolved_at       timestamptz,
    resolved_reason   text CHECK (resolved_reason IN ('manual', 'recovered')),
    -- The figures it was opened or escalated with: shares from 0 to 1, or numbers.
    expected          double precision NOT NULL,
    observed          double precision NOT NULL,
    -- observed / expected − 1.
    effect            double precision NOT NULL,
    p_value           double precision NOT NULL,
    -- What a share is of; absent of a number.
    trials            bigint,
    -- Earlier weeks it was compared with.
    weeks             smallint NOT NULL,
    -- `hour`, `day` or `silence`, and the hours it covers.
    window_kind       text NOT NULL CHECK (window_kind IN ('hour', 'day', 'silence')),
    window_from       timestamptz NOT NULL,
    window_to         timestamptz NOT NULL,
    -- Segments that the deviation is concentrated in.
    reasons           jsonb NOT NULL,
    -- Evaluations in a row that found the figure back.
    quiet_evaluations smallint NOT NULL DEFAULT 0,
    CHECK ((status = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK ((resolved_at IS NULL) = (resolved_reason IS NULL))
);

-- One open alert for a subject, whoever evaluates.
CREATE UNIQUE INDEX alerts_open ON alerts (subject) WHERE status <> 'resolved';
-- Lists, newest first.
CREATE INDEX alerts_list ON alerts (opened_at DESC, id DESC);

-- Messages about alerts, one for each channel, written in the transaction that changes the alert: what is announced
-- happened, and what happened is announced.
CREATE TABLE alert_deliveries (
    id              uuid PRIMARY KEY,
    alert_id        uuid NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    channel         text NOT NULL CHECK (channel IN ('slack', 'webhook', 'email')),
    event           text NOT NULL CHECK (event IN ('opened', 'escalated', 'resolved')),
    -- The alert as it was then.
    content         jsonb NOT NULL,
    state           text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    -- When it is tried next; meanwhile nobody else tries it.
    next_attempt_at timestamptz NOT NULL,
    finished_at     timestamptz,
    last_error      text
);

CREATE INDEX alert_deliveries_alert ON alert_deliveries (alert_id);
CREATE INDEX alert_deliveries_due ON alert_deliveries (next_attempt_at) WHERE state = 'pending';
