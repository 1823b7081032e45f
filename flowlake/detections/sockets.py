"""Connections one after another on the same pair of sockets, told apart by the silence between."""

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from flowlake.detections.connections import connections
from flowlake.detections.incidents import in_sessions
from flowlake.scopes import Members

_READ = (
    *("interface_id", "flow_log_id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol"),
    *("packets", "bytes", "tcp_flags", "action", "start_time", "end_time"),
)
_PAIR = ("low", "high", "protocol")
_MARK = "#"


def opened(
    flows: pl.LazyFrame, silence: timedelta, marks: Mapping[str, Members] | None = None
) -> pl.DataFrame:
    """As `connections`, but what comes after a silence is another connection.

    A client that opens many comes back to its ports: some 28,000 on Linux. Records without
    addresses, or without any time, are left out. All records given are held in memory.

    Args:
        flows: records.
        silence: how long nothing is sent before the sockets are taken to be used anew.
        marks: as for `connections`.
    """
    source, target = pl.coalesce("pkt_srcaddr", "srcaddr"), pl.coalesce("pkt_dstaddr", "dstaddr")
    ends = [
        pl.concat_str(address, pl.lit(_MARK), pl.col(port).fill_null(0))
        for address, port in ((source, "srcport"), (target, "dstport"))
    ]
    known = flows.select(
        *_READ,
        source=source,
        target=target,
        low=pl.min_horizontal(ends),
        high=pl.max_horizontal(ends),
        first_seen=pl.coalesce("start_time", "end_time"),
        last_seen=pl.coalesce("end_time", "start_time"),
    ).drop_nulls(["source", "target", "first_seen"])
    records = known.collect(engine="streaming")
    lasted = pl.col("last_seen").max() - pl.col("first_seen").min()
    long = records.group_by(_PAIR).agg(lasted=lasted).filter(pl.col("lasted") > silence)
    again = in_sessions(records.join(long, on=_PAIR, how="semi", nulls_equal=True), _PAIR, silence)
    # An address of its own for each use: `connections` knows a pair of sockets by these.
    renamed = again.with_columns(
        pkt_srcaddr=pl.concat_str("source", pl.lit(_MARK), "session"),
        pkt_dstaddr=pl.concat_str("target", pl.lit(_MARK), "session"),
    )
    once = records.join(long, on=_PAIR, how="anti", nulls_equal=True).with_columns(
        pkt_srcaddr="source", pkt_dstaddr="target"
    )
    numbered = pl.concat([once, renamed.select(once.columns)])
    address = pl.col("client", "server").str.replace(f"{_MARK}.*", "")
    return connections(numbered.lazy(), marks).with_columns(address).collect()
