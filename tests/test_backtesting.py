"""Rules replayed: what they would have told, how right they are, what thresholds cost."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

import flowlake
from flowlake.alarms import run_alarms
from flowlake.backtesting import backtest, read_labels
from flowlake.errors import UsageError
from flowlake.rules import parse_rules
from tests.test_alarms import DAY, TARGET, convert, deliver_object, knocks
from tests.test_cli import Run, run

__all__ = ["run"]

RULES = '[[alarm]]\nname = "scanned"\nkind = "port_scan"\nports = 15\n'
LABELS = f"""kind,who,whom,first_seen,last_seen,note
port_scan,203.0.113.9,{TARGET},2026-03-01T12:00:00Z,2026-03-01T12:01:00Z,found
port_scan,203.0.113.0/28,,2026-03-02T12:00:00Z,2026-03-02T12:01:00Z,a network; too few ports
port_scan,30 sources,10.0.9.9,2026-03-01T12:00:00Z,2026-03-01T12:01:00Z,nobody was there
beacon,10.0.3.4,198.51.100.1,2026-03-01T12:00:00Z,2026-03-01T12:01:00Z,no alarm for it
allowed,198.51.100.9,,2026-03-01T12:00:00Z,2026-03-01T12:01:00Z,our scanner
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("backtest"))
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    deliver_object(place, 2, knocks("203.0.113.10", range(1, 13), 24 * 60))
    deliver_object(place, 3, knocks("198.51.100.9", range(1, 101), 0))
    convert(place)
    Path(place, "labels.csv").write_text(LABELS)
    return place


def test_figures(place: str) -> None:
    labels = read_labels(f"{place}/labels.csv")
    done = backtest(flowlake.open_lake(f"{place}/lake"), parse_rules(RULES), labels=labels)
    (score,) = done.scores.to_dicts()
    days = (timedelta(days=1) + timedelta(seconds=22)) / timedelta(days=1)
    assert score == {
        "alarm": "scanned",
        "kind": "port_scan",
        "incidents": 2,
        "a_day": pytest.approx(2 / days),
        "true": 1,
        "labels": 3,
        "found": 1,
        "precision": 0.5,
        "recall": pytest.approx(1 / 3),
    }
    assert done.incidents.select("who", "true").rows() == [
        ("198.51.100.9", False),
        ("203.0.113.9", True),
    ] or done.incidents.select("who", "true").rows() == [
        ("203.0.113.9", True),
        ("198.51.100.9", False),
    ]
    assert set(done.missed["note"]) == {
        "a network; too few ports",
        "nobody was there",
        "no alarm for it",
    }
    assert done.days.rows() == [("scanned", DAY.date(), 2)]


def test_thresholds(place: str) -> None:
    labels = read_labels(f"{place}/labels.csv")
    lake = flowlake.open_lake(f"{place}/lake")
    done = backtest(lake, parse_rules(RULES), labels=labels)
    rows = {row["threshold"]: row for row in done.thresholds.to_dicts()}
    assert list(rows) == [8, 10, 13, 15, 22, 30, 45, 75]
    assert [rows[n]["incidents"] for n in rows] == [3, 3, 2, 2, 2, 2, 1, 1]
    assert [rows[n]["found"] for n in rows] == [2, 2, 1, 1, 1, 1, 0, 0]
    assert [n for n in rows if rows[n]["in_use"]] == [15]
    assert [n for n in rows if rows[n]["suggested"]] == [8]
    for threshold, row in rows.items():
        rules = parse_rules(RULES.replace("ports = 15", f"ports = {threshold:.0f}"))
        assert backtest(lake, rules).scores["incidents"].to_list() == [row["incidents"]]


def test_without_labels_a_quiet_threshold_is_suggested(place: str) -> None:
    done = backtest(flowlake.open_lake(f"{place}/lake"), parse_rules(RULES))
    assert "precision" not in done.scores.columns
    assert done.incidents["true"].null_count() == 2
    assert done.thresholds.filter(pl.col("suggested"))["threshold"].to_list() == [45]


def test_a_window(place: str) -> None:
    lake, rules = flowlake.open_lake(f"{place}/lake"), parse_rules(RULES)
    assert backtest(lake, rules, since=DAY + timedelta(hours=20)).scores["incidents"].sum() == 0
    assert backtest(lake, rules, until=DAY + timedelta(hours=20)).scores["incidents"].sum() == 2


def test_it_finds_what_a_run_finds(place: str, tmp_path: Path) -> None:
    lake, rules = flowlake.open_lake(f"{place}/lake"), parse_rules(RULES)
    found = backtest(lake, rules).incidents
    done = run_alarms(f"{place}/lake", rules)
    columns = ("who", "whom", "first_seen", "last_seen", "flows", "peak")
    assert sorted(found.select(columns).rows()) == sorted(
        tuple(each[name] for name in columns) for each in done.new
    )


def test_nothing_is_kept(place: str, tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    backtest(flowlake.open_lake(lake), parse_rules(RULES))
    assert not Path(lake, "findings").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no CSV of labels"),
        ("kind,who\n", "no column whom"),
        (LABELS.replace("2026-03-01T12:00:00Z", "yesterday"), "'yesterday' is not a time"),
        (LABELS.replace("2026-03-01T12:00:00Z", ""), "no CSV of labels|is not a time"),
    ],
    ids=["empty", "columns", "time", "no time"],
)
def test_labels_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_labels(path)


def test_the_command(place: str, tmp_path: Path, run: Run) -> None:
    config = tmp_path / "alarms.toml"
    config.write_text(RULES)
    given = ("alarms", "backtest", "-c", str(config), "--lake", f"{place}/lake")
    labelled = (*given, "--labels", f"{place}/labels.csv")
    shown = run(*labelled)
    assert shown.code == 0
    assert "precision" in shown.out
    assert "suggested" in shown.out
    for part, rows in (("scores", 1), ("thresholds", 8), ("days", 1), ("incidents", 2)):
        assert len(run(*labelled, "--part", part, "--format", "json").json()) == rows
    assert len(run(*labelled, "--part", "missed", "--format", "json").json()) == 3
    assert run(*given, "--format", "json").code == 2
    assert run(*given, "--part", "nothing").code == 2
