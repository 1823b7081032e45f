"""Memory: objects of 1 GB of text beside ordinary ones."""

import functools
import gzip
import itertools
import shutil
from pathlib import Path
from typing import Any

from isal import igzip

from benchmarks import data
from benchmarks.measuring import Run, flowlake, goal, has_memory_option, measure, table
from benchmarks.small import FLAT
from flowlake.fields import DEFAULT_FORMAT

LIMIT = 1_000
"""Megabytes that ``--memory 1GB`` may come to."""


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    ordinary = data.raw(DEFAULT_FORMAT, 16, 25_000 if quick else 250_000) / "text"
    huge = 20_000_000 if quick else 1_000_000_000
    objects = {
        "16 objects": ordinary,
        "1 object, gzip": _one(ordinary, huge, zipped=True),
        "1 object, plain `.log`": _one(ordinary, huge, zipped=False),
    }
    ways = {"": (), "--memory 1GB": ("--memory", "1GB")} if has_memory_option() else {"": ()}
    found = {
        (n, way): _run(place, options)
        for n, place in objects.items()
        for way, options in ways.items()
    }
    rows = [
        [name, f"{data.size(objects[name]):,.0f}", way, f"{run.wall:.1f}", f"{run.memory:,.0f}"]
        for (name, way), run in found.items()
    ]
    first, *others = objects
    usual = found[first, ""].memory
    lines = [
        f"## Memory, with an object of {huge / 1e6:,.0f} MB of text",
        "",
        "Whole processes on 2 workers, one run each; memory is the peak of the process tree.",
        *table(["", "MB", "options", "seconds", "memory, MB"], rows),
    ]
    for name in others:
        run = found[name, ""]
        lines.append(
            goal(
                f"Memory is flat with {name} of {huge / 1e9:g} GB of text: at most {FLAT} times "
                f"that of {first}",
                f"{run.memory / usual:.2f} times, {run.memory:,.0f} MB",
                run.memory <= FLAT * usual,
            )
        )
    if len(ways) > 1:
        most = max(run.memory for (_, way), run in found.items() if way)
        lines.append(
            goal(f"`--memory 1GB` keeps below {LIMIT:,} MB", f"{most:,.0f} MB", most <= LIMIT)
        )
    return "\n".join([*lines, ""])


def _run(place: Path, options: tuple[str, ...]) -> Run:
    lake = data.folder() / "memory-lake"
    run = measure(flowlake("convert", str(place), "--lake", str(lake), *options))
    shutil.rmtree(lake)
    return run


@functools.cache
def _one(ordinary: Path, size: int, *, zipped: bool) -> Path:
    """A folder with one object of so many bytes of text: a header and records, over and over."""
    made = data.folder() / f"huge-{'gzip' if zipped else 'plain'}"
    made.mkdir()
    files = sorted(ordinary.glob("**/*.gz"))
    texts = [gzip.decompress(file.read_bytes()).partition(b"\n") for file in files]
    header, written = texts[0][0] + b"\n", 0
    with (made / files[0].name.removesuffix("" if zipped else ".gz")).open("wb") as plain:
        sink: Any = igzip.IGzipFile(fileobj=plain, mode="wb", compresslevel=1) if zipped else plain  # type: ignore[no-untyped-call]
        sink.write(header)
        for _, _, records in itertools.cycle(texts):
            written += sink.write(records)
            if written >= size:
                break
        sink.close()
    return made
