"""Many small objects of one header -> one frame.

To begin to parse a text costs much more than to make it a little longer. So the texts of small
objects are put together where they have the same header, and parsed at once; what cannot be parsed
so is handed back, to be read alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from flowlake.errors import ObjectUnreadable
from flowlake.reading.compression import GZIP_MAGIC, inflated
from flowlake.reading.formats import LONGEST_HEADER, Format, header, names_twice
from flowlake.reading.naming import RawObject, named, names_of_each
from flowlake.reading.text import read_plain
from flowlake.storage import Body

SMALL = 4 << 20
"""Bytes of text up to which an object is read together with others."""

TOGETHER = 8 << 20
"""Bytes of text that are held to be parsed at once."""


@dataclass(frozen=True, slots=True)
class Together:
    """Objects that were read as one, none of them with a reject."""

    objects: Sequence[RawObject]
    flows: pl.DataFrame
    """The rows of the first object, of the next, …, with the columns that ``naming`` adds."""
    counts: pl.DataFrame
    """For each object: rows, nodata, skipdata, misdated, first_date, last_date."""
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plain:
    """A text that begins with a header."""

    raw: RawObject
    body: Body
    fields: Format
    header: bytes
    records: bytes
    """The lines below the header, each with its end."""


def read_together(
    objects: Iterable[tuple[RawObject, Body]],
) -> Iterator[Together | tuple[RawObject, Body]]:
    """Read the small objects of plain text together; hand out the others as they came."""
    waiting: dict[bytes, list[_Plain]] = {}
    size = 0
    for raw, body in objects:
        if (plain := _plain(raw, body)) is None:
            yield raw, body
            continue
        waiting.setdefault(plain.header, []).append(plain)
        size += len(plain.records)
        if size >= TOGETHER:
            for same in waiting.values():
                yield from _parsed(same)
            waiting, size = {}, 0
    for same in waiting.values():
        yield from _parsed(same)


def _parsed(texts: Sequence[_Plain]) -> Iterator[Together | tuple[RawObject, Body]]:
    """Parse texts of one header at once; halves of them, where a line is in doubt."""
    if len(texts) == 1:
        yield texts[0].raw, texts[0].body
        return
    batch = read_plain(b"".join(text.records for text in texts), texts[0].fields)
    if batch is None:
        half = len(texts) // 2
        yield from _parsed(texts[:half])
        yield from _parsed(texts[half:])
        return
    objects = [text.raw for text in texts]
    rows = [text.records.count(b"\n") for text in texts]
    flows, misdated = named(batch.flows, batch.fields, names_of_each(objects, rows))
    yield Together(objects, flows, _counts(flows, misdated, rows), batch.fields)


def _counts(flows: pl.DataFrame, misdated: pl.Series, rows: Sequence[int]) -> pl.DataFrame:
    status = pl.col("log_status") if "log_status" in flows.columns else pl.lit(None, pl.Categorical)
    return (
        flows.select(
            "date",
            which=pl.lit(pl.Series(np.repeat(np.arange(len(rows)), rows))),
            nodata=status == "NODATA",
            skipdata=status == "SKIPDATA",
            misdated=pl.lit(misdated),
        )
        .group_by("which", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("nodata", "skipdata", "misdated").sum(),
            first_date=pl.col("date").min(),
            last_date=pl.col("date").max(),
        )
        .drop("which")
    )


def _plain(raw: RawObject, body: Body) -> _Plain | None:
    # A gzip ends with the length of its last member.
    said = int.from_bytes(body[-4:], "little") if body[:2] == GZIP_MAGIC else len(body)
    if said > SMALL or len(body) > SMALL:
        return None
    try:
        text = b"".join(inflated(body)[0])
    except ObjectUnreadable:
        return None  # read alone, it says why
    end = text.find(b"\n") + 1
    if not 0 < end <= LONGEST_HEADER or end == len(text) or len(text) > SMALL or b"\r" in text:
        return None
    if (fields := _format(text[: end - 1])) is None:
        return None
    records = text[end:] if text.endswith(b"\n") else text[end:] + b"\n"
    return _Plain(raw, body, fields, text[:end], records)


@lru_cache
def _format(line: bytes) -> Format | None:
    """What a first line names, if it is a header beyond doubt."""
    fields = header(line)
    if fields is None or 2 * sum(field.version > 0 for field in fields) < len(fields):
        return None
    return None if names_twice(fields) else fields
