"""Whole processes measured, and the words for what was measured."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Command = Sequence[str]

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One run of a whole process: wall and processor seconds, peak memory of its tree in MB."""

    wall: float
    cpu: float
    memory: float
    output: str = ""


def measure(command: Command, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end. What it prints is kept; if it fails, so do the benchmarks."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command), stdout=output, stderr=errors, env={**os.environ, **(environment or {})}
        )
        memory = cpu = 0.0
        while True:
            pid, code, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            now = _tree(process.pid)
            memory, cpu = max(memory, now[0]), max(cpu, now[1])
            time.sleep(0.02)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(code)
        said, complained = (_text(file) for file in (output, errors))
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}:\n{complained}")
    # A child that nobody waits for, such as Spark's, is not in the usage; and its ru_maxrss would
    # begin with the size of this process, from which it was forked.
    cpu = max(cpu, usage.ru_utime + usage.ru_stime)
    return Run(wall, cpu, memory, said)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _tree(pid: int) -> tuple[float, float]:
    """Resident megabytes and processor seconds of a process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    below = [_tree(int(child)) for child in children]
    return (
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(memory for memory, _ in below),
        sum(map(int, times)) / _TICKS + sum(cpu for _, cpu in below),
    )


def flowlake(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flowlake", *arguments]


def has_memory_option() -> bool:
    """Whether this ``flowlake convert`` has ``--memory``."""
    shown = subprocess.run(
        flowlake("convert", "--help"),
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    return "--memory" in shown.stdout


def in_turn(
    runs: int, jobs: Mapping[str, Callable[[], Run]], warm: bool = True
) -> dict[str, list[Run]]:
    """Run the jobs one after the other, so many times over; the first time only warms up."""
    found: dict[str, list[Run]] = {name: [] for name in jobs}
    for number in range(runs + warm):
        for name, job in jobs.items():
            run = job()
            say(f"{name}: {run.wall:.2f} s, {run.cpu:.2f} s of processor, {run.memory:,.0f} MB")
            if number or not warm:
                found[name].append(run)
    return found


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def walls(runs: Sequence[Run]) -> list[float]:
    return [run.wall for run in runs]


def cpus(runs: Sequence[Run]) -> list[float]:
    return [run.cpu for run in runs]


def peak(runs: Sequence[Run]) -> float:
    return max(run.memory for run in runs)


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """How many times as fast as theirs ours is, pair by pair."""
    return sorted(a / b for a, b in zip(theirs, ours, strict=True))


def middle(values: Sequence[float], digits: int = 2) -> str:
    """A median, with the least and the most."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def goal(what: str, figure: str, met: bool) -> str:
    """The line that the page's table of goals is made of."""
    return f"Goal: {what}: {figure}: **{'met' if met else 'missed'}**."


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table's lines, with an empty one before and after it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["", *(f"| {' | '.join(line)} |" for line in lines), ""]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
