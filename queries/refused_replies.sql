-- name: refused_replies
-- title: Let in, but the answer refused
-- description: REJECT records that answer an ACCEPT record of the same interface: protocol,
--   addresses and ports are the same the other way round, and the refused record is neither over
--   before the accepted one starts nor starts later than the given minutes after it ends. A
--   security group is stateful and lets the answer to what it accepted pass; a network ACL is not,
--   so look there. Amazon's own example is a ping that is accepted in and whose answer is refused
--   out. A row is one interface, pair, destination port and protocol in the accepted direction,
--   whichever way that was; counts and times are those of the refused records, each counted once,
--   most records first. Two things look the same without a network ACL at work: packets that come
--   after their connection has closed, which are refused too, and, as ICMP has no ports, a ping
--   that the other side sent by itself.
-- param: minutes UINTEGER = 10 -- how long after the accepted record a refusal still counts as
--   its answer
-- param: top UINTEGER = 20 -- how many rows to keep
-- returns: interface_id VARCHAR, srcaddr VARCHAR, dstaddr VARCHAR, dstport INTEGER,
--   protocol INTEGER, keyword VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT,
--   first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ
-- report: table

-- Refused records, turned round to read as the direction that they answer.
WITH refused AS (
    SELECT
        interface_id,
        dstaddr  AS srcaddr,
        srcaddr  AS dstaddr,
        dstport  AS srcport,
        srcport  AS dstport,
        protocol,
        packets,
        bytes,
        start_time,
        end_time
    FROM flows
    WHERE action = 'REJECT'
      AND start_time IS NOT NULL
      AND end_time IS NOT NULL
),

accepted AS (
    SELECT
        flows.interface_id,
        flows.srcaddr,
        flows.dstaddr,
        flows.srcport,
        flows.dstport,
        flows.protocol,
        flows.start_time,
        flows.end_time
    FROM flows
    WHERE flows.action = 'ACCEPT'
      AND flows.start_time IS NOT NULL
      AND flows.end_time IS NOT NULL
      AND EXISTS (
          SELECT 1
          FROM refused
          WHERE refused.interface_id IS NOT DISTINCT FROM flows.interface_id
            AND refused.srcaddr = flows.srcaddr
            AND refused.dstaddr = flows.dstaddr
            AND refused.srcport IS NOT DISTINCT FROM flows.srcport
            AND refused.dstport IS NOT DISTINCT FROM flows.dstport
            AND refused.protocol = flows.protocol
      )
),

-- An accepted record stands at its start and a refused one at its end, so that those before it
-- are the ones it can answer. It answers one of them if it answers the one that ends last; to
-- compare every two would take the square of a long conversation's records.
moments AS (
    SELECT
        interface_id,
        srcaddr,
        dstaddr,
        srcport,
        dstport,
        protocol,
        epoch_us(start_time)  AS moment,
        epoch_us(end_time)    AS accepted_until,
        NULL::BIGINT          AS packets,
        NULL::BIGINT          AS bytes,
        NULL::TIMESTAMPTZ     AS refused_from,
        NULL::TIMESTAMPTZ     AS refused_until
    FROM accepted
    UNION ALL
    SELECT
        interface_id,
        srcaddr,
        dstaddr,
        srcport,
        dstport,
        protocol,
        epoch_us(end_time),
        NULL,
        packets,
        bytes,
        start_time,
        end_time
    FROM refused
),

conversations AS (
    SELECT
        *,
        max(accepted_until) OVER (
            PARTITION BY interface_id, srcaddr, dstaddr, srcport, dstport, protocol
            ORDER BY moment
        ) AS last_accepted
    FROM moments
),

replies AS (
    SELECT
        interface_id,
        srcaddr,
        dstaddr,
        dstport,
        protocol,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        min(refused_from)                  AS first_seen,
        max(refused_until)                 AS last_seen
    FROM conversations
    WHERE epoch_us(refused_from) <= last_accepted + $minutes::BIGINT * 60000000
    GROUP BY interface_id, srcaddr, dstaddr, dstport, protocol
)

SELECT
    replies.interface_id,
    replies.srcaddr,
    replies.dstaddr,
    replies.dstport,
    replies.protocol,
    protocols.keyword,
    replies.flows,
    replies.packets,
    replies.bytes,
    replies.first_seen,
    replies.last_seen
FROM replies
LEFT JOIN protocols ON protocols.protocol = replies.protocol
ORDER BY
    replies.flows DESC,
    replies.interface_id NULLS LAST,
    replies.srcaddr,
    replies.dstaddr,
    replies.dstport NULLS LAST,
    replies.protocol
LIMIT $top;
