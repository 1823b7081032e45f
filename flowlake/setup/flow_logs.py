"""The flow logs that EC2 knows, as rows: what is recorded, in what format, and where it goes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from flowlake.aws import Access, account_of, client, refusals, tags_of, wanted_regions

FLOW_LOGS = pl.Schema(
    {
        "account_id": pl.String(),
        "region": pl.String(),
        "flow_log_id": pl.String(),
        "name": pl.String(),
        "resource_id": pl.String(),
        "status": pl.String(),
        "deliver_status": pl.String(),
        "deliver_error": pl.String(),
        "traffic_type": pl.String(),
        "destination_type": pl.String(),
        "destination": pl.String(),
        "log_group": pl.String(),
        "role_arn": pl.String(),
        "format": pl.String(),
        "fields": pl.List(pl.String()),
        "file_format": pl.String(),
        "hive": pl.Boolean(),
        "per_hour": pl.Boolean(),
        "max_aggregation_interval": pl.Int64(),
        "created_at": pl.Datetime("us", "UTC"),
        "tags": pl.List(pl.Struct({"key": pl.String(), "value": pl.String()})),
    }
)
"""A row is a flow log, as DescribeFlowLogs has it (Amazon EC2 API Reference, "FlowLog").

``resource_id`` is what it records: a VPC, a subnet, an interface, a transit gateway or an
attachment of one. ``status`` is EC2's ``FlowLogStatus``; whether records arrive says
``deliver_status``, SUCCESS or FAILED, and ``deliver_error`` why not. ``destination_type`` is
``s3``, ``cloud-watch-logs`` or ``kinesis-data-firehose``; ``destination`` the ARN of the bucket
(and folder) or of the delivery stream, for CloudWatch Logs the log group's ARN, or its name where
EC2 says no more; ``log_group`` is its name. ``format`` is the ``LogFormat`` as EC2 has it, and
``fields`` are AWS's names in it, in order. ``file_format`` (``plain-text`` or ``parquet``),
``hive`` and ``per_hour`` are of S3 only, elsewhere null. ``max_aggregation_interval`` is in
seconds, ``created_at`` in UTC. ``name`` is the tag ``Name``.
"""

RESOURCE_TYPES = {
    "vpc-": "VPC",
    "subnet-": "Subnet",
    "eni-": "NetworkInterface",
    "tgw-": "TransitGateway",
    "tgw-attach-": "TransitGatewayAttachment",
    "nat-": "RegionalNatGateway",
}
"""How the ids of what can be recorded begin, and its type in CreateFlowLogs."""

_RIGHTS = "ec2:DescribeFlowLogs"


def resource_type(resource_id: str) -> str | None:
    """The type that CreateFlowLogs gives a resource, by its id; None for anything else's id."""
    found = re.match(r"(tgw-attach-|[a-z]+-)[0-9a-z]+$", resource_id)
    return RESOURCE_TYPES.get(found[1]) if found else None


def destination_place(flow_log: Mapping[str, Any]) -> str:
    """Where a row of ``FLOW_LOGS`` delivers to, as `flowlake convert` takes it.

    That is ``s3://BUCKET/PREFIX`` or ``cloudwatch://GROUP?region=REGION``; of a delivery stream it
    is the ARN, which no conversion takes.
    """
    destination = str(flow_log["destination"])
    if flow_log["destination_type"] == "s3":
        return f"s3://{destination.partition(':::')[2]}".rstrip("/")
    if flow_log["log_group"]:
        return f"cloudwatch://{flow_log['log_group']}?region={flow_log['region']}"
    return destination


def described_flow_logs(access: Access = Access(), regions: Sequence[str] = ()) -> pl.DataFrame:
    """Ask EC2 for an account's flow logs in some regions, with DescribeFlowLogs.

    Args:
        access: AWS profile.
        regions: which to ask; by default the profile's or the environment's.

    Returns:
        A frame of ``FLOW_LOGS``, by region, resource, time of creation and id.

    Raises:
        UsageError: when no region is known.
        StorageError: when EC2 cannot be asked.
    """
    rows: list[dict[str, Any]] = []
    for region in wanted_regions(access, regions):
        with refusals(f"The flow logs of {region} cannot be listed", _RIGHTS):
            account = account_of(region, access)
            found = flow_logs_in(client("ec2", region, access), region)
            rows += [{**each, "account_id": account} for each in found]
    frame = pl.DataFrame(rows, schema=FLOW_LOGS)
    return frame.sort("region", "resource_id", "created_at", "flow_log_id", maintain_order=True)


def batches(ids: Sequence[str], most: int) -> Iterator[list[str]]:
    """As many ids at a time as AWS takes."""
    return (list(ids[first : first + most]) for first in range(0, len(ids), most))


def flow_logs_in(ec2: Any, region: str) -> list[dict[str, Any]]:
    """The flow logs of a region as rows of ``FLOW_LOGS``, but for the account.

    Args:
        ec2: botocore's client of EC2 there, whose errors are raised.
        region: which it is.
    """
    pages = ec2.get_paginator("describe_flow_logs").paginate()
    found = (each for each in pages.search("FlowLogs[]") if each is not None)
    return [{**_row(each), "region": region} for each in found]


def _row(flow_log: Mapping[str, Any]) -> dict[str, Any]:
    """One of EC2's flow logs as a row; region and account are not in its answer."""
    # Without a type EC2 means CloudWatch Logs; without options, plain text in one folder a day.
    to = flow_log.get("LogDestinationType", "cloud-watch-logs")
    options = {"FileFormat": "plain-text"} if to == "s3" else {}
    options |= flow_log.get("DestinationOptions", {})
    arn = flow_log.get("LogDestination") or None
    group = flow_log.get("LogGroupName") or None
    if to == "cloud-watch-logs" and group is None and arn is not None:
        group = arn.split(":", 6)[6].removesuffix(":*")
    tags = tags_of(flow_log)
    return {
        "flow_log_id": flow_log["FlowLogId"],
        "name": tags.get("Name") or None,
        "resource_id": flow_log.get("ResourceId"),
        "status": flow_log.get("FlowLogStatus"),
        "deliver_status": flow_log.get("DeliverLogsStatus"),
        "deliver_error": flow_log.get("DeliverLogsErrorMessage") or None,
        "traffic_type": flow_log.get("TrafficType"),
        "destination_type": to,
        "destination": arn or group,
        "log_group": group,
        "role_arn": flow_log.get("DeliverLogsPermissionArn") or None,
        "format": flow_log.get("LogFormat"),
        "fields": re.findall(r"\$\{([^}]+)\}", flow_log.get("LogFormat", "")),
        "file_format": options.get("FileFormat"),
        "hive": options.get("HiveCompatiblePartitions", False) if to == "s3" else None,
        "per_hour": options.get("PerHourPartition", False) if to == "s3" else None,
        "max_aggregation_interval": flow_log.get("MaxAggregationInterval"),
        "created_at": flow_log.get("CreationTime"),
        "tags": [{"key": key, "value": value} for key, value in sorted(tags.items())],
    }
