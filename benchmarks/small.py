"""Twenty thousand small objects on S3: fetching them, converting them, and finding nothing new."""

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore

from benchmarks import data, server
from benchmarks.measuring import (
    Run,
    flowlake,
    goal,
    in_turn,
    measure,
    middle,
    ratios,
    table,
    walls,
)
from flowlake.fields import DEFAULT_FORMAT
from flowlake.planning import list_objects
from flowlake.reading import RawObject
from flowlake.storage import Access, s3_filesystem
from flowlake.tasks import fetched
from flowlake.window import Window

BUCKET = "bench-small"
BODIES = 200
RECORDS = 1_000
FLAT = 1.25
"""How much more memory is still flat."""

LIST = """
import sys
from flowlake.planning import list_objects
from flowlake.storage import Access
from flowlake.window import Window
print(list_objects(sys.argv[1:], Window(), Access()).height)
"""
"""The listing alone, as FlowLake does it, in a process of its own."""


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    objects, parts = (1_000, 4) if quick else (20_000, 20)
    size = _uploaded(objects, parts)
    lines = [
        f"## {objects:,} small objects on S3",
        "",
        f"{objects:,} objects of {RECORDS:,} default-format records, {size / objects * 1000:.0f} "
        f"KB of gzip each, {size:.0f} MB in all.",
        "",
        "### Fetching alone",
        "",
        "What a task fetches with (`flowlake.tasks.fetched`) beside `s3fs.S3FileSystem.cat`, in "
        "one process, part by part in turn.",
    ]
    lines += _fetching(parts, quick)
    lines += _converting(objects, parts, quick)
    return "\n".join(lines)


def _uploaded(objects: int, parts: int) -> float:
    """Put the objects, in parts, from a few bodies; returns their megabytes."""
    made = data.raw(DEFAULT_FORMAT, BODIES, RECORDS) / "text"
    files = [(str(f.relative_to(made)), f.read_bytes()) for f in sorted(made.glob("**/*.gz"))]
    store = server.bucket(BUCKET)

    def put(number: int) -> int:
        key, body = files[number % BODIES]
        name = f"{key.rpartition('_')[0]}_{number:08x}.log.gz"
        obstore.put(store, f"raw/part={number * parts // objects:02}/{name}", body)
        return len(body)

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(put, range(objects))) / 1e6


def _part(number: int) -> str:
    return f"s3://{BUCKET}/raw/part={number:02}"


def _fetching(parts: int, quick: bool) -> list[str]:
    rows, lines = [], list[str]()
    for place in server.PLACES:
        near = place == server.PLACES[0]
        ours, theirs = list[tuple[float, float]](), list[tuple[float, float]]()
        with server.reached_from(place):
            listed = [_listed(number) for number in range(parts if near else 1 if quick else 3)]
            filesystem = s3_filesystem(Access())
            count = sum(map(len, listed))
            for part in listed:
                ours.append(_clocked(_fetch, part))
                theirs.append(_clocked(filesystem.cat, [raw.url for raw in part]))
        rate = [count / len(listed) / wall for wall, _ in ours]
        their_rate = [count / len(listed) / wall for wall, _ in theirs]
        each = ratios([wall for wall, _ in theirs], [wall for wall, _ in ours])
        cpu = [sum(cpu for _, cpu in one) / count * 1000 for one in (ours, theirs)]
        rows.append(
            [
                *(place, f"{count:,}", middle(rate, 0), middle(their_rate, 0), middle(each, 1)),
                f"{cpu[0]:.2f} and {cpu[1]:.2f}",
            ]
        )
        if near:
            what = f"Fetching {count:,} small objects on S3: 5 times `s3fs.cat`"
            lines.append(goal(what, f"{middle(each, 1)} times", statistics.median(each) >= 5))
    columns = ["server", "objects", "fetched, objects/s", "s3fs.cat, objects/s", "times as fast"]
    return [*table([*columns, "processor ms for each object"], rows), *lines, ""]


def _listed(number: int) -> list[RawObject]:
    found = list_objects([_part(number)], Window(), Access())
    return [RawObject(number, **row) for number, row in enumerate(found.iter_rows(named=True))]


def _fetch(objects: list[RawObject]) -> None:
    for raw, body in fetched(objects, Access()):
        assert not isinstance(body, Exception), body
        assert len(body) == raw.size


def _clocked(work: Callable[[Any], object], over: object) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work(over)
    return time.perf_counter() - wall, time.process_time() - cpu


def _converting(objects: int, parts: int, quick: bool) -> list[str]:
    numbers = itertools.count()

    def convert(sources: list[str], lake: str, place: str) -> Run:
        command = flowlake("convert", *sources, "--lake", lake, "--format", "json")
        done = measure(command, server.environment(place))
        report = json.loads(done.output)[0]
        expected = len(sources) * objects // parts
        if report["listed"] not in (expected, objects) or report["failures"]:
            raise SystemExit(f"not all of it was converted: {report}")
        return done

    near, away = server.PLACES
    a_part, whole = objects // parts, f"s3://{BUCKET}/raw"
    few = [
        convert([_part(0)], f"s3://{BUCKET}/lake-{next(numbers)}", near)
        for _ in range(1 if quick else 2)
    ]
    far = convert([_part(0), _part(1)], f"s3://{BUCKET}/lake-{next(numbers)}", away)
    lake = f"s3://{BUCKET}/lake-{next(numbers)}"
    many = measure(flowlake("convert", whole, "--lake", lake), server.environment(near))
    rows = [
        [
            *(f"{count:,}", place, f"{run.wall:.1f}", f"{run.cpu:.1f}"),
            *(f"{count / run.wall:,.0f}", f"{run.memory:,.0f}"),
        ]
        for count, place, run in (
            (a_part, near, sorted(few, key=lambda run: run.wall)[len(few) // 2]),
            (objects, near, many),
            (2 * a_part, away, far),
        )
    ]
    less = statistics.median(run.memory for run in few)
    found = in_turn(
        1 if quick else 3,
        warm=False,
        jobs={
            "listing": lambda: measure(
                [sys.executable, "-c", LIST, whole], server.environment(near)
            ),
            "nothing new": lambda: measure(
                flowlake("convert", whole, "--lake", lake), server.environment(near)
            ),
        },
    )
    each = ratios(walls(found["nothing new"]), walls(found["listing"]))
    columns = ["objects", "server", "seconds", "processor seconds", "objects/s", "memory, MB"]
    return [
        "### Converting them, S3 to S3",
        "",
        "Whole processes.",
        *table(columns, rows),
        goal(
            f"Memory is flat from {a_part:,} to {objects:,} objects: at most {FLAT} times",
            f"{many.memory / less:.2f} times, {many.memory:,.0f} MB",
            many.memory <= FLAT * less,
        ),
        "",
        f"Again, with nothing new: {middle(walls(found['nothing new']))} s; the listing alone: "
        f"{middle(walls(found['listing']))} s; {middle(each)} times, whole processes.",
        "",
    ]
