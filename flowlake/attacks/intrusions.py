"""What comes after scans: logins, implants that report, uploads, silence, floods of REJECT."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from flowlake.attacks.estates import HOSTS, dotted
from flowlake.attacks.recording import AT_SERVER, FIN, LATE, SYN, SYN_ACK, Silence, talks
from flowlake.attacks.scenes import KEPT_SILENT, Planted, Scene


def _logins(scene: Scene, count: int, port: int, **columns: Any) -> pl.DataFrame:
    """Failed logins, each a connection: SSH with its key exchange, or RDP's shorter one."""
    packets = (
        scene.random.integers(11, 22, count) if port == 22 else scene.random.integers(7, 13, count)
    )
    return talks(
        count,
        server_port=port,
        client_port=scene.ephemeral(count),
        lasted=scene.random.lognormal(0.9, 0.4, count),
        packets=packets,
        bytes=packets * 52 + (1_300 if port == 22 else 900) + scene.random.integers(0, 300, count),
        reply_packets=packets - 1,
        reply_bytes=packets * 52 + 1_500 + scene.random.integers(0, 300, count),
        flags=SYN | FIN,
        reply_flags=SYN_ACK | FIN,
        **columns,
    )


def _brute_force(scene: Scene) -> Iterator[Planted]:
    for port, role, count, lasting in (
        (22, "bastion", 1500, 2400.0),
        (22, "bastion", 300, 14_400.0),
        (3389, "legacy", 900, 1800.0),
    ):
        source, target = scene.outsider(), scene.host(role)
        start = scene.moments(count, lasting)
        yield Planted(
            "brute_force",
            dotted(source),
            scene.name(target),
            f"{count:,} failed logins on {port}",
            _logins(scene, count, port, client=source, server_at=target, start=start),
        )
    source = scene.outsider()
    hosts = np.concatenate([scene.estate.all_of("bastion"), scene.estate.all_of("legacy")])
    targets = np.tile(hosts, 12)
    start = scene.moments(len(targets), 7200)
    yield Planted(
        "brute_force",
        dotted(source),
        None,
        f"password spraying: 12 logins on 22 of each of {len(hosts)} hosts",
        _logins(scene, len(targets), 22, client=source, server_at=targets, start=start),
    )
    target, sources = scene.host("bastion"), scene.unrelated(50)
    start = scene.moments(1000, 3600)
    yield Planted(
        "brute_force",
        None,
        scene.name(target),
        "1,000 failed logins on 22 from 50 unrelated sources",
        _logins(
            scene,
            1000,
            22,
            client=scene.random.choice(sources, 1000),
            server_at=target,
            start=start,
        ),
    )
    source = scene.host("web")
    target = scene.host("app", near=source)
    start = scene.moments(400, 1200)
    yield Planted(
        "brute_force",
        scene.name(source),
        scene.name(target),
        "400 failed logins on 22 by an inside host",
        _logins(scene, 400, 22, client_at=source, server_at=target, start=start),
    )


def _beats(
    scene: Scene, source: int, target: int, sleep: float, jitter: float, share: float
) -> pl.DataFrame:
    """A connection each ``sleep`` seconds, shortened by up to ``jitter`` of it, as implants do."""
    count = int(scene.seconds * share / (sleep * (1 - jitter / 2)))
    random = scene.random
    gaps = sleep * (1 - jitter * random.random(count)) + random.lognormal(-2, 0.5, count)
    room = scene.seconds - gaps.sum()
    start = scene.begins + max(room, 0) * random.random() + gaps.cumsum()
    kept = (start < scene.ends - 60) & (random.random(count) > 0.01)
    count = int(kept.sum())
    tasked = random.random(count) < 0.02
    size = np.where(tasked, random.integers(3_000, 60_000, count), random.integers(0, 60, count))
    return talks(
        count,
        client_at=source,
        via=scene.way_out(source),
        server=target,
        server_port=int(random.choice((443, 443, 80, 8443, 4444))),
        client_port=scene.ephemeral(count),
        start=start[kept],
        lasted=0.4,
        packets=9 + size // 2_800,
        bytes=1_150 + size // 50,
        reply_packets=8 + size // 1_400,
        reply_bytes=3_600 + size,
        flags=SYN | FIN,
        reply_flags=SYN_ACK | FIN,
    )


def _beacons(scene: Scene) -> Iterator[Planted]:
    for sleep, jitter, role in (
        (30, 0.0, "legacy"),
        (60, 0.1, "app"),
        (60, 0.3, "legacy"),
        (300, 0.2, "app"),
        (600, 0.0, "web"),
        (900, 0.3, "legacy"),
        (1800, 0.1, "app"),
    ):
        asleep = sleep * scene.random.uniform(0.9, 1.3)
        share = scene.random.uniform(0.25, 0.4) if sleep <= 60 else 0.9
        if scene.seconds * share < 20 * asleep:
            continue
        source, target = scene.host(role), scene.outsider()
        yield Planted(
            "beacon",
            scene.name(source),
            dotted(target),
            f"a connection each {asleep:,.0f} s"
            + (f", up to {jitter:.0%} earlier" if jitter else "")
            + scene.by_way_of(source),
            _beats(scene, source, target, asleep, jitter, share),
        )


def _upload(
    scene: Scene, source: int, target: int, total: float, count: int, lasting: float
) -> pl.DataFrame:
    start = scene.moments(count, lasting)
    share = scene.random.dirichlet(np.full(count, 5.0))
    packets = (total * share / 1_440).astype(np.int64) + 4
    return talks(
        count,
        client_at=source,
        via=scene.way_out(source),
        server=target,
        server_port=443,
        client_port=scene.ephemeral(count),
        start=start,
        lasted=np.minimum(lasting / count, scene.ends - start).clip(1, 3_500),
        packets=packets,
        bytes=packets * 1_440,
        reply_packets=packets // 2 + 3,
        reply_bytes=(packets // 2 + 3) * 52,
        flags=SYN | FIN,
        reply_flags=SYN_ACK | FIN,
    )


def _exfiltration(scene: Scene) -> Iterator[Planted]:
    for role, total, count, lasting in (
        ("legacy", 8e9, 3, 3000.0),
        ("database", 40e9, 12, 7200.0),
        ("app", 4e9, 60, 43_200.0),
    ):
        source, target = scene.host(role), scene.outsider()
        total *= scene.random.uniform(0.6, 1.6)
        yield Planted(
            "egress_volume",
            scene.name(source),
            dotted(target),
            f"{total / 1e9:.1f} GB in {count} connections over {lasting / 3600:.1f} h"
            + scene.by_way_of(source),
            _upload(scene, source, target, total, count, lasting),
        )


def _silences(scene: Scene) -> Iterator[Planted]:
    estate, random = scene.estate, scene.random
    for role, says_so in (("web", True), ("app", False)):
        at = int(random.integers(len(estate.flow_logs))) * HOSTS + KEPT_SILENT[role]
        lasts, phase = int(estate.interval[at]), int(estate.phase[at])
        begins, ends = (
            int(min(scene.begins + scene.seconds * share, scene.ends - LATE) - phase)
            // lasts
            * lasts
            + phase
            for share in (random.uniform(0.4, 0.6), 1.0 if says_so else random.uniform(0.75, 0.9))
        )
        ends = max(ends, begins + lasts)
        yield Planted(
            "allowed" if says_so else "silent_interface",
            estate.interfaces["interface-id"][at],
            scene.name(at),
            "the host is down: its interface says NODATA until the end, and so is not silent"
            if says_so
            else "nothing is recorded any more, not even NODATA, for a while",
            talks(0),
            Silence(at, begins, ends, says_so),
        )


def _reject_surges(scene: Scene) -> Iterator[Planted]:
    target, count = scene.host("legacy", "phone"), 2500
    yield Planted(
        "reject_surge",
        scene.estate.interfaces["interface-id"][target],
        scene.name(target),
        f"a flood of {count:,} refused packets from as many sources",
        talks(
            count,
            client=scene.unrelated(count),
            server_at=target,
            client_port=scene.random.integers(1024, 65_536, count),
            server_port=int(scene.random.choice((53, 123, 19, 8080))),
            protocol=17,
            start=scene.moments(count, 900),
            bytes=scene.random.integers(60, 500, count),
            refused=AT_SERVER,
        ),
    )
    target, count = scene.host("database"), 2000
    apps = scene.estate.all_of("app")
    apps = apps[apps // HOSTS == target // HOSTS]
    yield Planted(
        "reject_surge",
        scene.estate.interfaces["interface-id"][target],
        scene.name(target),
        "a security group that no longer lets the applications in; they try again and again",
        talks(
            count,
            client_at=scene.random.choice(apps, count),
            server_at=target,
            client_port=scene.ephemeral(count),
            server_port=5432,
            start=scene.moments(count, 2700),
            lasted=3.0,
            packets=3,
            bytes=180,
            flags=SYN,
            refused=AT_SERVER,
        ),
    )


def _agent(scene: Scene) -> Iterator[Planted]:
    agent, service = scene.host("monitor"), scene.outsider()
    yield Planted(
        "allowed",
        scene.name(agent),
        dotted(service),
        "the monitor reports to its service each minute",
        _beats(scene, agent, service, 60, 0.02, 0.95),
    )


def intrusions(scene: Scene) -> Iterator[Planted]:
    """Draw one of each: logins, beacons, uploads, silences, surges, and a beacon that may."""
    for plant in (_brute_force, _beacons, _exfiltration, _silences, _reject_surges, _agent):
        yield from plant(scene)
