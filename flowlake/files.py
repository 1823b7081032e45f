"""A Delta table's files: which are live, how they come and go, and how those of flows are read."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import deltalake
import polars as pl
import pyarrow as pa
from deltalake.transaction import AddAction, RemoveAction

from flowlake.errors import LakeError
from flowlake.writing import DataFile

READ_ROWS = 250_000
"""Rows read at a time, with a column for every field; those that no row has a value in go."""


def file_urls(table: deltalake.DeltaTable) -> list[str]:
    """A table's live files as readers open them: deltalake escapes what the lake's path holds."""
    return [unquote(uri) for uri in table.file_uris()]


def live_files(flows: deltalake.DeltaTable) -> pl.DataFrame:
    """The files of a snapshot: path, size, rows, date, partition, and the ranges in its log.

    Columns: ``path``, ``size``, ``rows``, ``transit_gateway_rows`` (those with a
    ``resource_type``; null where the log does not say), ``date``, ``partition`` (struct of text),
    and the ``min.…`` and ``max.…`` columns of the statistics that any file has.
    """
    listed = pl.DataFrame(flows.get_add_actions(flatten=True))
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


def in_groups(files: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Cut files, in their order, into groups of at most so many rows; a larger file is alone."""
    begin = total = 0
    for number, has in enumerate(files["rows"]):
        if total + has > rows and number > begin:
            yield files[begin:number]
            begin, total = number, 0
        total += has
    yield files[begin:]


def read_flows(
    flows: deltalake.DeltaTable, root: str, files: pl.DataFrame, options: dict[str, str]
) -> pl.DataFrame:
    """Read some files of one partition of ``flows`` as ``write_flows`` takes them. Eager.

    Text is Categorical, the partition columns are filled, and columns that no row has a value in
    are left out.

    Args:
        flows: the table, which has the columns and their types.
        root: the table's folder.
        files: of ``live_files``; at least one.
        options: how Polars reaches the folder.

    Raises:
        LakeError: when the files do not have the rows that the log says.
    """
    partition: dict[str, str] = files["partition"][0]
    stored = pl.Schema(pa.schema(flows.schema()))
    parts = []
    for group in in_groups(files, READ_ROWS):
        scan = pl.scan_parquet(
            [f"{root}/{path}" for path in group["path"]],
            schema={name: kind for name, kind in stored.items() if name not in partition},
            hive_partitioning=False,
            missing_columns="insert",
            storage_options=options,
        )
        has, said = scan.select(pl.len()).collect().item(), group["rows"].sum()
        if has != said:
            raise LakeError(f"The log says {said:,} rows of files that have {has:,}.")
        texts = scan.with_columns(pl.col(pl.String).cast(pl.Categorical))
        for at in range(0, has, READ_ROWS):
            part = texts.slice(at, READ_ROWS).collect(engine="streaming")
            parts.append(part[[each.name for each in part if each.null_count() < part.height]])
    filled = [pl.lit(value).alias(name) for name, value in partition.items()]
    return pl.concat(parts, how="diagonal").with_columns(filled)


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
