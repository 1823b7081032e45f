"""Proof that nothing is missing and nothing is double: listing = ledger = lake."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import polars as pl

from flowlake.accounting import by_day, compare_listing, concerned
from flowlake.committing import Head, Tables
from flowlake.converting import Progress
from flowlake.errors import UsageError
from flowlake.files import file_urls, live_files
from flowlake.fingerprints import Gaps, counts, of_files
from flowlake.lake import When
from flowlake.planning import list_objects, named
from flowlake.rereading import reread
from flowlake.storage import OBJECTS_FROM, STDIN, Access, canonical
from flowlake.window import window

logger = logging.getLogger(__name__)

GRACE = timedelta(minutes=15)
"""Raw objects younger than this may still be on their way: not being converted is no gap."""

SETTLING = 3
"""Seconds a commit under way is given before a ledger behind its lake counts as a gap."""

GAPS: dict[str, pl.DataType] = {"gap": pl.String(), "url": pl.String(), "detail": pl.String()}


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared, and every difference found.

    ``gaps`` has the columns gap (what kind), url (of the raw object, the file or the lake) and
    detail. ``days`` has a row for each account_id, region and date (UTC) of the listed objects and
    of those the ledger has from the sources: the date in the object's name, else of its first
    record, else of its last modification. Its columns count

    - listed, and of those in no version in the ledger: missing, copies of others, and young;
      changed ones have another version there;
    - converted, unreadable, skipped and removed (by ``expire``): in the ledger; of these expired:
      listed no longer;
    - lines, rows and rejected: as the ledger says; lake_rows: in the lake's files;
      difference: lake_rows - rows.

    ``expired`` objects are in the ledger and no longer listed; ``young`` ones are listed, newer
    than the grace and not yet converted; ``skipped`` ones are no flow logs, ``removed`` ones were
    taken out by ``expire``: none of these is a gap.
    ``reread`` raw objects were fetched and read again; None if that was not asked for.
    """

    gaps: pl.DataFrame
    days: pl.DataFrame
    files: int
    rows: int
    objects: int
    unreadable: int
    skipped: int
    removed: int
    listed: int
    expired: int
    young: int
    reread: int | None
    sources: tuple[str, ...]

    @property
    def differing_days(self) -> pl.DataFrame:
        """The days with an object missing or changed, or with more or fewer rows than said."""
        return self.days.filter(
            (pl.col("missing") > 0) | (pl.col("changed") > 0) | (pl.col("difference") != 0)
        )


def verify(
    *sources: str | os.PathLike[str],
    lake: str | os.PathLike[str] = "lake",
    grace: timedelta = GRACE,
    since: When = None,
    until: When = None,
    account: str | Sequence[str] | None = None,
    region: str | Sequence[str] | None = None,
    deep: int | Literal["all"] | None = None,
    progress: Callable[[Progress], None] | None = None,
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
        deep: fetch so many of the converted objects that are listed unchanged, chosen at random
            each time, or ``"all"``, read them again and compare them with their rows in the lake.
        progress: called with the state of that after each object.
        access: AWS profile and requester-pays.

    Raises:
        UsageError: for a time or an account that cannot be read.
        StorageError: when a source or the lake cannot be listed, or the lake not be read.
        LakeError: when there is no lake.
    """
    if grace < timedelta(0):
        raise UsageError("A grace cannot be negative: write 0m or more.")
    if deep not in (None, "all") and not (isinstance(deep, int) and deep > 0):
        raise UsageError(f"Read a number of objects again, or all, not {deep!r}.")
    tables = Tables(canonical(lake), access)
    wanted = window(since, until, account, region)
    gaps: Gaps = []
    head = _settled(tables, gaps)
    log = live_files(head.flows)
    files = _present(tables, log, gaps)
    live = _with_lake_rows(tables, files["url"].to_list(), head.live, gaps)
    _compare_rejects(tables, file_urls(head.rejects), live, gaps)
    places = there = [canonical(source, access) for source in sources]
    if not sources:  # a source of the ledger may be gone: then its objects have expired
        places = live["source"].unique().sort().to_list()
        there = [place for place in places if _can_be_listed(place)]
    listing = live.clear()
    if there:
        found = list_objects(there, wanted, access, apart_from=tables.url, gone=not sources)
        listing = named(found)
    for place in set(there) - set(live["source"]) - set(listing["source"]):
        detail = "nothing is listed there and nothing was converted from it: check its spelling"
        gaps.append(("nothing there", place, detail))
    logger.info("comparing %d listed with %d of the ledger", listing.height, live.height)
    listed = compare_listing(listing, live, grace, gaps)
    ledger = concerned(live, listed, places, wanted)
    read_again = None
    if deep is not None:
        chosen = _chosen(ledger, listed, deep)
        tell = progress or (lambda _: None)
        gone, read_again = reread(chosen, files, head, tables, gaps, tell)
        ledger = ledger.with_columns(pl.col("expired") | pl.col("object_id").is_in(gone))
    return Verification(
        gaps=pl.DataFrame(gaps, schema=GAPS, orient="row").unique(maintain_order=True),
        days=by_day(ledger, listed),
        files=log.height,
        rows=int(log["rows"].sum()),
        objects=live.height,
        unreadable=_count(live, "unreadable"),
        skipped=_count(live, "skipped"),
        removed=_count(live, "removed"),
        listed=int((listed["etag"] != "").sum()),
        expired=int(ledger["expired"].sum()),
        young=_count(listed, "young"),
        reread=read_again,
        sources=tuple(places),
    )


def _count(objects: pl.DataFrame, state: str) -> int:
    return int((objects["state"] == state).sum())


def _can_be_listed(place: str) -> bool:
    """Whether a source of the ledger can be listed again: standard input and a lost list cannot."""
    if place.startswith("stdin:"):
        return False
    if place == STDIN:
        return False
    path = place.removeprefix(OBJECTS_FROM)
    try:
        return path == place or "://" in path or Path(path).exists()
    except PermissionError:
        return True


def _settled(tables: Tables, gaps: Gaps) -> Head:
    """Wait out commits under way; a ledger that stays behind is a gap.

    Beside busy converters each view may meet another commit: only the same one twice is waited for.
    """
    n, since = -1, 0.0
    while not (head := tables.view()).settled:
        if head.n != n:
            n, since = head.n, time.monotonic()
        elif time.monotonic() - since > SETTLING:
            detail = (
                f"batch {head.n} is in flows and not yet in the ledger: a converter was cut off; "
                "the next `flowlake convert` finishes it"
            )
            gaps.append(("ledger behind", tables.url, detail))
            return head
        time.sleep(0.2)
    return head


def _present(tables: Tables, files: pl.DataFrame, gaps: Gaps) -> pl.DataFrame:
    """The live files that are there in the size the log says; a gap for each other."""
    root = tables.table_url("flows")
    expected = files.select("size", "rows", "date", url=pl.lit(root + "/") + pl.col("path"))
    if files.is_empty():
        return expected
    listed = pl.concat(tables.storage.list(root)).select("url", found="size")
    compared = expected.join(listed, on="url", how="left").sort("url")
    for url, size, rows, found in compared.select("url", "size", "rows", "found").iter_rows():
        if found is None:
            gaps.append(("file missing", url, f"its {rows:,} rows are lost: restore the file"))
        elif found != size:
            gaps.append(("file damaged", url, f"it has {found:,} bytes, the log says {size:,}"))
    return compared.filter(pl.col("found") == pl.col("size"))


def _with_lake_rows(
    tables: Tables, paths: list[str], live: pl.DataFrame, gaps: Gaps
) -> pl.DataFrame:
    """The live ledger with ``lake_rows``, counted in the files; a gap for each difference."""
    counted = of_files(paths, counts, tables, gaps, columns={"object_id": pl.Int64()}).select(
        "object_id", lake_rows=pl.col("rows").cast(pl.Int64)
    )
    foreign = counted.join(live, on="object_id", how="anti").sort("object_id")
    for object_id, rows in foreign.iter_rows():
        detail = f"object_id {object_id}: its {rows:,} rows are not in the ledger"
        gaps.append(("rows of no object", tables.url, detail))
    has = live.select("object_id").join(counted, on="object_id", how="left", maintain_order="left")
    compared = live.with_columns(has["lake_rows"].fill_null(0))
    differ = _those(compared, pl.col("rows") != pl.col("lake_rows"))
    for url, rows, has in differ.select("url", "rows", "lake_rows").iter_rows():
        gaps.append(("rows differ", url, f"the ledger says {rows:,} rows, flows has {has:,}"))
    uneven = _those(compared, pl.col("lines") != pl.col("rows") + pl.col("rejected"))
    for url, lines, rows, rejected in uneven.select("url", "lines", "rows", "rejected").iter_rows():
        detail = f"{lines:,} lines, but {rows:,} rows and {rejected:,} rejects"
        gaps.append(("lines differ", url, detail))
    return compared


def _compare_rejects(tables: Tables, paths: list[str], live: pl.DataFrame, gaps: Gaps) -> None:
    counted = of_files(paths, counts, tables, gaps, columns={"object_id": pl.Int64()})
    said = pl.col("rejected") + (pl.col("state") == "unreadable").cast(pl.Int64)
    differ = (
        live.lazy()
        .select("object_id", "url", said=said)
        .join(counted.lazy().select("object_id", has="rows"), on="object_id", how="left")
        .with_columns(pl.col("has").fill_null(0))
        .filter(pl.col("has") != pl.col("said"))
        .sort("url", "object_id")
        .collect(engine="streaming")
    )
    for url, expected, found in differ.select("url", "said", "has").iter_rows():
        detail = f"the ledger says {expected:,} rejects, rejects has {found:,}"
        gaps.append(("rejects differ", url, detail))


def _those(objects: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """Those objects, in order; to filter, join or sort all columns at once takes a copy of them."""
    return objects.lazy().filter(where).sort("url", "object_id").collect(engine="streaming")


def _chosen(ledger: pl.DataFrame, listed: pl.DataFrame, deep: int | str) -> pl.DataFrame:
    """The converted objects to read again, of those that are listed as they were converted."""
    objects = ledger.filter(pl.col("state") == "converted").join(
        listed, on=["url", "etag"], how="semi"
    )
    if isinstance(deep, int) and deep < objects.height:
        return objects.sample(deep)
    return objects
