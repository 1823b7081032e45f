"""Beacons: connections from inside that are opened at regular intervals, each like the last."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl

from flowlake.addresses import is_private, is_public
from flowlake.detections.connections import TCP, UDP
from flowlake.detections.connections import connections as connected
from flowlake.detections.incidents import GAP, INCIDENTS, Detection, Parameter
from flowlake.detections.wording import amount, quoted, span
from flowlake.scopes import EVERYBODY, NOBODY, Members

HOURS = 6
"""A beacon is seen in so many hours of its window. RITA, default_config.hjson,
duration_min_hours_seen."""

INTERVALS = 4
"""A beacon that is away for more than so many of its intervals, and an hour, has ended."""

NTP = 123

ANYBODYS = ("EC2", "CLOUDFRONT", "API_GATEWAY", "GLOBALACCELERATOR")
"""AWS services behind whose addresses customers' own servers stand; the others are AWS's."""

_BY = ["client", "server", "server_port"]


def beacon(
    flows: pl.LazyFrame,
    *,
    score: float = 0.75,
    connections: int = 20,
    window: timedelta = timedelta(hours=24),
    hosts: int = 5,
    sources: Members = EVERYBODY,
    ignore: Members = NOBODY,
) -> pl.DataFrame:
    """Find who calls the same public address at regular intervals, and says about the same.

    What counts are connections that are opened, of TCP or UDP; one that lasts leaves a record in
    each aggregation interval and counts once. A window begins with a beacon's first connection.
    The score is the lower of two, each 1 - MAD / median (the median absolute deviation): of the
    intervals, and of the bytes sent. Jitter of 30% either way scores 0.85, and at least 0.79 in 99
    of 100 beacons of 20 connections; connections at random 0.31. RITA averages that with Bowley's
    skewness, of which 20 intervals say too little to tell the two apart, and lets a good half make
    up for a bad one: polling for whatever there is would then pass for a beacon.

    An incident is a source, a destination and a port, until nothing was opened for four intervals,
    and an hour at least. ``peak`` is the best score of a window that has enough ``connections`` in
    at least ``HOURS`` hours, or in all of a shorter window. The evidence is every record between
    them on that port.

    Left out are NTP, addresses that ``pkt_dst_aws_service`` says are AWS's own, and destinations
    that more than a few hosts of yours open connections to. A job at each full hour that always
    sends the same is a beacon too, and so is a lone host's check for updates: ``ignore`` them.

    Args:
        flows: records with the lake's schema.
        score: from 0 to 1, what makes an incident.
        connections: the fewest in a window.
        window: over how long a score is taken.
        hosts: the most sources a destination may have and still be suspicious.
        sources: who is looked at; by default every private address.
        ignore: sources and destinations that may do it.
    """
    seen = _both_ways(flows)
    needed = min(HOURS, max(1, window // GAP))
    often = seen.group_by(_BY).agg(pl.len(), pl.col("hour").n_unique())
    inside = is_private(pl.col("client")) if sources.everybody else pl.lit(True)
    pairs = often.filter(
        pl.col("len") >= connections,
        pl.col("hour") >= needed,
        pl.col("server_port") != NTP,
        inside,
        is_public(pl.col("server")),
    ).select(_BY)
    suspects = pairs.collect(engine="streaming")
    servers = (
        seen.filter(pl.col("server").is_in(suspects["server"].unique().implode()))
        .group_by("server")
        .agg(pl.col("client").n_unique(), aws=(~pl.col("service").is_in(ANYBODYS)).any())
        .filter(pl.col("client") <= hosts, ~pl.col("aws"))
        .collect(engine="streaming")
    )
    suspects = suspects.join(servers, on="server", how="semi")
    marks = {"watched": sources, "ignored": ignore}
    calls = (
        connected(_between(flows, suspects), marks, idle=GAP)
        .filter("client_watched", ~pl.col("client_ignored"), ~pl.col("server_ignored"))
        .collect()
        .join(suspects, on=_BY, how="semi")
    )
    return _incidents(calls, score, connections, window, needed)


def _both_ways(flows: pl.LazyFrame) -> pl.LazyFrame:
    """Each record twice: as if its source were the client, and as if it were the server."""
    source, target = pl.coalesce("pkt_srcaddr", "srcaddr"), pl.coalesce("pkt_dstaddr", "dstaddr")
    hour = pl.coalesce("start_time", "end_time").dt.truncate("1h")
    ways = (
        (source, target, "dstport", "pkt_dst_aws_service"),
        (target, source, "srcport", "pkt_src_aws_service"),
    )
    return pl.concat(
        flows.filter(pl.col("protocol").is_in([TCP, UDP])).select(
            client=client, server=server, server_port=port, service=service, hour=hour
        )
        for client, server, port, service in ways
    )


def _between(flows: pl.LazyFrame, pairs: pl.DataFrame) -> pl.LazyFrame:
    """The records of clients with servers, of either direction."""
    source, target = pl.coalesce("pkt_srcaddr", "srcaddr"), pl.coalesce("pkt_dstaddr", "dstaddr")
    there = flows.filter(pl.col("protocol").is_in([TCP, UDP]))
    forth = [source, target, pl.col("dstport")]
    back = [target, source, pl.col("srcport")]
    known = pairs.lazy()
    replies = there.join(known, left_on=forth, right_on=_BY, how="anti")
    return pl.concat(
        [
            there.join(known, left_on=forth, right_on=_BY, how="semi"),
            replies.join(known, left_on=back, right_on=_BY, how="semi"),
        ]
    )


def _incidents(
    calls: pl.DataFrame, score: float, connections: int, window: timedelta, needed: int
) -> pl.DataFrame:
    since = pl.col("first_seen").diff().over(_BY)
    timed = calls.sort(*_BY, "first_seen", "last_seen").with_columns(
        interval=pl.when(since > timedelta(0)).then(since.dt.total_seconds()).cast(pl.Float64),
        size=pl.when(pl.col("packets") > 0).then("bytes").otherwise("reply_bytes").cast(pl.Float64),
        hour=pl.col("first_seen").dt.truncate("1h"),
    )
    patience = pl.max_horizontal(
        pl.lit(GAP.total_seconds()), INTERVALS * pl.col("interval").median().over(_BY)
    )
    timed = timed.with_columns(
        session=(pl.col("interval") > patience).fill_null(False).cum_sum().over(_BY)
    )
    session = [*_BY, "session"]
    lasted = (pl.col("first_seen") - pl.col("first_seen").min().over(session)).dt.total_seconds()
    timed = timed.with_columns(window=lasted // int(window.total_seconds()))
    by_window = [*session, "window"]

    def off(value: str) -> pl.Expr:
        return (pl.col(value) - pl.col(value).median().over(by_window)).abs()

    windows = (
        timed.with_columns(jitter=off("interval"), varied=off("size"))
        .group_by(by_window)
        .agg(
            pl.col("interval", "jitter", "size", "varied").median(),
            opened=pl.len(),
            hours=pl.col("hour").n_unique(),
        )
        .filter(pl.col("opened") >= connections, pl.col("hours") >= needed)
        .with_columns(regular=_steady("interval", "jitter"), alike=_steady("size", "varied"))
        .with_columns(peak=pl.min_horizontal("regular", "alike"))
        .sort("peak", "window", descending=[True, False])
        .group_by(session, maintain_order=True)
        .first()
        .filter(pl.col("peak") >= score)
    )
    whole = timed.group_by(session).agg(
        pl.col("first_seen").min(),
        pl.col("last_seen").max(),
        pl.col("flows").sum(),
        packets=(pl.col("packets") + pl.col("reply_packets")).sum(),
        bytes=(pl.col("bytes") + pl.col("reply_bytes")).sum(),
        connections=pl.len(),
    )
    found = windows.join(whole, on=session).sort("first_seen", *_BY)
    return pl.DataFrame(list(_described(found)), schema=INCIDENTS)


def _steady(median: str, deviation: str) -> pl.Expr:
    """1 where all are as the median, 0 where half are as far from it as it is from nothing."""
    ratio = pl.col(deviation) / pl.col(median)
    return pl.when(pl.col(deviation) == 0).then(1.0).otherwise((1 - ratio).clip(0, 1))


def _described(found: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for each in found.iter_rows(named=True):
        who, whom, port = (each[name] for name in _BY)
        every, jitter = (timedelta(seconds=each[name]) for name in ("interval", "jitter"))
        ends = "coalesce(pkt_srcaddr, srcaddr) = {} AND coalesce(pkt_dstaddr, dstaddr) = {}"
        forth = ends.format(quoted(who), quoted(whom))
        back = ends.format(quoted(whom), quoted(who))
        yield {
            "subject": f"{who} to {whom} on port {port}",
            "who": who,
            "whom": whom,
            **{name: each[name] for name in ("first_seen", "last_seen", "flows")},
            **{name: each[name] for name in ("packets", "bytes", "peak")},
            "counts": json.dumps(
                {
                    "connections": each["connections"],
                    "port": port,
                    "interval_seconds": each["interval"],
                    "jitter_seconds": each["jitter"],
                    "bytes_sent": each["size"],
                    "hours": each["hours"],
                    "regular": round(each["regular"], 3),
                    "alike": round(each["alike"], 3),
                }
            ),
            "why": (
                f"{who} opened {each['connections']:,} connections to port {port} of {whom}, one "
                f"every {span(every)}, give or take {span(jitter)}, and sent about "
                f"{amount(each['size'])} in each."
            ),
            "condition": (
                f"protocol IN ({TCP}, {UDP}) AND (({forth} AND dstport = {port}) OR "
                f"({back} AND srcport = {port}))"
            ),
        }


BEACON = Detection(
    kind="beacon",
    title="Regular calls out",
    about=(
        "A host opens connections to a public address at regular intervals and sends about the "
        "same each time, as malware does that asks for orders. An incident is a source, a "
        "destination and a port."
    ),
    source=(
        "RITA (activecm/rita), analysis/beacons.go: dispersion of intervals and of sizes by the "
        "median absolute deviation; default_config.hjson: 6 hours of the day. The lower of the two "
        "counts, and skewness does not."
    ),
    find=beacon,
    parameters=(
        Parameter("score", "number", "how regular, from 0 to 1", 0.75),
        Parameter("connections", "integer", "the fewest in a window", 20),
        Parameter("window", "duration", "over how long a score is taken", timedelta(hours=24)),
        Parameter("hosts", "integer", "the most sources a destination may have", 5),
        Parameter("sources", "scope", "who is looked at; else private addresses", EVERYBODY),
        Parameter("ignore", "scope", "sources and destinations that may do it", NOBODY),
    ),
    severity="medium",
    threshold="score",
    window="window",
)
"""Connections out at regular intervals."""
