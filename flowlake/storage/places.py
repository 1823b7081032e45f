"""What a place is called, and the small surface that every kind of place has."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from flowlake.aws import Access, aws_settings
from flowlake.errors import UsageError

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
"""What a listing says of each object; ``etag`` is S3's, or mtime and size on a local disk."""

Keep = Callable[[str], bool]
"""Given a folder's URL (ending in ``/``), whether anything below it can be wanted."""


class Storage(Protocol):
    """A folder tree, a bucket or a log group. All names are full URLs (or absolute paths)."""

    requests_in_flight: int
    """How many objects one worker does well to ask for at once."""

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """Frames of ``LISTING`` for every object below ``prefix``, and the one it names."""

    def get(self, url: str, etag: str | None = None) -> bytes:
        """The object's bytes; with ``etag``, only if it is still the one that was listed."""

    def put(self, url: str, body: Any) -> None:
        """Write an object whole: a reader sees all of it or none."""

    def delete(self, urls: Iterable[str]) -> None:
        """Delete objects; those already gone are no error."""


def canonical(url: str | os.PathLike[str], access: Access = Access()) -> str:
    """The one spelling of a place.

    It is ``s3://bucket/prefix``, ``cloudwatch://GROUP?region=REGION`` or an absolute, resolved
    path. A log group without a region is in the one that ``access`` and the environment say.

    Raises:
        UsageError: for any other scheme, and for a log group without a name or a region.
        StorageError: when the region is asked for and AWS's settings cannot be used.
    """
    text = os.fspath(url)
    if is_log_group(text):
        return _log_group(text, access)
    if text.startswith("s3://"):
        if not text.split("/", 3)[2]:
            raise UsageError(f"{text!r} names no bucket: write s3://BUCKET/PREFIX.")
        return text.rstrip("/")
    text = text.removeprefix("file://")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise UsageError(
            f"{text!r} is not a place FlowLake reads: use s3://…, cloudwatch://… or a local path."
        )
    return str(Path(text).expanduser().resolve())


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
