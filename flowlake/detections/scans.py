"""Scans: many ports of a target, one port of many hosts, and either so slowly that nobody notices.

What counts are first contacts that failed: endpoints, a port of a target, that refused, reset or
did not answer. A source is looked at only if the test of `flowlake.detections.contacts` says that
its contacts are a scanner's.
"""

from datetime import timedelta
from typing import Any, Literal

import polars as pl

from flowlake.detections.contacts import (
    ENDPOINT,
    NET,
    busiest,
    contacts,
    first_contacts,
    networks,
    tried,
    without,
)
from flowlake.detections.crowds import crowds
from flowlake.detections.evidence import (
    LISTED,
    between,
    incidents,
    lasting,
    named,
    place,
    summed,
)
from flowlake.detections.incidents import Detection, Parameter, in_sessions
from flowlake.scopes import EVERYBODY, NOBODY, Members

PORTS, HOSTS = 15, 25
"""Port_Scan and Address_Scan of Zeek's policy/misc/scan.zeek. It counts them within 5 minutes; a
flow log's records are of 1 to 10 minutes, so the window here is an hour."""

ENDPOINTS = 50
"""Twice what ncsa's bro-simple-scan takes for a scan (25 ports and hosts that failed), since a week
is longer than its 15 minutes. Of 14,969 sources that a honeypot met in three days, 53 tried that
many."""

HOURS = 6
"""The distinct hours that a slow scan is spread over at least."""

REST = timedelta(days=1)
"""The silence that ends a slow scan."""

CLIENT = 10
"""Whose endpoints take data ten times as often as not is no scanner, and is not looked at."""

SHARED = 5
"""Hosts that a port was tried on to call it swept; peers of a swarm each have a port of theirs."""

_VERTICAL, _HORIZONTAL = ("source", "target"), ("source", "port", "protocol")


def port_scan(
    flows: pl.LazyFrame,
    *,
    ports: int = PORTS,
    window: timedelta = timedelta(hours=1),
    sources: Members = EVERYBODY,
    targets: Members = EVERYBODY,
    ignore: Members = NOBODY,
    distributed: Literal["find", "leave"] = "find",
) -> pl.DataFrame:
    """Find who tried many ports of a target, alone or with others.

    An incident is a source's scanning of all its targets, until it rests for an hour. Neighbours
    in a /24 (IPv6: /64) that share a target, so that none has more than half of its ports, are one
    source. For sources that have nothing in common see `flowlake.detections.crowds`.

    ``peak``: the most ports of one target that failed within a window, those of TCP and of UDP
    apart; for many sources how many more than usual. ``subject`` is the source, its network, or
    ``many -> TARGET``. A target with fewer than four ports more that failed than that answered is
    none. Traceroute's UDP ports (33434 to 33534) and multicast do not count.

    Args:
        flows: records; those without times or ports are left out.
        ports: with at least so many ports it is an incident. Zeek: 15.
        window: within this time.
        sources: who is looked at.
        targets: whose ports are looked at.
        ignore: whose records are not looked at, as either side.
        distributed: whether scans are found that are shared among sources.
    """
    seen = without(flows, ignore)
    together = distributed == "find"
    pairs = (
        tried(seen)
        .filter("maybe", pl.col("port") > 0)
        .group_by(_VERTICAL)
        .agg(ports=pl.len())
        .with_columns(network=networks(pl.col("source")))
    )
    alone = pairs.filter(pl.col("ports") >= ports).select("source").unique()
    wanted = pairs.join(alone, on="source", how="semi").filter(pl.col("ports") >= NET)
    if together:
        by_network = ("network", "target")
        shared = pairs.group_by(by_network).agg(pl.col("ports").sum(), sources=pl.len())
        shared = shared.filter(pl.col("ports") >= ports, pl.col("sources") > 1)
        near = pl.concat([shared.select(by_network), wanted.select(by_network)]).unique()
        wanted = pairs.join(near, on=by_network, how="semi")
    found = contacts(seen, wanted.select(_VERTICAL), sources, targets).filter(pl.col("port") > 0)
    neighbours = _neighbours(found) if together else found.clear()
    as_one = neighbours.with_columns(source=networks(pl.col("source")))
    shared_scans = first_contacts(in_sessions(as_one, _VERTICAL), _VERTICAL)
    lone = found.join(
        shared_scans, left_on=(networks(pl.col("source")), "target"), right_on=_VERTICAL, how="anti"
    )
    lone_scans = first_contacts(in_sessions(lone, _VERTICAL), _VERTICAL)
    scanned = pl.concat([lone_scans, shared_scans])
    ranked = _ranked(scanned, ("target",), window).filter(pl.col("peak") >= ports)

    def tell(row: dict[str, Any]) -> dict[str, Any]:
        who = row["source"]
        members = [who]
        if "/" in who:
            members = _members(neighbours, row)
        whose = row["targets"] if len(row["targets"]) <= LISTED else ()
        tally = "" if len(row["targets"]) == 1 else f" ({row['contacts']:,} in all)"
        by = who if members == [who] else f"{len(members):,} sources in {who}"
        return {
            "subject": who,
            "who": who,
            "counts": {} if members == [who] else {"sources": members[:LISTED]},
            "why": f"{by} tried {len(row['ports']):,} ports of {place(row['targets'])}{tally} in "
            f"{lasting(row)}; {row['failed']:,} were refused or did not answer.",
            "condition": between(members, whose),
        }

    alone_or_near = incidents(ranked, tell)
    if not together:
        return alone_or_near
    many = crowds(seen, ports, window, sources, targets)
    return pl.concat([alone_or_near, many]).sort("first_seen", "subject")


def host_sweep(
    flows: pl.LazyFrame,
    *,
    hosts: int = HOSTS,
    window: timedelta = timedelta(hours=1),
    sources: Members = EVERYBODY,
    targets: Members = EVERYBODY,
    ignore: Members = NOBODY,
) -> pl.DataFrame:
    """Find who tried the same port, or ping, on many hosts.

    An incident is a source's sweeping, of all the ports that it swept, until it rests for an hour.
    ``subject`` is the source; ``peak`` the most hosts that one port failed on within a window. A
    port with fewer than four hosts more that failed than that answered is none. Who failed on more
    hosts at ports that hardly another host was tried on is a peer of a swarm and no sweeper. ICMP
    to those who sent something else first says that their packets failed, and is no ping.

    Args:
        flows: records; those without times or ports are left out.
        hosts: with at least so many hosts it is an incident. Zeek: 25.
        window: within this time.
        sources: who is looked at.
        targets: which hosts are looked at.
        ignore: whose records are not looked at, as either side.
    """
    seen = without(flows, ignore)
    ends = tried(seen)
    groups = (
        ends.join(_swarming(ends), on="source", how="anti")
        .group_by(_HORIZONTAL)
        .agg(hosts=pl.col("maybe").sum(), clients=(~pl.col("maybe")).sum())
        .filter(pl.col("hosts") >= NET, pl.col("hosts") * CLIENT >= pl.col("clients"))
    )
    active = groups.filter(pl.col("hosts") >= hosts).select("source").unique()
    wanted = groups.join(active, on="source", how="semi").select(_HORIZONTAL)
    found = contacts(seen, wanted, sources, targets)
    swept = first_contacts(in_sessions(found, _HORIZONTAL), _HORIZONTAL)
    ranked = _ranked(swept, ("port", "protocol"), window).filter(pl.col("peak") >= hosts)

    def tell(row: dict[str, Any]) -> dict[str, Any]:
        who, what = row["source"], [named(port) for port in row["ports"]]
        shown = ", ".join(what[:5]) + (f" and {len(what) - 5:,} ports more" if what[5:] else "")
        numbers = ", ".join(sorted({str(port["port"]) for port in row["ports"]}, key=int))
        tally = "" if len(what) == 1 else f" ({row['contacts']:,} in all)"
        return {
            "subject": who,
            "who": who,
            "why": f"{who} tried {shown} of {place(row['targets'])}{tally} in {lasting(row)}; "
            f"{row['failed']:,} were refused or did not answer.",
            "condition": f"{between([who])} AND (srcport IN ({numbers}) OR dstport IN ({numbers}))",
        }

    return incidents(ranked, tell)


def slow_scan(
    flows: pl.LazyFrame,
    *,
    endpoints: int = ENDPOINTS,
    window: timedelta = timedelta(days=7),
    sources: Members = EVERYBODY,
    targets: Members = EVERYBODY,
    ignore: Members = NOBODY,
) -> pl.DataFrame:
    """Find who tried many ports and hosts, a few an hour.

    An incident is a source's scanning, until it rests for a day, over at least six distinct hours.
    In none of them it fails on 15 ports of a target or on 25 hosts with a port: that would be a
    `port_scan` or a `host_sweep`. ``subject`` is the source; ``peak`` the most endpoints, each a
    port of a target, that failed within a window. They count if the target, or the port, passes the
    test, and if they are half of all endpoints where the source failed.

    Args:
        flows: records, of days; those without times or ports are left out.
        endpoints: with at least so many it is an incident.
        window: within this time.
        sources: who is looked at.
        targets: whose ports are looked at.
        ignore: whose records are not looked at, as either side.
    """
    seen = without(flows, ignore)
    ends = tried(seen)
    net = pl.col("maybe").cast(pl.Int64) * 2 - 1
    in_vain = pl.any_horizontal(net.sum().over(by) >= NET for by in (_VERTICAL, _HORIZONTAL))
    judged = ends.with_columns(in_vain=in_vain)
    counted = pl.col("maybe") & pl.col("in_vain")
    long = timedelta(hours=HOURS - 1)
    patient = (
        judged.group_by("source")
        .agg(
            counted=counted.sum(),
            failed=pl.col("maybe").sum(),
            lasted=pl.col("last_seen").max() - pl.col("first_seen").min(),
        )
        .filter(
            pl.col("counted") >= endpoints,
            pl.col("counted") * 2 >= pl.col("failed"),
            pl.col("lasted") >= long,
        )
    )
    wanted = judged.filter("in_vain").join(patient, on="source", how="semi").select(ENDPOINT)
    found = in_sessions(contacts(seen, wanted, sources, targets), ["source"], REST)
    passed = [first_contacts(found, by) for by in (_VERTICAL, _HORIZONTAL)]
    tries = pl.concat(passed).unique((*ENDPOINT, "session"), maintain_order=True)
    failed = tries.filter("failed").with_columns(hour=pl.col("first_seen").dt.truncate("1h"))
    run = ("source", "session")
    fast = pl.concat(
        failed.group_by(*run, *others, "hour")
        .agg(n=pl.len())
        .filter(pl.col("n") >= bound)
        .select(run)
        for others, bound in ((("target",), PORTS), (("port", "protocol"), HOSTS))
    )
    spread = failed.group_by(run).agg(hours=pl.col("hour").n_unique())
    slow = spread.filter(pl.col("hours") >= HOURS).join(fast, on=run, how="anti")
    peaks = busiest(failed.join(slow, on=run, how="semi"), run, window)
    ranked = summed(tries, run).join(peaks, on=run).join(slow, on=run)
    ranked = ranked.filter(pl.col("peak") >= endpoints)

    def tell(row: dict[str, Any]) -> dict[str, Any]:
        who = row["source"]
        whose = row["targets"] if len(row["targets"]) <= LISTED else ()
        return {
            "subject": who,
            "who": who,
            "counts": {"hours": row["hours"]},
            "why": f"{who} tried {row['contacts']:,} times another port or host, of "
            f"{place(row['targets'])}, in {lasting(row)}, a few an hour; {row['failed']:,} were "
            "refused or did not answer.",
            "condition": between([who], whose),
        }

    return incidents(ranked, tell)


def _neighbours(found: pl.DataFrame) -> pl.DataFrame:
    """The contacts that the sources of a network share a target in, none with most of its ports."""
    failed = found.filter("failed").with_columns(network=networks(pl.col("source")))
    endpoint = pl.struct("port", "protocol")
    key = ("network", "target")
    each = failed.group_by(*key, "source").agg(ports=endpoint.n_unique())
    most = each.group_by(key).agg(pl.col("ports").max(), sources=pl.len())
    both = most.join(failed.group_by(key).agg(all=endpoint.n_unique()), on=key)
    shared = both.filter(pl.col("sources") > 1, pl.col("ports") * 2 <= pl.col("all"))
    placed = found.with_columns(network=networks(pl.col("source")))
    return placed.join(shared, on=key, how="semi").drop("network")


def _members(neighbours: pl.DataFrame, row: dict[str, Any]) -> list[str]:
    """The sources of a network that had to do with an incident."""
    part = neighbours.filter(
        networks(pl.col("source")) == row["source"],
        pl.col("target").is_in(row["targets"]),
        pl.col("first_seen").is_between(row["first_seen"], row["last_seen"]),
    )
    return part["source"].unique().sort().to_list()


def _swarming(ends: pl.DataFrame) -> pl.DataFrame:
    """The sources that try most of their hosts at ports of those hosts' own."""
    shared = pl.len().over(_HORIZONTAL) >= SHARED
    host = pl.col("target")
    return (
        ends.filter("maybe")
        .with_columns(shared=shared)
        .group_by("source")
        .agg(hosts=host.n_unique(), swept=host.filter("shared").n_unique())
        .filter(pl.col("swept") * 2 < pl.col("hosts"))
    )


def _ranked(scanned: pl.DataFrame, within: tuple[str, ...], window: timedelta) -> pl.DataFrame:
    """A source's scanning, session by session, with the most that failed in any of its groups."""
    run = ("source", "session")
    runs = in_sessions(scanned.drop("session"), ["source"])
    peaks = busiest(runs.filter("failed"), (*run, *within), window)
    return summed(runs, run).join(peaks.group_by(run).agg(pl.col("peak").max()), on=run)


_SCOPES = (
    Parameter("sources", "scope", "Who is looked at.", EVERYBODY),
    Parameter("targets", "scope", "Whose ports are looked at.", EVERYBODY),
    Parameter(
        "ignore",
        "scope",
        "Whose traffic is not looked at, such as your own vulnerability scanner.",
        NOBODY,
    ),
)

PORT_SCAN = Detection(
    kind="port_scan",
    title="Port scan",
    about="A source, the neighbours in a network, or many sources tried many ports of a target, "
    "which refused, reset or did not answer.",
    source="15 ports: Zeek, policy/misc/scan.zeek, Port_Scan. The test: Jung et al., Fast Portscan "
    "Detection Using Sequential Hypothesis Testing, IEEE S&P 2004.",
    find=port_scan,
    parameters=(
        Parameter("ports", "integer", "Ports of one target that failed.", PORTS),
        Parameter("window", "duration", "Within this time.", timedelta(hours=1)),
        *_SCOPES,
        Parameter(
            "distributed",
            "choice",
            "Whether scans are found that several sources share.",
            "find",
            choices=("find", "leave"),
        ),
    ),
    severity="medium",
    threshold="ports",
    window="window",
)

HOST_SWEEP = Detection(
    kind="host_sweep",
    title="Host sweep",
    about="A source tried the same port, or ping, on many hosts, which refused, reset or did not "
    "answer.",
    source="25 hosts: Zeek, policy/misc/scan.zeek, Address_Scan. The test: Jung et al., Fast "
    "Portscan Detection Using Sequential Hypothesis Testing, IEEE S&P 2004.",
    find=host_sweep,
    parameters=(
        Parameter("hosts", "integer", "Hosts that one port failed on.", HOSTS),
        Parameter("window", "duration", "Within this time.", timedelta(hours=1)),
        *_SCOPES,
    ),
    severity="medium",
    threshold="hosts",
    window="window",
)

SLOW_SCAN = Detection(
    kind="slow_scan",
    title="Slow scan",
    about="A source tried many ports and hosts over days, a few an hour, which refused, reset or "
    "did not answer.",
    source="50 endpoints: twice the 25 of ncsa/bro-simple-scan. The test: Jung et al., Fast "
    "Portscan Detection Using Sequential Hypothesis Testing, IEEE S&P 2004.",
    find=slow_scan,
    parameters=(
        Parameter("endpoints", "integer", "Ports of targets that failed.", ENDPOINTS),
        Parameter("window", "duration", "Within this time.", timedelta(days=7)),
        *_SCOPES,
    ),
    severity="low",
    threshold="endpoints",
    window="window",
)
