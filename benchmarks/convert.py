"""Converting local objects, beside what others would do with them.

Whole processes, in turn. FlowLake pays for its start, its workers, the ledger, the checks for
wrong lines, the sort and the Bloom filters; the others do none of these. All must write the same
number of records and the same sum of bytes.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from benchmarks import data, peers
from benchmarks.measuring import (
    Run,
    cpus,
    flowlake,
    goal,
    in_turn,
    measure,
    middle,
    peak,
    ratios,
    table,
    walls,
)
from flowlake.fields import DEFAULT_FORMAT
from flowlake.samples import ALPHABETICAL_FORMAT

OURS = "flowlake convert"


def section(quick: bool = False) -> str:
    """Measure each kind of data, and write the page."""
    runs = 1 if quick else 3
    part = 10 if quick else 1
    lines = [
        "## Converting, local disk",
        "",
        "Whole processes on the same objects in turn: medians (least to most); memory is the peak "
        "of the process tree. The others write typed Parquet with zstd, told the fields and types. "
        f"Only FlowLake keeps a ledger, finds wrong lines, sorts and writes Bloom filters. "
        f"{runs} runs.",
        "",
    ]
    lines += _compared("default format, big objects", DEFAULT_FORMAT, 16, 250_000 // part, runs, 2)
    lines += _compared("29 fields of version 5", ALPHABETICAL_FORMAT, 8, 250_000 // part, runs)
    lines += _compared("default format, small objects", DEFAULT_FORMAT, 1_000 // part, 1_000, runs)
    lines += _slow(quick)
    return "\n".join(lines)


def _compared(
    what: str,
    header: Sequence[str],
    objects: int,
    records: int,
    runs: int,
    better: float | None = None,
) -> list[str]:
    made = data.raw(tuple(header), objects, records)
    source = f"{made}/text"
    target, sizes = made / "target", dict[str, float]()
    expected: tuple[int, int | None] = (objects * records, None)

    def job(name: str) -> Callable[[], Run]:
        own = flowlake("convert", source, "--lake", str(target))
        command = own if name == OURS else peers.command(name, source, str(target), header)

        def run() -> Run:
            nonlocal expected
            done = measure(command)
            written = target / "flows" if name == OURS else target
            expected = same(name, f"{written}/**/*.parquet", expected)
            sizes[name] = data.size(written, "*.parquet")
            shutil.rmtree(target)
            return done

        return run

    jobs = {name: job(name) for name in (OURS, *peers.LOCAL)}
    found = in_turn(runs, jobs, warm=better is not None)  # the first kind of data warms all up
    return [
        f"### {objects * records:,} records, {what}: {objects:,} objects, "
        f"{data.size(Path(source)):.0f} MB of gzip",
        *compared_table(found, objects * records, objects, sizes),
        *goals(found, f"Converting, {what}", better),
        "",
    ]


def same(
    name: str, files: str, expected: tuple[int, int | None], remote: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """Records and sum of bytes of what was written; the benchmarks end if they are not expected."""
    rows = pl.scan_parquet(
        files,
        hive_partitioning=False,
        extra_columns="ignore",
        storage_options=dict(remote or {}),
    )
    records, size = rows.select(pl.len(), pl.col("bytes").sum()).collect().row(0)
    if records != expected[0] or expected[1] not in (None, size):
        raise SystemExit(f"{name} wrote {records:,} records, {size:,} bytes; expected {expected}")
    return int(records), int(size)


def compared_table(
    found: Mapping[str, Sequence[Run]],
    records: int,
    objects: int,
    sizes: Mapping[str, float] | None = None,
) -> list[str]:
    """The table of ours beside the others, and the ratios to each of them."""
    columns = ["", "seconds", "processor seconds", "records/s", "objects/s", "memory, MB"]
    rows = []
    for name, runs in found.items():
        wall = sorted(walls(runs))[len(runs) // 2]
        row = [name, middle(walls(runs)), middle(cpus(runs)), f"{records / wall:,.0f}"]
        row += [f"{objects / wall:,.1f}", f"{peak(runs):,.0f}"]
        if sizes is not None:
            row.append(f"{sizes[name]:.1f}")
        ratio = "" if name == OURS else middle(ratios(walls(runs), walls(found[OURS])))
        rows.append([*row, ratio])
    sized = ["Parquet, MB"] if sizes is not None else []
    return table([*columns, *sized, "FlowLake is … times as fast"], rows)


def goals(found: Mapping[str, Sequence[Run]], what: str, better: float | None = None) -> list[str]:
    """The verdict: beside the fastest of the others, pair by pair."""
    others = {name: sum(walls(runs)) for name, runs in found.items() if name != OURS}
    best = min(others, key=others.__getitem__)
    each = ratios(walls(found[best]), walls(found[OURS]))
    figure = f"{middle(each)} times {best}"
    ratio = each[len(each) // 2]
    beside_copy = ratios(walls(found["DuckDB COPY"]), walls(found[OURS]))
    return [
        *(
            goal(f"{what}: {least} times the fastest single engine", figure, ratio >= least)
            for least in (1.5, better)
            if least is not None
        ),
        goal(
            f"{what}: 1.5 times DuckDB's COPY",
            f"{middle(beside_copy)} times",
            beside_copy[len(beside_copy) // 2] >= 1.5,
        ),
    ]


def _slow(quick: bool) -> list[str]:
    """Those that would take minutes for all of it, on a part of it; a rate each."""
    rows = []
    for name, objects, records in (
        (OURS, 4, 250_000),
        ("PySpark", 4, 250_000),
        ("flowlogs-reader", 1, 200_000),
    ):
        made = data.raw(DEFAULT_FORMAT, objects, records // 10 if quick else records)
        count = objects * (records // 10 if quick else records)
        source, target = f"{made}/text", made / "target"
        own = flowlake("convert", source, "--lake", str(target))
        run = measure(
            own if name == OURS else peers.command(name, source, str(target), DEFAULT_FORMAT)
        )
        if name == "flowlogs-reader":
            assert (target / "count").read_text() == str(count), "flowlogs-reader lost records"
        else:
            written = target / "flows" if name == OURS else target
            same(name, f"{written}/**/*.parquet", (count, None))
        shutil.rmtree(target)
        rows.append(
            [
                *(name, f"{count:,}", f"{run.wall:.2f}", f"{run.cpu:.2f}"),
                *(f"{count / run.wall:,.0f}", f"{run.memory:,.0f}"),
            ]
        )
    columns = ["", "records", "seconds", "processor seconds", "records/s", "memory, MB"]
    return [
        "### Slower ones, on a part of the default format, one run each",
        "",
        "PySpark's seconds are mostly its start. flowlogs-reader makes Python objects and writes "
        "nothing.",
        *table(columns, rows),
    ]
