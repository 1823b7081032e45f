"""What others would do with the same objects: text into Parquet, typed, compressed by zstd.

``python -m benchmarks.peers NAME SOURCE TARGET FIELD,…``, each as a whole process. They are told
the fields and their types. None of them keeps a ledger or rejected lines, sorts, or writes Bloom
filters. DuckDB partitions by date, as a lake is; the others need not.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from flowlake.fields import field_for

OBJECTS = "**/*.log.gz"

Convert = Callable[[str, str, Sequence[str]], object]
T = TypeVar("T")


def duckdb_copy(source: str, target: str, header: Sequence[str]) -> None:
    """DuckDB's COPY; on S3 through s3fs, with more threads, which are its requests in flight."""
    import duckdb

    connection = duckdb.connect()
    if source.startswith("s3://"):
        import s3fs

        connection.register_filesystem(s3fs.S3FileSystem())
        connection.execute("SET threads = 16")
    typed = ", ".join(
        f"'{name}': '{kind}'"
        for name, kind in _kinds(header, "VARCHAR", "INTEGER", "BIGINT").items()
    )
    connection.execute(
        f"""COPY (SELECT *, to_timestamp("start")::DATE AS date
                  FROM read_csv('{source}/{OBJECTS}', delim = ' ', header = true, nullstr = '-',
                                columns = {{{typed}}}))
            TO '{target}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date),
                          OVERWRITE_OR_IGNORE)"""
    )


def polars_sink(source: str, target: str, header: Sequence[str]) -> None:
    import polars as pl

    kinds = _kinds(header, pl.String, pl.Int32, pl.Int64)
    rows = pl.scan_csv(f"{source}/{OBJECTS}", separator=" ", null_values="-", schema=kinds)
    rows.sink_parquet(f"{target}/all.parquet", compression="zstd", mkdir="://" not in target)


def pyarrow_csv(source: str, target: str, header: Sequence[str]) -> None:
    """An object for each core at a time: faster than one object after the other on all cores."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    types = _kinds(header, pa.string(), pa.int32(), pa.int64())

    def convert(file: Path) -> None:
        with pa.input_stream(str(file), compression="gzip") as text:
            rows = csv.open_csv(
                text,
                read_options=csv.ReadOptions(use_threads=False, block_size=4 << 20),
                parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
                convert_options=csv.ConvertOptions(
                    column_types=types, null_values=["-"], strings_can_be_null=True
                ),
            )
            into = f"{target}/{file.name}.parquet"
            with pq.ParquetWriter(into, rows.schema, compression="zstd") as writer:
                for batch in rows:
                    writer.write_batch(batch)

    Path(target).mkdir()
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        list(pool.map(convert, sorted(Path(source).glob(OBJECTS))))


def chdb_insert(source: str, target: str, header: Sequence[str]) -> None:
    import chdb

    kinds = _kinds(header, "String", "Int32", "Int64")
    typed = ", ".join(f"`{name}` Nullable({kind})" for name, kind in kinds.items())
    Path(target).mkdir()
    chdb.query(
        f"""INSERT INTO FUNCTION file('{target}/all.parquet', 'Parquet')
            SELECT * FROM file('{source}/{OBJECTS}', 'CSVWithNames', '{typed}')
            SETTINGS format_csv_delimiter = ' ', format_csv_null_representation = '-',
                     input_format_csv_allow_whitespace_or_tab_as_delimiter = 1,
                     output_format_parquet_compression_method = 'zstd'"""
    )


def pyspark_write(source: str, target: str, header: Sequence[str]) -> None:
    from pyspark.sql import SparkSession

    kinds = _kinds(header, "STRING", "INT", "BIGINT")
    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    rows = spark.read.option("recursiveFileLookup", True).csv(
        source,
        sep=" ",
        header=True,
        nullValue="-",
        schema=", ".join(f"`{name}` {kind}" for name, kind in kinds.items()),
    )
    rows.write.option("compression", "zstd").parquet(target)
    spark.stop()


def flowlogs_reader(source: str, target: str, _: Sequence[str]) -> None:
    """Records as Python objects, the way its reader of S3 makes them, and counted: no Parquet."""
    import csv
    import gzip
    import warnings

    from flowlogs_reader import FlowRecord

    warnings.simplefilter("ignore", DeprecationWarning)
    count = 0
    for file in sorted(Path(source).glob(OBJECTS)):
        with gzip.open(file, mode="rt") as text:
            rows: csv.DictReader[str] = csv.DictReader(text, delimiter=" ")
            rows.fieldnames = [name.replace("-", "_") for name in rows.fieldnames or ()]
            for row in rows:
                FlowRecord(row)
                count += 1
    Path(target).mkdir()
    Path(target, "count").write_text(str(count))


def _kinds(header: Sequence[str], text: T, int32: T, number: T) -> dict[str, T]:
    """Each field's type by the peer's names for them; times are numbers, as in the text."""
    kinds = {"text": text, "int32": int32}
    return {name: kinds.get(field_for(name).type, number) for name in header}


PEERS: dict[str, Convert] = {
    "DuckDB COPY": duckdb_copy,
    "Polars sink_parquet": polars_sink,
    "PyArrow CSV": pyarrow_csv,
    "chDB INSERT": chdb_insert,
    "PySpark": pyspark_write,
    "flowlogs-reader": flowlogs_reader,
}

LOCAL = ("DuckDB COPY", "Polars sink_parquet", "PyArrow CSV", "chDB INSERT")
"""Those that convert all of it; the others are too slow for that, and get a part."""

REMOTE = ("DuckDB COPY", "Polars sink_parquet")
"""Those that read and write S3 themselves."""


def command(name: str, source: str, target: str, header: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers", name, source, target, ",".join(header)]


if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2], sys.argv[3], sys.argv[4].split(","))
