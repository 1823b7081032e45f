"""Random traffic, and the odd lakes, on which every question's two answers must be the same."""

import random
from functools import cache
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.answers import WORKED_OUT, at, flows_of

DAY = 1768435200
"""2026-01-15T00:00:00Z."""

SILENT = ("srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "action")
"""What a NODATA or SKIPDATA record has no value for."""

INSIDE = [
    *(f"10.0.{net}.{host}" for net in range(3) for host in range(1, 9)),
    *("172.31.16.139", "192.168.7.7", "100.64.1.1", "fd00::1", "2001:db8:1::5"),
]
OUTSIDE = [
    *(f"203.0.113.{host}" for host in range(1, 20)),
    *(f"198.51.100.{host}" for host in range(1, 9)),
    *("52.216.1.2", "52.94.3.4", "172.32.0.1", "2001:db8:ffff::1"),
]
LINK_LOCAL = ["169.254.169.254", "169.254.169.253", "169.254.169.123", "169.254.169.250"]
SERVER_PORTS = (22, 53, 80, 123, 443, 3389, 5432, 67)
NEWCOMERS = ("10.0.2.5", "203.0.113.7", "198.51.100.7", "52.94.3.4")
"""What nothing was sent to before the window."""
ZONES = ("use1-az1", "use1-az2", "use1-az3")
KINDS = (*(None,) * 4, "nat_gateway", "vpc_endpoint", "transit_gateway", "network_load_balancer")


def record(dice: random.Random, **fixed: Any) -> dict[str, Any]:
    """One ordinary flow of the default format."""
    second = DAY + dice.randrange(86_400)
    flow = {
        "version": 2,
        "account_id": "012345678901",
        "interface_id": f"eni-{dice.randrange(5):017x}",
        "srcaddr": dice.choice(("10.0.0.", "203.0.113.", "2001:db8::")) + str(dice.randrange(30)),
        "dstaddr": f"10.0.1.{dice.randrange(9)}",
        "srcport": dice.randrange(1024, 65_536),
        "dstport": dice.choice((22, 53, 80, 443, 3389)),
        "protocol": dice.choice((1, 6, 6, 6, 17, 50, 58, 200)),
        "packets": dice.randrange(1, 1000),
        "bytes": dice.randrange(40, 1_500_000),
        "start_time": at(second),
        "end_time": at(second + dice.randrange(60)),
        "action": dice.choice(("ACCEPT", "ACCEPT", "REJECT")),
        "log_status": "OK",
    }
    return flow | fixed


def silence(dice: random.Random, status: str) -> dict[str, Any]:
    """A record that says there was nothing to record, or that it was lost."""
    return record(dice, log_status=status, **dict.fromkeys(SILENT))


def _end(dice: random.Random, address: str, place: str) -> dict[str, Any]:
    """What the interface at an address is: the same each time, as in life."""
    host = random.Random(address)
    return {
        f"{place}interface_id": f"eni-{host.randrange(8):017x}",
        f"{place}subnet_id": f"subnet-{host.randrange(4)}",
        f"{place}az_id": host.choice(ZONES),
        f"{place}vpc_id": f"vpc-{host.randrange(2)}",
        f"{place}interface_type": host.choice(KINDS),
    }


def connection(dice: random.Random) -> list[dict[str, Any]]:
    """A connection's records with all fields of version 11: there, mostly back, some at both ends.

    Some of it is refused, one way or back, unanswered, or without a field that the rest has.
    """
    client, server = dice.choice(INSIDE), dice.choice(INSIDE + OUTSIDE)
    if dice.random() < 0.05:
        server = dice.choice(LINK_LOCAL)
    elif dice.random() < 0.4:
        client, server = dice.choice(OUTSIDE), client
    protocol = dice.choice((6, 6, 6, 6, 17, 17, 1, 58, 50, 132))
    ports = protocol in (6, 17, 132)
    client_port = dice.randrange(32_768, 32_776) if ports else 0
    server_port = dice.choice(SERVER_PORTS) if ports else 0
    second = DAY + dice.randrange(86_400) // 300 * 300 + dice.randrange(60)
    verdict = dice.choice(("ACCEPT", "ACCEPT", "ACCEPT", "REJECT"))
    path = dice.choice((1, 1, 2, 3, 4, 5, 6, 7, 8, 8, None))
    directions = [(client, server, client_port, server_port, 2)]
    if verdict == "ACCEPT" and dice.random() < 0.8:
        directions.append((server, client, server_port, client_port, 18))
    records = []
    for back, (source, target, source_port, target_port, flags) in enumerate(directions):
        sides = [side for side in ("egress", "ingress") if dice.random() < 0.6] or ["ingress"]
        counts = {"packets": dice.randrange(1, 1000), "bytes": dice.randrange(40, 1_500_000)}
        action = verdict if not back or dice.random() < 0.8 else "REJECT"
        lasted = dice.choice((0, 17, 59, 60, 61, 300, 599))
        for side in sides:
            here, there = (source, target) if side == "egress" else (target, source)
            flow: dict[str, Any] = {
                "version": 11,
                "account_id": dice.choice(("012345678901", "123456789010")),
                "region": "us-east-1",
                "flow_log_id": dice.choice(("fl-1", "fl-1", "fl-2")),
                "srcaddr": source,
                "dstaddr": target,
                "pkt_srcaddr": source if dice.random() < 0.8 else dice.choice(INSIDE),
                "pkt_dstaddr": target if dice.random() < 0.8 else dice.choice(OUTSIDE),
                "srcport": source_port,
                "dstport": target_port,
                "protocol": protocol,
                **counts,
                "start_time": at(second + back),
                "end_time": at(second + back + lasted),
                "action": action,
                "log_status": "OK",
                "instance_id": f"i-{random.Random(here).randrange(6)}",
                "tcp_flags": dice.choice((flags, flags + 1, 0, 4)) if protocol == 6 else 0,
                "type": "IPv6" if ":" in source else "IPv4",
                "pkt_src_aws_service": "S3" if source == "52.216.1.2" else None,
                "pkt_dst_aws_service": "DYNAMODB" if target == "52.94.3.4" else None,
                "flow_direction": side,
                "traffic_path": path if side == "egress" else None,
                "reject_reason": dice.choice((None, "BPA", "EC")) if action == "REJECT" else None,
                **_end(dice, here, ""),
                **_end(dice, there, "next_hop_"),
            }
            for column in list(flow):
                if dice.random() < 0.02:
                    flow[column] = None
            records.append(flow)
    return records


def ordinary_day() -> list[dict[str, Any]]:
    """A day of traffic of every kind, with all fields, and records without traffic."""
    dice = random.Random(20260115)
    day = [flow for _ in range(1500) for flow in connection(dice)]
    day += [record(dice, region="us-east-1", vpc_id="vpc-1") for _ in range(200)]
    return day + [silence(dice, status) for status in ("NODATA", "SKIPDATA") * 20]


@cache
def data_sets() -> dict[str, pa.Table]:
    """Every lake the two answers must agree on, from one seed."""
    dice = random.Random(20260114)
    tie = {"bytes": 100, "packets": 1, "protocol": 6, "dstport": 22, "action": "REJECT"}
    large = {"bytes": 2**40 + 1, "packets": 2**31 - 1, "srcaddr": "10.0.0.1"}
    lone = {"account_id": "012345678901", "start_time": at(1432917000), "bytes": None}
    later = [flow for _ in range(300) for flow in connection(dice)]
    of_version_5 = [
        {name: value for name, value in flow.items() if not name.startswith(("next_hop", "reject"))}
        | {"version": 5, "interface_type": None}
        for flow in later
    ]
    return {
        "ordinary_day": flows_of(ordinary_day()),
        "empty": flows_of([]),
        "no_traffic": flows_of([silence(dice, s) for s in ("NODATA", "SKIPDATA") * 5]),
        "all_ties": flows_of([record(dice, **tie) for _ in range(300)]),
        "large_sums": flows_of([record(dice, **large) for _ in range(200)]),
        "default_format": flows_of([record(dice) for _ in range(300)]),
        "version_5": flows_of(of_version_5),
        "version_11": flows_of(later),
        "no_bytes": flows_of([record(dice, bytes=None, packets=None) for _ in range(50)]),
        "zero_bytes": flows_of([record(dice, bytes=0) for _ in range(50)]),
        "few_fields": flows_of([lone | {"action": a} for a in ("ACCEPT", "REJECT", None) * 9]),
        "worked_out": WORKED_OUT,
    }


@cache
def history(data: str) -> pa.Table:
    """What was before a data set: every other of its records, a day earlier, less `NEWCOMERS`."""
    table = [row for row in data_sets()[data].to_pylist()[::2] if row["dstaddr"] not in NEWCOMERS]
    day = at(DAY) - at(DAY - 86_400)
    for row in table:
        for column in ("start_time", "end_time"):
            if row[column] is not None:
                row[column] -= day
    return flows_of(table)


ADDRESSES = st.sampled_from(
    [
        *(None, "10.0.0.1", "10.0.0.10", "10.0.0.2", "203.0.113.1", "203.0.113.2", "::1"),
        *("fd00::1", "169.254.169.254", "10.0.0.01", "\ufffd", "\U0001f600"),
    ]
)
COUNTERS = st.one_of(st.none(), st.integers(0, 9), st.integers(0, 2**57))
SECONDS = st.one_of(
    st.none(), st.integers(DAY, DAY + 3600).map(at), st.integers(0, 253_402_300_799).map(at)
)
PORTS = st.sampled_from([None, 0, 22, 53, 67, 443, 3389, 40_000, 65_535])
DIGITS = st.sampled_from([None, "1", "2"])
RECORDS = st.fixed_dictionaries(
    {
        "account_id": st.sampled_from([None, "012345678901"]),
        "region": st.sampled_from([None, "us-east-1"]),
        "srcaddr": ADDRESSES,
        "dstaddr": ADDRESSES,
        "pkt_srcaddr": ADDRESSES,
        "pkt_dstaddr": ADDRESSES,
        "srcport": PORTS,
        "dstport": PORTS,
        "protocol": st.sampled_from([None, 0, 1, 6, 6, 17, 200, 255]),
        "packets": COUNTERS,
        "bytes": COUNTERS,
        "start_time": SECONDS,
        "end_time": SECONDS,
        "action": st.sampled_from([None, "ACCEPT", "REJECT", "-"]),
        "log_status": st.sampled_from([None, "OK", "OK", "NODATA", "SKIPDATA", "INCOMPLETEDATA"]),
        "interface_id": st.sampled_from([None, "eni-1", "eni-2"]),
        "flow_log_id": DIGITS,
        "vpc_id": DIGITS,
        "subnet_id": DIGITS,
        "instance_id": DIGITS,
        "az_id": DIGITS,
        "tcp_flags": st.sampled_from([None, 0, 1, 2, 3, 4, 18, 19, 255]),
        "type": st.sampled_from([None, "IPv4", "IPv6", "EFA"]),
        "flow_direction": st.sampled_from([None, "ingress", "egress", "sideways"]),
        "traffic_path": st.sampled_from([None, *range(10)]),
        "pkt_src_aws_service": st.sampled_from([None, "S3", "EC2"]),
        "pkt_dst_aws_service": st.sampled_from([None, "S3", "EC2"]),
        "reject_reason": st.sampled_from([None, "BPA", "EC", "NEW"]),
        "interface_type": st.sampled_from(KINDS),
        "next_hop_interface_type": st.sampled_from(KINDS),
        "next_hop_az_id": DIGITS,
    }
)
"""Any record: what a field may hold, what it should not, and nothing."""

CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "top": st.integers(0, 40),
    "action": st.sampled_from([None, "ACCEPT", "REJECT", "drop"]),
    "protocol": st.sampled_from([None, 1, 6, 200]),
    "count": st.sampled_from(["records", "egress", "eni-1"]),
    "side": st.sampled_from(["source", "destination", "both"]),
    "packet_level": st.booleans(),
    "minutes": st.sampled_from([0, 1, 5, 60, 1440]),
    "days": st.sampled_from([0, 1, 7]),
    "ports": st.sampled_from([(), (22,), (22, 443, 3389)]),
    "internal": st.sampled_from([(), ("203.0.113.0/24",), ("203.0.113.1", "::/0")]),
    "addresses": st.sampled_from([(), ("10.0.0.0/8",), ("203.0.113.1", "fd00::/8")]),
    "source": st.sampled_from([(), ("10.0.0.0/8",), ("203.0.113.1", "fd00::/8")]),
    "destination": st.sampled_from([(), ("10.0.0.0/8",), ("203.0.113.1", "fd00::/8")]),
    "cidrs": st.sampled_from([(), ("10.0.0.0/16",), ("10.0.0.0/24", "fd00::/64")]),
}
"""What a parameter of any question may be asked with, by its name; money goes by its type."""

PRICE = st.sampled_from([None, 0.0, 0.05])
