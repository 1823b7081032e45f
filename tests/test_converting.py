"""Converting as a library call: true counts, any executor, flat memory, disks that fill."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from isal import igzip

import flowlake
from flowlake import converting, planning, storage
from flowlake.committing import Tables
from flowlake.converting import Progress
from flowlake.errors import LakeError, StorageError, UsageError
from flowlake.samples import write_sample
from flowlake.storage import open_storage
from flowlake.verifying import verify
from tests.test_exactly_once import DAY, HEADER, put, raw_object, record


def text_object(number: int, lines: Sequence[str]) -> tuple[str, bytes]:
    """An object of its own slot with these lines."""
    key, _ = raw_object(number)
    return key, igzip.compress("\n".join([HEADER, *lines, ""]).encode())


def test_the_report_counts_what_was_done(place: str) -> None:
    for number in range(3):
        put(place, *raw_object(number))
    far = DAY - timedelta(days=30)
    put(place, *text_object(3, [record(1, DAY), record(2, far), record(3, far)]))
    put(place, *text_object(4, []))
    broken = put(place, raw_object(5)[0], b"\x1f\x8b but no gzip")
    told: list[tuple[int, ...]] = []

    def tell(done: Progress) -> None:
        told.append((done.objects, done.objects_done, done.rows, done.rejected, done.committed))

    report = flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1, progress=tell)
    listing = pl.concat(open_storage(place).list(f"{place}/raw"))
    assert (report.listed, report.new, report.objects) == (6, 6, 6)
    assert report.listed_bytes == report.new_bytes == listing["size"].sum()
    assert (report.rows, report.rejected, report.misdated) == (21, 3, 2)
    assert (report.replaced, report.elsewhere, report.failures) == (0, 0, [])
    assert report.unreadable == 1
    assert [url for url, _ in report.unreadables] == [broken]
    lake = flowlake.open_lake(f"{place}/lake")
    assert (report.files, report.file_bytes) == (lake.status().files, lake.status().bytes)
    assert report.batches == lake.status().batches == 1
    assert told[0] == (6, 0, 0, 0, 0)
    assert told[-1] == (6, 6, 21, 3, 6)
    ledger = lake.objects()
    assert ledger["misdated"].sum() == 2
    assert ledger["rows"].sum() == 21
    assert lake.flows().select(pl.col("date").unique()).collect().to_series().to_list() == [
        DAY.date()
    ]
    again = flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert (again.listed, again.new, again.objects, again.batches) == (6, 0, 0, 0)


def test_what_cannot_be_fetched_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [put(str(tmp_path), *raw_object(number)) for number in range(3)]
    whole = storage.Folder.get

    def get(self: storage.Folder, url: str, etag: str | None = None) -> storage.Body:
        if url == urls[1]:
            raise StorageError("the disk said no")
        return whole(self, url, etag)

    monkeypatch.setattr(storage.Folder, "get", get)
    report = flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    assert report.failures == [(urls[1], "the disk said no")]
    assert (report.new, report.objects, report.rows) == (3, 2, 12)
    found = verify(lake=tmp_path / "lake", grace=timedelta(0))
    assert found.gaps.select("gap", "url").rows() == [("not converted", urls[1])]
    monkeypatch.undo()
    report = flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    assert (report.new, report.objects, report.failures) == (1, 1, [])
    assert verify(lake=tmp_path / "lake", grace=timedelta(0)).gaps.is_empty()


@pytest.mark.parametrize("threads", [1, 4])
def test_any_executor(tmp_path: Path, threads: int) -> None:
    source = str(tmp_path / "raw")
    made = write_sample(open_storage(source), prefix=f"{source}/", records_per_object=2_000)
    with ThreadPoolExecutor(threads) as executor:
        report = flowlake.convert(source, lake=tmp_path / "lake", executor=executor, workers=4)
        assert executor.submit(int).result() == 0, "it is the caller's to shut down"
    assert (report.objects, report.rows) == (made.objects, made.records)
    assert verify(lake=tmp_path / "lake", grace=timedelta(0)).gaps.is_empty()


def test_commits_as_time_passes(tmp_path: Path) -> None:
    source = str(tmp_path / "raw")
    made = write_sample(open_storage(source), prefix=f"{source}/", records_per_object=4_000)
    report = flowlake.convert(source, lake=tmp_path / "lake", workers=1, commit_seconds=0)
    assert report.batches > 1
    assert (report.objects, report.rows) == (made.objects, made.records)
    assert flowlake.open_lake(tmp_path / "lake").status().batches == report.batches
    assert verify(lake=tmp_path / "lake", grace=timedelta(0)).gaps.is_empty()


@pytest.mark.parametrize(
    "wrong",
    [["region"], ["date", "account_id"], ["date", "region", "account_id", "vpc_id"], ["Date"]],
    ids=",".join,
)
def test_partitions_that_cannot_be(tmp_path: Path, wrong: list[str]) -> None:
    put(str(tmp_path), *raw_object(0))
    with pytest.raises(UsageError, match="partitioned by date, region, account_id or the first"):
        flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", partition_by=wrong)
    assert not (tmp_path / "lake").exists()


def test_partitions_are_kept(tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    convert = flowlake.convert
    convert(tmp_path / "raw", lake=tmp_path / "lake", partition_by=["date"])
    assert flowlake.open_lake(tmp_path / "lake").partition_by == ("date",)
    with pytest.raises(UsageError, match="chosen once"):
        convert(tmp_path / "raw", lake=tmp_path / "lake", partition_by=["date", "region"])
    put(str(tmp_path), *raw_object(1))
    assert convert(tmp_path / "raw", lake=tmp_path / "lake").rows == 6


def test_sources_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one source"):
        flowlake.convert(lake=tmp_path / "lake")
    with pytest.raises(StorageError, match="no folder or file"):
        flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake")
    assert not (tmp_path / "lake").exists()


def test_a_plan_says_what_a_run_will_do(place: str) -> None:
    for number in range(3):
        put(place, *raw_object(number))
    listing, new = flowlake.plan(f"{place}/raw", lake=f"{place}/lake")
    assert (listing.height, new.height) == (3, 3)
    with pytest.raises(LakeError):
        flowlake.open_lake(f"{place}/lake")
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    put(place, raw_object(1)[0], raw_object(1, records=8)[1])
    listing, new = flowlake.plan(f"{place}/raw", lake=f"{place}/lake")
    ledger = flowlake.open_lake(f"{place}/lake").objects()
    assert (listing.height, new.height) == (3, 1)
    assert new["replaces"].to_list() == ledger.filter(url=new["url"].item())["object_id"].to_list()


def test_names_are_read_of_what_is_new_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what makes a run that finds nothing new cost little more than its listing."""
    read: list[int] = []

    def named(listing: pl.DataFrame) -> pl.DataFrame:
        read.append(listing.height)
        return planning_named(listing)

    planning_named = planning.named
    for number in range(3):
        put(str(tmp_path), *raw_object(number))
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    flowlake.convert(raw, lake=lake, workers=1)
    monkeypatch.setattr(planning, "named", named)
    assert flowlake.convert(raw, lake=lake, workers=1).new == 0
    assert set(read) == {0}
    put(str(tmp_path), *raw_object(3))
    flowlake.convert(raw, lake=lake, workers=1)
    assert set(read) == {0, 1}


def test_names_without_a_date_go_by_their_content(tmp_path: Path) -> None:
    """Objects AWS did not name: account from the record, date from its start."""
    _, body = raw_object(0)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "export.log.gz").write_bytes(body)
    report = flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    assert (report.rows, report.misdated) == (6, 0)
    row = flowlake.open_lake(tmp_path / "lake").flows().first().collect().to_dicts()[0]
    assert (row["account_id"], row["region"], row["flow_log_id"]) == (
        "000123456789",
        "unknown",
        None,
    )
    assert row["date"] == DAY.date()


MEASURE = """
import resource, sys, flowlake
report = flowlake.convert(sys.argv[1], lake=sys.argv[2], workers=1)
assert report.objects == int(sys.argv[3]), report
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(tmp_path: Path, objects: int) -> int:
    """The most memory, in KiB, that converting so many small objects takes."""
    source = tmp_path / f"raw-{objects}"
    for number in range(objects):
        slot = DAY + timedelta(minutes=5 * (number % 200), seconds=number)
        put(str(source), *raw_object(number, slot=slot))
    words = [
        sys.executable,
        "-c",
        MEASURE,
        str(source),
        str(tmp_path / f"lake-{objects}"),
        str(objects),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_objects(tmp_path: Path) -> None:
    few, many = peak(tmp_path, 200), peak(tmp_path, 2_000)
    assert many < 1.3 * few


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "flowlake-test", str(folder)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def flowlake_command(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flowlake", *map(str, words)], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "filler", [*(pytest.param(n, marks=pytest.mark.long) for n in (0, 900)), 600, 1010]
)
def test_a_disk_that_fills(small_disk: Path, tmp_path: Path, filler: int) -> None:
    """Wherever the space runs out: a clear error, and nothing lost when there is space again."""
    source, lake = tmp_path / "raw", small_disk / "lake"
    made = write_sample(open_storage(str(source)), prefix=f"{source}/", records_per_object=1_500)
    (small_disk / "filler").write_bytes(b"x" * filler * 1024)
    full = flowlake_command("convert", source, "--lake", lake, "--workers", "1")
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert full.stderr.startswith("flowlake: ")
    assert "No space left on device" in full.stderr
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    again = flowlake_command("convert", source, "--lake", lake, "--workers", "1")
    assert (again.returncode, again.stderr) == (0, "")
    found = verify(lake=lake, grace=timedelta(0))
    assert found.gaps.rows() == []
    assert (found.objects, found.rows) == (made.objects, made.records)


def test_a_lake_that_may_only_be_read(tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    lake, mounted = tmp_path / "lake", tmp_path / "mounted"
    flowlake.convert(tmp_path / "raw", lake=lake, workers=1)
    put(str(tmp_path), *raw_object(1))
    mounted.mkdir()
    try:
        subprocess.run(["mount", "--bind", lake, mounted], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
        done = flowlake_command("convert", tmp_path / "raw", "--lake", mounted)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "Read-only file system" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert flowlake.open_lake(mounted).flows().select(pl.len()).collect().item() == 6
        found = verify(lake=mounted, grace=timedelta(0))
        assert found.gaps["gap"].to_list() == ["not converted"]
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_an_objects_number_is_the_same_everywhere(tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    for name in ("one", "two"):
        flowlake.convert(tmp_path / "raw", lake=tmp_path / name, workers=1)
    one, two = (Tables(str(tmp_path / name)).ledger()["object_id"] for name in ("one", "two"))
    assert one.to_list() == two.to_list()
    assert one[0] > 0


@pytest.mark.parametrize(
    ("machine", "asked", "much", "staff"),
    [
        (2, None, True, "2 threads"),
        (4, None, False, "4 threads"),
        (4, None, True, "4 processes"),
        (4, 2, False, "2 processes"),
    ],
    ids=["two cores", "little to do", "much to do", "as asked"],
)
def test_who_converts(
    tmp_path: Path,
    machine: int,
    asked: int | None,
    much: bool,
    staff: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(4):
        put(str(tmp_path), *raw_object(number))
    monkeypatch.setattr(converting, "cores", lambda: machine)
    monkeypatch.setattr(converting, "TASK_OBJECTS", 1)
    if much:
        monkeypatch.setattr(converting, "PROCESS_OBJECTS", 1)
    told: list[Progress] = []
    flowlake.convert(
        f"{tmp_path}/raw",
        lake=f"{tmp_path}/lake",
        workers=asked,
        memory="4GB",
        progress=lambda done: told.append(replace(done)),
    )
    assert {done.workers for done in told if done.workers} == {staff}
