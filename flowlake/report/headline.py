"""The numbers at the top of a report: sums of the answers below them, never other queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from flowlake.rendering import cell, human, size
from flowlake.report.answers import Section
from flowlake.report.findings import NAME as FINDINGS
from flowlake.rules import SEVERITIES
from flowlake.status import Status


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: what it is of, in human units, exactly, a remark, and the section to see."""

    label: str
    value: str
    exact: str = ""
    remark: str = ""
    section: str = ""
    alert: bool = False


def headline(sections: Sequence[Section], status: Status) -> list[Figure]:
    """The figures there is an answer for."""
    answers = {each.name: each.rows for each in sections if each.rows is not None}
    return [
        *_traffic(answers.get("traffic_over_time")),
        *_records(answers.get("data_quality")),
        *_cost(answers.get("transfer_cost")),
        *_findings(answers.get(FINDINGS)),
        *_unread(status),
    ]


def seen(sections: Sequence[Section]) -> str:
    """From when to when the records of the window are, in words; "" if that is not known."""
    rows = next((each.rows for each in sections if each.name == "data_quality"), None)
    if rows is None or rows["first_seen"].drop_nulls().is_empty():
        return ""
    return f"{cell(rows['first_seen'].min())} to {cell(rows['last_seen'].max())} UTC"


def _traffic(rows: pl.DataFrame | None) -> list[Figure]:
    if rows is None:
        return []
    flows, rejected, amount, packets = (
        int(rows[name].sum()) for name in ("flows", "rejected", "bytes", "packets")
    )
    share = f"{human(rejected / flows, 'share')} of records" if flows else ""
    section = "traffic_over_time"
    return [
        Figure("bytes", size(amount), f"{amount:,} bytes", f"{packets:,} packets", section),
        Figure("flow records", f"{flows:,}", section=section),
        Figure("refused", f"{rejected:,}", "", share, "rejected_sources"),
    ]


def _records(rows: pl.DataFrame | None) -> list[Figure]:
    if rows is None:
        return []
    interfaces = rows["interface_id"].drop_nulls().n_unique()
    accounts = rows["account_id"].drop_nulls().n_unique()
    lost = int(rows["skipdata"].sum())
    of = f"in {accounts:,} account{'' if accounts == 1 else 's'}"
    return [
        Figure("interfaces", f"{interfaces:,}", "", of, "data_quality"),
        Figure(
            "SKIPDATA", f"{lost:,}", "", "AWS lost records" * bool(lost), "data_quality", lost > 0
        ),
    ]


def _cost(rows: pl.DataFrame | None) -> list[Figure]:
    if rows is None or rows["cost_usd"].drop_nulls().is_empty():
        return []
    cost = float(rows["cost_usd"].sum())
    return [Figure("transfer cost", f"${cost:,.2f}", repr(cost), "by list prices", "transfer_cost")]


def _findings(rows: pl.DataFrame | None) -> list[Figure]:
    if rows is None:
        return []
    open_ = rows.filter(pl.col("state") == "open")
    counts: Mapping[str, int] = dict(open_.group_by("severity").len().iter_rows())
    remark = ", ".join(
        f"{counts[each]:,} {each}" for each in reversed(SEVERITIES) if each in counts
    )
    return [Figure("open findings", f"{open_.height:,}", "", remark, FINDINGS, open_.height > 0)]


def _unread(status: Status) -> list[Figure]:
    lines = (
        f"{status.unreadable:,} objects unreadable" if status.unreadable else "of the whole lake"
    )
    return [Figure("lines rejected", f"{status.rejected:,}", "", lines, "", status.rejected > 0)]
