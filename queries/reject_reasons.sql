-- name: reject_reasons
-- title: Why traffic was refused
-- description: The REJECT records by the reason that AWS gives, most records first. The field
--   reject_reason came with version 8, and names only what is neither a security group nor a
--   network ACL; so NULL means one of these two, or that the format lacks the field. meaning is
--   NULL for a reason that FlowLake does not know.
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- returns: reject_reason VARCHAR, meaning VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT,
--   sources BIGINT, last_seen TIMESTAMPTZ
-- report: flows by meaning, reject_reason

WITH refused AS (
    SELECT
        reject_reason,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        count(DISTINCT srcaddr)            AS sources,
        max(end_time)                      AS last_seen
    FROM flows
    WHERE action = 'REJECT'
      AND counted($count, flow_direction, interface_id)
    GROUP BY reject_reason
)

SELECT
    refused.reject_reason,
    CASE WHEN refused.reject_reason IS NULL
         THEN 'security group or network ACL, or the format lacks reject_reason'
         ELSE reject_reasons.meaning END AS meaning,
    refused.flows,
    refused.packets,
    refused.bytes,
    refused.sources,
    refused.last_seen
FROM refused
LEFT JOIN reject_reasons ON reject_reasons.reject_reason = refused.reject_reason
ORDER BY
    refused.flows DESC,
    refused.reject_reason NULLS LAST;
