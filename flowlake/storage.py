"""A URL -> list it, read it, write it: folders and ``s3://`` buckets behind one small surface.

Bulk work on S3 goes through obstore (measured seven times s3fs on small objects); s3fs lists
the rare keys obstore cannot spell (``//``, ``..``) and is DuckDB's and PyArrow's door to a remote
lake. Credentials, profile, region and endpoint come from where botocore finds them: environment,
shared config and credentials files, SSO, container or instance role.
"""

import contextlib
import functools
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import polars as pl

from flowlake.errors import StorageError, UsageError

if TYPE_CHECKING:
    import s3fs

LISTING: dict[str, pl.DataType] = {
    "url": pl.String(),
    "size": pl.Int64(),
    "etag": pl.String(),
    "last_modified": pl.Datetime("us", "UTC"),
}
"""What a listing says of each object; ``etag`` is S3's, or mtime and size on a local disk."""

Keep = Callable[[str], bool]
"""Given a folder's URL (ending in ``/``), whether anything below it can be wanted."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach S3 beyond the environment: a named profile, and who pays for requests."""

    profile: str | None = None
    request_payer: bool = False


class Storage(Protocol):
    """One folder tree or one bucket. All names are full URLs (or absolute paths)."""

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """Frames of ``LISTING`` for every object below ``prefix`` or named by it."""

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
        if not text.removeprefix("s3://").strip("/"):
            raise UsageError(f"{text!r} names no bucket: write s3://BUCKET/PREFIX.")
        return text.rstrip("/")
    text = text.removeprefix("file://")
    if re.match(r"[a-z][a-z0-9+.-]+://", text):
        raise UsageError(f"{text!r} is not a place FlowLake reads: use s3://… or a local path.")
    return str(Path(text).expanduser().resolve())


def is_remote(url: str) -> bool:
    """Whether the place is a bucket (and not a folder of this machine)."""
    return url.startswith("s3://")


@functools.lru_cache(maxsize=64)
def _open(bucket: str | None, access: Access) -> Storage:
    return Folder() if bucket is None else Bucket(bucket, access)


def open_storage(url: str, access: Access = Access()) -> Storage:
    """The storage that holds ``url``: one per bucket and process, so connections are shared."""
    return _open(url.split("/", 3)[2] if is_remote(url) else None, access)


class Folder:
    """The local disk."""

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """Walk the folder; symbolic links to files are followed, to folders are not."""
        if Path(prefix).is_file():
            yield self._frame([prefix])
            return
        if not Path(prefix).is_dir():
            raise StorageError(f"There is no folder or file at {prefix}.")
        unreadable: list[OSError] = []
        for folder, folders, files in os.walk(prefix, onerror=unreadable.append):
            folders[:] = sorted(
                name for name in folders if keep is None or keep(f"{folder}/{name}/")
            )
            if files:
                yield self._frame([os.path.join(folder, name) for name in sorted(files)])  # noqa: PTH118
        if unreadable:
            error = unreadable[0]
            raise StorageError(f"Cannot list {error.filename}: {error.strerror}.") from error

    @staticmethod
    def _frame(paths: Iterable[str]) -> pl.DataFrame:
        rows = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                found = Path(path).stat()
                modified = datetime.fromtimestamp(found.st_mtime, UTC)
                rows.append((path, found.st_size, _local_etag(found), modified))
        return pl.DataFrame(rows, schema=LISTING, orient="row")

    def get(self, url: str, etag: str | None = None) -> bytes:
        """Read the file; it must be what was listed before and after the read."""
        try:
            with Path(url).open("rb") as file:
                body = file.read()
                now = _local_etag(os.fstat(file.fileno()))
        except OSError as error:
            raise StorageError(f"Cannot read {url}: {error.strerror}.") from error
        if etag is not None and now != etag:
            raise StorageError(f"{url} changed while it was being read: run again.")
        return body

    def put(self, url: str, body: Any) -> None:
        """Write beside and rename, so that a half-written file never has the name."""
        target = Path(url)
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(body)
            beside.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise StorageError(f"Cannot write {url}: {error.strerror}.") from error

    def delete(self, urls: Iterable[str]) -> None:
        """Unlink the files."""
        for url in urls:
            Path(url).unlink(missing_ok=True)


def _local_etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


class Bucket:
    """One S3 bucket, by obstore."""

    def __init__(self, bucket: str, access: Access) -> None:
        from obstore.store import S3Store

        self._root = f"s3://{bucket}/"
        self._access = access
        settings = aws_settings(access)
        config: dict[str, Any] = {"virtual_hosted_style_request": settings.endpoint is None}
        if settings.region:
            config["region"] = settings.region
        if settings.endpoint:
            config["endpoint"] = settings.endpoint
        if access.request_payer:
            config["request_payer"] = True
        self._store = S3Store(
            bucket,
            config=config,  # type: ignore[arg-type]
            client_options={"allow_http": (settings.endpoint or "").startswith("http://")},
            retry_config={"max_retries": 6, "retry_timeout": timedelta(seconds=60)},
            credential_provider=settings.credentials,  # type: ignore[arg-type]
        )

    def _key(self, url: str) -> str:
        return url.removeprefix(self._root)

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """List by pages of 1,000; with ``keep``, folder by folder, skipping what it refuses."""
        import obstore

        key = self._key(prefix + "/").rstrip("/")
        try:
            found = False
            for frame in self._below(key, keep):
                found = True
                yield frame
            if not found and key:
                meta = obstore.head(self._store, key)
                yield self._frame(
                    {name: [meta[name]] for name in ("path", "size", "e_tag", "last_modified")}
                )
        except FileNotFoundError:
            return
        except obstore.exceptions.InvalidPathError:
            yield self._list_odd_keys(prefix)
        except Exception as error:
            _explain(error, prefix)

    def _below(self, key: str, keep: Keep | None) -> Iterator[pl.DataFrame]:
        import obstore

        if keep is None:
            for batch in obstore.list(self._store, key or None, chunk_size=5000, return_arrow=True):
                if batch.num_rows:
                    yield self._frame(batch)
            return
        level = obstore.list_with_delimiter(self._store, key or None, return_arrow=True)
        if level["objects"].num_rows:
            yield self._frame(level["objects"])
        for folder in level["common_prefixes"]:
            if keep(f"{self._root}{folder}/"):
                yield from self._below(str(folder), keep)

    def _frame(self, listed: Any) -> pl.DataFrame:
        return pl.DataFrame(listed).select(
            url=self._root + pl.col("path").cast(pl.String),
            size=pl.col("size").cast(pl.Int64),
            etag=pl.col("e_tag").cast(pl.String).str.strip_chars('"'),
            last_modified=pl.col("last_modified").cast(pl.Datetime("us", "UTC")),
        )

    def _list_odd_keys(self, prefix: str) -> pl.DataFrame:
        found = s3_filesystem(self._access).find(prefix + "/", detail=True).values()
        rows = [
            (f"s3://{o['name']}", o["size"], o["ETag"].strip('"'), o["LastModified"])
            for o in found
            if o["type"] == "file" and not o["name"].endswith("/")
        ]
        return pl.DataFrame(rows, schema=LISTING, orient="row")

    def get(self, url: str, etag: str | None = None) -> bytes:
        """Fetch the object; with ``etag``, S3 itself refuses another version."""
        import obstore

        try:
            answer = obstore.get(
                self._store, self._key(url), options={"if_match": f'"{etag}"'} if etag else None
            )
            return bytes(answer.bytes())
        except obstore.exceptions.PreconditionError as error:
            raise StorageError(f"{url} changed while it was being read: run again.") from error
        except obstore.exceptions.InvalidPathError:
            return bytes(s3_filesystem(self._access).cat_file(url))
        except Exception as error:
            _explain(error, url)

    def put(self, url: str, body: Any) -> None:
        """Put the object, in parts when it is large."""
        import obstore

        try:
            obstore.put(self._store, self._key(url), body)
        except Exception as error:
            _explain(error, url)

    def delete(self, urls: Iterable[str]) -> None:
        """Delete in batches."""
        import obstore

        try:
            obstore.delete(self._store, [self._key(url) for url in urls])
        except FileNotFoundError:
            return
        except Exception as error:
            _explain(error, self._root)


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """What botocore found: region, endpoint, and a provider of fresh credentials."""

    region: str | None
    endpoint: str | None
    credentials: "Credentials"


class Credentials:
    """A credential provider for obstore that asks botocore, which refreshes what expires."""

    def __init__(self, session: Any) -> None:
        self._credentials = session.get_credentials()
        if self._credentials is None:
            raise StorageError(
                "No AWS credentials were found: set AWS_PROFILE or --profile, run "
                "`aws sso login`, or export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )

    def __call__(self) -> dict[str, Any]:
        """Key, secret and token, to be asked for again in five minutes."""
        try:
            frozen = self._credentials.get_frozen_credentials()
        except Exception as error:
            raise StorageError(f"AWS credentials could not be refreshed: {error}") from error
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=5),
        }


@functools.lru_cache(maxsize=8)
def aws_settings(access: Access) -> AwsSettings:
    """Ask botocore for region, endpoint and credentials, as the AWS CLI would.

    Raises:
        StorageError: when the profile does not exist or no credentials are found.
    """
    import botocore.exceptions
    import botocore.session

    session = botocore.session.Session(profile=access.profile)
    try:
        config = session.get_scoped_config()
        region = session.get_config_variable("region") or os.environ.get("AWS_REGION")
        credentials = Credentials(session)
    except botocore.exceptions.BotoCoreError as error:
        raise StorageError(f"The AWS settings cannot be used: {error}") from error
    endpoint = (
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or config.get("endpoint_url")
    )
    return AwsSettings(os.environ.get("AWS_REGION") or region, endpoint, credentials)


def delta_options(url: str, access: Access) -> dict[str, str]:
    """``storage_options`` for deltalake and Polars, with credentials good for now."""
    if not is_remote(url):
        return {}
    settings = aws_settings(access)
    key = settings.credentials()
    options = {
        "aws_access_key_id": key["access_key_id"],
        "aws_secret_access_key": key["secret_access_key"],
        "aws_region": settings.region or "us-east-1",
    }
    if key["token"]:
        options["aws_session_token"] = key["token"]
    if settings.endpoint:
        options["aws_endpoint_url"] = settings.endpoint
        options["aws_allow_http"] = str(settings.endpoint.startswith("http://")).lower()
    if access.request_payer:
        options["aws_request_payer"] = "true"
    return options


def s3_filesystem(access: Access) -> "s3fs.S3FileSystem":
    """The s3fs filesystem with the same settings, for fsspec users: DuckDB and PyArrow."""
    import s3fs

    settings = aws_settings(access)
    return s3fs.S3FileSystem(
        profile=access.profile,
        requester_pays=access.request_payer,
        endpoint_url=settings.endpoint,
        client_kwargs={"region_name": settings.region} if settings.region else {},
    )


_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"KMS|kms:",
        "its encryption key is denied: allow kms:Decrypt (and kms:GenerateDataKey to write) on "
        "the bucket's KMS key for these credentials",
    ),
    (r"NoSuchBucket", "the bucket does not exist: check its name and AWS_ENDPOINT_URL"),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|301 Moved|IllegalLocationConstraint",
        "the bucket is in another region: set AWS_REGION to the bucket's region "
        "(`aws s3api get-bucket-location` tells it)",
    ),
    (r"ExpiredToken|TokenRefreshRequired", "the credentials have expired: log in again"),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|Unauthenticated",
        "the credentials are not accepted: check AWS_PROFILE, the access key and its secret",
    ),
    (
        r"AccessDenied|PermissionDenied|403 Forbidden|Forbidden",
        "access is denied: these credentials need s3:ListBucket on the bucket and s3:GetObject on "
        "its objects (s3:PutObject and s3:DeleteObject for a lake); objects written by another "
        "account must grant the bucket's owner access; a requester-pays bucket needs "
        "--request-payer",
    ),
    (r"NoSuchKey|404 Not Found|not found", "it is not there (any more)"),
    (r"SlowDown|503 Service", "S3 asks to slow down, and retries did not help: run again later"),
    (
        r"dns error|error sending request|Connect|timed out",
        "S3 cannot be reached: check the network, AWS_REGION and AWS_ENDPOINT_URL",
    ),
)


def explain(text: str) -> str:
    """One clause on what an S3 error means and what to do, from its text."""
    for pattern, cause in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE if pattern.startswith("dns") else 0):
            return cause
    return " ".join(text.split())[:300]


def _explain(error: Exception, url: str) -> NoReturn:
    if isinstance(error, StorageError):
        raise error
    raise StorageError(f"Cannot reach {url}: {explain(str(error) + repr(error))}.") from error
