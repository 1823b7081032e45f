"""What there is to convert: the sources' listing, and the part of it the ledger does not have.

An object is the same when its URL and its ETag are (locally: path, size and time of change). AWS
gives every flow log object a file name of its own, so an object with the file name and the size of
another is its copy: moved, synchronised or replicated, it is not converted twice.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from datetime import datetime

import polars as pl

from flowlake.committing import Tables
from flowlake.errors import NothingThere, UsageError
from flowlake.layout import FILE_NAME, may_hold
from flowlake.reading import RawObject
from flowlake.storage import (
    CLOUDWATCH,
    HOUR,
    OBJECTS_FROM,
    STDIN,
    Access,
    canonical,
    open_source,
)
from flowlake.window import Window, window

logger = logging.getLogger(__name__)

STAMP = pl.coalesce("slot", "last_modified")
"""The time of a listed object (UTC): the time stamp in its name, else its last change."""

DAY = STAMP.dt.date().alias("date")
CLOCK_HOUR = STAMP.dt.truncate("1h").alias("hour")

_OF_A_LOG_GROUP = pl.col("url").str.starts_with(CLOUDWATCH)

_UNFINISHED = r"/\.[^/]*$|\.(gz|log|parquet)\.[0-9A-Fa-f]{8}$"
"""Names of files: hidden, as those that rsync is writing are; or what ``aws s3 sync`` is writing.

The second is s3transfer's, of ``OSUtils.get_temp_filename``.
"""


def plan(
    *sources: str | os.PathLike[str],
    lake: str | os.PathLike[str] = "lake",
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    account: str | Sequence[str] | None = None,
    region: str | Sequence[str] | None = None,
    objects_from: str | os.PathLike[str] | None = None,
    retry: bool = False,
    access: Access = Access(),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """List the sources and find what a conversion would do, without doing it.

    Arguments and errors are ``convert``'s.

    Returns:
        The listing, and the part of it that is new, where ``replaces`` is not null for an object
        that was converted before with other content.
    """
    tables = Tables(canonical(lake), access)
    wanted = window(since, until, account, region)
    listing = named(
        list_objects(sources, wanted, access, apart_from=tables.url, objects_from=objects_from)
    )
    if not tables.exist():
        return listing, listing.with_columns(replaces=pl.lit(None, pl.Int64))
    return listing, new_objects(listing, tables.view().live, retry=retry)


def list_objects(
    sources: Iterable[str | os.PathLike[str]],
    wanted: Window,
    access: Access,
    *,
    apart_from: str | None = None,
    objects_from: str | os.PathLike[str] | None = None,
    gone: bool = False,
) -> pl.DataFrame:
    """List the objects of the sources that the window wants, each once, as a frame.

    Columns: ``LISTING``'s and ``source``. What lies below ``apart_from``, the lake, is left out,
    and so is every other Delta table. ``objects_from`` is a list of objects, and one more source.
    With ``gone`` a source that is not there any more has no objects. Hidden files and those that a
    copy has not finished are left out, but for one that is itself the source: complete, they will
    have another name.
    """
    given = [os.fspath(source) for source in sources]
    if objects_from is not None:
        given.append(OBJECTS_FROM + os.fspath(objects_from))
    places = list(dict.fromkeys(canonical(each, access) for each in given))
    if not places:
        raise UsageError(
            "Name at least one source: a folder, a file, s3://BUCKET/PREFIX, - for standard "
            "input, or a list of objects with --objects-from."
        )
    if STDIN in places and len(places) > 1:
        raise UsageError("Standard input is converted alone: name the other sources another time.")
    for place in places:
        if apart_from is not None and f"{place}/".startswith(f"{apart_from}/"):
            raise UsageError(f"The source {place} is the lake or lies in it: name another.")
    frames: list[pl.DataFrame] = []
    unfinished = 0
    for place in places:
        logger.info("listing %s", place)
        keep = (lambda folder: may_hold(folder, wanted)) if wanted else None
        try:
            for frame in open_source(place, access).list(place, keep):
                finished = frame.filter(_finished(place))
                unfinished += frame.height - finished.height
                frames.append(finished.with_columns(source=pl.lit(place)))
        except NothingThere:
            if not gone:
                raise
    if unfinished:
        logger.info("%d hidden or unfinished files left out", unfinished)
    if not frames:
        return pl.DataFrame(schema=RAW)
    listing = pl.concat(frames)
    conditions = [pl.col("url").is_first_distinct(), ~pl.col("url").str.ends_with("/")]
    logs = listing["url"].filter(listing["url"].str.contains("/_delta_log/", literal=True))
    tables = logs.str.extract(r"^(.*/)_delta_log/").unique().to_list()
    if apart_from is not None:
        tables.append(apart_from + "/")
    conditions += [~pl.col("url").str.starts_with(table) for table in tables]
    listing = listing.filter(conditions)
    if wanted:
        listing = _inside(named(listing), wanted).select(list(RAW))
    logger.info("%d objects listed that may be wanted", listing.height)
    return listing


def _finished(place: str) -> pl.Expr:
    if not place.startswith("/"):
        return pl.lit(True)
    return (pl.col("url") == place) | ~pl.col("url").str.contains(_UNFINISHED)


def _inside(listing: pl.DataFrame, wanted: Window) -> pl.DataFrame:
    conditions = []
    if wanted.since is not None:
        conditions.append(_since(wanted.since) <= STAMP)
    if wanted.until is not None:
        conditions.append(wanted.until > STAMP)
    if wanted.accounts:
        conditions.append(pl.col("account_id").is_in(wanted.accounts))
    if wanted.regions:
        conditions.append(pl.col("region").is_in(wanted.regions))
    return listing.filter(conditions)


def _since(since: datetime) -> pl.Expr:
    """The first time stamp that is wanted; an hour of a log group is, if a part of it is."""
    hour = since.replace(minute=0, second=0, microsecond=0)
    return pl.when(_OF_A_LOG_GROUP).then(pl.lit(hour)).otherwise(pl.lit(since))


RAW: dict[str, pl.DataType] = {
    "url": pl.String(),
    "size": pl.Int64(),
    "etag": pl.String(),
    "last_modified": pl.Datetime("us", "UTC"),
    "source": pl.String(),
}


def named(listing: pl.DataFrame) -> pl.DataFrame:
    """The listing with what the names say, or null.

    Adds ``account_id``, ``region``, ``flow_log_id`` and ``slot`` (the time stamp, UTC).
    """
    return (
        listing.with_columns(
            name=pl.col("url").str.extract_groups(FILE_NAME.pattern),
            hour=pl.col("url").str.extract_groups(HOUR.pattern),
        )
        .with_columns(
            *(
                pl.coalesce(pl.col("name").struct[part], pl.col("hour").struct[part]).alias(part)
                for part in ("account_id", "region")
            ),
            flow_log_id=pl.col("name").struct["flow_log_id"],
            slot=pl.coalesce(
                _time(pl.col("name").struct["slot"], "%Y%m%dT%H%M"),
                _time(pl.col("hour").struct["slot"] + ":00", "%Y-%m-%dT%H:%M"),
            ),
        )
        .drop("name", "hour")
    )


def _time(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_datetime(form, strict=False, time_zone="UTC", time_unit="us")


def new_objects(listing: pl.DataFrame, live: pl.DataFrame, *, retry: bool = False) -> pl.DataFrame:
    """The listed objects the ledger does not have, ``named`` and ordered for conversion.

    With ``retry`` also those that it has as unreadable or skipped. An object that is not there any
    more (it has no etag) and was converted before is not new. Adds ``replaces``: the ledger's row
    for the same URL, with another ETag or to be read again, null for a new object; and ``had``: how
    many lines that row counts, if it is an hour of a log group, which only grows.
    Copies are left out: an object of AWS's naming whose file name and size the ledger, or an
    object before it in the listing, has at another URL. So is one that could not be read before,
    and is now a copy of one whose rows are there: a mirror that was completed.
    """
    again = pl.col("state").is_in(["unreadable", "skipped"]) if retry else pl.lit(False)
    had = pl.when(_OF_A_LOG_GROUP).then("lines")
    known = live.select(
        "url", again=again, had=had, replaces="object_id", known="etag", empty=pl.col("rows") == 0
    )
    wanted = (
        listing.select("url", "etag")
        .join(known, on="url", how="left")
        .filter(
            pl.col("known").is_null()
            | ((pl.col("known") != pl.col("etag")) | pl.col("again")) & (pl.col("etag") != "")
        )
        .drop("etag", "known", "again")
    )
    found = (
        listing.join(wanted, on="url", maintain_order="left").pipe(named).with_columns(name=_name())
    )
    has_rows = pl.col("replaces").is_not_null() & ~pl.col("empty")
    changed, new = found.filter(has_rows), found.filter(~has_rows)
    if new.height:
        has = live.select(name=_name(), there="url", holds=pl.col("rows") > 0)
        elsewhere = pl.col("replaces").is_null() | pl.col("holds") & (
            pl.col("there") != pl.col("url")
        )
        copies = new.join(has, on="name").filter(elsewhere)["url"]
        new = new.filter(~pl.col("url").is_in(copies.implode())).filter(
            pl.col("name").is_null() | pl.col("name").is_first_distinct()
        )
    return (
        pl.concat([new, changed])
        .drop("name", "empty")
        .sort("account_id", "region", "slot", "url", nulls_last=True)
    )


def _name() -> pl.Expr:
    """AWS's file name of an object and its size; null for a name that is not AWS's."""
    return pl.when(pl.col("flow_log_id").is_not_null()).then(
        pl.concat_str(pl.col("url").str.extract(r"([^/]+)$"), pl.lit("/"), pl.col("size"))
    )


def unlisted(live: pl.DataFrame, listing: pl.DataFrame) -> pl.Series:
    """The object_ids of the ledger's that are listed no more, where they were or as a copy."""
    there = listing.select("url", "flow_log_id", "size", "etag").filter(pl.col("etag") != "")
    has = live.select("object_id", "url", "flow_log_id", "size")
    gone = has.join(there, on="url", how="anti")
    if gone.is_empty():
        return gone["object_id"]
    names = there.select(name=_name()).filter(pl.col("name").is_not_null())
    return gone.with_columns(name=_name()).join(names, on="name", how="anti")["object_id"]


def _object_id(url: str, etag: str, replaces: int | None) -> int:
    """A version of an object has one number everywhere, so that two converters agree on it."""
    digest = hashlib.blake2b(f"{url}\0{etag}\0{replaces}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def raw_objects(new: pl.DataFrame) -> list[RawObject]:
    """The rows of ``new_objects`` as objects to convert, each with its number."""
    return [
        RawObject(object_id=_object_id(row["url"], row["etag"], row["replaces"]), **row)
        for row in new.iter_rows(named=True)
    ]
