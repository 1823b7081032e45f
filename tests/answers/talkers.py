"""Questions on who talks most."""

from typing import Any

from tests.answers import WORKED_OUT, Answer, at, flows_of

MOVED: dict[str, list[dict[str, Any]]] = {
    "top_talkers": [
        {"action": "REJECT"},
        {"top": 1},
        {"action": "ACCEPT", "protocol": 6, "top": 2},
        {"top": 0},
        {"side": "destination"},
        {"side": "both", "count": "egress"},
        {"packet_level": True},
    ],
    "top_conversations": [
        {"action": "REJECT"},
        {"protocol": 17},
        {"count": "egress"},
        {"count": "eni-00000000000000001", "top": 3},
        {"top": 0},
    ],
    "top_ports": [
        {"action": "REJECT"},
        {"protocol": 17},
        {"count": "egress"},
        {"count": "eni-00000000000000001"},
        {"top": 2},
        {"top": 0},
    ],
    **{
        name: [
            {"action": "REJECT"},
            {"count": "egress"},
            {"count": "eni-00000000000000001"},
            {"top": 1},
            {"top": 0},
        ]
        for name in ("top_interfaces", "top_instances", "top_subnets", "top_vpcs")
    },
    "bytes_total": [
        {"source": ["203.0.113.0/24", "fd00::/8"]},
        {"destination": ["10.0.0.0/16"]},
        {"source": ["10.0.0.0/8"], "destination": ["198.51.100.0/24"], "packet_level": True},
        {"packet_level": True},
        {"action": "ACCEPT", "protocol": 6},
        {"count": "egress"},
        {"top": 2},
        {"top": 0},
    ],
}


def flow(**fixed: Any) -> dict[str, Any]:
    """A TCP packet of 50 bytes that was let through, wherever it went."""
    plain = {"protocol": 6, "packets": 1, "bytes": 50, "action": "ACCEPT", "log_status": "OK"}
    return plain | fixed


def between(source: str | None, target: str | None, **fixed: Any) -> dict[str, Any]:
    """A flow from one address to another."""
    return flow(srcaddr=source, dstaddr=target, **fixed)


def seen(first: int | None, last: int | None) -> dict[str, Any]:
    """When a flow was seen, in seconds."""
    moments = {"start_time": first, "end_time": last}
    return {name: second and at(second) for name, second in moments.items()}


def ports(source: int | None, target: int | None) -> dict[str, Any]:
    """The two ports of a flow."""
    return {"srcport": source, "dstport": target}


SILENT = dict.fromkeys(("protocol", "packets", "bytes", "action"))
"""What a flow has no value for if there was none."""
NODATA = SILENT | {"log_status": "NODATA"}
SKIPDATA = SILENT | {"log_status": "SKIPDATA"}

CONVERSATIONS = flows_of(
    [
        # As text 10.0.0.10 sorts before 10.0.0.9, so the first of these goes from b to a.
        between("10.0.0.9", "10.0.0.10", packets=2, bytes=100, **seen(100, 160)),
        between(
            "10.0.0.10",
            "10.0.0.9",
            packets=3,
            bytes=250,
            flow_direction="egress",
            **seen(101, 170),
        ),
        between("10.0.0.9", "10.0.0.10", protocol=17, action="REJECT", **seen(40, 90)),
        # To itself, and with as many bytes as the pair above.
        between("10.0.0.1", "10.0.0.1", packets=4, bytes=400, **seen(200, 210)),
        # Nothing counted, and no start: it is a conversation all the same.
        between("203.0.113.1", "10.0.0.1", packets=None, bytes=None, **seen(None, 300)),
        between("2001:db8::1", "10.0.0.1", packets=5, bytes=500, **seen(300, 360)),
        # Half a pair is none, however large.
        between(None, "10.0.0.1", bytes=9000, **seen(1, 999)),
        between("10.0.0.1", None, bytes=9000, **seen(1, 999)),
        flow(**NODATA, **seen(1, 999)),
    ]
)

PORTS = flows_of(
    [
        # One server asked, the same answering, and another that refuses: two addresses.
        between("10.0.0.5", "10.0.0.9", **ports(49152, 443), bytes=100),
        between("10.0.0.9", "10.0.0.5", **ports(443, 49152), bytes=400, packets=4),
        between("10.0.0.5", "203.0.113.7", **ports(50000, 443), bytes=100, action="REJECT"),
        between("10.0.0.5", "10.0.0.2", **ports(50001, 443), protocol=17),
        # Equal ports: the destinations are taken for the servers, and there are two of them.
        between("10.0.0.5", "203.0.113.9", **ports(123, 123), protocol=17, bytes=76),
        between("10.0.0.5", "203.0.113.8", **ports(123, 123), protocol=17, bytes=76),
        # The lower port is the source's, whose address is missing. A null protocol comes last.
        between(None, "10.0.0.1", **ports(40000, 50000), protocol=None),
        between("10.0.0.5", "10.0.0.1", **ports(40000, 50000), protocol=200),
    ]
)

# Half a pair of ports says nothing of the lower: only the last counts.
HALVES = flows_of(
    [
        between("10.0.0.5", "10.0.0.9", **ports(source, target))
        for source, target in ((0, 80), (80, 0), (None, 80), (80, None), (81, 80))
    ]
)


def placed(
    interface: str | None, account: str | None, places: str, direction: str | None, **fixed: Any
) -> dict[str, Any]:
    """A flow at an interface; `places` are its region, VPC, subnet and instance, or ``-``."""
    names = ("region", "vpc_id", "subnet_id", "instance_id")
    words = [None if word == "-" else word for word in places.split()]
    known = {"interface_id": interface, "account_id": account, "flow_direction": direction}
    return flow(**known, **dict(zip(names, words, strict=True)), **fixed)


OURS, THEIRS = "012345678901", "123456789010"
PLACES = flows_of(
    [
        # One interface, moved from i-1 to i-2; then a record that lacks what is best-effort.
        placed("eni-1", OURS, "eu-1 vpc-1 subnet-1 i-1", "egress", packets=2, bytes=100),
        placed("eni-1", OURS, "eu-1 vpc-1 subnet-1 i-2", "ingress", packets=3, bytes=200),
        placed("eni-1", OURS, "- vpc-1 subnet-1 -", None, action="REJECT"),
        placed(
            "eni-2",
            THEIRS,
            "eu-1 vpc-1 subnet-1 i-1",
            "egress",
            action="REJECT",
            packets=4,
            bytes=300,
        ),
        placed("eni-2", THEIRS, "eu-1 vpc-1 subnet-1 i-1", None, **NODATA),
        # AWS's own interface, in a format without log_status. It has as many bytes as eni-1.
        placed("eni-3", "unknown", "eu-1 vpc-1 subnet-2 -", "ingress", bytes=350, log_status=None),
        # A regional NAT gateway has no interface.
        placed(None, THEIRS, "eu-1 vpc-2 - -", "egress", packets=10, bytes=1000),
        placed("eni-4", None, "- vpc-2 subnet-3 i-2", None, **SILENT),
        placed("eni-5", OURS, "eu-1 vpc-3 subnet-4 i-3", None, **SKIPDATA),
    ]
)


def packet(source: str | None, target: str | None) -> dict[str, Any]:
    """The addresses in the packet."""
    return {"pkt_srcaddr": source, "pkt_dstaddr": target}


BYTES = flows_of(
    [
        # A NAT gateway's two clients, one of them the gateway's own address.
        between("10.0.0.5", "203.0.113.9", bytes=100, **packet("10.0.7.7", "203.0.113.9")),
        between(
            "10.0.0.5",
            "203.0.113.9",
            packets=2,
            bytes=200,
            flow_direction="egress",
            **packet("10.0.0.5", "203.0.113.9"),
        ),
        # The way back is a row of its own, here with as many bytes.
        between("203.0.113.9", "10.0.0.5", packets=3, bytes=300, **packet(None, "10.0.7.7")),
        between(
            "172.16.0.1",
            "10.0.0.5",
            bytes=900,
            action="REJECT",
            **packet("172.16.0.1", "10.0.0.5"),
        ),
        # It begins with 10 as text, and is not in 10.0.0.0/8.
        between("100.0.0.1", "10.0.0.5", bytes=40, **packet("100.0.0.1", "10.0.0.5")),
        between("fd00::1", "fd00::2", protocol=17, packets=2, bytes=60),
        between("10.0.0.6", "10.0.0.5", packets=None, bytes=None),
        between(None, "10.0.0.5", bytes=5000, **packet("10.0.0.7", None)),
        flow(**NODATA),
    ]
)

ANSWERS = [
    Answer(
        "top_talkers",
        WORKED_OUT,
        [
            ("10.0.0.9", 4000, 8, 1),
            ("10.0.0.5", 1164, 12, 3),
            ("172.31.16.139", 336, 4, 1),
            ("203.0.113.12", 336, 4, 1),
            ("198.51.100.7", 164, 4, 3),
        ],
    ),
    Answer(
        "top_talkers",
        WORKED_OUT,
        [("172.31.16.139", 336, 4, 1), ("198.51.100.7", 164, 4, 3)],
        {"action": "REJECT"},
    ),
    Answer(
        "top_talkers",
        WORKED_OUT,
        [("10.0.0.5", 5000, 18, 2), ("10.0.0.9", 5000, 18, 2)],
        {"side": "both", "protocol": 6, "action": "ACCEPT", "top": 2},
    ),
    Answer(
        "top_conversations",
        CONVERSATIONS,
        [
            ("10.0.0.1", "2001:db8::1", 1, 5, 500, 0, 500, at(300), at(360)),
            ("10.0.0.1", "10.0.0.1", 1, 4, 400, 400, 0, at(200), at(210)),
            ("10.0.0.10", "10.0.0.9", 3, 6, 400, 250, 150, at(40), at(170)),
            ("10.0.0.1", "203.0.113.1", 1, 0, 0, 0, 0, None, at(300)),
        ],
    ),
    Answer(
        "top_conversations",
        CONVERSATIONS,
        [("10.0.0.10", "10.0.0.9", 1, 1, 50, 0, 50, at(40), at(90))],
        {"action": "REJECT", "protocol": 17},
    ),
    Answer(
        "top_conversations",
        CONVERSATIONS,
        [("10.0.0.10", "10.0.0.9", 1, 3, 250, 250, 0, at(101), at(170))],
        {"count": "egress"},
    ),
    Answer(
        "top_ports",
        PORTS,
        [
            (443, 6, "TCP", "https", 3, 6, 600, 2),
            (123, 17, "UDP", "ntp", 2, 2, 152, 2),
            (443, 17, "UDP", "https", 1, 1, 50, 1),
            (40000, 200, None, None, 1, 1, 50, 1),
            (40000, None, None, None, 1, 1, 50, 0),
        ],
    ),
    Answer("top_ports", HALVES, [(80, 6, "TCP", "http", 1, 1, 50, 1)]),
    # The pings, of ports 0 and 0, are left out.
    Answer(
        "top_ports",
        WORKED_OUT,
        [
            (443, 6, "TCP", "https", 2, 18, 5000, 1),
            (22, 6, "TCP", "ssh", 2, 3, 120, 1),
            (53, 17, "UDP", "domain", 1, 1, 64, 1),
            (3389, 6, "TCP", "ms-wbt-server", 1, 1, 44, 1),
        ],
    ),
    Answer(
        "top_ports",
        PORTS,
        [(443, 6, "TCP", "https", 1, 1, 100, 1)],
        {"action": "REJECT"},
    ),
    Answer(
        "top_ports",
        PORTS,
        [(123, 17, "UDP", "ntp", 2, 2, 152, 2)],
        {"protocol": 17, "top": 1},
    ),
    Answer(
        "top_interfaces",
        PLACES,
        [
            ("eni-1", OURS, "eu-1", "vpc-1", "i-2", 3, 1, 6, 350, 200, 100),
            ("eni-3", "unknown", "eu-1", "vpc-1", None, 1, 0, 1, 350, 350, 0),
            ("eni-2", THEIRS, "eu-1", "vpc-1", "i-1", 1, 1, 4, 300, 0, 300),
            ("eni-4", None, None, "vpc-2", "i-2", 1, 0, 0, 0, 0, 0),
        ],
    ),
    Answer(
        "top_interfaces",
        PLACES,
        [("eni-1", OURS, None, "vpc-1", None, 1, 1, 1, 50, 0, 0)],
        {"action": "REJECT", "count": "eni-1"},
    ),
    Answer(
        "top_instances",
        PLACES,
        [
            ("i-1", THEIRS, 2, 2, 1, 6, 400, 0, 400),
            ("i-2", OURS, 2, 2, 0, 3, 200, 200, 0),
        ],
    ),
    Answer(
        "top_instances",
        PLACES,
        [
            ("i-2", OURS, 1, 1, 0, 3, 200, 200, 0),
            ("i-1", OURS, 1, 1, 0, 2, 100, 0, 100),
        ],
        {"action": "ACCEPT"},
    ),
    Answer(
        "top_subnets",
        PLACES,
        [
            ("subnet-1", "vpc-1", 2, 4, 2, 10, 650, 200, 400),
            ("subnet-2", "vpc-1", 1, 1, 0, 1, 350, 350, 0),
            ("subnet-3", "vpc-2", 1, 1, 0, 0, 0, 0, 0),
        ],
    ),
    Answer(
        "top_subnets",
        PLACES,
        [("subnet-1", "vpc-1", 1, 1, 1, 4, 300, 0, 300)],
        {"action": "REJECT", "count": "egress"},
    ),
    Answer(
        "top_vpcs",
        PLACES,
        [
            ("vpc-1", THEIRS, 3, 5, 2, 11, 1000, 550, 400),
            ("vpc-2", THEIRS, 1, 2, 0, 10, 1000, 0, 1000),
        ],
    ),
    Answer(
        "top_vpcs",
        PLACES,
        [
            ("vpc-2", THEIRS, 0, 1, 0, 10, 1000, 0, 1000),
            ("vpc-1", OURS, 1, 1, 0, 2, 100, 0, 100),
        ],
        {"action": "ACCEPT", "count": "egress"},
    ),
    # The only account is no account.
    Answer(
        "top_vpcs",
        PLACES,
        [("vpc-1", None, 1, 1, 0, 1, 350, 350, 0)],
        {"count": "eni-3"},
    ),
    Answer(
        "bytes_total",
        BYTES,
        [
            ("172.16.0.1", "10.0.0.5", 1, 1, 900),
            ("10.0.0.5", "203.0.113.9", 2, 3, 300),
            ("203.0.113.9", "10.0.0.5", 1, 3, 300),
            ("fd00::1", "fd00::2", 1, 2, 60),
            ("100.0.0.1", "10.0.0.5", 1, 1, 40),
            ("10.0.0.6", "10.0.0.5", 1, 0, 0),
        ],
    ),
    Answer(
        "bytes_total",
        BYTES,
        [
            ("10.0.0.5", "203.0.113.9", 2, 3, 300),
            ("fd00::1", "fd00::2", 1, 2, 60),
            ("10.0.0.6", "10.0.0.5", 1, 0, 0),
        ],
        {"source": ["10.0.0.0/8", "fd00::/8"]},
    ),
    Answer(
        "bytes_total",
        BYTES,
        [("203.0.113.9", "10.0.0.5", 1, 3, 300), ("100.0.0.1", "10.0.0.5", 1, 1, 40)],
        {"destination": ["10.0.0.5"], "action": "ACCEPT", "protocol": 6, "top": 2},
    ),
    Answer(
        "bytes_total",
        BYTES,
        [
            ("172.16.0.1", "10.0.0.5", 1, 1, 900),
            ("10.0.0.5", "203.0.113.9", 1, 2, 200),
            ("10.0.7.7", "203.0.113.9", 1, 1, 100),
        ],
        {"source": ["10.0.0.0/8", "172.16.0.1"], "packet_level": True},
    ),
    Answer(
        "bytes_total",
        BYTES,
        [("10.0.0.5", "203.0.113.9", 1, 2, 200)],
        {"destination": ["203.0.113.0/24"], "count": "egress"},
    ),
]
