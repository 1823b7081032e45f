"""DuckDB's doors to a lake: a connection that sees the lake's live files and nothing else.

A local lake is read by DuckDB itself, and a remote one too where DuckDB's extension httpfs is
installed. Elsewhere that comes through a PyArrow dataset, registered under the same name, so that
saved SQL is the same for all.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from flowlake.errors import LakeError, UsageError
from flowlake.fields import SQL_TYPES, polars_type
from flowlake.queries import equip
from flowlake.storage import Access, arrow_filesystem, delta_options, is_remote
from flowlake.window import Window

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

LOCAL = "DuckDB, from local files"
HTTPFS = "DuckDB, by httpfs over S3"
PYARROW = "DuckDB, through PyArrow over S3"

REMOTE_THREADS = 32
"""DuckDB's and PyArrow's threads on a remote lake: there they are the requests in flight."""

_TYPES: dict[pl.DataType, str] = {
    polars_type(column_type): name for column_type, name in SQL_TYPES.items()
}


TRANSIT_GATEWAY_FLOWS = "transit_gateway_flows"

KINDS = {
    "flows": "resource_type IS NULL",
    "history": "resource_type IS NULL",
    TRANSIT_GATEWAY_FLOWS: "resource_type IS NOT NULL",
}
"""Which of the lake's records each view of them has."""


@dataclass(frozen=True, slots=True)
class View:
    """A view of the lake's records: what it is called, reads and keeps."""

    name: str
    paths: Sequence[str]
    """The files that can hold a record of it."""
    wanted: Window
    only: str | None = None
    """The condition of `KINDS`, if a file may hold other records too."""

    @property
    def conditions(self) -> list[str]:
        """What its records fulfil, where the files may hold others."""
        return [*_conditions(self.wanted), *([self.only] if self.only else [])]


def open_connection(
    views: Sequence[View],
    *,
    table_url: str,
    access: Access,
    stored: pl.Schema,
    schema: pl.Schema,
    partition_by: Sequence[str],
    sql: str | None,
) -> "duckdb.DuckDBPyConnection":
    """Open a connection with views of the records and what saved SQL uses; lock it after.

    Args:
        views: the views to make; a window becomes an exact filter.
        table_url: the flows table's folder.
        access: AWS profile and requester-pays.
        stored: the columns and types of the table.
        schema: the columns and types to show: what the table lacks is null, another type is cast.
        partition_by: the table's partition columns.
        sql: what is to run, to leave out what it does not name; None for anything.

    Raises:
        LakeError: when a file is missing.
    """
    import duckdb

    connection = _connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET parquet_metadata_cache = true")  # live files never change
    equip(connection, sql)
    every = sorted({path for view in views for path in view.paths})
    by = _door(connection, table_url, access) if every else LOCAL
    logger.debug("%d files of %s are read by %s", len(every), table_url, by)
    if is_remote(table_url):
        connection.execute(f"SET threads = {REMOTE_THREADS}")
    if by != PYARROW:
        connection.execute(f"SET allowed_paths = {_literal(every)}")
    for view in views:
        source = f"all_{view.name}"
        if not view.paths:
            connection.register(source, pa.Table.from_batches([], schema=arrow_schema(schema)))
        elif by == PYARROW:
            connection.register(
                source, _dataset(view.paths, table_url, access, stored, partition_by)
            )
        else:
            files = files_sql(view.paths, stored, partition_by)
            try:
                connection.execute(f"CREATE VIEW {source} AS {files}")
            except duckdb.IOException as error:
                raise damaged(table_url, error) from error
        there = connection.table(source).columns
        shown = view_sql(source, there, stored, schema, view.conditions)
        connection.execute(f"CREATE VIEW {view.name} AS {shown}")
    return connection


def door(table_url: str, access: Access) -> str:
    """What reads the files of a table below this folder: `LOCAL`, `HTTPFS` or `PYARROW`."""
    with _connect() as connection:
        return _door(connection, table_url, access)


def reads_s3(connection: "duckdb.DuckDBPyConnection", options: Mapping[str, str]) -> bool:
    """Let DuckDB read S3 itself; False where httpfs is not installed or knows less than we need.

    ``options`` are those of `delta_options`. What goes wrong stays here, since DuckDB's
    message would quote the secret.
    """
    import duckdb

    scheme, _, host = options.get("aws_endpoint_url", "").rstrip("/").rpartition("://")
    secret = {
        "TYPE": "s3",
        "KEY_ID": options["aws_access_key_id"],
        "SECRET": options["aws_secret_access_key"],
        "SESSION_TOKEN": options.get("aws_session_token", ""),
        "REGION": options["aws_region"],
        "ENDPOINT": host,
        "URL_STYLE": "path",
        "USE_SSL": str(scheme != "http").lower(),
        "REQUESTER_PAYS": options.get("aws_request_payer", "false"),
    }
    given = ", ".join(f"{name} {_quoted(value)}" for name, value in secret.items() if value)
    try:
        connection.execute("LOAD httpfs")  # never from a network: INSTALL alone would
        connection.execute("SET enable_http_metadata_cache = true")  # live files never change
        connection.execute(f"CREATE SECRET ({given})")
    except duckdb.Error:
        return False
    return True


def lock(connection: "duckdb.DuckDBPyConnection") -> None:
    """Let the connection open no file but the lake's, and change none of its settings."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def collect(relation: "duckdb.DuckDBPyRelation") -> pl.DataFrame:
    """Run a relation and take its rows as a Polars frame.

    Raises:
        UsageError: when the statement fails on the data it meets.
        LakeError: when a data file cannot be read.
    """
    import duckdb

    try:
        rows: pl.DataFrame = relation.pl()
        return rows
    except duckdb.IOException as error:
        raise damaged("this lake", error) from error
    except duckdb.Error as error:
        if "IOError: " in str(error):  # PyArrow's
            raise damaged("this lake", error) from error
        raise refused(error) from error
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"A column has a type Polars lacks: CAST it, to VARCHAR for one. ({error})"
        ) from error


def refused(error: Exception) -> UsageError:
    """The error for a statement that DuckDB refuses, or a function of ours in it."""
    said = re.search(
        r"UsageError: (.*)|Invalid Input Error: (\w+ is .*, not .*|.* is not a network: .*)",
        str(error),
    )
    if said:
        return UsageError((said[1] or said[2]).rstrip(".") + ".")
    return UsageError(f"DuckDB refuses the statement: {error}")


def damaged(lake: str, error: Exception) -> LakeError:
    """The error for a data file that DuckDB could not read."""
    reason = str(error).splitlines()[0]
    return LakeError(f"A file of {lake} cannot be read: run `flowlake verify`. ({reason})")


def arrow_schema(schema: pl.Schema) -> pa.Schema:
    """The same columns for Arrow, with plain (not large or view) strings."""
    arrow = pl.DataFrame(schema=schema).to_arrow().schema
    return pa.schema(
        [pa.field(f.name, pa.string() if schema[f.name] == pl.String else f.type) for f in arrow]
    )


def files_sql(paths: Sequence[str], stored: pl.Schema, partition_by: Sequence[str]) -> str:
    """The SELECT that reads data files as they are, each with the columns that it has a value of.

    The arguments are `open_connection`'s.
    """
    hive = ", ".join(f"{name}: {_TYPES[stored[name]]}" for name in partition_by)
    return (
        f"SELECT * FROM read_parquet({_literal(paths)}, hive_partitioning = true, "
        f"hive_types = {{{hive}}}, union_by_name = true)"
    )


def view_sql(
    source: str,
    there: Sequence[str],
    stored: pl.Schema,
    schema: pl.Schema,
    conditions: Sequence[str],
) -> str:
    """The SELECT that shows a source, which has the columns `there`, under a view's conditions."""
    columns = [
        _shown(name, dtype, stored.get(name) if name in there else None)
        for name, dtype in schema.items()
    ]
    return f"SELECT {', '.join(columns)} FROM {source}" + (
        f" WHERE {' AND '.join(conditions)}" if conditions else ""
    )


def _connect() -> "duckdb.DuckDBPyConnection":
    """A connection that installs nothing, and knows no credentials but those it is given."""
    import duckdb

    return duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_persistent_secrets": False,
            "python_enable_replacements": False,
        }
    )


def _door(connection: "duckdb.DuckDBPyConnection", table_url: str, access: Access) -> str:
    if not is_remote(table_url):
        return LOCAL
    return HTTPFS if reads_s3(connection, delta_options(table_url, access)) else PYARROW


def _dataset(
    paths: Sequence[str],
    table_url: str,
    access: Access,
    stored: pl.Schema,
    partition_by: Sequence[str],
) -> Any:
    import pyarrow.dataset as ds

    pa.set_io_thread_count(max(REMOTE_THREADS, pa.io_thread_count()))
    schema = arrow_schema(stored)
    return ds.dataset(
        [path.removeprefix("s3://") for path in paths],
        schema=schema,
        format="parquet",
        filesystem=arrow_filesystem(access),
        partitioning=ds.partitioning(
            pa.schema([schema.field(name) for name in partition_by]), flavor="hive"
        ),
        partition_base_dir=table_url.removeprefix("s3://"),
    )


def _shown(name: str, dtype: pl.DataType, has: pl.DataType | None) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    if has is None:
        return f"CAST(NULL AS {_TYPES[dtype]}) AS {quoted}"
    return quoted if has == dtype else f"TRY_CAST({quoted} AS {_TYPES[dtype]}) AS {quoted}"


def _conditions(wanted: Window) -> list[str]:
    conditions = []
    if wanted.since is not None:
        conditions.append(f"start_time >= TIMESTAMPTZ '{wanted.since.isoformat()}'")
    if wanted.until is not None:
        conditions.append(f"start_time < TIMESTAMPTZ '{wanted.until.isoformat()}'")
    if wanted.accounts:
        conditions.append(f"list_contains({_literal(wanted.accounts)}, account_id)")
    if wanted.regions:
        conditions.append(f"list_contains({_literal(wanted.regions)}, region)")
    return conditions


def _literal(texts: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(text) for text in texts) + "]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
