"""A clock that is wrong, forward or back, in whatever works on a lake: nothing lost, nothing twice.

The clock is wrong for all of a process, delta-rs too, and so are the times of the files it writes.
"""

import os
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import polars as pl
import pytest

import flowlake
from flowlake import alarms
from tests import crashing
from tests.test_alarms import DAY as MARCH
from tests.test_alarms import convert, deliver_object, knocks, rules, told
from tests.test_crashes import deadly
from tests.test_exactly_once import assert_right, clean, put, raw_object

__all__ = ["deadly"]

DAY = 86_400
WRONG = (0, -400 * DAY, 40 * DAY, 0, 3 * DAY, -3600, -10 * DAY, 0)
"""Seconds, one run after the other; the first four do for every day."""

RULES = """
[delivery.log]
kind = "file"
path = "{path}"

[[alarm]]
name = "scanned"
kind = "port_scan"
deliver = ["log"]

[[alarm]]
name = "quiet"
kind = "silent_interface"
"""


@pytest.mark.parametrize("runs", [pytest.param(len(WRONG), marks=pytest.mark.long), 4])
def test_every_run_has_another_clock(deadly: None, tmp_path: Path, runs: int) -> None:
    place, lake = str(tmp_path), str(tmp_path / "lake")
    config = rules(tmp_path, RULES)
    for number, wrong in enumerate(WRONG[:runs]):
        put(place, *raw_object(number))
        put(place, raw_object(0)[0], raw_object(0, records=number + 2)[1])
        lines = knocks(f"203.0.113.{number}", range(1, 41), 90 * number)
        deliver_object(place, 50 + number, [*lines, "one wrong line"])
        for work in (
            ("convert", f"{place}/raw", lake),
            ("alarms", lake, config),
            ("compact", lake),
            ("vacuum", lake, "7"),
            ("alarms", lake, config),
        ):
            begun = time.time()
            env = {**os.environ, "CLOCK": str(wrong)}
            assert crashing.run(*work, env=env) == 0, (wrong, work)
            for path in (tmp_path / "lake").rglob("*"):
                if path.is_file() and begun < path.stat().st_mtime < begun + DAY / 24:
                    os.utime(path, (begun + wrong, begun + wrong))
        assert_right(place, clean(place, tmp_path))
        scans = flowlake.open_lake(lake).findings().filter(pl.col("alarm") == "scanned")
        assert sorted(scans["who"]) == [f"203.0.113.{each}" for each in range(number + 1)]
        assert sorted(each["who"] for each in told(tmp_path)) == sorted(scans["who"])


def test_a_claim_of_a_time_to_come_is_over(deadly: None, tmp_path: Path) -> None:
    """A run whose clock was a year ahead died before it sent: the next one sends."""
    place, lake, config = str(tmp_path), str(tmp_path / "lake"), rules(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 41), 0))
    convert(place)
    steps = tmp_path / "steps"
    ahead = {**os.environ, "CLOCK": str(365 * DAY)}
    crashing.run("alarms", lake, config, kill_before=3, steps=steps, env=ahead)
    assert steps.read_text().splitlines()[3:] == ["a finding sent"]
    assert told(tmp_path) == []
    assert flowlake.run_alarms(lake, config).sent == 1
    assert flowlake.run_alarms(lake, config).sent == 0
    assert len(told(tmp_path)) == 1


@pytest.mark.parametrize("days", [0, 1, 400])
def test_a_clock_behind_the_records(
    tmp_path: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that goes by the clock must not stop the others, and finds no silence."""
    place = str(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 41), 0))
    convert(place)

    class Behind(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return MARCH - timedelta(days=days)

    monkeypatch.setattr(alarms, "datetime", Behind)
    found = flowlake.run_alarms(f"{place}/lake", rules(tmp_path, RULES))
    assert [each["alarm"] for each in found.new] == ["scanned"]
    assert found.sent == 1
