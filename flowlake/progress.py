"""A progress bar for a conversion, and for what reads objects or files as it does.

It is drawn on a terminal that can draw, and not where the logger ``flowlake`` tells errors alone
(``--quiet``) or each step (``--verbose``).
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from flowlake import converting


def _drawable(console: Console) -> bool:
    told = logging.getLogger("flowlake").getEffectiveLevel()
    able = sys.stderr.isatty() and not console.is_dumb_terminal  # FORCE_COLOR alone draws no bar
    return able and logging.DEBUG < told < logging.ERROR


@contextmanager
def steps(doing: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show which of so many steps is under way, on standard error, if it can be drawn on."""
    console = Console(stderr=True)
    if not _drawable(console):
        yield lambda *_: None
        return
    with console.status(f"{doing} …") as status:
        yield lambda name, number, count: status.update(f"{doing} {name}, {number} of {count} …")


class ProgressBar:
    """Objects, rows, workers and bytes, on standard error; nothing where that cannot draw."""

    def __init__(self, noun: str = "objects") -> None:
        self._noun = noun
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not _drawable(console),
        )
        self._task = self._bar.add_task("listing", total=None)

    def __enter__(self) -> "Callable[[converting.Progress], None]":
        self._bar.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def description(self) -> str:
        """What stands beside the bar."""
        return self._bar.tasks[self._task].description

    def _tell(self, done: "converting.Progress") -> None:
        who = f", {done.workers}" if done.workers else ""
        self._bar.update(
            self._task,
            description=f"{done.objects_done:,}/{done.objects:,} {self._noun}, "
            f"{done.rows:,} rows{who}",
            completed=done.bytes_done,
            total=done.bytes,
        )
