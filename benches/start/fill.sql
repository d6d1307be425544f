-- A synthetic site straight in the tables that the index is made from: bench.events events up to bench.until, ten to a
-- session, 2.4 sessions to a person, over 90 days. As wide as what a tracker sends, and in the order of time, as the
-- service stores it. Sessions of one device do not overlap.
SET synchronous_commit = off;
SET work_mem = '256MB';
SET maintenance_work_mem = '256MB';
SELECT setseed(0.5);

DROP INDEX events_timestamp_idx, events_device_idx;

CREATE TEMPORARY TABLE visit AS
SELECT number,
       md5('person' || person)::uuid AS person,
       md5('session' || number)::uuid AS id,
       current_setting('bench.until')::timestamptz - interval '90 days' + place * interval '30 days'
           + random() * interval '29 days' AS started_at,
       (random() * 99)::int AS dice
FROM (SELECT number, number * 5 / 12 AS person, number - (number * 5 / 12 * 12 + 4) / 5 AS place
      FROM generate_series(0, current_setting('bench.events')::bigint / 10 - 1) AS number) numbers;

INSERT INTO events (timestamp, event_id, event_type, client_timestamp, received_at, seq, device_id, session_id, key_id,
    page_url, page_host, page_path, page_title, referrer, referrer_host, element_selector, device_type, browser, os,
    country, screen_width, screen_height, viewport_width, viewport_height, page_load_time_ms, properties)
SELECT time, md5(number || '.' || place), kind, time, time, number * 10 + place, 'd-' || person, 's-' || id, 1,
       'https://shop.example' || path, 'shop.example', path, 'A page of the shop: ' || path,
       'https://search.example/', 'search.example', CASE kind WHEN 'click' THEN 'main > div.card > a.button' END,
       'mobile', 'Chrome', 'Android', 'DE', 412, 915, 412, 780, (random() * 4500)::int, '{"experiment": "b"}'
FROM (SELECT visit.*, place,
             started_at + place * interval '40 seconds' + random() * interval '39 seconds' AS time,
             (ARRAY['page_view', 'scroll', 'page_view', 'click', 'page_view', 'add_to_cart', 'page_view', 'scroll',
                    'checkout_start', 'purchase'])[place + 1] AS kind,
             '/product/' || (random() * 39)::int AS path
      FROM visit, generate_series(0, 9) AS place) made
ORDER BY time;

INSERT INTO sessions (id, session_id, device_id, life, customer_id, started_at, ended_at, duration_seconds, event_count,
    page_views, clicks, rage_clicks, dead_clicks, form_errors, errors, searches, event_counts, pages, source, medium,
    channel, device_type, browser, os, country, converted, conversion_value, currency, order_ids, abandoned,
    visible_seconds, engagement, engaged, state)
SELECT id, 's-' || id, 'd-' || person, 0, person, started_at, started_at + interval '400 seconds', 400, 10, 4, 1,
       (dice < 3)::int, 0, (dice > 90)::int, 0, 0, '{"page_view": 4}', ARRAY['/', '/product/1'],
       (ARRAY['google', '(direct)', 'newsletter', 'instagram'])[dice % 4 + 1], NULL,
       (ARRAY['Organic Search', 'Direct', 'Email', 'Organic Social'])[dice % 4 + 1], 'mobile', 'Chrome', 'Android', 'DE',
       dice < 4, CASE WHEN dice < 4 THEN 59.90 ELSE 0 END, CASE WHEN dice < 4 THEN 'EUR' END, '{}', dice > 80, 300, 55,
       true, '{}'
FROM visit ORDER BY started_at;

INSERT INTO customers (id, first_seen, last_seen)
SELECT person, min(started_at), max(started_at) FROM visit GROUP BY person;

CREATE INDEX events_timestamp_idx ON events (timestamp DESC);
CREATE INDEX events_device_idx ON events (device_id, timestamp);
ANALYZE events, sessions, customers;
