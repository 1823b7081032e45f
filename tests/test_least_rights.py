"""The policies are enough and no more: real runs, with each right that is not allowed denied.

S3 is a real server behind a proxy that denies what the policies do not allow, and records what is
asked. CloudWatch Logs, EC2 and SNS are moto's, with what botocore asks of them recorded.
"""

import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import pytest
from typer.testing import CliRunner

from flowlake.aws_lambda import handler
from flowlake.cli import app
from flowlake.errors import StorageError
from flowlake.samples import sample_objects
from flowlake.setup import policies, roles
from flowlake.setup.policies import Policy
from flowlake.storage import open_storage
from tests.conftest import forget_s3
from tests.rights import Call, Recorder, allowed, listed, recording
from tests.test_aws_lambda import Context, batch, created, failed

ACCOUNT, REGION = "123456789012", "eu-west-1"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:security"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:flow-logs"
RULES = """
[delivery.out]
kind = "stdout"

[[alarm]]
name = "everything"
kind = "watched_port"
targets = ["0.0.0.0/0"]
ports = [443]
deliver = ["out"]
"""
SQL = "SELECT count(*) FROM flows"


def actions(*given: Policy) -> set[str]:
    found = [each["Action"] for policy in given for each in policy["Statement"]]
    return {action for one in found for action in listed(one)}


def asked(calls: Sequence[Call]) -> set[str]:
    return {call.action for call in calls}


@pytest.fixture
def recorder(
    s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Recorder]:
    """Some flow logs at ``raw/AWSLogs`` of the bucket; FlowLake goes by the recorder."""
    storage = open_storage(s3)
    for key, body in list(sample_objects(hours=1, records_per_object=50))[:4]:
        storage.put(f"{s3}/raw/{key}", body)
    (tmp_path / "alarms.toml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWLAKE_LAKE", f"{s3}/lake")
    with recording(s3_server) as recorder:
        monkeypatch.setenv("AWS_ENDPOINT_URL", recorder.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", recorder.endpoint)
        forget_s3()
        yield recorder


def run(*words: str) -> tuple[int, str]:
    """The exit code of a command, and what it says."""
    done = CliRunner().invoke(app, words)
    code = getattr(done.exception, "exit_code", done.exit_code)
    return code, f"{done.output}{done.exception}"


def flowlake(*words: str, exit_code: int = 0) -> str:
    code, said = run(*words)
    assert code == exit_code, (words, said)
    return said


def test_a_lake_is_made_kept_and_asked(s3: str, recorder: Recorder) -> None:
    """Converting needs two policies, one of each side; asking needs to read, verifying both."""
    raw, lake = f"{s3}/raw/AWSLogs", f"{s3}/lake"
    reads_raw, keeps, reads = policies.reader([raw]), policies.writer(lake), policies.reader([lake])

    recorder.allow(reads_raw, keeps)
    flowlake("convert", raw, "--workers", "1", "--account", "123456789010")
    flowlake("convert", raw, "--workers", "2")
    assert recorder.denied() == []
    converting = recorder.calls()
    from_raw = [call for call in converting if allowed(call, [reads_raw])]
    assert asked(from_raw) == actions(reads_raw)
    assert {call.resource for call in from_raw} >= {f"arn:aws:s3:::{s3[5:]}/raw/AWSLogs"}

    recorder.allow(reads)
    flowlake("query", "protocol_breakdown")
    flowlake("sql", SQL)
    flowlake("hunt", "10.0.0.13")
    flowlake("status")
    assert recorder.denied() == []
    assert asked(recorder.calls()) == actions(reads)

    recorder.allow(policies.reader([raw, lake]))
    flowlake("verify", raw)
    assert recorder.denied() == []

    recorder.allow(keeps)
    flowlake("compact")
    flowlake("vacuum", "--retention", "0m", "--no-writers")
    flowlake("alarms", "run", exit_code=3)
    flowlake("alarms", "findings")
    flowlake("expire", "--older-than", "2026-01-15")
    assert recorder.denied() == []
    tending = recorder.calls()

    parts = put_in_parts(f"{lake}/flows/large.parquet", recorder, keeps)
    own = [call for call in (*converting, *tending, *parts) if allowed(call, [keeps])]
    assert asked(own) == actions(keeps)


def put_in_parts(url: str, recorder: Recorder, policy: Policy) -> list[Call]:
    """A file that is put in parts, and one that is given up, because a part fails."""
    recorder.allow(policy)
    open_storage(url).put(url, bytes(12 << 20))
    assert recorder.denied() == []
    assert len(recorder.calls()) > 3
    recorder.allow(policy, breaks_parts=True)
    with pytest.raises(StorageError):
        open_storage(url).put(url, bytes(12 << 20))
    assert recorder.denied() == []
    assert "s3:AbortMultipartUpload" in asked(recorder.calls())
    return recorder.calls()


def test_who_only_asks_cannot_write(s3: str, recorder: Recorder) -> None:
    raw, lake = f"{s3}/raw/AWSLogs", f"{s3}/lake"
    flowlake("convert", raw, "--workers", "1", "--account", "123456789010")
    recorder.allow(policies.reader([raw, lake]))
    for command in (["convert", raw, "--workers", "1"], ["alarms", "run"]):
        assert "access is denied" in flowlake(*command, exit_code=1)
    granted = set(recorder.calls()) - set(recorder.denied())
    assert asked(list(granted)) <= {"s3:ListBucket", "s3:GetObject"}
    assert "s3:PutObject" in asked(recorder.denied())


def test_a_policy_for_another_prefix_opens_nothing(s3: str, recorder: Recorder) -> None:
    recorder.allow(policies.reader([f"{s3}/raw/AWS"]), policies.writer(f"{s3}/lak"))
    assert "access is denied" in flowlake("convert", f"{s3}/raw/AWSLogs", exit_code=1)
    assert "access is denied" in flowlake("sql", SQL, exit_code=1)


def test_the_functions_role(s3: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lists no source; an object that is gone fails by itself, as with all rights."""
    rules = f"{s3}/lake-settings/alarms.toml"
    open_storage(rules).put(rules, RULES.encode())
    monkeypatch.setenv("FLOWLAKE_ALARMS", rules)
    policy = roles.function(
        "convert",
        queue=QUEUE,
        sources=[f"{s3}/raw"],
        lake=f"{s3}/lake",
        alarms_file=rules,
        topics=[TOPIC],
    )
    urls = [
        f"{s3}/raw/{key}" for key, _ in list(sample_objects(hours=1, records_per_object=50))[:4]
    ]
    recorder.allow(policy)
    assert failed(handler(batch(*map(created, urls), created(f"{s3}/raw/gone.log.gz")), Context()))
    # whether an object is there is told only to whom may list
    assert {call.resource.rpartition("/")[2] for call in recorder.denied()} == {"gone.log.gz"}
    assert asked(recorder.calls()) <= actions(policy)


@pytest.fixture
def botocore_calls(moto: str, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What botocore asks of AWS, from here on."""
    calls: list[Call] = []
    ask: Callable[..., Any] = botocore.client.BaseClient._make_api_call

    def record(client: Any, operation: str, given: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        keys = (("ec2:Region", client.meta.region_name),) if service == "ec2" else ()
        calls.append(Call(f"{service}:{operation}", resource(given), keys))
        calls.extend(implied(operation, given))
        return ask(client, operation, given)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", record)
    return calls


PLACE = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
KINDS = {
    "vpc": "vpc",
    "subnet": "subnet",
    "eni": "network-interface",
    "tgw": "transit-gateway",
    "tgw-attach": "transit-gateway-attachment",
}


def implied(operation: str, given: dict[str, Any]) -> list[Call]:
    """What AWS asks for besides (Service Authorization Reference, "Dependent actions" of EC2)."""
    if operation == "DeleteFlowLogs":
        return [Call("logs:DeleteLogDelivery", "*")]
    if operation != "CreateFlowLogs":
        return []
    kinds = [(each.rpartition("-")[0], each) for each in given["ResourceIds"]]
    more = [Call("ec2:CreateFlowLogs", f"{PLACE}:{KINDS[kind]}/{each}") for kind, each in kinds]
    more.append(Call("logs:CreateLogDelivery", "*"))
    if role := given.get("DeliverLogsPermissionArn"):
        service = ("iam:PassedToService", "vpc-flow-logs.amazonaws.com")
        more.append(Call("iam:PassRole", role, (service,)))
    if given.get("TagSpecifications"):
        tagging = ("ec2:CreateAction", "CreateFlowLogs")
        more.append(Call("ec2:CreateTags", f"{PLACE}:vpc-flow-log/fl-1", (tagging,)))
    if "${ecs-" in given["LogFormat"]:
        cluster = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/web"
        inside = f"{cluster.replace(':cluster/', ':container-instance/')}/1"
        more += [Call(f"ecs:List{each}", "*") for each in ("Clusters", "Services")]
        more += [Call("ecs:ListTaskDefinitions", "*"), Call("ecs:ListTasks", inside)]
        more.append(Call("ecs:ListContainerInstances", cluster))
    return more


def resource(given: dict[str, Any]) -> str:
    """The ARN that AWS names when it denies the call."""
    if "LogFormat" in given or "FlowLogIds" in given:
        return f"{PLACE}:vpc-flow-log/fl-1"
    if group := given.get("logGroupName"):
        return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:"
    return str(given.get("TopicArn", "*"))


def assert_just(calls: Sequence[Call], policy: Policy) -> None:
    """The calls are what the policy allows, and all of it."""
    # AWS STS API Reference, GetCallerIdentity: no permissions are required
    own = [call for call in calls if call.action != "sts:GetCallerIdentity"]
    assert [call for call in own if not allowed(call, [policy])] == []
    assert asked(own) == actions(policy)


def test_a_log_group_is_read(botocore_calls: list[Call], tmp_path: Path) -> None:
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName="/vpc/flow-logs")
    logs.create_log_stream(logGroupName="/vpc/flow-logs", logStreamName="eni-1-all")
    now = round(datetime.now(UTC).timestamp())
    record = f"2 {ACCOUNT} eni-1 10.0.0.1 192.0.2.7 1025 443 6 3 180 {now} {now} ACCEPT OK"
    event = {"timestamp": now * 1000, "message": record}
    logs.put_log_events(logGroupName="/vpc/flow-logs", logStreamName="eni-1-all", logEvents=[event])
    logs.close()
    botocore_calls.clear()
    source = f"cloudwatch:///vpc/flow-logs?region={REGION}"
    flowlake("convert", source, "--lake", str(tmp_path / "lake"), "--workers", "1")
    flowlake("convert", source, "--lake", str(tmp_path / "lake"), "--workers", "1")
    policy = policies.log_groups(["/vpc/flow-logs"], account=ACCOUNT, region=REGION)
    assert_just(botocore_calls, policy)


def test_the_inventory(botocore_calls: list[Call], tmp_path: Path) -> None:
    (tmp_path / "raw.log").write_text("version srcaddr\n2 192.0.2.1\n")
    flowlake("convert", str(tmp_path / "raw.log"), "--lake", str(tmp_path / "lake"))
    flowlake("inventory", "--lake", str(tmp_path / "lake"))
    assert_just(botocore_calls, policies.inventory())
    assert_just(botocore_calls, policies.inventory([REGION]))


def test_findings_are_published(botocore_calls: list[Call], tmp_path: Path) -> None:
    sns = boto3.client("sns")
    topic = sns.create_topic(Name="security")["TopicArn"]
    sns.close()
    botocore_calls.clear()
    rules = RULES.replace('"stdout"', f'"sns"\ntopic_arn = "{topic}"')
    (tmp_path / "alarms.toml").write_text(rules)
    flowlake("alarms", "test", "--config", str(tmp_path / "alarms.toml"))
    assert_just(botocore_calls, policies.alarms([topic]))


@dataclass(frozen=True)
class Network:
    """What flow logs can be on: a VPC, a subnet, an instance, a transit gateway's attachment."""

    vpc: str
    subnet: str
    instance: str
    gateway: str
    attachment: str


@pytest.fixture
def network(moto: str) -> Network:
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    (instance,) = ec2.run_instances(
        ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet
    )["Instances"]
    gateway = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    attached = ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=gateway, VpcId=vpc, SubnetIds=[subnet]
    )
    attachment = attached["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName="/vpc/flow-logs")
    ec2.close()
    logs.close()
    return Network(vpc, subnet, instance["InstanceId"], gateway, attachment)


def test_flow_logs_are_set_up(network: Network, botocore_calls: list[Call], tmp_path: Path) -> None:
    group = "cloudwatch:///vpc/flow-logs"
    role = f"arn:aws:iam::{ACCOUNT}:role/flow-logs"
    for which in (
        ("--vpc", network.vpc),
        ("--subnet", network.subnet),
        ("--instance", network.instance),
        ("--transit-gateway", network.gateway),
        ("--transit-gateway-attachment", network.attachment),
    ):
        given = ("--to", group, "--role", role, "--name", "all", "--overlapping")
        flowlake("setup", "enable", *which, *given)
    changing = list(botocore_calls)
    botocore_calls.clear()
    baseline = str(tmp_path / "baseline.json")
    flowlake("setup", "list")
    run("setup", "check", "--save-baseline", baseline)
    ec2 = boto3.client("ec2")
    made = [each["FlowLogId"] for each in ec2.describe_flow_logs()["FlowLogs"]]
    looking = list(botocore_calls)
    botocore_calls.clear()
    flowlake("setup", "disable", *made[:2], "--yes")
    changing += botocore_calls
    botocore_calls.clear()
    run("setup", "check", "--baseline", baseline)
    ec2.close()
    looking += botocore_calls

    everything = policies.setup(ACCOUNT, [REGION], destinations=[group], role=role)
    assert_just([*changing, *looking], everything)
    look = policies.setup(ACCOUNT, [REGION], destinations=[group], read_only=True)
    assert_just(looking, look)


def test_destinations_in_s3_are_looked_into(
    s3: str, recorder: Recorder, moto_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EC2 is moto's and the bucket the real server's; moto wants to know of a bucket, too."""
    urllib.request.urlopen(f"{moto_server}/moto-api/reset", data=b"").close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    ec2, buckets = boto3.client("ec2"), boto3.client("s3", endpoint_url=moto_server)
    buckets.create_bucket(Bucket=s3.removeprefix("s3://"))
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    flowlake("setup", "enable", "--vpc", vpc, "--to", s3)
    look = policies.setup(ACCOUNT, ["us-east-1"], destinations=[s3], read_only=True)
    recorder.allow(look)
    run("setup", "check")
    assert recorder.denied() == []
    assert asked(recorder.calls()) == {"s3:ListBucket", "s3:GetObject"}
    ec2.close()
    buckets.close()
