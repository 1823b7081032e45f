"""Raw objects read again, and compared with what the ledger says and the lake has of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from flowlake.committing import Head, Tables
from flowlake.converting import Progress
from flowlake.errors import ObjectUnreadable, StorageError
from flowlake.fingerprints import SUMMED, TIMES, Gaps, fingerprints, merged, of_files
from flowlake.reading import Format, RawObject, parse_format, read_object
from flowlake.storage import Body
from flowlake.tasks import fetched

GROUP = 5_000
"""Objects whose rows the lake's files are searched for at once."""

ROWS_AT_ONCE = 500_000
"""Rows of the files one scan opens: Polars reads ahead as many row groups as there are cores."""

COUNTED = ("lines", "rows", "rejected", "nodata", "skipdata")
"""What the ledger says of an object that reading it again must find."""


def reread(
    chosen: pl.DataFrame,
    files: pl.DataFrame,
    head: Head,
    tables: Tables,
    gaps: Gaps,
    progress: Callable[[Progress], None],
) -> tuple[list[int], int]:
    """Fetch and read raw objects again, and add a gap for each that differs from the lake.

    Memory does not grow with their number or size: see ``fingerprints``.

    Args:
        chosen: the ledger's rows of the objects, all of them live and converted.
        files: ``url``, ``date`` and ``rows`` of the data files that are there.
        head: the view of the lake that both are of.
        tables: the lake.
        gaps: where to add ``content differs``, ``unreadable now`` and ``file damaged``.
        progress: told after each object; ``committed`` stays 0.

    Returns:
        The ``object_id`` of each object that is not there any more, and how many were read.

    Raises:
        StorageError: when the lake's files cannot be reached.
    """
    stored = pl.Schema(pa.schema(head.flows.schema()))
    gone: list[int] = []
    read = 0
    done = Progress(objects=chosen.height, bytes=int(chosen["size"].sum()))
    progress(done)
    for group in chosen.sort("first_date", "url").iter_slices(GROUP):
        in_lake = _in_lake(group, files, stored, head, tables, gaps)
        entries = {entry["object_id"]: entry for entry in group.iter_rows(named=True)}
        for raw, body in fetched([_raw(entry) for entry in entries.values()], tables.access):
            done.objects_done += 1
            done.bytes_done += raw.size
            if isinstance(body, StorageError):
                if _gone(body):
                    gone.append(raw.object_id)
                else:
                    gaps.append(("unreadable now", raw.url, str(body)))
            else:
                entry = entries[raw.object_id]
                try:
                    found = _in_object(raw, body, _formats(entry), stored)
                except ObjectUnreadable as error:
                    gaps.append(("unreadable now", raw.url, str(error)))
                else:
                    read += 1
                    done.rows += found["rows"]
                    said = "; ".join(_differences(found, entry, in_lake.get(raw.object_id, {})))
                    if said:
                        gaps.append(("content differs", raw.url, said))
            progress(done)
    return gone, read


def _raw(entry: Mapping[str, Any]) -> RawObject:
    names = {field.name for field in fields(RawObject)}
    return RawObject(**{name: value for name, value in entry.items() if name in names})


def _gone(error: StorageError) -> bool:
    """Whether it says that the object is not there; botocore reads the keys obstore cannot."""
    cause = error.__cause__
    answer = getattr(cause, "response", {}).get("Error", {})
    return isinstance(cause, FileNotFoundError) or answer.get("Code") == "NoSuchKey"


def _in_lake(
    group: pl.DataFrame,
    files: pl.DataFrame,
    stored: pl.Schema,
    head: Head,
    tables: Tables,
    gaps: Gaps,
) -> dict[int, dict[str, Any]]:
    """The fingerprints of the objects' rows in the lake, by ``object_id``."""
    dates = group.select(
        pl.date_ranges("first_date", "last_date").explode(empty_as_null=False).unique()
    ).to_series()
    by = head.flows.metadata().partition_columns
    wanted = pl.col("object_id").is_in(group["object_id"].implode())
    needed = files.filter(pl.col("date").is_in(dates.implode()))
    found = [
        of_files(
            scan["url"].to_list(),
            lambda rows: fingerprints(rows.filter(wanted)),
            tables,
            gaps,
            columns={name: dtype for name, dtype in stored.items() if name not in by},
            partitions={name: stored[name] for name in by},
        )
        for scan in needed.with_columns(scan=pl.col("rows").cum_sum() // ROWS_AT_ONCE).partition_by(
            "scan", maintain_order=True
        )
    ]
    rows = merged(found).iter_rows(named=True) if found else ()
    return {row["object_id"]: row for row in rows}


def _formats(entry: Mapping[str, Any]) -> list[Format]:
    """What the ledger says the object's records are, for one that has no header."""
    return [parse_format(fields) for fields in (entry["fields"] or "").split("; ") if fields]


def _in_object(
    raw: RawObject, body: Body, formats: Sequence[Format], stored: pl.Schema
) -> dict[str, Any]:
    """What the object says of itself: ``COUNTED`` and the fingerprint of its rows as stored."""
    found = dict.fromkeys(COUNTED, 0)
    parts = []
    for batch in read_object(raw, body, formats):
        flows = batch.flows
        found["lines"] += batch.lines
        found["rows"] += flows.height
        found["rejected"] += batch.rejects.height
        found["nodata"] += batch.having("NODATA")
        found["skipdata"] += batch.having("SKIPDATA")
        as_stored = [
            pl.col(name).cast(stored.get(name, pl.String()), strict=False) for name in flows.columns
        ]
        parts.append(fingerprints(flows.lazy().select(as_stored)).collect())
    if not found["rows"]:
        return found
    return {**found, **merged(parts).row(0, named=True)}


def _differences(
    found: Mapping[str, Any], entry: Mapping[str, Any], has: Mapping[str, Any]
) -> Iterator[str]:
    """What differs between the object and its ledger entry, and its rows in the lake, in words."""
    for name in COUNTED:
        if found[name] != entry[name]:
            yield f"{name} {found[name]:,} in the object, {entry[name]:,} in the ledger"
    said = set()
    for name, words in (
        ("rows", "rows"),
        *((f"sum of {name}", name) for name in SUMMED),
        *((f"{end} {name}", f"{end} {name}") for name in TIMES for end in ("least", "greatest")),
    ):
        of_object, of_lake = found.get(name), has.get(name)
        if (of_object or 0) != (of_lake or 0):
            said.add(name.rpartition(" ")[2])
            yield f"{words} {_words(of_object)} in the object, {_words(of_lake)} in the lake"
    if "rows" in said:
        return
    others = [
        name.removeprefix("hash of ")
        for name in sorted({*found, *has})
        if name.startswith("hash of ") and (found.get(name) or 0) != (has.get(name) or 0)
    ]
    columns = [name for name in others if name not in ("whole rows", *said)]
    if columns:
        yield f"other values of {', '.join(columns)}"
    elif others and not said:
        yield "the same values, in other rows"


def _words(value: int | datetime | None) -> str:
    match value:
        case None:
            return "none"
        case datetime():
            return f"{value:%FT%TZ}"
        case _:
            return f"{value:,}"
