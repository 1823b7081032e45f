"""The lake through its doors: one window, one truth, in SQL and in Polars."""

import gc
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema
from isal import igzip

import flowlake
from flowlake.committing import OBJECTS, SCHEMAS, Tables
from flowlake.doors import collect
from flowlake.errors import LakeError, UsageError
from flowlake.fields import DEFAULT_FORMAT, flows_schema, polars_schema
from flowlake.layout import object_key
from flowlake.samples import REGIONS, sample_tables, write_sample
from flowlake.storage import open_storage
from tests.test_exactly_once import DAY, HEADER, fill, put, raw_object

ACCOUNTS = ("000123456789", "123456789010")
PARTITIONINGS = [("date",), ("date", "region"), ("date", "region", "account_id")]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of two accounts, one with leading zeros, and two regions, over midnight."""
    folder = tmp_path_factory.mktemp("bucket")
    write_sample(
        open_storage(str(folder)), prefix=f"{folder}/", records_per_object=100, accounts=ACCOUNTS
    )
    return folder


@pytest.fixture(scope="module", params=PARTITIONINGS, ids="/".join)
def lake(
    request: pytest.FixtureRequest, bucket: Path, tmp_path_factory: pytest.TempPathFactory
) -> flowlake.Lake:
    """A lake of the bucket, partitioned in each way; to be read only."""
    where = tmp_path_factory.mktemp("lake") / "lake"
    flowlake.convert(bucket, lake=where, workers=1, partition_by=request.param)
    return flowlake.open_lake(where)


@pytest.fixture(scope="module")
def truth() -> pl.DataFrame:
    """What was generated, with the account and region of each object's key."""
    tables = [
        table.select(
            "srcaddr",
            "protocol",
            "action",
            "packets",
            "bytes",
            pl.from_epoch("start").dt.replace_time_zone("UTC").alias("start_time"),
            region=pl.lit(key.split("/")[3]),
            account_id=pl.lit(key.split("/")[1]),
        )
        for key, table in sample_tables(records_per_object=100, accounts=ACCOUNTS)
    ]
    return pl.concat(tables)


def one(lake: flowlake.Lake, sql: str, **window: Any) -> Any:
    """The single value of a statement."""
    return collect(lake.sql(sql, **window)).item()


def both(lake: flowlake.Lake, **window: Any) -> int:
    """How many records a window has, the same through both doors."""
    count = lake.flows(**window).select(pl.len()).collect().item()
    assert one(lake, "SELECT count(*) FROM flows", **window) == count
    return int(count)


def test_every_column_typed_and_in_order(lake: flowlake.Lake) -> None:
    assert lake.flows().collect_schema() == polars_schema()
    assert lake.flows().collect().schema == polars_schema()
    sql = collect(lake.sql("SELECT * FROM flows"))
    assert sql.columns == list(polars_schema())
    assert str(sql.schema["start_time"]) == str(polars_schema()["start_time"])


def test_sums_are_those_that_were_generated(lake: flowlake.Lake, truth: pl.DataFrame) -> None:
    keys = ["account_id", "region", "protocol", "action"]

    def sums(frame: pl.LazyFrame) -> pl.DataFrame:
        return (
            frame.group_by(keys)
            .agg(rows=pl.len().cast(pl.Int64), packets=pl.sum("packets"), bytes=pl.sum("bytes"))
            .with_columns(pl.col("protocol").cast(pl.Int64))
            .sort(keys)
            .collect()
        )

    expected = sums(truth.lazy())
    assert expected.height > 20
    assert sums(lake.flows()).equals(expected)
    in_sql = collect(
        lake.sql(
            f"SELECT {', '.join(keys)}, count(*) AS rows, coalesce(sum(packets), 0)::BIGINT AS "
            "packets, coalesce(sum(bytes), 0)::BIGINT AS bytes FROM flows GROUP BY ALL"
        )
    )
    assert in_sql.with_columns(pl.col("protocol").cast(pl.Int64)).sort(keys).equals(expected)


@pytest.mark.parametrize(
    "window",
    [
        {"account": "000123456789"},
        {"account": list(ACCOUNTS)},
        {"region": "eu-west-1"},
        {"region": list(REGIONS)},
        {"account": "123456789010", "region": ["us-east-1"]},
        {"account": "000123456789", "since": "2026-01-15"},
        {"region": "us-east-1", "until": "2026-01-01"},
        {"since": "2026-01-14T23:00Z", "until": "2026-01-14T23:30Z"},
        {"account": "999999999999"},
        {"region": "mars-north-1"},
        {"since": "2030-01-01"},
    ],
    ids=str,
)
def test_windows(lake: flowlake.Lake, truth: pl.DataFrame, window: dict[str, Any]) -> None:
    wanted = truth.lazy()
    for column, name in (("account_id", "account"), ("region", "region")):
        if names := window.get(name):
            wanted = wanted.filter(
                pl.col(column).is_in([names] if isinstance(names, str) else names)
            )
    for name, sign in (("since", 1), ("until", -1)):
        if time := window.get(name):
            moment = pl.lit(datetime.fromisoformat(time).replace(tzinfo=UTC))
            start = pl.col("start_time")
            wanted = wanted.filter(start >= moment if sign == 1 else start < moment)
    assert both(lake, **window) == wanted.collect().height
    assert len(lake.files(**window)) <= len(lake.files())


def test_since_is_included_and_until_is_not(lake: flowlake.Lake, truth: pl.DataFrame) -> None:
    moments = truth.filter(pl.col("start_time").dt.year() == 2026)["start_time"].unique().sort()
    second = timedelta(seconds=1)
    for moment in (moments[0], moments[len(moments) // 2], moments[-1]):
        there = truth.filter(pl.col("start_time") == moment).height
        assert there
        assert both(lake, since=moment, until=moment + second) == there
        assert both(lake, since=moment - second, until=moment + second) >= there
        start = pl.col("start_time")
        assert both(lake, since=moment) == truth.filter(start >= moment).height
        assert both(lake, until=moment) == truth.filter(start < moment).height
    shown = (moments[0] + timedelta(hours=5)).isoformat().replace("+00:00", "+05:00")
    assert both(lake, since=shown) == both(lake, since=moments[0])


def test_files_outside_the_window_are_not_opened(lake: flowlake.Lake, tmp_path: Path) -> None:
    """Every file the window does not need is taken away: both doors answer all the same."""
    copy = tmp_path / "lake"
    shutil.copytree(lake.url, copy)
    opened = flowlake.open_lake(copy)
    window = {"since": "2015-05-29", "until": "2015-05-30"}
    needed, everything = opened.files(**window), opened.files()
    assert len(needed) == 1 < len(everything)
    for path in set(everything) - set(needed):
        Path(path).unlink()
    assert both(opened, **window) == 2
    assert opened.query("rejected_flows", **window).pl().height == 1
    with pytest.raises(LakeError, match="run `flowlake verify`"):
        collect(opened.sql("SELECT count(srcaddr) FROM flows"))


def test_accounts_and_regions_prune_too(lake: flowlake.Lake) -> None:
    if "account_id" in lake.partition_by:
        files = lake.files(account="000123456789")
        assert files
        assert all("account_id=000123456789" in path for path in files)
    if "region" in lake.partition_by:
        files = lake.files(region="eu-west-1")
        assert files
        assert all("region=eu-west-1" in path for path in files)
    assert lake.files(account="999999999999") == []
    assert bool(lake.files(region="mars-north-1")) == ("region" not in lake.partition_by)


def test_an_account_keeps_its_zeros(lake: flowlake.Lake) -> None:
    accounts = sorted(ACCOUNTS)
    in_polars = lake.flows().select("account_id").unique().sort("account_id").collect()
    assert in_polars["account_id"].to_list() == accounts
    in_sql = collect(lake.sql("SELECT DISTINCT account_id FROM flows ORDER BY 1"))
    assert in_sql["account_id"].to_list() == accounts
    delta = DeltaTable(f"{lake.url}/flows").to_pyarrow_table(columns=["account_id"])
    assert sorted(delta.column("account_id").unique().to_pylist()) == accounts
    assert both(lake, account="000123456789") == 2_400


def test_the_refused_ping(lake: flowlake.Lake) -> None:
    window = {"since": "2015-05-29", "until": "2015-05-30"}
    [(start, source, action)] = (
        lake.flows(**window)
        .filter(action="ACCEPT")
        .select("start_time", "srcaddr", "action")
        .collect()
        .rows()
    )
    assert (source, action) == ("203.0.113.12", "ACCEPT")
    assert start == datetime(2015, 5, 29, 16, 30, 27, tzinfo=UTC)
    [refused] = lake.query("rejected_flows", **window).pl().to_dicts()
    assert (refused["srcaddr"], refused["dstaddr"]) == ("172.31.16.139", "203.0.113.12")
    assert (refused["keyword"], refused["packets"], refused["bytes"]) == ("ICMP", 4, 336)


REFUSED = [
    "",
    "SELECT 1; SELECT 2",
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY flows FROM '/etc/hostname'",
    "ATTACH '{folder}/other.db'",
    "SET threads = 1",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CREATE TABLE mine AS SELECT 1",
    "INSERT INTO protocols VALUES (1, 'x')",
    "DELETE FROM flows",
    "DROP VIEW flows",
    "EXPORT DATABASE '{folder}/out'",
    "CALL pragma_version()",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM read_csv('/etc/hostname')",
    "SELECT * FROM read_parquet('{folder}/keep.parquet')",
    "SELECT * FROM '{folder}/keep.parquet'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM keep",
    "SELEC 1",
    "SELECT missing FROM flows",
    "SELECT CAST(action AS INTEGER) FROM flows",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_only_one_select_over_the_lake(lake: flowlake.Lake, statement: str, tmp_path: Path) -> None:
    keep = pl.DataFrame({"a": [1]})
    keep.write_parquet(tmp_path / "keep.parquet")
    before = one(lake, "SELECT count(*) FROM flows")
    with pytest.raises(UsageError):
        collect(lake.sql(statement.format(folder=tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["keep.parquet"]
    assert one(lake, "SELECT count(*) FROM flows") == before


@pytest.mark.parametrize(
    "statement",
    [
        "WITH a AS (SELECT * FROM flows) SELECT count(*) FROM a",
        "FROM flows SELECT count(*)",
        "-- a comment; with a semicolon\nSELECT count(*) FROM flows;",
        "SELECT count(*) FROM (SUMMARIZE flows)",
        "SELECT count(*) FROM Flows JOIN Protocols USING (protocol)",
        "SELECT count(*) FROM flows JOIN Objects USING (object_id)",
        "SELECT count(*) + 1 FROM REJECTS",
    ],
)
def test_what_one_select_may_be(lake: flowlake.Lake, statement: str) -> None:
    assert one(lake, statement) > 0


def test_a_connection_is_locked_in(lake: flowlake.Lake) -> None:
    connection = lake.connect(since="2015-05-29", until="2015-05-30")
    assert connection.sql("SELECT count(*) FROM flows").fetchall() == [(2,)]
    assert connection.sql("SELECT count(*) FROM objects").fetchall() == [(49,)]
    assert connection.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    for statement in (
        "SET enable_external_access = true",
        "SET TimeZone = 'Europe/Paris'",
        "SELECT * FROM read_text('/etc/hostname')",
        "ATTACH '/tmp/flowlake-should-not-be.db'",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)


def test_an_answer_in_every_shape(lake: flowlake.Lake) -> None:
    expected = lake.query("protocol_breakdown").pl()
    table = lake.query("protocol_breakdown").to_arrow_table()
    assert pl.DataFrame(table).equals(expected)
    assert lake.query("protocol_breakdown").arrow() is not None
    pytest.importorskip("pandas")
    assert len(lake.query("protocol_breakdown").df()) == expected.height


def test_an_answer_outlives_its_lake(lake: flowlake.Lake) -> None:
    opened = flowlake.open_lake(lake.url)
    relation = opened.query("top_talkers", top=3)
    flows, connection = opened.flows(), opened.connect()
    del opened
    gc.collect()
    assert relation.pl().height == 3
    assert flows.select(pl.len()).collect().item() == 4_802
    assert connection.sql("SELECT count(*) FROM objects").fetchall() == [(49,)]


@pytest.mark.parametrize("name", ["since", "name", "self", "nothing"])
def test_a_parameter_no_query_has(lake: flowlake.Lake, name: str) -> None:
    with pytest.raises(UsageError):
        lake.query("top_talkers", **{name: "nonsense"})


def test_status_is_the_sum_of_the_lake(lake: flowlake.Lake) -> None:
    status = lake.status()
    assert (status.rows, status.objects, status.lines) == (4_802, 49, 4_802)
    assert (status.accounts, status.regions) == (2, 2)
    assert status.partition_by == lake.partition_by
    assert status.files == len(lake.files())
    assert status.bytes == sum(Path(path).stat().st_size for path in lake.files())
    times = lake.flows().select(pl.min("start_time"), pl.max("end_time")).collect()
    assert (status.first, status.last) == times.row(0)
    for name in ("NODATA", "SKIPDATA"):
        assert getattr(status, name.lower()) == (
            lake.flows().filter(log_status=name).select(pl.len()).collect().item()
        )


def test_the_lake_on_both_places(place: str) -> None:
    fill(place, 4)
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    lake = flowlake.open_lake(f"{place}/lake")
    assert both(lake) == 24
    assert both(lake, since=DAY, until=DAY + timedelta(minutes=5)) == 6
    assert both(lake, account="000123456789", region="eu-west-1") == 24
    assert both(lake, account="999999999999") == 0
    assert lake.query("top_talkers", since="2026-03-02").pl()["flows"].sum() == 6
    assert one(lake, "SELECT count(*) FROM objects") == 4
    assert one(lake, "SELECT count(*) FROM rejects WHERE url LIKE '%.log.gz'") == 4
    assert one(lake, "SELECT max(field_of_tomorrow) FROM flows") == "extra-3"


def test_a_field_of_tomorrow_becomes_a_column(tmp_path: Path) -> None:
    place = str(tmp_path)
    put(place, *raw_object(0))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert flowlake.open_lake(f"{place}/lake").status().unknown_fields == ()
    put(place, *raw_object(1, header=f"{HEADER} field-of-tomorrow"))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    lake = flowlake.open_lake(f"{place}/lake")
    assert list(lake.flows().collect_schema()) == [*polars_schema(), "field_of_tomorrow"]
    assert lake.status().unknown_fields == ("field_of_tomorrow",)
    expected = [(None, 6), ("extra-1", 6)]
    counts = lake.flows().group_by("field_of_tomorrow").len().collect()
    assert set(counts.rows()) == set(expected)
    in_sql = lake.sql("SELECT field_of_tomorrow, count(*) FROM flows GROUP BY ALL").fetchall()
    assert set(in_sql) == set(expected)
    old: dict[str, Any] = {"until": DAY + timedelta(minutes=5)}
    assert one(lake, "SELECT count(field_of_tomorrow) FROM flows", **old) == 0
    assert lake.flows(**old).select("field_of_tomorrow").collect().null_count().item() == 6


def test_a_lake_of_an_older_catalogue(tmp_path: Path) -> None:
    """A lake made before some fields were known opens, gains them, and shows today's types."""
    place, missing = str(tmp_path), {"pkt_srcaddr", "ecs_task_id", "tcp_flags"}
    schema = flows_schema()
    for name in missing:
        schema = schema.remove(schema.get_field_index(name))
    at = schema.get_field_index("traffic_path")  # was unknown then: stored as text
    schema = schema.set(at, schema.field(at).with_type(pa.string()))
    for name, columns in (*SCHEMAS.items(), ("flows", schema)):
        DeltaTable.create(
            f"{place}/lake/{name}",
            schema=Schema.from_arrow(columns),
            partition_by=["date"] if name == "flows" else None,
        )
    put(place, *raw_object(0))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    old = flowlake.open_lake(f"{place}/lake")
    assert both(old) == 6
    key, _ = raw_object(1)
    line = "2 000123456789 eni-1 1.1.1.1 2.2.2.2 1 2 6 3 4 1772366700 1772366710 ACCEPT OK"
    header = f"pkt-srcaddr tcp-flags traffic-path {HEADER}"
    put(place, key, igzip.compress(f"{header}\n10.1.2.3 18 8 {line}\n".encode()))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    lake = flowlake.open_lake(f"{place}/lake")
    assert both(lake) == 7
    assert one(lake, "SELECT max(pkt_srcaddr) FROM flows") == "10.1.2.3"
    assert one(lake, "SELECT count(pkt_srcaddr) FROM flows") == 1
    types = "SELECT max(typeof(tcp_flags)), max(typeof(traffic_path)) FROM flows"
    assert lake.sql(types).fetchall() == [("INTEGER", "INTEGER")]
    assert one(lake, "SELECT max(tcp_flags) + max(traffic_path) FROM flows") == 26
    assert lake.flows().collect_schema() == polars_schema()
    assert lake.flows().select(pl.col("tcp_flags", "traffic_path").max()).collect().row(0) == (
        18,
        8,
    )
    assert lake.flows().select(pl.col("pkt_srcaddr").count()).collect().item() == 1
    assert "pkt_srcaddr" not in lake.status().unknown_fields


def test_an_empty_lake(tmp_path: Path) -> None:
    Tables(str(tmp_path / "lake")).create(["date", "region"])
    lake = flowlake.open_lake(tmp_path / "lake")
    assert both(lake) == 0
    assert lake.flows().collect().schema == polars_schema()
    assert collect(lake.sql("SELECT * FROM flows")).columns == list(polars_schema())
    assert lake.query("top_talkers").pl().is_empty()
    assert lake.rejects().is_empty()
    assert lake.objects().columns == OBJECTS.names
    assert one(lake, "SELECT count(*) FROM objects, rejects") == 0
    tables = collect(lake.sql("SHOW TABLES"))["name"]
    assert {"flows", "objects", "rejects", "inventory", "protocols"} <= set(tables)
    assert lake.inventory(at="24h").is_empty()
    assert lake.spans() == []
    assert lake.absent(("srcaddr",)) == ("srcaddr",)
    status = lake.status()
    assert (status.rows, status.files, status.first, status.last) == (0, 0, None, None)


def test_no_lake(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="There is no lake at"):
        flowlake.open_lake(tmp_path)


def test_a_reader_keeps_its_snapshot(tmp_path: Path) -> None:
    place = str(tmp_path)
    for number in range(2):
        put(place, *raw_object(number))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    before = flowlake.open_lake(f"{place}/lake")
    relation = before.query("top_talkers")
    put(place, *raw_object(2))
    put(place, raw_object(1)[0], raw_object(1, records=11)[1])
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert both(before) == 12
    assert relation.pl()["flows"].sum() == 12
    assert both(flowlake.open_lake(f"{place}/lake")) == 6 + 11 + 6


@pytest.mark.parametrize("name", ["flows", "lake's", "späce lake"])
def test_lakes_of_any_name(tmp_path: Path, name: str) -> None:
    put(str(tmp_path), *raw_object(0))
    flowlake.convert(tmp_path / "raw", lake=tmp_path / name, workers=1)
    lake = flowlake.open_lake(tmp_path / name)
    assert both(lake) == both(lake, account="000123456789", region="eu-west-1") == 6
    assert flowlake.open_lake(lake).url == lake.url


def test_a_lake_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(str(tmp_path), *raw_object(0))
    flowlake.convert(tmp_path / "raw", lake=tmp_path / "mine", workers=1)
    monkeypatch.setenv("FLOWLAKE_LAKE", str(tmp_path / "mine"))
    assert both(flowlake.open_lake()) == 6
    monkeypatch.delenv("FLOWLAKE_LAKE")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").rename(tmp_path / "lake")
    assert both(flowlake.open_lake()) == 6


def test_rows_without_a_start(tmp_path: Path) -> None:
    """A format without times: such rows are in no window of time, and in the whole lake."""
    fields = [name for name in DEFAULT_FORMAT if name not in ("start", "end")]
    text = f"{' '.join(fields)}\n2 000123456789 eni-1 1.1.1.1 2.2.2.2 1 2 6 3 4 ACCEPT OK\n"
    key = object_key("000123456789", "eu-west-1", "fl-0abc", DAY, "0" * 8)
    put(str(tmp_path), key, igzip.compress(text.encode()))
    put(str(tmp_path), *raw_object(1))
    flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    lake = flowlake.open_lake(tmp_path / "lake")
    assert both(lake) == 7
    assert lake.absent(("srcaddr", "tcp_flags", "start_time")) == ("tcp_flags",)
    assert both(lake, since="2000-01-01") == 6
    assert both(lake, until="2100-01-01") == 6
