"""Hunting in a lake, beside a plain DuckDB scan of Parquet as AWS delivers it.

`python -m benchmarks hunt` makes the records (seeded), converts them to a lake, writes
them beside it as unsorted Parquet, one gzip-compressed file an object and no Bloom filter, then
hunts in both in turn. Both must find the same number of records. A rare address
is written into three records of every tenth object; the busy one is the sample's busiest server.
"""

import ipaddress
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import flowlake
from flowlake.fields import BY_NAME, DEFAULT_FORMAT, arrow_type
from flowlake.hunting import hunt, summarise
from flowlake.indicators import parse_indicator
from flowlake.samples import object_bytes, sample_tables
from flowlake.storage import open_storage

RUNS = 7
RECORDS = 10_000_000
RECORDS_PER_OBJECT = 250_000
RARE = "192.0.2.255"
TOP = 1_000


def section(records: int = RECORDS) -> str:
    """Measure, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        _make(Path(folder), max(1, records // RECORDS_PER_OBJECT))
        return _compared(Path(folder))


def _make(folder: Path, objects: int) -> None:
    """The same records three times: as text, as Parquet by object, and as a lake."""
    (folder / "plain").mkdir()
    sample = sample_tables(
        hours=-(-objects // 12),
        every=1,
        records_per_object=RECORDS_PER_OBJECT,
        accounts=["123456789010"],
        regions=["us-east-1"],
        formats=[DEFAULT_FORMAT],
    )
    schema = pa.schema(
        [
            (name.replace("-", "_"), pa.int64() if type_ == "time" else arrow_type(type_))
            for name in DEFAULT_FORMAT
            for type_ in (BY_NAME[name].type,)
        ]
    )
    storage = open_storage(str(folder))
    # The first object holds two records of 2015.
    for number, (key, sampled) in enumerate(islice(sample, 1, objects + 1)):
        row = pl.int_range(pl.len())
        table = sampled
        if number % 10 == 0:
            table = sampled.with_columns(
                srcaddr=pl.when(row == 1_000).then(pl.lit(RARE)).otherwise("srcaddr"),
                dstaddr=pl.when(row.is_in([1_001, 1_002])).then(pl.lit(RARE)).otherwise("dstaddr"),
            )
        storage.put(f"{folder}/raw/{key}", object_bytes(table))
        columns = [table[name].to_arrow().cast(arrow.type) for name, arrow in _pairs(schema)]
        delivered = pa.table(columns, schema=schema)
        pq.write_table(delivered, folder / "plain" / f"{number:06}.parquet", compression="gzip")
    flowlake.convert(folder / "raw", lake=folder / "lake")


def _pairs(schema: pa.Schema) -> list[tuple[str, pa.Field]]:
    return list(zip(DEFAULT_FORMAT, schema, strict=True))


def _compared(folder: Path) -> str:
    lake = flowlake.open_lake(folder / "lake").connect()
    plain = duckdb.connect()
    plain.execute(f"CREATE VIEW flows AS SELECT * FROM read_parquet('{folder}/plain/*.parquet')")
    busiest = "SELECT srcaddr FROM flows GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 2"
    busy = next(text for (text,) in plain.sql(busiest).fetchall() if text)
    eni = plain.sql("SELECT max(interface_id) FROM flows").fetchall()[0][0]
    some = [f"198.51.100.{host}" for host in range(1, 11)]
    absent = [str(ipaddress.ip_address("203.0.114.0") + host) for host in range(289)]
    count = plain.sql("SELECT count(*) FROM flows").fetchall()[0][0]
    lines = [
        f"## Hunting in {count:,} default-format records",
        "",
        f"DuckDB {version('duckdb')}, local disk, medians of {RUNS} runs in turn, milliseconds "
        "(and processor milliseconds). Unsorted Parquet is one gzip file an object, scanned with "
        f"`srcaddr = … OR dstaddr = …`. Both keep the newest {TOP:,} records.",
        "",
        "| hunted | records | FlowLake | unsorted Parquet | ratio (processor) | summary |",
        "|---|---|---|---|---|---|",
    ]
    for name, hunted in (
        ("a rare address", [RARE]),
        ("an address nobody has", ["203.0.114.1"]),
        ("the busiest address", [busy]),
        ("a /24 nobody has", ["203.0.114.0/24"]),
        ("a busy /24", ["198.51.100.0/24"]),
        ("300 addresses, 11 of them there", [RARE, *some, *absent]),
        ("an interface", [eni]),
    ):
        lines.append(f"| {name} | {_row(lake, plain, hunted)} |")
    return "\n".join(lines) + "\n"


def _row(
    lake: duckdb.DuckDBPyConnection, plain: duckdb.DuckDBPyConnection, hunted: Sequence[str]
) -> str:
    indicators = [parse_indicator(text) for text in hunted]
    where = _where(hunted)
    newest = f'SELECT * FROM flows WHERE {where} ORDER BY start DESC, "end" DESC LIMIT {TOP}'
    times: list[tuple[tuple[float, float], ...]] = []
    for number in range(RUNS + 1):
        ours, rows = _timed(lambda: hunt(lake, indicators, top=TOP))
        theirs, expected = _timed(lambda: plain.sql(newest))
        summary, _ = _timed(lambda: summarise(lake, indicators, top=TOP))
        if rows != expected:
            raise SystemExit(f"{hunted}: {rows} records in the lake, {expected} in the Parquet")
        if number:  # the first warms the disk's cache
            times.append((ours, theirs, summary))
    found = plain.sql(f"SELECT count(*) FROM flows WHERE {where}").fetchall()[0][0]
    medians = [
        tuple(statistics.median(run[which][clock] for run in times) * 1000 for clock in (0, 1))
        for which in range(3)
    ]
    ours_, theirs_, summary_ = medians
    return (
        f"{found:,} | {ours_[0]:.0f} ({ours_[1]:.0f}) | {theirs_[0]:.0f} ({theirs_[1]:.0f}) | "
        f"{theirs_[0] / ours_[0]:.1f} ({theirs_[1] / ours_[1]:.1f}) | "
        f"{summary_[0]:.0f} ({summary_[1]:.0f})"
    )


def _where(hunted: Sequence[str]) -> str:
    """The plain condition that somebody would write by hand."""
    [first, *others] = hunted
    if others:
        listed = ", ".join(f"'{text}'" for text in hunted)
        return f"srcaddr IN ({listed}) OR dstaddr IN ({listed})"
    if first.startswith("eni-"):
        return f"interface_id = '{first}'"
    if first.endswith("/24"):
        prefix = first.removesuffix("0/24")
        return f"srcaddr LIKE '{prefix}%' OR dstaddr LIKE '{prefix}%'"
    return f"srcaddr = '{first}' OR dstaddr = '{first}'"


def _timed(make: Callable[[], duckdb.DuckDBPyRelation]) -> tuple[tuple[float, float], int]:
    """Wall and processor seconds of an answer, and how many rows it has."""
    wall, cpu = time.perf_counter(), time.process_time()
    rows = make().to_arrow_table().num_rows
    return (time.perf_counter() - wall, time.process_time() - cpu), rows
