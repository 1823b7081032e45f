-- name: rejected_over_time
-- title: Refused traffic over time
-- description: The REJECT records of each stretch of time, in order of time, and their share of all
--   ACCEPT and REJECT records in it, from 0 to 1. Stretches are counted from 1970-01-01T00:00Z, and
--   a record counts whole in the one it starts in. A stretch without a REJECT has no row, whether
--   it had other traffic or none. Records without a start are left out. A flow between two
--   interfaces with flow logs is accepted at both but refused at one, so the share of refused flows
--   is higher than it says. With protocol, all of the share is of that protocol.
-- param: minutes UINTEGER = 60 e.g. 5 -- how wide a stretch is, at least 1
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- returns: bucket_start TIMESTAMPTZ, flows BIGINT, packets BIGINT, bytes BIGINT,
--   share_of_flows DOUBLE

WITH judged AS (
    SELECT
        epoch_us(start_time)
            - epoch_us(start_time) % (greatest($minutes::BIGINT, 1) * 60000000) AS bucket,
        action,
        packets,
        bytes
    FROM flows
    WHERE action IN ('ACCEPT', 'REJECT')
      AND start_time IS NOT NULL
      AND ($protocol IS NULL OR protocol = $protocol)
),

totals AS (
    SELECT
        bucket,
        count(*)                                                           AS judged,
        count(*) FILTER (WHERE action = 'REJECT')                          AS flows,
        coalesce(sum(packets) FILTER (WHERE action = 'REJECT'), 0)::BIGINT AS packets,
        coalesce(sum(bytes) FILTER (WHERE action = 'REJECT'), 0)::BIGINT   AS bytes
    FROM judged
    GROUP BY bucket
)

SELECT
    make_timestamptz(bucket) AS bucket_start,
    flows,
    packets,
    bytes,
    flows / judged           AS share_of_flows
FROM totals
WHERE flows > 0
ORDER BY bucket_start;
