"""The flow logs that EC2 knows: asked of moto, and of botocore's stub where moto forgets."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from flowlake.aws import Access
from flowlake.errors import StorageError, UsageError
from flowlake.setup.flow_logs import FLOW_LOGS, described_flow_logs, resource_type
from tests.conftest import forget_s3

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/flow-logs"
MADE = datetime(2026, 1, 14, 22, 5, tzinfo=UTC)


@pytest.fixture
def ec2(moto: str) -> Iterator[Any]:
    client = boto3.client("ec2", region_name="eu-west-1")
    yield client
    client.close()


@pytest.fixture
def stub(ec2: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """EC2 answers what it is told to; moto's STS still says whose account it is."""
    monkeypatch.setattr("flowlake.setup.flow_logs.client", lambda *_: ec2)
    with Stubber(ec2) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_flow_logs_are_listed_as_moto_has_them(ec2: Any) -> None:
    assert described_flow_logs().schema == FLOW_LOGS
    s3 = boto3.client("s3", region_name="eu-west-1")
    s3.create_bucket(
        Bucket="raw-logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    s3.close()
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    to_s3 = ec2.create_flow_logs(
        ResourceIds=[vpc],
        ResourceType="VPC",
        TrafficType="REJECT",
        LogDestinationType="s3",
        LogDestination="arn:aws:s3:::raw-logs",
        LogFormat="${version} ${pkt-srcaddr} ${tcp-flags}",
        MaxAggregationInterval=60,
        TagSpecifications=[
            {"ResourceType": "vpc-flow-log", "Tags": [{"Key": "Name", "Value": "all"}]}
        ],
    )["FlowLogIds"][0]
    to_group = ec2.create_flow_logs(
        ResourceIds=[vpc],
        ResourceType="VPC",
        TrafficType="ALL",
        LogGroupName="/vpc/flows",
        DeliverLogsPermissionArn=ROLE,
    )["FlowLogIds"][0]

    found = {row.pop("flow_log_id"): row for row in described_flow_logs().to_dicts()}

    assert found.keys() == {to_s3, to_group}
    made = found[to_s3].pop("created_at")
    assert made.tzinfo is not None
    assert found[to_s3] == {
        "account_id": ACCOUNT,
        "region": "eu-west-1",
        "name": "all",
        "resource_id": vpc,
        "status": "ACTIVE",
        "deliver_status": "SUCCESS",
        "deliver_error": None,
        "traffic_type": "REJECT",
        "destination_type": "s3",
        "destination": "arn:aws:s3:::raw-logs",
        "log_group": None,
        "role_arn": None,
        "format": "${version} ${pkt-srcaddr} ${tcp-flags}",
        "fields": ["version", "pkt-srcaddr", "tcp-flags"],
        "file_format": "plain-text",
        "hive": False,
        "per_hour": False,
        "max_aggregation_interval": 60,
        "tags": [{"key": "Name", "value": "all"}],
    }
    group = found[to_group]
    assert group["deliver_status"] == "FAILED"
    assert group["deliver_error"] == "Access error"
    assert (group["destination"], group["log_group"]) == ("/vpc/flows", "/vpc/flows")
    assert (group["role_arn"], group["name"], group["tags"]) == (ROLE, None, [])
    assert (group["file_format"], group["hive"], group["per_hour"]) == (None, None, None)
    assert group["fields"][:2] == ["version", "account-id"]


def test_every_page_is_read_and_options_are_kept(stub: Stubber) -> None:
    first = {
        "FlowLogId": "fl-2",
        "ResourceId": "vpc-1",
        "LogDestinationType": "s3",
        "LogDestination": "arn:aws:s3:::raw-logs/team a/",
        "DestinationOptions": {
            "FileFormat": "parquet",
            "HiveCompatiblePartitions": True,
            "PerHourPartition": True,
        },
        "CreationTime": MADE,
    }
    second = {
        "FlowLogId": "fl-1",
        "ResourceId": "tgw-1",
        "LogDestinationType": "cloud-watch-logs",
        "LogDestination": f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/tgw/flows:*",
    }
    third = {"FlowLogId": "fl-3", "ResourceId": "eni-1", "LogDestinationType": "s3"}
    stub.add_response("describe_flow_logs", {"FlowLogs": [first], "NextToken": "more"}, {})
    stub.add_response("describe_flow_logs", {"FlowLogs": [second, third]}, {"NextToken": "more"})

    found = described_flow_logs()

    assert found["flow_log_id"].to_list() == ["fl-3", "fl-1", "fl-2"]
    assert found.select("file_format", "hive", "per_hour").rows() == [
        ("plain-text", False, False),
        (None, None, None),
        ("parquet", True, True),
    ]
    assert found["log_group"].to_list() == [None, "/tgw/flows", None]
    assert found["created_at"].to_list() == [None, None, MADE]
    assert found["fields"].to_list() == [[], [], []]


def test_regions_are_asked_each_once(ec2: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_flow_logs(
        ResourceIds=[vpc],
        ResourceType="VPC",
        TrafficType="ALL",
        LogGroupName="g",
        DeliverLogsPermissionArn=ROLE,
    )
    both = described_flow_logs(regions=["us-east-1", "eu-west-1", "eu-west-1"])
    assert both["region"].to_list() == ["eu-west-1"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UnauthorizedOperation", "access is denied: these credentials need ec2:DescribeFlowLogs"),
        ("AuthFailure", "the credentials are not accepted there: check AWS_PROFILE and the region"),
        ("InternalError", "the message of AWS"),
    ],
)
def test_a_refusal_says_what_to_do(stub: Stubber, code: str, words: str) -> None:
    stub.add_client_error("describe_flow_logs", code, "the message of AWS")
    with pytest.raises(StorageError) as refused:
        described_flow_logs()
    assert str(refused.value).startswith("The flow logs of eu-west-1 cannot be listed: ")
    assert words in str(refused.value)


def test_without_a_region_or_credentials_it_says_so(
    no_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="No AWS credentials were found"):
        described_flow_logs(Access(), ["eu-west-1"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    forget_s3()
    with pytest.raises(UsageError, match="No region is known"):
        described_flow_logs()


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ("vpc-0a1b", "VPC"),
        ("subnet-0a1b", "Subnet"),
        ("eni-0a1b", "NetworkInterface"),
        ("tgw-0a1b", "TransitGateway"),
        ("tgw-attach-0a1b", "TransitGatewayAttachment"),
        ("nat-0a1b", "RegionalNatGateway"),
        ("i-0a1b", None),
        ("vpc-", None),
        ("vpc 0a1b", None),
    ],
)
def test_an_id_says_what_it_is(resource: str, kind: str | None) -> None:
    assert resource_type(resource) == kind
