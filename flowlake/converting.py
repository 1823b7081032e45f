"""Raw objects -> the lake: plan what is new, convert it in tasks, commit it in batches.

A task reads some objects and writes Parquet files nobody sees yet; any
``concurrent.futures.Executor`` runs it. The coordinator commits finished tasks. What makes it
exactly once is not the plan but the commit: each batch is checked against the ledger of the very
head it is committed on, and a task that another converter has overtaken is thrown away and
planned again.
"""

import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from flowlake.committing import Change, Head, Tables
from flowlake.dask import DaskExecutor
from flowlake.errors import CommitConflict, UsageError
from flowlake.executing import Runner
from flowlake.memory import MOST, memory_of, shared_out
from flowlake.planning import CLOCK_HOUR, list_objects, named, new_objects, raw_objects
from flowlake.reading import Format, RawObject, parse_format
from flowlake.storage import STDIN, Access, canonical, formats_of, is_log_group
from flowlake.tasks import Task, TaskResult
from flowlake.window import window

PARTITIONS = ("date", "region", "account_id")
"""The columns a lake may be partitioned by, in the order of its folders."""

HOURLY = 24
FILES_A_DAY = 2_400
"""Files a day that a new lake's folders may make at hourly runs. Each run adds a file to each
folder it finds something for, so up to 100 pairs of account and region get a folder each. Past that
the lake is partitioned by date alone, and its files are sorted by the rest."""

TASK_BYTES = 32 << 20
TASK_OBJECTS = 2_000
COMMIT_OBJECTS = 20_000
COMMIT_SECONDS = 30.0
THREADS = 2
"""Up to so many workers are threads: as fast, and with half the memory. More of them would wait for
Python's one interpreter."""

PROCESS_BYTES, PROCESS_OBJECTS = 64 << 20, 1_000
"""For less than this for each core to read, threads are done before processes have started."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """How far a conversion is; handed to the caller's callback after each task and commit."""

    objects: int = 0
    bytes: int = 0
    objects_done: int = 0
    bytes_done: int = 0
    rows: int = 0
    rejected: int = 0
    committed: int = 0
    workers: str = ""
    """Who converts now: ``2 processes``, ``3 Dask workers``; empty where nobody says."""


@dataclass(slots=True)
class Report:
    """What a conversion did. ``new`` counts what the plan found to do, ``objects`` what it did."""

    listed: int = 0
    listed_bytes: int = 0
    copies: int = 0
    """Objects left out: their file name and size are those of another, at another place."""
    known_unreadable: int = 0
    """Listed objects an earlier conversion found unreadable; they have not changed since."""
    known_skipped: int = 0
    """Listed objects an earlier conversion found to be no flow logs; nor have they changed."""
    new: int = 0
    new_bytes: int = 0
    replaced: int = 0
    objects: int = 0
    rows: int = 0
    rejected: int = 0
    misdated: int = 0
    unreadable: int = 0
    elsewhere: int = 0
    """Objects that another converter committed while this one had them in hand."""
    batches: int = 0
    files: int = 0
    file_bytes: int = 0
    seconds: float = 0.0
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Objects that could not be fetched, with the reason; the next run tries them again."""
    unreadables: list[tuple[str, str]] = field(default_factory=list)
    """Flow logs that cannot be read, with the reason, as in ``rejects``."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Objects that are no flow logs, with what they are."""


def convert(
    *sources: str | os.PathLike[str],
    lake: str | os.PathLike[str] = "lake",
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    account: str | Sequence[str] | None = None,
    region: str | Sequence[str] | None = None,
    objects_from: str | os.PathLike[str] | None = None,
    fields: str | Sequence[str] | None = None,
    retry: bool = False,
    workers: int | None = None,
    memory: int | str | None = None,
    partition_by: Sequence[str] | None = None,
    executor: Executor | None = None,
    access: Access = Access(),
    progress: Callable[[Progress], None] | None = None,
    commit_seconds: float = COMMIT_SECONDS,
) -> Report:
    """Convert what is new in the sources into the lake. Eager.

    The lake is made when it is not there and there is something to convert.

    Args:
        sources: folders, files or ``s3://`` prefixes with flow log objects; both may have
            wildcards. ``-`` alone is one object on standard input, converted in this process.
        lake: the lake's folder or ``s3://`` prefix.
        since: objects whose own time stamp (in the name, else last modified) is not before this.
        until: … and is before this. Times as ``window.parse_time`` reads them, UTC.
        account: only objects named for this account or these.
        region: only objects named for this region or these.
        objects_from: a list of objects to convert too: lines of URLs or paths, an S3 Inventory,
            or S3 event notifications; a file, an ``s3://`` object, or ``-``.
        fields: the format of objects without a header, or several: field names in order, or a flow
            log's ``LogFormat``. AWS's default formats are known. Without ``fields``, EC2 is asked
            for the formats of the flow logs that deliver to a log group, where that is allowed.
        retry: read unreadable and skipped objects again.
        workers: processes; by default one a core, or threads where there is little to do and on
            two cores. 1 converts in this process. A script with more must guard its main code with
            ``__name__``.
        memory: bytes, or a size such as ``2GB``, that the processes stay below together: half of
            the machine's by default. Where it is little, there are fewer workers.
        partition_by: partition columns for a new lake: ``PARTITIONS`` or its first ones. By
            default all of them, or ``date`` alone where that would make more than ``FILES_A_DAY``.
        executor: runs the tasks instead: a ``flowlake.dask.DaskExecutor``, or anything with
            ``concurrent.futures``' interface, which is given tasks for so many ``workers``.
        access: AWS profile and requester-pays.
        progress: called in this process after each task and each commit.
        commit_seconds: a batch is committed when this much time has passed, and at the end.

    Returns:
        What was done. Objects that could not be fetched are in ``failures``; no error is raised
        for them.

    Raises:
        UsageError: for arguments that make no sense together.
        StorageError: when a source cannot be listed or the lake cannot be written.
        LakeError: when the lake contradicts itself.
        WorkersLost: when workers keep dying or cannot be reached.
    """
    started = time.monotonic()
    given = (fields,) if isinstance(fields, str) else fields or ()
    if not given:
        groups = (place for each in sources if is_log_group(place := canonical(each, access)))
        given = [spelled for group in groups for spelled in formats_of(group, access)]
    formats = tuple(parse_format(each) for each in given)
    most = memory_of(memory)
    wanted = window(since, until, account, region)
    tables = Tables(canonical(lake), access)
    listing = list_objects(
        sources, wanted, access, apart_from=tables.url, objects_from=objects_from
    )
    if (listing["source"] == STDIN).any():
        workers, executor = 1, None  # nobody else has its bytes
    if not tables.exist():
        if listing.is_empty():
            return Report(seconds=time.monotonic() - started)
        tables.create(partitions(tables, listing, partition_by))
    elif partition_by is not None:
        partitions(tables, listing, partition_by)
    run = _Run(tables, listing, progress, commit_seconds, formats, most, retry=retry)
    run.to_the_end(workers, executor)
    run.report.seconds = time.monotonic() - started
    return run.report


def _tasks(new: Sequence[RawObject], workers: int) -> list[list[RawObject]]:
    """Cut the work, in order, into tasks that keep every worker busy and memory small."""
    total = sum(raw.size for raw in new)
    most = task_bytes(total, workers)
    tasks: list[list[RawObject]] = []
    size = 0
    for raw in new:
        if not tasks or size + raw.size > most or len(tasks[-1]) >= TASK_OBJECTS:
            tasks.append([])
            size = 0
        tasks[-1].append(raw)
        size += raw.size
    return tasks


def task_bytes(total: int, workers: int) -> int:
    """How many stored bytes a task is given, of so many in all."""
    return min(TASK_BYTES, max(1 << 20, total // (workers * 4)))


def partitions(
    tables: Tables, listing: pl.DataFrame, given: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The partition columns that the lake has; or, if there is none, that one made now would have.

    Raises:
        UsageError: when those given cannot be, or are not the lake's.
    """
    wanted = None if given is None else _partitions(given)
    if not tables.exist():
        return wanted or _fitting(named(listing))
    has = tuple(tables.table("flows").metadata().partition_columns)
    if wanted not in (None, has):
        raise UsageError(
            f"The lake at {tables.url} is partitioned by {', '.join(has)}: that is chosen once, "
            "when a lake is made."
        )
    return has


def _fitting(listing: pl.DataFrame) -> tuple[str, ...]:
    """All columns, unless some hour has objects of too many accounts and regions."""
    hours = listing.group_by(CLOCK_HOUR).agg(places=pl.struct("account_id", "region").n_unique())
    many = hours.filter(pl.col("places") * HOURLY > FILES_A_DAY)
    return PARTITIONS if many.is_empty() else PARTITIONS[:1]


def _partitions(given: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(name.strip() for name in given)
    if not chosen or chosen != PARTITIONS[: len(chosen)]:
        raise UsageError(
            f"A lake is partitioned by {', '.join(PARTITIONS)} or the first of them, "
            f"not by {', '.join(chosen)}."
        )
    return chosen


class _Run:
    """One conversion: its report, and the finished tasks that wait for their commit."""

    def __init__(
        self,
        tables: Tables,
        listing: pl.DataFrame,
        progress: Callable[[Progress], None] | None,
        commit_seconds: float,
        formats: tuple[Format, ...],
        memory: int,
        *,
        retry: bool,
    ) -> None:
        self.tables = tables
        self.report = Report(listed=listing.height, listed_bytes=int(listing["size"].sum()))
        self._listing = listing
        self._tell = progress or (lambda _: None)
        self._progress = Progress()
        self._commit_seconds = commit_seconds
        self._formats = formats
        self._memory = memory
        self._retry = retry
        self._waiting: list[TaskResult] = []
        self._lost = 0

    def to_the_end(self, workers: int | None, executor: Executor | None) -> None:
        """Plan and run until the ledger has every listed object but those that failed."""
        failed: set[str] = set()
        first = True
        while True:
            head = self.tables.head()
            live = head.live
            new = new_objects(self._listing, live, retry=self._retry)
            new = new.filter(~pl.col("url").is_in(failed))
            changed = new["replaces"].count()
            logger.info("%d objects to convert, %d of them changed", new.height, changed)
            if first:
                self._look_back(live, new)
                self.report.new = self._progress.objects = new.height
                self.report.new_bytes = self._progress.bytes = int(new["size"].sum())
                self._tell(self._progress)
                first = False
            if new.is_empty():
                return
            self._lost = 0
            self._convert(raw_objects(new), head, workers, executor)
            failed.update(url for url, _ in self.report.failures)
            if not self._lost:
                return
            self._retry = False  # who overtook this run has read them again
            logger.info("%d objects were overtaken by another converter", self._lost)

    def _look_back(self, live: pl.DataFrame, new: pl.DataFrame) -> None:
        here = self._listing.join(live, on="url", how="anti")
        self.report.copies = here.join(new, on="url", how="anti").height
        left = live.filter(pl.col("state") != "converted")
        old = left.join(self._listing, on="url", how="semi").join(new, on="url", how="anti")
        self.report.known_unreadable = old.filter(pl.col("state") == "unreadable").height
        self.report.known_skipped = old.filter(pl.col("state") == "skipped").height

    def _convert(
        self, new: list[RawObject], head: Head, workers: int | None, executor: Executor | None
    ) -> None:
        count = workers or threads(executor) or cores()
        many = len(new) >= count * PROCESS_OBJECTS
        much = many or sum(raw.size for raw in new) >= count * PROCESS_BYTES
        processes = workers is not None or (count > THREADS and much)
        each = MOST
        if executor is None:
            count, each = shared_out(self._memory, count, processes=processes)
        schema = head.flows.schema()
        template = Task(
            (),
            self.tables.url,
            self.tables.access,
            schema.to_json(),
            tuple(head.flows.metadata().partition_columns),
            self._formats,
            each,
        )
        committed_at = time.monotonic()
        tasks = [template.of(objects) for objects in _tasks(new, count)]
        logger.info("%d tasks for %d workers", len(tasks), count)
        with Runner(count, executor, processes=processes, tell=self._staff) as runner:
            try:
                for result in runner.run(tasks):
                    self._take(result)
                    waiting = sum(each.objects for each in self._waiting)
                    late = time.monotonic() - committed_at >= self._commit_seconds
                    if late or waiting >= COMMIT_OBJECTS:
                        self._commit()
                        committed_at = time.monotonic()
            finally:
                self._commit()

    def _staff(self, workers: str) -> None:
        self._progress.workers = workers
        self._tell(self._progress)

    def _take(self, result: TaskResult) -> None:
        logger.debug("read %d objects: %d rows", result.objects, result.rows)
        if result.objects:
            self._waiting.append(result)
        self.report.failures += result.failures
        self._progress.objects_done += result.objects + len(result.failures)
        self._progress.bytes_done += result.bytes
        self._progress.rows += result.rows
        self._progress.rejected += result.rejected
        self._tell(self._progress)

    def _commit(self) -> None:
        """Commit the finished tasks that are still new on a head loaded now."""
        while self._waiting:
            head = self.tables.head()
            landed, good, lost = _parted(self._waiting, head, retry=self._retry)
            self._waiting = good
            for result in landed:
                self._count(result)
            for result in lost:
                self._forget(result)
            change = Change()
            for result in good:
                change.flows += result.flows
                change.rejects += result.rejects
                change.objects.append(result.ledger)
                change.columns |= result.columns
            if not change.objects:
                break
            try:
                if self.tables.add_columns(head, change.columns):
                    continue
                self.tables.commit(head, change)
            except CommitConflict:
                logger.info("another process committed first; planning again")
                time.sleep(random.uniform(0.01, 0.2))
                continue
            self.report.batches += 1
            for result in good:
                self._count(result)
            self._waiting = []
        self._tell(self._progress)

    def _count(self, result: TaskResult) -> None:
        self.report.objects += result.objects
        self.report.rows += result.rows
        self.report.rejected += result.rejected
        self.report.misdated += result.misdated
        self.report.replaced += result.replaced
        self.report.unreadable += len(result.unreadables)
        self.report.unreadables += result.unreadables
        self.report.skipped += result.skipped
        self.report.files += len(result.flows)
        self.report.file_bytes += sum(file.size for file in result.flows)
        self._progress.committed += result.objects

    def _forget(self, lost: TaskResult) -> None:
        """Drop a task that another converter overtook, and the files it wrote."""
        self._lost += lost.objects
        self.report.elsewhere += lost.objects
        for table, files in (("flows", lost.flows), ("rejects", lost.rejects)):
            folder = self.tables.table_url(table)
            self.tables.storage.delete(f"{folder}/{file.path}" for file in files)


def _parted(
    results: Sequence[TaskResult], head: Head, *, retry: bool
) -> tuple[list[TaskResult], list[TaskResult], list[TaskResult]]:
    """Part results into the landed, the good and the lost.

    Landed: a commit that seemed refused, or whose answer was lost, brought them in. Good: a plan
    made now would have their objects converted as they were. Lost: another converter has some.
    """
    done = pl.concat(
        pl.DataFrame(result.ledger).with_columns(task=pl.lit(task))
        for task, result in enumerate(results)
    )
    here = done.join(head.ledger, on=["object_id", "converted_at"], how="semi")["task"].to_list()
    again = new_objects(done.drop("replaces"), head.live, retry=retry).select("url", now="replaces")
    planned = done.join(again, on="url", how="left").select(
        "task",
        stale=pl.col("replaces").ne_missing(pl.col("now"))
        | ~pl.col("url").is_in(again["url"].implode()),
    )
    stale = planned.filter("stale")["task"].to_list()
    parted: tuple[list[TaskResult], list[TaskResult], list[TaskResult]] = ([], [], [])
    for task, result in enumerate(results):
        parted[0 if task in here else 2 if task in stale else 1].append(result)
    return parted


def threads(executor: Executor | None) -> int:
    """The threads of a Dask cluster's workers; 0 for what does not say."""
    return executor.crew().threads if isinstance(executor, DaskExecutor) else 0


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
