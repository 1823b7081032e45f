-- name: new_destinations
-- title: New destinations
-- description: Destinations that private sources sent to in the window, and to which no record
--   went in the days before, from any source and at any interface; largest byte count first. The
--   days are counted back from the start of the window's first record. The same verdict is asked
--   of both, so with ACCEPT a destination refused before and let through now is new. A lake that
--   does not reach back that far makes old destinations look new. Clients outside that your own
--   servers answer count as destinations too. private says whether the destination is private or
--   in internal; aws_service is AWS's name for its address range, the last by name where records
--   differ, and is NULL outside AWS or where the format lacks it. sources counts distinct source
--   addresses, ports distinct destination ports.
-- param: internal VARCHAR[] = [] e.g. ['198.51.100.0/24'] -- your own networks beside the private
--   ones
-- param: days UINTEGER = 7 -- how many days before the window to look back
-- param: action VARCHAR = 'ACCEPT' e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many destinations to keep
-- returns: dstaddr VARCHAR, private BOOLEAN, aws_service VARCHAR, flows BIGINT, packets BIGINT,
--   bytes BIGINT, sources BIGINT, ports BIGINT, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ
-- history: days
-- report: bytes by dstaddr, aws_service

-- Three million days are more than times can lie apart, and their microseconds fit a BIGINT.
WITH since AS (
    SELECT
        min(epoch_us(start_time)) - least($days::BIGINT, 3000000) * 86400000000 AS first_us
    FROM flows
),

known AS (
    SELECT DISTINCT history.dstaddr
    FROM history
    CROSS JOIN since
    WHERE history.dstaddr IS NOT NULL
      AND ($action IS NULL OR history.action = $action)
      AND coalesce(epoch_us(history.start_time) >= since.first_us, true)
),

unknown AS (
    SELECT
        flows.srcaddr,
        flows.dstaddr,
        flows.dstport,
        flows.packets,
        flows.bytes,
        flows.start_time,
        flows.end_time,
        flows.pkt_dst_aws_service
    FROM flows
    LEFT JOIN known ON known.dstaddr = flows.dstaddr
    WHERE known.dstaddr IS NULL
      AND flows.dstaddr IS NOT NULL
      AND counted($count, flows.flow_direction, flows.interface_id)
      AND ($action IS NULL OR flows.action = $action)
),

sources AS (
    SELECT DISTINCT srcaddr AS address FROM unknown
),

insiders AS (
    SELECT address FROM sources WHERE is_private(address, $internal)
),

reached AS (
    SELECT
        dstaddr,
        max(pkt_dst_aws_service)           AS aws_service,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        count(DISTINCT srcaddr)            AS sources,
        count(DISTINCT dstport)            AS ports,
        min(start_time)                    AS first_seen,
        max(end_time)                      AS last_seen
    FROM unknown
    WHERE srcaddr IN (SELECT address FROM insiders)
    GROUP BY dstaddr
    ORDER BY bytes DESC, dstaddr
    LIMIT $top
)

SELECT
    dstaddr,
    is_private(dstaddr, $internal) AS private,
    aws_service,
    flows,
    packets,
    bytes,
    sources,
    ports,
    first_seen,
    last_seen
FROM reached
ORDER BY bytes DESC, dstaddr;
