"""Whether flow logs deliver: what EC2 says of them, and how new what has arrived is."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from flowlake.aws import Access, client, refusals
from flowlake.errors import FlowLakeError, StorageError
from flowlake.lake import Lake
from flowlake.layout import FILE_NAME
from flowlake.setup.advice import advise
from flowlake.setup.watching import RECEIVED
from flowlake.storage import HOUR, open_storage

NEWEST = pl.Schema(
    {
        "flow_log_id": pl.String(),
        "newest": pl.Datetime("us", "UTC"),
        "trouble": pl.String(),
    }
)
"""What lies at a flow log's destination: the time (UTC) of the newest there, to a few minutes; null
where nothing is that is younger than ``LOOK_BACK``, or with ``trouble`` where nobody could look."""

SILENT = timedelta(hours=1)
"""A flow log that has delivered nothing for so long does not deliver. AWS publishes every five
minutes, to S3 within ten minutes of an interval of ten at most, and writes a NODATA record for an
interface without traffic (Amazon VPC User Guide, "Flow logs basics" and "Flow log files")."""

LOOK_BACK = timedelta(days=2)
"""How far back a bucket is looked into, by the days in its keys."""

_ARN = re.compile(r"arn:[a-z-]+:s3:::(?P<bucket>[^/]+)/?(?P<folder>.*?)/?$")


def received(lake: Lake) -> pl.DataFrame:
    """Sum up by flow log what a lake has received: a frame of ``RECEIVED``.

    It reads the ledger, and of the records the ids of the lake's last day.

    Raises:
        LakeError: when the lake cannot be read.
    """
    known = ["account_id", "region", "flow_log_id", "log_group"]
    ledger = lake.objects().filter(pl.col("rows") > 0, state="converted")
    group = pl.col("url").str.extract_groups(HOUR.pattern).struct.field("group")
    lasts = pl.when(group.is_null()).then(pl.duration()).otherwise(pl.duration(hours=1))
    until = pl.min_horizontal(pl.col("slot") + lasts, "converted_at")
    ledger = ledger.with_columns(log_group=group, newest=until)
    named = ledger.filter(pl.any_horizontal(pl.col("flow_log_id", "log_group").is_not_null()))
    summed = named.group_by(known).agg(objects=pl.len().cast(pl.Int64), newest=pl.max("newest"))
    last = max((until for _, until in lake.spans()), default=None)
    seen = pl.DataFrame(schema={"flow_log_id": pl.String, "interfaces": pl.List(pl.String)})
    if last is not None:
        recent = lake.flows(since=last - timedelta(days=1))
        seen = (
            recent.drop_nulls(["flow_log_id", "interface_id"])
            .group_by("flow_log_id")
            .agg(interfaces=pl.col("interface_id").unique().sort())
            .collect()
        )
    joined = summed.join(seen, on="flow_log_id", how="left")
    return joined.select(RECEIVED.names()).cast(RECEIVED).sort(known)


def newest_there(
    flow_logs: pl.DataFrame, access: Access = Access(), now: datetime | None = None
) -> pl.DataFrame:
    """Look for the newest of each flow log at its destination: a frame of ``NEWEST``.

    In S3 the folders of the last days are listed, of CloudWatch Logs the newest stream is asked
    for; a delivery stream cannot be looked into.

    Args:
        flow_logs: of ``FLOW_LOGS``.
        access: AWS profile and requester-pays.
        now: the time; by default it is asked of the clock.
    """
    at = now or datetime.now(UTC)
    listings: dict[str, dict[str, datetime]] = {}
    rows = []
    for row in flow_logs.iter_rows(named=True):
        newest, trouble = None, None
        try:
            if row["destination_type"] == "s3":
                newest = _in_bucket(row, access, at, listings)
            elif row["destination_type"] == "cloud-watch-logs":
                newest = _in_log_group(row, access)
            else:
                trouble = "FlowLake cannot look into a delivery stream"
        except FlowLakeError as error:
            trouble = str(error).rstrip(".")
        rows.append({"flow_log_id": row["flow_log_id"], "newest": newest, "trouble": trouble})
    return pl.DataFrame(rows, schema=NEWEST)


def deliveries(
    flow_logs: pl.DataFrame,
    there: pl.DataFrame,
    lake: pl.DataFrame | None,
    now: datetime,
    idle: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Tell of each flow log whether it delivers, and if not, why and what helps.

    Args:
        flow_logs: of ``FLOW_LOGS``.
        there: of ``NEWEST``; a flow log that is not in it was not looked for.
        lake: of ``RECEIVED``; None without a lake.
        now: the time.
        idle: the resources in which there is no interface, so that nothing can arrive of them.
    """
    found = {row["flow_log_id"]: row for row in there.iter_rows(named=True)}
    kept = [] if lake is None else lake.to_dicts()
    until = max((row["newest"] for row in kept if row["newest"]), default=None)
    for row in flow_logs.iter_rows(named=True):
        if row["status"] != "ACTIVE" or row["deliver_status"] == "FAILED" or row["deliver_error"]:
            yield _failed(row)
            continue
        mine = [each["newest"] for each in kept if _is_of(each, row) and each["newest"]]
        looked = found.get(row["flow_log_id"])
        told = _by_age(row, max(mine, default=None), looked, lake is not None, until, now)
        if told["level"] == "error" and row["resource_id"] in idle:
            why = f"{told['why']} There is no interface in {row['resource_id']} now."
            told |= {"level": "note", "why": why, "to_do": None}
        yield told


def stale(flow_logs: pl.DataFrame, lake: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Those of the flow logs of which the lake has nothing new, to be looked for elsewhere."""
    rows = lake.filter(pl.col("newest") >= now - SILENT).to_dicts()
    fresh = [any(_is_of(each, row) for each in rows) for row in flow_logs.iter_rows(named=True)]
    return flow_logs.filter(~pl.Series(fresh, dtype=pl.Boolean))


def _is_of(received_row: Mapping[str, Any], flow_log: Mapping[str, Any]) -> bool:
    if received_row["flow_log_id"] is not None:
        return bool(received_row["flow_log_id"] == flow_log["flow_log_id"])
    keys = ("account_id", "region", "log_group")
    return all(received_row[key] == flow_log[key] for key in keys)


def _by_age(
    row: Mapping[str, Any],
    in_lake: datetime | None,
    looked: Mapping[str, Any] | None,
    with_lake: bool,
    until: datetime | None,
    now: datetime,
) -> dict[str, Any]:
    """What the age of the newest, in the lake and at the destination, says of a flow log."""
    there = looked["newest"] if looked else None
    trouble = looked["trouble"] if looked else None
    newest = max(filter(None, (in_lake, there)), default=None)
    where = row["destination"]
    if newest is None and trouble:
        why = f"Whether anything arrives is not known: {trouble}."
        return advise("warning", "delivery", row, why, "Name a --lake that is converted from it.")
    if newest is None:
        if row["created_at"] is not None and now - row["created_at"] < SILENT:
            why = f"It is not an hour old, and nothing has arrived at {where} yet."
            return advise("note", "delivery", row, why, "Run this again in half an hour.")
        why = f"Nothing has arrived at {where} for {LOOK_BACK.days} days."
        return advise("error", "delivery", row, why, _NOTHING)
    if now - newest > SILENT:
        if there is None and trouble:
            if until is not None and until - newest > SILENT:
                why = f"The lake has it until {_at(newest)}, and others until {_at(until)}."
                return advise("error", "delivery", row, why, _NOTHING)
            why = f"The lake ends at {_at(newest)}. At {where} nobody could look: {trouble}."
            return advise("warning", "delivery", row, why, _CONVERT)
        why = f"Nothing has arrived since {_at(newest)}."
        return advise("error", "delivery", row, why, _NOTHING)
    if with_lake and (in_lake is None or newest - in_lake > SILENT):
        lake = f"it until {_at(in_lake)}" if in_lake else "nothing of it"
        why = f"It delivers, the newest at {_at(newest)}, but the lake has {lake}."
        return advise("warning", "delivery", row, why, _CONVERT)
    return advise("ok", "delivery", row, f"It delivers: the newest is of {_at(newest)}.")


_NOTHING = (
    "See that its VPC, subnet or interface is in use, that the destination is still there and its "
    "policy or role still lets AWS write."
)
_CONVERT = "Run `flowlake convert` with its bucket or log group as a source."


def _at(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


_TO_BUCKET = (
    "The bucket's policy must let delivery.logs.amazonaws.com put objects below AWSLogs/ "
    "and ask for the bucket's ACL, and so must that of its KMS key, if it has one of its own: "
    "`flowlake setup policy bucket` and `flowlake setup policy kms-key` print them."
)
_TO_GROUP = (
    "The role must trust vpc-flow-logs.amazonaws.com and allow it to write into the log group: "
    "`flowlake setup policy cloudwatch` prints both."
)
_TO_STREAM = (
    "The delivery stream must be active, and in the same account and region as the flow log, or be "
    "shared with it by a role."
)


def _failed(row: Mapping[str, Any]) -> dict[str, Any]:
    """What EC2's own words mean (Amazon EC2 API Reference, "FlowLog")."""
    said = row["deliver_error"]
    if not said:
        why = f"EC2 says that its status is {row['status']}, its delivery {row['deliver_status']}."
        return advise("error", "delivery", row, why, "Make it anew, and delete this one.")
    text = said.lower()
    if "access" in text:
        to_do = {"s3": _TO_BUCKET, "cloud-watch-logs": _TO_GROUP}.get(
            row["destination_type"], _TO_STREAM
        )
        cause = f"AWS may not write to {row['destination']}"
        if row["destination_type"] == "cloud-watch-logs":
            cause += f" as {row['role_arn']}"
    elif "rate" in text:
        cause = "CloudWatch Logs takes no more, or the account has all the log groups it may have"
        to_do = "Raise the quota of CloudWatch Logs, or deliver to S3."
    elif "unknown" in text:
        cause = "the error is AWS's own"
        to_do = "Wait an hour; if it stays, make the flow log anew, or ask AWS Support."
    else:
        cause, to_do = "AWS says no more", _NOTHING
    return advise("error", "delivery", row, f"EC2 says {said!r}: {cause}.", to_do)


def _in_bucket(
    row: Mapping[str, Any],
    access: Access,
    now: datetime,
    listings: dict[str, dict[str, datetime]],
) -> datetime | None:
    """The newest slot of a flow log among the objects of the last days, the last day first."""
    for back in range(LOOK_BACK.days + 1):
        folder = _folder(row, now - timedelta(days=back))
        if folder not in listings:
            listings[folder] = _slots(folder, access)
        if found := listings[folder].get(row["flow_log_id"]):
            return found
    return None


def _folder(row: Mapping[str, Any], day: datetime) -> str:
    """Where a flow log's objects of a day lie (Amazon VPC User Guide, "Flow log files")."""
    found = _ARN.fullmatch(row["destination"] or "")
    if found is None:
        raise StorageError(f"its destination {row['destination']} is no bucket")
    account, region = row["account_id"], row["region"]
    root = "/".join(filter(None, (f"s3://{found['bucket']}", found["folder"], "AWSLogs")))
    if row["hive"]:
        return (
            f"{root}/aws-account-id={account}/aws-service=vpcflowlogs/aws-region={region}/"
            f"{day:year=%Y/month=%m/day=%d}"
        )
    return f"{root}/{account}/vpcflowlogs/{region}/{day:%Y/%m/%d}"


def _slots(folder: str, access: Access) -> dict[str, datetime]:
    newest: dict[str, datetime] = {}
    for page in open_storage(folder, access).list(folder):
        parts = page["url"].str.extract_groups(FILE_NAME.pattern).struct.unnest()
        slot = pl.col("slot").str.to_datetime("%Y%m%dT%H%M", time_zone="UTC", strict=False)
        slots = parts.select("flow_log_id", slot).drop_nulls().group_by("flow_log_id")
        for flow_log_id, at in slots.agg(pl.max("slot")).iter_rows():
            newest[flow_log_id] = max(at, newest.get(flow_log_id, at))
    return newest


def _in_log_group(row: Mapping[str, Any], access: Access) -> datetime | None:
    what = f"The log group {row['log_group']} cannot be looked into"
    with refusals(what, "logs:DescribeLogStreams"):
        logs = client("logs", row["region"], access)
        streams = logs.describe_log_streams(
            logGroupName=row["log_group"], orderBy="LastEventTime", descending=True, limit=1
        )["logStreams"]
    stamp = streams[0].get("lastEventTimestamp") if streams else None
    return datetime.fromtimestamp(stamp / 1000, UTC) if stamp else None
