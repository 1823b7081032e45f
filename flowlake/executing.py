"""Run tasks on processes of this machine, or on any executor, a bounded number at a time."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path
from types import TracebackType

from flowlake.dask import DaskExecutor
from flowlake.errors import WorkersLost
from flowlake.storage import is_remote
from flowlake.tasks import Task, TaskResult, convert_task

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Tasks handed to the executor for each worker: one runs, one waits."""

DEATHS = 3
"""Times the pool is built again before a run is given up."""

LOOK_SECONDS = 1.0
"""How often a Dask scheduler is asked for its workers."""


class Runner:
    """Runs tasks in a pool of processes or threads, on a given executor, or one by one.

    ``tell`` is told who works, at the start and whenever that changes: ``2 processes``,
    ``3 Dask workers``.
    """

    def __init__(
        self,
        workers: int,
        executor: Executor | None,
        *,
        processes: bool,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._workers = workers
        self._given = executor
        self._processes = processes
        self._tell = tell
        self._told = ""
        self._looked = 0.0
        self._pool: Executor | None = None
        self._deaths = 0

    def __enter__(self) -> "Runner":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
        """Yield results as tasks finish. A worker's death repeats the tasks it took along.

        Raises:
            WorkersLost: when worker processes keep dying, or a Dask cluster is gone; at the end,
                when some task killed every Dask worker that ran it.
        """
        if self._given is None and self._workers == 1:
            self._say("1 process")
            yield from map(convert_task, tasks)
            return
        waiting = list(reversed(tasks))
        running: dict[Future[TaskResult], tuple[Task, Executor]] = {}
        deadly: list[Task] = []
        dask = self._given if isinstance(self._given, DaskExecutor) else None
        try:
            while waiting or running:
                self._look(dask)
                while waiting and len(running) < IN_FLIGHT * self._workers:
                    future, executor = self._submit(waiting[-1])
                    running[future] = (waiting.pop(), executor)
                done, _ = wait(running, LOOK_SECONDS if dask else None, FIRST_COMPLETED)
                for future in done:
                    task, executor = running.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        waiting.append(task)
                        self._bury(executor)
                    except CancelledError as error:
                        raise dask.gone() if dask else error from error
                    except Exception as error:
                        if not dask or not isinstance(error, dask.killed):
                            raise
                        deadly.append(task)
                    else:
                        if self._given is not None:
                            _must_be_here(task, result)
                        yield result
        finally:
            for future in running:
                future.cancel()
        if deadly:
            urls = [raw.url for task in deadly for raw in task.objects]
            raise WorkersLost(
                f"Every Dask worker died that was given some of {len(urls):,} objects, perhaps "
                "for want of memory; the others are converted. Run again, with more memory for "
                f"each worker. The first is {urls[0]}"
            )

    def _look(self, dask: DaskExecutor | None) -> None:
        """See who works, and hand out as many tasks as they can do."""
        if dask is None:
            if self._given is None:
                self._say(f"{self._workers} {'processes' if self._processes else 'threads'}")
        elif (now := time.monotonic()) - self._looked >= LOOK_SECONDS:
            self._looked = now
            crew = dask.crew()
            self._workers = max(1, crew.threads)
            self._say(f"{crew.workers:,} Dask worker{'' if crew.workers == 1 else 's'}")

    def _say(self, workers: str) -> None:
        if workers != self._told:
            self._told = workers
            logger.info("%s at work", workers)
            self._tell(workers)

    def _submit(self, task: Task) -> tuple[Future[TaskResult], Executor]:
        own = self._given is None and self._processes
        with _for_new_processes() if own else contextlib.nullcontext():
            while True:
                executor = self._executor()
                try:
                    return executor.submit(convert_task, task), executor
                except BrokenProcessPool:
                    self._bury(executor)

    def _executor(self) -> Executor:
        if self._given is not None:
            return self._given
        if self._pool is None and not self._processes:
            self._pool = ThreadPoolExecutor(self._workers)
        elif self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_end_with_parent,
            )
        return self._pool

    def _bury(self, executor: Executor) -> None:
        """Let go of a broken pool, once, however many of its futures tell of it."""
        if executor is self._given:
            raise WorkersLost("The executor lost its worker processes: run again.")
        if executor is not self._pool:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
        self._deaths += 1
        logger.info("a worker process died: its tasks begin again (%d of %d)", self._deaths, DEATHS)
        if self._deaths > DEATHS:
            raise WorkersLost(
                "Worker processes keep dying, perhaps for want of memory: run again with fewer "
                "--workers. In a script, guard the main code with `if __name__ == '__main__':`."
            )


def _must_be_here(task: Task, result: TaskResult) -> None:
    """Whether what another machine wrote into a folder can be seen in this one's."""
    if is_remote(task.lake):
        return
    for table, files in (("flows", result.flows), ("rejects", result.rejects)):
        for file in files:
            if not (place := Path(task.lake, table, file.path)).is_file():
                raise WorkersLost(
                    f"A worker wrote {place} on a disk of its own: let all of them share the "
                    "lake's folder, or choose a lake in S3."
                )


@contextlib.contextmanager
def _for_new_processes() -> Iterator[None]:
    """What processes that start now inherit.

    One Polars thread each, because one process a core is faster than threads. And deafness to the
    keyboard's interrupt, which reaches the whole group of processes: the coordinator answers it,
    a moment later if it comes now.
    """
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    resource_tracker.ensure_running()  # its own start would lift the block
    # Another thread may get the interrupt that is blocked in this one, and Python then tells it
    # here: in the midst of a start the worker would be cut off and print a traceback.
    held: list[int] = []
    heard = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number)) if heard else None
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = before
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if held:
        signal.raise_signal(signal.SIGINT)


def _end_with_parent() -> None:
    """Let a worker end when its coordinator was killed: nothing it writes could be committed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
