"""What machines do by themselves: all the time, at regular times, at night, in runs."""

from typing import Any

import numpy as np
import polars as pl

from flowlake.attacks.drawing import INTERNET, Draw
from flowlake.attacks.estates import HOSTS, PRIVATE, ROLES, ipv4
from flowlake.attacks.recording import AT_SERVER, FIN, RST, SYN, SYN_ACK

_S3 = ipv4("52.216.0.0")
_HOUR = 3600


def health_checks(draw: Draw) -> pl.DataFrame:
    """Each balancer checks each target again and again; one in some 23 is down for an hour."""
    web = ROLES["web"]
    which, when = draw.pollers(len(draw.estate.flow_logs) * 2 * len(web))
    network = which // (2 * len(web)) * HOSTS
    target = network + np.array(web)[which // 2 % len(web)]
    checks = draw.made(
        client_at=network + which % 2,
        server_at=target,
        client_port=draw.whole(1024, 65_536),
        server_port=8080,
        start=when,
        lasted=0.03,
        **draw.tcp(120, 240, 0.1),
    )
    return _failing(checks, refusing=(target * 31 + draw.begins // _HOUR * 17) % 23 == 0)


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


def pools(draw: Draw) -> pl.DataFrame:
    """Connections that were opened long ago: the same ones in every hour."""
    each = np.arange(draw.size)
    count = len(draw.estate.flow_logs)
    networks = each % count * HOSTS
    packets = draw.random.lognormal(np.log(4_000), 0.7, draw.size).astype(np.int64)
    return draw.made(
        client_at=networks + 16 + each // count % 8,
        server_at=networks + 44 + each // count // 8 % 2,
        client_port=33_000 + each * 97 % 27_000,
        server_port=5432,
        start=draw.begins,
        lasted=_HOUR - 1.0,
        packets=packets,
        bytes=packets * 160,
        reply_packets=packets,
        reply_bytes=packets * 700,
    )


def dns(draw: Draw) -> pl.DataFrame:
    """Questions to the network's own resolver."""
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


def resolving(draw: Draw) -> pl.DataFrame:
    """The resolver's questions to the internet; a few are not answered."""
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


def ntp(draw: Draw) -> pl.DataFrame:
    """Each host asks its time server at regular times: to the internet, like a beacon."""
    hosts = draw.estate.all_of("legacy")
    which, when = draw.pollers(len(hosts))
    return draw.made(
        client_at=hosts[which],
        server=INTERNET + 65_000 + which % 4,
        client_port=123,
        server_port=123,
        protocol=17,
        start=when,
        bytes=76,
        reply_packets=1,
        reply_bytes=76,
    )


def monitoring(draw: Draw) -> pl.DataFrame:
    """Polls of every private host; some have been gone for long, and nobody told the monitor."""
    hosts = draw.estate.hosts((*PRIVATE, 8, 9))
    which, when = draw.pollers(len(hosts))
    gone = ~draw.estate.there[hosts[which]]
    port = np.array((9100, 9100, 9100, 22, 443))[which % 5]
    polls = draw.made(
        client_at=hosts[which] // HOSTS * HOSTS + ROLES["monitor"][0],
        server_at=np.where(gone, -1, hosts[which]),
        server=draw.estate.address[hosts[which]],
        client_port=draw.ephemeral(),
        server_port=port,
        start=when,
        lasted=0.3,
        **draw.tcp(180, 24_000, 0.3),
    )
    return _failing(polls, refusing=(hosts[which] * 13 + port) % 11 == 0, gone=gone)


def backups(draw: Draw) -> pl.DataFrame:
    """Databases to the backup host, and on to S3: gigabytes that are no theft."""
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


def ansible(draw: Draw) -> pl.DataFrame:
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


def late(draw: Draw) -> pl.DataFrame:
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


def traceroutes(draw: Draw) -> pl.DataFrame:
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
