"""Flow logs made and ended: in moto as users would, and with botocore's stub where moto is wrong.

Moto knows no folder of a bucket as a destination, forgets DestinationOptions, and never fails a
resource but for its bucket.
"""

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import polars as pl
import pytest
from botocore.stub import ANY, Stubber
from typer.testing import CliRunner

import flowlake as fl
from flowlake import aws
from flowlake.cli import app
from flowlake.errors import NothingThere, StorageError, UsageError
from flowlake.setup.provisioning import OUTCOMES, create_flow_logs, delete_flow_logs, plan_flow_logs
from flowlake.setup.recording import Recording
from tests.test_recording import ROLE, parsed

TO = "s3://raw-logs"
TO_S3 = Recording(TO)
MADE = {"FlowLogId": "fl-1", "ResourceId": "vpc-1"}


@dataclass(frozen=True)
class Network:
    """A VPC with a subnet and an instance, and clients to look at them."""

    ec2: Any
    vpc: str
    subnet: str
    instance: str
    interface: str

    def flow_logs(self) -> list[Any]:
        return list(self.ec2.describe_flow_logs()["FlowLogs"])


@pytest.fixture
def network(moto: str) -> Iterator[Network]:
    ec2, s3 = boto3.client("ec2"), boto3.client("s3")
    s3.create_bucket(
        Bucket="raw-logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    (made,) = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet)[
        "Instances"
    ]
    interface = made["NetworkInterfaces"][0]["NetworkInterfaceId"]
    yield Network(ec2, vpc, subnet, made["InstanceId"], interface)
    ec2.close()
    s3.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is really asked of CreateFlowLogs, as botocore gets it."""
    made: list[dict[str, Any]] = []

    def client(service: str, *rest: Any, **more: Any) -> Any:
        real = aws.client(service, *rest, **more)
        real.meta.events.register(
            "provide-client-params.ec2.CreateFlowLogs", lambda params, **_: made.append(params)
        )
        return real

    monkeypatch.setattr("flowlake.setup.provisioning.client", client)
    return made


@pytest.fixture
def stub(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """EC2 answers what it is told to, to who makes and ends flow logs."""
    ec2 = boto3.client("ec2")
    monkeypatch.setattr("flowlake.setup.provisioning.client", lambda *_: ec2)
    with Stubber(ec2) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()
    ec2.close()


def flowlake(*words: str, given: str = "") -> tuple[int, str, str]:
    """The exit code, and what is printed on either side."""
    done = CliRunner().invoke(app, ["setup", *words], input=given)
    if isinstance(done.exception, fl.FlowLakeError):
        return done.exception.exit_code, done.stdout, f"{done.stderr}{done.exception}"
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def became(outcomes: pl.DataFrame) -> list[tuple[Any, ...]]:
    return outcomes.select("resource_id", "outcome").rows()


# Create


def test_each_level_gets_its_flow_log(network: Network, calls: list[dict[str, Any]]) -> None:
    resources = [network.vpc, network.subnet, network.instance]
    plan = plan_flow_logs(resources, TO_S3, overlapping=True)
    assert network.flow_logs() == []  # a plan makes nothing
    assert (plan.region, plan.place, plan.existing) == ("eu-west-1", TO, ())

    made = create_flow_logs(plan)

    assert made.schema == OUTCOMES
    assert became(made) == [
        (network.vpc, "created"),
        (network.subnet, "created"),
        (network.interface, "created"),
    ]
    there = {each["ResourceId"]: each for each in network.flow_logs()}
    assert dict(made.select("resource_id", "flow_log_id").rows()) == {
        resource: each["FlowLogId"] for resource, each in there.items()
    }
    assert {each["LogDestination"] for each in there.values()} == {"arn:aws:s3:::raw-logs"}
    kinds = [call["ResourceType"] for call in calls]
    assert kinds == ["VPC", "Subnet", "NetworkInterface"]
    assert len({call["ClientToken"] for call in calls}) == 3


def test_a_second_run_makes_nothing(network: Network, calls: list[dict[str, Any]]) -> None:
    (first,) = create_flow_logs(plan_flow_logs([network.vpc], TO_S3))["flow_log_id"]
    plan = plan_flow_logs([network.vpc], Recording(f"{TO}/"))
    assert plan.requests == ()
    assert create_flow_logs(plan).rows() == [(network.vpc, "exists", first, None)]
    assert len(calls) == len(network.flow_logs()) == 1


def test_what_a_wider_flow_log_records_is_made_only_on_purpose(network: Network) -> None:
    (of_vpc,) = create_flow_logs(plan_flow_logs([network.vpc], TO_S3))["flow_log_id"]
    narrow = [network.subnet, network.interface]
    by = f"recorded by {network.vpc}, which it lies in"
    made = create_flow_logs(plan_flow_logs(narrow, TO_S3))
    assert made.rows() == [(each, "exists", of_vpc, by) for each in narrow]
    assert len(network.flow_logs()) == 1

    made = create_flow_logs(plan_flow_logs([network.subnet], TO_S3, overlapping=True))
    assert became(made) == [(network.subnet, "created")]
    (existing,) = plan_flow_logs([network.interface], TO_S3).existing
    assert existing.by == network.subnet  # the nearest

    elsewhere = Recording("cloudwatch://flows", role=ROLE)
    assert plan_flow_logs([network.subnet], elsewhere).existing == ()


def test_what_one_command_names_twice_is_made_once(network: Network) -> None:
    resources = [network.interface, network.subnet, network.vpc, network.instance]
    made = create_flow_logs(plan_flow_logs(resources, TO_S3))
    by = f"recorded by {network.vpc}, which this creates"
    assert made.select("resource_id", "outcome", "detail").rows() == [
        (network.interface, "exists", by),
        (network.subnet, "exists", by),
        (network.vpc, "created", None),
    ]


def test_accepted_beside_rejected_is_nothing_twice(network: Network) -> None:
    create_flow_logs(plan_flow_logs([network.vpc], Recording(TO, traffic="accept")))
    (call,) = plan_flow_logs([network.vpc], Recording(TO, traffic="reject")).requests
    assert call["TrafficType"] == "REJECT"
    (existing,) = plan_flow_logs([network.vpc], TO_S3).existing
    assert existing.differences == ("it records ACCEPT only",)
    (existing,) = plan_flow_logs([network.subnet], Recording(TO, traffic="accept")).existing
    assert existing.differences == ()


def test_how_an_existing_one_differs_is_told(network: Network) -> None:
    made = Recording("cloudwatch://flows", role=ROLE, version=2, interval=600)
    create_flow_logs(plan_flow_logs([network.vpc], made))  # there is no such group in moto
    asked = Recording("cloudwatch://flows", role=ROLE, version=3)
    (existing,) = plan_flow_logs([network.vpc], asked).existing
    assert existing.differences == (
        "it lacks vpc-id, subnet-id, instance-id and 4 more",
        "it sums up 600 seconds",
        "its delivery fails: Access error",
    )
    code, printed, _ = flowlake(
        *("enable", "--vpc", network.vpc, "--to", "cloudwatch://flows", "--role", ROLE)
    )
    assert code == 3
    assert "differs" in printed and "make another with --overlapping" in printed


def test_one_that_is_as_asked_is_enough(network: Network) -> None:
    create_flow_logs(plan_flow_logs([network.subnet], Recording(TO, version=2)))
    create_flow_logs(plan_flow_logs([network.vpc], TO_S3))
    (existing,) = plan_flow_logs([network.subnet], TO_S3).existing
    assert (existing.by, existing.differences) == (network.vpc, ())
    (existing,) = plan_flow_logs([network.subnet], Recording(TO, version=2)).existing
    assert (existing.by, existing.differences) == (network.subnet, ())


def test_other_files_are_told(stub: Stubber) -> None:
    """Moto forgets these settings: EC2's answer is the stub's."""
    known = {
        "FlowLogId": "fl-1",
        "ResourceId": "vpc-1",
        "TrafficType": "ALL",
        "LogDestinationType": "s3",
        "LogDestination": "arn:aws:s3:::raw-logs/team a/",
        "LogFormat": " ".join(f"${{{name}}}" for name in TO_S3.names("vpc")),
        "DestinationOptions": {"FileFormat": "parquet", "HiveCompatiblePartitions": True},
    }
    stub.add_response("describe_flow_logs", {"FlowLogs": [known]})
    plan = plan_flow_logs(["vpc-1"], Recording(f"{TO}/team a", file_format="parquet"))
    assert [each.differences for each in plan.existing] == [("its hive is true",)]
    stub.add_response("describe_flow_logs", {"FlowLogs": [known]})
    assert plan_flow_logs(["vpc-1"], Recording(f"{TO}/team b")).existing == ()


def test_folders_and_files_are_asked_for(stub: Stubber) -> None:
    recording = Recording(f"{TO}/team a", file_format="parquet", hive=True, hourly=True)
    plan = plan_flow_logs(["vpc-1"], recording, ask=False)
    stub.add_response(
        "create_flow_logs",
        {"FlowLogIds": ["fl-1"], "Unsuccessful": []},
        {
            "ClientToken": ANY,
            "ResourceIds": ["vpc-1"],
            "ResourceType": "VPC",
            "TrafficType": "ALL",
            "LogDestinationType": "s3",
            "LogDestination": "arn:aws:s3:::raw-logs/team a/",
            "DestinationOptions": {
                "FileFormat": "parquet",
                "HiveCompatiblePartitions": True,
                "PerHourPartition": True,
            },
            "LogFormat": ANY,
            "MaxAggregationInterval": 60,
        },
    )
    stub.add_response("describe_flow_logs", {"FlowLogs": []})  # EC2 does not know it yet
    assert create_flow_logs(plan).rows() == [(None, "created", "fl-1", None)]


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (
            "400",
            "Access Denied for LogDestination: raw-logs. Please check LogDestination permission",
            "`flowlake setup policy bucket` prints it",
        ),
        ("400", "LogDestination: raw-logs does not exist.", "make the bucket, or correct --to"),
        ("FlowLogAlreadyExists", "There is one", "There is one: `flowlake setup list` shows it"),
        ("FlowLogsLimitExceeded", "Too many", "or ask AWS for a higher quota"),
        ("InvalidSubnetID.NotFound", "No such thing", "check the id, --region and --profile"),
        ("InvalidParameter", "Unknown fields provided: asg-tag", "a lower --version"),
        ("InvalidParameter", "Unable to assume given IAM role", "setup policy cloudwatch"),
        ("InternalError", "An error. ", "An error"),
        ("InternalError", "", "InternalError"),
    ],
)
def test_what_fails_is_told_for_each(stub: Stubber, code: str, message: str, words: str) -> None:
    failed = {"ResourceId": "vpc-2", "Error": {"Code": code, "Message": message}}
    plan = plan_flow_logs(["vpc-1", "vpc-2"], TO_S3, ask=False)
    stub.add_response("create_flow_logs", {"FlowLogIds": ["fl-1"], "Unsuccessful": [failed]})
    stub.add_response("describe_flow_logs", {"FlowLogs": [MADE]})
    failure, made = create_flow_logs(plan).rows()
    assert failure[:3] == ("vpc-2", "failed", None)
    assert failure[3].endswith(words) or words in failure[3]
    assert made == ("vpc-1", "created", "fl-1", None)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UnauthorizedOperation", "these credentials need ec2:CreateFlowLogs, logs:CreateLogDel"),
        ("RequestLimitExceeded", "AWS asks to slow down"),
        ("InvalidParameterValue", "the message of AWS (InvalidParameterValue)"),
        ("FlowLogAlreadyExists", "the message of AWS: `flowlake setup list` shows it"),
    ],
)
def test_a_call_that_fails_fails_alone(stub: Stubber, code: str, words: str) -> None:
    plan = plan_flow_logs(["vpc-1", "vpc-2", "subnet-1"], TO_S3, ask=False)
    stub.add_client_error("create_flow_logs", code, "the message of AWS.")
    stub.add_response("create_flow_logs", {"FlowLogIds": ["fl-1"], "Unsuccessful": []})
    stub.add_client_error("describe_flow_logs", "UnauthorizedOperation")
    rows = create_flow_logs(plan).rows()
    assert [row[:2] for row in rows[:2]] == [("vpc-1", "failed"), ("vpc-2", "failed")]
    assert all(words in row[3] for row in rows[:2])
    assert rows[2] == (None, "created", "fl-1", None)


def test_a_bucket_that_is_not_there_fails_and_says_so(network: Network) -> None:
    code, printed, _ = flowlake("enable", "--vpc", network.vpc, "--to", "s3://no-such-bucket")
    assert code == 1
    assert "LogDestination: no-such-bucket does not exist: make the bucket, or" in printed
    assert "1 failed.\nWhat failed can be tried again" in printed
    assert "flowlake convert" not in printed


def test_transit_gateways_and_their_attachments(
    network: Network, calls: list[dict[str, Any]]
) -> None:
    ec2 = network.ec2
    gateway = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    attachment = ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=gateway, VpcId=network.vpc, SubnetIds=[network.subnet]
    )["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    made = create_flow_logs(plan_flow_logs([attachment, gateway], TO_S3))
    assert became(made) == [(attachment, "exists"), (gateway, "created")]
    assert calls[0]["ResourceType"] == "TransitGateway"
    assert "TrafficType" not in calls[0]
    (existing,) = plan_flow_logs([attachment], Recording(TO, version=2)).existing
    assert (existing.by, existing.differences) == (gateway, ())
    create_flow_logs(plan_flow_logs([attachment], TO_S3, overlapping=True))
    assert calls[1]["ResourceType"] == "TransitGatewayAttachment"


@pytest.mark.parametrize("resource", ["eni-1", "subnet-1", "i-1", "tgw-attach-1"])
def test_what_is_not_there_is_told(network: Network, resource: str) -> None:
    with pytest.raises(NothingThere, match=f"There is no {resource} in eu-west-1: check the id"):
        plan_flow_logs([network.vpc, resource], TO_S3)


def test_an_instance_without_interfaces_is_told(stub: Stubber) -> None:
    terminated = {"Reservations": [{"Instances": [{"InstanceId": "i-1"}]}]}
    stub.add_response("describe_instances", terminated)
    with pytest.raises(NothingThere, match=r"i-1 has no interface \(any more\)"):
        plan_flow_logs(["i-1"], TO_S3)


def test_without_resources_nothing_is_asked(no_aws: None) -> None:
    with pytest.raises(UsageError, match="Name what to record"):
        plan_flow_logs([], TO_S3)
    with pytest.raises(UsageError, match="'ami-1' is nothing that a flow log can record"):
        plan_flow_logs(["ami-1"], TO_S3)
    with pytest.raises(StorageError, match="No AWS credentials"):
        plan_flow_logs(["vpc-1"], TO_S3, region="eu-west-1")


# The command line


def test_what_is_printed_is_what_is_asked(network: Network, calls: list[dict[str, Any]]) -> None:
    """A dry run and the run itself cannot drift apart."""
    words = [
        *("enable", "--vpc", network.vpc, "--subnet", network.subnet, "--overlapping"),
        *("--instance", network.instance, "--to", TO, "--file-format", "parquet", "--hive"),
        *("--hourly", "--traffic", "reject", "--interval", "600", "--name", "it's $HOME"),
        *("--tag", "a b=c=d", "--tag-field", "instance=Name", "--tag-field", "asg=team"),
    ]
    code, printed, beside = flowlake(*words, "--dry-run")
    assert (code, beside) == (0, "")
    assert network.flow_logs() == []
    commands = printed.split("aws ec2 ")[1:]
    shown = [parsed(f"aws ec2 {command}") for command in commands]

    code, printed, _ = flowlake(*words)

    assert code == 0, printed
    assert [{"ClientToken": ANY} | call for call, _ in shown] == calls
    assert {json.dumps(own) for _, own in shown} == {'{"region": "eu-west-1"}'}
    assert calls[0]["TagSpecifications"][0]["Tags"] == [
        {"Key": "Name", "Value": "it's $HOME"},
        {"Key": "a b", "Value": "c=d"},
    ]
    assert len(network.flow_logs()) == 3


def test_a_dry_run_needs_no_credentials(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["enable", "--transit-gateway", "tgw-1", "--vpc", "vpc-1", "--to", "s3://raw-logs/a"]
    code, printed, beside = flowlake(*words, "--dry-run", "--profile", "my work")
    assert code == 0
    assert beside.startswith("What is recorded already is not known. ")
    (vpc, _), (gateway, own) = (parsed(f"aws ec2 {each}") for each in printed.split("aws ec2 ")[1:])
    assert own == {"profile": "my work"}
    assert (vpc["ResourceIds"], gateway["ResourceIds"]) == (["vpc-1"], ["tgw-1"])
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    code, printed, _ = flowlake(*words, "--dry-run")
    assert "--region cn-north-1" in printed and "arn:aws-cn:s3:::raw-logs/a/" in printed
    code, _, beside = flowlake("enable", "--instance", "i-1", "--to", TO, "--dry-run")
    assert code == 2
    assert "Which interfaces i-1 has can only be asked of EC2" in beside


def test_a_dry_run_shows_what_is_there(network: Network) -> None:
    flowlake("enable", "--vpc", network.vpc, "--to", TO)
    words = ("enable", "--subnet", network.subnet, "--to", TO, "--dry-run")
    code, printed, beside = flowlake(*words)
    assert (code, printed) == (0, "")
    assert f"{network.subnet} exists: fl-" in beside
    assert beside.endswith(f"recorded by {network.vpc}, which it lies in\n")
    code, printed, beside = flowlake(*words[:2], "subnet-1", *words[3:])
    assert code == 1
    assert beside.startswith("There is no subnet-1 in eu-west-1")


def test_next_steps_are_told_and_answers_are_data(network: Network) -> None:
    code, printed, _ = flowlake("enable", "--vpc", network.vpc, "--to", TO)
    assert code == 0
    assert "1 created.\nAWS delivers about 10 minutes" in printed
    assert "flowlake setup check --region eu-west-1" in printed
    assert f"flowlake convert {TO} --lake" in printed
    code, printed, beside = flowlake(
        *("enable", "--interface", network.interface, "--to", "cloudwatch://flows"),
        *("--role", ROLE, "--format", "json"),
    )
    (answer,) = json.loads(printed)
    assert (answer["resource_id"], answer["outcome"]) == (network.interface, "created")
    assert "flowlake convert 'cloudwatch://flows?region=eu-west-1'" in beside
    assert "about 5 minutes" in beside


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--vpc", "subnet-1"), "--vpc takes the id of a VPC, vpc-…, not 'subnet-1'"),
        (("--transit-gateway", "tgw-attach-1"), "--transit-gateway takes the id of"),
        (("--instance", "eni-1"), "--instance takes the id of an instance, i-…"),
        ((), "Name what to record"),
        (("--vpc", "vpc-1", "--tag", "a"), "--tag is written KEY=VALUE, not 'a'"),
        (("--vpc", "vpc-1", "--tag-field", "a"), "--tag-field is written OF=KEY"),
        (("--vpc", "vpc-1", "--tag", "Name=a", "--name", "b"), "--name is the tag Name"),
        (("--vpc", "vpc-1", "--dry-run", "--format", "json"), "leave out --format"),
        (("--vpc", "vpc-1", "--format", "xml"), "--format is one of"),
        (("--vpc", "vpc-1", "--region", "moon"), "'moon' is no region of AWS"),
    ],
)
def test_wrong_options_are_refused(no_aws: None, words: tuple[str, ...], said: str) -> None:
    code, printed, beside = flowlake("enable", "--to", TO, *words)
    assert (code, printed) == (2, "")
    assert said in beside


def test_flow_logs_are_listed(network: Network) -> None:
    code, printed, _ = flowlake("list")
    assert (code, printed.splitlines()) == (
        0,
        ["No flow log in eu-west-1: `flowlake setup enable --help` says how to make one."],
    )
    flowlake("enable", "--vpc", network.vpc, "--to", TO, "--name", "all", "--version", "2")
    code, printed, _ = flowlake("list", "--region", "eu-west-1", "--region", "us-east-1")
    assert code == 0
    assert printed.splitlines()[0].split()[:5] == [
        *("flow_log_id", "name", "resource_id", "traffic_type", "delivers_to")
    ]
    assert {"all", network.vpc, "ALL", TO, "14", "60", "SUCCESS"} <= set(printed.split())
    assert printed.endswith("1 flow log in eu-west-1, us-east-1.\n")
    (listed,) = json.loads(flowlake("list", "--format", "json")[1])
    assert list(listed) == list(fl.described_flow_logs().columns)


# Delete


def test_flow_logs_are_deleted(network: Network) -> None:
    both = create_flow_logs(plan_flow_logs([network.vpc, network.subnet], TO_S3, overlapping=True))
    first, second = both["flow_log_id"]
    code, printed, _ = flowlake("disable", first, "--yes")
    assert code == 0
    assert network.vpc in printed
    assert "1 flow log deleted. What was delivered stays in s3://raw-logs" in printed
    assert [each["FlowLogId"] for each in network.flow_logs()] == [second]
    assert delete_flow_logs([second, second]).rows() == [(None, "deleted", second, None)]
    assert network.flow_logs() == []


def test_it_is_asked_first(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = create_flow_logs(plan_flow_logs([network.vpc], TO_S3))["flow_log_id"]
    code, printed, beside = flowlake("disable", made, given="y\n")
    assert (code, printed) == (2, "")
    assert "Nobody can be asked here: add --yes" in beside
    commands = importlib.import_module("flowlake.cli.setup.flow_logs")
    monkeypatch.setattr(commands, "_can_ask", lambda: True)
    code, printed, beside = flowlake("disable", made, given="n\n")
    assert code == 1
    assert network.vpc in printed and "Delete 1 flow log? [y/N]" in printed
    assert beside == "Nothing was deleted.\n"
    assert len(network.flow_logs()) == 1
    code, printed, _ = flowlake("disable", made, given="y\n")
    assert code == 0
    assert network.flow_logs() == []


def test_what_is_no_flow_log_is_refused_before_anything(network: Network) -> None:
    (made,) = create_flow_logs(plan_flow_logs([network.vpc], TO_S3))["flow_log_id"]
    code, _, beside = flowlake("disable", made, "fl-1", "--yes")
    assert code == 1
    assert "There is no flow log fl-1 in eu-west-1" in beside and "Nothing was del" in beside
    code, _, beside = flowlake("disable", network.vpc, "--yes")
    assert code == 2
    assert "is no flow log: `flowlake setup list` shows their ids" in beside
    assert len(network.flow_logs()) == 1


def test_a_deletion_that_fails_is_told(stub: Stubber) -> None:
    failed = {"ResourceId": "fl-2", "Error": {"Code": "InternalError", "Message": "Not now."}}
    stub.add_response(
        "delete_flow_logs", {"Unsuccessful": [failed]}, {"FlowLogIds": ["fl-1", "fl-2"]}
    )
    assert delete_flow_logs(["fl-1", "fl-2"]).rows() == [
        (None, "deleted", "fl-1", None),
        (None, "failed", "fl-2", "Not now"),
    ]
    stub.add_client_error("delete_flow_logs", "UnauthorizedOperation", "No.")
    (row,) = delete_flow_logs(["fl-1"]).rows()
    assert row[1] == "failed" and "ec2:DeleteFlowLogs" in row[3]


def test_a_deletion_that_fails_is_an_exit_code(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = create_flow_logs(plan_flow_logs([network.vpc], TO_S3))["flow_log_id"]
    ec2 = boto3.client("ec2")
    monkeypatch.setattr("flowlake.setup.provisioning.client", lambda *_: ec2)
    failed = {"ResourceId": made, "Error": {"Code": "InternalError", "Message": "Not now."}}
    with Stubber(ec2) as stubber:
        stubber.add_response("delete_flow_logs", {"Unsuccessful": [failed]})
        code, printed, beside = flowlake("disable", made, "--yes")
    ec2.close()
    assert code == 1
    assert beside == f"flowlake: {made} was not deleted. Not now.\n"
    assert "deleted." not in printed
