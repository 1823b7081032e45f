"""The roles of what runs FlowLake in AWS: a Lambda function, or a task of ECS on a schedule.

What a role may do, as in ``flowlake.setup.policies``, and who may take it on.
"""

from collections.abc import Sequence

from flowlake.setup import arns
from flowlake.setup.policies import (
    DECRYPT,
    READ,
    Policy,
    alarms,
    allow,
    document,
    log_group_arn,
    named_objects,
    objects,
    one_object,
    partition_for,
    through,
    trusting,
    writer,
)

SERVICES = {
    "lambda": "lambda.amazonaws.com",
    "task": "ecs-tasks.amazonaws.com",
    "schedule": "scheduler.amazonaws.com",
}
"""Who takes on which role."""


def trust(role: str, account: str | None = None) -> Policy:
    """Who may take on a role of ``SERVICES``; of the account only, if one is given.

    Amazon ECS Developer Guide and EventBridge Scheduler User Guide, each under "confused deputy";
    Lambda says of no account whom it works for.

    Raises:
        UsageError: when the account is none.
    """
    condition = {"StringEquals": {"aws:SourceAccount": arns.account_id(account)}} if account else {}
    return trusting(SERVICES[role], condition)


def function(
    name: str,
    *,
    queue: str,
    sources: Sequence[str],
    lake: str,
    alarms_file: str | None = None,
    topics: Sequence[str] = (),
    kms_keys: Sequence[str] = (),
    source_kms_keys: Sequence[str] = (),
    topic_kms_keys: Sequence[str] = (),
) -> Policy:
    """The role of the Lambda function that converts what its queue names, and runs alarms.

    Args:
        name: the function's.
        queue: the ARN of its queue.
        sources: where the flow logs are, ``s3://BUCKET/PREFIX``; they are read and never listed.
        lake: the lake, ``s3://BUCKET/PREFIX``.
        alarms_file: ``alarms.toml``, if it is an ``s3://`` object.
        topics: ARNs of the topics that it names.
        kms_keys: ARNs of the keys that the lake is encrypted with, if with SSE-KMS.
        source_kms_keys: ARNs of the keys of the flow logs, likewise.
        topic_kms_keys: ARNs of the keys of the topics.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    source = arns.arn(queue, "sqs")
    group = log_group_arn(f"/aws/lambda/{arns.function_name(name)}", source.account, source.region)
    kept = writer(lake, kms_keys=kms_keys, partition=source.partition)["Statement"]
    read = named_objects(sources, source.partition)
    told = alarms(topics, kms_keys=topic_kms_keys)["Statement"] if topics else []
    # AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", execution role permissions
    polled = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    logged = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
    return document(
        allow("TakeMessages", polled, [source.text]),
        allow("ReadFlowLogs", READ, read),
        *through("s3", "DecryptFlowLogs", DECRYPT, source_kms_keys),
        *kept,
        *([one_object("ReadAlarms", alarms_file, source.partition)] if alarms_file else []),
        *told,
        allow("WriteLog", logged, [group]),
    )


def task(
    *,
    sources: Sequence[str],
    lake: str,
    alarms_file: str | None = None,
    topics: Sequence[str] = (),
    kms_keys: Sequence[str] = (),
    source_kms_keys: Sequence[str] = (),
    topic_kms_keys: Sequence[str] = (),
    partition: str | None = None,
) -> Policy:
    """The role of a scheduled `flowlake convert`, with alarms or without: it lists its sources.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    part = partition_for(partition, kms_keys)
    told = alarms(topics, kms_keys=topic_kms_keys)["Statement"] if topics else []
    return document(
        *objects("FlowLogs", sources, READ, part),
        *through("s3", "DecryptFlowLogs", DECRYPT, source_kms_keys),
        *writer(lake, kms_keys=kms_keys, partition=part)["Statement"],
        *([one_object("ReadAlarms", alarms_file, part)] if alarms_file else []),
        *told,
    )


def execution(group: str, repository: str, *, account: str, region: str) -> Policy:
    """What ECS itself needs to begin a task: its image and its log.

    Amazon ECS Developer Guide, "Amazon ECS task execution IAM role", has the same on ``*``.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    part = arns.partition_of(region)
    image = f"arn:{part}:ecr:{region}:{arns.account_id(account)}:repository/{repository}"
    pulled = (
        *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage"),
        "ecr:GetDownloadUrlForLayer",
    )
    logged = ("logs:CreateLogStream", "logs:PutLogEvents")
    return document(
        allow("PullImage", pulled, [image]),
        allow("LoginHasNoResources", ["ecr:GetAuthorizationToken"], ["*"]),
        allow("WriteLog", logged, [log_group_arn(group, account, region)]),
    )


def schedule(
    family: str, cluster: str, roles: Sequence[str], *, account: str, region: str
) -> Policy:
    """What a schedule needs to run a task: any revision of a family, on one cluster.

    Args:
        family: the task definition's.
        cluster: the cluster's name.
        roles: ARNs of the task's two roles, which are handed to it.
        account: where they are.
        region: where they are.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    place = f"arn:{arns.partition_of(region)}:ecs:{region}:{arns.account_id(account)}"
    on_cluster = {"ArnEquals": {"ecs:cluster": f"{place}:cluster/{cluster}"}}
    to_tasks = {"StringEquals": {"iam:PassedToService": SERVICES["task"]}}
    passed = [arns.arn(each, "iam").text for each in roles]
    definition = f"{place}:task-definition/{family}:*"
    return document(
        allow("RunTask", ["ecs:RunTask"], [definition], on_cluster),
        allow("PassTaskRoles", ["iam:PassRole"], passed, to_tasks),
    )
