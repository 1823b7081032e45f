"""What is here, and the next useful step: for somebody who types `flowlake` and nothing more.

A lake is judged by its log and its findings; no data file is read.
"""

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flowlake.aws import Access
from flowlake.errors import FlowLakeError
from flowlake.layout import FILE_NAME

if TYPE_CHECKING:
    import polars as pl

ENTRIES = 2_000
"""Names looked at for flow logs, here and in the folders here: no folder is listed to its end."""

SAMPLE = "sample-bucket"
"""The folder that a sample is put into."""

RECENT = timedelta(hours=24)
"""A lake whose newest record is younger is asked for its last day."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command that would be of use, and what for."""

    command: str
    why: str


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What is here, in a line or two, and what to do next, the most useful first."""

    here: str
    steps: tuple[Step, ...]


def first_steps(
    lake: str | None = None,
    folder: str | os.PathLike[str] = ".",
    access: Access = Access(),
    now: datetime | None = None,
) -> FirstSteps:
    """Say what there is and what to do with it. Eager; a lake that cannot be used is no error.

    Args:
        lake: its folder or ``s3://`` prefix; by default ``FLOWLAKE_LAKE``, else ``./lake``.
        folder: where flow logs are looked for if there is no lake.
        access: AWS profile and requester-pays.
        now: the time that ages are told by, UTC.
    """
    place = lake or os.environ.get("FLOWLAKE_LAKE") or "lake"
    remote = place.startswith("s3://")
    if not remote and not Path(place, "flows", "_delta_log").is_dir():
        return _without_lake(f"There is no lake at {place}", Path(folder))
    try:
        return _of_lake(place, access, now or datetime.now(UTC))
    except FlowLakeError as error:
        if remote and str(error).startswith("There is no lake"):
            return _without_lake(f"There is no lake at {place}", Path(folder))
        steps = (
            Step("flowlake --verbose status", "say what is tried, and what goes wrong"),
            Step("flowlake status --lake LAKE", "name another lake than FLOWLAKE_LAKE or ./lake"),
        )
        return FirstSteps(str(error), steps)


def _without_lake(nothing: str, folder: Path) -> FirstSteps:
    raw = _flow_logs_in(folder)
    own = Step("flowlake convert s3://BUCKET/AWSLogs/", "convert your own flow logs into a lake")
    if raw is None:
        return FirstSteps(
            f"{nothing}, and there are no flow logs here.",
            (
                Step(f"flowlake sample {SAMPLE}", "make a small bucket of flow logs to try it on"),
                Step(f"flowlake convert {SAMPLE}", "convert it"),
                own,
            ),
        )
    place = shlex.quote(str(raw))
    return FirstSteps(
        f"{nothing}; {'this folder' if str(raw) == '.' else raw} holds flow logs.",
        (
            Step(f"flowlake convert {place} --dry-run", "say what is there and what it would take"),
            Step(f"flowlake convert {place}", "convert it into a lake"),
            own,
        ),
    )


def _flow_logs_in(folder: Path) -> Path | None:
    """The folder that holds flow logs by its names: one here, or the one named; else None."""
    seen = 0
    for place in (folder, *_folders(folder)):
        for entry in _entries(place):
            seen += 1
            if entry.name == "AWSLogs" or FILE_NAME.search(entry.name):
                return place.relative_to(folder)
            if seen >= ENTRIES:
                return None
    return None


def _folders(folder: Path) -> list[Path]:
    found = [Path(e.path) for e in _entries(folder) if e.is_dir() and not e.name.startswith(".")]
    return sorted(found)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return


def _of_lake(place: str, access: Access, now: datetime) -> FirstSteps:
    # Only a lake needs the engines: without one the answer is there in a tenth of the time.
    from flowlake.committing import Tables
    from flowlake.compacting import TARGET_ROWS, merges
    from flowlake.files import live_files
    from flowlake.findings import findings
    from flowlake.rendering import some
    from flowlake.storage import canonical

    tables = Tables(canonical(place), access)
    files = live_files(tables.table("flows"))
    rows = int(files["rows"].sum())
    if not rows:
        return _without_lake(f"The lake at {place} is empty", Path())
    found = findings(tables)
    still_open = found.filter(found["state"] == "open").height
    here = f"The lake at {place} has {some(rows, 'row')}{_times(files, now)}"
    steps = []
    if still_open:
        here += f" {some(still_open, 'finding')} of the alarms not acknowledged."
        steps.append(Step("flowlake alarms findings --open", "list them"))
    rules = os.environ.get("FLOWLAKE_ALARMS") or "alarms.toml"
    if rules.startswith("s3://") or Path(rules).is_file():
        steps.append(Step("flowlake alarms run", f"evaluate {rules} on what is new"))
    if small := sum(each.height for each in merges(files, TARGET_ROWS["flows"])):
        steps.append(Step("flowlake compact", f"merge {some(small, 'small file')}"))
    return FirstSteps(here, (*steps, *_questions(files, now)))


def _times(files: "pl.DataFrame", now: datetime) -> str:
    if "min.start_time" not in files.columns or "max.end_time" not in files.columns:
        return "."
    first, last = files["min.start_time"].min(), files["max.end_time"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return "."
    return (
        f", from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC; the newest record is "
        f"{_age(now - last)} old."
    )


def _age(age: timedelta) -> str:
    minutes = max(0, int(age.total_seconds() // 60))
    for unit, length in (("days", 2 * 1440), ("hours", 2 * 60)):
        if minutes >= length:
            return f"{minutes // (length // 2):,} {unit}"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def _questions(files: "pl.DataFrame", now: datetime) -> Iterator[Step]:
    last = files["max.end_time"].max() if "max.end_time" in files.columns else None
    since = ""
    if isinstance(last, datetime):
        since = " --since 24h" if now - last < RECENT else f" --since {last:%Y-%m-%d}"
    yield Step(f"flowlake query top_talkers{since}", "who sent most bytes")
    if (address := _address(files)) is not None:
        yield Step(f"flowlake hunt {address} --summary", "all of one address, by peer and port")
    yield Step("flowlake verify", "prove that bucket, ledger and lake agree")


def _address(files: "pl.DataFrame") -> str | None:
    """An address that the newest file has a record of."""
    if "max.srcaddr" not in files.columns:
        return None
    known = files.filter(files["max.srcaddr"].is_not_null()).sort("date", "path")
    found = known["max.srcaddr"][-1] if known.height else None
    return found if found and re.fullmatch(r"[0-9a-f.:]+", found) else None
