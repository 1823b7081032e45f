"""What a place is called, and the small surface that every kind of place has."""

import glob
import mmap
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from flowlake.aws import Access, aws_settings
from flowlake.errors import StorageError, UsageError

CLOUDWATCH = "cloudwatch://"
LOG_GROUP = re.compile(
    r"cloudwatch://(?P<group>[-._/#A-Za-z0-9]{1,512})(?:\?region=(?P<region>[a-z0-9-]+))?"
)
"""A log group of CloudWatch Logs, as a user may write it; the names are AWS's own pattern."""

HOUR = re.compile(
    r"^cloudwatch://(?P<group>[^?]+)\?region=(?P<region>[a-z0-9-]+)&account=(?P<account_id>[0-9]{12})"
    r"&created=[0-9TZ:.-]+&hour=(?P<slot>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2})Z$"
)
"""An hour (UTC) of a log group: what stands for an object there. Account and time of creation tell
apart groups of one name: another account's, or one that was deleted and made again."""

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

Body = bytes | mmap.mmap
"""An object's bytes, in memory or in a file."""

PIECE = 1 << 20
"""Bytes that are copied at once."""

LARGE = 128 << 20
"""Bytes of an object past which it is held on disk: AWS's own are of 75 MB at most."""

STDIN = "stdin:"
"""The place that is standard input; what is read there is called ``stdin:`` and its digest."""

OBJECTS_FROM = "objects-from:"
"""How a list of objects begins as a place; the list's own place follows."""


class Source(Protocol):
    """A place that can be listed."""

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """Frames of ``LISTING`` for every object below ``prefix``, and the one it names."""


class Storage(Source, Protocol):
    """A folder tree, a bucket or a log group. All names are full URLs (or absolute paths)."""

    requests_in_flight: int
    """How many objects one worker does well to ask for at once."""

    def get(self, url: str, etag: str | None = None) -> Body:
        """The object's bytes; with ``etag``, only if it is still the one that was listed."""

    def put(self, url: str, body: Any) -> None:
        """Write an object whole: a reader sees all of it or none."""

    def delete(self, urls: Iterable[str]) -> None:
        """Delete objects; those already gone are no error."""


def canonical(url: str | os.PathLike[str], access: Access = Access()) -> str:
    """The one spelling of a place.

    ``s3://bucket/prefix``, an absolute and resolved path, either with wildcards (``is_pattern``),
    ``cloudwatch://GROUP?region=REGION``, ``stdin:`` for ``-``, or ``objects-from:`` and the place
    of a list of objects. A log group without a region is in the one that ``access`` and the
    environment say.

    Raises:
        UsageError: for any other scheme, and for a log group without a name or a region.
        StorageError: when the region is asked for and AWS's settings cannot be used.
    """
    text = os.fspath(url)
    if text in ("-", STDIN):
        return STDIN
    if text.startswith(OBJECTS_FROM):
        return OBJECTS_FROM + canonical(text.removeprefix(OBJECTS_FROM), access)
    if is_log_group(text):
        return _log_group(text, access)
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
        raise UsageError(
            f"{text!r} is not a place FlowLake reads: use s3://…, cloudwatch://… or a local path."
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text!r} is in no home that there is: write ./{text}.") from error


def on_disk(pieces: Iterable[bytes], url: str) -> Body:
    """Hold what may be too large for the memory in a file without a name.

    Raises:
        StorageError: when it cannot be read, or there is no room for it.
    """
    try:
        with tempfile.TemporaryFile() as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""
    except OSError as error:
        raise StorageError(
            f"Cannot read {url} into {tempfile.gettempdir()}: {error.strerror}. "
            "TMPDIR chooses another folder."
        ) from error


WILDCARD = re.compile(r"[*?[]")


def is_pattern(place: str) -> bool:
    """Whether the place has wildcards. A local path that is there as it is spelt has none."""
    if is_log_group(place) or WILDCARD.search(place) is None:
        return False
    return is_remote(place) or not os.path.exists(place)  # noqa: PTH110  # never raises


def is_remote(url: str) -> bool:
    """Whether the place is a bucket (and not a folder of this machine)."""
    return url.startswith("s3://")


def is_log_group(url: str) -> bool:
    """Whether the place is a log group of CloudWatch Logs, or an hour of one."""
    return url.startswith(CLOUDWATCH)


def _log_group(text: str, access: Access) -> str:
    match = LOG_GROUP.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} names no log group: write cloudwatch://GROUP?region=REGION.")
    region = match["region"] or aws_settings(access).region
    if not region:
        raise UsageError(
            f"The log group {text!r} has no region: write {text}?region=REGION, or set AWS_REGION."
        )
    return f"{CLOUDWATCH}{match['group']}?region={region}"
