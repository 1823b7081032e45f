"""An answer's rows as Vega-Lite charts, by what the question's header says to draw.

Times are UTC on every axis. Colours are the page's CSS variables, so that a chart follows light,
dark and print. What comes from a record is only ever a value in the data, under names of our own:
no expression, no address of anything, and no name of a field is made of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from flowlake.query_file import Amount, Drawing
from flowlake.rendering import cell, human
from flowlake.report.tables import exact

Spec = dict[str, Any]

MOST = 20
"""Bars of a chart, and lines of spans: more cannot be read."""

LINE = 20
"""Pixels from one bar to the next."""

FENCE = 3
"""Interquartile ranges beyond which Tukey calls a value "far out" (Exploratory Data Analysis)."""

REST, PART = "var(--accept)", "var(--reject)"

TIMES = {
    "year": "%Y",
    "quarter": "%b %Y",
    "month": "%b %Y",
    "week": "%-d %b",
    "date": "%-d %b",
    "hours": "%H:%M",
    "minutes": "%H:%M",
    "seconds": "%H:%M:%S",
    "milliseconds": "%H:%M:%S.%L",
}
"""Labels of an axis over time, by the unit that a tick begins."""

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def charts(
    drawing: Drawing, rows: pl.DataFrame, parameters: Mapping[str, Any], *, refused: bool = False
) -> list[tuple[Spec, str]]:
    """The charts of an answer, each with a sentence on what it leaves out, or "".

    None for an answer without rows, for a drawing of nothing, and for amounts that are all 0.

    Args:
        drawing: what to draw.
        rows: the answer.
        parameters: those it was asked with; ``minutes`` is how long a stretch of time is.
        refused: whether all of it is traffic that was refused.
    """
    if rows.is_empty():
        return []
    if drawing.span:
        return [_spans(drawing, rows)]
    found = []
    for amount in drawing.amounts:
        # A time or an amount that is missing, infinite or no number has no place on a chart.
        needed = [*(drawing.by if drawing.over_time else ()), amount.column]
        numbers = pl.col(amount.column).cast(pl.Float64).is_finite()
        there = rows.drop_nulls(needed).filter(numbers)
        if there[amount.column].sum() > 0:
            draw = _over_time if drawing.over_time else _bars
            colour = PART if refused else REST
            found.append(draw(drawing, amount, there, parameters, colour))
    return found


def _bars(
    drawing: Drawing,
    amount: Amount,
    rows: pl.DataFrame,
    _: Mapping[str, Any],
    colour: str,
) -> tuple[Spec, str]:
    shown = rows.head(MOST)
    labels = _unlike(_labels(drawing.by, shown))
    texts = [human(value, amount.column) for value in shown[amount.column]]
    finds = [_first(drawing.by, row) for row in shown.iter_rows(named=True)]
    parts, tips = _parts(amount, shown), _tips(labels, amount, shown)
    values = [
        {**part, "label": label, "tip": tip, "text": text, "whole": whole, "find": find}
        for label, whole, text, find, of, tip in zip(
            labels, shown[amount.column], texts, finds, parts, tips, strict=True
        )
        for part in of
    ]
    most = _most(amount, shown)
    scale = {"domain": [0, most], "nice": False}
    spec = {
        **_whole_width(values),
        "height": LINE * shown.height,
        "title": _words(amount.column),
        "encoding": {
            "y": {"field": "label", "type": "nominal", "sort": None, "axis": {"title": None}},
            "tooltip": {"field": "tip", "type": "nominal"},
        },
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}, "cornerRadiusEnd": 2},
                "encoding": {
                    "x": {"field": "low", "type": "quantitative", "axis": None, "scale": scale},
                    "x2": {"field": "high"},
                    **_coloured(amount, colour),
                },
            },
            {
                "transform": [{"filter": "datum.low === 0"}],
                "mark": {"type": "text", "align": "left", "dx": 5},
                "encoding": {
                    "x": {"field": "whole", "type": "quantitative", "axis": None},
                    "text": {"field": "text", "type": "nominal"},
                },
            },
        ],
    }
    left = rows.height - shown.height
    return spec, f"Drawn are the first {MOST} of {rows.height:,} rows." if left else ""


def _over_time(
    drawing: Drawing,
    amount: Amount,
    rows: pl.DataFrame,
    parameters: Mapping[str, Any],
    colour: str,
) -> tuple[Spec, str]:
    (moment,) = drawing.by
    shown, far = _without_far_out(rows.sort(moment), moment)
    width = _width(shown[moment], parameters.get("minutes"))
    most = _most(amount, shown)
    divisor, unit = _unit(amount.column, most)
    labels = [_stretch(start, width) for start in shown[moment]]
    parts, tips = _parts(amount, shown), _tips(labels, amount, shown)
    values = [
        {
            **part,
            "from": _milliseconds(start),
            "to": _milliseconds(start + width),
            "low": part["low"] / divisor,
            "high": part["high"] / divisor,
            "tip": tip,
        }
        for start, of, tip in zip(shown[moment], parts, tips, strict=True)
        for part in of
    ]
    spec = {
        **_whole_width(values),
        "height": 190,
        "params": [
            {
                "name": "zoom",
                "select": {
                    "type": "interval",
                    "encodings": ["x"],
                    "zoom": "wheel![event.shiftKey]",
                },
                "bind": "scales",
            }
        ],
        "mark": {"type": "rect", "clip": True},
        "encoding": {
            "x": _time_axis("from"),
            "x2": {"field": "to"},
            "y": {
                "field": "low",
                "type": "quantitative",
                "scale": {"domain": [0, 1.06 * most / divisor], "nice": False},
                "axis": {
                    "title": unit,
                    "format": "~s" if divisor == 1 else ",.2~f",
                    "tickCount": 4,
                    "minExtent": 60,
                },
            },
            "y2": {"field": "high"},
            "tooltip": {"field": "tip", "type": "nominal"},
            **_coloured(amount, colour),
        },
    }
    note = f"Not drawn, being far from the others: {_listed(far)}." if far else ""
    return spec, note


def _spans(drawing: Drawing, rows: pl.DataFrame) -> tuple[Spec, str]:
    assert drawing.span is not None
    start, end = drawing.span
    there = rows.filter(pl.col(start).is_not_null() & pl.col(end).is_not_null())
    every = _labels(drawing.by, there)
    kept = list(dict.fromkeys(every))[:MOST]
    values = [
        {
            "label": label,
            "from": _milliseconds(row[start]),
            "to": _milliseconds(row[end]),
            "tip": f"{label}\n{cell(row[start])} to {cell(row[end])} UTC",
            "find": _first(drawing.by, row),
        }
        for label, row in zip(every, there.iter_rows(named=True), strict=True)
        if label in kept
    ]
    spec = {
        **_whole_width(values),
        "height": LINE * len(kept),
        "title": f"{_words(start)} to {_words(end)}",
        # A round cap makes a span of no length a dot.
        "mark": {"type": "rule", "strokeWidth": 8, "strokeCap": "round", "color": PART},
        "encoding": {
            "y": {"field": "label", "type": "nominal", "sort": None, "axis": {"title": None}},
            "x": _time_axis("from"),
            "x2": {"field": "to"},
            "tooltip": {"field": "tip", "type": "nominal"},
        },
    }
    lines = len(set(every))
    return spec, f"Drawn are the first {MOST} of {lines:,} lines." if lines > MOST else ""


def _whole_width(values: Sequence[Spec]) -> Spec:
    return {
        "data": {"values": values},
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
    }


def _time_axis(field: str) -> Spec:
    return {
        "field": field,
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {
            "title": "UTC",
            "format": TIMES,
            "tickCount": {"expr": "max(2, width / 90)"},
            "labelFlush": False,
            "labelOverlap": "greedy",
            "labelSeparation": 10,
        },
    }


def _coloured(amount: Amount, colour: str) -> Spec:
    if amount.part is None:
        return {"color": {"value": colour}}
    kinds = [f"not {amount.part}", amount.part]
    return {
        "color": {
            "field": "kind",
            "type": "nominal",
            "scale": {"domain": kinds, "range": [REST, PART]},
            "legend": {"title": None, "orient": "top"},
        }
    }


def _most(amount: Amount, shown: pl.DataFrame) -> float:
    """The greatest of the amounts; there is at least one."""
    return float(shown[amount.column].max())  # type: ignore[arg-type]  # a number, by its header


def _parts(amount: Amount, rows: pl.DataFrame) -> Iterable[list[Spec]]:
    """What each row's bar is made of: the amount, or the rest of it and the part set apart."""
    wholes = rows[amount.column].to_list()
    if amount.part is None:
        for whole in wholes:
            yield [{"low": 0, "high": whole}]
        return
    for whole, part in zip(wholes, rows[amount.part].fill_null(0).to_list(), strict=True):
        yield [
            {"kind": f"not {amount.part}", "low": 0, "high": whole - part},
            {"kind": amount.part, "low": whole - part, "high": whole},
        ]


def _tips(labels: Sequence[str], amount: Amount, rows: pl.DataFrame) -> Iterable[str]:
    columns = [column for column in (amount.column, amount.part) if column]
    for label, row in zip(labels, rows.iter_rows(named=True), strict=True):
        yield "\n".join([label, *(f"{each}: {_exact(row[each], each)}" for each in columns)])


def _exact(value: object, column: str) -> str:
    """A value in human units, and exactly where that differs."""
    shown, written = human(value, column), exact(value, column)
    return shown if shown == written else f"{shown} ({written})"


def _labels(by: Sequence[str], rows: pl.DataFrame) -> list[str]:
    """What each row is called: the values of these columns, and the names they go by."""
    return [
        " · ".join(
            f"{cell(row[name], name)} ({cell(known)})" if known else cell(row[name], name)
            for name, known in ((name, _name(name, row)) for name in by)
            if row[name] is not None
        )
        or "none"
        for row in rows.iter_rows(named=True)
    ]


def _name(column: str, row: Mapping[str, Any]) -> object:
    """The name that ``named`` put beside an id or an address."""
    return row.get(f"{column}_name", row.get(f"{column.removesuffix('_id')}_name"))


def _first(by: Sequence[str], row: Mapping[str, Any]) -> str:
    """What to search the table for, to see a row of it."""
    return next((cell(row[name], name) for name in by if row[name] is not None), "")


def _unlike(labels: Sequence[str]) -> list[str]:
    """Labels that are told apart, since equal ones would share one bar."""
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    seen: dict[str, int] = {}
    found = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        found.append(f"{label} ({seen[label]})" if counts[label] > 1 else label)
    return found


def _without_far_out(rows: pl.DataFrame, moment: str) -> tuple[pl.DataFrame, list[datetime]]:
    """The rows, and times so far from the others that these would be drawn as one line."""
    times = rows[moment].dt.timestamp("us")
    low, high = times.quantile(0.25, "linear"), times.quantile(0.75, "linear")
    if low is None or high is None or low == high:
        return rows, []
    far = (times < low - FENCE * (high - low)) | (times > high + FENCE * (high - low))
    return rows.filter(~far), rows.filter(far)[moment].to_list()


def _unit(column: str, most: float) -> tuple[int, str]:
    """What to divide an amount by, so that an axis has round numbers, and what it then is."""
    words = _words(column)
    if "bytes" not in column.split("_"):
        return 1, words
    power = 0
    while most >= 1024 ** (power + 1) and power + 1 < len(UNITS):
        power += 1
    return 1024**power, f"{words}, {UNITS[power]}" if power else words


def _width(times: pl.Series, minutes: int | None) -> timedelta:
    """How long a stretch of time is: as it was asked for, else the least from one to the next."""
    if minutes is not None:
        return timedelta(minutes=minutes)
    least = times.unique().sort().diff().min()
    return least if isinstance(least, timedelta) else timedelta(hours=1)


def _words(column: str) -> str:
    return column.replace("_", " ")


def _stretch(start: datetime, width: timedelta) -> str:
    return f"{start:%Y-%m-%d %H:%M} to {start + width:%Y-%m-%d %H:%M} UTC"


def _listed(times: Sequence[datetime]) -> str:
    shown = ", ".join(f"{time:%Y-%m-%d %H:%M}" for time in times[:3])
    return f"{shown} and {len(times) - 3:,} more" if len(times) > 3 else shown


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
