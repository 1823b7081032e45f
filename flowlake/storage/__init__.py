"""A URL -> list it, read it, write it: the places raw objects and lakes lie in, behind one surface.

``places`` names them and says what each can do; a kind of place is a module beside it.
Credentials, profile, region and endpoint of AWS come from where botocore finds them: environment,
shared config and credentials files, SSO, container or instance role.
"""

import functools

from flowlake.aws import Access, aws_settings
from flowlake.storage.bucket import Bucket, delta_options, s3_filesystem
from flowlake.storage.folder import Folder
from flowlake.storage.log_group import LogGroup, formats_of
from flowlake.storage.places import (
    CLOUDWATCH,
    HOUR,
    LISTING,
    Keep,
    Storage,
    canonical,
    is_log_group,
    is_remote,
)

__all__ = [
    "CLOUDWATCH",
    "HOUR",
    "LISTING",
    "Access",
    "Bucket",
    "Folder",
    "Keep",
    "LogGroup",
    "Storage",
    "aws_settings",
    "canonical",
    "delta_options",
    "formats_of",
    "is_log_group",
    "is_remote",
    "open_storage",
    "s3_filesystem",
]


@functools.lru_cache(maxsize=64)
def _open(root: str, access: Access) -> Storage:
    if is_log_group(root):
        return LogGroup(root, access)
    return Bucket(root.removeprefix("s3://"), access) if is_remote(root) else Folder()


def open_storage(url: str, access: Access = Access()) -> Storage:
    """The storage of ``url``: one per bucket or log group and process; connections are shared."""
    if is_log_group(url):
        return _open(url.split("&", 1)[0], access)
    return _open("/".join(url.split("/", 3)[:3]) if is_remote(url) else "", access)
