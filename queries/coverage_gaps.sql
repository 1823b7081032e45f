-- name: coverage_gaps
-- title: Gaps in the record
-- description: Silences of a network interface longer than `minutes`, longest first. A record of
--   any log_status shows that the flow log was alive: a quiet interface still gets NODATA records.
--   A gap runs from the latest end of all records that start earlier to the start of the next
--   record. It is told if it ends in the window, though it may begin in the days before. An
--   interface that fell silent has resumed = false and a gap up to the last end of any record in
--   the window. AWS does not say why: the interface may be gone or its instance stopped, the flow
--   log deleted, or records lost. Of two flow logs on one interface the one hides the other's gaps.
--   Fewer minutes than the aggregation interval, 10 unless chosen, find gaps that are none; 0 means
--   1.
-- history: days
-- param: minutes UINTEGER = 30 -- shortest silence to report
-- param: days UINTEGER = 1 -- how many days before the window to look back
-- returns: account_id VARCHAR, region VARCHAR, interface_id VARCHAR, gap_start TIMESTAMPTZ,
--   gap_end TIMESTAMPTZ, minutes DOUBLE, resumed BOOLEAN
-- report: gap_start to gap_end by interface_id

WITH bounds AS (
    SELECT
        min(start_time)                                              AS first_start,
        max(greatest(start_time, coalesce(end_time, start_time)))    AS last_end,
        -- From 1970 to 9999 there are fewer than 4 million days; more would overflow.
        epoch_us(min(start_time)) - least($days::BIGINT, 4000000) * 86400000000 AS history_start,
        greatest($minutes::BIGINT, 1) * 60000000                     AS silence
    FROM flows
    WHERE start_time IS NOT NULL
),

records AS (
    SELECT account_id, region, interface_id, start_time, end_time
    FROM flows
    UNION ALL
    SELECT account_id, region, interface_id, start_time, end_time
    FROM history
    WHERE epoch_us(start_time) >= (SELECT history_start FROM bounds)
),

-- Within a slot as long as the shortest silence there is none between two starts, and the records
-- before a silence all start in earlier slots than those after it: so slots find the same gaps.
slots AS (
    SELECT
        account_id,
        region,
        interface_id,
        epoch_us(start_time) // (greatest($minutes::BIGINT, 1) * 60000000)  AS slot,
        min(start_time)                                                     AS first_start,
        max(greatest(start_time, coalesce(end_time, start_time)))           AS last_end
    FROM records
    WHERE start_time IS NOT NULL
      AND interface_id IS NOT NULL
    GROUP BY ALL
),

silences AS (
    SELECT
        account_id,
        region,
        interface_id,
        max(last_end) OVER (
            PARTITION BY account_id, region, interface_id
            ORDER BY slot
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )            AS gap_start,
        first_start  AS gap_end,
        true         AS resumed
    FROM slots
    UNION ALL
    SELECT
        slots.account_id,
        slots.region,
        slots.interface_id,
        max(slots.last_end),
        bounds.last_end,
        false
    FROM slots
    CROSS JOIN bounds
    GROUP BY slots.account_id, slots.region, slots.interface_id, bounds.last_end
)

SELECT
    silences.account_id,
    silences.region,
    silences.interface_id,
    silences.gap_start,
    silences.gap_end,
    (epoch_us(silences.gap_end) - epoch_us(silences.gap_start)) / 60000000 AS minutes,
    silences.resumed
FROM silences
CROSS JOIN bounds
WHERE epoch_us(silences.gap_end) - epoch_us(silences.gap_start) > bounds.silence
  AND silences.gap_end >= bounds.first_start
ORDER BY
    minutes DESC,
    silences.account_id NULLS LAST,
    silences.region NULLS LAST,
    silences.interface_id NULLS LAST,
    silences.gap_start;
