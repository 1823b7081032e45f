"""Interfaces that are recorded no more, and those of which that says nothing."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from flowlake.detections import INCIDENTS
from flowlake.detections.silence import silent_interface
from tests.behaviour import DAY, Record, counts, evidence, flows, only, record

HOUR = timedelta(hours=1)


def recorded(
    interface: str, begin: float, end: float, every: float = 1 / 6, **fields: Any
) -> Iterator[Record]:
    """A record each ten minutes, of as long, between two hours counted from midnight."""
    number = round((end - begin) / every)
    for each in range(number):
        quiet: dict[str, Any] = {"log_status": "NODATA", "action": None, "protocol": None}
        yield record(
            DAY + (begin + each * every) * HOUR,
            *(every * 3_600 if every < 1 else 60,),
            **{"interface_id": interface, **(quiet if each % 2 else {}), **fields},
        )


def test_an_interface_is_gone() -> None:
    history = flows(recorded("eni-1", -24, 0), recorded("eni-2", -24, 0))
    records = flows(recorded("eni-1", 0, 5), recorded("eni-2", 0, 2))
    found = only(silent_interface(records, history))
    assert found["who"] == found["subject"] == "eni-2"
    assert (found["first_seen"], found["last_seen"]) == (DAY + 2 * HOUR, DAY + 5 * HOUR)
    assert (found["flows"], found["peak"], found["whom"]) == (0, 3, None)
    assert counts(found) == {"last_record": "2026-03-02T02:00:00+00:00", "hours": 24, "of": 24}
    assert found["why"] == (
        "eni-2 had records in 24 of 24 hours and has none since 2026-03-02 02:00 UTC, 3 hours "
        "before the newest."
    )
    assert evidence(found, records) == 0


@pytest.mark.parametrize(("end", "incidents"), [(1, 1), (7 / 6, 0)])
def test_after_an_hour_it_is_silent(end: float, incidents: int) -> None:
    history = flows(recorded("eni-1", -24, 0), recorded("eni-2", -24, 0))
    records = flows(recorded("eni-1", 0, 2), recorded("eni-2", 0, end))
    assert silent_interface(records, history).height == incidents
    assert silent_interface(records, history, after=2 * HOUR).is_empty()


@pytest.mark.parametrize(("hours", "incidents"), [(11, 0), (12, 1)])
def test_half_of_the_past_must_be_known(hours: float, incidents: int) -> None:
    records = flows(recorded("eni-1", 0, 3), recorded("eni-2", 0, 0.5))
    history = flows(*(recorded(eni, -hours, 0) for eni in ("eni-1", "eni-2")))
    assert silent_interface(records, history).height == incidents


def test_without_history_the_flows_have_a_past_of_their_own() -> None:
    records = flows(recorded("eni-1", -24, 4), recorded("eni-2", -24, 0))
    assert only(silent_interface(records, flows()))["who"] == "eni-2"


def test_who_has_records_now_and_then_or_is_young_is_no_subject() -> None:
    history = flows(
        recorded("eni-1", -24, 0),
        recorded("eni-rare", -24, 0, every=2),
        recorded("eni-young", -10, 0),
        recorded("eni-holes", -24, -13),
        recorded("eni-holes", -11, 0),
    )
    assert silent_interface(flows(recorded("eni-1", 0, 5)), history).equals(INCIDENTS.to_frame())


def test_one_hour_without_a_record_is_forgiven() -> None:
    history = flows(
        recorded("eni-1", -24, 0), recorded("eni-2", -24, -13), recorded("eni-2", -12, 0)
    )
    records = flows(recorded("eni-1", 0, 5), recorded("eni-2", 0, 0.5))
    found = only(silent_interface(records, history))
    assert (counts(found)["hours"], counts(found)["of"]) == (23, 24)


def test_a_flow_log_is_deleted() -> None:
    history = flows(
        recorded("eni-other", -24, 0, flow_log_id="fl-2"),
        *(recorded(f"eni-{each}", -24, 0.1 * each) for each in range(10)),
    )
    records = flows(recorded("eni-other", 0, 5, flow_log_id="fl-2"))
    found = only(silent_interface(records, history))
    assert found["who"] == "fl-1"
    assert found["condition"] == "flow_log_id = 'fl-1'"
    assert counts(found)["interfaces"] == counts(found)["of"] == 10
    assert found["first_seen"] == DAY + timedelta(minutes=50)
    assert found["why"].startswith("10 of 10 interfaces that fl-1 recorded in all hours have no ")


def test_interfaces_of_a_flow_log_that_fall_silent_one_by_one() -> None:
    other: dict[str, Any] = {"interface": "eni-other", "flow_log_id": "fl-2"}
    history = flows(
        recorded(begin=-24, end=0, **other), *(recorded(f"eni-{n}", -24, 0) for n in "123")
    )
    records = flows(
        recorded(begin=0, end=9, **other), *(recorded(f"eni-{n}", 0, 2 * int(n)) for n in "123")
    )
    assert silent_interface(records, history)["who"].to_list() == ["eni-1", "eni-2", "eni-3"]


@pytest.mark.parametrize(("gone", "who"), [(8, "eni-"), (9, "fl-1")])
def test_nearly_all_of_a_flow_log(gone: int, who: str) -> None:
    history = flows(*(recorded(f"eni-{n}", -24, 0) for n in range(10)))
    found = silent_interface(flows(*(recorded(f"eni-{n}", 0, 3) for n in range(gone, 10))), history)
    assert found.height == (1 if gone == 9 else 8)
    assert found["who"].str.starts_with(who).all()


def test_without_the_flow_log_s_name_it_is_the_account_and_region() -> None:
    nameless: dict[str, Any] = {"flow_log_id": None}
    history = flows(
        *(recorded(f"eni-{n}", -24, 0, **nameless) for n in range(3)),
        recorded("eni-other", -24, 0, region="us-east-1", **nameless),
    )
    records = flows(recorded("eni-other", 0, 5, region="us-east-1", **nameless))
    found = only(silent_interface(records, history))
    assert found["who"] == "123456789012 eu-west-1"
    assert found["condition"] == "account_id = '123456789012' AND region = 'eu-west-1'"


def test_another_flow_log_still_records_them() -> None:
    """One of two flow logs on the same interfaces is deleted."""
    both = [
        recorded(f"eni-{n}", -24, 0, flow_log_id=log) for n in "123" for log in ("fl-1", "fl-2")
    ]
    records = flows(*(recorded(f"eni-{n}", 0, 5, flow_log_id="fl-2") for n in "123"))
    assert only(silent_interface(records, flows(*both)))["who"] == "fl-1"
    one = [recorded("eni-1", -24, 0, flow_log_id=log) for log in ("fl-1", "fl-2")]
    assert silent_interface(records, flows(*one)).is_empty()


def test_all_is_silent_or_nothing_was_recorded() -> None:
    history = flows(recorded("eni-1", -24, 0), recorded("eni-2", -24, -5))
    assert silent_interface(flows(), history).equals(INCIDENTS.to_frame())
    assert silent_interface(flows(), flows()).equals(INCIDENTS.to_frame())
