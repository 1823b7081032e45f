"""Hunting in a lake, beside plain scans of Parquet as AWS delivers it: local, and on S3.

The Parquet has the same records, unsorted, one gzip-compressed file an object, no Bloom filter.
Both must find the same number of records. A rare address is written into three records of every
tenth object; the busy one is the sample's busiest server.
"""

import ipaddress
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.dataset as ds
from pyarrow.fs import FileSystem

import flowlake
from benchmarks import data, server
from benchmarks.data import RARE
from benchmarks.measuring import goal, middle, ratios, say, table
from flowlake.fields import DEFAULT_FORMAT
from flowlake.hunting import hunt, summarise
from flowlake.indicators import parse_indicator
from flowlake.storage import Access, delta_options, s3_filesystem

TOP = 1_000
LOCAL, REMOTE = 10, 2
"""The goals: times as fast as a scan of the Parquet; on S3, as its fastest scan."""

BUCKET = "bench-hunt"


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    objects, records, runs = (4, 10_000, 1) if quick else (40, data.RECORDS, 3)
    made = data.raw(DEFAULT_FORMAT, objects, records, parquet=True, rare=True)
    lake = data.folder() / "hunt-lake"
    flowlake.convert(made / "text", lake=lake)
    return _local(made / "parquet", lake, runs) + _remote(made / "parquet", lake, min(runs, 2))


def _local(parquet: Path, place: Path, runs: int) -> str:
    lake = flowlake.open_lake(place).connect()
    plain = duckdb.connect()
    plain.execute(f"CREATE VIEW flows AS SELECT * FROM read_parquet('{parquet}/**/*.parquet')")
    busiest = "SELECT srcaddr FROM flows GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 2"
    busy = next(text for (text,) in plain.sql(busiest).fetchall() if text != "-")
    eni = plain.sql("SELECT max(interface_id) FROM flows").fetchall()[0][0]
    some = [f"198.51.100.{host}" for host in range(1, 11)]
    absent = [str(ipaddress.ip_address("203.0.114.0") + host) for host in range(289)]
    [count] = plain.sql("SELECT count(*) FROM flows").fetchall()[0]
    hunted = {
        "a rare address": [RARE],
        "an address nobody has": ["203.0.114.1"],
        "the busiest address": [busy],
        "a /24 nobody has": ["203.0.114.0/24"],
        "a busy /24": ["198.51.100.0/24"],
        "300 addresses, 11 of them there": [RARE, *some, *absent],
        "an interface": [eni],
    }
    rows, found = [], dict[str, float]()
    for name, texts in hunted.items():
        row, found[name] = _row(lake, plain, texts, runs)
        rows.append([name, *row])
    columns = ["hunted", "records", "FlowLake", "unsorted Parquet", "ratio (processor)", "summary"]
    rare = found["a rare address"]
    return "\n".join(
        [
            f"## Hunting in {count:,} default-format records",
            "",
            f"Local disk, in one process, medians of {runs} runs in turn, milliseconds (and "
            "processor milliseconds). Unsorted Parquet is one gzip file an object, scanned by "
            f"DuckDB with `srcaddr = … OR dstaddr = …`. Both keep the newest {TOP:,} records.",
            *table(columns, rows),
            goal(
                f"Hunting a rare address, local: {LOCAL} times a scan of unsorted Parquet",
                f"{rare:.1f} times",
                rare >= LOCAL,
            ),
            "",
            "",
        ]
    )


def _row(
    lake: duckdb.DuckDBPyConnection,
    plain: duckdb.DuckDBPyConnection,
    hunted: Sequence[str],
    runs: int,
) -> tuple[list[str], float]:
    indicators = [parse_indicator(text) for text in hunted]
    where = _where(hunted)
    newest = f'SELECT * FROM flows WHERE {where} ORDER BY start DESC, "end" DESC LIMIT {TOP}'
    times: list[tuple[tuple[float, float], ...]] = []
    for number in range(runs + 1):
        ours, rows = _timed(lambda: hunt(lake, indicators, top=TOP).to_arrow_table())
        theirs, expected = _timed(lambda: plain.sql(newest).to_arrow_table())
        summary, _ = _timed(lambda: summarise(lake, indicators, top=TOP).to_arrow_table())
        if rows != expected:
            raise SystemExit(f"{hunted}: {rows} records in the lake, {expected} in the Parquet")
        if number:  # the first warms the disk's cache
            times.append((ours, theirs, summary))
    [found] = plain.sql(f"SELECT count(*) FROM flows WHERE {where}").fetchall()[0]
    ours_, theirs_, summary_ = (
        [statistics.median(run[which][clock] for run in times) * 1000 for clock in (0, 1)]
        for which in range(3)
    )
    ratio = theirs_[0] / ours_[0]
    cells = [f"{wall:.0f} ({cpu:.0f})" for wall, cpu in (ours_, theirs_, summary_)]
    cells.insert(2, f"{ratio:.1f} ({theirs_[1] / ours_[1]:.1f})")
    return [f"{found:,}", *cells], ratio


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


def _timed(make: Callable[[], Any]) -> tuple[tuple[float, float], int]:
    """Wall and processor seconds of an answer, and how many rows it has."""
    wall, cpu = time.perf_counter(), time.process_time()
    rows = len(make())
    return (time.perf_counter() - wall, time.process_time() - cpu), rows


def _remote(parquet: Path, lake: Path, runs: int) -> str:
    """Hunt the rare address on S3, opened anew each time, through each door there is."""
    places = {
        "lake": server.upload(lake, BUCKET, "lake"),
        "Parquet": server.upload(parquet, BUCKET, "parquet"),
    }
    rows, goals = [], list[str]()
    for server_place in server.PLACES:
        found: dict[tuple[str, str], list[float]] = {}
        with server.reached_from(server_place):
            files = {
                "lake": flowlake.open_lake(places["lake"]).files(),
                "Parquet": s3_filesystem(Access()).glob(f"{places['Parquet']}/**/*.parquet"),
            }
            ways: dict[tuple[str, str], Callable[[], Any]] = {
                ("lake", "FlowLake"): lambda: (
                    flowlake.open_lake(places["lake"]).hunt(RARE).to_arrow_table()
                )
            }
            for what, paths in files.items():
                keys = [path.removeprefix("s3://") for path in paths]
                for door, scan in DOORS.items():
                    ways[what, door] = partial(scan, keys)
            rows_found = set()
            for number in range(runs + 1):
                for way, work in ways.items():
                    s3_filesystem(Access()).invalidate_cache()
                    (wall, _), count = _timed(work)
                    rows_found.add(count)
                    if number:
                        found.setdefault(way, []).append(wall)
                        say(f"{server_place}, {way}: {wall:.2f} s")
        if len(rows_found) > 1:
            raise SystemExit(f"the doors disagree: {rows_found} records")
        best = min((way for way in found if way[0] == "Parquet"), key=lambda w: sum(found[w]))
        ours = found["lake", "FlowLake"]
        for (what, door), walls in found.items():
            ratio = "" if walls is ours else middle(ratios(walls, ours), 1)
            rows.append([server_place, what, door, middle(walls), ratio])
        each = ratios(found[best], ours)
        goals.append(
            goal(
                f"Hunting a rare address on S3, {server_place}: {REMOTE} times the fastest scan of "
                f"unsorted Parquet there",
                f"{middle(each, 1)} times {best[1]}",
                statistics.median(each) >= REMOTE,
            )
        )
    columns = ["server", "", "door", "seconds", "FlowLake is … times as fast"]
    return "\n".join(
        [
            "### A rare address on S3",
            "",
            "`open_lake` and `hunt` through the door that FlowLake chooses, and hand-written scans "
            "of the lake's files and of the unsorted Parquet, whose files they are told. In one "
            "process; nothing but connections is kept from run to run.",
            *table(columns, rows),
            *goals,
            "",
        ]
    )


def _by_duckdb(keys: Sequence[str]) -> Any:
    connection = duckdb.connect()
    connection.register_filesystem(s3_filesystem(Access()))
    connection.execute("SET threads = 32")
    files = [f"s3://{key}" for key in keys]
    return connection.sql(
        f"SELECT * FROM read_parquet({files}) WHERE {_where([RARE])}"
    ).to_arrow_table()


def _by_pyarrow(keys: Sequence[str]) -> Any:
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    filesystem, _ = FileSystem.from_uri(
        f"s3://{BUCKET}?endpoint_override={endpoint.removeprefix('http://')}&scheme=http"
    )
    rare = (ds.field("srcaddr") == RARE) | (ds.field("dstaddr") == RARE)
    return ds.dataset(list(keys), format="parquet", filesystem=filesystem).to_table(filter=rare)


def _by_polars(keys: Sequence[str]) -> Any:
    files = [f"s3://{key}" for key in keys]
    rows = pl.scan_parquet(
        files, storage_options=delta_options(files[0], Access()), hive_partitioning=False
    )
    return rows.filter((pl.col("srcaddr") == RARE) | (pl.col("dstaddr") == RARE)).collect()


DOORS: dict[str, Callable[[Sequence[str]], Any]] = {
    "DuckDB over s3fs": _by_duckdb,
    "PyArrow dataset": _by_pyarrow,
    "Polars": _by_polars,
}
"""Ways to read Parquet on S3."""
