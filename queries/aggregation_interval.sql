-- name: aggregation_interval
-- title: Aggregation interval of each flow log
-- description: For each flow log, how long its longest record is, and how many records and
--   interfaces pass 60 seconds: minutes is 10 if any does, else 1. This is what was seen, not what
--   was configured. start and end are an interval's first and last packet, so a record is no longer
--   than its interval, and a quiet flow log of ten minutes can look like one of one minute. On
--   Nitro instances the interval is at most a minute whatever is configured, so one flow log may
--   mix both: compare interfaces_over_a_minute with interfaces. AWS lets both times be up to 60
--   seconds off, so a lone record just over a minute proves little. Records without both times are
--   left out.
-- returns: account_id VARCHAR, region VARCHAR, flow_log_id VARCHAR, interfaces BIGINT,
--   flows BIGINT, longest_seconds BIGINT, over_a_minute BIGINT, interfaces_over_a_minute BIGINT,
--   minutes INTEGER
-- report: table

WITH records AS (
    SELECT
        account_id,
        region,
        flow_log_id,
        interface_id,
        epoch_us(end_time) - epoch_us(start_time) AS lasted
    FROM flows
    WHERE start_time IS NOT NULL
      AND end_time IS NOT NULL
)

SELECT
    account_id,
    region,
    flow_log_id,
    count(DISTINCT interface_id)                                     AS interfaces,
    count(*)                                                         AS flows,
    greatest(max(lasted), 0) // 1000000                              AS longest_seconds,
    count(*) FILTER (WHERE lasted > 60000000)                        AS over_a_minute,
    count(DISTINCT interface_id) FILTER (WHERE lasted > 60000000)    AS interfaces_over_a_minute,
    CASE WHEN max(lasted) > 60000000 THEN 10 ELSE 1 END::INTEGER     AS minutes
FROM records
GROUP BY account_id, region, flow_log_id
ORDER BY
    account_id NULLS LAST,
    region NULLS LAST,
    flow_log_id NULLS LAST;
