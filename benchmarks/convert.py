"""Converting default-format records, beside a plain DuckDB COPY of the same files.

`python -m benchmarks convert` makes the files (seeded), and runs the two in turn, several times,
each as a whole process; medians, and memory is the peak of the process tree. Whole process means
that FlowLake pays for its start, its workers, the ledger, the checks for wrong lines, the sort and
the Bloom filters; COPY does none of these.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from flowlake.fields import DEFAULT_FORMAT
from flowlake.samples import sample_objects
from flowlake.storage import open_storage

RUNS = 5
RECORDS_PER_OBJECT = 250_000
SIZES = (1_000_000, 10_000_000)

COPY = """
import duckdb, sys
source, target = sys.argv[1:]
duckdb.sql(f'''
    COPY (SELECT *, to_timestamp("start")::DATE AS date
          FROM read_csv('{source}/**/*.log.gz', delim = ' ', header = true, nullstr = '-'))
    TO '{target}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date))''')
"""


@dataclass(frozen=True)
class Run:
    """One run of a whole process: wall and processor seconds, peak memory of its tree in MB."""

    wall: float
    cpu: float
    memory: float


def section() -> str:
    """Measure both sizes, and write the page."""
    return "".join(map(_compared, SIZES))


def _compared(records: int) -> str:
    objects = max(1, records // RECORDS_PER_OBJECT)
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/raw"
        size = 0
        sample = sample_objects(
            hours=-(-objects // 12),
            every=1,
            records_per_object=RECORDS_PER_OBJECT,
            accounts=["123456789010"],
            regions=["us-east-1"],
            formats=[DEFAULT_FORMAT],
        )
        for key, body in islice(sample, 1, objects + 1):  # the first holds two records of 2015
            open_storage(source).put(f"{source}/{key}", body)
            size += len(body)
        runs: dict[str, list[Run]] = {"flowlake convert": [], "duckdb COPY": []}
        for number in range(RUNS + 1):
            lake, copied = f"{folder}/lake", f"{folder}/copy"
            flowlake = [sys.executable, "-m", "flowlake", "convert", source, "--lake", lake]
            pair = (
                _measure(flowlake),
                _measure([sys.executable, "-c", COPY, source, copied]),
            )
            if number:  # the first pair warms the disk's cache
                for each, run in zip(runs.values(), pair, strict=True):
                    each.append(run)
            written = [_size(Path(lake, "flows")), _size(Path(copied))]
            shutil.rmtree(lake)
            shutil.rmtree(copied)
    return _page(objects * RECORDS_PER_OBJECT, objects, size, runs, written)


def _measure(command: list[str]) -> Run:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0.0
    while True:
        pid, code, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, _tree_memory(process.pid))
        time.sleep(0.02)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    return Run(wall, usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss / 1024))


def _tree_memory(pid: int) -> float:
    """Resident megabytes of a process and its children."""
    total = 0.0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return total + sum(_tree_memory(int(child)) for child in children)


def _size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e6


def _page(
    records: int, objects: int, size: int, runs: dict[str, list[Run]], sizes: list[float]
) -> str:
    lines = [
        "",
        f"## Converting {records:,} default-format records, {objects} objects, "
        f"{size / 1e6:.0f} MB of gzip",
        "",
        f"Whole processes, medians of {RUNS} runs in turn (least to most); memory is the peak of "
        "the process tree.",
        "",
        "| | seconds | processor seconds | records/s | memory, MB | Parquet, MB |",
        "|---|---|---|---|---|---|",
    ]
    for (name, each), parquet in zip(runs.items(), sizes, strict=True):
        walls = sorted(run.wall for run in each)
        wall = statistics.median(walls)
        cpu = statistics.median(run.cpu for run in each)
        memory = max(run.memory for run in each)
        lines.append(
            f"| {name} | {wall:.2f} ({walls[0]:.2f} to {walls[-1]:.2f}) | {cpu:.2f} "
            f"| {records / wall:,.0f} | {memory:,.0f} | {parquet:.1f} |"
        )
    ours, theirs = runs.values()
    ratios = sorted(b.wall / a.wall for a, b in zip(ours, theirs, strict=True))
    lines += [
        "",
        f"`flowlake convert` is {statistics.median(ratios):.2f} times as fast as COPY "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}, pair by pair).",
    ]
    return "\n".join(lines) + "\n"
