"""Every object listed or in the ledger: what it is, and how many there are by account and day."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from flowlake.fingerprints import Gaps
from flowlake.layout import UNKNOWN
from flowlake.planning import new_objects, unlisted
from flowlake.window import Window

DAY = ("account_id", "region", "date")
COUNTS = (
    *("listed", "converted", "unreadable", "skipped", "removed", "copies", "missing", "changed"),
    *("young", "expired", "lines", "rows", "rejected", "lake_rows"),
)


def compare_listing(
    listing: pl.DataFrame, live: pl.DataFrame, grace: timedelta, gaps: Gaps
) -> pl.DataFrame:
    """The listing with what each object is; a gap for each that the ledger lacks in this version.

    ``state`` is ``known``, ``copy``, ``missing``, ``changed``, ``young``, or ``gone``: named by a
    list, in the ledger, and not there. ``entered`` is the ledger's ``first_date`` of the object.
    """
    is_there = pl.col("etag") != ""
    there = listing.select("url", "size", "etag").filter(is_there)
    new = new_objects(there, live).select("url", "replaces", new=True)
    entries = live.select("url", entered="first_date", known=True).unique("url")
    old = ~is_there | (pl.col("last_modified") <= datetime.now(UTC) - grace)
    state = (
        pl.when(pl.col("known") & ~is_there)
        .then(pl.lit("gone"))
        .when(pl.col("new").is_null() & is_there)
        .then(pl.when("known").then(pl.lit("known")).otherwise(pl.lit("copy")))
        .when(~old)
        .then(pl.lit("young"))
        .when(pl.col("replaces").is_null())
        .then(pl.lit("missing"))
        .otherwise(pl.lit("changed"))
    )
    found = (
        listing.select("url", "etag", "last_modified")
        .join(entries, on="url", how="left", maintain_order="left")
        .join(new, on="url", how="left", maintain_order="left")
        .select("entered", "replaces", state=state)
    )
    compared = listing.with_columns(found.get_columns())  # to join all columns takes a copy of them
    differ = compared.filter(pl.col("state").is_in(["missing", "changed"])).sort("url")
    for url, state, etag in differ.select("url", "state", "etag").iter_rows():
        if state == "changed":
            gaps.append(("changed", url, "it has another ETag than what was converted"))
        elif etag:
            gaps.append(("not converted", url, "it is listed and not in the ledger"))
        else:
            gaps.append(("not converted", url, "a list names it, and it is not there"))
    return compared


def concerned(
    live: pl.DataFrame, listed: pl.DataFrame, places: Sequence[str], wanted: Window
) -> pl.DataFrame:
    """The live entries that are listed, and with ``expired`` those of the places that are not."""
    gone = unlisted(live, listed).implode()
    named = pl.col("url").is_in(listed.filter(pl.col("state") == "gone")["url"].implode())
    inside = pl.col("source").is_in(places)
    stamp = pl.coalesce("slot", "last_modified")
    if wanted.since is not None:
        inside &= stamp >= wanted.since
    if wanted.until is not None:
        inside &= stamp < wanted.until
    for column, names in (("account_id", wanted.accounts), ("region", wanted.regions)):
        if names:
            inside &= pl.col(column).is_in(names).fill_null(False)
    return live.with_columns(expired=pl.col("object_id").is_in(gone)).filter(
        ~pl.col("expired") | inside | named
    )


def by_day(ledger: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """Count what ``concerned`` and ``compare_listing`` found: ``DAY``, ``COUNTS``, difference.

    An object's date is that in its name, else of its first record, else of its last modification.
    """
    place = [pl.col(name).fill_null(UNKNOWN) for name in ("account_id", "region")]
    slot, modified = pl.col("slot").dt.date(), pl.col("last_modified").dt.date()
    state, is_there = pl.col("state"), pl.col("etag") != ""
    of_listing = listed.lazy().select(
        *place,
        date=pl.coalesce(slot, "entered", modified),
        listed=is_there,
        copies=state == "copy",
        **{name: state == name for name in ("missing", "changed", "young")},
    )
    of_ledger = ledger.lazy().select(
        *place,
        *("expired", "lines", "rows", "rejected", "lake_rows"),
        date=pl.coalesce(slot, "first_date", modified),
        **{name: state == name for name in ("converted", "unreadable", "skipped", "removed")},
    )
    parts = [part.group_by(DAY).agg(pl.all().sum()) for part in (of_listing, of_ledger)]
    return (
        pl.concat(parts, how="diagonal")
        .group_by(DAY)
        .agg(pl.col(name).sum().cast(pl.Int64) for name in COUNTS)
        .with_columns(difference=pl.col("lake_rows") - pl.col("rows"))
        .sort(DAY, nulls_last=True)
        .collect(engine="streaming")
    )
