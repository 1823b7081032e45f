"""A URL -> list it, read it, write it: the places raw objects and lakes lie in, behind one surface.

``places`` names them and says what each can do; a kind of place is a module beside it.
Credentials, profile, region and endpoint of AWS come from where botocore finds them: environment,
shared config and credentials files, SSO, container or instance role.
"""

import functools

from flowlake.aws import Access, aws_settings
from flowlake.storage.bucket import Bucket, delta_options, s3_filesystem
from flowlake.storage.folder import Folder
from flowlake.storage.places import LISTING, Keep, Storage, canonical, is_remote

__all__ = [
    "LISTING",
    "Access",
    "Bucket",
    "Folder",
    "Keep",
    "Storage",
    "aws_settings",
    "canonical",
    "delta_options",
    "is_remote",
    "open_storage",
    "s3_filesystem",
]


@functools.lru_cache(maxsize=64)
def _open(bucket: str | None, access: Access) -> Storage:
    return Folder() if bucket is None else Bucket(bucket, access)


def open_storage(url: str, access: Access = Access()) -> Storage:
    """The storage that holds ``url``: one per bucket and process, so connections are shared."""
    return _open(url.split("/", 3)[2] if is_remote(url) else None, access)
