"""What is too old goes, for good; what is not stays, and nothing comes back by itself."""

import gzip
import itertools
import json
import signal
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import flowlake
from flowlake import compact, expiring
from flowlake.committing import Tables
from flowlake.expiring import COUNTS, expire
from flowlake.storage import open_storage
from flowlake.vacuuming import vacuum
from flowlake.verifying import verify
from tests import crashing
from tests.test_cli import Run, run
from tests.test_compacting import hold
from tests.test_crashes import copy
from tests.test_exactly_once import Totals, fill, put, raw_object, totals
from tests.test_vacuuming import live, parquet

__all__ = ["run"]

NOW = timedelta(0)
SECOND = date(2026, 3, 2)
"""``fill`` has objects of 1 March and one of 2 March."""


def converted(place: str, count: int = 8) -> Totals:
    fill(place, count)
    convert(place)
    return totals(f"{place}/lake")


def convert(place: str, *, retry: bool = False) -> flowlake.Report:
    return flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1, retry=retry)


def of_second(all_of_it: Totals) -> Totals:
    return all_of_it.filter(pl.col("last").dt.date() >= SECOND)


def assert_agrees(place: str) -> None:
    found = verify(lake=f"{place}/lake", grace=NOW)
    assert found.gaps.rows() == []


def test_what_is_old_goes_and_does_not_come_back(place: str) -> None:
    before = converted(place)
    lake = f"{place}/lake"
    plan = expire(lake, older_than="2026-03-02", dry_run=True)
    assert plan.rows() == [(date(2026, 3, 1), 7, 42, 7)]
    assert totals(lake).equals(before)
    assert expire(lake, older_than="2026-03-02").equals(plan)
    assert totals(lake).equals(of_second(before))
    assert_agrees(place)
    for retry in (False, True):
        report = convert(place, retry=retry)
        assert (report.new, report.objects, report.copies) == (0, 0, 0)
    assert expire(lake, older_than="2026-03-02").is_empty()
    opened = flowlake.open_lake(lake)
    assert opened.rejects().height == 1
    status = opened.status()
    assert (status.objects, status.removed, status.replaced, status.lines) == (8, 7, 0, 7)
    assert verify(lake=lake, grace=NOW).removed == 7


def test_the_ledger_counts_nothing_of_what_is_gone(tmp_path: Path) -> None:
    place = str(tmp_path)
    key, body = raw_object(1)
    nodata = "2 000123456789 eni-1 - - - - - - - 1772366700 1772366710 - NODATA"
    put(place, key, gzip.compress(f"{gzip.decompress(body).decode()}{nodata}\n".encode()))
    convert(place)
    assert Tables(f"{place}/lake").view().live["nodata"].item() == 1
    expire(f"{place}/lake", older_than="2026-03-02")
    row = Tables(f"{place}/lake").view().live
    assert set(row.select("state", *COUNTS).row(0)) == {"removed", 0}
    assert row.select("first_date", "last_date").row(0) == (None, None)


def test_every_date_but_today(tmp_path: Path) -> None:
    place, today = str(tmp_path), datetime.now(UTC).replace(hour=0, minute=0, second=0)
    dates = [today.date() - timedelta(days=number) for number in (6, 5, 4, 3, 2, 1, 0)]
    for number in (0, 3, 6, 1, 5, 2, 4):
        put(place, *raw_object(number, slot=today - timedelta(days=number)))
    convert(place)
    with pytest.raises(flowlake.UsageError, match="is in the future: all records would go"):
        expire(f"{place}/lake", older_than=today + timedelta(days=2))
    plan = expire(f"{place}/lake", older_than=today + timedelta(hours=1), dry_run=True)
    assert plan.rows() == [(day, 1, 6, 1) for day in dates[:-1]]
    assert plan["objects"].dtype == pl.Int64


def test_rejects_of_which_none_is_old_are_not_written_again(tmp_path: Path) -> None:
    place = str(tmp_path)
    put(place, *raw_object(1))
    convert(place)
    put(place, *raw_object(2, slot=datetime(2026, 3, 2, 5, tzinfo=UTC)))
    convert(place)
    files = set(Tables(f"{place}/lake").table("rejects").file_uris())
    expire(f"{place}/lake", older_than="2026-03-02")
    left = set(Tables(f"{place}/lake").table("rejects").file_uris())
    assert (len(files), len(files & left)) == (2, 1)


def test_rejects_that_a_cut_off_expiry_left_go_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path)
    converted(place)
    lake = f"{place}/lake"

    def cut_off(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Tables, "exchange", cut_off)
        expire(lake, older_than="2026-03-02")
    assert expire(lake, older_than="2026-03-02").is_empty()
    stored = Tables(lake).table("rejects").file_uris()
    assert sum(pl.read_parquet(file).height for file in stored) == 1
    assert expire(lake, older_than="2026-03-02").is_empty()
    assert Tables(lake).table("rejects").file_uris() == stored, "nothing is left to do"


@pytest.mark.parametrize("moment", [(expiring, "write_table"), (Tables, "exchange")])
def test_rejects_that_are_merged_meanwhile(
    tmp_path: Path, moment: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path)
    put(place, *raw_object(1))
    convert(place)
    put(place, *raw_object(2, slot=datetime(2026, 3, 2, 5, tzinfo=UTC)))
    convert(place)
    lake = f"{place}/lake"
    hold(monkeypatch, *moment, lambda: compact(lake))
    expire(lake, older_than="2026-03-02")
    assert flowlake.open_lake(lake).rejects().height == 1
    stored = Tables(lake).table("rejects").file_uris()
    assert sum(pl.read_parquet(file).height for file in stored) == 1
    assert_agrees(place)


def test_rejects_of_a_commit_under_way_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path)
    converted(place)
    lake = f"{place}/lake"
    put(place, *raw_object(90, slot=datetime(2026, 3, 2, 9, tzinfo=UTC)))
    follow = Tables._follow

    def not_the_ledger(self: Tables, table: Any, name: str, files: Any, n: int) -> None:
        if name == "objects":
            raise KeyboardInterrupt
        follow(self, table, name, files, n)

    def convert_in_part() -> None:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Tables, "_follow", not_the_ledger)
            convert(place)

    hold(monkeypatch, expiring, "_drop_rejects", convert_in_part)
    expire(lake, older_than="2026-03-02")
    assert flowlake.open_lake(lake).rejects()["url"].n_unique() == 2
    assert_agrees(place)


def test_another_process_commits_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path)
    before = converted(place)
    put(place, *raw_object(90, slot=datetime(2026, 3, 1, 9, tzinfo=UTC)))
    commit = Tables.commit

    def slower(self: Tables, *arguments: Any) -> Any:
        monkeypatch.undo()
        assert convert(place).objects == 1
        return commit(self, *arguments)

    monkeypatch.setattr(Tables, "commit", slower)
    expire(f"{place}/lake", older_than="2026-03-02")
    assert totals(f"{place}/lake").equals(of_second(before))
    assert_agrees(place)


def test_a_vacuum_takes_the_last_trace_of_the_records(place: str) -> None:
    converted(place)
    lake = f"{place}/lake"
    assert flowlake.open_lake(lake).rejects().height == 8
    expire(lake, older_than="2026-03-02")
    vacuum(lake, retention=NOW, no_writers=True)
    tables = Tables(lake)
    for name, kept in (("flows", 6), ("rejects", 1)):
        listed = pl.concat(tables.storage.list(f"{lake}/{name}"))["url"]
        files = listed.filter(~listed.str.contains("/_delta_log/"))
        bodies = [bytes(tables.storage.get(url)) for url in files]
        assert sum(pl.read_parquet(body).height for body in bodies) == kept
    assert_agrees(place)


def test_an_object_over_midnight_stays_with_its_later_day(tmp_path: Path) -> None:
    place = str(tmp_path)
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    put(place, *raw_object(1, slot=midnight - timedelta(seconds=3)))
    put(place, *raw_object(2, slot=midnight - timedelta(hours=3)))
    convert(place)
    assert expire(f"{place}/lake", older_than="2026-03-02").rows() == [(date(2026, 3, 1), 1, 6, 1)]
    rows = flowlake.open_lake(f"{place}/lake").flows().collect()
    assert rows["start_time"].dt.date().unique().sort().to_list() == [date(2026, 3, 1), SECOND]
    assert_agrees(place)
    assert expire(f"{place}/lake", older_than="2026-03-03")["rows"].to_list() == [6]
    assert flowlake.open_lake(f"{place}/lake").flows().collect().is_empty()
    assert_agrees(place)


def test_rows_beside_them_in_their_files_stay(tmp_path: Path) -> None:
    """A compacted file of a partition that holds both: it is written again without the old."""
    place = str(tmp_path)
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    put(place, *raw_object(1, slot=midnight - timedelta(seconds=3)))
    put(place, *raw_object(2, slot=midnight - timedelta(hours=3)))
    convert(place)
    both = totals(f"{place}/lake")
    version = flowlake.open_lake(f"{place}/lake").version
    expire(f"{place}/lake", older_than="2026-03-02")
    assert totals(f"{place}/lake").equals(both.filter(pl.col("last") >= midnight))
    entry = Path(place, "lake", "flows", "_delta_log", f"{version + 1:020}.json").read_text()
    actions = [json.loads(line) for line in entry.splitlines()]
    assert {a["remove"]["dataChange"] for a in actions if "remove" in a} == {True}
    assert {a["add"]["dataChange"] for a in actions if "add" in a} == {False}


def test_content_that_changes_comes_back(tmp_path: Path) -> None:
    place = str(tmp_path)
    before = converted(place)
    expire(f"{place}/lake", older_than="2026-03-02")
    put(place, raw_object(3)[0], raw_object(3, records=9)[1])
    report = convert(place)
    assert (report.objects, report.replaced) == (1, 1)
    rows = totals(f"{place}/lake")["rows"].sort().to_list()
    assert rows == [*of_second(before)["rows"], 9]
    assert flowlake.open_lake(f"{place}/lake").status().removed == 6
    assert_agrees(place)


def test_objects_without_records_go_by_their_names(tmp_path: Path) -> None:
    place = str(tmp_path)
    old, new = raw_object(1)[0], raw_object(2, slot=datetime(2026, 3, 2, 5, tzinfo=UTC))[0]
    for key in (old, new):
        put(place, key, b"\x1f\x8b\x08 damaged")
    assert convert(place).unreadable == 2
    assert expire(f"{place}/lake", older_than="2026-03-02").rows() == [(date(2026, 3, 1), 1, 0, 0)]
    opened = flowlake.open_lake(f"{place}/lake")
    assert opened.rejects()["url"].to_list() == [f"{place}/raw/{new}"]
    assert convert(place, retry=True).unreadables[0][0] == f"{place}/raw/{new}"
    assert_agrees(place)


def test_the_command(tmp_path: Path, run: Run) -> None:
    place = str(tmp_path)
    converted(place)
    lake = f"{place}/lake"
    shown = run("expire", "--older-than", "2026-03-02", "--lake", lake, "--dry-run")
    assert "42 rows of 7 objects to remove." in shown.err + shown.out
    written = run("expire", "--older-than", "2026-03-02", "--lake", lake, "--format", "json")
    assert json.loads(written.out) == [
        {"date": "2026-03-01", "objects": 7, "rows": 42, "rejected": 7}
    ]
    verified = run("verify", "--lake", lake, "--grace", "0m")
    assert "0 skipped, 7 removed." in verified.err + verified.out
    future = run("expire", "--older-than", "2999-01-01", "--lake", lake)
    assert (future.code, "in the future" in future.err) == (2, True)
    assert run("expire", "--lake", lake).code == 2
    assert run("expire", "--older-than", "1d", "--lake", f"{place}/none").code != 0
    assert open_storage(place).list(f"{place}/raw")


@pytest.mark.parametrize(
    ("place", "every"),
    [("folder", 3), *(pytest.param(p, 1, marks=pytest.mark.long) for p in ("folder", "s3"))],
    indirect=["place"],
)
def test_killed_before_every_step(place: str, every: int, tmp_path: Path) -> None:
    before = converted(place)
    put(place, *raw_object(90, slot=datetime(2026, 2, 27, tzinfo=UTC)))
    convert(place)
    kept = of_second(before)
    days = [7 * [6] + [6] + [6], 7 * [6] + [6], [6]]
    for step in itertools.count(step=every):
        attempt = f"{place}/attempt-{step}"
        copy(f"{place}/lake", f"{attempt}/lake")
        code = crashing.run("expire", f"{attempt}/lake", "2026-03-02", kill_before=step)
        assert totals(f"{attempt}/lake")["rows"].to_list() in days, "of a date all or none"
        expire(f"{attempt}/lake", older_than="2026-03-02")
        vacuum(f"{attempt}/lake", retention=NOW, no_writers=True)
        assert parquet(f"{attempt}/lake") == live(f"{attempt}/lake")
        assert totals(f"{attempt}/lake").equals(kept)
        assert flowlake.open_lake(f"{attempt}/lake").rejects().height == 1
        assert_agrees(attempt)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert step >= 10, "two dates: the ledger, three commits each; and the rejects"


def test_times_of_day_play_no_part() -> None:
    with pytest.raises(flowlake.UsageError, match="'soon' is not a time"):
        expire("lake", older_than="soon")
