"""What a place is called, and the small surface that every kind of place has."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from mmap import mmap
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from flowlake.errors import UsageError

LISTING: dict[str, pl.DataType] = {
    "url": pl.String(),
    "size": pl.Int64(),
    "etag": pl.String(),
    "last_modified": pl.Datetime("us", "UTC"),
}
"""What a listing says of each object; ``etag`` is S3's, or mtime and size on a local disk.

An object that a list names and that is not there has size 0, no etag ("") and the time of listing.
"""

Listed = tuple[str, int, str, datetime]
"""A row of ``LISTING``."""

Keep = Callable[[str], bool]
"""Given a folder's URL (ending in ``/``), whether anything below it can be wanted."""

Body = bytes | mmap
"""An object's bytes, in memory or in a file."""

STDIN = "stdin:"
"""The place that is standard input; what is read there is called ``stdin:`` and its digest."""

OBJECTS_FROM = "objects-from:"
"""How a list of objects begins as a place; the list's own place follows."""


class Source(Protocol):
    """A place that can be listed."""

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """Frames of ``LISTING`` for every object below ``prefix``, and the one it names."""


class Storage(Source, Protocol):
    """One folder tree or one bucket. All names are full URLs (or absolute paths)."""

    def get(self, url: str, etag: str | None = None) -> Body:
        """The object's bytes; with ``etag``, only if it is still the one that was listed."""

    def put(self, url: str, body: Any) -> None:
        """Write an object whole: a reader sees all of it or none."""

    def delete(self, urls: Iterable[str]) -> None:
        """Delete objects; those already gone are no error."""


def canonical(url: str | os.PathLike[str]) -> str:
    """The one spelling of a place.

    ``s3://bucket/prefix``, an absolute and resolved path, either with wildcards (``is_pattern``),
    ``stdin:`` for ``-``, or ``objects-from:`` and the place of a list of objects.

    Raises:
        UsageError: for a scheme that is neither ``s3://`` nor a local path.
    """
    text = os.fspath(url)
    if text in ("-", STDIN):
        return STDIN
    if text.startswith(OBJECTS_FROM):
        return OBJECTS_FROM + canonical(text.removeprefix(OBJECTS_FROM))
    if is_remote(text):
        bucket = text.split("/", 3)[2]
        if not bucket:
            raise UsageError(f"{text!r} names no bucket: write s3://BUCKET/PREFIX.")
        if WILDCARD.search(bucket):
            raise UsageError(f"{text!r}: a bucket's name takes no wildcards; name each bucket.")
        return text.rstrip("/")
    path = _local(text)
    if not is_pattern(str(path)):
        return str(path.resolve())
    first = next(number for number, part in enumerate(path.parts) if WILDCARD.search(part))
    return str(Path(glob.escape(str(Path(*path.parts[:first]).resolve())), *path.parts[first:]))


def canonical_object(url: str) -> str:
    """The one spelling of an object that a list names: the URL that listing its folder gives it.

    Raises:
        UsageError: for what can be no object.
    """
    if is_remote(url):
        if url.count("/") < 3 or url.endswith("/") or not url.split("/", 3)[2]:
            raise UsageError(f"{url!r} names no object: write s3://BUCKET/KEY.")
        return url
    path = _local(url)
    return str(path.parent.resolve() / path.name)


def _local(text: str) -> Path:
    text = text.removeprefix("file://")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise UsageError(f"{text!r} is not a place FlowLake reads: use s3://… or a local path.")
    return Path(text).expanduser()


WILDCARD = re.compile(r"[*?[]")


def is_pattern(place: str) -> bool:
    """Whether the place has wildcards. A local path that is there as it is spelt has none."""
    literal = not is_remote(place) and os.path.exists(place)  # noqa: PTH110  # never raises
    return WILDCARD.search(place) is not None and not literal


def is_remote(url: str) -> bool:
    """Whether the place is a bucket (and not a folder of this machine)."""
    return url.startswith("s3://")
