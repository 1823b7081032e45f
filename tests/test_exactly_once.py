"""The lake's promises, each attacked: kill -9 at every write, races, changes behind the back."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from isal import igzip

import flowlake
from flowlake import converting
from flowlake.committing import Tables
from flowlake.fields import DEFAULT_FORMAT
from flowlake.layout import object_key
from flowlake.samples import write_sample
from flowlake.storage import open_storage
from flowlake.verifying import verify
from tests import crashing
from tests.conftest import on_s3_rarely
from tests.crashing import start

HEADER = " ".join(DEFAULT_FORMAT)
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT, REGION, FLOW_LOG = "000123456789", "eu-west-1", "fl-0abc"

Totals = pl.DataFrame


def record(number: int, moment: datetime) -> str:
    start = int(moment.timestamp())
    return (
        f"2 {ACCOUNT} eni-{number % 3} 10.0.0.{number % 250} 198.51.100.{number % 7} "
        f"{1024 + number} 443 6 {number % 90 + 1} {number * 40 + 40} {start} {start + 50} ACCEPT OK"
    )


def raw_object(
    number: int, *, records: int = 6, header: str = HEADER, slot: datetime | None = None
) -> tuple[str, bytes]:
    """An object of a slot of its own, with one wrong line among its records."""
    moment = slot or DAY + timedelta(minutes=5 * number)
    lines = [
        record(number * 100 + each, moment + timedelta(seconds=each)) for each in range(records)
    ]
    lines.insert(2, "one wrong line")
    if header != HEADER:
        lines = [f"{line} extra-{number}" for line in lines]
    text = "\n".join([header, *lines]) + "\n"
    key = object_key(ACCOUNT, REGION, FLOW_LOG, moment, f"{number:08x}")
    return key, igzip.compress(text.encode())


def put(place: str, key: str, body: bytes) -> str:
    url = f"{place}/raw/{key}"
    open_storage(url).put(url, body)
    return url


def fill(place: str, count: int = 14) -> None:
    """Objects of one format, over midnight, and one whose header has a field of tomorrow."""
    for number in range(count - 2):
        put(place, *raw_object(number))
    put(place, *raw_object(count - 2, slot=datetime(2026, 3, 2, 0, 0, 2, tzinfo=UTC)))
    put(place, *raw_object(count - 1, header=f"{HEADER} field-of-tomorrow"))


def totals(lake: str) -> Totals:
    """Rows and sums of each raw object, as the lake has them."""
    opened = flowlake.open_lake(lake)
    urls = opened.objects().select("object_id", "url")
    return (
        opened.flows()
        .group_by("object_id")
        .agg(
            rows=pl.len(),
            bytes=pl.col("bytes").sum(),
            packets=pl.col("packets").sum(),
            first=pl.col("start_time").min(),
            last=pl.col("end_time").max(),
        )
        .collect()
        .join(urls, on="object_id", how="left")
        .drop("object_id")
        .sort("url")
    )


def clean(place: str, tmp_path: Path) -> Totals:
    """What one undisturbed conversion gives."""
    lake = str(tmp_path / "clean")
    shutil.rmtree(lake, ignore_errors=True)
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    found = totals(lake)
    assert found.height
    return found


def assert_right(place: str, expected: Totals) -> None:
    """The lake equals the clean one in the rows and sums of every object, and proves it."""
    lake = f"{place}/lake"
    assert totals(lake).equals(expected)
    rejects = flowlake.open_lake(lake).rejects()
    assert rejects.height == expected.height
    found = verify(lake=lake, grace=timedelta(0))
    assert found.gaps.rows() == []
    assert found.listed == found.objects == expected.height


def assert_whole_objects(place: str, expected: Totals) -> None:
    """What a reader sees after a crash: no object in part, and none twice."""
    lake = f"{place}/lake"
    try:
        rows = flowlake.open_lake(lake).flows().group_by("object_id").len().collect()
    except flowlake.LakeError:
        return
    assert set(rows["len"]) <= set(expected["rows"])
    assert rows.height <= expected.height


def test_killed_again_and_again_on_one_lake(place: str, tmp_path: Path) -> None:
    fill(place)
    expected = clean(place, tmp_path)
    codes = []
    for step in range(40):
        codes.append(crashing.run("convert", f"{place}/raw", f"{place}/lake", kill_before=step % 9))
        assert_whole_objects(place, expected)
        if codes[-1] == 0 and totals_match(place, expected):
            break
    assert codes.count(-signal.SIGKILL) >= 5
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert_right(place, expected)


def totals_match(place: str, expected: Totals) -> bool:
    return totals(f"{place}/lake").equals(expected)


def test_killed_before_every_write_of_a_replacement(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 6)
    flowlake.convert(f"{place}/raw", lake=f"{place}/before", workers=1)
    key, _ = raw_object(2)
    put(place, key, raw_object(2, records=9)[1])
    expected = clean(place, tmp_path)
    for step in itertools.count():
        attempt = tmp_path / f"attempt-{step}"
        shutil.copytree(tmp_path / "before", attempt / "lake")
        code = crashing.run("convert", f"{place}/raw", f"{attempt}/lake", kill_before=step)
        rows = totals(f"{attempt}/lake")["rows"].sort().to_list()
        assert rows in ([6] * 6, [6] * 5 + [9]), "old rows or new ones, never both or neither"
        flowlake.convert(f"{place}/raw", lake=f"{attempt}/lake", workers=1)
        assert_right(str(attempt), expected)
        if code == 0:
            break
    assert step >= 6


@on_s3_rarely
@pytest.mark.parametrize("converters", [pytest.param(2, marks=pytest.mark.long), 4])
def test_converters_started_at_once(place: str, converters: int, tmp_path: Path) -> None:
    fill(place, 24)
    expected = clean(place, tmp_path)
    running = [start("convert", f"{place}/raw", f"{place}/lake") for _ in range(converters)]
    for process in running:
        process.join(200)
    assert [process.exitcode for process in running] == [0] * converters
    assert_right(place, expected)


def test_one_killed_beside_another(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 24)
    expected = clean(place, tmp_path)
    for step in (5, 9, 12, 14):
        attempt = f"{place}/attempt-{step}"
        doomed = start("convert", f"{place}/raw", f"{attempt}/lake", kill_before=step)
        other = start("convert", f"{place}/raw", f"{attempt}/lake")
        doomed.join(100)
        other.join(100)
        assert other.exitcode == 0
        assert_right(attempt, expected)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "flowlake", *words]


def test_command_with_workers_killed_at_any_moment(tmp_path: Path) -> None:
    source, lake = str(tmp_path / "raw"), str(tmp_path / "lake")
    write_sample(open_storage(source), prefix=f"{source}/", records_per_object=1_000)
    started = time.monotonic()
    words = command("convert", source, "--lake", str(tmp_path / "clean"), "--workers", "2")
    subprocess.run(words, check=True, capture_output=True)
    whole = time.monotonic() - started
    chance = random.Random(4)
    killed = 0
    for _ in range(8):
        words = command("convert", source, "--lake", lake, "--workers", "2")
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(whole * chance.uniform(0.3, 1.0))
        workers = children(process.pid)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline, "a worker outlives its coordinator"
            time.sleep(0.05)
        if process.returncode == 0:
            if killed:
                break
            shutil.rmtree(lake)  # done sooner than the clean one
            whole /= 2
    assert killed
    subprocess.run(command("convert", source, "--lake", lake), check=True, capture_output=True)
    assert totals(lake).equals(totals(str(tmp_path / "clean")))
    subprocess.run(command("verify", "--lake", lake, "--grace", "0m"), check=True)


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split()]


def test_a_dead_worker_costs_nothing(tmp_path: Path) -> None:
    source, lake = str(tmp_path / "raw"), str(tmp_path / "lake")
    write_sample(open_storage(source), prefix=f"{source}/", records_per_object=20_000)
    words = command("convert", source, "--lake", lake, "--workers", "2")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    shot = False
    while process.poll() is None and not shot:
        for pid in children(process.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    time.sleep(0.6)
                    os.kill(pid, signal.SIGKILL)
                    shot = True
                    break
    output, _ = process.communicate(timeout=200)
    assert shot
    assert process.returncode == 0, output
    assert verify(lake=lake, grace=timedelta(0)).gaps.rows() == []


def test_a_late_object_in_an_old_hour(place: str, tmp_path: Path) -> None:
    fill(place)
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    put(place, *raw_object(77, slot=DAY - timedelta(hours=3)))
    report = flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert (report.new, report.objects, report.rows) == (1, 1, 6)
    assert_right(place, clean(place, tmp_path))


def test_raw_objects_that_expire_leave_their_rows(place: str, tmp_path: Path) -> None:
    fill(place)
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    before = totals(f"{place}/lake")
    gone = before["url"].head(5).to_list()
    open_storage(place).delete(gone)
    report = flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert report.new == 0
    assert totals(f"{place}/lake").equals(before)
    found = verify(lake=f"{place}/lake", grace=timedelta(0))
    assert (found.gaps.rows(), found.expired) == ([], 5)


@on_s3_rarely
def test_an_overwritten_object_replaces_its_rows(place: str, tmp_path: Path) -> None:
    fill(place)
    lake = f"{place}/lake"
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    versions = [
        raw_object(3, records=11)[1],
        raw_object(3, records=1)[1],
        raw_object(3)[1],  # the first content again: on S3, the first ETag again
        raw_object(3, records=4, slot=DAY + timedelta(days=3))[1],
    ]
    for number, body in enumerate(versions, 1):
        put(place, raw_object(3)[0], body)
        found = verify(lake=lake, grace=timedelta(0))
        assert found.gaps["gap"].to_list() == ["changed"]
        report = flowlake.convert(f"{place}/raw", lake=lake, workers=1)
        assert (report.objects, report.replaced) == (1, 1)
        assert_right(place, clean(place, tmp_path))
        assert flowlake.open_lake(lake).status().replaced == number
    ledger = flowlake.open_lake(lake).objects()
    assert ledger.filter(pl.col("url").str.contains(raw_object(3)[0])).height == 5


def test_a_damaged_object_and_its_repair(place: str, tmp_path: Path) -> None:
    fill(place, 4)
    lake = f"{place}/lake"
    key, body = raw_object(9)
    url = put(place, key, body[: len(body) // 2])
    report = flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert [where for where, _ in report.unreadables] == [url]
    again = flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert again.new == 0
    whole = flowlake.open_lake(lake).rejects().filter(pl.col("line_number").is_null())
    assert whole["url"].to_list() == [url]
    assert verify(lake=lake, grace=timedelta(0)).gaps.rows() == []
    put(place, key, body)
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert_right(place, clean(place, tmp_path))


@on_s3_rarely
@pytest.mark.parametrize("table", ["flows", "rejects", "objects"])
def test_a_commit_that_lands_and_seems_refused(
    place: str, tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the answer to a conditional write is lost, and its repetition finds it done."""
    fill(place, 6)
    put(place, raw_object(50)[0], b"not a flow log")
    expected = clean(place, tmp_path)
    commit = Tables._commit_table
    lost: list[int] = []

    def lose_the_first_answer(self: Tables, handle: Any, actions: Any, n: int, more: Any) -> None:
        commit(self, handle, actions, n, more)
        if handle.table_uri.rstrip("/").endswith(f"/{table}") and not lost:
            lost.append(n)
            raise flowlake.CommitConflict("refused")

    monkeypatch.setattr(Tables, "_commit_table", lose_the_first_answer)
    monkeypatch.setattr(converting, "TASK_OBJECTS", 1)
    source, lake = f"{place}/raw", f"{place}/lake"
    report = flowlake.convert(source, lake=lake, workers=1, commit_seconds=0)
    assert lost
    assert (report.objects, report.elsewhere, report.unreadable) == (7, 0, 1)
    assert report.rows == expected["rows"].sum()
    assert totals(lake).equals(expected)
    assert verify(lake=lake, grace=timedelta(0)).gaps.rows() == []


def test_a_moved_or_copied_bucket_is_not_converted_twice(place: str, tmp_path: Path) -> None:
    fill(place, 6)
    lake = f"{place}/lake"
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    before = totals(lake)
    copies = {key: raw_object(number)[1] for number in range(4) for key in [raw_object(number)[0]]}
    for key, body in copies.items():
        put(f"{place}/copied", key, body)
    other_key, other_body = raw_object(4, records=7)
    url = put(f"{place}/copied", other_key, other_body)  # AWS's name, but not the same object
    report = flowlake.convert(f"{place}/copied/raw", lake=lake, workers=1)
    assert (report.new, report.objects, report.copies) == (1, 1, 4)
    assert totals(lake).filter(pl.col("url") != url).equals(before)
    assert totals(lake).filter(pl.col("url") == url)["rows"].to_list() == [7]
    assert verify(f"{place}/copied/raw", lake=lake, grace=timedelta(0)).gaps.rows() == []
    open_storage(place).delete(before["url"].head(4).to_list())
    assert verify(f"{place}/raw", f"{place}/copied", lake=lake).expired == 0
    again = flowlake.convert(f"{place}/copied/raw", f"{place}/raw", lake=lake, workers=1)
    assert again.new == 0
    both = flowlake.convert(f"{place}/raw", f"{place}/copied", lake=f"{place}/other", workers=1)
    assert (both.objects, both.copies) == (7, 0)


def test_a_mirror_that_was_completed_is_not_converted_twice(place: str) -> None:
    """What was cut off could not be read; whole, it is a copy of what is there."""
    lake, places = f"{place}/lake", (f"{place}/raw", f"{place}/mirror/raw")
    key, body = raw_object(1)
    put(place, key, body)
    mirrored = put(f"{place}/mirror", key, body[: len(body) // 2])
    report = flowlake.convert(*places, lake=lake, workers=1)
    assert (report.objects, report.unreadable) == (2, 1)
    before = totals(lake)
    put(f"{place}/mirror", key, body)
    for retry in (False, True):
        assert flowlake.convert(*places, lake=lake, workers=1, retry=retry).new == 0
    assert totals(lake).equals(before)
    assert verify(*places, lake=lake, grace=timedelta(0)).gaps.rows() == []
    put(f"{place}/mirror", key, raw_object(1, records=9)[1])
    assert flowlake.convert(*places, lake=lake, workers=1).replaced == 1
    assert totals(lake).filter(pl.col("url") == mirrored)["rows"].to_list() == [9]


def test_converters_of_a_bucket_and_of_its_copy_started_at_once(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 24)
    expected = clean(place, tmp_path)
    shutil.copytree(f"{place}/raw", f"{place}/copied")
    running = [start("convert", f"{place}/{name}", f"{place}/lake") for name in ("raw", "copied")]
    for process in running:
        process.join(200)
    assert [process.exitcode for process in running] == [0, 0]
    found = totals(f"{place}/lake")
    assert found.height == expected.height
    assert found.drop("url").sort(pl.all()).equals(expected.drop("url").sort(pl.all()))
    assert verify(lake=f"{place}/lake", grace=timedelta(0)).gaps.rows() == []


def test_files_of_ones_own_names_are_known_by_their_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        (tmp_path / "raw" / folder / "flows.log").write_text(f"{HEADER}\n{record(1, DAY)}\n")
    report = flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake")
    assert (report.objects, report.rows, report.copies) == (2, 2, 0)


def test_verify_of_a_source_that_is_not_there(place: str) -> None:
    fill(place, 3)
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    try:
        found = verify(f"{place}/misspelt", lake=f"{place}/lake")
    except flowlake.StorageError as error:
        assert "no folder or file" in str(error)
    else:
        assert found.gaps["gap"].to_list() == ["nothing there"]


def test_verify_misses_what_is_gone(place: str) -> None:
    fill(place)
    lake = f"{place}/lake"
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    opened = flowlake.open_lake(lake)
    open_storage(lake).delete(opened.files()[:1])
    found = verify(lake=lake, grace=timedelta(0))
    assert set(found.gaps["gap"]) == {"file missing", "rows differ"}


@pytest.mark.parametrize("change", ["rows", "rejects", "ledger"])
def test_verify_sees_every_difference(tmp_path: Path, change: str) -> None:
    """Batches forged past the converter: rows twice, a reject lost, an object forgotten."""
    place = str(tmp_path)
    fill(place)
    lake = f"{place}/lake"
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    expected = _forge(lake)[change]()
    assert set(verify(lake=lake, grace=timedelta(0)).gaps["gap"]) == expected


def _forge(lake: str) -> dict[str, Callable[[], set[str]]]:
    from deltalake import DeltaTable, write_deltalake

    def rows() -> set[str]:
        table = DeltaTable(f"{lake}/flows")
        one = table.to_pyarrow_table().slice(0, 3)
        write_deltalake(table, one, mode="append")
        return {"rows differ"}

    def rejects() -> set[str]:
        DeltaTable(f"{lake}/rejects").delete("line_number = 4")
        return {"rejects differ"}

    def ledger() -> set[str]:
        DeltaTable(f"{lake}/objects").delete("url LIKE '%T1205Z%'")
        return {"not converted", "rows of no object"}

    return {"rows": rows, "rejects": rejects, "ledger": ledger}


def test_a_reloaded_handle_would_commit_a_batch_twice(tmp_path: Path) -> None:
    """Why a conflict means to plan anew: Delta compares a batch only with later commits."""
    from deltalake.exceptions import CommitFailedError

    tables = Tables(str(tmp_path / "lake"))
    tables.create(["date"])
    planned = tables.head()
    tables._commit_table(tables.head().flows, [], 1, {})
    with pytest.raises(flowlake.CommitConflict) as refused:
        tables._commit_table(planned.flows, [], 1, {})
    assert isinstance(refused.value.__cause__, CommitFailedError)
    tables._commit_table(tables.table("flows"), [], 1, {})  # a reloaded handle: not refused
    assert tables.table("flows").version() == 2
