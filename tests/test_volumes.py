"""Hours that stand out of an interface's past, and those that only seem to."""

import random
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from flowlake.detections import INCIDENTS
from flowlake.detections.volumes import egress_volume, reject_surge
from tests.behaviour import DAY, Record, counts, evidence, flows, only, record

OWN, OUTSIDE, HOUR = "10.0.1.5", "203.0.113.9", timedelta(hours=1)
MB = 1_000_000


def sent(hour: int, size: float, target: str = OUTSIDE, source: str = OWN, **fields: Any) -> Record:
    """What an interface sent to an address in an hour, counted from midnight of the day."""
    ends: Record = {"srcaddr": source, "dstaddr": target, "srcport": 40_000, "dstport": 443}
    volume: Record = {"packets": round(size / 1_400) + 1, "bytes": round(size)}
    return record(DAY + hour * HOUR + timedelta(minutes=7), 50, **ends, **volume, **fields)


def past(hours: int = 14 * 24, size: float = 50 * MB, **fields: Any) -> list[Record]:
    """The same volume in each of the hours before the day."""
    return [sent(hour, size, **fields) for hour in range(-hours, 0)]


def test_far_more_than_ever() -> None:
    records = flows([sent(3, 4_000 * MB), sent(3, 1_000 * MB, "192.0.2.7"), sent(4, 50 * MB)])
    found = only(egress_volume(records, flows(past())))
    assert (found["who"], found["whom"], found["subject"]) == ("eni-1", OUTSIDE, "eni-1")
    assert found["first_seen"] == DAY + timedelta(hours=3, minutes=7)
    assert found["last_seen"] == found["first_seen"] + timedelta(seconds=50)
    assert (found["flows"], found["bytes"]) == (2, 5_000 * MB)
    assert found["peak"] == pytest.approx(100)
    assert counts(found)["usual"] == 50 * MB
    assert found["why"] == (
        "eni-1 (10.0.1.5) sent 5 GB to the outside in the hour from 03:00 UTC, 100.0 times what "
        "was usual; 80% of it all went to 203.0.113.9."
    )
    assert evidence(found, records) == 2


@pytest.mark.parametrize(("size", "incidents"), [(150, 1), (149.9, 0)])
def test_the_factor_is_over_the_most_of_any_past_hour(size: float, incidents: int) -> None:
    assert egress_volume(flows([sent(3, size * MB)]), flows(past())).height == incidents


@pytest.mark.parametrize(("size", "incidents"), [(100, 1), (99.9, 0)])
def test_what_is_little_for_anybody_is_none(size: float, incidents: int) -> None:
    records = flows([sent(3, size * MB)])
    found = egress_volume(records, flows(past(size=1_000)))
    assert found.height == incidents
    if incidents:
        assert "next to nothing in the past" not in found["why"][0]
        assert only(egress_volume(records, flows(past(size=0))))["peak"] == pytest.approx(100)


@pytest.mark.parametrize(("hours", "incidents"), [(23, 0), (24, 1)])
def test_without_a_past_nothing_is_said(hours: int, incidents: int) -> None:
    records = flows([sent(12, 5_000 * MB)])
    assert egress_volume(records, flows(past(hours))).height == incidents
    quiet = [
        record(DAY + hour * HOUR, log_status="NODATA", action=None) for hour in range(-hours, 0)
    ]
    assert egress_volume(records, flows(quiet)).height == incidents


def test_older_than_the_days_is_no_past() -> None:
    records, once = flows([sent(3, 5_000 * MB)]), sent(3 - 14 * 24, 5_000 * MB)
    assert egress_volume(records, flows(past(), [once])).is_empty()
    assert egress_volume(records, flows(past(), [once]), days=13).height == 1


def test_hours_in_a_row_are_one_incident() -> None:
    theft = [sent(hour, 2_000 * MB) for hour in (2, 3, 5)] + [sent(8, 2_000 * MB)]
    records = flows(theft, [sent(4, 10 * MB)])
    found = egress_volume(records, flows(past()))
    assert found["flows"].to_list() == [4, 1]
    assert found["bytes"].to_list() == [6_010 * MB, 2_000 * MB]
    assert [evidence(each, records) for each in found.iter_rows(named=True)] == [4, 1]


def backups(nights: Iterable[int], late: int = 0) -> Iterator[Record]:
    """20 GB each night, at two or a little later, give or take a fifth."""
    chance = random.Random(1)
    for night in nights:
        yield sent(24 * night + 2 + late * (night % 2), 20_000 * MB * chance.uniform(0.8, 1.2))


@pytest.mark.parametrize("late", [0, 1])
def test_a_backup_each_night_is_usual(late: int) -> None:
    records = flows(backups([0], late))
    assert egress_volume(records, flows(past(), backups(range(-14, 0), late))).is_empty()
    assert only(egress_volume(records, flows(past())))["peak"] > 300


def test_a_backup_each_week_is_usual() -> None:
    assert egress_volume(flows(backups([0])), flows(past(), backups([-14, -7]))).is_empty()


def test_hours_of_the_flows_are_past_for_those_after() -> None:
    records = flows(past(96), backups([-2, -1, 0]))
    found = only(egress_volume(records, flows()))
    assert found["first_seen"] == DAY - timedelta(days=2) + timedelta(hours=2, minutes=7)


def test_a_busy_server_with_days_and_nights() -> None:
    chance = random.Random(2)
    day = [1 if hour % 24 < 7 else 40 for hour in range(15 * 24)]
    served = [
        sent(
            hour - 14 * 24,
            20 * MB * load * chance.lognormvariate(0, 0.6),
            f"198.51.100.{hour % 99}",
        )
        for hour, load in enumerate(day)
    ]
    found = egress_volume(flows(served[14 * 24 :]), flows(served[: 14 * 24]))
    assert found.equals(INCIDENTS.to_frame())


@pytest.mark.parametrize(
    ("loads", "usual"),
    [((50, 50, 50), 50), ((40, 50, 62.5), 50 * 1.25**4.4478), ((10, 40, 160), 3 * 160)],
)
def test_days_that_differ_make_more_usual(loads: tuple[float, ...], usual: float) -> None:
    """Logarithms of 40, 50 and 62.5 are as far apart; 50 is the median."""
    days = [sent(24 * day + 9, loads[day % 3] * MB) for day in range(-12, 0)]
    history = flows(days, past(size=MB))
    found = only(egress_volume(flows([sent(9, 9_000 * MB)]), history))
    assert counts(found)["usual"] == pytest.approx(usual * MB, rel=0.03)


def test_what_was_in_the_past_is_no_news() -> None:
    history = flows(past(), [sent(-1, 9_000 * MB)])
    assert egress_volume(flows([sent(0, MB)]), history).is_empty()
    assert only(egress_volume(flows([sent(0, 3_000 * MB)]), history))["peak"] == pytest.approx(60)


def test_the_threshold_only_chooses() -> None:
    records = flows(
        sent(hour, size * MB) for hour, size in [(1, 160), (5, 800), (9, 120), (10, 260)]
    )
    every = egress_volume(records, flows(past()), factor=1)
    assert every.height == 3
    for factor in (2, 3, 5, 10, 20):
        found = egress_volume(records, flows(past()), factor=factor)
        assert found.equals(every.filter(every["peak"] >= factor))


def test_overlapping_flow_logs_do_not_double_it() -> None:
    twice = [sent(3, 120 * MB, flow_log_id=log) for log in ("fl-1", "fl-2")]
    assert egress_volume(flows(twice), flows(past(size=60 * MB)), factor=2.1).is_empty()
    found = only(egress_volume(flows(twice), flows(past(size=60 * MB)), factor=2))
    assert (found["bytes"], found["flows"], found["peak"]) == (120 * MB, 2, pytest.approx(2))


def test_the_direction_is_told_by_the_format_or_by_the_private_side() -> None:
    home = flows(past())
    passing: Record = {"source": "10.0.7.7", "flow_direction": "ingress"}
    own_ipv6: Record = {
        "source": "2001:db8::5",
        "target": "2001:db8:9::1",
        "flow_direction": "egress",
    }
    for ignored in (
        sent(3, 5_000 * MB, OWN, OUTSIDE),
        sent(3, 5_000 * MB, "10.0.9.9"),
        sent(3, 5_000 * MB, **passing),
        sent(3, 5_000 * MB, action="REJECT"),
    ):
        assert egress_volume(flows([ignored]), home).is_empty()
    unknown: Record = {"interface_id": None}
    assert egress_volume(flows([sent(3, 5_000 * MB, **unknown)]), flows(past(**unknown))).is_empty()
    assert egress_volume(flows([sent(3, 5_000 * MB, **own_ipv6)]), home).height == 1


def test_a_partner_s_network_may_be_outside() -> None:
    records, home = flows([sent(3, 5_000 * MB, "10.200.0.1")]), flows(past())
    assert egress_volume(records, home).is_empty()
    found = only(egress_volume(records, home, outside=["10.200.0.0/16"]))
    assert (found["whom"], evidence(found, records)) == ("10.200.0.1", 1)
    answers = flows([sent(3, 5_000 * MB, OUTSIDE, "10.200.0.1")])
    assert egress_volume(answers, home, outside=["10.200.0.0/16"]).is_empty()


def refused(
    hour: int, number: int, source: str = OUTSIDE, port: int = 22, **fields: Any
) -> Iterator[Record]:
    """As many REJECT records in an hour."""
    ends: Record = {"srcaddr": source, "dstaddr": OWN, "srcport": 40_000, "dstport": port}
    probe: Record = {**ends, "packets": 1, "bytes": 44, "action": "REJECT", **fields}
    for each in range(number):
        yield record(DAY + hour * HOUR + timedelta(seconds=each % 3_500), **probe)


def background(hours: int) -> Iterator[Record]:
    """The Internet knocks, 40 times an hour."""
    for hour in range(-hours, 0):
        yield from refused(hour, 40, f"198.51.100.{hour % 200}")


def test_far_more_is_refused_than_ever() -> None:
    records = flows(refused(2, 300), refused(2, 60, "192.0.2.1", 23), refused(3, 40))
    found = only(reject_surge(records, flows(background(48))))
    assert (found["who"], found["whom"], found["flows"]) == ("eni-1", OUTSIDE, 360)
    assert found["peak"] == pytest.approx(9)
    assert counts(found)["port"] == 22
    assert found["why"] == (
        "eni-1 (10.0.1.5) had 360 REJECT records in the hour from 02:00 UTC, 9.0 times what was "
        "usual; 83% of them all are with 203.0.113.9."
    )
    assert evidence(found, records) == 360


@pytest.mark.parametrize(("number", "incidents"), [(99, 0), (100, 1)])
def test_a_few_refused_are_no_surge(number: int, incidents: int) -> None:
    quiet = past(48, 1_000)
    assert reject_surge(flows(refused(2, number)), flows(quiet)).height == incidents


def test_what_is_let_through_is_no_surge() -> None:
    records = flows(refused(2, 900, action="ACCEPT"), refused(2, 40))
    assert reject_surge(records, flows(background(48))).is_empty()


def test_what_is_refused_on_the_way_out_names_the_destination() -> None:
    out: Record = {"srcaddr": OWN, "dstaddr": OUTSIDE}
    found = only(reject_surge(flows(refused(2, 200, **out)), flows(past(48, 1_000))))
    assert (found["whom"], counts(found)["address"]) == (OUTSIDE, OWN)


def test_records_of_two_flow_logs_are_not_twice_as_many() -> None:
    twice = flows(refused(2, 110), refused(2, 110, flow_log_id="fl-2"))
    assert reject_surge(twice, flows(background(48))).is_empty()


def test_nothing_was_recorded() -> None:
    for find in (egress_volume, reject_surge):
        assert find(flows(), flows()).equals(INCIDENTS.to_frame())
