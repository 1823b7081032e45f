"""Policies for AWS's own services, which deliver flow logs and tell of new objects.

These are on the other side of ``flowlake.setup.policies``: what is attached to a bucket, a key, a
queue or a role, and says which service may use it. Each names the accounts it is for, so that
nobody else's flow logs come with ours (IAM User Guide, "The confused deputy problem").
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

from flowlake.errors import UsageError
from flowlake.setup import arns
from flowlake.setup.policies import (
    FLOW_LOGS_SERVICE,
    Policy,
    Statement,
    allow,
    document,
    log_group_arn,
    one_or_all,
    trusting,
)

DELIVERY_SERVICE = "delivery.logs.amazonaws.com"
"""Who writes flow logs into buckets, in every partition."""


def cloudwatch(group: str, *, account: str, region: str) -> Policy:
    """The role of a flow log that goes to CloudWatch Logs: make the group, write into it.

    Amazon VPC User Guide, "IAM role for publishing flow logs to CloudWatch Logs", has the same five
    actions on ``*``. DescribeLogGroups is the one that has no resource.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    written = (
        *("logs:CreateLogGroup", "logs:CreateLogStream"),
        *("logs:DescribeLogStreams", "logs:PutLogEvents"),
    )
    return document(
        allow("WriteFlowLogs", written, [log_group_arn(group, account, region)]),
        allow("FindGroupsHasNoResources", ["logs:DescribeLogGroups"], ["*"]),
    )


def cloudwatch_trust(*, account: str, regions: Sequence[str]) -> Policy:
    """Who may take on that role: the flow logs of one account, in these regions.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    part = arns.one_partition(regions)
    flow_logs = [
        f"arn:{part}:ec2:{region}:{arns.account_id(account)}:vpc-flow-log/*" for region in regions
    ]
    return trusting(FLOW_LOGS_SERVICE, _only([account], flow_logs))


def bucket(
    place: str, *, accounts: Sequence[str], regions: Sequence[str], hive: bool = False
) -> Policy:
    """A bucket's policy that lets AWS deliver the flow logs of some accounts into it.

    Amazon VPC User Guide, "Amazon S3 bucket permissions for flow logs". ListBucket is there so that
    the service's look at the bucket is no AccessDenied in CloudTrail.

    Args:
        place: ``s3://BUCKET``, or with the prefix that the flow logs are given.
        accounts: whose flow logs.
        regions: where these are recorded.
        hive: whether their keys are Hive-compatible.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    part = arns.one_partition(regions)
    named, prefix = arns.s3_place(place)
    if "AWSLogs" in prefix.split("/"):
        raise UsageError(
            f"{place!r}: AWS makes the folder AWSLogs itself; name the bucket, or the prefix "
            "before it."
        )
    root = f"arn:{part}:s3:::{named}"
    below = f"{root}/{prefix}/AWSLogs" if prefix else f"{root}/AWSLogs"
    by_account = "aws-account-id=" if hive else ""
    own = [f"{below}/{by_account}{each}/*" for each in accounts]
    condition = _delivered(accounts, regions)
    owned = {**condition["StringEquals"], "s3:x-amz-acl": "bucket-owner-full-control"}
    seen = ("s3:GetBucketAcl", "s3:ListBucket")
    return document(
        _of_delivery(
            allow("WriteFlowLogs", ["s3:PutObject"], own, {**condition, "StringEquals": owned})
        ),
        _of_delivery(allow("SeeBucket", seen, [root], condition)),
    )


def kms_key(*, accounts: Sequence[str], regions: Sequence[str]) -> Policy:
    """What to add to the policy of the key that a bucket of flow logs is encrypted with.

    Amazon VPC User Guide, "Required key policy for use with SSE-KMS". In a key's policy ``*`` is
    the key itself. A key's policy must go on letting its administrators in.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    actions = (
        *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt"),
        *("kms:GenerateDataKey*", "kms:ReEncrypt*"),
    )
    condition = _delivered(accounts, regions)
    return document(_of_delivery(allow("UseThisKeyForFlowLogs", actions, ["*"], condition)))


def queue(arn: str, place: str) -> Policy:
    """A queue's policy that lets S3 tell it of a bucket's new objects.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    own = arns.arn(arn, "sqs")
    source = f"arn:{own.partition}:s3:::{arns.s3_place(place).bucket}"
    condition = _only([own.account], [source])
    told = allow("TellOfNewObjects", ["sqs:SendMessage"], [own.text], condition)
    return document(_of(told, "s3.amazonaws.com"))


def _delivered(accounts: Sequence[str], regions: Sequence[str]) -> dict[str, Any]:
    if not accounts:
        raise UsageError("Say whose flow logs: name at least one account.")
    part = arns.one_partition(regions)
    pairs = product(regions, map(arns.account_id, accounts))
    return _only(accounts, [f"arn:{part}:logs:{region}:{account}:*" for region, account in pairs])


def _only(accounts: Sequence[str], sources: Sequence[str]) -> dict[str, Any]:
    """The two conditions against confused deputies."""
    return {
        "StringEquals": {"aws:SourceAccount": one_or_all(accounts)},
        "ArnLike": {"aws:SourceArn": one_or_all(sources)},
    }


def _of_delivery(statement: Statement) -> Statement:
    return _of(statement, DELIVERY_SERVICE)


def _of(statement: Statement, service: str) -> Statement:
    head = {"Sid": statement["Sid"], "Effect": "Allow", "Principal": {"Service": service}}
    return head | statement
