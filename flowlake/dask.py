"""A Dask cluster as an executor that says how many workers it has.

Dask repeats what a dead worker was doing on another one, so a death costs time and no rows: what
the dead worker wrote is in no commit.
"""

import asyncio
import contextlib
import logging
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from importlib.metadata import version
from typing import Any, NamedTuple, ParamSpec, TypeVar

from flowlake.errors import UsageError, WorkersLost

CONNECT_SECONDS = 10
RETRIES = 2
"""Times a task that raised an error is tried again, such as when S3 could not be reached."""

ALONE_SECONDS = 120.0
"""How long a cluster may be without workers, at the start or later, before a run is given up."""

SAME = ("flowlake", "polars", "pyarrow")
"""Packages of which a worker must have the same version: the same object must give the same rows,
whoever reads it. Of Python it must have the same minor version."""

P = ParamSpec("P")
T = TypeVar("T")


class Crew(NamedTuple):
    """The workers that a cluster has now."""

    workers: int
    threads: int


class DaskExecutor(Executor):
    """The workers of a ``distributed.Client``, as they come and go. The client is the caller's.

    Raises:
        WorkersLost: when the scheduler is gone, or there were no workers for ``ALONE_SECONDS``.
        UsageError: for a worker with another FlowLake, Polars, PyArrow or Python.
    """

    def __init__(self, client: Any) -> None:
        from distributed import KilledWorker

        self.killed: type[Exception] = KilledWorker
        """What a task's future raises when every worker that ran the task has died."""
        self._client = client
        self._executor: Executor = client.get_executor(pure=False, retries=RETRIES)
        self._known: set[str] = set()
        self._seen = time.monotonic()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a worker call it."""
        if self._client.status == "closed":
            raise self.gone()
        return self._executor.submit(call, *args, **kwargs)

    def crew(self) -> Crew:
        """Ask the scheduler who is there, and the new ones for their versions."""
        if self._client.status != "running":
            raise self.gone()
        try:
            threads: dict[str, int] = self._client.nthreads()
            if strangers := threads.keys() - self._known:
                self._check()
                self._known |= strangers
        except OSError as error:
            raise self.gone() from error
        if threads:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > ALONE_SECONDS:
            raise WorkersLost(
                f"The Dask scheduler has had no workers for {ALONE_SECONDS:.0f} seconds: start "
                "some with `dask worker`, and run again. What was committed stays."
            )
        return Crew(len(threads), sum(threads.values()))

    def gone(self) -> WorkersLost:
        """The error of a scheduler that does not answer any more."""
        return WorkersLost(
            "The connection to the Dask scheduler was lost: run again when it is back. "
            "What was committed stays."
        )

    def _check(self) -> None:
        here = {name: version(name) for name in SAME}
        here["python"] = platform.python_version()
        for worker, found in self._client.get_versions(packages=SAME)["workers"].items():
            for name, wanted in here.items():
                has = found["packages"][name] or "none"
                if name == "python":
                    wanted, has = (".".join(each.split(".")[:2]) for each in (wanted, has))
                if has != wanted:
                    raise UsageError(
                        f"The Dask worker {worker} has {name} {has}, and this machine {wanted}: "
                        "install the same versions on all of them."
                    )


@contextlib.contextmanager
def dask_executor(address: str) -> Iterator[DaskExecutor]:
    """Connect to the scheduler at an address, such as ``tcp://192.0.2.1:8786``.

    Raises:
        UsageError: when ``distributed`` is not installed here, or for no address.
        WorkersLost: when no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("Dask is not installed here: pip install 'flowlake[dask]'.") from error
    try:
        asyncio.run(asyncio.wait_for(_shake_hands(address), CONNECT_SECONDS))
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except ValueError as error:
        raise UsageError(
            f"{address!r} is no address of a Dask scheduler: give it as tcp://HOST:8786."
        ) from error
    except OSError as error:
        raise WorkersLost(
            f"No Dask scheduler answers at {address}: check the address, the network, and that "
            "`dask scheduler` runs there."
        ) from error
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it prints a traceback of what ``gone`` says in a sentence
    try:
        with client:
            yield DaskExecutor(client)
    finally:
        log.setLevel(level)


async def _shake_hands(address: str) -> None:
    """Meet what is there first: a client would wait for ever for a server of another kind."""
    from distributed import Security
    from distributed.comm.core import connect

    security = Security().get_connection_args("client")
    comm = await connect(address, timeout=CONNECT_SECONDS, **security)
    await comm.close()
