"""kill -9 before every step of what writes to a lake, and then the same again.

Each attempt ends as if nothing had happened: rows and sums of every raw object, findings,
deliveries, and no file that nobody needs.
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from multiprocessing import forkserver
from pathlib import Path

import pytest

import flowlake
from flowlake import converting, files, findings
from flowlake.committing import CONFIGURATION
from flowlake.compacting import compact
from flowlake.storage import open_storage
from flowlake.vacuuming import vacuum
from tests import crashing
from tests.rights import Call, recording
from tests.test_alarms import deliver_object, figures, knocks, rules, told
from tests.test_exactly_once import (
    assert_right,
    assert_whole_objects,
    clean,
    fill,
    put,
    raw_object,
    totals,
)
from tests.test_vacuuming import live, parquet

NOW = timedelta(0)


def converted(place: str, _: Path) -> None:
    """Several objects a batch, over midnight, with rejects and a field of tomorrow."""
    fill(place)


def in_small_files(place: str, _: Path) -> None:
    for number in range(4):
        put(place, *raw_object(number))
        convert(place)
    put(place, raw_object(2)[0], raw_object(2, records=9)[1])
    convert(place)


def full_of_old_files(place: str, folder: Path) -> None:
    in_small_files(place, folder)
    compact(f"{place}/lake")
    flowlake.run_alarms(f"{place}/lake", rules(folder, QUIET))
    open_storage(place).put(f"{place}/lake/objects/0af3.zstd.parquet", b"half")


def scanned(place: str, _: Path) -> None:
    for number in (1, 2):
        lines = knocks(f"203.0.113.{number}", range(1, 41), 90 * number)
        deliver_object(place, number, [*lines, "one wrong line"])
    convert(place)


def scanned_on(place: str, folder: Path) -> None:
    """One finding grows, two are new, and the files of findings are put together."""
    scanned(place, folder)
    flowlake.run_alarms(f"{place}/lake", rules(folder))
    for number in (2, 3, 4):
        lines = knocks(f"203.0.113.{number}", range(41, 81), 90 * number + 10)
        deliver_object(place, 10 + number, [*lines, "one wrong line"])
    convert(place)


QUIET = '[[alarm]]\nname = "quiet"\nkind = "port_scan"\n'

SCENES: dict[str, tuple[str, Callable[[str, Path], None]]] = {
    "convert": ("convert", converted),
    "compact": ("compact", in_small_files),
    "vacuum": ("vacuum", full_of_old_files),
    "alarms": ("alarms", scanned),
    "alarms again": ("alarms", scanned_on),
}
"""What is killed, and how its lake came to be before."""


def convert(place: str) -> None:
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)


class Stage:
    """A scene at a place, and attempts at its work: each has a lake and a folder of its own."""

    def __init__(self, place: str, scene: str, folder: Path) -> None:
        self.place, self.folder = place, folder
        self.work, self.prepare = SCENES[scene]
        self.log = folder / "steps"
        (folder / "before").mkdir()
        self.prepare(place, folder / "before")
        code, self.steps = self.attempt("undisturbed")
        assert code == 0
        self.expected = totals(f"{place}/undisturbed/lake")
        self.found = figures(f"{place}/undisturbed/lake")
        self.told = ids(folder / "undisturbed")
        assert self.expected.equals(clean(place, folder))
        assert self.work != "alarms" or self.told

    def attempt(
        self, name: str, kill_before: int | None = None, env: dict[str, str] | None = None
    ) -> tuple[int, list[str]]:
        """Do the work; its exit code, and the steps that were taken or about to be."""
        copy(f"{self.place}/lake", f"{self.place}/{name}/lake")
        shutil.copytree(self.folder / "before", self.folder / name)
        self.log.unlink(missing_ok=True)
        code = crashing.run(
            self.work, *self._given(name), kill_before=kill_before, steps=self.log, env=env
        )
        return code, self.log.read_text().splitlines()

    def _given(self, name: str) -> tuple[str, ...]:
        lake = f"{self.place}/{name}/lake"
        rules_of = {
            "convert": (f"{self.place}/raw", lake),
            "alarms": (lake, rules(self.folder / name)),
        }
        return rules_of.get(self.work, (lake,))

    def recovers(self, name: str) -> None:
        """What a reader sees now is whole; the same work again ends as the undisturbed did."""
        place, folder = f"{self.place}/{name}", self.folder / name
        lake = f"{place}/lake"
        assert_whole_objects(place, self.expected)
        heard = ids(folder)
        assert crashing.WORKS[self.work](*self._given(name)) == 0
        assert figures(lake) == self.found
        assert not self.told - ids(folder), "lost"
        assert ids(folder) - self.told <= heard, "told twice, and not cut off after telling"
        vacuum(lake, retention=NOW, no_writers=True)
        assert parquet(lake) == live(lake)
        if not lake.startswith("s3://"):
            assert not [*Path(lake).rglob("*.tmp"), *Path(lake).rglob("*#*")]
        assert_right(place, self.expected)


@pytest.fixture(autouse=True)
def claims_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a quarter of an hour had passed before each run; and what ``WORKS`` set is set back."""
    monkeypatch.setattr(findings, "CLAIM", NOW)
    for module, name in ((converting, "TASK_OBJECTS"), (findings, "FILES"), (files, "datetime")):
        monkeypatch.setattr(module, name, getattr(module, name))


EVERY_STEP = itertools.product(("folder", "s3"), SCENES, (1,))
SOME_STEPS = (*itertools.product(("folder",), SCENES, (7,)), ("s3", "convert", 99))


@pytest.mark.parametrize(
    ("place", "scene", "every"),
    [*(pytest.param(*each, marks=pytest.mark.long) for each in EVERY_STEP), *SOME_STEPS],
    indirect=["place"],
)
def test_killed_before_a_step(place: str, scene: str, every: int, tmp_path: Path) -> None:
    """The first and the last step are always among them."""
    stage = Stage(place, scene, tmp_path)
    chosen = sorted({*range(0, len(stage.steps), every), len(stage.steps) - 1})
    for step in chosen:
        code, taken = stage.attempt(f"killed-{step}", step)
        assert (code, taken) == (-signal.SIGKILL, stage.steps[: step + 1])
        stage.recovers(f"killed-{step}")
    tell(scene, stage.steps, chosen)


def tell(scene: str, steps: Sequence[str], chosen: Sequence[int]) -> None:
    """The table of steps: how many there are of each, and before how many of them it was killed."""
    killed = Counter(steps[each] for each in chosen)
    for step, times in Counter(steps).items():
        print(f"| {scene} | {step} | {times} | {killed[step]} |")


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes that count their system calls, and may be killed before one: see ``deadly.c``."""
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path / "deadly.so"
    source = Path(__file__).with_name("deadly.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # the next one has it
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.mark.long
@pytest.mark.parametrize("scene", SCENES)
def test_killed_before_every_system_call(
    scene: str, deadly: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of what a step is: a temporary file, half of it, its name, the log's entry."""
    monkeypatch.setitem(CONFIGURATION, "delta.checkpointInterval", "2")
    stage = Stage(str(tmp_path / "place"), scene, tmp_path)
    log = tmp_path / "calls"

    def attempt(name: str, kill_before: int | str = "") -> tuple[int, list[str]]:
        log.unlink(missing_ok=True)
        below = f"{stage.place}/{name}/lake"
        told = {"BELOW": below, "STEPS": str(log), "KILL_BEFORE": str(kill_before)}
        code, _ = stage.attempt(name, env={**os.environ, **told})
        return code, [re.sub("[0-9a-f]{32}", "…", each) for each in log.read_text().splitlines()]

    code, calls = attempt("counted")
    assert code == 0
    for step in range(len(calls)):
        code, taken = attempt(f"killed-{step}", step)
        assert (code, len(taken)) == (-signal.SIGKILL, step + 1)
        stage.recovers(f"killed-{step}")
    tell(
        scene,
        [re.sub("[/.]*[0-9]{20}|[^ ]*/(?=[^/]*$)", "", each) for each in calls],
        range(len(calls)),
    )


@pytest.mark.long
@pytest.mark.parametrize("scene", SCENES)
def test_no_request_is_missed(s3: str, s3_server: str, scene: str, tmp_path: Path) -> None:
    """Whatever is asked of S3 that changes something is one of the steps."""
    stage = Stage(s3, scene, tmp_path)
    with recording(s3_server) as recorder:
        by = dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"), recorder.endpoint)
        code, steps = stage.attempt("recorded", env={**os.environ, **by})
        asked = [step_of(each) for each in recorder.calls() if "Get" not in each.action]
    assert code == 0
    assert Counter(filter(None, asked)) == Counter(
        step.replace("columns added", "committed")
        for step in steps
        if step != "a finding sent"
        for _ in range(2 if "checkpoint" in step else 1)  # and where it is
        if "shortened" not in step  # there is nothing old
    )


def step_of(call: Call) -> str | None:
    """The step that a request to S3 is part of; None if it changes nothing."""
    what, key = call.action, call.resource
    if what == "s3:ListBucket":
        return None
    deleted = what == "s3:DeleteObject"
    if "/_delta_log/" not in key:
        done = "a file deleted" if deleted else "a file written"
    elif deleted:
        done = "the log shortened"
    elif "checkpoint" in key:
        done = "a checkpoint written"
    else:
        done = "made" if key.endswith(f"{0:020}.json") else "committed"
    return f"{crashing.table(key)}: {done}"


def ids(folder: Path) -> Counter[str]:
    """How often each finding was told."""
    return Counter(each["id"] for each in told(folder))


def copy(lake: str, target: str) -> None:
    if lake.startswith("s3://"):
        storage = open_storage(lake)
        for url in [url for frame in storage.list(lake) for url in frame["url"]]:
            storage.put(url.replace(lake, target), storage.get(url))
    elif Path(lake).exists():
        shutil.copytree(lake, target)
