"""One raw object looked at: what it is, how it holds its records, what could not be read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from flowlake.errors import NotAFlowLog, ObjectUnreadable, UsageError
from flowlake.fields import field_for
from flowlake.layout import parse_key
from flowlake.reading import REJECTS, Batch, RawObject, parse_format, read_object
from flowlake.storage import Access, Body, canonical, open_source, open_storage


@dataclass(slots=True)
class Inspection:
    """What one object is and holds. Times are UTC; ``rejects`` has ``REJECTS``' columns."""

    url: str
    size: int
    state: str = "flow log"
    """``flow log``, ``unreadable``, or ``skipped``: what a conversion would make of it."""
    shape: str | None = None
    """How it holds its records (``text``, ``parquet``, …), or what it is instead."""
    reason: str | None = None
    """Why it is unreadable."""
    flow_log_id: str | None = None
    fields: tuple[str, ...] = ()
    """Names in the header, or of the format that fits; of all headers, if it has several."""
    unknown_fields: tuple[str, ...] = ()
    """Those that FlowLake's catalogue does not have: each becomes a text column."""
    versions: tuple[int, ...] = ()
    accounts: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    first: datetime | None = None
    """The first start."""
    last: datetime | None = None
    """The last end."""
    lines: int = 0
    rows: int = 0
    nodata: int = 0
    skipdata: int = 0
    rejected: int = 0
    misdated: int = 0
    first_rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    """The first records as the lake would have them, in the record's own order."""
    rejects: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECTS))
    """The first rejected lines, with their numbers and reasons."""


def inspect(
    place: str | os.PathLike[str],
    *,
    fields: str | Sequence[str] | None = None,
    rows: int = 5,
    access: Access = Access(),
) -> Inspection:
    """Read one object to its end, as a conversion would, and say what was seen. Eager.

    Args:
        place: the object: a file or ``s3://BUCKET/KEY``.
        fields: what records without a header may be, as for ``convert``.
        rows: how many of the first records, and of the first rejected lines, to keep.
        access: AWS profile and requester-pays.

    Raises:
        UsageError: when the place is a folder, or a format names no field.
        StorageError: when the object cannot be fetched.
    """
    given = (fields,) if isinstance(fields, str) else fields or ()
    formats = [parse_format(each) for each in given]
    raw, body = _fetch(canonical(place), access)
    seen = Inspection(raw.url, len(body), flow_log_id=raw.flow_log_id)
    try:
        for batch in read_object(raw, body, formats):
            _add(seen, batch, rows)
    except NotAFlowLog as error:
        seen.state, seen.shape = "skipped", str(error)
    except ObjectUnreadable as error:
        seen.state, seen.reason = "unreadable", str(error)
    return seen


def _fetch(place: str, access: Access) -> tuple[RawObject, Body]:
    listed: list[dict[str, Any]] = []
    for frame in open_source(place, access).list(place):
        listed += frame.head(2).to_dicts()
        if len(listed) > 1:
            raise UsageError(
                f"{place} holds more than one object: name one, such as {listed[0]['url']}."
            )
    if not listed:
        raise UsageError(f"There is no object at {place}: name a file or s3://BUCKET/KEY that is.")
    row = listed[0]
    name = parse_key(row["url"])
    raw = RawObject(
        object_id=0,
        source=place,
        account_id=name.account_id,
        region=name.region,
        flow_log_id=name.flow_log_id,
        slot=name.slot,
        **row,
    )
    return raw, open_storage(raw.url, access).get(raw.url, raw.etag)


def _add(seen: Inspection, batch: Batch, rows: int) -> None:
    flows = batch.flows
    seen.shape = batch.shape
    seen.lines += batch.lines
    seen.rows += flows.height
    seen.rejected += batch.rejects.height
    seen.misdated += batch.misdated
    known = [field_for(name) for name in batch.fields]
    seen.fields = (*seen.fields, *(each for each in batch.fields if each not in seen.fields))
    new = (each.name for each in known if not each.version and each.name not in seen.unknown_fields)
    seen.unknown_fields = (*seen.unknown_fields, *new)
    columns = [each.column for each in known if each.column in flows.columns]
    if seen.first_rows.height < rows and flows.height:
        head = flows.select(columns).head(rows - seen.first_rows.height)
        texts = head.cast({pl.Categorical: pl.String})
        seen.first_rows = pl.concat([seen.first_rows, texts], how="diagonal")
    if seen.rejects.height < rows:
        seen.rejects = pl.concat([seen.rejects, batch.rejects.head(rows - seen.rejects.height)])
    for name, column in (
        ("versions", "version"),
        ("accounts", "account_id"),
        ("regions", "region"),
    ):
        if column in flows.columns:
            values = flows[column].unique().cast(pl.Int64 if name == "versions" else pl.String)
            found = {*getattr(seen, name), *values.drop_nulls()}
            setattr(seen, name, tuple(sorted(found)))
    seen.nodata += batch.having("NODATA")
    seen.skipdata += batch.having("SKIPDATA")
    if "start_time" in flows.columns:
        starts = (seen.first, *flows.select(pl.col("start_time").min()).row(0))
        seen.first = min((time for time in starts if time is not None), default=None)
    if "end_time" in flows.columns:
        ends = (seen.last, *flows.select(pl.col("end_time").max()).row(0))
        seen.last = max((time for time in ends if time is not None), default=None)
