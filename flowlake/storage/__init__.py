"""A URL -> list it, read it, write it: the places raw objects and lakes lie in, behind one surface.

``places`` names them and says what each can do; a kind of place is a module beside it. A source
may also be a pattern, a list of objects or standard input.
Credentials, profile, region and endpoint of AWS come from where botocore finds them: environment,
shared config and credentials files, SSO, container or instance role.
"""

import functools

from flowlake.aws import Access, aws_settings
from flowlake.errors import UsageError
from flowlake.storage.bucket import Bucket, arrow_filesystem, delta_options, s3_filesystem
from flowlake.storage.folder import Folder
from flowlake.storage.log_group import LogGroup, formats_of
from flowlake.storage.object_list import ObjectList
from flowlake.storage.places import (
    CLOUDWATCH,
    HOUR,
    LISTING,
    OBJECTS_FROM,
    STDIN,
    Body,
    Keep,
    Source,
    Storage,
    canonical,
    is_log_group,
    is_pattern,
    is_remote,
    on_disk,
)
from flowlake.storage.stdin import Stdin
from flowlake.storage.wildcards import Wildcards

__all__ = [
    "CLOUDWATCH",
    "HOUR",
    "LISTING",
    "OBJECTS_FROM",
    "STDIN",
    "Access",
    "Body",
    "Bucket",
    "Folder",
    "Keep",
    "LogGroup",
    "Source",
    "Storage",
    "arrow_filesystem",
    "aws_settings",
    "canonical",
    "delta_options",
    "formats_of",
    "is_log_group",
    "is_pattern",
    "is_remote",
    "on_disk",
    "open_source",
    "open_storage",
    "s3_filesystem",
]


_STDIN = Stdin()


@functools.lru_cache(maxsize=64)
def _open(bucket: str | None, access: Access) -> Folder | Bucket:
    return Folder() if bucket is None else Bucket(bucket, access)


def _open_for(url: str, access: Access) -> Folder | Bucket:
    return _open(url.split("/", 3)[2] if is_remote(url) else None, access)


@functools.lru_cache(maxsize=64)
def _open_group(place: str, access: Access) -> LogGroup:
    return LogGroup(place, access)


def open_storage(url: str, access: Access = Access()) -> Storage:
    """The storage of ``url``: one per bucket or log group and process; connections are shared.

    Raises:
        UsageError: for a source that is no place of its own: standard input, a list of objects.
    """
    if url == STDIN or url.startswith(OBJECTS_FROM):
        raise UsageError(f"{url} can only be read from: name a folder or s3://….")
    if is_log_group(url):
        return _open_group(url.split("&", 1)[0], access)
    return _STDIN if url.startswith(STDIN) else _open_for(url, access)


def open_source(place: str, access: Access = Access()) -> Source:
    """What lists the place, which is spelt as ``canonical`` does."""
    if place == STDIN:
        return _STDIN
    if place.startswith(OBJECTS_FROM):
        return ObjectList(lambda url: _open_for(url, access))
    storage = open_storage(place, access)
    return Wildcards(storage) if is_pattern(place) else storage
