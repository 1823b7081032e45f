"""Ctrl-C: one line, exit code 130, and a lake that is whole, whatever was under way.

``--verbose`` says where a command is, so it is interrupted at a step and not at a time.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import flowlake
from flowlake.samples import write_sample
from flowlake.storage import open_storage
from tests.test_cli import Run, command, run

__all__ = ["run"]

ENDED = {130, -signal.SIGINT}
"""A shell says 130 of both: Python ends itself by the signal where it came within an ``exec``."""

RULES = """
[[alarm]]
name = "scans"
kind = "port_scan"

[[alarm]]
name = "sweeps"
kind = "host_sweep"
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket, a lake of it in several runs with something to merge and to remove, and rules."""
    folder = tmp_path_factory.mktemp("stage")
    bucket, lake = folder / "bucket", folder / "lake"
    write_sample(open_storage(str(bucket)), prefix=f"{bucket}/", records_per_object=400)
    for until in ("2026-01-14T23:20", "2026-01-15T00:00", "2026-01-15T00:40"):
        flowlake.convert(bucket, lake=lake, until=until, workers=1)
    (folder / "alarms.toml").write_text(RULES)
    return folder


def interrupted(folder: Path, step: str, *words: str | Path) -> bool:
    """Interrupt a command once it says a step; False if it was done before it could be."""
    process = command(*words, "--verbose", cwd=folder, start_new_session=True)
    assert process.stderr
    watch = threading.Timer(120, process.kill)
    watch.start()
    lines = iter(process.stderr.readline, b"")
    for line in lines:
        if step in line.decode():
            break
    os.killpg(process.pid, signal.SIGINT)
    after = [line.decode() for line in lines]
    process.communicate()
    watch.cancel()
    told = "".join(after)
    assert "Traceback" not in told, told
    said = bool(after) and after[-1].startswith("flowlake: interrupted. What was committed stays")
    if process.returncode in (0, 3) or (process.returncode == -signal.SIGINT and not said):
        return False  # it was done; in the second case Python was about to end
    assert process.returncode in ENDED, told
    assert said, told
    assert all(" flowlake." in line for line in after[:-1]), told
    return True


@pytest.fixture
def lake(stage: Path, tmp_path: Path) -> Path:
    """A lake of its own, its files hard links."""
    for path in (stage / "lake").rglob("*"):
        if path.is_file():
            target = tmp_path / "lake" / path.relative_to(stage / "lake")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (tmp_path / "alarms.toml").write_text(RULES)
    return tmp_path / "lake"


def whole(lake: Path | str, stage: Path) -> flowlake.Verification:
    found = flowlake.verify(stage / "bucket", lake=lake, until="2026-01-15T00:40")
    assert found.gaps.is_empty(), found.gaps
    return found


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("tasks for ", ("convert", "{bucket}")),
        ("merged ", ("compact",)),
        ("no snapshot needs", ("vacuum", "--retention", "0m", "--no-writers")),
        ("sweeps: ", ("alarms", "run")),
        ("opened ", ("inventory", "interfaces.csv")),
    ],
)
def test_what_writes_leaves_a_sane_lake(
    run: Run, lake: Path, stage: Path, step: str, words: tuple[str, ...]
) -> None:
    rows = [f"eni-{number:017x},web-{number}" for number in range(5)]
    lake.with_name("interfaces.csv").write_text("\n".join(["interface_id,name", *rows, ""]))
    before = flowlake.open_lake(lake).status().rows
    given = [word.format(bucket=stage / "bucket") for word in words]
    interrupted(lake.parent, step, *given)
    assert flowlake.open_lake(lake).status().rows >= before
    whole(lake, stage)
    assert run(*given).code in (0, 3)
    whole(lake, stage)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("opened ", ("query", "top_talkers")),
        ("are read by", ("sql", "SELECT count(*) FROM flows a, flows b, flows c")),
        ("are wanted", ("hunt", "10.0.0.0/8", "--top", "0")),
        ("listing ", ("verify", "--deep", "--sample", "all")),
        ("opened ", ("connect", "there.duckdb")),
    ],
)
def test_what_reads_ends_in_a_line(stage: Path, step: str, words: tuple[str, ...]) -> None:
    there = sorted(stage.iterdir())
    assert interrupted(stage, step, *words) or words[0] != "sql"
    left = set(stage.iterdir()) - {stage / "there.duckdb"}
    assert sorted(left) == there, "nothing was left in the middle"


def test_a_sample_is_made_again(tmp_path: Path) -> None:
    """It says nothing while it writes: its first object tells where it is."""
    words = ("sample", "bucket", "--records", "900", "--hours", "12")
    process = command(*words, cwd=tmp_path, start_new_session=True)
    while not any((tmp_path / "bucket").rglob("*.log.gz")):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in ENDED
    assert err.decode().startswith("flowlake: interrupted.")
    assert list((tmp_path / "bucket").rglob("*.tmp")) == []


def test_a_lake_in_s3(run: Run, s3: str, stage: Path, tmp_path: Path) -> None:
    lake = f"{s3}/lake"
    words = ("convert", stage / "bucket", "--lake", lake, "--until", "2026-01-15T00:40")
    interrupted(tmp_path, "tasks for ", *words)
    assert run(*words).code == 0
    assert whole(lake, stage).objects
    long = "SELECT count(*) FROM flows a, flows b, flows c"
    assert interrupted(tmp_path, "are read by", "sql", long, "--lake", lake)


def test_before_the_command_line_is_loaded(tmp_path: Path) -> None:
    """An import of Typer that never ends stands for a slow disk."""
    (tmp_path / "typer.py").write_text(
        "import sys, time\nprint('loading', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "flowlake", "status"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"loading\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == b"flowlake: interrupted.\n"
    assert process.returncode == 130


LATE = """
import atexit, os, signal, sys
from flowlake.__main__ import main
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.argv = ["flowlake", "queries"]
main()
"""


def test_when_all_is_done_it_is_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True)
    assert "top_talkers" in done.stdout
    assert (done.stderr, done.returncode) == ("", -signal.SIGINT)
