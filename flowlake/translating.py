"""A saved query in the SQL of another engine, to be asked of the same lake.

A translation is one SELECT from the Delta table ``flows`` and needs nothing else there. The values
of parameters and whatever else reads no record, such as the small tables of `flowlake.reference`,
are worked out by DuckDB now and stand in it as constants; FlowLake's macros are written out. What
an engine is not known to say the same way is refused by name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlglot import exp, parse_one
from sqlglot.errors import ErrorLevel, SqlglotError

from flowlake import reference
from flowlake.doors import KINDS, refused
from flowlake.engines import Engine, engine
from flowlake.errors import UsageError
from flowlake.macros import MACROS
from flowlake.queries import Param, Query, bind, equip, load_query
from flowlake.query_file import TABLES
from flowlake.rewriting import (
    for_trino,
    literal,
    plain,
    simplified,
    with_address_ranges,
    with_in_lists,
    worked_out,
    written_out,
)
from flowlake.window import Window, before, window

if TYPE_CHECKING:
    import duckdb

When = datetime | str | None
Names = str | Sequence[str] | None

WRITTEN_OUT = {head: body for head, body in MACROS.items() if head.startswith("counted(")}
"""The macros that say the same in every engine; those on addresses are `Engine.definitions`."""

NAME = r'\w+|"[^"]+"|`[^`]+`'
"""A part of a table's name."""

FIRST = datetime(1, 1, 2, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The first day that has one before it, and the last second of all."""

WIDTH = 100
"""How wide the lines of a table of constants may be."""


def translate(
    name: str,
    /,
    *,
    to: str,
    table: str = "flows",
    since: When = None,
    until: When = None,
    account: Names = None,
    region: Names = None,
    queries: str | PathLike[str] | None = None,
    parameters: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """A saved query as one SELECT in another engine's SQL, without a semicolon.

    It gives the columns and rows of the same question in DuckDB, in the same order. A window also
    chooses partitions by ``date``, and so leaves out what `status` counts as misdated: records
    that start more than seven days from the date in their object's name.

    Args:
        name: the saved query.
        to: the engine: one of `flowlake.engines.ENGINES`.
        table: the Delta table of the lake's flows there, such as ``catalog.schema.flows``, with
            the records of transit gateways, which the statement leaves out by itself.
        since: records that start at or after this; ISO 8601 or an age such as ``24h``, counted
            back from now.
        until: records that start before this.
        account: only this ``account_id`` or these.
        region: only this ``region`` or these.
        queries: a folder with saved queries of your own.
        parameters: values for the query's own parameters; the others have their defaults.

    Raises:
        UsageError: for an unknown engine or query, a wrong parameter, window or table, a question
            that looks back over a window without ``since``, and for SQL that the engine is not
            known to say the same way.
    """
    import duckdb

    query, other = load_query(name, queries), engine(to)
    wanted = window(since, until, account, region)
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        equip(connection, query.sql)
        values = bind(query, parameters)
        tree = _parsed(query).transform(_given, query.params, values)
        constants = list(_constants(tree, connection, other))
        tree = written_out(tree, WRITTEN_OUT, "duckdb")
        tree = worked_out(tree.transform(with_in_lists), connection)
    tree = written_out(tree.transform(with_address_ranges, other), other.definitions, other.dialect)
    tree = plain(simplified(tree.transform(for_trino) if other.of_trino else tree))
    # The one of the table's own name comes last: after it, the name means the WITH table.
    own_name = table.strip('`"').lower()
    named = sorted(_tables(tree) & KINDS.keys(), key=lambda each: (each == own_name, each))
    records = [
        _cte(each, _records(each, table, _seen(query, each, wanted, values))) for each in named
    ]
    tree.set("with_", exp.With(expressions=[*records, *constants, *_ctes(tree)]))
    head = f"-- {query.title}: FlowLake's {query.name} for {other.title}."
    return f"{head}\n{_filled(_checked(tree, query, other))}"


def _parsed(query: Query) -> exp.Expr:
    """The SELECT of a query file, without its header."""
    lines = query.sql.splitlines()
    first = next(n for n, line in enumerate(lines) if not line.startswith("--"))
    try:
        tree = parse_one("\n".join(lines[first:]), read="duckdb")
    except SqlglotError as error:
        raise _untranslatable(query, error) from error
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    if taken := sorted(own & TABLES):
        raise UsageError(
            f"{query.name} cannot be translated: it has a table {taken[0]} of its own in WITH, "
            "which is a name of FlowLake's: give it another."
        )
    return tree


def _untranslatable(query: Query, error: SqlglotError) -> UsageError:
    return UsageError(f"{query.name} cannot be translated: {str(error).splitlines()[0]}")


def _given(node: exp.Expr, params: tuple[Param, ...], values: dict[str, Any]) -> exp.Expr:
    """A parameter's value in the parameter's place."""
    if not isinstance(node, exp.Placeholder):
        return node
    kind = next(param.type for param in params if param.name == node.name)
    return literal(values[node.name], kind)


def _constants(
    tree: exp.Expr, connection: "duckdb.DuckDBPyConnection", other: Engine
) -> Iterator[exp.CTE]:
    """Take what reads no record out of WITH and FROM, and give it as tables of constants."""
    import duckdb

    known = set(reference.TABLES)
    try:
        for cte in _ctes(tree):
            if _tables(cte.this) <= known:
                head, body = cte.args["alias"].sql("duckdb"), cte.this.sql("duckdb")
                connection.execute(f"CREATE TABLE {head} AS {body}")
                known.add(cte.alias)
                cte.pop()
        for name in sorted(_tables(tree) & known):
            yield _cte(name, _values(connection.sql(f"FROM {name} ORDER BY ALL"), name, other))
    except duckdb.Error as error:
        raise refused(error) from error


def _values(relation: "duckdb.DuckDBPyRelation", name: str, other: Engine) -> exp.Query:
    columns, kinds = relation.columns, [str(kind) for kind in relation.types]
    rows = [
        tuple(literal(value, kind, other) for value, kind in zip(row, kinds, strict=True))
        for row in relation.fetchall()
    ]
    if rows:
        return exp.select("*").from_(exp.values(rows, alias=name, columns=columns))
    kinds = ["VARCHAR" if kind == "UHUGEINT" else kind for kind in kinds]
    nulls = [literal(None, kind).as_(column) for column, kind in zip(columns, kinds, strict=True)]
    return exp.select(*nulls).where(exp.false())


def _ctes(tree: exp.Expr) -> list[exp.CTE]:
    found = tree.args.get("with_")
    return list(found.expressions) if found else []


def _tables(tree: exp.Expr) -> set[str]:
    """What FROM names, the tree's own WITH tables aside."""
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    return {table.name for table in tree.find_all(exp.Table) if table.name} - own


def _cte(name: str, select: exp.Query) -> exp.CTE:
    return exp.CTE(this=select, alias=exp.TableAlias(this=exp.to_identifier(name)))


def _seen(query: Query, kind: str, wanted: Window, values: dict[str, Any]) -> Window:
    """The window of ``flows``, or the days before it."""
    if kind != "history":
        return wanted
    if wanted.since is None:
        raise UsageError(
            f"{query.name} compares a window with the days before it: say where it begins, with "
            "since (--since 24h, or a date)."
        )
    return before(wanted, values[str(query.history)])


def _records(kind: str, table: str, wanted: Window) -> exp.Query:
    """The records of a window: by their start, and by date too, for what is partitioned by it."""
    parts = re.findall(NAME, table)
    if ".".join(parts) != table or not 1 <= len(parts) <= 3:
        raise UsageError(f"{table!r} is not a table: write catalog.schema.flows.")
    names = [exp.to_identifier(each.strip('`"'), quoted=each[0] in '`"') for each in parts]
    start, day = exp.column("start_time"), exp.column("date")
    conditions: list[exp.Expr | str] = [KINDS[kind]]
    if wanted.since is not None:
        since = _second(wanted.since)
        conditions += [start >= _moment(since), day >= _day(since)]
    if wanted.until is not None:
        until = _second(wanted.until)
        last = max(until, FIRST) - timedelta(seconds=1)
        conditions += [start < _moment(until), day <= _day(last)]
    if wanted.accounts:
        conditions.append(exp.column("account_id").isin(*wanted.accounts))
    if wanted.regions:
        conditions.append(exp.column("region").isin(*wanted.regions))
    return exp.select("*").from_(exp.table_(*reversed(names))).where(*conditions)


def _second(time: datetime) -> datetime:
    """The next whole second: records have no parts of one, and some engines have no millionths."""
    whole = time.replace(microsecond=0)
    return whole + timedelta(seconds=1) if whole < min(time, LAST) else whole


def _moment(time: datetime) -> exp.Expr:
    return exp.cast(exp.Literal.string(f"{time.replace(tzinfo=None)} UTC"), "TIMESTAMPTZ")


def _day(time: datetime) -> exp.Expr:
    return exp.cast(exp.Literal.string(f"{time.date()}"), "DATE")


def _checked(tree: exp.Expr, query: Query, other: Engine) -> str:
    """The statement, after a look at it in the engine's own dialect."""
    try:
        sql = tree.sql(other.dialect, pretty=True, unsupported_level=ErrorLevel.RAISE)
        calls = [
            each.sql(other.dialect)
            for each in parse_one(sql, read=other.dialect).find_all(exp.Func)
        ]
    except SqlglotError as error:
        raise _untranslatable(query, error) from error
    names = {found[1].lower() for call in calls if (found := re.match(r"(\w+)\(", call))}
    if foreign := sorted(names - other.functions):
        raise UsageError(
            f"{query.name} cannot be translated to {other.title}: it calls {', '.join(foreign)}, "
            "which FlowLake does not know to mean the same there."
        )
    return sql


def _filled(sql: str) -> str:
    """The same statement with rows of constants side by side."""
    lines: list[str] = []
    for line in sql.split("\n"):
        row = re.fullmatch(r" +(\(.*\),?)", line)
        joined = f"{lines[-1]} {row[1]}" if row and lines else ""
        if joined and re.fullmatch(r" +\(.*\),", lines[-1]) and len(joined) <= WIDTH:
            lines[-1] = joined
        else:
            lines.append(line)
    return "\n".join(lines)
