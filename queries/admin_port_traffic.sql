-- name: admin_port_traffic
-- title: Use of administrative ports
-- description: Who uses SSH, RDP or other administrative ports: one row for each client, server,
--   port and protocol (TCP or UDP), most records first. A record to a listed port is a request, any
--   other record from one is an answer; both count towards the same row. client_private says
--   whether the client's address is private or in internal. A client whose own source port happens
--   to be a listed one looks like a server, as do both ends when both ports are listed: then the
--   destination counts as the server. rejected counts the REJECT records, in either direction.
-- param: ports INTEGER[] = [22, 3389] e.g. [22, 3389, 5985, 5986] -- the administrative ports
-- param: internal VARCHAR[] = [] e.g. ['198.51.100.0/24'] -- your own networks beside the private
--   ones
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many rows to keep
-- returns: client VARCHAR, server VARCHAR, port INTEGER, protocol INTEGER, service VARCHAR,
--   client_private BOOLEAN, flows BIGINT, rejected BIGINT, packets BIGINT,
--   bytes_to_server BIGINT, bytes_to_client BIGINT, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ
-- report: flows of which rejected by client, server, port

WITH chosen AS (
    SELECT
        coalesce(list_contains($ports, dstport), false) AS request,
        srcaddr,
        dstaddr,
        srcport,
        dstport,
        protocol,
        packets,
        bytes,
        action,
        start_time,
        end_time
    FROM flows
    WHERE (list_contains($ports, dstport) OR list_contains($ports, srcport))
      AND protocol IN (6, 17)
      AND srcaddr IS NOT NULL
      AND dstaddr IS NOT NULL
      AND counted($count, flow_direction, interface_id)
      AND ($action IS NULL OR action = $action)
),

sides AS (
    SELECT
        CASE WHEN request THEN srcaddr ELSE dstaddr END  AS client,
        CASE WHEN request THEN dstaddr ELSE srcaddr END  AS server,
        CASE WHEN request THEN dstport ELSE srcport END  AS port,
        protocol,
        packets,
        CASE WHEN request THEN bytes END                 AS to_server,
        CASE WHEN NOT request THEN bytes END             AS to_client,
        CASE WHEN action = 'REJECT' THEN 1 END           AS refused,
        start_time,
        end_time
    FROM chosen
),

used AS (
    SELECT
        client,
        server,
        port,
        protocol,
        count(*)                               AS flows,
        count(refused)                         AS rejected,
        coalesce(sum(packets), 0)::BIGINT      AS packets,
        coalesce(sum(to_server), 0)::BIGINT    AS bytes_to_server,
        coalesce(sum(to_client), 0)::BIGINT    AS bytes_to_client,
        min(start_time)                        AS first_seen,
        max(end_time)                          AS last_seen
    FROM sides
    GROUP BY client, server, port, protocol
    ORDER BY flows DESC, client, server, port, protocol
    LIMIT $top
)

SELECT
    used.client,
    used.server,
    used.port,
    used.protocol,
    services.service,
    is_private(used.client, $internal) AS client_private,
    used.flows,
    used.rejected,
    used.packets,
    used.bytes_to_server,
    used.bytes_to_client,
    used.first_seen,
    used.last_seen
FROM used
LEFT JOIN services ON services.port = used.port AND services.protocol = used.protocol
ORDER BY used.flows DESC, used.client, used.server, used.port, used.protocol;
