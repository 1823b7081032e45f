"""Records -> connections: who opened it, on which port of whom, and whether anything came of it.

A flow log has packets of one direction in a record, and does not say who began. Here both
directions are put together, and the client is told from what there is: ``tcp_flags`` where the
format has them, else that nobody answered, else the ports, else who was first.
"""

from collections.abc import Mapping

import polars as pl

from flowlake import reference
from flowlake.scopes import Members

TCP, UDP = 6, 17

SYN, RST, SYN_AND_ACK = 2, 4, 18
"""Bits of ``tcp_flags``. AWS guide, "Flow log record fields": ACK is told only beside SYN."""

BARE = 64
"""Bytes a packet of TCP that carries no data has at most, by the mean of a record: 40 without
options, 60 with a SYN's usual ones (RFC 9293, section 3.1), and a little for what counts frames."""

TRIES = 6
"""Packets of a record with which somebody knocks in vain: a SYN is sent again 6 times (RFC 9293
leaves it open; Linux, tcp_syn_retries)."""

EPHEMERAL = 32_768
"""Where Linux takes the ports of clients from (ip_local_port_range)."""

_ENDS = ("low", "low_port", "high", "high_port", "protocol")


def connections(flows: pl.LazyFrame, marks: Mapping[str, Members] | None = None) -> pl.LazyFrame:
    """Put the records of each connection together, and tell its client from its server.

    A record with the addresses of the packet itself (``pkt_srcaddr``, ``pkt_dstaddr``) goes by
    them. What several interfaces or flow logs recorded is counted once. Records without addresses
    are left out. Choose the records first: this keeps a row for each pair of sockets in memory.

    Columns: ``client``, ``client_port``, ``server``, ``server_port``, ``protocol``;
    ``first_seen``, ``last_seen``; ``flows``, the records of both directions; ``packets``, ``bytes``
    from the client, ``reply_packets``, ``reply_bytes`` from the server; ``outcome``: ``refused`` by
    a security group or a network ACL, ``unanswered``, ``reset`` before any data was exchanged,
    ``unknown`` where only answers were recorded, or only one direction and it has data, else
    ``answered``;
    ``failed``, the first three of these. For each mark ``client_NAME`` and ``server_NAME``:
    whether that side belongs to the members.

    Args:
        flows: records; a connection that they show in part is judged by that part.
        marks: whom to look for at either end, by name.
    """
    held = dict(marks or {})
    pairs = _in_pairs(_records(flows, held), list(held))
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
        .with_columns(failed=pl.col("outcome").is_in(["refused", "unanswered", "reset"]))
        .drop("records", "flags", "reply_records", "reply_accepted", "reply_flags", "rejected")
    )


def _records(flows: pl.LazyFrame, marks: Mapping[str, Members]) -> pl.LazyFrame:
    source = pl.coalesce("pkt_srcaddr", "srcaddr")
    target = pl.coalesce("pkt_dstaddr", "dstaddr")
    return flows.filter(source.is_not_null(), target.is_not_null()).select(
        "interface_id",
        "flow_log_id",
        "tcp_flags",
        "packets",
        "bytes",
        pl.col("protocol").fill_null(-1),
        source=source,
        target=target,
        source_port=pl.col("srcport").fill_null(0),
        target_port=pl.col("dstport").fill_null(0),
        first_seen=pl.coalesce("start_time", "end_time"),
        last_seen=pl.coalesce("end_time", "start_time"),
        rejected=(pl.col("action") == "REJECT").fill_null(False),
        **{f"source_{name}": members.hold("srcaddr") for name, members in marks.items()},
        **{f"target_{name}": members.hold("dstaddr") for name, members in marks.items()},
    )


def _in_pairs(records: pl.LazyFrame, marks: list[str]) -> pl.LazyFrame:
    """A row for each pair of sockets, whoever sent: ``low`` is the one that sorts first."""
    ahead = (pl.col("source") < pl.col("target")) | (
        (pl.col("source") == pl.col("target")) & (pl.col("source_port") <= pl.col("target_port"))
    )

    def sides(name: str) -> dict[str, pl.Expr]:
        of = f"_{name}" if name else ""
        low = pl.when(ahead).then(f"source{of}").otherwise(f"target{of}")
        high = pl.when(ahead).then(f"target{of}").otherwise(f"source{of}")
        return {f"low{of}": low, f"high{of}": high}

    def at(side: str, sent: pl.Expr) -> dict[str, pl.Expr]:
        mine = pl.col("interface_id").filter(sent)
        return {
            f"{side}_records": mine.len().cast(pl.Int64),
            f"{side}_accepted": (~pl.col("rejected").filter(sent)).sum().cast(pl.Int64),
            f"{side}_packets": pl.col("packets").filter(sent).sum(),
            f"{side}_bytes": pl.col("bytes").filter(sent).sum(),
            f"{side}_first": pl.col("first_seen").filter(sent).min(),
            f"{side}_flags": pl.col("tcp_flags").filter(sent).bitwise_or(),
        }

    forth = pl.col("ahead")
    named = {k: v for name in ("", "port", *marks) for k, v in sides(name).items()}
    sent = records.select(
        *("interface_id", "flow_log_id", "tcp_flags", "packets", "bytes", "protocol"),
        *("first_seen", "last_seen", "rejected"),
        ahead=ahead,
        **named,
    )
    marked = [pl.col(f"{side}_{name}").any() for name in marks for side in ("low", "high")]
    by_witness = sent.group_by(*_ENDS, "interface_id", "flow_log_id").agg(
        pl.col("first_seen").min(),
        pl.col("last_seen").max(),
        *marked,
        rejected=pl.col("rejected").sum().cast(pl.Int64),
        **at("low", forth),
        **at("high", ~forth),
    )
    largest = [f"{s}_{n}" for s in ("low", "high") for n in ("records", "packets", "bytes")]
    return by_witness.group_by(_ENDS).agg(
        pl.col("first_seen", "low_first", "high_first").min(),
        pl.col("last_seen").max(),
        pl.col("low_flags", "high_flags").bitwise_or(),
        pl.col(largest).max(),
        *marked,
        pl.col("low_accepted", "high_accepted", "rejected").sum(),
        flows=(pl.col("low_records") + pl.col("high_records")).sum(),
    )


def _low_is_client(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``forward``: whether the side that sorts first opened the connection."""
    low_opens, high_opens = _opens("low") | _answers("high"), _opens("high") | _answers("low")
    only_low, only_high = pl.col("high_records") == 0, pl.col("low_records") == 0
    low_rank, high_rank = _rank("low_port"), _rank("high_port")
    low_answers, high_answers = _like_an_answer("low", "high"), _like_an_answer("high", "low")
    sockets = pl.concat(
        pairs.select("protocol", address=side, port=f"{side}_port") for side in ("low", "high")
    )
    peers = sockets.group_by("address", "port", "protocol").agg(peers=pl.len())
    with_peers = pairs
    for side in ("low", "high"):
        with_peers = with_peers.join(
            peers.rename({"address": side, "port": f"{side}_port", "peers": f"{side}_peers"}),
            on=[side, f"{side}_port", "protocol"],
            how="left",
        )
    return with_peers.with_columns(
        forward=pl.when(low_opens & ~high_opens)
        .then(True)
        .when(high_opens & ~low_opens)
        .then(False)
        .when(only_low)
        .then(~low_answers)
        .when(only_high)
        .then(high_answers)
        .when(low_rank != high_rank)
        .then(low_rank > high_rank)
        .when(pl.col("low_first") != pl.col("high_first"))
        .then(pl.col("low_first") < pl.col("high_first"))
        .when(pl.col("low_peers") != pl.col("high_peers"))
        .then(pl.col("low_peers") < pl.col("high_peers"))
        .otherwise(pl.col("low_port") >= pl.col("high_port"))
    )


def _opens(side: str) -> pl.Expr:
    flags = pl.col(f"{side}_flags").fill_null(0)
    return (flags & SYN_AND_ACK) == SYN


def _answers(side: str) -> pl.Expr:
    flags = pl.col(f"{side}_flags").fill_null(0)
    return (flags & SYN_AND_ACK) == SYN_AND_ACK


def _rank(port: str) -> pl.Expr:
    """How like a service a port is: 0 well-known, 1 others, 2 where clients take theirs from."""
    known = pl.Series(sorted(set(reference.lookup("services")["port"]))).implode()
    return (
        pl.when((pl.col(port) < 1024) | pl.col(port).is_in(known))
        .then(0)
        .when(pl.col(port) < EPHEMERAL)
        .then(1)
        .otherwise(2)
    )


def _like_an_answer(sender: str, receiver: str) -> pl.Expr:
    """Whether what nobody answered may be the late rest of an answer itself, by its ports."""
    reserved = (pl.col(f"{sender}_port") < 1024) & (pl.col(f"{receiver}_port") >= 1024)
    service = (_rank(f"{sender}_port") == 0) & (_rank(f"{receiver}_port") == 2)
    return (reserved & (_rank(f"{receiver}_port") > 0)) | service


def _outcome() -> pl.Expr:
    """What came of a connection; sizes are means of its records, which may be of many tries."""
    silent = pl.col("reply_records") == 0
    tcp = pl.col("protocol") == TCP
    ipv6 = pl.col("server").str.contains(":", literal=True)
    bare = (pl.col("bytes") <= BARE * pl.col("packets")) | ~tcp
    few = pl.col("packets") <= TRIES * pl.col("records")
    bare_reply = pl.col("reply_bytes") <= BARE * pl.col("reply_packets")
    only_resets = pl.col("reply_bytes") <= pl.when(ipv6).then(60).otherwise(40) * pl.col(
        "reply_packets"
    )
    knocked = pl.col("packets") <= 2 * pl.col("records")
    under_way = (pl.col("flags") & SYN == 0).fill_null(False)
    replied = pl.col("reply_flags")
    told_reset = (replied & RST != 0) & (replied & SYN_AND_ACK != SYN_AND_ACK)
    no_data = bare & few & bare_reply & (knocked | only_resets)
    return (
        pl.when(pl.col("records") == 0)
        .then(pl.lit("unknown"))
        .when((pl.col("rejected") > 0) & (pl.col("reply_accepted") == 0))
        .then(pl.lit("refused"))
        .when(silent & bare & few & ~under_way)
        .then(pl.lit("unanswered"))
        .when(silent)
        .then(pl.lit("unknown"))
        .when(tcp & ~under_way & (no_data | (told_reset & bare_reply).fill_null(False)))
        .then(pl.lit("reset"))
        .otherwise(pl.lit("answered"))
    )
