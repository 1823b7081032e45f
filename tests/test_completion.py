"""The shell's completion, as the shells ask for it, and without waiting for an engine."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

import flowlake
from flowlake.cli import completing
from flowlake.committing import Tables
from flowlake.converting import PARTITIONS
from flowlake.detections import DETECTIONS
from flowlake.engines import ENGINES
from flowlake.findings import commit, see
from flowlake.queries import bind, load_queries, load_query
from flowlake.rendering import Format
from flowlake.shapes import SHAPES
from tests.test_cli import Run, bucket, lake, run
from tests.test_first_steps import NEWEST
from tests.test_house import ENGINES as HEAVY

__all__ = ["bucket", "lake", "run"]

Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(run: Run) -> Complete:
    """What bash is offered after these words; a last space begins a new one."""

    def complete(line: str) -> list[str]:
        words = line.split()
        number = len(words) - (not line.endswith(" "))
        done = run(_FLOWLAKE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(number))
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    return complete


def test_what_is_said_twice_is_the_librarys() -> None:
    assert tuple(each.kind for each in DETECTIONS) == completing.ALARM_KINDS
    assert tuple(SHAPES) == completing.SHAPES
    assert set(completing.ENGINES) == set(ENGINES)
    assert tuple(Format) == completing.FORMATS
    by = [",".join(PARTITIONS[: n + 1]) for n in range(len(PARTITIONS))]
    assert tuple(by) == completing.PARTITIONS


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("flowlake con", ["convert", "connect"]),
        ("flowlake alarms ack", ["acknowledge"]),
        ("flowlake --quiet comp", ["compact"]),
        ("flowlake query top_t", ["top_talkers"]),
        ("flowlake translate top_t", ["top_talkers"]),
        ("flowlake translate top_talkers --to ", ["spark", "trino", "athena"]),
        ("flowlake ddl t", ["trino"]),
        ("flowlake query top_talkers --format p", ["parquet"]),
        ("flowlake alarms findings --format o", ["ocsf"]),
        ("flowlake alarms list slow", ["slow_scan"]),
        ("flowlake alarms backtest --part d", ["days"]),
        ("flowlake sample --shape hive", ["hive", "hive-parquet"]),
        ("flowlake convert --partition-by date,region", ["date,region", "date,region,account_id"]),
        ("flowlake hunt --action R", ["REJECT"]),
        ("flowlake verify --by", ["--by-day"]),
        ("flowlake verify --verb", ["--verbose"]),
        ("flowlake query top_talkers -p to", ["top=20"]),
        ("flowlake query -p top=3 top_talkers -p si", ["side=both"]),
        ("flowlake translate top_talkers --to spark -p to", ["top=20"]),
        ("flowlake query no_such_query -p ", []),
        ("flowlake query -p ", []),
        ("flowlake convert ", []),
        ("flowlake alarms show ", []),
    ],
)
def test_values_are_offered(complete: Complete, line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_each_value_that_is_offered_for_a_parameter_is_one(complete: Complete) -> None:
    for query in load_queries():
        offered = complete(f"flowlake query {query.name} -p ")
        assert [pair.partition("=")[0] for pair in offered] == [p.name for p in query.params]
        given = dict(pair.split("=", 1) for pair in offered)
        assert bind(query, given).keys() == given.keys()
    assert complete("flowlake query ") == [query.name for query in load_queries()]


def test_queries_of_ones_own(complete: Complete, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    text = load_query("top_talkers").sql.replace("top_talkers", "top_of_mine")
    (own / "top_of_mine.sql").write_text(text)
    (own / "top_broken.sql").write_bytes(b"-- \xff not a query")
    offered = complete(f"flowlake query --queries {own} top_")
    assert {"top_of_mine", "top_broken", "top_talkers"} <= set(offered)
    assert complete(f"flowlake query --queries {own} top_of_mine -p to") == ["top=20"]
    assert complete(f"flowlake query --queries {own} top_broken -p ") == []
    assert complete(f"flowlake query --queries {own}/none top_tal") == ["top_talkers"]


def test_zsh_is_told_what_each_is(run: Run) -> None:
    def zsh(line: str) -> str:
        return run(_FLOWLAKE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line).out

    assert zsh("flowlake query top_t") == '_arguments \'*: :(("top_talkers":"Top talkers"))\'\n'
    assert '"top=20":"how many addresses to keep"' in zsh("flowlake query top_talkers -p ")
    assert zsh("flowlake convert ") == "_files\n"


def test_findings_of_a_local_lake(
    complete: Complete, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "lake")
    flowlake.convert(lake.parent / "bucket", lake=place, since="2026-01-15", workers=1)
    assert complete("flowlake alarms show ") == []
    tables = Tables(place)
    at = {"first_seen": NEWEST, "last_seen": NEWEST, "found_at": NEWEST, "updated_at": NEWEST}
    rows = [
        {"id": f"{n:016x}", "alarm": "scans", "state": "open", "revision": 0, "why": "it", **at}
        for n in range(3)
    ]
    commit(tables, see(tables), rows)
    assert complete("flowlake alarms show ") == [row["id"] for row in rows]
    assert complete("flowlake alarms acknowledge 0000000000000002") == ["0000000000000002"]
    assert complete(f"flowlake alarms show --lake {lake} ") == []
    assert complete("flowlake alarms show --lake s3://nobody-asks/lake ") == []
    monkeypatch.setenv("FLOWLAKE_LAKE", place)
    monkeypatch.chdir("/")
    next(Path(place, "findings", "_delta_log").glob("*1.json")).write_text("{")
    assert complete("flowlake alarms show ") == []


@pytest.mark.parametrize(
    "line",
    [
        "flowlake ",
        "flowlake query ",
        "flowlake query top_talkers -p ",
        "flowlake alarms list ",
    ],
)
def test_no_engine_is_waited_for(tmp_path: Path, line: str) -> None:
    program = (
        "import atexit, sys; sys.argv = ['flowlake']\n"
        f"atexit.register(lambda: print(*(e for e in {HEAVY!r} if e in sys.modules)))\n"
        "from flowlake.__main__ import main; main()"
    )
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, **asked, "_FLOWLAKE_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("\n\n"), "the last line names the engines that were loaded"


def test_a_real_bash(tmp_path: Path) -> None:
    """The script that it is given defines a function, which fills what bash offers."""
    ask = """
    eval "$(_FLOWLAKE_COMPLETE=source_bash flowlake)"
    complete -p flowlake
    COMP_WORDS=(flowlake query top_t) COMP_CWORD=2
    _flowlake_completion flowlake
    echo "${COMPREPLY[@]}"
    """
    scripts = sysconfig.get_path("scripts")
    done = subprocess.run(
        ["bash", "--norc", "-euc", ask],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "complete -o default -F _flowlake_completion flowlake",
        "top_talkers",
    ]
