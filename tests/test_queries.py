"""Saved SQL: what a query file may be, and what a parameter may be given."""

# Annotations stay text: DuckDB's classes, held by a test until exit, make nanobind report leaks.
from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flowlake import query_header
from flowlake.errors import LakeError, UsageError
from flowlake.fields import flows_schema
from flowlake.queries import bind, equip, literal_sql, load_queries, load_query, query_names, run
from flowlake.query_file import Column, Param, Query, parse_query

PARAM = "-- param: top UINTEGER = 20 -- how many: a few -- or more\n"
HEADER = """\
-- name: talk
-- title: Talk
-- description: Who talks,
--   and 'how' -- much.
-- param: top UINTEGER = 20 -- how many: a few -- or more
-- returns: srcaddr VARCHAR,
--   bytes DECIMAL(38,0)
"""
SQL = "\nSELECT srcaddr, sum(bytes) AS bytes FROM flows GROUP BY ALL LIMIT $top;\n"


def parse(text: str, name: str = "talk.sql") -> Query:
    """Read text as if it were a file."""
    return parse_query(text, Path(name))


def with_params(*lines: str) -> Query:
    """A query that declares these parameters, and uses them."""
    declared = "".join(f"-- param: {line} -- help\n" for line in lines)
    used = ", ".join(f"${line.split()[0]}" for line in lines)
    header = HEADER.replace("-- param: top UINTEGER = 20 -- how many: a few -- or more\n", declared)
    return parse(f"{header}\nSELECT {used} FROM flows")


def test_a_header_is_read_whole() -> None:
    query = parse(HEADER + SQL)
    assert (query.name, query.title, query.path) == ("talk", "Talk", Path("talk.sql"))
    assert query.description == "Who talks, and 'how' -- much."
    assert query.params == (Param("top", "UINTEGER", "20", 20, "how many: a few -- or more", "20"),)
    assert query.returns == (Column("srcaddr", "VARCHAR"), Column("bytes", "DECIMAL(38,0)"))
    assert query.sql == HEADER + SQL


@pytest.mark.parametrize(
    ("line", "default"),
    [
        ("x VARCHAR = 'a -- b = c''s'", "a -- b = c's"),
        ("x VARCHAR = NULL", None),
        ("x DATE = '2026-01-14'", date(2026, 1, 14)),
        ("x TIMESTAMPTZ = '2026-01-14'", datetime(2026, 1, 14, tzinfo=UTC)),
        ("x VARCHAR[] = ['a', 'b']", ("a", "b")),
        ("x DECIMAL(3,1)=0.5", 0.5),
        ("x BOOLEAN = true", True),
    ],
)
def test_duckdb_evaluates_a_default(line: str, default: object) -> None:
    query = with_params(line)
    assert bind(query, {}) == {"x": default}
    assert not query.params[0].required


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HEADER + "-- colour: red\n" + SQL, "talk.sql:8: unknown header key 'colour'"),
        (HEADER + "-- just words\n" + SQL, "talk.sql:8: a header line is '-- key: value'"),
        (HEADER + "--\n" + SQL, "talk.sql:8: a header line is"),
        (HEADER + "-- title: Again\n" + SQL, "talk.sql:8: header key 'title' stands twice"),
        (HEADER.replace("Talk\n", "\n") + SQL, "talk.sql:2: header key 'title' says nothing"),
        (HEADER.replace("-- title: Talk\n", "") + SQL, "talk.sql:1: the header has no 'title'"),
        (SQL, "talk.sql:1: the header has no 'name'"),
        ("", "talk.sql:1: the header has no 'name'"),
        (HEADER.replace("talk", "walk") + SQL, "talk.sql:1: name 'walk' is not the file's name"),
        (HEADER.replace("UINTEGER", "NUMBER_") + SQL, "talk.sql:5: param top: "),
        (HEADER.replace("= 20", "= 'many'") + SQL, "talk.sql:5: param top: Conversion Error"),
        (HEADER.replace("= 20", "= 2)); DROP TABLE x --") + SQL, "talk.sql:5: param top: Parser"),
        (HEADER.replace(" -- how many: a few -- or more", "") + SQL, "talk.sql:5: a param is"),
        (HEADER + "-- param: top INTEGER -- 2\n" + SQL, "talk.sql:8: param top is declared twice"),
        (HEADER + "-- param: lost DATE -- d\n" + SQL, "talk.sql:10: the SQL never uses $lost"),
        (HEADER + SQL.replace("$top", "$tip"), "talk.sql:9: the SQL uses undeclared $tip"),
        (HEADER + SQL.replace("$top", "?"), "talk.sql:9: the SQL uses undeclared $1"),
        (HEADER + SQL.replace("$top", "5 -- $top"), "talk.sql:9: the SQL never uses $top"),
        (HEADER.replace("DECIMAL(38,0)", "NUMBER_") + SQL, "talk.sql:6: returns: "),
        (HEADER.replace("bytes", "srcaddr") + SQL, "talk.sql:6: returns: "),
        (HEADER + SQL.replace("SELECT", "SELEKT"), "talk.sql:9: Parser Error"),
        (HEADER, "talk.sql:7: the file must hold one SELECT and nothing else"),
        (HEADER + SQL + SQL, "talk.sql:9: the file must hold one SELECT and nothing else"),
        (HEADER + "\nDROP TABLE flows", "talk.sql:9: the file must hold one SELECT"),
        (HEADER + "\nCOPY (FROM flows) TO 'x'", "talk.sql:9: the file must hold one SELECT"),
        (
            HEADER + SQL.replace("flows", "'x.csv'"),
            "transit_gateway_flows, uncaptured_traffic; not x.csv",
        ),
        (HEADER + SQL.replace("flows", "read_csv('x')"), "not read_csv"),
        (HEADER + SQL.replace("flows", "flows, other.flows"), "not other.flows"),
        (HEADER + SQL.replace("$top", "$top + (SELECT max(x) FROM secret)"), "not secret"),
        (HEADER + SQL.replace("flows", "(DESCRIBE flows)"), "not DESCRIBE"),
    ],
)
def test_a_wrong_file_says_where(text: str, complaint: str) -> None:
    with pytest.raises(LakeError, match=re.escape(complaint)):
        parse(text)


def test_what_a_question_needs_and_how_far_it_looks_back() -> None:
    look_back = HEADER + "-- needs: tcp_flags, vpc_id\n-- history: top\n"
    query = parse(look_back + SQL.replace("FROM flows", "FROM flows, history"))
    assert (query.needs, query.history) == (("tcp_flags", "vpc_id"), "top")
    for header, sql, complaint in (
        (
            look_back.replace("vpc_id", "vpc-id"),
            SQL,
            "talk.sql:8: needs: flows has no column vpc-id",
        ),
        (
            look_back.replace("history: top", "history: days"),
            SQL,
            "talk.sql:9: history names no param",
        ),
        (look_back, SQL, "'history: PARAM' goes with FROM history"),
        (
            HEADER,
            SQL.replace("FROM flows", "FROM history"),
            "'history: PARAM' goes with FROM history",
        ),
        (look_back + "-- needs: type\n", SQL, "talk.sql:10: header key 'needs' stands twice"),
    ):
        with pytest.raises(LakeError, match=re.escape(complaint)):
            parse(header + sql)


def test_an_example_beside_a_default() -> None:
    query = with_params("x VARCHAR = NULL e.g. 'it''s e.g. this'", "y INTEGER e.g. 5", "z DATE")
    assert [param.example for param in query.params] == ["'it''s e.g. this'", "5", None]
    assert [param.required for param in query.params] == [False, True, True]
    with pytest.raises(LakeError, match="param x: Conversion Error"):
        with_params("x INTEGER = 5 e.g. 'many'")


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "talk.sql").write_text(HEADER + SQL)
    assert "talk" in query_names(tmp_path)
    assert set(query_names(tmp_path)) - set(query_names()) == {"talk"}
    assert load_query("talk", tmp_path).title == "Talk"
    assert load_query("top_talkers", tmp_path) == load_query("top_talkers")
    (tmp_path / "top_talkers.sql").write_text(HEADER + SQL)
    with pytest.raises(UsageError, match="FlowLake has a query of this name"):
        load_query("talk", tmp_path)
    with pytest.raises(UsageError, match="no folder of queries"):
        load_queries(tmp_path / "none")


def test_a_with_table_is_the_querys_own() -> None:
    sql = "WITH mine AS (SELECT * FROM flows) SELECT $top FROM mine JOIN protocols USING (protocol)"
    assert parse(f"{HEADER}\n{sql}").sql.endswith(sql)


@pytest.mark.parametrize(
    ("line", "value", "bound"),
    [
        ("x UINTEGER", "5", 5),
        ("x UINTEGER", 5, 5),
        ("x UINTEGER = 1", "1e1", 10),
        ("x BIGINT", "9007199254740993", 9007199254740993),
        ("x DOUBLE", "0.25", 0.25),
        ("x DOUBLE", 1, 1.0),
        ("x VARCHAR", "1; DROP TABLE x", "1; DROP TABLE x"),
        ("x VARCHAR", "NULL", "NULL"),
        ("x VARCHAR = NULL", None, None),
        ("x BOOLEAN", "true", True),
        ("x DATE", "2026-01-14", date(2026, 1, 14)),
        ("x TIMESTAMPTZ", "2026-01-14T01:00:00+01:00", datetime(2026, 1, 14, tzinfo=UTC)),
        ("x INTEGER[]", "[1, 2]", (1, 2)),
        ("x INTEGER[]", "1, 2", (1, 2)),
        ("x INTEGER[]", "", ()),
        ("x INTEGER[]", [1, 2], (1, 2)),
        ("x INTEGER[]", (1, 2), (1, 2)),
        ("x VARCHAR[]", "10.0.0.0/8,2001:db8::/32", ("10.0.0.0/8", "2001:db8::/32")),
    ],
)
def test_a_value_becomes_the_declared_type(line: str, value: object, bound: object) -> None:
    query = with_params(line)
    once = bind(query, {"x": value})
    assert once == {"x": bound}
    assert type(once["x"]) is type(bound)
    assert bind(query, once) == once


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"top": "1; DROP TABLE x"}, "top of query top_talkers takes UINTEGER, not '1; DROP TABLE"),
        ({"top": "many"}, "takes UINTEGER, not 'many'"),
        ({"top": ""}, "takes UINTEGER, not ''"),
        ({"top": "-1"}, "takes UINTEGER, not '-1'"),
        ({"top": -1}, "takes UINTEGER, not -1"),
        ({"top": "2.7"}, "takes UINTEGER, not '2.7'"),
        ({"top": 2.7}, "takes UINTEGER, not 2.7"),
        ({"top": 10**60}, "takes UINTEGER, not 1000"),
        ({"top": float("nan")}, "takes UINTEGER, not nan"),
        ({"top": object()}, "takes UINTEGER, not <object"),
        ({"top": "NULL"}, "takes UINTEGER, not 'NULL'"),
        ({"top": None}, "Parameter top of query top_talkers cannot be NULL."),
        ({"tpo": "5"}, "has no parameter 'tpo'. Did you mean 'top'?"),
        ({"$top": "5", "x": 1}, "has no parameter '$top'. Did you mean 'top'?"),
        (
            {"colour": "5"},
            "has no parameter 'colour'. Known are: side, packet_level, action,",
        ),
    ],
)
def test_a_wrong_value_is_the_users(given: Mapping[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        bind(load_query("top_talkers"), given)


def test_a_parameter_without_default_must_be_given() -> None:
    query = with_params("port INTEGER", "action VARCHAR = 'ACCEPT'")
    assert bind(query, {"port": "22"}) == {"port": 22, "action": "ACCEPT"}
    with pytest.raises(UsageError, match=r"needs the parameter port \(INTEGER\): help\."):
        bind(query, {})
    with pytest.raises(UsageError, match="action of query talk cannot be NULL"):
        bind(query, {"port": 22, "action": None})
    plain = parse(HEADER.replace(PARAM, "") + SQL.replace("$top", "5"))
    with pytest.raises(UsageError, match="It takes none"):
        bind(plain, {"top": 5})


def test_an_unknown_query_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean 'top_talkers'"):
        load_query("top_talker")
    with pytest.raises(UsageError, match="`flowlake queries` lists them"):
        load_query("/etc/passwd")
    with pytest.raises(UsageError, match="no saved query"):
        load_query("../queries/top_talkers")


def test_loading_is_sorted_and_once() -> None:
    assert [query.name for query in load_queries()] == list(query_names())
    assert list(query_names()) == sorted(query_names())
    assert load_query("top_talkers") is load_query("top_talkers")


def test_a_missing_folder_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(query_header, "FOLDERS", (tmp_path / "sql", tmp_path / "queries"))
    with pytest.raises(LakeError, match="saved queries are missing"):
        load_queries()


def test_the_wheels_folder_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "talk.sql").write_text(HEADER + SQL)
    monkeypatch.setattr(query_header, "FOLDERS", (tmp_path / "sql", *query_header.FOLDERS))
    assert [query.name for query in load_queries()] == ["talk"]


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    """A connection with an empty `flows`, as the lake would open it."""
    opened = duckdb.connect(":memory:")
    opened.execute("SET TimeZone = 'UTC'")
    for name in ("flows", "history"):
        opened.register(name, flows_schema().empty_table())
    equip(opened)
    return opened


@pytest.mark.parametrize("query", load_queries(), ids=query_names())
def test_any_duckdb_shell_can_prepare_the_file(
    connection: duckdb.DuckDBPyConnection, query: Query
) -> None:
    connection.execute(f"PREPARE q AS {query.sql}")
    arguments = ", ".join(f"{param.name} := {param.literal}" for param in query.params)
    rows = connection.execute(f"EXECUTE q({arguments})" if arguments else "EXECUTE q").fetchall()
    assert rows == run(connection, query).fetchall()


@pytest.mark.parametrize("query", load_queries(), ids=query_names())
def test_with_its_values_as_literals_it_runs_as_it_is(
    connection: duckdb.DuckDBPyConnection, query: Query
) -> None:
    assert connection.sql(literal_sql(query)).columns == [each.name for each in query.returns]


def test_literals_are_what_was_given(connection: duckdb.DuckDBPyConnection) -> None:
    query = parse(
        "-- name: talk\n-- title: t\n-- description: $who\n-- param: a VARCHAR -- h\n"
        "-- param: b DOUBLE[] -- h\n-- param: c DATE = NULL -- h\n-- param: d BOOLEAN -- h\n"
        "-- returns: a VARCHAR, b DOUBLE[], c DATE, d BOOLEAN, e VARCHAR\n\n"
        "SELECT $a AS a, $b AS b, $c AS c, $d AS d, '$a' AS e; -- $d"
    )
    given = {"a": "it's é $b", "b": [1, 0.5], "d": "false"}
    [row] = connection.execute(literal_sql(query, given)).fetchall()
    assert row == ("it's é $b", [1.0, 0.5], None, False, "$a")


def test_a_value_is_never_sql(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE x AS SELECT 1 AS one")
    for action in ("'; DROP TABLE x; --", "' OR 1 = 1 --", "$top"):
        given: dict[str, Any] = {"action": action}
        assert run(connection, load_query("top_talkers"), given).fetchall() == []
    with pytest.raises(UsageError):
        run(connection, load_query("top_talkers"), {"top": "1; DROP TABLE x"})
    assert connection.sql("FROM x").fetchall() == [(1,)]


def test_protocols_are_a_table(connection: duckdb.DuckDBPyConnection) -> None:
    relation = connection.sql("SELECT * FROM protocols WHERE protocol IN (6, 17) ORDER BY 1")
    assert list(map(str, relation.types)) == ["INTEGER", "VARCHAR"]
    assert relation.fetchall() == [(6, "TCP"), (17, "UDP")]


def test_listing_names_needs_no_engine() -> None:
    code = "import sys, flowlake.queries as q; q.query_names(); assert 'duckdb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
