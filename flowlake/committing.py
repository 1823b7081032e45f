"""The lake's three Delta tables, and the one way rows get into them: all of a batch or none.

``flows`` leads. A batch is commit number n of the application ``flowlake``: first in ``flows``,
with the ledger's and the rejects' files named in that commit's metadata, then in ``rejects``,
then in the ledger, ``objects``. Whoever finds the ledger behind ``flows`` commits those files
from the metadata and reads nothing again. The handle that planned is the handle that commits:
Delta compares n only with what came after the handle was loaded, so a conflict always means
to plan anew.

Delta lets two commits remove the same file, and the rows that each adds in its place would be
there twice. So whatever removes files takes part in the application ``flowlake-removals`` too,
and of two such commits on the same snapshot one is refused. What only adds files does not.
"""

import contextlib
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import deltalake
import polars as pl
import pyarrow as pa
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, CommitProperties, RemoveAction, Transaction

from flowlake.errors import CommitConflict, LakeError, UsageError
from flowlake.explaining import explained
from flowlake.fields import arrow_type, column_type, flows_schema
from flowlake.files import add, file_urls, live_files, read_flows, remove
from flowlake.storage import Access, delta_options, is_log_group, open_storage
from flowlake.writing import STATISTICS, DataFile, write_flows, write_table

logger = logging.getLogger(__name__)

APPLICATION = "flowlake"
REMOVALS = "flowlake-removals"

TIME = pa.timestamp("us", "UTC")

OBJECTS = pa.schema(
    [
        ("object_id", pa.int64()),
        ("url", pa.string()),
        ("etag", pa.string()),
        ("size", pa.int64()),
        ("last_modified", TIME),
        ("source", pa.string()),
        ("account_id", pa.string()),
        ("region", pa.string()),
        ("flow_log_id", pa.string()),
        ("slot", TIME),
        ("state", pa.string()),
        ("shape", pa.string()),
        ("fields", pa.string()),
        ("lines", pa.int64()),
        ("rows", pa.int64()),
        ("nodata", pa.int64()),
        ("skipdata", pa.int64()),
        ("rejected", pa.int64()),
        ("misdated", pa.int64()),
        ("first_date", pa.date32()),
        ("last_date", pa.date32()),
        ("replaces", pa.int64()),
        ("converted_at", TIME),
    ]
)
"""The ledger: a row for each version of each raw object. ``state`` is ``converted``,
``unreadable``, ``skipped`` for what is no flow log, or ``removed`` by ``expire``; ``shape`` how it
holds its records, or what it is instead. ``replaces`` names the row of the object's earlier
version, which is thereby dead.
``fields`` is the header; ``lines`` = ``rows`` + ``rejected``; ``misdated`` counts rows whose start
lay too far from the key's date; ``first_date`` and ``last_date`` are the partitions it fed."""

REJECTED = pa.schema(
    [
        ("object_id", pa.int64()),
        ("line_number", pa.int64()),
        ("reason", pa.string()),
        ("text", pa.string()),
    ]
)
"""What could not be read: a line, or with a null ``line_number`` a whole object."""

SCHEMAS = {"objects": OBJECTS, "rejects": REJECTED}
CONFIGURATION = {"delta.checkpointInterval": "50"}


@dataclass(frozen=True, slots=True)
class Head:
    """One consistent view of the lake: planned from, and committed to, at most once."""

    flows: deltalake.DeltaTable
    objects: deltalake.DeltaTable
    rejects: deltalake.DeltaTable
    n: int
    """The last batch in ``flows``."""
    ledger: pl.DataFrame
    """All rows of ``objects``; ``live`` keeps those that stand."""

    @property
    def settled(self) -> bool:
        """Whether the ledger is at the same batch: before, a commit is under way or cut off."""
        return _batch(self.objects) == self.n

    @property
    def live(self) -> pl.DataFrame:
        """The ledger without the versions that later ones replace."""
        replaced = self.ledger["replaces"].drop_nulls()
        if replaced.is_empty():  # to filter a million objects takes a copy of them
            return self.ledger
        return self.ledger.filter(~pl.col("object_id").is_in(replaced.implode()))


@dataclass(slots=True)
class Change:
    """What one batch adds to the lake; its Parquet files are written and not yet visible."""

    flows: list[DataFile] = field(default_factory=list)
    rejects: list[DataFile] = field(default_factory=list)
    objects: list[pa.Table] = field(default_factory=list)
    """Rows of the ledger."""
    columns: set[str] = field(default_factory=set)
    """Columns of ``flows`` these files have and the table may not: fields it did not know."""


class Tables:
    """The three tables of the lake at ``url``; keeps what it has read of the ledger."""

    def __init__(self, url: str, access: Access = Access()) -> None:
        if is_log_group(url):
            raise UsageError(
                f"A lake cannot lie in a log group ({url}): name a folder or s3://BUCKET/PREFIX."
            )
        if re.search(r"[=%?#*\[\]\\\x00-\x1f]", url):
            raise UsageError(
                f"A lake cannot lie at {url!r}: readers take '=' for a partition, and % ? # * [ ] "
                "and backslashes for patterns. Choose a path without them."
            )
        self.url = url
        self.access = access
        self.storage = open_storage(url, access)
        self._ledger_files: set[str] = set()
        self._ledger = pl.DataFrame(schema=pl.Schema(OBJECTS))

    def exist(self, name: str = "flows") -> bool:
        """Whether there is such a table, and so a lake here: ``flows`` is made last."""
        with explained(self.url):
            return deltalake.DeltaTable.is_deltatable(self.table_url(name), self._options())

    def create(self, partition_by: Sequence[str]) -> None:
        """Make the tables that are not there yet; harmless beside another creator."""
        stated = ",".join(name for name in STATISTICS if name not in partition_by)
        for name, schema in (*SCHEMAS.items(), ("flows", flows_schema())):
            # Else readers of the log show the statistics of a table's first 32 columns alone.
            states = {"delta.dataSkippingStatsColumns": stated} if name == "flows" else {}
            with contextlib.suppress(CommitConflict), explained(self.url):
                deltalake.DeltaTable.create(
                    self.table_url(name),
                    schema=deltalake.Schema.from_arrow(schema),
                    mode="ignore",
                    partition_by=list(partition_by) if name == "flows" else None,
                    configuration={**CONFIGURATION, **states},
                    storage_options=self._options(),
                )

    def table_url(self, name: str) -> str:
        """Where a table's folder lies."""
        return f"{self.url}/{name}"

    def table(self, name: str) -> deltalake.DeltaTable:
        """A fresh handle on one table.

        Raises:
            LakeError: when there is no such table.
        """
        with explained(self.url):
            try:
                table = deltalake.DeltaTable(self.table_url(name), storage_options=self._options())
                logger.debug("opened %s at version %d", self.table_url(name), table.version())
                return table
            except TableNotFoundError as error:
                raise LakeError(
                    f"There is no lake at {self.url}: make one with "
                    f"`flowlake convert SOURCE --lake {self.url}`."
                ) from error

    def _options(self) -> dict[str, str]:
        return delta_options(self.url, self.access)

    def view(self) -> Head:
        """Load the three tables as they stand; ``settled`` says whether they belong together.

        ``flows`` is read first: a ledger read before it could hide that batch n had landed.
        """
        flows = self.table("flows")
        with ThreadPoolExecutor(2) as pool:  # on S3 each takes several requests
            rejects, objects = pool.map(self.table, ("rejects", "objects"))
        return Head(flows, objects, rejects, _batch(flows), self._read_ledger(objects))

    def head(self) -> Head:
        """Load a view to commit on, finishing the commit of another process that was cut off."""
        while not (head := self.view()).settled:
            if _batch(head.objects) < head.n:
                self._repair(head)
        return head

    def ledger(self, *columns: str) -> pl.DataFrame:
        """The ledger as it stands, or these columns of it, for readers: nothing is repaired."""
        return self._scan(file_urls(self.table("objects")), *columns)

    def _read_ledger(self, objects: deltalake.DeltaTable) -> pl.DataFrame:
        files = set(file_urls(objects))
        if not self._ledger_files <= files:
            self._ledger, self._ledger_files = self._ledger.clear(), set()
        if fresh := sorted(files - self._ledger_files):
            self._ledger = pl.concat([self._ledger, self._scan(fresh)])
            self._ledger_files = files
        return self._ledger

    def _scan(self, files: list[str], *columns: str) -> pl.DataFrame:
        """The rows of these files of the ledger."""
        if not files:
            return self._ledger.clear().select(*columns or [pl.all()])
        with explained(self.url):
            return (
                pl.scan_parquet(
                    files,
                    schema=self._ledger.schema,
                    storage_options=self._options(),
                    hive_partitioning=False,
                    missing_columns="insert",
                    extra_columns="ignore",
                )
                .select(*columns or [pl.all()])
                .collect()
            )

    def commit(self, head: Head, change: Change) -> int:
        """Commit a batch on the head it was checked against; returns its number.

        Raises:
            CommitConflict: when another process committed since the head was loaded.
        """
        n = head.n + 1
        rows = pa.concat_tables(change.objects)
        ledger_file = write_table(rows, table_url=self.table_url("objects"), storage=self.storage)
        rewritten = self._replace(head, rows)
        self._commit_table(
            head.flows,
            [add(file) for file in change.flows] + rewritten,
            n,
            {
                APPLICATION: json.dumps(
                    {
                        "n": n,
                        "objects": [asdict(ledger_file)],
                        "rejects": [asdict(file) for file in change.rejects],
                    }
                )
            },
        )
        self._follow(head.rejects, "rejects", change.rejects, n)
        self._follow(head.objects, "objects", [ledger_file], n)
        logger.info("committed batch %d: %d objects, %d files", n, rows.num_rows, len(change.flows))
        return n

    def add_columns(self, head: Head, columns: set[str]) -> bool:
        """Add the columns the tables lack; True if there were any: load the head again.

        ``flows`` may lack fields it did not know, the others what older versions did not write.
        """
        new = [pa.field(name, arrow_type(column_type(name))) for name in sorted(columns)]
        wanted = ((head.flows, new), (head.objects, OBJECTS), (head.rejects, REJECTED))
        grown = False
        for table, schema in wanted:
            known = {column.name for column in table.schema().fields}
            if missing := [column for column in schema if column.name not in known]:
                added = deltalake.Schema.from_arrow(pa.schema(missing))
                with explained(self.url):
                    table.alter.add_columns(added.fields)
                grown = True
        return grown

    def exchange(
        self,
        name: str,
        table: deltalake.DeltaTable,
        old: Sequence[Mapping[str, Any]],
        new: Sequence[DataFile],
    ) -> bool:
        """Commit that new files hold the rows of old ones; readers find what they found before.

        Args:
            name: of the table.
            table: the handle in which the old files were found live.
            old: their ``path``, ``size`` and ``partition``.
            new: at least one file.

        Returns:
            False if another process has removed files since the handle was loaded, or changed the
            columns: then nothing is committed.
        """
        mark = new[0].path
        actions = [add(file, data_change=False) for file in new]
        removals = [remove(file, data_change=False) for file in old]
        try:
            self._commit_table(table, [*actions, *removals], None, {REMOVALS: mark})
        except CommitConflict:
            now = self.table(name)  # an answer that was lost looks like a refusal
            with explained(self.url):
                later = now.history(max(1, now.version() - table.version()))
            return any(entry.get(REMOVALS) == mark for entry in later)
        return True

    def unneeded(self, name: str, retention: timedelta) -> list[str]:
        """The files below a table's folder that no snapshot younger than the retention needs.

        They are those replaced before it, and those written before it that the log does not name.
        """
        table = self.table(name)
        with explained(self.url):
            paths = table.vacuum(
                retention_hours=math.ceil(retention / timedelta(hours=1)),
                enforce_retention_duration=False,
                dry_run=True,
                full=True,
            )
        return [f"{self.table_url(name)}/{path}" for path in paths]

    def shorten_log(self, name: str) -> None:
        """Begin a table's log anew with a checkpoint; of the entries before it 30 days stay."""
        table = self.table(name)
        with explained(self.url):
            table.create_checkpoint()
            table.cleanup_metadata()

    def _repair(self, head: Head) -> None:
        logger.info("finishing batch %d, whose commit was cut off", head.n)
        files = self._named_by(head.flows, head.n)
        for table, name in ((head.rejects, "rejects"), (head.objects, "objects")):
            if _batch(table) < head.n:
                self._follow(table, name, files[name], head.n)

    def _named_by(self, flows: deltalake.DeltaTable, n: int) -> dict[str, list[DataFile]]:
        with explained(self.url):
            for entry in flows.history():
                if APPLICATION in entry:
                    batch = json.loads(entry[APPLICATION])
                    if batch["n"] == n:
                        return {
                            name: [DataFile(**file) for file in batch[name]] for name in SCHEMAS
                        }
        raise LakeError(
            f"The lake at {self.url} is damaged: batch {n} of flows is not in its log, and the "
            "ledger lacks it. Restore flows/_delta_log from a copy."
        )

    def _follow(
        self, table: deltalake.DeltaTable, name: str, files: Sequence[DataFile], n: int
    ) -> None:
        """Commit a follower's files at n, unless a repair has done so meanwhile."""
        try:
            self._commit_table(table, [add(file) for file in files], n, {})
        except CommitConflict:
            if _batch(self.table(name)) < n:
                raise

    def _commit_table(
        self,
        table: deltalake.DeltaTable,
        actions: Sequence[AddAction | RemoveAction],
        n: int | None,
        metadata: Mapping[str, str],
    ) -> None:
        applications = [] if n is None else [Transaction(APPLICATION, n)]
        if any(isinstance(action, RemoveAction) for action in actions):
            before = table.transaction_version(REMOVALS) or 0
            applications.append(Transaction(REMOVALS, before + 1))
        with explained(self.url):
            table.create_write_transaction(
                list(actions),
                "append",
                table.schema(),
                partition_by=table.metadata().partition_columns,
                commit_properties=CommitProperties(
                    custom_metadata=dict(metadata),
                    app_transactions=applications,
                ),
            )

    def _replace(self, head: Head, rows: pa.Table) -> list[AddAction | RemoveAction]:
        """Rewrite the live files that hold rows of the objects these ledger rows replace."""
        replaced = rows.column("replaces").drop_null().to_pylist()
        if not replaced:
            return []
        old = head.ledger.filter(pl.col("object_id").is_in(replaced))
        fed = pl.col("date").is_between(old["first_date"].min(), old["last_date"].max())
        actions: list[AddAction | RemoveAction] = []
        root = self.table_url("flows")
        for live in live_files(head.flows).filter(fed).iter_slices(1):
            with explained(self.url):
                held = pl.read_parquet(
                    f"{root}/{live['path'][0]}",
                    columns=["object_id"],
                    hive_partitioning=False,
                    storage_options=self._options(),
                )
            goes = held["object_id"].is_in(old["object_id"].implode())
            if not goes.any():
                continue
            actions.append(remove(live.to_dicts()[0]))
            if goes.all():
                continue
            with explained(self.url):
                rows = read_flows(head.flows, root, live, self._options())
            kept = write_flows(
                [rows.filter(~pl.col("object_id").is_in(old["object_id"].implode()))],
                schema=pa.schema(head.flows.schema()),
                partition_by=head.flows.metadata().partition_columns,
                table_url=root,
                storage=self.storage,
            )
            actions += [add(file, data_change=False) for file in kept]
        return actions


def _batch(table: deltalake.DeltaTable) -> int:
    """The number of the last batch in a table; 0 before the first."""
    return table.transaction_version(APPLICATION) or 0
