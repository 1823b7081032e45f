"""A report: what a window of a lake holds, as one HTML page to look at.

The page needs no network and no other file. What it shows are the answers of the saved queries
whose headers say ``report``, and the findings of the alarms.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from flowlake.addresses import network
from flowlake.errors import StorageError, UsageError
from flowlake.lake import Lake, Names, When
from flowlake.rendering import cell, size, some
from flowlake.report.answers import Tell, ask
from flowlake.report.findings import found
from flowlake.report.headline import headline, seen
from flowlake.report.page import Page, html, vega_script
from flowlake.window import Window, window

__all__ = ["ReportFile", "write_report"]


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report that was written."""

    path: Path
    bytes: int
    seconds: float
    answered: int
    """Questions that have rows or none, as the window has it."""
    failed: tuple[tuple[str, str], ...]
    """The questions that failed, each with the reason."""


def write_report(
    lake: Lake,
    path: str | os.PathLike[str],
    *,
    since: When = None,
    until: When = None,
    account: Names = None,
    region: Names = None,
    title: str = "VPC flow logs",
    internal: Sequence[str] = (),
    names: bool = False,
    queries: str | os.PathLike[str] | None = None,
    progress: Tell = lambda *_: None,
) -> ReportFile:
    """Write one HTML page on a window of a lake.

    The file appears whole or not at all. A question that fails says so in its section.

    Args:
        lake: the lake.
        path: where to write the page.
        since: records that start at or after this; ISO 8601 or an age such as ``24h``.
        until: records that start before this.
        account: only this ``account_id`` or these.
        region: only this ``region`` or these.
        title: what stands at the top of the page.
        internal: networks of your own that count as private.
        names: whether to add the names of interfaces and addresses, by the inventory.
        queries: a folder with saved queries of your own, of which those with ``report`` are asked.
        progress: told each question before it is asked: its name, its number, how many there are.

    Raises:
        UsageError: for a window or a network that cannot be read, a place without a folder, and
            without the extra ``flowlake[report]``.
        LakeError: when the lake cannot be read, and for names without an inventory.
        StorageError: when the page cannot be written.
    """
    started = time.monotonic()
    target = Path(path).expanduser()
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent} to write {target.name} in.")
    if target.is_dir():
        raise UsageError(f"{target} is a folder: name a file, such as {target / 'report.html'}.")
    for cidr in internal:
        network(cidr)
    vega_script()  # what is not installed is said before the work
    wanted = _whole_seconds(window(since, until, account, region))
    sections = ask(lake, wanted, internal=internal, names=names, queries=queries, tell=progress)
    told = found(lake, wanted)
    some_told = told.rows is not None and not told.rows.is_empty()
    sections = [told, *sections] if some_told else [*sections, told]
    made = datetime.now(UTC)
    status = lake.status()
    page = Page(
        title,
        _about(lake, wanted, seen(sections)),
        headline(sections, status),
        sections,
        f"Made {cell(made)} UTC by FlowLake {version('flowlake')} from version {lake.version} of "
        f"the lake: {some(status.rows, 'row')} in {some(status.files, 'file')} "
        f"({size(status.bytes)}), from {some(status.objects, 'object')}. All times are UTC; "
        "sizes are in units of 1024 bytes. Records count in the window in which they start.",
        version("flowlake"),
    )
    body = html(page).encode()
    _write(target, body)
    return ReportFile(
        target,
        len(body),
        time.monotonic() - started,
        sum(each.rows is not None for each in sections),
        tuple((each.name, each.reason or "") for each in sections if each.failed),
    )


def _whole_seconds(wanted: Window) -> Window:
    """The window as a command line can say it, so that the page's commands give the same."""
    since, until = (
        None if moment is None else moment.replace(microsecond=0)
        for moment in (wanted.since, wanted.until)
    )
    return replace(wanted, since=since, until=until)


def _about(lake: Lake, wanted: Window, seen: str) -> list[tuple[str, str]]:
    since = f"{cell(wanted.since)} UTC" if wanted.since else "the first record"
    until = f"{cell(wanted.until)} UTC" if wanted.until else "the last record"
    facts = [("window", f"{since} to {until}")]
    facts += [("records", seen)] if seen else []
    facts += [("account", ", ".join(wanted.accounts))] if wanted.accounts else []
    facts += [("region", ", ".join(wanted.regions))] if wanted.regions else []
    return [*facts, ("lake", lake.url)]


def _write(target: Path, body: bytes) -> None:
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        beside.write_bytes(body)
        beside.replace(target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
