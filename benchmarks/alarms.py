"""How right the alarms are on a labelled corpus, and how long they take.

`python -m benchmarks alarms` makes corpora of several seeds (`flowlake.attacks`), five days of two
accounts in two regions each, converts them and replays every kind at its defaults with what the
corpus allows on the ignore list. A second corpus, of a day and many records, is for the time: each
kind in a process of its own, then a run over the last hour.
"""

import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measuring import flowlake, goal, measure, table
from flowlake.attacks import AttackKnobs, attack_tables, labels
from flowlake.backtesting import Backtest, backtest
from flowlake.converting import convert
from flowlake.lake import open_lake
from flowlake.rules import KINDS, parse_rules
from flowlake.samples import START, deliver_text, write_objects
from flowlake.storage import open_storage

SEEDS = (1, 2, 3)
HOURS, RECORDS = 120, 400
NEEDED = frozenset({"watched_port", "forbidden_endpoint"})
"""Kinds that only find what is theirs to name: nothing to be right or wrong about."""

SCANS = ("port_scan", "host_sweep", "slow_scan")
UNASKED = "the internet's background"
"""How the note of a label begins that was not planted."""

EVALUATE = """
import sys, flowlake
from flowlake.alarms import evaluate
from flowlake.rules import parse_rules
lake = flowlake.open_lake(sys.argv[1])
(alarm,) = parse_rules(f'[[alarm]]\\nname = "x"\\nkind = "{sys.argv[2]}"\\n' + sys.argv[3]).alarms
spans = lake.spans()
print(evaluate(lake, alarm, [(min(b for b, _ in spans), max(e for _, e in spans))]).height)
"""
PAST = timedelta(hours=36)
"""What was planted before so much of the past is there is nothing that `learns` could find."""

GIVEN = {
    "watched_port": 'ports = [22, 3389]\ntargets = ["10.0.0.0/8"]',
    "forbidden_endpoint": 'servers = ["10.0.0.0/16"]\nallow = ["10.0.0.0/8", "*:443"]',
}


def section(quick: bool) -> str:
    """Measure, and write the page."""
    lines = ["## Alarms", "", "### Precision and recall", ""]
    lines.append(
        f"Defaults, on {'a toy corpus' if quick else 'five days of each seed'}: planted attacks "
        "found by an alarm of their kind (of a scan by any for scans); incidents that are in a "
        "label, planted or of the Internet's background; and the others, for each million records. "
        "Of kinds that compare with the past, what was planted after the first 36 hours."
    )
    figures: list[dict[str, Any]] = []
    for seed in SEEDS[:1] if quick else SEEDS:
        figures += _judged({"seed": seed, **_size(quick)})
    lines += _table(figures)
    of_scans = [each for each in figures if each["kind"] in SCANS]
    worst = {
        name: min(each[name] for each in of_scans if each[name] is not None)
        for name in ("recall", "precision")
    }
    for name, value in worst.items():
        what = f"{name} of planted scans and sweeps, the worst of kinds and seeds, at least 0.95"
        lines.append(goal(what, f"{value:.2f}", value >= 0.95))
    falsest = max(each["false_per_million"] for each in figures)
    what = "false alarms of a kind for each million records, the most of kinds and seeds, at most 1"
    lines.append(goal(what, f"{falsest:.1f}", falsest <= 1))
    return "\n".join([*lines, *_timed(quick)]) + "\n"


def _size(quick: bool) -> AttackKnobs:
    if quick:
        return {"hours": 30, "records_per_object": 60}
    return {"hours": HOURS, "records_per_object": RECORDS}


def _lake(folder: str, knobs: AttackKnobs) -> int:
    """Make a corpus and convert it; how many records it has."""
    raw = f"{folder}/raw"
    write_objects(open_storage(raw), f"{raw}/", deliver_text(attack_tables(**knobs)))
    return convert(raw, lake=f"{folder}/lake").rows


def _rules(known: pl.DataFrame) -> str:
    allowed = known.filter(pl.col("kind") == "allowed", ~pl.col("who").str.starts_with("eni-"))
    texts = []
    for kind, found in KINDS.items():
        if kind not in NEEDED:
            text = f'[[alarm]]\nname = "{kind}"\nkind = "{kind}"\n'
            if any(parameter.name == "ignore" for parameter in found.parameters):
                ends = allowed["who"].to_list()
                if kind == "beacon":  # a NAT gateway does again what a monitor does
                    ends += [whom for whom in allowed["whom"] if "/" not in whom]
                text += f"ignore = {ends}\n".replace("'", '"')
            texts.append(text)
    return "\n".join(texts)


def _judged(knobs: AttackKnobs) -> list[dict[str, Any]]:
    known = labels(**knobs)
    with tempfile.TemporaryDirectory() as folder:
        records = _lake(folder, knobs)
        found = backtest(open_lake(f"{folder}/lake"), parse_rules(_rules(known)), labels=known)
    return [
        _figures(found, known, kind, records, knobs["seed"]) for kind in KINDS if kind not in NEEDED
    ]


def _figures(
    found: Backtest, known: pl.DataFrame, kind: str, records: int, seed: int
) -> dict[str, Any]:
    planted = known.filter(pl.col("kind") == kind, ~pl.col("note").str.starts_with(UNASKED))
    if KINDS[kind].learns:
        planted = planted.filter(pl.col("first_seen") >= START + PAST)
    missed = found.missed.join(planted, on=planted.columns, how="semi", nulls_equal=True).height
    mine = found.incidents.filter(pl.col("kind") == kind)
    true = int(mine["true"].sum())
    return {
        "seed": seed,
        "kind": kind,
        "records": records,
        "planted": planted.height,
        "found": planted.height - missed,
        "recall": (planted.height - missed) / planted.height if planted.height else None,
        "incidents": mine.height,
        "true": true,
        "precision": true / mine.height if mine.height else None,
        "false_per_million": (mine.height - true) / records * 1e6,
    }


def _table(figures: list[dict[str, Any]]) -> list[str]:
    columns = ("kind", "seed", "planted", "found", "recall", "incidents", "true", "precision")
    rows = [
        [
            *(_spelt(each[name]) for name in columns),
            f"{each['false_per_million']:.1f}",
        ]
        for each in sorted(
            figures, key=lambda each: (list(KINDS).index(each["kind"]), each["seed"])
        )
    ]
    return table([*columns, "false per million"], rows)


def _spelt(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _timed(quick: bool) -> list[str]:
    knobs: AttackKnobs = {"hours": 24, "records_per_object": 100 if quick else 9_500}
    with tempfile.TemporaryDirectory() as folder:
        records = _lake(folder, knobs)
        lake, rows = f"{folder}/lake", []
        for kind in KINDS:
            command = [sys.executable, "-c", EVALUATE, lake, kind, GIVEN.get(kind, "")]
            ran = measure(command)
            rows.append(
                [
                    kind,
                    ran.output.strip(),
                    f"{ran.wall:.1f}",
                    f"{ran.cpu:.1f}",
                    f"{ran.memory:,.0f}",
                ]
            )
        nothing = "[[alarm]]\nname = 'none'\nkind = 'port_scan'\nports = 1000000\n"
        config = Path(folder, "alarms.toml")
        config.write_text(nothing)
        run = flowlake("alarms", "run", "--config", str(config), "--lake", lake)
        first, again = measure(run), measure(run)
    return [
        "",
        f"### Time, {records / 1e6:.1f} million records of a day",
        "",
        "Each kind over all of it, a whole process; incidents, seconds, processor seconds, MB.",
        *table(["kind", "incidents", "wall", "processor", "memory"], rows),
        f"`flowlake alarms run` of one port_scan that finds nothing: {first.wall:.1f} s for all of "
        f"it, {again.wall:.1f} s with nothing new.",
    ]
