-- name: bytes_total
-- title: Bytes between addresses
-- description: Bytes for each source and destination, largest first; the way back is a row of its
--   own. source and destination each keep the addresses in their networks; an empty list keeps
--   all. At packet level the addresses are those in the packet (pkt_srcaddr, pkt_dstaddr), which
--   differ from the interface's behind a NAT gateway. A flow between two interfaces with a flow log
--   is recorded at both and so counted twice; count = 'egress' counts it at its sender alone, and
--   then leaves out what arrives from outside your flow logs. Records without both addresses are
--   left out.
-- param: source VARCHAR[] = [] e.g. ['10.0.0.0/8'] -- only sources in these networks; empty: all
-- param: destination VARCHAR[] = [] e.g. ['10.0.0.0/8'] -- only destinations in these networks;
--   empty: all
-- param: packet_level BOOLEAN = false e.g. true -- the packet's addresses, not the interface's
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 50 -- how many pairs to keep
-- returns: srcaddr VARCHAR, dstaddr VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT

WITH chosen AS (
    SELECT
        CASE WHEN $packet_level THEN pkt_srcaddr ELSE srcaddr END AS source,
        CASE WHEN $packet_level THEN pkt_dstaddr ELSE dstaddr END AS target,
        packets,
        bytes
    FROM flows
    WHERE counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
      AND ($protocol IS NULL OR protocol = $protocol)
),

totals AS (
    SELECT
        source,
        target,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes
    FROM chosen
    WHERE source IS NOT NULL
      AND target IS NOT NULL
    GROUP BY source, target
),

sources AS (SELECT DISTINCT source FROM totals),

targets AS (SELECT DISTINCT target FROM totals)

SELECT
    source AS srcaddr,
    target AS dstaddr,
    flows,
    packets,
    bytes
FROM totals
WHERE (len($source) = 0
       OR source IN (SELECT source FROM sources WHERE in_networks(source, $source)))
  AND (len($destination) = 0
       OR target IN (SELECT target FROM targets WHERE in_networks(target, $destination)))
ORDER BY bytes DESC, source, target
LIMIT $top;
