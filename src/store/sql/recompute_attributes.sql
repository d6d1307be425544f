-- The newest value of every attribute of a customer, over all lives of all the customer's devices.
-- $1: customer ids. An absent counter sorts first, as in the derivation of sessions.
WITH lives AS (
    SELECT l.device_id, l.customer_id, l.started_at, coalesce(l.start_seq, -9223372036854775808) AS start_seq,
           l.start_event, n.started_at AS next_at,
           coalesce(n.start_seq, -9223372036854775808) AS next_seq, n.start_event AS next_event
    FROM device_lives l
    LEFT JOIN device_lives n ON n.device_id = l.device_id AND n.life = l.life + 1
    WHERE l.customer_id = ANY($1)
), newest AS (
    SELECT DISTINCT ON (l.customer_id, f.name) l.customer_id, f.name, f.value
    FROM lives l
    JOIN attribute_facts f ON f.device_id = l.device_id
     AND (f.occurred_at, coalesce(f.seq, -9223372036854775808), f.event_id)
         >= (l.started_at, l.start_seq, l.start_event)
     AND (l.next_at IS NULL
          OR (f.occurred_at, coalesce(f.seq, -9223372036854775808), f.event_id)
             < (l.next_at, l.next_seq, l.next_event))
    ORDER BY l.customer_id, f.name, f.occurred_at DESC, f.seq DESC NULLS LAST, f.event_id DESC
), current_values AS (
    SELECT customer_id, jsonb_object_agg(name, value) AS attributes
    FROM newest WHERE value IS NOT NULL GROUP BY customer_id
)
UPDATE customers c SET attributes = coalesce(v.attributes, '{}')
FROM unnest($1::uuid[]) AS i (id) LEFT JOIN current_values v ON v.customer_id = i.id
WHERE c.id = i.id
