-- name: egress_destinations
-- title: Where traffic leaves to
-- description: The public addresses that private ones send to, largest byte count first. What your
--   own servers answer to clients outside counts too, and so do records of the same bytes at
--   several interfaces, such as an instance's and a NAT gateway's: count chooses one view.
--   aws_service is AWS's name for the destination's address range, the last by name where records
--   differ, and is NULL outside AWS or where the format lacks it. sources counts distinct source
--   addresses and ports distinct destination ports, which for answers are the clients' own.
-- param: internal VARCHAR[] = [] e.g. ['198.51.100.0/24'] -- your own networks beside the private
--   ones
-- param: action VARCHAR = 'ACCEPT' e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many destinations to keep
-- returns: dstaddr VARCHAR, aws_service VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT,
--   sources BIGINT, ports BIGINT, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ
-- report: bytes by dstaddr, aws_service

WITH chosen AS (
    SELECT
        srcaddr,
        dstaddr,
        dstport,
        packets,
        bytes,
        start_time,
        end_time,
        pkt_dst_aws_service
    FROM flows
    WHERE srcaddr IS NOT NULL
      AND dstaddr IS NOT NULL
      AND counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
),

pairs AS (
    SELECT
        srcaddr,
        dstaddr,
        max(pkt_dst_aws_service)  AS aws_service,
        count(*)                  AS flows,
        sum(packets)              AS packets,
        sum(bytes)                AS bytes,
        min(start_time)           AS first_seen,
        max(end_time)             AS last_seen
    FROM chosen
    GROUP BY srcaddr, dstaddr
),

ends AS (
    SELECT srcaddr AS address FROM pairs
    UNION
    SELECT dstaddr FROM pairs
),

places AS (
    SELECT address, is_private(address, $internal) AS private FROM ends
),

reached AS (
    SELECT
        dstaddr,
        max(aws_service)                   AS aws_service,
        sum(flows)::BIGINT                 AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        count(*)                           AS sources,
        min(first_seen)                    AS first_seen,
        max(last_seen)                     AS last_seen
    FROM pairs
    WHERE srcaddr IN (SELECT address FROM places WHERE private)
      AND dstaddr IN (SELECT address FROM places WHERE NOT private)
    GROUP BY dstaddr
    ORDER BY bytes DESC, dstaddr
    LIMIT $top
),

-- Ports are counted for the rows that are kept alone: for all it takes longer than the rest.
asked AS (
    SELECT
        dstaddr,
        count(DISTINCT dstport) AS ports
    FROM chosen
    WHERE dstaddr IN (SELECT dstaddr FROM reached)
      AND srcaddr IN (SELECT address FROM places WHERE private)
    GROUP BY dstaddr
)

SELECT
    reached.dstaddr,
    reached.aws_service,
    reached.flows,
    reached.packets,
    reached.bytes,
    reached.sources,
    asked.ports,
    reached.first_seen,
    reached.last_seen
FROM reached
JOIN asked ON asked.dstaddr = reached.dstaddr
ORDER BY reached.bytes DESC, reached.dstaddr;
