"""What the internet sends to every public address, unasked.

Most sources send one packet to one port and are not seen again. Some come back for more ports or
more addresses, a few for hundreds: how many is drawn from what a cloud server saw of 14,969 sources
in 72 hours (6.2 % touched at least 5 of its ports, 1.5 % 15, 0.35 % 50, 0.19 % 100).
"""

from typing import Any

import numpy as np
import polars as pl

from flowlake.attacks.estates import HOSTS, PUBLIC, ROLES, Estate, Numbers, ipv4
from flowlake.attacks.recording import AT_SERVER, FIN, SYN, SYN_ACK, talks

_SOURCES = ipv4("198.18.0.0")
_MANY = 240 * 256
"""Addresses that sources have; what is above is left to ``flowlake.attacks.scenes``."""

_MORE = ipv4("240.0.0.0")
"""Reserved for good (RFC 1112, section 4): where sources are if there are more."""

_SPAN = 72 * 3600

_PORTS = (
    (1, 1),
    (2, 0.2),
    (5, 0.062),
    (10, 0.0228),
    (15, 0.0152),
    (25, 0.0089),
    (50, 0.0035),
    (100, 0.0019),
    (400, 0.0002),
)
"""A number of ports of one address, and the share of sources that touch at least as many."""

POPULAR = np.array(
    [
        *(23, 22, 8080, 443, 80, 3389, 445, 5060, 8443, 2323, 6379, 1433, 5900, 3306, 81, 8088),
        *(5555, 123, 161, 53, 2375, 9200, 11211, 25, 21, 5432, 27017, 8888, 8000, 7547, 3128),
        *(1080, 5985, 10250, 2222, 8728, 37215, 52869, 1900, 389, 5038, 4444, 9000, 1723, 9090),
        *(111, 873, 6443),
    ]
)
"""Ports that the internet asks for, the most popular first."""

_UDP = (123, 161, 53, 1900, 389, 5060, 11211, 111)


def radiation(
    random: np.random.Generator, estate: Estate, begins: int, ends: int, records: float
) -> pl.DataFrame:
    """Draw the conversations of all sources between two moments (Unix time), ordered by start.

    About ``records`` records come of it. Nothing is a labelled attack yet.
    """
    targets = estate.hosts(PUBLIC)
    # A source is active for up to three days, so some were there before the beginning.
    window = ends - begins
    count = max(8, int(records / 8.5 * (1 + _SPAN / 4 / window)))
    share = 1 - random.random(count)
    numbers, shares = np.array(_PORTS).T
    ports = np.exp(np.interp(np.log(share), np.log(shares[::-1]), np.log(numbers[::-1])))
    ports = ports.astype(np.int64)
    hosts = np.where(
        random.random(count) < 0.03,
        random.integers(1, len(targets) + 1, count),
        random.geometric(0.6, count),
    ).clip(1, np.where(ports >= 50, 6, len(targets)))
    one = (ports == 1) & (hosts == 1)
    span = np.where(one, 0, random.lognormal(np.log(8 * 3600), 1.6, count).clip(5, _SPAN))
    first = begins - span + random.random(count) * (window + span)
    favourite = (random.random(count) < 0.8) | (ports == 1)
    source = np.repeat(np.arange(count), ports * hosts)
    within = np.arange(len(source)) - np.repeat(
        np.cumsum(ports * hosts) - ports * hosts, ports * hosts
    )
    # Ports popular by Zipf's law, one after the other from where a source begins; some like any.
    start = (len(POPULAR) ** random.random(count)).astype(np.int64) - 1
    nth = within // hosts[source]
    popular = POPULAR[(start[source] + nth) % len(POPULAR)]
    anywhere = 1 + (source * 7_919 + nth * 40_503) % 65_000
    port = np.where(favourite[source] & (nth < len(POPULAR)), popular, anywhere)
    target = targets[(source * 31 + within % hosts[source]) % len(targets)]
    when = first[source] + span[source] * random.random(len(source))
    kept = np.flatnonzero((when >= begins) & (when < ends))
    kept = kept[np.argsort(when[kept], kind="stable")]
    return _arriving(random, source[kept], target[kept], port[kept], when[kept])


def _arriving(
    random: np.random.Generator, source: Numbers, target: Numbers, port: Numbers, when: Any
) -> pl.DataFrame:
    """Probes: what is open answers a little, the security group refuses the rest."""
    count = len(source)
    services = (("balancer", (80, 443)), ("legacy", (80,)), ("bastion", (22,)))
    is_open = np.zeros(count, bool)
    for role, ports in services:
        is_open |= np.isin(target % HOSTS, ROLES[role]) & np.isin(port, ports)
    udp = np.isin(port, _UDP) & ~is_open
    tries = np.where(is_open, 5, 1 + (source % 13 == 0))
    return talks(
        count,
        client=np.where(
            source < _MANY, _SOURCES + source * 40_507 % _MANY, _MORE + source * 40_507 % 2**28
        ),
        server_at=target,
        client_port=np.where(
            source % 3 == 0, 40_000 + source % 20_000, random.integers(1024, 65_536, count)
        ),
        server_port=port,
        protocol=np.where(udp, 17, 6),
        start=when,
        lasted=(tries - 1) * 0.7,
        packets=tries,
        bytes=np.where(is_open, 420, tries * np.where(udp, 60 + source % 90, 40 + source % 6 * 4)),
        reply_packets=np.where(is_open, 4, 0),
        reply_bytes=np.where(is_open, 900, 0),
        flags=np.where(udp, 0, np.where(is_open, SYN | FIN, SYN)),
        reply_flags=np.where(is_open, SYN_ACK | FIN, 0),
        refused=np.where(is_open, 0, AT_SERVER),
    )
