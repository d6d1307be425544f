-- Scores of customers. They follow from sessions and can be computed again at any time; a customer that goes, by an
-- erasure, a merge or retention, takes its scores along.
CREATE TABLE customer_scores (
    customer_id            uuid PRIMARY KEY REFERENCES customers (id) ON DELETE CASCADE,
    computed_at            timestamptz NOT NULL,
    -- 0 to 100.
    engagement             smallint NOT NULL,
    -- 0 to 1; NULL where too little has happened to say.
    churn_risk             double precision,
    conversion_probability double precision,
    -- 1 to 5; NULL for who never bought, and where there are too few buyers.
    rfm_recency            smallint,
    rfm_frequency          smallint,
    rfm_monetary           smallint,
    rfm_segment            text,
    loyalty_tier           text NOT NULL,
    -- What each score rests on, as the API shows it.
    why                    jsonb NOT NULL
);

-- What scores are measured by: frequencies and fifths of the site's own history. Names nobody.
CREATE TABLE score_models (
    -- churn, conversion or rfm.
    name        text PRIMARY KEY,
    computed_at timestamptz NOT NULL,
    -- NULL where there was too little to make one of.
    model       jsonb,
    -- How many people it was made of, and how well it foretells others.
    calibration jsonb
);
