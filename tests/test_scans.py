"""Scans that must be found, and everyday traffic that looks like one and must not be."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, count
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flowlake.detections import DETECTIONS, INCIDENTS, Detection
from flowlake.detections.scans import HOST_SWEEP, PORT_SCAN, SLOW_SCAN
from flowlake.detections.wording import together
from flowlake.fields import polars_schema
from flowlake.scopes import Members

START = datetime(2026, 1, 15, 10, tzinfo=UTC)
HOUR, DAY = 3600, 86_400
SCANNER, TARGET, INSIDE = "203.0.113.9", "10.0.3.17", "10.0.7.5"
TOP_20 = (
    *(21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 443, 445, 993, 995, 1723),
    *(3306, 3389, 5900, 8080),
)
"""nmap's, by nmap-services."""
REQUEST, REPLY = (9, 1800), (12, 9000)
"""Packets and bytes of a small exchange over HTTP."""

Row = dict[str, Any]


def record(
    source: str,
    target: str,
    srcport: int,
    dstport: int,
    at: float = 0,
    size: tuple[int, int] = (1, 44),
    *,
    protocol: int = 6,
    action: str = "ACCEPT",
    interface: str = "eni-1",
    flags: int | None = None,
) -> Row:
    seen = START + timedelta(seconds=at)
    return {
        "interface_id": interface,
        "srcaddr": source,
        "dstaddr": target,
        "srcport": srcport,
        "dstport": dstport,
        "protocol": protocol,
        "packets": size[0],
        "bytes": size[1],
        "start_time": seen,
        "end_time": seen + timedelta(seconds=1),
        "action": action,
        "log_status": "OK",
        "tcp_flags": flags,
    }


def refused(source: str, target: str, srcport: int, dstport: int, at: float, **more: Any) -> Row:
    return record(source, target, srcport, dstport, at, action="REJECT", **more)


def exchange(
    client: str,
    server: str,
    client_port: int,
    server_port: int,
    at: float = 0,
    sent: tuple[int, int] = REQUEST,
    got: tuple[int, int] = REPLY,
    **more: Any,
) -> list[Row]:
    """Both directions, within the same second."""
    return [
        record(client, server, client_port, server_port, at, sent, **more),
        record(server, client, server_port, client_port, at, got, **more),
    ]


def closed(client: str, server: str, client_port: int, server_port: int, at: float) -> list[Row]:
    return exchange(client, server, client_port, server_port, at, (1, 44), (1, 40))


def joined(rows: Iterable[list[Row]]) -> list[Row]:
    return list(chain.from_iterable(rows))


def lake(rows: list[Row]) -> pl.LazyFrame:
    return pl.DataFrame(rows, schema=polars_schema()).lazy()


def ephemeral() -> Iterator[int]:
    return (32_768 + (n * 7919) % 28_000 for n in count())


# What must be found ------------------------------------------------------------------------------


def refused_syns() -> list[Row]:
    return [refused(SCANNER, TARGET, 40_000 + p % 999, p, p / 9) for p in range(1, 413)]


def resets_to_a_constant_port() -> list[Row]:
    rows = [closed(SCANNER, TARGET, 55_555, p, p / 400) for p in range(1, 65_000, 97)]
    return joined(rows)


def connects_to_open_and_closed_ports() -> list[Row]:
    local, rows = ephemeral(), []
    for p in range(20, 120):
        if p in (22, 80, 111):
            rows += exchange(SCANNER, TARGET, next(local), p, p / 9, (4, 220), (3, 170))
        else:
            rows += exchange(SCANNER, TARGET, next(local), p, p / 9, (1, 60), (1, 40))
    return rows


def udp_scan() -> list[Row]:
    return [record(SCANNER, TARGET, 50_001, p, p / 2, (2, 56), protocol=17) for p in range(1, 400)]


def from_port_53() -> list[Row]:
    ports = [*range(1, 300), *range(8_000, 8_100), *range(49_000, 49_100)]
    return joined((closed(SCANNER, TARGET, 53, p, n / 100) for n, p in enumerate(ports)))


def from_port_53_in_vain() -> list[Row]:
    return [refused(SCANNER, TARGET, 53, p, p / 100) for p in (*TOP_20, *range(8000, 8100))]


def top_20_ports() -> list[Row]:
    return [refused(SCANNER, TARGET, 41_000 + n, p, n) for n, p in enumerate(TOP_20)]


def amid_successful_use() -> list[Row]:
    use = joined(exchange(SCANNER, TARGET, 50_000 + n, 443, n * 5) for n in range(300))
    return use + [refused(SCANNER, TARGET, 40_000 + p, p, p * 20) for p in range(1, 60)]


def recorded_twice() -> list[Row]:
    rows = resets_to_a_constant_port()
    return rows + [{**row, "interface_id": "eni-2"} for row in rows]


def payload_only() -> list[Row]:
    local, rows = ephemeral(), []
    for p in [*range(1, 200), *range(40_000, 40_100)]:
        rows += exchange(SCANNER, TARGET, next(local), p, p / 99, (1, 0), (1, 0))
    return rows


def whole_frames() -> list[Row]:
    local, rows = ephemeral(), []
    for p in range(1, 200):
        rows += exchange(SCANNER, TARGET, next(local), p, p / 99, (1, 66), (1, 54 + p % 2 * 6))
    return rows


def with_flags() -> list[Row]:
    rows = []
    for p in range(40_000, 40_200):
        rows.append(record(SCANNER, TARGET, 40_000, p, p / 99, flags=2))
        rows.append(record(TARGET, SCANNER, p, 40_000, p / 99, (1, 40), flags=4))
    return rows


def without_syn(flags: int, answered: bool) -> list[Row]:
    """A FIN, a NULL or an ACK scan, as nmap calls them: closed ports reset, or all are silent."""
    rows = []
    for p in range(1, 200):
        rows.append(record(SCANNER, TARGET, 54_321, p, p / 9, (1, 40), flags=flags))
        if answered:
            rows.append(record(TARGET, SCANNER, p, 54_321, p / 9, (1, 40), flags=4))
    return rows


def over_ipv6() -> list[Row]:
    rows = []
    for p in range(1, 100):
        rows += exchange("2001:db8::bad", "2001:db8:1::5", 50_000 + p, p, p, (1, 80), (1, 60))
    return rows


def inside() -> list[Row]:
    return [record(INSIDE, TARGET, 50_000 + p, p, p / 9, (3, 180)) for p in range(1, 100)]


PORT_SCANS: dict[str, Callable[[], list[Row]]] = {
    **{
        each.__name__: each
        for each in (
            *(refused_syns, resets_to_a_constant_port, connects_to_open_and_closed_ports),
            *(udp_scan, from_port_53, from_port_53_in_vain, top_20_ports, amid_successful_use),
            *(recorded_twice, payload_only, whole_frames, with_flags, over_ipv6, inside),
        )
    },
    "by_fin": lambda: without_syn(1, answered=False),
    "by_fin_reset": lambda: without_syn(1, answered=True),
    "by_null": lambda: without_syn(0, answered=False),
    "by_ack_reset": lambda: without_syn(0, answered=True),
}


@pytest.mark.parametrize("rows", PORT_SCANS.values(), ids=PORT_SCANS)
def test_a_port_scan_is_found_once(rows: Callable[[], list[Row]]) -> None:
    made = rows()
    found = PORT_SCAN.find(lake(made))
    assert found.schema == INCIDENTS
    assert found.height == 1
    scan = found.row(0, named=True)
    assert (scan["who"], scan["whom"]) == (made[-2]["srcaddr"], made[-2]["dstaddr"])
    assert scan["subject"] == scan["who"]


def test_an_incident_says_what_happened() -> None:
    scan = PORT_SCAN.find(lake(refused_syns())).row(0, named=True)
    assert scan["why"] == (
        "203.0.113.9 tried 412 ports of 10.0.3.17 in 47 seconds; 412 were refused or did not "
        "answer."
    )
    assert (scan["flows"], scan["packets"], scan["bytes"], scan["peak"]) == (412, 412, 18_128, 412)
    assert scan["first_seen"] == START + timedelta(seconds=1 / 9)
    assert scan["last_seen"] == START + timedelta(seconds=412 / 9 + 1)
    counts = json.loads(scan["counts"])
    assert counts["first_ports"][:2] == ["1/tcp", "2/tcp"]
    assert (counts["ports"], counts["targets"], counts["failed"]) == (412, 1, 412)


# Sweeps, slow scans, many sources ----------------------------------------------------------------


def hosts(count: int, network: str = "10.0.5") -> list[str]:
    return [f"{network}.{n}" for n in range(1, count + 1)]


def ping_sweep() -> list[Row]:
    rows = []
    for n, host in enumerate(hosts(200)):
        ping = record(SCANNER, host, 0, 0, n / 9, (2, 168), protocol=1)
        rows += [ping, record(host, SCANNER, 0, 0, n / 9, (2, 168), protocol=1)][: 2 - (n % 5 > 0)]
    return rows


def sweep_of_445() -> list[Row]:
    return [record(INSIDE, host, 50_000 + n, 445, n) for n, host in enumerate(hosts(40))]


def sweep_with_resets_from_port_53() -> list[Row]:
    return joined((closed(SCANNER, host, 53, 22, n) for n, host in enumerate(hosts(40))))


def sweep_of_hosts_that_sort_first() -> list[Row]:
    rows = [closed("99.0.2.9", host, 55_555, 3389, n) for n, host in enumerate(hosts(60))]
    return joined(rows)


def udp_sweep() -> list[Row]:
    swept = enumerate(hosts(90))
    return [record(SCANNER, host, 5060, 5060, n, (1, 420), protocol=17) for n, host in swept]


SWEEPS: dict[str, Callable[[], list[Row]]] = {
    each.__name__: each
    for each in (
        *(ping_sweep, sweep_of_445, sweep_with_resets_from_port_53),
        *(sweep_of_hosts_that_sort_first, udp_sweep),
    )
}


@pytest.mark.parametrize("rows", SWEEPS.values(), ids=SWEEPS)
def test_a_sweep_is_found_once(rows: Callable[[], list[Row]]) -> None:
    made = rows()
    found = HOST_SWEEP.find(lake(made))
    assert found.schema == INCIDENTS
    assert found.height == 1
    sweep = found.row(0, named=True)
    assert sweep["subject"] == sweep["who"] == made[0]["srcaddr"]
    assert sweep["whom"] in ("10.0.5.0/24", "10.0.5.0/26", "10.0.5.0/25")
    assert PORT_SCAN.find(lake(made)).is_empty()


def test_ports_that_are_swept_together_are_one_incident() -> None:
    local, rows = ephemeral(), []
    for n, host in enumerate(hosts(30)):
        rows += [refused(SCANNER, host, next(local), p, n) for p in (22, 445, 3389)]
    found = HOST_SWEEP.find(lake(rows))
    assert found["peak"].to_list() == [30]
    assert found["why"].item() == (
        "203.0.113.9 tried 22/tcp, 445/tcp, 3389/tcp of 30 addresses in 10.0.5.0/27 (90 in all) in "
        "30 seconds; 90 were refused or did not answer."
    )


def test_a_sweep_beside_a_vertical_scan_is_found() -> None:
    assert HOST_SWEEP.find(lake(sweep_of_445() + inside())).height == 1


def two_ports_an_hour() -> list[Row]:
    return [refused(SCANNER, TARGET, 40_000, 1 + n, n * 1800) for n in range(144)]


def five_hosts_an_hour() -> list[Row]:
    swept = enumerate(hosts(120))
    return [record(INSIDE, host, 40_000 + n, 5900, n * 720) for n, host in swept]


@pytest.mark.parametrize("rows", [two_ports_an_hour, five_hosts_an_hour])
def test_a_slow_scan_is_found_once(rows: Callable[[], list[Row]]) -> None:
    made = rows()
    found = SLOW_SCAN.find(lake(made))
    assert found.schema == INCIDENTS
    assert found.height == 1
    assert found["peak"].item() == len(made)
    assert PORT_SCAN.find(lake(made)).is_empty()
    assert HOST_SWEEP.find(lake(made)).is_empty()


@pytest.mark.parametrize("rows", [refused_syns, sweep_of_445])
def test_a_fast_scan_is_no_slow_one(rows: Callable[[], list[Row]]) -> None:
    later = [
        {**row, "start_time": row["start_time"] + timedelta(hours=n), "dstport": 20_000 + n}
        for n, row in enumerate(two_ports_an_hour()[:40])
    ]
    later = [
        {**row, "end_time": row["start_time"], "srcaddr": rows()[0]["srcaddr"]} for row in later
    ]
    assert SLOW_SCAN.find(lake(rows() + later)).is_empty()


POPULAR = (23, 22, 80, 443, 445, 3389, 8080, 5555, 6379, 8443, 81, 1433, 3306, 5900, 2375)


def background(sources: int = 20_000, targets: int = 5, hours: int = 24) -> list[Row]:
    """Probes of the Internet: a packet each, most of them of popular ports."""
    dice = random.Random(7)
    rows = []
    for n in range(sources):
        source = f"{dice.choice((5, 45, 80, 185, 195))}.{n % 200}.{n // 200}.{dice.randrange(256)}"
        port = POPULAR[min(int(dice.paretovariate(0.9)) - 1, 14)]
        port = dice.randrange(1, 65_536) if dice.random() < 0.3 else port
        target = f"10.0.3.{17 + dice.randrange(targets)}"
        at = dice.uniform(0, hours * HOUR)
        rows.append(refused(source, target, dice.randrange(1024, 65_536), port, at))
    return rows


def from_many(sources: list[str]) -> list[Row]:
    local = ephemeral()
    return [
        refused(source, TARGET, next(local), 1 + n * 7 + p * 300, 7 * HOUR + n * 60 + p)
        for n, source in enumerate(sources)
        for p in range(7)
    ]


def test_neighbours_that_share_a_scan_are_one_source() -> None:
    made = from_many([f"198.51.100.{n}" for n in range(10, 50)])
    for rows in (made, made + background()):
        scan = PORT_SCAN.find(lake(rows)).row(0, named=True)
        assert (scan["who"], scan["whom"]) == ("198.51.100.0/24", TARGET)
        assert scan["peak"] == 280
        assert scan["why"].startswith("40 sources in 198.51.100.0/24 tried 280 ports of 10.0.3.17")
        assert len(json.loads(scan["counts"])["sources"]) == 40
        assert PORT_SCAN.find(lake(rows), distributed="leave").is_empty()


def test_many_unrelated_sources_that_share_a_scan_are_found() -> None:
    made = from_many([f"{60 + n}.9.{n}.7" for n in range(40)])
    found = PORT_SCAN.find(lake(made + background()))
    assert found.height == 1
    scan = found.row(0, named=True)
    assert (scan["subject"], scan["whom"]) == ("many -> 10.0.3.17", TARGET)
    assert 150 < scan["peak"] < 280


def test_the_background_alone_is_nothing() -> None:
    rows = lake(background())
    for kind in (PORT_SCAN, HOST_SWEEP, SLOW_SCAN):
        assert kind.find(rows).is_empty()


# What must not be found --------------------------------------------------------------------------


def replies_of_a_server(both: bool) -> list[Row]:
    local, rows = ephemeral(), []
    for n in range(300):
        rows += exchange(INSIDE, TARGET, next(local), (443, 7000)[n % 2], n, (5, 260), (4, 208))
    return rows if both else [row for row in rows if row["srcaddr"] == TARGET]


def late_replies() -> list[Row]:
    ports = random.Random(1).sample(range(1024, 65_536), 4_000)
    return [refused("198.51.100.4", TARGET, 443, p, n, size=(1, 40)) for n, p in enumerate(ports)]


def late_replies_to_many() -> list[Row]:
    return [refused(TARGET, host, 443, 45_000 + n, n) for n, host in enumerate(hosts(90))]


def nat_gateway() -> list[Row]:
    dice, rows = random.Random(2), []
    for n in range(3_000):
        far = f"{dice.randrange(11, 220)}.{n % 250}.{dice.randrange(256)}.4"
        port = dice.randrange(1024, 65_536)
        if n % 20:
            rows += exchange("10.0.9.9", far, port, 443, n)
            rows.append(record("10.0.9.9", far, port, 443, n + 90, (2, 104)))
        else:
            rows.append(record("10.0.9.9", far, port, 443, n, (4, 240)))
    return rows


def health_checks() -> list[Row]:
    local, rows = ephemeral(), []
    for n in range(60 * 30):
        host = hosts(60)[n % 60]
        if n % 60 < 8:
            rows += exchange("10.0.1.8", host, next(local), 8080, n, (1, 60), (1, 40))
        else:
            rows += exchange("10.0.1.8", host, next(local), 8080, n, (4, 220), (2, 112))
    return rows


def pollers() -> list[Row]:
    local, rows = ephemeral(), []
    for n in range(300):
        host = f"10.0.{20 + n // 200}.{n % 200 + 1}"
        down = 100 <= n < 130
        for protocol, port in ((6, 9100), (17, 161), (1, 0)):
            mine = next(local) if port else 0
            asked = exchange(INSIDE, host, mine, port, n, (2, 168), (2, 340), protocol=protocol)
            rows += asked[: 2 - down]
    return rows


def passive_ftp() -> list[Row]:
    local = ephemeral()
    rows = exchange(INSIDE, TARGET, next(local), 21, 0, (400, 20_000), (400, 30_000))
    for n in range(200):
        rows += exchange(INSIDE, TARGET, next(local), 40_000 + n * 13, n, (6, 320), (40, 50_000))
    return rows


def traceroutes() -> list[Row]:
    probes = range(33_434, 33_524)
    return [
        record(INSIDE, "192.0.2.7", 50_000, p, p - 33_434, (1, 60), protocol=17) for p in probes
    ]


def resolver() -> list[Row]:
    dice, rows = random.Random(3), []
    for n in range(2_000):
        far = f"{dice.randrange(11, 220)}.{n % 250}.{dice.randrange(256)}.53"
        asked = exchange(INSIDE, far, 40_000 + n, 53, n, (1, 70), (1, 300), protocol=17)
        rows += asked[: 2 - (n % 12 == 0)]
        asking = hosts(40)[n % 40]
        rows += exchange(asking, INSIDE, 35_000 + n, 53, n, (1, 70), (1, 300), protocol=17)
    return rows


def swarm() -> list[Row]:
    dice, rows = random.Random(4), []
    for n in range(1_500):
        peer = f"{dice.randrange(11, 220)}.{n % 250}.{dice.randrange(256)}.9"
        port = 6881 if n % 15 == 0 else dice.randrange(1024, 65_536)
        mine = 51_413 if n % 2 else 33_000 + n
        asked = exchange(
            INSIDE, peer, mine, port, n, (2, 190), (2, 400), protocol=(17, 6)[n % 3 == 0]
        )
        rows += asked[: 1 + (dice.random() < 0.4)]
    return rows


def idle_sessions_kept_alive() -> list[Row]:
    swept = enumerate(hosts(100))
    return joined((exchange(INSIDE, h, 40_000 + n, 22, n, (1, 52), (1, 52)) for n, h in swept))


def rests_of_connections() -> list[Row]:
    """What is left where a window begins: a FIN, an acknowledgment, a reset for each."""
    rows = []
    for n in range(120):
        local = 40_000 + n
        rows.append(record(INSIDE, TARGET, local, (443, 7000)[n % 2], n, (1, 52), flags=n % 2))
        rows.append(record(TARGET, INSIDE, 5432, 50_000 + n, n, (1, 52), flags=n % 2))
        rows.append(record(TARGET, INSIDE, 60_000 + n, 55_000, n, (1, 40), flags=4))
        host = hosts(120)[n]
        rows += exchange(INSIDE, host, local, 8443, n, (1, 52), (1, 52), flags=1)
        rows += exchange(INSIDE, host, local, 9092, n, (4, 700), (3, 156), flags=0)
    return rows


def complaints_by_icmp() -> list[Row]:
    rows = []
    for n in range(100):
        rows.append(record(f"198.51.{n}.7", TARGET, 40_000, 1900, n, (1, 120), protocol=17))
        rows.append(record(TARGET, f"198.51.{n}.7", 0, 0, n, (1, 148), protocol=1))
    return rows


def multicast() -> list[Row]:
    return [record(INSIDE, f"239.1.2.{n}", 5000, 5000, n, protocol=17) for n in range(100)]


EVERYDAY: dict[str, Callable[[], list[Row]]] = {
    "replies_of_a_server": lambda: replies_of_a_server(True),
    "only_replies_of_a_server": lambda: replies_of_a_server(False),
    **{
        each.__name__: each
        for each in (
            *(late_replies, late_replies_to_many, nat_gateway, health_checks, pollers, passive_ftp),
            *(traceroutes, resolver, swarm, idle_sessions_kept_alive, complaints_by_icmp),
            *(multicast, rests_of_connections),
        )
    },
}


@pytest.mark.parametrize("rows", EVERYDAY.values(), ids=EVERYDAY)
def test_everyday_traffic_is_no_scan(rows: Callable[[], list[Row]]) -> None:
    made = rows()
    days = [
        {**row, **{t: row[t] + timedelta(hours=5 * n) for t in ("start_time", "end_time")}}
        for n in range(4)
        for row in made
    ]
    for flows in (lake(made), lake(days)):
        for kind in (PORT_SCAN, HOST_SWEEP, SLOW_SCAN):
            assert kind.find(flows)["why"].to_list() == []


@pytest.mark.parametrize("rows", [resets_to_a_constant_port, payload_only, whole_frames])
def test_nobody_is_blamed_for_answering_who_is_ignored(rows: Callable[[], list[Row]]) -> None:
    ignored = Members((f"{SCANNER}/32",))
    flows = lake(rows() + sweep_with_resets_from_port_53())
    for kind in (PORT_SCAN, HOST_SWEEP, SLOW_SCAN):
        assert kind.find(flows, ignore=ignored).is_empty()
    assert PORT_SCAN.find(flows)["who"].to_list() == [SCANNER]


# What an incident is -----------------------------------------------------------------------------


def evidence(rows: list[Row], incident: Row) -> tuple[int, int]:
    """How many records the condition selects, and the bytes that one interface counted."""
    table = lake(rows).collect().to_arrow()
    once = "sum(bytes) FILTER (interface_id = 'eni-1')"
    within = "start_time >= $first AND end_time <= $last"
    sql = f"SELECT count(*), {once} FROM flows WHERE {within} AND {incident['condition']}"
    times = {"first": incident["first_seen"], "last": incident["last_seen"]}
    with duckdb.connect() as door:
        door.register("flows", table)
        selected = door.execute(sql, times).fetchone()
    assert selected
    return selected[0], selected[1]


OTHERS = [refused("198.51.100.77", "10.0.3.18", 40_000, 80, at) for at in range(30)]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (PORT_SCAN, refused_syns),
        (PORT_SCAN, recorded_twice),
        (PORT_SCAN, over_ipv6),
        (PORT_SCAN, lambda: from_many([f"198.51.100.{n}" for n in range(10, 50)])),
        (HOST_SWEEP, sweep_with_resets_from_port_53),
        (SLOW_SCAN, two_ports_an_hour),
    ],
    ids=["refused", "twice", "ipv6", "neighbours", "sweep", "slow"],
)
def test_the_condition_selects_the_evidence(kind: Detection, rows: Callable[[], list[Row]]) -> None:
    made = rows()
    incident = kind.find(lake(made + OTHERS)).row(0, named=True)
    assert incident["flows"] == len(made)
    assert evidence(made + OTHERS, incident) == (incident["flows"], incident["bytes"])


def test_the_threshold_decides_by_the_peak_alone() -> None:
    rows = joined(
        [refused(SCANNER, f"10.0.{n}.9", 40_000, port, n + port) for port in range(1, 8 + 3 * n)]
        for n in range(6)
    )
    rows += [refused("203.0.113.10", "10.0.1.9", 40_000, port, 99) for port in range(30, 37)]
    rows += [refused("192.0.2.1", TARGET, 1 + port, port, port) for port in range(1, 31)]
    for kind, name in ((PORT_SCAN, "ports"), (HOST_SWEEP, "hosts")):
        assert kind.threshold == name
        least = kind.find(lake(rows), **{name: 4})
        assert least.height
        for bound in (5, 6, 14, 22, 23, 29, 30, 31):
            expected = least.filter(pl.col("peak") >= bound)
            assert_frame_equal(kind.find(lake(rows), **{name: bound}), expected)


@pytest.mark.parametrize(("ports", "found"), [(14, 0), (15, 1)])
def test_fifteen_ports_are_a_scan(ports: int, found: int) -> None:
    rows = [refused(SCANNER, TARGET, 40_000, port, port) for port in range(1, 1 + ports)]
    assert PORT_SCAN.find(lake(rows)).height == found


@pytest.mark.parametrize(("hosts_tried", "found"), [(24, 0), (25, 1)])
def test_twenty_five_hosts_are_a_sweep(hosts_tried: int, found: int) -> None:
    swept = enumerate(hosts(hosts_tried))
    rows = [refused(SCANNER, host, 40_000, 22, n) for n, host in swept]
    assert HOST_SWEEP.find(lake(rows)).height == found


def test_the_ports_count_within_the_window() -> None:
    rows = [refused(SCANNER, TARGET, 40_000, port, port * 300) for port in range(1, 60)]
    assert PORT_SCAN.find(lake(rows)).is_empty()
    found = PORT_SCAN.find(lake(rows), window=timedelta(hours=2))
    assert found["peak"].to_list() == [25]


def test_a_rest_of_more_than_an_hour_ends_a_scan() -> None:
    rows = [
        refused(SCANNER, TARGET, 40_000, port, later + port)
        for later in (0, 2 * HOUR, 3 * HOUR)
        for port in range(1, 40)
    ]
    found = PORT_SCAN.find(lake(rows))
    assert found["flows"].to_list() == [39, 78]
    assert found["subject"].to_list() == [SCANNER, SCANNER]


def test_several_targets_are_one_incident_of_the_smallest_network() -> None:
    rows = [
        refused(SCANNER, f"10.0.3.{n}", 40_000, port, port)
        for n in (17, 20, 30)
        for port in range(1, 40)
    ]
    incident = PORT_SCAN.find(lake(rows)).row(0, named=True)
    assert incident["whom"] == "10.0.3.16/28"
    assert json.loads(incident["counts"])["first_targets"] == [
        "10.0.3.17",
        "10.0.3.20",
        "10.0.3.30",
    ]
    assert "39 ports of 3 addresses in 10.0.3.16/28 (117 in all)" in incident["why"]


def test_scopes_say_who_and_whom() -> None:
    rows = lake(refused_syns() + inside() + sweep_of_445())
    private, outside = Members(("10.0.0.0/8",)), Members(("203.0.113.0/24",))
    assert PORT_SCAN.find(rows, sources=private)["who"].to_list() == [INSIDE]
    assert PORT_SCAN.find(rows, sources=outside)["who"].to_list() == [SCANNER]
    assert PORT_SCAN.find(rows, targets=outside).is_empty()
    assert HOST_SWEEP.find(rows, sources=outside).is_empty()
    assert HOST_SWEEP.find(rows, targets=Members(("10.0.5.0/24",))).height == 1


def test_an_interface_is_a_scope_in_its_own_records() -> None:
    twice = recorded_twice()
    here = pl.DataFrame({"interface_id": ["eni-2"], "address": [TARGET]})
    assert PORT_SCAN.find(lake(twice), targets=Members(pairs=here)).height == 1
    there = here.with_columns(interface_id=pl.lit("eni-3"))
    assert PORT_SCAN.find(lake(twice), targets=Members(pairs=there)).is_empty()


def test_what_is_no_address_or_has_no_time_is_left_out() -> None:
    rows = refused_syns()
    broken = [{**row, "srcaddr": "nobody"} for row in rows]
    broken += [{**row, "start_time": None, "end_time": None} for row in rows]
    broken += [{**row, "srcport": None, "srcaddr": "192.0.2.4"} for row in rows]
    broken += [dict.fromkeys(row) for row in rows]
    for kind in (PORT_SCAN, HOST_SWEEP, SLOW_SCAN):
        assert kind.find(lake(broken)).is_empty()
    assert_frame_equal(PORT_SCAN.find(lake(rows + broken)), PORT_SCAN.find(lake(rows)))


def test_nothing_gives_a_frame_of_incidents() -> None:
    for kind in DETECTIONS:
        if kind.kind in ("port_scan", "host_sweep", "slow_scan"):
            assert kind.find(lake([])).schema == INCIDENTS
            assert {p.name for p in kind.parameters} >= {kind.threshold, kind.window}


def test_the_smallest_network_of_addresses() -> None:
    assert together(["10.0.0.1"]) == "10.0.0.1"
    assert together(["10.0.0.255", "10.0.1.0"]) == "10.0.0.0/23"
    assert together(["2001:db8::1", "2001:db8::ff"]) == "2001:db8::/120"
    assert together(["10.0.0.1", "2001:db8::1"]) is None
