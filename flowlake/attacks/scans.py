"""Scans and sweeps, as nmap, masscan and worms do them: loud, slow, distributed, or allowed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from flowlake.attacks.drawing import INTERNET
from flowlake.attacks.estates import HOSTS, PUBLIC, ROLES, dotted, ipv4
from flowlake.attacks.recording import AT_CLIENT, AT_SERVER, RST, SYN, SYN_ACK, talks
from flowlake.attacks.scenes import Planted, Scene

_ONE_NETWORK = ipv4("198.51.100.0")
_OPEN = (22, 80, 443, 5432, 8080, 9100)


def _probed(
    count: int, port: Any, *, protocol: int = 6, answer: str = "refused", **columns: Any
) -> pl.DataFrame:
    """Single probes. ``answer``: refused, nothing, reset (SYN scan), or connect (whole handshake).

    Of the last two, closed ports send RST.
    """
    ports = np.broadcast_to(port, count)
    answers = answer in ("reset", "connect") and protocol == 6
    is_open = np.isin(ports, _OPEN) & answers
    syn = 44 if answer == "reset" else 60
    whole = is_open & (answer == "connect")
    values = {
        "packets": np.where(whole, 3, np.where(is_open, 2, 1)),
        "bytes": np.where(whole, syn + 104, np.where(is_open, syn + 40, syn)),
        "flags": np.where(is_open, SYN | RST, SYN) * (protocol == 6),
        "reply_packets": np.where(answers, 1, 0),
        "reply_bytes": np.where(is_open, syn, 40) * answers,
        "reply_flags": np.where(is_open, SYN_ACK, RST) * answers,
        "refused": AT_SERVER if answer == "refused" else 0,
    }
    return talks(
        count, **{"server_port": ports, "protocol": protocol, "lasted": 0.05, **values, **columns}
    )


def _port_scans(scene: Scene) -> Iterator[Planted]:
    shapes = (
        ("SYN", "refused", "top", 1000, 30.0, True),
        ("SYN", "refused", "random", 3000, 600.0, True),
        ("SYN", "reset", "top", 1000, 20.0, False),
        ("connect", "connect", "top", 100, 90.0, False),
        ("UDP", "refused", "top", 200, 400.0, True),
        ("SYN", "refused", "top", 100, 3000.0, True),
    )
    for how, answer, which, count, lasting, constant in shapes:
        source, target = scene.outsider(), scene.host("legacy", "phone", "bastion")
        same = constant and scene.random.random() < 0.6
        yield Planted(
            "port_scan",
            dotted(source),
            scene.name(target),
            f"{how} scan of {count:,} {which} ports in {lasting:,.0f} s, "
            + ("refused" if answer == "refused" else "answered with RST")
            + (", from one port" if same else ""),
            _probed(
                count,
                scene.ports(which, count),
                protocol=17 if how == "UDP" else 6,
                answer=answer,
                client=source,
                server_at=target,
                client_port=int(scene.ephemeral(1)[0]) if same else scene.ephemeral(count),
                start=scene.moments(count, lasting),
            ),
        )
    source = scene.host("app")
    target = scene.host("database", "monitor", near=source)
    yield Planted(
        "port_scan",
        scene.name(source),
        scene.name(target),
        "SYN scan of 1,000 ports by an inside host, answered with RST",
        _probed(
            1000,
            scene.ports("top", 1000),
            answer="reset",
            client_at=source,
            server_at=target,
            client_port=scene.ephemeral(1000),
            start=scene.moments(1000, 60),
        ),
    )


def _distributed_scans(scene: Scene) -> Iterator[Planted]:
    for who, sources, ports, lasting in (
        (
            "198.51.100.0/24",
            _ONE_NETWORK + scene.random.permutation(np.arange(1, 255))[:30],
            1000,
            1800.0,
        ),
        (None, scene.unrelated(40), 400, 5400.0),
    ):
        target = scene.host("legacy", "phone")
        yield Planted(
            "port_scan",
            who,
            scene.name(target),
            f"SYN scan of {ports:,} ports, distributed over {len(sources)} "
            + ("sources of a /24" if who else "unrelated sources")
            + ", refused",
            _probed(
                ports,
                scene.ports("top", ports),
                client=scene.random.choice(sources, ports),
                server_at=target,
                client_port=scene.ephemeral(ports),
                start=scene.moments(ports, lasting),
            ),
        )


def _slow_scans(scene: Scene) -> Iterator[Planted]:
    hours = scene.seconds / 3600
    for answer, inside in (
        ("refused", False),
        ("reset", False),
        ("refused", False),
        ("reset", True),
    ):
        count = int(hours * 0.85 * scene.random.uniform(3, 12))
        if count < 20:
            continue
        source = scene.host("app", "web") if inside else scene.outsider()
        target = scene.host(
            *(("database", "monitor") if inside else ("legacy", "phone")),
            near=source if inside else None,
        )
        side: dict[str, Any] = {"client_at": source} if inside else {"client": source}
        yield Planted(
            "slow_scan",
            scene.name(source) if inside else dotted(source),
            scene.name(target),
            f"{count} ports, {count / hours / 0.85:.1f} an hour, "
            + ("refused" if answer == "refused" else "answered with RST"),
            _probed(
                count,
                scene.ports("top" if scene.random.random() < 0.5 else "random", count),
                answer=answer,
                server_at=target,
                client_port=scene.ephemeral(count),
                start=scene.moments(count, scene.seconds),
                **side,
            ),
        )


def _host_sweeps(scene: Scene) -> Iterator[Planted]:
    public = scene.estate.hosts(PUBLIC)
    for ports, lasting in (((3389,), 120.0), ((445, 139), 900.0), ((6379, 2375, 9200), 2400.0)):
        source = scene.outsider()
        hosts, port = (grid.ravel() for grid in np.meshgrid(public, ports))
        order = scene.random.permutation(len(hosts))
        yield Planted(
            "host_sweep",
            dotted(source),
            None,
            f"{len(public)} public addresses on {', '.join(map(str, ports))}, refused",
            _probed(
                len(hosts),
                port[order],
                client=source,
                server_at=hosts[order],
                client_port=scene.ephemeral(len(hosts)),
                start=scene.moments(len(hosts), lasting),
            ),
        )


def _inside_sweeps(scene: Scene) -> Iterator[Planted]:
    for port, lasting in ((445, 300.0), (22, 3000.0)):
        source = scene.host("app", "web")
        first = scene.estate.address[source] & ~0xFF
        addresses = first + scene.random.permutation(254) + 1
        ours = {int(scene.estate.address[at]): int(at) for at in scene.neighbours(source)}
        at = np.array([ours.get(int(address), -1) for address in addresses])
        count = len(addresses)
        probes = _probed(
            count,
            port,
            answer="reset",
            client_at=source,
            server_at=at,
            server=addresses,
            client_port=scene.ephemeral(count),
            start=scene.moments(count, lasting),
        )
        unheard = pl.col("server_at") < 0
        yield Planted(
            "host_sweep",
            scene.name(source),
            f"{dotted(first)}/24",
            f"254 addresses of a subnet on {port} by an inside host; most are not there",
            probes.with_columns(
                pl.when(unheard).then(0).otherwise(name).alias(name)
                for name in ("reply_packets", "reply_bytes", "reply_flags")
            ),
        )
    source, count = scene.host("app"), 1200
    answers = scene.random.random(count) < 0.12
    yield Planted(
        "host_sweep",
        scene.name(source),
        None,
        f"{count:,} addresses of the internet on 23 by an inside host, as a worm does"
        + scene.by_way_of(source),
        talks(
            count,
            client_at=source,
            via=scene.way_out(source),
            server=INTERNET + scene.random.choice(2**16, count, replace=False),
            client_port=scene.ephemeral(count),
            server_port=np.where(scene.random.random(count) < 0.9, 23, 2323),
            start=scene.moments(count, 1500),
            lasted=np.where(answers, 0.1, 1.0),
            packets=np.where(answers, 1, 2),
            bytes=np.where(answers, 60, 120),
            flags=SYN,
            reply_packets=answers,
            reply_bytes=answers * 40,
            reply_flags=answers * RST,
        ),
    )
    source, count = scene.host("app"), 600
    yield Planted(
        "host_sweep",
        scene.name(source),
        None,
        f"{count} addresses of the internet on 445 by an inside host; its security group refuses",
        talks(
            count,
            client_at=source,
            server=INTERNET + scene.random.choice(2**16, count, replace=False),
            client_port=scene.ephemeral(count),
            server_port=445,
            start=scene.moments(count, 900),
            bytes=60,
            flags=SYN,
            refused=AT_CLIENT,
        ),
    )


def _vulnerability_scanner(scene: Scene) -> Iterator[Planted]:
    scanner = int(scene.random.choice(scene.estate.all_of("scanner")))
    hosts, port = (
        grid.ravel() for grid in np.meshgrid(scene.neighbours(scanner), scene.ports("top", 100))
    )
    kept = (hosts != scanner) & ~np.isin(hosts % HOSTS, ROLES["legacy"])
    hosts, port = hosts[kept], port[kept]
    yield Planted(
        "allowed",
        scene.name(scanner),
        f"{dotted(scene.estate.address[scanner] & ~0xFFF)}/20",
        "a vulnerability scanner of our own: 100 ports of every host",
        _probed(
            len(hosts),
            port,
            answer="connect",
            client_at=scanner,
            server_at=hosts,
            client_port=scene.ephemeral(len(hosts)),
            start=scene.moments(len(hosts), 3600),
        ),
    )


def scans(scene: Scene) -> Iterator[Planted]:
    """Draw one of each: port scans, slow ones too, host sweeps, and a scanner that may."""
    for plant in (
        _port_scans,
        _distributed_scans,
        _slow_scans,
        _host_sweeps,
        _inside_sweeps,
        _vulnerability_scanner,
    ):
        yield from plant(scene)
