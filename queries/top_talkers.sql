-- name: top_talkers
-- title: Top talkers
-- description: Addresses ranked by the bytes they sent, by those they received, or by both, which
--   adds what an address sent to what it received. At packet level the addresses are those in the
--   packet (pkt_srcaddr, pkt_dstaddr), which differ from the interface's behind a NAT gateway.
-- param: side VARCHAR = 'source' e.g. 'both' -- source, destination or both
-- param: packet_level BOOLEAN = false e.g. true -- the packet's addresses, not the interface's
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many addresses to keep
-- returns: address VARCHAR, bytes BIGINT, packets BIGINT, flows BIGINT
-- report: bytes by address

WITH chosen AS (
    SELECT
        CASE WHEN $packet_level THEN pkt_srcaddr ELSE srcaddr END AS source,
        CASE WHEN $packet_level THEN pkt_dstaddr ELSE dstaddr END AS destination,
        packets,
        bytes
    FROM flows
    WHERE counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
      AND ($protocol IS NULL OR protocol = $protocol)
),

ends AS (
    SELECT
        CASE WHEN $side IN ('source', 'both') THEN source
             WHEN $side = 'destination' THEN destination
             ELSE error('side is source, destination or both, not ' || $side) END AS address,
        packets,
        bytes
    FROM chosen
    UNION ALL
    SELECT destination, packets, bytes FROM chosen WHERE $side = 'both'
)

SELECT
    address,
    coalesce(sum(bytes), 0)::BIGINT    AS bytes,
    coalesce(sum(packets), 0)::BIGINT  AS packets,
    count(*)                           AS flows
FROM ends
WHERE address IS NOT NULL
GROUP BY address
ORDER BY bytes DESC, address
LIMIT $top;
