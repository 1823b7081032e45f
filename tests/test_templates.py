"""The templates are valid, whatever is chosen, and have ``flowlake.setup.policies``' policies.

``cfn-lint`` checks CloudFormation against AWS's schemas. There is no Terraform here: its templates
are parsed, and what they refer to is there.
"""

import functools
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cfnlint.decode
import hcl2
import pytest
from typer.testing import CliRunner

from flowlake.cli import app
from flowlake.errors import UsageError
from flowlake.fields import FIELDS
from flowlake.setup.templates import FILE_FORMATS, RUNS, Stack, cloudformation, terraform
from flowlake.setup.templates import stack as names
from flowlake.setup.templates.cloudformation import _lines, _substituted
from tests.linting import linted
from tests.rights import listed

ALL = [Stack(*each) for each in itertools.product(RUNS, FILE_FORMATS, (False, True), (False, True))]
STACKS = [
    Stack("lambda", "text", False, False),
    Stack("lambda", "parquet", True, True),
    Stack("schedule", "text", True, False),
    Stack("schedule", "parquet", False, True),
]
"""Each choice at least twice. The others have no line that is not in these: the first test."""
EACH_RUN = [Stack(run) for run in RUNS]
POLICIES = {
    "lambda": ("delivery", "queue", "function", "function trust"),
    "schedule": ("delivery", "task", "execution", "schedule", "task trust", "schedule trust"),
}


def ids(stack: Stack) -> str:
    marks = {"hive": stack.hive, "hourly": stack.hourly}
    return "-".join(
        [stack.run, stack.file_format, *(name for name, is_so in marks.items() if is_so)]
    )


@functools.cache
def resources(stack: Stack) -> Any:
    """CloudFormation's resources, as its own reader takes them."""
    template, problems = cfnlint.decode.decode_str(cloudformation(stack))
    assert not problems
    return json.loads(json.dumps(template))["Resources"]


@functools.cache
def in_hcl(stack: Stack) -> Any:
    return hcl2.loads(terraform(stack))


def blocks(stack: Stack) -> Any:
    """Terraform's resources: ``TYPE.NAME`` and its body."""
    return {
        f"{kind}.{name}".replace('"', ""): body
        for block in in_hcl(stack)["resource"]
        for kind, named in block.items()
        for name, body in named.items()
    }


@pytest.mark.parametrize("write", [cloudformation, terraform])
def test_choices_change_their_own_lines_only(write: Callable[[Stack], str]) -> None:
    """So that what holds for ``STACKS`` holds for every combination."""
    for stack in ALL:
        plain = Stack(stack.run)
        lines = zip(write(plain).splitlines(), write(stack).splitlines(), strict=True)
        changed = {
            before.split()[0]: after.split()[-1] for before, after in lines if before != after
        }
        own = [write(each) for each in STACKS if each.run == stack.run]
        hive = [name for name in changed if name in ("Resource:", "Resource")]
        assert bool(hive) is stack.hive
        assert len(changed) == 2 * stack.hive + stack.hourly + (stack.file_format == "parquet")
        for name, value in changed.items():
            assert any(
                line.split()[:1] == [name] and line.split()[-1] == value
                for text in own
                for line in text.splitlines()
            )


@pytest.mark.parametrize("stack", STACKS, ids=ids)
def test_cloudformation_is_valid(stack: Stack) -> None:
    assert linted(cloudformation(stack)) == []


def test_an_invalid_template_is_seen() -> None:
    wrong = cloudformation(Stack()).replace("FileFormat: plain-text", "FileFormat: text")
    assert [each.split()[0] for each in linted(wrong)] == ["E3030"]


@pytest.mark.parametrize("stack", STACKS, ids=ids)
def test_terraforms_references_are_defined(stack: Stack) -> None:
    text, parsed = terraform(stack), in_hcl(stack)
    code = re.sub(r"\$\$\{[a-z-]+\}", "", text)
    bare = re.sub(
        r'"(?:[^"\\]|\\.)*"', lambda quoted: " ".join(re.findall(r"\$\{(.*?)\}", quoted[0])), code
    )
    used = set(re.findall(r"(?<![\w.])(aws_\w+\.\w+)\.?", bare))
    assert used <= blocks(stack).keys()
    assert used
    variables = {name.strip('"') for block in parsed["variable"] for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", bare)) == variables
    data = {
        f"{kind}.{name}".replace('"', "")
        for block in parsed["data"]
        for kind, named in block.items()
        for name in named
    }
    assert set(re.findall(r"\bdata\.(\w+\.\w+)", bare)) == data


def strings(value: Any) -> list[str]:
    """The texts in a document, with what is replaced in a template cut out."""
    if isinstance(value, dict):
        inner = [strings(each) for each in (*value, *value.values())]
        return [each for one in inner for each in one]
    if isinstance(value, list):
        return [each for one in value for each in strings(one)]
    return [str(value)]


def policy_actions(document: Any) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    found = []
    for statement in document["Statement"]:
        conditions = sorted(key for each in statement.get("Condition", {}).values() for key in each)
        sid = str(statement.get("Sid")).strip('"')
        actions = tuple(each.strip('"') for each in listed(statement["Action"]))
        found.append((sid, actions, tuple(key.strip('"') for key in conditions)))
    return found


def policies_in(value: Any) -> list[Any]:
    """Every policy document in a parsed template."""
    if isinstance(value, dict):
        own = [value] if "Statement" in value else []
        return own + [each for inner in value.values() for each in policies_in(inner)]
    return (
        [each for inner in value for each in policies_in(inner)] if isinstance(value, list) else []
    )


@pytest.mark.parametrize("stack", STACKS, ids=ids)
def test_the_policies_are_those_that_are_printed(stack: Stack) -> None:
    """Statement for statement; ``*`` is where it is there, and no replaced name is left."""
    wanted = [stack.policy(name) for name in POLICIES[stack.run]]
    found = policies_in(resources(stack))
    stars = [each for each in strings(found) if each == "*"]
    assert {str(policy_actions(each)) for each in found} == {
        str(policy_actions(each)) for each in wanted
    }
    assert len(stars) == len([each for each in strings(wanted) if each == "*"])
    for text in (cloudformation(stack), terraform(stack)):
        for name in (names.ACCOUNT, names.RAW, names.LAKE, names.NAME, names.ALARMS, "arn:aws:"):
            assert name not in text
        for policy in wanted:
            for sid, actions, _ in policy_actions(policy):
                assert sid == "None" or f"Sid: {sid}" in text or f'Sid = "{sid}"' in text
                assert all(action in text for action in actions)
    assert terraform(stack).count("Effect = ") == sum(
        len(policy["Statement"]) for policy in wanted
    ) + (1 if stack.run == "schedule" else 0)  # two roles are trusted alike


@pytest.mark.parametrize("stack", STACKS, ids=ids)
def test_the_flow_log_is_as_chosen(stack: Stack) -> None:
    in_yaml = resources(stack)["FlowLog"]["Properties"]
    assert in_yaml["DestinationOptions"] == {
        "FileFormat": {"text": "plain-text", "parquet": "parquet"}[stack.file_format],
        "HiveCompatiblePartitions": stack.hive,
        "PerHourPartition": stack.hourly,
    }
    fields = re.findall(r"\$\{([a-z0-9-]+)\}", in_yaml["LogFormat"])
    wanted = [each.name for each in FIELDS if "vpc" in each.sources and "-tag" not in each.name]
    assert fields == wanted
    own = blocks(stack)["aws_flow_log.vpc"]
    assert own["log_format"].strip('"').replace("$$", "$") == in_yaml["LogFormat"]
    assert own["destination_options"][0]["hive_compatible_partitions"] is stack.hive


@pytest.mark.parametrize("stack", EACH_RUN, ids=ids)
def test_buckets_are_closed_encrypted_and_kept(stack: Stack) -> None:
    made = [each for each in resources(stack).values() if each["Type"] == "AWS::S3::Bucket"]
    assert len(made) == 2
    for bucket in made:
        assert bucket["DeletionPolicy"] == "Retain"
        assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
        assert "BucketEncryption" in bucket["Properties"]
    for name in ("raw", "lake"):
        closed = blocks(stack)[f"aws_s3_bucket_public_access_block.{name}"]
        assert len([value for value in closed.values() if value is True]) >= 4
        assert f"aws_s3_bucket_server_side_encryption_configuration.{name}" in blocks(stack)


def test_the_function_is_as_the_page_says() -> None:
    """The figures of docs/lambda.md."""
    page = Path("docs/lambda.md").read_text()
    made = resources(Stack())
    function = made["Function"]["Properties"]
    assert f"| function: time-out | {function['Timeout']} s |" in page
    assert f"| function: memory | {function['MemorySize']:,} MB |" in page
    assert function["ReservedConcurrentExecutions"] == 1
    visible = made["Queue"]["Properties"]["VisibilityTimeout"]
    assert f"| queue: visibility time-out | {visible:,} s |" in page
    mapping = made["NewObjects"]["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert f"| {mapping['BatchSize']} and {mapping['MaximumBatchingWindowInSeconds']} |" in page


@pytest.mark.parametrize("command", [names.CONVERT, names.COMPACT])
def test_the_tasks_command_lines_parse(command: tuple[str, ...]) -> None:
    import typer

    group: Any = typer.main.get_command(app)
    group.commands[command[0]].make_context(
        command[0],
        [*command[1:], "--alarms", "s3://a/b"][
            : len(command) + (1 if command[0] == "convert" else -1)
        ],
    )


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"b": [1, True, None, "x"]}, "c": [{"d": "e", "f": ["g", ["h"]]}], "i": {}, "j": []},
        {
            "yes": "yes",
            "no": ["no", "on", "null", "1", "-", "a: b", "a #b", "#", "", "{}", "é\n\t'\""],
        },
        {"a b": "*", "!x": "!Sub", "k:": "v:", "s3:prefix": "10", "d": "2012-10-17", "w": " x "},
    ],
)
def test_what_is_written_is_read_the_same(value: Any) -> None:
    import yaml

    assert yaml.safe_load("\n".join(_lines(value))) == value


def test_functions_have_their_short_form() -> None:
    assert _lines({"To": {"Fn::GetAtt": ["B", "Arn"]}, "At": _substituted("${D}/x")}) == [
        "To: !GetAtt B.Arn",
        'At: !Sub "${D}/x"',
    ]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["pulumi"], "A template is one of cloudformation, terraform"),
        (["terraform", "--run", "cron"], "--run is one of lambda, schedule"),
        (["terraform", "--file-format", "csv"], "--file-format is one of text, parquet"),
    ],
)
def test_choices_that_there_are_not(words: list[str], problem: str) -> None:
    done = CliRunner().invoke(app, ["setup", "template", *words])
    assert isinstance(done.exception, UsageError)
    assert problem in str(done.exception)


def test_a_template_goes_to_standard_output_or_a_file(tmp_path: Path) -> None:
    words = ["setup", "template", "cloudformation", "--run", "schedule", "--hive", "--hourly"]
    printed = CliRunner().invoke(app, words)
    assert printed.stdout == cloudformation(Stack("schedule", "text", True, True))
    file = tmp_path / "stack.yaml"
    assert CliRunner().invoke(app, [*words, "--output", str(file)]).output == ""
    assert file.read_text() == printed.stdout
