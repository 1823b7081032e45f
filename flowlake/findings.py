"""What the alarms found, kept in the lake: the Delta table ``findings``, one incident a finding.

Rows are only ever added, and of a finding the last one counts, so the table has its whole past. A
commit takes part in the application ``flowlake-findings``: of two processes that began from the
same version one is refused, and begins anew. That is how an incident is told of once, however
many runs see it. How far each alarm has looked is an application transaction too,
``flowlake-alarm/NAME``, whose number is a version of ``flows``.

A delivery that is due stands in its finding's row. A process claims it by a commit before it sends,
and commits afterwards that it was sent. Where a process died in between the claim runs out, and the
next run sends again: nothing is lost, and a repeat has the same id.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import deltalake
import polars as pl
import pyarrow as pa
from deltalake.transaction import AddAction, CommitProperties, RemoveAction, Transaction

from flowlake.committing import CONFIGURATION, Tables
from flowlake.errors import CommitConflict, UsageError
from flowlake.explaining import explained
from flowlake.files import add, file_urls, remove
from flowlake.storage import delta_options
from flowlake.writing import write_table

APPLICATION = "flowlake-findings"
ALARM = "flowlake-alarm/"
FILES = 32
"""From so many files on the next commit puts them together in one."""

CLAIM = timedelta(minutes=15)
"""How long a delivery that somebody claimed is left to them."""

_TIME = pa.timestamp("us", "UTC")
FINDINGS = pa.schema(
    [
        ("id", pa.string()),
        ("alarm", pa.string()),
        ("kind", pa.string()),
        ("severity", pa.string()),
        ("state", pa.string()),
        ("subject", pa.string()),
        ("who", pa.string()),
        ("who_name", pa.string()),
        ("whom", pa.string()),
        ("whom_name", pa.string()),
        ("account_ids", pa.list_(pa.string())),
        ("regions", pa.list_(pa.string())),
        ("first_seen", _TIME),
        ("last_seen", _TIME),
        ("flows", pa.int64()),
        ("packets", pa.int64()),
        ("bytes", pa.int64()),
        ("peak", pa.float64()),
        ("counts", pa.string()),
        ("why", pa.string()),
        ("condition", pa.string()),
        ("found_at", _TIME),
        ("updated_at", _TIME),
        ("acknowledged_at", _TIME),
        ("acknowledged_by", pa.string()),
        ("note", pa.string()),
        (
            "deliveries",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("state", pa.string()),
                        ("attempts", pa.int64()),
                        ("at", _TIME),
                        ("error", pa.string()),
                    ]
                )
            ),
        ),
        ("revision", pa.int64()),
    ]
)
"""A row is a finding as it was at a ``revision``; the highest one counts.

``state`` is ``open``, ``acknowledged``, or ``merged`` into an earlier finding that turned out to be
the same incident. A delivery's ``state`` is ``due``, ``claimed`` or ``sent``; ``at`` is when it
became so, ``error`` why the last attempt failed. The rest is as in ``detections.INCIDENTS``.
"""

Finding = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """The findings at one version of their table: changed by a commit on this at most once."""

    table: deltalake.DeltaTable
    findings: Mapping[str, Finding]
    """Each finding's last row, by its id."""

    def looked(self, alarm: str) -> int | None:
        """Up to which version of ``flows`` an alarm has looked; None if it never has."""
        return self.table.transaction_version(ALARM + alarm)


def see(tables: Tables) -> Seen:
    """Load the findings as they stand; their table is made if it is not there."""
    url = tables.table_url("findings")
    options = delta_options(tables.url, tables.access)
    with explained(tables.url):
        if not tables.exist("findings"):
            with contextlib.suppress(CommitConflict), explained(tables.url):
                deltalake.DeltaTable.create(
                    url,
                    schema=deltalake.Schema.from_arrow(FINDINGS),
                    mode="ignore",
                    configuration=dict(CONFIGURATION),
                    storage_options=options,
                )
    table = tables.table("findings")
    return Seen(table, {row["id"]: row for row in _rows(tables, table).to_dicts()})


def findings(tables: Tables) -> pl.DataFrame:
    """Every finding's last row, newest first; empty where no alarm has run yet."""
    if not tables.exist("findings"):
        return pl.DataFrame(schema=pl.Schema(FINDINGS))
    return _rows(tables, tables.table("findings")).sort("last_seen", "id", descending=[True, False])


def _rows(tables: Tables, table: deltalake.DeltaTable) -> pl.DataFrame:
    files = file_urls(table)
    if not files:
        return pl.DataFrame(schema=pl.Schema(FINDINGS))
    with explained(tables.url):
        rows = pl.read_parquet(
            files,
            schema=pl.Schema(FINDINGS),
            storage_options=delta_options(tables.url, tables.access),
            hive_partitioning=False,
        )
    return rows.sort("revision").unique("id", keep="last", maintain_order=True)


def commit(
    tables: Tables,
    seen: Seen,
    changed: Iterable[Finding],
    looked: Mapping[str, int] | None = None,
) -> Seen:
    """Commit changed findings, and how far alarms have looked, on what was seen.

    Returns:
        What is to be seen now.

    Raises:
        CommitConflict: when another process committed since.
    """
    rows = [{**finding, "revision": finding["revision"] + 1} for finding in changed]
    with explained(tables.url):
        old = pl.DataFrame(seen.table.get_add_actions(flatten=True))
    merge = old.height >= FILES
    actions: list[AddAction | RemoveAction] = []
    newest = {**seen.findings, **{row["id"]: row for row in rows}}
    if kept := list(newest.values()) if merge else rows:
        body = pa.Table.from_pylist(kept, schema=FINDINGS)
        url = tables.table_url("findings")
        file = write_table(body, table_url=url, storage=tables.storage)
        actions.append(add(file))
    if merge:
        gone = old.select("path", size="size_bytes").to_dicts()
        actions += [remove({**each, "partition": {}}) for each in gone]
    batch = (seen.table.transaction_version(APPLICATION) or 0) + 1
    marks = [
        Transaction(ALARM + name, version)
        for name, version in (looked or {}).items()
        if version != seen.looked(name)
    ]
    with explained(tables.url):
        seen.table.create_write_transaction(
            actions,
            "append",
            seen.table.schema(),
            partition_by=[],
            commit_properties=CommitProperties(
                app_transactions=[Transaction(APPLICATION, batch), *marks]
            ),
        )
    return see(tables)


def identify(alarm: str, subject: str, first_seen: datetime) -> str:
    """An id for a new finding, 16 hexadecimal digits; the same for the same incident."""
    name = f"{alarm}\n{subject}\n{first_seen:%FT%T.%fZ}"
    return blake2b(name.encode(), digest_size=8).hexdigest()


def acknowledge(tables: Tables, ids: Sequence[str], by: str, note: str | None = None) -> None:
    """Mark findings as known to somebody: they are updated, but no longer open.

    Raises:
        UsageError: for an id that there is not.
    """
    while True:
        seen = see(tables)
        if missing := [each for each in ids if each not in seen.findings]:
            raise UsageError(
                f"There is no finding {missing[0]}: `flowlake alarms findings` lists them."
            )
        at = datetime.now(UTC)
        said = {"acknowledged_at": at, "acknowledged_by": by, "note": note, "updated_at": at}
        changed = [{**seen.findings[each], "state": "acknowledged", **said} for each in ids]
        with contextlib.suppress(CommitConflict):
            commit(tables, seen, changed)
            return


def due(finding: Finding, names: Iterable[str], now: datetime) -> list[str]:
    """The deliveries of a finding, among these, that somebody must make now."""
    if finding["state"] == "merged":
        return []
    wanted = set(names)
    return [
        each["name"]
        for each in finding["deliveries"] or []
        if each["name"] in wanted
        and (each["state"] == "due" or (each["state"] == "claimed" and _is_over(each["at"], now)))
    ]


def _is_over(claimed: datetime, now: datetime) -> bool:
    """Whether a claim has run out; one of a time to come was made by a clock that was wrong."""
    return abs(now - claimed) >= CLAIM


def with_delivery(
    finding: Finding, name: str, state: str, at: datetime, error: str | None = None
) -> Finding:
    """The finding with another state of one of its deliveries."""
    tries = 1 if state == "claimed" else 0
    deliveries = [
        {**each, "state": state, "at": at, "error": error, "attempts": each["attempts"] + tries}
        if each["name"] == name
        else each
        for each in finding["deliveries"]
    ]
    return {**finding, "deliveries": deliveries}
