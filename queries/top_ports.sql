-- name: top_ports
-- title: Top ports
-- description: Services ranked by bytes, both directions together. The service's port is taken to
--   be the lower of a record's two ports: right for most services, a guess between two high ports.
--   addresses counts the distinct addresses at that port, or at the destination where both ports
--   are equal. Records whose lower port is 0, such as ICMP's, or missing are left out. keyword and
--   service are IANA's usual names for the numbers, not proof of what was spoken; NULL where there
--   is none. Flows recorded at both ends count twice unless count = 'egress'.
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many ports to keep
-- returns: port INTEGER, protocol INTEGER, keyword VARCHAR, service VARCHAR, flows BIGINT,
--   packets BIGINT, bytes BIGINT, addresses BIGINT
-- report: bytes by port, service, keyword

WITH ends AS (
    SELECT
        least(srcport, dstport)                                    AS port,
        protocol,
        CASE WHEN srcport < dstport THEN srcaddr ELSE dstaddr END  AS address,
        packets,
        bytes
    FROM flows
    WHERE srcport > 0
      AND dstport > 0
      AND counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
      AND ($protocol IS NULL OR protocol = $protocol)
),

servers AS (
    SELECT
        port,
        protocol,
        address,
        count(*)      AS flows,
        sum(packets)  AS packets,
        sum(bytes)    AS bytes
    FROM ends
    GROUP BY port, protocol, address
),

ports AS (
    SELECT
        port,
        protocol,
        sum(flows)::BIGINT                 AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        count(address)                     AS addresses
    FROM servers
    GROUP BY port, protocol
)

SELECT
    ports.port,
    ports.protocol,
    protocols.keyword,
    services.service,
    ports.flows,
    ports.packets,
    ports.bytes,
    ports.addresses
FROM ports
LEFT JOIN protocols ON protocols.protocol = ports.protocol
LEFT JOIN services ON services.port = ports.port AND services.protocol = ports.protocol
ORDER BY ports.bytes DESC, ports.port, ports.protocol NULLS LAST
LIMIT $top;
