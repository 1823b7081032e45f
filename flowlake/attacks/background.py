"""Everyday traffic of an estate, hour by hour: what a rule must not take for an attack.

Each kind is drawn with its share of the records. People follow the clock and rest at the weekend;
machines do not. Few talkers have most of the traffic. Much of it resembles an attack on purpose: a
monitor that polls hosts which are down, health checks of a target that is down, Ansible and CI over
ssh, peers on thousands of ports, traceroutes, late packets that are refused, backups at night.

What the internet sends unasked is in ``flowlake.attacks.radiation``.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from math import cos, pi
from typing import NamedTuple

import numpy as np
import polars as pl

from flowlake.attacks.drawing import Draw
from flowlake.attacks.estates import Estate
from flowlake.attacks.machines import (
    ansible,
    backups,
    dns,
    health_checks,
    late,
    monitoring,
    ntp,
    pools,
    resolving,
    traceroutes,
)


def _web(draw: Draw) -> pl.DataFrame:
    return draw.made(
        client=draw.outside(20_000),
        server_at=draw.at("balancer"),
        client_port=draw.whole(1024, 65_536),
        server_port=np.where(draw.random.random(draw.size) < 0.12, 80, 443),
        start=draw.when(),
        lasted=draw.lasting(4),
        **draw.tcp(900, 9_000, 1.9),
    )


def _behind_balancer(draw: Draw) -> pl.DataFrame:
    return draw.made(
        client_at=draw.at("balancer"),
        server_at=draw.at("web"),
        client_port=draw.whole(1024, 65_536),
        server_port=8080,
        start=draw.when(),
        lasted=draw.lasting(20),
        **draw.tcp(1_500, 14_000),
    )


def _outbound(draw: Draw) -> pl.DataFrame:
    return draw.made(
        client_at=draw.at("app"),
        via=draw.at("nat"),
        server=draw.outside(8_000, salt=1),
        client_port=draw.ephemeral(),
        server_port=np.where(draw.random.random(draw.size) < 0.06, 80, 443),
        start=draw.when(),
        lasted=draw.lasting(6, 1.4),
        **draw.tcp(1_800, 7_000, 1.8),
    )


def _clones(draw: Draw) -> pl.DataFrame:
    return draw.made(
        client_at=draw.at("builder"),
        via=draw.at("nat"),
        server=draw.outside(4, salt=4),
        client_port=draw.ephemeral(),
        server_port=22,
        start=draw.when(),
        lasted=draw.lasting(5),
        **draw.tcp(4_500, 90_000, 1.8),
    )


def _legacy(draw: Draw) -> pl.DataFrame:
    return draw.made(
        client=draw.outside(4_000, salt=5),
        server_at=draw.at("legacy"),
        client_port=draw.whole(1024, 65_536),
        server_port=80,
        start=draw.when(),
        lasted=draw.lasting(3),
        **draw.tcp(500, 6_000, 1.8),
    )


def _admins(draw: Draw) -> pl.DataFrame:
    return draw.made(
        client=draw.outside(6, salt=6),
        server_at=draw.at("bastion"),
        client_port=draw.whole(49_152, 65_536),
        server_port=22,
        start=draw.when(),
        lasted=draw.lasting(600),
        **draw.tcp(30_000, 120_000),
    )


def _peers(draw: Draw) -> pl.DataFrame:
    """Calls and file sharing: UDP from one port to peers on any port; some are not there."""
    answered = draw.random.random(draw.size) < 0.7
    packets = np.where(answered, draw.random.lognormal(3, 1.5, draw.size), 2).astype(np.int64) + 1
    return draw.made(
        client_at=draw.at("phone"),
        server=draw.outside(30_000, salt=7),
        client_port=6881,
        server_port=draw.whole(1024, 65_536),
        protocol=17,
        start=draw.when(),
        lasted=draw.lasting(30),
        packets=packets,
        bytes=packets * draw.whole(100, 1_200),
        reply_packets=packets * answered,
        reply_bytes=packets * answered * draw.whole(100, 1_200),
    )


def _pings(draw: Draw) -> pl.DataFrame:
    return draw.made(
        client=draw.outside(300, salt=9),
        server_at=draw.at("legacy"),
        protocol=1,
        start=draw.when(),
        lasted=3.0,
        packets=4,
        bytes=336,
        reply_packets=4,
        reply_bytes=336,
    )


class _Kind(NamedTuple):
    """``share`` of everyday records in a mean hour; ``seen``, records of one conversation.

    Machines do the same in each hour.
    """

    draw: Callable[[Draw], pl.DataFrame]
    share: float
    seen: float
    rhythm: str = "always"


_KINDS = (
    _Kind(_web, 30, 2.2, "people"),
    _Kind(_behind_balancer, 14, 5, "people"),
    _Kind(health_checks, 6, 4, "machines"),
    _Kind(_outbound, 16, 7, "people"),
    _Kind(pools, 9, 132, "machines"),
    _Kind(dns, 6, 4, "people"),
    _Kind(resolving, 1.5, 6, "people"),
    _Kind(ntp, 1, 2, "machines"),
    _Kind(monitoring, 4, 4, "machines"),
    _Kind(backups, 1.2, 16, "night"),
    _Kind(_clones, 0.8, 6, "people"),
    _Kind(ansible, 1.2, 4.5, "runs"),
    _Kind(_legacy, 4, 2.1, "people"),
    _Kind(_admins, 0.4, 12, "people"),
    _Kind(_peers, 1.6, 3.5, "people"),
    _Kind(late, 2, 1),
    _Kind(traceroutes, 0.4, 1),
    _Kind(_pings, 0.4, 2),
)
_ALL = sum(kind.share for kind in _KINDS)


def everyday(
    random: np.random.Generator, estate: Estate, begins: int, records: float
) -> pl.DataFrame:
    """Draw the conversations of an hour.

    Args:
        random: where they are drawn from.
        estate: whose they are.
        begins: the hour's start, Unix time.
        records: how many records they leave in a mean hour, all flow logs together, about.
    """
    drawn = []
    for kind in _KINDS:
        mean = records * kind.share / _ALL / kind.seen * _rhythm(kind.rhythm, begins)
        size = round(mean) if kind.rhythm == "machines" else int(random.poisson(mean))
        drawn.append(kind.draw(Draw(random, estate, begins, size)))
    return pl.concat(drawn)


def _rhythm(rhythm: str, begins: int) -> float:
    """How much busier than in a mean hour; people are busiest at 14:00 UTC of working days."""
    moment = datetime.fromtimestamp(begins, UTC)
    if rhythm == "people":
        return (1 + 0.75 * cos((moment.hour - 14) / 12 * pi)) * (
            0.5 if moment.weekday() >= 5 else 1
        )
    if rhythm == "night":
        return 8.0 if 1 <= moment.hour < 4 else 0.0
    if rhythm == "runs":
        return 6.0 if moment.hour % 6 == 3 else 0.0
    return 1.0
