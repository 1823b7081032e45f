-- name: transfer_cost
-- title: Transfer cost by path
-- description: What the accepted traffic costs, by the billable path it took, dearest first: an
--   estimate by list prices of us-east-1 of June 2026, one price for each path, with a GB of 2^30
--   bytes, without free tiers, volume discounts and hourly charges; assumption says more for each.
--   Only records that leave an interface count, since the ingress record at the other end tells of
--   the same bytes: `count` = 'records' lists those too, as incoming without a cost, and an
--   interface id takes what that interface sends. No path is guessed: what the fields do not tell
--   is unknown, and needs names the fields that would, or is NULL where none would. So the default
--   format gives one unknown row, version 5 tells internet, gateway endpoints and peering, and a
--   NAT gateway takes version 11. Where next_hop_az_id is missing, the zone of a private target in
--   the same VPC is looked up in what that address sends itself; `internal` adds your own networks
--   to the private ones. Traffic with an interface endpoint then looks like traffic within the VPC,
--   and so does all that passes a gateway if the format has next_hop_az_id without the interface
--   types. A record has one path: what crosses zones on its way to a NAT gateway counts as
--   nat_gateway only. Without pkt_dst_aws_service all that leaves by an internet gateway counts as
--   internet. Two flow logs on one interface double everything.
-- param: internet DOUBLE = NULL e.g. 0.05 -- USD per GB to the internet; NULL takes the price
--   table's
-- param: nat_gateway DOUBLE = NULL e.g. 0.04 -- USD per GB through a NAT gateway; NULL takes the
--   price table's
-- param: inter_az DOUBLE = NULL e.g. 0.01 -- USD per GB between zones; NULL takes the price table's
-- param: vpc_endpoint DOUBLE = NULL e.g. 0.006 -- USD per GB through an interface endpoint; NULL
--   takes the price table's
-- param: transit_gateway DOUBLE = NULL e.g. 0.015 -- USD per GB to a transit gateway; NULL takes
--   the price table's
-- param: peering DOUBLE = NULL e.g. 0.01 -- USD per GB to a peered VPC in another zone; NULL takes
--   the price table's
-- param: inter_region_peering DOUBLE = NULL e.g. 0.01 -- USD per GB to a peered VPC in another
--   region; NULL takes the price table's
-- param: internal VARCHAR[] = [] e.g. ['198.51.100.0/24'] -- your own networks beside the private
--   ones
-- param: count VARCHAR = 'egress' e.g. 'records' -- what counts: records, egress or an interface id
-- returns: path VARCHAR, needs VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT, gb DOUBLE,
--   usd_per_gb DOUBLE, cost_usd DOUBLE, assumption VARCHAR
-- report: cost_usd by path

WITH senders AS (
    SELECT
        vpc_id,
        srcaddr     AS address,
        min(az_id)  AS az_id
    FROM flows
    WHERE flow_direction = 'egress'
      AND vpc_id IS NOT NULL
      AND srcaddr IS NOT NULL
    GROUP BY vpc_id, srcaddr
    HAVING min(az_id) = max(az_id)
),

zones AS (
    SELECT vpc_id, address, az_id
    FROM senders
    WHERE is_private(address, $internal)
),

accepted AS (
    SELECT
        *,
        -- A gateway's interface has no instance and sends what others sent.
        interface_type IS NULL
            AND instance_id IS NULL
            AND coalesce(pkt_srcaddr <> srcaddr, true)             AS may_be_gateway,
        coalesce(traffic_path, 1) = 1 AND next_hop_az_id IS NULL   AS within_vpc
    FROM flows
    WHERE action = 'ACCEPT'
      AND coalesce(log_status, 'OK') = 'OK'
      AND counted($count, coalesce(flow_direction, 'egress'), interface_id)
      AND ($count = 'records' OR coalesce(flow_direction, 'egress') = 'egress')
),

sent AS (
    SELECT
        flow_direction,
        traffic_path,
        interface_type,
        next_hop_interface_type,
        az_id,
        next_hop_az_id,
        pkt_dst_aws_service,
        within_vpc AND may_be_gateway                                    AS may_be_gateway,
        CASE WHEN within_vpc AND NOT may_be_gateway THEN vpc_id END      AS vpc_id,
        CASE WHEN within_vpc AND NOT may_be_gateway THEN dstaddr END     AS address,
        count(*)                                                         AS flows,
        coalesce(sum(packets), 0)::BIGINT                                AS packets,
        coalesce(sum(bytes), 0)::BIGINT                                  AS bytes
    FROM accepted
    GROUP BY ALL
),

zoned AS (
    SELECT
        sent.*,
        coalesce(sent.next_hop_az_id, zones.az_id) AS target_az_id
    FROM sent
    LEFT JOIN zones ON zones.vpc_id = sent.vpc_id AND zones.address = sent.address
),

routed AS (
    SELECT
        *,
        CASE WHEN flow_direction IS NULL THEN 'unknown'
             WHEN flow_direction <> 'egress' THEN 'incoming'
             WHEN interface_type = 'transit_gateway' THEN 'from_transit_gateway'
             WHEN next_hop_interface_type IN ('nat_gateway', 'regional_nat_gateway')
             THEN 'nat_gateway'
             WHEN next_hop_interface_type = 'transit_gateway' THEN 'transit_gateway'
             WHEN interface_type = 'vpc_endpoint' OR next_hop_interface_type = 'vpc_endpoint'
             THEN 'vpc_endpoint'
             WHEN interface_type IN ('nat_gateway', 'regional_nat_gateway') AND traffic_path = 1
             THEN 'nat_gateway'
             WHEN interface_type IN ('nat_gateway', 'regional_nat_gateway')
                  AND traffic_path IS NULL
             THEN 'unknown'
             WHEN traffic_path IN (2, 8) AND pkt_dst_aws_service IS NULL THEN 'internet'
             WHEN traffic_path = 2 AND pkt_dst_aws_service IN ('S3', 'DYNAMODB') THEN 'unknown'
             WHEN traffic_path IN (2, 8) THEN 'aws_over_internet'
             WHEN traffic_path = 3 THEN 'virtual_private_gateway'
             WHEN traffic_path = 5 THEN 'inter_region_peering'
             WHEN traffic_path = 6 THEN 'local_gateway'
             WHEN traffic_path = 7 THEN 'gateway_endpoint'
             WHEN traffic_path NOT IN (1, 4) THEN 'unknown'
             WHEN az_id = target_az_id THEN 'same_az'
             WHEN az_id <> target_az_id AND traffic_path = 4 THEN 'peering'
             WHEN az_id <> target_az_id THEN 'inter_az'
             ELSE 'unknown' END AS path
    FROM zoned
),

explained AS (
    SELECT
        path,
        CASE WHEN path <> 'unknown' THEN NULL
             WHEN flow_direction IS NULL THEN 'flow_direction, traffic_path'
             WHEN interface_type IN ('nat_gateway', 'regional_nat_gateway')
                  AND traffic_path IS NULL
             THEN 'traffic_path'
             WHEN traffic_path NOT IN (1, 4) THEN NULL
             ELSE concat_ws(', ',
                 CASE WHEN target_az_id IS NULL AND traffic_path IS NULL THEN 'traffic_path' END,
                 CASE WHEN az_id IS NULL THEN 'az_id' END,
                 CASE WHEN may_be_gateway THEN 'interface_type' END,
                 CASE WHEN target_az_id IS NULL AND coalesce(traffic_path, 1) = 1
                      THEN 'next_hop_interface_type' END,
                 CASE WHEN target_az_id IS NULL THEN 'next_hop_az_id' END
             ) END AS needs,
        flows,
        packets,
        bytes
    FROM routed
),

totals AS (
    SELECT
        path,
        needs,
        sum(flows)::BIGINT               AS flows,
        sum(packets)::BIGINT             AS packets,
        sum(bytes)::BIGINT               AS bytes,
        sum(bytes)::BIGINT / 1073741824  AS gb
    FROM explained
    GROUP BY path, needs
),

asked (path, usd_per_gb) AS (
    VALUES
        ('internet', $internet::DOUBLE),
        ('nat_gateway', $nat_gateway::DOUBLE),
        ('inter_az', $inter_az::DOUBLE),
        ('vpc_endpoint', $vpc_endpoint::DOUBLE),
        ('transit_gateway', $transit_gateway::DOUBLE),
        ('peering', $peering::DOUBLE),
        ('inter_region_peering', $inter_region_peering::DOUBLE)
)

SELECT
    totals.path,
    totals.needs,
    totals.flows,
    totals.packets,
    totals.bytes,
    totals.gb,
    coalesce(asked.usd_per_gb, prices.usd_per_gb)              AS usd_per_gb,
    totals.gb * coalesce(asked.usd_per_gb, prices.usd_per_gb)  AS cost_usd,
    CASE WHEN asked.usd_per_gb IS NULL THEN prices.assumption
         ELSE 'The price you gave.' END                        AS assumption
FROM totals
JOIN prices ON prices.path = totals.path
LEFT JOIN asked ON asked.path = totals.path
ORDER BY
    cost_usd DESC NULLS LAST,
    totals.bytes DESC,
    totals.path,
    totals.needs NULLS LAST;
