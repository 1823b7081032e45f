-- name: rejected_sources
-- title: Refused sources
-- description: Who was refused: REJECT records by source address, most records first, with how many
--   targets and destination ports each tried; many of either from one public address is usually a
--   scan. private says whether the address is private or in your own networks, and is NULL for
--   what is no address. A refused answer counts for the one that answered. One record stands for
--   all the packets of one aggregation interval, so packets counts attempts better than flows.
--   Records without a source address are left out.
-- param: internal VARCHAR[] = [] e.g. ['198.51.100.0/24'] -- your own networks beside the
--   private ones
-- param: protocol INTEGER = NULL e.g. 6 -- only this protocol number, such as 6 for TCP
-- param: top UINTEGER = 20 -- how many addresses to keep
-- returns: srcaddr VARCHAR, private BOOLEAN, flows BIGINT, packets BIGINT, bytes BIGINT,
--   targets BIGINT, ports BIGINT, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ
-- report: flows by srcaddr

WITH refused AS (
    SELECT
        srcaddr,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        count(DISTINCT dstaddr)            AS targets,
        count(DISTINCT dstport)            AS ports,
        min(start_time)                    AS first_seen,
        max(end_time)                      AS last_seen
    FROM flows
    WHERE action = 'REJECT'
      AND srcaddr IS NOT NULL
      AND ($protocol IS NULL OR protocol = $protocol)
    GROUP BY srcaddr
),

kept AS (
    SELECT *
    FROM refused
    ORDER BY flows DESC, srcaddr
    LIMIT $top
)

SELECT
    srcaddr,
    is_private(srcaddr, $internal) AS private,
    flows,
    packets,
    bytes,
    targets,
    ports,
    first_seen,
    last_seen
FROM kept
ORDER BY flows DESC, srcaddr;
