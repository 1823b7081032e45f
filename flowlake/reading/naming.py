"""What the records themselves do not say: the columns that come from their object's name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from flowlake.fields import TRANSIT_GATEWAY, field_for
from flowlake.layout import UNKNOWN

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
    had: int | None = None
    """The lines of what it replaces, where there cannot be fewer: an hour of a log group's."""


@dataclass(frozen=True, slots=True)
class Names:
    """For each row of a frame, what its object's name and listing say."""

    object_id: pl.Expr
    flow_log_id: pl.Expr
    account_id: pl.Expr
    region: pl.Expr
    slot: pl.Expr
    """The date of the time stamp in the name, null in a name without one."""
    modified: pl.Expr
    """The date of the object's last change."""


def names_of(raw: RawObject) -> Names:
    """The names for rows that are all of one object."""
    return Names(
        object_id=pl.lit(raw.object_id, pl.Int64),
        flow_log_id=pl.lit(raw.flow_log_id, pl.Categorical),
        account_id=pl.lit(raw.account_id or UNKNOWN, pl.Categorical),
        region=pl.lit(raw.region or UNKNOWN, pl.Categorical),
        slot=pl.lit(raw.slot and raw.slot.date(), pl.Date),
        modified=pl.lit(raw.last_modified.date()),
    )


def names_of_each(raws: Sequence[RawObject], rows: Sequence[int]) -> Names:
    """The names for the rows of several objects, in their order: so many rows of each."""
    which = np.repeat(np.arange(len(raws), dtype=np.uint32), rows)

    def each(values: Sequence[object], dtype: pl.DataType | type[pl.DataType]) -> pl.Expr:
        return pl.lit(pl.Series(values, dtype=dtype).gather(which))

    return Names(
        object_id=each([raw.object_id for raw in raws], pl.Int64),
        flow_log_id=each([raw.flow_log_id for raw in raws], pl.Categorical),
        account_id=each([raw.account_id or UNKNOWN for raw in raws], pl.Categorical),
        region=each([raw.region or UNKNOWN for raw in raws], pl.Categorical),
        slot=each([raw.slot and raw.slot.date() for raw in raws], pl.Date),
        modified=each([raw.last_modified.date() for raw in raws], pl.Date),
    )


def named(
    flows: pl.DataFrame, fields: Sequence[str], names: Names
) -> tuple[pl.DataFrame, pl.Series]:
    """Add the columns that every lake has; and tell which rows are misdated.

    ``account_id`` and ``region`` come from the record, else from the object's name, else are
    ``unknown``; ``date`` is the UTC date of ``start``, else of ``end``, else of the name; a date
    more than seven days from the name's is the name's, and its row is misdated. A record
    whose format has a transit gateway's fields has a ``resource_type``, if only ``unknown``.
    """
    times = [pl.col(name) for name in ("start_time", "end_time") if name in flows.columns]
    own = pl.coalesce(*times).dt.date() if times else pl.repeat(None, pl.len(), dtype=pl.Date)
    near = own.is_between(names.slot - FARTHEST, names.slot + FARTHEST).fill_null(True)
    dates = flows.select(
        date=pl.coalesce(pl.when(near).then(own), names.slot, names.modified), misdated=~near
    )
    # A format may leave resource-type out: its other fields tell whose records these are.
    apart = any(field_for(name).sources == TRANSIT_GATEWAY for name in fields)
    unknown = {"resource_type": pl.lit(UNKNOWN, pl.Categorical)} if apart else {}
    filled = {"account_id": names.account_id, "region": names.region, **unknown}
    return flows.with_columns(
        *(
            (pl.col(column).fill_null(value) if column in flows.columns else value).alias(column)
            for column, value in filled.items()
        ),
        object_id=names.object_id,
        flow_log_id=names.flow_log_id,
        date=dates["date"],
    ), dates["misdated"]
