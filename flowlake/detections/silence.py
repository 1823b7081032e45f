"""Interfaces, and whole flow logs, that had records all the time and have none any more."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from flowlake.detections.incidents import GAP, INCIDENTS, Detection, Parameter
from flowlake.detections.wording import NAMED, quoted, span

STEADY = 0.95
"""An interface is steady that had records in so many of the hours of its past."""

LEAST = 0.5
"""So much of ``days`` must be known of an interface, from the first of all records to its last."""

TOGETHER = 0.9
"""So many of a flow log's steady interfaces fall silent together when it is the flow log that
does. Ours."""

_LOG = ["flow_log_id", "account_id", "region"]


def silent_interface(
    flows: pl.LazyFrame,
    history: pl.LazyFrame,
    *,
    after: timedelta = timedelta(hours=1),
    days: int = 1,
    delay: timedelta = timedelta(days=1),
    now: datetime | None = None,
) -> pl.DataFrame:
    """Find interfaces that have fallen silent: they are gone, or their flow log is.

    AWS writes a record for an interface without traffic too (``log_status`` NODATA), so that a
    steady one has records in each aggregation interval. Steady is an interface with records in
    nearly all hours of the ``days`` before its last one, of which at least half must be known; one
    that has records now and then, or is young, is no subject. It is silent when its last record
    ended ``after`` or longer before the newest record of ``flows``. When all is silent there is no
    newer record: then it is ``now`` that counts, less the ``delay`` with which records come.

    Two steady interfaces or more that are nearly all of a flow log, and fell silent within
    ``after`` of each other, are one incident on the flow log; where records have no
    ``flow_log_id``, on the account and region. An interface that another flow log still records is
    not silent.

    A silence that has ended is not found. An incident lasts from the end of the last record to the
    newest record of all, or to ``now`` less the delay. It is found for
    as long as the records that were before it are at hand, half of ``days`` at least. ``who`` is
    the interface or the flow log, ``peak`` the hours of silence, and there is no evidence but
    absence: ``flows`` is 0.

    Args:
        flows: records with the lake's schema, to the present.
        history: the records of the days before.
        after: how long a silence is one.
        days: how far the past goes back.
        delay: how late a record may come to the lake.
        now: the time; without it the newest record counts.
    """
    start = pl.coalesce("start_time", "end_time")
    nameless = pl.when(pl.col("flow_log_id").is_null())
    hours = (
        pl.concat(
            records.filter(pl.col("interface_id").is_not_null(), start.is_not_null()).select(
                "interface_id",
                "flow_log_id",
                account_id=nameless.then("account_id"),
                region=nameless.then("region"),
                hour=start.dt.truncate("1h"),
                last=pl.coalesce("end_time", "start_time"),
                new=pl.lit(new),
            )
            for records, new in ((flows, True), (history, False))
        )
        .group_by("interface_id", *_LOG, "hour")
        .agg(pl.col("last").max(), newest=pl.col("last").filter("new").max())
        .collect(engine="streaming")
    )
    newest = hours["newest"].max()
    if not isinstance(newest, datetime):
        return INCIDENTS.to_frame()
    if now is not None:
        newest = max(newest, now - delay)
    gone = pl.col("last") <= newest - after
    recorded = _steady(hours, ["interface_id", *_LOG], days).with_columns(gone=gone)
    fell = recorded.filter("gone", pl.col("last") >= _latest() - after)
    logs = (
        fell.group_by(_LOG)
        .agg(pl.col("last").max(), pl.col("interface_id").sort())
        .join(recorded.group_by(_LOG).agg(steady=pl.len()), on=_LOG, nulls_equal=True)
        .filter(
            pl.col("interface_id").list.len() >= pl.max_horizontal(2, TOGETHER * pl.col("steady"))
        )
        .sort("last", *_LOG)
    )
    alone = (
        _steady(hours, ["interface_id"], days)
        .filter(gone)
        .join(fell.join(logs, on=_LOG, how="semi", nulls_equal=True), on="interface_id", how="anti")
        .sort("last", "interface_id")
    )
    rows = [*_of_logs(logs, newest), *_of_interfaces(alone, newest)]
    return pl.DataFrame(rows, schema=INCIDENTS)


def _latest() -> pl.Expr:
    return pl.col("last").filter("gone").max().over(_LOG)


def _steady(hours: pl.DataFrame, by: list[str], days: int) -> pl.DataFrame:
    """Who was steady, with the end of the last record and the number of hours before.

    The hour of the last record is not held against anybody: it may have been cut short.
    """
    until = pl.col("last").max().over(by).dt.truncate("1h")
    since = pl.max_horizontal(until - timedelta(days=days), pl.col("hour").min())
    before = pl.col("hour").is_between("since", "until", closed="left")
    return (
        hours.with_columns(until=until, since=since)
        .group_by(by)
        .agg(
            pl.col("last").max(),
            possible=(pl.col("until") - pl.col("since")).dt.total_hours().first(),
            hours=pl.col("hour").filter(before).n_unique(),
        )
        .filter(
            pl.col("possible") >= LEAST * days * 24,
            pl.col("hours") >= STEADY * pl.col("possible"),
        )
    )


def _incident(
    who: str, condition: str, last: datetime, newest: datetime, counts: dict[str, Any], why: str
) -> dict[str, Any]:
    return {
        "subject": who,
        "who": who,
        "first_seen": last,
        "last_seen": newest,
        **dict.fromkeys(("flows", "packets", "bytes"), 0),
        "peak": (newest - last) / timedelta(hours=1),
        "counts": json.dumps({"last_record": last.isoformat(), **counts}),
        "why": f"{why} since {last:%Y-%m-%d %H:%M} UTC, {span(newest - last)} before the newest.",
        "condition": condition,
    }


def _of_logs(logs: pl.DataFrame, newest: datetime) -> Iterator[dict[str, Any]]:
    for each in logs.iter_rows(named=True):
        named = {name: each[name] for name in _LOG if each[name] is not None}
        who, interfaces = " ".join(named.values()) or "every interface", each["interface_id"]
        yield _incident(
            who,
            " AND ".join(f"{name} = {quoted(text)}" for name, text in named.items()) or "true",
            *(each["last"], newest),
            {
                "interfaces": len(interfaces),
                "of": each["steady"],
                "interface_sample": interfaces[:NAMED],
            },
            f"{len(interfaces):,} of {each['steady']:,} interfaces that {who} recorded in all "
            "hours have no record",
        )


def _of_interfaces(alone: pl.DataFrame, newest: datetime) -> Iterator[dict[str, Any]]:
    for each in alone.iter_rows(named=True):
        yield _incident(
            each["interface_id"],
            f"interface_id = {quoted(each['interface_id'])}",
            *(each["last"], newest),
            {"hours": each["hours"], "of": each["possible"]},
            f"{each['interface_id']} had records in {each['hours']:,} of {each['possible']:,} "
            "hours and has none",
        )


SILENT_INTERFACE = Detection(
    kind="silent_interface",
    title="No records any more",
    about=(
        "An interface that had records in nearly all hours has none: it is gone, or its flow log "
        "is. Interfaces of a flow log that fall silent together are one incident."
    ),
    source="AWS guide, log-status: NODATA is written where there is no traffic. Bounds are ours.",
    find=silent_interface,
    parameters=(
        Parameter("after", "duration", "how long a silence is one", GAP),
        Parameter("days", "integer", "how many days the past has", 1),
        Parameter(
            "delay", "duration", "how late records come; then all is silent", timedelta(days=1)
        ),
    ),
    severity="medium",
    learns=True,
    by_clock=True,
)
"""Interfaces, and flow logs, without records."""
