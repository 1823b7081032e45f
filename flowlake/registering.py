"""The statements that register a lake's Delta tables with another engine.

Sources: Delta Lake, "Table batch reads and writes" (``CREATE TABLE … USING DELTA LOCATION``);
Trino, "Delta Lake connector" (``system.register_table``, which a catalog allows with
``delta.register-table-procedure.enabled``); Amazon Athena, "Query Linux Foundation Delta Lake
tables" (``CREATE EXTERNAL TABLE`` without columns, ``table_type`` DELTA). A registered table is
read through its Delta log, so it shows each later conversion by itself.
"""

import os
import re
from pathlib import Path

from flowlake.engines import engine
from flowlake.errors import UsageError
from flowlake.storage import canonical, is_remote

TABLES = {
    "flows": "the records, those of transit gateways too: resource_type IS NULL leaves them out",
    "objects": "the ledger: every version of every raw object",
    "rejects": "what could not be read",
}
"""The lake's Delta tables, each in its folder, and what they hold."""

SCHEMAS = {"spark": "flowlake", "trino": "delta.flowlake", "athena": "flowlake"}
"""Where an engine gets the tables if nobody says: its database, or catalog and schema."""


def ddl(to: str, lake: str | os.PathLike[str], schema: str | None = None) -> str:
    """The statements that register ``flows``, ``objects`` and ``rejects`` with an engine.

    The lake is not opened, and nothing is written to it.

    Args:
        to: the engine: one of `flowlake.engines.ENGINES`.
        lake: the lake's ``s3://`` prefix; for Spark also a folder.
        schema: the database to register them in, for Trino ``catalog.schema``.

    Raises:
        UsageError: for an unknown engine, a schema that cannot be one there, and for a folder
            where the engine reads S3 alone.
    """
    found = engine(to)
    name = SCHEMAS[to] if schema is None else schema
    parts = 2 if to == "trino" else 1
    if re.fullmatch(r"\.".join([r"[A-Za-z_]\w*"] * parts), name, re.ASCII) is None:
        raise UsageError(f"{name!r} is not a schema of {found.title}: write {SCHEMAS[to]}.")
    url = canonical(lake)
    if not is_remote(url) and (to != "spark" or not Path(url).is_absolute()):
        raise UsageError(f"{found.title} cannot read a lake in {url}: give its s3:// prefix.")
    place = url if is_remote(url) else Path(url).as_uri()
    if "'" in place:
        raise UsageError(f"{place} has a quotation mark, which {found.title} would misread.")
    lines = [f"-- {found.title}: the Delta tables of the lake {url}."]
    lines.append(f"CREATE {'DATABASE' if to == 'athena' else 'SCHEMA'} IF NOT EXISTS {name};")
    for table, meaning in TABLES.items():
        statement = _STATEMENTS[to](name, table, f"{place}/{table}")
        lines.append(f"\n-- {table}: {meaning}.\n{statement};")
    return "\n".join(lines) + "\n"


def _spark(schema: str, table: str, place: str) -> str:
    return f"CREATE TABLE IF NOT EXISTS {schema}.{table} USING DELTA LOCATION '{place}'"


def _trino(schema: str, table: str, place: str) -> str:
    catalog, _, name = schema.partition(".")
    return (
        f"CALL {catalog}.system.register_table(schema_name => '{name}', table_name => '{table}', "
        f"table_location => '{place}')"
    )


def _athena(schema: str, table: str, place: str) -> str:
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {schema}.{table}\nLOCATION '{place}/'\n"
        "TBLPROPERTIES ('table_type' = 'DELTA')"
    )


_STATEMENTS = {"spark": _spark, "trino": _trino, "athena": _athena}
