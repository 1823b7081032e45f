"""An answer's rows as an HTML table: in human units, and exactly in each cell's title."""

from datetime import datetime
from html import escape

import polars as pl

from flowlake.rendering import TABLE_ROWS, cell, human

PROSE = 40
"""From so many characters on a column is prose, and is wrapped."""

NARROW = 7
"""Columns of a table that has room beside a chart."""

SEARCHED = 6
"""From so many rows on a table has a field to search it."""

PRINTED = 30
"""Rows that `page.css` lets onto paper."""

VERDICTS = ("ACCEPT", "REJECT")


def table(rows: pl.DataFrame, name: str) -> str:
    """The first rows as a table, which says so if there are more.

    A cell that is sorted by something else than its text has that as ``data-v``: a number, or
    the seconds since 1970 of a time.
    """
    columns = [
        (column, dtype, _classes(rows[column].head(TABLE_ROWS)))
        for column, dtype in rows.schema.items()
    ]
    head = "".join(
        f'<th scope="col" aria-sort="none"{classes}><button type="button">'
        f"{escape(_title(column, dtype))}</button></th>"
        for column, dtype, classes in columns
    )
    body = "\n".join(
        f"<tr>{''.join(_cell(v, *column) for v, column in zip(row, columns, strict=True))}</tr>"
        for row in rows.head(TABLE_ROWS).iter_rows()
    )
    more = (
        f"The first {TABLE_ROWS:,} of {rows.height:,} rows; the command below gives all."
        if rows.height > TABLE_ROWS
        else f"{rows.height:,} row{'' if rows.height == 1 else 's'}"
    )
    label = escape(name)
    search = (
        f'<input type="search" aria-label="Search in {label}" placeholder="Search these rows" '
        'autocomplete="off">'
    )
    return (
        f'<div class="tools">{search if rows.height >= SEARCHED else ""}'
        f'<span class="count" role="status" data-all="{more}">{more}</span></div>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
        + (
            f'<p class="printed">Printed are the first {PRINTED} rows.</p>'
            * (rows.height > PRINTED)
        )
    )


def is_narrow(rows: pl.DataFrame) -> bool:
    """Whether a table of these rows can be seen whole beside a chart."""
    return rows.width <= NARROW and not any(_is_prose(rows[name]) for name in rows.columns)


def exact(value: object, column: str) -> str:
    """A value to its last digit, with its unit if it is a number of bytes."""
    if isinstance(value, float):
        return repr(value)
    written = cell(value, column)
    return (
        f"{written} bytes" if isinstance(value, int) and "bytes" in column.split("_") else written
    )


def _title(column: str, dtype: pl.DataType) -> str:
    words = column.replace("_", " ")
    return f"{words} (UTC)" if isinstance(dtype, pl.Datetime) else words


def _classes(values: pl.Series) -> str:
    if values.dtype.is_numeric():
        return ' class="number"'
    return ' class="prose"' if _is_prose(values) else ""


def _is_prose(values: pl.Series) -> bool:
    return values.dtype == pl.String and (values.str.len_chars() >= PROSE).any()


def _cell(value: object, column: str, dtype: pl.DataType, classes: str) -> str:
    shown = human(value, column)
    if value is None:
        return f"<td{classes}></td>"
    if isinstance(value, datetime):
        return f'<td data-v="{value.timestamp():.6f}">{escape(shown)}</td>'
    if dtype.is_numeric():
        written = exact(value, column)
        title = f' title="{escape(written)}"' if written != shown else ""
        return f'<td{classes} data-v="{value}"{title}>{escape(shown)}</td>'
    if shown in VERDICTS:
        return f'<td><span class="{shown.lower()}">{shown}</span></td>'
    return f"<td{classes}>{escape(shown)}</td>"
