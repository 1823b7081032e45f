"""IAM policies with just the rights that FlowLake uses: what a person or a role may do.

Each function returns a policy document, as ``json.dumps`` writes it for AWS. Actions stand on the
ARNs that were given. ``*`` stands where AWS has nothing smaller to name (Service Authorization
Reference: the actions without a resource type), in a statement of its own whose ``Sid`` says what
for. That FlowLake makes these requests and no others is recorded by ``tests/test_least_rights.py``.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from flowlake.errors import UsageError
from flowlake.setup import arns

Policy = dict[str, Any]
"""A policy document."""

Statement = dict[str, Any]

LONGEST = 6_144
"""Characters that a managed policy may have, white space aside (IAM User Guide, "IAM and STS
quotas"). An inline policy of a role may have 10,240, all of a user's 2,048."""

READ = ("s3:GetObject",)
"""GetObject and HeadObject."""

DECRYPT = ("kms:Decrypt",)
"""What S3 does with the key of an object for whom reads it."""

WRITE = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
"""What a lake is kept with. A large file is put in parts, which is all PutObject but for giving it
up when a part fails: obstore and delta-rs do so by themselves, recorded. The Amazon S3 User Guide,
"Multipart upload API and permissions", asks for AbortMultipartUpload there, and says that who began
an upload has it by default; a policy that leaves it to the default is no smaller. Nothing that is
stored can be lost by it."""

DESCRIBE_INTERFACES = (
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)
"""What `flowlake inventory` asks."""

DESCRIBE_SETUP = (*DESCRIBE_INTERFACES, "ec2:DescribeFlowLogs")
"""What `flowlake setup check` asks EC2."""

DESCRIBE_RECORDED = ("ec2:DescribeTransitGatewayAttachments",)
"""What `flowlake setup enable` asks besides."""

DELIVER = ("logs:CreateLogDelivery", "logs:DeleteLogDelivery")
"""What CreateFlowLogs and DeleteFlowLogs do for whom calls them (Amazon VPC User Guide, "Publish
flow logs to Amazon S3"); these two actions take no resource."""

LIST_CLUSTERS = ("ecs:ListClusters", "ecs:ListServices", "ecs:ListTaskDefinitions")
LIST_IN_CLUSTERS = ("ecs:ListContainerInstances", "ecs:ListTasks")
"""What who creates a flow log with fields ``ecs-…`` must be allowed (Amazon VPC User Guide, "Flow
log records"); the first three have no resource."""

FLOW_LOGS_SERVICE = "vpc-flow-logs.amazonaws.com"

RECORDED = ("vpc", "subnet", "network-interface", "transit-gateway", "transit-gateway-attachment")
"""What a flow log can be on, by the names in their ARNs."""


def document(*statements: Statement) -> Policy:
    """A policy of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(
    sid: str,
    actions: Iterable[str],
    resources: Iterable[str],
    condition: dict[str, Any] | None = None,
) -> Statement:
    """A statement that allows; one of a kind stands alone, as AWS's own policies have it."""
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": one_or_all(sorted(actions)),
        "Resource": one_or_all(resources),
    }
    return {**statement, "Condition": condition} if condition else statement


def trusting(service: str, condition: dict[str, Any]) -> Policy:
    """Who may take on a role: a service of AWS, under a condition that may be empty."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return document({**statement, "Condition": condition} if condition else statement)


def one_or_all(values: Iterable[str]) -> Any:
    """A list, or what is alone in it."""
    listed = list(dict.fromkeys(values))
    return listed[0] if len(listed) == 1 else listed


def length(policy: Policy) -> int:
    """The characters of a policy that AWS counts: all but white space."""
    import json

    return len("".join(json.dumps(policy, ensure_ascii=False).split()))


def reader(
    places: Sequence[str], *, kms_keys: Sequence[str] = (), partition: str | None = None
) -> Policy:
    """List and read: flow logs, to convert them, or a lake, to ask it. Nothing can be written.

    Args:
        places: ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``.
        kms_keys: ARNs of the keys that the objects are encrypted with, if with SSE-KMS.
        partition: ``aws`` by default, or what the keys say.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    part = partition_for(partition, kms_keys)
    return document(
        *objects("Objects", places, READ, part),
        *through("s3", "Decrypt", DECRYPT, kms_keys),
    )


def writer(lake: str, *, kms_keys: Sequence[str] = (), partition: str | None = None) -> Policy:
    """Keep a lake: convert into it, compact it, vacuum it, note the alarms' findings in it.

    Args:
        lake: ``s3://BUCKET/PREFIX``.
        kms_keys: ARNs of the keys that the bucket encrypts with, if with SSE-KMS.
        partition: ``aws`` by default, or what the keys say.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    part = partition_for(partition, kms_keys)
    # GenerateDataKey for each object; Decrypt to read, and to put in parts (AWS re:Post, "upload
    # a large file to Amazon S3 with encryption using an AWS KMS key")
    key = ("kms:Decrypt", "kms:GenerateDataKey")
    return document(
        *objects("Lake", [lake], WRITE, part), *through("s3", "EncryptLake", key, kms_keys)
    )


def alarms(topics: Sequence[str], *, kms_keys: Sequence[str] = ()) -> Policy:
    """Publish findings to SNS topics; evaluating them needs ``writer`` on the lake besides.

    Args:
        topics: their ARNs.
        kms_keys: ARNs of the keys that the topics are encrypted with, if they are.

    Raises:
        UsageError: for an ARN that is no topic's or no key's.
    """
    named = [arns.arn(each, "sns").text for each in topics]
    # Amazon SNS Developer Guide, "Managing Amazon SNS encryption keys and costs"
    key = ("kms:Decrypt", "kms:GenerateDataKey")
    return document(
        allow("PublishFindings", ["sns:Publish"], named),
        *through("sns", "EncryptFindings", key, kms_keys),
    )


def inventory(regions: Sequence[str] = ()) -> Policy:
    """Ask EC2 for the network interfaces and their names; keeping them needs ``writer``.

    Args:
        regions: only these; all by default.

    Raises:
        UsageError: for a region that is none.
    """
    return document(
        allow("DescribeHasNoResources", DESCRIBE_INTERFACES, ["*"], _in_regions(regions))
    )


def log_groups(groups: Sequence[str], *, account: str, region: str) -> Policy:
    """Read flow logs from CloudWatch Logs: what ``cloudwatch://GROUP`` as a source needs.

    Args:
        groups: their names.
        account: whose they are.
        region: where they are.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    named = [log_group_arn(each, account, region) for each in groups]
    return document(
        allow("ReadEvents", ["logs:FilterLogEvents"], named),
        allow("FindGroupsHasNoResources", ["logs:DescribeLogGroups"], ["*"]),
        allow("FormatsHaveNoResources", ["ec2:DescribeFlowLogs"], ["*"], _in_regions([region])),
    )


def log_group_arn(group: str, account: str, region: str) -> str:
    """The ARN that policies name a log group by, with its streams: it ends in ``:*``.

    Amazon CloudWatch Logs User Guide, "Resource types": without that end it is for tags only.
    """
    place = f"{arns.partition_of(region)}:logs:{region}:{arns.account_id(account)}"
    return f"arn:{place}:log-group:{arns.log_group(group)}:*"


def setup(
    account: str,
    regions: Sequence[str],
    *,
    destinations: Sequence[str] = (),
    role: str | None = None,
    tag_fields: bool = False,
    read_only: bool = False,
) -> Policy:
    """Create, list, check and delete flow logs: what `flowlake setup` itself needs.

    A bucket's policy is no part of it: who may change that and creates a flow log has AWS replace
    it (Amazon VPC User Guide, "Amazon S3 bucket permissions for flow logs").

    Args:
        account: whose flow logs.
        regions: where.
        destinations: where they go, ``s3://BUCKET/PREFIX`` or ``cloudwatch://GROUP``: what is there
            is listed, to see whether anything arrives.
        role: the ARN of the role that delivers to CloudWatch Logs, if there is one.
        tag_fields: whether flow logs with fields of tags are created, for which EC2 makes its
            service-linked role (Amazon VPC User Guide, "Using service-linked roles").
        read_only: only list and check.

    Raises:
        UsageError: for a name that is none of AWS's.
    """
    part = arns.one_partition(regions)
    places = [f"arn:{part}:ec2:{region}:{arns.account_id(account)}" for region in regions]
    flow_logs = [f"{each}:vpc-flow-log/*" for each in places]
    recorded = [f"{each}:{kind}/*" for each, kind in product(places, RECORDED)]
    in_ecs = [f"arn:{part}:ecs:{region}:{account}" for region in regions]
    containers = [
        f"{each}:{kind}" for each, kind in product(in_ecs, ("cluster/*", "container-instance/*/*"))
    ]
    tagging = {"StringEquals": {"ec2:CreateAction": "CreateFlowLogs"}}
    changes = [
        allow("CreateFlowLogs", ["ec2:CreateFlowLogs"], [*flow_logs, *recorded]),
        allow("TagNewFlowLogs", ["ec2:CreateTags"], flow_logs, tagging),
        allow("DeleteFlowLogs", ["ec2:DeleteFlowLogs"], flow_logs),
        allow("DeliveryHasNoResources", DELIVER, ["*"]),
        allow("EcsFieldsHaveNoResources", LIST_CLUSTERS, ["*"]),
        allow("EcsFields", LIST_IN_CLUSTERS, containers),
    ]
    if tag_fields:
        linked = f"arn:{part}:iam::{account}:role/aws-service-role/{FLOW_LOGS_SERVICE}/*"
        by_name = {"StringEquals": {"iam:AWSServiceName": FLOW_LOGS_SERVICE}}
        changes.append(allow("TagFields", ["iam:CreateServiceLinkedRole"], [linked], by_name))
    if role is not None:
        service = {"StringEquals": {"iam:PassedToService": FLOW_LOGS_SERVICE}}
        passed = arns.arn(role, "iam").text
        changes.append(allow("PassDeliveryRole", ["iam:PassRole"], [passed], service))
    buckets = [each for each in destinations if not each.startswith("cloudwatch://")]
    groups = [each for each in destinations if each not in buckets]
    named = [log_group_arn(each, account, where) for each, where in product(groups, regions)]
    described = (*DESCRIBE_SETUP, *(() if read_only else DESCRIBE_RECORDED))
    return document(
        *([] if read_only else changes),
        allow("DescribeHasNoResources", described, ["*"], _in_regions(regions)),
        allow("TrailHasNoResources", ["cloudtrail:LookupEvents"], ["*"]),
        *(objects("Delivered", buckets, READ, part) if buckets else []),
        *([allow("LookIntoGroups", ["logs:DescribeLogStreams"], named)] if named else []),
    )


def objects(
    what: str, places: Sequence[str], actions: Sequence[str], partition: str
) -> list[Statement]:
    """Listing and using the objects below places.

    S3 tells that an object is not there (404) only to who may list it, else it says 403; and it
    takes the object's name for the prefix then. So the prefix itself is among those allowed.
    """
    if not places:
        raise UsageError("Name at least one place, s3://BUCKET/PREFIX.")
    prefixes: dict[str, list[str]] = {}
    for place in map(arns.s3_place, places):
        prefixes.setdefault(place.bucket, []).append(place.prefix)
    statements = []
    for number, (bucket, within) in enumerate(prefixes.items(), start=1):
        named = [name for each in within for name in (each, f"{each}/*")]
        condition = {"StringLike": {"s3:prefix": named}} if all(within) else None
        sid = f"List{what}{number if len(prefixes) > 1 else ''}"
        statements.append(
            allow(sid, ["s3:ListBucket"], [f"arn:{partition}:s3:::{bucket}"], condition)
        )
    sid = f"{'Keep' if 's3:PutObject' in actions else 'Read'}{what}"
    return [*statements, allow(sid, actions, named_objects(places, partition))]


def named_objects(places: Sequence[str], partition: str) -> list[str]:
    """The object that has the prefix for its name, and those below."""
    named = []
    for bucket, prefix in map(arns.s3_place, places):
        root = f"arn:{partition}:s3:::{bucket}/"
        named += [root + prefix, f"{root}{prefix}/*"] if prefix else [root + "*"]
    return named


def one_object(sid: str, url: str, partition: str) -> Statement:
    """Reading one object, and no other.

    Raises:
        UsageError: when the URL is a bucket's.
    """
    bucket, key = arns.s3_place(url)
    if not key:
        raise UsageError(f"{url!r} names no object: write s3://BUCKET/KEY.")
    return allow(sid, READ, [f"arn:{partition}:s3:::{bucket}/{key}"])


def through(service: str, sid: str, actions: Sequence[str], keys: Sequence[str]) -> list[Statement]:
    """The use of keys, through a service only (AWS KMS Developer Guide, ``kms:ViaService``)."""
    found = [arns.arn(key, "kms") for key in keys]
    if not found:
        return []
    via = [f"{service}.{key.region}.amazonaws.com*" for key in found]  # .cn follows in China
    condition = {"StringLike": {"kms:ViaService": one_or_all(via)}}
    return [allow(sid, actions, [key.text for key in found], condition)]


def _in_regions(regions: Sequence[str]) -> dict[str, Any] | None:
    if not regions:
        return None
    arns.one_partition(regions)
    return {"StringEquals": {"ec2:Region": one_or_all(regions)}}


def partition_for(given: str | None, keys: Sequence[str]) -> str:
    """The partition that was given, else the keys', else ``aws``.

    Raises:
        UsageError: when these differ.
    """
    said = {arns.arn(key, "kms").partition for key in keys}
    said |= {arns.partition(given)} if given else set()
    if len(said) > 1:
        raise UsageError("What is named is of more than one partition: a policy is for one.")
    return said.pop() if said else "aws"
