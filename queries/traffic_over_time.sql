-- name: traffic_over_time
-- title: Traffic over time
-- description: How much traffic there was in each bucket of time, oldest first. Buckets have one
--   width and are counted from 1970-01-01T00:00Z, so 60 minutes give the hours of UTC; 0 counts
--   as 1. A record counts whole in the bucket it starts in, however long it lasts, so buckets
--   narrower than the aggregation interval (1 or 10 minutes) look more ragged than the traffic
--   was. A bucket without a record has no row. rejected is how many of the flows were refused.
--   NODATA and SKIPDATA records and those without a start are left out.
-- param: minutes UINTEGER = 60 -- width of a bucket in minutes, at least 1
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- returns: bucket_start TIMESTAMPTZ, flows BIGINT, rejected BIGINT, packets BIGINT, bytes BIGINT
-- report: bytes, flows of which rejected by bucket_start

WITH timed AS (
    SELECT
        epoch_us(start_time)
            - epoch_us(start_time) % (greatest($minutes::BIGINT, 1) * 60000000) AS bucket_us,
        action,
        packets,
        bytes
    FROM flows
    WHERE start_time IS NOT NULL
      AND coalesce(log_status, 'OK') = 'OK'
      AND counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
      AND ($protocol IS NULL OR protocol = $protocol)
),

totals AS (
    SELECT
        bucket_us,
        count(*)                                   AS flows,
        count(*) FILTER (WHERE action = 'REJECT')  AS rejected,
        coalesce(sum(packets), 0)::BIGINT          AS packets,
        coalesce(sum(bytes), 0)::BIGINT            AS bytes
    FROM timed
    GROUP BY bucket_us
)

SELECT
    make_timestamptz(bucket_us) AS bucket_start,
    flows,
    rejected,
    packets,
    bytes
FROM totals
ORDER BY bucket_us;
