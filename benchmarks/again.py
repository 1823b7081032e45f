"""Nothing new: a conversion whose objects are all in the ledger, beside the listing alone."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa

from benchmarks import data
from benchmarks.measuring import (
    cpus,
    flowlake,
    goal,
    in_turn,
    measure,
    middle,
    peak,
    ratios,
    table,
    timed,
    walls,
)
from benchmarks.small import LIST
from flowlake.committing import OBJECTS, Change, Tables
from flowlake.converting import COMMIT_OBJECTS, convert
from flowlake.layout import object_key
from flowlake.planning import list_objects, plan, raw_objects
from flowlake.samples import START
from flowlake.storage import Access
from flowlake.window import Window

FACTOR = 1.3
ACCOUNTS = 20


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    count, runs = (5_000, 2) if quick else (200_000, 3)
    folder = data.folder() / "again"
    _touch(folder / "raw", count)
    source, lake = str(folder / "raw"), str(folder / "lake")
    _, new = plan(source, lake=lake)
    enter(Tables(lake), new)
    found = in_turn(
        runs,
        {
            "the listing alone": lambda: measure([sys.executable, "-c", LIST, source]),
            "flowlake convert": lambda: measure(flowlake("convert", source, "--lake", lake)),
        },
        warm=False,
    )
    ours, alone = found["flowlake convert"], found["the listing alone"]
    assert f"{count:,} objects listed, all of them" in ours[0].output, ours[0].output
    within = [
        (
            timed(lambda: list_objects([source], Window(), Access())),
            timed(lambda: convert(source, lake=lake)),
        )
        for _ in range(runs)
    ]
    whole = ratios(walls(ours), walls(alone))
    inside = ratios([both for _, both in within], [listed for listed, _ in within])
    rows = [
        [name, middle(walls(each)), middle(cpus(each)), f"{peak(each):,.0f}"]
        for name, each in found.items()
    ]
    return "\n".join(
        [
            f"## Nothing new, {count:,} objects in the ledger",
            "",
            f"Names of AWS's form in a local folder, and a ledger that has all of them. Whole "
            f"processes in turn, medians of {runs} (least to most); and both in one process: "
            f"{middle(inside)} times.",
            *table(["", "seconds", "processor seconds", "memory, MB"], rows),
            goal(
                f"Nothing new, {count:,} objects: at most {FACTOR} times the listing alone",
                f"{middle(whole)} times as whole processes, {middle(inside)} within one",
                whole[len(whole) // 2] <= FACTOR,
            ),
            "",
        ]
    )


def _touch(folder: Path, count: int) -> None:
    """Objects of a byte under AWS's names, for twenty accounts, every five minutes."""
    for number in range(count):
        account, slot = f"1234567890{number % ACCOUNTS:02}", number // ACCOUNTS
        moment = START + timedelta(minutes=5 * slot)
        file = folder / object_key(account, "us-east-1", "fl-0a", moment, f"{number:08x}")
        if number < ACCOUNTS or slot % 100 == 0 or (moment.hour, moment.minute) == (0, 0):
            file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def enter(tables: Tables, new: pl.DataFrame) -> None:
    """Commit ledger rows for objects of a plan, as many at a time as a conversion would."""
    tables.create(["date"])
    for batch in new.iter_slices(COMMIT_OBJECTS):
        numbers = [raw.object_id for raw in raw_objects(batch)]
        rows = ledger(batch.with_columns(pl.Series("object_id", numbers, pl.Int64)))
        tables.commit(tables.head(), Change(objects=[rows]))


def ledger(objects: pl.DataFrame, rows: int = 0) -> pa.Table:
    """Rows of the ledger for objects that were converted and hold so many rows each."""
    counts = ("nodata", "skipdata", "rejected", "misdated")
    entries = objects.with_columns(
        pl.lit(rows, pl.Int64).alias("lines"),
        pl.lit(rows, pl.Int64).alias("rows"),
        state=pl.lit("converted"),
        shape=pl.lit("text"),
        converted_at=pl.lit(datetime.now(UTC)),
        **{name: pl.lit(0, pl.Int64) for name in counts},
    )
    whole = pl.concat([pl.DataFrame(OBJECTS.empty_table()), entries], how="diagonal_relaxed")
    return whole.select(OBJECTS.names).to_arrow().cast(OBJECTS)
