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
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from flowlake.attacks.estates import HOSTS, PRIVATE, Estate, Numbers, ipv4
from flowlake.attacks.recording import AT_SERVER, FIN, RST, SYN, SYN_ACK, talks

_INTERNET = ipv4("198.19.0.0")
_S3 = ipv4("52.216.0.0")
_HOUR = 3600


class _Draw:
    """The random numbers of one kind in one hour: ``size`` conversations."""

    def __init__(self, random: np.random.Generator, estate: Estate, begins: int, size: int) -> None:
        self.random, self.estate, self.begins, self.size = random, estate, begins, size
        self.networks: Numbers = random.integers(0, len(estate.flow_logs), size)

    def at(self, role: str) -> Numbers:
        return self.estate.at(self.random, role, self.networks)

    def whole(self, low: int, high: int) -> Numbers:
        return self.random.integers(low, high, self.size)

    def when(self, within: float = _HOUR) -> Any:
        return self.begins + self.random.random(self.size) * within

    def lasting(self, seconds: float, spread: float = 1.0) -> Any:
        return self.random.lognormal(np.log(seconds), spread, self.size).clip(0.01, 1800)

    def ephemeral(self) -> Numbers:
        return self.whole(32_768, 61_000)

    def outside(self, many: int, salt: int = 0) -> Numbers:
        """Addresses on the internet, the nth of which is there 1/n as often as the first."""
        rank = (many ** self.random.random(self.size)).astype(np.int64)
        return _INTERNET + (rank * 40_503 + salt * 7_919) % 2**16

    def tcp(self, sent: float, received: float, spread: float = 1.6) -> dict[str, Any]:
        """A connection that opened and closed; medians of what was said, in bytes."""
        out = self.random.lognormal(np.log(sent), 0.8, self.size).astype(np.int64)
        back = self.random.lognormal(np.log(received), spread, self.size).clip(0, 4e9)
        back = back.astype(np.int64)
        packets = 4 + out // 1400 + back // 2900
        replies = 4 + back // 1400 + out // 2900
        reset = np.where(self.random.random(self.size) < 0.08, RST, 0)
        return {
            "packets": packets,
            "bytes": out + 52 * packets + 8,
            "reply_packets": replies,
            "reply_bytes": back + 52 * replies + 8,
            "flags": SYN | FIN | reset,
            "reply_flags": SYN_ACK | FIN,
        }

    def made(self, **columns: Any) -> pl.DataFrame:
        return talks(self.size, **columns)


def _web(draw: _Draw) -> pl.DataFrame:
    return draw.made(
        client=draw.outside(20_000),
        server_at=draw.at("balancer"),
        client_port=draw.whole(1024, 65_536),
        server_port=np.where(draw.random.random(draw.size) < 0.12, 80, 443),
        start=draw.when(),
        lasted=draw.lasting(4),
        **draw.tcp(900, 9_000, 1.9),
    )


def _behind_balancer(draw: _Draw) -> pl.DataFrame:
    return draw.made(
        client_at=draw.at("balancer"),
        server_at=draw.at("web"),
        client_port=draw.whole(1024, 65_536),
        server_port=8080,
        start=draw.when(),
        lasted=draw.lasting(20),
        **draw.tcp(1_500, 14_000),
    )


def _health_checks(draw: _Draw) -> pl.DataFrame:
    web = draw.at("web")
    checks = draw.made(
        client_at=draw.at("balancer"),
        server_at=web,
        client_port=draw.whole(1024, 65_536),
        server_port=8080,
        start=draw.when(),
        lasted=0.03,
        **draw.tcp(120, 240, 0.1),
    )
    down = (web * 31 + draw.begins // _HOUR * 17) % 23 == 0
    return _failing(checks, refusing=down)


def _failing(polls: pl.DataFrame, refusing: Any = False, gone: Any = False) -> pl.DataFrame:
    """Some ports are closed, and answer with a reset; some hosts are gone, and do not answer."""
    polls = polls.with_columns(
        refusing=pl.lit(pl.Series(np.broadcast_to(refusing, polls.height))),
        gone=pl.lit(pl.Series(np.broadcast_to(gone, polls.height))),
    )
    values = {
        "packets": (1, 3),
        "bytes": (60, 180),
        "reply_packets": (1, 0),
        "reply_bytes": (40, 0),
        "flags": (SYN, SYN),
        "reply_flags": (RST, 0),
        "lasted": (0.0, 3.0),
    }
    return polls.with_columns(
        pl.when("gone").then(silent).when("refusing").then(closed).otherwise(name).alias(name)
        for name, (closed, silent) in values.items()
    ).drop("refusing", "gone")


def _outbound(draw: _Draw) -> pl.DataFrame:
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


def _pools(draw: _Draw) -> pl.DataFrame:
    """Connections that were opened long ago: the same ones in every hour."""
    each = np.arange(draw.size)
    networks = each % len(draw.estate.flow_logs) * HOSTS
    packets = draw.random.lognormal(np.log(4_000), 0.7, draw.size).astype(np.int64)
    return draw.made(
        client_at=networks + 16 + each // 4 % 8,
        server_at=networks + 44 + each // 32 % 2,
        client_port=33_000 + each * 97 % 27_000,
        server_port=5432,
        start=draw.begins,
        lasted=_HOUR - 1.0,
        packets=packets,
        bytes=packets * 160,
        reply_packets=packets,
        reply_bytes=packets * 700,
    )


def _dns(draw: _Draw) -> pl.DataFrame:
    return draw.made(
        client_at=np.where(draw.whole(0, 4) == 0, draw.at("web"), draw.at("app")),
        server_at=draw.at("resolver"),
        client_port=draw.whole(1024, 65_536),
        server_port=53,
        protocol=17,
        start=draw.when(),
        lasted=0.05,
        bytes=draw.whole(56, 90),
        reply_packets=1,
        reply_bytes=draw.whole(80, 420),
    )


def _resolving(draw: _Draw) -> pl.DataFrame:
    answered = draw.random.random(draw.size) < 0.97
    return draw.made(
        client_at=draw.at("resolver"),
        via=draw.at("nat"),
        server=draw.outside(600, salt=2),
        client_port=draw.whole(1024, 65_536),
        server_port=53,
        protocol=17,
        start=draw.when(),
        lasted=0.1,
        bytes=draw.whole(60, 100),
        reply_packets=answered,
        reply_bytes=answered * draw.whole(90, 500),
    )


def _ntp(draw: _Draw) -> pl.DataFrame:
    return draw.made(
        client_at=draw.at("legacy"),
        server=draw.outside(8, salt=3),
        client_port=123,
        server_port=123,
        protocol=17,
        start=draw.when(),
        bytes=76,
        reply_packets=1,
        reply_bytes=76,
    )


def _monitoring(draw: _Draw) -> pl.DataFrame:
    """Polls of every private host; some have been gone for long, and nobody told the monitor."""
    hosts = draw.networks * HOSTS + draw.random.choice((*PRIVATE, 8, 9), draw.size)
    gone = ~draw.estate.there[hosts]
    polls = draw.made(
        client_at=draw.at("monitor"),
        server_at=np.where(gone, -1, hosts),
        server=draw.estate.address[hosts],
        client_port=draw.ephemeral(),
        server_port=draw.random.choice((9100, 9100, 9100, 22, 443), draw.size),
        start=draw.when(),
        lasted=0.3,
        **draw.tcp(180, 24_000, 0.3),
    )
    closed = (hosts * 13 + polls["server_port"].to_numpy()) % 11 == 0
    return _failing(polls, refusing=closed, gone=gone)


def _backups(draw: _Draw) -> pl.DataFrame:
    to_s3 = draw.whole(0, 3) == 0
    size = draw.random.lognormal(np.log(4e8), 1.2, draw.size).clip(1e6, 2e10).astype(np.int64)
    packets = size // 1400
    database = draw.at("database")
    return draw.made(
        client_at=np.where(to_s3, draw.at("backup"), database),
        server_at=np.where(to_s3, -1, draw.at("backup")),
        server=_S3 + draw.whole(0, 64) * 257,
        client_port=draw.ephemeral(),
        server_port=np.where(to_s3, 443, 22),
        start=draw.when(),
        lasted=draw.lasting(240),
        packets=packets,
        bytes=size,
        reply_packets=packets // 2 + 1,
        reply_bytes=(packets // 2 + 1) * 52,
        flags=SYN | FIN,
        reply_flags=SYN_ACK | FIN,
    )


def _clones(draw: _Draw) -> pl.DataFrame:
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


def _ansible(draw: _Draw) -> pl.DataFrame:
    """A run over all private hosts within ten minutes: many short sessions over ssh."""
    return draw.made(
        client_at=draw.at("builder"),
        server_at=draw.networks * HOSTS + draw.random.choice(PRIVATE, draw.size),
        client_port=draw.ephemeral(),
        server_port=22,
        start=draw.when(600),
        lasted=draw.lasting(8, 0.6),
        **draw.tcp(9_000, 7_000, 0.8),
    )


def _legacy(draw: _Draw) -> pl.DataFrame:
    return draw.made(
        client=draw.outside(4_000, salt=5),
        server_at=draw.at("legacy"),
        client_port=draw.whole(1024, 65_536),
        server_port=80,
        start=draw.when(),
        lasted=draw.lasting(3),
        **draw.tcp(500, 6_000, 1.8),
    )


def _admins(draw: _Draw) -> pl.DataFrame:
    return draw.made(
        client=draw.outside(6, salt=6),
        server_at=draw.at("bastion"),
        client_port=draw.whole(49_152, 65_536),
        server_port=22,
        start=draw.when(),
        lasted=draw.lasting(600),
        **draw.tcp(30_000, 120_000),
    )


def _peers(draw: _Draw) -> pl.DataFrame:
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


def _late(draw: _Draw) -> pl.DataFrame:
    """Packets that come after the connection is gone: refused, from a service's port."""
    packets = draw.whole(1, 4)
    return draw.made(
        client=draw.outside(2_000, salt=1),
        server_at=np.where(draw.whole(0, 2) == 0, draw.at("phone"), draw.at("legacy")),
        client_port=draw.random.choice((443, 443, 443, 80), draw.size),
        server_port=draw.ephemeral(),
        start=draw.when(),
        lasted=packets * 0.4,
        packets=packets,
        bytes=packets * draw.random.choice((40, 52), draw.size),
        flags=draw.random.choice((0, FIN, RST), draw.size),
        refused=AT_SERVER,
    )


def _traceroutes(draw: _Draw) -> pl.DataFrame:
    """Ninety UDP packets each, on a port of its own; only the last hop would answer with UDP."""
    route = np.arange(draw.size) // 90
    return draw.made(
        client_at=draw.networks[route] // 1 * HOSTS + 55,
        server=draw.outside(500, salt=8)[route],
        client_port=draw.ephemeral()[route],
        server_port=33_434 + np.arange(draw.size) % 90,
        protocol=17,
        start=draw.when()[route] + np.arange(draw.size) % 90 * 0.2,
        bytes=60,
    )


def _pings(draw: _Draw) -> pl.DataFrame:
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
    """``share`` of everyday records in a mean hour; ``seen``, records of one conversation."""

    draw: Callable[[_Draw], pl.DataFrame]
    share: float
    seen: float
    rhythm: str = "always"


_KINDS = (
    _Kind(_web, 30, 2.2, "people"),
    _Kind(_behind_balancer, 14, 5, "people"),
    _Kind(_health_checks, 6, 4),
    _Kind(_outbound, 16, 7, "people"),
    _Kind(_pools, 9, 132),
    _Kind(_dns, 6, 4, "people"),
    _Kind(_resolving, 1.5, 6, "people"),
    _Kind(_ntp, 1, 2),
    _Kind(_monitoring, 4, 4),
    _Kind(_backups, 1.2, 16, "night"),
    _Kind(_clones, 0.8, 6, "people"),
    _Kind(_ansible, 1.2, 4.5, "runs"),
    _Kind(_legacy, 4, 2.1, "people"),
    _Kind(_admins, 0.4, 12, "people"),
    _Kind(_peers, 1.6, 3.5, "people"),
    _Kind(_late, 2, 1),
    _Kind(_traceroutes, 0.4, 1),
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
        # What is there all the time does not vary.
        size = round(mean) if kind.draw is _pools else int(random.poisson(mean))
        drawn.append(kind.draw(_Draw(random, estate, begins, size)))
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
