"""Whom a source tried to reach for the first time, what came of it, and whether that is scanning.

The test is threshold random walk (Jung, Paxson, Berger, Balakrishnan, "Fast Portscan Detection
Using Sequential Hypothesis Testing", IEEE S&P 2004): each first contact moves a likelihood ratio up
if it failed and down if it did not. Here the walk is read at its end and not where it first crosses
a bound: flow logs tell the order of contacts only to the minute, and a subnet that is down in the
middle of a poller's round would look like a scan by itself.
"""

import ipaddress
import math
from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from flowlake.addresses import address_number, on_distinct
from flowlake.detections.connections import BARE, IPV6_MORE, TCP, TRIES, UDP, connections, rank
from flowlake.detections.incidents import GAP
from flowlake.scopes import EVERYBODY, NOBODY, Members

BENIGN, SCANNER = 0.8, 0.2
"""Theta: how likely a first contact of either succeeds. Jung et al., section 5.2."""

FALSE_ALARM, DETECTION = 0.01, 0.99
"""Alpha and beta, the bounds on the test's errors. Jung et al., section 5.2."""

NET = 4
"""First contacts that must fail beyond those that succeed: 4 ** 4 is the first over 99."""

ICMP = (1, 58)
"""ICMP of IPv4 and IPv6. Flow logs have neither its type nor its code."""

TRACEROUTE = (33_434, 33_534)
"""UDP ports that traceroute(8) counts up from, whether or not somebody is there."""

MULTICAST = r"^(22[4-9]|23\d|255\.255\.255\.255|[fF][fF])"
"""What is no host: multicast (RFC 5771, RFC 4291) and broadcast never answer."""

RECORD = (
    *("interface_id", "flow_log_id", "pkt_srcaddr", "pkt_dstaddr", "srcaddr", "dstaddr"),
    *("srcport", "dstport", "protocol", "packets", "bytes", "start_time", "end_time"),
    *("action", "tcp_flags"),
)
"""The columns that a close look takes."""

ENDPOINT = ("source", "target", "port", "protocol")


def scanner_says(failed: pl.Expr, answered: pl.Expr) -> pl.Expr:
    """Whether so many failed and so many answered first contacts are a scanner's, by the test."""
    up = math.log((1 - SCANNER) / (1 - BENIGN))
    down = math.log(SCANNER / BENIGN)
    return failed * up + answered * down >= math.log(DETECTION / FALSE_ALARM)


def without(flows: pl.LazyFrame, ignore: Members) -> pl.LazyFrame:
    """The records that have no member at either end, so that nobody's answers to it are seen."""
    if ignore is NOBODY:
        return flows
    ends = ("srcaddr", "dstaddr", "pkt_srcaddr", "pkt_dstaddr")
    return flows.filter(~pl.any_horizontal(ignore.hold(end) for end in ends))


def attempts(flows: pl.LazyFrame) -> pl.LazyFrame:
    """The records that may be somebody's attempt, roughly, to choose whom to look at closely.

    Columns: those of `ENDPOINT`; ``first_seen``, ``last_seen``; ``maybe``, whether it may be in
    vain: the record does not show that data went there. What looks like an answer by its ports is
    left out.
    """
    start, end = pl.coalesce("start_time", "end_time"), pl.coalesce("end_time", "start_time")
    tcp = pl.col("protocol") == TCP
    much = (pl.col("packets") > TRIES) | (
        tcp & (pl.col("bytes") > (BARE + IPV6_MORE) * pl.col("packets"))
    )
    refused = (pl.col("action") == "REJECT").fill_null(False)
    return flows.filter(
        *(pl.col(name).is_not_null() for name in ("srcport", "dstport", "protocol")),
        *(each.is_not_null() for each in (_source(), _target(), start)),
        rank("srcport") >= rank("dstport"),
        ~_traceroute("dstport"),
    ).select(
        protocol="protocol",
        source=_source(),
        target=_target(),
        port="dstport",
        first_seen=start,
        last_seen=end,
        maybe=refused | ~much.fill_null(False),
    )


def tried(flows: pl.LazyFrame) -> pl.DataFrame:
    """The endpoints that each source may have tried: a row for each, with the same columns."""
    found = (
        attempts(flows)
        .group_by(ENDPOINT)
        .agg(pl.col("first_seen").min(), pl.col("last_seen").max(), pl.col("maybe").all())
        .collect(engine="streaming")
    )
    return found.filter(~pl.col("target").str.contains(MULTICAST))


def contacts(
    flows: pl.LazyFrame,
    wanted: pl.DataFrame,
    sources: Members = EVERYBODY,
    targets: Members = EVERYBODY,
) -> pl.DataFrame:
    """Look closely: the connections of the wanted sources, targets, ports.

    Columns: those of `ENDPOINT`; ``first_seen``, ``last_seen``; ``failed`` and ``answered``, never
    both; ``flows``, ``packets``, ``bytes`` of both directions.

    Args:
        flows: all records.
        wanted: some of the columns of `ENDPOINT`, in combinations that are looked at.
        sources: who is looked at.
        targets: whom they try.
    """
    scopes = {"source": sources, "target": targets}
    marks = {name: who for name, who in scopes.items() if not who.everybody}
    found = connections(_touching(flows, wanted).lazy(), marks, idle=GAP).filter(
        pl.col("first_seen").is_not_null(),
        ~pl.col("server").str.contains(MULTICAST),
        ~_traceroute("server_port"),
        *(pl.col(side) for side in ("client_source", "server_target") if side[7:] in marks),
    )
    named = found.select(
        *("first_seen", "last_seen", "failed", "flows", "protocol"),
        source="client",
        target="server",
        port="server_port",
        answered=pl.col("outcome") == "answered",
        packets=pl.col("packets") + pl.col("reply_packets"),
        bytes=pl.col("bytes") + pl.col("reply_bytes"),
    ).filter(address_number(pl.col(end)).is_not_null() for end in ("source", "target"))
    chosen = named.join(wanted.lazy(), on=wanted.columns, how="semi").collect()
    return _without_errors(flows, chosen)


def _touching(flows: pl.LazyFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """The records of the wanted combinations, in both directions."""
    same = pl.col("protocol")
    there = {"source": _source(), "target": _target(), "port": pl.col("dstport"), "protocol": same}
    back = {"source": _target(), "target": _source(), "port": pl.col("srcport"), "protocol": same}
    names = wanted.columns
    sent, returned = ([each[name] for name in names] for each in (there, back))

    def among(columns: Sequence[pl.Expr]) -> pl.Expr:
        values = (wanted[name].unique().implode() for name in names)
        return pl.all_horizontal(c.is_in(v) for c, v in zip(columns, values, strict=True))

    timed = pl.coalesce("start_time", "end_time").is_not_null()
    touching = flows.filter(timed, among(sent) | among(returned)).select(RECORD)
    near = touching.collect(engine="streaming")
    forth = near.join(wanted, left_on=sent, right_on=names, how="semi")
    rest = near.join(wanted, left_on=sent, right_on=names, how="anti")
    return pl.concat([forth, rest.join(wanted, left_on=returned, right_on=names, how="semi")])


def _without_errors(flows: pl.LazyFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Leave out ICMP to those who sent something: it says that their packets failed."""
    ping = pl.col("protocol").is_in(ICMP) & pl.col("failed")
    pings = found.filter(ping)
    if pings.is_empty():
        return found
    senders, receivers = (pings[name].unique().implode() for name in ("target", "source"))
    complained_of = (
        flows.filter(_source().is_in(senders), _target().is_in(receivers))
        .filter(~pl.col("protocol").is_in(ICMP))
        .select(source=_target(), target=_source())
        .unique()
        .collect(engine="streaming")
    )
    asked = pings.join(complained_of, on=["source", "target"], how="anti")
    return pl.concat([found.filter(~ping), asked])


def _source() -> pl.Expr:
    return pl.coalesce("pkt_srcaddr", "srcaddr")


def _target() -> pl.Expr:
    return pl.coalesce("pkt_dstaddr", "dstaddr")


def _traceroute(port: str) -> pl.Expr:
    return (pl.col("protocol") == UDP) & pl.col(port).is_between(*TRACEROUTE)


def first_contacts(sessions: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The first contacts of those groups that scan, by the test.

    A row for each endpoint of a session, with the columns of `contacts`. It failed if nothing came
    of it in that session.

    Args:
        sessions: contacts, with a number of their ``session``.
        by: the columns that tell groups apart, beside the session.
    """
    group = [*by, "session"]
    return (
        sessions.group_by(*ENDPOINT, "session")
        .agg(
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
            pl.col("failed", "answered").any(),
            pl.col("flows", "packets", "bytes").sum(),
        )
        .with_columns(failed=pl.col("failed") & ~pl.col("answered"))
        .filter(
            scanner_says(pl.col("failed").sum().over(group), pl.col("answered").sum().over(group))
        )
    )


def busiest(failed: pl.DataFrame, by: Sequence[str], window: timedelta) -> pl.DataFrame:
    """The most first contacts of each group that failed within a window: ``by`` and ``peak``."""
    return (
        failed.sort("first_seen")
        .rolling("first_seen", period=window, closed="both", group_by=by)
        .agg(peak=pl.len())
        .group_by(by)
        .agg(pl.col("peak").max().cast(pl.Float64))
    )


def networks(addresses: pl.Expr) -> pl.Expr:
    """The network that an address shares with its neighbours: its /24, or its /64 of IPv6."""

    def each(distinct: pl.Series) -> pl.Series:
        return distinct.map_elements(_network, return_dtype=pl.String())

    return on_distinct(addresses, each, pl.String())


def _network(address: str) -> str | None:
    try:
        return str(ipaddress.ip_network(f"{address}/{64 if ':' in address else 24}", strict=False))
    except ValueError:
        return None
