-- name: top_conversations
-- title: Top conversations
-- description: Pairs of addresses ranked by the bytes that went between them, both directions in
--   one row. address_a is the one whose text sorts first: that keeps a pair together and says
--   nothing of who is client or server. An address that talks to itself counts as a to b. A flow
--   between two interfaces with a flow log is recorded at both and so counted twice; count =
--   'egress' counts it at its sender alone, and then leaves out what arrives from outside your flow
--   logs. Records without both addresses are left out.
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many pairs to keep
-- returns: address_a VARCHAR, address_b VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT,
--   bytes_a_to_b BIGINT, bytes_b_to_a BIGINT, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ
-- report: bytes by address_a, address_b

WITH directions AS (
    SELECT
        srcaddr,
        dstaddr,
        count(*)         AS flows,
        sum(packets)     AS packets,
        sum(bytes)       AS bytes,
        min(start_time)  AS first_seen,
        max(end_time)    AS last_seen
    FROM flows
    WHERE srcaddr IS NOT NULL
      AND dstaddr IS NOT NULL
      AND counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
      AND ($protocol IS NULL OR protocol = $protocol)
    GROUP BY srcaddr, dstaddr
)

SELECT
    least(srcaddr, dstaddr)                                            AS address_a,
    greatest(srcaddr, dstaddr)                                         AS address_b,
    sum(flows)::BIGINT                                                 AS flows,
    coalesce(sum(packets), 0)::BIGINT                                  AS packets,
    coalesce(sum(bytes), 0)::BIGINT                                    AS bytes,
    coalesce(sum(bytes) FILTER (WHERE srcaddr <= dstaddr), 0)::BIGINT  AS bytes_a_to_b,
    coalesce(sum(bytes) FILTER (WHERE srcaddr > dstaddr), 0)::BIGINT   AS bytes_b_to_a,
    min(first_seen)                                                    AS first_seen,
    max(last_seen)                                                     AS last_seen
FROM directions
GROUP BY least(srcaddr, dstaddr), greatest(srcaddr, dstaddr)
ORDER BY bytes DESC, address_a, address_b
LIMIT $top;
