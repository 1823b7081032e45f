"""Files that nobody needs any more -> removed from the disk.

A file is needed as long as the log names it, as long after its end as a reader may still hold an
older snapshot, and as long as whoever wrote it may still commit it.
"""

import logging
import os
from datetime import UTC, datetime, timedelta

import polars as pl

from flowlake.committing import SCHEMAS, Tables
from flowlake.errors import UsageError
from flowlake.storage import Access, canonical

logger = logging.getLogger(__name__)

RETENTION = timedelta(days=7)
"""The log tells when a file was replaced for as long: Delta's ``deletedFileRetentionDuration``."""

HALF_WRITTEN = r"/[.][^/]+[.]parquet[.][0-9a-f]+[.]tmp$|/_delta_log/[^/]+#[0-9]+$"
"""Where a process was killed on a local disk: before it gave its file, or its entry of the log, the
name that others look for."""


def vacuum(
    lake: str | os.PathLike[str] = "lake",
    *,
    retention: timedelta = RETENTION,
    no_writers: bool = False,
    dry_run: bool = False,
    access: Access = Access(),
) -> pl.DataFrame:
    """Remove the files that no snapshot younger than the retention needs. Eager.

    They are files that were replaced, and files of processes that were cut off: Parquet below the
    folders of the lake's tables, unfinished entries of their logs, and nothing else. The logs are
    shortened too: Delta keeps the entries of 30 days.

    Args:
        lake: the lake's folder or ``s3://`` prefix.
        retention: how long ago a file must have been replaced, or written by nobody knows whom.
        no_writers: the caller promises that no conversion, compaction or reader is at work on the
            lake, so that the retention may be shorter than ``RETENTION``.
        dry_run: remove nothing.
        access: AWS profile and requester-pays.

    Returns:
        The files removed, or to be removed: ``table``, ``url``, ``bytes`` and ``last_modified``
        (UTC).

    Raises:
        UsageError: for a retention that is not to be had.
        LakeError: when there is no lake.
        StorageError: when the lake cannot be listed, or a file not be removed.
    """
    if not timedelta(0) <= retention <= RETENTION:
        raise UsageError(
            "A retention is at most 7d: the log does not remember longer. Set --retention."
        )
    if retention < RETENTION and not no_writers:
        raise UsageError(
            "A retention of less than 7d may take files from under a conversion or a reader: stop "
            "them all, and say so with --no-writers (in Python, no_writers=True)."
        )
    tables = Tables(canonical(lake), access)
    if not dry_run:
        tables.head()  # files that only a commit that was cut off names are live from here on
    names = ["flows", *SCHEMAS, *filter(tables.exist, ("findings", "inventory"))]
    unneeded = pl.concat(_unneeded(tables, name, retention) for name in names)
    logger.info("%d files that no snapshot needs", unneeded.height)
    if not dry_run:
        tables.storage.delete(unneeded["url"])
        for name in names:
            tables.shorten_log(name)
    return unneeded


def _unneeded(tables: Tables, name: str, retention: timedelta) -> pl.DataFrame:
    urls = tables.unneeded(name, retention)
    listed = pl.concat(tables.storage.list(tables.table_url(name)))
    old = pl.col("last_modified") <= datetime.now(UTC) - retention
    half_written = old & pl.col("url").str.contains(HALF_WRITTEN)
    written = pl.col("url").is_in(urls) & pl.col("url").str.ends_with(".parquet")
    return listed.filter(written | half_written).select(
        pl.lit(name).alias("table"), "url", bytes="size", last_modified="last_modified"
    )
