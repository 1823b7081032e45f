"""Estimates: the files, rows, bytes and requests foretold, against conversions that were run."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

import flowlake
from flowlake import converting, estimating
from flowlake.committing import Tables
from flowlake.converting import HOURLY, PARTITIONS, partitions
from flowlake.errors import UsageError
from flowlake.estimating import RATES, Estimate, Work, dollars, estimate, files, layouts
from flowlake.layout import object_key
from flowlake.planning import list_objects
from flowlake.samples import write_sample
from flowlake.storage import Access, open_storage
from flowlake.window import Window
from tests.test_exactly_once import ACCOUNT, DAY, HEADER, raw_object, record

REGIONS = ("us-east-1", "eu-west-1")
LAYOUTS = [PARTITIONS[:count] for count in (1, 2, 3)]


def fill(folder: Path, places: int, objects: int) -> str:
    """Objects of one hour from so many pairs of account and region."""
    for place in range(places):
        account, region = f"{100_000_000_000 + place // 2}", REGIONS[place % 2]
        body = f"{HEADER}\n{record(place, DAY)}\n".replace(ACCOUNT, account).encode()
        for number in range(objects):
            slot = DAY + timedelta(minutes=5 * number)
            key = object_key(account, region, "fl-0abc", slot, f"{place:04x}{number:04x}")
            file = folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
    return str(folder)


def listed(source: str) -> pl.DataFrame:
    return list_objects([source], Window(), Access())


def estimated(source: str, lake: Path | str, by: Sequence[str] | None = None) -> Estimate:
    listing, new = flowlake.plan(source, lake=lake)
    return estimate(listing, new, lake=str(lake), cores=1, partition_by=by)


@pytest.mark.parametrize("by", LAYOUTS, ids=",".join)
def test_files_of_a_run(
    tmp_path: Path, by: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (converting, estimating):
        monkeypatch.setattr(module, "TASK_OBJECTS", 10)
    source = fill(tmp_path / "raw", places=30, objects=4)
    foretold = estimated(source, tmp_path / "lake", by)
    report = flowlake.convert(source, lake=tmp_path / "lake", partition_by=by, workers=1)
    assert (foretold.partition_by, foretold.objects) == (by, report.objects)
    if by == ("date",):
        assert foretold.files == report.files == 12
    else:
        assert report.files <= foretold.files <= 1.2 * report.files


def test_a_new_lake_gets_folders_for_a_hundred_accounts_and_regions(tmp_path: Path) -> None:
    for places, expected in ((100, PARTITIONS), (101, ("date",))):
        source, lake = fill(tmp_path / f"raw-{places}", places, 1), tmp_path / f"lake-{places}"
        foretold = estimated(source, lake)
        assert foretold.partition_by == expected
        hourly = foretold.layouts.filter(runs_a_day=HOURLY)
        assert hourly["files_a_day"].to_list() == [places * HOURLY, 2 * HOURLY, HOURLY]
        assert hourly["chosen"].to_list() == [by == expected for by in reversed(LAYOUTS)]
        flowlake.convert(source, lake=lake, workers=1)
        assert flowlake.open_lake(lake).partition_by == expected


def test_a_thousand_accounts_make_no_million_files(tmp_path: Path) -> None:
    """In two regions, hour by hour for thirty days."""
    hour = (
        pl.DataFrame({"account_id": [f"{100_000_000_000 + each}" for each in range(1_000)]})
        .join(pl.DataFrame({"region": REGIONS}), how="cross")
        .join(
            pl.DataFrame({"slot": [DAY + timedelta(minutes=5 * n) for n in range(12)]}), how="cross"
        )
        .with_columns(last_modified="slot", size=pl.lit(30_000))
    )
    names = hour.select("account_id", "region", "slot").rows()
    keys = [object_key(account, region, "fl-0abc", slot, "0001") for account, region, slot in names]
    hour = hour.with_columns(url=pl.Series(keys))
    assert partitions(Tables(str(tmp_path / "lake")), hour) == ("date",)
    run = Work(hour.height, 30_000 * hour.height, (1, 2, 2_000))
    table = layouts(run, Work(24 * run.objects, 24 * run.bytes, run.folders), ("date",), 2)
    hourly = dict(table.filter(runs_a_day=HOURLY).select("partition_by", "files_a_day").rows())
    assert 30 * hourly[",".join(PARTITIONS)] > 1_000_000
    assert 30 * hourly["date"] < 50_000


def test_a_lake_that_is_partitioned_for_less_is_told(tmp_path: Path) -> None:
    source, lake = fill(tmp_path / "raw", 101, 1), tmp_path / "lake"
    flowlake.convert(source, lake=lake, workers=1, partition_by=PARTITIONS)
    found = estimated(source, lake)
    assert (found.objects, found.files, found.partition_by) == (0, 0, PARTITIONS)
    assert "2,424 files a day at hourly runs" in (found.advice or "")
    assert "--partition-by date." in (found.advice or "")
    flowlake.convert(source, lake=tmp_path / "other", workers=1)
    assert estimated(source, tmp_path / "other").advice is None
    with pytest.raises(UsageError, match="chosen once"):
        estimated(source, lake, ("date",))
    with pytest.raises(UsageError, match="partitioned by date, region, account_id or the first"):
        estimated(source, tmp_path / "new", ("region",))


@pytest.mark.parametrize(("records", "hours"), [(20, 4), (500, 4), (8_000, 1)])
def test_rows_and_bytes_are_about_right(tmp_path: Path, records: int, hours: int) -> None:
    source, lake = str(tmp_path / "raw"), tmp_path / "lake"
    write_sample(open_storage(source), prefix=f"{source}/", hours=hours, records_per_object=records)
    foretold = estimated(source, lake)
    report = flowlake.convert(source, lake=lake, workers=1)
    assert foretold.bytes == report.new_bytes
    assert 0.4 < foretold.rows / report.rows < 2.5
    assert 0.4 < foretold.parquet_bytes / report.file_bytes < 2.5
    assert report.files <= foretold.files <= 1.2 * report.files


def test_requests_are_those_of_s3(s3: str, tmp_path: Path) -> None:
    for number in range(3):
        key, body = raw_object(number)
        open_storage(s3).put(f"{s3}/raw/{key}", body)
    found = estimated(f"{s3}/raw", f"{s3}/lake")
    assert (found.list_requests, found.get_requests, found.put_requests) == (1, 3, 5)
    assert found.dollars == round(6 * 0.000005 + 3 * 0.0000004, 4)
    found = estimated(f"{s3}/raw", tmp_path / "lake")
    assert (found.list_requests, found.get_requests, found.put_requests) == (1, 3, 0)
    flowlake.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    found = estimated(f"{s3}/raw", f"{s3}/lake")
    assert (found.list_requests, found.get_requests, found.put_requests) == (1, 0, 0)
    assert dollars(1_000, 0, 0) == dollars(0, 0, 1_000) == pytest.approx(0.005)
    assert dollars(0, 1_000, 0) == pytest.approx(0.0004)


def test_nothing_listed(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    found = estimated(str(tmp_path / "raw"), tmp_path / "lake")
    assert (found.listed, found.objects, found.files, found.dollars) == (0, 0, 0, 0)
    assert found.layouts["files_a_day"].sum() == 0


def test_large_tasks_write_after_a_million_rows() -> None:
    """Forty objects of 250,000 records: eight tasks of five, which write after the fourth."""
    run = Work(40, round(10_000_000 * RATES.record), (1, 1, 1))
    assert files(run, ("date",), cores=2) == 16
