-- name: top_talkers
-- title: Top talkers
-- description: Source addresses ranked by the bytes they sent, in all records or only in those
--   with the verdict $action. A flow recorded at two interfaces counts at both.
-- param: action VARCHAR = NULL -- count only this verdict, ACCEPT or REJECT; NULL counts every record
-- param: top UINTEGER = 20 -- how many addresses to keep
-- returns: srcaddr VARCHAR, bytes BIGINT, packets BIGINT, flows BIGINT

WITH senders AS (
    SELECT
        srcaddr,
        coalesce(sum(bytes), 0)::BIGINT    AS bytes,
        coalesce(sum(packets), 0)::BIGINT  AS packets,
        count(*)                           AS flows
    FROM flows
    WHERE srcaddr IS NOT NULL
      AND ($action IS NULL OR action = $action)
    GROUP BY srcaddr
)

SELECT
    srcaddr,
    bytes,
    packets,
    flows
FROM senders
ORDER BY bytes DESC, srcaddr
LIMIT $top;
