-- name: public_inbound
-- title: What the internet reaches
-- description: The ports and protocols on which public addresses reach the inside, largest byte
--   count first. A record counts if its source is public and it came in at an interface; where the
--   flow direction is not recorded, if its target is private or in internal. The port asked for is
--   taken to be the lower of the two, so that what outside servers answer is left out, and so is a
--   service on a port above its client's. Protocols without ports, such as ICMP, have port 0, and
--   for them answers from outside count too. sources and targets count distinct addresses. What
--   comes in is never an egress record, so count = 'egress' leaves nothing.
-- param: internal VARCHAR[] = [] e.g. ['198.51.100.0/24'] -- your own networks beside the private
--   ones
-- param: action VARCHAR = 'ACCEPT' e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'eni-0eb07fd58392165cf' -- what counts: records, egress or
--   an interface id
-- param: top UINTEGER = 20 -- how many ports to keep
-- returns: dstport INTEGER, protocol INTEGER, keyword VARCHAR, service VARCHAR, flows BIGINT,
--   packets BIGINT, bytes BIGINT, sources BIGINT, targets BIGINT, first_seen TIMESTAMPTZ,
--   last_seen TIMESTAMPTZ
-- report: bytes by dstport, service, keyword

WITH chosen AS (
    SELECT
        srcaddr,
        dstaddr,
        dstport,
        protocol,
        packets,
        bytes,
        start_time,
        end_time,
        flow_direction
    FROM flows
    WHERE dstport <= srcport
      AND (flow_direction = 'ingress' OR flow_direction IS NULL)
      AND counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
),

ends AS (
    SELECT srcaddr AS address FROM chosen
    UNION
    SELECT dstaddr FROM chosen WHERE flow_direction IS NULL
),

places AS (
    SELECT address, is_private(address, $internal) AS private FROM ends
),

reached AS (
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
    FROM chosen
    WHERE srcaddr IN (SELECT address FROM places WHERE NOT private)
      AND (flow_direction = 'ingress' OR dstaddr IN (SELECT address FROM places WHERE private))
    GROUP BY dstport, protocol
)

SELECT
    reached.dstport,
    reached.protocol,
    protocols.keyword,
    services.service,
    reached.flows,
    reached.packets,
    reached.bytes,
    reached.sources,
    reached.targets,
    reached.first_seen,
    reached.last_seen
FROM reached
LEFT JOIN protocols ON protocols.protocol = reached.protocol
LEFT JOIN services ON services.port = reached.dstport AND services.protocol = reached.protocol
ORDER BY reached.bytes DESC, reached.dstport, reached.protocol NULLS LAST
LIMIT $top;
