-- name: top_vpcs
-- title: Top VPCs
-- description: VPCs ranked by the bytes recorded at their interfaces, sent and received together;
--   interfaces says how many wrote records. A flow within the VPC is recorded at both its ends and
--   so counted twice; count = 'egress' counts it once, ranks by what was sent and leaves
--   bytes_ingress at 0. rejected counts REJECT records among flows. bytes_ingress and bytes_egress
--   go by flow_direction; where the format lacks it, both are 0. Interfaces in a shared VPC belong
--   to several accounts, and the greatest text is shown; 'unknown', which AWS writes for some
--   interfaces of its own, is no account. NODATA and SKIPDATA records and those without a VPC are
--   left out.
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many VPCs to keep
-- needs: vpc_id
-- returns: vpc_id VARCHAR, account_id VARCHAR, interfaces BIGINT, flows BIGINT, rejected BIGINT,
--   packets BIGINT, bytes BIGINT, bytes_ingress BIGINT, bytes_egress BIGINT
-- report: bytes by vpc_id

SELECT
    vpc_id,
    max(nullif(account_id, 'unknown'))                                         AS account_id,
    count(DISTINCT interface_id)                                               AS interfaces,
    count(*)                                                                   AS flows,
    count(*) FILTER (WHERE action = 'REJECT')                                  AS rejected,
    coalesce(sum(packets), 0)::BIGINT                                          AS packets,
    coalesce(sum(bytes), 0)::BIGINT                                            AS bytes,
    coalesce(sum(bytes) FILTER (WHERE flow_direction = 'ingress'), 0)::BIGINT  AS bytes_ingress,
    coalesce(sum(bytes) FILTER (WHERE flow_direction = 'egress'), 0)::BIGINT   AS bytes_egress
FROM flows
WHERE vpc_id IS NOT NULL
  AND coalesce(log_status, 'OK') = 'OK'
  AND counted($count, flow_direction, interface_id)
  AND ($action IS NULL OR action = $action)
GROUP BY vpc_id
ORDER BY bytes DESC, vpc_id
LIMIT $top;
