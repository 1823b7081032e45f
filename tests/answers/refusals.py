"""Questions on what was refused."""

from typing import Any

from tests.answers import WORKED_OUT, Answer, at, flows_of

MOVED: dict[str, list[dict[str, Any]]] = {
    "rejected_flows": [{"top": 3}, {"top": 0}, {"protocol": 17}],
    "rejected_over_time": [
        {"minutes": 5},
        {"minutes": 0},
        {"minutes": 2**32 - 1},
        {"minutes": 1440, "protocol": 6},
    ],
    "rejected_ports": [{"top": 3}, {"top": 0}, {"protocol": 17}],
    "rejected_sources": [
        {"internal": ["203.0.113.0/24", "2001:db8::/32"]},
        {"protocol": 17},
        {"top": 0},
        {"internal": ["198.51.100.0/24"], "protocol": 6, "top": 500},
    ],
    "reject_reasons": [{"count": "egress"}, {"count": "eni-00000000000000001"}],
    "refused_replies": [
        {"minutes": 0, "top": 500},
        {"minutes": 2**32 - 1, "top": 500},
        {"top": 3},
        {"top": 0},
    ],
}

NO_REASON = "security group or network ACL, or the format lacks reject_reason"
LAST = 253_402_300_799
"""9999-12-31T23:59:59Z."""

CLIENT, SERVER = "203.0.113.9", "10.0.0.5"
ANY_FLOW = {"packets": 1, "bytes": 40, "log_status": "OK"}


def refusal(start: int | None = 100, end: int | None = 100, **fields: Any) -> dict[str, Any]:
    """A REJECT record of one packet of 40 bytes, unless told otherwise."""
    times = {
        "start_time": None if start is None else at(start),
        "end_time": None if end is None else at(end),
    }
    return {**ANY_FLOW, **times, "action": "REJECT", **fields}


def acceptance(start: int | None = 100, end: int | None = 100, **fields: Any) -> dict[str, Any]:
    """An ACCEPT record, otherwise as a refusal."""
    return refusal(start, end, action="ACCEPT", **fields)


def there(port: int = 50_000, **fields: Any) -> dict[str, Any]:
    """What a record of TCP from the client to the server's port 443 has."""
    ends = {"srcaddr": CLIENT, "dstaddr": SERVER, "srcport": port, "dstport": 443}
    return {"interface_id": "eni-1", "protocol": 6, **ends, **fields}


def back(port: int = 50_000, **fields: Any) -> dict[str, Any]:
    """What a record of its answer has."""
    ends = {"srcaddr": SERVER, "dstaddr": CLIENT, "srcport": 443, "dstport": port}
    return {"interface_id": "eni-1", "protocol": 6, **ends, **fields}


MINUTES = flows_of(
    [
        acceptance(0),
        refusal(59),
        # The next minute: nothing was counted of this refusal, which is a refusal all the same.
        refusal(60, packets=None, bytes=None),
        acceptance(119),
        {"start_time": at(61), "log_status": "NODATA"},
        acceptance(180),  # a minute without refusals
        refusal(None, 185),  # and one that cannot be placed
        refusal(LAST, packets=2, bytes=80),
    ]
)

PORTS = flows_of(
    [
        refusal(300, 310, srcaddr="10.0.0.1", dstaddr="10.0.1.1", dstport=53, protocol=17),
        refusal(200, 320, srcaddr="10.0.0.2", dstaddr="10.0.1.2", dstport=53, protocol=17),
        # Neither a third source nor a third target, and nothing to add to the sums.
        refusal(None, None, dstport=53, protocol=17, packets=None, bytes=None),
        refusal(srcaddr="10.0.0.1", dstaddr="10.0.1.1", dstport=53, protocol=6),
        refusal(srcaddr="10.0.0.1", dstport=53),
        refusal(srcaddr="10.0.0.1", dstaddr="10.0.1.1", dstport=60_000, protocol=6),
        refusal(srcaddr="10.0.0.1", dstaddr="10.0.1.1", protocol=17),
        acceptance(srcaddr="10.0.0.9", dstaddr="10.0.1.1", dstport=53, protocol=17),
    ]
)

SOURCES = flows_of(
    [
        refusal(srcaddr="10.0.0.2", dstaddr="10.0.1.1", dstport=22),
        refusal(srcaddr="10.0.0.10", dstaddr="10.0.1.1", dstport=22),
        refusal(300, 310, srcaddr="2001:db8::5", dstaddr="2001:db8::9", dstport=443),
        refusal(200, 210, srcaddr="2001:db8::5"),
        refusal(srcaddr="nowhere", dstaddr="10.0.1.1", dstport=22),
        refusal(dstaddr="10.0.1.1", dstport=22),
        acceptance(srcaddr="10.0.0.2", dstaddr="10.0.1.7", dstport=80),
    ]
)

REASONS = flows_of(
    [
        refusal(1, 100, reject_reason="BPA", flow_direction="egress", srcaddr="10.0.0.1"),
        refusal(1, 200, reject_reason="BPA", flow_direction="ingress", packets=None, bytes=None),
        refusal(1, 100, reject_reason="EC", flow_direction="ingress", srcaddr="10.0.0.1"),
        refusal(1, None, reject_reason="EC", flow_direction="ingress", srcaddr="10.0.0.1"),
        refusal(1, 50, reject_reason="NEW", flow_direction="egress", srcaddr="10.0.0.2"),
        refusal(1, 60, srcaddr="10.0.0.2"),
        refusal(1, 70, flow_direction="ingress", srcaddr="10.0.0.3"),
        acceptance(1, 300, reject_reason="BPA", srcaddr="10.0.0.4"),
        {"start_time": at(1), "end_time": at(400), "log_status": "NODATA"},
    ]
)

# A web request from 1000 to 1060, and what may be taken for its refused answer.
REPLIES = flows_of(
    [
        acceptance(1000, 1060, **there()),
        # It starts later than the record above but ends sooner: that one still decides.
        acceptance(1010, 1020, **there()),
        refusal(1660, 1700, **back(packets=2, bytes=80)),  # ten minutes after: just in time
        refusal(1661, 1800, **back()),  # too late
        refusal(900, 1000, **back(packets=None, bytes=None)),  # over as the request starts
        refusal(800, 999, **back()),  # over before
        refusal(1010, 1020, **back(interface_id="eni-2")),
        refusal(1010, 1020, **back(port=50_001)),
        refusal(1010, 1020, **back(protocol=17)),
        refusal(1010, 1020, **there()),  # the same way, so no answer
    ]
)

# Accepted both ways on two ports of the client; refused after that.
BOTH_WAYS = flows_of(
    [
        acceptance(100, 160, **there()),
        acceptance(100, 160, **back()),
        refusal(160, 170, **back()),
        refusal(161, 180, **there()),  # late: it answers the server's record
        acceptance(150, 155, **there(port=50_001)),
        refusal(140, 150, **back(port=50_001)),
    ]
)

PORTLESS = {"srcport": None, "dstport": None, "protocol": 1, "interface_id": None}
# What is missing on both sides is the same for ports and the interface, and for nothing else.
MISSING = flows_of(
    [
        acceptance(100, 160, **there() | PORTLESS),
        refusal(170, 180, **back() | PORTLESS),
        refusal(170, 180, **back() | PORTLESS | {"srcport": 0, "dstport": 0}),
        refusal(None, 180, **back() | PORTLESS),
        acceptance(100, 160, **there(srcaddr=None)),
        refusal(100, 160, **back(dstaddr=None)),
        acceptance(100, 160, **there(protocol=None)),
        refusal(100, 160, **back(protocol=None)),
        acceptance(100, None, **there(interface_id="eni-3")),
        refusal(100, 160, **back(interface_id="eni-3")),
    ]
)

TO_SSH = (22, 6, "TCP", "ssh", 2, 3, 120, 1, 1, at(1432917100), at(1432917201))
PING = ("203.0.113.12", "172.31.16.139", 0, 1, "ICMP", 1, 4, 336, at(1432917094), at(1432917142))

ANSWERS = [
    Answer(
        "rejected_flows",
        WORKED_OUT,
        [
            ("198.51.100.7", "10.0.0.5", 22, 6, "TCP", 2, 3, 120, at(1432917100), at(1432917201)),
            (
                *("172.31.16.139", "203.0.113.12", 0, 1, "ICMP", 1, 4, 336),
                *(at(1432917094), at(1432917142)),
            ),
            ("198.51.100.7", "10.0.0.5", 3389, 6, "TCP", 1, 1, 44, at(1432917300), at(1432917300)),
        ],
    ),
    # All of it lies in the hour from 16:00, and 1432917000 is 16:30.
    Answer("rejected_over_time", WORKED_OUT, [(at(1432915200), 4, 8, 500, 4 / 9)]),
    Answer(
        "rejected_over_time",
        WORKED_OUT,
        [(at(1432917000), 3, 7, 456, 3 / 8), (at(1432917300), 1, 1, 44, 1.0)],
        {"minutes": 5},
    ),
    Answer(
        "rejected_over_time",
        WORKED_OUT,
        [
            (at(1432917060), 1, 2, 80, 1.0),
            (at(1432917180), 1, 1, 40, 1.0),
            (at(1432917300), 1, 1, 44, 1.0),
        ],
        {"minutes": 1, "protocol": 6},
    ),
    Answer(
        "rejected_over_time",
        MINUTES,
        [(at(0), 1, 1, 40, 0.5), (at(60), 1, 0, 0, 0.5), (at(LAST - 59), 1, 2, 80, 1.0)],
        {"minutes": 0},
    ),
    Answer(
        "rejected_ports",
        WORKED_OUT,
        [
            TO_SSH,
            (0, 1, "ICMP", None, 1, 4, 336, 1, 1, at(1432917094), at(1432917142)),
            (3389, 6, "TCP", "ms-wbt-server", 1, 1, 44, 1, 1, at(1432917300), at(1432917300)),
        ],
    ),
    Answer("rejected_ports", WORKED_OUT, [TO_SSH], {"protocol": 6, "top": 1}),
    Answer(
        "rejected_ports",
        PORTS,
        [
            (53, 17, "UDP", "domain", 3, 2, 80, 2, 2, at(200), at(320)),
            (53, 6, "TCP", "domain", 1, 1, 40, 1, 1, at(100), at(100)),
            (53, None, None, None, 1, 1, 40, 1, 0, at(100), at(100)),
            (60_000, 6, "TCP", None, 1, 1, 40, 1, 1, at(100), at(100)),
        ],
    ),
    Answer(
        "rejected_sources",
        WORKED_OUT,
        [
            ("198.51.100.7", False, 3, 4, 164, 1, 2, at(1432917100), at(1432917300)),
            ("172.31.16.139", True, 1, 4, 336, 1, 1, at(1432917094), at(1432917142)),
        ],
    ),
    Answer(
        "rejected_sources",
        WORKED_OUT,
        [("198.51.100.7", True, 3, 4, 164, 1, 2, at(1432917100), at(1432917300))],
        {"internal": ["198.51.100.0/24"], "protocol": 6},
    ),
    Answer(
        "rejected_sources",
        SOURCES,
        [
            ("2001:db8::5", False, 2, 2, 80, 1, 1, at(200), at(310)),
            ("10.0.0.10", True, 1, 1, 40, 1, 1, at(100), at(100)),
            ("10.0.0.2", True, 1, 1, 40, 1, 1, at(100), at(100)),
            ("nowhere", None, 1, 1, 40, 1, 1, at(100), at(100)),
        ],
    ),
    Answer("reject_reasons", WORKED_OUT, [(None, NO_REASON, 4, 8, 500, 2, at(1432917300))]),
    Answer(
        "reject_reasons",
        REASONS,
        [
            ("BPA", "VPC Block Public Access", 2, 1, 40, 1, at(200)),
            ("EC", "VPC encryption controls", 2, 2, 80, 1, at(100)),
            (None, NO_REASON, 2, 2, 80, 2, at(70)),
            ("NEW", None, 1, 1, 40, 1, at(50)),
        ],
    ),
    Answer(
        "reject_reasons",
        REASONS,
        [
            ("BPA", "VPC Block Public Access", 1, 1, 40, 1, at(100)),
            ("NEW", None, 1, 1, 40, 1, at(50)),
        ],
        {"count": "egress"},
    ),
    Answer("refused_replies", WORKED_OUT, [("eni-1235b8ca123456789", *PING)]),
    Answer(
        "refused_replies",
        REPLIES,
        [("eni-1", CLIENT, SERVER, 443, 6, "TCP", 2, 2, 80, at(900), at(1700))],
    ),
    Answer(
        "refused_replies",
        BOTH_WAYS,
        [
            ("eni-1", CLIENT, SERVER, 443, 6, "TCP", 2, 2, 80, at(140), at(170)),
            ("eni-1", SERVER, CLIENT, 50_000, 6, "TCP", 1, 1, 40, at(161), at(180)),
        ],
    ),
    Answer(
        "refused_replies",
        BOTH_WAYS,
        [("eni-1", CLIENT, SERVER, 443, 6, "TCP", 2, 2, 80, at(140), at(170))],
        {"minutes": 0},
    ),
    Answer(
        "refused_replies",
        MISSING,
        [(None, CLIENT, SERVER, None, 1, "ICMP", 1, 1, 40, at(170), at(180))],
    ),
]
