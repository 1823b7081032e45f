"""The catalogue of fields: everything FlowLake knows of a flow log record, each fact stated once.

Sources: Amazon VPC User Guide, "Flow log records"; AWS Transit Gateway guide, "Transit Gateway
Flow Logs records". Types follow AWS's own Parquet flow logs, except that ``start`` and ``end``
become timestamps and a transit gateway's ``protocol`` shares the VPC's 32 bits.

Readers, writers, schemas and documentation walk ``FIELDS`` and ``LAKE_COLUMNS``; none of them
names a field's type again. A name that is not here is a field of tomorrow: ``field_for`` gives
it a text column.
"""

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

FieldType = Literal["text", "int32", "int64", "time"]
"""What a field's text becomes; ``time`` is Unix seconds there, a UTC timestamp in the lake."""

ColumnType = Literal["text", "int32", "int64", "time", "date"]
"""What a column of the lake can be: any field's type, or a date."""

Source = Literal["vpc", "transit-gateway"]
"""The kinds of flow log the catalogue covers."""

SQL_TYPES: dict[ColumnType, str] = {
    "text": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "time": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
}
"""DuckDB's name for each column type."""

LAST_TIME = 253_402_300_799
"""The last second of the year 9999: beyond it lie milliseconds taken for seconds, and garbage."""


@dataclass(frozen=True, slots=True)
class LakeColumn:
    """A column of ``flows`` that FlowLake adds to what the record says."""

    column: str
    type: ColumnType
    meaning: str


LAKE_COLUMNS = (
    LakeColumn("object_id", "int64", "Key of the row in objects: the raw object this came from."),
    LakeColumn(
        "flow_log_id",
        "text",
        "Flow log (fl-...) in the object's key; overlapping flow logs record one flow twice.",
    ),
    LakeColumn("date", "date", "Partition: UTC date of start, else of end, else of the key."),
)
"""FlowLake's own columns of ``flows``, which come after every field."""

RENAMED = {"start": "start_time", "end": "end_time"}
"""Fields whose column is not just their name: ``end`` is a reserved word of SQL."""

TAKEN = {*RENAMED.values(), *(own.column for own in LAKE_COLUMNS)}
"""Columns that an unknown field may not fall into by its name."""


@functools.cache
def column_name(field_name: str) -> str:
    """Name the lake's column for a field, known or not: ``log-status`` gives ``log_status``.

    Names become lower case, because DuckDB's columns ignore case. An unknown field that would
    land on a column with another meaning gets an underscore: ``date`` gives ``date_``.
    """
    column = re.sub(r"[^a-z0-9_]", "_", field_name.lower())
    return RENAMED.get(column) or (f"{column}_" if column in TAKEN else column)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a flow log record, known or not."""

    name: str
    """AWS's name, as in a file's header: ``log-status``."""
    type: FieldType
    """What its text becomes."""
    version: int
    """The first record version that has it; 0 for a field the catalogue does not know."""
    meaning: str
    """What it says, units included."""
    values: tuple[str, ...] = ()
    """Known values of a text field. An open set: others are kept. ``protocols`` names codes."""
    minimum: int | None = None
    """The least number that makes sense: a line with a lesser one is rejected."""
    maximum: int | None = None
    """The greatest number that makes sense; None leaves it to the type's width."""
    sources: tuple[Source, ...] = ("vpc",)
    """The kinds of flow log that carry it; empty for a field the catalogue does not know."""

    @property
    def column(self) -> str:
        """The lake's column: the name with ``_`` for ``-``, or ``start_time`` and ``end_time``."""
        return column_name(self.name)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


BOTH: tuple[Source, ...] = ("vpc", "transit-gateway")
TRANSIT_GATEWAY: tuple[Source, ...] = ("transit-gateway",)

AWS_SERVICES = _words("""
    AMAZON AMAZON_APPFLOW AMAZON_CONNECT API_GATEWAY AURORA_DSQL CHIME_MEETINGS CHIME_VOICECONNECTOR
    CLOUD9 CLOUDFRONT CLOUDFRONT_ORIGIN_FACING CODEBUILD DYNAMODB EBS EC2 EC2_INSTANCE_CONNECT
    GLOBALACCELERATOR IVS_LOW_LATENCY IVS_REALTIME KINESIS_VIDEO_STREAMS MEDIA_PACKAGE_V2 ROUTE53
    ROUTE53_HEALTHCHECKS ROUTE53_HEALTHCHECKS_PUBLISHING ROUTE53_RESOLVER S3 WORKSPACES_GATEWAYS
""")
"""Names of AWS address ranges in ``pkt-src-aws-service`` and ``pkt-dst-aws-service``."""

INTERFACE_TYPES = (
    "nat_gateway",
    "regional_nat_gateway",
    "network_load_balancer",
    "transit_gateway",
    "vpc_endpoint",
)
"""Kinds of network interface in ``interface-type`` and ``next-hop-interface-type``."""

# A table: one entry a field, which the formatter would spread over three hundred lines more.
# fmt: off
_VPC_FIELDS = (
    # version 2: the default format
    Field("version", "int32", 2,
          "Highest version among the format's fields; the default format always says 2.",
          minimum=1, sources=BOTH),
    Field("account-id", "text", 2,
          "Account that owns the source interface or the transit gateway; leading zeros kept; "
          "'unknown' for some interfaces that AWS made.",
          sources=BOTH),
    Field("interface-id", "text", 2,
          "Interface that captured the flow (eni-...); null on a regional NAT gateway."),
    Field("srcaddr", "text", 2,
          "Sender's IP address; on outgoing flows the interface's primary private IPv4, whichever "
          "address sent.",
          sources=BOTH),
    Field("dstaddr", "text", 2,
          "Target's IP address; on incoming flows the interface's primary private IPv4, even when "
          "a secondary was hit.",
          sources=BOTH),
    Field("srcport", "int32", 2,
          "Source port; 0 for protocols without ports, such as ICMP.",
          minimum=0, maximum=65_535, sources=BOTH),
    Field("dstport", "int32", 2,
          "Target port; 0 for protocols without ports (ICMP's type and code are not recorded).",
          minimum=0, maximum=65_535, sources=BOTH),
    Field("protocol", "int32", 2,
          "IANA protocol number: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6.",
          minimum=0, maximum=255, sources=BOTH),
    Field("packets", "int64", 2,
          "Packets of this flow, in this direction, in this interval.",
          minimum=0, sources=BOTH),
    Field("bytes", "int64", 2,
          "Bytes of this flow, in this direction, in this interval.",
          minimum=0, sources=BOTH),
    Field("start", "time", 2,
          "When the interval's first packet was seen; up to 60 seconds off the wire.",
          minimum=0, maximum=LAST_TIME, sources=BOTH),
    Field("end", "time", 2,
          "When the interval's last packet was seen; up to 60 seconds off the wire.",
          minimum=0, maximum=LAST_TIME, sources=BOTH),
    Field("action", "text", 2,
          "Verdict of security groups and network ACLs; REJECT too for packets after a connection "
          "closed.",
          ("ACCEPT", "REJECT")),
    Field("log-status", "text", 2,
          "OK; NODATA: no traffic in the interval; SKIPDATA: AWS lost records, perhaps many.",
          ("OK", "NODATA", "SKIPDATA"), sources=BOTH),
    # version 3
    Field("vpc-id", "text", 3, "VPC of the capturing interface."),
    Field("subnet-id", "text", 3, "Subnet of the capturing interface."),
    Field("instance-id", "text", 3,
          "EC2 instance of the interface; null where AWS runs it (NAT gateway, load balancer)."),
    Field("tcp-flags", "int32", 3,
          "FIN 1, SYN 2, RST 4, SYN-ACK 18, ORed over the interval; 0: none of these, or not TCP.",
          minimum=0, maximum=255, sources=BOTH),
    Field("type", "text", 3, "Kind of traffic.", ("IPv4", "IPv6", "EFA"), sources=BOTH),
    Field("pkt-srcaddr", "text", 3,
          "Source address in the packet; not srcaddr behind NAT, a pod or a secondary address."),
    Field("pkt-dstaddr", "text", 3,
          "Target address in the packet; not dstaddr behind NAT, a pod or a secondary address."),
    # version 4
    Field("region", "text", 4, "Region of the capturing interface.", sources=BOTH),
    Field("az-id", "text", 4, "Availability Zone id (use1-az4), the same in every account."),
    Field("sublocation-type", "text", 4,
          "Kind of place outside the region's own zones; null inside them.",
          ("wavelength", "outpost", "localzone")),
    Field("sublocation-id", "text", 4, "Which Wavelength Zone, Outpost or Local Zone."),
    # version 5
    Field("pkt-src-aws-service", "text", 5,
          "AWS address range that pkt-srcaddr lies in; null for addresses that are not AWS's.",
          AWS_SERVICES, sources=BOTH),
    Field("pkt-dst-aws-service", "text", 5,
          "AWS address range that pkt-dstaddr lies in; null for addresses that are not AWS's.",
          AWS_SERVICES, sources=BOTH),
    Field("flow-direction", "text", 5,
          "ingress came to the interface or transit gateway, egress left it.",
          ("ingress", "egress"), sources=BOTH),
    Field("traffic-path", "int32", 5,
          "Way out of the VPC, egress only: 8 internet gateway; 1 also means to a NAT gateway.",
          minimum=0),
    # version 7: null unless the traffic is a running ECS task's
    Field("ecs-cluster-arn", "text", 7, "ARN of the ECS cluster."),
    Field("ecs-cluster-name", "text", 7, "Name of the ECS cluster."),
    Field("ecs-container-instance-arn", "text", 7,
          "ARN of the ECS container instance; null on Fargate."),
    Field("ecs-container-instance-id", "text", 7,
          "Id of the ECS container instance; null on Fargate."),
    Field("ecs-container-id", "text", 7, "Docker runtime id of the task's first container."),
    Field("ecs-second-container-id", "text", 7, "Docker runtime id of its second container."),
    Field("ecs-service-name", "text", 7, "ECS service that started the task, if one did."),
    Field("ecs-task-definition-arn", "text", 7, "ARN of the ECS task definition."),
    Field("ecs-task-arn", "text", 7, "ARN of the ECS task."),
    Field("ecs-task-id", "text", 7, "Id of the ECS task."),
    # versions 8, 9 and 10
    Field("reject-reason", "text", 8,
          "Why, if not a security group or ACL: BPA, block public access; EC, encryption controls.",
          ("BPA", "EC")),
    Field("resource-id", "text", 9,
          "What handled a flow that has no interface: the regional NAT gateway (nat-...)."),
    Field("encryption-status", "int32", 10,
          "0 plain, 1 by Nitro, 2 by the application (guessed from TCP 443), 3 both; null unknown.",
          minimum=0),
    # version 11
    Field("instance-tag", "text", 11,
          "Value of the EC2 instance tag chosen for this flow log, percent-encoded."),
    Field("instance-tag-2", "text", 11,
          "Value of the second EC2 instance tag chosen, percent-encoded."),
    Field("interface-tag", "text", 11,
          "Value of the network interface tag chosen for this flow log, percent-encoded."),
    Field("interface-tag-2", "text", 11,
          "Value of the second network interface tag chosen, percent-encoded."),
    Field("asg-tag", "text", 11,
          "Value of the Auto Scaling group tag chosen for this flow log, percent-encoded."),
    Field("asg-tag-2", "text", 11,
          "Value of the second Auto Scaling group tag chosen, percent-encoded."),
    Field("interface-type", "text", 11, "Kind of the capturing interface.", INTERFACE_TYPES),
    Field("next-hop-interface-id", "text", 11,
          "Interface at the other end: it received an egress flow, or sent an ingress flow."),
    Field("next-hop-subnet-id", "text", 11, "Subnet of the next hop's interface."),
    Field("next-hop-az-id", "text", 11,
          "Availability Zone id of the next hop; if it is not az-id, the flow crossed zones."),
    Field("next-hop-vpc-id", "text", 11, "VPC of the next hop's interface."),
    Field("next-hop-interface-type", "text", 11,
          "Kind of the next hop's interface; nat_gateway, on egress, marks bytes sent to NAT.",
          INTERFACE_TYPES),
)

_TRANSIT_GATEWAY_FIELDS = (
    Field("resource-type", "text", 6,
          "What the flow log was made on.",
          ("TransitGateway", "TransitGatewayAttachment"), sources=TRANSIT_GATEWAY),
    Field("tgw-id", "text", 6, "Transit gateway (tgw-...).", sources=TRANSIT_GATEWAY),
    Field("tgw-attachment-id", "text", 6,
          "Attachment that the flow was recorded on (tgw-attach-...).",
          sources=TRANSIT_GATEWAY),
    Field("tgw-src-vpc-account-id", "text", 6,
          "Account of the source VPC; leading zeros kept.",
          sources=TRANSIT_GATEWAY),
    Field("tgw-dst-vpc-account-id", "text", 6,
          "Account of the destination VPC; leading zeros kept.",
          sources=TRANSIT_GATEWAY),
    Field("tgw-src-vpc-id", "text", 6, "Source VPC.", sources=TRANSIT_GATEWAY),
    Field("tgw-dst-vpc-id", "text", 6, "Destination VPC.", sources=TRANSIT_GATEWAY),
    Field("tgw-src-subnet-id", "text", 6, "Subnet of the source.", sources=TRANSIT_GATEWAY),
    Field("tgw-dst-subnet-id", "text", 6, "Subnet of the destination.", sources=TRANSIT_GATEWAY),
    Field("tgw-src-eni", "text", 6,
          "Transit gateway's interface in the source VPC.",
          sources=TRANSIT_GATEWAY),
    Field("tgw-dst-eni", "text", 6,
          "Transit gateway's interface in the destination VPC.",
          sources=TRANSIT_GATEWAY),
    Field("tgw-src-az-id", "text", 6,
          "Availability Zone id of the source.",
          sources=TRANSIT_GATEWAY),
    Field("tgw-dst-az-id", "text", 6,
          "Availability Zone id of the destination.",
          sources=TRANSIT_GATEWAY),
    Field("tgw-pair-attachment-id", "text", 6,
          "Attachment at the flow's other side: the way out of an ingress flow, the way in of an "
          "egress one.",
          sources=TRANSIT_GATEWAY),
    Field("packets-lost-no-route", "int64", 6,
          "Packets dropped because no route matched.",
          minimum=0, sources=TRANSIT_GATEWAY),
    Field("packets-lost-blackhole", "int64", 6,
          "Packets dropped by a blackhole route.",
          minimum=0, sources=TRANSIT_GATEWAY),
    Field("packets-lost-mtu-exceeded", "int64", 6,
          "Packets dropped because they were larger than the MTU.",
          minimum=0, sources=TRANSIT_GATEWAY),
    Field("packets-lost-ttl-expired", "int64", 6,
          "Packets dropped because their time to live ran out.",
          minimum=0, sources=TRANSIT_GATEWAY),
)
# fmt: on

FIELDS: tuple[Field, ...] = _VPC_FIELDS + _TRANSIT_GATEWAY_FIELDS
"""Every known field: the VPC's in AWS's table order, then those only a transit gateway has."""

BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}
"""Known fields by AWS's name."""

BY_COLUMN: dict[str, Field] = {field.column: field for field in FIELDS}
"""Known fields by the lake's column."""

COLUMNS: tuple[Field | LakeColumn, ...] = (*FIELDS, *LAKE_COLUMNS)
"""The columns of ``flows`` in order."""

DEFAULT_FORMAT: tuple[str, ...] = tuple(field.name for field in FIELDS if field.version == 2)
"""The header of a VPC flow log made without a format of its own."""

TRANSIT_GATEWAY_FORMAT: tuple[str, ...] = _words("""
    version resource-type account-id tgw-id tgw-attachment-id
    tgw-src-vpc-account-id tgw-dst-vpc-account-id tgw-src-vpc-id tgw-dst-vpc-id
    tgw-src-subnet-id tgw-dst-subnet-id tgw-src-eni tgw-dst-eni tgw-src-az-id tgw-dst-az-id
    tgw-pair-attachment-id srcaddr dstaddr srcport dstport protocol packets bytes start end
    log-status type packets-lost-no-route packets-lost-blackhole packets-lost-mtu-exceeded
    packets-lost-ttl-expired tcp-flags region flow-direction
    pkt-src-aws-service pkt-dst-aws-service
""")
"""The header of a transit gateway flow log made without a format of its own."""


def field_for(field_name: str) -> Field:
    """Find the field of a name in a header, in any spelling that makes the same column.

    A name the catalogue does not know is a text field, so that what AWS adds is kept.
    """
    name = re.sub(r"[^a-z0-9]", "-", field_name.lower())
    return BY_NAME.get(name) or Field(
        field_name, "text", 0, "Not in FlowLake's catalogue: kept as text.", sources=()
    )


def column_type(column: str) -> FieldType:
    """What a field's column holds: the catalogue's type, or text for a field it does not know."""
    return BY_COLUMN[column].type if column in BY_COLUMN else "text"


def arrow_type(type_: ColumnType) -> "pa.DataType":
    """Arrow's type for a column type."""
    import pyarrow as pa

    types: dict[ColumnType, pa.DataType] = {
        "text": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "time": pa.timestamp("us", "UTC"),
        "date": pa.date32(),
    }
    return types[type_]


def polars_type(type_: ColumnType) -> "pl.DataType":
    """Polars' type for a column type."""
    import polars as pl

    types: dict[ColumnType, pl.DataType] = {
        "text": pl.String(),
        "int32": pl.Int32(),
        "int64": pl.Int64(),
        "time": pl.Datetime("us", "UTC"),
        "date": pl.Date(),
    }
    return types[type_]


def flows_schema() -> "pa.Schema":
    """Arrow's schema of ``flows``: every field of the catalogue in order, then FlowLake's own."""
    import pyarrow as pa

    return pa.schema([(each.column, arrow_type(each.type)) for each in COLUMNS])


def polars_schema() -> "pl.Schema":
    """Polars' schema of ``flows``: the same columns in the same order as ``flows_schema``."""
    import polars as pl

    return pl.Schema({each.column: polars_type(each.type) for each in COLUMNS})
