"""Converting on a Dask cluster: a real scheduler, and workers that share no folder."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

import flowlake
from flowlake import UsageError, WorkersLost, converting, dask, executing
from flowlake.cli import main
from flowlake.converting import Progress
from flowlake.dask import DaskExecutor, dask_executor
from flowlake.progress import ProgressBar
from flowlake.samples import write_sample
from flowlake.storage import open_storage
from flowlake.tasks import Task
from flowlake.verifying import verify
from tests.conftest import KEY, SECRET
from tests.test_exactly_once import put, raw_object, totals

CODE = str(Path(flowlake.__file__).parent.parent)
Process = subprocess.Popen[bytes]
ADDRESS = re.compile(rb"(?:Scheduler at|worker at): +(tcp://127\.0\.0\.1:\d+)")


class Cluster:
    """A scheduler and workers, each a process in a folder of its own."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self._folder = folder
        self._aws = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }
        self._processes: list[Process] = []
        self._workers: dict[str, Process] = {}
        words = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.scheduler, self.address = self.start("scheduler", *words)

    def start(self, name: str, *words: str, path: str = CODE) -> tuple[Process, str]:
        """Start one of Dask's commands in a folder that no other knows of; and its address."""
        home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._folder))
        log = home.with_suffix(".log")
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dask", *words],
                cwd=home,
                env={
                    **self._aws,
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": path,
                    "POLARS_MAX_THREADS": "1",
                    "HOME": str(home),
                    "TMPDIR": str(home),
                },
                stdout=file,
                stderr=file,
            )
        self._processes.append(process)
        deadline = time.monotonic() + 60
        while not (found := ADDRESS.search(log.read_bytes())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return process, found[1].decode()

    def worker(self, path: str = CODE) -> tuple[Process, str]:
        """A worker of one thread, which nobody starts again when it dies."""
        words = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        return self.start("worker", "worker", self.address, *words, path=path)

    def two_workers(self) -> list[tuple[Process, str]]:
        """Two workers that live; new ones for those that a test has killed."""
        live = [(each, at) for at, each in self._workers.items() if each.poll() is None]
        with ThreadPoolExecutor(2) as pool:
            live += pool.map(lambda _: self.worker(), range(2 - len(live)))
        self._workers = {at: each for each, at in live}
        return live

    def stop(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3_server: str) -> Iterator[Cluster]:
    """A scheduler, and what workers the tests ask for."""
    started = Cluster(tmp_path_factory.mktemp("cluster"), s3_server)
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon, look at the workers all the time, and make tasks of five objects."""
    monkeypatch.setattr(dask, "ALONE_SECONDS", 0.3)
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(executing, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(converting, "TASK_OBJECTS", 5)


class Killer:
    """A progress callback that kills a worker in the midst of a task."""

    def __init__(self, client: Client, process: Process, address: str) -> None:
        self._client, self._process, self._address = client, process, address
        self.killed_at = 0
        self.crews: list[str] = []

    def __call__(self, done: Progress) -> None:
        if done.workers not in ("", *self.crews[-1:]):
            self.crews.append(done.workers)
        if done.objects_done and not self.killed_at:
            self._process.send_signal(signal.SIGSTOP)  # so that it cannot finish what it has
            if self._client.processing()[self._address]:
                self._process.kill()
                self._process.wait()
                self.killed_at = done.objects_done
            else:
                self._process.send_signal(signal.SIGCONT)


def allow_failures(client: Client, count: int) -> None:
    """How many workers may die on a task before Dask gives it up; 3, if nobody says."""
    client.run_on_scheduler(
        lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", count)
    )


def test_a_killed_worker_costs_no_rows(s3: str, tmp_path: Path, cluster: Cluster) -> None:
    """Two workers that share no folder, with this process or each other; raw and lake in S3."""
    source = f"{s3}/raw"
    write_sample(open_storage(source), prefix=f"{source}/", hours=8, records_per_object=40)
    doomed, _ = cluster.two_workers()
    with Client(cluster.address, set_as_default=False) as client:
        killer = Killer(client, *doomed)
        report = flowlake.convert(
            source, lake=f"{s3}/lake", executor=DaskExecutor(client), progress=killer
        )
    assert 0 < killer.killed_at < report.objects == 97
    assert killer.crews == ["2 Dask workers", "1 Dask worker"]
    assert report.failures == []
    flowlake.convert(source, lake=tmp_path / "local", workers=1)
    assert totals(f"{s3}/lake").equals(totals(str(tmp_path / "local")))
    assert verify(lake=f"{s3}/lake", grace=timedelta(0)).gaps.rows() == []


def test_a_task_that_kills_its_workers_is_the_only_one_lost(
    tmp_path: Path, cluster: Cluster
) -> None:
    source, lake = str(tmp_path / "raw"), str(tmp_path / "lake")
    write_sample(open_storage(source), prefix=f"{source}/", hours=5, records_per_object=40)
    doomed, _ = cluster.two_workers()
    with Client(cluster.address, set_as_default=False) as client:
        allow_failures(client, 0)
        killer = Killer(client, *doomed)
        with pytest.raises(WorkersLost, match=r"of \d+ objects, perhaps .* first is /") as end:
            flowlake.convert(source, lake=lake, executor=DaskExecutor(client), progress=killer)
        allow_failures(client, 3)
        lost = int(str(end.value).split(" objects")[0].split()[-1])
        assert flowlake.open_lake(lake).objects().height == 61 - lost
        again = flowlake.convert(source, lake=lake, executor=DaskExecutor(client))
    assert (again.listed, again.objects) == (61, lost)
    assert verify(lake=lake, grace=timedelta(0)).gaps.rows() == []


def test_a_worker_of_another_version_is_refused(tmp_path: Path, cluster: Cluster) -> None:
    other = tmp_path / "other"
    (other / "flowlake-9.9.dist-info").mkdir(parents=True)
    (other / "flowlake-9.9.dist-info" / "METADATA").write_text("Name: flowlake\nVersion: 9.9\n")
    put(str(tmp_path), *raw_object(0))
    process, address = cluster.worker(path=f"{other}{os.pathsep}{CODE}")
    with dask_executor(cluster.address) as executor:
        with pytest.raises(UsageError, match=rf"{address} has flowlake 9.9, and this machine"):
            flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", executor=executor)
        process.kill()
        process.wait()


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``flowlake convert`` with these words: its exit code, and what it printed."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["flowlake", "convert", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        assert isinstance(end.value.code, int)
        return end.value.code, *capsys.readouterr()

    return run


def test_the_command(tmp_path: Path, cluster: Cluster, command: Command) -> None:
    """On a folder that all of them see."""
    put(str(tmp_path), *raw_object(0))
    cluster.two_workers()
    words = (tmp_path / "raw", "--lake", tmp_path / "lake", "--dask", cluster.address)
    _, out, _ = command(*words, "--dry-run", "--format", "json")
    assert json.loads(out)[0]["cores"] == 2
    code, out, _ = command(*words)
    assert (code, out.startswith("Converted 1 of 1 listed object")) == (0, True)
    assert command(*words)[1].startswith("Nothing new")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--dask", "nonsense://x"), 2, "'nonsense://x' is no address of a Dask scheduler"),
        (("--dask", ""), 2, "'' is no address of a Dask scheduler"),
        (("--dask", "tcp://127.0.0.1:1"), 1, "No Dask scheduler answers at tcp://127.0.0.1:1"),
        (("--dask", "tcp://127.0.0.1:1", "--workers", "2"), 2, "leave it out with --dask"),
        (("--dask", "tcp://127.0.0.1:1", "-"), 2, "leave out --dask"),
    ],
    ids=["no address", "empty", "nobody there", "--workers", "standard input"],
)
def test_what_cannot_be(
    tmp_path: Path, command: Command, words: tuple[str, ...], code: int, says: str
) -> None:
    put(str(tmp_path), *raw_object(0))
    found, _, err = command(tmp_path / "raw", "--lake", tmp_path / "lake", *words)
    assert (found, says in err) == (code, True), err


def test_a_server_that_is_no_scheduler(tmp_path: Path, command: Command) -> None:
    put(str(tmp_path), *raw_object(0))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        code, _, err = command(tmp_path / "raw", "--lake", tmp_path / "lake", "--dask", address)
    assert (code, f"No Dask scheduler answers at {address}" in err) == (1, True), err


def test_without_dask(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = command("raw", "--dask", "tcp://127.0.0.1:1")
    assert (code, "pip install 'flowlake[dask]'" in err) == (2, True)


@pytest.fixture
def lonely(tmp_path: Path, s3_server: str) -> Iterator[Cluster]:
    """A scheduler of this test's own, without workers."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder, s3_server)
    yield started
    started.stop()


def test_no_workers_and_no_scheduler(
    tmp_path: Path, lonely: Cluster, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded waits: for workers that never come, and when the scheduler goes."""
    put(str(tmp_path), *raw_object(0))
    words = (tmp_path / "raw", "--lake", tmp_path / "lake", "--dask", lonely.address)
    code, _, err = command(*words)
    assert (code, "has had no workers for" in err) == (1, True)
    with dask_executor(lonely.address) as executor:
        future = executor.submit(int)
        lonely.stop()
        monkeypatch.setattr(dask, "ALONE_SECONDS", 60)
        with pytest.raises(WorkersLost, match="connection to the Dask scheduler was lost"):
            flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", executor=executor)
        assert future.cancelled()


def test_an_interrupted_run_takes_its_tasks_back(tmp_path: Path, cluster: Cluster) -> None:
    source = tmp_path / "raw"
    write_sample(open_storage(str(source)), prefix=f"{source}/", hours=2, records_per_object=3_000)
    workers = [process for process, _ in cluster.two_workers()]
    words = ["convert", str(source), "--lake", str(tmp_path / "lake"), "--dask", cluster.address]
    with (
        Client(cluster.address, set_as_default=False) as client,
        subprocess.Popen(
            [sys.executable, "-m", "flowlake", *words], stderr=subprocess.PIPE, text=True
        ) as running,
    ):

        def wait_for(tasks: bool) -> None:
            deadline = time.monotonic() + 30
            while tasks != client.run_on_scheduler(
                lambda dask_scheduler: any(dask_scheduler.tasks)
            ):
                assert time.monotonic() < deadline
                time.sleep(0.02)

        wait_for(tasks=True)
        for process in workers:
            process.send_signal(signal.SIGSTOP)  # so that they cannot finish
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
        wait_for(tasks=False)
        for process in workers:
            process.send_signal(signal.SIGCONT)
    assert (running.returncode, err.count("\n")) == (130, 1), err


def test_the_bar_says_who_works(tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    told: list[str] = []
    bar = ProgressBar()
    with bar as tell:

        def both(done: Progress) -> None:
            tell(done)
            told.append(bar.description)

        flowlake.convert(tmp_path / "raw", lake=tmp_path / "one", workers=1, progress=both)
        flowlake.convert(tmp_path / "raw", lake=tmp_path / "many", progress=both)
    assert told[0] == "0/1 objects, 0 rows"
    assert "1/1 objects, 6 rows, 1 process" in told
    assert re.fullmatch(r"1/1 objects, 6 rows, \d+ (threads|process)", told[-1])


class Elsewhere(ThreadPoolExecutor):
    """Workers on a machine where the lake's path is another disk."""

    def __init__(self, disk: Path) -> None:
        super().__init__(1)
        self._disk = disk

    def submit(self, call: Any, /, *args: Any, **_: Any) -> Future[Any]:
        [task] = args
        assert isinstance(task, Task)
        return super().submit(call, replace(task, lake=str(self._disk)))


def test_workers_that_do_not_see_the_lakes_folder(tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    with (
        Elsewhere(tmp_path / "other") as executor,
        pytest.raises(WorkersLost, match="on a disk of its own"),
    ):
        flowlake.convert(tmp_path / "raw", lake=tmp_path / "lake", executor=executor)
    assert flowlake.open_lake(tmp_path / "lake").objects().is_empty()
