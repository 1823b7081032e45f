"""Rows to test the checks of a setup with: flow logs, networks, interfaces, and what arrived."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from flowlake.describing import INVENTORY, NETWORKS
from flowlake.fields import DEFAULT_FORMAT
from flowlake.setup.arrivals import NEWEST
from flowlake.setup.flow_logs import FLOW_LOGS
from flowlake.setup.watching import RECEIVED

ACCOUNT, REGION = "123456789012", "eu-west-1"
NOW = datetime(2026, 1, 14, 12, tzinfo=UTC)
FRESH = NOW - timedelta(minutes=10)
OLD = NOW - timedelta(hours=5)


def flow_log(number: int = 1, resource: str = "vpc-1", **others: Any) -> dict[str, Any]:
    """A flow log that delivers all traffic to S3 in the default format, made long ago."""
    fields = others.get("fields", DEFAULT_FORMAT)
    row = {
        "account_id": ACCOUNT,
        "region": REGION,
        "flow_log_id": f"fl-{number:08x}",
        "resource_id": resource,
        "status": "ACTIVE",
        "deliver_status": "SUCCESS",
        "traffic_type": "ALL",
        "destination_type": "s3",
        "destination": "arn:aws:s3:::flow-logs",
        "format": " ".join(f"${{{name}}}" for name in fields),
        "fields": list(fields),
        "file_format": "plain-text",
        "hive": False,
        "per_hour": False,
        "max_aggregation_interval": 600,
        "created_at": NOW - timedelta(days=30) + timedelta(seconds=number),
        "tags": [],
    }
    return dict.fromkeys(FLOW_LOGS) | row | others


def flow_logs(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=FLOW_LOGS)


def networks(*pairs: tuple[str, str | None]) -> pl.DataFrame:
    """VPCs, and subnets of VPCs."""
    rows = [(ACCOUNT, REGION, vpc, subnet, None) for vpc, subnet in pairs]
    return pl.DataFrame(rows, schema=NETWORKS, orient="row")


def interfaces(*triples: tuple[str, str, str]) -> pl.DataFrame:
    """Interfaces, each with its subnet and its VPC."""
    rows = [
        {
            "account_id": ACCOUNT,
            "region": REGION,
            "interface_id": interface,
            "subnet_id": subnet,
            "vpc_id": vpc,
        }
        for interface, subnet, vpc in triples
    ]
    return pl.DataFrame([dict.fromkeys(INVENTORY) | row for row in rows], schema=INVENTORY)


def in_lake(
    flow_log_id: str | None, newest: datetime, *inside: str, group: str | None = None
) -> dict[str, Any]:
    return {
        "account_id": ACCOUNT,
        "region": REGION,
        "flow_log_id": flow_log_id,
        "log_group": group,
        "objects": 1,
        "newest": newest,
        "interfaces": list(inside),
    }


def received(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=RECEIVED)


def newest(*rows: tuple[str, datetime | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=NEWEST, orient="row")
