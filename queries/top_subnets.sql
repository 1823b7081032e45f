-- name: top_subnets
-- title: Top subnets
-- description: Subnets ranked by the bytes recorded at their interfaces, sent and received
--   together; interfaces says how many wrote records. A flow within the subnet is recorded at both
--   its ends and so counted twice; count = 'egress' counts it once, ranks by what was sent and
--   leaves bytes_ingress at 0. rejected counts REJECT records among flows. bytes_ingress and
--   bytes_egress go by flow_direction; where the format lacks it, both are 0. If the VPC varies,
--   the greatest text is shown. NODATA and SKIPDATA records and those without a subnet are left
--   out.
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many subnets to keep
-- needs: subnet_id
-- returns: subnet_id VARCHAR, vpc_id VARCHAR, interfaces BIGINT, flows BIGINT, rejected BIGINT,
--   packets BIGINT, bytes BIGINT, bytes_ingress BIGINT, bytes_egress BIGINT
-- report: bytes by subnet_id

SELECT
    subnet_id,
    max(vpc_id)                                                                AS vpc_id,
    count(DISTINCT interface_id)                                               AS interfaces,
    count(*)                                                                   AS flows,
    count(*) FILTER (WHERE action = 'REJECT')                                  AS rejected,
    coalesce(sum(packets), 0)::BIGINT                                          AS packets,
    coalesce(sum(bytes), 0)::BIGINT                                            AS bytes,
    coalesce(sum(bytes) FILTER (WHERE flow_direction = 'ingress'), 0)::BIGINT  AS bytes_ingress,
    coalesce(sum(bytes) FILTER (WHERE flow_direction = 'egress'), 0)::BIGINT   AS bytes_egress
FROM flows
WHERE subnet_id IS NOT NULL
  AND coalesce(log_status, 'OK') = 'OK'
  AND counted($count, flow_direction, interface_id)
  AND ($action IS NULL OR action = $action)
GROUP BY subnet_id
ORDER BY bytes DESC, subnet_id
LIMIT $top;
