"""EC2's network interfaces as rows, with what their instances, subnets and VPCs are called.

They are asked for, or read from a file that somebody wrote or the AWS CLI printed.
"""

import csv
import functools
import io
import ipaddress
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from flowlake.aws import Access, account_of, client, refusals, tags_of, wanted_regions
from flowlake.errors import UsageError

INVENTORY = pl.Schema(
    {
        "taken_at": pl.Datetime("us", "UTC"),
        "account_id": pl.String(),
        "region": pl.String(),
        "interface_id": pl.String(),
        "addresses": pl.List(pl.String()),
        "interface_type": pl.String(),
        "description": pl.String(),
        "instance_id": pl.String(),
        "name": pl.String(),
        "subnet_id": pl.String(),
        "subnet_name": pl.String(),
        "vpc_id": pl.String(),
        "vpc_name": pl.String(),
        "az_id": pl.String(),
        "tags": pl.List(pl.Struct({"key": pl.String(), "value": pl.String()})),
        "gone": pl.Boolean(),
        "source": pl.String(),
    }
)
"""A row is an interface as it was from ``taken_at`` (UTC) on, until its next row.

``addresses`` are its private ones, the primary first, then public and IPv6. ``tags`` are the
interface's and its instance's; of the same key the instance's count. ``name`` is the tag ``Name``.
``gone`` says that a later snapshot of the same ``source`` did not have it any more.
"""

NETWORKS = pl.Schema(
    {
        "account_id": pl.String(),
        "region": pl.String(),
        "vpc_id": pl.String(),
        "subnet_id": pl.String(),
        "name": pl.String(),
    }
)
"""A row is a VPC, whose ``subnet_id`` is null, or a subnet; ``account_id`` is who owns it, ``name``
the tag ``Name``."""

_REGION = re.compile(r"[a-z]+(?:-[a-z]+)+-\d+")
_RIGHTS = (
    "ec2:DescribeNetworkInterfaces, ec2:DescribeInstances, ec2:DescribeSubnets and ec2:DescribeVpcs"
)


def described(
    access: Access = Access(), regions: Sequence[str] = ()
) -> tuple[pl.DataFrame, list[str]]:
    """Ask EC2 for the interfaces of an account in some regions, with DescribeNetworkInterfaces.

    Args:
        access: AWS profile.
        regions: which to ask; by default the profile's or the environment's.

    Returns:
        A frame of ``INVENTORY``, and the ``source`` of each region, also of one without any.

    Raises:
        UsageError: when no region is known.
        StorageError: when EC2 cannot be asked.
    """
    wanted = wanted_regions(access, regions)
    now = datetime.now(UTC)
    taken = {}
    for region in wanted:
        with refusals(f"The interfaces of {region} cannot be listed", _RIGHTS):
            source = f"ec2:{account_of(region, access)}:{region}"
            taken[source] = [
                {**row, "region": region, "taken_at": now, "source": source}
                for row in _in_region(region, access)
            ]
    rows = [row for those in taken.values() for row in those]
    return pl.DataFrame(rows, schema=INVENTORY), list(taken)


def described_networks(access: Access = Access(), regions: Sequence[str] = ()) -> pl.DataFrame:
    """Ask EC2 for the VPCs and subnets that an account sees in some regions: of ``NETWORKS``.

    Args:
        access: AWS profile.
        regions: which to ask; by default the profile's or the environment's.

    Raises:
        UsageError: when no region is known.
        StorageError: when EC2 cannot be asked.
    """
    rows = []
    for region in wanted_regions(access, regions):
        rights = "ec2:DescribeVpcs and ec2:DescribeSubnets"
        with refusals(f"The VPCs of {region} cannot be listed", rights):
            ec2 = client("ec2", region, access)
            vpcs = _all_of(ec2, "describe_vpcs", "Vpcs[]")
            subnets = _all_of(ec2, "describe_subnets", "Subnets[]")
            rows += [
                {
                    "account_id": each.get("OwnerId") or account_of(region, access),
                    "region": region,
                    "vpc_id": each["VpcId"],
                    "subnet_id": each.get("SubnetId"),
                    "name": tags_of(each).get("Name") or None,
                }
                for each in (*vpcs, *subnets)
            ]
    frame = pl.DataFrame(rows, schema=NETWORKS)
    return frame.sort("region", "vpc_id", "subnet_id", nulls_last=False)


_NO_INVENTORY = ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error
"""What a file that is something else raises when it is read as an inventory."""


def read_inventory_file(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read interfaces from a file: a frame of ``INVENTORY``.

    It is CSV or JSON with the columns of ``INVENTORY``, of which only ``interface_id`` must be
    there, or what ``aws ec2 describe-network-interfaces`` prints. In CSV, ``addresses`` are
    separated by spaces, and ``tags`` are written ``KEY=VALUE;KEY=VALUE``. ``taken_at`` is now where
    it is not given, and ``source`` the file.

    Raises:
        UsageError: when the file cannot be read or is something else.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123  # a path of any kind
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The inventory {path} cannot be read: {error}. Check its name."
        ) from error
    try:
        if not text.lstrip().startswith(("{", "[")):
            rows = _csv_rows(text)
        else:
            document = json.loads(text)
            if isinstance(document, dict):
                if "NetworkInterfaces" not in document:
                    raise ValueError("it has no NetworkInterfaces")
                rows = [_row(each, {}, {}, {}) for each in document["NetworkInterfaces"]]
            else:
                rows = [dict(each) for each in document]
        return _checked(rows, f"file:{os.path.abspath(path)}")  # noqa: PTH100
    except (*_NO_INVENTORY, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"{path} is no inventory: {error}. CSV or JSON with a column interface_id is expected, "
            "or what `aws ec2 describe-network-interfaces` prints."
        ) from error


def _in_region(region: str, access: Access) -> list[dict[str, Any]]:
    all_of = functools.partial(_all_of, client("ec2", region, access))
    interfaces = list(all_of("describe_network_interfaces", "NetworkInterfaces[]"))
    instances = {
        each["InstanceId"]: each
        for each in all_of("describe_instances", "Reservations[].Instances[]")
    }
    subnets = {each["SubnetId"]: each for each in all_of("describe_subnets", "Subnets[]")}
    vpcs = {each["VpcId"]: each for each in all_of("describe_vpcs", "Vpcs[]")}
    return [_row(each, instances, subnets, vpcs) for each in interfaces]


def _all_of(ec2: Any, operation: str, path: str) -> Iterator[Any]:
    found = ec2.get_paginator(operation).paginate().search(path)
    return (each for each in found if each is not None)


def _row(
    interface: Mapping[str, Any],
    instances: Mapping[str, Any],
    subnets: Mapping[str, Any],
    vpcs: Mapping[str, Any],
) -> dict[str, Any]:
    """One of EC2's network interfaces as a row; what is not known of the others is null."""
    instance_id = interface.get("Attachment", {}).get("InstanceId")
    subnet_id, vpc_id = interface.get("SubnetId"), interface.get("VpcId")
    subnet = subnets.get(subnet_id or "", {})
    tags = tags_of(interface, "TagSet") | tags_of(instances.get(instance_id or "", {}))
    private = interface.get("PrivateIpAddresses", [])
    private = sorted(private, key=lambda each: not each.get("Primary"))
    addresses = [
        *(each.get("PrivateIpAddress") for each in private),
        *(each.get("Association", {}).get("PublicIp") for each in private),
        interface.get("PrivateIpAddress"),
        interface.get("Association", {}).get("PublicIp"),
        *(each.get("Ipv6Address") for each in interface.get("Ipv6Addresses", [])),
    ]
    zone = interface.get("AvailabilityZone") or ""
    region = _REGION.match(zone)
    return {
        "account_id": interface.get("OwnerId"),
        "region": region[0] if region else None,
        "interface_id": interface["NetworkInterfaceId"],
        "addresses": list(dict.fromkeys(filter(None, addresses))),
        "interface_type": interface.get("InterfaceType"),
        "description": interface.get("Description") or None,
        "instance_id": instance_id,
        "name": tags.get("Name") or None,
        "subnet_id": subnet_id,
        "subnet_name": tags_of(subnet).get("Name") or None,
        "vpc_id": vpc_id,
        "vpc_name": tags_of(vpcs.get(vpc_id or "", {})).get("Name") or None,
        "az_id": interface.get("AvailabilityZoneId") or subnet.get("AvailabilityZoneId"),
        "tags": [{"key": key, "value": value} for key, value in sorted(tags.items())],
        "gone": False,
    }


def _csv_rows(text: str) -> list[dict[str, Any]]:
    lines = csv.DictReader(io.StringIO(text), strict=True)
    if "interface_id" not in (lines.fieldnames or ()):
        raise ValueError("its first line names no column interface_id")
    rows = []
    for line in lines:
        row: dict[str, Any] = {name: value or None for name, value in line.items()}
        for name, separator in (("addresses", r"[\s;,]+"), ("tags", ";")):
            value = (row.get(name) or "").strip()
            if value.startswith("["):
                row[name] = json.loads(value)
            elif name in row:
                row[name] = [each for each in re.split(separator, value) if each]
                if name == "tags":
                    row[name] = [_pair(each) for each in row[name]]
        if "gone" in row:
            row["gone"] = str(row["gone"]).lower() == "true"
        rows.append(row)
    return rows


def _pair(text: str) -> dict[str, str]:
    key, equals, value = text.strip().partition("=")
    if not equals:
        raise ValueError(f"the tag {text!r} is not KEY=VALUE")
    return {"key": key, "value": value}


def _checked(rows: Sequence[Mapping[str, Any]], source: str) -> pl.DataFrame:
    """The rows as a frame of ``INVENTORY``, or a ValueError that names what is wrong."""
    now = datetime.now(UTC)
    checked = []
    for number, given in enumerate(rows, 1):
        if unknown := [str(name) for name in given if name not in INVENTORY]:
            raise ValueError(f"row {number} has a column {unknown[0]!r}")
        row: dict[str, Any] = dict.fromkeys(INVENTORY) | dict(given)
        if not re.fullmatch(r"eni-[0-9a-z]+", str(row["interface_id"])):
            raise ValueError(f"row {number} has the interface_id {row['interface_id']!r}")
        row["addresses"] = [str(ipaddress.ip_address(each)) for each in row["addresses"] or []]
        row["tags"] = [{"key": each["key"], "value": each["value"]} for each in row["tags"] or []]
        by_key = {each["key"]: each["value"] for each in row["tags"]}
        row["name"] = row["name"] or by_key.get("Name")
        moment = datetime.fromisoformat(row["taken_at"]) if row["taken_at"] else now
        row["taken_at"] = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        row["source"] = row["source"] or source
        row["gone"] = bool(row["gone"])
        checked.append(row)
    return pl.DataFrame(checked, schema=INVENTORY)
