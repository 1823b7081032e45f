"""The lake as its readers see it: ``flows`` through a window, in Polars or DuckDB.

The window is applied once, here, where ``flows`` is opened: files whose statistics lie outside
are never opened, then rows are filtered exactly. No query repeats it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from flowlake.committing import REJECTED, Tables, file_urls, live_files
from flowlake.doors import View, lock, open_connection, refused
from flowlake.enrichment import Enrichment, register_enrichment
from flowlake.enrichment import enrichment as given_enrichment
from flowlake.errors import UsageError
from flowlake.fields import COLUMNS, LAKE_COLUMNS, polars_schema
from flowlake.hunting import HUNTING, Indicator, hunt, parse_indicator, summarise
from flowlake.queries import bind, load_query, run
from flowlake.storage import Access, canonical, delta_options, is_remote
from flowlake.window import Window, window

if TYPE_CHECKING:
    import duckdb

When = datetime | str | None
Names = str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Status:
    """What a lake holds. Times are UTC, sizes bytes; a gone object is one replaced by a later."""

    url: str
    partition_by: tuple[str, ...]
    batches: int
    files: int
    bytes: int
    rows: int
    objects: int
    objects_bytes: int
    lines: int
    rejected: int
    nodata: int
    skipdata: int
    misdated: int
    unreadable: int
    replaced: int
    first: datetime | None
    last: datetime | None
    accounts: int
    regions: int
    sources: tuple[str, ...]
    unknown_fields: tuple[str, ...]


class Lake:
    """A lake whose ``flows`` stay as they were when it was opened; open it again for later ones.

    The ledger and the rejects are read when they are asked for. The columns are the catalogue's,
    in its order and its types, then those of fields the catalogue does not know.
    """

    def __init__(self, tables: Tables, enrichment: Enrichment) -> None:
        self._tables = tables
        self._enrichment = enrichment
        self._flows = tables.table("flows")
        self._files = live_files(self._flows)
        self._stored = pl.DataFrame(pa.schema(self._flows.schema()).empty_table()).schema
        known = polars_schema()
        unknown = {name: t for name, t in self._stored.items() if name not in known}
        self._schema = pl.Schema({**known, **unknown})

    def __fspath__(self) -> str:
        """Where the lake is, so that a lake can be given wherever a lake's place is asked for."""
        return self.url

    @property
    def url(self) -> str:
        """Where the lake is."""
        return self._tables.url

    @property
    def tables(self) -> Tables:
        """The lake's Delta tables, for what reads their files itself."""
        return self._tables

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns of ``flows``."""
        return tuple(self._flows.metadata().partition_columns)

    def files(
        self, since: When = None, until: When = None, account: Names = None, region: Names = None
    ) -> list[str]:
        """The Parquet files a window can need, by their partitions and statistics."""
        return self._paths(window(since, until, account, region))

    def flows(
        self, since: When = None, until: When = None, account: Names = None, region: Names = None
    ) -> pl.LazyFrame:
        """The flow log records of a window, lazy: every column of the lake, typed, times in UTC.

        Args:
            since: records that start at or after this; ISO 8601 or an age such as ``24h``.
            until: records that start before this.
            account: only this ``account_id`` or these.
            region: only this ``region`` or these.

        Raises:
            UsageError: for a time or account that cannot be read.
        """
        return self._flows_of(window(since, until, account, region))

    def history(
        self, since: When, days: int, account: Names = None, region: Names = None
    ) -> pl.LazyFrame:
        """The records of so many days before a window, for the questions that look back.

        Args:
            since: where the window begins, and so where its history ends.
            days: how many days before that the history begins.
            account: only this ``account_id`` or these.
            region: only this ``region`` or these.
        """
        return self._flows_of(_before(window(since, None, account, region), days))

    def _flows_of(self, wanted: Window) -> pl.LazyFrame:
        paths = self._paths(wanted)
        if not paths:
            return pl.LazyFrame(schema=self._schema)
        flows = pl.scan_parquet(
            paths,
            schema={n: t for n, t in self._stored.items() if n not in self.partition_by},
            hive_partitioning=True,
            hive_schema={name: self._stored[name] for name in self.partition_by},
            missing_columns="insert",
            storage_options=delta_options(self.url, self._tables.access),
        ).select(
            pl.col(name).cast(dtype, strict=False)
            if name in self._stored
            else pl.lit(None, dtype).alias(name)
            for name, dtype in self._schema.items()
        )
        conditions = _conditions(wanted)
        return flows.filter(conditions) if conditions else flows

    def objects(self) -> pl.DataFrame:
        """The ledger: every version of every raw object; columns as ``committing.OBJECTS``."""
        return self._tables.ledger().sort("converted_at", "url")

    def rejects(self) -> pl.DataFrame:
        """The lines and objects that could not be read, with ``url`` of the object they lie in."""
        files = file_urls(self._tables.table("rejects"))
        ledger = self._tables.ledger()
        live = ledger.join(ledger, left_on="object_id", right_on="replaces", how="anti")
        if not files:
            rejects = pl.DataFrame(REJECTED.empty_table())
        else:
            rejects = pl.read_parquet(
                files,
                storage_options=delta_options(self.url, self._tables.access),
                hive_partitioning=False,
            )
        return rejects.join(live.select("object_id", "url"), on="object_id").sort(
            "url", "line_number", nulls_last=False
        )

    def query(
        self,
        name: str,
        /,
        *,
        since: When = None,
        until: When = None,
        account: Names = None,
        region: Names = None,
        queries: str | os.PathLike[str] | None = None,
        **parameters: object,
    ) -> "duckdb.DuckDBPyRelation":
        """Answer a saved query over a window, as a DuckDB relation: ``.pl()``, ``.df()``.

        ``queries`` is a folder with saved queries of your own.

        Raises:
            UsageError: for an unknown query, an unknown, missing or ill-typed parameter, and for
                a question that looks back over a window without ``since``.
        """
        query = load_query(name, queries)
        wanted = window(since, until, account, region)
        values = bind(query, parameters)
        views = [self._view("flows", wanted)]
        if query.history is not None:
            if wanted.since is None:
                raise UsageError(
                    f"{name} compares a window with the days before it: say where it begins, with "
                    "since (--since 24h, or a date)."
                )
            views.append(self._view("history", _before(wanted, values[query.history])))
        return run(self._connection(views, query.sql.lower()), query, values)

    def hunt(
        self,
        *indicators: str | Indicator,
        since: When = None,
        until: When = None,
        account: Names = None,
        region: Names = None,
        action: str | None = None,
        summary: bool = False,
        top: int | None = 1000,
    ) -> "duckdb.DuckDBPyRelation":
        """Find every flow of addresses, networks, interfaces or instances, at either end.

        Args:
            indicators: ``203.0.113.5``, ``10.0.0.0/16``, ``eni-…``, ``i-…``, or what
                ``read_indicators`` reads from a file.
            since: records that start at or after this; ISO 8601 or an age such as ``24h``.
            until: records that start before this.
            account: only this ``account_id`` or these.
            region: only this ``region`` or these.
            action: only this verdict, ``ACCEPT`` or ``REJECT``.
            summary: sum up by peer, service port, protocol and verdict, most bytes first, instead
                of the records, newest first.
            top: how many rows to keep; None keeps all.

        Raises:
            UsageError: for what cannot be hunted.
        """
        import duckdb

        view = self._view("flows", window(since, until, account, region))
        connection = self._connection([view], HUNTING)
        wanted = [parse_indicator(each) if isinstance(each, str) else each for each in indicators]
        find = summarise if summary else hunt
        try:
            return find(connection, wanted, action=action, top=top, remote=is_remote(self.url))
        except duckdb.Error as error:
            raise refused(error) from error

    def absent(
        self,
        columns: Sequence[str],
        since: When = None,
        until: When = None,
        account: Names = None,
        region: Names = None,
    ) -> tuple[str, ...]:
        """Which of these columns no record of a window has a value in."""
        flows = self.flows(since, until, account, region)
        counts = flows.select(pl.len(), pl.col(columns).count()).collect().row(0)[1:]
        return tuple(name for name, count in zip(columns, counts, strict=True) if not count)

    def sql(
        self,
        statement: str,
        *,
        since: When = None,
        until: When = None,
        account: Names = None,
        region: Names = None,
    ) -> "duckdb.DuckDBPyRelation":
        """Run one SELECT of your own over ``flows``, ``objects``, ``rejects`` and ``protocols``.

        Raises:
            UsageError: for anything that is not one SELECT, and for what DuckDB refuses.
        """
        import duckdb

        wanted = window(since, until, account, region)
        try:
            text = statement.strip().lower()
            connection = self._connection(
                [self._view("flows", wanted)], None if text.startswith("show") else text
            )
            statements = connection.extract_statements(statement)
            kinds = [str(each.type).rpartition(".")[2] for each in statements]
            if kinds != ["SELECT"]:
                raise UsageError(
                    f"Write one SELECT statement; this is {', '.join(kinds) or 'nothing'}."
                )
            return connection.sql(statement)
        except duckdb.Error as error:
            raise refused(error) from error

    def connect(
        self, since: When = None, until: When = None, account: Names = None, region: Names = None
    ) -> "duckdb.DuckDBPyConnection":
        """Open a DuckDB connection that sees the lake, at this version, and nothing else.

        It has ``flows`` (of the window), ``objects``, ``rejects`` and ``protocols``, is set to UTC,
        and can neither open other files nor change its settings.
        """
        view = self._view("flows", window(since, until, account, region))
        return self._connection([view])

    def _view(self, name: str, wanted: Window) -> View:
        return View(name, self._paths(wanted), wanted)

    def _connection(
        self, views: Sequence[View], sql: str | None = None
    ) -> "duckdb.DuckDBPyConnection":
        connection = open_connection(
            views,
            table_url=self._tables.table_url("flows"),
            access=self._tables.access,
            stored=self._stored,
            schema=self._schema,
            partition_by=self.partition_by,
            grown=self._stored.names()[-1] != LAKE_COLUMNS[-1].column,
            sql=sql,
        )
        if sql is None or "objects" in sql:
            connection.register("objects", self.objects().to_arrow())
        if sql is None or "rejects" in sql:
            connection.register("rejects", self.rejects().to_arrow())
        register_enrichment(connection, self._enrichment)
        lock(connection)
        return connection

    def status(self) -> Status:
        """Sum up what the lake holds, from the ledger and the log; no data file is read."""
        ledger = self._tables.ledger()
        dead = ledger.filter(pl.col("object_id").is_in(ledger["replaces"].drop_nulls().implode()))
        live = ledger.filter(~pl.col("object_id").is_in(dead["object_id"].implode()))

        def total(column: str) -> int:
            return int(live[column].sum())

        return Status(
            url=self.url,
            partition_by=self.partition_by,
            batches=self._flows.transaction_version("flowlake") or 0,
            files=self._files.height,
            bytes=int(self._files["size"].sum()),
            rows=int(self._files["rows"].sum()),
            objects=live.height,
            objects_bytes=total("size"),
            lines=total("lines"),
            rejected=total("rejected"),
            nodata=total("nodata"),
            skipdata=total("skipdata"),
            misdated=total("misdated"),
            unreadable=live.filter(pl.col("state") == "unreadable").height,
            replaced=dead.height,
            first=_extreme(self._files, "min.start_time", first=True),
            last=_extreme(self._files, "max.end_time", first=False),
            accounts=self._distinct("account_id", live),
            regions=self._distinct("region", live),
            sources=tuple(live["source"].unique().sort()),
            unknown_fields=tuple(
                name for name in self._schema if name not in {each.column for each in COLUMNS}
            ),
        )

    def _distinct(self, column: str, live: pl.DataFrame) -> int:
        if column in self.partition_by:
            return self._files["partition"].struct.field(column).n_unique()
        return live[column].drop_nulls().n_unique()

    def _paths(self, wanted: Window) -> list[str]:
        files = self._files
        conditions = []
        for bound, column in (("since", "max.start_time"), ("until", "min.start_time")):
            moment = getattr(wanted, bound)
            if moment is not None and column in files.columns:
                statistic = pl.col(column)
                inside = statistic >= moment if bound == "since" else statistic < moment
                conditions.append(inside)  # no statistic: no record has a start, none can match
        for column, names in (("account_id", wanted.accounts), ("region", wanted.regions)):
            if not names:
                continue
            if column in self.partition_by:
                conditions.append(pl.col("partition").struct.field(column).is_in(names))
            elif f"min.{column}" in files.columns:
                conditions.append(
                    (pl.col(f"min.{column}") <= max(names))
                    & (pl.col(f"max.{column}") >= min(names))
                )
        kept = files.filter(conditions) if conditions else files
        root = self._tables.table_url("flows")
        return [f"{root}/{path}" for path in kept["path"].sort()]


def open_lake(
    lake: str | os.PathLike[str] | None = None,
    access: Access = Access(),
    enrichment: Enrichment | None = None,
) -> Lake:
    """Open a lake to read it, as it is now.

    Args:
        lake: its folder or ``s3://`` prefix; by default ``FLOWLAKE_LAKE``, else ``./lake``.
        access: AWS profile and requester-pays.
        enrichment: files of ASN and AWS ranges; by default those that ``FLOWLAKE_ASN`` and
            ``FLOWLAKE_AWS_RANGES`` name.

    Raises:
        LakeError: when there is none.
    """
    where = lake if lake is not None else os.environ.get("FLOWLAKE_LAKE", "lake")
    return Lake(Tables(canonical(where), access), enrichment or given_enrichment())


def _before(wanted: Window, days: int) -> Window:
    """The days before a window, of the same accounts and regions."""
    assert wanted.since is not None
    try:
        begin = wanted.since - timedelta(days=days)
    except OverflowError:
        begin = None
    return replace(wanted, since=begin, until=wanted.since)


def _conditions(wanted: Window) -> list[pl.Expr]:
    conditions = []
    if wanted.since is not None:
        conditions.append(pl.col("start_time") >= wanted.since)
    if wanted.until is not None:
        conditions.append(pl.col("start_time") < wanted.until)
    if wanted.accounts:
        conditions.append(pl.col("account_id").is_in(wanted.accounts))
    if wanted.regions:
        conditions.append(pl.col("region").is_in(wanted.regions))
    return conditions


def _extreme(files: pl.DataFrame, column: str, *, first: bool) -> datetime | None:
    if column not in files.columns:
        return None
    found = files[column].min() if first else files[column].max()
    assert found is None or (isinstance(found, date) and isinstance(found, datetime))
    return found
