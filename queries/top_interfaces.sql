-- name: top_interfaces
-- title: Top interfaces
-- description: Network interfaces ranked by the bytes of the records they wrote, sent and received
--   together. rejected counts REJECT records among flows. bytes_ingress and bytes_egress go by
--   flow_direction; where the format lacks it, both are 0. If an interface has had several
--   accounts, regions, VPCs or instances, the greatest text is shown; NULL means none was recorded.
--   Left out are NODATA and SKIPDATA records and those without an interface, such as a regional
--   NAT gateway's. count = 'egress' ranks by what was sent and leaves bytes_ingress at 0.
-- param: action VARCHAR = NULL e.g. 'REJECT' -- only this verdict, ACCEPT or REJECT
-- param: count VARCHAR = 'records' e.g. 'egress' -- what counts: records, egress or an interface id
-- param: top UINTEGER = 20 -- how many interfaces to keep
-- returns: interface_id VARCHAR, account_id VARCHAR, region VARCHAR, vpc_id VARCHAR,
--   instance_id VARCHAR, flows BIGINT, rejected BIGINT, packets BIGINT, bytes BIGINT,
--   bytes_ingress BIGINT, bytes_egress BIGINT
-- report: bytes by interface_id

SELECT
    interface_id,
    max(account_id)                                                            AS account_id,
    max(region)                                                                AS region,
    max(vpc_id)                                                                AS vpc_id,
    max(instance_id)                                                           AS instance_id,
    count(*)                                                                   AS flows,
    count(*) FILTER (WHERE action = 'REJECT')                                  AS rejected,
    coalesce(sum(packets), 0)::BIGINT                                          AS packets,
    coalesce(sum(bytes), 0)::BIGINT                                            AS bytes,
    coalesce(sum(bytes) FILTER (WHERE flow_direction = 'ingress'), 0)::BIGINT  AS bytes_ingress,
    coalesce(sum(bytes) FILTER (WHERE flow_direction = 'egress'), 0)::BIGINT   AS bytes_egress
FROM flows
WHERE interface_id IS NOT NULL
  AND coalesce(log_status, 'OK') = 'OK'
  AND counted($count, flow_direction, interface_id)
  AND ($action IS NULL OR action = $action)
GROUP BY interface_id
ORDER BY bytes DESC, interface_id
LIMIT $top;
