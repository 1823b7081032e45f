"""Frames and reports for people and for programs: table, csv, json, parquet."""

import io
import json
import math
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import polars as pl

from flowlake.errors import StorageError, UsageError, visible
from flowlake.fields import COLUMNS

if TYPE_CHECKING:
    from flowlake.compacting import Compaction
    from flowlake.converting import Report
    from flowlake.estimating import Estimate

TABLE_ROWS = 500
"""Rows a table shows: nobody reads more, and the other formats have them all."""

SLICE_ROWS = 100_000
"""Rows of CSV in memory at a time."""

CODES = {each.column for each in COLUMNS if each.type == "int32"} | {
    *("object_id", "replaces", "port", "asn")
}
"""Columns whose numbers are names, not quantities: ports, protocols, flags, keys."""

COLOURS = {"ACCEPT": "green", "REJECT": "red"}
"""Verdicts to tell apart at a glance, on a terminal."""

FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
"""How a text begins that a spreadsheet would run (OWASP, "CSV Injection")."""

NUMBER = r"^[+-][0-9.]*$"
"""What begins so and is none: a number, or the ``-`` of AWS."""


class Format(StrEnum):
    """How an answer is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def write_frame(frame: pl.DataFrame, style: Format, output: Path | None = None) -> None:
    """Write a frame to a file, or to standard output.

    Raises:
        UsageError: for Parquet on a terminal.
        StorageError: when the file cannot be written.
    """
    if output is None and style is Format.parquet and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: add --output FILE, or redirect.")
    drawn = sys.stdout.isatty() or os.environ.get("FORCE_COLOR")
    if output is None and style is Format.table and drawn:
        sys.stdout.write(terminal_text(frame, shutil.get_terminal_size().columns))
        sys.stdout.flush()
    else:
        _to(output, lambda file: _write(frame, style, file))


def write_json(values: Sequence[Any], output: Path | None = None) -> None:
    """Write mappings as one JSON array, to a file or to standard output.

    Raises:
        StorageError: when the file cannot be written.
    """
    _to(output, lambda file: _put(file, _json(values)))


def _to(output: Path | None, write: Callable[[BinaryIO], None]) -> None:
    """Write to a file, or to standard output."""
    try:
        if output is not None:
            with output.open("wb") as file:
                write(file)
        else:
            write(sys.stdout.buffer)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except FileNotFoundError as error:
        raise StorageError(
            f"Cannot write {output}: there is no such folder; make it first."
        ) from error
    except OSError as error:
        where = output or "to standard output"
        raise StorageError(f"Cannot write {where}: {error.strerror}.") from error


def _write(frame: pl.DataFrame, style: Format, file: BinaryIO) -> None:
    if style is Format.csv:
        flat = _flat(frame)
        _put(file, flat.clear().write_csv().encode())
        for part in flat.iter_slices(SLICE_ROWS):
            text = part.write_csv(include_header=False, datetime_format="%Y-%m-%dT%H:%M:%SZ")
            _put(file, text.encode())
    elif style is Format.json:
        _put(file, _json(frame.to_dicts()))
    elif style is Format.parquet:
        body = io.BytesIO()  # Polars hides what went wrong with a file it writes to itself
        frame.write_parquet(body)
        _put(file, body.getbuffer())
    else:
        _put(file, table_text(frame).encode())


def _json(values: Sequence[Any]) -> bytes:
    """A JSON array, a value a line or more."""
    text = json.dumps(_finite(list(values)), default=_iso, indent=1, allow_nan=False)
    return text.encode() + b"\n"


def _put(file: BinaryIO, body: bytes | memoryview) -> None:
    """Write all of it: an unbuffered standard output (PYTHONUNBUFFERED) may take a part."""
    rest = memoryview(body)
    while rest:
        rest = rest[file.write(rest) :]


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with what CSV cannot hold as text: lists and structs as JSON, bytes in hex.

    A text that a spreadsheet would run gets an apostrophe before it, which makes it text there.
    """
    texts = []
    for name, dtype in frame.schema.items():
        if dtype.is_nested():
            texts.append(
                pl.Series(
                    name,
                    [
                        None if value is None else json.dumps(_finite(value), default=_iso)
                        for value in frame[name].to_list()
                    ],
                    pl.String,
                )
            )
        elif dtype == pl.Binary:
            texts.append(frame[name].bin.encode("hex"))
    text = pl.selectors.by_dtype(pl.String, pl.Categorical, pl.Enum).cast(pl.String)
    run = text.str.contains(FORMULA) & ~text.str.contains(NUMBER)
    return (
        frame.with_columns(texts)
        .with_columns(pl.when(~run).then(text).otherwise(pl.lit("'") + text))
        .rename(lambda name: re.sub(FORMULA, r"'\g<0>", name))
    )


def _finite(value: Any) -> Any:
    """A value as JSON can hold it: what is not a number is null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [_finite(each) for each in value]
        case dict():
            return {name: _finite(each) for name, each in value.items()}
        case _:
            return value


def _iso(value: object) -> str:
    match value:
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%SZ}"
        case bytes():
            return value.hex()
        case _:
            return str(value)


def table_text(frame: pl.DataFrame) -> str:
    """A frame as a plain table: numbers to the right with thousands apart, times in UTC."""
    rows = _texts(frame, cell)
    names = [visible(name) for name in frame.columns]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    right = [dtype.is_numeric() for dtype in frame.dtypes]
    rule = "─" * (sum(widths) + 3 * (len(widths) - 1))

    def line(texts: Sequence[str]) -> str:
        padded = zip(texts, widths, right, strict=True)
        return "   ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in padded)

    lines = [line(names), rule, *map(line, rows)]
    return "".join(f" {each}".rstrip() + "\n" for each in lines) + _more(frame)


def terminal_text(frame: pl.DataFrame, width: int) -> str:
    """The same for a terminal: in human units, in colour, its cells folded to the width.

    No colour where ``NO_COLOR`` is set or the terminal is ``dumb``; ``FORCE_COLOR`` makes anything
    a terminal.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name, dtype in frame.schema.items():
        justify: Literal["left", "right"] = "right" if dtype.is_numeric() else "left"
        table.add_column(Text(visible(name)), justify=justify, overflow="fold")
    for row in _texts(frame, human):
        table.add_row(*(Text(text, style=COLOURS.get(text, "")) for text in row))
    console = Console(width=width, force_terminal=True)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n" + _more(frame)


def _texts(frame: pl.DataFrame, spell: Callable[[object, str], str]) -> list[list[str]]:
    return [
        [spell(value, name) for name, value in zip(frame.columns, row, strict=True)]
        for row in frame.head(TABLE_ROWS).iter_rows()
    ]


def _more(frame: pl.DataFrame) -> str:
    more = frame.height - TABLE_ROWS
    return f"… {more:,} more rows: --format csv has them all\n" if more > 0 else ""


def human(value: object, column: str) -> str:
    """One value for a person at a terminal: bytes in units of 1024, shares in per cent."""
    words = column.split("_")
    if isinstance(value, int) and "bytes" in words:
        return size(value)
    if isinstance(value, float) and words[0] == "share":
        return f"{value:.1%}"
    return cell(value, column)


def cell(value: object, column: str = "") -> str:
    """One value for a person: a quantity with its thousands apart; a null is blank."""
    match value:
        case None:
            return ""
        case int() if column in CODES:
            return str(value)
        case bool():
            return str(value).lower()
        case int() | Decimal():
            return f"{value:,}"
        case float():
            return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case list() | dict():
            return cell(json.dumps(_finite(value), default=_iso))
        case _:
            return visible(str(value))


def size(count: float) -> str:
    """A number of bytes in human units, as ``aws s3`` writes them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def facts_text(found: Mapping[str, Any]) -> str:
    """Named facts, such as a status, as aligned lines; what is a size is in human units."""
    lines = []
    width = max(map(len, found)) + 2
    for name, value in found.items():
        if "bytes" in name:
            text = size(value)
        elif isinstance(value, (tuple, list)):
            text = ", ".join(map(cell, value)) or "none"
        else:
            text = cell(value)
        lines.append(f"{name.replace('_', ' '):{width}}{text}")
    return "\n".join(lines)


def some(count: int, noun: str) -> str:
    """A count and its noun: ``1 object``, ``2,000 objects``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def kinds(skipped: Sequence[tuple[str, str]]) -> str:
    """What the skipped objects are, the most frequent first: ``12 CloudTrail log, 1 zip archive``.

    Args:
        skipped: each object's URL, and what it is.
    """
    return ", ".join(f"{n:,} {kind}" for kind, n in Counter(k for _, k in skipped).most_common())


def compaction_text(done: "Compaction", lake: str) -> str:
    """What a compaction did, in sentences."""
    if done.files:
        lines = [
            f"Merged {some(done.files, 'file')} ({size(done.bytes_before)}) into {done.into:,} "
            f"({size(done.bytes_after)}), {some(done.rows, 'row')}, in {done.seconds:.1f} s: {lake}"
        ]
    elif done.overtaken or done.failures:
        lines = [f"No file was merged: {lake}"]
    else:
        lines = [f"Nothing to merge: {lake}"]
    if done.overtaken:
        lines.append(f"{some(done.overtaken, 'file')} left, as other processes changed the lake.")
    return "\n".join(lines)


def estimate_text(found: "Estimate") -> str:
    """What a conversion will take, in sentences."""
    requests = found.list_requests + found.get_requests + found.put_requests
    paid = f", ${found.dollars:,.4f} for {some(requests, 'request')} of S3" if requests else ""
    lines = [
        f"Estimate: {found.minutes:,.2f} minutes on {some(found.cores, 'core')}{paid}; "
        f"{some(found.rows, 'row')} in {some(found.files, 'file')} ({size(found.parquet_bytes)}).",
        f"Partitioned by {','.join(found.partition_by)}. Files a day are reckoned from the busiest "
        "hour and the busiest day listed.",
    ]
    return "\n".join([*lines, *([found.advice] if found.advice else [])])


def report_text(report: "Report", lake: str) -> str:
    """What a conversion did, in sentences."""
    if not report.listed:
        return "Nothing to convert: no object was listed."
    lines = []
    if report.new:
        lines.append(
            f"Converted {report.objects:,} of {some(report.listed, 'listed object')} "
            f"({size(report.new_bytes)}) into {some(report.rows, 'row')}, "
            f"{some(report.files, 'file')} ({size(report.file_bytes)}), "
            f"in {report.seconds:.1f} s: {lake}"
        )
    else:
        lines.append(f"Nothing new: {some(report.listed, 'object')} listed, all of them in {lake}.")
    if report.copies:
        lines.append(
            f"{some(report.copies, 'object')} left out: by AWS's file name and the size, copies of "
            "others."
        )
    if report.known_skipped:
        lines.append(
            f"{some(report.known_skipped, 'object')} skipped before, as no flow logs: "
            f"`flowlake status --lake {lake}` says what they are."
        )
    if report.known_unreadable:
        lines.append(
            f"{some(report.known_unreadable, 'object')} could not be read before and did not "
            f"change: `flowlake status --lake {lake}` names them."
        )
    if not report.new:
        return "\n".join(lines)
    if report.replaced:
        lines.append(f"{some(report.replaced, 'changed object')}: the old rows were replaced.")
    if report.elsewhere:
        lines.append(f"{some(report.elsewhere, 'object')} converted by another process meanwhile.")
    if report.skipped:
        lines.append(f"{some(len(report.skipped), 'object')} skipped: {kinds(report.skipped)}.")
    why = "SELECT reason, count(*) FROM rejects GROUP BY ALL"
    hint = f': `flowlake sql "{why}" --lake {lake}` says why.' if report.rejected else "."
    lines.append(f"{some(report.rejected, 'line')} rejected{hint}")
    if report.misdated:
        lines.append(
            f"{some(report.misdated, 'row')} in the partition of the object's date, not of the "
            "record's own, which is too far from it."
        )
    return "\n".join(lines)
