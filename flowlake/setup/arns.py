"""Names of AWS's things, as people give them, checked before a policy says anything of them.

A policy with a wrong name is taken by AWS without a word and grants nothing, or more than was
meant: every name is refused here that AWS itself would not give.
"""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from flowlake.errors import UsageError

ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LOG_GROUP = re.compile(r"[A-Za-z0-9_./#-]{1,512}")
_FUNCTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ARN = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):(?P<service>[a-z0-9]+):(?P<region>[a-z0-9-]*)"
    r":(?P<account>[0-9]{12}):(?P<resource>[A-Za-z0-9_.,/+=@-]+)"
)
_SHAPES = {
    "kms": ("key/", "arn:aws:kms:REGION:ACCOUNT:key/ID; a key's alias grants nothing"),
    "sns": ("", "arn:aws:sns:REGION:ACCOUNT:TOPIC"),
    "sqs": ("", "arn:aws:sqs:REGION:ACCOUNT:QUEUE"),
    "iam": ("role/", "arn:aws:iam::ACCOUNT:role/NAME"),
}
"""For each service what its resource begins with, and the form to say to people."""


class Arn(NamedTuple):
    """An ARN's parts, and itself."""

    partition: str
    region: str
    account: str
    resource: str
    text: str


def arn(text: str, service: str) -> Arn:
    """Read the ARN of one key, topic, queue or role.

    Raises:
        UsageError: when it is of another service, or is not the ARN of one such thing.
    """
    begins, form = _SHAPES[service]
    match = _ARN.fullmatch(text)
    if not (match and match["service"] == service and match["resource"].startswith(begins)):
        raise UsageError(f"{text!r} has not the form {form}.")
    if (service == "iam") == bool(match["region"]):
        raise UsageError(f"{text!r} has not the form {form}.")
    return Arn(match["partition"], match["region"], match["account"], match["resource"], text)


class S3Place(NamedTuple):
    """A bucket, and a prefix without a slash at its end, or the bucket as a whole."""

    bucket: str
    prefix: str


def s3_place(url: str) -> S3Place:
    """Read ``s3://BUCKET/PREFIX``.

    Raises:
        UsageError: when it is none, or has what means something else in a policy.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{url!r} is no place in S3: write s3://BUCKET/PREFIX.")
    if re.search(r"[*?\[]", prefix):
        raise UsageError(
            f"{url!r}: a wildcard means more in a policy than in a source; name the folder before "
            "it, which is what FlowLake lists."
        )
    if "${" in prefix:
        raise UsageError(f"{url!r}: '${{' begins a variable in a policy; name a folder above it.")
    return S3Place(bucket, prefix.rstrip("/"))


def account_id(text: str) -> str:
    """An account's twelve digits, or a UsageError."""
    if not ACCOUNT.fullmatch(text):
        raise UsageError(f"{text!r} is no account: write its twelve digits.")
    return text


def log_group(text: str) -> str:
    """A log group's name, or a UsageError; ``cloudwatch://`` before it is taken off."""
    name = text.removeprefix("cloudwatch://").partition("?")[0]
    if not _LOG_GROUP.fullmatch(name):
        raise UsageError(f"{text!r} is no name of a log group, such as /vpc/flow-logs.")
    return name


def function_name(text: str) -> str:
    """A Lambda function's name, or a UsageError."""
    if not _FUNCTION.fullmatch(text):
        raise UsageError(f"{text!r} is no name of a function, such as convert-flow-logs.")
    return text


@functools.cache
def partition_of(region: str) -> str:
    """The partition that a region is in, as botocore knows it: ``aws``, ``aws-cn``, ….

    Raises:
        UsageError: when no region is called so.
    """
    import botocore.exceptions
    import botocore.session

    try:
        if _REGION.fullmatch(region):
            return str(botocore.session.Session().get_partition_for_region(region))
    except botocore.exceptions.UnknownRegionError:
        pass
    raise UsageError(f"{region!r} is no region of AWS, such as eu-west-1.")


def one_partition(regions: Sequence[str]) -> str:
    """The partition of all these regions.

    Raises:
        UsageError: when one is none, when they are of several partitions, or there are none.
    """
    found = {partition_of(region) for region in regions}
    if len(found) != 1:
        raise UsageError(
            "The regions are of more than one partition: a policy is for one."
            if found
            else "Say which region."
        )
    return found.pop()


PARTITIONS = ("aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b")
"""Partitions that a policy can be for where nothing else says which one it is."""


def partition(text: str) -> str:
    """A partition's name, or a UsageError."""
    if text not in PARTITIONS:
        raise UsageError(f"--partition is one of {', '.join(PARTITIONS)}, not {text!r}.")
    return text
