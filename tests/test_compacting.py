"""Compaction: fewer files, the same rows, whatever else is going on and whenever it is killed."""

import itertools
import math
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import flowlake
from flowlake import compacting, converting
from flowlake.catalog import questions
from flowlake.committing import SCHEMAS, Tables
from flowlake.compacting import TARGET_ROWS, compact, merges
from flowlake.converting import PARTITIONS
from flowlake.fields import DEFAULT_FORMAT
from flowlake.files import file_urls, live_files
from flowlake.queries import bind
from flowlake.samples import sample_objects
from flowlake.storage import open_storage
from flowlake.verifying import verify
from flowlake.writing import ROW_GROUP, DataFile, write_flows
from tests import crashing
from tests.conftest import on_s3_rarely
from tests.crashing import start
from tests.test_cli import Run, run
from tests.test_exactly_once import (
    DAY,
    HEADER,
    assert_right,
    clean,
    fill,
    put,
    raw_object,
)
from tests.test_transit_gateway import gateway_object

__all__ = ["run"]

QUESTIONS = ("protocol_breakdown", "rejected_flows", "top_talkers", "data_quality")
TABLES = ("flows", *SCHEMAS)
PLACE = "region=eu-west-1/account_id=000123456789"


@pytest.fixture(autouse=True)
def an_object_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversions write a file for each object and partition, as many short runs do."""
    monkeypatch.setattr(converting, "TASK_OBJECTS", 1)


def convert(place: str) -> converting.Report:
    """A conversion with a commit for each object."""
    return flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1, commit_seconds=0)


def file_counts(lake: str) -> dict[str, int]:
    tables = Tables(lake)
    return {name: len(tables.table(name).file_uris()) for name in TABLES}


def everything(lake: str) -> list[pl.DataFrame]:
    """All rows of all views, in an order of their own."""
    opened = flowlake.open_lake(lake)
    return [
        opened.flows().collect().sort(pl.all()),
        opened.transit_gateway_flows().collect().sort(pl.all()),
        opened.objects().sort(pl.all()),
        opened.rejects().sort(pl.all()),
    ]


def answers(lake: str) -> list[pl.DataFrame]:
    """What the lake answers, in SQL and in Polars."""
    opened = flowlake.open_lake(lake)
    asked = [each for each in questions() if each.name in QUESTIONS]
    assert len(asked) == len(QUESTIONS)
    return [
        *(opened.query(each.name).pl() for each in asked),
        *(each.twin(opened.flows(), **bind(each.query, {})).collect() for each in asked),
        opened.hunt("198.51.100.3").pl(),
        opened.flows(since=DAY + timedelta(minutes=20)).select(pl.len()).collect(),
    ]


def assert_same(now: list[pl.DataFrame], before: list[pl.DataFrame]) -> None:
    for one, other in zip(now, before, strict=True):
        assert_frame_equal(one, other, check_row_order=True)


# --- Which files --------------------------------------------------------------------------------


def listed(*rows: int, kind: str = "vpc", partition: str = "a", at: int = 0) -> pl.DataFrame:
    """Files of a partition with so many rows each, in the order of time."""
    return pl.DataFrame(
        {
            "path": [f"{partition}-{kind}-{at + number:06}" for number in range(len(rows))],
            "partition": [{"date": partition}] * len(rows),
            "rows": rows,
            "transit_gateway_rows": [{"vpc": 0, "tgw": n, "unsaid": None}[kind] for n in rows],
            "min.start_time": range(at, at + len(rows)),
        },
        schema={
            "path": pl.String,
            "partition": pl.Struct({"date": pl.String}),
            "rows": pl.Int64,
            "transit_gateway_rows": pl.Int64,
            "min.start_time": pl.Int64,
        },
    )


@pytest.mark.parametrize(
    ("rows", "merged"),
    [
        ([], []),
        ([5], []),
        ([5, 5], [[5, 5]]),
        ([5, 4], []),
        ([5, 4, 1], [[1, 4, 5]]),
        ([40, 1, 1, 1], [[1, 1, 1]]),
        ([40, 20, 10, 5, 1], []),
        ([40, 20, 10, 5, 5], [[5, 5, 10, 20, 40]]),
        ([50, 50, 90, 3, 3], [[3, 3]]),
        ([30, 30, 30, 30, 30, 30], [[30, 30, 30], [30, 30, 30]]),
        ([49, 49, 49, 49], [[49, 49], [49, 49]]),
    ],
    ids=str,
)
def test_what_is_merged(rows: list[int], merged: list[list[int]]) -> None:
    chosen = merges(listed(*rows), 100)
    assert [sorted(each["rows"]) for each in chosen] == merged


def test_kinds_and_partitions_stay_apart_and_times_together() -> None:
    files = pl.concat(
        [
            listed(*[30] * 6),
            listed(*[30] * 2, kind="tgw", at=2),
            listed(*[30] * 2, kind="unsaid"),
            listed(*[30] * 2, partition="b"),
            listed(30, partition="c"),
        ]
    ).sample(fraction=1, shuffle=True, seed=1)
    chosen = {tuple(each["path"].sort()) for each in merges(files, 100)}
    assert chosen == {
        ("a-vpc-000000", "a-vpc-000001", "a-vpc-000002"),
        ("a-vpc-000003", "a-vpc-000004", "a-vpc-000005"),
        ("a-tgw-000002", "a-tgw-000003"),
        ("a-unsaid-000000", "a-unsaid-000001"),
        ("b-vpc-000000", "b-vpc-000001"),
    }


@pytest.mark.parametrize("every", [1, 12, 288])
def test_a_day_of_short_runs(every: int) -> None:
    """288 files of random sizes, merged after every so many: few stay, few rows are rewritten."""
    chance = random.Random(every)
    files, came, rewritten = listed(), 0, 0
    for number in range(288):
        has = chance.randint(2_000, 8_000)
        files = pl.concat([files, listed(has, at=number)])
        came += has
        if number % every == every - 1:
            for group in merges(files, 2_000_000):
                has = int(group["rows"].sum())
                rewritten += has
                left = files.join(group, on="path", how="anti")
                files = pl.concat([left, listed(has, at=group["min.start_time"][0])])
            assert merges(files, 2_000_000) == []
            assert files.height <= 2 + math.log2(number + 1)
    assert files["rows"].sum() == came
    assert rewritten / came <= {1: 6, 12: 4, 288: 1}[every]


# --- What stays ---------------------------------------------------------------------------------


def fill_all_kinds(place: str) -> None:
    """Objects with rejects, a field of tomorrow, a second partition, and transit gateways'."""
    fill(place, 9)
    for number in range(3):
        moment = DAY + timedelta(minutes=5 * number)
        put(place, *gateway_object(number, moment, account="000123456789", region="eu-west-1"))
    put(place, raw_object(50)[0], b"not a flow log")


@on_s3_rarely
def test_answers_are_what_they_were(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowlake.files.READ_ROWS", 4)
    fill_all_kinds(place)
    lake = f"{place}/lake"
    convert(place)
    rows, asked = everything(lake), answers(lake)
    assert all(frame.height for frame in rows)
    assert file_counts(lake) == {"flows": 12, "objects": 13, "rejects": 10}
    done = compact(lake)
    assert (done.files, done.into, done.failures, done.overtaken) == (34, 4, [], 0)
    assert done.bytes_after < done.bytes_before
    assert file_counts(lake) == {"flows": 3, "objects": 1, "rejects": 1}
    assert_same(everything(lake), rows)
    assert_same(answers(lake), asked)
    found = verify(lake=lake, grace=timedelta(0), deep="all")
    assert found.gaps.rows() == []
    assert found.reread == 12
    live = live_files(Tables(lake).table("flows"))
    assert set(live["transit_gateway_rows"] / live["rows"]) == {0, 1}, "a file holds one kind"
    assert convert(place).new == 0


def test_a_second_compaction_does_nothing(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill_all_kinds(place)
    convert(place)
    compact(f"{place}/lake")
    tables = Tables(f"{place}/lake")
    before = [tables.table(name).version() for name in TABLES]
    done = compact(f"{place}/lake")
    assert (done.files, done.plan["to_merge"].sum()) == (0, 0)
    assert [tables.table(name).version() for name in TABLES] == before


def test_files_are_as_a_conversion_writes_them(tmp_path: Path) -> None:
    """Sorted, in row groups, with Bloom filters, and with the ranges in the log."""
    objects = sample_objects(
        records_per_object=30_000,
        accounts=["123456789010"],
        regions=["us-east-1"],
        formats=[DEFAULT_FORMAT],
    )
    for key, body in itertools.islice(objects, 1, 6):
        open_storage(str(tmp_path)).put(f"{tmp_path}/raw/{key}", body)
    convert(str(tmp_path))
    lake = str(tmp_path / "lake")
    compact(lake)
    live = live_files(Tables(lake).table("flows"))
    largest = live.sort("rows")[-1].to_dicts()[0]
    assert largest["rows"] > ROW_GROUP
    file = pq.ParquetFile(f"{lake}/flows/{largest['path']}")
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    assert [group.num_rows for group in groups[:-1]] == [ROW_GROUP] * (len(groups) - 1)
    columns = {
        groups[0].column(at).path_in_schema: groups[0].column(at)
        for at in range(groups[0].num_columns)
    }
    for name in ("srcaddr", "dstaddr", "interface_id"):
        assert columns[name].statistics is not None
        assert columns[name].bloom_filter_offset is not None
    rows = pl.DataFrame(file.read(["start_time", "interface_id", "srcaddr", "end_time"]))
    order = [pl.col("start_time").dt.truncate("1h"), "interface_id", "srcaddr"]
    assert rows.select(order).equals(rows.select(order).sort(pl.all(), nulls_last=False))
    for name in rows.columns:
        low, high = largest[f"min.{name}"], largest[f"max.{name}"]
        assert (low, high) == (rows[name].min(), rows[name].max())


@pytest.mark.parametrize("by", [PARTITIONS[:1], PARTITIONS], ids="/".join)
def test_a_changed_object_leaves_the_others_as_they_were(
    tmp_path: Path, by: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are taken out of a merged file, which is read in parts."""
    monkeypatch.setattr("flowlake.files.READ_ROWS", 13)
    place, lake = str(tmp_path), str(tmp_path / "lake")
    fill_all_kinds(place)
    flowlake.convert(f"{place}/raw", lake=lake, workers=1, partition_by=by)
    rows = everything(lake)
    compact(lake)
    assert_same(everything(lake), rows)
    flows, gateways, objects, _ = everything(lake)
    changed = objects.filter(pl.col("url").str.ends_with(raw_object(3)[0]))["object_id"]
    put(place, raw_object(3)[0], raw_object(3, records=2)[1])
    assert convert(place).replaced == 1
    new_flows, new_gateways, *_ = everything(lake)
    others = pl.col("object_id").is_in(objects["object_id"].implode())
    left = flows.filter(~pl.col("object_id").is_in(changed.implode()))
    assert (left.height, new_flows.height) == (flows.height - 6, flows.height - 4)
    assert_same([new_flows.filter(others), new_gateways], [left, gateways])


def test_rows_that_are_not_the_same_are_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    before = everything(f"{place}/lake")
    files = set(tmp_path.rglob("*.parquet"))

    def write_badly(frames: list[pl.DataFrame], **more: Any) -> list[DataFile]:
        one = pl.int_range(pl.len()) == 3
        bad = frames[0].with_columns(dstport=pl.when(one).then(444).otherwise("dstport"))
        return write_flows([bad.cast({"dstport": pl.Int32})], **more)

    monkeypatch.setattr(compacting, "write_flows", write_badly)
    with pytest.raises(flowlake.LakeError, match="is not what was to be merged"):
        compact(f"{place}/lake")
    assert set(tmp_path.rglob("*.parquet")) == files
    assert_same(everything(f"{place}/lake"), before)


@pytest.mark.parametrize("damage", ["gone", "cut", "short"])
def test_a_damaged_file_is_named_and_the_others_are_merged(tmp_path: Path, damage: str) -> None:
    place = str(tmp_path)
    fill(place, 6)
    put(place, *raw_object(9, slot=DAY + timedelta(days=1)))
    convert(place)
    lake = f"{place}/lake"
    path = next(Path(url) for url in file_urls(Tables(lake).table("flows")) if "03-01" in url)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    done = compact(lake)
    assert [where for where, _ in done.failures] == [
        "flows/date=2026-03-01/region=eu-west-1/account_id=000123456789"
    ]
    assert "flowlake verify" in done.failures[0][1]
    assert file_counts(lake) == {"flows": 6, "objects": 1, "rejects": 1}


def test_more_than_one_file_of_a_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that do not fit into one file are cut by time, and read in parts."""
    place = str(tmp_path)
    fill(place, 14)
    convert(place)
    before = everything(f"{place}/lake")
    monkeypatch.setitem(TARGET_ROWS, "flows", 24)
    monkeypatch.setattr("flowlake.files.READ_ROWS", 13)
    compact(f"{place}/lake")
    live = live_files(Tables(f"{place}/lake").table("flows")).sort("min.start_time")
    assert live["rows"].sort().to_list() == [6, 6, 24, 24, 24]
    assert_same(everything(f"{place}/lake"), before)
    full = live.filter(pl.col("rows") == 24)
    assert (full["max.start_time"] < full["min.start_time"].shift(-1)).drop_nulls().all()


# --- Beside others ------------------------------------------------------------------------------


def once(action: Callable[[], Any]) -> Callable[[], None]:
    """Do it the first time only, and not from within itself."""
    done: list[bool] = []

    def do() -> None:
        if not done:
            done.append(True)
            action()

    return do


def hold(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, meanwhile: Callable[[], Any]
) -> list[Any]:
    """Let something else happen just before the first call; the list has what calls return."""
    method = getattr(owner, name)
    do = once(meanwhile)
    answered: list[Any] = []

    def held(*args: Any, **kwargs: Any) -> Any:
        do()
        answered.append(method(*args, **kwargs))
        return answered[-1]

    monkeypatch.setattr(owner, name, held)
    return answered


def no_stray_files(lake: str, before: set[str]) -> None:
    """Whatever lies in flows and was written since is live."""
    tables = Tables(lake)
    there = set(pl.concat(tables.storage.list(f"{lake}/flows"))["url"])
    written = {
        url for url in there - before if url.endswith(".parquet") and "_delta_log" not in url
    }
    assert written <= set(file_urls(tables.table("flows")))


def files_of(lake: str) -> set[str]:
    return set(pl.concat(Tables(lake).storage.list(f"{lake}/flows"))["url"])


MOMENTS = (
    *(("folder", "_write"), ("folder", "exchange")),
    pytest.param("s3", "exchange", marks=pytest.mark.long),
)
"""Before it writes, and between the look at its snapshot and its commit."""


@pytest.mark.parametrize(("place", "moment"), MOMENTS, indirect=["place"])
def test_a_compaction_that_another_was_faster_than(
    place: str, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place, 6)
    convert(place)
    expected, lake = clean(place, tmp_path), f"{place}/lake"
    before = files_of(lake)
    owner = Tables if moment == "exchange" else compacting._Run
    answers = hold(monkeypatch, owner, moment, lambda: compact(lake))
    done = compact(lake)
    if moment == "exchange":
        assert answers[:3] == [True, True, True], "the other's, of three tables"
        assert answers[3] is False, "the same rows would be there twice"
    assert (done.files, done.overtaken) == (0, 0)
    no_stray_files(lake, before)
    assert_right(place, expected)


@pytest.mark.parametrize(("place", "moment"), MOMENTS, indirect=["place"])
def test_a_conversion_replaces_rows_under_a_compaction(
    place: str, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place, 6)
    convert(place)
    put(place, raw_object(3)[0], raw_object(3, records=11)[1])
    expected, lake = clean(place, tmp_path), f"{place}/lake"
    owner = Tables if moment == "exchange" else compacting._Run
    answers = hold(monkeypatch, owner, moment, lambda: convert(place))
    done = compact(lake)
    if moment == "exchange":
        assert answers[0] is False
    assert done.overtaken == 0, "it has planned again"
    assert done.files
    assert_right(place, expected)


def test_a_compaction_under_a_conversion_that_replaces_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conversion has read the files that it is about to replace; then they are merged."""
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    put(place, raw_object(3)[0], raw_object(3, records=11)[1])
    expected, lake = clean(place, tmp_path), f"{place}/lake"
    hold(monkeypatch, Tables, "_commit_table", lambda: compact(lake))
    report = convert(place)
    assert (report.replaced, report.elsewhere) == (1, 0)
    assert_right(place, expected)


@pytest.mark.parametrize("what", ["object", "column"])
def test_a_conversion_adds_rows_under_a_compaction(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New rows disturb nobody; a new column refuses the commit, and it is made again."""
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    lake = f"{place}/lake"

    def add() -> None:
        more = " field-of-next-week" if what == "column" else ""
        names = HEADER + more
        put(place, *raw_object(60, header=names))
        convert(place)

    answers = hold(monkeypatch, Tables, "exchange", add)
    done = compact(lake)
    assert answers[0] is (what == "object")
    assert done.overtaken == 0
    assert done.files
    assert_right(place, clean(place, tmp_path))


def lose_the_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception, table: str | None = None
) -> list[bool]:
    """Let the first commit, of a table or of any, land and raise; the list is filled by then."""
    commit, lost = Tables._commit_table, list[bool]()

    def lose(self: Tables, handle: Any, *more: Any) -> None:
        commit(self, handle, *more)
        wanted = table is None or handle.table_uri.rstrip("/").endswith(f"/{table}")
        if wanted and not lost:
            lost.append(True)
            raise error

    monkeypatch.setattr(Tables, "_commit_table", lose)
    return lost


@pytest.mark.parametrize("table", TABLES)
def test_a_commit_that_lands_and_seems_refused(
    tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the answer to a conditional write is lost: the files that landed must stay."""
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    before, lake = everything(f"{place}/lake"), f"{place}/lake"
    lost = lose_the_answer(monkeypatch, flowlake.CommitConflict("refused"), table)
    done = compact(lake)
    assert lost
    assert done.overtaken == 0
    assert file_counts(lake) == {"flows": 2, "objects": 1, "rejects": 1}
    assert_same(everything(lake), before)


@pytest.mark.parametrize("seconds", [0, 60], ids=["at once", "at the end"])
def test_a_commit_that_lands_and_seems_to_fail(
    tmp_path: Path, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the network fails on the way back: nobody knows, so nothing is deleted."""
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    before, lake = everything(f"{place}/lake"), f"{place}/lake"
    lost = lose_the_answer(monkeypatch, flowlake.StorageError("S3 cannot be reached"))
    with pytest.raises(flowlake.StorageError, match="cannot be reached"):
        compact(lake, commit_seconds=seconds)
    assert lost
    assert_same(everything(lake), before)
    compact(lake)
    assert file_counts(lake) == {"flows": 2, "objects": 1, "rejects": 1}
    assert_same(everything(lake), before)


def test_a_commit_that_was_cut_off_is_finished_first(tmp_path: Path) -> None:
    """The ledger lags, and its files are named by an entry of the log alone."""
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    put(place, *raw_object(40))
    # flows, rejects, ledger; commits 3, 4, 5
    crashing.run("convert", f"{place}/raw", f"{place}/lake", kill_before=4)
    tables = Tables(f"{place}/lake")
    assert not tables.view().settled
    compact(f"{place}/lake")
    assert tables.view().settled
    assert_right(place, clean(place, tmp_path))


def test_an_open_lake_reads_what_it_read(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    opened = flowlake.open_lake(f"{place}/lake")
    compact(f"{place}/lake")
    assert opened.flows().select(pl.len()).collect().item() == 36
    assert len(opened.files()) == 6


@on_s3_rarely
def test_all_at_once(place: str, tmp_path: Path) -> None:
    """Two compactions beside two conversions, of new objects and of one that has changed."""
    fill(place, 14)
    convert(place)
    put(place, raw_object(3)[0], raw_object(3, records=11)[1])
    for number in range(30, 50):
        put(place, *raw_object(number))
    expected, lake = clean(place, tmp_path), f"{place}/lake"
    running = [
        start("compact", lake),
        start("convert", f"{place}/raw", lake),
        start("compact", lake),
        start("convert", f"{place}/raw", lake),
    ]
    for process in running:
        process.join(120)
    assert [process.exitcode for process in running] == [0] * len(running)
    assert_right(place, expected)
    compact(lake)
    assert_right(place, expected)
    assert file_counts(lake)["flows"] <= 8, "each is larger than all smaller ones together"


# --- Where it is told ---------------------------------------------------------------------------


def test_status_counts_what_would_be_merged(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    before = flowlake.open_lake(f"{place}/lake").status()
    assert (before.files, before.small_files, before.small_files_into) == (6, 5, 1)
    plan = compact(f"{place}/lake", dry_run=True).plan
    assert plan.rows() == [
        ("flows", f"date=2026-03-01/{PLACE}", 5, 5, 5, plan["bytes"][0], 1),
        ("flows", f"date=2026-03-02/{PLACE}", 1, 1, 0, 0, 0),
        ("rejects", "", 6, 6, 6, plan["bytes"][2], 1),
        ("objects", "", 6, 6, 6, plan["bytes"][3], 1),
    ]
    assert flowlake.open_lake(f"{place}/lake").status() == before, "a dry run changes nothing"
    compact(f"{place}/lake")
    after = flowlake.open_lake(f"{place}/lake").status()
    assert (after.files, after.small_files, after.small_files_into) == (2, 0, 0)


def test_there_is_no_lake(place: str) -> None:
    with pytest.raises(flowlake.LakeError, match="There is no lake"):
        compact(f"{place}/lake")


# --- The command --------------------------------------------------------------------------------


def test_the_command(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 6)
    convert(place)
    shown = run("status").out
    assert "small files           5\nsmall files into      1\n" in shown
    assert "5 small files can be merged into 1: flowlake compact --lake lake" in shown
    planned = run("compact", "--dry-run")
    assert planned.out.split("\n")[2].split() == [
        *("flows", f"date=2026-03-01/{PLACE}"),
        *("5", "5", "5", planned.out.split("\n")[2].split()[5], "1"),
    ]
    assert "date=2026-03-02" not in planned.out, "there is nothing to merge"
    assert planned.err == "18 files, of which 17 can be merged into 3.\n"
    assert len(run("compact", "--dry-run", "--format", "json").json()) == 4
    done = run("compact")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Merged 17 files (")
    assert "into 3 (" in done.out
    assert "30 rows" in done.out
    assert run("compact").out == "Nothing to merge: lake\n"
    facts = run("compact", "--format", "json").json()
    assert (facts[0]["files"], facts[0]["failures"]) == (0, 0)
    assert "small files can be merged" not in run("status").out


def test_convert_and_compact(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path)
    (tmp_path / "raw").mkdir()
    empty = run("convert", "raw", "--compact")
    assert (empty.code, empty.out.count("\n")) == (0, 1), "there is no lake to compact"
    fill(place, 6)
    assert run("convert", "raw", "--workers", "1").code == 0
    put(place, *raw_object(9))
    done = run("convert", "raw", "--compact")
    assert done.code == 0
    assert "Converted 1 of 7 listed objects" in done.out
    assert "Merged 13 files (" in done.out.splitlines()[-1]
    put(place, *raw_object(10))
    facts = run("convert", "raw", "--compact", "--format", "json")
    assert facts.json()[0]["objects"] == 1
    assert facts.err.startswith("Merged 2 files ("), "the answer alone is on standard output"
    assert_right(place, clean(place, tmp_path))


def test_a_damaged_file_on_the_command_line(run: Run, tmp_path: Path) -> None:
    fill(str(tmp_path), 6)
    convert(str(tmp_path))
    for path in (tmp_path / "lake" / "flows").glob("date=2026-03-01/**/*.parquet"):
        path.write_bytes(b"PAR1")
    done = run("compact")
    assert done.code == 1
    assert done.err.startswith(f"could not merge flows/date=2026-03-01/{PLACE}: ")
    assert "Merged 12 files (" in done.out


def test_nothing_to_compact(run: Run) -> None:
    done = run("compact", "--lake", "nowhere")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("flowlake: There is no lake at ")
    assert run("compact", "--format", "xml").code == 2
