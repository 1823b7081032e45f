"""Every saved query on the lake, beside the same SQL on the raw text.

`python -m benchmarks queries [RECORDS]` makes the objects (seeded, all fields of version 11),
converts them, and asks each question, with its defaults, on the lake in SQL and in Polars, and once
on the gzipped text through DuckDB's CSV reader, typed as the lake is. The answers must be the same.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice

import duckdb
import polars as pl

from flowlake.catalog import Question, questions
from flowlake.converting import convert
from flowlake.fields import FIELDS, LAKE_COLUMNS, SQL_TYPES
from flowlake.lake import Lake, open_lake
from flowlake.queries import bind, equip, run
from flowlake.samples import EVERY_FIELD_FORMAT, START, sample_objects
from flowlake.storage import open_storage

RUNS = 3
RECORDS_PER_OBJECT = 250_000
RECORDS = 10_000_000


def section(records: int = RECORDS) -> str:
    """Measure, and write the page."""
    objects = max(2, records // RECORDS_PER_OBJECT)
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/raw"
        sample = sample_objects(
            hours=-(-objects // 12),
            every=1,
            records_per_object=RECORDS_PER_OBJECT,
            accounts=["123456789010"],
            regions=["us-east-1"],
            formats=[EVERY_FIELD_FORMAT],
        )
        for key, body in islice(sample, 1, objects + 1):  # the first holds two records of 2015
            open_storage(source).put(f"{source}/{key}", body)
        convert(source, lake=f"{folder}/lake")
        lake = open_lake(f"{folder}/lake")
        text = open_text(source)
        lines = [
            "",
            f"## {objects * RECORDS_PER_OBJECT:,} records of version 11, {objects} objects: "
            "every saved query",
            "",
            "Seconds with the defaults, in one process: the lake in SQL and in Polars (medians of "
            f"{RUNS}), and the same SQL once on the gzipped text (DuckDB's CSV reader, typed as "
            "the lake).",
            "",
            "| query | lake, SQL | lake, Polars | text, SQL | times faster |",
            "|---|---|---|---|---|",
        ]
        ratios = []
        for asked in questions():
            sql, polars, raw = _timed(asked, lake, text)
            ratios.append(raw / sql)
            lines.append(
                f"| {asked.name} | {sql:.3f} | {polars:.3f} | {raw:.2f} | {raw / sql:.0f} |"
            )
            print(lines[-1], file=sys.stderr)
        lines.append(
            f"\nMedian: {statistics.median(ratios):.0f} times faster than on text; least: "
            f"{min(ratios):.0f} times."
        )
    return "\n".join(lines) + "\n"


def open_text(source: str) -> duckdb.DuckDBPyConnection:
    """A connection whose ``flows`` is the text itself, with the lake's columns and types."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    equip(connection)
    columns = {
        field.name: "BIGINT" if field.type == "time" else SQL_TYPES[field.type]
        for name in EVERY_FIELD_FORMAT
        for field in FIELDS
        if field.name == name
    }
    typed = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    shown = [
        f'to_timestamp("{field.name}") AS {field.column}'
        if field.type == "time"
        else f'"{field.name}" AS {field.column}'
        if field.name in columns
        else f"CAST(NULL AS {SQL_TYPES[field.type]}) AS {field.column}"
        for field in FIELDS
    ]
    shown += [f"CAST(NULL AS {SQL_TYPES[each.type]}) AS {each.column}" for each in LAKE_COLUMNS]
    connection.execute(
        f"CREATE VIEW flows AS SELECT {', '.join(shown)} FROM read_csv('{source}/**/*.log.gz', "
        f"delim = ' ', header = true, nullstr = '-', columns = {{{typed}}})"
    )
    connection.execute("CREATE VIEW history AS FROM flows LIMIT 0")
    return connection


def _timed(
    asked: Question, lake: Lake, text: duckdb.DuckDBPyConnection
) -> tuple[float, float, float]:
    since = START if asked.query.history else None
    values = bind(asked.query, {})

    def in_polars() -> pl.DataFrame:
        frames = [lake.flows(since=since)]
        if asked.query.history is not None and since is not None:
            frames.append(lake.history(since, values[asked.query.history]))
        return asked.twin(*frames, **values).collect()

    sql = [_seconds(lambda: lake.query(asked.name, since=since).pl()) for _ in range(RUNS)]
    polars = [_seconds(in_polars) for _ in range(RUNS)]
    return (
        statistics.median(sql),
        statistics.median(polars),
        _seconds(lambda: run(text, asked.query).pl()),
    )


def _seconds(ask: Callable[[], pl.DataFrame]) -> float:
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started
