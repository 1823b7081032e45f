"""Who reaches what they are watched for, and servers that reach what they may not.

Both go by who opened a connection, as `flowlake.detections.connections` tells it: an answer, also a
late one or one whose request was not recorded, is not an opening.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import polars as pl

from flowlake.addresses import in_networks
from flowlake.detections.connections import TCP
from flowlake.detections.incidents import GAP, INCIDENTS, Detection, Parameter, in_sessions
from flowlake.detections.sockets import opened
from flowlake.detections.wording import NAMED, quoted, span, together
from flowlake.enrichment import aws_service, enrichment, load_aws_ranges
from flowlake.protocols import PROTOCOLS
from flowlake.scopes import EVERYBODY, NOBODY, Allowed, Members

AMAZON: tuple[str, ...] = (
    "169.254.169.253/32",
    "169.254.169.254/32",
    "169.254.169.123/32",
    "169.254.170.2/32",
    "fd00:ec2::/32",
)
"""What every instance reaches at Amazon's own addresses: DNS, instance metadata, time, and the
credentials of containers. EC2 User Guide, "Link-local addresses"; VPC User Guide, "Amazon DNS
server"."""

TOGETHER = 20
"""From so many forbidden endpoints of a server on they are one incident."""

PING = (1, 58)
"""ICMP and ICMPv6. Who began cannot be told where both sides sent some."""

_SENDER, _RECEIVER = "coalesce(pkt_srcaddr, srcaddr)", "coalesce(pkt_dstaddr, dstaddr)"
_ENDPOINT = ("client", "server", "server_port", "protocol")


def watched_port(
    flows: pl.LazyFrame,
    *,
    ports: Sequence[int],
    targets: Members,
    sources: Members = EVERYBODY,
    ignore: Members = NOBODY,
    action: Literal["ACCEPT", "any"] = "ACCEPT",
) -> pl.DataFrame:
    """Find who reaches given TCP ports of given targets.

    An incident is a source at a target, on all of the ports, until it rests for an hour.
    ``subject`` is ``SOURCE -> TARGET``; ``peak`` the number of connections.

    Args:
        flows: records; those without addresses or times are left out.
        ports: of the targets.
        targets: who is watched.
        sources: who is looked at.
        ignore: who may; their connections are left out.
        action: ``any`` finds those too that a security group or network ACL refused.
    """
    asked = list(ports)
    cut = flows.filter(
        pl.col("protocol") == TCP,
        pl.col("srcport").is_in(asked) | pl.col("dstport").is_in(asked),
        targets.hold("srcaddr") | targets.hold("dstaddr"),
    )
    marks = {"watched": targets, "asked": sources, "ignored": ignore}
    reached = opened(cut, GAP, marks).filter(
        pl.col("packets") > 0,
        pl.col("server_port").is_in(asked),
        "server_watched",
        "client_asked",
        ~pl.col("client_ignored"),
        pl.lit(True) if action == "any" else pl.col("outcome") != "refused",
    )
    pair = ("client", "server")
    found = _summed(in_sessions(reached, pair), (*pair, "session"))

    def tell(row: dict[str, Any]) -> dict[str, Any]:
        client, server, listed = row["client"], row["server"], _ports(row["ports"])
        refused = f"; {row['refused']:,} of them were refused" if row["refused"] else ""
        numbers = ", ".join(sorted({str(each["server_port"]) for each in row["ports"]}, key=int))
        return {
            "subject": f"{client} -> {server}",
            "who": client,
            "whom": server,
            "counts": {"connections": row["connections"], "refused": row["refused"]},
            "why": f"{client} opened {_many(row['connections'])} to {listed} of {server} in "
            f"{span(row['last_seen'] - row['first_seen'])}{refused}.",
            "condition": f"protocol = {TCP} AND ({_to(client, server)} AND dstport IN ({numbers}) "
            f"OR {_to(server, client)} AND srcport IN ({numbers}))",
        }

    return _incidents(found, tell)


def forbidden_endpoint(
    flows: pl.LazyFrame,
    *,
    servers: Members,
    allow: Sequence[Allowed],
    ignore: Sequence[str] = AMAZON,
) -> pl.DataFrame:
    """Find servers that open connections to endpoints that they are not allowed, refused or not.

    An incident is a server at an endpoint, an address, port and protocol, until it rests for an
    hour; of a server that tries twenty endpoints or more in a session it is one incident with all
    of them. A ping that was answered is left out. ``subject`` is ``SERVER ->
    ADDRESS:PORT/PROTOCOL``, or ``SERVER -> many``; ``peak`` the number of endpoints.

    Args:
        flows: records; those without addresses or times are left out.
        servers: whose connections are looked at.
        allow: what they may reach. An AWS service goes by ``pkt_src_aws_service`` and
            ``pkt_dst_aws_service`` where the format has them, and by AWS's ip-ranges.json where
            ``FLOWLAKE_AWS_RANGES`` names it.
        ignore: networks that are never asked about; by default Amazon's own of each instance.

    Raises:
        UsageError: when the file of AWS's ranges cannot be read.
    """
    cut = flows.filter(servers.hold("srcaddr") | servers.hold("dstaddr"))
    reached = opened(cut, GAP, {"ours": servers}).filter(
        pl.col("packets") > 0,
        "client_ours",
        ~(pl.col("protocol").is_in(PING) & (pl.col("outcome") == "answered")),
    )
    services = _services(cut, allow)
    beyond = reached.join(services, left_on="server", right_on="address", how="left").filter(
        ~in_networks(pl.col("server"), ignore).fill_null(False),
        ~pl.any_horizontal(pl.lit(False), *(_covers(each) for each in allow)),
    )
    run = in_sessions(beyond, ["client"]).rename({"session": "run"})
    many = (
        run.group_by("client", "run")
        .agg(endpoints=pl.struct(_ENDPOINT[1:]).n_unique())
        .filter(pl.col("endpoints") >= TOGETHER)
    )
    in_many = run.join(many, on=["client", "run"], how="semi")
    alone = run.join(many, on=["client", "run"], how="anti").drop("run")
    lone = _summed(in_sessions(alone, _ENDPOINT), (*_ENDPOINT, "session"))
    crowded = _summed(in_many.rename({"run": "session"}), ("client", "session"))

    def tell(row: dict[str, Any]) -> dict[str, Any]:
        client, ends = row["client"], row["ends"]
        first = ends[0]
        name = _endpoint(first)
        whom = first["server"] if len(ends) == 1 else together({e["server"] for e in ends})
        refused = f"; {row['refused']:,} of them were refused" if row["refused"] else ""
        what = f"to {name}" if len(ends) == 1 else f"to {len(ends):,} endpoints, {name} first"
        return {
            "subject": f"{client} -> {name if len(ends) == 1 else 'many'}",
            "who": client,
            "whom": whom,
            "peak": float(len(ends)),
            "counts": {
                "connections": row["connections"],
                "refused": row["refused"],
                "endpoints": len(ends),
                "first_endpoints": [_endpoint(end) for end in ends[:NAMED]],
            },
            "why": f"{client} opened {_many(row['connections'])} {what}, which it is not allowed, "
            f"in {span(row['last_seen'] - row['first_seen'])}{refused}.",
            "condition": _between(client, ends),
        }

    return pl.concat([_incidents(lone, tell), _incidents(crowded, tell)]).sort(
        "first_seen", "subject"
    )


def _summed(sessions: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    order = ("first_seen", "server", "server_port", "protocol")
    port, end = pl.struct("server_port", "protocol"), pl.struct(_ENDPOINT[1:])
    return sessions.group_by(by).agg(
        pl.col("first_seen").min(),
        pl.col("last_seen").max(),
        pl.col("flows").sum(),
        (pl.col("packets") + pl.col("reply_packets")).sum(),
        (pl.col("bytes") + pl.col("reply_bytes")).sum(),
        connections=pl.len().cast(pl.Int64),
        refused=(pl.col("outcome") == "refused").sum().cast(pl.Int64),
        peak=pl.len().cast(pl.Float64),
        ports=port.sort_by(order).unique(maintain_order=True),
        ends=end.sort_by(order).unique(maintain_order=True),
    )


def _incidents(found: pl.DataFrame, tell: Any) -> pl.DataFrame:
    kept = ("first_seen", "last_seen", "flows", "packets", "bytes", "peak")
    rows = []
    for row in found.iter_rows(named=True):
        told: Mapping[str, Any] = tell(row)
        rows.append(
            {
                **{name: row[name] for name in kept},
                **told,
                "counts": json.dumps(told["counts"]),
            }
        )
    return pl.DataFrame(rows, schema=INCIDENTS).sort("first_seen", "subject")


def _services(flows: pl.LazyFrame, allow: Sequence[Allowed]) -> pl.DataFrame:
    """Addresses with the AWS services that records, and AWS's ranges, say they are."""
    if not any(each.aws_service for each in allow):
        return pl.DataFrame(schema={"address": pl.String, "services": pl.List(pl.String)})
    sides = pl.concat(
        flows.select(
            address=pl.coalesce(f"pkt_{side}addr", f"{side}addr"),
            service=f"pkt_{side}_aws_service",
        )
        for side in ("src", "dst")
    )
    said = sides.drop_nulls("address").unique().collect(engine="streaming")
    if (ranges := enrichment().aws_ranges) is not None:
        looked_up = aws_service(pl.col("address"), load_aws_ranges(ranges))
        more = said.select("address").unique().with_columns(service=looked_up)
        said = pl.concat([said, more])
    return said.drop_nulls().group_by("address").agg(services=pl.col("service").unique())


def _covers(allowed: Allowed) -> pl.Expr:
    """Whether what may be reached is the server's side of a connection. Never null."""
    covered = [pl.lit(True)]
    if allowed.network is not None:
        covered.append(in_networks(pl.col("server"), [allowed.network]))
    if allowed.aws_service is not None:
        services = pl.col("services")
        is_it = services.list.contains(allowed.aws_service)
        covered.append(services.list.len() > 0 if allowed.aws_service == "AMAZON" else is_it)
    if (allowed.first_port, allowed.last_port) != (0, 65_535):
        covered.append(pl.col("server_port").is_between(allowed.first_port, allowed.last_port))
    if allowed.protocol is not None:
        covered.append(pl.col("protocol") == allowed.protocol)
    return pl.all_horizontal(covered).fill_null(False)


def _to(source: str, target: str) -> str:
    return f"{_SENDER} = {quoted(source)} AND {_RECEIVER} = {quoted(target)}"


def _between(client: str, ends: Sequence[Mapping[str, Any]]) -> str:
    """SQL for the records of both directions between a client and endpoints, or all of its own."""
    if len(ends) > NAMED:
        return f"({_SENDER} = {quoted(client)} OR {_RECEIVER} = {quoted(client)})"
    listed = ", ".join(
        f"({quoted(end['server'])}, {end['server_port']}, {end['protocol']})" for end in ends
    )
    there, here = (
        f"({address}, coalesce({port}, 0), protocol) IN ({listed})"
        for address, port in ((_RECEIVER, "dstport"), (_SENDER, "srcport"))
    )
    return (
        f"({_SENDER} = {quoted(client)} AND {there} OR {_RECEIVER} = {quoted(client)} AND {here})"
    )


def _endpoint(end: Mapping[str, Any]) -> str:
    address = f"[{end['server']}]" if ":" in end["server"] else end["server"]
    keyword = PROTOCOLS.get(end["protocol"], str(end["protocol"])).lower()
    return (
        f"{address}:{end['server_port']}/{keyword}"
        if end["server_port"]
        else (f"{address} ({keyword})")
    )


def _ports(ports: Iterable[Mapping[str, Any]]) -> str:
    numbers = sorted({each["server_port"] for each in ports})
    shown = ", ".join(map(str, numbers[:10])) + (" …" if len(numbers) > 10 else "")
    return f"port{'s' * (len(numbers) > 1)} {shown}"


def _many(connections: int) -> str:
    return f"{connections:,} connection{'s' * (connections != 1)}"


WATCHED_PORT = Detection(
    kind="watched_port",
    title="Watched port",
    about="Somebody opened a TCP connection to a port that is watched, of a target that is. An "
    "incident is a source at a target.",
    source="It counts nothing, so that it has no threshold: what is reached is what is told.",
    find=watched_port,
    parameters=(
        Parameter("ports", "ports", "TCP ports of the targets.", required=True),
        Parameter("targets", "scope", "Who is watched.", required=True),
        Parameter("sources", "scope", "Who is looked at.", EVERYBODY),
        Parameter("ignore", "scope", "Who may.", NOBODY),
        Parameter(
            "action",
            "choice",
            "Only what was let through, or what was refused too.",
            "ACCEPT",
            choices=("ACCEPT", "any"),
        ),
    ),
    severity="high",
)

FORBIDDEN_ENDPOINT = Detection(
    kind="forbidden_endpoint",
    title="Forbidden endpoint",
    about="A server opened a connection, refused or not, to an endpoint that is not on its "
    "allow-list. An incident is a server at an endpoint, or at twenty or more of them.",
    source="It counts nothing, so that it has no threshold: what is not allowed is told.",
    find=forbidden_endpoint,
    parameters=(
        Parameter("servers", "scope", "Whose connections are looked at.", required=True),
        Parameter(
            "allow",
            "allowed",
            "What they may reach: networks, ports, AWS services.",
            required=True,
        ),
        Parameter("ignore", "networks", "Never asked about: Amazon's own addresses.", AMAZON),
    ),
    severity="high",
)
