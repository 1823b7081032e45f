"""A lake of a day of five-minute runs, before and after `flowlake compact`.

`python -m benchmarks compact` makes the objects (seeded), and converts each in a commit of its own,
as a run every five minutes does. A copy of the lake is compacted by the command, whole process, and
then both lakes are opened, asked and hunted in, in turn. Both must answer the same.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import polars as pl

from benchmarks.measuring import flowlake, measure
from flowlake import converting
from flowlake.committing import Tables
from flowlake.converting import convert
from flowlake.fields import DEFAULT_FORMAT
from flowlake.lake import open_lake
from flowlake.samples import sample_objects
from flowlake.storage import open_storage

RUNS = 5
OBJECTS = 288
RECORDS_PER_OBJECT = 5_000
BUSY, RARE = "203.0.113.1", "192.0.2.255"
TABLES = ("flows", "objects", "rejects")


def section() -> str:
    """Measure, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = f"{folder}/before", f"{folder}/after"
        rows = _make(folder, before)
        shutil.copytree(before, after)
        cost = measure(flowlake("compact", "--lake", after))
        again = measure(flowlake("compact", "--lake", after))
        lines = [
            "",
            f"## {OBJECTS} runs, {rows:,} records: before and after `flowlake compact`",
            "",
            f"It took {cost.wall:.1f} seconds ({cost.cpu:.1f} of a processor) and "
            f"{cost.memory:,.0f} MB, and {again.wall:.1f} seconds to find nothing to do after "
            f"that. Below, milliseconds in one process, medians of {RUNS} in turn.",
            "",
            "| | before | after | times |",
            "|---|---|---|---|",
        ]
        for name, count in _counts(before, after).items():
            lines.append(f"| {name} | {count[0]:,g} | {count[1]:,g} | {_times(*count)} |")
        for name, ask in _asked(f"{folder}/raw").items():
            was, now = _in_turn(ask, before, after)
            lines.append(f"| {name} | {was * 1000:.0f} | {now * 1000:.0f} | {_times(was, now)} |")
    return "\n".join(lines) + "\n"


def _make(folder: str, lake: str) -> int:
    objects = sample_objects(
        hours=24,
        every=1,
        records_per_object=RECORDS_PER_OBJECT,
        accounts=["123456789010"],
        regions=["us-east-1"],
        formats=[DEFAULT_FORMAT],
    )
    for key, body in islice(objects, 1, OBJECTS + 1):  # the first holds two records of 2015
        open_storage(folder).put(f"{folder}/raw/{key}", body)
    converting.TASK_OBJECTS = 1
    return convert(f"{folder}/raw", lake=lake, workers=1, commit_seconds=0).rows


def _counts(*lakes: str) -> dict[str, list[float]]:
    """Live files and their megabytes, of each lake."""
    listed = [
        [pl.DataFrame(Tables(lake).table(name).get_add_actions(flatten=True)) for name in TABLES]
        for lake in lakes
    ]
    return {
        "files": [sum(each.height for each in tables) for tables in listed],
        "MB": [round(sum(map(_bytes, tables)) / 1e6, 1) for tables in listed],
    }


def _bytes(files: pl.DataFrame) -> int:
    return int(files["size_bytes"].sum())


def _asked(raw: str) -> dict[str, Callable[[str], object]]:
    return {
        "open the lake": lambda lake: open_lake(lake).partition_by,
        "`status`": lambda lake: open_lake(lake).status().rows,
        "`convert`, nothing new": lambda lake: convert(raw, lake=lake).new,
        "`protocol_breakdown`": lambda lake: open_lake(lake).query("protocol_breakdown").pl(),
        "`top_talkers`": lambda lake: open_lake(lake).query("top_talkers").pl(),
        "`hunt`, a busy address": lambda lake: open_lake(lake).hunt(BUSY, top=None).pl().height,
        "`hunt`, an address not there": lambda lake: open_lake(lake).hunt(RARE).pl().height,
    }


def _in_turn(ask: Callable[[str], object], *lakes: str) -> list[float]:
    """The median seconds of each lake."""
    seconds: dict[str, list[float]] = {lake: [] for lake in lakes}
    for _ in range(RUNS):
        answers: list[Any] = []
        for lake, each in seconds.items():
            started = time.perf_counter()
            answers.append(ask(lake))
            each.append(time.perf_counter() - started)
        one, other = answers
        if not (one.equals(other) if isinstance(one, pl.DataFrame) else one == other):
            raise SystemExit("the lakes do not answer the same")
    return [statistics.median(each) for each in seconds.values()]


def _times(was: float, now: float) -> str:
    return f"{was / now:.1f}"
