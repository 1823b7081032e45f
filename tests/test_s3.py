"""A bucket is as good as a folder, at either end: convert, ask, race and be refused on real S3."""

# Annotations stay text: DuckDB's classes, held by a test until exit, make nanobind report leaks.
from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import flowlake as fl
from flowlake.catalog import questions
from flowlake.committing import OBJECTS, Change, Tables
from flowlake.converting import PARTITIONS
from flowlake.samples import write_sample
from flowlake.storage import open_storage

from .conftest import KEY, NOBODY, READER, SECRET, use_key

SUMS = (
    "SELECT account_id, region, date, action, count(*) AS records, sum(bytes) AS bytes, "
    "sum(packets) AS packets, min(start_time) AS first, max(end_time) AS last, "
    "count(DISTINCT srcaddr) AS sources FROM flows GROUP BY ALL ORDER BY ALL"
)
WINDOW = {"since": "2026-01-14T23:00Z", "until": "2026-01-15T01:00Z", "region": "us-east-1"}


def sample(place: str) -> int:
    """Write a small sample bucket below the place; returns its number of records."""
    return write_sample(open_storage(place), f"{place}/raw/").records


def records(lake: fl.Lake, **window: Any) -> pl.DataFrame:
    """All rows in one order, without the object's number: that depends on where it lay."""
    flows = lake.flows(**window).drop("object_id").collect()
    return flows.sort(flows.columns)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, fl.Lake, int]:
    """The sample converted in a folder: the folder, its lake, its number of records."""
    place = str(tmp_path_factory.mktemp("local"))
    count = sample(place)
    fl.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    return place, fl.open_lake(f"{place}/lake"), count


def assert_same(lake: fl.Lake, other: fl.Lake) -> None:
    for window in ({}, WINDOW):
        assert_frame_equal(records(lake, **window), records(other, **window))
        assert_frame_equal(lake.sql(SUMS, **window).pl(), other.sql(SUMS, **window).pl())
        assert len(lake.files(**window)) == len(other.files(**window)) > 0


def test_a_bucket_into_a_bucket(s3: str, local: tuple[str, fl.Lake, int]) -> None:
    count = sample(s3)
    report = fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    assert (report.rows, report.failures, report.rejected) == (count, [], 0)
    lake = fl.open_lake(f"{s3}/lake")
    assert_same(lake, local[1])
    for name in (question.name for question in questions()):
        assert_frame_equal(lake.query(name, **WINDOW).pl(), local[1].query(name, **WINDOW).pl())
    assert lake.flows().select(pl.len()).collect().item() == count == local[2]
    ledger = lake.objects()
    assert ledger["rows"].sum() == count
    assert ledger["url"].str.starts_with(f"{s3}/raw/").all()
    assert lake.rejects().is_empty()

    again = fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    assert (again.listed, again.new, again.batches) == (report.listed, 0, 0)
    assert_frame_equal(records(fl.open_lake(f"{s3}/lake")), records(lake))


@pytest.mark.parametrize("ends", ["folder into bucket", "bucket into folder"])
def test_a_bucket_at_one_end(
    s3: str, tmp_path: Path, local: tuple[str, fl.Lake, int], ends: str
) -> None:
    if ends == "folder into bucket":
        source, lake = f"{local[0]}/raw", f"{s3}/a b/lake"
    else:
        sample(s3)
        source, lake = s3, str(tmp_path / "lake")
    assert fl.convert(source, lake=lake, workers=1).rows == local[2]
    assert_same(fl.open_lake(lake), local[1])
    assert fl.convert(source, lake=lake, workers=1).new == 0


def test_worker_processes_reach_the_bucket(s3: str, local: tuple[str, fl.Lake, int]) -> None:
    sample(s3)
    report = fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=2)
    assert (report.rows, report.failures) == (local[2], [])
    assert_frame_equal(records(fl.open_lake(f"{s3}/lake")), records(local[1]))


def test_a_lake_in_its_own_source_is_not_read(s3: str, local: tuple[str, fl.Lake, int]) -> None:
    sample(s3)
    for new in (True, False):
        report = fl.convert(s3, lake=f"{s3}/lake", workers=1)
        assert bool(report.new) == new
        assert report.unreadable == 0
    assert fl.open_lake(f"{s3}/lake").flows().select(pl.len()).collect().item() == local[2]


def test_an_object_put_again_replaces_its_rows(s3: str) -> None:
    storage, lake = open_storage(s3), f"{s3}/lake"
    url = f"{s3}/raw/flows.log"
    line = (
        "2 123456789010 eni-0a 10.0.0.5 10.0.0.9 49152 443 6 10 {} 1768428300 1768428360 ACCEPT OK"
    )
    for size, replaced in ((1000, 0), (2000, 1)):
        storage.put(url, line.format(size).encode())
        report = fl.convert(f"{s3}/raw", lake=lake, workers=1)
        assert (report.objects, report.replaced) == (1, replaced)
        assert fl.open_lake(lake).flows().collect()["bytes"].to_list() == [size]


# Refusals


def refused(act: Callable[[], object], words: str) -> None:
    started = time.monotonic()
    with pytest.raises(fl.StorageError, match=words) as error:
        act()
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 20


def test_a_lake_that_may_only_be_read(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"s3://lake/{s3[5:]}"
    count = sample(place)
    half = len(fl.plan(f"{place}/raw", lake=f"{place}/lake", region="us-east-1")[1])
    fl.convert(f"{place}/raw", lake=f"{place}/lake", workers=1, region="us-east-1")
    before = records(fl.open_lake(f"{place}/lake"))
    use_key(monkeypatch, *READER)
    lake = fl.open_lake(f"{place}/lake")
    assert_frame_equal(records(lake), before)
    assert lake.sql("SELECT count(*) FROM flows").fetchall() == [(before.height,)]
    denied = "access is denied: .*s3:PutObject"
    refused(lambda: fl.convert(f"{place}/raw", lake=f"{place}/lake", workers=1), denied)
    refused(lambda: fl.convert(f"{place}/raw", lake=f"{place}/lake2", workers=1), denied)
    use_key(monkeypatch, KEY, SECRET)
    assert_frame_equal(records(fl.open_lake(f"{place}/lake")), before)
    report = fl.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert report.new == report.listed - half
    assert records(fl.open_lake(f"{place}/lake")).height == count


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (NOBODY, "access is denied: .*s3:GetObject"),
        ((KEY, "wrong"), "not accepted: check AWS_PROFILE"),
    ],
    ids=["no rights", "wrong secret"],
)
def test_a_lake_that_may_not_be_read(
    s3: str,
    local: tuple[str, fl.Lake, int],
    monkeypatch: pytest.MonkeyPatch,
    key: tuple[str, str],
    words: str,
) -> None:
    fl.convert(f"{local[0]}/raw", lake=f"{s3}/lake", workers=1, region="us-east-1")
    use_key(monkeypatch, *key)
    refused(lambda: fl.open_lake(f"{s3}/lake"), words)
    refused(lambda: fl.convert(f"{local[0]}/raw", lake=f"{s3}/lake", workers=1), words)
    refused(lambda: fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1), words)


def test_no_lake_and_no_bucket(s3: str) -> None:
    with pytest.raises(fl.LakeError, match=f"There is no lake at {s3}/lake: make one with"):
        fl.open_lake(f"{s3}/lake")
    refused(
        lambda: fl.convert("s3://no-such-bucket/raw", lake=f"{s3}/lake"),
        "bucket does not exist: check its name",
    )


# Races: a conditional put decides who commits

RACERS = 8


def race(act: Callable[[int], object]) -> list[Any]:
    """Run the act in as many threads as there are racers, from one starting shot."""
    ready = Barrier(RACERS)

    def run(number: int) -> object:
        ready.wait()
        return act(number)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(run, range(RACERS)))


def entry(number: int) -> Change:
    row = {"object_id": number, "url": f"s3://raw/{number}", "etag": "x", "state": "converted"}
    return Change(objects=[pa.Table.from_pylist([row], schema=OBJECTS)])


def test_of_commits_on_one_head_one_lands(s3: str) -> None:
    Tables(f"{s3}/lake").create(PARTITIONS)
    racers = [Tables(f"{s3}/lake") for _ in range(RACERS)]
    heads = [tables.head() for tables in racers]

    def commit(number: int) -> int:
        try:
            return racers[number].commit(heads[number], entry(number))
        except fl.CommitConflict:
            return 0

    assert sorted(race(commit)) == [0] * (RACERS - 1) + [1]
    head = Tables(f"{s3}/lake").head()
    assert (head.n, head.ledger.height) == (1, 1)


def test_every_commit_that_tries_again_lands_once(s3: str) -> None:
    Tables(f"{s3}/lake").create(PARTITIONS)
    conflicts = []

    def commit(number: int) -> None:
        tables = Tables(f"{s3}/lake")
        while number not in (head := tables.head()).ledger["object_id"]:  # its answer may be lost
            try:
                tables.commit(head, entry(number))
            except fl.CommitConflict:
                conflicts.append(number)

    race(commit)
    head = Tables(f"{s3}/lake").head()
    assert head.n == RACERS
    assert sorted(head.ledger["object_id"]) == list(range(RACERS))
    assert conflicts


def test_converters_that_race_lose_and_double_nothing(
    s3: str, local: tuple[str, fl.Lake, int]
) -> None:
    """Each racer has the whole sample to do, and the lake is not even there yet."""
    reports = race(lambda _: fl.convert(f"{local[0]}/raw", lake=f"{s3}/lake", workers=1))
    assert sum(report.rows for report in reports) == local[2]
    assert_frame_equal(records(fl.open_lake(f"{s3}/lake")), records(local[1]))


@pytest.mark.parametrize("name", ["a b, c's", "ü", "a+b:{c}"])
def test_a_lake_may_lie_anywhere(place: str, name: str) -> None:
    storage, lake = open_storage(place), f"{place}/{name}/lake"
    good = "2 123456789010 eni-0a 10.0.0.5 10.0.0.9 1 443 6 1 4 1768428300 1768428360 ACCEPT OK"
    for number in (1, 2):
        storage.put(f"{place}/{name}/raw/{number}", f"{good}\n2 cut off\n".encode())
        report = fl.convert(f"{place}/{name}/raw", lake=lake, workers=1)
        assert (report.new, report.rows, report.rejected) == (1, 1, 1)
    found = fl.open_lake(lake)
    assert found.flows().collect().height == 2
    assert found.sql("SELECT count(*) FROM flows").fetchall() == [(2,)]
    assert found.objects()["rows"].to_list() == [1, 1]
    assert found.rejects()["text"].to_list() == ["2 cut off"] * 2


@pytest.mark.parametrize(
    "name", ["region=eu", "a%20b", "a?b", "a#b", "a*b", "a[1]", "a\\b", "a\nb"]
)
@pytest.mark.parametrize("place", ["s3://no-such-bucket", "/tmp"])
def test_a_lake_where_readers_would_err(place: str, name: str) -> None:
    """Below region=eu DuckDB would say region 'eu' of every row; the others are not found again."""
    for act in (fl.convert, fl.plan):
        with pytest.raises(fl.UsageError, match=r"cannot lie at .*Choose a path without them"):
            act("/nowhere", lake=f"{place}/{name}/lake")
    with pytest.raises(fl.UsageError, match="cannot lie at"):
        fl.open_lake(f"{place}/{name}")
