"""A thousand runs on one lake, with compaction and without: what a run takes as they add up.

Measured only when it is named.
"""

import json
import resource
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from benchmarks import data
from benchmarks.measuring import say, table
from flowlake import compact, convert
from flowlake.committing import Tables
from flowlake.layout import object_key
from flowlake.samples import START

OBJECTS = 20
"""New ones a run, each of a flow log of its own."""
ROWS = 20
COMPACT_EVERY = 12
SHOWN = (10, 50, 100, 200, 500, 1_000)


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    shown = (2, 14) if quick else SHOWN
    found = {}
    for name, every in (("never", 0), (f"every {COMPACT_EVERY} runs", COMPACT_EVERY)):
        folder = data.folder() / f"runs-{every}"
        words = map(str, (folder, every, *shown))
        command = [sys.executable, "-m", "benchmarks.runs", *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = [json.loads(line) for line in done.stdout.splitlines()]
    rows = [
        [
            f"{count:,}",
            *(
                cell
                for each in found.values()
                for cell in (
                    f"{each[n]['files']:,}",
                    f"{each[n]['seconds']:.2f}",
                    f"{each[n]['memory']:,.0f}",
                )
            ),
        ]
        for n, count in enumerate(shown)
    ]
    heads = [
        f"{what}, compacted {name}"
        for name in found
        for what in ("files of the ledger", "processor seconds a run", "MB")
    ]
    return "\n".join(
        [
            f"## {shown[-1]:,} runs on one lake",
            "",
            f"{OBJECTS} new objects of {ROWS} records each run, five minutes later each, a folder. "
            "All runs in one process; seconds are the mean of the last ten (a compaction's among "
            "them), memory is the most until then.",
            *table(["after so many runs", *heads], rows),
        ]
    )


def main(folder: Path, every: int, shown: list[int]) -> None:
    """Convert so many times, and print a line of JSON after each number that is shown."""
    lake, taken = folder / "lake", []
    for run in range(1, shown[-1] + 1):
        moment = START + timedelta(minutes=5 * run)
        body = data.small(moment, ROWS)
        for number in range(OBJECTS):
            key = object_key("123456789012", "us-east-1", f"fl-{number:017x}", moment, f"{run:08x}")
            file = folder / "raw" / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
        began = time.process_time()
        convert(folder / "raw", lake=lake)
        if every and run % every == 0:
            compact(lake)
        taken.append(time.process_time() - began)
        if run in shown:
            facts = {
                "files": len(Tables(str(lake)).table("objects").file_uris()),
                "seconds": sum(taken[-10:]) / len(taken[-10:]),
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
            }
            say(f"{run} runs, compacted every {every}: {facts}")
            print(json.dumps(facts), flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), list(map(int, sys.argv[3:])))
