"""Chunks of flow log text -> typed columns, and the lines that could not be read.

The fast path hands a chunk to Polars' CSV reader and believes the result only when nothing can
have slipped: as many rows as lines, no empty field, no short line, no number out of range. Any
doubt sends the chunk down the careful path, which finds the wrong lines and keeps the rest.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from flowlake.errors import ObjectUnreadable
from flowlake.fields import BY_NAME, DEFAULT_FORMAT, LAST_TIME, Field, field_for
from flowlake.layout import PARTITION_VALUE

REJECTS: dict[str, pl.DataType] = {
    "line_number": pl.Int64(),
    "reason": pl.String(),
    "text": pl.String(),
}
"""A rejected line: its number in the object from 1 (null: the whole object), why, and the text."""

LONGEST_REJECT = 8192
"""Characters of a rejected line's text that are kept."""

HEADER_LINE = re.compile(rb"^[a-z][a-z0-9-]*(?:[ \t]+[a-z][a-z0-9-]*)*[ \t\r]*$", re.MULTILINE)
LOG_STATUSES = (b"OK", b"NODATA", b"SKIPDATA")
LINES_TO_JUDGE = 20
PARTITION_FIELDS = ("account-id", "region")
MISSING = "-"


@dataclass(frozen=True, slots=True)
class Batch:
    """Part of an object: columns named as in the lake, text as Categorical; and its rejects.

    Has: types, nulls, UTC times. Has not: the columns that come from the object's name, dates,
    order.
    """

    flows: pl.DataFrame
    rejects: pl.DataFrame
    lines: int
    fields: tuple[str, ...]


def read_text(chunks: Iterator[bytes]) -> Iterator[Batch]:
    """Read chunks of whole lines; the header decides the columns, wherever it appears.

    Raises:
        ObjectUnreadable: when there is no header and the lines are not in the default format.
    """
    fields: tuple[Field, ...] | None = None
    lines_before = 0
    for chunk in chunks:
        text = chunk if chunk.endswith(b"\n") else chunk + b"\n"
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        lines_here = text.count(b"\n")
        if fields is None:
            fields, at = _first_format(text)
            skipped = text.count(b"\n", 0, at)
            text = text[at:]
        else:
            skipped = 0
        batch = _read_quickly(text, fields, lines_here - skipped)
        if batch is None:
            for latest, part in _read_carefully(text, fields, lines_before + skipped + 1):
                fields = latest
                yield part
        else:
            yield batch
        lines_before += lines_here


def _first_format(text: bytes) -> tuple[tuple[Field, ...], int]:
    """The fields of the object, and where its first record begins."""
    at = 0
    first = True
    for _ in range(LINES_TO_JUDGE):
        if at >= len(text):
            break
        end = text.index(b"\n", at)
        line = text[at:end]
        if line.strip():
            names = _header(line)
            if names is not None:
                # A header below other lines is met again by the careful path, which counts them.
                return names, end + 1 if first else 0
            first = False
            tokens = line.split()
            if len(tokens) == len(DEFAULT_FORMAT) and tokens[-1] in LOG_STATUSES:
                return tuple(BY_NAME[name] for name in DEFAULT_FORMAT), 0
        at = end + 1
    if not text.strip():
        return tuple(BY_NAME[name] for name in DEFAULT_FORMAT), len(text)
    count = len(text[: text.index(b"\n")].split())
    raise ObjectUnreadable(
        f"not a text flow log: no header line, and its first line has {count} fields, "
        f"not the default format's {len(DEFAULT_FORMAT)}"
    )


def _header(line: bytes) -> tuple[Field, ...] | None:
    """The fields a header line names; None for a line that is no header."""
    if HEADER_LINE.fullmatch(line) is None:
        return None
    fields = tuple(field_for(name.decode()) for name in line.split())
    if not any(field.version for field in fields):
        return None
    if len({field.column for field in fields}) < len(fields):
        raise ObjectUnreadable("its header names a field twice")
    return fields


def _types(fields: Sequence[Field]) -> dict[str, pl.DataType]:
    numbers = {"int32": pl.Int32(), "int64": pl.Int64(), "time": pl.Int64()}
    return {field.column: numbers.get(field.type, pl.Categorical()) for field in fields}


def _csv(text: bytes, types: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.read_csv(
        text, separator=" ", has_header=False, schema=types, null_values=MISSING, quote_char=None
    )


def _read_quickly(text: bytes, fields: tuple[Field, ...], lines: int) -> Batch | None:
    """Parse the chunk at once; None when any line of it needs a closer look."""
    names = tuple(field.name for field in fields)
    nothing = pl.DataFrame(schema=REJECTS)
    if not lines:
        flows = _typed(pl.DataFrame(schema=_types(fields)), fields)
        return Batch(flows, nothing, 0, names)
    if all(field.type == "text" for field in fields) or _has_empty_field(text):
        return None
    try:
        flows = _csv(text, _types(fields))
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        return None
    if flows.height != lines:
        return None
    if flows[:, -1].null_count() and not _lines_have(text, len(fields), lines):
        return None
    for field in fields:
        if _out_of_range(flows[field.column], field) or _unfit_partition(flows, field):
            return None
    return Batch(_typed(flows, fields), nothing, lines, names)


def _has_empty_field(text: bytes) -> bool:
    """Whether two separators meet: a doubled or leading space, or a blank line."""
    if text[:1] in (b" ", b"\n"):
        return True
    even = len(text) & ~1
    odd = (len(text) - 1) & ~1
    for at, end in ((0, even), (1, 1 + odd)):
        pairs = np.frombuffer(text, np.uint16, (end - at) // 2, at)
        if ((pairs == 0x2020) | (pairs == 0x200A) | (pairs == 0x0A0A)).any():
            return True
    return False


def _lines_have(text: bytes, width: int, lines: int) -> bool:
    """Whether every line has exactly ``width`` fields, given that no field is empty."""
    codes = np.frombuffer(text, np.uint8)
    marks = codes[(codes == 0x20) | (codes == 0x0A)]
    if len(marks) != lines * width:
        return False
    return bool((marks[width - 1 :: width] == 0x0A).all())


def _out_of_range(column: pl.Series, field: Field) -> bool:
    if field.type == "text":
        return False
    least, most = _range(field)
    low, high = column.min(), column.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return False
    return (least is not None and low < least) or (most is not None and high > most)


def _range(field: Field) -> tuple[int | None, int | None]:
    return field.minimum, LAST_TIME if field.type == "time" else field.maximum


def _unfit_partition(flows: pl.DataFrame, field: Field) -> bool:
    if field.name not in PARTITION_FIELDS:
        return False
    values = flows[field.column].unique().cast(pl.String).drop_nulls()
    return any(PARTITION_VALUE.fullmatch(value) is None for value in values)


def _typed(flows: pl.DataFrame, fields: Sequence[Field]) -> pl.DataFrame:
    times = [field.column for field in fields if field.type == "time"]
    return flows.with_columns(
        (pl.col(times) * 1_000_000).cast(pl.Datetime("us", "UTC")) if times else []
    )


def _read_carefully(
    text: bytes, fields: tuple[Field, ...], line_number: int
) -> Iterator[tuple[tuple[Field, ...], Batch]]:
    """Read section by section: a header in the middle starts a new one."""
    at = 0
    for match in HEADER_LINE.finditer(text):
        found = _header(match[0])
        if found is None:
            continue
        yield fields, _read_section(text[at : match.start()], fields, line_number)
        line_number += text.count(b"\n", at, match.end() + 1)
        at, fields = match.end() + 1, found
    yield fields, _read_section(text[at:], fields, line_number)


def _read_section(text: bytes, fields: tuple[Field, ...], line_number: int) -> Batch:
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    numbers = np.arange(line_number, line_number + len(lines))
    rejects: list[tuple[int, str, str]] = []
    kept: list[bytes] = []
    kept_at: list[int] = []
    blank = 0
    for index, line in enumerate(lines):
        tokens = line.split()
        if not tokens:
            blank += 1
            continue
        reason = None
        if len(tokens) != len(fields):
            reason = f"{len(tokens)} fields, not the format's {len(fields)}"
        elif not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError:
                reason = "not UTF-8 text"
        if reason is None:
            kept.append(b" ".join(tokens))
            kept_at.append(index)
        else:
            rejects.append((int(numbers[index]), reason, _shown(line)))
    flows, wrong = _parse_numbers(kept, fields)
    for row, reason in wrong:
        index = kept_at[row]
        rejects.append((int(numbers[index]), reason, _shown(lines[index])))
    batch = Batch(
        flows,
        pl.DataFrame(sorted(rejects), schema=REJECTS, orient="row"),
        len(lines) - blank,
        tuple(field.name for field in fields),
    )
    if flows.height + len(rejects) != batch.lines:
        raise AssertionError(
            f"{batch.lines} lines gave {flows.height} rows, {len(rejects)} rejects"
        )
    return batch


def _shown(line: bytes) -> str:
    return line.decode(errors="backslashreplace")[:LONGEST_REJECT]


def _parse_numbers(
    lines: list[bytes], fields: tuple[Field, ...]
) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """Parse lines of the right width; also the rows that are wrong, each with its first reason."""
    types = _types(fields)
    if not lines:
        return _typed(pl.DataFrame(schema=types), fields), []
    texts = _csv(
        b"\n".join(lines) + b"\n",
        {c: t if isinstance(t, pl.Categorical) else pl.String() for c, t in types.items()},
    )
    reasons: dict[int, str] = {}
    columns: list[pl.Series] = []
    for field in fields:
        text = texts[field.column]
        if field.type == "text":
            columns.append(text)
            if _unfit_partition(texts, field):
                for row, value in enumerate(text.cast(pl.String)):
                    if value is not None and PARTITION_VALUE.fullmatch(value) is None:
                        reasons.setdefault(row, f"{field.name} {value[:80]!r} is no {field.name}")
            continue
        number = text.cast(pl.Int64, strict=False)
        if field.type == "time":
            millis = (number > LAST_TIME) & (number <= LAST_TIME * 1000)
            number = number.zip_with(~millis.fill_null(False), number // 1000)
        least, most = _range(field)
        if field.type == "int32":
            least = max(-(2**31), least if least is not None else -(2**31))
            most = min(2**31 - 1, most if most is not None else 2**31 - 1)
        unread = text.is_not_null() & number.is_null()
        outside = (number < least if least is not None else unread) | (
            number > most if most is not None else unread
        )
        for row in unread.arg_true():
            reasons.setdefault(row, f"{field.name} {text[row][:80]!r} is not a whole number")
        for row in outside.fill_null(False).arg_true():
            reasons.setdefault(row, f"{field.name} {text[row]} is out of range")
        good = number.zip_with(
            ~(unread | outside.fill_null(False)), pl.Series([None], dtype=pl.Int64)
        )
        columns.append(good.cast(types[field.column]))
    keep = pl.Series([row not in reasons for row in range(len(lines))], dtype=pl.Boolean)
    return _typed(pl.DataFrame(columns).filter(keep), fields), sorted(reasons.items())
