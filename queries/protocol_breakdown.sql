-- name: protocol_breakdown
-- title: Traffic by protocol
-- description: How the traffic divides among IP protocols, largest byte count first.
--   share_of_bytes runs from 0 to 1 and is NULL where no bytes were counted at all; keyword is
--   IANA's and is NULL for an unassigned number. NODATA and SKIPDATA records, which have no
--   protocol, are left out.
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- returns: protocol INTEGER, keyword VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT,
--   share_of_bytes DOUBLE
-- report: bytes by keyword, protocol

WITH totals AS (
    SELECT
        protocol,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes
    FROM flows
    WHERE protocol IS NOT NULL
      AND counted($count, flow_direction, interface_id)
    GROUP BY protocol
)

SELECT
    totals.protocol,
    protocols.keyword,
    totals.flows,
    totals.packets,
    totals.bytes,
    totals.bytes / nullif((sum(totals.bytes) OVER ())::BIGINT, 0) AS share_of_bytes
FROM totals
LEFT JOIN protocols ON protocols.protocol = totals.protocol
ORDER BY totals.bytes DESC, totals.protocol;
