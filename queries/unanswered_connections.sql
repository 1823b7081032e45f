-- name: unanswered_connections
-- title: Connections that nobody answered
-- description: TCP connections that were let through and got no answer: records with SYN and
--   without ACK, for which no record in the window goes back with SYN and ACK between the same
--   addresses and ports, at any interface and whatever its verdict. One row for each source,
--   destination and destination port, most records first. Often a closed port, a host that is down
--   or a scan; but the answer may also be missing from the logs, because it lies past the window,
--   was skipped (SKIPDATA), or passed an interface without a flow log. Records that lack an address
--   or a port are left out, since no answer can be told for them; refused ones are in
--   rejected_flows.
-- param: top UINTEGER = 20 -- how many rows to keep
-- returns: srcaddr VARCHAR, dstaddr VARCHAR, dstport INTEGER, flows BIGINT, packets BIGINT,
--   bytes BIGINT, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ
-- needs: tcp_flags
-- report: flows by srcaddr, dstaddr, dstport

WITH opened AS (
    SELECT
        srcaddr,
        dstaddr,
        srcport,
        dstport,
        packets,
        bytes,
        start_time,
        end_time
    FROM flows
    WHERE protocol = 6
      AND action = 'ACCEPT'
      AND (tcp_flags & 18) = 2
      AND srcaddr IS NOT NULL
      AND dstaddr IS NOT NULL
      AND srcport IS NOT NULL
      AND dstport IS NOT NULL
),

answers AS (
    SELECT DISTINCT
        srcaddr,
        dstaddr,
        srcport,
        dstport
    FROM flows
    WHERE protocol = 6
      AND (tcp_flags & 18) = 18
)

SELECT
    opened.srcaddr,
    opened.dstaddr,
    opened.dstport,
    count(*)                                  AS flows,
    coalesce(sum(opened.packets), 0)::BIGINT  AS packets,
    coalesce(sum(opened.bytes), 0)::BIGINT    AS bytes,
    min(opened.start_time)                    AS first_seen,
    max(opened.end_time)                      AS last_seen
FROM opened
LEFT JOIN answers
    ON answers.srcaddr = opened.dstaddr
   AND answers.dstaddr = opened.srcaddr
   AND answers.srcport = opened.dstport
   AND answers.dstport = opened.srcport
WHERE answers.srcaddr IS NULL
GROUP BY opened.srcaddr, opened.dstaddr, opened.dstport
ORDER BY flows DESC, opened.srcaddr, opened.dstaddr, opened.dstport
LIMIT $top;
