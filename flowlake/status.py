"""A lake summed up from its ledger and its log, without reading data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import deltalake
import polars as pl

from flowlake.committing import APPLICATION, REJECTED, Tables
from flowlake.compacting import TARGET_ROWS, merges
from flowlake.fields import COLUMNS
from flowlake.files import file_urls
from flowlake.storage import delta_options


@dataclass(frozen=True, slots=True)
class Status:
    """What a lake holds. Times are UTC, sizes bytes; a gone object is one replaced by a later.

    ``rows`` are those of all flow logs; ``transit_gateway_rows`` those among them that are in
    ``transit_gateway_flows``, None in a lake whose log does not say it of every file.
    """

    url: str
    partition_by: tuple[str, ...]
    batches: int
    files: int
    small_files: int
    """Files that ``compact`` would merge."""
    small_files_into: int
    """How many it would make of them."""
    bytes: int
    rows: int
    transit_gateway_rows: int | None
    objects: int
    objects_bytes: int
    lines: int
    rejected: int
    nodata: int
    skipdata: int
    misdated: int
    unreadable: int
    skipped: int
    """Objects that are no flow logs."""
    removed: int
    """Objects whose records `expire` removed."""
    replaced: int
    first: datetime | None
    last: datetime | None
    accounts: int
    regions: int
    sources: tuple[str, ...]
    unknown_fields: tuple[str, ...]


_SUMMED = (
    *("object_id", "replaces", "state", "source", "account_id", "region"),
    *("size", "lines", "rejected", "nodata", "skipdata", "misdated"),
)
"""What is read of the ledger: urls and ETags are most of its bytes."""


def sum_up(
    tables: Tables, flows: deltalake.DeltaTable, files: pl.DataFrame, columns: Sequence[str]
) -> Status:
    """Sum up a lake.

    Args:
        tables: the lake's tables; its ledger is read as it is now.
        flows: the snapshot of ``flows``.
        files: what ``live_files`` says of that snapshot.
        columns: the columns that the lake shows.
    """
    partition_by = tuple(flows.metadata().partition_columns)
    ledger = tables.ledger(*_SUMMED)
    dead = ledger.filter(pl.col("object_id").is_in(ledger["replaces"].drop_nulls().implode()))
    live = ledger.filter(~pl.col("object_id").is_in(dead["object_id"].implode()))

    def total(column: str) -> int:
        return int(live[column].sum())

    def distinct(column: str) -> int:
        if column in partition_by:
            return files["partition"].struct.field(column).n_unique()
        return live[column].drop_nulls().n_unique()

    apart = files["transit_gateway_rows"]
    merged = merges(files, TARGET_ROWS["flows"])
    return Status(
        url=tables.url,
        partition_by=partition_by,
        batches=flows.transaction_version(APPLICATION) or 0,
        files=files.height,
        small_files=sum(each.height for each in merged),
        small_files_into=len(merged),
        bytes=int(files["size"].sum()),
        rows=int(files["rows"].sum()),
        transit_gateway_rows=None if apart.null_count() else int(apart.sum()),
        objects=live.height,
        objects_bytes=total("size"),
        lines=total("lines"),
        rejected=total("rejected"),
        nodata=total("nodata"),
        skipdata=total("skipdata"),
        misdated=total("misdated"),
        unreadable=live.filter(pl.col("state") == "unreadable").height,
        skipped=live.filter(pl.col("state") == "skipped").height,
        removed=live.filter(pl.col("state") == "removed").height,
        replaced=dead.height - ledger.filter(pl.col("state") == "removed").height,
        first=_extreme(files, "min.start_time", first=True),
        last=_extreme(files, "max.end_time", first=False),
        accounts=distinct("account_id"),
        regions=distinct("region"),
        sources=tuple(live["source"].unique().sort()),
        unknown_fields=tuple(
            name for name in columns if name not in {each.column for each in COLUMNS}
        ),
    )


def rejects(tables: Tables) -> pl.LazyFrame:
    """The lines and objects that could not be read, with the ``url`` of their object. Lazy."""
    ledger = tables.ledger("object_id", "url", "replaces").lazy()
    live = ledger.join(ledger, left_on="object_id", right_on="replaces", how="anti")
    files = file_urls(tables.table("rejects"))
    rows = pl.LazyFrame(schema=pl.Schema(REJECTED))
    if files:
        rows = pl.scan_parquet(
            files,
            storage_options=delta_options(tables.url, tables.access),
            hive_partitioning=False,
        )
    return rows.join(live.select("object_id", "url"), on="object_id")


def _extreme(files: pl.DataFrame, column: str, *, first: bool) -> datetime | None:
    if column not in files.columns:
        return None
    found = files[column].min() if first else files[column].max()
    assert found is None or (isinstance(found, date) and isinstance(found, datetime))
    return found
