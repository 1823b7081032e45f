"""The database file: what it shows, asks and refuses, when DuckDB alone has it open."""

# Annotations stay text: DuckDB's classes, held by a test until exit, make nanobind report leaks.
from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import flowlake
from flowlake import connecting, reference
from flowlake.committing import Tables
from flowlake.connecting import write_database
from flowlake.errors import LakeError, StorageError, UsageError
from flowlake.fields import polars_schema
from flowlake.queries import load_queries, substituted
from flowlake.query_file import Param, Query, parse_query, scratch
from flowlake.samples import write_sample
from flowlake.storage import Access, open_storage, s3_filesystem
from tests.test_exactly_once import DAY, HEADER, fill, put, raw_object

ACCOUNTS = ("000123456789", "123456789010")
PARTITIONINGS = [("date",), ("date", "region", "account_id")]
WINDOWS: list[dict[str, Any]] = [
    {},
    {"since": "2026-01-15"},
    {"since": "2026-01-14T23:00Z", "until": "2026-01-15T00:30Z", "region": "us-east-1"},
    {"account": "000123456789"},
    {"since": "2030-01-01"},
]
QUERIES = load_queries()
SHELL = Path(sys.executable).with_name("duckdb")


@pytest.fixture(scope="module", params=PARTITIONINGS, ids="/".join)
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> flowlake.Lake:
    """A lake of two accounts, one with leading zeros, and two regions, over midnight."""
    folder = tmp_path_factory.mktemp("connected")
    write_sample(
        open_storage(str(folder)),
        prefix=f"{folder}/raw/",
        records_per_object=100,
        accounts=ACCOUNTS,
    )
    flowlake.convert(folder / "raw", lake=folder / "lake", workers=1, partition_by=request.param)
    return flowlake.open_lake(folder / "lake")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file as another program has it, but with the times in UTC."""
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def rows(path: Path, sql: str) -> pl.DataFrame:
    with opened(path) as connection:
        found: pl.DataFrame = connection.sql(sql).pl()
        return found


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(frame.columns)


on_one_rarely = pytest.mark.parametrize(
    "lake",
    [PARTITIONINGS[0], pytest.param(PARTITIONINGS[1], marks=pytest.mark.long)],
    ids="/".join,
    indirect=True,
    scope="module",
)


def literal(param: Param) -> str:
    """A value to try that is not the default, where the header names one."""
    found = param.example if param.example is not None else param.literal
    assert found is not None, f"{param.name} needs an example"
    return found


def value(param: Param) -> Any:
    row = scratch().cursor().execute(f"SELECT CAST({literal(param)} AS {param.type})").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_views_show_what_the_lake_shows(
    lake: flowlake.Lake, tmp_path: Path, window: dict[str, Any]
) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path, **window)
    flows = lake.flows(**window).collect()
    assert_frame_equal(in_order(rows(path, "FROM flows")), in_order(flows))
    assert_frame_equal(rows(path, "FROM objects"), lake.objects())
    assert_frame_equal(rows(path, "FROM rejects"), lake.rejects())
    earlier = {**window, "since": None, "until": window.get("since")}
    history = lake.flows(**earlier).collect() if "since" in window else flows.clear()
    assert_frame_equal(in_order(rows(path, "FROM history")), in_order(history))
    assert (flows.height > 0) == ("2030-01-01" not in window.values())


def test_an_account_keeps_its_zeros(lake: flowlake.Lake, tmp_path: Path) -> None:
    write_database(lake, tmp_path / "lake.duckdb")
    found = rows(tmp_path / "lake.duckdb", "SELECT DISTINCT account_id FROM flows ORDER BY 1")
    assert found["account_id"].to_list() == sorted(ACCOUNTS)


SINCE = "2026-01-14T23:30Z"


@pytest.fixture(scope="module")
def database(lake: flowlake.Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the lake from `SINCE` on, to be read only."""
    path = tmp_path_factory.mktemp("database") / "lake.duckdb"
    write_database(lake, path, since=SINCE)
    return path


@on_one_rarely
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_each_question_is_a_macro(lake: flowlake.Lake, database: Path, query: Query) -> None:
    path, since = database, SINCE
    for moved in ({}, {param.name: param for param in query.params}):
        given = {param.name: param for param in query.params if param.required} | moved
        call = ", ".join(f"{name} := {literal(param)}" for name, param in given.items())
        answer = rows(path, f"FROM {query.name}({call})")
        values = {name: value(param) for name, param in given.items()}
        assert_frame_equal(answer, lake.query(query.name, since=since, **values).pl())
    assert rows(path, f"DESCRIBE FROM {query.name}({call})").select(
        "column_name", "column_type"
    ).rows() == [
        (each.name, each.type.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"))
        for each in query.returns
    ]


def test_macros_take_what_a_parameter_takes(lake: flowlake.Lake, tmp_path: Path) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path)
    assert rows(path, "FROM top_talkers(top := 5)").height == 5
    assert rows(path, "FROM top_talkers(top := 0)").is_empty()
    assert rows(path, "FROM top_talkers(action := NULL)").height == 20
    refused = rows(path, "FROM top_talkers(action := 'REJECT', top := 1000)")
    assert 0 < refused.height < rows(path, "FROM top_talkers(top := 1000)").height
    for wrong in ("tops := 5", "top := -1", "top := 'many'", "count := 'bytes'"):
        with pytest.raises(duckdb.Error):
            rows(path, f"FROM top_talkers({wrong})")


def test_small_tables_and_macros_are_there(lake: flowlake.Lake, tmp_path: Path) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path)
    for name in reference.TABLES:
        assert_frame_equal(rows(path, f"FROM {name}"), reference.lookup(name))
    asked = "SELECT is_private('10.0.0.1', []), in_networks('192.0.2.9', ['192.0.2.0/24'])"
    assert rows(path, asked).row(0) == (True, True)


def test_the_file_says_what_it_is(lake: flowlake.Lake, tmp_path: Path) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path, since="2026-01-15", region=["us-east-1", "eu-west-1"])
    [(comment,)] = rows(path, "SELECT comment FROM duckdb_views() WHERE view_name = 'flows'").rows()
    assert lake.url in comment
    assert comment.endswith("from 2026-01-15T00:00:00Z, region us-east-1 or eu-west-1.")
    called = (
        "SELECT comment FROM duckdb_functions() "
        "WHERE schema_name = 'main' AND function_name = 'top_talkers'"
    )
    assert rows(path, called).item().startswith("Top talkers. ")


def test_it_is_an_old_format_and_needs_no_extension(lake: flowlake.Lake, tmp_path: Path) -> None:
    write_database(lake, tmp_path / "lake.duckdb")
    head = (tmp_path / "lake.duckdb").read_bytes()[:20]
    assert head[8:12] == b"DUCK"
    assert int.from_bytes(head[12:20], "little") == 64
    with duckdb.connect(
        str(tmp_path / "lake.duckdb"), config={"autoload_known_extensions": False}
    ) as connection:
        assert connection.sql("FROM protocol_breakdown()").fetchall()


def test_attached_beside_another_database(lake: flowlake.Lake, tmp_path: Path) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS vpc (READ_ONLY)")
        count = connection.sql("SELECT count(*) FROM vpc.flows").fetchall()
        assert count == [(lake.flows().collect().height,)]
        connection.execute("USE vpc")
        assert len(connection.sql("FROM top_talkers(top := 3)").fetchall()) == 3


LOOKS_BACK = """\
-- name: new_sources
-- title: New sources
-- description: Sources that the days before did not have; … and $days is no parameter here.
-- param: action VARCHAR = NULL -- only this verdict
-- param: days UINTEGER = 7 -- how many days to look back
-- returns: action VARCHAR, days BIGINT, flows BIGINT
-- history: days

SELECT
    action,
    max($days::BIGINT) + $days - $days AS days,
    count(*) AS flows
FROM flows
WHERE srcaddr NOT IN (SELECT srcaddr FROM history WHERE srcaddr IS NOT NULL)
  AND ($action IS NULL OR action = $action)
GROUP BY action
ORDER BY action; -- $days
"""


@pytest.fixture
def looks_back(tmp_path: Path) -> Query:
    """A question with a parameter that is a column's name, and one between aggregates."""
    return parse_query(LOOKS_BACK, tmp_path / "new_sources.sql")


def a_line(source: str, moment: Any, action: str = "ACCEPT") -> str:
    start = int(moment.timestamp())
    return f"2 000123456789 eni-1 {source} 192.0.2.1 1 2 6 3 4 {start} {start + 9} {action} OK"


def test_a_look_back_reaches_as_far_as_it_is_asked(tmp_path: Path, looks_back: Query) -> None:
    day = timedelta(days=1)
    old = [
        a_line("10.0.0.1", DAY - 2 * day),  # exactly two days before: within two days
        a_line("10.0.0.2", DAY - 2 * day - timedelta(seconds=1)),
    ]
    new = [a_line(f"10.0.0.{host}", DAY) for host in (1, 2)] + [a_line("10.0.0.3", DAY, "REJECT")]
    for number, lines in enumerate((old, new)):
        key, _ = raw_object(number)
        put(str(tmp_path), key.removesuffix(".gz"), "\n".join([HEADER, *lines, ""]).encode())
    flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    lake, path = flowlake.open_lake(tmp_path / "lake"), tmp_path / "lake.duckdb"
    write_database(lake, path, since=DAY, queries=[looks_back])
    assert rows(path, "SELECT count(*) FROM history").item() == 2
    rejected = ("REJECT", 7, 1)
    assert rows(path, "FROM new_sources()").rows() == [rejected]
    accepted = [("ACCEPT", 2, 1), ("REJECT", 2, 1)]
    assert rows(path, "FROM new_sources(days := 2)").rows() == accepted
    assert rows(path, "FROM new_sources(days := 2, action := 'ACCEPT')").rows() == accepted[:1]
    nothing_before = rows(path, "FROM new_sources(days := 0)").rows()
    assert nothing_before == [("ACCEPT", 0, 2), ("REJECT", 0, 1)]
    forever = rows(path, "FROM new_sources(days := 4294967295)").rows()
    assert forever == [("REJECT", 4294967295, 1)]
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'Europe/Paris'")
        assert connection.sql("FROM new_sources(days := 2)").fetchall() == accepted


def test_a_look_back_needs_a_beginning(
    lake: flowlake.Lake, tmp_path: Path, looks_back: Query
) -> None:
    write_database(lake, tmp_path / "lake.duckdb", queries=[looks_back])
    with pytest.raises(duckdb.Error, match="flowlake connect --since"):
        rows(tmp_path / "lake.duckdb", "FROM new_sources()")


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT $a, $b;", "SELECT <A>, <B>"),
        ("SELECT '$a', \"$b\", $$ $a $$, $a", "SELECT '$a', \"$b\", $$ $a $$, <A>"),
        (
            "-- $a; é …\nSELECT $a /* $b; */ LIMIT $b;\n-- $a\n",
            "-- $a; é …\nSELECT <A> /* $b; */ LIMIT <B>",
        ),
        ("SELECT x[$a:$b], '…' || $a::INT, 'a;b'", "SELECT x[<A>:<B>], '…' || <A>::INT, 'a;b'"),
        ("SELECT $minutes, $count", "SELECT <M>, <C>"),
        ("SELECT 1", "SELECT 1"),
    ],
)
def test_only_parameters_are_replaced(sql: str, wanted: str) -> None:
    values = {"a": "<A>", "b": "<B>", "minutes": "<M>", "count": "<C>"}
    assert substituted(sql, values) == wanted


def test_a_grown_lake_with_replaced_objects_and_rejects(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place, 4)
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    put(place, raw_object(1)[0], raw_object(1, records=11)[1])
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    lake, path = flowlake.open_lake(f"{place}/lake"), tmp_path / "lake.duckdb"
    for until in (None, DAY + timedelta(minutes=5)):
        write_database(lake, path, until=until)
        flows = lake.flows(until=until).collect()
        assert flows.columns == [*polars_schema(), "field_of_tomorrow"]
        assert_frame_equal(in_order(rows(path, "FROM flows")), in_order(flows))
        assert_frame_equal(rows(path, "FROM objects"), lake.objects())
        assert_frame_equal(rows(path, "FROM rejects"), lake.rejects())
    assert (lake.objects().height, lake.rejects().height) == (5, 4)


def test_an_empty_lake(tmp_path: Path) -> None:
    Tables(str(tmp_path / "lake")).create(["date", "region"])
    lake, path = flowlake.open_lake(tmp_path / "lake"), tmp_path / "lake.duckdb"
    write_database(lake, path)
    assert rows(path, "FROM flows").schema == polars_schema()
    assert rows(path, "FROM objects").schema == lake.objects().schema
    assert rows(path, "FROM rejects").schema == lake.rejects().schema
    assert rows(path, "FROM top_talkers()").is_empty()


@pytest.mark.parametrize("name", ["lake's", "späce lake"])
def test_lakes_of_any_name(tmp_path: Path, name: str) -> None:
    put(str(tmp_path), *raw_object(0))
    flowlake.convert(tmp_path / "raw", lake=tmp_path / name, workers=1)
    path = tmp_path / f"{name}.duckdb"
    write_database(flowlake.open_lake(tmp_path / name), path)
    assert rows(path, "SELECT count(*) FROM flows").item() == 6
    assert rows(path, "SELECT count(*) FROM rejects").item() == 1


def test_a_database_is_replaced_whole(lake: flowlake.Lake, tmp_path: Path) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path)
    count = rows(path, "SELECT count(*) FROM flows").item()
    with duckdb.connect(str(path), read_only=True) as reader:
        write_database(lake, path, since="2026-01-15")
        assert reader.sql("SELECT count(*) FROM flows").fetchall() == [(count,)]
    assert 0 < rows(path, "SELECT count(*) FROM flows").item() < count
    assert [each.name for each in tmp_path.iterdir()] == ["lake.duckdb"]


@pytest.mark.parametrize("mine", ["TABLE mine AS SELECT 1 AS a", "VIEW mine AS SELECT 1 AS a"])
def test_a_database_of_ones_own_is_left_alone(
    lake: flowlake.Lake, tmp_path: Path, mine: str
) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE {mine}")
    with pytest.raises(UsageError, match="holds mine, which `flowlake connect` did not write"):
        write_database(lake, path)
    assert rows(path, "FROM mine").rows() == [(1,)]


def test_a_failure_leaves_what_was_there(
    lake: flowlake.Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path)
    before = path.read_bytes()
    monkeypatch.setattr(connecting, "_question_sql", lambda *_: "SELEC")
    with pytest.raises(LakeError, match=r"\.sql cannot be a macro"):
        write_database(lake, path)
    monkeypatch.setattr(connecting, "_make_tables", lambda made: made.execute("SELEC"))
    with pytest.raises(StorageError, match="cannot be written"):
        write_database(lake, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["lake.duckdb"]


def test_what_is_no_database_is_left_alone(lake: flowlake.Lake, tmp_path: Path) -> None:
    other, folder, empty = tmp_path / "notes.txt", tmp_path / "folder", tmp_path / "empty"
    other.write_text("12345678 is eight characters, and then no DUCK")
    empty.touch()
    folder.mkdir()
    for path in (other, folder, empty):
        with pytest.raises(UsageError, match="is no DuckDB database"):
            write_database(lake, path)
    assert other.read_text().startswith("12345678")
    with pytest.raises(UsageError, match="There is no folder"):
        write_database(lake, tmp_path / "missing" / "lake.duckdb")
    with pytest.raises(UsageError, match="is not a time"):
        write_database(lake, tmp_path / "lake.duckdb", since="yesterday")
    assert {each.name for each in tmp_path.iterdir()} == {"notes.txt", "folder", "empty"}


def test_a_database_in_use_is_left_alone(lake: flowlake.Lake, tmp_path: Path) -> None:
    """DuckDB would replay the other's log into the new file."""
    path = tmp_path / "lake.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
        with pytest.raises(UsageError, match=r"lake\.duckdb\.wal lies beside it"):
            write_database(lake, path)


def test_a_missing_file_of_the_lake(lake: flowlake.Lake, tmp_path: Path) -> None:
    shutil.copytree(lake.url, tmp_path / "lake")
    copy = flowlake.open_lake(tmp_path / "lake")
    for file in copy.files():
        Path(file).unlink()
    with pytest.raises(LakeError, match="run `flowlake verify`"):
        write_database(copy, tmp_path / "lake.duckdb")
    assert [each.name for each in tmp_path.iterdir()] == ["lake"]


def test_a_snapshot_is_what_it_is(tmp_path: Path) -> None:
    place, path = str(tmp_path), tmp_path / "lake.duckdb"
    put(place, *raw_object(0))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    write_database(flowlake.open_lake(f"{place}/lake"), path)
    put(place, *raw_object(1))
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert rows(path, "SELECT count(*) FROM flows").item() == 6
    write_database(flowlake.open_lake(f"{place}/lake"), path)
    assert rows(path, "SELECT count(*) FROM flows").item() == 12


def test_a_lake_in_s3(s3: str, tmp_path: Path) -> None:
    """Written without httpfs; read here through s3fs, where others load httpfs."""
    fill(s3, 4)
    flowlake.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    lake, path = flowlake.open_lake(f"{s3}/lake"), tmp_path / "lake.duckdb"
    write_database(lake, path, since="2026-03-02")
    [(sql,)] = rows(path, "SELECT sql FROM duckdb_views() WHERE view_name = 'flows'").rows()
    assert f"'{s3}/lake/flows/" in sql
    with opened(path) as connection:
        connection.register_filesystem(s3_filesystem(Access()))
        flows = lake.flows(since="2026-03-02").collect()
        assert_frame_equal(in_order(connection.sql("FROM flows").pl()), in_order(flows))
        assert connection.sql("SELECT count(*) FROM history").fetchall() == [(18,)]
        assert_frame_equal(connection.sql("FROM rejects").pl(), lake.rejects())
        assert len(connection.sql("FROM top_talkers(top := 2)").fetchall()) == 2


def test_the_shell_opens_it(lake: flowlake.Lake, tmp_path: Path) -> None:
    path = tmp_path / "lake.duckdb"
    write_database(lake, path)

    def shell(*options: str, given: str = "") -> str:
        command = [str(SHELL), "-readonly", "-csv", "-noheader", str(path), *options]
        ran = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        return ran.stdout + ran.stderr

    assert shell("-c", "SELECT count(*) FROM flows") == f"{lake.flows().collect().height}\n"
    expected = lake.query("top_talkers", top=3).pl().write_csv(include_header=False)
    assert shell("-c", "FROM top_talkers(top := 3)") == expected
    [query] = (query for query in QUERIES if query.name == "top_talkers")
    assert "Prepared statement parameters cannot be used directly" in shell(given=query.sql)
    values = {param.name: param.literal for param in query.params} | {"top": "3"}
    call = ", ".join(f"{name} := {text}" for name, text in values.items())
    prepared = f"PREPARE question AS\n{query.sql}\nEXECUTE question({call});\n"
    assert shell(given=prepared) == expected
