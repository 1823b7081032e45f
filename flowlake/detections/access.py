"""Access that a list forbids: to ports that are watched, and to endpoints that nobody allowed."""

import functools
import json
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from flowlake.addresses import in_networks
from flowlake.detections.connections import EPHEMERAL, TCP, connections
from flowlake.detections.incidents import GAP, INCIDENTS, Detection, Parameter, in_sessions
from flowlake.detections.wording import quoted
from flowlake.enrichment import aws_service, enrichment, load_aws_ranges
from flowlake.errors import UsageError
from flowlake.protocols import PROTOCOLS
from flowlake.reference import lookup
from flowlake.scopes import EVERYBODY, NOBODY, Allowed, Members

MANY = 20
"""A server that goes to more forbidden endpoints than this in a session makes one incident."""

LISTED = 1000
"""The most endpoints that are named in an incident's counts and in its condition."""

LOCAL = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "ff00::/8", "224.0.0.0/4")
"""What every server may reach: link-local addresses and multicast, and AWS's services at them:
instance metadata, the resolver 169.254.169.253, the clock 169.254.169.123 and the credentials of
ECS and EKS (Amazon EC2 User Guide, "Instance metadata"; Amazon VPC User Guide, "Amazon DNS")."""

ANYWHERE = Allowed("")
"""Every port and protocol."""

UNASKED = (1, 2, 58)
"""ICMP, IGMP, ICMPv6: without their types, errors and answers look as if they were asked."""

_SOURCE, _TARGET = "coalesce(pkt_srcaddr, srcaddr)", "coalesce(pkt_dstaddr, dstaddr)"
_REPLIES = ("answered", "unanswered", "reset", "refused", "unknown")


def watched_port(
    flows: pl.LazyFrame,
    *,
    ports: Sequence[int],
    targets: Members,
    sources: Members = EVERYBODY,
    ignore: Members = NOBODY,
    action: str = "ACCEPT",
) -> pl.DataFrame:
    """Find who connects to watched ports of targets over TCP. Eager: a frame of ``INCIDENTS``.

    An incident is of one source, target and port, and ends after an hour (``incidents.GAP``)
    without a connection. A connection counts whatever came of it, as long as a security group and
    network ACL let it in; refused ones count with ``action="any"``. The target must be the server:
    its own connections from such a port are none. ``peak`` is the number of connections; ``counts``
    says what came of them.

    Args:
        flows: records with the lake's columns.
        ports: of the targets.
        targets: who is watched.
        sources: only who connects from here; by default anybody.
        ignore: who may connect; by default nobody.
        action: ``ACCEPT``, or ``any`` for refused connections too.
    """
    wanted = list(ports)
    near = flows.filter(
        pl.col("protocol") == TCP,
        (pl.col("dstport").is_in(wanted) & targets.hold("dstaddr"))
        | (pl.col("srcport").is_in(wanted) & targets.hold("srcaddr")),
    )
    marks = {"target": targets, "source": sources, "ignored": ignore}
    found = connections(near, marks, idle=GAP).filter(
        pl.col("server_port").is_in(wanted),
        pl.col("server_target") & pl.col("client_source") & ~pl.col("client_ignored"),
        pl.col("first_seen").is_not_null(),
        pl.lit(action == "any") | (pl.col("outcome") != "refused"),
    )
    events = found.collect(engine="streaming")
    by = ["client", "server", "server_port"]
    rows = []
    for row in _in_incidents(events, by).iter_rows(named=True):
        who, whom, port = row["client"], row["server"], row["server_port"]
        outcomes = _outcomes(row)
        rows.append(
            {
                "subject": f"{who} -> {_socket(whom, port)}",
                "who": who,
                "whom": whom,
                **_totals(row),
                "counts": json.dumps({"connections": row["connections"], **outcomes}),
                "why": f"{who} connected {_times(row['connections'])} to {_port(port, TCP)} of "
                f"{whom}, which is watched: {_words(outcomes)}.",
                "condition": f"protocol = {TCP} AND ({_between(who, [whom], port)})"
                + _at(targets, whom),
            }
        )
    return pl.DataFrame(rows, schema=INCIDENTS)


def forbidden_endpoint(
    flows: pl.LazyFrame, *, servers: Members, allow: Sequence[Allowed]
) -> pl.DataFrame:
    """Find servers that open connections to what nobody allowed. Eager: a frame of ``INCIDENTS``.

    It counts whatever came of it, also if it was refused. Answers of a server to its clients are
    none, nor are late ones, nor, where nothing tells, a record of one direction alone whose ports
    are those of an answer. ICMP and IGMP do not count (``UNASKED``), and addresses in ``LOCAL`` may
    always be reached; flow logs hold no queries to the resolver of a VPC.

    An incident is of one server and endpoint (address, port, protocol), and ends after an hour
    (``incidents.GAP``) without a connection. A server that goes to more than 20 (``MANY``) of them
    in a session of its own makes one incident, without ``whom``. ``peak`` is the number of
    endpoints; ``counts`` has the endpoints and what came of the connections.

    Args:
        flows: records with the lake's columns.
        servers: who may only reach what is allowed.
        allow: what may be reached. ``aws:SERVICE`` goes by ``pkt_dst_aws_service`` and
            ``pkt_src_aws_service`` where the records have them, else by the file that
            ``FLOWLAKE_AWS_RANGES`` names.

    Raises:
        UsageError: for ``aws:SERVICE`` where there is neither.
    """
    # Only the endpoints of the servers' own records are compared with the list: that is quicker.
    to, back = pl.col("own_source"), pl.col("own_target")
    target, source = pl.when(to).then(_address("dst")), pl.when(back).then(_address("src"))
    own = flows.with_columns(own_source=servers.hold("srcaddr"), own_target=servers.hold("dstaddr"))
    near = own.filter(
        pl.col("protocol").is_not_null() & ~pl.col("protocol").is_in(UNASKED),
        (to & ~_by_network(target, "dstport", allow))
        | (back & ~_by_network(source, "srcport", allow)),
    )
    low_to_high = (pl.col("client_port") < EPHEMERAL) & (pl.col("server_port") >= EPHEMERAL)
    upwards = (pl.col("outcome") == "unknown") & (pl.col("client_port") < pl.col("server_port"))
    perhaps_answer = (pl.col("reply_packets").fill_null(0) == 0) & (low_to_high | upwards)
    opened = connections(near, {"own": servers}, idle=GAP).filter(
        "client_own",
        pl.col("packets").fill_null(0) > 0,
        pl.col("first_seen").is_not_null(),
        ~_by_network(pl.col("server"), "server_port", allow),
    )
    events = opened.with_columns(perhaps_answer=perhaps_answer).collect(engine="streaming")
    events = _told(events, near)
    events = events.filter(~_by_service(events, near, [each for each in allow if each.aws_service]))
    endpoint = pl.struct("server", "server_port", "protocol")
    by_server = in_sessions(events, ["client"]).with_columns(
        many=endpoint.n_unique().over("client", "session") > MANY
    )
    single = by_server.filter(~pl.col("many")).drop("session")
    by = ["client", "server", "server_port", "protocol"]
    rows = [_single(row, servers) for row in _in_incidents(single, by).iter_rows(named=True)]
    many = by_server.filter("many")
    rows += [_many(row, servers) for row in _in_incidents(many, ["client"]).iter_rows(named=True)]
    return pl.DataFrame(rows, schema=INCIDENTS)


def _address(side: str) -> pl.Expr:
    return pl.coalesce(f"pkt_{side}addr", f"{side}addr")


def _by_network(address: pl.Expr, port: str, allow: Sequence[Allowed]) -> pl.Expr:
    """Whether an endpoint is allowed by its address, its port and its protocol."""
    by_port: dict[Allowed, list[str]] = {ANYWHERE: list(LOCAL)}
    covered = pl.lit(False)
    for each in allow:
        if each.aws_service is None and each.network is None:
            covered = covered | _on_ports(each, port)
        elif each.network is not None:
            of_ports = replace(each, text="", network=None)
            by_port.setdefault(of_ports, []).append(each.network)
    for of_ports, networks in by_port.items():
        here = in_networks(address, networks).fill_null(False)
        covered = covered | (here & _on_ports(of_ports, port))
    return covered


def _on_ports(allowed: Allowed, port: str) -> pl.Expr:
    here = pl.lit(True)
    if (allowed.first_port, allowed.last_port) != (0, 65_535):
        here = pl.col(port).is_between(allowed.first_port, allowed.last_port).fill_null(False)
    if allowed.protocol is not None:
        here = here & (pl.col("protocol") == allowed.protocol)
    return here


def _told(events: pl.DataFrame, near: pl.LazyFrame) -> pl.DataFrame:
    """Leave out what may be an answer, unless the client is seen to open it, by its flag SYN."""
    doubtful = events.filter("perhaps_answer")
    if doubtful.is_empty():
        return events
    ends = ["client", "client_port", "server", "server_port"]
    seen = (
        near.filter(pl.col("tcp_flags") & 18 == 2)
        .select(
            client=_address("src"),
            client_port=pl.col("srcport"),
            server=_address("dst"),
            server_port=pl.col("dstport"),
        )
        .join(doubtful.lazy().select(ends), on=ends, how="semi")
        .collect(engine="streaming")
    )
    opened = doubtful.join(seen, on=ends, how="semi")
    return pl.concat([events.filter(~pl.col("perhaps_answer")), opened])


def _by_service(
    events: pl.DataFrame, near: pl.LazyFrame, allow: Sequence[Allowed]
) -> pl.Series | pl.Expr:
    """Whether an endpoint is one of an AWS service that is allowed."""
    if not allow or events.is_empty():
        return pl.lit(False)
    sides = [
        near.select(address=_address(side), service=f"pkt_{side}_aws_service")
        for side in ("src", "dst")
    ]
    known = pl.concat(sides).drop_nulls().unique("address").collect(engine="streaming")
    service = pl.col("server").replace_strict(
        known["address"], known["service"], default=None, return_dtype=pl.String
    )
    if (ranges := enrichment().aws_ranges) is not None:
        service = pl.coalesce(service, aws_service(pl.col("server"), load_aws_ranges(ranges)))
    elif known.is_empty():
        raise UsageError(
            f"{allow[0].text} needs pkt_dst_aws_service in the flow log's format, or AWS's "
            "ip-ranges.json: set FLOWLAKE_AWS_RANGES."
        )
    covered = pl.lit(False)
    for each in allow:
        theirs = (
            service.is_not_null()
            if each.aws_service == "AMAZON"
            else service.eq_missing(pl.lit(each.aws_service))
        )
        covered = covered | (theirs & _on_ports(each, "server_port"))
    return events.select(covered=covered).to_series()


def _in_incidents(events: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Sum up connections by session, in the order of their beginning."""
    if events.is_empty():
        return events.head(0)
    outcome = pl.col("outcome")
    return (
        in_sessions(events.drop("session", strict=False), by, GAP)
        .group_by(*by, "session")
        .agg(
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
            pl.col("flows").sum(),
            packets=(pl.col("packets").fill_null(0) + pl.col("reply_packets").fill_null(0)).sum(),
            bytes=(pl.col("bytes").fill_null(0) + pl.col("reply_bytes").fill_null(0)).sum(),
            connections=pl.len(),
            endpoints=pl.struct("server", "server_port", "protocol").unique().sort(),
            **{each: (outcome == each).sum() for each in _REPLIES},
        )
        .sort("first_seen", *by)
    )


def _single(row: dict[str, object], servers: Members) -> dict[str, object]:
    who, whom = str(row["client"]), str(row["server"])
    port, protocol = _number(row["server_port"]), _number(row["protocol"])
    outcomes = _outcomes(row)
    return {
        "subject": f"{who} -> {_endpoint(whom, port, protocol)}",
        "who": who,
        "whom": whom,
        **_totals(row, 1),
        "counts": json.dumps({"connections": row["connections"], "endpoints": 1, **outcomes}),
        "why": f"{who} connected {_times(row['connections'])} to {_port(port, protocol)} of "
        f"{whom}, which nobody allowed: {_words(outcomes)}.",
        "condition": f"protocol = {protocol} AND ({_between(who, [whom], port)})"
        + _at(servers, who),
    }


def _many(row: dict[str, object], servers: Members) -> dict[str, object]:
    endpoints = row["endpoints"]
    assert isinstance(endpoints, list)
    who, outcomes = str(row["client"]), _outcomes(row)
    names = [_endpoint(*each.values()) for each in endpoints]
    addresses = sorted({each["server"] for each in endpoints})
    few = addresses if len(addresses) <= LISTED else None
    counts = {"connections": row["connections"], "endpoints": len(names), **outcomes}
    return {
        "subject": f"{who} -> many endpoints",
        "who": who,
        "whom": None,
        **_totals(row, len(names)),
        "counts": json.dumps({**counts, "list": names[:LISTED]}),
        "why": f"{who} connected {_times(row['connections'])} to {len(names):,} endpoints that "
        f"nobody allowed, such as {', '.join(names[:3])}: {_words(outcomes)}.",
        "condition": f"({_between(who, few, None)})" + _at(servers, who),
    }


def _totals(row: dict[str, object], peak: int | None = None) -> dict[str, object]:
    names = ("first_seen", "last_seen", "flows", "packets", "bytes")
    largest = row["connections"] if peak is None else peak
    return {**{name: row[name] for name in names}, "peak": float(str(largest))}


def _outcomes(row: dict[str, object]) -> dict[str, int]:
    return {each: _number(row[each]) for each in _REPLIES if row[each]}


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _words(outcomes: dict[str, int]) -> str:
    says = {"unknown": "of which only one direction was recorded"}
    return ", ".join(f"{count:,} {says.get(name, name)}" for name, count in outcomes.items())


def _times(count: object) -> str:
    return "once" if count == 1 else f"{count:,} times"


@functools.cache
def _port(port: int, protocol: int) -> str:
    keyword = PROTOCOLS.get(protocol, f"protocol {protocol}")
    services = lookup("services").filter(port=port, protocol=protocol)["service"]
    known = f" ({services[0]})" if services.len() else ""
    return f"{keyword} port {port}{known}" if port else keyword


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoint(address: str, port: int, protocol: int) -> str:
    keyword = PROTOCOLS.get(protocol, str(protocol)).lower()
    return f"{_socket(address, port)}/{keyword}"


def _between(client: str, servers: Sequence[str] | None, port: int | None) -> str:
    """SQL for the records of both directions; of any server where there is no list."""
    own = quoted(client)
    theirs = None if servers is None else ", ".join(map(quoted, servers))
    parts = []
    for near, far, service in ((_SOURCE, _TARGET, "dstport"), (_TARGET, _SOURCE, "srcport")):
        part = f"{near} = {own}"
        part += "" if theirs is None else f" AND {far} IN ({theirs})"
        part += "" if port is None else f" AND coalesce({service}, 0) = {port}"
        parts.append(f"({part})")
    return " OR ".join(parts)


def _at(members: Members, address: str) -> str:
    """SQL for the interfaces that the address is one of, if it was only looked for there."""
    if members.pairs is None or members.networks or members.everybody:
        return ""
    interfaces = members.pairs.filter(pl.col("address") == address)["interface_id"]
    listed = ", ".join(map(quoted, interfaces.unique().sort()))
    return f" AND interface_id IN ({listed})" if listed else ""


WATCHED_PORT = Detection(
    kind="watched_port",
    title="Watched port",
    about="Somebody connects over TCP to a port that is watched. An incident is of one source, "
    "target and port, until an hour without a connection.",
    source="A list of your own. Amazon GuardDuty's UnauthorizedAccess and Recon findings name "
    "such ports, and publish no thresholds.",
    find=watched_port,
    parameters=(
        Parameter("ports", "ports", "ports of the targets", required=True),
        Parameter("targets", "scope", "who is watched", required=True),
        Parameter("sources", "scope", "only who connects from here", EVERYBODY),
        Parameter("ignore", "scope", "who may connect", NOBODY),
        Parameter(
            "action",
            "choice",
            "ACCEPT for what was let in, any for what was refused too",
            "ACCEPT",
            choices=("ACCEPT", "any"),
        ),
    ),
    severity="medium",
)

FORBIDDEN_ENDPOINT = Detection(
    kind="forbidden_endpoint",
    title="Forbidden endpoint",
    about="A server opens a connection to an endpoint that is not on its list. An incident is of "
    "one server and endpoint, or of one server if there are more than 20.",
    source="A list of your own: egress filtering by allow-list, NIST SP 800-41 revision 1, "
    "section 4.1 (deny by default).",
    find=forbidden_endpoint,
    parameters=(
        Parameter("servers", "scope", "who may only reach what is allowed", required=True),
        Parameter("allow", "allowed", "what may be reached", required=True),
    ),
    severity="high",
)
