"""Canonical frames -> sorted, encoded Parquet files, one or more a partition.

Rows are ordered by hour, interface and source, so that files compress and their statistics
prune. Text travels as integers into a sorted dictionary from the parser to the Parquet page:
the order is computed on integers and no text is built again.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowlake.layout import partition_path
from flowlake.storage import Storage

ROW_GROUP = 122_880
"""Rows of a row group: DuckDB's own size, so that one group feeds one of its threads."""

BATCH = 1 << 14
"""Values that PyArrow encodes at once; its default of 1,024 takes a tenth longer."""

BLOOM_COLUMNS = ("srcaddr", "dstaddr", "interface_id")
BLOOM_FALSE_POSITIVES = 0.01

PLAIN = ("bytes", "srcport", "dstport")
"""Numbers of so many values that a dictionary of them costs more than it saves."""

STATISTICS = ("start_time", "end_time", *BLOOM_COLUMNS, "account_id", "region", "resource_type")
"""Columns whose range and nulls each file's entry in the log always states."""

LONGEST_STATISTIC = 64
"""Characters of a text that stand in the log: any name of AWS's has fewer."""

SORT_BY = ("interface_id", "srcaddr")
HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file that lies in the lake, not yet visible: what its commit must say of it."""

    path: str
    """Relative to the table's folder."""
    size: int
    partition: dict[str, str]
    rows: int
    statistics: str
    """Delta's statistics as JSON: numRecords, minValues, maxValues, nullCount."""
    modified: int
    """Milliseconds since 1970."""


@dataclass(slots=True)
class _Dictionary:
    """A text column as integers into its sorted, distinct values; -1 is null."""

    codes: npt.NDArray[np.int32]
    values: pa.Array


def write_flows(
    frames: Sequence[pl.DataFrame],
    *,
    schema: pa.Schema,
    partition_by: Sequence[str],
    table_url: str,
    storage: Storage,
) -> list[DataFile]:
    """Write canonical frames into the flows table's folder, at once.

    Each partition gets one file, or two if it has both records of VPC flow logs and others.

    Args:
        frames: columns of the lake, text as Categorical, with the partition columns filled.
        schema: the table's stored schema; a file has the columns of it that hold a value.
        partition_by: the table's partition columns.
        table_url: the table's folder.
        storage: where the folder lies.

    Raises:
        StorageError: when a file cannot be written; files already written stay invisible.
    """
    within = pa.schema([field for field in schema if field.name not in partition_by])
    written: list[DataFile] = []
    for key, parts in _by_partition(frames, partition_by).items():
        partition = dict(zip(partition_by, key, strict=True))
        written += [
            _write_file(part, within, partition, table_url, storage)
            for part in _apart(pl.concat(parts, how="diagonal"))
        ]
    return written


def write_table(
    table: pa.Table, *, table_url: str, storage: Storage, partition: dict[str, str] | None = None
) -> DataFile:
    """Write an Arrow table as it stands as one Parquet file of an unpartitioned Delta table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return _put(sink.getvalue(), table.num_rows, partition or {}, {}, table_url, storage)


def _apart(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """The records of VPC flow logs and the others, so that no file holds both."""
    if "resource_type" not in rows.columns:
        return [rows]
    vpc = rows["resource_type"].is_null()
    return [rows.filter(vpc), rows.filter(~vpc)] if 0 < vpc.sum() < rows.height else [rows]


def _by_partition(
    frames: Sequence[pl.DataFrame], partition_by: Sequence[str]
) -> dict[tuple[object, ...], list[pl.DataFrame]]:
    """The frames of each partition; a frame of one partition, as most are, is not copied."""
    parts: dict[tuple[object, ...], list[pl.DataFrame]] = {}
    for frame in frames:
        if all(frame[column].n_unique() == 1 for column in partition_by):
            key = tuple(frame[column][0] for column in partition_by)
            parts.setdefault(key, []).append(frame.drop(partition_by))
        elif frame.height:
            split = frame.partition_by(*partition_by, as_dict=True, include_key=False)
            for key, part in split.items():
                parts.setdefault(key, []).append(part)
    return parts


def _write_file(
    part: pl.DataFrame,
    schema: pa.Schema,
    partition: dict[str, Any],
    table_url: str,
    storage: Storage,
) -> DataFile:
    rows = part.height
    part = part.select([column.name for column in part if column.null_count() < rows])
    dictionaries = {
        name: _dictionary(part[name])
        for name, dtype in part.schema.items()
        if isinstance(dtype, pl.Categorical)
    }
    order = _order(part, dictionaries)
    # One chunk first: to gather from many takes thrice as long.
    numbers = part.select(pl.exclude(list(dictionaries))).rechunk()[order]
    places = order.to_numpy().astype(np.intp)
    for column in dictionaries.values():
        column.codes = column.codes[places]
    text = pa.dictionary(pa.int32(), pa.string())
    # A column of nulls alone is left out: readers of the table fill it in, and writing it would
    # take a third of the time.
    written_as = pa.schema(
        [
            pa.field(f.name, text if f.name in dictionaries and f.type == pa.string() else f.type)
            for f in schema
            if f.name in part.columns
        ]
    )
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        written_as,
        compression="zstd",
        store_schema=False,
        write_batch_size=BATCH,
        use_dictionary=[name for name in written_as.names if name not in PLAIN],
        bloom_filter_options={
            name: {
                "ndv": max(1, min(ROW_GROUP, len(dictionaries[name].values))),
                "fpp": BLOOM_FALSE_POSITIVES,
            }
            for name in BLOOM_COLUMNS
            if name in dictionaries and name in written_as.names
        },
    ) as writer:
        for group in _row_groups(rows, numbers, dictionaries, written_as):
            writer.write_table(group, row_group_size=ROW_GROUP)
    return _put(
        sink.getvalue(),
        rows,
        {column: str(value) for column, value in partition.items()},
        _statistics(rows, part, dictionaries, partition),
        table_url,
        storage,
    )


def _dictionary(column: pl.Series) -> _Dictionary:
    values = column.unique().drop_nulls()
    texts = values.cast(pl.String)
    by_text = texts.arg_sort()
    codes = values.to_physical().to_numpy()
    ranks = np.full(int(codes.max()) + 1 if len(codes) else 1, -1, np.int32)
    ranks[codes[by_text.to_numpy()]] = np.arange(len(codes), dtype=np.int32)
    physical = column.to_physical()
    if column.null_count():
        found = ranks[physical.fill_null(0).to_numpy()]
        found[column.is_null().to_numpy()] = -1
    else:
        found = ranks[physical.to_numpy()]
    return _Dictionary(found, texts[by_text].to_arrow().cast(pa.string()))


def _order(part: pl.DataFrame, dictionaries: dict[str, _Dictionary]) -> pl.Series:
    """The rows' order by hour, interface and source, by one packed integer."""
    key = np.zeros(part.height, np.uint64)
    if "start_time" in part.columns:
        hours = part["start_time"].to_physical().fill_null(0).to_numpy() // HOUR
        key = (hours - hours.min()).astype(np.uint64)
    for name in SORT_BY:
        if name in dictionaries:
            column = dictionaries[name]
            bits = np.uint64(int(len(column.values) + 1).bit_length())
            key = (key << bits) | (column.codes + 1).astype(np.uint64)
    return pl.Series(key).arg_sort()


def _row_groups(
    height: int, numbers: pl.DataFrame, dictionaries: dict[str, _Dictionary], schema: pa.Schema
) -> Iterator[pa.Table]:
    for at in range(0, height, ROW_GROUP):
        rows = min(ROW_GROUP, height - at)
        columns = []
        for field in schema:
            if field.name in dictionaries:
                column = dictionaries[field.name]
                array = _compact(column.codes[at : at + rows], column.values)
            else:
                array = numbers[field.name][at : at + rows].to_arrow()
            columns.append(array if array.type == field.type else array.cast(field.type))
        yield pa.table(columns, schema=schema)


def _compact(codes: npt.NDArray[np.int32], values: pa.Array) -> pa.DictionaryArray:
    """A dictionary array of these codes that carries only the values they use."""
    used = np.zeros(len(values) + 1, np.bool_)
    used[codes] = True  # -1, null, marks the last place, which holds no value
    there = _bits(codes >= 0) if used[-1] else None
    again = (np.cumsum(used) - 1).astype(np.int32)
    # Not pa.array, which imports pandas where there is one.
    indices = pa.Array.from_buffers(pa.int32(), len(codes), [there, pa.py_buffer(again[codes])])
    kept = pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(used[:-1])])
    return pa.DictionaryArray.from_arrays(indices, values.filter(kept))


def _bits(flags: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _statistics(
    rows: int,
    part: pl.DataFrame,
    dictionaries: dict[str, _Dictionary],
    partition: dict[str, Any],
) -> dict[str, Any]:
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in STATISTICS:
        if name in partition:
            continue
        nulls[name] = part[name].null_count() if name in part.columns else rows
        if nulls[name] == rows:
            continue
        if name in dictionaries:
            values = dictionaries[name].values
            least[name], most[name] = _bounds(values[0].as_py(), values[-1].as_py())
        else:
            low, high = part[name].min(), part[name].max()
            assert isinstance(low, datetime)
            assert isinstance(high, datetime)
            least[name], most[name] = _instant(low), _instant(high)
    return {"minValues": least, "maxValues": most, "nullCount": nulls}


def _bounds(least: str, most: str) -> tuple[str, str]:
    """Texts of bounded length that all from ``least`` to ``most`` lie between."""
    if len(most) > LONGEST_STATISTIC:
        most = most[:LONGEST_STATISTIC] + "\U0010ffff"
    return least[:LONGEST_STATISTIC], most


def _instant(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}Z"


def _put(
    body: pa.Buffer,
    rows: int,
    partition: dict[str, str],
    statistics: dict[str, Any],
    table_url: str,
    storage: Storage,
) -> DataFile:
    name = f"{uuid.uuid4().hex}.zstd.parquet"
    path = f"{partition_path(partition)}/{name}" if partition else name
    storage.put(f"{table_url}/{path}", body)
    return DataFile(
        path=path,
        size=body.size,
        partition={column: str(value) for column, value in partition.items()},
        rows=rows,
        statistics=json.dumps({"numRecords": rows, **statistics}),
        modified=int(datetime.now(UTC).timestamp() * 1000),
    )
