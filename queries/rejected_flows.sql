-- name: rejected_flows
-- title: Refused traffic
-- description: Who was refused what: the REJECT records of each source, destination, destination
--   port and protocol, most records first. One record stands for all the packets of one
--   aggregation interval, so flows counts records and packets counts attempts better. A REJECT is
--   also written for packets that arrive after their connection has closed.
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- param: top UINTEGER = 20 -- how many rows to keep
-- returns: srcaddr VARCHAR, dstaddr VARCHAR, dstport INTEGER, protocol INTEGER, keyword VARCHAR,
--   flows BIGINT, packets BIGINT, bytes BIGINT, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ
-- report: flows by srcaddr, dstaddr, dstport

WITH refused AS (
    SELECT
        srcaddr,
        dstaddr,
        dstport,
        protocol,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        min(start_time)                    AS first_seen,
        max(end_time)                      AS last_seen
    FROM flows
    WHERE action = 'REJECT'
      AND ($protocol IS NULL OR protocol = $protocol)
    GROUP BY srcaddr, dstaddr, dstport, protocol
)

SELECT
    refused.srcaddr,
    refused.dstaddr,
    refused.dstport,
    refused.protocol,
    protocols.keyword,
    refused.flows,
    refused.packets,
    refused.bytes,
    refused.first_seen,
    refused.last_seen
FROM refused
LEFT JOIN protocols ON protocols.protocol = refused.protocol
ORDER BY
    refused.flows DESC,
    refused.srcaddr NULLS LAST,
    refused.dstaddr NULLS LAST,
    refused.dstport NULLS LAST,
    refused.protocol NULLS LAST
LIMIT $top;
