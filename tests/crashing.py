"""Conversions and compactions in processes of their own, killed before a chosen write."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.crashing", "flowlake.converting", "flowlake.lake"])

TASK_OBJECTS = 4


def convert_in_process(
    source: str,
    lake: str,
    kill_before: int | None = None,
    *,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
) -> int:
    """Convert in a new process, several batches a run; returns its exit code (-9: killed).

    ``kill_before`` is the write, from 0, before which the process kills itself: the creation of a
    table, a Parquet file, a column, or a commit.
    """
    process = start(source, lake, kill_before, env=env)
    process.join(timeout)
    code: int | None = process.exitcode
    assert code is not None, "the conversion hangs"
    return code


def start(
    source: str, lake: str, kill_before: int | None = None, *, env: Mapping[str, str] | None = None
) -> Any:
    """Start such a process and leave it running."""
    given = dict(env if env is not None else os.environ)
    process = CONTEXT.Process(target=_convert, args=(source, lake, kill_before, given))
    process.start()
    return process


def start_compaction(lake: str, kill_before: int | None = None) -> Any:
    """Start a compaction that commits each merge by itself, and leave it running."""
    process = CONTEXT.Process(target=_compact, args=(lake, kill_before, dict(os.environ)))
    process.start()
    return process


def _convert(source: str, lake: str, kill_before: int | None, env: dict[str, str]) -> None:
    _be_deadly(kill_before, env)
    from flowlake import converting

    converting.TASK_OBJECTS = TASK_OBJECTS
    report = converting.convert(source, lake=lake, workers=1, commit_seconds=0)
    os._exit(0 if not report.failures else 1)


def _compact(lake: str, kill_before: int | None, env: dict[str, str]) -> None:
    _be_deadly(kill_before, env)
    from flowlake import compacting

    report = compacting.compact(lake, commit_seconds=0)
    os._exit(0 if not report.failures else 1)


def _be_deadly(kill_before: int | None, env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    import deltalake

    from flowlake.committing import Tables
    from flowlake.storage import Bucket, Folder

    writes = 0

    def deadly(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*args: Any, **kwargs: Any) -> Any:
            nonlocal writes
            if writes == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)
            writes += 1
            return write(*args, **kwargs)

        return written

    for owner, name in (
        (Folder, "put"),
        (Bucket, "put"),
        (Tables, "_commit_table"),
        (deltalake.table.TableAlterer, "add_columns"),
    ):
        setattr(owner, name, deadly(getattr(owner, name)))
    deltalake.DeltaTable.create = staticmethod(  # type: ignore[method-assign]
        deadly(deltalake.DeltaTable.create)
    )
