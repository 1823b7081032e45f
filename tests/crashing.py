"""What writes to a lake, in processes of their own that are killed before a chosen step.

A step is a call that changes the lake or tells of a finding. ``tests/test_crashes.py`` holds the
steps against the system calls of a local disk and the requests to an S3 server: none is missing.
"""

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.crashing", "flowlake.alarms", "flowlake.expiring", "flowlake.vacuuming"]
)

TASK_OBJECTS = 4


def start(
    work: str,
    *given: str,
    kill_before: int | None = None,
    steps: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Any:
    """Start one of ``WORKS`` in a process of its own, and leave it running.

    Args:
        work: its name.
        given: what it is called with.
        kill_before: the step, from 0, before which the process kills itself.
        steps: where it writes the name of each step, a line before it takes it.
        env: instead of this process's environment.
    """
    environment = dict(env if env is not None else os.environ)
    process = CONTEXT.Process(target=_work, args=(work, given, kill_before, steps, environment))
    process.start()
    return process


def run(work: str, *given: str, timeout: float = 120, **more: Any) -> int:
    """Do it to the end; returns the exit code (-9: killed)."""
    process = start(work, *given, **more)
    process.join(timeout)
    code: int | None = process.exitcode
    assert code is not None, f"{work} hangs"
    return code


def convert(source: str, lake: str) -> int:
    """Several batches a run."""
    from flowlake import converting

    converting.TASK_OBJECTS = TASK_OBJECTS
    return len(converting.convert(source, lake=lake, workers=1, commit_seconds=0).failures)


def compact(lake: str, days: str = "0") -> int:
    """Each merge is committed by itself; files are replaced so many days ago."""
    from flowlake import compacting, files

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - timedelta(days=int(days))

    setattr(files, "datetime", Then)  # noqa: B010
    return len(compacting.compact(lake, commit_seconds=0).failures)


def vacuum(lake: str, days: str = "0") -> int:
    """All that nobody has needed for so many days."""
    from flowlake import vacuuming

    vacuuming.vacuum(lake, retention=timedelta(days=int(days)), no_writers=True)
    return 0


def expire(lake: str, older_than: str) -> int:
    """A commit for each date, and the rejects."""
    from flowlake import expiring

    expiring.expire(lake, older_than=older_than)
    return 0


def alarms(lake: str, rules: str) -> int:
    """The third commit puts the files of findings together."""
    from flowlake import findings
    from flowlake.alarms import run_alarms

    findings.FILES = 2
    return len(run_alarms(lake, rules).failed)


WORKS: dict[str, Callable[..., int]] = {
    each.__name__: each for each in (convert, compact, expire, vacuum, alarms)
}


def _work(
    work: str,
    given: Iterable[str],
    kill_before: int | None,
    steps: Path | None,
    env: dict[str, str],
) -> None:
    os.environ.clear()
    os.environ.update(env)
    _be_deadly(kill_before, steps)
    os._exit(1 if WORKS[work](*given) else 0)


def _be_deadly(kill_before: int | None, steps: Path | None) -> None:
    import deltalake

    from flowlake import alarms as runs
    from flowlake.storage import Bucket, Folder

    taken = 0

    def step(name: str) -> None:
        nonlocal taken
        if steps is not None:
            with steps.open("a") as file:
                file.write(f"{name}\n")
        if taken == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)
        taken += 1

    def deadly(owner: Any, method: str, named: Callable[..., str]) -> None:
        does = getattr(owner, method)

        def done(*args: Any, **kwargs: Any) -> Any:
            step(named(*args))
            return does(*args, **kwargs)

        setattr(owner, method, staticmethod(done) if method == "create" else done)

    def one_by_one(owner: Any) -> None:
        """A batch that is cut off has deleted some."""
        does = owner.delete

        def done(self: Any, urls: Iterable[str]) -> None:
            for url in urls:
                step(f"{table(url)}: a file deleted")
                does(self, [url])

        owner.delete = done

    for owner in (Folder, Bucket):
        deadly(owner, "put", lambda _, url, *__: f"{table(url)}: a file written")
        one_by_one(owner)
    deadly(deltalake.DeltaTable, "create", lambda url, *_: f"{table(url)}: made")
    for method, what in {
        "create_write_transaction": "committed",
        "create_checkpoint": "a checkpoint written",
        "cleanup_metadata": "the log shortened",
    }.items():
        deadly(
            deltalake.DeltaTable,
            method,
            lambda self, *_, what=what: f"{table(self.table_uri)}: {what}",
        )
    deadly(
        deltalake.table.TableAlterer,
        "add_columns",
        lambda self, *_: f"{table(self.table.table_uri)}: columns added",
    )
    deadly(runs, "deliver", lambda *_: "a finding sent")


def table(url: str) -> str:
    """The table that a URL lies in."""
    found = re.search(r"/(flows|objects|rejects|findings)(?:/|$)", url)
    assert found, url
    return found[1]
