-- Funnels that somebody keeps. The definition stays as it was written; what it means is the service's business, so a
-- later release can know more kinds of steps without changing the table.
CREATE TABLE funnels (
    id         uuid PRIMARY KEY,
    name       text NOT NULL CONSTRAINT funnels_name_key UNIQUE,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Every shop has this question from the start. It may be changed or deleted like any other.
INSERT INTO funnels (id, name, definition, created_at, updated_at) VALUES (
    '00000000-0000-7000-8000-000000000001',
    'Checkout',
    '{"steps": [
        {"number": 1, "name": "Cart", "event_type": "add_to_cart"},
        {"number": 2, "name": "Checkout", "event_type": "checkout_start"},
        {"number": 3, "name": "Purchase", "event_type": "purchase"}
      ],
      "window_seconds": 1209600, "order": "ordered", "count_by": "person"}',
    now(), now()
);
