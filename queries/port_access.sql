-- name: port_access
-- title: Who touched a port
-- description: Who sent TCP or UDP to these ports of these addresses, and whether it was let
--   through: one row for each source, destination, port, protocol and verdict, the latest first.
--   Only the direction towards the port is listed, not the answers. A listed port may also be the
--   one from which a client called: then its server, answering, appears as a source.
-- param: ports INTEGER[] = [22, 3389] e.g. [443, 8443] -- the destination ports
-- param: addresses VARCHAR[] = [] e.g. ['10.0.0.0/16'] -- destination networks or addresses; empty:
--   any
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: top UINTEGER = 20 -- how many rows to keep
-- returns: srcaddr VARCHAR, dstaddr VARCHAR, dstport INTEGER, protocol INTEGER, service VARCHAR,
--   action VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT, first_seen TIMESTAMPTZ,
--   last_seen TIMESTAMPTZ

WITH chosen AS (
    SELECT
        srcaddr,
        dstaddr,
        dstport,
        protocol,
        action,
        packets,
        bytes,
        start_time,
        end_time
    FROM flows
    WHERE list_contains($ports, dstport)
      AND protocol IN (6, 17)
      AND ($action IS NULL OR action = $action)
),

targets AS (
    SELECT DISTINCT dstaddr AS address FROM chosen
),

places AS (
    SELECT address, in_networks(address, $addresses) AS wanted FROM targets
),

touched AS (
    SELECT
        srcaddr,
        dstaddr,
        dstport,
        protocol,
        action,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        min(start_time)                    AS first_seen,
        max(end_time)                      AS last_seen
    FROM chosen
    WHERE len($addresses) = 0
       OR dstaddr IN (SELECT address FROM places WHERE wanted)
    GROUP BY srcaddr, dstaddr, dstport, protocol, action
)

SELECT
    touched.srcaddr,
    touched.dstaddr,
    touched.dstport,
    touched.protocol,
    services.service,
    touched.action,
    touched.flows,
    touched.packets,
    touched.bytes,
    touched.first_seen,
    touched.last_seen
FROM touched
LEFT JOIN services ON services.port = touched.dstport AND services.protocol = touched.protocol
ORDER BY
    touched.last_seen DESC NULLS LAST,
    touched.srcaddr NULLS LAST,
    touched.dstaddr NULLS LAST,
    touched.dstport,
    touched.protocol,
    touched.action NULLS LAST
LIMIT $top;
