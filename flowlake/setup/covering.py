"""What is recorded already: flow logs of a resource, or of what it lies in, to the same place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowlake.errors import NothingThere
from flowlake.setup.flow_logs import batches, resource_type
from flowlake.setup.recording import Recording

_IDS_A_FILTER = 200
"""Values that a filter of EC2 takes ("Filtering" in the Amazon EC2 API Reference)."""

_LOOKED_UP = {
    "NetworkInterface": ("network_interfaces", "NetworkInterfaceId", ("SubnetId", "VpcId")),
    "Subnet": ("subnets", "SubnetId", ("VpcId",)),
    "TransitGatewayAttachment": (
        "transit_gateway_attachments",
        "TransitGatewayAttachmentId",
        ("TransitGatewayId",),
    ),
}
"""How to ask for what a resource lies in, the nearest first: Describe…, its id, their ids."""

LOOKING = (
    "ec2:DescribeFlowLogs, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, "
    "ec2:DescribeSubnets and ec2:DescribeTransitGatewayAttachments"
)
"""What `interfaces` and `lies_in` need, and the list of flow logs."""


@dataclass(frozen=True, slots=True)
class Existing:
    """A flow log that records already, to the same place, what was asked for."""

    resource_id: str
    """What was to be recorded."""
    by: str
    """What the flow log is of: the resource itself, or what it lies in."""
    flow_log_id: str | None
    """None for one that the same plan creates."""
    differences: tuple[str, ...] = ()
    """How it is not as asked, in words."""


def existing(
    wanted: Sequence[str],
    wider: Mapping[str, Sequence[str]],
    there: Sequence[Mapping[str, Any]],
    recording: Recording,
) -> list[Existing]:
    """What records already: a flow log as asked for if there is one, else all that differ.

    Args:
        wanted: ids of what is to be recorded.
        wider: for each of them what it lies in, the nearest first.
        there: rows of ``FLOW_LOGS`` that deliver to the same place.
        recording: what is asked for.
    """
    found = {
        each: [
            Existing(each, by, row["flow_log_id"], _differences(row, recording))
            for by in (each, *wider.get(each, ()))
            for row in there
            if row["resource_id"] == by and _same_traffic(row, recording)
        ]
        for each in wanted
    }
    for each in wanted:
        made = [by for by in wider.get(each, ()) if by in found and not found[by]]
        if made and not found[each]:  # the widest: what lies between is left out itself
            found[each] = [Existing(each, made[-1], None)]
    chosen: list[Existing] = []
    for those in found.values():
        as_asked = [one for one in those if not one.differences]
        chosen += as_asked[:1] or those
    return chosen


def _same_traffic(flow_log: Mapping[str, Any], recording: Recording) -> bool:
    """Whether both record the same packets, or some of them: all but ACCEPT beside REJECT do."""
    both = {flow_log["traffic_type"] or "ALL", recording.traffic.upper()}
    return both != {"ACCEPT", "REJECT"}


def _differences(flow_log: Mapping[str, Any], recording: Recording) -> tuple[str, ...]:
    """How a flow log is less than what is asked for, in words."""
    kind = resource_type(flow_log["resource_id"] or "") or ""
    names = recording.names("transit-gateway" if kind.startswith("TransitGateway") else "vpc")
    lacking = [each for each in names if each not in flow_log["fields"]]
    traffic = flow_log["traffic_type"] or "ALL"
    found = []
    if traffic not in ("ALL", recording.traffic.upper()):
        found.append(f"it records {traffic} only")
    if lacking:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        found.append(f"it lacks {', '.join(lacking[:3])}{more}")
    if (flow_log["max_aggregation_interval"] or 0) > recording.interval:
        found.append(f"it sums up {flow_log['max_aggregation_interval']} seconds")
    if recording.log_group is None:
        text = "parquet" if recording.file_format == "parquet" else "plain-text"
        asked = {"file_format": text, "hive": recording.hive, "per_hour": recording.hourly}
        found += [
            f"its {name} is {str(flow_log[name]).lower()}"
            for name, value in asked.items()
            if flow_log[name] != value
        ]
    if flow_log["deliver_status"] == "FAILED":
        found.append(f"its delivery fails: {flow_log['deliver_error'] or 'EC2 does not say why'}")
    return tuple(found)


def interfaces(ec2: Any, instance: str, region: str) -> list[str]:
    """The interfaces of an instance.

    Raises:
        NothingThere: when there is no such instance, or it has none.
    """
    found = list(
        _described(ec2, "instances", "instance-id", [instance], "Reservations[].Instances[]")
    )
    if not found:
        raise _not_there(instance, region)
    ids = [each["NetworkInterfaceId"] for each in found[0].get("NetworkInterfaces", [])]
    if not ids:
        raise NothingThere(f"{instance} has no interface (any more): nothing is recorded of it.")
    return ids


def lies_in(ec2: Any, resources: Sequence[str], region: str) -> dict[str, list[str]]:
    """What each resource lies in, the nearest first; of a VPC or a transit gateway nothing.

    Raises:
        NothingThere: when one that is looked up is not there.
    """
    found: dict[str, list[str]] = {}
    for kind, (plural, own, around) in _LOOKED_UP.items():
        wanted = [each for each in resources if resource_type(each) == kind]
        name = plural.removesuffix("s").replace("_", "-") + "-id"
        answer = "".join(part.title() for part in plural.split("_"))
        for thing in _described(ec2, plural, name, wanted, f"{answer}[]"):
            found[thing[own]] = [thing[key] for key in around if thing.get(key)]
        for each in wanted:
            if each not in found:
                raise _not_there(each, region)
    return found


def _described(
    ec2: Any, plural: str, filter_name: str, ids: Sequence[str], path: str
) -> Iterator[Mapping[str, Any]]:
    pages = ec2.get_paginator(f"describe_{plural}")
    for some in batches(ids, _IDS_A_FILTER):
        filters = [{"Name": filter_name, "Values": list(some)}]
        yield from (each for each in pages.paginate(Filters=filters).search(path) if each)


def _not_there(resource_id: str, region: str) -> NothingThere:
    return NothingThere(
        f"There is no {resource_id} in {region}: check the id, --region and --profile."
    )
