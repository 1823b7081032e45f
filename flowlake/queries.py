"""Saved SQL: find a query file, bind its parameters, run it on a lake's connection.

What a query file is, and how it is checked, stands in `flowlake.query_file`. Values are always
bound and never formatted into the SQL, wherever they come from.
"""

import difflib
import functools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlake import reference
from flowlake.errors import UsageError
from flowlake.macros import register_macros
from flowlake.query_file import Column, Param, Query, frozen, parse_query, scratch
from flowlake.query_header import query_files

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "Column",
    "Param",
    "Query",
    "bind",
    "equip",
    "literal_sql",
    "load_queries",
    "load_query",
    "query_names",
    "run",
    "substituted",
]


def load_queries(folder: str | os.PathLike[str] | None = None) -> tuple[Query, ...]:
    """Load every saved query, sorted by name; each file is read and checked once a process.

    ``folder`` adds queries of your own to FlowLake's: one ``.sql`` file for each, with the same
    header and the same checks.

    Raises:
        UsageError: when there is no such folder, or a name in it is taken.
        LakeError: when a file is wrong; it names the line.
    """
    return tuple(load_query(name, folder) for name in query_names(folder))


def load_query(name: str, folder: str | os.PathLike[str] | None = None) -> Query:
    """Load one saved query by its name; an unknown name is a UsageError with a suggestion."""
    files = query_files(folder)
    if name not in files:
        close = difflib.get_close_matches(name, files, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else "`flowlake queries` lists them."
        raise UsageError(f"There is no saved query {name!r}. {hint}")
    return _load_file(files[name])


def query_names(folder: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """List the names of all saved queries, sorted, without reading a file."""
    return tuple(query_files(folder))


def bind(query: Query, given: Mapping[str, object]) -> dict[str, Any]:
    """Give every parameter its value now: defaults filled in, text cast to the declared type.

    Values may be text, as the command line has them, or Python objects. DuckDB does the cast,
    of a bound value, so nothing given is ever read as SQL. Raises UsageError for an unknown, a
    missing or an ill-typed parameter, and for None where the default is not NULL.
    """
    declared = {param.name: param for param in query.params}
    for name in given:
        if name not in declared:
            hint = _did_you_mean(name, declared) if declared else "It takes none."
            raise UsageError(f"Query {query.name} has no parameter {name!r}. {hint}")
    values: dict[str, Any] = {}
    for name, param in declared.items():
        if name in given:
            values[name] = _cast(query, param, given[name])
        elif param.required:
            raise UsageError(
                f"Query {query.name} needs the parameter {name} ({param.type}): {param.help}. "
                f"Give it with -p {name}=…"
            )
        else:
            values[name] = param.default
    return values


def run(
    connection: "duckdb.DuckDBPyConnection",
    query: Query,
    given: Mapping[str, object] | None = None,
) -> "duckdb.DuckDBPyRelation":
    """Bind the parameters and give the answer as a relation, lazy on DuckDB 2: read it once.

    The connection must have `TABLES` and be set to UTC.
    """
    values = {name: _bindable(value) for name, value in bind(query, given or {}).items()}
    return connection.sql(query.sql, params=values)


def literal_sql(query: Query, given: Mapping[str, object] | None = None) -> str:
    """The SQL with its values as literals, which runs as it is in a database of ``connect``."""
    values = bind(query, given or {})
    literals = {
        param.name: f"CAST({_spelled(values[param.name])} AS {param.type})"
        for param in query.params
    }
    return substituted(query.sql, literals)


def _spelled(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_spelled, value))}]"
    if isinstance(value, (bool, int, float)):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def substituted(sql: str, values: Mapping[str, str]) -> str:
    """A query's SQL with the values for its parameters, and without the semicolon at its end.

    DuckDB's tokenizer says what is a parameter: in strings and comments ``$`` means nothing.
    """
    import duckdb

    body = sql.encode()  # the tokenizer counts bytes
    starts = [start for start, _ in duckdb.tokenize(sql)]
    parts: list[str] = []
    done = 0
    for start, following in zip(starts, [*starts[1:], len(body)], strict=True):
        if body[start : start + 1] == b";":
            body = body[:start]
            break
        if body[start : start + 1] == b"$" and following == start + 1:
            name = re.match(rb"\w+", body[following:])
            assert name is not None
            parts += [body[done:start].decode(), values[name[0].decode()]]
            done = following + name.end()
    return "".join(parts) + body[done:].decode()


def equip(connection: "duckdb.DuckDBPyConnection", sql: str | None = None) -> None:
    """Give a connection all that saved SQL uses beside the flows: small tables and macros.

    Given the SQL that is to run, only what it names: to make all of them takes longer than many
    an answer.
    """
    for name in reference.TABLES:
        if sql is None or name in sql:
            connection.register(name, reference.lookup(name).to_arrow())
    register_macros(connection, sql)


@functools.cache
def _load_file(path: Path) -> Query:
    try:
        return parse_query(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: save it as UTF-8.") from error


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(known)}."


def _cast(query: Query, param: Param, value: object) -> Any:
    import duckdb

    if value is None:
        if param.nullable:
            return None
        raise UsageError(f"Parameter {param.name} of query {query.name} cannot be NULL.")
    such = f": write -p {param.name}={param.example.strip(chr(39))}" if param.example else ""
    refusal = (
        f"Parameter {param.name} of query {query.name} takes {param.type}, not {value!r}{such}."
    )
    # DuckDB rounds 2.7 to the integer 3; asking for the same value as DOUBLE notices.
    sql = f"SELECT CAST($value AS {param.type}), TRY_CAST(CAST($value AS VARCHAR) AS DOUBLE)"
    if param.type.endswith("[]") and isinstance(value, str) and not value.startswith("["):
        value = f"[{value}]"
    try:
        row = scratch().cursor().execute(sql, {"value": _bindable(value)}).fetchone()
    except duckdb.Error as error:
        raise UsageError(refusal) from error
    cast, number = row or (None, None)
    if isinstance(cast, int) and not isinstance(cast, bool) and number != float(cast):
        raise UsageError(refusal)
    return frozen(cast)


def _bindable(value: object) -> object:
    return list(value) if isinstance(value, (tuple, set, frozenset)) else value
