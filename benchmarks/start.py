"""How long it takes to start."""

import statistics
import subprocess
import sys
from functools import partial

from benchmarks.measuring import flowlake, goal, middle, table, timed

LIMITS = {"flowlake --help": 250, "import flowlake": 400}
"""Milliseconds."""


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    runs = 3 if quick else 15
    commands = {
        "flowlake --help": flowlake("--help"),
        "import flowlake": [sys.executable, "-c", "import flowlake"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(1000 * timed(partial(_run, command)))
    rows = [[f"`{name}`", middle(times, 0)] for name, times in found.items()]
    lines = [
        "## Start",
        "",
        f"Whole processes, medians of {runs} (least to most).",
        *table(["", "milliseconds"], rows),
    ]
    for name, limit in LIMITS.items():
        figure = statistics.median(found[name])
        lines.append(goal(f"`{name}` under {limit} ms", f"{figure:.0f} ms", figure < limit))
    return "\n".join([*lines, ""])


def _run(command: list[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
