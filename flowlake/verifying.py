"""Proof that nothing is missing and nothing is double: listing = ledger = lake."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from flowlake.committing import Head, Tables, file_urls, live_files
from flowlake.errors import UsageError
from flowlake.lake import When
from flowlake.planning import list_objects, new_objects, unlisted
from flowlake.storage import Access, canonical, delta_options
from flowlake.window import window

GRACE = timedelta(minutes=15)
"""Raw objects younger than this may still be on their way: not being converted is no gap."""

SETTLING = 3
"""Seconds a commit under way is given before a ledger behind its lake counts as a gap."""

GAPS: dict[str, pl.DataType] = {"gap": pl.String(), "url": pl.String(), "detail": pl.String()}


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared, and every difference found.

    ``gaps`` has the columns gap (what kind), url (of the raw object, the file or the lake) and
    detail. ``expired`` objects are in the ledger and no longer listed; ``young`` ones are listed,
    newer than the grace and not yet converted: neither is a gap.
    """

    gaps: pl.DataFrame
    files: int
    rows: int
    objects: int
    unreadable: int
    listed: int
    expired: int
    young: int
    sources: tuple[str, ...]


def verify(
    *sources: str | os.PathLike[str],
    lake: str | os.PathLike[str] = "lake",
    grace: timedelta = GRACE,
    since: When = None,
    until: When = None,
    account: str | Sequence[str] | None = None,
    region: str | Sequence[str] | None = None,
    access: Access = Access(),
) -> Verification:
    """Compare the sources' listing, the ledger and the lake. Eager; changes nothing.

    Args:
        sources: what to list; by default the sources the ledger knows.
        lake: the lake to verify.
        grace: how old a listed object must be to be missed.
        since: compare only listed objects whose own time stamp is not before this …
        until: … and before this.
        account: compare only listed objects named for this account or these.
        region: compare only listed objects named for this region or these.
        access: AWS profile and requester-pays.

    Raises:
        UsageError: for a time or an account that cannot be read.
        StorageError: when a source or the lake cannot be listed.
        LakeError: when there is no lake.
    """
    if grace < timedelta(0):
        raise UsageError("A grace cannot be negative.")
    tables = Tables(canonical(lake), access)
    wanted = window(since, until, account, region)
    gaps: Gaps = []
    head = _settled(tables, gaps)
    live = head.live
    files = live_files(head.flows)
    present = _present(tables, files, gaps)
    _compare_rows(tables, present, live, gaps)
    _compare_rejects(tables, file_urls(head.rejects), live, gaps)
    places = there = [canonical(source, access) for source in sources]
    if not sources:  # a source of the ledger may be gone: then its objects have expired
        places = live["source"].unique().sort().to_list()
        there = [place for place in places if "://" in place or Path(place).exists()]
    listing = list_objects(there, wanted, access, apart_from=tables.url) if there else live.clear()
    for place in set(there) - set(live["source"]) - set(listing["source"]):
        detail = "nothing is listed there and nothing was converted from it: check its spelling"
        gaps.append(("nothing there", place, detail))
    young = _compare_listing(listing, live, grace, gaps)
    of_places = live.filter(pl.col("source").is_in(places))
    if wanted.since is not None:
        of_places = of_places.filter(pl.coalesce("slot", "last_modified") >= wanted.since)
    if wanted.until is not None:
        of_places = of_places.filter(pl.coalesce("slot", "last_modified") < wanted.until)
    for column, names in (("account_id", wanted.accounts), ("region", wanted.regions)):
        if names:
            of_places = of_places.filter(pl.col(column).is_in(names))
    return Verification(
        gaps=pl.DataFrame(gaps, schema=GAPS, orient="row"),
        files=files.height,
        rows=int(files["rows"].sum()),
        objects=live.height,
        unreadable=live.filter(pl.col("state") == "unreadable").height,
        listed=listing.height,
        expired=unlisted(of_places, listing).height,
        young=young,
        sources=tuple(places),
    )


Gaps = list[tuple[str, str, str]]


def _settled(tables: Tables, gaps: Gaps) -> Head:
    """Wait out a commit under way; a ledger that stays behind is a gap."""
    deadline = time.monotonic() + SETTLING
    while not (head := tables.view()).settled:
        if time.monotonic() > deadline:
            detail = (
                f"batch {head.n} is in flows and not yet in the ledger: a converter was cut off; "
                "the next `flowlake convert` finishes it"
            )
            gaps.append(("ledger behind", tables.url, detail))
            return head
        time.sleep(0.2)
    return head


def _present(tables: Tables, files: pl.DataFrame, gaps: Gaps) -> list[str]:
    """The live files that are there in the size the log says; a gap for each other."""
    root = tables.table_url("flows")
    if files.is_empty():
        return []
    listed = pl.concat(tables.storage.list(root)).select("url", found="size")
    expected = files.select("size", "rows", url=pl.lit(root + "/") + pl.col("path"))
    compared = expected.join(listed, on="url", how="left").sort("url")
    for url, size, rows, found in compared.select("url", "size", "rows", "found").iter_rows():
        if found is None:
            gaps.append(("file missing", url, f"its {rows:,} rows are lost: restore the file"))
        elif found != size:
            gaps.append(("file damaged", url, f"it has {found:,} bytes, the log says {size:,}"))
    return compared.filter(pl.col("found") == pl.col("size"))["url"].to_list()


def _rows_of_each_object(tables: Tables, table: str, files: list[str], gaps: Gaps) -> pl.DataFrame:
    """How many rows each object has in a table's files; a gap if they cannot be read."""
    if files:
        try:
            return (
                pl.scan_parquet(
                    files,
                    hive_partitioning=False,
                    missing_columns="insert",
                    extra_columns="ignore",
                    schema={"object_id": pl.Int64},
                    storage_options=delta_options(tables.url, tables.access),
                )
                .group_by("object_id")
                .agg(has=pl.len())
                .collect(engine="streaming")
            )
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0]
            gaps.append(("file damaged", tables.table_url(table), f"cannot be read: {reason}"))
    return pl.DataFrame(schema={"object_id": pl.Int64, "has": pl.UInt32})


def _compare_rows(tables: Tables, paths: list[str], live: pl.DataFrame, gaps: Gaps) -> None:
    counts = _rows_of_each_object(tables, "flows", paths, gaps)
    compared = (
        live.select("object_id", "url", "rows", "lines", "rejected")
        .join(counts, on="object_id", how="full", coalesce=True)
        .with_columns(pl.col("rows", "has").fill_null(0))
        .sort("url", "object_id")
    )
    for url, rows, has in (
        compared.filter(pl.col("rows") != pl.col("has")).select("url", "rows", "has").iter_rows()
    ):
        if url is None:
            gaps.append(("rows of no object", tables.url, f"{has:,} rows are not in the ledger"))
        else:
            gaps.append(("rows differ", url, f"the ledger says {rows:,} rows, flows has {has:,}"))
    uneven = compared.filter(pl.col("lines") != pl.col("rows") + pl.col("rejected"))
    for url, lines, rows, rejected in uneven.select("url", "lines", "rows", "rejected").iter_rows():
        detail = f"{lines:,} lines, but {rows:,} rows and {rejected:,} rejects"
        gaps.append(("lines differ", url, detail))


def _compare_rejects(tables: Tables, files: list[str], live: pl.DataFrame, gaps: Gaps) -> None:
    has = _rows_of_each_object(tables, "rejects", files, gaps)
    expected = pl.col("rejected") + (pl.col("state") == "unreadable").cast(pl.Int64)
    compared = live.join(has, on="object_id", how="left").with_columns(
        pl.col("has").fill_null(0), expected=expected
    )
    for url, said, found in (
        compared.filter(pl.col("has") != pl.col("expected"))
        .select("url", "expected", "has")
        .iter_rows()
    ):
        gaps.append(
            ("rejects differ", url, f"the ledger says {said:,} rejects, rejects has {found:,}")
        )


def _compare_listing(
    listing: pl.DataFrame, live: pl.DataFrame, grace: timedelta, gaps: Gaps
) -> int:
    """Add a gap for each listed object the ledger lacks in this version; count the young."""
    missing = new_objects(listing, live).sort("url")
    old = missing.filter(pl.col("last_modified") <= datetime.now(UTC) - grace)
    for url, before in old.select("url", "replaces").iter_rows():
        if before is None:
            gaps.append(("not converted", url, "it is listed and not in the ledger"))
        else:
            gaps.append(("changed", url, "it has other content than what was converted"))
    return missing.height - old.height
