"""Records older than anybody wants -> removed from the lake, and not converted again.

In the ledger an object whose records are all too old is replaced by a row that has none, in the
commit that removes its rows: as an object is that was overwritten with nothing. So where it is
still listed it is known, and does not come back.
"""

import hashlib
import logging
import os
import random
import time
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from flowlake.committing import OBJECTS, REJECTED, Change, Head, Tables
from flowlake.errors import CommitConflict, UsageError
from flowlake.explaining import explained
from flowlake.planning import STAMP
from flowlake.storage import Access, canonical, delta_options
from flowlake.window import parse_time
from flowlake.writing import DataFile, write_table

logger = logging.getLogger(__name__)

COUNTS = ("lines", "rows", "nodata", "skipdata", "rejected", "misdated")


def expire(
    lake: str | os.PathLike[str] = "lake",
    *,
    older_than: datetime | str,
    dry_run: bool = False,
    access: Access = Access(),
) -> pl.DataFrame:
    """Remove the records of the objects whose last record's date is older than wanted. Eager.

    Of each such object go all records and rejects; the ledger keeps it, as ``removed``, so that it
    is not converted again. An object with a record of a later date stays whole. A commit takes the
    objects of one date, so that it may run beside conversions and readers. The files stay on the
    disk until ``vacuum`` removes them.

    Args:
        lake: the lake's folder or ``s3://`` prefix.
        older_than: the first date (UTC) that is kept, or an age such as ``400d``; a time of day
            plays no part.
        dry_run: remove nothing.
        access: AWS profile and requester-pays.

    Returns:
        What was removed, or would be: ``date`` (UTC, of the last record; for an object without any,
        of its name, else of its last change), ``objects``, ``rows`` and ``rejected`` lines.

    Raises:
        UsageError: for a date that cannot be read, or that is in the future.
        LakeError: when there is no lake.
        StorageError: when the lake cannot be read or written.
    """
    now = datetime.now(UTC)
    first_kept = parse_time(older_than, now).date()
    if first_kept > now.date():
        raise UsageError(f"{first_kept} is in the future: all records would go.")
    tables = Tables(canonical(lake), access)
    plan = (
        _too_old(tables.view() if dry_run else tables.head(), first_kept)
        .group_by("date")
        .agg(objects=pl.len().cast(pl.Int64), rows=pl.sum("rows"), rejected=pl.sum("rejected"))
        .sort("date")
    )
    if not dry_run:
        for day in plan["date"]:
            _remove(tables, day)
        _drop_rejects(tables)  # also those of an expiry that was cut off after its last commit
    return plan


def _too_old(head: Head, first_kept: date) -> pl.DataFrame:
    day = pl.coalesce("last_date", STAMP.dt.date())
    return head.live.with_columns(date=day).filter(
        pl.col("date") < first_kept, pl.col("state") != "removed"
    )


def _remove(tables: Tables, day: date) -> None:
    """Remove the objects of a date in one commit; again on a new head, if another was faster."""
    while True:
        head = tables.head()
        old = _too_old(head, date.max).filter(pl.col("date") == day)
        if old.is_empty():
            return
        try:
            tables.commit(head, Change(objects=[_emptied(old)]))
            logger.info("removed %d objects of %s", old.height, day)
        except CommitConflict:
            logger.info("another process committed first; planning again")
            time.sleep(random.uniform(0.01, 0.2))


def _emptied(old: pl.DataFrame) -> pa.Table:
    """The rows of the ledger that take the place of these."""
    nothing = {name: pl.lit(0, pl.Int64) for name in COUNTS}
    no_dates = {name: pl.lit(None, pl.Date) for name in ("first_date", "last_date")}
    rows = old.with_columns(
        replaces="object_id",
        object_id=pl.Series([_number(each) for each in old["object_id"]], dtype=pl.Int64),
        state=pl.lit("removed"),
        **nothing,
        **no_dates,
    )
    return rows.select(OBJECTS.names).to_arrow().cast(OBJECTS)


def _number(object_id: int) -> int:
    """The number of the row in place of another: no version of an object has it."""
    digest = hashlib.blake2b(f"removed {object_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _drop_rejects(tables: Tables) -> None:
    """Write the files of ``rejects`` anew without the lines of objects that stand no longer.

    All in one commit; again on a new snapshot, if another process replaced files meanwhile.
    """
    while True:
        table = tables.table("rejects")
        live = tables.head().live["object_id"].implode()  # later, so it has all of their objects
        files = pl.DataFrame(table.get_add_actions(flatten=True)).select("path", size="size_bytes")
        old: list[dict[str, Any]] = []
        new: list[DataFile] = []
        for file in files.with_columns(partition=pl.lit(None)).iter_rows(named=True):
            with explained(tables.url):
                rows = pl.read_parquet(
                    f"{tables.table_url('rejects')}/{file['path']}",
                    storage_options=delta_options(tables.url, tables.access),
                    hive_partitioning=False,
                )
            kept = rows.filter(pl.col("object_id").is_in(live))
            if kept.height < rows.height:
                old.append(file)
                new.append(
                    write_table(
                        kept.select(REJECTED.names).to_arrow().cast(REJECTED),
                        table_url=tables.table_url("rejects"),
                        storage=tables.storage,
                    )
                )
        if not new or tables.exchange("rejects", table, old, new):
            return
        logger.info("another process changed the rejects first; looking at them again")
        time.sleep(random.uniform(0.01, 0.2))
