-- name: rejected_ports
-- title: Refused ports
-- description: The ports that were refused: REJECT records by destination port and protocol, most
--   records first, with how many sources tried and how many targets they tried. ICMP and other
--   protocols without ports stand at port 0. A high port without a service is often no service at
--   all, but the client's side of an answer that was refused, which refused_replies tells. service
--   is the usual user of the port, not what was seen. Records without a destination port are left
--   out.
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- param: top UINTEGER = 20 -- how many ports to keep
-- returns: dstport INTEGER, protocol INTEGER, keyword VARCHAR, service VARCHAR, flows BIGINT,
--   packets BIGINT, bytes BIGINT, sources BIGINT, targets BIGINT, first_seen TIMESTAMPTZ,
--   last_seen TIMESTAMPTZ
-- report: flows by dstport, service, keyword

WITH refused AS (
    SELECT
        dstport,
        protocol,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        count(DISTINCT srcaddr)            AS sources,
        count(DISTINCT dstaddr)            AS targets,
        min(start_time)                    AS first_seen,
        max(end_time)                      AS last_seen
    FROM flows
    WHERE action = 'REJECT'
      AND dstport IS NOT NULL
      AND ($protocol IS NULL OR protocol = $protocol)
    GROUP BY dstport, protocol
)

SELECT
    refused.dstport,
    refused.protocol,
    protocols.keyword,
    services.service,
    refused.flows,
    refused.packets,
    refused.bytes,
    refused.sources,
    refused.targets,
    refused.first_seen,
    refused.last_seen
FROM refused
LEFT JOIN protocols ON protocols.protocol = refused.protocol
LEFT JOIN services ON services.port = refused.dstport AND services.protocol = refused.protocol
ORDER BY
    refused.flows DESC,
    refused.dstport,
    refused.protocol NULLS LAST
LIMIT $top;
