-- name: top_instances
-- title: Top instances
-- description: EC2 instances ranked by the bytes recorded at all their interfaces, sent and
--   received together; interfaces says how many of those wrote records. rejected counts REJECT
--   records among flows. bytes_ingress and bytes_egress go by flow_direction; where the format
--   lacks it, both are 0. If the account varies, the greatest text is shown. Left out are NODATA
--   and SKIPDATA records and interfaces without an instance, such as those of NAT gateways and
--   load balancers. count = 'egress' ranks by what was sent and leaves bytes_ingress at 0.
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many instances to keep
-- needs: instance_id
-- returns: instance_id VARCHAR, account_id VARCHAR, interfaces BIGINT, flows BIGINT,
--   rejected BIGINT, packets BIGINT, bytes BIGINT, bytes_ingress BIGINT, bytes_egress BIGINT
-- report: bytes by instance_id

SELECT
    instance_id,
    max(account_id)                                                            AS account_id,
    count(DISTINCT interface_id)                                               AS interfaces,
    count(*)                                                                   AS flows,
    count(*) FILTER (WHERE action = 'REJECT')                                  AS rejected,
    coalesce(sum(packets), 0)::BIGINT                                          AS packets,
    coalesce(sum(bytes), 0)::BIGINT                                            AS bytes,
    coalesce(sum(bytes) FILTER (WHERE flow_direction = 'ingress'), 0)::BIGINT  AS bytes_ingress,
    coalesce(sum(bytes) FILTER (WHERE flow_direction = 'egress'), 0)::BIGINT   AS bytes_egress
FROM flows
WHERE instance_id IS NOT NULL
  AND coalesce(log_status, 'OK') = 'OK'
  AND counted($count, flow_direction, interface_id)
  AND ($action IS NULL OR action = $action)
GROUP BY instance_id
ORDER BY bytes DESC, instance_id
LIMIT $top;
