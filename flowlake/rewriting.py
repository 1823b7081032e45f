"""Rewrites of DuckDB's SQL, as sqlglot's tree, into what other engines read the same way.

sqlglot translates words; what it gets wrong or cannot know is put right here, before it writes.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlglot import exp, parse_one

from flowlake.addresses import MAPPED, MAPPED_END, PRIVATE, network
from flowlake.doors import refused
from flowlake.engines import Engine
from flowlake.errors import UsageError

if TYPE_CHECKING:
    import duckdb

LITERAL = (exp.Literal, exp.Boolean, exp.Null, exp.Array, exp.DataType, exp.Identifier)
READING = (
    *(exp.Column, exp.Star, exp.Query, exp.AggFunc, exp.Window, exp.Lambda),
    *(exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Rand, exp.Uuid),
)
"""What an expression that DuckDB can work out now has nowhere in it."""

ADDRESS = exp.Placeholder(this="address")

BARE = (exp.Boolean, exp.Column, exp.Literal, exp.Func, exp.Paren, exp.Bracket)
"""What needs no parentheses around it, if it is no operator."""


def literal(value: Any, kind: str, other: Engine | None = None) -> exp.Expr:
    """A value of DuckDB's as a literal that has its type in every engine."""
    if value is None:
        return exp.cast(exp.null(), kind, dialect="duckdb")
    if isinstance(value, (list, tuple)):
        return exp.Array(expressions=[literal(each, kind.removesuffix("[]")) for each in value])
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if kind == "UHUGEINT" and other is not None:
        return parse_one(other.number(value), read=other.dialect)
    if isinstance(value, float):
        return exp.Literal.number(f"{value!r}" if "e" in repr(value) else f"{value!r}E0")
    if isinstance(value, int):
        return exp.Literal.number(value)
    text = exp.Literal.string(str(value))
    return text if kind == "VARCHAR" else exp.cast(text, kind, dialect="duckdb")


def with_in_lists(node: exp.Expr) -> exp.Expr:
    """A node, with IN for ``list_contains`` of a list of constants."""
    if not (isinstance(node, exp.ArrayContains) and isinstance(node.this, exp.Array)):
        return node
    if not node.this.expressions:
        return exp.false()
    return exp.In(this=node.expression, expressions=node.this.expressions)


def written_out(tree: exp.Expr, definitions: Mapping[str, str], dialect: str) -> exp.Expr:
    """The tree with calls of these macros replaced by what they stand for, in that dialect."""
    heads = {head.partition("(")[0]: head for head in definitions}

    def write_out(node: exp.Expr) -> exp.Expr:
        head = heads.get(node.name.lower()) if isinstance(node, exp.Anonymous) else None
        if head is None:
            return node
        names = re.findall(r"\w+", head)[1:]
        arguments = dict(zip(names, node.expressions, strict=True))

        def argument(inner: exp.Expr) -> exp.Expr:
            given = isinstance(inner, exp.Column) and not inner.table and inner.name in arguments
            return arguments[inner.name].copy() if given else inner

        body = parse_one(definitions[head], read=dialect).transform(argument)
        return exp.paren(body.transform(write_out), copy=False)

    return tree.transform(write_out)


def worked_out(tree: exp.Expr, connection: "duckdb.DuckDBPyConnection") -> exp.Expr:
    """The tree without what does not depend on the records: DuckDB says what it comes to.

    Raises:
        UsageError: when DuckDB refuses a value; ``error`` in SQL is how a query refuses one.
    """

    def work_out(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Case) and node.this is None:
            return _decided(node, lambda each: worked_out(each, connection))
        if isinstance(node, exp.If) and isinstance(node.parent, exp.Case):
            return node
        if not isinstance(node, exp.Condition) or isinstance(node, LITERAL):
            return node
        if node.find(*READING) or isinstance(node.parent, exp.Window):
            return node
        return _evaluated(node, connection)

    return simplified(tree.transform(work_out))


def _decided(case: exp.Case, work_out: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """A CASE without the branches that are never taken, or what it always comes to."""
    undecided: list[exp.If] = []
    default: exp.Expr = case.args.get("default") or exp.null()
    for branch in case.args["ifs"]:
        condition = work_out(branch.this)
        if condition == exp.true():
            default = branch.args["true"]
            break
        if condition != exp.false():
            undecided.append(exp.If(this=condition, true=work_out(branch.args["true"])))
    default = work_out(default)
    if not undecided:
        return default
    return exp.Case(ifs=undecided, default=None if default == exp.null() else default)


def _evaluated(node: exp.Expr, connection: "duckdb.DuckDBPyConnection") -> exp.Expr:
    import duckdb

    try:
        relation = connection.sql(f"SELECT {node.sql('duckdb')}")
        return literal(relation.fetchall()[0][0], str(relation.types[0]))
    except duckdb.Error as error:
        raise refused(error) from error


def simplified(tree: exp.Expr) -> exp.Expr:
    """The tree without TRUE and FALSE where AND, OR and WHERE do not need them."""
    for node in reversed(list(tree.find_all(exp.And, exp.Or, exp.Paren))):
        simple = _simple(node)
        if simple is not node and node is tree:
            tree = simple
        elif simple is not node:
            node.replace(simple)
    for where in list(tree.find_all(exp.Where)):
        if where.this == exp.true():
            where.pop()
    return tree


def _simple(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Paren):
        bare = isinstance(node.this, BARE) and not isinstance(node.this, exp.Binary)
        return node.this if bare else node
    needless, decisive = (exp.true(), exp.false())[:: 1 if isinstance(node, exp.And) else -1]
    left: exp.Expr = node.this
    right: exp.Expr = node.expression
    if decisive in (left, right):
        return decisive
    if needless == left:
        return right
    return left if needless == right else node


def with_address_ranges(node: exp.Expr, other: Engine) -> exp.Expr:
    """A node, with ranges of numbers for ``in_networks``, ``is_private`` and ``is_public``.

    Raises:
        UsageError: for networks that are no list of texts, or no networks.
    """
    name = node.name.lower() if isinstance(node, exp.Anonymous) else ""
    if name not in ("in_networks", "is_private", "is_public"):
        return node
    address, cidrs = node.expressions
    if not isinstance(cidrs, exp.Array) or not all(each.is_string for each in cidrs.expressions):
        raise UsageError(f"{name} is translated only with networks that are a list of texts.")
    ranges = [network(each.name) for each in cidrs.expressions]
    if name != "in_networks":
        ranges = [*map(network, PRIVATE), *ranges]
    inside = " OR ".join(_between(*each, other) for each in ranges) or "FALSE"
    test = parse_one(
        "list_transform([address_number($address)], "
        f"number -> CASE WHEN number IS NOT NULL THEN {inside} END)[1]",
        read="duckdb",
    )
    located = test.transform(lambda each: address if each == ADDRESS else each)
    return exp.not_(located) if name == "is_public" else located


def _between(first: int, last: int, other: Engine) -> str:
    condition = f"number BETWEEN {other.number(first)} AND {other.number(last)}"
    if first < MAPPED <= last:
        ipv4 = f"{other.number(MAPPED)} AND {other.number(MAPPED_END)}"
        condition = f"({condition} AND number NOT BETWEEN {ipv4})"
    return condition


def for_trino(node: exp.Expr) -> exp.Expr:
    """A node, with what means ``//``, ``greatest`` and ``least`` of DuckDB's in Trino.

    There ``/`` of integers is one, while sqlglot would go by DOUBLE, and a NULL is the greatest.
    """
    if isinstance(node, exp.IntDiv):
        return exp.Div(this=node.this, expression=node.expression, typed=True, safe=False)
    if isinstance(node, (exp.Greatest, exp.Least)) and node.expressions:
        first, *others = (node.this, *node.expressions)
        rest = type(node)(this=others[0], expressions=others[1:]).transform(for_trino)
        second = rest if len(others) > 1 else others[0]
        most = type(node)(this=first.copy(), expressions=[second.copy()])
        return exp.Coalesce(this=most, expressions=[first, second])
    return node


def plain(tree: exp.Expr) -> exp.Expr:
    """The tree with the places of columns for ALL, and ORDER BY outside of QUALIFY's subquery."""
    for select in list(tree.find_all(exp.Select)):
        group, order = select.args.get("group"), select.args.get("order")
        places = [exp.Literal.number(n) for n in range(1, len(select.selects) + 1)]
        if group is not None and group.args.get("all"):
            sums = [each.find(exp.AggFunc) for each in select.selects]
            kept = [place for place, sum_ in zip(places, sums, strict=True) if not sum_]
            select.set("group", exp.Group(expressions=kept))
        if order is not None and order.expressions[0].this == exp.var("ALL"):
            ordered = [exp.Ordered(this=place, nulls_first=False) for place in places]
            order.set("expressions", ordered)
        if select.args.get("qualify"):
            outer = _kept(select)
            tree = outer if select is tree else tree
            select.replace(outer)
    return tree


def _kept(select: exp.Select) -> exp.Select:
    """A SELECT with QUALIFY as a subquery of one that orders and limits its rows."""
    inner = select.copy()
    taken = {each: inner.args.pop(each, None) for each in ("with_", "order", "limit", "offset")}
    outer = exp.select("*").from_(inner.subquery("kept"))
    for each, clause in taken.items():
        outer.set(each, clause)
    for column in outer.args["order"].find_all(exp.Column) if taken["order"] else ():
        column.set("table", None)
    return outer
