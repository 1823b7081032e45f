"""What a place is called, and the small surface that every kind of place has."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
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
"""What a listing says of each object; ``etag`` is S3's, or mtime and size on a local disk."""

Keep = Callable[[str], bool]
"""Given a folder's URL (ending in ``/``), whether anything below it can be wanted."""


class Storage(Protocol):
    """One folder tree or one bucket. All names are full URLs (or absolute paths)."""

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """Frames of ``LISTING`` for every object below ``prefix``, and the one it names."""

    def get(self, url: str, etag: str | None = None) -> bytes:
        """The object's bytes; with ``etag``, only if it is still the one that was listed."""

    def put(self, url: str, body: Any) -> None:
        """Write an object whole: a reader sees all of it or none."""

    def delete(self, urls: Iterable[str]) -> None:
        """Delete objects; those already gone are no error."""


def canonical(url: str | os.PathLike[str]) -> str:
    """The one spelling of a place: ``s3://bucket/prefix`` or an absolute, resolved path.

    Raises:
        UsageError: for a scheme that is neither ``s3://`` nor a local path.
    """
    text = os.fspath(url)
    if text.startswith("s3://"):
        if not text.split("/", 3)[2]:
            raise UsageError(f"{text!r} names no bucket: write s3://BUCKET/PREFIX.")
        return text.rstrip("/")
    text = text.removeprefix("file://")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise UsageError(f"{text!r} is not a place FlowLake reads: use s3://… or a local path.")
    return str(Path(text).expanduser().resolve())


def is_remote(url: str) -> bool:
    """Whether the place is a bucket (and not a folder of this machine)."""
    return url.startswith("s3://")
