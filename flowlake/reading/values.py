"""One column as found, text or typed -> the catalogue's type; the rows that do not fit, and why."""

from fractions import Fraction

import polars as pl

from flowlake.fields import LAST_TIME, Field
from flowlake.layout import PARTITION_VALUE
from flowlake.reading.formats import PARTITION_FIELDS, WHOLE_NUMBER, bounds, types

LONGEST_REJECT = 8192
"""Characters of a rejected record's text that are kept."""

UTC_TIME = pl.Datetime("us", "UTC")


def typed(column: pl.Series, field: Field) -> tuple[pl.Series, dict[int, str]]:
    """A column in its field's type, times as UTC timestamps, and why rows of it are wrong.

    A wrong value is null. Text is read as a record's token is; other numbers must be whole, and
    nothing wraps or is rounded.
    """
    if field.type == "text":
        return column, _wrong_folders(column, field)
    numbers = column if column.dtype == pl.Int64 else column.cast(pl.Int64, strict=False)
    if column.dtype.is_float() or column.dtype.is_decimal():
        numbers = numbers.set(numbers.cast(column.dtype, strict=False).ne_missing(column), None)
    least, most = bounds(field)
    fits = numbers.is_between(least, most)
    if field.type == "time":
        millis = numbers.is_between(LAST_TIME + 1, LAST_TIME * 1000 + 999)
        fits |= millis
        thousandths = millis.fill_null(False)
        numbers = (numbers * 1_000).zip_with(thousandths, numbers * 1_000_000)
    wrong = column.is_not_null() & ~fits.fill_null(False)
    reasons = {int(row): _why(column[int(row)], field) for row in wrong.arg_true()}
    good = numbers.set(wrong, None)
    return good.cast(UTC_TIME if field.type == "time" else types([field])[field.column]), reasons


def _why(value: object, field: Field) -> str:
    number = WHOLE_NUMBER.fullmatch(str(value)) is not None
    trouble = "is out of range" if number else "is not a whole number"
    return f"{field.name} {str(value)[:80]!r} {trouble}"


def timestamps(ticks: pl.Series, each: Fraction, field: Field) -> tuple[pl.Series, dict[int, str]]:
    """Ticks since 1970 of so many microseconds as UTC timestamps, and why rows of them are wrong.

    They stay whole numbers until they are known to be in range: beyond it, libraries wrap or stop.
    """
    last = (LAST_TIME * 1_000_000 + 999_999) // each
    wrong = ticks.is_not_null() & ~ticks.is_between(0, min(last, 2**63 - 1)).fill_null(False)
    reasons = {
        int(row): f"{field.name} {ticks[int(row)]} is out of range" for row in wrong.arg_true()
    }
    good = ticks.set(wrong, None)
    return (good * each.numerator // each.denominator).cast(UTC_TIME), reasons


def _wrong_folders(column: pl.Series, field: Field) -> dict[int, str]:
    if field.name not in PARTITION_FIELDS:
        return {}
    return {
        row: f"{field.name} {value[:80]!r} is no {field.name}"
        for row, value in enumerate(column.cast(pl.String))
        if value is not None and PARTITION_VALUE.fullmatch(value) is None
    }
