"""Chunks of flow log text -> typed columns, and the lines that could not be read.

The fast path hands a chunk to Polars' CSV reader and believes the result only when nothing can
have slipped: as many rows as lines and as many fields as those need, no two separators that meet,
no control character, no number out of range. Any doubt sends the chunk down the careful path,
which finds the wrong lines and keeps the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from flowlake.fields import Field
from flowlake.reading.careful import read_carefully, refuse
from flowlake.reading.detecting import first_format
from flowlake.reading.formats import (
    BYTE_ORDER_MARK,
    REJECTS,
    Batch,
    Format,
    bounds,
    names_twice,
    parse,
    types,
    unfit_partition,
)

PIECE = 1 << 20
"""Bytes of a doubtful text that are read carefully at once, so that one line costs no more."""

SURVEYED_AT_ONCE = 1 << 17
"""Bytes that fit a core's cache together with what is computed of them."""


def read_text(chunks: Iterator[bytes], formats: Sequence[Format] = ()) -> Iterator[Batch]:
    """Read chunks of whole lines; the header decides the columns, wherever it appears.

    Args:
        chunks: the text, cut at line ends.
        formats: what records without a header may be, besides AWS's default formats.

    Raises:
        NotAFlowLog: before the first batch, when nothing looks like flow log records.
        ObjectUnreadable: before the first batch, when there is no header and no format fits, or
            when the header names a field twice.
    """
    fields: Format | None = None
    line_number = 1
    for chunk in chunks:
        if fields is None:
            chunk = chunk.removeprefix(BYTE_ORDER_MARK)
        text = chunk if chunk.endswith(b"\n") else chunk + b"\n"
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        if fields is None:
            if text.isspace():
                line_number += text.count(b"\n")
                continue
            fields, above, at = first_format(text, formats)
            if text[:above].strip():
                yield refuse(text[:above], fields, line_number, "stands above the header")
            line_number += text.count(b"\n", 0, at)
            text = text[at:]
        survey = _survey(text)
        if (quick := _read_quickly(text, fields, survey)) is not None:
            yield quick
        else:
            for latest, batch in _read_pieces(text, fields, line_number):
                fields = latest
                yield batch
        line_number += survey.lines


def read_plain(text: bytes, fields: Format) -> Batch | None:
    """Read whole lines at once; None when any of them needs a closer look."""
    return _read_quickly(text, fields, _survey(text))


def _read_pieces(
    text: bytes, fields: tuple[Field, ...], line_number: int
) -> Iterator[tuple[tuple[Field, ...], Batch]]:
    """Read a doubtful text piece by piece, carefully where a piece is itself in doubt."""
    at = 0
    while at < len(text):
        end = text.rfind(b"\n", at, at + PIECE) + 1 or text.index(b"\n", at) + 1
        piece = text[at:end]
        if (batch := read_plain(b"" if piece.isspace() else piece, fields)) is not None:
            yield fields, batch
        else:
            for latest, part in read_carefully(piece, fields, line_number):
                fields = latest
                yield fields, part
        line_number += piece.count(b"\n")
        at = end


@dataclass(frozen=True, slots=True)
class _Survey:
    """What the bytes of a text say before it is parsed."""

    lines: int
    separators: int
    """Spaces and line ends."""
    plain: bool
    """Every separator stands alone, and the text has no other control character."""


def _survey(text: bytes) -> _Survey:
    codes = np.frombuffer(text, np.uint8)
    lines = separators = controls = 0
    plain = text[:1] not in (b" ", b"\n")
    for at in range(0, len(codes), SURVEYED_AT_ONCE):
        block = codes[at : at + SURVEYED_AT_ONCE + 1]
        low = block <= 0x20
        plain = plain and not (low[1:] & low[:-1]).any()
        low, block = low[:SURVEYED_AT_ONCE], block[:SURVEYED_AT_ONCE]
        separators += int(np.count_nonzero(low))
        controls += int(np.count_nonzero(block < 0x20))
        lines += int(np.count_nonzero(block == 0x0A))
    return _Survey(lines, separators, plain and controls == lines)


def _read_quickly(text: bytes, fields: tuple[Field, ...], survey: _Survey) -> Batch | None:
    """Parse the chunk at once; None when any line of it needs a closer look."""
    names = tuple(field.name for field in fields)
    nothing = pl.DataFrame(schema=REJECTS)
    schema = types(fields)
    if not survey.lines:
        return Batch(_timed(pl.DataFrame(schema=schema), fields), nothing, 0, names)
    # A header would pass for a record where no field is a number. A line with too many fields
    # raises, so that the right number of separators leaves none with too few.
    if all(field.type == "text" for field in fields) or names_twice(fields):
        return None
    if not survey.plain or survey.separators != survey.lines * len(fields):
        return None
    try:
        flows = parse(text, schema)
    except pl.exceptions.PolarsError:
        return None
    if flows.height != survey.lines:
        return None
    if _out_of_bounds(flows, fields) or any(unfit_partition(flows, field) for field in fields):
        return None
    return Batch(_timed(flows, fields), nothing, survey.lines, names)


def _out_of_bounds(flows: pl.DataFrame, fields: tuple[Field, ...]) -> bool:
    numbers = [field for field in fields if field.type != "text"]
    columns = pl.col([field.column for field in numbers])
    extremes = flows.select(columns.min().name.prefix("<"), columns.max().name.prefix(">")).row(0)
    for field, low, high in zip(numbers, extremes, extremes[len(numbers) :], strict=False):
        least, most = bounds(field)
        if low is not None and (low < least or high > most):
            return True
    return False


def _timed(flows: pl.DataFrame, fields: tuple[Field, ...]) -> pl.DataFrame:
    times = [field.column for field in fields if field.type == "time"]
    return flows.with_columns(
        (pl.col(times) * 1_000_000).cast(pl.Datetime("us", "UTC")) if times else []
    )
