"""Who reaches what: administrative ports, the public side, destinations new and old."""

from collections.abc import Sequence

import polars as pl

from flowlake.addresses import in_networks, is_private, is_public
from flowlake.analyses.counting import counted, distinct, seen, table, totals

_PORTED = (6, 17)
"""TCP and UDP."""

_DAY = 86_400_000_000
"""A day in microseconds."""


def _ruled(flows: pl.LazyFrame, action: str | None) -> pl.LazyFrame:
    """Only the records with this verdict; None keeps all."""
    return flows if action is None else flows.filter(pl.col("action") == action)


def _with_service(rows: pl.LazyFrame, port: str) -> pl.LazyFrame:
    """Add what the port and protocol are called, as ``service``."""
    named = table("services").rename({"port": port})
    return rows.join(named, on=[port, "protocol"], how="left")


def admin_port_traffic(
    flows: pl.LazyFrame,
    *,
    ports: Sequence[int] = (22, 3389),
    internal: Sequence[str] = (),
    action: str | None = None,
    count: str = "records",
    top: int = 20,
) -> pl.LazyFrame:
    """List who uses administrative ports, client and server told apart by who has such a port.

    A record to a listed port is a request, even if it comes from one as well; any other record
    from a listed port is an answer.

    Args:
        flows: The records to look at.
        ports: The administrative ports.
        internal: Your own networks beside the private ones.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many rows to keep, those with most records first.

    Raises:
        UsageError: for a ``count`` that is none, or a network that is none.

    """
    key = ("client", "server", "port", "protocol")
    request = pl.col("dstport").is_in(list(ports)).fill_null(False)
    answer = pl.col("srcport").is_in(list(ports))

    def side(of_request: str, of_answer: str) -> pl.Expr:
        return pl.when(request).then(of_request).otherwise(of_answer)

    used = (
        _ruled(flows, action)
        .filter(
            request | answer,
            pl.col("protocol").is_in(_PORTED),
            pl.col("srcaddr").is_not_null(),
            pl.col("dstaddr").is_not_null(),
            counted(count),
        )
        .select(
            *("protocol", "packets", "bytes", "start_time", "end_time"),
            client=side("srcaddr", "dstaddr"),
            server=side("dstaddr", "srcaddr"),
            port=side("dstport", "srcport"),
            refused=pl.col("action") == "REJECT",
            to_server=pl.when(request).then("bytes"),
            to_client=pl.when(~request).then("bytes"),
        )
        .group_by(*key)
        .agg(
            *totals(),
            *seen(),
            rejected=pl.col("refused").sum().cast(pl.Int64),
            bytes_to_server=pl.col("to_server").sum(),
            bytes_to_client=pl.col("to_client").sum(),
        )
        .sort("flows", *key, descending=[True, *(False for _ in key)])
        .head(top)
        .with_columns(client_private=is_private(pl.col("client"), internal))
    )
    return (
        _with_service(used, "port")
        .select(
            *(*key, "service", "client_private", "flows", "rejected", "packets"),
            *("bytes_to_server", "bytes_to_client", "first_seen", "last_seen"),
        )
        .sort("flows", *key, descending=[True, *(False for _ in key)])
    )


def public_inbound(
    flows: pl.LazyFrame,
    *,
    internal: Sequence[str] = (),
    action: str | None = "ACCEPT",
    count: str = "records",
    top: int = 20,
) -> pl.LazyFrame:
    """Rank the ports on which public addresses reach the inside, largest byte count first.

    The port asked for is the lower of the two, which leaves out what outside servers answer.

    Args:
        flows: The records to look at.
        internal: Your own networks beside the private ones.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records`` or an interface id; ``egress`` leaves nothing.
        top: How many ports to keep.

    Raises:
        UsageError: for a ``count`` that is none, or a network that is none.

    """
    direction = pl.col("flow_direction")
    inward = (direction == "ingress") | (
        direction.is_null() & is_private(pl.col("dstaddr"), internal)
    )
    reached = (
        _ruled(flows, action)
        .filter(pl.col("dstport") <= pl.col("srcport"), counted(count))
        .filter(inward, is_public(pl.col("srcaddr"), internal))
        .group_by("dstport", "protocol")
        .agg(*totals(), *seen(), sources=distinct("srcaddr"), targets=distinct("dstaddr"))
        .join(table("protocols"), on="protocol", how="left")
    )
    return (
        _with_service(reached, "dstport")
        .select(
            *("dstport", "protocol", "keyword", "service", "flows", "packets", "bytes"),
            *("sources", "targets", "first_seen", "last_seen"),
        )
        .sort("bytes", "dstport", "protocol", descending=[True, False, False], nulls_last=True)
        .head(top)
    )


def egress_destinations(
    flows: pl.LazyFrame,
    *,
    internal: Sequence[str] = (),
    action: str | None = "ACCEPT",
    count: str = "records",
    top: int = 20,
) -> pl.LazyFrame:
    """Rank the public addresses that private ones send to, largest byte count first.

    Args:
        flows: The records to look at.
        internal: Your own networks beside the private ones.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many destinations to keep.

    Raises:
        UsageError: for a ``count`` that is none, or a network that is none.

    """
    inside = is_private(pl.col("srcaddr"), internal)
    chosen = _ruled(flows, action).filter(counted(count))
    reached = (
        chosen.group_by("srcaddr", "dstaddr")
        .agg(*totals(), *seen(), aws_service=pl.col("pkt_dst_aws_service").max())
        .filter(inside, is_public(pl.col("dstaddr"), internal))
        .group_by("dstaddr")
        .agg(
            pl.col("flows", "packets", "bytes").sum(),
            pl.col("aws_service").max(),
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
            sources=distinct("srcaddr"),
        )
        .sort("bytes", "dstaddr", descending=[True, False])
        .head(top)
    )
    ports = (
        chosen.join(reached, on="dstaddr", how="semi")
        .filter(inside)
        .group_by("dstaddr")
        .agg(ports=distinct("dstport"))
    )
    return (
        reached.join(ports, on="dstaddr")
        .select(
            *("dstaddr", "aws_service", "flows", "packets", "bytes", "sources", "ports"),
            *("first_seen", "last_seen"),
        )
        .sort("bytes", "dstaddr", descending=[True, False])
    )


def port_access(
    flows: pl.LazyFrame,
    *,
    ports: Sequence[int] = (22, 3389),
    addresses: Sequence[str] = (),
    action: str | None = None,
    top: int = 20,
) -> pl.LazyFrame:
    """List who sent TCP or UDP to these ports of these addresses, and whether it was let through.

    Args:
        flows: The records to look at.
        ports: The destination ports.
        addresses: Destination networks or addresses; none given means any.
        action: Only records with this verdict, ``ACCEPT`` or ``REJECT``; None lists all.
        top: How many rows to keep, the latest first.

    Raises:
        UsageError: for a network that is none.

    """
    key = ("srcaddr", "dstaddr", "dstport", "protocol", "action")
    chosen = _ruled(flows, action).filter(
        pl.col("dstport").is_in(list(ports)), pl.col("protocol").is_in(_PORTED)
    )
    if addresses:
        chosen = chosen.filter(in_networks(pl.col("dstaddr"), addresses))
    touched = chosen.group_by(*key).agg(*totals(), *seen())
    return (
        _with_service(touched, "dstport")
        .select(
            *("srcaddr", "dstaddr", "dstport", "protocol", "service", "action"),
            *("flows", "packets", "bytes", "first_seen", "last_seen"),
        )
        .sort("last_seen", *key, descending=[True, *(False for _ in key)], nulls_last=True)
        .head(top)
    )


def unanswered_connections(flows: pl.LazyFrame, *, top: int = 20) -> pl.LazyFrame:
    """List accepted TCP connections to which no record in the window answers with SYN and ACK.

    Records that lack an address or a port are left out: no answer can be told for them.

    Args:
        flows: The records to look at.
        top: How many rows to keep, those with most records first.

    """
    ends = ("srcaddr", "dstaddr", "srcport", "dstport")
    mirrored = ("dstaddr", "srcaddr", "dstport", "srcport")
    key = ("srcaddr", "dstaddr", "dstport")
    tcp = flows.filter(pl.col("protocol") == 6)
    syn_and_ack = pl.col("tcp_flags") & 18
    answers = tcp.filter(syn_and_ack == 18).select(ends).unique()
    return (
        tcp.filter(
            pl.col("action") == "ACCEPT",
            syn_and_ack == 2,
            *(pl.col(end).is_not_null() for end in ends),
        )
        .join(answers, left_on=ends, right_on=mirrored, how="anti")
        .group_by(*key)
        .agg(*totals(), *seen())
        .select(*key, "flows", "packets", "bytes", "first_seen", "last_seen")
        .sort("flows", *key, descending=[True, *(False for _ in key)])
        .head(top)
    )


def new_destinations(
    flows: pl.LazyFrame,
    history: pl.LazyFrame,
    *,
    internal: Sequence[str] = (),
    days: int = 7,
    action: str | None = "ACCEPT",
    count: str = "records",
    top: int = 20,
) -> pl.LazyFrame:
    """List destinations that private sources sent to, and that nobody sent to in the days before.

    The days are counted back from the start of the first record of `flows`. The verdict is asked
    of both sides; which records count, only of `flows`.

    Args:
        flows: The records to look at.
        history: The records before them.
        internal: Your own networks beside the private ones.
        days: How many days before the window to look back.
        action: Count only records with this verdict, ``ACCEPT`` or ``REJECT``; None counts all.
        count: Which records count: ``records``, ``egress`` or an interface id.
        top: How many destinations to keep, those with most bytes first.

    Raises:
        UsageError: for a ``count`` that is none, or a network that is none.

    """
    # Three million days are more than times can lie apart, and their microseconds fit an Int64.
    back = min(days, 3_000_000) * _DAY
    since = flows.select(first_us=pl.col("start_time").min().dt.epoch("us") - back)
    recent = pl.col("latest").dt.epoch("us") >= pl.col("first_us")
    known = (
        _ruled(history, action)
        .filter(pl.col("dstaddr").is_not_null())
        .group_by("dstaddr")
        .agg(latest=pl.col("start_time").max(), undated=pl.col("start_time").is_null().any())
        .join(since, how="cross")
        .filter(pl.col("undated") | recent.fill_null(True))
    )
    return (
        _ruled(flows, action)
        .filter(pl.col("dstaddr").is_not_null(), counted(count))
        .join(known, on="dstaddr", how="anti")
        .filter(is_private(pl.col("srcaddr"), internal))
        .group_by("dstaddr")
        .agg(
            *totals(),
            *seen(),
            aws_service=pl.col("pkt_dst_aws_service").max(),
            sources=distinct("srcaddr"),
            ports=distinct("dstport"),
        )
        .sort("bytes", "dstaddr", descending=[True, False])
        .head(top)
        .select(
            "dstaddr",
            is_private(pl.col("dstaddr"), internal).alias("private"),
            *("aws_service", "flows", "packets", "bytes", "sources", "ports"),
            *("first_seen", "last_seen"),
        )
    )
