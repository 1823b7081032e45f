"""Small files -> larger ones that hold the same rows.

Every run adds files. Compaction rewrites the small ones of a partition as one file, and a commit
puts it in their place. It asks the log alone what to merge, and the log says no to whatever another
process was faster with, so it may run beside conversions and beside itself. The old files stay on
the disk for those who read an older snapshot.
"""

import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import deltalake
import polars as pl
import pyarrow as pa

from flowlake.aws import explain
from flowlake.committing import Tables
from flowlake.converting import Progress
from flowlake.errors import LakeError, StorageError
from flowlake.files import in_groups, live_files, read_flows
from flowlake.fingerprints import Gaps, fingerprints, of_files
from flowlake.layout import partition_path
from flowlake.storage import Access, canonical, delta_options
from flowlake.writing import DataFile, write_flows, write_table

TARGET_ROWS = {"flows": 2_000_000, "rejects": 200_000, "objects": 200_000}
"""The most rows that files are merged into, for each table: what is held in memory at once. A file
of half as many is left alone, so each of a conversion's own full files."""

ROUNDS = 5
"""Times a compaction plans again when another process was faster with some of its files."""

COMMIT_SECONDS = 30.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Compaction:
    """What a compaction found and did. Sizes are bytes.

    ``plan`` has a row for each ``table`` and ``partition`` (the folder; empty where there are
    none): the ``files`` it had, the ``small_files`` among them, below half of ``TARGET_ROWS``,
    those ``to_merge``, their ``bytes``, and how many files they become, ``into``.
    """

    plan: pl.DataFrame
    files: int = 0
    """Files merged, of all tables."""
    into: int = 0
    rows: int = 0
    """Rows of ``flows`` in them."""
    bytes_before: int = 0
    bytes_after: int = 0
    overtaken: int = 0
    """Files left as they were, because another process was faster each time: run again."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Partitions with files that could not be read, with the reason; they were left alone."""
    seconds: float = 0.0


def compact(
    lake: str | os.PathLike[str] = "lake",
    *,
    dry_run: bool = False,
    access: Access = Access(),
    progress: Callable[[Progress], None] | None = None,
    commit_seconds: float = COMMIT_SECONDS,
) -> Compaction:
    """Merge the small files of each partition, and those of the ledger and the rejects. Eager.

    No answer changes: each new file has been compared with those it replaces, value by value,
    before the commit that exchanges them. ``merges`` says which files are merged.

    Args:
        lake: the lake's folder or ``s3://`` prefix.
        dry_run: only plan.
        access: AWS profile and requester-pays.
        progress: called after each merge; its objects are files.
        commit_seconds: merged files are committed when this much time has passed, and at the end.

    Raises:
        LakeError: when there is no lake, or a merged file is not what it should be.
        StorageError: when the lake cannot be reached or written.
    """
    started = time.monotonic()
    tables = Tables(canonical(lake), access)
    if not dry_run:
        tables.head()  # a commit that was cut off is finished while its entry is in the log
    run: _Run | None = None
    for _ in range(ROUNDS):
        handles = {name: tables.table(name) for name in TARGET_ROWS}
        files = {name: _files(name, table) for name, table in handles.items()}
        if run is None:
            run = _Run(tables, _summed_up(files), progress or (lambda _: None), commit_seconds)
        if dry_run or not run.merge(handles, files):
            break
    assert run is not None
    run.report.seconds = time.monotonic() - started
    return run.report


def merges(files: pl.DataFrame, rows: int) -> list[pl.DataFrame]:
    """Choose what to merge: each frame is some files of one partition, for one new file.

    The small files of a partition, VPCs' and transit gateways' apart, are taken in the order of
    their first records and cut into groups of at most so many rows. Of a group the largest files
    are left out until the rest makes a file at least twice as large as any of its parts. So a row
    is rewritten at most as often as its file can double, log2 of target over first size; what
    stays of a group are few files, each larger than all smaller ones together; and to plan again
    after the merge finds nothing.

    Args:
        files: what ``live_files`` says of a snapshot.
        rows: the most rows of a new file. A file of half as many is not small.
    """
    if "min.start_time" not in files.columns:
        files = files.with_columns(pl.lit(None).alias("min.start_time"))
    small = files.filter(pl.col("rows") * 2 < rows).sort(
        "min.start_time", "path", nulls_last=True, maintain_order=True
    )
    kind = (pl.col("transit_gateway_rows") > 0).alias("kind")
    return [
        part
        for _, group in small.group_by("partition", kind, maintain_order=True)
        for each in in_groups(group, rows)
        if (part := _worthwhile(each)).height > 1
    ]


def _worthwhile(files: pl.DataFrame) -> pl.DataFrame:
    """The smaller files, as far as all of them together are twice the largest of them."""
    by_size = files.sort("rows", maintain_order=True)
    enough = by_size.select(pl.col("rows").cum_sum() >= 2 * pl.col("rows")).to_series()
    return by_size.head(max((n for n, is_enough in enumerate(enough, 1) if is_enough), default=0))


def _files(name: str, table: deltalake.DeltaTable) -> pl.DataFrame:
    """The live files of any of the tables, as ``live_files`` has them of ``flows``."""
    if name == "flows":
        return live_files(table)
    return pl.DataFrame(table.get_add_actions(flatten=True)).select(
        "path",
        pl.lit(None).alias("partition"),
        pl.lit(0).alias("transit_gateway_rows"),
        pl.col("modification_time").alias("min.start_time"),
        size="size_bytes",
        rows="num_records",
    )


def _summed_up(files: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The ``plan`` of a ``Compaction``."""
    parts = []
    for name, live in files.items():
        chosen = [
            each.select("path", merge=pl.lit(number))
            for number, each in enumerate(merges(live, TARGET_ROWS[name]))
        ]
        nothing = pl.DataFrame(schema={"path": pl.String, "merge": pl.Int32})
        there = live.join(pl.concat([nothing, *chosen]), on="path", how="left")
        grouped = there.group_by("partition").agg(
            files=pl.len().cast(pl.Int64),
            small_files=(pl.col("rows") * 2 < TARGET_ROWS[name]).sum().cast(pl.Int64),
            to_merge=pl.col("merge").count().cast(pl.Int64),
            bytes=pl.col("size").filter(pl.col("merge").is_not_null()).sum(),
            into=pl.col("merge").drop_nulls().n_unique().cast(pl.Int64),
        )
        folders = [partition_path(values or {}) for values in grouped["partition"]]
        parts.append(
            grouped.select(
                pl.lit(name).alias("table"),
                pl.Series("partition", folders, pl.String),
                pl.exclude("partition"),
            ).sort("partition")
        )
    return pl.concat(parts)


class _Run:
    """One compaction: its report, and the merged files that wait for their commit."""

    def __init__(
        self,
        tables: Tables,
        plan: pl.DataFrame,
        tell: Callable[[Progress], None],
        commit_seconds: float,
    ) -> None:
        self.tables = tables
        self.report = Compaction(plan)
        self._tell = tell
        self._progress = Progress(int(plan["to_merge"].sum()), int(plan["bytes"].sum()))
        self._commit_seconds = commit_seconds
        self._waiting: list[tuple[pl.DataFrame, list[DataFile]]] = []
        self._unreadable: set[str] = set()

    def merge(
        self, handles: dict[str, deltalake.DeltaTable], files: dict[str, pl.DataFrame]
    ) -> bool:
        """Merge what these snapshots have to merge; whether another process was faster with any."""
        self.report.overtaken = 0
        for name, table in handles.items():
            good = files[name].filter(~pl.col("path").is_in(self._unreadable))
            committed_at = time.monotonic()
            try:
                for chosen in merges(good, TARGET_ROWS[name]):
                    self._write(name, table, chosen)
                    if time.monotonic() - committed_at >= self._commit_seconds:
                        self._commit(name)
                        committed_at = time.monotonic()
            finally:
                self._commit(name)
        return self.report.overtaken > 0

    def _write(self, name: str, table: deltalake.DeltaTable, old: pl.DataFrame) -> None:
        """Write the rows of old files into a new one, and compare."""
        try:
            rows = self._read(name, table, old)
        except (pl.exceptions.PolarsError, FileNotFoundError, LakeError) as error:
            self._unreadable.update(old["path"])
            reason = f"{str(error).splitlines()[0].rstrip('.')}: run `flowlake verify`"
            partition = partition_path(old["partition"][0] or {})
            self.report.failures.append((f"{name}/{partition}".rstrip("/"), reason))
            return
        except OSError as error:
            raise StorageError(
                f"The lake at {self.tables.url} cannot be read: {explain(str(error))}."
            ) from error
        schema = pa.schema(table.schema())
        root, storage = self.tables.table_url(name), self.tables.storage
        if name == "flows":
            by = table.metadata().partition_columns
            new = write_flows(
                [rows], schema=schema, partition_by=by, table_url=root, storage=storage
            )
            rows = rows.drop(by)
        else:
            new = [write_table(rows.to_arrow().cast(schema), table_url=root, storage=storage)]
        self._compare(name, rows, new)
        logger.debug("%s: merged %d files, %d rows", name, old.height, rows.height)
        self._waiting.append((old, new))
        self._progress.objects_done += old.height
        self._progress.bytes_done += int(old["size"].sum())
        self._progress.rows += rows.height
        self._tell(self._progress)

    def _read(self, name: str, table: deltalake.DeltaTable, old: pl.DataFrame) -> pl.DataFrame:
        root = self.tables.table_url(name)
        options = delta_options(self.tables.url, self.tables.access)
        if name == "flows":
            return read_flows(table, root, old, options)
        rows = pl.read_parquet(
            [f"{root}/{path}" for path in old["path"]],
            schema=pl.Schema(pa.schema(table.schema())),
            hive_partitioning=False,
            missing_columns="insert",
            storage_options=options,
        )
        if rows.height != (said := old["rows"].sum()):
            raise LakeError(f"The log says {said:,} rows of files that have {rows.height:,}.")
        return rows

    def _compare(self, name: str, rows: pl.DataFrame, new: Sequence[DataFile]) -> None:
        """Compare what was written, as it can be read again, with what was to be written."""
        root = self.tables.table_url(name)
        urls = [f"{root}/{file.path}" for file in new]
        gaps: Gaps = []
        texts = rows.lazy().with_columns(pl.col(pl.Categorical).cast(pl.String))
        wanted = fingerprints(texts).sort("object_id").collect(engine="streaming")
        columns = dict(texts.collect_schema())
        found = of_files(urls, fingerprints, self.tables, gaps, columns=columns)
        if gaps or not found.sort("object_id").equals(wanted):
            self.tables.storage.delete(urls)
            raise LakeError(
                f"What was written into {root} is not what was to be merged: nothing was changed "
                "there. Check the disk and its memory; if they are well, please report it."
            )

    def _commit(self, name: str) -> None:
        """Exchange the files whose old ones are still live on a snapshot loaded now."""
        while self._waiting:
            table = self.tables.table(name)
            live = set(_files(name, table)["path"])
            # Nothing waits during the commit: if it fails, nobody knows whether it has landed.
            waiting, self._waiting = self._waiting, []
            good = []
            for old, new in waiting:
                if live.issuperset(old["path"]):
                    good.append((old, new))
                else:
                    self.report.overtaken += old.height
                    root = self.tables.table_url(name)
                    self.tables.storage.delete(f"{root}/{file.path}" for file in new)
            if not good:
                return
            gone = pl.concat(old for old, _ in good)
            come = [file for _, new in good for file in new]
            if self.tables.exchange(name, table, gone.to_dicts(), come):
                logger.info("committed to %s: %d files for %d", name, len(come), gone.height)
                self.report.files += gone.height
                self.report.into += len(come)
                self.report.rows += int(gone["rows"].sum()) if name == "flows" else 0
                self.report.bytes_before += int(gone["size"].sum())
                self.report.bytes_after += sum(file.size for file in come)
            else:
                self._waiting = good
                logger.info("another process committed first; looking again")
                time.sleep(random.uniform(0.01, 0.2))
