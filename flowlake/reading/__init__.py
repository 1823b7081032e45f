"""One raw object -> canonical frames and rejects.

``compression`` makes content of bytes; its first bytes say what shape it has: ``text``,
``messages`` (JSON) or ``parquet``, each a module that makes typed columns and rejects.
``detecting`` finds the format of text, ``careful`` reads the lines that ``text`` does not trust,
``foreign`` names what is no flow log, and ``read_object`` adds what only the object's name knows.
A new input shape is a new module beside them.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from flowlake.errors import NotAFlowLog, ObjectUnreadable
from flowlake.fields import TRANSIT_GATEWAY, field_for
from flowlake.layout import UNKNOWN
from flowlake.reading.compression import GZIP_MAGIC, inflated, whole_lines
from flowlake.reading.detecting import STAMP
from flowlake.reading.foreign import kind_of, signature_of
from flowlake.reading.formats import REJECTS, Batch, Format, parse_format
from flowlake.reading.messages import JSON, read_messages
from flowlake.reading.parquet import MAGIC, read_parquet
from flowlake.reading.text import read_text
from flowlake.storage import Body

__all__ = ["REJECTS", "Batch", "Format", "RawObject", "parse_format", "read_object"]

FARTHEST = timedelta(days=7)
"""A start farther than this from the key's date does not choose the partition."""

HEAD = 1 << 16
"""Bytes that tell what an object is when it is no flow log."""


@dataclass(frozen=True, slots=True)
class RawObject:
    """A raw object to convert: what the listing, its name and the plan say of it."""

    object_id: int
    url: str
    etag: str
    size: int
    last_modified: datetime
    source: str
    account_id: str | None = None
    region: str | None = None
    flow_log_id: str | None = None
    slot: datetime | None = None
    replaces: int | None = None
    had: int | None = None
    """The lines of what it replaces, where there cannot be fewer: an hour of a log group's."""


def read_object(raw: RawObject, body: Body, formats: Sequence[Format] = ()) -> Iterator[Batch]:
    """Read an object's bytes into batches whose flows have every column a lake needs of them.

    ``account_id`` and ``region`` come from the record, else from the object's name, else are
    ``unknown``; ``date`` is the UTC date of ``start``, else of ``end``, else of the name; a date
    more than seven days from the name's is the name's, and the row counts as misdated. A record
    whose format has a transit gateway's fields has a ``resource_type``, if only ``unknown``.

    Args:
        raw: what is known of the object.
        body: its bytes.
        formats: what records without a header may be, besides AWS's default formats.

    Raises:
        NotAFlowLog: when the object is something else, and not named as a flow log.
        ObjectUnreadable: when the object as a whole is not a readable flow log.
    """
    try:
        for batch in _read(body, formats):
            date, misdated = _dates(batch.flows, raw)
            yield replace(batch, flows=_canonical(batch, raw, date), misdated=misdated)
    except NotAFlowLog as error:
        if raw.flow_log_id is None:
            raise
        raise ObjectUnreadable(f"it is named as a flow log, and holds: {error}") from error


def _read(body: Body, formats: Sequence[Format]) -> Iterator[Batch]:
    """Read an object by what it holds, whatever its name says."""
    pieces, longest = inflated(body)
    head = next(pieces, b"")
    pieces = itertools.chain([head], pieces)
    if (kind := signature_of(head)) is not None:
        raise NotAFlowLog(kind)
    if head.startswith(MAGIC):
        return read_parquet(b"".join(pieces) if body[:2] == GZIP_MAGIC else body)
    if JSON.match(head):
        return read_messages(pieces, head[:HEAD], formats)
    chunks = whole_lines(pieces, longest)
    if STAMP.match(head.lstrip()):
        return _read_export(chunks, head[:HEAD], formats)
    return read_text(chunks, formats)


def _read_export(
    chunks: Iterator[bytes], head: bytes, formats: Sequence[Format]
) -> Iterator[Batch]:
    """Read lines without their stamps; other logs have stamps too, and are named by them."""
    try:
        for batch in read_text((STAMP.sub(b"", chunk) for chunk in chunks), formats):
            yield replace(batch, shape="export")
    except NotAFlowLog as error:
        raise NotAFlowLog(kind_of(head)) from error


def _dates(flows: pl.DataFrame, raw: RawObject) -> tuple[pl.Series, int]:
    """The partition date of each row, and how many are not the row's own."""
    times = [pl.col(name) for name in ("start_time", "end_time") if name in flows.columns]
    own = pl.coalesce(*times).dt.date() if times else pl.repeat(None, pl.len(), dtype=pl.Date)
    dates = flows.select(own).to_series()
    if raw.slot is None:
        return dates.fill_null(raw.last_modified.date()), 0
    named = raw.slot.date()
    near = dates.is_between(named - FARTHEST, named + FARTHEST)
    if near.all(ignore_nulls=False):
        return dates, 0
    far = int((~near).sum())
    return dates.set(~near.fill_null(False), named), far


def _canonical(batch: Batch, raw: RawObject, date: pl.Series) -> pl.DataFrame:
    flows = batch.flows
    # A format may leave resource-type out: its other fields tell whose records these are.
    apart = any(field_for(name).sources == TRANSIT_GATEWAY for name in batch.fields)
    return flows.with_columns(
        _else_named(flows, "account_id", raw.account_id),
        _else_named(flows, "region", raw.region),
        *([_else_named(flows, "resource_type", None)] if apart else []),
        object_id=pl.lit(raw.object_id, pl.Int64),
        flow_log_id=pl.lit(raw.flow_log_id, pl.Categorical),
        date=date,
    )


def _else_named(flows: pl.DataFrame, column: str, named: str | None) -> pl.Expr:
    value = pl.lit(named or UNKNOWN, pl.Categorical)
    return (pl.col(column).fill_null(value) if column in flows.columns else value).alias(column)
