-- name: traffic_path_breakdown
-- title: Traffic by path
-- description: How traffic left, by traffic_path, largest byte count first. Only records that
--   have a path or are egress are looked at, whatever count says: ingress never has a path. A NULL
--   path is egress for which AWS named none. Path 1 is anything else in the same VPC and so hides
--   what goes through a NAT gateway: the sender's record says 1, and the gateway's own record says
--   how it left. Such bytes stand twice where both have a flow log. meaning is NULL for a path that
--   FlowLake does not know. share_of_bytes runs from 0 to 1 and is NULL where no bytes were counted
--   at all. NODATA and SKIPDATA records are left out.
-- needs: traffic_path
-- param: count VARCHAR = 'egress' e.g. 'records' -- what counts: records, egress or an interface id
-- returns: traffic_path INTEGER, meaning VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT,
--   share_of_bytes DOUBLE
-- report: bytes by meaning

WITH totals AS (
    SELECT
        traffic_path,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes
    FROM flows
    WHERE (traffic_path IS NOT NULL OR flow_direction = 'egress')
      AND coalesce(log_status, 'OK') = 'OK'
      AND counted($count, flow_direction, interface_id)
    GROUP BY traffic_path
)

SELECT
    totals.traffic_path,
    traffic_paths.meaning,
    totals.flows,
    totals.packets,
    totals.bytes,
    totals.bytes / nullif((sum(totals.bytes) OVER ())::BIGINT, 0) AS share_of_bytes
FROM totals
LEFT JOIN traffic_paths ON traffic_paths.traffic_path = totals.traffic_path
ORDER BY totals.bytes DESC, totals.traffic_path NULLS LAST;
