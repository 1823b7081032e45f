"""Questions on who reaches what."""

from typing import Any

from tests.answers import Answer, at, parse

OUTSIDE = ["203.0.113.0/24"]

MOVED: dict[str, list[dict[str, Any]]] = {
    "admin_port_traffic": [
        {"ports": [443]},
        {"ports": []},
        {"internal": OUTSIDE},
        {"action": "REJECT"},
        {"count": "egress"},
        {"count": "eni-00000000000000001"},
        {"top": 3},
    ],
    "public_inbound": [
        {"internal": OUTSIDE},
        {"action": "REJECT"},
        {"count": "egress"},
        {"count": "eni-00000000000000001"},
        {"top": 0},
    ],
    "egress_destinations": [
        {"internal": OUTSIDE},
        {"action": "REJECT"},
        {"count": "egress"},
        {"count": "eni-00000000000000001"},
        {"top": 3},
    ],
    "port_access": [
        {"ports": [443, 80]},
        {"addresses": ["10.0.0.0/24", "2001:db8:1::/48"]},
        {"action": "REJECT"},
        {"top": 0},
    ],
    "unanswered_connections": [{"top": 5}, {"top": 0}],
    "new_destinations": [
        {"internal": OUTSIDE},
        {"days": 0},
        {"action": "REJECT"},
        {"count": "egress"},
        {"count": "eni-00000000000000001"},
        {"top": 1},
    ],
}

# An SSH session with its answer, and a refused try; a record between two listed ports, where the
# target is the server; an answer over UDP whose end is unknown; and an answer without the client's
# port. Left out: SCTP, another port, no source address, no data.
ADMINS = parse(
    """\
203.0.113.9 40000 10.0.0.5 22 6 3 300 100 110 ACCEPT OK
10.0.0.5 22 203.0.113.9 40000 6 2 900 101 115 ACCEPT OK
203.0.113.9 40001 10.0.0.5 22 6 1 40 130 131 REJECT OK
10.0.0.7 3389 10.0.0.6 22 6 4 400 50 55 ACCEPT OK
10.0.0.6 3389 10.0.0.7 50000 17 5 500 60 - ACCEPT OK
10.0.0.7 22 10.0.0.6 - 6 6 600 70 75 ACCEPT OK
10.0.0.7 50000 10.0.0.6 3389 132 7 700 10 999 ACCEPT OK
10.0.0.7 40000 10.0.0.6 443 6 8 800 10 999 ACCEPT OK
- 40000 10.0.0.6 22 6 9 900 10 999 ACCEPT OK
- - - - - - - 10 999 - NODATA
""",
    (
        *("srcaddr", "srcport", "dstaddr", "dstport", "protocol", "packets", "bytes"),
        *("start", "end", "action", "log-status"),
    ),
)

# Two web clients, the second where the direction is unknown but the target private; a ping; a
# datagram between equal ports to a public address that an interface took in; a protocol unknown.
# All have the same bytes. Left out: a private source, an answer from outside, a request recorded as
# it was passed on, a public target without a direction, a refusal (by default).
INBOUND = parse(
    """\
203.0.113.9 40000 10.0.0.5 443 6 3 300 100 110 ACCEPT ingress
203.0.113.8 40000 10.0.0.6 443 6 1 100 90 95 ACCEPT -
203.0.113.9 0 10.0.0.5 0 1 2 400 80 85 ACCEPT ingress
203.0.113.9 500 198.51.100.20 500 17 4 400 70 75 ACCEPT ingress
203.0.113.7 40000 10.0.0.5 443 - 7 400 - 112 ACCEPT ingress
10.0.0.7 40000 10.0.0.5 443 6 9 9000 1 999 ACCEPT ingress
198.51.100.1 443 10.0.0.5 50000 6 9 9000 1 999 ACCEPT ingress
203.0.113.9 40001 198.51.100.20 80 6 5 500 70 75 ACCEPT -
203.0.113.9 40002 10.0.0.5 22 6 1 40 60 61 REJECT ingress
203.0.113.9 40000 10.0.0.5 443 6 9 9000 1 999 ACCEPT egress
""",
    (
        *("srcaddr", "srcport", "dstaddr", "dstport", "protocol", "packets", "bytes"),
        *("start", "end", "action", "flow-direction"),
    ),
)

# To S3 from two sources and once as it came in elsewhere; a server's answer to a client outside,
# with as many bytes; and a record without counts. Left out: a private target, a public source, a
# refusal (by default), no target, a target that is no address.
OUTBOUND = parse(
    """\
10.0.0.5 52.216.1.2 443 1 100 10 20 ACCEPT egress S3
10.0.0.6 52.216.1.2 443 2 200 5 15 ACCEPT egress AMAZON
10.0.0.6 52.216.1.2 80 3 300 - 30 ACCEPT ingress -
fd00::5 2001:db8::9 50000 6 600 40 50 ACCEPT egress -
10.0.0.5 203.0.113.9 - - - 60 70 ACCEPT egress -
10.0.0.5 10.0.0.6 443 9 9000 1 99 ACCEPT egress -
203.0.113.9 198.51.100.1 443 9 9000 1 99 ACCEPT egress -
10.0.0.5 198.51.100.7 25 1 40 80 81 REJECT egress -
10.0.0.5 - 443 9 9000 1 99 ACCEPT egress -
10.0.0.5 s3.example 443 9 9000 1 99 ACCEPT egress -
""",
    (
        *("srcaddr", "dstaddr", "dstport", "packets", "bytes", "start", "end", "action"),
        *("flow-direction", "pkt-dst-aws-service"),
    ),
)

# The same client let in twice and refused once, all last seen in one second, as is a record without
# a source; no verdict; no target; no end, which comes last. Left out: the answer, SCTP, no data.
TOUCHES = parse(
    """\
203.0.113.9 40000 10.0.0.5 22 6 1 40 100 101 ACCEPT
203.0.113.9 40001 10.0.0.5 22 6 2 80 90 120 ACCEPT
203.0.113.9 40002 10.0.0.5 22 6 1 44 110 120 REJECT
- 50001 10.0.0.6 22 6 5 250 40 120 ACCEPT
10.0.0.7 50000 10.1.0.6 22 6 4 200 30 130 -
10.0.0.7 50002 - 22 6 1 40 50 60 ACCEPT
10.0.0.7 50000 10.0.0.6 3389 17 3 90 10 - ACCEPT
10.0.0.5 22 203.0.113.9 40000 6 9 900 100 999 ACCEPT
10.0.0.7 50000 10.0.0.6 22 132 9 900 1 999 ACCEPT
- - - - - - - 1 999 -
""",
    (
        *("srcaddr", "srcport", "dstaddr", "dstport", "protocol", "packets", "bytes"),
        *("start", "end", "action"),
    ),
)

# The first is answered, though the answer was refused at another interface. The next two are not:
# an RST is no answer. Nor is the SYN and RST to port 80: one SYN-ACK goes the same way as it does,
# the other is not TCP. Left out: a refused try, one without the client's port.
OPENINGS = parse(
    """\
eni-1 10.0.0.5 40000 10.0.0.9 443 6 2 1 60 100 101 ACCEPT
eni-2 10.0.0.9 443 10.0.0.5 40000 6 19 1 60 100 101 REJECT
eni-1 10.0.0.5 40001 10.0.0.9 443 6 3 2 120 200 205 ACCEPT
eni-1 10.0.0.5 40002 10.0.0.9 443 6 2 1 60 150 155 ACCEPT
eni-1 10.0.0.9 443 10.0.0.5 40002 6 4 1 40 150 155 ACCEPT
eni-1 10.0.0.6 40000 10.0.0.9 80 6 6 1 44 400 - ACCEPT
eni-1 10.0.0.6 40000 10.0.0.9 80 6 18 1 44 400 405 ACCEPT
eni-1 10.0.0.9 80 10.0.0.6 40000 17 18 1 44 400 405 ACCEPT
eni-1 203.0.113.9 40000 10.0.0.5 22 6 2 1 40 300 301 REJECT
eni-1 10.0.0.6 - 10.0.0.9 25 6 2 1 44 300 301 ACCEPT
""",
    (
        *("interface-id", "srcaddr", "srcport", "dstaddr", "dstport", "protocol", "tcp-flags"),
        *("packets", "bytes", "start", "end", "action"),
    ),
)

REACHED = ("srcaddr", "dstaddr", "dstport", "packets", "bytes", "start", "end", "action")

# The window begins with the refused record, at day 10. New are 203.0.113.2 (known only for longer
# than seven days), 10.0.0.9 (refused before) and 203.0.113.6 (never seen, without counts or times).
WINDOW = parse(
    """\
10.0.0.5 203.0.113.1 443 1 100 864100 864110 ACCEPT -
10.0.0.5 203.0.113.2 443 2 200 864200 864210 ACCEPT S3
10.0.0.6 203.0.113.2 80 3 300 864150 864160 ACCEPT -
10.0.0.5 10.0.0.9 5432 5 500 864300 864310 ACCEPT -
10.0.0.5 203.0.113.6 - - - - - ACCEPT -
203.0.113.9 10.0.0.8 22 9 900 864400 864410 ACCEPT -
10.0.0.5 203.0.113.3 25 1 40 864000 864001 REJECT -
10.0.0.5 203.0.113.4 443 7 700 864500 864510 ACCEPT -
10.0.0.5 - 443 7 700 864500 864510 ACCEPT -
10.0.0.5 203.0.113.5 443 8 800 864500 864510 ACCEPT -
""",
    (*REACHED, "pkt-dst-aws-service"),
)

# Day 3 begins at 259200. A public source makes a destination known as well as a private one, a
# record of unknown time as well as a recent one; one without a destination makes none known.
BEFORE = parse(
    """\
198.51.100.1 203.0.113.1 443 1 100 777700 777710 ACCEPT
10.0.0.5 203.0.113.2 443 1 100 259199 777710 ACCEPT
10.0.0.5 203.0.113.5 443 1 100 259200 259210 ACCEPT
10.0.0.5 203.0.113.4 443 1 100 - 800010 ACCEPT
10.0.0.5 10.0.0.9 5432 1 100 800000 800010 REJECT
10.0.0.5 - 443 1 100 800000 800010 ACCEPT
""",
    REACHED,
)

# Nothing says when the window begins, so all of what was before counts.
UNDATED = parse(
    """\
10.0.0.5 203.0.113.2 443 2 200 - 864210 ACCEPT
10.0.0.5 203.0.113.6 443 2 200 - 864210 ACCEPT
""",
    REACHED,
)

ANSWERS = [
    Answer(
        "admin_port_traffic",
        ADMINS,
        [
            (
                *("203.0.113.9", "10.0.0.5", 22, 6, "ssh", False, 3, 1, 6, 340, 900),
                *(at(100), at(131)),
            ),
            ("10.0.0.6", "10.0.0.7", 22, 6, "ssh", True, 1, 0, 6, 0, 600, at(70), at(75)),
            ("10.0.0.7", "10.0.0.6", 22, 6, "ssh", True, 1, 0, 4, 400, 0, at(50), at(55)),
            (
                *("10.0.0.7", "10.0.0.6", 3389, 17, "ms-wbt-server", True, 1, 0, 5, 0, 500),
                *(at(60), None),
            ),
        ],
    ),
    Answer(
        "admin_port_traffic",
        ADMINS,
        [
            (
                *("10.0.0.6", "10.0.0.7", 3389, 6, "ms-wbt-server", True, 1, 0, 4, 0, 400),
                *(at(50), at(55)),
            ),
            (
                *("10.0.0.7", "10.0.0.6", 3389, 17, "ms-wbt-server", True, 1, 0, 5, 0, 500),
                *(at(60), None),
            ),
        ],
        {"ports": [3389]},
    ),
    Answer(
        "admin_port_traffic",
        ADMINS,
        [("203.0.113.9", "10.0.0.5", 22, 6, "ssh", True, 1, 1, 1, 40, 0, at(130), at(131))],
        {"internal": OUTSIDE, "action": "REJECT"},
    ),
    Answer(
        "public_inbound",
        INBOUND,
        [
            (0, 1, "ICMP", None, 1, 2, 400, 1, 1, at(80), at(85)),
            (443, 6, "TCP", "https", 2, 4, 400, 2, 2, at(90), at(110)),
            (443, None, None, None, 1, 7, 400, 1, 1, None, at(112)),
            (500, 17, "UDP", "isakmp", 1, 4, 400, 1, 1, at(70), at(75)),
        ],
    ),
    Answer(
        "public_inbound",
        INBOUND,
        [(22, 6, "TCP", "ssh", 1, 1, 40, 1, 1, at(60), at(61))],
        {"action": "REJECT"},
    ),
    Answer(
        "public_inbound",
        INBOUND,
        [(80, 6, "TCP", "http", 1, 5, 500, 1, 1, at(70), at(75))],
        {"internal": ["198.51.100.0/24"], "top": 1},
    ),
    Answer("public_inbound", INBOUND, [], {"count": "egress"}),
    Answer(
        "egress_destinations",
        OUTBOUND,
        [
            ("2001:db8::9", None, 1, 6, 600, 1, 1, at(40), at(50)),
            ("52.216.1.2", "S3", 3, 6, 600, 2, 2, at(5), at(30)),
            ("203.0.113.9", None, 1, 0, 0, 1, 0, at(60), at(70)),
        ],
    ),
    Answer(
        "egress_destinations",
        OUTBOUND,
        [
            ("52.216.1.2", "S3", 2, 3, 300, 2, 1, at(5), at(20)),
            ("203.0.113.9", None, 1, 0, 0, 1, 0, at(60), at(70)),
        ],
        {"internal": ["2001:db8::/32"], "count": "egress"},
    ),
    Answer(
        "egress_destinations",
        OUTBOUND,
        [("198.51.100.7", None, 1, 1, 40, 1, 1, at(80), at(81))],
        {"action": "REJECT"},
    ),
    Answer(
        "port_access",
        TOUCHES,
        [
            ("10.0.0.7", "10.1.0.6", 22, 6, "ssh", None, 1, 4, 200, at(30), at(130)),
            ("203.0.113.9", "10.0.0.5", 22, 6, "ssh", "ACCEPT", 2, 3, 120, at(90), at(120)),
            ("203.0.113.9", "10.0.0.5", 22, 6, "ssh", "REJECT", 1, 1, 44, at(110), at(120)),
            (None, "10.0.0.6", 22, 6, "ssh", "ACCEPT", 1, 5, 250, at(40), at(120)),
            ("10.0.0.7", None, 22, 6, "ssh", "ACCEPT", 1, 1, 40, at(50), at(60)),
            ("10.0.0.7", "10.0.0.6", 3389, 17, "ms-wbt-server", "ACCEPT", 1, 3, 90, at(10), None),
        ],
    ),
    Answer(
        "port_access",
        TOUCHES,
        [
            ("203.0.113.9", "10.0.0.5", 22, 6, "ssh", "ACCEPT", 2, 3, 120, at(90), at(120)),
            (None, "10.0.0.6", 22, 6, "ssh", "ACCEPT", 1, 5, 250, at(40), at(120)),
        ],
        {"ports": [22], "addresses": ["10.0.0.0/24"], "action": "ACCEPT"},
    ),
    Answer(
        "unanswered_connections",
        OPENINGS,
        [
            ("10.0.0.5", "10.0.0.9", 443, 2, 3, 180, at(150), at(205)),
            ("10.0.0.6", "10.0.0.9", 80, 1, 1, 44, at(400), None),
        ],
    ),
    Answer(
        "new_destinations",
        WINDOW,
        [
            ("10.0.0.9", True, None, 1, 5, 500, 1, 1, at(864300), at(864310)),
            ("203.0.113.2", False, "S3", 2, 5, 500, 2, 2, at(864150), at(864210)),
            ("203.0.113.6", False, None, 1, 0, 0, 1, 0, None, None),
        ],
        history=BEFORE,
    ),
    Answer(
        "new_destinations",
        WINDOW,
        [
            ("10.0.0.8", True, None, 1, 9, 900, 1, 1, at(864400), at(864410)),
            ("10.0.0.9", True, None, 1, 5, 500, 1, 1, at(864300), at(864310)),
            ("203.0.113.6", True, None, 1, 0, 0, 1, 0, None, None),
        ],
        {"internal": OUTSIDE, "days": 8},
        BEFORE,
    ),
    Answer(
        "new_destinations",
        WINDOW,
        [("203.0.113.3", False, None, 1, 1, 40, 1, 1, at(864000), at(864001))],
        {"action": "REJECT"},
        BEFORE,
    ),
    Answer(
        "new_destinations",
        WINDOW,
        [("10.0.0.9", True, None, 1, 5, 500, 1, 1, at(864300), at(864310))],
        {"days": 2**32 - 1, "top": 1},
        BEFORE,
    ),
    Answer(
        "new_destinations",
        UNDATED,
        [("203.0.113.6", False, None, 1, 2, 200, 1, 1, None, at(864210))],
        history=BEFORE,
    ),
]
