"""One raw object -> canonical frames and rejects.

``compression`` makes lines of bytes, ``text`` makes typed columns of lines, with ``careful`` for
the lines it does not trust, and ``read_object`` adds what only the object's name knows. A new
input shape is a new module beside ``text``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from flowlake.layout import UNKNOWN
from flowlake.reading.compression import line_chunks
from flowlake.reading.formats import REJECTS, Batch
from flowlake.reading.text import read_text
from flowlake.storage import Body

__all__ = ["REJECTS", "Batch", "RawObject", "read_object"]

FARTHEST = timedelta(days=7)
"""A start farther than this from the key's date does not choose the partition."""


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


def read_object(raw: RawObject, body: Body) -> Iterator[Batch]:
    """Read an object's bytes into batches whose flows have every column a lake needs of them.

    ``account_id`` and ``region`` come from the record, else from the object's name, else are
    ``unknown``; ``date`` is the UTC date of ``start``, else of ``end``, else of the name; a date
    more than seven days from the name's is the name's, and the row counts as misdated.

    Raises:
        ObjectUnreadable: when the object as a whole is not a readable flow log.
    """
    for batch in read_text(line_chunks(body)):
        date, misdated = _dates(batch.flows, raw)
        yield replace(batch, flows=_canonical(batch.flows, raw, date), misdated=misdated)


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


def _canonical(flows: pl.DataFrame, raw: RawObject, date: pl.Series) -> pl.DataFrame:
    return flows.with_columns(
        _else_named(flows, "account_id", raw.account_id),
        _else_named(flows, "region", raw.region),
        object_id=pl.lit(raw.object_id, pl.Int64),
        flow_log_id=pl.lit(raw.flow_log_id, pl.Categorical),
        date=date,
    )


def _else_named(flows: pl.DataFrame, column: str, named: str | None) -> pl.Expr:
    value = pl.lit(named or UNKNOWN, pl.Categorical)
    return (pl.col(column).fill_null(value) if column in flows.columns else value).alias(column)
