"""What flow logs record of the networks that there are: what nobody does, and what two do."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import polars as pl

from flowlake.setup.advice import advise, listed

RECEIVED = pl.Schema(
    {
        "account_id": pl.String(),
        "region": pl.String(),
        "flow_log_id": pl.String(),
        "log_group": pl.String(),
        "objects": pl.Int64(),
        "newest": pl.Datetime("us", "UTC"),
        "interfaces": pl.List(pl.String()),
    }
)
"""What a lake has received of a flow log, or of a log group, of which ``flow_log_id`` is null.

``objects`` are raw objects, or hours of the log group. ``newest`` is the time (UTC) that its
records go to, to a few minutes. ``interfaces`` are those of the lake's last day.
"""

_NESTED = ("interface_id", "subnet_id", "vpc_id")
_MAKE = "Make a flow log for it, or for the VPC as a whole: `flowlake setup enable`."


def unrecorded(
    flow_logs: pl.DataFrame, networks: pl.DataFrame, interfaces: pl.DataFrame
) -> Iterator[dict[str, Any]]:
    """Tell of VPCs, subnets and interfaces that no active flow log records, or only in part.

    Where nothing of a VPC is recorded it is one row; else its subnets that are not, and in a
    subnet that is recorded in part, its interfaces.

    Args:
        flow_logs: of ``FLOW_LOGS``.
        networks: of ``NETWORKS``.
        interfaces: of ``INVENTORY``.
    """
    taken = _taken(flow_logs)
    recorded = [each for each, kinds in taken.items() if kinds]
    inside = interfaces.select("account_id", "region", "interface_id", "subnet_id", "vpc_id")
    by_vpc = {key[0]: part for key, part in inside.partition_by("vpc_id", as_dict=True).items()}
    subnets = networks.drop_nulls("subnet_id").partition_by("vpc_id", as_dict=True)
    for vpc in networks.filter(pl.col("subnet_id").is_null()).iter_rows(named=True):
        vpc_id = vpc["vpc_id"]
        if taken.get(vpc_id):
            continue
        own = by_vpc.get(vpc_id, inside.clear())
        below = subnets.get((vpc_id,), networks.clear())
        parts = {*own["interface_id"], *below["subnet_id"]}
        if not parts & {*recorded}:
            yield _nobody(vpc, vpc_id, own, below.height)
            continue
        for subnet in below.iter_rows(named=True):
            if not taken.get(subnet["subnet_id"]):
                theirs = own.filter(subnet_id=subnet["subnet_id"])
                yield from _of_subnet(subnet, theirs, recorded)
    ancestors = _ancestors(networks, interfaces)
    of_resource = _active(flow_logs).unique("resource_id", keep="first", maintain_order=True)
    for row in of_resource.iter_rows(named=True):
        above = (taken.get(each, frozenset()) for each in ancestors.get(row["resource_id"], ()))
        kinds = taken[row["resource_id"]].union(*above)
        if len(kinds) == 1:
            only = "accepted" if "ACCEPT" in kinds else "refused"
            yield advise(
                "warning",
                "traffic in part",
                row,
                f"Only {only} traffic of {row['resource_id']} is recorded.",
                "Make a flow log of all traffic (ALL) instead, unless this is meant.",
            )


def idle(flow_logs: pl.DataFrame, interfaces: pl.DataFrame) -> set[str]:
    """The VPCs, subnets and interfaces that are recorded, and in which no interface is (any more).

    Args:
        flow_logs: of ``FLOW_LOGS``.
        interfaces: of ``INVENTORY``.
    """
    used = {each for name in _NESTED for each in interfaces[name]}
    return {*_active(flow_logs)["resource_id"]} - used


def overlapping(
    flow_logs: pl.DataFrame, networks: pl.DataFrame, interfaces: pl.DataFrame
) -> Iterator[dict[str, Any]]:
    """Tell of active flow logs that record what another records too: it is counted twice.

    The row is about the one of the smaller resource; of two of the same resource, the later.

    Args:
        flow_logs: of ``FLOW_LOGS``.
        networks: of ``NETWORKS``.
        interfaces: of ``INVENTORY``.
    """
    ancestors = _ancestors(networks, interfaces)
    active = _active(flow_logs).sort("created_at", "flow_log_id").to_dicts()
    by_resource: dict[str, list[dict[str, Any]]] = {}
    for row in active:
        by_resource.setdefault(row["resource_id"], []).append(row)
    for row in active:
        same = by_resource[row["resource_id"]]
        earlier = same[: same.index(row)]
        above = [
            each for up in ancestors.get(row["resource_id"], ()) for each in by_resource.get(up, ())
        ]
        for other in (*earlier, *above):
            if not _kinds(row["traffic_type"]) & _kinds(other["traffic_type"]):
                continue
            together = place_of(row["destination"]) == place_of(other["destination"])
            where = "to the same place" if together else "to another place"
            yield advise(
                "warning" if together else "note",
                "recorded twice",
                row,
                f"What it records of {row['resource_id']} is also recorded by "
                f"{other['flow_log_id']} of {other['resource_id']}, {where}: "
                f"{'sums count' if together else 'a lake of both counts'} each flow twice.",
                "Delete one of the two, or ask with one point of view (count=eni-… of a query).",
            )


def left_behind(
    received: pl.DataFrame,
    flow_logs: pl.DataFrame,
    interfaces: pl.DataFrame,
    looked_at: Collection[tuple[str, str]],
) -> Iterator[dict[str, Any]]:
    """Tell of flow logs that the lake has records of and EC2 does not know any more.

    Args:
        received: of ``RECEIVED``.
        flow_logs: of ``FLOW_LOGS``.
        interfaces: of ``INVENTORY``, those that are there now.
        looked_at: the accounts and regions that EC2 was asked for.
    """
    known = {*flow_logs["flow_log_id"]}
    there = {row["interface_id"]: row for row in interfaces.iter_rows(named=True)}
    taken = _taken(flow_logs)
    for row in received.drop_nulls("flow_log_id").iter_rows(named=True):
        if (row["account_id"], row["region"]) not in looked_at or row["flow_log_id"] in known:
            continue
        left = [each for each in row["interfaces"] or () if each in there]
        dark = [each for each in left if not any(taken.get(there[each][key]) for key in _NESTED)]
        why = f"The lake has records of it until {row['newest']:%Y-%m-%d %H:%M} UTC."
        if dark:
            why += f" Nobody records these interfaces of it now: {listed(dark)}."
        yield advise(
            "warning" if dark else "note",
            "flow log gone",
            row,
            why,
            _MAKE if dark else None,
        )


def place_of(destination: str | None) -> str | None:
    """The bucket, log group or delivery stream of a destination, whatever the folder in it."""
    if destination is None:
        return None
    return (
        destination.split("/", 1)[0] if ":s3:::" in destination else destination.removesuffix(":*")
    )


def _of_subnet(
    subnet: Mapping[str, Any], inside: pl.DataFrame, recorded: Collection[str]
) -> Iterator[dict[str, Any]]:
    dark = inside.filter(~pl.col("interface_id").is_in(list(recorded)))
    if dark.height == inside.height:
        yield _nobody(subnet, subnet["subnet_id"], inside, None)
        return
    for row in dark.iter_rows(named=True):
        yield advise(
            "warning",
            "not recorded",
            row,
            f"No flow log records it; others in {subnet['subnet_id']} are recorded.",
            _MAKE,
            resource=row["interface_id"],
        )


def _nobody(
    row: Mapping[str, Any], resource: str, inside: pl.DataFrame, subnets: int | None
) -> dict[str, Any]:
    count = inside.height
    inner = f"{count:,} interface{'' if count == 1 else 's'}"
    if subnets is not None:
        inner += f" in {subnets:,} subnet{'' if subnets == 1 else 's'}"
    named = f" ({row['name']})" if row["name"] else ""
    return advise(
        "warning" if count else "note",
        "not recorded",
        row,
        f"No flow log records it{named}, and no part of it: {inner}.",
        _MAKE if count else "Nothing, as long as nothing is in it.",
        resource=resource,
    )


def _active(flow_logs: pl.DataFrame) -> pl.DataFrame:
    """The active ones of a VPC, a subnet or an interface: those that record interfaces."""
    inside = pl.col("resource_id").str.contains("^(?:vpc|subnet|eni)-")
    return flow_logs.filter(inside, status="ACTIVE")


def _kinds(traffic_type: str | None) -> frozenset[str]:
    return frozenset(("ACCEPT", "REJECT") if traffic_type in (None, "ALL") else (traffic_type,))


def _taken(flow_logs: pl.DataFrame) -> dict[str, frozenset[str]]:
    """Which traffic of a resource its own active flow logs record."""
    taken: dict[str, frozenset[str]] = {}
    for row in _active(flow_logs).iter_rows(named=True):
        before = taken.get(row["resource_id"], frozenset())
        taken[row["resource_id"]] = before | _kinds(row["traffic_type"])
    return taken


def _ancestors(networks: pl.DataFrame, interfaces: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """The subnet and the VPC of an interface, the VPC of a subnet."""
    subnets = networks.drop_nulls("subnet_id").select("subnet_id", "vpc_id").iter_rows()
    found: dict[str, tuple[str, ...]] = {subnet: (vpc,) for subnet, vpc in subnets}
    for interface, *above in interfaces.select("interface_id", "subnet_id", "vpc_id").iter_rows():
        found[interface] = tuple(filter(None, above))
    return found
