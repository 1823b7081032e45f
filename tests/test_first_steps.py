"""`flowlake` alone: what is here, and the next useful step."""

import os
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import flowlake
from flowlake.committing import Tables
from flowlake.findings import commit, see
from flowlake.first_steps import FirstSteps, first_steps
from flowlake.samples import write_sample
from flowlake.shapes import write_shape
from flowlake.storage import open_storage
from tests.conftest import use_key
from tests.test_cli import Run, bucket, lake, run
from tests.test_docs import check_flowlake
from tests.test_exactly_once import put, raw_object

__all__ = ["bucket", "lake", "run"]

NEWEST = datetime(2026, 1, 15, 1, 44, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("FLOWLAKE_LAKE", "FLOWLAKE_ALARMS"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert not Path("lake").exists() or Path("lake", "flows").is_dir(), "it made something"


def commands(found: FirstSteps) -> list[str]:
    """The commands, each of which parses."""
    for step in found.steps:
        assert step.why
        if "LAKE" not in step.command:
            check_flowlake(shlex.split(step.command)[1:], step.command)
    return [step.command for step in found.steps]


def test_nothing_here() -> None:
    found = first_steps()
    assert found.here == "There is no lake at lake, and there are no flow logs here."
    assert commands(found)[:2] == [
        "flowlake sample sample-bucket",
        "flowlake convert sample-bucket",
    ]


@pytest.mark.parametrize("shape", ["text", "hive", "parquet", "hive-parquet"])
def test_flow_logs_here(shape: str) -> None:
    folder = Path("my logs").absolute()
    write_shape(open_storage(str(folder)), shape, prefix=f"{folder}/", hours=1)
    assert commands(first_steps())[1] == "flowlake convert 'my logs'"
    assert first_steps().here == "There is no lake at lake; my logs holds flow logs."
    found = first_steps(folder=folder)
    assert (found.here, commands(found)[1]) == (
        "There is no lake at lake; this folder holds flow logs.",
        "flowlake convert .",
    )


def test_single_objects_and_other_files() -> None:
    Path("notes").mkdir()
    Path("notes", "todo.txt").write_text("nothing\n")
    Path(".hidden", "AWSLogs").mkdir(parents=True)
    Path("locked").mkdir(mode=0)
    assert "no flow logs here" in first_steps().here
    key, body = raw_object(0)
    Path("notes", Path(key).name).write_bytes(body)
    assert commands(first_steps())[0] == "flowlake convert notes --dry-run"


def test_a_huge_folder_is_not_listed_to_its_end() -> None:
    Path("huge").mkdir()
    for number in range(2_100):
        Path("huge", f"{number:05}.json").touch()
    Path("later", "AWSLogs").mkdir(parents=True)
    assert "no flow logs here" in first_steps().here


def test_a_lake(lake: Path) -> None:
    found = first_steps(str(lake), now=NEWEST + timedelta(days=3, hours=1))
    assert found.here == (
        f"The lake at {lake} has 2,882 rows, from 2015-05-29 16:30 to 2026-01-15 01:44 UTC; the "
        "newest record is 3 days old."
    )
    query, hunt, verify = commands(found)
    assert query == "flowlake query top_talkers --since 2026-01-15"
    opened = flowlake.open_lake(lake)
    assert opened.query("top_talkers", since="2026-01-15").pl().height
    assert opened.hunt(hunt.split()[2]).pl().height
    assert verify == "flowlake verify"


@pytest.mark.parametrize(
    ("age", "told", "since"),
    [
        (timedelta(0), "0 minutes old.", "24h"),
        (timedelta(minutes=1), "1 minute old.", "24h"),
        (timedelta(minutes=100), "100 minutes old.", "24h"),
        (timedelta(hours=23), "23 hours old.", "24h"),
        (timedelta(hours=25), "25 hours old.", "2026-01-15"),
        (timedelta(days=400), "400 days old.", "2026-01-15"),
        (timedelta(days=-1), "0 minutes old.", "24h"),
    ],
)
def test_the_age_of_the_newest_record(lake: Path, age: timedelta, told: str, since: str) -> None:
    last = flowlake.open_lake(lake).status().last
    assert last is not None
    found = first_steps(str(lake), now=last + age)
    assert found.here.endswith(told)
    assert commands(found)[0] == f"flowlake query top_talkers --since {since}"


def test_no_data_file_is_read(lake: Path, tmp_path: Path) -> None:
    """A lake whose data files are all gone is told of as before."""
    before = first_steps(str(lake), now=NEWEST)
    copy = tmp_path / "copy"
    for path in lake.rglob("*"):
        if path.is_file() and (path.suffix != ".parquet" or "_delta_log" in str(path)):
            target = copy / path.relative_to(lake)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    after = first_steps(str(copy), now=NEWEST)
    assert after.here.replace(str(copy), str(lake)) == before.here
    assert after.steps == before.steps


def test_small_files_rules_and_findings(tmp_path: Path) -> None:
    for number in range(4):
        put(str(tmp_path), *raw_object(number))
        flowlake.convert("raw", workers=1)
    assert commands(first_steps())[0] == "flowlake compact"
    assert first_steps().steps[0].why == "merge 4 small files"
    Path("alarms.toml").write_text('[[alarm]]\nname = "scans"\nkind = "port_scan"\nports = 2\n')
    assert commands(first_steps())[0] == "flowlake alarms run"
    tables = Tables(str(tmp_path / "lake"))
    at = {"first_seen": NEWEST, "last_seen": NEWEST, "found_at": NEWEST, "updated_at": NEWEST}
    finding = {"id": "0123456789abcdef", "alarm": "scans", "state": "open", "revision": 0, **at}
    commit(tables, see(tables), [finding])
    found = first_steps()
    assert "1 finding of the alarms not acknowledged" in found.here
    assert commands(found)[:3] == [
        "flowlake alarms findings --open",
        "flowlake alarms run",
        "flowlake compact",
    ]
    commit(tables, see(tables), [{**finding, "state": "acknowledged", "revision": 1}])
    assert commands(first_steps())[0] == "flowlake alarms run"


def test_an_empty_lake_and_a_damaged_one(tmp_path: Path) -> None:
    Tables(str(tmp_path / "lake")).create(["date"])
    assert first_steps().here.startswith("The lake at lake is empty")
    assert commands(first_steps())[0] == "flowlake sample sample-bucket"
    log = next(Path("lake/flows/_delta_log").glob("*.json"))
    log.write_text("{")
    found = first_steps()
    assert "cannot be used" in found.here
    assert found.steps[0].command == "flowlake --verbose status"


def test_a_lake_in_s3(s3: str) -> None:
    assert first_steps(f"{s3}/lake").here == (
        f"There is no lake at {s3}/lake, and there are no flow logs here."
    )
    write_sample(open_storage(f"{s3}/raw"), prefix=f"{s3}/raw/", records_per_object=9, hours=1)
    flowlake.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    found = first_steps(f"{s3}/lake", now=NEWEST)
    assert found.here.startswith(f"The lake at {s3}/lake has ")
    assert "flowlake verify" in commands(found)


def test_a_lake_that_cannot_be_reached(s3: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    use_key(monkeypatch, "nobody", "nothing")
    done = run(FLOWLAKE_LAKE=f"{s3}/lake")
    assert (done.code, done.err) == (0, "")
    assert "the credentials are not accepted" in done.out
    assert "flowlake --help lists the commands" in done.out


def test_it_is_said(run: Run, bucket: Path) -> None:
    done = run()
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("There is no lake at lake")
    assert lines[2].startswith("  flowlake sample sample-bucket  ")
    assert lines[-1].startswith("flowlake --help lists the commands")
    assert max(map(len, lines)) <= 100
    assert run("convert", bucket).code == 0
    assert run().out.startswith("The lake at lake has 2,882 rows")
