"""Questions on what the traffic was."""

from typing import Any

from tests.answers import WORKED_OUT, Answer, at, flows_of

MOVED: dict[str, list[dict[str, Any]]] = {
    "protocol_breakdown": [{"count": "egress"}, {"count": "eni-00000000000000001"}],
    "traffic_over_time": [
        {"minutes": 5},
        {"minutes": 0},
        {"action": "REJECT"},
        {"protocol": 17},
        {"count": "egress"},
        {"minutes": 1440, "count": "eni-00000000000000001"},
    ],
    "ip_version_breakdown": [{"count": "egress"}, {"count": "eni-00000000000000001"}],
    "tcp_flags_breakdown": [
        {"action": "REJECT"},
        {"count": "egress"},
        {"action": "ACCEPT", "count": "eni-00000000000000001"},
    ],
    "traffic_path_breakdown": [{"count": "records"}, {"count": "eni-00000000000000001"}],
    "aws_service_traffic": [{"count": "egress"}, {"count": "eni-00000000000000001"}],
    "inter_az_traffic": [
        {"count": "records"},
        {"count": "eni-00000000000000001"},
        {"top": 2},
        {"top": 0},
    ],
}

MIDNIGHT = 1768435200
"""2026-01-15T00:00:00Z."""


def sized(packets: int | None, octets: int | None, **fields: Any) -> dict[str, Any]:
    """A record of so many packets and bytes."""
    return {"packets": packets, "bytes": octets, **fields}


def started(second: int | None, verdict: str | None, **fields: Any) -> dict[str, Any]:
    """A record by its start and verdict."""
    return {"start_time": None if second is None else at(second), "action": verdict, **fields}


HOURS = flows_of(
    [
        # Runs on for two hours, and still belongs to the hour it starts in.
        started(MIDNIGHT, "ACCEPT", end_time=at(MIDNIGHT + 7200), packets=10, bytes=1000),
        # The last second of one hour and the first of the next.
        started(MIDNIGHT + 3599, "REJECT", packets=1, bytes=40),
        started(MIDNIGHT + 3600, "REJECT", packets=2, bytes=80),
        # Of a format with neither verdict nor counts nor status: a record all the same.
        started(MIDNIGHT + 3700, None),
        # All there is in the third hour, which has no row.
        started(MIDNIGHT + 8000, None, log_status="NODATA"),
        started(MIDNIGHT + 10_800, "ACCEPT", packets=5, bytes=500, log_status="OK"),
        # No start, no bucket.
        started(None, "ACCEPT", packets=9, bytes=9999, end_time=at(MIDNIGHT)),
        # The first and the last second that can be.
        started(0, "ACCEPT", packets=1, bytes=3),
        started(253_402_300_799, "ACCEPT", packets=1, bytes=7),
    ]
)

VERSIONS = flows_of(
    [
        sized(1, 100, type="IPv4", srcaddr="10.0.0.1"),
        # Without a type the address tells.
        sized(2, 200, srcaddr="10.0.0.2"),
        sized(3, 300, srcaddr="2001:db8::1"),
        # With one it does not matter, nor whether there is an address.
        sized(1, 300, type="EFA", srcaddr="10.0.0.3"),
        sized(1, 100, type="IPv6"),
        # No bytes known, and the only egress record.
        sized(None, None, type="IPv6", srcaddr="::1", flow_direction="egress"),
        # Neither type nor address.
        sized(9, 9999, dstaddr="10.0.0.1"),
        # No traffic.
        sized(None, None, type="IPv4", log_status="NODATA"),
    ]
)

FLAGGED = flows_of(
    [
        sized(1, 40, protocol=6, tcp_flags=2, action="REJECT"),
        sized(2, 100, protocol=6, tcp_flags=2, action="ACCEPT", flow_direction="egress"),
        sized(3, 200, protocol=6, tcp_flags=18, action="ACCEPT"),
        sized(5, 300, protocol=6, tcp_flags=3, action="ACCEPT"),
        sized(50, 5000, protocol=6, tcp_flags=0, action="ACCEPT"),
        sized(None, None, protocol=6, tcp_flags=0),
        # UDP has no flags and says 0.
        sized(9, 999, protocol=17, tcp_flags=0, action="REJECT"),
        # TCP with flags that AWS could not make sense of.
        sized(9, 999, protocol=6, action="REJECT"),
        # Not known to be TCP.
        sized(9, 999, tcp_flags=2, action="REJECT"),
    ]
)

PATHS = flows_of(
    [
        # A path that is not in the table, three more ways out with as many bytes.
        sized(1, 1000, flow_direction="egress", traffic_path=9),
        sized(4, 1000, flow_direction="egress"),
        sized(10, 1000, flow_direction="egress", traffic_path=8),
        sized(5, 500, flow_direction="egress", traffic_path=1, interface_id="eni-a"),
        sized(5, 500, flow_direction="egress", traffic_path=1),
        # Ingress of the same interface: it has no path, and none is missing.
        sized(7, 7777, flow_direction="ingress", interface_id="eni-a"),
        # Of a format without flow_direction: a path means that it left, no path means nothing.
        sized(1, 96, traffic_path=2),
        sized(7, 7777),
        # No traffic.
        sized(None, None, flow_direction="egress", log_status="SKIPDATA"),
    ]
)
SAME_VPC = (1, "same VPC, including a NAT gateway in it")
GATEWAY = (2, "internet gateway or gateway VPC endpoint")
INTERNET = (8, "internet gateway (Nitro)")

SERVICES = flows_of(
    [
        # From S3: three records of two addresses. srcaddr is a NAT gateway's and tells nothing.
        sized(
            *(10, 1000),
            pkt_src_aws_service="S3",
            pkt_srcaddr="52.216.1.2",
            srcaddr="10.0.0.9",
            pkt_dstaddr="10.0.0.1",
        ),
        sized(5, 500, pkt_src_aws_service="S3", pkt_srcaddr="52.216.1.3", pkt_dstaddr="10.0.0.1"),
        sized(5, 500, pkt_src_aws_service="S3", pkt_srcaddr="52.216.1.2", pkt_dstaddr="10.0.0.2"),
        # To S3, as many bytes.
        sized(
            *(2, 2000),
            pkt_dst_aws_service="S3",
            pkt_srcaddr="10.0.0.1",
            pkt_dstaddr="52.216.1.2",
            flow_direction="egress",
        ),
        # A service at both ends: once under each.
        sized(
            *(1, 100),
            pkt_src_aws_service="EC2",
            pkt_srcaddr="54.0.0.1",
            pkt_dst_aws_service="EC2",
            pkt_dstaddr="54.0.0.2",
        ),
        # Nothing but the service is known.
        sized(None, None, pkt_dst_aws_service="DYNAMODB"),
        # No service.
        sized(9, 9999, pkt_srcaddr="10.0.0.1", pkt_dstaddr="203.0.113.1", flow_direction="egress"),
    ]
)

A, B, C, D, E = (f"10.0.0.{host}" for host in range(1, 6))
ZONE_1, ZONE_2, ZONE_3 = "use1-az1", "use1-az2", "use1-az3"


def crossing(
    direction: str | None, zone: str | None, source: str, target: str, octets: int, **fields: Any
) -> dict[str, Any]:
    """A record of one packet for each 100 bytes, of an interface in a zone of vpc-1."""
    return {
        "flow_direction": direction,
        "az_id": zone,
        "srcaddr": source,
        "dstaddr": target,
        "packets": octets // 100,
        "bytes": octets,
        "vpc_id": "vpc-1",
    } | fields


CROSSINGS = flows_of(
    [
        # A is in zone 1 and B in zone 2: each says so when it sends.
        crossing("egress", ZONE_1, A, B, 1000, interface_id="eni-a"),
        crossing("egress", ZONE_2, B, A, 400),
        # The first record once more, at the interface it came to.
        crossing("ingress", ZONE_2, A, B, 1000),
        # The next hop is known, so where B is does not matter: once it crosses, once it does not.
        crossing("egress", ZONE_1, A, B, 700, next_hop_az_id=ZONE_3),
        crossing("egress", ZONE_1, A, B, 800, next_hop_az_id=ZONE_1),
        # C was in two zones: what it sends counts, what is sent to it does not. D sends nothing.
        crossing("egress", ZONE_2, C, A, 100),
        crossing("egress", ZONE_3, C, D, 9900),
        crossing("egress", ZONE_1, A, C, 9900),
        # Another VPC has another B, which sends nothing.
        crossing("egress", ZONE_1, A, B, 9900, vpc_id="vpc-2"),
        # B without its zone, as of another format: left out, and B stays in zone 2.
        crossing("egress", None, B, A, 9900),
    ]
)

STAYING = flows_of(
    [
        # Both in zone 1.
        crossing("egress", ZONE_1, A, B, 9900),
        crossing("ingress", ZONE_1, B, A, 9900),
        crossing("egress", ZONE_1, B, A, 9900),
        # No VPC is no VPC in common.
        crossing("egress", ZONE_1, A, D, 9900, vpc_id=None),
        crossing("egress", ZONE_2, D, A, 9900, vpc_id=None),
        # A next hop needs neither VPC nor direction; without a direction no address is the other.
        crossing(None, ZONE_1, A, E, 500, vpc_id=None, next_hop_az_id=ZONE_2),
        crossing(None, ZONE_1, A, E, 9900),
        # E is in zone 2. As many bytes to it: address comes before next_hop.
        crossing("egress", ZONE_1, A, E, 500),
        crossing("egress", ZONE_2, E, "203.0.113.1", 9900),
        # B's zone is what B's own egress says, not the zone that its packets came to.
        crossing("ingress", ZONE_2, B, E, 200),
    ]
)

ANSWERS = [
    Answer(
        "protocol_breakdown",
        WORKED_OUT,
        [
            (6, "TCP", 5, 22, 5164, 5164 / 6000),
            (1, "ICMP", 2, 8, 672, 672 / 6000),
            (200, None, 1, 1, 100, 100 / 6000),
            (17, "UDP", 1, 1, 64, 64 / 6000),
        ],
    ),
    Answer(
        "traffic_over_time",
        HOURS,
        [
            (at(0), 1, 0, 1, 3),
            (at(MIDNIGHT), 2, 1, 11, 1040),
            (at(MIDNIGHT + 3600), 2, 1, 2, 80),
            (at(MIDNIGHT + 10_800), 1, 0, 5, 500),
            (at(253_402_297_200), 1, 0, 1, 7),
        ],
    ),
    Answer(
        "traffic_over_time",
        HOURS,
        [(at(MIDNIGHT), 2, 2, 3, 120)],
        {"minutes": 1440, "action": "REJECT"},
    ),
    Answer(
        "traffic_over_time",
        WORKED_OUT,
        [
            (at(1432917000), 5, 0, 24, 5500),
            (at(1432917060), 2, 2, 6, 416),
            (at(1432917180), 1, 1, 1, 40),
            (at(1432917300), 1, 1, 1, 44),
        ],
        {"minutes": 0},
    ),
    # Seven minutes fit no hour: the 3,411,707th seven since 1970 are these.
    Answer(
        "traffic_over_time",
        WORKED_OUT,
        [(at(1432916940), 5, 3, 22, 5164)],
        {"minutes": 7, "protocol": 6},
    ),
    Answer(
        "ip_version_breakdown",
        VERSIONS,
        [
            ("IPv6", 3, 4, 400, 400 / 1000),
            ("EFA", 1, 1, 300, 300 / 1000),
            ("IPv4", 2, 3, 300, 300 / 1000),
        ],
    ),
    Answer("ip_version_breakdown", VERSIONS, [("IPv6", 1, 0, 0, None)], {"count": "egress"}),
    Answer(
        "tcp_flags_breakdown",
        FLAGGED,
        [
            (0, "none", 2, 50, 5000, 2 / 6),
            (2, "SYN", 2, 3, 140, 2 / 6),
            (3, "SYN,FIN", 1, 5, 300, 1 / 6),
            (18, "SYN-ACK", 1, 3, 200, 1 / 6),
        ],
    ),
    Answer("tcp_flags_breakdown", FLAGGED, [(2, "SYN", 1, 1, 40, 1.0)], {"action": "REJECT"}),
    Answer("tcp_flags_breakdown", FLAGGED, [(2, "SYN", 1, 2, 100, 1.0)], {"count": "egress"}),
    Answer(
        "traffic_path_breakdown",
        PATHS,
        [
            (*SAME_VPC, 2, 10, 1000, 1000 / 4000),
            (*INTERNET, 1, 10, 1000, 1000 / 4000),
            (9, None, 1, 1, 1000, 1000 / 4000),
            (None, None, 1, 4, 1000, 1000 / 4000),
        ],
    ),
    Answer(
        "traffic_path_breakdown",
        PATHS,
        [
            (*SAME_VPC, 2, 10, 1000, 1000 / 4096),
            (*INTERNET, 1, 10, 1000, 1000 / 4096),
            (9, None, 1, 1, 1000, 1000 / 4096),
            (None, None, 1, 4, 1000, 1000 / 4096),
            (*GATEWAY, 1, 1, 96, 96 / 4096),
        ],
        {"count": "records"},
    ),
    Answer(
        "traffic_path_breakdown", PATHS, [(*SAME_VPC, 1, 5, 500, 500 / 500)], {"count": "eni-a"}
    ),
    Answer(
        "aws_service_traffic",
        SERVICES,
        [
            ("S3", "from", 3, 20, 2000, 2),
            ("S3", "to", 1, 2, 2000, 1),
            ("EC2", "from", 1, 1, 100, 1),
            ("EC2", "to", 1, 1, 100, 1),
            ("DYNAMODB", "to", 1, 0, 0, 0),
        ],
    ),
    Answer("aws_service_traffic", SERVICES, [("S3", "to", 1, 2, 2000, 1)], {"count": "egress"}),
    Answer(
        "inter_az_traffic",
        CROSSINGS,
        [
            (ZONE_1, ZONE_2, "address", 1, 10, 1000),
            (ZONE_1, ZONE_3, "next_hop", 1, 7, 700),
            (ZONE_2, ZONE_1, "address", 2, 5, 500),
        ],
    ),
    Answer(
        "inter_az_traffic",
        CROSSINGS,
        [(ZONE_2, ZONE_1, "address", 3, 15, 1500), (ZONE_1, ZONE_2, "address", 1, 10, 1000)],
        {"count": "records", "top": 2},
    ),
    # Only one record counts, but B is looked up in all.
    Answer(
        "inter_az_traffic",
        CROSSINGS,
        [(ZONE_1, ZONE_2, "address", 1, 10, 1000)],
        {"count": "eni-a"},
    ),
    Answer(
        "inter_az_traffic",
        STAYING,
        [
            (ZONE_1, ZONE_2, "address", 1, 5, 500),
            (ZONE_1, ZONE_2, "next_hop", 1, 5, 500),
            (ZONE_2, ZONE_1, "address", 1, 2, 200),
        ],
        {"count": "records"},
    ),
]
