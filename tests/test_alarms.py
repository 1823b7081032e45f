"""An incident is told of once: split, late, repeated, raced, killed, compacted."""

import json
import multiprocessing
import os
import random
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from isal import igzip

import flowlake
from flowlake import alarms, findings
from flowlake.alarms import AlarmRun, run_alarms
from flowlake.compacting import compact
from flowlake.errors import CommitConflict, UsageError
from flowlake.fields import DEFAULT_FORMAT
from flowlake.interfaces import keep, read_inventory_file
from flowlake.layout import object_key
from flowlake.rules import parse_rules
from flowlake.spans import new_spans
from flowlake.vacuuming import vacuum
from tests.test_cli import Run, run
from tests.test_exactly_once import put

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT, REGION = "000123456789", "eu-west-1"
TARGET = "10.0.3.17"
RULES = """
[delivery.log]
kind = "file"
path = "{path}"

[[alarm]]
name = "scanned"
kind = "port_scan"
ports = 15
deliver = ["log"]
"""

__all__ = ["run"]


def knocks(
    source: str, ports: Sequence[int], minute: float, *, seconds: float = 2, target: str = TARGET
) -> list[str]:
    """A record for each port that a source was refused at, so many seconds apart."""
    begin = DAY + timedelta(minutes=minute)
    lines = []
    for number, port in enumerate(ports):
        at = int((begin + timedelta(seconds=seconds * number)).timestamp())
        lines.append(
            f"2 {ACCOUNT} eni-0a {source} {target} {40000 + number} {port} 6 1 44 {at} {at + 1} "
            "REJECT OK"
        )
    return lines


def deliver_object(place: str, number: int, lines: Sequence[str]) -> str:
    """Put a raw object of these records."""
    key = object_key(ACCOUNT, REGION, "fl-0abc", DAY, f"{number:08x}")
    text = "\n".join([" ".join(DEFAULT_FORMAT), *lines, ""])
    return put(place, key, igzip.compress(text.encode()))


def convert(place: str) -> None:
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)


def rules(folder: Path, text: str = RULES) -> str:
    path = folder / "alarms.toml"
    path.write_text(text.format(path=folder / "told.jsonl"))
    return str(path)


def told(folder: Path) -> list[dict[str, Any]]:
    path = folder / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def figures(lake: str) -> list[tuple[Any, ...]]:
    """What is known of each incident, without the names of its finding."""
    found = flowlake.open_lake(lake).findings().filter(pl.col("state") != "merged")
    columns = ("alarm", "who", "whom", "first_seen", "last_seen", "flows", "bytes", "peak")
    return sorted(found.select(columns).rows())


def test_an_incident_is_told_once(place: str, tmp_path: Path) -> None:
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 41), 0))
    deliver_object(place, 2, knocks("203.0.113.10", range(1, 6), 0))
    convert(place)
    lake, config = f"{place}/lake", rules(tmp_path)
    first = run_alarms(lake, config)
    assert [each["who"] for each in first.new] == ["203.0.113.9"]
    assert (first.grown, first.sent, first.failed) == ([], 1, [])
    (message,) = told(tmp_path)
    finding = flowlake.open_lake(lake).findings().row(0, named=True)
    assert message["id"] == finding["id"] == first.new[0]["id"]
    assert message["state"] == "new"
    assert (finding["who"], finding["whom"]) == ("203.0.113.9", TARGET)
    assert (finding["account_ids"], finding["regions"]) == ([ACCOUNT], [REGION])
    assert (finding["state"], finding["severity"]) == ("open", "medium")
    assert finding["first_seen"] == DAY
    assert finding["last_seen"] == DAY + timedelta(seconds=79)
    assert (finding["flows"], finding["peak"]) == (40, 40)
    assert [each["state"] for each in finding["deliveries"]] == ["sent"]
    again = run_alarms(lake, config)
    assert again == AlarmRun()
    assert len(told(tmp_path)) == 1


def test_the_evidence_is_the_records(tmp_path: Path, run: Run, monkeypatch: Any) -> None:
    place = str(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 41), 0))
    deliver_object(place, 2, knocks("203.0.113.10", range(1, 6), 0))
    convert(place)
    lake = f"{place}/lake"
    (finding,) = run_alarms(lake, rules(tmp_path)).new
    opened = flowlake.open_lake(lake)
    assert alarms.records_of(opened, finding, 100).height == finding["flows"] == 40
    command = alarms.evidence(finding, lake)
    assert command.startswith('flowlake sql "SELECT * FROM flows WHERE ')
    shown = run(*shlex.split(command)[1:], "--format", "json")
    assert len(shown.json()) == 40


def test_an_incident_of_two_conversions_is_one(place: str, tmp_path: Path) -> None:
    lake, config = f"{place}/lake", rules(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    (first,) = run_alarms(lake, config).new
    deliver_object(place, 2, knocks("203.0.113.9", range(31, 91), 20))
    convert(place)
    second = run_alarms(lake, config)
    assert second.new == []
    (grown,) = second.grown
    assert grown["id"] == first["id"]
    assert (grown["flows"], grown["peak"]) == (90, 90)
    assert grown["first_seen"] == DAY
    assert grown["last_seen"] == DAY + timedelta(minutes=20, seconds=119)
    assert len(told(tmp_path)) == 1


def test_late_records_join_two_incidents(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    lake = f"{place}/lake"
    for number, minute in ((1, 0), (2, 100)):
        deliver_object(place, number, knocks("203.0.113.9", range(1, 31), minute))
    convert(place)
    assert len(run_alarms(lake, config).new) == 2
    deliver_object(place, 3, knocks("203.0.113.9", range(1, 31), 50))
    convert(place)
    assert run_alarms(lake, config).new == []
    found = flowlake.open_lake(lake).findings()
    assert sorted(found["state"]) == ["merged", "open"]
    assert found.filter(state="open")["flows"].to_list() == [90]
    assert len(told(tmp_path)) == 2


def test_what_was_joined_before_it_was_told_is_told_once(tmp_path: Path) -> None:
    place, folder = str(tmp_path), tmp_path / "later"
    config = rules(tmp_path, RULES.replace("{path}", str(folder / "told.jsonl")))
    for number, minute in ((1, 0), (2, 100)):
        deliver_object(place, number, knocks("203.0.113.9", range(1, 31), minute))
    convert(place)
    first = run_alarms(f"{place}/lake", config)
    assert len(first.failed) == 2
    deliver_object(place, 3, knocks("203.0.113.9", range(1, 31), 50))
    convert(place)
    folder.mkdir()
    assert run_alarms(f"{place}/lake", config).sent == 1
    assert [each["flows"] for each in told(folder)] == [90]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 40))]
)
def test_many_runs_find_what_one_finds(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order in which objects come, and however many there are between two runs.

    So does one run that looks at the lake piece by piece.
    """
    chance = random.Random(seed)
    objects = [
        knocks(f"203.0.{chance.randint(1, 4)}.9", chance.sample(range(1, 999), 12), minute)
        for minute in range(0, 600, 10)
    ]
    chance.shuffle(objects)
    many, one, cut = (str(tmp_path / name) for name in ("many", "one", "cut"))
    config = rules(tmp_path)
    runs = 0
    for number, lines in enumerate(objects):
        deliver_object(many, number, lines)
        deliver_object(one, number, lines)
        deliver_object(cut, number, lines)
        if chance.random() < 0.2:
            convert(many)
            run_alarms(f"{many}/lake", config)
            runs += 1
    for place in (many, one, cut):
        if place == cut:
            monkeypatch.setattr(alarms, "PIECE", timedelta(hours=1))
        convert(place)
        run_alarms(f"{place}/lake", config)
    assert runs > 3
    assert figures(f"{cut}/lake") == figures(f"{one}/lake")
    assert figures(f"{many}/lake") == figures(f"{one}/lake")
    assert len(figures(f"{one}/lake")) > 3


def test_compaction_is_nothing_new(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    for number in range(5):
        deliver_object(place, number, knocks("203.0.113.9", range(1, 31), 3 * number))
        convert(place)
    run_alarms(f"{place}/lake", config)
    before = flowlake.open_lake(f"{place}/lake").version
    assert compact(f"{place}/lake").files
    opened = flowlake.open_lake(f"{place}/lake")
    assert opened.version > before
    assert new_spans(opened, before) == []
    assert run_alarms(f"{place}/lake", config) == AlarmRun()


def test_only_new_hours_are_looked_at(tmp_path: Path) -> None:
    place = str(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    before = flowlake.open_lake(f"{place}/lake").version
    deliver_object(place, 2, knocks("203.0.113.9", range(1, 31), 600))
    convert(place)
    opened = flowlake.open_lake(f"{place}/lake")
    begin = DAY + timedelta(minutes=600)
    assert new_spans(opened, before) == [(begin, begin + timedelta(seconds=58))]
    assert new_spans(opened, opened.version) == []
    assert len(new_spans(opened, None)) == 2


def test_a_log_that_was_shortened_means_to_look_at_everything(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    lake = f"{place}/lake"
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    run_alarms(lake, config)
    deliver_object(place, 2, knocks("203.0.113.8", range(1, 31), 600))
    convert(place)
    opened = flowlake.open_lake(lake)
    opened.tables.table("flows").create_checkpoint()
    for entry in Path(lake, "flows", "_delta_log").glob("*.json"):
        entry.unlink()
    done = run_alarms(lake, config)
    assert [each["who"] for each in done.new] == ["203.0.113.8"]
    assert done.grown == []


def test_an_object_that_is_replaced(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    run_alarms(f"{place}/lake", config)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 51), 0))
    convert(place)
    done = run_alarms(f"{place}/lake", config)
    assert (done.new, [each["flows"] for each in done.grown]) == ([], [50])
    assert len(told(tmp_path)) == 1


def test_a_rule_that_is_new_looks_at_everything_and_the_others_do_not(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    run_alarms(f"{place}/lake", config)
    more = RULES + '\n[[alarm]]\nname = "twenty"\nkind = "port_scan"\nports = 20\n'
    done = run_alarms(f"{place}/lake", rules(tmp_path, more))
    assert [each["alarm"] for each in done.new] == ["twenty"]
    assert done.sent == 0


def test_a_stated_time_is_looked_at_and_no_more(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    for number, minute in ((1, 0), (2, 600)):
        deliver_object(place, number, knocks("203.0.113.9", range(1, 31), minute))
    convert(place)
    late = run_alarms(f"{place}/lake", config, since=DAY + timedelta(hours=5))
    assert [each["first_seen"] for each in late.new] == [DAY + timedelta(minutes=600)]
    early = run_alarms(f"{place}/lake", config, until=DAY + timedelta(hours=5))
    assert [each["first_seen"] for each in early.new] == [DAY]
    assert run_alarms(f"{place}/lake", config) == AlarmRun()


def test_a_delivery_that_fails_is_made_by_the_next_run(tmp_path: Path) -> None:
    place = str(tmp_path)
    folder = tmp_path / "later"
    config = rules(tmp_path, RULES.replace("{path}", str(folder / "told.jsonl")))
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    first = run_alarms(f"{place}/lake", config)
    ((key, name, reason),) = first.failed
    assert (key, name, first.sent) == (first.new[0]["id"], "log", 0)
    assert "cannot be written" in reason
    folder.mkdir()
    second = run_alarms(f"{place}/lake", config)
    assert (second.new, second.grown, second.sent, second.failed) == ([], [], 1, [])
    assert [each["id"] for each in told(folder)] == [key]
    (delivery,) = flowlake.open_lake(f"{place}/lake").findings().row(0, named=True)["deliveries"]
    assert (delivery["state"], delivery["attempts"], delivery["error"]) == ("sent", 2, None)


def test_two_runs_at_once_tell_once(place: str, tmp_path: Path, monkeypatch: Any) -> None:
    """The second begins and ends between what the first finds and its commit."""
    lake, config = f"{place}/lake", rules(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    commit, others = findings.commit, list[AlarmRun]()

    def meanwhile(*given: Any) -> Any:
        if not others:
            others.append(AlarmRun())
            others.append(run_alarms(lake, config))
        return commit(*given)

    monkeypatch.setattr(alarms, "commit", meanwhile)
    mine = run_alarms(lake, config)
    assert (len(others[1].new), others[1].sent) == (1, 1)
    assert (mine.new, mine.sent) == ([], 0)
    assert len(told(tmp_path)) == 1


def test_runs_in_processes_of_their_own_tell_once(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    for number in range(1, 9):
        deliver_object(place, number, knocks(f"203.0.113.{number}", range(1, 31), 0))
    convert(place)
    _side_by_side([_run] * 3, f"{place}/lake", config)
    assert len({each["id"] for each in told(tmp_path)}) == len(told(tmp_path)) == 8


def _side_by_side(works: Sequence[Callable[..., None]], *given: str) -> list[int | None]:
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=work, args=given) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def _run(lake: str, config: str) -> None:
    run_alarms(lake, config)


def _run_and_die_before_sending(lake: str, config: str) -> None:
    setattr(alarms, "deliver", lambda *_: os._exit(9))  # noqa: B010
    run_alarms(lake, config)


def _run_and_die_after_sending(lake: str, config: str) -> None:
    setattr(alarms, "_record", lambda *_: os._exit(9))  # noqa: B010
    run_alarms(lake, config)


@pytest.mark.parametrize(
    ("death", "told_before", "told_after"),
    [(_run_and_die_before_sending, 0, 1), (_run_and_die_after_sending, 1, 2)],
    ids=["before sending", "before recording"],
)
def test_a_run_that_dies(
    tmp_path: Path,
    death: Callable[..., None],
    told_before: int,
    told_after: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is lost; a repeat happens only between sending and recording, with the same id."""
    place, config = str(tmp_path), rules(tmp_path)
    lake = f"{place}/lake"
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    assert _side_by_side([death], lake, config) == [9]
    assert len(told(tmp_path)) == told_before
    assert run_alarms(lake, config) == AlarmRun()  # somebody may be at it
    monkeypatch.setattr(findings, "CLAIM", timedelta(0))
    assert run_alarms(lake, config).sent == 1
    assert run_alarms(lake, config).sent == 0
    messages = told(tmp_path)
    assert len(messages) == told_after
    assert len({each["id"] for each in messages}) == 1


def test_what_is_acknowledged_stays_so(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    lake = f"{place}/lake"
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    (finding,) = run_alarms(lake, config).new
    tables = flowlake.open_lake(lake).tables
    findings.acknowledge(tables, [finding["id"]], "me", "our scanner")
    with pytest.raises(UsageError, match="There is no finding nope"):
        findings.acknowledge(tables, ["nope"], "me")
    deliver_object(place, 2, knocks("203.0.113.9", range(31, 61), 10))
    convert(place)
    (grown,) = run_alarms(lake, config).grown
    assert grown["state"] == "acknowledged"
    row = flowlake.open_lake(lake).findings().row(0, named=True)
    assert (row["state"], row["acknowledged_by"], row["note"]) == (
        "acknowledged",
        "me",
        "our scanner",
    )
    assert row["flows"] == 60
    assert len(told(tmp_path)) == 1


def test_the_table_puts_its_files_together(tmp_path: Path, monkeypatch: Any) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    lake = f"{place}/lake"
    monkeypatch.setattr(findings, "FILES", 4)
    for number in range(1, 12):
        deliver_object(place, number, knocks(f"203.0.113.{number}", range(1, 31), 200 * number))
        convert(place)
        assert len(run_alarms(lake, config).new) == 1
        table = flowlake.open_lake(lake).tables.table("findings")
        assert len(table.file_uris()) <= 5
    assert flowlake.open_lake(lake).findings().height == 11
    assert len(told(tmp_path)) == 11
    assert (table.protocol().min_reader_version, table.protocol().min_writer_version) == (1, 2)
    before = flowlake.open_lake(lake).findings()
    removed = vacuum(lake, retention=timedelta(0), no_writers=True)
    assert removed.filter(table="findings").height >= 4
    assert flowlake.open_lake(lake).findings().equals(before)
    assert run_alarms(lake, config) == AlarmRun()


def test_a_commit_on_old_findings_is_refused(tmp_path: Path) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    tables = flowlake.open_lake(f"{place}/lake").tables
    old = findings.see(tables)
    run_alarms(f"{place}/lake", config)
    with pytest.raises(CommitConflict):
        findings.commit(tables, old, [])


def test_a_lake_without_findings(tmp_path: Path) -> None:
    place = str(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 4), 0))
    convert(place)
    opened = flowlake.open_lake(f"{place}/lake")
    assert opened.findings().is_empty()
    assert opened.findings().schema == pl.Schema(findings.FINDINGS)
    assert not Path(place, "lake", "findings").exists()


def test_secrets_stay_out_of_the_lake(tmp_path: Path, monkeypatch: Any) -> None:
    place = str(tmp_path)
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/swordfish")
    monkeypatch.setattr("flowlake.delivering.ATTEMPTS", 1)
    text = RULES.replace('kind = "file"\npath = "{path}"', 'kind = "webhook"\nurl_env = "HOOK"')
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    done = run_alarms(f"{place}/lake", rules(tmp_path, text))
    assert len(done.failed) == 1
    assert "swordfish" not in str(done)
    rows = flowlake.open_lake(f"{place}/lake").findings().to_dicts()
    assert "127.0.0.1" in str(rows)
    assert "swordfish" not in str(rows)


def test_scopes_choose(tmp_path: Path) -> None:
    place = str(tmp_path)
    for number, source in ((1, "203.0.113.9"), (2, "10.9.9.9"), (3, "198.51.100.1")):
        deliver_object(place, number, knocks(source, range(1, 31), 0))
    convert(place)
    text = RULES + 'ignore = ["10.9.9.0/24"]\nsources = ["10.0.0.0/8", "198.51.100.0/24"]\n'
    done = run_alarms(f"{place}/lake", rules(tmp_path, text))
    assert [each["who"] for each in done.new] == ["198.51.100.1"]
    text = RULES + 'accounts = ["999999999999"]\n'
    other = parse_rules(text.format(path=tmp_path / "x").replace("scanned", "other"))
    assert run_alarms(f"{place}/lake", other).new == []


def test_findings_have_the_names_of_the_inventory(tmp_path: Path) -> None:
    place = str(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    deliver_object(place, 2, knocks("10.0.9.9", range(1, 31), 0, target="10.0.3.18"))
    convert(place)
    listed = tmp_path / "interfaces.csv"
    listed.write_text(f"interface_id,name,addresses\neni-0a,web-1,{TARGET}\neni-0b,ops,10.0.9.9\n")
    keep(f"{place}/lake", read_inventory_file(listed))
    text = RULES + 'targets = ["tag:Name=web*", "10.0.3.18"]\n'
    listed.write_text(
        f"interface_id,name,addresses,tags\neni-0a,web-1,{TARGET},Name=web-1\neni-0b,ops,10.0.9.9,\n"
    )
    keep(f"{place}/lake", read_inventory_file(listed))
    done = run_alarms(f"{place}/lake", rules(tmp_path, text))
    called = {each["who"]: (each["who_name"], each["whom_name"]) for each in done.new}
    assert called == {"203.0.113.9": (None, "web-1"), "10.0.9.9": ("ops", None)}
    assert {each["whom_name"] for each in told(tmp_path)} == {"web-1", None}


def test_the_commands(tmp_path: Path, run: Run) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    lake = ("--lake", f"{place}/lake")
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    done = run("alarms", "run", "-c", config, *lake, "--format", "json")
    assert done.code == 3
    assert "1 new finding, 0 that grew; 1 message delivered." in done.err
    (finding,) = done.json()
    assert finding["who"] == "203.0.113.9"
    assert finding["counts"]
    again = run("alarms", "run", "-c", config, *lake)
    assert (again.code, again.out) == (0, "")
    shown = run("alarms", "show", finding["id"], *lake)
    assert finding["why"] in shown.out
    assert shown.out.count("REJECT") >= 20
    for style in ("table", "csv", "json", "ocsf"):
        listed = run("alarms", "findings", *lake, "--format", style)
        assert listed.code == 0
        assert finding["id"] in listed.out
    (event,) = run("alarms", "show", finding["id"], *lake, "--format", "ocsf").json()
    assert event["class_uid"] == 2004
    assert run("alarms", "acknowledge", finding["id"], *lake, "--note", "ours").code == 0
    assert finding["id"] not in run("alarms", "findings", "--open", *lake).out
    assert finding["id"] in run("alarms", "findings", *lake).out
    assert run("alarms", "show", "nope", *lake).code == 2
    checked = run("alarms", "test", "-c", config)
    assert checked.code == 0
    assert "delivered a sample to log (file)" in checked.err
    assert told(tmp_path)[-1]["state"] == "test"


def test_converting_runs_the_alarms(tmp_path: Path, run: Run) -> None:
    place, config = str(tmp_path), rules(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    given = ("convert", f"{place}/raw", "--lake", f"{place}/lake", "--alarms")
    bad = run(*given, str(tmp_path / "none.toml"))
    assert bad.code == 2
    assert not Path(place, "lake").exists()
    first = run(*given, config)
    assert first.code == 3
    assert "203.0.113.9" in first.err
    assert run(*given, config).code == 0
    assert len(told(tmp_path)) == 1


def test_a_lake_that_gets_no_records_any_more(tmp_path: Path) -> None:
    """Nothing is new then, and that is what is told: once."""
    place = str(tmp_path)
    for number in range(30):
        minute = 60 * (number - 30)
        deliver_object(place, number, [*knocks("203.0.113.9", [22], minute)])
    convert(place)
    text = RULES.replace('kind = "port_scan"\nports = 15', 'kind = "silent_interface"')
    config = rules(tmp_path, text)
    done = run_alarms(f"{place}/lake", config)
    (finding,) = done.new
    assert finding["who"] == "eni-0a"
    assert finding["first_seen"] == DAY - timedelta(minutes=60) + timedelta(seconds=1)
    again = run_alarms(f"{place}/lake", config)
    assert (again.new, len(told(tmp_path))) == ([], 1)
    patient = text.replace("scanned", "patient") + 'delay = "5000w"\n'
    assert run_alarms(f"{place}/lake", rules(tmp_path, patient)).new == []


def test_an_interface_may_be_ignored(tmp_path: Path) -> None:
    place = str(tmp_path)
    deliver_object(place, 1, knocks("203.0.113.9", range(1, 31), 0))
    convert(place)
    text = RULES + 'ignore = ["eni-0a"]\n'
    assert run_alarms(f"{place}/lake", rules(tmp_path, text)).new == []


@pytest.mark.parametrize(
    ("parameters", "flows"),
    [
        ('kind = "watched_port"\nports = [22]\ntargets = ["10.0.3.17"]', 2),
        ('kind = "forbidden_endpoint"\nservers = ["10.0.3.17"]\nallow = ["10.0.0.0/8"]', 50),
    ],
    ids=["watched port", "forbidden endpoints"],
)
def test_the_condition_of_access_is_duckdbs_too(
    tmp_path: Path, parameters: str, flows: int
) -> None:
    place, at, lines = str(tmp_path), int(DAY.timestamp()), []
    pairs = [(f"{TARGET}", 50_000 + n, f"198.51.100.{n}", 443) for n in range(25)]
    pairs += [("10.0.9.9", 50_100, TARGET, 22), ("10.0.9.9", 50_100, TARGET, 80)]
    for client, sport, server, port in pairs:
        both = (f"{client} {server} {sport} {port}", f"{server} {client} {port} {sport}")
        lines += [f"2 {ACCOUNT} eni-0a {ends} 6 8 900 {at} {at + 30} ACCEPT OK" for ends in both]
    deliver_object(place, 1, lines)
    convert(place)
    text = RULES.replace('kind = "port_scan"\nports = 15', parameters)
    (finding,) = run_alarms(f"{place}/lake", rules(tmp_path, text)).new
    opened = flowlake.open_lake(f"{place}/lake")
    assert alarms.records_of(opened, finding, 100).height == finding["flows"] == flows
