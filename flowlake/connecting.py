"""A DuckDB database file that opens a lake: for the ``duckdb`` shell, DBeaver or a BI tool.

The file holds no records, only views of the Parquet files that are live when it is written, the
small tables of `flowlake.reference`, the macros of `flowlake.macros`, and a table macro for each
saved query: ``FROM top_talkers(top := 5)``.

A macro replaces every unqualified name that is a parameter's, and so the column ``action`` by the
argument ``action``. Therefore the SQL of a question is a macro in the schema `SAVED` whose
parameters have names that no column has; the macro with the friendly names only calls it.
"""

import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from flowlake import reference
from flowlake.committing import OBJECTS, REJECTED
from flowlake.doors import TRANSIT_GATEWAY_FLOWS, View, damaged, files_sql, view_sql
from flowlake.errors import LakeError, StorageError, UsageError
from flowlake.files import file_urls
from flowlake.lake import Lake, Names, When
from flowlake.macros import register_macros
from flowlake.queries import Query, load_queries, substituted
from flowlake.storage import is_remote, s3_filesystem
from flowlake.window import Window, window

if TYPE_CHECKING:
    import duckdb

SAVED = "saved"
"""The schema of the questions' SQL, each with its parameters named ``arg_…``."""

STORAGE_VERSION = "v1.0.0"
"""The file format, so that the shell or the driver may be older than the DuckDB that writes."""

VIEWS = frozenset({"flows", "history", TRANSIT_GATEWAY_FLOWS, "objects", "rejects"})
"""The views of a database; all else in it is macros and the tables of `flowlake.reference`."""

NOTHING = "(SELECT 1 WHERE false)"
MICROSECONDS_A_DAY = 86_400_000_000
DAYS_OF_ALL_TIME = 4_000_000

_ARROW_SQL = {
    pa.int64(): "BIGINT",
    pa.string(): "VARCHAR",
    pa.date32(): "DATE",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
}


def write_database(
    lake: Lake,
    path: str | os.PathLike[str],
    *,
    since: When = None,
    until: When = None,
    account: Names = None,
    region: Names = None,
    queries: Iterable[Query] | None = None,
) -> None:
    """Write a DuckDB database that opens the lake, as it is now, through a window.

    The file appears whole or not at all, in place of a database that was there before. It sees
    nothing that is converted later: write it again. Its views ``flows``, ``history`` (what lies
    before ``since``; empty without one), ``transit_gateway_flows``, ``objects`` and ``rejects``
    show what the lake's own doors show, in the time zone of the session that asks.

    Args:
        lake: the lake; its views name the files of one in S3 by their ``s3://`` addresses.
        path: where to write the database.
        since: records that start at or after this; ISO 8601 or an age such as ``24h``.
        until: records that start before this.
        account: only this ``account_id`` or these.
        region: only this ``region`` or these.
        queries: the saved queries to make macros of; by default those that come with FlowLake.

    Raises:
        UsageError: for a window that cannot be read, for a place without a folder, and for one
            where something else lies than a database of this function's that nobody is writing to.
        LakeError: when a file of the lake is missing, or DuckDB refuses a query.
        StorageError: when the database cannot be written.
    """
    wanted = window(since, until, account, region)
    questions = load_queries() if queries is None else tuple(queries)
    with _replacing(Path(path).expanduser()) as beside, _database(beside) as connection:
        _make_views(connection, lake, wanted)
        _make_tables(connection)
        register_macros(connection)
        _make_questions(connection, questions, wanted.since)


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A name beside the target, whose file takes the target's place at the end."""
    if not target.parent.is_dir():
        raise UsageError(
            f"There is no folder {target.parent} to write {target.name} in: make it first."
        )
    if target.exists() and not _is_database(target):
        raise UsageError(f"{target} is there and is no DuckDB database: choose another name.")
    if target.with_name(f"{target.name}.wal").exists():
        raise UsageError(
            f"{target} is being written to, or was left in the middle: {target.name}.wal lies "
            "beside it. Close the program that has it open, or choose another name."
        )
    if target.exists() and (own := _not_ours(target)):
        raise UsageError(
            f"{target} holds {', '.join(own)}, which `flowlake connect` did not write: choose "
            "another name."
        )
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield beside
        try:
            beside.replace(target)
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        for left in (beside, beside.with_name(f"{beside.name}.wal")):
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def _database(path: Path) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A new database, which needs and loads no extension."""
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "storage_compatibility_version": STORAGE_VERSION,
    }
    try:
        with duckdb.connect(str(path), config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
    except duckdb.Error as error:
        raise StorageError(
            f"The database cannot be written: {str(error).splitlines()[0]}"
        ) from error


def _is_database(path: Path) -> bool:
    """Whether a file says of itself that it is a DuckDB database, after a checksum of 8 bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def _not_ours(path: Path) -> list[str]:
    """The tables and views of a database that are somebody's own."""
    import duckdb

    named = (
        "SELECT table_name FROM duckdb_tables() WHERE NOT internal "
        "UNION SELECT view_name FROM duckdb_views() WHERE NOT internal"
    )
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            there = {name for (name,) in connection.execute(named).fetchall()}
    except duckdb.Error as error:
        raise UsageError(
            f"{path} is a DuckDB database that cannot be read: choose another name. "
            f"({str(error).splitlines()[0]})"
        ) from error
    return sorted(there - VIEWS - reference.TABLES.keys())


def _make_views(connection: "duckdb.DuckDBPyConnection", lake: Lake, wanted: Window) -> None:
    import duckdb

    past = lake.view("history", Window(None, wanted.since, wanted.accounts, wanted.regions))
    before = replace(past, paths=[]) if wanted.since is None else past
    shown = lake.flows().collect_schema()
    stored = pl.Schema(pa.schema(lake.tables.table("flows").schema()))

    if is_remote(lake.url):
        # A view is bound when it is made: here the files come through s3fs, later through httpfs.
        connection.register_filesystem(s3_filesystem(lake.tables.access))

    def records(view: View) -> str:
        if not view.paths:
            return view_sql(NOTHING, (), stored, shown, ())
        source = files_sql(view.paths, stored, lake.partition_by)
        try:
            there = connection.sql(source).columns
        except (duckdb.IOException, OSError) as error:
            raise damaged(lake.url, error) from error
        return view_sql(f"({source})", there, stored, shown, view.conditions)

    rejects = _table_sql(lake, "rejects", REJECTED)
    views = {
        "flows": (
            records(lake.view("flows", wanted)),
            f"The records of VPC flow logs of {_words(lake, wanted)}.",
        ),
        "history": (records(before), "The records before those of flows."),
        TRANSIT_GATEWAY_FLOWS: (
            records(lake.view(TRANSIT_GATEWAY_FLOWS, wanted)),
            "The records of transit gateway and Cloud WAN flow logs, of the window of flows.",
        ),
        "objects": (
            f"{_table_sql(lake, 'objects', OBJECTS)} ORDER BY converted_at, url",
            "The ledger: every version of every raw object.",
        ),
        "rejects": (
            f"SELECT rejected.*, live.url FROM ({rejects}) AS rejected "
            "JOIN objects AS live ON live.object_id = rejected.object_id "
            "WHERE live.object_id NOT IN (SELECT replaces FROM objects WHERE replaces IS NOT NULL) "
            "ORDER BY live.url, rejected.line_number NULLS FIRST",
            "The lines and objects that could not be read.",
        ),
    }
    for name, (sql, comment) in views.items():
        connection.execute(f"CREATE VIEW {name} AS {sql}")
        connection.execute(f"COMMENT ON VIEW {name} IS {_text(comment)}")


def _words(lake: Lake, wanted: Window) -> str:
    """What the views show, for whoever opens the file and wonders."""
    parts = [f"the lake {lake.url} as it was at {datetime.now(UTC):%FT%TZ}"]
    for word, moment in (("from", wanted.since), ("until", wanted.until)):
        parts += [] if moment is None else [f"{word} {moment:%FT%TZ}"]
    for word, names in (("account", wanted.accounts), ("region", wanted.regions)):
        parts += [f"{word} {' or '.join(names)}"] if names else []
    return ", ".join(parts)


def _table_sql(lake: Lake, name: str, schema: pa.Schema) -> str:
    files = file_urls(lake.tables.table(name))
    if not files:
        columns = (f"CAST(NULL AS {_ARROW_SQL[each.type]}) AS {each.name}" for each in schema)
        return f"SELECT {', '.join(columns)} FROM {NOTHING}"
    paths = ", ".join(map(_text, sorted(files)))
    return (
        f"SELECT {', '.join(schema.names)} FROM read_parquet([{paths}], hive_partitioning = false)"
    )


def _make_tables(connection: "duckdb.DuckDBPyConnection") -> None:
    for name in reference.TABLES:
        connection.register("made", reference.lookup(name).to_arrow())
        connection.execute(f"CREATE TABLE {name} AS FROM made")
        connection.unregister("made")


def _make_questions(
    connection: "duckdb.DuckDBPyConnection", queries: Iterable[Query], since: datetime | None
) -> None:
    """Make the macros of the questions, each first without what DuckDB would take amiss.

    A macro is bound when it is made, with its parameters for columns: one would be missing in
    GROUP BY, another be said to conflict with a column inside the question. When it is called,
    arguments have taken their places, and there is nothing amiss.
    """
    import duckdb

    connection.execute(f"CREATE SCHEMA {SAVED}")
    connection.execute(f"CREATE MACRO {SAVED}.given(argument) AS NULL")
    for query in queries:
        inner = f'{SAVED}."{query.name}"({", ".join(f"arg_{each.name}" for each in query.params)})'
        passed = ", ".join(f'"{each.name}"' for each in query.params)
        named = ", ".join(
            f'"{each.name}"' if each.required else f'"{each.name}" := {each.literal}'
            for each in sorted(query.params, key=lambda each: not each.required)
        )
        outer = f'"{query.name}"({named}) AS TABLE FROM {SAVED}."{query.name}"({passed})'
        comment = _text(f"{query.title}. {query.description}")
        try:
            connection.execute(f"CREATE MACRO {inner} AS TABLE SELECT NULL")
            connection.execute(f"CREATE MACRO {outer}")
            connection.execute(
                f"CREATE OR REPLACE MACRO {inner} AS TABLE {_question_sql(query, since)}"
            )
            connection.execute(f'COMMENT ON MACRO TABLE "{query.name}" IS {comment}')
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise LakeError(f"{query.path} cannot be a macro: {reason}") from error
    connection.execute(f"CREATE OR REPLACE MACRO {SAVED}.given(argument) AS argument")


def _question_sql(query: Query, since: datetime | None) -> str:
    """The body of a question's macro; a look at the days before is cut to as many as asked."""
    arguments = {
        each.name: f"CAST({SAVED}.given(arg_{each.name}) AS {each.type})" for each in query.params
    }
    sql = substituted(query.sql, arguments)
    if query.history is None:
        return sql
    if since is None:
        refusal = (
            f"{query.name} compares a window with the days before it: write this database with "
            "flowlake connect --since TIME."
        )
        return f"SELECT error({_text(refusal)}) AS refused"
    moment = int(since.timestamp() * 1_000_000)
    back = f"least({arguments[query.history]}::BIGINT, {DAYS_OF_ALL_TIME}) * {MICROSECONDS_A_DAY}"
    return (
        "WITH history AS (SELECT * FROM main.history "
        f"WHERE start_time >= make_timestamptz(greatest({moment} - {back}, 0))) "
        f"SELECT * FROM ({sql})"
    )


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
