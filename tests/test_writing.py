"""What is written is read back equal by every engine, and the log's entry tells the truth."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flowlake import writing
from flowlake.fields import flows_schema
from flowlake.reading import RawObject, read_object
from flowlake.samples import sample_objects
from flowlake.writing import BLOOM_COLUMNS, DataFile, write_flows, write_table

URL = "/table"
PARTITIONS = ("date", "region", "account_id")
TIME = pl.Datetime("us", "UTC")


class Shelf:
    """A storage that keeps what is put on it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, url: str, body: Any) -> None:
        self.files[url] = bytes(body)

    def open(self, file: DataFile) -> pq.ParquetFile:
        return pq.ParquetFile(io.BytesIO(self.files[f"{URL}/{file.path}"]))


def write(
    frames: Sequence[pl.DataFrame],
    schema: pa.Schema | None = None,
    partition_by: Sequence[str] = PARTITIONS,
) -> tuple[Shelf, list[DataFile]]:
    shelf = Shelf()
    files = write_flows(
        frames,
        schema=flows_schema() if schema is None else schema,
        partition_by=partition_by,
        table_url=URL,
        storage=shelf,  # type: ignore[arg-type]
    )
    assert {f"{URL}/{file.path}" for file in files} == shelf.files.keys()
    return shelf, files


def text(*values: str | None) -> pl.Series:
    return pl.Series(values, dtype=pl.Categorical)


def frame(**columns: Any) -> pl.DataFrame:
    """A canonical frame: the partition columns have values unless they are given."""
    made = pl.DataFrame(columns)
    filled = {
        "date": pl.lit(date(2026, 1, 2)),
        "region": pl.lit("us-east-1", pl.Categorical),
        "account_id": pl.lit("000123456789", pl.Categorical),
        "object_id": pl.lit(1, pl.Int64),
    }
    return made.with_columns(
        value.alias(name) for name, value in filled.items() if name not in columns
    )


# --- Read back equal ----------------------------------------------------------------------------

WORDS = st.none() | st.sampled_from(["", "10.0.0.1", "::1", "é", "\U0001f40b", "a\0b", "z" * 300])
TIMES = st.none() | st.datetimes(
    datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)
).map(lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000))
COLUMNS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "srcaddr": (pl.Categorical, WORDS),
    "dstaddr": (pl.Categorical, WORDS),
    "interface_id": (pl.Categorical, WORDS),
    "action": (pl.Categorical, st.none()),
    "tomorrow": (pl.Categorical, WORDS),
    "srcport": (pl.Int32, st.none() | st.integers(-(2**31), 2**31 - 1)),
    "version": (pl.Int32, st.none()),
    "bytes": (pl.Int64, st.none() | st.integers(-(2**63), 2**63 - 1)),
    "start_time": (TIME, TIMES),
    "end_time": (TIME, TIMES),
}
KEYS = {
    "date": (pl.Date, st.sampled_from([date(2026, 1, 2), date(2026, 1, 3)])),
    "region": (pl.Categorical, st.sampled_from(["us-east-1", "eu-west-1"])),
    "account_id": (pl.Categorical, st.sampled_from(["000000000001", "unknown"])),
}


@st.composite
def frames(draw: st.DrawFn) -> list[pl.DataFrame]:
    made = []
    for number in range(draw(st.integers(1, 4))):
        names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), unique=True))
        height = draw(st.integers(0, 12))
        chosen = {name: COLUMNS[name] for name in names} | KEYS
        columns: dict[str, Any] = {
            name: pl.Series(draw(st.lists(values, min_size=height, max_size=height)), dtype=dtype)
            for name, (dtype, values) in chosen.items()
        }
        made.append(pl.DataFrame(columns).with_columns(object_id=pl.lit(number, pl.Int64)))
    return made


SCHEMA = flows_schema().append(pa.field("tomorrow", pa.string()))


def by_all(rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_columns(pl.col(pl.Categorical).cast(pl.String))
    return rows.select(sorted(rows.columns)).sort(pl.all(), nulls_last=True)


@settings(suppress_health_check=list(HealthCheck))
@given(frames(), st.sampled_from([3, 5, 122_880]), st.sampled_from([PARTITIONS, ("date",)]))
def test_three_engines_read_back_what_was_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: list[pl.DataFrame],
    row_group: int,
    partition_by: tuple[str, ...],
) -> None:
    monkeypatch.setattr(writing, "ROW_GROUP", row_group)
    shelf, files = write(made, SCHEMA, partition_by)
    empty = pl.DataFrame(schema=pl.Schema(SCHEMA))
    whole = pl.concat(
        [empty, *(each.with_columns(pl.col(pl.Categorical).cast(pl.String)) for each in made)],
        how="diagonal",
    )
    assert sum(file.rows for file in files) == whole.height
    assert len(files) == whole.select(partition_by).n_unique() * (whole.height > 0)
    for file in files:
        keys = [pl.col(name).cast(pl.String) == value for name, value in file.partition.items()]
        rows = whole.filter(keys).drop(partition_by)
        filled = [column.name for column in rows if column.null_count() < rows.height]
        expected = by_all(rows.select(filled))
        path = tmp_path / "file.parquet"
        path.write_bytes(shelf.files[f"{URL}/{file.path}"])
        assert file.size == path.stat().st_size
        table = pq.read_table(path, partitioning=None)
        assert table.schema.remove_metadata() == pa.schema(
            [field for field in SCHEMA if field.name in filled]
        )
        assert_frame_equal(by_all(pl.DataFrame(table)), expected)
        assert_frame_equal(by_all(pl.read_parquet(path, hive_partitioning=False)), expected)
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            read = connection.sql(f"FROM read_parquet('{path}', hive_partitioning = false)").pl()
        assert_frame_equal(by_all(read.cast({pl.Datetime: TIME})), expected)
        check_entry(file, rows, pq.ParquetFile(path))


def check_entry(file: DataFile, rows: pl.DataFrame, parquet: pq.ParquetFile) -> None:
    said = json.loads(file.statistics)
    assert said["numRecords"] == file.rows == rows.height == parquet.metadata.num_rows
    names = [name for name in writing.STATISTICS if name not in file.partition]
    assert said["nullCount"] == {name: rows[name].null_count() for name in names}
    for name in names:
        column = rows[name].drop_nulls()
        for bounds, bound in (("minValues", column.min()), ("maxValues", column.max())):
            value = said[bounds].get(name)
            if name.endswith("_time") and value is not None:
                value = datetime.fromisoformat(value)
            if isinstance(bound, str) and len(bound) > writing.LONGEST_STATISTIC:
                assert (value < bound) == (bounds == "minValues"), f"{bounds} of {name}"
            else:
                assert value == bound, f"{bounds} of {name}"
    for at in range(parquet.metadata.num_row_groups):
        group = parquet.metadata.row_group(at)
        for index in range(group.num_columns):
            chunk = group.column(index)
            wanted = chunk.path_in_schema in BLOOM_COLUMNS
            assert (chunk.bloom_filter_offset is not None) == wanted


def test_a_file_tells_arrow_nothing_of_dictionaries() -> None:
    shelf, [file] = write([frame(srcaddr=text("a", None), bytes=[1, 2])])
    parquet = shelf.open(file)
    assert b"ARROW:schema" not in (parquet.metadata.metadata or {})
    assert parquet.schema_arrow.field("srcaddr").type == pa.string()
    assert parquet.schema_arrow.field("bytes").type == pa.int64()
    assert "ecs_task_id" not in parquet.schema_arrow.names, "a column of nulls alone is left out"
    assert not {"date", "region", "account_id"} & set(parquet.schema_arrow.names)


# --- Order, partitions, sizes -------------------------------------------------------------------


def sample(records: int = 3000) -> list[pl.DataFrame]:
    made = []
    objects = sample_objects(hours=2, records_per_object=records)
    for number, (key, body) in enumerate(objects):
        slot = datetime(2026, 1, 1, tzinfo=UTC)
        raw = RawObject(number, key, "e", len(body), slot, "s", "000000000001", "us-east-1")
        made += [batch.flows for batch in read_object(raw, body)]
    return made


def test_rows_are_sorted_by_hour_interface_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROW_GROUP", 1000)
    shelf, files = write(sample(), partition_by=("date",))
    assert len(files) > 1
    for file in files:
        rows = pl.DataFrame(shelf.open(file).read())
        keys = [pl.col("start_time").dt.truncate("1h"), "interface_id", "srcaddr"]
        order = rows.select(keys)
        assert_frame_equal(order, order.sort(pl.all(), nulls_last=False))
        groups = shelf.open(file).metadata
        sizes = [groups.row_group(at).num_rows for at in range(groups.num_row_groups)]
        assert all(size == 1000 for size in sizes[:-1])
        assert sum(sizes) == rows.height


def test_each_partition_is_one_file_in_its_folder() -> None:
    day = date(2026, 1, 2)
    first = frame(bytes=[1, 2, 3], region=text("us-east-1", "eu-west-1", "us-east-1"))
    second = frame(bytes=[4], region=text("us-east-1"), srcaddr=text("::1"))
    shelf, files = write([first, second, first.clear()])
    folders = {file.path.rpartition("/")[0]: file for file in files}
    assert folders.keys() == {
        f"date={day}/region={region}/account_id=000123456789"
        for region in ("us-east-1", "eu-west-1")
    }
    for region, found in (("us-east-1", [1, 3, 4]), ("eu-west-1", [2])):
        file = folders[f"date={day}/region={region}/account_id=000123456789"]
        assert sorted(shelf.open(file).read()["bytes"].to_pylist()) == found
        assert file.partition == {
            "date": "2026-01-02",
            "region": region,
            "account_id": "000123456789",
        }
    assert write([first.clear()])[1] == []
    assert write([])[1] == []


def test_bloom_filters_are_small() -> None:
    shelf, files = write(sample(), partition_by=("date",))
    for file in files:
        groups = shelf.open(file).metadata
        for at in range(groups.num_row_groups):
            chunks = [groups.row_group(at).column(index) for index in range(groups.num_columns)]
            lengths = {c.path_in_schema: c.bloom_filter_length for c in chunks}
            found = {name: length for name, length in lengths.items() if length}
            assert found.keys() == set(BLOOM_COLUMNS)
            # 1 % false positives take about ten bits a value; the power of two above, twice that.
            assert max(found.values()) <= 64 + 3 * groups.num_rows


def test_statistics_hold_the_millisecond_and_count_absent_columns() -> None:
    time = datetime(2021, 3, 26, 3, 28, 12, 123_000, tzinfo=UTC)
    times = pl.Series([time, time + timedelta(hours=1), None], dtype=TIME)
    _, [file] = write([frame(start_time=times, dstaddr=text("b", "a", "é"))])
    assert json.loads(file.statistics) == {
        "numRecords": 3,
        "minValues": {"start_time": "2021-03-26T03:28:12.123Z", "dstaddr": "a"},
        "maxValues": {"start_time": "2021-03-26T04:28:12.123Z", "dstaddr": "é"},
        "nullCount": {
            "start_time": 1,
            "end_time": 3,
            "srcaddr": 3,
            "dstaddr": 0,
            "interface_id": 3,
            "resource_type": 3,
        },
    }


def test_a_text_of_any_length_leaves_the_log_short() -> None:
    longest = "é" * 5_000_000
    _, [file] = write([frame(srcaddr=text(longest, "b"), dstaddr=text("a" * 64, "a" * 65))])
    said = json.loads(file.statistics)
    assert said["minValues"] == {"srcaddr": "b", "dstaddr": "a" * 64}
    assert said["maxValues"]["srcaddr"] == "é" * 64 + "\U0010ffff" > longest
    assert said["maxValues"]["dstaddr"] == "a" * 64 + "\U0010ffff"
    assert len(file.statistics) < 2000


# --- The other writer ---------------------------------------------------------------------------


def test_write_table_writes_a_table_as_it_stands() -> None:
    table = pa.table({"line_number": pa.array([1, None], pa.int64()), "text": ["a\0", None]})
    shelf = Shelf()
    file = write_table(table, table_url=URL, storage=shelf)  # type: ignore[arg-type]
    assert shelf.open(file).read() == table
    assert (file.rows, file.partition) == (2, {})
    assert json.loads(file.statistics)["numRecords"] == 2
