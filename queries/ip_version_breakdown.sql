-- name: ip_version_breakdown
-- title: Traffic by IP version
-- description: How the traffic divides among IPv4, IPv6 and EFA (Elastic Fabric Adapter), largest
--   byte count first. The record's own type decides. A record without one, as in the default
--   format, is IPv6 if srcaddr has a colon and IPv4 if not; EFA cannot be told that way, and a
--   record that has no srcaddr either is left out. share_of_bytes runs from 0 to 1 and is NULL
--   where no bytes were counted at all. NODATA and SKIPDATA records are left out.
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- returns: type VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT, share_of_bytes DOUBLE
-- report: bytes by type

WITH typed AS (
    SELECT
        CASE
            WHEN type IS NOT NULL THEN type
            WHEN srcaddr LIKE '%:%' THEN 'IPv6'
            WHEN srcaddr IS NOT NULL THEN 'IPv4'
        END AS ip_version,
        packets,
        bytes
    FROM flows
    WHERE coalesce(log_status, 'OK') = 'OK'
      AND counted($count, flow_direction, interface_id)
),

totals AS (
    SELECT
        ip_version,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes
    FROM typed
    WHERE ip_version IS NOT NULL
    GROUP BY ip_version
)

SELECT
    ip_version AS type,
    flows,
    packets,
    bytes,
    bytes / nullif((sum(bytes) OVER ())::BIGINT, 0) AS share_of_bytes
FROM totals
ORDER BY bytes DESC, ip_version;
