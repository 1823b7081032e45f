"""A report of ten million records and of thirty days: how long, how much memory, how large."""

import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks import data
from benchmarks.measuring import cpus, flowlake, goal, in_turn, measure, middle, peak, table, walls
from flowlake.converting import convert
from flowlake.fields import DEFAULT_FORMAT
from flowlake.samples import EVERY_FIELD_FORMAT, object_bytes

DAYS, OBJECTS = 30, 12
SECONDS, MEGABYTES = 60, 5
"""The goals: of processor time, which two idle cores have in half a minute; and of the page."""

FORMATS = {
    "default format": DEFAULT_FORMAT,
    "all fields of version 11": EVERY_FIELD_FORMAT,
}


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    records, runs = (50, 1) if quick else (27_778, 2)
    rows, slowest, largest = [], 0.0, 0.0
    for name, header in FORMATS.items():
        lake, page = (data.folder() / f"report-{len(header)}{end}" for end in ("", ".html"))
        convert(_raw(header, records), lake=lake)
        command = flowlake("report", str(page), "--lake", str(lake))
        found = in_turn(runs, {name: partial(measure, command)}, warm=False)[name]
        size = page.stat().st_size / 1e6
        largest = max(largest, size)
        cpu = statistics.median(cpus(found))
        slowest = max(slowest, cpu)
        rows.append(
            [name, middle(walls(found), 1), f"{cpu:.1f}", f"{peak(found):,.0f}", f"{size:.2f}"]
        )
    millions = DAYS * OBJECTS * records / 1e6
    return "\n".join(
        [
            f"## A report of {millions:,.1f} million records of {DAYS} days",
            "",
            f"`flowlake report` as a whole process, all questions, medians of {runs} (least to "
            "most). About 900 KB of each page are the scripts of the charts. The machine's load "
            f"over the last 15 minutes was {os.getloadavg()[2]:.0f} on {data.cores()} cores: if it "
            "was shared, read the processor's seconds.",
            *table(["", "seconds", "of processor", "peak MB", "page, MB"], rows),
            goal(
                f"a report of {DAYS} days is under {MEGABYTES} MB",
                f"{largest:.2f} MB",
                largest < MEGABYTES,
            ),
            goal(
                f"a report of 10 million records takes at most {SECONDS} s of processor",
                f"{slowest:.1f} s",
                slowest <= SECONDS,
            ),
            "",
        ]
    )


def _raw(header: data.Names, records: int) -> Path:
    """So many objects a day for so many days."""
    made = data.folder() / f"report-raw-{len(header)}"
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for job in [pool.submit(_make, made, header, day, records) for day in range(DAYS)]:
            job.result()
    return made


def _make(made: Path, header: data.Names, day: int, records: int) -> None:
    for key, sampled in data.tables(header, 24 * day, records):
        data._put(made / key, object_bytes(sampled))
