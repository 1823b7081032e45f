"""One task of a conversion: fetch some raw objects, read them, write their Parquet files.

A task is a pure function of its arguments: it runs in any process that has the package, and
what it writes is invisible until the coordinator commits it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import deltalake
import polars as pl
import pyarrow as pa

from flowlake import memory
from flowlake.committing import OBJECTS, REJECTED
from flowlake.errors import NotAFlowLog, ObjectUnreadable, StorageError
from flowlake.fields import arrow_type, column_type
from flowlake.reading import (
    REJECTS,
    Batch,
    Format,
    RawObject,
    Together,
    read_object,
    read_together,
)
from flowlake.storage import Access, Body, is_remote, open_storage
from flowlake.writing import DataFile, write_flows, write_table

ROWS_PER_FILE = 1_000_000
"""Rows a task gathers before it writes, if it has the memory."""

REJECTS_PER_FILE = 200_000

FETCH_AHEAD_BYTES = 64 << 20

FETCHES = 3
"""How often an object is fetched that comes with other than the bytes that were listed."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs to know; small, and picklable."""

    objects: tuple[RawObject, ...]
    lake: str
    access: Access
    schema: str
    """The flows table's stored schema, as Delta's JSON."""
    partition_by: tuple[str, ...]
    formats: tuple[Format, ...] = ()
    """What records without a header may be, besides AWS's default formats."""
    memory: int = memory.MOST
    """Bytes that it may hold."""

    def of(self, objects: Sequence[RawObject]) -> "Task":
        """The same task for other objects."""
        return replace(self, objects=tuple(objects))


@dataclass(slots=True)
class TaskResult:
    """What a task wrote and counted; nothing of it is in the lake yet."""

    ledger: pa.Table = field(default_factory=lambda: pa.Table.from_batches([], schema=OBJECTS))
    flows: list[DataFile] = field(default_factory=list)
    rejects: list[DataFile] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    failures: list[tuple[str, str]] = field(default_factory=list)
    unreadables: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    bytes: int = 0
    rows: int = 0
    rejected: int = 0
    misdated: int = 0
    replaced: int = 0

    @property
    def objects(self) -> int:
        """How many objects have a row in the ledger of this task."""
        return int(self.ledger.num_rows)


@dataclass(slots=True)
class _Count:
    """What the ledger says of one object, as it is read."""

    shape: str | None = None
    lines: int = 0
    rows: int = 0
    nodata: int = 0
    skipdata: int = 0
    rejected: int = 0
    misdated: int = 0
    first_date: date | None = None
    last_date: date | None = None
    fields: dict[str, None] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        flows = batch.flows
        self.shape = batch.shape
        self.lines += batch.lines
        self.rows += flows.height
        self.rejected += batch.rejects.height
        self.misdated += batch.misdated
        if batch.fields:
            self.fields[" ".join(batch.fields)] = None
        for day in (flows["date"].min(), flows["date"].max()) if flows.height else ():
            assert isinstance(day, date)
            self.first_date = min(self.first_date or day, day)
            self.last_date = max(self.last_date or day, day)
        self.nodata += batch.having("NODATA")
        self.skipdata += batch.having("SKIPDATA")


def convert_task(task: Task) -> TaskResult:
    """Convert the task's objects. Eager; an object that cannot be fetched is a failure inside.

    Raises:
        StorageError: when the lake cannot be written.
    """
    return _Conversion(task).run()


class _Conversion:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._storage = open_storage(task.lake, task.access)
        stored = deltalake.Schema.from_json(task.schema)
        self._schema = pa.schema(stored).remove_metadata()
        self._result = TaskResult()
        self._frames: list[pl.DataFrame] = []
        self._rows = self._held = 0
        self._rejects: list[pl.DataFrame] = []
        self._ledger: list[dict[str, object]] = []

    def run(self) -> TaskResult:
        for read in read_together(self._arrived()):
            if isinstance(read, Together):
                self._take(read)
            else:
                self._read_alone(*read)
        self._write_flows()
        self._write_rejects()
        ledger = pl.DataFrame(self._ledger, schema=pl.Schema(OBJECTS), orient="row")
        self._result.ledger = ledger.to_arrow().cast(OBJECTS)
        return self._result

    def _arrived(self) -> Iterator[tuple[RawObject, Body]]:
        ahead = min(FETCH_AHEAD_BYTES, self._task.memory // 8)
        for raw, body in fetched(self._task.objects, self._task.access, ahead):
            self._result.bytes += raw.size
            if isinstance(body, StorageError):
                self._result.failures.append((raw.url, str(body)))
            elif raw.had is not None and (has := _lines(body)) < raw.had:
                self._result.failures.append((raw.url, _fewer(has, raw.had)))
            else:
                yield replace(raw, size=len(body)), body  # what a log group lists is an estimate

    def _take(self, read: Together) -> None:
        fields = " ".join(read.fields)
        for raw, count in zip(read.objects, read.counts.to_dicts(), strict=True):
            counted = _Count(shape="text", lines=count["rows"], fields={fields: None}, **count)
            self._enter(raw, "converted", counted)
        self._add(read.flows)

    def _read_alone(self, raw: RawObject, body: Body) -> None:
        try:
            count = self._read(raw, body)
        except NotAFlowLog as error:
            self._result.skipped.append((raw.url, str(error)))
            self._enter(raw, "skipped", _Count(shape=str(error)))
        except ObjectUnreadable as error:
            self._unreadable(raw, str(error))
        else:
            self._enter(raw, "converted", count)

    def _read(self, raw: RawObject, body: Body) -> _Count:
        count = _Count()
        for batch in read_object(raw, body, self._task.formats, chunk=self._task.memory // 16):
            count.add(batch)
            if batch.rejects.height:
                self._reject(raw, batch.rejects)
            self._add(batch.flows)
        return count

    def _add(self, flows: pl.DataFrame) -> None:
        if flows.height:
            self._frames.append(flows)
            self._rows += flows.height
            self._held += int(flows.estimated_size())
        if self._rows >= ROWS_PER_FILE or self._held >= self._task.memory // 8:
            self._write_flows()

    def _unreadable(self, raw: RawObject, reason: str) -> None:
        """Enter a flow log that cannot be read: one reject stands for all of it."""
        self._reject(raw, pl.DataFrame([(None, reason, None)], schema=REJECTS, orient="row"))
        self._result.unreadables.append((raw.url, reason))
        self._enter(raw, "unreadable", _Count())

    def _reject(self, raw: RawObject, rejects: pl.DataFrame) -> None:
        self._rejects.append(rejects.with_columns(object_id=pl.lit(raw.object_id, pl.Int64)))
        if sum(frame.height for frame in self._rejects) >= REJECTS_PER_FILE:
            self._write_rejects()

    def _enter(self, raw: RawObject, state: str, count: _Count) -> None:
        self._ledger.append(
            {
                **{name: getattr(raw, name) for name in RawObject.__slots__},
                **{name: getattr(count, name) for name in _Count.__slots__},
                "fields": "; ".join(count.fields) or None,
                "state": state,
                "converted_at": datetime.now(UTC),
            }
        )
        self._result.rows += count.rows
        self._result.rejected += count.rejected
        self._result.misdated += count.misdated
        self._result.replaced += raw.replaces is not None

    def _write_flows(self) -> None:
        if not self._frames:
            return
        names = dict.fromkeys(name for frame in self._frames for name in frame.columns)
        unknown = [name for name in names if name not in self._schema.names]
        self._result.columns.update(unknown)
        schema = self._schema
        for name in unknown:
            schema = schema.append(pa.field(name, arrow_type(column_type(name))))
        self._result.flows += write_flows(
            self._frames,
            schema=schema,
            partition_by=self._task.partition_by,
            table_url=f"{self._task.lake}/flows",
            storage=self._storage,
        )
        self._frames = []
        self._rows = self._held = 0

    def _write_rejects(self) -> None:
        if not self._rejects:
            return
        rejects = pl.concat(self._rejects).select(REJECTED.names).to_arrow()
        self._result.rejects.append(
            write_table(
                rejects.cast(REJECTED),
                table_url=f"{self._task.lake}/rejects",
                storage=self._storage,
            )
        )
        self._rejects = []


def _whole(raw: RawObject, access: Access) -> Body:
    """The object's bytes: as many as were listed, for what is cut off may look like all of it."""
    storage = open_storage(raw.url, access)
    for _ in range(FETCHES):
        body = storage.get(raw.url, raw.etag)
        if len(body) == raw.size or not (raw.etag and is_remote(raw.url)):
            return body
    raise StorageError(
        f"Cannot use {raw.url}: {len(body):,} of its {raw.size:,} bytes came, {FETCHES} times: run "
        "again, and look at what lies between here and S3."
    )


def _lines(body: Body) -> int:
    return bytes(body).count(b"\n") + 1 if body else 0


def _fewer(has: int, had: int) -> str:
    return (
        f"its events were {had:,} when it was converted and are {has:,} now: were they deleted in "
        "the log group? The rows are kept."
    )


def fetched(
    objects: Sequence[RawObject], access: Access, ahead_bytes: int = FETCH_AHEAD_BYTES
) -> Iterator[tuple[RawObject, Body | StorageError]]:
    """The objects' bytes in order, fetched ahead as far as a bound of bytes allows.

    What cannot be fetched comes as the error that says why.
    """
    threads = open_storage(objects[0].url, access).requests_in_flight
    ahead: deque[tuple[RawObject, Future[Body]]] = deque()
    bytes_ahead = 0
    waiting = deque(objects)
    with ThreadPoolExecutor(threads) as pool:
        while waiting or ahead:
            while waiting and (
                not ahead
                or (len(ahead) < 2 * threads and bytes_ahead + waiting[0].size <= ahead_bytes)
            ):
                raw = waiting.popleft()
                bytes_ahead += raw.size
                ahead.append((raw, pool.submit(_whole, raw, access)))
            raw, coming = ahead.popleft()
            bytes_ahead -= raw.size
            try:
                yield raw, coming.result()
            except StorageError as error:
                yield raw, error
