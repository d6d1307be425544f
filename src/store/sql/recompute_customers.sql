-- Everything a customer row says, from the sessions of the customer. $1: customer ids.
WITH own AS (
    SELECT * FROM sessions WHERE customer_id = ANY($1)
), sums AS (
    SELECT customer_id,
           max(user_id)                        AS user_id,
           min(started_at)                     AS first_seen,
           max(ended_at)                       AS last_seen,
           count(DISTINCT device_id)::integer  AS devices,
           count(*)::integer                   AS sessions,
           sum(event_count)                    AS events,
           sum(page_views)                     AS page_views,
           sum(cardinality(order_ids) + CASE WHEN converted AND order_ids = '{}' THEN 1 ELSE 0 END)::integer
                                               AS conversions,
           count(*) FILTER (WHERE abandoned)::integer AS abandoned_carts,
           sum(visible_seconds ORDER BY started_at, id) AS visible_seconds
    FROM own GROUP BY customer_id
), money AS (
    SELECT customer_id, jsonb_object_agg(currency, total::text ORDER BY currency) AS revenue
    FROM (SELECT customer_id, coalesce(currency, '') AS currency, sum(conversion_value) AS total
          FROM own WHERE converted GROUP BY 1, 2) by_currency
    GROUP BY customer_id
), first_touch AS (
    SELECT DISTINCT ON (customer_id) customer_id, source, medium, campaign, channel, entry_page
    FROM own ORDER BY customer_id, started_at, id
), last_touch AS (
    SELECT DISTINCT ON (customer_id) customer_id, device_type, country
    FROM own ORDER BY customer_id, started_at DESC, id DESC
)
UPDATE customers c SET
    user_id = s.user_id, first_seen = s.first_seen, last_seen = s.last_seen, devices = s.devices,
    sessions = s.sessions, events = s.events, page_views = s.page_views, conversions = s.conversions,
    revenue = coalesce(m.revenue, '{}'), abandoned_carts = s.abandoned_carts,
    visible_seconds = s.visible_seconds, source = f.source, medium = f.medium, campaign = f.campaign,
    channel = f.channel, entry_page = f.entry_page, device_type = l.device_type, country = l.country
FROM sums s
JOIN first_touch f USING (customer_id)
JOIN last_touch l USING (customer_id)
LEFT JOIN money m USING (customer_id)
WHERE c.id = s.customer_id
