"""Any records in any format and any shape: each right one is a row, each wrong one a reject.

``tests/shapes.py`` makes the objects and says what they hold, without the reader. Three things
cannot be known from outside, and are not made:

- a record of words alone with a field's name among them, which may be a header;
- records without a header that fit two formats: where a format is given, another one that is
  given has another number of fields, as have AWS's own, and so have lines of the wrong length;
- a first record without a header that begins as JSON does.

Objects without a header have a right record among the first twenty lines, with a ``log-status``
that AWS writes, if it has any: by these the format is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowlake.fields import DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT, Field, field_for
from flowlake.reading import RawObject, read_object
from tests import shapes
from tests.shapes import Kind, Line, Made

RAW = RawObject(7, "/x", "e", 1, datetime(2026, 5, 6, tzinfo=UTC), "/")
SHAPES: dict[str, tuple[str, Kind]] = {
    # what is made: what the reader must call it, and what holds the records
    "text": ("text", "text"),
    "gzip": ("text", "text"),
    "members": ("text", "text"),
    "headerless": ("text", "text"),
    "export": ("export", "text"),
    "subscription": ("subscription", "message"),
    "messages": ("messages", "message"),
    "events": ("events", "message"),
    "parquet": ("parquet", "parquet"),
    "foreign parquet": ("parquet", "foreign"),
}
HEADED = ("text", "gzip", "members", "parquet", "foreign parquet")
EXAMPLES = settings().max_examples
"""Of each shape: more than a thousand in all."""

Names = tuple[str, ...]


@dataclass(frozen=True)
class Example:
    names: Names
    formats: tuple[Names, ...]
    lines: list[Line]
    made: Made


def example(shape: str, seed: int, size: int, count: int) -> Example:
    """An object of a shape: ``size`` known fields, or a default format; ``count`` records."""
    random = Random(seed)
    kind = SHAPES[shape][1]
    formats: tuple[Names, ...] = ()
    names = format_with_header(random, size, kind)
    if shape not in HEADED:
        names, formats = formats_without_header(random, size)
    fields = [field_for(name) for name in names]
    avoided = [len(each) for each in (*formats, DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT)]
    lines = []
    for _ in range(count):
        wrong = None
        if random.random() < 0.3:
            widths = () if shape in HEADED else avoided
            wrong = shapes.wrong_line(random, fields, kind, widths=widths)
        lines.append(wrong or shapes.good_line(random, fields, plain=shape not in HEADED))
    if shape not in HEADED:
        lines.insert(random.randint(0, min(19, count)), telling(random, fields))
    elif 2 * sum(field.version > 0 for field in fields) < len(fields):
        lines.insert(0, shapes.good_line(random, fields))  # else its header is not believed
    header = " ".join(names).encode() if shape in HEADED else None
    return Example(names, formats, lines, make(random, shape, header, fields, lines))


def format_with_header(random: Random, size: int, kind: Kind) -> Names:
    """A format; in Parquet, half of whose columns are known, or the addresses."""
    while True:
        names = shapes.some_format(random, size)
        known = sum(field_for(name).version > 0 for name in names)
        if kind == "text" or 2 * known >= len(names) or {"srcaddr", "dstaddr"} <= {*names}:
            return names


def formats_without_header(random: Random, size: int) -> tuple[Names, tuple[Names, ...]]:
    """A format, and the formats that are given: with it, unless it is AWS's own, another one."""
    own = (DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT)
    names = random.choice(own)
    given: list[Names] = []
    if random.random() < 0.7:
        names = other_width(random, size, own)
        given = [names]
    if random.random() < 0.5:
        given.insert(random.randint(0, len(given)), other_width(random, size, (names, *own)))
    return names, tuple(given)


def other_width(random: Random, size: int, than: Sequence[Names]) -> Names:
    while True:
        names = shapes.some_format(random, size)
        if len(names) not in map(len, than):
            return names
        size += 1


def telling(random: Random, fields: Sequence[Field]) -> Line:
    """A right record that tells its format by its ``log-status``, if the format has that."""
    while True:
        line = shapes.good_line(random, fields, plain=True)
        assert line.row is not None
        if line.row.get("log_status", "OK") is not None:
            return line


def make(
    random: Random, shape: str, header: bytes | None, fields: Sequence[Field], lines: list[Line]
) -> Made:
    match shape:
        case "gzip":
            return shapes.zipped(random, shapes.text_object(random, header, lines))
        case "members":
            return shapes.members(random, shapes.text_object(random, header, lines))
        case "export":
            return shapes.export(random, lines)
        case "subscription":
            return shapes.subscription(random, lines)
        case "messages":
            return shapes.messages(random, lines)
        case "events":
            return shapes.events(random, lines)
        case "parquet":
            return shapes.parquet(random, fields, lines)
        case "foreign parquet":
            return shapes.foreign_parquet(random, fields, lines)
    return shapes.text_object(random, header, lines)


TYPES: dict[str, pl.DataType] = {
    "text": pl.Categorical(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "time": pl.Datetime("us", "UTC"),
}


def whole_row(row: dict[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """The row with what a lake needs of it."""
    if any(field.sources == ("transit-gateway",) for field in fields):
        row = row | {"resource_type": row.get("resource_type") or "unknown"}
    when = row.get("start_time") or row.get("end_time") or RAW.last_modified
    return row | {
        "account_id": row.get("account_id") or "unknown",
        "region": row.get("region") or "unknown",
        "object_id": RAW.object_id,
        "flow_log_id": None,
        "date": when.date(),
    }


def check(shape: str, example: Example) -> None:
    formats = [tuple(field_for(name) for name in names) for names in example.formats]
    rows: list[dict[str, Any]] = []
    rejects: list[tuple[int, str, str | None]] = []
    lines = 0
    fields = [field_for(name) for name in example.names]
    for batch in read_object(RAW, example.made.body, formats):
        assert batch.lines == batch.flows.height + batch.rejects.height
        assert batch.shape == SHAPES[shape][0]
        lines += batch.lines
        rejects += batch.rejects.rows()
        if batch.fields:
            assert [field_for(name).column for name in batch.fields] == [f.column for f in fields]
            for each in fields:
                assert batch.flows.schema[each.column] == TYPES[each.type]
        rows += batch.flows.cast({pl.Categorical: pl.String}).to_dicts()
    assert rows == [whole_row(line.row, fields) for line in example.lines if line.row is not None]
    numbered = zip(example.made.numbers, example.lines, strict=True)
    assert [number for number, *_ in rejects] == [n for n, line in numbered if line.row is None]
    assert all(reason for _, reason, _ in rejects)
    assert lines == len(example.lines) == len(rows) + len(rejects)


@pytest.mark.hypothesis
@pytest.mark.parametrize("shape", SHAPES)
def test_any_records_in_any_format(shape: str) -> None:
    tried = 0

    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**64), st.integers(1, 72), st.integers(0, 40))
    def holds(seed: int, size: int, count: int) -> None:
        nonlocal tried
        tried += 1
        check(shape, example(shape, seed, size, count))

    holds()
    assert tried >= EXAMPLES
