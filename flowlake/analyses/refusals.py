"""What was refused: by whom, at which ports, why, and the answers refused after a yes."""

from collections.abc import Sequence

import polars as pl

from flowlake.addresses import is_private
from flowlake.analyses.counting import counted, distinct, seen, table, totals

_MINUTE = 60_000_000
"""Microseconds."""

_CONVERSATION = ("interface_id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol")
"""What the two directions of a conversation share at one interface, each end in its place."""


def _refused(flows: pl.LazyFrame, protocol: int | None = None) -> pl.LazyFrame:
    refused = flows.filter(pl.col("action") == "REJECT")
    return refused if protocol is None else refused.filter(pl.col("protocol") == protocol)


def rejected_flows(
    flows: pl.LazyFrame, *, protocol: int | None = None, top: int = 20
) -> pl.LazyFrame:
    """List who was refused what: REJECT records by both addresses, port and protocol.

    Args:
        flows: The records to look at.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.
        top: How many rows to keep, those with most records first.

    """
    key = ("srcaddr", "dstaddr", "dstport", "protocol")
    return (
        _refused(flows, protocol)
        .group_by(*key)
        .agg(*totals(), *seen())
        .join(table("protocols"), on="protocol", how="left")
        .select(*key, "keyword", "flows", "packets", "bytes", "first_seen", "last_seen")
        .sort("flows", *key, descending=[True, *(False for _ in key)], nulls_last=True)
        .head(top)
    )


def rejected_over_time(
    flows: pl.LazyFrame, *, minutes: int = 60, protocol: int | None = None
) -> pl.LazyFrame:
    """Count REJECT records in each stretch of time, and their share of all with a verdict.

    Args:
        flows: The records to look at.
        minutes: How wide a stretch is, at least 1; they are counted from 1970-01-01T00:00Z.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.

    """
    judged = flows.filter(
        pl.col("action").is_in(("ACCEPT", "REJECT")), pl.col("start_time").is_not_null()
    )
    if protocol is not None:
        judged = judged.filter(pl.col("protocol") == protocol)
    start = pl.col("start_time").dt.epoch("us")
    refused = pl.col("action") == "REJECT"
    return (
        judged.group_by(bucket=start - start % (max(minutes, 1) * _MINUTE))
        .agg(
            judged=pl.len(),
            flows=refused.sum().cast(pl.Int64),
            packets=pl.col("packets").filter(refused).sum(),
            bytes=pl.col("bytes").filter(refused).sum(),
        )
        .filter(pl.col("flows") > 0)
        .select(
            pl.col("bucket").cast(pl.Datetime("us", "UTC")).alias("bucket_start"),
            *("flows", "packets", "bytes"),
            share_of_flows=pl.col("flows") / pl.col("judged"),
        )
        .sort("bucket_start")
    )


def rejected_ports(
    flows: pl.LazyFrame, *, protocol: int | None = None, top: int = 20
) -> pl.LazyFrame:
    """List the ports that were refused: REJECT records by destination port and protocol.

    Args:
        flows: The records to look at.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.
        top: How many ports to keep, those with most records first.

    """
    key = ("dstport", "protocol")
    return (
        _refused(flows, protocol)
        .filter(pl.col("dstport").is_not_null())
        .group_by(*key)
        .agg(
            *totals(),
            distinct("srcaddr").alias("sources"),
            distinct("dstaddr").alias("targets"),
            *seen(),
        )
        .join(table("protocols"), on="protocol", how="left")
        .join(table("services"), left_on=key, right_on=("port", "protocol"), how="left")
        .select(
            *(*key, "keyword", "service", "flows", "packets", "bytes", "sources", "targets"),
            *("first_seen", "last_seen"),
        )
        .sort("flows", *key, descending=[True, False, False], nulls_last=True)
        .head(top)
    )


def rejected_sources(
    flows: pl.LazyFrame,
    *,
    internal: Sequence[str] = (),
    protocol: int | None = None,
    top: int = 20,
) -> pl.LazyFrame:
    """List who was refused: REJECT records by source address, with how much each tried.

    Args:
        flows: The records to look at.
        internal: Your own networks, which count as private beside those that always are.
        protocol: Only this protocol number, such as 6 for TCP; None counts all.
        top: How many addresses to keep, those with most records first.

    Raises:
        UsageError: for an ``internal`` that is not a network.

    """
    return (
        _refused(flows, protocol)
        .filter(pl.col("srcaddr").is_not_null())
        .group_by("srcaddr")
        .agg(
            *totals(),
            distinct("dstaddr").alias("targets"),
            distinct("dstport").alias("ports"),
            *seen(),
        )
        .sort("flows", "srcaddr", descending=[True, False])
        .head(top)
        .select(
            "srcaddr",
            is_private(pl.col("srcaddr"), internal).alias("private"),
            *("flows", "packets", "bytes", "targets", "ports", "first_seen", "last_seen"),
        )
    )


def reject_reasons(flows: pl.LazyFrame, *, count: str = "records") -> pl.LazyFrame:
    """Divide the REJECT records by the reason that AWS gives for them.

    Args:
        flows: The records to look at.
        count: Which records count: ``records``, ``egress`` or an interface id.

    Raises:
        UsageError: for a ``count`` that is none.

    """
    unnamed = pl.lit("security group or network ACL, or the format lacks reject_reason")
    reason = pl.col("reject_reason")
    return (
        _refused(flows)
        .filter(counted(count))
        .group_by("reject_reason")
        .agg(*totals(), distinct("srcaddr").alias("sources"), pl.col("end_time").max())
        .join(table("reject_reasons"), on="reject_reason", how="left")
        .select(
            reason,
            pl.when(reason.is_null()).then(unnamed).otherwise("meaning").alias("meaning"),
            *("flows", "packets", "bytes", "sources"),
            last_seen="end_time",
        )
        .sort("flows", "reject_reason", descending=[True, False], nulls_last=True)
    )


def refused_replies(flows: pl.LazyFrame, *, minutes: int = 10, top: int = 20) -> pl.LazyFrame:
    """List what was let in while the answer was refused, which points to a network ACL.

    A REJECT record answers an ACCEPT record of the same interface, with the same protocol and
    the addresses and ports the other way round, if it is not over before that one starts and
    starts no later than ``minutes`` after it ends.

    Args:
        flows: The records to look at.
        minutes: How long after the accepted record a refusal still counts as its answer.
        top: How many rows to keep, those with most refused records first.

    """
    key = ("interface_id", "srcaddr", "dstaddr", "dstport", "protocol")
    known = ("srcaddr", "dstaddr", "protocol", "start_time", "end_time")
    timed = flows.filter(pl.col(column).is_not_null() for column in known)
    # Turned round, a refused record reads as the direction that it answers.
    back = {"srcaddr": "dstaddr", "dstaddr": "srcaddr", "srcport": "dstport", "dstport": "srcport"}
    refused = _refused(timed).rename(back)
    accepted = timed.filter(pl.col("action") == "ACCEPT")
    # An accepted record stands at its start and a refused one at its end, so that those before it
    # are the ones it can answer. It answers one of them if it answers the one that ends last; to
    # compare every two would take the square of a long conversation's records.
    moments = pl.concat(
        [
            accepted.join(refused, on=_CONVERSATION, how="semi", nulls_equal=True).select(
                *_CONVERSATION,
                moment="start_time",
                refused=pl.lit(False),
                accepted_until=pl.col("end_time").dt.epoch("us"),
            ),
            refused.join(accepted, on=_CONVERSATION, how="semi", nulls_equal=True).select(
                *_CONVERSATION,
                *("packets", "bytes", "start_time", "end_time"),
                moment="end_time",
                refused=pl.lit(True),
            ),
        ],
        how="diagonal",
    )
    last_accepted = (
        pl.col("accepted_until")
        .cum_max()
        .forward_fill()
        .over(_CONVERSATION, order_by=("moment", "refused"))
    )
    in_time = pl.col("start_time").dt.epoch("us") <= last_accepted + minutes * _MINUTE
    return (
        moments.filter(in_time)
        .group_by(*key)
        .agg(*totals(), *seen())
        .join(table("protocols"), on="protocol", how="left")
        .select(*key, "keyword", "flows", "packets", "bytes", "first_seen", "last_seen")
        .sort("flows", *key, descending=[True, *(False for _ in key)], nulls_last=True)
        .head(top)
    )
