"""Questions on what the traffic costs."""

from typing import Any

from flowlake.reference import PRICES
from tests.answers import WORKED_OUT, Answer, flows_of

GB = 2**30

ZONE_1, ZONE_2 = {"az_id": "use1-az1"}, {"az_id": "use1-az2"}
TO_ZONE_1, TO_ZONE_2 = {"next_hop_az_id": "use1-az1"}, {"next_hop_az_id": "use1-az2"}


def sent(path: int | None, gigabytes: int, *known: dict[str, Any], **fixed: Any) -> dict[str, Any]:
    """A record of what an instance sends, as its own address, by this traffic-path."""
    flow = {
        "interface_id": "eni-a",
        "instance_id": "i-a",
        "vpc_id": "vpc-1",
        "srcaddr": "10.0.0.5",
        "dstaddr": "203.0.113.9",
        "packets": 1,
        "bytes": gigabytes * GB,
        "action": "ACCEPT",
        "flow_direction": "egress",
        "traffic_path": path,
    }
    for each in (*known, fixed):
        flow |= each
    return flow


def row(
    path: str, flows: int, gigabytes: int, needs: str | None = None, given: float | None = None
) -> tuple[Any, ...]:
    """A row of the answer, by the price table or by a price that was given."""
    price, assumption = PRICES[path] if given is None else (given, "The price you gave.")
    cost = None if price is None else gigabytes * price
    sizes = (flows, flows, gigabytes * GB, float(gigabytes))
    return (path, needs, *sizes, price, cost, assumption)


MOVED: dict[str, list[dict[str, Any]]] = {
    "transfer_cost": [
        {"internet": 0.05},
        {"nat_gateway": 0.04},
        {"inter_az": 0.01},
        {"vpc_endpoint": 0.006},
        {"transit_gateway": 0.0},
        {"peering": 0.01},
        {"inter_region_peering": 0.147},
        {"internal": ("203.0.113.0/24", "198.51.100.0/24")},
        {"count": "records"},
        {"count": "eni-00000000000000001"},
    ],
}

# Each kind of gateway, seen from both sides.
VERSION_11 = flows_of(
    [
        # Crosses zones on its way to the NAT gateway, and still counts once.
        sent(1, 2, ZONE_1, TO_ZONE_2, next_hop_interface_type="nat_gateway"),
        sent(8, 2, ZONE_2, interface_type="nat_gateway", interface_id="eni-nat"),
        sent(1, 1, ZONE_2, TO_ZONE_1, interface_type="nat_gateway", interface_id="eni-nat"),
        sent(1, 4, ZONE_1, TO_ZONE_2, dstaddr="10.0.1.5"),
        sent(1, 1, ZONE_1, TO_ZONE_1, interface_type="vpc_endpoint"),
        sent(1, 1, ZONE_1, TO_ZONE_1, next_hop_interface_type="transit_gateway"),
        sent(1, 1, ZONE_1, TO_ZONE_2, interface_type="transit_gateway"),
        sent(4, 1, ZONE_1, TO_ZONE_1),
        sent(None, 8, ZONE_1, flow_direction="ingress"),
        sent(8, 16, ZONE_1, action="REJECT"),
    ]
)
VERSION_11_ROWS = [
    row("internet", 1, 2),
    row("nat_gateway", 2, 3),
    row("inter_az", 1, 4),
    row("transit_gateway", 1, 1),
    row("vpc_endpoint", 1, 1),
    row("from_transit_gateway", 1, 1),
    row("same_az", 1, 1),
]

INSTANCE_B = {"srcaddr": "10.0.1.5", "instance_id": "i-b", **ZONE_2}
INSTANCE_C = {"srcaddr": "10.0.0.6", "instance_id": "i-c", **ZONE_1}

# No field of version 5 tells what the other end is, but what it sends tells its zone.
VERSION_5 = flows_of(
    [
        sent(8, 1, ZONE_1),
        sent(8, 1, ZONE_1, dstaddr="52.94.3.4", pkt_dst_aws_service="DYNAMODB"),
        sent(7, 1, ZONE_1, dstaddr="52.216.1.2", pkt_dst_aws_service="S3"),
        sent(5, 1, ZONE_1, dstaddr="10.9.0.1"),
        sent(1, 1, ZONE_1, dstaddr="10.0.1.5"),
        sent(1, 1, INSTANCE_B, dstaddr="10.0.0.5"),
        sent(1, 1, ZONE_1, dstaddr="10.0.0.6"),
        # On instances before Nitro, S3 may be a gateway endpoint's or the internet gateway's.
        sent(2, 1, INSTANCE_C, dstaddr="52.216.1.2", pkt_dst_aws_service="S3"),
        # To the internet within the VPC: by a NAT gateway, or another box.
        sent(1, 1, ZONE_1),
        # The answer from there: an interface without an instance hands on what another sent.
        sent(
            *(1, 1, ZONE_2),
            instance_id=None,
            srcaddr="10.0.1.99",
            pkt_srcaddr="203.0.113.9",
            dstaddr="10.0.0.5",
        ),
    ]
)
NEXT_HOP = "next_hop_interface_type, next_hop_az_id"

# Rules that meet, and fields that lack.
EDGES = flows_of(
    [
        sent(None, 1, ZONE_1, TO_ZONE_2, interface_type="nat_gateway"),
        sent(9, 1, ZONE_1, TO_ZONE_2),  # A way out that AWS has yet to name.
        sent(4, 1, ZONE_1),
        sent(4, 1, TO_ZONE_2, instance_id=None),
        sent(None, 1, TO_ZONE_2),
        sent(None, 1, ZONE_1),
        sent(None, 1, ZONE_1, TO_ZONE_2),
        sent(4, 1, ZONE_1, TO_ZONE_2),
        # A private NAT gateway between an instance and a transit gateway: it handled this before
        # it sends it on, and what comes back it will handle as it sends it inside.
        sent(1, 1, interface_type="nat_gateway", next_hop_interface_type="transit_gateway"),
        sent(1, 1, interface_type="transit_gateway", next_hop_interface_type="nat_gateway"),
    ]
)

# 198.51.100.7 is an instance here, in the other zone, in spite of its public address.
OWN_NETWORK = flows_of(
    [
        sent(1, 1, ZONE_1, dstaddr="198.51.100.7"),
        sent(1, 1, ZONE_2, srcaddr="198.51.100.7", dstaddr="10.0.0.5"),
        # An address that has been in two zones, and one that is in another VPC.
        sent(1, 1, ZONE_1, dstaddr="10.0.0.8"),
        sent(8, 1, ZONE_1, srcaddr="10.0.0.8"),
        sent(8, 1, ZONE_2, srcaddr="10.0.0.8"),
        sent(1, 1, ZONE_1, dstaddr="10.0.0.9"),
        sent(8, 1, ZONE_1, srcaddr="10.0.0.9", vpc_id="vpc-2"),
        # Neither instance_id nor pkt_srcaddr: nothing says that this is no NAT gateway's.
        sent(1, 1, ZONE_1, instance_id=None, dstaddr="198.51.100.7"),
    ]
)

ANSWERS: list[Answer] = [
    Answer("transfer_cost", VERSION_11, VERSION_11_ROWS),
    Answer(
        "transfer_cost",
        VERSION_11,
        [*VERSION_11_ROWS, row("incoming", 1, 8)],
        {"count": "records"},
    ),
    Answer(
        "transfer_cost",
        VERSION_11,
        [row("nat_gateway", 1, 1, given=0.5), row("internet", 1, 2, given=0.05)],
        {"count": "eni-nat", "internet": 0.05, "nat_gateway": 0.5},
    ),
    Answer(
        "transfer_cost",
        VERSION_5,
        [
            row("internet", 1, 1),
            row("inter_az", 2, 2),
            row("inter_region_peering", 1, 1),
            row("gateway_endpoint", 1, 1),
            row("same_az", 1, 1),
            row("aws_over_internet", 1, 1),
            row("unknown", 1, 1, f"interface_type, {NEXT_HOP}"),
            row("unknown", 1, 1, NEXT_HOP),
            row("unknown", 1, 1),
        ],
    ),
    Answer(
        "transfer_cost",
        EDGES,
        [
            row("inter_az", 1, 1),
            row("peering", 1, 1),
            row("transit_gateway", 1, 1),
            row("from_transit_gateway", 1, 1),
            row("unknown", 2, 2, "az_id"),
            row("unknown", 1, 1, "next_hop_az_id"),
            row("unknown", 1, 1, "traffic_path"),
            row("unknown", 1, 1, f"traffic_path, {NEXT_HOP}"),
            row("unknown", 1, 1),
        ],
    ),
    Answer(
        "transfer_cost",
        OWN_NETWORK,
        [
            row("internet", 3, 3),
            row("inter_az", 1, 1),
            row("unknown", 3, 3, NEXT_HOP),
            row("unknown", 1, 1, f"interface_type, {NEXT_HOP}"),
        ],
    ),
    Answer(
        "transfer_cost",
        OWN_NETWORK,
        [
            row("internet", 3, 3),
            row("inter_az", 2, 2),
            row("unknown", 2, 2, NEXT_HOP),
            row("unknown", 1, 1, f"interface_type, {NEXT_HOP}"),
        ],
        {"internal": ("198.51.100.0/24",)},
    ),
    # The default format tells no direction: 336 + 1000 + 4000 + 64 + 100 bytes were accepted.
    Answer(
        "transfer_cost",
        WORKED_OUT,
        [
            (
                *("unknown", "flow_direction, traffic_path", 5, 24, 5500, 5500 / GB, None, None),
                PRICES["unknown"].assumption,
            )
        ],
    ),
]
