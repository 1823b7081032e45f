-- name: inter_az_traffic
-- title: Traffic between Availability Zones
-- description: Traffic that crossed Availability Zones, by the zone of the recording interface and
--   that of its peer, largest byte count first. The peer's zone is known in two ways. next_hop is
--   the record's own next_hop_az_id, which formats have from version 11 on. address is for records
--   without it: the other address, dstaddr on egress and srcaddr on ingress, is in the zone named
--   by the egress records of the same VPC that it is the srcaddr of, if all of them that name a
--   zone name the same one. That finds only peers in the same VPC that sent something in the time
--   looked at, and none where the format lacks vpc_id. Where either zone is unknown the record is
--   left out, so more may have crossed. Egress is what interfaces in az_id sent to peer_az_id;
--   records adds what they received from there, so that traffic recorded at both ends stands in
--   two rows. Refused records count too. AWS bills each direction at both ends, 0.01 + 0.01 USD per
--   GB (list price 2026-06, us-east-1); transfer_cost works out the money.
-- needs: az_id, flow_direction
-- param: count VARCHAR = 'egress' e.g. 'records' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many rows to keep
-- returns: az_id VARCHAR, peer_az_id VARCHAR, known_by VARCHAR, flows BIGINT, packets BIGINT,
--   bytes BIGINT
-- report: bytes by az_id, peer_az_id

WITH zones AS (
    SELECT
        vpc_id,
        srcaddr     AS address,
        min(az_id)  AS az_id
    FROM flows
    WHERE flow_direction = 'egress'
      AND vpc_id IS NOT NULL
      AND srcaddr IS NOT NULL
      AND az_id IS NOT NULL
    GROUP BY vpc_id, srcaddr
    HAVING min(az_id) = max(az_id)
),

chosen AS (
    SELECT
        az_id,
        next_hop_az_id,
        vpc_id,
        CASE flow_direction WHEN 'egress' THEN dstaddr WHEN 'ingress' THEN srcaddr END AS address,
        packets,
        bytes
    FROM flows
    WHERE az_id IS NOT NULL
      AND counted($count, flow_direction, interface_id)
),

peers AS (
    SELECT
        az_id,
        next_hop_az_id,
        vpc_id,
        address,
        count(*)      AS flows,
        sum(packets)  AS packets,
        sum(bytes)    AS bytes
    FROM chosen
    GROUP BY az_id, next_hop_az_id, vpc_id, address
),

located AS (
    SELECT
        peers.az_id,
        coalesce(peers.next_hop_az_id, zones.az_id) AS peer_az_id,
        CASE WHEN peers.next_hop_az_id IS NULL THEN 'address' ELSE 'next_hop' END AS known_by,
        peers.flows,
        peers.packets,
        peers.bytes
    FROM peers
    LEFT JOIN zones ON zones.vpc_id = peers.vpc_id AND zones.address = peers.address
)

SELECT
    az_id,
    peer_az_id,
    known_by,
    sum(flows)::BIGINT                 AS flows,
    coalesce(sum(packets), 0)::BIGINT  AS packets,
    coalesce(sum(bytes), 0)::BIGINT    AS bytes
FROM located
WHERE az_id <> peer_az_id
GROUP BY az_id, peer_az_id, known_by
ORDER BY bytes DESC, az_id, peer_az_id, known_by
LIMIT $top;
