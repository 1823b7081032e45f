"""Every saved query on the lake, beside the same SQL on the raw text and on AWS-like Parquet.

All fields of version 11. The text is read by DuckDB's CSV reader, typed as the lake is; the
Parquet is as AWS delivers it: one gzip-compressed file for each object, unsorted, ``-`` for what
is missing. The text is a part of the records, and its time is scaled up to all of them: a scan
takes as long as there is text. The answers must agree with the lake's.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import duckdb
import polars as pl

from benchmarks import data
from benchmarks.measuring import goal, say, table
from flowlake.catalog import Question, questions
from flowlake.converting import convert
from flowlake.fields import FIELDS, LAKE_COLUMNS, SQL_TYPES, Field
from flowlake.lake import Lake, open_lake
from flowlake.layout import parse_key
from flowlake.queries import bind, equip, run
from flowlake.samples import EVERY_FIELD_FORMAT, START

TEXT, PARQUET = 50, 1.5
"""The goals: times as fast as on each."""

SINCE = START - timedelta(hours=1)
"""Before all records, for the questions that need a beginning."""

Answer = Callable[[], pl.DataFrame]


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    objects, records, part, runs = (4, 10_000, 2, 1) if quick else (30, data.RECORDS, 6, 3)
    made = data.raw(EVERY_FIELD_FORMAT, objects, records, parquet=True)
    place = str(data.folder() / "queries-lake")
    convert(made / "text", lake=place)
    lake = open_lake(place)
    files = sorted(str(file) for file in made.glob("text/**/*.gz"))
    flow_log = parse_key(files[0]).flow_log_id or ""
    text = open_text(files[:part], flow_log)
    delivered = open_parquet(f"{made}/parquet/**/*.parquet", flow_log)
    share = objects / part
    rows, ratios = [], list[tuple[float, float]]()
    for asked in questions():
        in_sql, in_polars = _lake(lake, asked)
        of_text, of_parquet = (_raw(each, asked) for each in (text, delivered))
        _agree(asked.name, in_sql(), of_parquet())
        ours, theirs = _in_turn(runs, in_sql, of_parquet)
        polars = _seconds(in_polars)
        raw = share * _seconds(of_text)
        ratios.append((raw / ours, theirs / ours))
        rows.append(
            [
                *(asked.name, f"{ours:.3f}", f"{polars:.3f}", f"{theirs:.3f}", f"{raw:.2f}"),
                *(f"{theirs / ours:.1f}", f"{raw / ours:.0f}"),
            ]
        )
        say(" | ".join(rows[-1]))
    columns = ["query", "lake, SQL", "lake, Polars", "Parquet, SQL", "text, SQL"]
    than_text, than_parquet = (sorted(each) for each in zip(*ratios, strict=True))
    return "\n".join(
        [
            f"## {objects * records:,} records of version 11, {objects} objects: every saved query",
            "",
            f"Seconds with the defaults, in one process. The lake in SQL and the Parquet: medians "
            f"of {runs} runs in turn; the lake in Polars: one run. The text: one run on {part} of "
            f"the objects, times {share:g}. Lake {data.size(data.folder() / 'queries-lake'):.0f} "
            f"MB, Parquet {data.size(made / 'parquet'):.0f} MB, text "
            f"{data.size(made / 'text'):.0f} MB of gzip.",
            *table([*columns, "times Parquet", "times text"], rows),
            f"Least: {than_parquet[0]:.1f} times the Parquet, {than_text[0]:.0f} times the text.",
            "",
            *(
                _goal(what, least, each)
                for what, least, each in (
                    ("gzipped text", TEXT, than_text),
                    ("unsorted Parquet, a file an object", PARQUET, than_parquet),
                )
            ),
            "",
        ]
    )


def _goal(what: str, least: float, ratios: Sequence[float]) -> str:
    ratio = statistics.median(ratios)
    return goal(
        f"Saved queries on the lake, {least:g} times as fast as on {what}, median of {len(ratios)}",
        f"{ratio:.1f} times ({ratios[0]:.1f} to {ratios[-1]:.1f})",
        ratio >= least,
    )


def open_text(files: Sequence[str], flow_log: str) -> duckdb.DuckDBPyConnection:
    """A connection whose ``flows`` is the text itself, with the lake's columns and types.

    What only an object's name says, the flow log's id, is told: there is one.
    """
    kinds = ", ".join(
        f"'{field.name}': '{'BIGINT' if field.type == 'time' else SQL_TYPES[field.type]}'"
        for field in _fields()
    )
    return _open(
        f"read_csv({list(files)}, delim = ' ', header = true, nullstr = '-', "
        f"columns = {{{kinds}}})",
        flow_log,
        lambda field: f'"{field.name}"',
    )


def open_parquet(files: str, flow_log: str) -> duckdb.DuckDBPyConnection:
    """The same of Parquet as AWS delivers it."""

    def shown(field: Field) -> str:
        name = '"' + field.name.replace("-", "_") + '"'
        return f"nullif({name}, '-')" if field.type == "text" else name

    return _open(f"read_parquet('{files}')", flow_log, shown)


def _fields() -> list[Field]:
    return [field for field in FIELDS if field.name in EVERY_FIELD_FORMAT]


def _open(source: str, flow_log: str, shown: Callable[[Field], str]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    equip(connection)
    there = {field.name for field in _fields()}
    known = {"flow_log_id": f"'{flow_log}'"}
    columns = [
        f"CAST(NULL AS {SQL_TYPES[field.type]}) AS {field.column}"
        if field.name not in there
        else f"to_timestamp({shown(field)}) AS {field.column}"
        if field.type == "time"
        else f"{shown(field)} AS {field.column}"
        for field in FIELDS
    ]
    columns += [
        f"CAST({known.get(each.column, 'NULL')} AS {SQL_TYPES[each.type]}) AS {each.column}"
        for each in LAKE_COLUMNS
    ]
    connection.execute(f"CREATE VIEW flows AS SELECT {', '.join(columns)} FROM {source}")
    connection.execute("CREATE VIEW history AS FROM flows LIMIT 0")
    return connection


def _lake(lake: Lake, asked: Question) -> tuple[Answer, Answer]:
    """A question's answer in SQL and in Polars."""
    since = SINCE if asked.query.history else None
    values = bind(asked.query, {})

    def in_polars() -> pl.DataFrame:
        frames = [lake.flows(since=since)]
        if asked.query.history is not None and since is not None:
            frames.append(lake.history(since, values[asked.query.history]))
        return asked.twin(*frames, **values).collect()

    return lambda: lake.query(asked.name, since=since).pl(), in_polars


def _raw(connection: duckdb.DuckDBPyConnection, asked: Question) -> Answer:
    return lambda: run(connection, asked.query).pl()


def _agree(name: str, ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    if not ours.equals(theirs):
        raise SystemExit(f"{name} differs: the lake says\n{ours}\nthe Parquet\n{theirs}")


def _in_turn(runs: int, ours: Answer, theirs: Answer) -> tuple[float, float]:
    times = [(_seconds(ours), _seconds(theirs)) for _ in range(runs)]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


def _seconds(ask: Answer) -> float:
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started
