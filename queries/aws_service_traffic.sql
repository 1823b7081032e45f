-- name: aws_service_traffic
-- title: Traffic with AWS services
-- description: Traffic from and to the address ranges of AWS services, largest byte count first.
--   from means that the packet's source is the service's (pkt_src_aws_service), to that its
--   destination is (pkt_dst_aws_service); a record with a service at both ends counts under each,
--   so rows must not be added up. addresses is how many addresses of the service took part, by
--   pkt_srcaddr or pkt_dstaddr, and is 0 where the format lacks that field. Ranges overlap and AWS
--   names one service only; EC2 is the public addresses of instances, your own among them.
-- needs: pkt_src_aws_service, pkt_dst_aws_service
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- returns: aws_service VARCHAR, direction VARCHAR, flows BIGINT, packets BIGINT, bytes BIGINT,
--   addresses BIGINT
-- report: bytes by aws_service, direction

WITH chosen AS (
    SELECT
        pkt_src_aws_service,
        pkt_dst_aws_service,
        pkt_srcaddr,
        pkt_dstaddr,
        packets,
        bytes
    FROM flows
    WHERE (pkt_src_aws_service IS NOT NULL OR pkt_dst_aws_service IS NOT NULL)
      AND counted($count, flow_direction, interface_id)
),

sides AS (
    SELECT
        pkt_src_aws_service  AS aws_service,
        'from'               AS direction,
        pkt_srcaddr          AS address,
        packets,
        bytes
    FROM chosen
    UNION ALL
    SELECT
        pkt_dst_aws_service,
        'to',
        pkt_dstaddr,
        packets,
        bytes
    FROM chosen
)

SELECT
    aws_service,
    direction,
    count(*)                           AS flows,
    coalesce(sum(packets), 0)::BIGINT  AS packets,
    coalesce(sum(bytes), 0)::BIGINT    AS bytes,
    count(DISTINCT address)            AS addresses
FROM sides
WHERE aws_service IS NOT NULL
GROUP BY aws_service, direction
ORDER BY bytes DESC, aws_service, direction;
