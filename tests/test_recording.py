"""How to record, as CreateFlowLogs takes it, and as a shell and the AWS CLI take it."""

import functools
import json
import re
import subprocess
from typing import Any

import botocore
import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from flowlake.errors import UsageError
from flowlake.fields import BY_NAME, DEFAULT_FORMAT, FIELDS, TRANSIT_GATEWAY_FORMAT
from flowlake.setup.recording import Recording, aws_command, requests

ROLE = "arn:aws:iam::123456789012:role/flow-logs"
GROUP = "cloudwatch:///vpc/flows"


@functools.cache
def shape() -> Any:
    """The parameters of CreateFlowLogs, as botocore has them from AWS."""
    model = botocore.session.Session().get_service_model("ec2")
    return model.operation_model("CreateFlowLogs").input_shape


@functools.cache
def members() -> dict[str, Any]:
    """The same by the names of the AWS CLI's options."""
    found = shape().members.items()
    return {botocore.xform_name(name, "-"): (name, member) for name, member in found}


def as_a_shell_reads(command: str) -> list[str]:
    """The words that bash would give to ``aws``."""
    script = "aws() { printf '%s\\0' \"$@\"; }\n" + command
    done = subprocess.run(["bash", "-euc", script], capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


def parsed(command: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The call that the AWS CLI makes for a command, and the CLI's own options."""
    words = as_a_shell_reads(command)
    assert words[:2] == ["ec2", "create-flow-logs"]
    call: dict[str, Any] = {}
    own: dict[str, str] = {}
    given: dict[str, list[str]] = {}
    for word in words[2:]:
        if option := re.match(r"--([a-z-]+)(=|$)", word):
            values = given[option[1]] = []
            if option[2]:
                values.append(word[option.end() :])
        else:
            assert not word.startswith("-")  # the CLI would take it for an option
            values.append(word)
    for option_name, values in given.items():
        if option_name in ("region", "profile"):
            (own[option_name],) = values
            continue
        name, member = members()[option_name]
        if member.type_name == "list" and member.member.type_name == "string":
            call[name] = values
        elif member.type_name in ("list", "structure"):
            call[name] = json.loads(values[0])
        else:
            call[name] = int(values[0]) if member.type_name == "integer" else values[0]
    return call, own


def checked(call: dict[str, Any]) -> dict[str, Any]:
    """The call, if botocore takes its parameters."""
    report = ParamValidator().validate(call, shape())
    assert not report.has_errors(), report.generate_report()
    return call


def test_a_vpc_to_s3() -> None:
    (call,) = requests(["vpc-1", "vpc-2", "vpc-1"], Recording("s3://raw-logs"), "eu-west-1")
    names = re.findall(r"\$\{([a-z0-9-]+)\}", call.pop("LogFormat"))
    assert checked(call) == {
        "ResourceIds": ["vpc-1", "vpc-2"],
        "ResourceType": "VPC",
        "TrafficType": "ALL",
        "LogDestinationType": "s3",
        "LogDestination": "arn:aws:s3:::raw-logs",
        "MaxAggregationInterval": 60,
    }
    tags = {name for name in BY_NAME if re.fullmatch(r"(instance|interface|asg)-tag(-2)?", name)}
    assert len(tags) == 6
    assert names == [e.name for e in FIELDS if "vpc" in e.sources and e.name not in tags]


def test_files_of_all_kinds_in_any_partition() -> None:
    recording = Recording(
        "s3://raw-logs/team a/", traffic="reject", file_format="parquet", hourly=True, interval=600
    )
    (call,) = requests(["subnet-1"], recording, "cn-north-1")
    assert call["LogDestination"] == "arn:aws-cn:s3:::raw-logs/team a/"
    assert call["TrafficType"] == "REJECT"
    assert call["MaxAggregationInterval"] == 600
    assert checked(call)["DestinationOptions"] == {
        "FileFormat": "parquet",
        "HiveCompatiblePartitions": False,
        "PerHourPartition": True,
    }
    (call,) = requests(["eni-1"], Recording("s3://raw-logs", hive=True), "us-gov-west-1")
    assert call["LogDestination"] == "arn:aws-us-gov:s3:::raw-logs"
    assert call["DestinationOptions"] == {
        "FileFormat": "plain-text",
        "HiveCompatiblePartitions": True,
        "PerHourPartition": False,
    }


def test_a_log_group_its_role_and_tags() -> None:
    recording = Recording(GROUP, role=ROLE, version=2, tags={"Name": "all", "team": "a"})
    (call,) = requests(["eni-1"], recording, "eu-west-1")
    assert checked(call) == {
        "ResourceIds": ["eni-1"],
        "ResourceType": "NetworkInterface",
        "TrafficType": "ALL",
        "LogDestinationType": "cloud-watch-logs",
        "LogGroupName": "/vpc/flows",
        "DeliverLogsPermissionArn": ROLE,
        "LogFormat": " ".join(f"${{{name}}}" for name in DEFAULT_FORMAT),
        "MaxAggregationInterval": 60,
        "TagSpecifications": [
            {
                "ResourceType": "vpc-flow-log",
                "Tags": [{"Key": "Name", "Value": "all"}, {"Key": "team", "Value": "a"}],
            }
        ],
    }


def test_a_transit_gateway_has_fields_of_its_own() -> None:
    tgw, attachment, vpc = requests(
        ["tgw-1", "tgw-attach-1", "vpc-1"], Recording("s3://raw-logs", version=5), "eu-west-1"
    )
    for call in (tgw, attachment):
        assert "TrafficType" not in call
        assert call["LogFormat"] == " ".join(f"${{{name}}}" for name in TRANSIT_GATEWAY_FORMAT)
    assert (tgw["ResourceType"], attachment["ResourceType"]) == (
        "TransitGateway",
        "TransitGatewayAttachment",
    )
    assert vpc["LogFormat"].count("$") == 29


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"traffic": "accept"}, "records all traffic: leave out --traffic"),
        ({"interval": 600}, "takes no --interval but 60"),
        ({"tag_fields": {"instance": ["Name"]}}, "carry no tags: leave out --tag-field"),
        ({"fields": "${version} ${action}"}, "record has no field action: it is of a VPC"),
    ],
)
def test_what_a_transit_gateway_does_not_take(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        requests(["tgw-1"], Recording("s3://raw-logs", **settings))
    with pytest.raises(UsageError, match=r"VPC's record has no field tgw-id: .* a transit gateway"):
        requests(["vpc-1"], Recording("s3://raw-logs", fields="${version} ${tgw-id}"))


def test_fields_are_as_they_are_asked_for() -> None:
    recording = Recording("s3://raw-logs", fields="${version}  ${srcaddr} ${of-tomorrow}")
    (call,) = requests(["vpc-1"], recording)
    assert call["LogFormat"] == "${version} ${srcaddr} ${of-tomorrow}"


def test_tags_get_fields_and_keys() -> None:
    recording = Recording(
        "s3://raw-logs",
        fields="${instance-tag-2} ${version}",
        tag_fields={"instance": ["Name", "team"], "asg": ["aws:autoscaling:groupName"]},
    )
    (call,) = requests(["vpc-1"], recording)
    assert call["LogFormat"] == "${instance-tag-2} ${version} ${instance-tag} ${asg-tag}"
    assert checked(call)["TagFieldSpecifications"] == [
        {"ResourceType": "instance", "TagKeys": ["Name", "team"]},
        {"ResourceType": "auto-scaling-group", "TagKeys": ["aws:autoscaling:groupName"]},
    ]
    every = Recording("s3://raw-logs", tag_fields={"interface": ["Name"]}).names("vpc")
    assert every[-1] == "interface-tag"
    with pytest.raises(UsageError, match="asg-tag needs a tag's key: add --tag-field asg=KEY"):
        requests(["vpc-1"], Recording("s3://raw-logs", fields="${version} ${asg-tag}"))
    with pytest.raises(UsageError, match="instance-tag-2 needs a tag's key"):
        one = Recording(
            "s3://raw-logs", fields="${instance-tag-2}", tag_fields={"instance": ["Name"]}
        )
        requests(["vpc-1"], one)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"to": "s3://"}, "no place in S3"),
        ({"to": "/tmp/logs"}, "no place in S3"),
        ({"to": "s3://raw-logs/AWSLogs/"}, "AWS makes the folder AWSLogs itself.*s3://raw-logs"),
        ({"to": "s3://raw-logs/*"}, "wildcard"),
        ({"to": "s3://raw-logs", "role": ROLE}, "--role is for CloudWatch Logs"),
        ({"to": "cloudwatch://a b", "role": ROLE}, "names no log group"),
        ({"to": GROUP}, "write --role ARN. `flowlake setup policy cloudwatch`"),
        ({"to": GROUP, "role": "flow-logs"}, "arn:aws:iam::ACCOUNT:role/NAME"),
        ({"to": GROUP, "role": ROLE, "hive": True}, "for files in S3"),
        ({"to": GROUP, "role": ROLE, "file_format": "parquet"}, "for files in S3"),
        ({"traffic": "ALL"}, "--traffic is one of all, accept, reject"),
        ({"interval": 300}, "--interval is one of 60, 600, not 300"),
        ({"version": 6}, "--version is one of 2, 3, 4, 5, 7, 8, 9, 10, 11"),
        ({"version": 5, "fields": "${version}"}, "leave out --version"),
        ({"version": 5, "tag_fields": {"asg": ["x"]}}, "of version 11: leave out --version"),
        ({"file_format": "csv"}, "--file-format is one of text, parquet"),
        ({"tags": {"aws:x": "y"}}, "'aws:x' cannot be the key of a tag"),
        ({"tags": {"": "y"}}, "cannot be the key"),
        ({"tag_fields": {"vpc": ["x"]}}, "--tag-field is one of instance, interface, asg"),
        ({"tag_fields": {"asg": ["x", "y", "z"]}}, "one or two tags of the asg"),
        ({"tag_fields": {"asg": ["x", "x"]}}, "one or two tags of the asg, each once"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Recording(**{"to": "s3://raw-logs"} | settings)


@pytest.mark.parametrize(
    ("resource", "fields", "words"),
    [
        ("i-1", None, "'i-1' is nothing that a flow log can record"),
        ("vpc-1", "", "names no field"),
        ("vpc-1", "${version} ${version}", "names a field twice"),
    ],
)
def test_what_cannot_be_recorded_is_refused(resource: str, fields: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        requests([resource], Recording("s3://raw-logs", fields=fields))


def test_a_log_group_is_in_the_resources_region() -> None:
    recording = Recording(f"{GROUP}?region=eu-west-1", role=ROLE)
    assert recording.place(None) == recording.place("eu-west-1") == f"{GROUP}?region=eu-west-1"
    assert Recording(GROUP, role=ROLE).place(None) == GROUP
    with pytest.raises(UsageError, match="is not in us-east-1"):
        requests(["vpc-1"], recording, "us-east-1")


def test_a_call_names_no_more_than_it_may() -> None:
    interfaces = [f"eni-{number:x}" for number in range(301)]
    attachments = [f"tgw-attach-{number:x}" for number in range(26)]
    calls = requests([*interfaces, *attachments], Recording("s3://raw-logs"))
    assert [len(call["ResourceIds"]) for call in calls] == [300, 1, 25, 1]
    assert [each for call in calls for each in call["ResourceIds"]] == [*interfaces, *attachments]


def test_a_value_that_looks_like_an_option_stays_a_value() -> None:
    (call,) = requests(["vpc-1"], Recording("cloudwatch://--region", role=ROLE), "eu-west-1")
    read, own = parsed(aws_command(call, "eu-west-1", "-work"))
    assert read == call
    assert own == {"region": "eu-west-1", "profile": "-work"}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(
    prefix=texts.filter(lambda text: not re.search(r"[*?\[]|\$\{", text)),
    tags=st.dictionaries(texts.filter(lambda key: bool(key) and not key.startswith("aws:")), texts),
    group=st.none() | st.from_regex(r"[-._/#A-Za-z0-9]{1,12}", fullmatch=True),
    keys=st.lists(texts.filter(bool), unique=True, max_size=2),
    profile=st.none() | texts.filter(bool),
    hive=st.booleans(),
    version=st.sampled_from([None, 2, 5]),
)
def test_a_shell_and_the_aws_cli_read_the_same_call(
    prefix: str,
    tags: dict[str, str],
    group: str | None,
    keys: list[str],
    profile: str | None,
    hive: bool,
    version: int | None,
) -> None:
    to_group: dict[str, Any] = {"to": f"cloudwatch://{group}", "role": ROLE}
    recording = Recording(
        **(to_group if group else {"to": f"s3://raw-logs/{prefix}", "hive": hive}),
        tags=tags,
        tag_fields={"instance": keys} if keys else {},
        version=None if keys else version,
    )
    for call in requests(["vpc-1", "vpc-2", "eni-1"], recording, "eu-west-1"):
        read, own = parsed(aws_command(checked(call), "eu-west-1", profile))
        assert read == call
        assert own == {"region": "eu-west-1"} | ({"profile": profile} if profile else {})
