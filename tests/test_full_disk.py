"""A disk that is full: one line that says so, a lake as it was, and all well once there is room."""

import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import flowlake
from flowlake import findings
from flowlake.committing import CONFIGURATION
from flowlake.compacting import compact
from tests.test_alarms import figures, rules, told
from tests.test_cli import Run, run
from tests.test_crashes import SCENES, convert, converted
from tests.test_exactly_once import assert_right, assert_whole_objects, clean

__all__ = ["run"]

KIB = 1 << 10


class Disk:
    """A file system of its own, with as much room as a test leaves it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def leave(self, kib: int) -> None:
        """Take all the room but so much."""
        ballast = self.path / "ballast"
        ballast.unlink(missing_ok=True)
        found = os.statvfs(self.path)
        ballast.touch()
        if take := found.f_bavail * found.f_frsize - kib * KIB:
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, take)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    words = ("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path)
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk of its own: {error}")
    yield Disk(path)
    subprocess.run(["umount", "-l", path], check=True)


FULL = r"(No space left on device|is the disk full\?)"


@pytest.mark.parametrize("by", [pytest.param(4, marks=pytest.mark.long), 8])
@pytest.mark.parametrize("scene", ["convert", "compact", "vacuum", "alarms"])
def test_what_writes(
    disk: Disk, scene: str, by: int, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again on one lake, with a little more room each time."""
    monkeypatch.setattr(findings, "CLAIM", timedelta(0))
    monkeypatch.setitem(CONFIGURATION, "delta.checkpointInterval", "2")
    place, lake = str(disk.path), f"{disk.path}/lake"
    work, prepare = SCENES[scene]
    prepare(place, disk.path)
    config = rules(disk.path)
    words = {
        "convert": ("convert", f"{place}/raw", "--workers", "1"),
        "vacuum": ("vacuum", "--retention", "0h", "--no-writers"),
        "alarms": ("alarms", "run", "-c", config),
    }.get(work, (work,))
    expected = clean(place, tmp_path)
    failed = 0
    for room in range(0, 1000, by):
        disk.leave(room)
        done = run(*words, "--lake", lake)
        assert_whole_objects(place, expected)
        if "to be sent again" not in done.err and done.code != 1:
            break
        failed += 1
        lines = [each for each in done.err.splitlines() if "No space" in each or "full?" in each]
        assert lines, done.err
        assert "Traceback" not in done.err
        assert len(done.err.splitlines()) <= 3, done.err
    assert bool(failed) == (work != "vacuum"), "that alone makes room before it writes"
    assert done.code in ((0, 3) if work == "alarms" else (0,)), done.err
    disk.leave(1000)
    assert_right(place, expected)
    if work == "alarms":
        assert {each["id"] for each in told(disk.path)} == set(
            flowlake.open_lake(lake).findings()["id"]
        )
        assert len(figures(lake)) == 2
    compact(lake)
    assert_right(place, expected)


@pytest.mark.parametrize(
    "words",
    [
        ("query", "top_talkers", "-o", "{disk}/answer.csv", "--format", "csv"),
        ("query", "top_talkers", "-o", "{disk}/answer.parquet", "--format", "parquet"),
        ("sql", "FROM flows", "-o", "{disk}/answer.json", "--format", "json"),
        ("hunt", "10.0.0.0/8", "-o", "{disk}/answer.csv", "--format", "csv"),
        pytest.param(("report", "{disk}/report.html"), marks=pytest.mark.long),
        ("connect", "{disk}/lake.duckdb"),
        ("sample", "{disk}/bucket"),
    ],
    ids=lambda words: f"{words[0]} {words[-1].split('.')[-1]}",
)
def test_what_answers(disk: Disk, words: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    converted(str(tmp_path), tmp_path)
    convert(str(tmp_path))
    disk.leave(0)
    given = [each.format(disk=disk.path) for each in words]
    done = run(*given) if words[0] == "sample" else run(*given, "--lake", tmp_path / "lake")
    assert done.code == 1, done.err
    assert done.out == ""
    assert "No space left on device" in done.err, done.err
    assert len(done.err.splitlines()) == 1, done.err
