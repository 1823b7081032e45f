"""The lake as its readers see it: ``flows`` through a window, in Polars or DuckDB.

The window is applied once, here, where ``flows`` is opened: files whose statistics lie outside
are never opened, then rows are filtered exactly. No query repeats it.
"""

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from flowlake.committing import Tables
from flowlake.doors import (
    KINDS,
    TRANSIT_GATEWAY_FLOWS,
    View,
    damaged,
    door,
    lock,
    open_connection,
    refused,
)
from flowlake.enrichment import Enrichment, register_enrichment
from flowlake.enrichment import enrichment as given_enrichment
from flowlake.errors import UsageError
from flowlake.fields import polars_schema
from flowlake.files import live_files
from flowlake.findings import findings
from flowlake.hunting import HUNTING, hunt, near, summarise
from flowlake.indicators import Indicator, parse_indicator
from flowlake.interfaces import inventory
from flowlake.queries import bind, load_query, run
from flowlake.query_file import one_select
from flowlake.status import Status, rejects, sum_up
from flowlake.storage import Access, canonical, delta_options, is_remote
from flowlake.window import Window, before, parse_time, window

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

When = datetime | str | None
Names = str | Sequence[str] | None


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
        self._stored = pl.Schema(pa.schema(self._flows.schema()))
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

    def door(self, *hunted: Indicator) -> str:
        """What reads the files of a question, or of a hunt for these."""
        addresses = hunted and all(each.kind != "network" for each in hunted)
        if addresses and is_remote(self.url):
            return "Polars, over S3"
        return door(self._tables.table_url("flows"), self._tables.access)

    @property
    def tables(self) -> Tables:
        """The lake's Delta tables, for what reads their files itself."""
        return self._tables

    @property
    def version(self) -> int:
        """The version of ``flows`` that is seen."""
        return self._flows.version()

    def spans(self) -> list[tuple[datetime, datetime]]:
        """From which start to which the records of each file of ``flows`` go, by the log."""
        ends = ("min.start_time", "max.start_time")
        if not self._files.height or ends[0] not in self._files.columns:
            return []
        return self._files.select(ends).drop_nulls().rows()

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns of ``flows``."""
        return tuple(self._flows.metadata().partition_columns)

    def files(
        self, since: When = None, until: When = None, account: Names = None, region: Names = None
    ) -> list[str]:
        """The Parquet files ``flows`` can need of a window, by their partitions and statistics."""
        return list(self.view("flows", window(since, until, account, region)).paths)

    def flows(
        self, since: When = None, until: When = None, account: Names = None, region: Names = None
    ) -> pl.LazyFrame:
        """The records of a window, lazy: every column of the lake, typed, times in UTC.

        They are those of VPC flow logs; a transit gateway's are ``transit_gateway_flows``.

        Args:
            since: records that start at or after this; ISO 8601 or an age such as ``24h``.
            until: records that start before this.
            account: only this ``account_id`` or these.
            region: only this ``region`` or these.

        Raises:
            UsageError: for a time or account that cannot be read.
        """
        return self._records(self.view("flows", window(since, until, account, region)))

    def transit_gateway_flows(
        self, since: When = None, until: When = None, account: Names = None, region: Names = None
    ) -> pl.LazyFrame:
        """The records of transit gateway and Cloud WAN flow logs: those with a ``resource_type``.

        They have the columns of ``flows``, and ``resource_type`` is ``unknown`` if the format of
        a transit gateway's flow log leaves it out. The arguments and errors are those of ``flows``.
        """
        wanted = window(since, until, account, region)
        return self._records(self.view(TRANSIT_GATEWAY_FLOWS, wanted))

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
        past = before(window(since, None, account, region), days)
        return self._records(self.view("history", past))

    def _records(self, view: View) -> pl.LazyFrame:
        if not view.paths:
            return pl.LazyFrame(schema=self._schema)
        flows = pl.scan_parquet(
            list(view.paths),
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
        conditions = _conditions(view.wanted)
        if view.only:
            conditions.append(pl.sql_expr(view.only))
        return flows.filter(conditions) if conditions else flows

    def objects(self) -> pl.DataFrame:
        """The ledger: every version of every raw object; columns as ``committing.OBJECTS``."""
        return self._tables.ledger().sort("converted_at", "url")

    def rejects(self) -> pl.DataFrame:
        """The lines and objects that could not be read, with ``url`` of the object they lie in."""
        return rejects(self._tables).sort("url", "line_number", nulls_last=False).collect()

    def findings(self) -> pl.DataFrame:
        """What the alarms found, newest first; columns as ``findings.FINDINGS``."""
        return findings(self._tables)

    def inventory(self, at: When = None) -> pl.DataFrame:
        """What each interface was at a time, by default now; columns as ``interfaces.INVENTORY``.

        It is empty if no inventory was ever taken.

        Raises:
            UsageError: for a time that cannot be read.
        """
        return inventory(self._tables, None if at is None else parse_time(at, datetime.now(UTC)))

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
        sql = query.sql.lower()
        views = self._views(wanted, sql)
        if query.history is not None:
            if wanted.since is None:
                raise UsageError(
                    f"{name} compares a window with the days before it: say where it begins, with "
                    "since (--since 24h, or a date)."
                )
            views.append(self.view("history", before(wanted, values[query.history])))
        return run(self._connection(views, sql), query, values)

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

        view = self.view("flows", window(since, until, account, region))
        wanted = [parse_indicator(each) if isinstance(each, str) else each for each in indicators]
        remote = is_remote(self.url)
        find = summarise if summary else hunt
        try:
            found = near(self._records(view), wanted) if remote else None
            if found is None:
                connection = self._connection([view], HUNTING)
            else:
                connection = self._connection([], HUNTING)
                connection.register("flows", found.to_arrow())
                remote = False
            return find(connection, wanted, action=action, top=top, remote=remote)
        except duckdb.Error as error:
            raise refused(error) from error
        except (OSError, pl.exceptions.PolarsError) as error:
            raise damaged(self.url, error) from error

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
        """Run one SELECT of your own over the tables that ``connect`` has.

        Raises:
            UsageError: for anything that is not one SELECT, and for what DuckDB refuses.
        """
        import duckdb

        wanted = window(since, until, account, region)
        try:
            one_select(statement)
            text = statement.strip().lower()
            named = None if text.startswith("show") else text
            connection = self._connection(self._views(wanted, named), named)
            return connection.sql(statement)
        except duckdb.Error as error:
            raise refused(error) from error

    def connect(
        self,
        since: When = None,
        until: When = None,
        account: Names = None,
        region: Names = None,
        *,
        sql: str | None = None,
    ) -> "duckdb.DuckDBPyConnection":
        """Open a DuckDB connection that sees the lake, at this version, and nothing else.

        It has ``flows`` and ``transit_gateway_flows`` (of the window), ``objects``, ``rejects``,
        ``inventory`` (each interface as it is now), and the small tables such as ``protocols``. It
        is set to UTC, and can neither open other files nor change its settings. DuckDB's COPY can
        still write over the lake's own, so where the SQL is not yours, use `sql`, or credentials
        that may only read. Given the ``sql`` that is to run, it has only what that names.
        """
        named = None if sql is None else sql.lower()
        return self._connection(self._views(window(since, until, account, region), named), named)

    def view(self, name: str, wanted: Window) -> View:
        """What ``flows``, ``history`` or ``transit_gateway_flows`` needs to show a window."""
        there = pl.col("transit_gateway_rows")
        fitting = there if name == TRANSIT_GATEWAY_FLOWS else pl.col("rows") - there
        files = self._fitting(wanted).filter(fitting.fill_null(1) > 0).sort("path")
        pure = files.filter(fitting == pl.col("rows")).height == files.height
        root = self._tables.table_url("flows")
        logger.debug("%s: %d of %d files are wanted", name, files.height, self._files.height)
        paths = [f"{root}/{path}" for path in files["path"]]
        return View(name, paths, wanted, None if pure else KINDS[name])

    def _views(self, wanted: Window, sql: str | None = None) -> list[View]:
        """The views of a window that the SQL names; `flows` always."""
        others = [TRANSIT_GATEWAY_FLOWS] if sql is None or TRANSIT_GATEWAY_FLOWS in sql else []
        return [self.view(name, wanted) for name in ("flows", *others)]

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
            sql=sql,
        )
        if sql is None or "objects" in sql:
            connection.register("objects", self.objects().to_arrow())
        if sql is None or "rejects" in sql:
            connection.register("rejects", self.rejects().to_arrow())
        if sql is None or "inventory" in sql:
            connection.register("inventory", self.inventory().to_arrow())
        register_enrichment(connection, self._enrichment)
        lock(connection)
        return connection

    def status(self) -> Status:
        """Sum up what the lake holds, from the ledger and the log; no data file is read."""
        return sum_up(self._tables, self._flows, self._files, self._schema.names())

    def _fitting(self, wanted: Window) -> pl.DataFrame:
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
        return files.filter(conditions) if conditions else files


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
