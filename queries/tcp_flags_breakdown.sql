-- name: tcp_flags_breakdown
-- title: TCP records by flags
-- description: How TCP records divide among values of tcp_flags, most records first. The flags of
--   all packets of one direction and aggregation interval are ORed: SYN is the opener's side, of
--   attempts that nobody answered too, SYN-ACK is the answering side, and a short connection
--   shows its opening and its end at once. none is the middle of a connection, because ACK is
--   logged only beside SYN and PSH never. Records of other protocols, whose flags are 0, and those
--   without flags are left out. share_of_flows runs from 0 to 1.
-- needs: tcp_flags
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- returns: tcp_flags INTEGER, names VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT,
--   share_of_flows DOUBLE
-- report: flows by names

WITH totals AS (
    SELECT
        tcp_flags,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes
    FROM flows
    WHERE tcp_flags IS NOT NULL
      AND protocol = 6
      AND counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
    GROUP BY tcp_flags
)

SELECT
    totals.tcp_flags,
    tcp_flags.names,
    totals.flows,
    totals.packets,
    totals.bytes,
    totals.flows / (sum(totals.flows) OVER ())::BIGINT AS share_of_flows
FROM totals
LEFT JOIN tcp_flags ON tcp_flags.tcp_flags = totals.tcp_flags
ORDER BY totals.flows DESC, totals.tcp_flags;
