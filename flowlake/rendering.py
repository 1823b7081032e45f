"""Frames and reports for people and for programs: table, csv, json, parquet."""

import json
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from flowlake.errors import StorageError, UsageError
from flowlake.fields import COLUMNS

TABLE_ROWS = 500
"""Rows a table shows: nobody reads more, and the other formats have them all."""


CODES = {each.column for each in COLUMNS if each.type == "int32"} | {"object_id", "replaces"}
"""Columns whose numbers are names, not quantities: ports, protocols, flags, keys."""


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
    try:
        if output is None:
            _write(frame, style, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            with output.open("wb") as file:
                _write(frame, style, file)
    except FileNotFoundError as error:
        raise StorageError(f"Cannot write {output}: there is no such folder.") from error
    except (IsADirectoryError, PermissionError) as error:
        raise StorageError(f"Cannot write {output}: {error.strerror}.") from error


def _write(frame: pl.DataFrame, style: Format, file: Any) -> None:
    if style is Format.csv:
        frame.write_csv(file, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    elif style is Format.json:
        finite = frame.with_columns(
            pl.when(column.is_finite()).then(column)
            for column in map(pl.col, frame.select(cs.float()).columns)
        )
        file.write(json.dumps(finite.to_dicts(), default=_iso, indent=1).encode() + b"\n")
    elif style is Format.parquet:
        frame.write_parquet(file)
    else:
        file.write(table_text(frame).encode())


def _iso(value: object) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)


def table_text(frame: pl.DataFrame, width: int | None = None) -> str:
    """A frame as a plain table: numbers to the right with thousands apart, times in UTC.

    On a terminal it is folded to the terminal's width; elsewhere it is as wide as it needs.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, dtype in frame.schema.items():
        table.add_column(
            Text(name), justify="right" if dtype.is_numeric() else "left", overflow="fold"
        )
    for row in frame.head(TABLE_ROWS).iter_rows():
        table.add_row(
            *(
                Text(str(value) if name in CODES and value is not None else cell(value))
                for name, value in zip(frame.columns, row, strict=True)
            )
        )
    terminal = sys.stdout.isatty()
    console = Console(
        width=width or (None if terminal else 10_000), force_terminal=terminal or None
    )
    with console.capture() as captured:
        console.print(table)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n") + "\n"
    if frame.height > TABLE_ROWS:
        text += f"… {frame.height - TABLE_ROWS:,} more rows: --format csv has them all\n"
    return text


def cell(value: object) -> str:
    """One value for a person: a quantity with its thousands apart; a null is blank."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}" if abs(value) >= 10_000 else str(value)
        case float():
            return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            return str(value)


def size(count: float) -> str:
    """A number of bytes in human units, as ``aws s3`` writes them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
