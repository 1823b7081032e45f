-- name: data_quality
-- title: Trust in the records
-- description: For each network interface, how many records hold traffic (ok), say that there was
--   none (nodata), or say that AWS lost records (skipdata), where one record may stand for many
--   lost flows. A record without log_status counts as ok, any further status as other. flow_logs
--   counts the flow logs that recorded the interface: where two ran side by side, sums count every
--   flow twice; where one followed the other, or one takes accepted and one refused traffic, they
--   do not. warning is NULL where there is nothing to say. The row without interface_id holds what
--   no interface recorded, such as a regional NAT gateway.
-- returns: account_id VARCHAR, region VARCHAR, interface_id VARCHAR, ok BIGINT, nodata BIGINT,
--   skipdata BIGINT, other BIGINT, flow_logs BIGINT, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ,
--   warning VARCHAR
-- report: skipdata by interface_id

WITH interfaces AS (
    SELECT
        account_id,
        region,
        interface_id,
        count(*) FILTER (WHERE coalesce(log_status, 'OK') = 'OK')  AS ok,
        count(*) FILTER (WHERE log_status = 'NODATA')              AS nodata,
        count(*) FILTER (WHERE log_status = 'SKIPDATA')            AS skipdata,
        count(*)                                                   AS records,
        count(DISTINCT flow_log_id)                                AS flow_logs,
        min(start_time)                                            AS first_seen,
        max(end_time)                                              AS last_seen
    FROM flows
    GROUP BY account_id, region, interface_id
),

warned AS (
    SELECT
        *,
        CASE WHEN skipdata > 0 THEN 'AWS lost records (SKIPDATA)' END AS lost,
        CASE WHEN flow_logs > 1
             THEN 'recorded by ' || flow_logs::VARCHAR || ' flow logs: sums may count each flow '
                  || flow_logs::VARCHAR || ' times' END AS repeated
    FROM interfaces
)

SELECT
    account_id,
    region,
    interface_id,
    ok,
    nodata,
    skipdata,
    records - ok - nodata - skipdata                 AS other,
    flow_logs,
    first_seen,
    last_seen,
    coalesce(lost || '; ' || repeated, lost, repeated) AS warning
FROM warned
ORDER BY
    skipdata DESC,
    flow_logs DESC,
    account_id NULLS LAST,
    region NULLS LAST,
    interface_id NULLS LAST;
