"""A scan shared among sources that have nothing in common but the target.

The Internet's background gives every public address hundreds of probes a day, from as many sources,
so that many ports tried by many sources are nothing by themselves. What counts is how many more
they are than what is usual in the same flows.
"""

import math
from datetime import timedelta
from typing import Any

import polars as pl

from flowlake.detections.contacts import ENDPOINT, attempts, contacts
from flowlake.detections.evidence import LISTED, between, incidents, lasting, summed
from flowlake.detections.incidents import in_sessions
from flowlake.scopes import Members

CROWD, FEW = 10, 15
"""Sources of a crowd at least, and ports of the target that one of them tries at most: with more it
is a scan by itself (Zeek, policy/misc/scan.zeek)."""

REACHED, COMPARED = 5, 4
"""Sources that tried a target within a window, for it to be among those that are compared, and how
many of these it takes to say what is usual."""

UNUSUAL = 5.0
"""Deviations above the median up to which a count is usual. They are of the median absolute
deviation, as if normal, and at least those of a Poisson process, the root of the median."""

_CELL = ("target", "cell")


def crowds(
    flows: pl.LazyFrame, ports: int, window: timedelta, sources: Members, targets: Members
) -> pl.DataFrame:
    """Find targets of which many sources, each a few, tried more ports together than is usual.

    Windows are counted from 1970. In each, what is usual is said by all targets that at least five
    sources tried, in all windows of the flows: without four of these nothing is found. ``peak`` is
    how many ports more failed than is usual at most; ``subject`` is ``many -> TARGET``.

    Args:
        flows: records.
        ports: with at least so many ports more it is an incident.
        window: within this time.
        sources: who is looked at.
        targets: whose ports are looked at.
    """
    cells = (
        attempts(flows)
        .filter("maybe", pl.col("port") > 0)
        .group_by("target", cell=_cell(pl.col("first_seen"), window))
        .agg(
            ports=(pl.col("port") + pl.col("protocol") * 65_536).n_unique().cast(pl.Float64),
            sources=pl.col("source").n_unique(),
        )
        .filter(pl.col("sources") >= REACHED)
        .collect(engine="streaming")
    )
    usual = _usual(cells["ports"])
    unusual = cells.filter(pl.col("ports") > usual).select(_CELL)
    tries = (
        attempts(flows)
        .filter("maybe", pl.col("port") > 0)
        .with_columns(cell=_cell(pl.col("first_seen"), window))
        .join(unusual.lazy(), on=_CELL, how="semi")
        .select(*ENDPOINT, "cell")
        .unique()
        .collect(engine="streaming")
    )
    few, beyond = _of_few(tries, usual)
    enough = beyond.filter(pl.col("peak") >= ports).select("target").unique()
    beyond = beyond.join(enough, on="target", how="semi")
    few = few.join(beyond, on=_CELL, how="semi")
    # Answers may come in the window after the one that they are for.
    near = pl.concat(beyond.select(pl.col("cell") + step) for step in (-1, 0, 1))["cell"].unique()
    around = flows.filter(
        _cell(pl.coalesce("start_time", "end_time"), window).is_in(near.implode())
    )
    found = contacts(around, few.select("source", "target").unique(), sources, targets)
    failed = found.filter("failed").with_columns(cell=_cell(pl.col("first_seen"), window))
    few, counted = _of_few(failed.join(few, on=(*ENDPOINT, "cell"), how="semi"), usual)
    events = in_sessions(few.join(counted, on=_CELL), ["target"])
    run = ("target", "session")
    members = events.group_by(run).agg(
        pl.col("peak").max(), members=pl.col("source").unique().sort()
    )
    first = events.unique((*ENDPOINT, "session"))
    ranked = summed(first.with_columns(key="target"), ("key", "session")).rename({"key": "target"})
    ranked = ranked.join(members, on=run).filter(pl.col("peak") >= ports)

    def tell(row: dict[str, Any]) -> dict[str, Any]:
        who = f"{len(row['members']):,} sources"
        return {
            "subject": f"many -> {row['target']}",
            "who": who,
            "counts": {"sources": row["members"][:LISTED], "usual": round(usual, 1)},
            "why": f"{who} together tried {len(row['ports']):,} ports of {row['target']} in "
            f"{lasting(row)}, each a few; up to {usual:,.0f} within {window} are usual here.",
            "condition": between(row["members"], [row["target"]]),
        }

    return incidents(ranked, tell)


def _of_few(tries: pl.DataFrame, usual: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What sources with few ports of a target tried, and the cells where that is beyond usual."""
    endpoint = pl.struct("port", "protocol")
    few = tries.filter(endpoint.n_unique().over("source", *_CELL) < FEW)
    counted = few.group_by(_CELL).agg(
        peak=endpoint.n_unique() - usual, crowd=pl.col("source").n_unique()
    )
    return few, counted.filter(pl.col("peak") > 0, pl.col("crowd") >= CROWD)


def _usual(ports: pl.Series) -> float:
    """How many ports are usual; endless where there is too little to compare."""
    median = ports.median()
    if ports.len() < COMPARED or not isinstance(median, float):
        return float("inf")
    deviation = (ports - median).abs().median()
    assert isinstance(deviation, float)
    return median + UNUSUAL * max(1.4826 * deviation, math.sqrt(median))


def _cell(time: pl.Expr, window: timedelta) -> pl.Expr:
    return time.dt.epoch("us") // (window // timedelta(microseconds=1))
