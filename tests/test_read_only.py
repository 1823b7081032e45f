"""A lake that can only be read: every question is answered, and what writes says why it cannot."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flowlake
from flowlake.storage import open_storage
from tests.conftest import READER, use_key
from tests.test_alarms import rules
from tests.test_cli import Run, run
from tests.test_crashes import in_small_files, scanned_on
from tests.test_exactly_once import put, raw_object

__all__ = ["run"]


@pytest.fixture(params=["folder", "s3"])
def lake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A lake with findings, with raw objects that are new to it, and with files to merge."""
    stage = tmp_path / "stage"
    in_small_files(str(stage), tmp_path)
    scanned_on(str(stage), tmp_path)
    rules(tmp_path)
    if request.param == "s3":
        request.getfixturevalue("s3")
        lake = f"s3://lake/{uuid.uuid4().hex}/lake"
        storage = open_storage(lake)
        for path in (stage / "lake").rglob("*"):
            if path.is_file():
                storage.put(f"{lake}/{path.relative_to(stage / 'lake')}", path.read_bytes())
        use_key(monkeypatch, *READER)
        yield lake
        return
    try:
        subprocess.run(
            ["mount", "--bind", "-o", "ro", stage, stage], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing can be mounted: {error}")
    yield str(stage / "lake")
    subprocess.run(["umount", "-l", stage], check=True)


READS = (
    ("query", "top_talkers"),
    ("sql", "SELECT count(*) FROM flows"),
    ("hunt", "203.0.113.1"),
    ("status",),
    ("report", "report.html"),
    ("verify", "{stage}/raw"),
    ("verify", "{stage}/raw", "--deep"),
    ("connect", "there.duckdb"),
    ("alarms", "findings"),
    ("alarms", "show", "{finding}"),
    ("alarms", "backtest", "-c", "alarms.toml"),
    ("compact", "--dry-run"),
    ("vacuum", "--dry-run"),
    ("convert", "new", "--dry-run"),
)
WRITES = (
    ("convert", "new"),
    ("compact",),
    ("vacuum",),
    ("alarms", "run", "-c", "alarms.toml"),
    ("alarms", "acknowledge", "{finding}"),
    ("inventory", "interfaces.csv"),
)


@pytest.fixture
def said(lake: str, run: Run, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Run a command on it: the exit code, and what it says."""
    put(str(tmp_path / "new"), *raw_object(70))
    (tmp_path / "interfaces.csv").write_text("interface_id,name\neni-1,web\n")
    finding = flowlake.open_lake(lake).findings()["id"][0]

    def said(*words: str) -> tuple[int, str, str]:
        given = (word.format(stage=tmp_path / "stage", finding=finding) for word in words)
        done = run(*given, "--lake", lake)
        return done.code, done.out, done.err

    return said


@pytest.mark.long
@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_what_reads(said: Callable[..., tuple[int, str, str]], words: tuple[str, ...]) -> None:
    code, out, err = said(*words)
    assert code == 0, err
    assert out or err


def test_what_writes(lake: str, said: Callable[..., tuple[int, str, str]]) -> None:
    before = flowlake.open_lake(lake).status()
    for words in WRITES:
        code, out, err = said(*words)
        assert (code, out) == (1, ""), (words, out)
        assert err.startswith("flowlake: "), (words, err)
        assert len(err.splitlines()) == 1, (words, err)
        assert "Read-only file system" in err or "access is denied" in err, (words, err)
        assert ("s3:" in err) == lake.startswith("s3://"), (words, err)
    assert flowlake.open_lake(lake).status() == before
