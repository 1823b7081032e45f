"""Vacuum: what nobody needs goes, what anybody may need stays."""

import itertools
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import flowlake
from flowlake.committing import SCHEMAS, Tables
from flowlake.compacting import compact
from flowlake.files import file_urls
from flowlake.storage import open_storage
from flowlake.vacuuming import vacuum
from flowlake.verifying import verify
from tests import crashing
from tests.crashing import start
from tests.test_cli import Run, run
from tests.test_exactly_once import assert_right, clean, fill, put, raw_object

__all__ = ["run"]

NOW = timedelta(0)


MINE = ("notes.txt", "flows-of-mine/a.parquet", "flows/notes.txt", "rejects/notes.txt")


def convert(place: str) -> None:
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)


def parquet(lake: str) -> set[str]:
    """The Parquet files that lie in the lake's tables."""
    tables = Tables(lake)
    listed = pl.concat(
        each for name in ("flows", *SCHEMAS) for each in tables.storage.list(f"{lake}/{name}")
    )
    data = pl.col("url").str.ends_with(".parquet") & ~pl.col("url").str.contains("/_delta_log/")
    return set(listed.filter(data)["url"])


def live(lake: str) -> set[str]:
    tables = Tables(lake)
    return {
        url.removeprefix("file://")
        for name in ("flows", *SCHEMAS)
        for url in file_urls(tables.table(name))
    }


def compacted_lake(place: str) -> str:
    """A lake with replaced files of each table, and with files of runs that were cut off."""
    lake = f"{place}/lake"
    for number in range(4):
        put(place, *raw_object(number))
        convert(place)
    put(place, raw_object(2)[0], raw_object(2, records=9)[1])
    convert(place)
    compact(lake)
    storage = open_storage(lake)
    folder = "flows/date=2026-03-01/region=eu-west-1/account_id=000123456789"
    for stray in (f"{folder}/0af3.zstd.parquet", "objects/0af3.zstd.parquet"):
        storage.put(f"{lake}/{stray}", b"half")
    for mine in MINE:
        storage.put(f"{lake}/{mine}", b"mine")
    return lake


def test_what_no_snapshot_needs_goes(place: str, tmp_path: Path) -> None:
    lake = compacted_lake(place)
    expected = clean(place, tmp_path)
    before, needed = parquet(lake), live(lake)
    assert len(needed) == 3
    assert len(before - needed) > 14
    listed = vacuum(lake, retention=NOW, no_writers=True, dry_run=True)
    assert set(listed["url"]) == before - needed
    assert parquet(lake) == before
    removed = vacuum(lake, retention=NOW, no_writers=True)
    assert removed.equals(listed)
    assert removed.columns == ["table", "url", "bytes", "last_modified"]
    assert removed.filter(pl.col("url").str.ends_with("/0af3.zstd.parquet"))["bytes"].to_list() == [
        4,
        4,
    ]
    assert parquet(lake) == needed
    for mine in MINE:
        assert bytes(open_storage(lake).get(f"{lake}/{mine}")) == b"mine"
    assert_right(place, expected)
    assert vacuum(lake, retention=NOW, no_writers=True).is_empty()
    put(place, raw_object(1)[0], raw_object(1, records=3)[1])
    convert(place)
    assert_right(place, clean(place, tmp_path))


def test_within_the_retention_all_stays(place: str) -> None:
    lake = compacted_lake(place)
    before = parquet(lake)
    opened = flowlake.open_lake(lake)
    assert vacuum(lake).is_empty()
    assert vacuum(lake, retention=timedelta(hours=1), no_writers=True).is_empty()
    assert parquet(lake) == before
    assert opened.flows().select(pl.len()).collect().item() == 27


def test_the_retention_counts_from_when_a_file_was_replaced(tmp_path: Path) -> None:
    """An old file that was replaced just now stays; an old one that nobody knows goes."""
    lake = compacted_lake(str(tmp_path))
    week_ago = time.time() - 8 * 86_400
    for url in parquet(lake):
        os.utime(url, (week_ago, week_ago))
    half_written = Path(lake, "objects", f".1.zstd.parquet.{'0' * 32}.tmp")
    half_written.write_bytes(b"half")
    os.utime(half_written, (week_ago, week_ago))
    removed = vacuum(lake)["url"]
    names = {Path(url).name for url in removed}
    assert names == {"0af3.zstd.parquet", half_written.name}, (
        "the log says of all others when they were replaced"
    )
    assert verify(lake=lake, grace=NOW).gaps.is_empty()


def test_what_was_cut_off_in_a_log_goes(tmp_path: Path) -> None:
    """delta-rs gives an entry its name by a link, and takes the first one away."""
    lake = compacted_lake(str(tmp_path))
    log = Path(lake, "flows", "_delta_log")
    newest = max(log.glob("*.json"))
    left = [newest.with_name(f"{newest.name}#1"), log / f"{99:020}.json#2"]
    left[0].hardlink_to(newest)
    left[1].write_bytes(b"{")
    assert vacuum(lake).is_empty(), "an entry may be under way"
    vacuum(lake, retention=NOW, no_writers=True)
    assert not any(path.exists() for path in left)
    assert newest.exists()
    assert verify(lake=lake, grace=NOW).gaps.is_empty()


def test_files_that_only_a_commit_cut_off_names_are_kept(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    put(place, *raw_object(40))
    crashing.run("convert", f"{place}/raw", f"{place}/lake", kill_before=4)  # commit to rejects
    assert not Tables(f"{place}/lake").view().settled
    vacuum(f"{place}/lake", retention=NOW, no_writers=True)
    assert Tables(f"{place}/lake").view().settled
    assert_right(place, clean(place, tmp_path))


def test_the_log_is_shortened_and_says_all_it_said(tmp_path: Path) -> None:
    lake = compacted_lake(str(tmp_path))
    tables = Tables(lake)
    before = tables.head()
    old = time.time() - 40 * 86_400
    for entry in Path(lake).glob("*/_delta_log/*.json"):
        os.utime(entry, (old, old))
    vacuum(lake)
    for name in ("flows", *SCHEMAS):
        log = {entry.name for entry in Path(lake, name, "_delta_log").iterdir()}
        newest = f"{tables.table(name).version():020}"
        assert log == {f"{newest}.checkpoint.parquet", f"{newest}.json", "_last_checkpoint"}
    after = Tables(lake).head()
    assert (after.n, after.settled) == (before.n, True)
    assert after.ledger.sort("object_id").equals(before.ledger.sort("object_id"))
    put(str(tmp_path), *raw_object(70))
    convert(str(tmp_path))
    compact(lake)
    assert verify(lake=lake, grace=NOW).gaps.is_empty()


def test_beside_compactions_and_a_conversion(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 8)
    convert(place)
    for number in range(20, 36):
        put(place, *raw_object(number))
    put(place, raw_object(3)[0], raw_object(3, records=11)[1])
    expected = clean(place, tmp_path)
    running = [
        start("convert", f"{place}/raw", f"{place}/lake"),
        start("compact", f"{place}/lake"),
        start("compact", f"{place}/lake"),
    ]
    while any(process.is_alive() for process in running):
        vacuum(f"{place}/lake")
        time.sleep(0.05)
    assert [process.exitcode for process in running] == [0, 0, 0]
    assert_right(place, expected)


@pytest.mark.parametrize("seconds", [pytest.param(180, marks=pytest.mark.long), 3])
def test_at_the_default_retention_beside_everything(tmp_path: Path, seconds: int) -> None:
    """It removes files all the time: compactions say that what they replace is eight days old."""
    place, lake = str(tmp_path), f"{tmp_path}/lake"
    fill(place, 8)
    convert(place)
    works = {
        "convert": (f"{place}/raw", lake),
        "convert too": (f"{place}/raw", lake),
        "compact": (lake, "8"),
    }
    week_ago, until = time.time() - 8 * 86_400, time.monotonic() + seconds
    running: dict[str, Any] = {}
    removed = ran = 0
    for number in itertools.count(30):
        put(place, *raw_object(number))
        put(place, raw_object(number % 7)[0], raw_object(number % 7, records=number % 20 + 1)[1])
        stray = Path(lake, "objects", f"{number:032x}.zstd.parquet")
        stray.write_bytes(b"half")
        os.utime(stray, (week_ago, week_ago))
        for name, given in works.items():
            if name not in running or not running[name].is_alive():
                running[name] = start(name.split()[0], *given)
                ran += 1
        gone = vacuum(lake)
        removed += gone.height
        if time.monotonic() > until and removed > number - 29:
            break
    for process in running.values():
        process.join(100)
    convert(place)
    print(f"\n{ran} runs, {number - 29} vacuums, {removed} files removed")
    assert_right(place, clean(place, tmp_path))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"retention": timedelta(days=6)}, "no-writers"),
        ({"retention": timedelta(days=8)}, "at most 7d"),
        ({"retention": timedelta(days=-1), "no_writers": True}, "at most 7d"),
    ],
    ids=["short", "long", "negative"],
)
def test_a_retention_that_is_not_to_be_had(
    tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(flowlake.UsageError, match=words):
        vacuum(tmp_path / "lake", **given)


def test_there_is_no_lake(place: str) -> None:
    with pytest.raises(flowlake.LakeError, match="There is no lake"):
        vacuum(f"{place}/lake")


def test_the_command(run: Run, tmp_path: Path) -> None:
    lake = compacted_lake(str(tmp_path))
    before = parquet(lake)
    assert run("vacuum").err == "Removed 0 files (0 B).\n"
    refused = run("vacuum", "--retention", "1h")
    assert refused.code == 2
    assert "--no-writers" in refused.err
    now = ("vacuum", "--retention", "0h", "--no-writers")
    planned = run(*now, "--dry-run", "--format", "json")
    assert {row["url"] for row in planned.json()} == before - live(lake)
    assert planned.err.endswith(" to remove.\n")
    assert parquet(lake) == before
    done = run(*now)
    assert (done.code, done.out) == (0, "")
    assert done.err == "Removed " + planned.err.replace(" to remove", "")
    assert parquet(lake) == live(lake)
    assert run("vacuum", "--lake", "nowhere").code == 1
