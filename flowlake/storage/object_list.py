"""A list of objects as a source: lines, an S3 Inventory, or S3 event notifications.

What the list is is told by what it holds, not by its name.
"""

import functools
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import polars as pl

from flowlake.errors import UsageError
from flowlake.storage.bucket import Bucket
from flowlake.storage.events import documents, named_in
from flowlake.storage.folder import Folder
from flowlake.storage.inventory import (
    DAMAGE,
    NO_ORC,
    ORC,
    PARQUET,
    from_csv,
    from_manifest,
    from_parquet,
    plain,
)
from flowlake.storage.places import (
    LISTING,
    OBJECTS_FROM,
    STDIN,
    Body,
    Keep,
    Listed,
    canonical_object,
)
from flowlake.storage.stdin import Stdin

HEADS = 32
"""Objects asked for at a time."""

logger = logging.getLogger(__name__)


class ObjectList:
    """The objects that a list names; ``open_for`` gives what holds a URL."""

    def __init__(self, open_for: Callable[[str], Folder | Bucket]) -> None:
        self._open_for = open_for

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """Frames of ``LISTING``; what the list does not say of an object is asked for.

        An object that is not there is listed all the same, with size 0 and no etag, so that
        converting it fails.

        Raises:
            UsageError: when this is no list that FlowLake knows.
            StorageError: when the list, or S3, cannot be read.
        """
        file = prefix.removeprefix(OBJECTS_FROM)
        wanted = functools.cache(keep or (lambda _: True))
        for named in self._named(file):
            frame = named.filter(pl.col("url").is_first_distinct())
            if keep is not None:
                folders = frame["url"].str.replace("[^/]*$", "")
                frame = frame.filter(pl.Series(map(wanted, folders), dtype=pl.Boolean))
            unknown = frame.filter(pl.any_horizontal(pl.all().is_null()))["url"]
            yield frame.drop_nulls()
            yield self._asked(unknown)

    def _asked(self, urls: Iterable[str]) -> pl.DataFrame:
        now = datetime.now(UTC)

        def ask(url: str) -> Listed:
            return self._open_for(url).head(url) or (url, 0, "", now)

        with ThreadPoolExecutor(HEADS) as pool:
            return pl.DataFrame(list(pool.map(ask, urls)), schema=LISTING, orient="row")

    def _get(self, url: str) -> Body:
        return Stdin().read()[0] if url == STDIN else self._open_for(url).get(url)

    def _named(self, file: str) -> Iterator[pl.DataFrame]:
        """What the list says of the objects: null where it says nothing."""
        body = self._get(file)
        try:
            if body[:4] == PARQUET:
                yield from_parquet(body)
            elif body[:3] == ORC:
                raise UsageError(f"{file} is {NO_ORC}.")
            else:
                yield from self._read(file, plain(body))
        except DAMAGE as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UsageError(f"The list {file} is damaged: {reason}. Fetch it again.") from error

    def _read(self, file: str, raw: bytes) -> Iterator[pl.DataFrame]:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise _unknown(file, f"bytes that are no text ({raw[:8].hex(' ')})")
        lines = text.split("\n")
        first = next((line for line in map(str.strip, lines) if line and line[0] != "#"), "")
        if _LINE.match(first) or os.path.exists(first):  # noqa: PTH110  # never raises
            yield _frame(_urls(file, lines))
        elif first[:1] in ("{", "["):
            try:
                messages = list(documents(text))
            except ValueError as error:
                raise _unknown(file, f"JSON, and {error}") from error
            if isinstance(messages[0], dict) and "sourceBucket" in messages[0]:
                yield from from_manifest(messages[0], self._get)
            else:
                yield _frame(_urls_of_events(file, messages))
        elif _INVENTORY.match(first):
            yield from_csv(raw)
        else:
            raise _unknown(file, repr(first[:60]) if first else "nothing")


_LINE = re.compile(r"s3://|file://|[/.~]")
_INVENTORY = re.compile(r'("?)[a-z0-9][a-z0-9.-]*\1,("?)[^",]+\2(,|$)', re.IGNORECASE)


def _unknown(file: str, found: str) -> UsageError:
    return UsageError(
        f"{file} is no list of objects that FlowLake knows: it begins with {found}. A list has "
        "s3://BUCKET/KEY or a path on each line, or is an S3 Inventory (its manifest.json, or one "
        "of its files as CSV or Parquet), or S3 event notifications (JSON)."
    )


def _frame(urls: Iterable[str]) -> pl.DataFrame:
    named = pl.DataFrame({"url": list(urls)}, schema={"url": pl.String})
    return pl.concat([pl.DataFrame(schema=LISTING), named], how="diagonal")


def _urls(file: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and line[0] != "#":
            try:
                yield canonical_object(line)
            except UsageError as error:
                raise UsageError(f"{file}, line {number}: {error}") from error


def _urls_of_events(file: str, messages: Iterable[object]) -> list[str]:
    named = named_in(messages)
    if named is None:
        raise _unknown(file, "JSON that is no S3 event notification")
    urls, others = named
    if others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common())
        logger.warning("left out of %s what names no object to convert: %s", file, kinds)
    return urls
