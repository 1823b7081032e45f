"""What is asked only reads, and only the lake: SQL of one's own, query files, and what is bound."""

# Annotations stay text: DuckDB's classes, held by a test until exit, make nanobind report leaks.
from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import polars as pl
import pytest

import flowlake as fl
from flowlake.connecting import write_database
from flowlake.doors import collect
from flowlake.errors import LakeError, UsageError
from flowlake.queries import bind, literal_sql, load_queries
from flowlake.query_file import parse_query, scratch
from flowlake.samples import write_sample
from flowlake.storage import open_storage

OTHERS = (
    "read_text('{file}')",
    "read_blob('{file}')",
    "read_csv('{file}')",
    "read_json('{file}')",
    "sniff_csv('{file}')",
    "read_text('{live}/../{file}')",
    "parquet_metadata('{file}')",
    "parquet_kv_metadata('{file}')",
    "read_parquet(['{live}', '{file}'])",
    "glob('{file}')",
    "glob('{folder}/*')",
    "'{file}'",
    "query_table('{file}')",
    "query_table(['{file}'])",
    "(SELECT content FROM read_text('{file}'))",
)
"""Ways to another file: of another lake, of this lake's ledger and log, one that was removed."""

WRITING = (
    "COPY (SELECT 1) TO '{new}'",
    "COPY (SELECT 1) TO '{live}' (FORMAT csv, USE_TMP_FILE false)",
    "WITH a AS (COPY (SELECT 1) TO '{new}') FROM a",
    "WITH a AS (COPY (SELECT 1) TO '{live}' (FORMAT csv, USE_TMP_FILE false)) FROM a",
    "WITH a AS MATERIALIZED (COPY (SELECT 1) TO '{live}' (USE_TMP_FILE false)) FROM a",
    "FROM (WITH a AS (COPY (SELECT 1) TO '{live}' (FORMAT csv, USE_TMP_FILE false)) FROM a)",
    "/* SELECT */ COPY (SELECT 1) TO '{new}' -- SELECT 1",
    "SELECT 1; COPY (SELECT 1) TO '{new}'",
    "FROM query('COPY (SELECT 1) TO ''{new}''')",
    "FROM query('FROM protocols')",
    "FROM system.main.json_execute_serialized_sql('{serialized}')",
    "FROM \"JSON_execute_serialized_sql\"('{serialized}')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{new}'",
    "EXPORT DATABASE '{new}'",
    "ATTACH '{new}'",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "RESET threads",
    "PRAGMA threads = 1",
    "CALL enable_logging()",
    "FROM enable_profiling(save_location := '{new}')",
    "CREATE SECRET (TYPE s3)",
    "CREATE TABLE mine AS SELECT 1",
    "CREATE OR REPLACE VIEW flows AS SELECT 1",
    "CREATE MACRO mine() AS 1",
    "DROP VIEW flows",
    "PREPARE mine AS SELECT 1",
    "EXECUTE mine",
    "INSERT INTO protocols VALUES (1, 'x', 'x')",
    "DELETE FROM protocols",
    "WITH a AS (DELETE FROM protocols RETURNING *) FROM a",
    "WITH a AS (INSERT INTO protocols FROM protocols RETURNING *) FROM a",
    "BEGIN",
    "CHECKPOINT",
    "",
    "-- SELECT 1",
)

PRIVATE = (
    "FROM of_this_function",
    "FROM of_this_module",
    "SELECT getenv('HOME')",
    "FROM duckdb_secrets(redact = false)",
    "FROM read_text('http://127.0.0.1:1/latest/meta-data')",
    "FROM 's3://bucket/other.parquet'",
    "FROM pandas_scan(NULL)",
    "FROM arrow_scan(NULL, NULL, NULL)",
)
"""The Python around it, the environment, secrets, other hosts, memory."""

of_this_module = pl.DataFrame({"secret": ["of this module"]})

HEADER = "-- name: mine\n-- title: Mine\n-- description: Mine.\n-- returns: x INTEGER\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a lake, beside a file of somebody else's."""
    made = tmp_path_factory.mktemp("place")
    write_sample(open_storage(str(made)), f"{made}/raw/", hours=1, records_per_object=2)
    fl.convert(made / "raw", lake=made / "it's a lake", workers=1)
    (made / "other.csv").write_text("secret\nof somebody else\n")
    return made


@pytest.fixture(scope="module")
def lake(folder: Path) -> fl.Lake:
    """That lake; to be read only."""
    return fl.open_lake(folder / "it's a lake")


def content(folder: Path) -> str:
    """One hash of every name and byte below a folder."""
    every = sorted(each for each in folder.rglob("*") if each.is_file())
    parts = [f"{each} {hashlib.sha256(each.read_bytes()).hexdigest()}" for each in every]
    return "\n".join(parts)


def quoted(path: object) -> str:
    return str(path).replace("'", "''")


def serialized(live: str) -> str:
    """A COPY over a live file, inside a SELECT, as DuckDB's own JSON."""
    sql = f"WITH a AS (COPY (SELECT 1) TO '{live}' (FORMAT csv, USE_TMP_FILE false)) FROM a"
    [text] = scratch().execute("SELECT json_serialize_sql($sql)", {"sql": sql}).fetchone() or [""]
    return quoted(text)


def test_sql_writes_nothing(lake: fl.Lake, folder: Path) -> None:
    before = content(folder)
    names = {"live": quoted(lake.files()[0]), "new": quoted(folder / "new")}
    names["serialized"] = serialized(names["live"])
    for statement in WRITING:
        with pytest.raises(UsageError, match=r"one SELECT statement; this is|DuckDB refuses"):
            collect(lake.sql(statement.format(**names)))
        assert content(folder) == before, statement


def test_sql_reads_the_live_files_alone(lake: fl.Lake, folder: Path) -> None:
    log = next(folder.glob("*/flows/_delta_log/*.json"))
    ledger = next(folder.glob("*/objects/*.parquet"))
    with lake.connect() as connection:
        for file in ("/etc/passwd", log, ledger, folder / "other.csv"):
            names = {"file": quoted(file), "folder": quoted(Path(file).parent)}
            for source in OTHERS:
                source = source.format(live=quoted(lake.files()[0]), **names)
                with pytest.raises(duckdb.Error, match=r"Permission Error|does not exist"):
                    print(connection.execute(f"SELECT * FROM {source}").fetchall())
    with pytest.raises(UsageError, match="Permission Error"):
        print(collect(lake.sql("FROM read_text('/etc/passwd')")))


def test_sql_sees_nothing_around_it(lake: fl.Lake) -> None:
    of_this_function = of_this_module
    for statement in PRIVATE:
        with pytest.raises(UsageError):
            print(collect(lake.sql(statement)), of_this_function.height)


def test_a_file_that_was_replaced_is_out_of_reach(tmp_path: Path) -> None:
    write_sample(open_storage(str(tmp_path)), f"{tmp_path}/raw/", hours=1, records_per_object=2)
    place = tmp_path / "lake"
    fl.convert(tmp_path / "raw", lake=place, workers=1)
    old = fl.open_lake(place).files()
    for each in (tmp_path / "raw").rglob("*.gz"):
        each.touch()
    fl.convert(tmp_path / "raw", lake=place, workers=1)
    lake = fl.open_lake(place)
    for path in set(old) - set(lake.files()):
        assert Path(path).exists()
        with pytest.raises(UsageError, match="Permission Error"):
            collect(lake.sql(f"FROM read_parquet('{path}')"))
    assert not set(old) & set(lake.files())


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_text('/etc/passwd')",
        "WITH read_text AS (SELECT 1) SELECT content FROM read_text('/etc/passwd')",
        "SELECT (SELECT content FROM read_text('/etc/passwd')) FROM flows",
        "SELECT 1 FROM '/etc/passwd'",
        "FROM query('SELECT 1')",
        "WITH query AS (SELECT 1) FROM query('FROM flows')",
        "WITH a AS (COPY (SELECT 1) TO '/tmp/flowlake-should-not-be') SELECT 1 FROM a",
        "WITH a AS (DELETE FROM flows RETURNING *) SELECT 1 FROM a",
        "SELECT 1 FROM flows; DROP VIEW flows",
        "FROM duckdb_secrets()",
        "FROM memory.main.protocols",
    ],
)
def test_a_query_file_only_reads_the_lake(sql: str) -> None:
    with pytest.raises(LakeError, match=r"mine\.sql:6: "):
        parse_query(f"{HEADER}\n{sql}", Path("mine.sql"))
    assert not Path("/tmp/flowlake-should-not-be").exists()


@pytest.mark.parametrize(
    "literal",
    [
        "1 AS INTEGER); CREATE MACRO json_serialize_sql(a) AS '{}'; SELECT CAST(1",
        "1 AS INTEGER), (SELECT 2 AS INTEGER",
        "(SELECT size FROM read_blob('/etc/passwd'))",
        "(WITH a AS (COPY (SELECT 1) TO '/tmp/flowlake-should-not-be') SELECT 1 FROM a)",
        "1; SELECT 2",
    ],
)
@pytest.mark.parametrize("place", ["1 e.g. {}", "{}"])
def test_a_header_holds_literals(literal: str, place: str) -> None:
    text = f"{HEADER}-- param: x INTEGER = {place.format(literal)} -- help\n\nSELECT $x AS x"
    with pytest.raises(LakeError, match=r"mine\.sql:5: "):
        parse_query(text, Path("mine.sql"))
    assert scratch().execute("SELECT json_serialize_sql('SELECT 1')").fetchone() != ("{}",)
    assert not Path("/tmp/flowlake-should-not-be").exists()


HOSTILE = (
    "'; DROP VIEW flows; --",
    "x') OR true; COPY (SELECT 1) TO '/tmp/flowlake-should-not-be'; --",
    "$top || ''''",
    "\\'; SELECT 1",
    "x\0y",
)


def test_values_are_values(lake: fl.Lake) -> None:
    """Each parameter of each saved query is bound, and, as a literal, is one literal."""
    tried = 0
    for query in load_queries():
        for param in query.params:
            for text in HOSTILE[:2]:
                given = {each.name: each.example for each in query.params if each.required}
                try:
                    values = bind(query, {**given, param.name: text})
                except UsageError as error:
                    assert repr(text) in str(error)
                else:
                    assert values[param.name] == text or param.type != "VARCHAR"
                    sql = literal_sql(query, {**given, param.name: text})
                    assert len(duckdb.extract_statements(sql)) == 1
                tried += 1
    assert tried > 100
    for text in HOSTILE:
        if "\0" not in text:
            assert collect(lake.sql("FROM flows", region=[text, "mars-1"])).is_empty()
        for window in ({"since": text}, {"until": text}, {"account": text}):
            with pytest.raises(UsageError):
                lake.sql("FROM flows", **window)
        with pytest.raises(UsageError):
            lake.hunt(text)
    assert collect(lake.sql("SELECT count(*) AS n FROM flows"))["n"][0] > 0
    assert not Path("/tmp/flowlake-should-not-be").exists()


def test_a_database_takes_names_as_they_are(lake: fl.Lake, tmp_path: Path) -> None:
    name = 'mine"(); DROP VIEW flows; --'
    text = HEADER.replace("mine", name, 1)
    with pytest.raises(LakeError, match=r":1: name .* has more than letters"):
        parse_query(f"{text}\nSELECT 1 AS x FROM protocols", Path(f"{name}.sql"))
    text = HEADER.replace("Mine.", "It's; DROP VIEW flows; --")
    query = parse_query(f"{text}\nSELECT 1 AS x FROM protocols LIMIT 1", Path("mine.sql"))
    region = "'; DROP VIEW flows; --"
    write_database(lake, tmp_path / "lake.duckdb", region=region, queries=[query])
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM flows").fetchall() == [(0,)]
        assert connection.sql("FROM mine()").fetchall() == [(1,)]
