"""What a query file is, and the reading and checking of one.

A header of comments stands over one SELECT in plain DuckDB::

    -- name: top_talkers
    -- title: Top talkers
    -- description: One or more sentences; an indented comment line
    --   continues the key above it.
    -- param: top UINTEGER = 20 -- how many addresses to keep
    -- returns: srcaddr VARCHAR, bytes BIGINT

    SELECT … FROM flows … LIMIT $top;

The header ends at the first line that is no comment. ``name``, ``title``, ``description`` and
``returns`` stand once, ``param`` any number of times. A parameter without ``= literal`` must be
given; one whose default is NULL may be NULL. Where the default tells little, an example stands
after it: ``action VARCHAR = NULL e.g. 'REJECT' -- …``.

Three more keys may stand once. ``needs: tcp_flags, vpc_id`` names columns that the default format
lacks and without which there is no answer. ``history: days`` names the parameter that says how
many days before the window the table `history` reaches back. ``report`` takes the question into
`flowlake report`, and says which columns of the answer to draw, or ``table`` for none::

    -- report: bytes by address
    -- report: bytes, flows of which rejected by bucket_start
    -- report: gap_start to gap_end by interface_id
    -- report: table

Amounts are drawn by what they belong to: over time by a TIMESTAMPTZ, else as a bar for each row.
``of which`` sets a part of an amount apart, and times that are joined by ``to`` become spans.

FROM names only the tables in `TABLES`, which the connection provides: `flows`, the records of the
window; `history`, those before it; `transit_gateway_flows`, those of the window that no VPC flow
log has; and the small tables of `flowlake.reference`. Besides DuckDB's functions the SQL may call
the macros of `flowlake.macros`. Every file is checked when it is loaded, and DuckDB's own parser
judges the SQL.
"""

import functools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlake import reference
from flowlake.errors import UsageError
from flowlake.fields import COLUMNS
from flowlake.query_header import HEADER_LINE, PARAM, header_entries, wrong

if TYPE_CHECKING:
    import duckdb

TABLES = frozenset({"flows", "history", "transit_gateway_flows", *reference.TABLES})
"""What a saved query may name in FROM, besides its own WITH tables."""

ONCE = ("name", "title", "description", "returns")
"""Header keys that stand exactly once."""

OPTIONAL = ("needs", "history", "report")
"""Header keys that stand once or not at all; the only other key is ``param``."""

READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
"""What DuckDB's syntax tree of a statement that only reads is made of.

DuckDB 2 calls a statement a SELECT, too, that has a COPY or DELETE in its WITH.
"""

UNSEEN = frozenset({"query", "json_execute_serialized_sql", "pandas_scan", "arrow_scan"})
"""Functions that run another statement, out of a text, or read at an address in memory."""

DRAWN = re.compile(r"(?P<amounts>\w.*?)\s+by\s+(?P<by>\w+(?:\s*,\s*\w+)*)")
AMOUNT = re.compile(r"(?P<column>\w+)(?:\s+(?P<joint>of which|to)\s+(?P<other>\w+))?")
TIME = "TIMESTAMP WITH TIME ZONE"
NUMBERS = ("BIGINT", "INTEGER", "DOUBLE")
"""The types that an answer has numbers in."""


@dataclass(frozen=True, slots=True)
class Param:
    """One declared parameter; `type` is DuckDB's own spelling of the declared type."""

    name: str
    type: str
    literal: str | None
    """The default as written, a SQL literal; None means the parameter must be given."""
    default: Any
    """The default as a Python value, evaluated by DuckDB; None also where there is none. A list is
    a tuple."""
    help: str
    example: str | None = None
    """A value to try, as a SQL literal: the one given after ``e.g.``, else the default."""

    @property
    def required(self) -> bool:
        """Whether a value must be given, for want of a default."""
        return self.literal is None

    @property
    def nullable(self) -> bool:
        """Whether NULL is a value: so exactly where the default is NULL."""
        return not self.required and self.default is None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a query's answer; `type` is DuckDB's own spelling."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of each row, to draw as long as it is; `part` is the part of it to set apart."""

    column: str
    part: str | None = None

    def __str__(self) -> str:
        """As the header says it."""
        return f"{self.column} of which {self.part}" if self.part else self.column


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a report draws an answer: nothing, amounts, or the span from one time to another."""

    amounts: tuple[Amount, ...] = ()
    span: tuple[str, str] | None = None
    by: tuple[str, ...] = ()
    """The columns that say what an amount or a span belongs to: one time, or anything else."""
    over_time: bool = False
    """Whether `by` is a time."""

    def __str__(self) -> str:
        """As the header says it."""
        if not self.by:
            return "table"
        drawn = " to ".join(self.span) if self.span else ", ".join(map(str, self.amounts))
        return f"{drawn} by {', '.join(self.by)}"


@dataclass(frozen=True, slots=True)
class Query:
    """One saved question: what its header says, and its SQL, which is the whole file."""

    name: str
    title: str
    description: str
    params: tuple[Param, ...]
    returns: tuple[Column, ...]
    sql: str
    path: Path
    needs: tuple[str, ...] = ()
    """Columns without which there is no answer, and which the default format lacks."""
    history: str | None = None
    """The parameter that says how many days before the window the question looks."""
    report: Drawing | None = None
    """How a report draws the answer; None leaves the question out of it."""

    def listing(self) -> dict[str, Any]:
        """What programs need to know to ask it: texts, and literals in SQL."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "parameters": [
                {
                    "name": param.name,
                    "type": param.type,
                    "default": param.literal,
                    "example": param.example,
                    "help": param.help,
                }
                for param in self.params
            ],
            "columns": [{"name": each.name, "type": each.type} for each in self.returns],
            "needs": list(self.needs),
            "history": self.history,
        }


def parse_query(text: str, path: Path) -> Query:
    """Read and check the text of one query file; `path` gives its name and names it in errors."""
    single: dict[str, tuple[int, str]] = {}
    params: dict[str, Param] = {}
    for line, key, value in header_entries(text.splitlines(), path):
        if key not in (*ONCE, *OPTIONAL, "param"):
            raise wrong(path, line, f"unknown header key {key!r}")
        if not value:
            raise wrong(path, line, f"header key {key!r} says nothing")
        if key == "param":
            param = _parse_param(value, path, line)
            if param.name in params:
                raise wrong(path, line, f"param {param.name} is declared twice")
            params[param.name] = param
        elif key in single:
            raise wrong(path, line, f"header key {key!r} stands twice")
        else:
            single[key] = (line, value)
    for key in ONCE:
        if key not in single:
            raise wrong(path, 1, f"the header has no {key!r}")
    (line, name), (_, title), (_, description), returns = (single[key] for key in ONCE)
    if name != path.stem:
        raise wrong(path, line, f"name {name!r} is not the file's name {path.stem!r}")
    if not re.fullmatch(r"[\w-]+", name):
        raise wrong(path, line, f"name {name!r} has more than letters, digits, - and _")
    columns = _parse_returns(*returns, path)
    needs = _parse_needs(*single.get("needs", (line, "")), path)
    history_line, history = single.get("history", (line, None))
    if history is not None and history not in params:
        raise wrong(path, history_line, f"history names no param: {history}")
    report = _parse_report(*single["report"], columns, path) if "report" in single else None
    if report and (needed := [param.name for param in params.values() if param.required]):
        what = f"report: nobody gives it {', '.join(needed)}, which has no default"
        raise wrong(path, single["report"][0], what)
    query = Query(
        *(name, title, description, tuple(params.values()), columns, text, path),
        *(needs, history, report),
    )
    _check_sql(query)
    return query


@functools.cache
def scratch() -> "duckdb.DuckDBPyConnection":
    """An empty, closed-in DuckDB that parses SQL and casts values; each caller takes a cursor."""
    import duckdb

    connection = duckdb.connect(
        ":memory:", config={"threads": 1, "python_enable_replacements": False}
    )
    connection.execute(
        "SET TimeZone = 'UTC'; SET enable_external_access = false; SET lock_configuration = true"
    )
    return connection


def one_select(sql: str) -> Any:
    """DuckDB's syntax tree of one statement that only reads.

    Raises:
        UsageError: for any other statement, and for more or less than one.
        duckdb.Error: for what is no SQL.
    """
    cursor = scratch().cursor()
    kinds = [str(each.type).rpartition(".")[2] for each in cursor.extract_statements(sql)]
    if kinds == ["SELECT"]:
        row = cursor.execute("SELECT json_serialize_sql($sql)", {"sql": sql}).fetchone()
        tree = json.loads(row[0] if row else "null")
        types = {str(node.get("type")) for node in _nodes(tree)}
        calls = {str(node.get("function_name")).lower() for node in _nodes(tree)}
        kinds = sorted(each for each in types - READING if each.endswith("_NODE"))
        kinds += sorted(f"a call of {each}()" for each in calls & UNSEEN)
        if not kinds and not tree["error"]:
            return tree
    what = ", ".join(kind.removesuffix("_QUERY_NODE") for kind in kinds) or "nothing"
    raise UsageError(f"Write one SELECT statement; this is {what}.")


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Every node of a syntax tree."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left.extend(node)
        elif isinstance(node, dict):
            left.extend(node.values())
            yield node


def _parse_param(value: str, path: Path, line: int) -> Param:
    import duckdb

    match = PARAM.match(value)
    if match is None:
        raise wrong(path, line, "a param is 'name TYPE [= literal] -- help'")
    cursor = scratch().cursor()
    values: dict[str, Any] = {"literal": None, "example": None}
    try:
        kind = str(cursor.sqltype(match["type"]))
        for each in values:
            if match[each] is not None:
                if _sources(one_select(f"SELECT {match[each]}")):  # nor an end of the CAST
                    raise UsageError("a value is a literal")
                row = cursor.execute(f"SELECT CAST({match[each]} AS {kind})").fetchone()
                values[each] = frozen(row[0]) if row else None
    except (duckdb.Error, UsageError) as error:
        raise wrong(path, line, f"param {match['name']}: {_brief(error)}") from error
    example = match["example"] or (None if values["literal"] is None else match["literal"])
    return Param(match["name"], kind, match["literal"], values["literal"], match["help"], example)


def frozen(value: Any) -> Any:
    """A value of DuckDB's as a parameter's value: a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _parse_needs(line: int, value: str, path: Path) -> tuple[str, ...]:
    needs = tuple(filter(None, value.replace(",", " ").split()))
    known = {each.column for each in COLUMNS}
    if unknown := [column for column in needs if column not in known]:
        raise wrong(path, line, f"needs: flows has no column {', '.join(unknown)}")
    return needs


def _parse_returns(line: int, value: str, path: Path) -> tuple[Column, ...]:
    """Read ``name TYPE, …`` as the members of a STRUCT, so that DuckDB's own parser does it."""
    import duckdb

    try:
        members = scratch().cursor().sqltype(f"STRUCT({value})").children
    except duckdb.Error as error:
        raise wrong(path, line, f"returns: {_brief(error)}") from error
    return tuple(Column(name, str(kind)) for name, kind in members)


def _parse_report(line: int, value: str, columns: Sequence[Column], path: Path) -> Drawing:
    """Read ``AMOUNT[ of which PART][, …] by COLUMN[, …]``, ``TIME to TIME by …`` or ``table``."""
    if value == "table":
        return Drawing()
    drawn = DRAWN.fullmatch(value)
    parts = (
        [AMOUNT.fullmatch(each.strip()) for each in drawn["amounts"].split(",")] if drawn else []
    )
    found = [each for each in parts if each]
    spans = [each for each in found if each["joint"] == "to"]
    if drawn is None or len(found) < len(parts) or (spans and len(found) > 1):
        what = "'AMOUNT[ of which PART][, …] by COLUMN[, …]', 'TIME to TIME by …' or 'table'"
        raise wrong(path, line, f"report is {what}")
    by = tuple(each.strip() for each in drawn["by"].split(","))
    kinds = {column.name: column.type for column in columns}
    numbers = [n for each in found for n in (each["column"], each["other"]) if n and not spans]
    times = [n for each in spans for n in (each["column"], each["other"])]
    if unknown := [name for name in (*numbers, *times, *by) if name not in kinds]:
        raise wrong(path, line, f"report: the answer has no column {', '.join(unknown)}")
    if others := [name for name in numbers if kinds[name] not in NUMBERS]:
        raise wrong(path, line, f"report: {', '.join(others)} is no number")
    over_time = any(kinds[name] == TIME for name in by)
    if others := [name for name in times if kinds[name] != TIME]:
        raise wrong(path, line, f"report: {', '.join(others)} is no {TIME}")
    if over_time and (spans or len(by) > 1):
        raise wrong(path, line, "report: a time stands alone after 'by', and not for a span")
    return Drawing(
        () if spans else tuple(Amount(each["column"], each["other"]) for each in found),
        (times[0], times[1]) if spans else None,
        by,
        over_time,
    )


def _check_sql(query: Query) -> None:
    """Insist on one SELECT, of exactly the declared parameters, from nothing but `TABLES`."""
    import duckdb

    lines = query.sql.splitlines()
    body = (n for n, text in enumerate(lines, 1) if text.strip() and not HEADER_LINE.match(text))
    first = next(body, len(lines))
    try:
        tree = one_select(query.sql)
        (statement,) = scratch().cursor().extract_statements(query.sql)
    except duckdb.Error as error:
        raise wrong(query.path, first, _brief(error)) from error
    except UsageError as error:
        what = "the file must hold one SELECT and nothing else"
        raise wrong(query.path, first, what) from error
    declared = {param.name for param in query.params}
    used = statement.named_parameters
    if undeclared := sorted(used - declared):
        raise wrong(query.path, first, f"the SQL uses undeclared ${', $'.join(undeclared)}")
    if unused := sorted(declared - used):
        raise wrong(query.path, first, f"the SQL never uses ${', $'.join(unused)}")
    sources = _sources(tree)
    if foreign := sorted(sources - TABLES):
        known = ", ".join(sorted(TABLES))
        raise wrong(query.path, first, f"FROM may name {known}; not {', '.join(foreign)}")
    if ("history" in sources) != (query.history is not None):
        raise wrong(query.path, first, "'history: PARAM' goes with FROM history")


def _sources(tree: object) -> set[str]:
    """Collect what FROM names anywhere in DuckDB's syntax tree, a query's own WITH tables aside."""
    named: set[str] = set()
    called: set[str] = set()
    own: set[str] = set()
    for node in _nodes(tree):
        own.update(entry["key"] for entry in node.get("cte_map", {}).get("map", ()))
        if node.get("type") == "BASE_TABLE":
            parts = (node["catalog_name"], node["schema_name"], node["table_name"])
            named.add(".".join(filter(None, parts)))
        elif node.get("type") in ("TABLE_FUNCTION", "SHOW_REF"):
            called.add(node.get("function", {}).get("function_name", "DESCRIBE"))
    return (named - own) | called


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
