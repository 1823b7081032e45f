"""Rules replayed over what a lake holds: what they would have told, and what thresholds cost."""

import ipaddress
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from flowlake.alarms import Tell, evaluate, say_nothing
from flowlake.detections import GAP, INCIDENTS
from flowlake.errors import UsageError
from flowlake.interfaces import inventory
from flowlake.lake import Lake
from flowlake.rules import Alarm, Rules
from flowlake.spans import Span, joined
from flowlake.window import parse_time

FACTORS = (0.5, 0.7, 0.85, 1.0, 1.5, 2.0, 3.0, 5.0)
"""The thresholds that are tried, as multiples of the one in use."""

SCANS = frozenset({"port_scan", "host_sweep", "slow_scan"})
"""Kinds that see the same thing from different sides: a label of one is found by any of them."""

OUTWARD = frozenset({"beacon", "egress_volume", "host_sweep"})
"""Kinds in which a NAT gateway does again what the hosts behind it do, or an interface is known by
its id or by its address: of these, whom it is about is enough to be the same."""

STEP = timedelta(hours=6)
"""How long after another run what goes by the clock is looked at again."""

LABELS = ("kind", "who", "whom", "first_seen", "last_seen")
ALLOWED = "allowed"
"""The kind of a label of what looks like an attack and is none."""


Place = ipaddress.IPv4Network | ipaddress.IPv6Network | str | None


@dataclass(frozen=True, slots=True)
class Backtest:
    """What rules would have told. Frames; times are UTC."""

    scores: pl.DataFrame
    """``alarm``, ``kind``, ``incidents``, ``a_day``; and where there are labels ``true``,
    ``labels`` of the kind, ``found`` of them by any alarm, ``precision``, ``recall``."""
    thresholds: pl.DataFrame
    """``alarm``, ``parameter``, ``threshold``, ``in_use``, ``suggested`` and the same figures, but
    ``found`` by this alarm alone."""
    days: pl.DataFrame
    """``alarm``, ``date``, ``incidents`` that began on it."""
    incidents: pl.DataFrame
    """``alarm``, ``kind``, and the columns of ``detections.INCIDENTS``; ``true`` says whether a
    label has it, null without labels."""
    missed: pl.DataFrame
    """The labels that no alarm found."""


def read_labels(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read known attacks: CSV with ``kind``, ``who``, ``whom``, ``first_seen``, ``last_seen``.

    ``who`` and ``whom`` are addresses, networks or interface ids, or empty; times are UTC. Rows
    of the kind ``allowed`` are no attacks.

    Raises:
        UsageError: when it is no such file.
    """
    place = Path(path)
    try:
        read = pl.read_csv(place, infer_schema=False)
        if missing := [name for name in LABELS if name not in read.columns]:
            raise UsageError(
                f"{place} has no column {missing[0]}: labels have {', '.join(LABELS)}."
            )
        now = datetime.now(UTC)
        times = {
            name: pl.Series(name, [parse_time(each, now) for each in read[name]])
            for name in ("first_seen", "last_seen")
        }
    except (OSError, TypeError, AttributeError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"{place} is no CSV of labels: {error}. It has {', '.join(LABELS)}."
        ) from error
    return read.with_columns(**{name: each.cast(TIME) for name, each in times.items()})


TIME = pl.Datetime("us", "UTC")


def backtest(
    lake: Lake,
    rules: Rules,
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    labels: pl.DataFrame | None = None,
    progress: Tell = say_nothing,
) -> Backtest:
    """Replay rules over a lake; nothing is kept and nothing delivered.

    An incident is true if a label has it: its time, and who it is, or for what comes from many
    sources whom; of some kinds exactly the same whom is enough (``OUTWARD``). A label is found if
    an alarm of its kind has it; one of a scan, if any alarm for scans does. The suggested threshold
    is the one with the best F1, the harmonic mean of precision and recall, or without labels the
    lowest with at most one incident a day.

    Args:
        lake: opened.
        rules: the alarms.
        since: only incidents with a trace from then on.
        until: only incidents with a trace before that.
        labels: what ``read_labels`` reads.
        progress: is told which alarm is evaluated, its number, and how many there are.

    Raises:
        UsageError: for a time that cannot be read, and a scope that cannot be resolved.
    """
    now = datetime.now(UTC)
    held = lake.spans()
    if not held:
        raise UsageError("There are no records in the lake: convert some with `flowlake convert`.")
    first = parse_time(since, now) if since is not None else min(begin for begin, _ in held)
    last = parse_time(until, now) if until is not None else max(end for _, end in held)
    spans = [
        (max(begin, first), min(end, last))
        for begin, end in joined(held, timedelta(days=1))
        if begin <= last and end >= first
    ]
    days = max(sum((end - begin for begin, end in spans), timedelta()) / timedelta(days=1), 1 / 24)
    known = (
        None
        if labels is None
        else labels.filter(pl.col("first_seen") <= last, pl.col("last_seen") >= first)
    )
    attacks = [] if known is None else known.filter(pl.col("kind") != ALLOWED).to_dicts()
    places = [(_place(label["who"]), _place(label["whom"])) for label in attacks]
    names = inventory(lake.tables)
    scores, thresholds, told = [], [], []
    found: set[int] = set()
    for number, alarm in enumerate(rules.alarms, 1):
        progress(alarm.name, number, len(rules.alarms))
        all_of_it = _replayed(lake, _lowered(alarm), spans, names).to_dicts()
        judged = [(each, _matches(alarm.kind, each, attacks, places)) for each in all_of_it]
        limit = _threshold(alarm)
        of_kind = {n for n, label in enumerate(attacks) if label["kind"] == alarm.kind}
        figures = {
            value: _figures(judged, value, of_kind, days, known is not None)
            for value in _tried(alarm)
        }
        if limit is not None:
            best = _suggested(figures, limit, known is not None)
            thresholds += [
                {
                    "alarm": alarm.name,
                    "parameter": alarm.detection.threshold,
                    "threshold": value,
                    "in_use": value == limit,
                    "suggested": value == best,
                    **counted,
                }
                for value, counted in figures.items()
            ]
        kept = [(i, m) for i, m in judged if limit is None or i["peak"] >= limit]
        found |= {n for _, m in kept for n in m if _finds(alarm.kind, attacks[n]["kind"])}
        scores.append({"alarm": alarm.name, "kind": alarm.kind, **figures[limit]})
        told += [
            {
                "alarm": alarm.name,
                "kind": alarm.kind,
                **incident,
                "true": bool(m) if attacks else None,
            }
            for incident, m in kept
        ]
    for score in scores if known is not None else ():
        of_kind = {n for n, label in enumerate(attacks) if label["kind"] == score["kind"]}
        score["found"] = len(found & of_kind)
        score["recall"] = score["found"] / len(of_kind) if of_kind else None
    incidents = pl.DataFrame(told, infer_schema_length=None)
    return Backtest(
        pl.DataFrame(scores, infer_schema_length=None),
        pl.DataFrame(thresholds, infer_schema_length=None),
        _by_day(incidents),
        incidents,
        pl.DataFrame([each for n, each in enumerate(attacks) if n not in found]),
    )


def _replayed(lake: Lake, alarm: Alarm, spans: Sequence[Span], names: pl.DataFrame) -> pl.DataFrame:
    """The incidents of an alarm; of one that goes by the clock those of a run every few hours."""
    if not alarm.detection.by_clock:
        return evaluate(lake, alarm, spans, names=names)
    moments = [
        begin + STEP * number
        for begin, end in spans
        for number in range(1, math.ceil((end - begin) / STEP) + 1)
    ]
    runs = [evaluate(lake, alarm, [(moment - STEP, moment)], names=names) for moment in moments]
    found = pl.concat([pl.DataFrame(schema=INCIDENTS), *runs])
    return found.sort("last_seen").unique(["subject", "first_seen"], keep="last")


def _threshold(alarm: Alarm) -> float | None:
    name = alarm.detection.threshold
    return None if name is None else float(alarm.value(name))


def _tried(alarm: Alarm) -> list[float | None]:
    """The thresholds to try: whole ones where the parameter is a whole number."""
    limit = _threshold(alarm)
    if limit is None:
        return [None]
    whole = isinstance(alarm.value(str(alarm.detection.threshold)), int)
    values = [limit * factor for factor in FACTORS]
    return list(dict.fromkeys(float(max(round(v), 1)) if whole else v for v in values))


def _lowered(alarm: Alarm) -> Alarm:
    """The alarm at the lowest threshold that is tried."""
    name = alarm.detection.threshold
    if name is None:
        return alarm
    lowest = min(value for value in _tried(alarm) if value is not None)
    kind = type(alarm.value(name))
    return replace(alarm, given=MappingProxyType({**alarm.given, name: kind(lowest)}))


def _figures(
    judged: Sequence[tuple[Mapping[str, Any], set[int]]],
    threshold: float | None,
    of_kind: set[int],
    days: float,
    labelled: bool,
) -> dict[str, Any]:
    kept = [matched for each, matched in judged if threshold is None or each["peak"] >= threshold]
    counted: dict[str, Any] = {"incidents": len(kept), "a_day": len(kept) / days}
    if labelled:
        true = sum(bool(matched) for matched in kept)
        found = len(set().union(*kept) & of_kind)
        counted |= {
            "true": true,
            "labels": len(of_kind),
            "found": found,
            "precision": true / len(kept) if kept else None,
            "recall": found / len(of_kind) if of_kind else None,
        }
    return counted


def _suggested(
    figures: Mapping[Any, Mapping[str, Any]], in_use: float, labelled: bool
) -> float | None:
    """The best of the thresholds; the one in use where others are no better."""

    def merit(value: float) -> tuple[float, bool]:
        precision, recall = figures[value]["precision"] or 0, figures[value]["recall"] or 0
        both = 2 * precision * recall / (precision + recall) if precision + recall else 0
        return both, value == in_use

    if labelled:
        return max(figures, key=merit) if figures[in_use]["labels"] else None
    quiet = [value for value, counted in figures.items() if counted["a_day"] <= 1]
    return in_use if in_use in quiet else min(quiet, default=max(figures))


def _finds(kind: str, labelled: str) -> bool:
    """Whether an alarm of a kind is one that finds what has a label."""
    return kind == labelled or {kind, labelled} <= SCANS


def _matches(
    kind: str,
    incident: Mapping[str, Any],
    labels: Sequence[Mapping[str, Any]],
    places: Sequence[tuple[Place, Place]],
) -> set[int]:
    """Which labels an incident is of."""
    who, whom = _place(incident["who"]), _place(incident["whom"])

    def same(number: int) -> bool:
        source, target = places[number]
        if kind in OUTWARD and labels[number]["kind"] == kind and None is not whom == target:
            return True
        if who is not None and source is not None:
            return _touch(who, source)
        return whom is not None and target is not None and _touch(whom, target)

    return {
        number
        for number, label in enumerate(labels)
        if incident["first_seen"] <= label["last_seen"] + GAP
        and incident["last_seen"] >= label["first_seen"] - GAP
        and same(number)
    }


def _place(text: str | None) -> Place:
    """An address or a network, an id as text; None for many sources and for nobody."""
    if not text or " " in text:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return text


def _touch(one: Place, other: Place) -> bool:
    networks = (ipaddress.IPv4Network, ipaddress.IPv6Network)
    if isinstance(one, networks) and isinstance(other, networks):
        return one.version == other.version and one.overlaps(other)
    return one == other


def _by_day(incidents: pl.DataFrame) -> pl.DataFrame:
    if incidents.is_empty():
        return pl.DataFrame(schema={"alarm": pl.String, "date": pl.Date, "incidents": pl.Int64})
    return (
        incidents.group_by("alarm", pl.col("first_seen").dt.date().alias("date"))
        .agg(incidents=pl.len().cast(pl.Int64))
        .sort("alarm", "date")
    )
