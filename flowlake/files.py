"""What the log of a Delta table says of its files: which are live, and how they come and go."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import deltalake
import polars as pl
import pyarrow as pa
from deltalake.transaction import AddAction, RemoveAction

from flowlake.writing import DataFile


def file_urls(table: deltalake.DeltaTable) -> list[str]:
    """A table's live files as readers open them: deltalake escapes what the lake's path holds."""
    return [unquote(uri) for uri in table.file_uris()]


def live_files(flows: deltalake.DeltaTable) -> pl.DataFrame:
    """The files of a snapshot: path, size, rows, date, partition, and the ranges in its log.

    Columns: ``path``, ``size``, ``rows``, ``transit_gateway_rows`` (those with a
    ``resource_type``; null where the log does not say), ``date``, ``partition`` (struct of text),
    and the ``min.…`` and ``max.…`` columns of the statistics that any file has.
    """
    listed = pl.DataFrame(pa.table(flows.get_add_actions(flatten=True)))
    by = flows.metadata().partition_columns
    others = "null_count.resource_type"
    return listed.select(
        "path",
        size=pl.col("size_bytes"),
        rows=pl.col("num_records"),
        transit_gateway_rows=pl.col("num_records")
        - (pl.col(others) if others in listed.columns else pl.lit(None, pl.Int64)),
        date=pl.col("partition.date"),
        partition=pl.struct(pl.col(f"partition.{name}").cast(pl.String).alias(name) for name in by),
    ).hstack(listed.select(pl.col("^(min|max)[.].*$")))


def add(file: DataFile, *, data_change: bool = True) -> AddAction:
    """Make a file live; ``data_change`` is False if other files had its rows."""
    return AddAction(
        file.path, file.size, file.partition, file.modified, data_change, file.statistics
    )


def remove(file: Mapping[str, Any], *, data_change: bool = True) -> RemoveAction:
    """End a live file: its ``path``, ``size`` and ``partition`` as ``live_files`` has them."""
    return RemoveAction(
        path=file["path"],
        data_change=data_change,
        deletion_timestamp=int(datetime.now(UTC).timestamp() * 1000),
        size=file["size"],
        partition_values=file["partition"],
    )
