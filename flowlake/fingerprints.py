"""Each object's rows in a few numbers: how many, sums, extremes, and hashes of every value.

The numbers can be found in parts and in any order, so no side of a comparison is ever held in
memory: a raw object is summed up as it is read, the lake's files as they are scanned.
"""

from collections.abc import Callable, Mapping, Sequence
from zlib import crc32

import polars as pl

from flowlake.aws import explain
from flowlake.committing import Tables
from flowlake.errors import StorageError
from flowlake.storage import delta_options

Gaps = list[tuple[str, str, str]]
"""What does not agree: the kind of gap, the URL of the object, file or lake, and the details."""

SUMMED = ("bytes", "packets")
TIMES = ("start_time", "end_time")
WHOLE = "hash of whole rows"


def fingerprints(flows: pl.LazyFrame) -> pl.LazyFrame:
    """Sum up the rows of each ``object_id``. Lazy.

    Columns: ``rows``, ``sum of`` bytes and packets, ``least`` and ``greatest`` start_time and
    end_time, ``hash of`` each column and ``hash of whole rows``, as
    far as the frame has the columns.

    A column's hash is the sum, modulo 2**64, of the hashes of its values, so the order of the rows
    plays no part, and a value that is there twice counts twice. The hash of whole rows is that of
    each row's values together, so a value that has moved to another row shows too. A null adds
    nothing: a column that is absent equals one of nulls. Hashes are good for one process.
    """
    names = [name for name in flows.collect_schema().names() if name != "object_id"]
    hashes = [
        pl.when(pl.col(name).is_not_null())
        .then(pl.col(name).hash(crc32(name.encode())))
        .otherwise(pl.lit(0, pl.UInt64))
        .alias(f"hash of {name}")
        for name in names
    ]
    row = pl.sum_horizontal(f"hash of {name}" for name in names).hash().alias(WHOLE)
    times = [name for name in TIMES if name in names]
    return (
        flows.with_columns(hashes)
        .with_columns(row)
        .group_by("object_id")
        .agg(
            pl.len().alias("rows"),
            *(pl.col(name).sum().alias(f"sum of {name}") for name in SUMMED if name in names),
            *(pl.col(name).min().alias(f"least {name}") for name in times),
            *(pl.col(name).max().alias(f"greatest {name}") for name in times),
            pl.col([f"hash of {name}" for name in names]).sum(),
            pl.col(WHOLE).sum(),
        )
    )


def counts(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Only the ``rows`` of each ``object_id``. Lazy."""
    return rows.group_by("object_id").agg(rows=pl.len())


def merged(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Fingerprints of parts of the rows -> those of all the rows."""
    return (
        pl.concat(parts, how="diagonal")
        .group_by("object_id")
        .agg(
            pl.col("^(rows|sum of .*|hash of .*)$").sum(),
            pl.col("^least .*$").min(),
            pl.col("^greatest .*$").max(),
        )
    )


def of_files(
    paths: Sequence[str],
    ask: Callable[[pl.LazyFrame], pl.LazyFrame],
    tables: Tables,
    gaps: Gaps,
    *,
    columns: Mapping[str, pl.DataType],
    partitions: Mapping[str, pl.DataType] | None = None,
) -> pl.DataFrame:
    """Ask data files for the fingerprints of their rows. Eager, in bounded memory.

    Args:
        paths: the files; one that cannot be read is added to the gaps, and the others are asked.
        ask: ``fingerprints`` or ``counts`` of the rows, or of those that pass a filter.
        tables: the lake they lie in.
        gaps: where to add ``file damaged``.
        columns: the columns to read, with their types; where a file lacks one it is null.
        partitions: the columns to take from the files' folders.

    Raises:
        StorageError: when the files cannot be reached.
    """
    if not paths:
        return pl.DataFrame(schema={"object_id": pl.Int64, "rows": pl.UInt32})
    rows = pl.scan_parquet(
        list(paths),
        schema=dict(columns),
        hive_partitioning=bool(partitions),
        hive_schema=partitions or None,
        missing_columns="insert",
        extra_columns="ignore",
        storage_options=delta_options(tables.url, tables.access),
    )
    try:
        return ask(rows).collect(engine="streaming")
    except OSError as error:
        reason = explain(f"{type(error).__name__}: {error}")
        raise StorageError(f"The lake at {tables.url} cannot be read: {reason}.") from error
    except pl.exceptions.PolarsError as error:
        if len(paths) == 1:
            reason = str(error).splitlines()[0]
            gaps.append(("file damaged", paths[0], f"it cannot be read: {reason}"))
            return of_files((), ask, tables, gaps, columns=columns, partitions=partitions)
    half = len(paths) // 2  # Polars does not name the file
    return merged(
        [
            of_files(part, ask, tables, gaps, columns=columns, partitions=partitions)
            for part in (paths[:half], paths[half:])
        ]
    )
