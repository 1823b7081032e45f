"""Conversations -> the flow log records that the interfaces on their way make of them.

An interface records each direction by itself, and cuts what it sees into aggregation intervals: a
long connection leaves a record in each, and what has the same addresses, ports, protocol and action
within one is one record. Both ends record what passes between two of our hosts, and a NAT gateway
records it on either side. An interface that saw nothing in an interval says NODATA.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from flowlake.attacks.estates import HOSTS, Estate, FlowLog, as_text, ipv4

_TALK: dict[str, tuple[Any, Any]] = {
    "client_at": (np.int64, -1),
    "server_at": (np.int64, -1),
    "via": (np.int64, -1),
    "client": (np.int64, 0),
    "server": (np.int64, 0),
    "client_port": (np.int64, 0),
    "server_port": (np.int64, 0),
    "protocol": (np.int64, 6),
    "start": (np.float64, 0.0),
    "lasted": (np.float64, 0.0),
    "packets": (np.int64, 1),
    "bytes": (np.int64, 40),
    "reply_packets": (np.int64, 0),
    "reply_bytes": (np.int64, 0),
    "flags": (np.int64, 0),
    "reply_flags": (np.int64, 0),
    "refused": (np.int64, 0),
    "attack": (np.int64, -1),
}

AT_SERVER, AT_CLIENT = 1, 2
"""Where a conversation is refused: by the security group of the server, or of the client."""

SYN, FIN, RST, SYN_ACK = 2, 1, 4, 18

_S3 = ipv4("52.216.0.0") >> 16
_FIVE = ("src", "sport", "dst", "dport", "protocol")
_KEY = ["at", "interval", "rejected", *_FIVE, "attack"]
LATE = 60
"""Seconds after its end when an interval's records are there: a record's times may be as far off
(AWS guide, ``start`` and ``end``)."""


def talks(count: int, **columns: Any) -> pl.DataFrame:
    """Conversations, a row each, of columns given whole or as one value for all.

    ``client_at`` and ``server_at`` are interfaces of the estate, or -1 where that end is not ours
    and ``client`` or ``server`` is its address; ``via`` is the NAT gateway between, or -1.
    ``start`` is Unix time and ``lasted`` seconds. ``packets``, ``bytes`` and ``flags`` are the
    client's, ``reply_...`` the server's. ``refused`` is 0, AT_SERVER or AT_CLIENT. ``attack`` is
    the number of the label that the conversation belongs to, or -1.
    """
    assert columns.keys() <= _TALK.keys()
    return pl.DataFrame(
        {
            name: np.broadcast_to(np.asarray(columns.get(name, default)), count).astype(kind)
            for name, (kind, default) in _TALK.items()
        }
    )


class Silence(NamedTuple):
    """An interface that records nothing for a while.

    ``says_so``: it still says NODATA, as the interface of a host that is down does.
    """

    at: int
    begins: int
    ends: int
    says_so: bool


class Recorder:
    """Takes conversations in order of their start, and gives the records of intervals that end.

    Columns of records: the numbers ``at``, ``attack``, ``slot`` (Unix time of the object's five
    minutes); ``src``, ``dst``, ``psrc``, ``pdst`` as numbers; the rest as in the records.
    """

    def __init__(self, estate: Estate, begins: float, silences: Sequence[Silence] = ()) -> None:
        self._estate = estate
        self._silences = silences
        self._open: pl.DataFrame | None = None
        self._over = np.ceil((begins - estate.phase) / estate.interval).astype(np.int64)

    def until(self, begun: pl.DataFrame, moment: float) -> pl.DataFrame:
        """The records of intervals that are over at a moment, given what began before it.

        Rows are in a fixed order.
        """
        pieces = _pieces(_observed(begun, self._estate), self._estate)
        if self._open is not None:
            pieces = pl.concat([self._open, pieces])
        over = self._over_by(moment)
        pieces = pieces.filter(~self._unrecorded(pieces["at"], pieces["interval"]))
        is_over = pl.col("interval") < pl.Series(over).gather(pieces["at"])
        self._open = pieces.filter(~is_over)
        records = _merged(pieces.filter(is_over))
        quiet = self._quiet(records, over)
        self._over = over
        return pl.concat([records, quiet], how="diagonal").sort(
            "slot", "end", "at", *_FIVE, "attack", "rejected", "start"
        )

    def _over_by(self, moment: float) -> Any:
        """For each interface, the number of the first interval that is not over."""
        passed = moment - LATE - self._estate.phase
        return np.floor(passed / self._estate.interval).astype(np.int64)

    def _unrecorded(self, at: pl.Series, interval: pl.Series, quiet: bool = False) -> pl.Series:
        """What falls into a silence; with ``quiet``, only one that has not even NODATA."""
        lost = pl.Series(np.zeros(len(at), bool))
        for silence in self._silences:
            if not (quiet and silence.says_so):
                first, after = silent_intervals(silence, self._estate)
                lost |= (at == silence.at) & (interval >= first) & (interval < after)
        return lost

    def _quiet(self, records: pl.DataFrame, over: Any) -> pl.DataFrame:
        """NODATA for each interface and interval without a record, and SKIPDATA now and then."""
        every = pl.DataFrame({"at": np.flatnonzero(self._estate.there)})
        every = every.with_columns(
            interval=pl.int_ranges(
                pl.Series(self._over).gather(every["at"]), pl.Series(over).gather(every["at"])
            )
        ).explode("interval", empty_as_null=False)
        silent = every.filter(~self._unrecorded(every["at"], every["interval"], quiet=True))
        silent = silent.join(records, on=["at", "interval"], how="anti", maintain_order="left")
        lasts = pl.Series(self._estate.interval).gather(silent["at"])
        start = silent["interval"] * lasts + pl.Series(self._estate.phase).gather(silent["at"])
        lost = (pl.col("at") * 31 + pl.col("interval") * 17) % 293 == 0
        return silent.select(
            "at",
            "interval",
            start=start,
            end=start + lasts - 1,
            slot=(start + lasts - 1) // 300 * 300,
            status=pl.when(lost).then(pl.lit("SKIPDATA")).otherwise(pl.lit("NODATA")),
            attack=pl.lit(-1, pl.Int64),
        )


def silent_intervals(silence: Silence, estate: Estate) -> tuple[int, int]:
    """The intervals that lie in a silence: the first, and the one after the last."""
    lasts, phase = int(estate.interval[silence.at]), int(estate.phase[silence.at])
    return -((phase - silence.begins) // lasts), (silence.ends - phase) // lasts


def tables(
    records: pl.DataFrame, estate: Estate
) -> Iterator[tuple[FlowLog, datetime, pl.DataFrame]]:
    """Sort records into objects: each flow log's five minutes, with every field that is known."""
    named = _named(records, estate).with_columns(number=records["at"] // HOSTS)
    parts = named.partition_by("slot", "number", as_dict=True, maintain_order=True)
    for (slot, number), part in sorted(parts.items()):
        yield estate.flow_logs[number], datetime.fromtimestamp(slot, UTC), part


def _observed(begun: pl.DataFrame, estate: Estate) -> pl.DataFrame:
    """What each interface sees of conversations: a row for each interface and direction."""
    address = pl.Series(estate.address)
    gateway = address.gather(begun["via"].clip(0))
    ours = {side: address.gather(begun[f"{side}_at"].clip(0)) for side in ("client", "server")}
    begun = begun.with_columns(
        *(
            pl.when(pl.col(f"{side}_at") >= 0).then(ours[side]).otherwise(side).alias(side)
            for side in ours
        ),
        gateway=gateway,
        gateway_port=1024 + (pl.col("client_port") * 7919 + pl.col("server")) % 64_512,
    )
    client, server = ("client", "client_port"), ("server", "server_port")
    inward, outward = ("gateway", "server_port"), ("gateway", "gateway_port")
    gone = pl.col("refused") != AT_CLIENT
    answered = pl.col("reply_packets") > 0
    # Where, whether it leaves there, from and to whom, whom the packet itself names, and if at all.
    seen = (
        ("client_at", True, client, server, client, server, pl.lit(True)),
        ("client_at", False, server, client, server, client, answered),
        ("server_at", False, client, server, client, server, gone),
        ("server_at", True, server, client, server, client, answered),
        ("via", False, client, inward, client, server, gone),
        ("via", True, outward, server, outward, server, gone),
        ("via", False, server, outward, server, outward, answered),
        ("via", True, inward, client, server, client, answered),
    )
    views = []
    for at, leaves, source, target, psource, ptarget, there in seen:
        reply = there is answered
        of = "reply_" if reply else ""
        rejects = {"client_at": AT_CLIENT, "server_at": AT_SERVER, "via": -1}[at]
        views.append(
            begun.filter(there & (pl.col(at) >= 0)).select(
                at=at,
                egress=pl.lit(leaves),
                rejected=pl.lit(False) if reply else pl.col("refused") == rejects,
                src=source[0],
                sport=source[1],
                dst=target[0],
                dport=target[1],
                protocol="protocol",
                psrc=psource[0],
                pdst=ptarget[0],
                attack="attack",
                count=of + "packets",
                size=of + "bytes",
                bits=of + "flags",
                begin=pl.col("start") + (0.02 if reply else 0),
                lasted="lasted",
            )
        )
    return pl.concat(views)


def _pieces(observed: pl.DataFrame, estate: Estate) -> pl.DataFrame:
    """Cut at the borders of intervals; packets are spread evenly from the first to the last."""
    lasts = pl.Series(estate.interval).gather(observed["at"])
    phase = pl.Series(estate.phase).gather(observed["at"])
    begin, ends = pl.col("begin"), pl.col("begin") + pl.col("lasted")
    first, last = (((when - phase) // lasts).cast(pl.Int64) for when in (begin, ends))
    pieces = observed.with_columns(
        interval=pl.int_ranges(first, last + 1),
        step=pl.col("lasted") / (pl.col("count") - 1).clip(1),
        opens=first * lasts + phase,
        lasts=lasts,
        opened=first,
        closed=last,
    ).explode("interval", empty_as_null=False)
    opens = pl.col("opens") + (pl.col("interval") - pl.col("opened")) * pl.col("lasts")
    before, after = (
        ((border - begin) / pl.col("step")).ceil().clip(0, pl.col("count"))
        for border in (opens, opens + pl.col("lasts"))
    )
    is_first, is_last = (pl.col("interval") == pl.col(edge) for edge in ("opened", "closed"))
    pieces = pieces.with_columns(
        lo=pl.when(is_first).then(0).otherwise(before.cast(pl.Int64, strict=False)),
        hi=pl.when(is_last).then("count").otherwise(after.cast(pl.Int64, strict=False)),
    ).filter(pl.col("hi") > pl.col("lo"))
    lo, hi, count, size = (pl.col(name) for name in ("lo", "hi", "count", "size"))
    return pieces.select(
        *("at", "egress", "rejected", *_FIVE, "psrc", "pdst", "attack", "interval"),
        packets=hi - lo,
        bytes=size * hi // count - size * lo // count,
        first=begin + lo * pl.col("step"),
        last=begin + (hi - 1) * pl.col("step"),
        flags=(pl.col("bits") & SYN_ACK) * (lo == 0) | (pl.col("bits") & 5) * (hi == count),
    )


def _merged(pieces: pl.DataFrame) -> pl.DataFrame:
    """One record of what has the same five, interface, interval and action; with its times."""
    records = pieces.group_by(_KEY).agg(
        pl.col("egress", "psrc", "pdst").first(),
        pl.col("packets", "bytes").sum(),
        pl.col("first").min().floor().cast(pl.Int64),
        pl.col("last").max().floor().cast(pl.Int64),
        pl.col("flags").bitwise_or(),
    )
    # Start and end are up to 60 seconds after the packets (AWS guide). By how much is drawn from
    # the record itself, so that it does not depend on what else was recorded.
    drawn = (
        pl.col("sport") * 40_503 + pl.col("dport") * 9_973 + pl.col("src") * 31 + pl.col("first")
    ) % 1_009
    start = pl.col("first") + drawn % 11
    end = pl.max_horizontal(pl.col("last"), start) + drawn // 11 % 43
    return records.select(
        *_KEY,
        *("egress", "psrc", "pdst", "packets", "bytes", "flags"),
        start=start,
        end=end,
        slot=end // 300 * 300,
        status=pl.lit("OK"),
    )


def _named(records: pl.DataFrame, estate: Estate) -> pl.DataFrame:
    """Name fields as AWS does; what describes packets is null where there were none."""
    near = pl.col("pdst") // 2**16
    inside = (near // 2**8 == 10) | (near == 172 * 256 + 31)
    named = records.select(
        "slot",
        "protocol",
        "packets",
        "bytes",
        "start",
        "end",
        as_text(pl.col("src")).alias("srcaddr"),
        as_text(pl.col("dst")).alias("dstaddr"),
        as_text(pl.col("psrc")).alias("pkt-srcaddr"),
        as_text(pl.col("pdst")).alias("pkt-dstaddr"),
        pl.col("sport").alias("srcport"),
        pl.col("dport").alias("dstport"),
        pl.when("rejected")
        .then(pl.lit("REJECT"))
        .when(pl.col("rejected").not_())
        .then(pl.lit("ACCEPT"))
        .alias("action"),
        pl.col("status").alias("log-status"),
        pl.col("flags").alias("tcp-flags"),
        *(
            pl.when(pl.col(packet) // 2**16 == _S3).then(pl.lit("S3")).alias(name)
            for packet, name in (("psrc", "pkt-src-aws-service"), ("pdst", "pkt-dst-aws-service"))
        ),
        pl.when(pl.col("status") == "OK").then(pl.lit("IPv4")).alias("type"),
        pl.when("egress")
        .then(pl.lit("egress"))
        .when(pl.col("egress").not_())
        .then(pl.lit("ingress"))
        .alias("flow-direction"),
        pl.when("egress")
        .then(pl.when(inside).then(1).otherwise(8))
        .cast(pl.Int64)
        .alias("traffic-path"),
    )
    return pl.concat([estate.interfaces[records["at"]], named], how="horizontal")
