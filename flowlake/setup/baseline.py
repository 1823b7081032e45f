"""The flow logs that somebody approved, in a file, and what has changed since.

The file is JSON that lies well in git: sorted, without anything that changes by itself.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from flowlake.aws import Access
from flowlake.errors import NothingThere, UsageError
from flowlake.setup.flow_logs import FLOW_LOGS
from flowlake.storage import canonical, open_storage

KEPT = (
    *("resource_id", "traffic_type", "destination_type", "destination", "log_group", "role_arn"),
    *("format", "file_format", "hive", "per_hour", "max_aggregation_interval", "tags"),
)
"""What a baseline keeps of a flow log, beside its account, region and id. AWS changes only the tags
of a flow log; all else takes a new one, with another id."""

DRIFT = pl.Schema(
    {
        "change": pl.String(),
        "account_id": pl.String(),
        "region": pl.String(),
        "flow_log_id": pl.String(),
        "flow_log_id_before": pl.String(),
        "resource_id": pl.String(),
        "differences": pl.List(
            pl.Struct({"what": pl.String(), "before": pl.String(), "now": pl.String()})
        ),
    }
)
"""A row is a flow log that is not as the baseline has it.

``change`` is ``added``; ``deleted``, with only ``flow_log_id_before``; ``made again``, where
another flow log records the same resource in its place; or ``changed``, where it has the same id.
``differences`` are of ``KEPT``, and empty where it was made again as it was.
"""

_ID = ("account_id", "region", "flow_log_id")
_TITLE = "flow logs as approved, by flowlake setup check --save-baseline"

Region = tuple[str, str]
"""An account and a region."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was approved."""

    regions: tuple[Region, ...]
    """Of which accounts and regions it speaks, also where they have no flow log."""
    flow_logs: pl.DataFrame
    """Of ``FLOW_LOGS``; what a baseline does not keep is null."""


def read_baseline(place: str | os.PathLike[str], access: Access = Access()) -> Baseline:
    """Read a baseline from a file or ``s3://…``.

    Raises:
        UsageError: when it is no baseline.
        StorageError: when it cannot be read.
    """
    where = canonical(place)
    body = bytes(open_storage(where, access).get(where))
    try:
        document = json.loads(body)
        if document["title"] != _TITLE:
            raise ValueError(f"its title is {document['title']!r}")
        regions = [(each["account_id"], each["region"]) for each in document["regions"]]
        rows = [_row(each) for each in document["flow_logs"]]
        frame = pl.DataFrame(rows, schema=FLOW_LOGS)
    except (
        *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
        pl.exceptions.PolarsError,
    ) as error:
        raise UsageError(
            f"{place} is no baseline: {str(error) or type(error).__name__}. "
            "`flowlake setup check --save-baseline FILE` writes one."
        ) from error
    return Baseline(tuple(regions), frame)


def save_baseline(
    place: str | os.PathLike[str],
    flow_logs: pl.DataFrame,
    regions: Iterable[Region],
    access: Access = Access(),
) -> Baseline:
    """Write the flow logs of these regions as approved; what the file says of others stays.

    Args:
        place: a file or ``s3://…``; if it is there, it must be a baseline.
        flow_logs: of ``FLOW_LOGS``, all that these regions have.
        regions: the accounts and regions that were looked at.
        access: AWS profile.

    Raises:
        UsageError: when something else is there.
        StorageError: when it cannot be read or written.
    """
    now = set(regions)
    known = _known(place, access)
    spoken = sorted({*now, *known.regions})
    others = [row for row in known.flow_logs.iter_rows(named=True) if _where(row) not in now]
    rows = sorted([*others, *flow_logs.iter_rows(named=True)], key=_order)
    document = {
        "title": _TITLE,
        "regions": [{"account_id": account, "region": region} for account, region in spoken],
        "flow_logs": [_kept(row) for row in rows],
    }
    where = canonical(place)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    open_storage(where, access).put(where, text.encode())
    return Baseline(tuple(spoken), pl.DataFrame(rows, schema=FLOW_LOGS))


def drift(baseline: Baseline, flow_logs: pl.DataFrame, regions: Iterable[Region]) -> pl.DataFrame:
    """Compare flow logs with the approved ones: a frame of ``DRIFT``, by account and region.

    Args:
        baseline: what was approved.
        flow_logs: of ``FLOW_LOGS``, all that these regions have.
        regions: the accounts and regions that were looked at; what the baseline says of others
            does not matter.

    Raises:
        UsageError: when the baseline does not speak of a region.
    """
    looked_at = set(regions)
    for account_id, region in sorted(looked_at - set(baseline.regions)):
        raise UsageError(
            f"The baseline does not speak of {region} in account {account_id}: add it with "
            "--save-baseline, or name the --region that it is of."
        )
    before = {_key(row): row for row in baseline.flow_logs.iter_rows(named=True)}
    before = {key: row for key, row in before.items() if _where(row) in looked_at}
    now = {_key(row): row for row in flow_logs.iter_rows(named=True)}
    found = [
        _change("changed", now[key], before[key])
        for key in now.keys() & before.keys()
        if _differences(before[key], now[key])
    ]
    new = {key: now[key] for key in sorted(now.keys() - before.keys())}
    for key in sorted(before.keys() - now.keys()):
        gone = before[key]
        like = [each for each in new if _same_place(new[each], gone)]
        if like:
            again = new.pop(min(like, key=lambda each: len(_differences(gone, new[each]))))
            found.append(_change("made again", again, gone))
        else:
            found.append(_change("deleted", None, gone))
    found += [_change("added", row, None) for row in new.values()]
    frame = pl.DataFrame(found, schema=DRIFT)
    return frame.sort("account_id", "region", "resource_id", "flow_log_id", "flow_log_id_before")


def _known(place: str | os.PathLike[str], access: Access) -> Baseline:
    where = canonical(place)
    storage = open_storage(where, access)
    try:
        there = any(page.height for page in storage.list(where))
    except NothingThere:
        there = False
    if there:
        return read_baseline(place, access)
    return Baseline((), pl.DataFrame(schema=FLOW_LOGS))


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """A flow log as the file has it: what is null is left out."""
    known = {name: row[name] for name in (*_ID, *KEPT) if row[name] is not None}
    known["tags"] = {each["key"]: each["value"] for each in row["tags"] or ()}
    return known


def _row(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A flow log of the file as a row."""
    if unknown := kept.keys() - {*_ID, *KEPT}:
        raise ValueError(f"a flow log has {', '.join(sorted(unknown))}")
    tags = [{"key": key, "value": value} for key, value in sorted(kept["tags"].items())]
    return {name: kept[name] for name in _ID} | dict(kept) | {"tags": tags}


def _where(row: Mapping[str, Any]) -> Region:
    return row["account_id"], row["region"]


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _ID)


def _order(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["account_id"], row["region"], row["resource_id"] or "", row["flow_log_id"]


def _same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _where(one) == _where(other) and one["resource_id"] == other["resource_id"]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    pairs = ((name, _text(before[name]), _text(now[name])) for name in KEPT)
    return [{"what": name, "before": a, "now": b} for name, a, b in pairs if a != b]


def _text(value: Any) -> str | None:
    if isinstance(value, list):
        return " ".join(f"{each['key']}={each['value']}" for each in value) or None
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _change(
    change: str, now: Mapping[str, Any] | None, before: Mapping[str, Any] | None
) -> dict[str, Any]:
    row = now or before
    assert row is not None
    return {
        "change": change,
        "account_id": row["account_id"],
        "region": row["region"],
        "flow_log_id": now["flow_log_id"] if now else None,
        "flow_log_id_before": before["flow_log_id"] if before else None,
        "resource_id": row["resource_id"],
        "differences": _differences(before, now) if before and now else [],
    }
