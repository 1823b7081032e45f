"""A labelled corpus: everyday traffic with attacks planted in it, and a label for each of them.

It is made to judge rules by: ``attack_tables`` makes the flow logs, ``labels`` says what is in
them. Both draw the same from the same knobs. Addresses on the internet are reserved ones, as in
``flowlake.samples``.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, TypedDict, Unpack

import numpy as np
import polars as pl

from flowlake.attacks.background import everyday
from flowlake.attacks.estates import Estate, as_text, estate
from flowlake.attacks.intrusions import intrusions
from flowlake.attacks.radiation import radiation
from flowlake.attacks.recording import SYN, Recorder, Silence, silent_intervals, tables
from flowlake.attacks.scans import scans
from flowlake.attacks.scenes import Planted, Scene
from flowlake.errors import UsageError
from flowlake.fields import DEFAULT_FORMAT
from flowlake.layout import object_key
from flowlake.samples import (
    ACCOUNTS,
    ALPHABETICAL_FORMAT,
    EVERY_FIELD_FORMAT,
    REGIONS,
    START,
    in_format,
    stable_name,
)

FORMATS = (DEFAULT_FORMAT, ALPHABETICAL_FORMAT, DEFAULT_FORMAT, EVERY_FIELD_FORMAT)
"""Headers dealt to the flow logs: half of them have the default format."""

LABELS = pl.Schema(
    {
        "kind": pl.String(),
        "who": pl.String(),
        "whom": pl.String(),
        "first_seen": pl.Datetime("us", "UTC"),
        "last_seen": pl.Datetime("us", "UTC"),
        "flows": pl.Int64(),
        "note": pl.String(),
    }
)

MANY = 15
"""Ports of an address, or addresses on a port, from which on a source of the internet's background
gets a label: a port scan or host sweep within an hour, a slow scan within a day, of one address or
of all together."""

_UNASKED = 0.32
"""Share of the records that the internet's background makes."""


class AttackKnobs(TypedDict, total=False):
    """What can be turned; ``attack_tables`` says what each one means."""

    seed: int
    start: datetime
    hours: int
    records_per_object: int
    accounts: Sequence[str]
    regions: Sequence[str]
    formats: Sequence[Sequence[str]]


class _Plan(NamedTuple):
    """What is drawn for the whole time: attacks, and what the internet sends unasked.

    ``scanners`` has a row for each source, kind and interface or port (``on``) that is labelled.
    """

    estate: Estate
    begins: int
    ends: int
    attacks: list[Planted]
    silences: list[Silence]
    talks: pl.DataFrame
    scanners: pl.DataFrame
    everyday: float


def attack_tables(**knobs: Unpack[AttackKnobs]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Generate flow logs with attacks in them lazily: each object's key and its records.

    Tables are as those of ``flowlake.samples.sample_tables``. A slot's last records may come in a
    second object, as they do from AWS. Intervals that are not over at the end are not delivered.

    Args:
        seed: the same seed and knobs give the same tables (default 7).
        start: when the traffic begins, with a time zone (default ``samples.START``).
        hours: how long it lasts (default 24).
        records_per_object: everyday records of an object, in the mean over a working day (default
            900); NODATA and attacks come on top. More accounts or regions make a larger estate.
        accounts: account ids, text of twelve digits (default: two).
        regions: region names; each account has a network and a flow log in each (default: two).
        formats: headers, dealt to the flow logs in turn (default ``FORMATS``).

    Raises:
        UsageError: ``start`` has no time zone, or a number is below 1, or a list is empty.
    """
    plan = _planned(**knobs)
    recorder = Recorder(plan.estate, plan.begins, plan.silences)
    starts = plan.talks["start"].to_numpy()
    seed = knobs.get("seed", 7)
    for begins in range(plan.begins, plan.ends, 3600):
        random = _random(seed, "everyday", begins)
        rest = everyday(random, plan.estate, begins, plan.everyday)
        first, after = np.searchsorted(starts, (begins, begins + 3600))
        begun = pl.concat([plan.talks[first:after], _with_hosts_down(rest, plan.silences)])
        for flow_log, slot, records in tables(recorder.until(begun, begins + 3600), plan.estate):
            digest = stable_name(seed, flow_log.flow_log_id, slot, begins)[:8]
            key = object_key(flow_log.account, flow_log.region, flow_log.flow_log_id, slot, digest)
            yield key, in_format(records, flow_log.header)


def labels(**knobs: Unpack[AttackKnobs]) -> pl.DataFrame:
    """Say what attacks are in the tables that the same knobs make, ordered by ``first_seen``.

    ``kind`` is that of an alarm (``port_scan``, ``host_sweep``, ``slow_scan``, ``brute_force``,
    ``beacon``, ``egress_volume``, ``silent_interface``, ``reject_surge``), or ``allowed``: what
    looks like an attack and is none. ``who`` acts: an address, a network, an interface that fell
    silent or refuses, or null for many sources that have nothing in common. ``whom`` it acts on:
    an address, a network, or null for many. Addresses are those that records have: a public
    address's private one. ``first_seen`` and ``last_seen``, UTC, are the start of the first record
    and the end of the last, ``flows`` the number of records of both directions at all interfaces;
    of a silence its borders and its NODATA records. ``note`` says more.

    Sources of the internet's background that pass ``MANY`` are labelled as what they are, a source
    once for each address it scans, and once for its sweeps; or once, where it passes the bound only
    with all that it tries in a day. Others are not.
    """
    plan = _planned(**knobs)
    of_attacks = plan.talks.filter(pl.col("attack") >= 0)
    recorder = Recorder(plan.estate, plan.begins, plan.silences)
    records = recorder.until(of_attacks, plan.ends).filter(pl.col("attack") >= 0)
    seen = (
        pl.col("start").min().alias("first_seen"),
        pl.col("end").max().alias("last_seen"),
        pl.len().cast(pl.Int64).alias("flows"),
    )
    sums = {row["attack"]: row for row in records.group_by("attack").agg(seen).to_dicts()}
    rows = []
    for number, attack in enumerate(plan.attacks):
        if attack.silence:
            first, after = silent_intervals(attack.silence, plan.estate)
            found = {
                "first_seen": attack.silence.begins,
                "last_seen": attack.silence.ends,
                "flows": (after - first) * attack.silence.says_so,
            }
        elif number in sums:
            found = sums[number]
        else:
            continue
        rows.append({**found, **attack._asdict()})
    background = (
        records.with_columns(port=pl.when("egress").then("sport").otherwise("dport"), anywhere=0)
        .unpivot(
            ["at", "port", "anywhere"],
            index=["attack", "start", "end"],
            variable_name="of",
            value_name="on",
        )
        .join(plan.scanners, on=["attack", "of", "on"])
        .group_by("attack", "kind", "who", "whom", "note")
        .agg(seen)
    )
    columns = [*LABELS]
    times = pl.col("first_seen", "last_seen")
    return (
        pl.concat(
            [
                pl.DataFrame(
                    rows, schema={**LABELS, "first_seen": pl.Int64, "last_seen": pl.Int64}
                ),
                background.select(columns),
            ]
        )
        .with_columns(pl.from_epoch(times, "s").dt.cast_time_unit("us").dt.replace_time_zone("UTC"))
        .sort("first_seen", "kind", "who", "whom", nulls_last=True)
    )


def _planned(
    seed: int = 7,
    start: datetime = START,
    hours: int = 24,
    records_per_object: int = 900,
    accounts: Sequence[str] = ACCOUNTS,
    regions: Sequence[str] = REGIONS,
    formats: Sequence[Sequence[str]] = FORMATS,
) -> _Plan:
    if start.tzinfo is None:
        raise UsageError(f"The corpus's start, {start}, has no time zone: give one, such as UTC.")
    if min(hours, records_per_object, len(accounts), len(regions), len(formats)) < 1:
        raise UsageError("A corpus needs an hour, a record, an account, a region and a format.")
    begins = int(start.timestamp()) // 300 * 300
    ends = begins + hours * 3600
    where = estate(accounts, regions, formats)
    an_hour = records_per_object * 12.0 * len(where.flow_logs)
    scene = Scene(_random(seed, "attacks"), where, begins, ends)
    attacks = [*scans(scene), *intrusions(scene)]
    silences = [attack.silence for attack in attacks if attack.silence]
    unasked = radiation(_random(seed, "radiation"), where, begins, ends, an_hour * hours * _UNASKED)
    scanners = _scanners(unasked, where, len(attacks))
    numbered = unasked.drop("attack").join(
        scanners.unique("client").select("client", "attack"),
        on="client",
        how="left",
        maintain_order="left",
    )
    every = [
        *(
            attack.talks.with_columns(attack=pl.lit(n, pl.Int64))
            for n, attack in enumerate(attacks)
        ),
        numbered.with_columns(pl.col("attack").fill_null(-1)),
    ]
    begun = _with_hosts_down(pl.concat(every), silences).sort("start", maintain_order=True)
    return _Plan(where, begins, ends, attacks, silences, begun, scanners, an_hour * (1 - _UNASKED))


def _scanners(unasked: pl.DataFrame, where: Estate, number: int) -> pl.DataFrame:
    """Which sources of the background scan or sweep, numbered from ``number`` on."""
    first = unasked.group_by("client", "server_at", "server_port").agg(pl.col("start").min())
    first = first.with_columns(anywhere=pl.lit(0, first["server_at"].dtype))

    def many(by: str, within: float) -> pl.DataFrame:
        """Sources that touch so many different ones on one ``by``, within so many seconds."""
        key = ("client", by)
        took = first.sort(*key, "start").with_columns(
            took=pl.col("start") - pl.col("start").shift(MANY - 1).over(key)
        )
        return took.group_by(key).agg(pl.col("took").min()).filter(pl.col("took") <= within)

    def named(found: pl.DataFrame, kind: str, of: str, by: str, note: str) -> pl.DataFrame:
        return found.select(
            "client",
            kind=pl.lit(kind),
            of=pl.lit(of),
            on=by,
            whom=as_text(pl.lit(pl.Series(where.address)).gather(by)) if of == "at" else None,
            note=pl.lit(note),
        )

    fast = many("server_at", 3600)
    slow = many("server_at", 86_400).join(fast, on=["client", "server_at"], how="anti")
    background = "the internet's background: at least"
    found = pl.concat(
        [
            named(fast, "port_scan", "at", "server_at", f"{background} {MANY} ports in an hour"),
            named(slow, "slow_scan", "at", "server_at", f"{background} {MANY} ports in a day"),
            named(
                many("server_port", 3600),
                "host_sweep",
                "port",
                "server_port",
                f"{background} {MANY} addresses on a port in an hour",
            ),
        ]
    )
    patient = many("anywhere", 86_400).join(found, on="client", how="anti")
    note = f"{background} {MANY} ports of addresses in a day"
    found = pl.concat([found, named(patient, "slow_scan", "anywhere", "anywhere", note)])
    return found.sort("client", "kind", "on").with_columns(
        attack=number + pl.col("client").rank("dense").cast(pl.Int64) - 1,
        who=as_text(pl.col("client")),
    )


def _with_hosts_down(begun: pl.DataFrame, silences: Sequence[Silence]) -> pl.DataFrame:
    """A host that is down begins nothing, and does not answer."""
    for silence in silences:
        if silence.says_so:
            while_down = pl.col("start").is_between(silence.begins, silence.ends)
            begun = begun.filter(~(while_down & (pl.col("client_at") == silence.at)))
            unanswered = while_down & (pl.col("server_at") == silence.at)
            begun = begun.with_columns(
                pl.when(unanswered).then(value).otherwise(name).alias(name)
                for name, value in (
                    ("packets", 3),
                    ("bytes", 180),
                    ("flags", SYN),
                    ("lasted", 3.0),
                    ("reply_packets", 0),
                    ("reply_bytes", 0),
                    ("reply_flags", 0),
                )
            )
    return begun


def _random(*parts: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(int(stable_name(*parts), 16)))
