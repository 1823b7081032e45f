"""What the alarms found in a window, as a section of the report."""

from datetime import datetime

import polars as pl

from flowlake.lake import Lake
from flowlake.query_file import Drawing
from flowlake.report.answers import Section, command, spelt
from flowlake.window import Window

NAME = "alarms"
CHAPTER = "What the alarms found"
SHOWN = (
    *("severity", "state", "alarm", "who", "who_name", "why", "whom", "whom_name"),
    *("first_seen", "last_seen", "flows", "packets", "bytes", "id"),
)


def found(lake: Lake, wanted: Window) -> Section:
    """The findings that were seen in the window, newest first, without those merged into others."""
    rows = lake.findings().filter(_seen(wanted), pl.col("state") != "merged").select(SHOWN)
    named = [name for name in SHOWN if not name.endswith("_name") or rows[name].count()]
    since = ["--since", spelt(wanted.since)] if wanted.since else []
    return Section(
        NAME,
        "Findings",
        "Incidents that `flowlake alarms run` found and that were seen in this window, the latest "
        "first; `flowlake alarms show ID` shows a finding with its records. A lake on which no "
        "alarm ran has none.",
        CHAPTER,
        Drawing(span=("first_seen", "last_seen"), by=("who", "alarm")),
        command(lake, None, "alarms", "findings", *since),
        rows.select(named),
    )


def _seen(wanted: Window) -> pl.Expr:
    """Whether a finding overlaps the window."""
    first, last = pl.col("first_seen"), pl.col("last_seen")
    conditions = [pl.lit(True)]
    if wanted.since is not None:
        conditions.append(last >= _literal(wanted.since))
    if wanted.until is not None:
        conditions.append(first < _literal(wanted.until))
    for column, names in (("account_ids", wanted.accounts), ("regions", wanted.regions)):
        if names:
            conditions.append(pl.col(column).list.set_intersection(list(names)).list.len() > 0)
    return pl.all_horizontal(conditions)


def _literal(moment: datetime) -> pl.Expr:
    return pl.lit(moment, pl.Datetime("us", "UTC"))
