"""Saved SQL: find a query file, bind its parameters, run it on a lake's connection.

What a query file is, and how it is checked, stands in `flowlake.query_file`. Values are always
bound and never formatted into the SQL, wherever they come from.
"""

import difflib
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlake.errors import LakeError, UsageError
from flowlake.query_file import Column, Param, Query, parse_query, scratch

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "Column",
    "Param",
    "Query",
    "bind",
    "load_queries",
    "load_query",
    "query_names",
    "register_protocols",
    "run",
]

FOLDERS = (Path(__file__).parent / "sql", Path(__file__).parent.parent / "queries")
"""Where the files lie: inside an installed wheel, or beside the package in a checkout."""


def load_queries() -> tuple[Query, ...]:
    """Load every saved query, sorted by name; each file is read and checked once a process."""
    return tuple(map(load_query, query_names()))


def load_query(name: str) -> Query:
    """Load one saved query by its name; an unknown name is a UsageError with a suggestion."""
    names = query_names()
    if name not in names:
        raise UsageError(f"There is no saved query {name!r}. {_did_you_mean(name, names)}")
    return _load_file(_folder() / f"{name}.sql")


def query_names() -> tuple[str, ...]:
    """List the names of all saved queries, sorted, without reading a file."""
    return tuple(sorted(path.stem for path in _folder().glob("*.sql")))


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
                f"Query {query.name} needs the parameter {name} ({param.type}): {param.help}."
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
    return connection.sql(query.sql, params=bind(query, given or {}))


def register_protocols(connection: "duckdb.DuckDBPyConnection") -> None:
    """Put `protocols (protocol INTEGER, keyword VARCHAR)` beside `flows` on a connection."""
    import pyarrow as pa

    from flowlake.protocols import PROTOCOLS

    numbers = pa.array(PROTOCOLS.keys(), pa.int32())
    keywords = pa.array(PROTOCOLS.values(), pa.string())
    connection.register("protocols", pa.table({"protocol": numbers, "keyword": keywords}))


def _folder() -> Path:
    for folder in FOLDERS:
        if folder.is_dir():
            return folder
    raise LakeError(f"The saved queries are missing: neither {FOLDERS[0]} nor {FOLDERS[1]} exists.")


@functools.cache
def _load_file(path: Path) -> Query:
    return parse_query(path.read_text(encoding="utf-8"), path)


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
    refusal = f"Parameter {param.name} of query {query.name} takes {param.type}, not {value!r}."
    # DuckDB rounds 2.7 to the integer 3; asking for the same value as DOUBLE notices.
    sql = f"SELECT CAST($value AS {param.type}), TRY_CAST(CAST($value AS VARCHAR) AS DOUBLE)"
    try:
        row = scratch().cursor().execute(sql, {"value": value}).fetchone()
    except duckdb.Error as error:
        raise UsageError(refusal) from error
    cast, number = row or (None, None)
    if isinstance(cast, int) and not isinstance(cast, bool) and number != float(cast):
        raise UsageError(refusal)
    return cast
