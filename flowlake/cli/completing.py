"""What the shell completes, each from what is known without an engine or a bucket.

Typer calls these with what was typed; they give values, each with what it is.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from flowlake.errors import FlowLakeError
from flowlake.query_header import PARAM, header_entries, query_files

Completed = list[tuple[str, str]]

FORMATS = ("table", "csv", "json", "parquet")
ENGINES = ("spark", "trino", "athena")
SHAPES = (
    *("text", "hive", "parquet", "hive-parquet"),
    *("transit-gateway", "export", "subscription", "messages"),
)
PARTITIONS = ("date", "date,region", "date,region,account_id")
ALARM_KINDS = (
    *("port_scan", "host_sweep", "slow_scan", "watched_port", "forbidden_endpoint"),
    *("brute_force", "beacon", "egress_volume", "reject_surge", "silent_interface"),
)
"""The library's own, said again so that the shell need not wait for the engines; a test compares
them."""

NEWEST = 50
"""So many findings are offered."""


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Complete one of these."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def query_name(context: typer.Context, incomplete: str) -> Completed:
    """Complete the name of a saved query, each with its title."""
    files = _queries(context)
    fitting = [name for name in files if name.startswith(incomplete)]
    return [(name, next(_entries(files[name], "title"), "")) for name in fitting]


def parameter_value(context: typer.Context, incomplete: str) -> Completed:
    """Complete ``NAME=VALUE`` of the query that was named, with a value to try."""
    files = _queries(context)
    words = [context.params.get("name"), *context.args]  # the latter where -p comes last
    name = next((word for word in words if word in files), None)
    if name is None:
        return []
    found = []
    for match in filter(None, map(PARAM.match, _entries(files[name], "param"))):
        example = _typed(match["example"] or match["literal"] or "")
        found.append((f"{match['name']}={example}", match["help"]))
    return [each for each in found if each[0].startswith(incomplete)]


def _typed(literal: str) -> str:
    """A SQL literal as it is typed after ``-p NAME=``: a list has neither brackets nor blanks."""
    if literal.startswith("["):
        return literal.strip("[]").replace("'", "").replace(" ", "")
    return literal.strip("'")


def finding_id(context: typer.Context, incomplete: str) -> Completed:
    """Complete the id of a finding of a local lake, the newest first."""
    lake = str(context.params.get("lake") or os.environ.get("FLOWLAKE_LAKE") or "lake")
    if not Path(lake, "findings").is_dir():
        return []
    from flowlake.committing import Tables
    from flowlake.findings import findings
    from flowlake.storage import canonical

    try:
        rows = findings(Tables(canonical(lake))).head(NEWEST).to_dicts()
    except FlowLakeError:
        return []
    told = [(row["id"], f"{row['state']}, {row['alarm']}: {row['why']}") for row in rows]
    return [each for each in told if each[0].startswith(incomplete)]


def _queries(context: typer.Context) -> dict[str, Path]:
    try:
        return query_files(context.params.get("own_queries"))
    except FlowLakeError:
        return query_files(None)


def _entries(file: Path, wanted: str) -> Iterator[str]:
    """The values of a key of a query file's header; none of a file that is wrong."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        yield from (value for _, key, value in header_entries(lines, file) if key == wanted)
    except (FlowLakeError, OSError, UnicodeDecodeError):
        return
