"""Records -> connections: who opened it, on which port of whom, and whether anything came of it.

A flow log has packets of one direction in a record, and does not say who began. Here both
directions are put together, and the client is told from what there is: ``tcp_flags`` where the
format has them, else how many ports it faces, else that nobody answered, else the ports, else who
was first.
"""

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from flowlake import reference
from flowlake.scopes import Members

TCP, UDP = 6, 17

SYN, RST, SYN_AND_ACK = 2, 4, 18
"""Bits of ``tcp_flags``. AWS guide, "Flow log record fields": ACK is told only beside SYN."""

BARE = 74
"""Bytes a packet of TCP over IPv4 that carries no data has at most, by the mean of a record: 40
without options, 60 with a SYN's usual ones (RFC 9293, section 3.1), 14 more as a frame."""

RESET, STAMPED = 40, 52
"""Bytes of a reset, which has no options, and of an acknowledgment with time stamps (RFC 7323)."""

IPV6_MORE = 20
"""Bytes that the header of IPv6 is longer by (RFC 8200)."""

TRIES = 7
"""Packets of a record with which somebody knocks in vain: a SYN is sent again 6 times (RFC 9293
leaves it open; Linux, tcp_syn_retries)."""

EPHEMERAL = 32_768
"""Where Linux takes the ports of clients from (ip_local_port_range)."""

NEVER_A_CLIENT, FACED = 512, 3
"""Below this port nobody's client has its port: even rresvport(3) stops there. A socket that faces
so many of one address there knocks on them, whatever its own port is."""

SERVED = 10
"""A reserved port that faces so many ports of one address, nine in ten of them those that clients
take, is a server's."""

_ENDS = ("low", "low_port", "high", "high_port", "protocol")


def connections(
    flows: pl.LazyFrame,
    marks: Mapping[str, Members] | None = None,
    *,
    idle: timedelta | None = None,
) -> pl.LazyFrame:
    """Put the records of each connection together, and tell its client from its server.

    A record with the addresses of the packet itself (``pkt_srcaddr``, ``pkt_dstaddr``) goes by
    them. What several interfaces or flow logs recorded is counted once. Records without addresses
    are left out. Choose the records first: this keeps a row for each pair of sockets in memory.

    Columns: ``client``, ``client_port``, ``server``, ``server_port``, ``protocol``;
    ``first_seen``, ``last_seen``; ``flows``, the records of both directions; ``packets``, ``bytes``
    from the client, ``reply_packets``, ``reply_bytes`` from the server; ``outcome``: ``refused`` by
    a security group or a network ACL, ``unanswered``, ``reset`` where nothing but resets came back,
    ``unknown`` where only answers were recorded, or only one direction and it has data, else
    ``answered``;
    ``failed``, the first three of these. For each mark ``client_NAME`` and ``server_NAME``:
    whether that side belongs to the members.

    Args:
        flows: records; a connection that they show in part is judged by that part.
        marks: whom to look for at either end, by name.
        idle: two sockets that are silent for longer, and then talk again, have another connection;
            without it they have one, however long they were silent.
    """
    held = dict(marks or {})
    # Collected, since who is the client takes several looks at them.
    pairs = _in_pairs(_records(flows, held), list(held), idle).collect(engine="streaming")
    forward = _low_is_client(pairs)

    def of_client(name: str) -> pl.Expr:
        return pl.when("forward").then(f"low_{name}").otherwise(f"high_{name}")

    def of_server(name: str) -> pl.Expr:
        return pl.when("forward").then(f"high_{name}").otherwise(f"low_{name}")

    told = forward.select(
        client=pl.when("forward").then("low").otherwise("high"),
        client_port=of_client("port"),
        server=pl.when("forward").then("high").otherwise("low"),
        server_port=of_server("port"),
        protocol="protocol",
        first_seen="first_seen",
        last_seen="last_seen",
        flows="flows",
        packets=of_client("packets"),
        bytes=of_client("bytes"),
        records=of_client("records"),
        flags=of_client("flags"),
        reply_packets=of_server("packets"),
        reply_bytes=of_server("bytes"),
        reply_records=of_server("records"),
        reply_accepted=of_server("accepted"),
        reply_flags=of_server("flags"),
        rejected="rejected",
        **{f"client_{name}": of_client(name) for name in held},
        **{f"server_{name}": of_server(name) for name in held},
    )
    return (
        told.with_columns(outcome=_outcome())
        .with_columns(
            pl.col("client", "server").cast(pl.String),
            failed=pl.col("outcome").is_in(["refused", "unanswered", "reset"]),
        )
        .drop("records", "flags", "reply_records", "reply_accepted", "reply_flags", "rejected")
    )


def _records(flows: pl.LazyFrame, marks: Mapping[str, Members]) -> pl.LazyFrame:
    source = pl.coalesce("pkt_srcaddr", "srcaddr")
    target = pl.coalesce("pkt_dstaddr", "dstaddr")
    name = pl.Categorical()  # grouped by its number, which is several times as fast as by its text
    return flows.filter(source.is_not_null(), target.is_not_null()).select(
        pl.col("interface_id", "flow_log_id").cast(name),
        "tcp_flags",
        "packets",
        "bytes",
        pl.col("protocol").fill_null(-1),
        source=source.cast(name),
        target=target.cast(name),
        source_port=pl.col("srcport").fill_null(0),
        target_port=pl.col("dstport").fill_null(0),
        first_seen=pl.coalesce("start_time", "end_time"),
        last_seen=pl.coalesce("end_time", "start_time"),
        rejected=(pl.col("action") == "REJECT").fill_null(False),
        **{f"source_{name}": _either(who, "srcaddr") for name, who in marks.items()},
        **{f"target_{name}": _either(who, "dstaddr") for name, who in marks.items()},
    )


def _either(members: Members, address: str) -> pl.Expr:
    return members.hold(address) | members.hold(f"pkt_{address}")


def _in_pairs(records: pl.LazyFrame, marks: list[str], idle: timedelta | None) -> pl.LazyFrame:
    """A row for each pair of sockets, whoever sent: ``low`` is the one with the lower number."""
    source, target = pl.col("source").to_physical(), pl.col("target").to_physical()
    same = source == target
    ahead = (source < target) | (same & (pl.col("source_port") <= pl.col("target_port")))

    def sides(name: str) -> dict[str, pl.Expr]:
        of = f"_{name}" if name else ""
        low = pl.when(ahead).then(f"source{of}").otherwise(f"target{of}")
        high = pl.when(ahead).then(f"target{of}").otherwise(f"source{of}")
        return {f"low{of}": low, f"high{of}": high}

    def of(side: str, sent: pl.Expr) -> dict[str, pl.Expr]:
        """What a record adds to the side that sent it, and to the other."""
        return {
            f"{side}_records": sent.cast(pl.Int64),
            f"{side}_accepted": (sent & ~pl.col("rejected")).cast(pl.Int64),
            f"{side}_packets": pl.when(sent).then("packets").otherwise(0),
            f"{side}_bytes": pl.when(sent).then("bytes").otherwise(0),
            f"{side}_first": pl.when(sent).then("first_seen"),
            f"{side}_flags": pl.when(sent).then("tcp_flags"),
        }

    named = {k: v for name in ("", "port", *marks) for k, v in sides(name).items()}
    sent = records.select(
        *("interface_id", "flow_log_id", "protocol", "first_seen", "last_seen"),
        rejected=pl.col("rejected").cast(pl.Int64),
        **named,
        **of("low", ahead),
        **of("high", ~ahead),
    )
    sent = sent.with_columns(part=pl.lit(0, pl.Int64))
    if idle is not None:
        sent = _in_parts(sent.collect(engine="streaming"), idle)
    both = ("low", "high")
    extent = (
        pl.col("first_seen", "low_first", "high_first").min(),
        pl.col("last_seen").max(),
        pl.col("low_flags", "high_flags").bitwise_or(),
        *(pl.col(f"{side}_{name}").any() for name in marks for side in both),
    )
    verdicts = pl.col("low_accepted", "high_accepted", "rejected").sum()
    seen = pl.col([f"{side}_{n}" for side in both for n in ("records", "packets", "bytes")])
    witnesses = sent.group_by(*_ENDS, "part", "interface_id", "flow_log_id")
    return (
        witnesses.agg(*extent, verdicts, seen.sum())
        .with_columns(flows=pl.col("low_records") + pl.col("high_records"))
        .group_by(*_ENDS, "part")
        .agg(*extent, verdicts, seen.max(), pl.col("flows").sum())
    )


def _in_parts(sent: pl.DataFrame, idle: timedelta) -> pl.LazyFrame:
    """Number the connections of two sockets in ``part``: a new one begins after a silence."""
    lasted = pl.col("last_seen").max().over(_ENDS) - pl.col("first_seen").min().over(_ENDS)
    marked = sent.with_columns(long=(lasted > idle).fill_null(False))
    until_now = pl.col("last_seen").cum_max().shift(1)
    begins = (pl.col("first_seen") - until_now > idle).fill_null(False)
    long = marked.filter("long").sort("first_seen", "last_seen")
    parts = long.with_columns(part=begins.cast(pl.Int64).cum_sum().over(_ENDS))
    return pl.concat([marked.filter(~pl.col("long")), parts]).drop("long").lazy()


def _low_is_client(pairs: pl.DataFrame) -> pl.LazyFrame:
    """Add ``forward``: whether the side that sorts first opened the connection."""
    low_opens, high_opens = _opens("low") | _answers("high"), _opens("high") | _answers("low")
    low_knocks, high_knocks = pl.col("low_reserved") >= FACED, pl.col("high_reserved") >= FACED
    low_serves, high_serves = _serves("low"), _serves("high")
    only_low, only_high = pl.col("high_records") == 0, pl.col("low_records") == 0
    low_rank, high_rank = rank("low_port"), rank("high_port")
    low_size, high_size = _mean("low"), _mean("high")
    ports = (pl.col("low_port") != 0) | (pl.col("high_port") != 0)
    clear = (
        pl.when(low_opens != high_opens)
        .then(low_opens)
        .when(low_knocks != high_knocks)
        .then(low_knocks)
        .when(low_serves != high_serves)
        .then(high_serves)
        .when(only_low)
        .then(low_rank >= high_rank)
        .when(only_high)
        .then(low_rank > high_rank)
        .when(low_rank != high_rank)
        .then(low_rank > high_rank)
    )
    votes = (pl.col("clear").cast(pl.Int64) * 2 - 1).sum().over("low", "high")
    guess = (
        pl.when(votes != 0)  # who opens the others of the same two addresses
        .then(votes > 0)
        .when(pl.col("low_first") != pl.col("high_first"))
        .then(pl.col("low_first") < pl.col("high_first"))
        # A SYN has options, a reset has none.
        .when((low_size <= BARE) & (high_size <= BARE) & (low_size != high_size))
        .then(low_size > high_size)
        # Without ports, as with ICMP, it is who asks that has many peers.
        .when(pl.col("low_peers") != pl.col("high_peers"))
        .then((pl.col("low_peers") < pl.col("high_peers")) == ports)
        .when(pl.col("low_port") != pl.col("high_port"))
        .then(pl.col("low_port") > pl.col("high_port"))
        .otherwise(pl.col("low").cast(pl.String) < pl.col("high").cast(pl.String))
    )
    return (
        _with_faces(pairs)
        .lazy()
        .with_columns(clear=clear)
        .with_columns(forward=pl.col("clear").fill_null(guess))
    )


def _with_faces(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add what each socket faces: ``peers`` of all, and ports of this other address.

    ``faced`` are these ports, ``reserved`` those no client has, ``usual`` those that clients take.
    """
    once = pairs.select(_ENDS).unique()
    for side, other in (("low", "high"), ("high", "low")):
        theirs = pl.col(f"{other}_port")
        here = (side, f"{side}_port", "protocol", other)
        kinds = {
            f"{side}_reserved": theirs.is_between(1, NEVER_A_CLIENT - 1),
            f"{side}_usual": rank(f"{other}_port") > 0,
        }
        # Two steps: inside a window, `rank` is worked out group by group.
        once = once.with_columns(**kinds).with_columns(
            pl.len().over(here).alias(f"{side}_faced"), pl.col(*kinds).sum().over(here)
        )
    sockets = pl.concat(
        once.select("protocol", address=side, port=f"{side}_port") for side in ("low", "high")
    )
    peers = sockets.group_by("address", "port", "protocol").agg(peers=pl.len())
    for side in ("low", "high"):
        named = peers.rename({"address": side, "port": f"{side}_port", "peers": f"{side}_peers"})
        once = once.join(named, on=[side, f"{side}_port", "protocol"], how="left")
    return pairs.join(once, on=_ENDS, how="left")


def _serves(side: str) -> pl.Expr:
    faced, usual = pl.col(f"{side}_faced"), pl.col(f"{side}_usual")
    reserved = pl.col(f"{side}_port").is_between(1, 1023)
    return reserved & (faced >= SERVED) & (usual * 10 >= faced * 9)


def _mean(side: str) -> pl.Expr:
    return pl.col(f"{side}_bytes") / pl.col(f"{side}_packets")


def _opens(side: str) -> pl.Expr:
    flags = pl.col(f"{side}_flags").fill_null(0)
    return (flags & SYN_AND_ACK) == SYN


def _answers(side: str) -> pl.Expr:
    flags = pl.col(f"{side}_flags").fill_null(0)
    return (flags & SYN_AND_ACK) == SYN_AND_ACK


def rank(port: str) -> pl.Expr:
    """How like a service a port is: 0 well-known, 1 others, 2 where clients take theirs from."""
    known = pl.Series(sorted(set(reference.lookup("services")["port"]))).implode()
    return (
        pl.when((pl.col(port) < 1024) | pl.col(port).is_in(known))
        .then(0)
        .when(pl.col(port) < EPHEMERAL)
        .then(1)
        .otherwise(2)
    )


def _outcome() -> pl.Expr:
    """What came of a connection; sizes are means of its records, which may be of many tries."""
    packets, replies = pl.col("packets"), pl.col("reply_packets")
    sent, received = pl.col("bytes"), pl.col("reply_bytes")
    server = pl.col("server").cast(pl.String)
    more = pl.when(server.str.contains(":", literal=True)).then(IPV6_MORE).otherwise(0)
    silent = pl.col("reply_records") == 0
    tcp = pl.col("protocol") == TCP
    bare = (sent <= (BARE + more) * packets) | ~tcp
    few = packets <= TRIES * pl.col("records")
    bare_reply = received <= (BARE + more) * replies
    # An open port's answer is answered in turn, a reset is not: as many packets go as come.
    one_by_one = (packets == replies) & (packets <= 2 * pl.col("records"))
    only_resets = (received > 0) & (received <= (RESET + more) * replies)
    # Kept alive: acknowledgments both ways, of a connection that was opened before.
    kept = (sent == (STAMPED + more) * packets) & (received == (STAMPED + more) * replies)
    replied = pl.col("reply_flags")
    told_reset = (replied & RST != 0) & (replied & SYN_AND_ACK != SYN_AND_ACK)
    under_way = tcp & (pl.col("flags") & SYN == 0).fill_null(False)
    # A packet out of the blue, as of a scan by FIN, by ACK or by nothing. Without an answer it may
    # be the rest of a connection, if there are no others; a reset never has one.
    probe = under_way & (pl.col("flags") & RST == 0) & (packets == pl.col("records"))
    lost = (probe & silent).fill_null(False)
    ports = pl.col("server_port").filter(lost).n_unique().over("client", "server")
    begun = ~under_way | (probe & (~silent | (ports >= FACED)))
    knocked = bare & few & (one_by_one | only_resets) & ~kept & ~under_way
    return (
        pl.when(pl.col("records") == 0)
        .then(pl.lit("unknown"))
        .when((pl.col("rejected") > 0) & (pl.col("reply_accepted") == 0))
        .then(pl.lit("refused"))
        .when(silent & bare & few & begun)
        .then(pl.lit("unanswered"))
        .when(silent)
        .then(pl.lit("unknown"))
        .when(tcp & begun & bare_reply & (knocked | told_reset.fill_null(False)))
        .then(pl.lit("reset"))
        .otherwise(pl.lit("answered"))
    )
