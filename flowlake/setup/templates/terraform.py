"""The stack as a Terraform configuration.

In HCL, not in Terraform's JSON: who applies it reads and changes it first.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flowlake.setup.templates.stack as names
from flowlake.setup.templates.stack import Stack, replaced

_NAMES = {
    names.TOPIC: "${aws_sns_topic.findings.arn}",
    names.QUEUE: "${aws_sqs_queue.objects.arn}",
    names.TASK_ROLE: "${aws_iam_role.task.arn}",
    names.EXECUTION_ROLE: "${aws_iam_role.execution.arn}",
    f"{names.PARTITION}s3:::{names.RAW}": "${aws_s3_bucket.raw.arn}",
    f"{names.PARTITION}s3:::{names.LAKE}": "${aws_s3_bucket.lake.arn}",
    names.PARTITION: "arn:${data.aws_partition.current.partition}:",
    names.ACCOUNT: "${data.aws_caller_identity.current.account_id}",
    names.REGION: "${data.aws_region.current.region}",
    names.RAW: "${aws_s3_bucket.raw.bucket}",
    names.LAKE: "${aws_s3_bucket.lake.bucket}",
    names.ALARMS: "${var.alarms_key}",
    names.REPOSITORY: "${var.repository_name}",
    names.NAME: "${var.name}",
}
_IMAGE = (
    "${data.aws_caller_identity.current.account_id}.dkr.ecr.${data.aws_region.current.region}"
    ".${data.aws_partition.current.dns_suffix}/${var.repository_name}:${var.image_tag}"
)


@dataclass(frozen=True)
class _As:
    """An expression, written as it is."""

    text: str


@dataclass(frozen=True)
class _Block:
    """A block of HCL."""

    kind: str
    labels: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    blocks: tuple["_Block", ...] = ()


def terraform(stack: Stack) -> str:
    """The configuration's text."""
    runs = _function(stack) if stack.run == "lambda" else _task(stack)
    blocks = (*_settings(), *_variables(stack), *_buckets(stack), *runs, *_outputs())
    return "\n\n".join("\n".join(_lines(block)) for block in blocks) + "\n"


def _settings() -> Iterable[_Block]:
    provider = _As('{ source = "hashicorp/aws", version = ">= 6.0" }')
    needs = _Block("required_providers", (), {"aws": provider})
    yield _Block("terraform", (), {"required_version": ">= 1.5"}, (needs,))
    for kind in ("aws_caller_identity", "aws_partition", "aws_region"):
        yield _Block("data", (kind, "current"))


def _variables(stack: Stack) -> Iterable[_Block]:
    def variable(name: str, kind: str, description: str, **default: Any) -> _Block:
        body = {"type": _As(kind), "description": description, **default}
        return _Block("variable", (name,), body)

    yield variable("name", "string", "Names the function or the tasks.", default="flowlake")
    yield variable("raw_bucket_name", "string", "The bucket to be made for flow logs.")
    yield variable("lake_bucket_name", "string", "The bucket to be made for the lake.")
    yield variable("vpc_id", "string", "The VPC to record.")
    yield variable(
        "max_aggregation_interval",
        "number",
        "Seconds that one record may sum up: 60 or 600.",
        default=60,
    )
    yield variable(
        "raw_days",
        "number",
        "Days that flow logs are kept as AWS wrote them; the lake has them.",
        default=90,
    )
    yield variable(
        "repository_name", "string", "The ECR repository, of this account, of FlowLake's image."
    )
    yield variable("image_tag", "string", "The image's tag.", default="latest")
    yield variable(
        "alarms_key",
        "string",
        "alarms.toml's key in the lake's bucket, once it is there; empty for no alarms.",
        default="",
    )
    if stack.run == "schedule":
        yield variable(
            "subnet_ids",
            "list(string)",
            "Where the task runs: S3, ECR, CloudWatch Logs and SNS are reached.",
        )
        yield variable(
            "security_group_ids",
            "list(string)",
            "The task's security groups: it opens connections, and takes none.",
        )
        yield variable(
            "assign_public_ip", "bool", "For public subnets without a NAT gateway.", default=False
        )
        yield variable("schedule_expression", "string", "When to convert.", default=names.EVERY)
        yield variable(
            "compact_expression", "string", "When to merge small files.", default=names.DAILY
        )


def _buckets(stack: Stack) -> Iterable[_Block]:
    yield from _bucket("raw", expires=_As("var.raw_days"))
    yield _resource(
        "aws_s3_bucket_policy",
        "raw",
        {"bucket": _As("aws_s3_bucket.raw.id"), "policy": _document(stack, "delivery")},
    )
    options = {
        "file_format": stack.destination_format,
        "hive_compatible_partitions": stack.hive,
        "per_hour_partition": stack.hourly,
    }
    yield _resource(
        "aws_flow_log",
        "vpc",
        {
            "vpc_id": _As("var.vpc_id"),
            "traffic_type": "ALL",
            "log_destination_type": "s3",
            "log_destination": _As("aws_s3_bucket.raw.arn"),
            "log_format": names.FORMAT.replace("${", "$${"),
            "max_aggregation_interval": _As("var.max_aggregation_interval"),
            "depends_on": _As("[aws_s3_bucket_policy.raw]"),
        },
        _Block("destination_options", (), options),
    )
    yield from _bucket("lake")
    yield _resource("aws_sns_topic", "findings", {"name_prefix": "${var.name}-"})


def _bucket(name: str, expires: _As | None = None) -> Iterable[_Block]:
    this = {"bucket": _As(f"aws_s3_bucket.{name}.id")}
    yield _resource("aws_s3_bucket", name, {"bucket": _As(f"var.{name}_bucket_name")})
    encrypted = _Block("apply_server_side_encryption_by_default", (), {"sse_algorithm": "AES256"})
    yield _resource(
        "aws_s3_bucket_server_side_encryption_configuration",
        name,
        this,
        _Block("rule", (), {}, (encrypted,)),
    )
    blocked = (
        *("block_public_acls", "block_public_policy"),
        *("ignore_public_acls", "restrict_public_buckets"),
    )
    yield _resource(
        "aws_s3_bucket_public_access_block", name, {**this, **dict.fromkeys(blocked, True)}
    )
    yield _resource(
        "aws_s3_bucket_ownership_controls",
        name,
        this,
        _Block("rule", (), {"object_ownership": "BucketOwnerEnforced"}),
    )
    everything = _Block("filter")
    parts = _Block(
        "abort_incomplete_multipart_upload", (), {"days_after_initiation": names.PARTS_DAYS}
    )
    rules = [
        _Block("rule", (), {"id": "unfinished-parts", "status": "Enabled"}, (everything, parts))
    ]
    if expires:
        ends = _Block("expiration", (), {"days": expires})
        rules.append(_Block("rule", (), {"id": "raw", "status": "Enabled"}, (everything, ends)))
    yield _resource("aws_s3_bucket_lifecycle_configuration", name, this, *rules)


def _function(stack: Stack) -> Iterable[_Block]:
    yield _resource(
        "aws_sqs_queue",
        "failed",
        {
            "name": "${var.name}-failed",
            "sqs_managed_sse_enabled": True,
            "message_retention_seconds": names.DEAD_DAYS * 86_400,
        },
    )
    dead = {
        "deadLetterTargetArn": _As("aws_sqs_queue.failed.arn"),
        "maxReceiveCount": names.RECEIVES,
    }
    yield _resource(
        "aws_sqs_queue",
        "objects",
        {
            "name": "${var.name}-objects",
            "sqs_managed_sse_enabled": True,
            "message_retention_seconds": names.WAIT_DAYS * 86_400,
            "visibility_timeout_seconds": names.VISIBILITY,
            "redrive_policy": _json(dead),
        },
    )
    yield _resource(
        "aws_sqs_queue_policy",
        "objects",
        {"queue_url": _As("aws_sqs_queue.objects.id"), "policy": _document(stack, "queue")},
    )
    told = {
        "queue_arn": _As("aws_sqs_queue.objects.arn"),
        "events": ["s3:ObjectCreated:*"],
        "filter_prefix": "AWSLogs/",
    }
    yield _resource(
        "aws_s3_bucket_notification",
        "raw",
        {
            "bucket": _As("aws_s3_bucket.raw.id"),
            "depends_on": _As("[aws_sqs_queue_policy.objects]"),
        },
        _Block("queue", (), told),
    )
    yield from _role(stack, "function", "function trust", "function")
    yield _log("function", names.FUNCTION_LOG)
    variables = _As(
        "merge(\n"
        f"  {{ FLOWLAKE_LAKE = {_text(replaced(names.LAKE_URL, _NAMES))} }},\n"
        '  var.alarms_key == "" ? {} : '
        f"{{ FLOWLAKE_ALARMS = {_text(replaced(names.ALARMS_URL, _NAMES))} }},\n"
        ")"
    )
    yield _resource(
        "aws_lambda_function",
        "convert",
        {
            "function_name": _As("var.name"),
            "package_type": "Image",
            "image_uri": _IMAGE,
            "role": _As("aws_iam_role.function.arn"),
            "memory_size": names.MEMORY,
            "timeout": names.TIMEOUT,
            "reserved_concurrent_executions": 1,
            "depends_on": _As("[aws_cloudwatch_log_group.function, aws_iam_role_policy.function]"),
        },
        _Block("environment", (), {"variables": variables}),
    )
    yield _resource(
        "aws_lambda_event_source_mapping",
        "objects",
        {
            "function_name": _As("aws_lambda_function.convert.arn"),
            "event_source_arn": _As("aws_sqs_queue.objects.arn"),
            "batch_size": names.BATCH,
            "maximum_batching_window_in_seconds": names.WINDOW,
            "function_response_types": ["ReportBatchItemFailures"],
        },
    )


def _task(stack: Stack) -> Iterable[_Block]:
    yield from _role(stack, "task", "task trust", "task")
    yield from _role(stack, "execution", "task trust", "execution")
    yield from _role(stack, "schedule", "schedule trust", "schedule")
    yield _log("task", names.TASK_LOG)
    yield _resource("aws_ecs_cluster", "flowlake", {"name": _As("var.name")})
    convert = _value(replaced(names.CONVERT, _NAMES))
    alarms = _text(replaced(names.ALARMS_URL, _NAMES))
    command = _As(
        f'concat(\n  {convert},\n  var.alarms_key == "" ? [] : ["--alarms", {alarms}],\n)'
    )
    container = {
        "name": "flowlake",
        "image": _IMAGE,
        "essential": True,
        "entryPoint": ["flowlake"],
        "command": command,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": _As("aws_cloudwatch_log_group.task.name"),
                "awslogs-region": _As("data.aws_region.current.region"),
                "awslogs-stream-prefix": "flowlake",
            },
        },
    }
    yield _resource(
        "aws_ecs_task_definition",
        "flowlake",
        {
            "family": _As("var.name"),
            "requires_compatibilities": ["FARGATE"],
            "network_mode": "awsvpc",
            "cpu": names.TASK_CPU,
            "memory": names.TASK_MEMORY,
            "task_role_arn": _As("aws_iam_role.task.arn"),
            "execution_role_arn": _As("aws_iam_role.execution.arn"),
            "container_definitions": _json([container]),
        },
    )
    yield _schedule("convert", "var.schedule_expression")
    compact = [{"name": "flowlake", "command": replaced(names.COMPACT, _NAMES)}]
    yield _schedule("compact", "var.compact_expression", {"containerOverrides": compact})


def _schedule(name: str, expression: str, given: Any = None) -> _Block:
    network = _Block(
        "network_configuration",
        (),
        {
            "subnets": _As("var.subnet_ids"),
            "security_groups": _As("var.security_group_ids"),
            "assign_public_ip": _As("var.assign_public_ip"),
        },
    )
    task = _Block(
        "ecs_parameters",
        (),
        {
            "task_definition_arn": _As("aws_ecs_task_definition.flowlake.arn"),
            "launch_type": "FARGATE",
        },
        (network,),
    )
    target = {
        "arn": _As("aws_ecs_cluster.flowlake.arn"),
        "role_arn": _As("aws_iam_role.schedule.arn"),
        **({"input": _json(given)} if given else {}),
    }
    return _resource(
        "aws_scheduler_schedule",
        name,
        {"name": f"${{var.name}}-{name}", "schedule_expression": _As(expression)},
        _Block("flexible_time_window", (), {"mode": "OFF"}),
        _Block("target", (), target, (task,)),
    )


def _role(stack: Stack, name: str, trust: str, policy: str) -> Iterable[_Block]:
    yield _resource(
        "aws_iam_role",
        name,
        {"name_prefix": f"${{var.name}}-{name}-", "assume_role_policy": _document(stack, trust)},
    )
    yield _resource(
        "aws_iam_role_policy",
        name,
        {"role": _As(f"aws_iam_role.{name}.id"), "policy": _document(stack, policy)},
    )


def _log(name: str, group: str) -> _Block:
    body = {"name": replaced(group, _NAMES), "retention_in_days": names.LOG_DAYS}
    return _resource("aws_cloudwatch_log_group", name, body)


def _outputs() -> Iterable[_Block]:
    lake = {
        "description": "For --lake, and FLOWLAKE_LAKE.",
        "value": replaced(names.LAKE_URL, _NAMES),
    }
    yield _Block("output", ("lake",), lake)
    topic = {
        "description": "For topic_arn in alarms.toml.",
        "value": _As("aws_sns_topic.findings.arn"),
    }
    yield _Block("output", ("topic_arn",), topic)


def _resource(kind: str, name: str, body: Mapping[str, Any], *blocks: _Block) -> _Block:
    return _Block("resource", (kind, name), body, blocks)


def _document(stack: Stack, name: str) -> _As:
    return _json(replaced(stack.policy(name), _NAMES))


def _json(value: Any) -> _As:
    return _As(f"jsonencode({_value(value)})")


def _lines(block: _Block) -> list[str]:
    head = " ".join([block.kind, *map(_text, block.labels)])
    if not block.body and not block.blocks:
        return [f"{head} {{}}"]
    inner = [f"{name} = {_value(value)}" for name, value in block.body.items()]
    for each in block.blocks:
        inner += ["", *_lines(each)] if inner else _lines(each)
    indented = [f"  {line}" if line else "" for text in inner for line in text.split("\n")]
    return [f"{head} {{", *indented, "}"]


def _value(value: Any) -> str:
    """An expression of HCL; ``${…}`` in a text is Terraform's."""
    if isinstance(value, _As):
        return value.text
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        inner = [f"{_key(name)} = {_value(each)}" for name, each in value.items()]
        return _within("{", inner, "}", "")
    if isinstance(value, list | tuple):
        inner = [_value(each) for each in value]
        short = ", ".join(inner)
        if len(short) < 80 and "\n" not in short:
            return f"[{short}]"
        return _within("[", inner, "]", ",")
    return json.dumps(value)


def _within(begin: str, inner: Iterable[str], end: str, after: str) -> str:
    lines = [f"  {line}" for text in inner for line in f"{text}{after}".split("\n")]
    return "\n".join([begin, *lines, end])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z]\w*", name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
