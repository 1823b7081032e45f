"""What the traffic was, in Polars: the twin of each saved query in ``queries/``.

Each function is pure and lazy: it takes `flows` as a LazyFrame with the lake's schema, reads
nothing itself, and answers with the columns, types, order and rows of the SQL of the same name.
Its keyword parameters and their defaults are the SQL's own.
"""

from collections.abc import Callable

import polars as pl

from flowlake.protocols import PROTOCOLS


def protocol_breakdown(flows: pl.LazyFrame) -> pl.LazyFrame:
    """Divide the traffic among IP protocols, largest byte count first.

    ``share_of_bytes`` runs from 0 to 1 and is null where no bytes were counted at all.
    """
    # A window, not a plain sum: Polars divides by a scalar as a product with its reciprocal,
    # which is off in the last bit from a true division, so that 3 of 5 gives 0.6000000000000001.
    total = pl.col("bytes").sum().over(pl.lit(1))
    return (
        flows.filter(pl.col("protocol").is_not_null())
        .group_by("protocol")
        .agg(*_totals())
        .join(_keywords(), on="protocol", how="left")
        .select(
            "protocol",
            "keyword",
            "flows",
            "packets",
            "bytes",
            share_of_bytes=pl.when(total > 0).then(pl.col("bytes") / total),
        )
        .sort("bytes", "protocol", descending=[True, False])
    )


def rejected_flows(flows: pl.LazyFrame, *, top: int = 20) -> pl.LazyFrame:
    """List who was refused what: REJECT records by both addresses, port and protocol.

    Args:
        flows: The records to look at.
        top: How many rows to keep, those with most records first.

    """
    key = ("srcaddr", "dstaddr", "dstport", "protocol")
    return (
        flows.filter(pl.col("action") == "REJECT")
        .group_by(*key)
        .agg(
            *_totals(),
            first_seen=pl.col("start_time").min(),
            last_seen=pl.col("end_time").max(),
        )
        .join(_keywords(), on="protocol", how="left")
        .select(*key, "keyword", "flows", "packets", "bytes", "first_seen", "last_seen")
        .sort("flows", *key, descending=[True, *(False for _ in key)], nulls_last=True)
        .head(top)
    )


def top_talkers(flows: pl.LazyFrame, *, action: str | None = None, top: int = 20) -> pl.LazyFrame:
    """Rank source addresses by the bytes they sent.

    Args:
        flows: The records to look at.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        top: How many addresses to keep.

    """
    senders = flows.filter(pl.col("srcaddr").is_not_null())
    if action is not None:
        senders = senders.filter(pl.col("action") == action)
    return (
        senders.group_by("srcaddr")
        .agg(*_totals())
        .select("srcaddr", "bytes", "packets", "flows")
        .sort("bytes", "srcaddr", descending=[True, False])
        .head(top)
    )


ANALYSES: tuple[Callable[..., pl.LazyFrame], ...] = (
    protocol_breakdown,
    rejected_flows,
    top_talkers,
)
"""Every analysis here, for `flowlake.catalog` to pair with the SQL of the same name."""


def _totals() -> tuple[pl.Expr, ...]:
    """Count records and sum packets and bytes, where a sum of nothing is 0."""
    return (
        pl.len().cast(pl.Int64).alias("flows"),
        pl.col("packets").sum(),
        pl.col("bytes").sum(),
    )


def _keywords() -> pl.LazyFrame:
    """The Polars side of the SQL's table `protocols`."""
    return pl.LazyFrame(
        {"protocol": list(PROTOCOLS), "keyword": list(PROTOCOLS.values())},
        schema={"protocol": pl.Int32, "keyword": pl.String},
    )
