"""Guessing of passwords, and what looks like it: deployments, checks, backups, people."""

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import pytest

from flowlake.detections import INCIDENTS
from flowlake.detections.logins import brute_force
from flowlake.scopes import Members
from tests.behaviour import DAY, Record, counts, evidence, exchange, flows, only

SOURCE, TARGET = "203.0.113.9", "10.0.3.17"


def guesses(
    number: int,
    every: float = 10,
    *,
    source: str = SOURCE,
    targets: Iterable[str] = (TARGET,),
    port: int = 22,
    back: tuple[int, int] | None = (12, 3_600),
    seconds: float = 5,
) -> Iterator[Record]:
    """Failed logins, each from a port of its own, on the targets in turn."""
    hosts = list(targets)
    for guess in range(number):
        yield from exchange(
            DAY + timedelta(seconds=every * guess),
            *(source, 40_000 + guess % 20_000, hosts[guess % len(hosts)], port),
            back=None if back is None else (back[0], back[1] + 8 * (guess % 5)),
            seconds=seconds,
        )


def test_guesses_of_one_target_are_an_incident() -> None:
    records = flows(guesses(200))
    found = only(brute_force(records))
    assert (found["who"], found["whom"]) == (SOURCE, TARGET)
    assert found["subject"] == f"{SOURCE} on port 22"
    assert found["first_seen"] == DAY
    assert found["last_seen"] == DAY + timedelta(seconds=199 * 10 + 5)
    assert (found["flows"], found["packets"], found["peak"]) == (400, 4_800, 180.0)
    assert counts(found)["guesses"] == counts(found)["logins"] == 200
    assert found["why"] == (
        "203.0.113.9 opened 200 short, like connections to 10.0.3.17:22 in 33 minutes, as guessing "
        "passwords does."
    )
    assert evidence(found, records) == 400


@pytest.mark.parametrize(("number", "incidents"), [(29, 0), (30, 1)])
def test_thirty_within_the_window_are_enough(number: int, incidents: int) -> None:
    assert brute_force(flows(guesses(number, every=60))).height == incidents


def test_thirty_in_more_than_the_window_are_not() -> None:
    assert brute_force(flows(guesses(300, every=62.5))).is_empty()
    assert only(brute_force(flows(guesses(300, every=62.5)), attempts=29))["peak"] == 29


def test_one_password_tried_on_many_hosts() -> None:
    hosts = [f"10.0.3.{host}" for host in range(16, 48)]
    records = flows(guesses(64, targets=hosts, port=3389))
    found = only(brute_force(records))
    assert (found["whom"], found["peak"]) == ("10.0.3.0/26", 64)
    assert counts(found)["targets"] == 32
    assert "port 3389 of 32 hosts" in found["why"]
    assert evidence(found, records) == found["flows"] == 128


def test_an_hour_without_a_guess_ends_the_incident() -> None:
    later = [
        {**row, "start_time": row["start_time"] + moved, "end_time": row["end_time"] + moved}
        for moved in [timedelta(hours=3)]
        for row in guesses(40)
    ]
    found = brute_force(flows(guesses(40), later))
    assert found["peak"].to_list() == [40, 40]
    assert found["subject"].n_unique() == 1


def test_only_one_direction_was_recorded() -> None:
    sent = [row for row in guesses(40) if row["dstport"] == 22]
    replies = [row for row in guesses(40) if row["srcport"] == 22]
    for records in (flows(sent), flows(replies)):
        found = only(brute_force(records))
        assert (found["who"], found["whom"], found["flows"]) == (SOURCE, TARGET, 40)
        assert evidence(found, records) == 40


def test_a_second_interface_does_not_double_the_guesses() -> None:
    seen_twice = [{**row, "interface_id": eni} for eni in ("eni-1", "eni-2") for row in guesses(20)]
    assert brute_force(flows(seen_twice)).is_empty()
    assert only(brute_force(flows(seen_twice), attempts=20))["flows"] == 80


def test_the_login_that_succeeds_after_the_guesses_is_evidence_too() -> None:
    way_in = exchange(
        *(DAY + timedelta(minutes=20), SOURCE, 39_999, TARGET, 22),
        sent=(4_000, 300_000),
        back=(6_000, 9_000_000),
        seconds=1_200,
    )
    found = only(brute_force(flows(guesses(60), way_in)))
    assert (counts(found)["guesses"], counts(found)["logins"]) == (60, 61)
    assert found["last_seen"] == DAY + timedelta(minutes=40)


def test_what_the_server_turns_away_at_once_is_neither_guess_nor_work() -> None:
    """MaxStartups: most connections of a hasty tool end after the banner."""
    away = [
        row
        for number in range(300)
        for row in exchange(
            *(DAY + timedelta(seconds=2 * number), SOURCE, 10_000 + number, TARGET, 22),
            sent=(5, 290),
            back=(4, 240),
        )
    ]
    found = only(brute_force(flows(guesses(60), away)))
    assert (counts(found)["logins"], found["peak"], found["flows"]) == (60, 60, 720)


def test_what_is_refused_after_the_guesses_is_no_evidence() -> None:
    records = flows(guesses(40), refused())
    found = only(brute_force(records))
    assert found["flows"] == evidence(found, records) == 80


def test_a_source_that_mostly_works_there_guesses_nothing() -> None:
    def work(number: int) -> Iterator[Record]:
        for job in range(number):
            at = DAY + timedelta(seconds=5 * job)
            yield from exchange(at, SOURCE, 10_000 + job, TARGET, 22, back=(40, 90_000))

    assert brute_force(flows(guesses(60), work(60))).height == 1
    assert brute_force(flows(guesses(60), work(61))).is_empty()


@pytest.mark.parametrize("lowest", [1, 25])
def test_the_threshold_only_chooses(lowest: int) -> None:
    records = flows(guesses(40), guesses(70, source="198.51.100.7"), guesses(9, source="192.0.2.9"))
    every = brute_force(records, attempts=lowest)
    for attempts in (25, 30, 41, 71):
        assert brute_force(records, attempts=attempts).equals(
            every.filter(every["peak"] >= attempts)
        )


def test_who_is_looked_at() -> None:
    records = flows(guesses(40), guesses(40, source="198.51.100.7"))
    found = only(brute_force(records, ignore=Members(("198.51.100.0/24",))))
    assert found["who"] == SOURCE
    assert only(brute_force(records, sources=Members(("198.51.100.0/24",))))["who"] != SOURCE
    assert brute_force(records, targets=Members(("10.0.4.0/24",))).is_empty()
    assert brute_force(records, ports=(21,)).is_empty()


def cloning() -> Iterator[Record]:
    """CI clones repositories of all sizes over SSH."""
    sizes = random.Random(1)
    for job in range(300):
        size = int(sizes.lognormvariate(12, 2.5)) + 5_200
        yield from exchange(
            *(DAY + timedelta(seconds=job * 7), "10.0.1.5", 40_000 + job, "192.0.2.22", 22),
            sent=(20 + size // 3_000, 4_500 + size // 60),
            back=(20, size),
        )


def deploying() -> Iterator[Record]:
    """Ansible without kept connections: each task sends its module and runs it."""
    for task in range(40):
        for host in range(30):
            yield from exchange(
                DAY + timedelta(seconds=task * 20 + host),
                *("10.0.1.6", 40_000 + task, f"10.0.2.{host}", 22),
                sent=(90, 95_000 + 40 * host),
                back=(60, 5_200),
                seconds=9,
            )


def copying() -> Iterator[Record]:
    """rsync of many small folders, one connection each."""
    for folder in range(200):
        yield from exchange(
            *(DAY + timedelta(seconds=folder * 6), "10.0.1.7", 40_000 + folder, "10.0.2.9", 22),
            sent=(300, 400_000),
            back=(150, 11_000),
        )


def asking() -> Iterator[Record]:
    """Short commands, with answers of any size."""
    for number in range(300):
        yield from exchange(
            *(DAY + timedelta(seconds=number * 5), "10.0.1.7", 40_000 + number, TARGET, 22),
            back=(12, (1_300, 2_200, 3_300, 4_400, 5_900)[number % 5]),
        )


def checking() -> Iterator[Record]:
    """check_ssh reads the banner of each of 40 hosts every minute."""
    for minute in range(60):
        for host in range(40):
            yield from exchange(
                DAY + timedelta(minutes=minute, seconds=host),
                *("10.0.1.8", 40_000 + minute, f"10.0.2.{host}", 22),
                sent=(6, 340),
                back=(5, 1_420),
                seconds=1,
            )


def knocking() -> Iterator[Record]:
    """A load balancer opens and closes connections of TCP."""
    for check in range(400):
        yield from exchange(
            *(DAY + timedelta(seconds=check * 5), "10.0.1.9", 40_000 + check, TARGET, 3389),
            sent=(4, 216),
            back=(3, 164),
            seconds=0,
        )


def working() -> Iterator[Record]:
    """One session of five hours, a record a minute."""
    for minute in range(300):
        yield from exchange(
            *(DAY + timedelta(minutes=minute), SOURCE, 40_000, TARGET, 22),
            sent=(12, 2_000),
            back=(12, 3_600),
            seconds=50,
        )


def jumping() -> Iterator[Record]:
    """A bastion on which 60 people work, for minutes, on hosts of theirs."""
    for person in range(60):
        for step in range(2):
            yield from exchange(
                DAY + timedelta(seconds=person * 20 + step),
                *("10.0.0.10", 40_000 + 2 * person + step, f"10.0.2.{person}", 22),
                sent=(150 + 9 * person, 9_000 + 700 * person),
                back=(200, 30_000 + 5_000 * person),
                seconds=400 + 30 * person,
            )


def refused() -> Iterator[Record]:
    """A security group lets none of it through."""
    for guess in range(500):
        yield from exchange(
            *(DAY + timedelta(seconds=guess), SOURCE, 40_000 + guess, TARGET, 22),
            sent=(12, 2_000),
            back=None,
            action="REJECT",
        )


def scanning() -> Iterator[Record]:
    """Probes of port 22 that are answered by a reset, or not at all."""
    for host in range(200):
        yield from exchange(
            *(DAY + timedelta(seconds=host), SOURCE, 40_000, f"10.0.{host}.1", 22),
            sent=(1, 44),
            back=(1, 40) if host % 2 else None,
            seconds=0,
        )


def serving() -> Iterator[Record]:
    """A host that many guess at is not one who guesses."""
    for source in range(60):
        yield from exchange(
            *(DAY + timedelta(seconds=source), f"198.51.100.{source}", 40_000, TARGET, 22),
        )


@pytest.mark.parametrize(
    "traffic",
    [
        cloning,
        deploying,
        copying,
        asking,
        checking,
        knocking,
        working,
        jumping,
        refused,
        scanning,
        serving,
    ],
)
def test_it_is_no_guessing(traffic: Callable[[], Iterator[Record]]) -> None:
    assert brute_force(flows(traffic())).equals(INCIDENTS.to_frame())


@pytest.mark.parametrize(("sent", "back"), [((4, 216), (3, 164)), ((6, 360), None)])
def test_opening_a_connection_is_no_guess_where_no_keys_are_exchanged(
    sent: tuple[int, int], back: tuple[int, int] | None
) -> None:
    """A health check, and SYNs that nobody answers."""
    records = [
        row
        for number in range(100)
        for row in exchange(
            *(DAY + timedelta(seconds=5 * number), SOURCE, 40_000 + number, TARGET, 21),
            sent=sent,
            back=back,
        )
    ]
    assert brute_force(flows(records), ports=(21,)).is_empty()
    assert brute_force(flows(guesses(40, port=21)), ports=(21,)).height == 1


def test_nothing_was_recorded() -> None:
    assert brute_force(flows()).equals(INCIDENTS.to_frame())
