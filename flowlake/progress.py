"""A progress bar for a conversion, and for what reads objects or files as it does."""

import sys
from collections.abc import Callable
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


class ProgressBar:
    """Objects, rows, workers and bytes, on standard error; nothing where that is no terminal."""

    def __init__(self, noun: str = "objects") -> None:
        self._noun = noun
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
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
