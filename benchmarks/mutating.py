"""The source of a module -> its mutants: the same module with one thing in it changed."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_PAIRS: tuple[tuple[type[ast.AST], type[ast.AST]], ...] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)),
    *((ast.In, ast.NotIn), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv)),
    *((ast.BitAnd, ast.BitOr), (ast.LShift, ast.RShift), (ast.Continue, ast.Break)),
)
SWAPPED: dict[type[ast.AST], Any] = {ast.Div: ast.Mult, ast.Mod: ast.Mult} | {
    one: other for pair in _PAIRS for one, other in (pair, pair[::-1])
}
_NAMES = (
    *(("min", "max"), ("any", "all"), ("startswith", "endswith"), ("find", "rfind")),
    *(("lstrip", "rstrip"), ("first", "last"), ("match", "fullmatch")),
)
NAMES = {one: other for pair in _NAMES for one, other in (pair, pair[::-1])}
DROPPED = (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete, ast.Assert)
MESSAGES = ("debug", "info", "warning", "note", "complain")


@dataclass(frozen=True)
class Mutant:
    """One change: the line it is in, what it is, and where in the tree it goes."""

    line: int
    change: str
    new: ast.AST
    parent: ast.AST
    field: str
    at: int | None

    def put(self) -> None:
        """Make the change in the tree, for good."""
        if self.at is None:
            setattr(self.parent, self.field, self.new)
        else:
            getattr(self.parent, self.field)[self.at] = self.new


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its source."""
    for node, parent, field, at in _below(tree):
        for new in _changed(node):
            line = getattr(node, "lineno", getattr(parent, "lineno", 1))
            yield Mutant(line, f"{_said(node)}  ->  {_said(new)}", new, parent, field, at)


def _said(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) < 90 else f"{text[:60]} … {text[-25:]}"


def _below(parent: ast.AST) -> Iterator[tuple[ast.AST, ast.AST, str, int | None]]:
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "exc", "cause", "type_params", "decorator_list"):
            continue
        inner: Sequence[object] = value if isinstance(value, list) else [value]
        for at, node in enumerate(inner):
            if not isinstance(node, ast.AST) or _is_left(node):
                continue
            yield node, parent, field, at if isinstance(value, list) else None
            yield from _below(node)


def _is_left(node: ast.AST) -> bool:
    """Docstrings, imports, texts with values in them, sizes, and what is only said."""
    if isinstance(node, ast.Expr):
        if isinstance(node.value, ast.Constant):
            return True
        call = node.value
        return isinstance(call, ast.Call) and getattr(call.func, "attr", "") in MESSAGES
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift):
        return True  # a size, which is measured and not tested
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr)


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    match node:
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Constant(value=str() as text):
            yield ast.Constant(f"XX{text}")
        case ast.Constant(value=bytes() as binary):
            yield ast.Constant(b"XX" + binary)
        case ast.Compare(left, [op], right) if type(op) in SWAPPED:
            yield ast.Compare(left, [SWAPPED[type(op)]()], right)
            if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                yield ast.UnaryOp(ast.Not(), node)
        case ast.Compare(left, ops, right):
            for at, op in enumerate(ops):
                if type(op) in SWAPPED:
                    yield ast.Compare(left, [*ops[:at], SWAPPED[type(op)](), *ops[at + 1 :]], right)
        case ast.BoolOp(op, values):
            for at in range(len(values)):
                kept = [*values[:at], *values[at + 1 :]]
                yield ast.BoolOp(op, kept) if len(kept) > 1 else kept[0]
        case ast.UnaryOp(ast.Not() | ast.Invert() | ast.USub(), operand):
            yield operand
        case ast.BinOp(left, op, right) if type(op) in SWAPPED:
            yield ast.BinOp(left, SWAPPED[type(op)](), right)
        case ast.If(test, body, orelse) if isinstance(test, ast.Name | ast.Attribute | ast.Call):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.If(test=ast.NamedExpr() as test, body=body, orelse=orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test, body, orelse):
            yield body
            yield orelse
        case ast.Return(value=ast.AST() as value) if not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            yield ast.Return(ast.Constant(None))
        case ast.Slice(lower, upper, step):
            if lower is not None:
                yield ast.Slice(None, upper, step)
            if upper is not None:
                yield ast.Slice(lower, None, step)
        case ast.comprehension(target, iterable, ifs, is_async) if ifs:
            for at in range(len(ifs)):
                yield ast.comprehension(target, iterable, [*ifs[:at], *ifs[at + 1 :]], is_async)
        case ast.Continue() | ast.Break():
            yield SWAPPED[type(node)]()
        case ast.Call(func, args, keywords):
            if isinstance(func, ast.Attribute):
                if func.attr in NAMES:
                    yield ast.Call(_renamed(func), args, keywords)
                if not (isinstance(func.value, ast.Name) and func.value.id in ("pl", "self")):
                    yield func.value
            elif isinstance(func, ast.Name) and func.id in NAMES:
                yield ast.Call(ast.Name(NAMES[func.id], ast.Load()), args, keywords)
            for at in range(len(keywords)):
                yield ast.Call(func, args, [*keywords[:at], *keywords[at + 1 :]])
    if isinstance(node, DROPPED):
        yield ast.Pass()


def _renamed(func: ast.Attribute) -> ast.Attribute:
    return ast.Attribute(func.value, NAMES[func.attr], ast.Load())
