"""What a header says of the lines below it, and the batch that both ways of reading them make."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from flowlake.errors import UsageError
from flowlake.fields import LAST_TIME, Field, field_for
from flowlake.layout import PARTITION_VALUE

REJECTS: dict[str, pl.DataType] = {
    "line_number": pl.Int64(),
    "reason": pl.String(),
    "text": pl.String(),
}
"""A rejected line: its number in the object from 1 (null: the whole object), why, and the text."""

HEADER_LINE = re.compile(
    rb"^[ \t]*+[a-z][a-z0-9-]*+(?:[ \t]++[a-z][a-z0-9-]*+)*+[ \t\r]*+$", re.MULTILINE
)
LONGEST_HEADER = 1 << 14
"""Bytes of a header: one of all fields has two thousand."""

Format = tuple[Field, ...]
"""The fields of a record, in its order."""

Shape = Literal["text", "export", "subscription", "events", "messages", "parquet"]
"""How an object holds its records: text lines; a log group exported to S3, each line with a time
stamp; a subscription's JSON (``logEvents``); the AWS CLI's (``events``); JSON with one record in
each ``message``; Parquet."""

PARTITION_FIELDS = ("account-id", "region")
MISSING = "-"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Batch:
    """Part of an object: columns named as in the lake, text as Categorical; and its rejects.

    Has: types, nulls, UTC times. Has not: the columns that come from the object's name, dates,
    order.
    """

    flows: pl.DataFrame
    rejects: pl.DataFrame
    lines: int
    """Records, rejected lines included; headers and blank lines are none."""
    fields: tuple[str, ...]
    shape: Shape = "text"
    misdated: int = 0
    """Rows whose own date is too far from the object's name to choose their partition."""

    def having(self, log_status: str) -> int:
        """How many rows have a ``log_status``."""
        if "log_status" not in self.flows.columns:
            return 0
        return int((self.flows["log_status"] == log_status).sum())


def parse_format(text: str) -> Format:
    """A format as a user gives it: field names, or a flow log's ``LogFormat`` (``${version} …``).

    Raises:
        UsageError: when it is empty, names no known field, or names a field twice.
    """
    names = re.findall(r"[A-Za-z][\w.-]*", text)
    fields = tuple(field_for(name) for name in names)
    if not any(field.version for field in fields):
        raise UsageError(
            f"{text!r} names no field of a flow log: write them in the record's order, such as "
            "'version account-id interface-id srcaddr …'."
        )
    if names_twice(fields):
        raise UsageError(f"The format {text!r} names a field twice: name each once.")
    return fields


def header(line: bytes, above: Format | None = None) -> Format | None:
    """The fields a header line names; None for a line that is no header.

    The object's first line is a header if it names one known field. Below other lines, where a
    record of text alone may look like one, it repeats the header above or knows most of its names.
    """
    if len(line) > LONGEST_HEADER or HEADER_LINE.fullmatch(line) is None:
        return None
    fields = tuple(field_for(name.decode()) for name in line.split())
    known = sum(field.version > 0 for field in fields)
    if above is None:
        return fields if known else None
    return fields if fields == above or 2 * known > len(fields) else None


def names_twice(fields: Sequence[Field]) -> bool:
    """Whether two fields would share a column: what lies below such a header is unknown."""
    return len({field.column for field in fields}) < len(fields)


def types(fields: Iterable[Field]) -> dict[str, pl.DataType]:
    """What the parser makes of each column; times are still numbers."""
    numbers = {"int32": pl.Int32(), "int64": pl.Int64(), "time": pl.Int64()}
    return {field.column: numbers.get(field.type, pl.Categorical()) for field in fields}


def parse(text: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Parse lines of single-spaced fields.

    Polars takes an empty or absent last field for null, so the caller has counted the fields.
    """
    if text.startswith(BYTE_ORDER_MARK):
        text = BYTE_ORDER_MARK + text  # Polars drops the first; this one is the record's own
    return pl.read_csv(
        text, separator=" ", has_header=False, schema=schema, null_values=MISSING, quote_char=None
    )


def bounds(field: Field) -> tuple[int, int]:
    """The least and the greatest number a field may hold."""
    half = 2**31 if field.type == "int32" else 2**63
    least = -half if field.minimum is None else field.minimum
    if field.type == "time":
        return least, LAST_TIME
    return least, half - 1 if field.maximum is None else field.maximum


def unfit_partition(flows: pl.DataFrame, field: Field) -> bool:
    """Whether a value of a partition's field cannot be the name of its folder."""
    if field.name not in PARTITION_FIELDS:
        return False
    values = flows[field.column].unique().cast(pl.String).drop_nulls()
    return any(PARTITION_VALUE.fullmatch(value) is None for value in values)
