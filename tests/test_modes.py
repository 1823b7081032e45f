"""Files and folders have the modes that umask leaves; a link leads where it led."""

import os
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import flowlake
from flowlake.vacuuming import vacuum
from tests.test_alarms import knocks, rules
from tests.test_cli import Run, run
from tests.test_exactly_once import fill, raw_object, totals

__all__ = ["run"]


RARELY = [pytest.param(mask, marks=pytest.mark.long) for mask in (0o022, 0o077)]


@pytest.fixture(params=[0o027, *RARELY], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_written_is_as_private_as_umask_says(
    umask: int, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(str(tmp_path), 3)
    (tmp_path / "raw" / "scan.log").write_text("\n".join(knocks("203.0.113.9", range(1, 60), 5)))
    config = rules(tmp_path)
    there = set(tmp_path.rglob("*"))
    for words in (
        ("convert", "raw", "--workers", "1"),
        ("convert", "raw", "--lake", "other", "--workers", "2"),
        ("compact",),
        ("alarms", "run", "--config", config),
        ("connect", "lake.duckdb"),
        ("report", "report.html"),
        ("query", "top_talkers", "-o", "answer.parquet"),
        ("query", "top_talkers", "--format", "csv", "-o", "answer.csv"),
        ("sample", "bucket"),
        ("expire", "--older-than", "2026-03-02"),
        ("vacuum", "--retention", "0d", "--no-writers"),
    ):
        done = run(*map(str, words))
        assert done.code in (0, 3), (words, done.err)
    assert flowlake.open_lake("lake").status().removed > 0
    made = set(tmp_path.rglob("*")) - there
    assert len(made) > 30
    assert {"lake.duckdb", "report.html", "answer.parquet", "answer.csv"} <= {p.name for p in made}
    for path in made:
        usual = 0o777 if path.is_dir() else 0o666
        assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(usual & ~umask), path


def test_a_lake_behind_a_link_is_the_lake(tmp_path: Path) -> None:
    fill(str(tmp_path), 3)
    flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    (tmp_path / "link").symlink_to(tmp_path / "lake")
    assert flowlake.convert(tmp_path / "raw", lake=tmp_path / "link", workers=1).new == 0
    assert totals(str(tmp_path / "link")).equals(totals(str(tmp_path / "lake")))


def test_of_a_link_in_a_lake_only_the_link_is_removed(tmp_path: Path) -> None:
    fill(str(tmp_path), 3)
    flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    kept, folder = tmp_path / "kept.parquet", tmp_path / "folder"
    kept.write_bytes(raw_object(0)[1])
    folder.mkdir()
    (folder / "kept.parquet").write_bytes(b"kept")
    (tmp_path / "lake" / "flows" / "part-0.parquet").symlink_to(kept)
    (tmp_path / "lake" / "flows" / "date=2026-01-01").symlink_to(folder)
    vacuum(tmp_path / "lake", retention=timedelta(0), no_writers=True)
    assert not (tmp_path / "lake" / "flows" / "part-0.parquet").is_symlink()
    assert kept.exists()
    assert (folder / "kept.parquet").exists()


@pytest.mark.parametrize(
    ("words", "name"), [(("report",), "report.html"), (("connect",), "lake.duckdb")]
)
def test_a_link_to_what_is_written_is_replaced(
    run: Run, tmp_path: Path, words: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shared folder for temporary files may have one that another user put there."""
    monkeypatch.chdir(tmp_path)
    fill(str(tmp_path), 3)
    flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    other = tmp_path / "other"
    assert run(*words, str(other)).code == 0
    before = other.read_bytes()
    Path(name).symlink_to(other)
    assert run(*words, name).code == 0
    assert not Path(name).is_symlink()
    assert other.read_bytes() == before


def test_an_answer_is_written_through_a_link(run: Run, tmp_path: Path) -> None:
    """As the shell's ``>`` does."""
    fill(str(tmp_path), 3)
    flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    link = tmp_path / "answer.csv"
    link.symlink_to(tmp_path / "other")
    words = ("query", "top_talkers", "--lake", str(tmp_path / "lake"), "--format", "csv")
    assert run(*words, "-o", str(link)).code == 0
    assert link.is_symlink()
    assert (tmp_path / "other").read_text().startswith("address,")
