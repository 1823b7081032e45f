"""Regular calls to the outside, and what is regular without being one."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from flowlake.detections import INCIDENTS
from flowlake.detections.beacons import beacon
from flowlake.scopes import Members
from tests.behaviour import DAY, Record, counts, evidence, exchange, flows, only

HOST, CONTROL = "10.0.1.5", "203.0.113.9"


def calls(
    every: float,
    hours: float = 24,
    *,
    jitter: float = 0,
    source: str = HOST,
    target: str = CONTROL,
    port: int = 443,
    seed: int = 1,
    begin: float = 0,
    port_of_client: int = 33_000,
    **fields: Any,
) -> Iterator[Record]:
    """A beacon: intervals of so many seconds, as much longer or shorter as the jitter allows."""
    chance = random.Random(seed)
    at, call = begin, 0
    while at < begin + hours * 3_600:
        yield from exchange(
            *(
                DAY + timedelta(seconds=round(at)),
                source,
                port_of_client + call % 28_000,
                target,
                port,
            ),
            sent=(9, 1_180 + chance.randrange(40)),
            back=(8, 5_000),
            seconds=2,
            **fields,
        )
        at, call = at + every * chance.uniform(1 - jitter, 1 + jitter), call + 1


def test_a_call_each_minute() -> None:
    records = flows(calls(60))
    found = only(beacon(records))
    assert (found["who"], found["whom"]) == (HOST, CONTROL)
    assert found["subject"] == f"{HOST} to {CONTROL} on port 443"
    assert (found["first_seen"], found["flows"]) == (DAY, 2_880)
    assert found["last_seen"] == DAY + timedelta(hours=23, minutes=59, seconds=2)
    assert found["peak"] > 0.98
    assert counts(found)["connections"] == 1_440
    assert found["why"] == (
        "10.0.1.5 opened 1,440 connections to port 443 of 203.0.113.9, one every 60 seconds, give "
        "or take 0 seconds, and sent about 1.2 kB in each."
    )
    assert evidence(found, records) == 2_880


@pytest.mark.parametrize("every", [30, 60, 300, 1_800])
@pytest.mark.parametrize("seed", range(3))
def test_jitter_of_thirty_per_cent(every: float, seed: int) -> None:
    found = only(beacon(flows(calls(every, jitter=0.3, seed=seed))))
    assert 0.78 < found["peak"] < 0.92


@pytest.mark.parametrize("protocol", [6, 17])
def test_only_one_direction_was_recorded(protocol: int) -> None:
    both = list(calls(300, jitter=0.2, protocol=protocol))
    for port in ("dstport", "srcport"):
        records = flows(row for row in both if row[port] == 443)
        assert only(beacon(records))["flows"] == len(both) / 2


@pytest.mark.parametrize(("hours", "incidents"), [(5, 0), (6, 1)])
def test_it_is_seen_in_six_hours(hours: float, incidents: int) -> None:
    assert beacon(flows(calls(60, hours))).height == incidents


def test_two_stretches_are_not_longer_together() -> None:
    assert beacon(flows(calls(60, 5), calls(60, 5, begin=8 * 3_600))).is_empty()


def test_two_connections_at_once_are_one_interval() -> None:
    records = flows(calls(300, jitter=0.2), calls(300, jitter=0.2, port_of_client=2_000))
    found = only(beacon(records))
    assert found["peak"] > 0.85
    assert counts(found)["interval_seconds"] == pytest.approx(300, rel=0.05)


def test_the_same_sockets_after_an_hour_s_silence() -> None:
    """Key exchange from port 500 to port 500; either side could be the client."""
    at_both: Record = {"protocol": 17, "sent": (4, 900), "back": (4, 900)}
    records = flows(
        row
        for call in range(22)
        for row in exchange(
            DAY + timedelta(minutes=65 * call), "198.51.100.7", 500, CONTROL, 500, **at_both
        )
    )
    found = only(beacon(records, sources=Members(("198.51.100.7", CONTROL))))
    assert (found["flows"], counts(found)["connections"]) == (44, 22)


def test_the_threshold_only_chooses() -> None:
    records = flows(
        *(calls(300, jitter=part / 10, target=f"192.0.2.{part}", seed=part) for part in range(10))
    )
    every = beacon(records, score=0)
    assert every.height == 10
    for score in (0.5, 0.7, 0.75, 0.9, 1):
        assert beacon(records, score=score).equals(every.filter(every["peak"] >= score))


def test_a_shorter_window_wants_all_its_hours() -> None:
    assert beacon(flows(calls(60, 2)), window=timedelta(hours=3)).is_empty()
    assert only(beacon(flows(calls(60, 3)), window=timedelta(hours=3)))["peak"] > 0.98


@pytest.mark.parametrize(("least", "incidents"), [(20, 1), (21, 0)])
def test_enough_connections(least: int, incidents: int) -> None:
    assert beacon(flows(calls(4_320)), connections=least).height == incidents


@pytest.mark.parametrize(
    ("every", "away", "incidents"),
    [(60, 0.9, 1), (60, 1.1, 2), (3_000, 3.2, 1), (3_000, 3.5, 2)],
)
def test_when_a_beacon_ends(every: float, away: float, incidents: int) -> None:
    first = calls(every, 20)
    last_call = (20 * 3_600 - 1) // every * every
    again = calls(every, 20, begin=last_call + away * 3_600, seed=2)
    found = beacon(flows(first, again))
    assert found.height == incidents
    assert found["subject"].n_unique() == 1


def test_a_quiet_day_does_not_hide_among_others() -> None:
    """Each window has a score of its own, and the best one is the peak."""
    chance = random.Random(3)
    noise = (
        row
        for call in range(700)
        for row in exchange(
            *(DAY + timedelta(days=1, seconds=chance.randrange(86_400)), HOST, 5_000 + call),
            *(CONTROL, 443),
            sent=(40, chance.randrange(2_000, 90_000)),
        )
    )
    assert only(beacon(flows(calls(300), noise)))["peak"] > 0.98


def test_a_busy_call_now_and_then_changes_nothing() -> None:
    """Every tenth call carries something away."""
    records = [
        {**row, "bytes": row["bytes"] * 400} if row["srcport"] % 10 == 0 else row
        for row in calls(120, jitter=0.25)
    ]
    assert only(beacon(flows(records)))["peak"] > 0.8


def test_two_interfaces_and_two_flow_logs_saw_it() -> None:
    records = flows(
        {**row, "interface_id": eni, "flow_log_id": log}
        for eni, log in (("eni-1", "fl-1"), ("eni-1", "fl-2"), ("eni-2", "fl-1"))
        for row in calls(300)
    )
    found = only(beacon(records))
    assert (counts(found)["connections"], found["flows"]) == (288, 1_728)
    assert found["bytes"] == sum(row["bytes"] for row in calls(300))
    assert evidence(found, records) == 1_728


def test_a_few_hosts_are_suspicious_and_many_are_not() -> None:
    def of(number: int) -> Iterator[Record]:
        for host in range(number):
            yield from calls(300, source=f"10.0.2.{host}", begin=host)

    assert beacon(flows(of(5))).height == 5
    assert beacon(flows(of(6))).is_empty()
    assert beacon(flows(of(6)), hosts=6).height == 6


def test_addresses_of_aws_are_its_own_or_anybodys() -> None:
    assert beacon(flows(calls(300, pkt_dst_aws_service="S3"))).is_empty()
    assert beacon(flows(calls(300, pkt_dst_aws_service="EC2"))).height == 1


def test_who_is_looked_at() -> None:
    records = flows(calls(300), calls(300, source="198.51.100.7", target="192.0.2.80"))
    assert only(beacon(records))["who"] == HOST
    abroad = only(beacon(records, sources=Members(("198.51.100.0/24",))))
    assert abroad["who"] == "198.51.100.7"
    for ignored in (HOST, CONTROL):
        assert beacon(records, ignore=Members((ignored,))).is_empty()


def lasting() -> Iterator[Record]:
    """One connection for a day, a record a minute."""
    for minute in range(1_440):
        yield from exchange(DAY + timedelta(minutes=minute), HOST, 33_000, CONTROL, 443, seconds=50)


def beating() -> Iterator[Record]:
    """One connection for a day, with a sign of life every ten minutes."""
    for beat in range(144):
        at = DAY + timedelta(minutes=10 * beat)
        yield from exchange(at, HOST, 33_000, CONTROL, 443, sent=(2, 120), back=(1, 52))


def browsing() -> Iterator[Record]:
    """Somebody reads, follows links, rests."""
    chance = random.Random(4)
    at, page = 0.0, 0
    while at < 86_400:
        for _ in range(chance.randrange(1, 7)):
            page += 1
            yield from exchange(
                *(DAY + timedelta(seconds=round(at)), HOST, 33_000 + page, CONTROL, 443),
                sent=(30, round(chance.lognormvariate(8, 1))),
                back=(60, round(chance.lognormvariate(11, 1.5))),
            )
            at += chance.choice([0, 1, 2])
        at += chance.expovariate(1 / 240)


def at_random() -> Iterator[Record]:
    """Connections at any time, all of a size."""
    chance = random.Random(5)
    for host in range(5):
        for call in range(200):
            at = DAY + timedelta(seconds=chance.randrange(86_400))
            yield from exchange(at, f"10.0.3.{host}", 33_000 + call, CONTROL, 443)


def polling() -> Iterator[Record]:
    """Every minute, as much is sent as has come up meanwhile."""
    chance = random.Random(6)
    for minute in range(1_440):
        yield from exchange(
            *(DAY + timedelta(minutes=minute), HOST, 33_000 + minute, CONTROL, 443),
            sent=(20, 900 + round(chance.lognormvariate(7.5, 1.2))),
            back=(20, 900 + round(chance.lognormvariate(7.5, 1.2))),
        )


def polling_seen_from_one_side() -> Iterator[Record]:
    """Only what came back was recorded."""
    yield from (row for row in polling() if row["srcport"] == 443)


def shipping() -> Iterator[Record]:
    """cron, at each full hour: whatever the hour has left."""
    chance = random.Random(7)
    for hour in range(24):
        yield from exchange(
            *(DAY + timedelta(hours=hour, seconds=1), HOST, 33_000 + hour, CONTROL, 22),
            sent=(40_000, round(chance.lognormvariate(18, 0.8))),
            seconds=300,
        )


def keeping_time() -> Iterator[Record]:
    """NTP."""
    yield from calls(64, port=123, protocol=17)


def serving() -> Iterator[Record]:
    """A health check from outside, every 30 seconds: who is called is inside."""
    yield from calls(30, source=CONTROL, target=HOST)


def inside() -> Iterator[Record]:
    """Monitoring of a host by another."""
    yield from calls(60, target="10.0.9.9")


@pytest.mark.parametrize(
    "traffic",
    [
        lasting,
        beating,
        browsing,
        at_random,
        polling,
        polling_seen_from_one_side,
        shipping,
        keeping_time,
        serving,
        inside,
    ],
)
def test_it_is_no_beacon(traffic: Callable[[], Iterator[Record]]) -> None:
    assert beacon(flows(traffic())).equals(INCIDENTS.to_frame())


def test_nothing_was_recorded() -> None:
    assert beacon(flows()).equals(INCIDENTS.to_frame())
