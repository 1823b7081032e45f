"""Questions on whether the records can be trusted."""

from typing import Any

from flowlake.reference import UNCAPTURED
from tests.answers import WORKED_OUT, Answer, at, flows_of

NOON = 1768478400
"""2026-01-15T12:00:00Z, from which the records here count their seconds and minutes."""


def of(interface: str | None, status: str | None, flow_log: str | None) -> dict[str, Any]:
    """A record of a minute from noon on, of this status."""
    return {
        "account_id": "012345678901",
        "region": "us-east-1",
        "interface_id": interface,
        "flow_log_id": flow_log,
        "log_status": status,
        "start_time": at(NOON),
        "end_time": at(NOON + 60),
    }


def lasting(flow_log: str | None, interface: str | None, start: int, end: int) -> dict[str, Any]:
    """A record from one second after noon to another."""
    times = {"start_time": at(NOON + start), "end_time": at(NOON + end)}
    return of(interface, "OK", flow_log) | times


def alive(interface: str | None, start: int, end: int, **fixed: Any) -> dict[str, Any]:
    """A record from one minute after noon to another."""
    return lasting("fl-1", interface, 60 * start, 60 * end) | fixed


def sent(source: str, target: str, packets: int, size: int, **fixed: Any) -> dict[str, Any]:
    """A record of UDP from one address to another."""
    sizes = {"packets": packets, "bytes": size}
    ports = {"protocol": 17, "srcport": 50_000, "dstport": 53}
    return {"srcaddr": source, "dstaddr": target, **sizes, **ports} | fixed


def minute(number: int) -> Any:
    """A moment so many minutes after noon."""
    return at(NOON + 60 * number)


MOVED: dict[str, list[dict[str, Any]]] = {
    "data_quality": [],
    "coverage_gaps": [{"minutes": 60}, {"minutes": 0}, {"minutes": 1, "days": 7}, {"days": 0}],
    "aggregation_interval": [],
    "uncaptured": [
        {"cidrs": ("10.0.0.0/16", "10.0.1.0/24")},
        {"cidrs": ("10.0.0.0/24", "fd00::/64", "10.0.0.7/32", "0.0.0.0/0")},
    ],
}

HERE = ("012345678901", "us-east-1")
NOON_TO_ONE_PAST = (minute(0), minute(1))
LOST = "AWS lost records (SKIPDATA)"
TWICE = "recorded by 2 flow logs: sums may count each flow 2 times"
NONE = "none, as expected"
TYPES = "unknown: needs interface_type and next_hop_interface_type"


def judged(*rows: tuple[str, int | None, int | None, int | None, str]) -> list[tuple[Any, ...]]:
    """Rows of `uncaptured`, with the explanation that the table has."""
    return [(*row, UNCAPTURED[row[0]]) for row in rows]


ANSWERS: list[Answer] = [
    Answer(
        "data_quality",
        flows_of(
            [
                of("eni-a", "OK", "fl-1"),
                of("eni-a", None, "fl-2"),  # A format without log_status: traffic.
                of("eni-a", "SKIPDATA", "fl-1"),
                of("eni-b", "NODATA", "fl-1"),
                of("eni-b", "INCOMPLETEDATA", "fl-1"),
                of("eni-c", "SKIPDATA", "fl-1"),
                of("eni-d", "OK", "fl-1"),
                of("eni-d", "OK", "fl-2"),
                # A regional NAT gateway has no interface, and a format may lack the times.
                of(None, "OK", None) | {"start_time": None, "end_time": None},
            ]
        ),
        [
            (*HERE, "eni-a", 2, 0, 1, 0, 2, *NOON_TO_ONE_PAST, f"{LOST}; {TWICE}"),
            (*HERE, "eni-c", 0, 0, 1, 0, 1, *NOON_TO_ONE_PAST, LOST),
            (*HERE, "eni-d", 2, 0, 0, 0, 2, *NOON_TO_ONE_PAST, TWICE),
            (*HERE, "eni-b", 0, 1, 0, 1, 1, *NOON_TO_ONE_PAST, None),
            (*HERE, None, 1, 0, 0, 0, 0, None, None, None),
        ],
    ),
    Answer(
        "coverage_gaps",
        flows_of(
            [
                alive("eni-a", 0, 15),
                alive("eni-a", 5, 6),  # Ends before the record that started before it.
                alive("eni-a", 25, 26),  # After 10 minutes, and no longer, of silence.
                # First seen now: no gap before it. It ends before it starts, so it ends at 60,
                # which is the window's end.
                alive("eni-b", 60, 59, log_status="NODATA"),
                alive(None, 30, 31),
                alive("eni-e", 0, 500, start_time=None),
            ]
        ),
        [
            (*HERE, "eni-c", minute(-99), minute(60), 159.0, False),
            (*HERE, "eni-a", minute(26), minute(60), 34.0, False),
            (*HERE, "eni-a", minute(-29), minute(0), 29.0, True),
        ],
        {"minutes": 10},
        flows_of(
            [
                alive("eni-a", -30, -29),
                alive("eni-c", -200, -199),  # The gap up to -100 was over before the window.
                alive("eni-c", -100, -99),
                alive("eni-d", -1441, -1430),  # Starts more than a day before the window.
            ]
        ),
    ),
    Answer(
        "coverage_gaps",
        flows_of(
            [
                alive("eni-a", 0, 1, region=None),
                alive("eni-a", 3, 4, region=None),
                alive("eni-a", 5, 5, region=None),  # After one minute of silence, and no longer.
                alive("eni-a", 0, 1),
                alive("eni-a", 3, 4),
                alive("eni-a", 5, 5),
                alive("eni-d", 5, 5),
            ]
        ),
        [
            (*HERE, "eni-d", minute(-1440), minute(5), 1445.0, True),
            (*HERE, "eni-a", minute(1), minute(3), 2.0, True),
            (HERE[0], None, "eni-a", minute(1), minute(3), 2.0, True),
        ],
        {"minutes": 0},
        flows_of([alive("eni-d", -1440, -1440)]),  # Starts a day before the window, and no more.
    ),
    Answer(
        "aggregation_interval",
        flows_of(
            [
                lasting("fl-1", "eni-a", 0, 60),  # A minute, and no longer.
                lasting("fl-1", "eni-a", 0, 59),
                lasting("fl-1", "eni-b", 0, 55) | {"log_status": "NODATA"},
                lasting("fl-2", "eni-a", 0, 600),
                lasting("fl-2", "eni-a", 0, 61),
                lasting("fl-2", "eni-b", 0, 10),
                lasting("fl-2", "eni-c", 0, 700) | {"start_time": None},
                lasting("fl-2", None, 0, 300),  # A record over a minute, of no interface.
                lasting(None, "eni-d", 10, 5),
            ]
        ),
        [
            (*HERE, "fl-1", 2, 3, 60, 0, 0, 1),
            (*HERE, "fl-2", 2, 4, 600, 3, 1, 10),
            (*HERE, None, 1, 1, 0, 0, 0, 1),
        ],
    ),
    Answer(
        "uncaptured",
        flows_of(
            [
                sent("10.0.0.5", "169.254.169.253", 1, 60),
                sent("10.0.0.2", "10.0.0.5", 1, 100),
                sent("10.0.0.2", "169.254.169.253", 1, 7),  # Both ends are DNS: one record.
                sent("10.0.0.5", "10.0.0.1", 1, 300, dstport=67),  # The router and DHCP.
                sent("10.0.0.5", "10.0.0.9", 1, 40, dstport=67, protocol=6),  # Not UDP.
                sent("10.0.0.5", "fd00:ec2:0:0:0:0:0:254", 2, 80),  # In another spelling.
                sent("169.254.169.123", "10.0.0.5", 1, 90) | {"packets": None, "bytes": None},
                sent(
                    *("10.0.0.7", "10.0.0.8", 3, 900),
                    interface_type="vpc_endpoint",
                    next_hop_interface_type="network_load_balancer",
                ),
                {
                    "log_status": "NODATA",
                    "interface_type": "network_load_balancer",
                    "next_hop_interface_type": "vpc_endpoint",
                },
            ]
        ),
        judged(
            ("dns", 3, 3, 167, "seen"),
            ("windows_licence", 0, 0, 0, NONE),
            ("instance_metadata", 1, 2, 80, "seen"),
            ("time_sync", 1, 0, 0, "seen"),
            ("dhcp", 1, 1, 300, "seen"),
            ("vpc_router", 1, 1, 300, "seen"),
            ("endpoint_to_nlb", 1, 3, 900, "seen"),
        ),
        {"cidrs": ("10.0.0.0/16", "10.0.0.0/24", "fd00:ec2::/64")},
    ),
    Answer(
        "uncaptured",
        WORKED_OUT,
        judged(
            # 10.0.0.5 asks 10.0.0.2, which may or may not be AWS's.
            ("dns", None, None, None, "unknown: give cidrs"),
            ("windows_licence", 0, 0, 0, NONE),
            ("instance_metadata", 0, 0, 0, NONE),
            ("time_sync", 0, 0, 0, NONE),
            ("dhcp", 0, 0, 0, NONE),
            ("vpc_router", None, None, None, "unknown: give cidrs"),
            ("endpoint_to_nlb", None, None, None, TYPES),
        ),
    ),
    Answer(
        "uncaptured",
        WORKED_OUT,
        judged(
            ("dns", 1, 1, 64, "seen"),
            ("windows_licence", 0, 0, 0, NONE),
            ("instance_metadata", 0, 0, 0, NONE),
            ("time_sync", 0, 0, 0, NONE),
            ("dhcp", 0, 0, 0, NONE),
            ("vpc_router", 0, 0, 0, NONE),
            ("endpoint_to_nlb", None, None, None, TYPES),
        ),
        {"cidrs": ("10.0.0.0/24",)},
    ),
]
