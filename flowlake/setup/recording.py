"""How traffic is to be recorded: a flow log's settings, as EC2 and the AWS CLI take them.

Nothing is asked of AWS here. What AWS would refuse for certain is refused first, in words.
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flowlake.errors import UsageError
from flowlake.fields import FIELDS, TRANSIT_GATEWAY_FORMAT, Field, Source
from flowlake.reading.formats import parse_format
from flowlake.setup import arns
from flowlake.setup.flow_logs import batches, resource_type
from flowlake.storage.places import LOG_GROUP, is_log_group

INTERVALS = (60, 600)
"""Seconds of an aggregation interval at most (CreateFlowLogs). Interfaces of Nitro instances take a
minute whatever is set, and a transit gateway must be told to."""

VERSIONS = tuple(sorted({each.version for each in FIELDS if "vpc" in each.sources}))
"""Versions of a VPC's records, each with more fields than the one before."""

TAGGED = {
    "instance": "instance",
    "interface": "network-interface",
    "asg": "auto-scaling-group",
}
"""Whose tags a record may carry: how the fields begin, and the type in TagFieldSpecifications."""

TAG_FIELDS = {name: (f"{name}-tag", f"{name}-tag-2") for name in TAGGED}
"""The fields of tags, which a flow log may only have with the keys that they are of."""

AT_ONCE = {"TransitGateway": 25, "TransitGatewayAttachment": 25}
"""Resources that one CreateFlowLogs may name; of the other types ``AT_ONCE_ELSE``."""

AT_ONCE_ELSE = 300

Parameters = dict[str, Any]
"""What CreateFlowLogs is told, as botocore takes it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """How to record: all that a flow log has but its resource.

    Raises:
        UsageError: for settings that cannot be, or not together.
    """

    to: str
    """``s3://BUCKET/PREFIX`` or ``cloudwatch://GROUP``. The group is in the resource's region."""
    traffic: Literal["all", "accept", "reject"] = "all"
    """Which traffic; of a transit gateway always all."""
    interval: int = 60
    """Seconds that a record may sum up, 60 or 600."""
    fields: str | None = None
    """AWS's format, ``${version} ${srcaddr} …``. By default every field FlowLake knows, but for
    those of tags."""
    version: int | None = None
    """Without ``fields``, only those that a VPC's records of this version have. A transit gateway's
    have no versions to choose."""
    file_format: Literal["text", "parquet"] = "text"
    """What AWS writes to S3."""
    hive: bool = False
    """Whether keys in S3 have names in their folders, ``year=2026/month=01/…``."""
    hourly: bool = False
    """Whether each hour has a folder in S3."""
    role: str | None = None
    """ARN of the role that delivers to CloudWatch Logs."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the flow log; ``Name`` is its name."""
    tag_fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Tags to record, ``{"instance": ["Name"]}``: up to two keys each of ``instance``,
    ``interface`` and ``asg``, whose values get fields of their own."""

    def __post_init__(self) -> None:
        """Refuse what AWS would refuse, but for what depends on the resource."""
        _one_of("traffic", self.traffic, ("all", "accept", "reject"))
        _one_of("interval", self.interval, INTERVALS)
        _one_of("file-format", self.file_format, ("text", "parquet"))
        if self.version is not None:
            _one_of("version", self.version, VERSIONS)
            if self.fields is not None:
                raise UsageError("--fields says which fields: leave out --version.")
        if self.log_group is None:
            bucket, prefix = arns.s3_place(self.to)
            if "AWSLogs" in prefix.split("/"):
                raise UsageError(
                    f"{self.to!r}: AWS makes the folder AWSLogs itself, and takes none of that "
                    f"name: write s3://{bucket}."
                )
            if self.role is not None:
                raise UsageError("--role is for CloudWatch Logs: S3 goes by the bucket's policy.")
        else:
            self._check_log_group()
        for key in self.tags:
            if not key or key.startswith("aws:"):
                raise UsageError(f"{key!r} cannot be the key of a tag.")
        for name, keys in self.tag_fields.items():
            _one_of("tag-field", name, tuple(TAGGED))
            if not 1 <= len(set(keys)) == len(keys) <= 2 or not all(keys):
                raise UsageError(f"A record carries one or two tags of the {name}, each once.")
        if self.tag_fields and self.version is not None and self.version < max(VERSIONS):
            raise UsageError(f"Fields of tags are of version {max(VERSIONS)}: leave out --version.")

    def _check_log_group(self) -> None:
        if self.file_format != "text" or self.hive or self.hourly:
            raise UsageError("--file-format, --hive and --hourly are for files in S3.")
        if self.role is None:
            raise UsageError(
                "CloudWatch Logs takes records from a role: write --role ARN. `flowlake setup "
                "policy cloudwatch` prints what it must allow, and whom it must trust."
            )
        arns.arn(self.role, "iam")

    @property
    def log_group(self) -> str | None:
        """The log group's name; None if records go to S3."""
        if not is_log_group(self.to):
            return None
        match = LOG_GROUP.fullmatch(self.to)
        if match is None:
            raise UsageError(f"{self.to!r} names no log group: write cloudwatch://GROUP.")
        return match["group"]

    def place(self, region: str | None) -> str:
        """Where the records go, in the spelling that `flowlake convert` takes.

        Raises:
            UsageError: when the log group is said to be in another region.
        """
        if self.log_group is None:
            bucket, prefix = arns.s3_place(self.to)
            return f"s3://{bucket}/{prefix}".rstrip("/")
        match = LOG_GROUP.fullmatch(self.to)
        said = match and match["region"]
        if said and region and said != region:
            raise UsageError(
                f"A flow log delivers to a log group of its own region: {self.to!r} is not in "
                f"{region}."
            )
        where = region or said
        return f"cloudwatch://{self.log_group}" + (f"?region={where}" if where else "")

    def names(self, source: Source) -> tuple[str, ...]:
        """The fields that a record will have, by AWS's names, in order.

        Raises:
            UsageError: when a field is named that records of this source do not have.
        """
        own = {name: TAG_FIELDS[name][: len(keys)] for name, keys in self.tag_fields.items()}
        tagged = [name for names in own.values() for name in names]
        if self.fields is None:
            return (*self._known(source), *tagged)
        given = parse_format(self.fields)
        names = [each.name for each in given]
        for each in given:
            if each.version and source not in each.sources:
                raise UsageError(f"{_whose(source)} has no field {each.name}: {_elsewhere(each)}.")
        for name, both in TAG_FIELDS.items():
            if asked := [each for each in both if each in names and each not in tagged]:
                raise UsageError(f"{asked[0]} needs a tag's key: add --tag-field {name}=KEY.")
        return (*names, *(each for each in tagged if each not in names))

    def _known(self, source: Source) -> tuple[str, ...]:
        """Every field of the catalogue that a flow log may have without more, in AWS's order."""
        if source == "transit-gateway":
            return TRANSIT_GATEWAY_FORMAT
        newest = self.version or max(VERSIONS)
        tagged = {name for both in TAG_FIELDS.values() for name in both}
        known = (each for each in FIELDS if source in each.sources and each.version <= newest)
        return tuple(each.name for each in known if each.name not in tagged)

    def parameters(self, kind: str, region: str | None = None) -> Parameters:
        """What CreateFlowLogs is told for resources of a type, but for their ids.

        Args:
            kind: the type, as in ``flowlake.setup.flow_logs.RESOURCE_TYPES``.
            region: where; it decides the partition of ARNs.

        Raises:
            UsageError: for settings that this type does not take.
        """
        source: Source = "transit-gateway" if kind.startswith("TransitGateway") else "vpc"
        if source == "transit-gateway":
            if self.traffic != "all":
                raise UsageError("A transit gateway records all traffic: leave out --traffic.")
            if self.interval != INTERVALS[0]:
                raise UsageError("A transit gateway takes no --interval but 60.")
            if self.tag_fields:
                raise UsageError(
                    "A transit gateway's records carry no tags: leave out --tag-field."
                )
        self.place(region)
        told: Parameters = {"ResourceType": kind}
        if source == "vpc":
            told["TrafficType"] = self.traffic.upper()
        told |= self._destination(region)
        told["LogFormat"] = " ".join(f"${{{name}}}" for name in self.names(source))
        told["MaxAggregationInterval"] = self.interval
        if self.tags:
            tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
            told["TagSpecifications"] = [{"ResourceType": "vpc-flow-log", "Tags": tags}]
        if self.tag_fields:
            told["TagFieldSpecifications"] = [
                {"ResourceType": TAGGED[name], "TagKeys": list(keys)}
                for name, keys in self.tag_fields.items()
            ]
        return told

    def _destination(self, region: str | None) -> Parameters:
        if self.log_group is not None:
            return {
                "LogDestinationType": "cloud-watch-logs",
                "LogGroupName": self.log_group,
                "DeliverLogsPermissionArn": self.role,
            }
        bucket, prefix = arns.s3_place(self.to)
        partition = arns.partition_of(region) if region else "aws"
        folder = f"/{prefix}/" if prefix else ""
        told: Parameters = {
            "LogDestinationType": "s3",
            "LogDestination": f"arn:{partition}:s3:::{bucket}{folder}",
        }
        if self.file_format == "parquet" or self.hive or self.hourly:
            told["DestinationOptions"] = {
                "FileFormat": "parquet" if self.file_format == "parquet" else "plain-text",
                "HiveCompatiblePartitions": self.hive,
                "PerHourPartition": self.hourly,
            }
        return told


def requests(
    resources: Iterable[str], recording: Recording, region: str | None = None
) -> tuple[Parameters, ...]:
    """The calls of CreateFlowLogs that record these resources: one or more for each type.

    Raises:
        UsageError: for an id of what cannot be recorded, or settings that its type does not take.
    """
    by_kind: dict[str, list[str]] = {}
    for each in dict.fromkeys(resources):
        kind = resource_type(each)
        if kind is None:
            raise UsageError(f"{each!r} is nothing that a flow log can record.")
        by_kind.setdefault(kind, []).append(each)
    calls: list[Parameters] = []
    for kind, ids in by_kind.items():
        told = recording.parameters(kind, region)
        most = AT_ONCE.get(kind, AT_ONCE_ELSE)
        calls += [{"ResourceIds": some, **told} for some in batches(ids, most)]
    return tuple(calls)


def aws_command(parameters: Parameters, region: str | None, profile: str | None = None) -> str:
    """The AWS CLI's command that makes the same call, quoted for a shell, an option a line."""
    import botocore

    words = [*_option("--region", region), *_option("--profile", profile)]
    for name, value in parameters.items():
        option = f"--{botocore.xform_name(name, '-')}"
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            words.append(shlex.join([option, *value]))
        elif isinstance(value, (list, dict)):
            words += _option(option, json.dumps(value))
        else:
            words += _option(option, str(value))
    return " \\\n  ".join(["aws ec2 create-flow-logs", *words])


def _option(name: str, value: str | None) -> list[str]:
    """An option and its value, as one word where the value would be taken for an option."""
    if value is None:
        return []
    words = [f"{name}={value}"] if value.startswith("-") else [name, value]
    return [shlex.join(words)]


def _one_of(option: str, value: object, values: Sequence[object]) -> None:
    if value not in values:
        known = ", ".join(map(str, values))
        raise UsageError(f"--{option} is one of {known}, not {value!r}.")


def _whose(source: Source) -> str:
    return "A transit gateway's record" if source == "transit-gateway" else "A VPC's record"


def _elsewhere(unknown: Field) -> str:
    there = " and ".join(
        "a VPC" if each == "vpc" else "a transit gateway" for each in unknown.sources
    )
    return f"it is of {there}; enable the two with a command each"
