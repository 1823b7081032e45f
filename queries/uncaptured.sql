-- name: uncaptured
-- title: Traffic that flow logs never hold
-- description: One row for each kind of traffic that AWS says flow logs leave out: do not look for
--   it here. flows counts the records that look like it all the same, which points to another host
--   or service at that address or port, or to a rule of AWS that has changed. A kind that cannot be
--   judged has unknown for a verdict and NULL for its counts: the VPC router and a VPC's own DNS
--   address can be told only by the IPv4 networks in `cidrs`, an endpoint's traffic with a Network
--   Load Balancer only by two fields of version 11. A record that looks like two kinds counts for
--   both. ARP, mirrored packets and what an interface does before its flow log runs are missing
--   too, and leave no trace to look for.
-- param: cidrs VARCHAR[] = [] e.g. ['10.0.0.0/16', '10.0.1.0/24'] -- your VPCs' and subnets' IPv4
--   networks
-- returns: traffic VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT, verdict VARCHAR,
--   explanation VARCHAR
-- report: flows by traffic

WITH bases AS (
    SELECT network_first(cidr) AS base
    FROM (SELECT unnest($cidrs) AS cidr) AS listed
    WHERE network_first(cidr) >= address_number('0.0.0.0')
      AND network_first(cidr) <= address_number('255.255.255.255')
      AND network_last(cidr) - network_first(cidr) >= 2::UHUGEINT
),

reserved AS (
    SELECT traffic, address_number(address) AS number
    FROM (VALUES
        ('dns', '169.254.169.253'),
        ('dns', 'fd00:ec2::253'),
        ('windows_licence', '169.254.169.250'),
        ('windows_licence', '169.254.169.251'),
        ('instance_metadata', '169.254.169.254'),
        ('instance_metadata', 'fd00:ec2::254'),
        ('time_sync', '169.254.169.123'),
        ('time_sync', 'fd00:ec2::123')
    ) AS known (traffic, address)
    UNION
    SELECT 'vpc_router', base + 1::UHUGEINT FROM bases
    UNION
    SELECT 'dns', base + 2::UHUGEINT FROM bases
),

addresses AS (
    SELECT srcaddr AS address FROM flows
    UNION
    SELECT dstaddr FROM flows
),

places AS (
    SELECT reserved.traffic, addresses.address
    FROM addresses
    JOIN reserved ON reserved.number = address_number(addresses.address)
),

marked AS (
    SELECT
        *,
        coalesce(
            protocol = 17 AND (srcport IN (67, 68, 546, 547) OR dstport IN (67, 68, 546, 547)),
            false
        ) AS dhcp,
        coalesce(
            interface_type = 'vpc_endpoint'
                AND next_hop_interface_type = 'network_load_balancer'
            OR interface_type = 'network_load_balancer'
                AND next_hop_interface_type = 'vpc_endpoint',
            false
        ) AS endpoint_to_nlb
    FROM flows
    WHERE coalesce(log_status, 'OK') = 'OK'
),

pairs AS (
    SELECT
        srcaddr,
        dstaddr,
        dhcp,
        endpoint_to_nlb,
        count(*)                           AS flows,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes
    FROM marked
    WHERE dhcp
       OR endpoint_to_nlb
       OR srcaddr IN (SELECT address FROM places)
       OR dstaddr IN (SELECT address FROM places)
    GROUP BY srcaddr, dstaddr, dhcp, endpoint_to_nlb
),

by_address AS (
    SELECT places.traffic, pairs.*
    FROM pairs
    JOIN places ON places.address = pairs.srcaddr
    UNION
    SELECT places.traffic, pairs.*
    FROM pairs
    JOIN places ON places.address = pairs.dstaddr
),

alike AS (
    SELECT traffic, flows, packets, bytes FROM by_address
    UNION ALL
    SELECT 'dhcp', flows, packets, bytes FROM pairs WHERE dhcp
    UNION ALL
    SELECT 'endpoint_to_nlb', flows, packets, bytes FROM pairs WHERE endpoint_to_nlb
),

found AS (
    SELECT
        uncaptured_traffic.place,
        uncaptured_traffic.traffic,
        coalesce(sum(alike.flows), 0)::BIGINT    AS flows,
        coalesce(sum(alike.packets), 0)::BIGINT  AS packets,
        coalesce(sum(alike.bytes), 0)::BIGINT    AS bytes,
        uncaptured_traffic.explanation
    FROM uncaptured_traffic
    LEFT JOIN alike ON alike.traffic = uncaptured_traffic.traffic
    GROUP BY
        uncaptured_traffic.place,
        uncaptured_traffic.traffic,
        uncaptured_traffic.explanation
),

known AS (
    SELECT
        (SELECT count(*) FROM bases) > 0                                 AS networks,
        count(interface_type) > 0 AND count(next_hop_interface_type) > 0 AS types
    FROM marked
),

judged AS (
    SELECT
        found.*,
        CASE WHEN found.flows > 0 THEN 'seen'
             WHEN found.traffic IN ('dns', 'vpc_router') AND NOT known.networks
             THEN 'unknown: give cidrs'
             WHEN found.traffic = 'endpoint_to_nlb' AND NOT known.types
             THEN 'unknown: needs interface_type and next_hop_interface_type'
             ELSE 'none, as expected' END AS verdict
    FROM found
    CROSS JOIN known
)

SELECT
    traffic,
    CASE WHEN verdict IN ('seen', 'none, as expected') THEN flows END    AS flows,
    CASE WHEN verdict IN ('seen', 'none, as expected') THEN packets END  AS packets,
    CASE WHEN verdict IN ('seen', 'none, as expected') THEN bytes END    AS bytes,
    verdict,
    explanation
FROM judged
ORDER BY place;
