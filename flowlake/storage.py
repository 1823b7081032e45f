"""A URL -> list it, read it, write it: folders and ``s3://`` buckets behind one small surface.

Bulk work on S3 goes through obstore (measured seven times s3fs on small objects); botocore lists
and reads the rare keys obstore cannot spell (``//``, ``..``, control characters); s3fs is DuckDB's
and PyArrow's door to a remote lake. Credentials, profile, region and endpoint come from where
botocore finds them: environment, shared config and credentials files, SSO, container or instance
role.
"""

import contextlib
import functools
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import polars as pl

from flowlake.aws import AwsSettings, Credentials, explain
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
        try:
            if Path(prefix).is_file():
                yield self._frame([prefix])
                return
            if not Path(prefix).is_dir():
                raise StorageError(f"There is no folder or file at {prefix}.")
            for folder, folders, files in os.walk(prefix, onerror=_unless_gone):
                folders[:] = [
                    name for name in sorted(folders) if keep is None or keep(f"{folder}/{name}/")
                ]
                if files:
                    yield self._frame([os.path.join(folder, name) for name in sorted(files)])  # noqa: PTH118
        except OSError as error:
            raise StorageError(f"Cannot list {error.filename}: {error.strerror}.") from error

    @staticmethod
    def _frame(paths: Iterable[str]) -> pl.DataFrame:
        rows = []
        for path in paths:
            try:
                path.encode()
            except UnicodeEncodeError as error:
                raise StorageError(f"The file name {path!a} is not UTF-8: rename it.") from error
            with contextlib.suppress(FileNotFoundError):
                found = Path(path).stat()
                if stat.S_ISREG(found.st_mode):  # a pipe would never end
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
            raise StorageError(f"Cannot write {url}: {error.strerror}.") from error
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def delete(self, urls: Iterable[str]) -> None:
        """Unlink the files."""
        for url in urls:
            try:
                Path(url).unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"Cannot delete {url}: {error.strerror}.") from error


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _local_etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


def _objects(listed: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A listing without the empty names that stand for folders; nothing if nothing is left."""
    named = pl.col("url").str.contains(r"\.[^/]*$")
    if (objects := listed.filter((pl.col("size") > 0) | named)).height:
        yield objects


class Bucket:
    """One S3 bucket, by obstore."""

    def __init__(self, bucket: str, access: Access) -> None:
        from obstore.store import S3Store

        self._bucket = bucket
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

    def _path(self, url: str) -> str:
        """The key for obstore, which would drop a leading slash without a word."""
        if (key := self._key(url)).startswith("/"):
            raise ValueError(f"Could not parse path {key!r}")
        return key

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:
        """List by pages of 1,000; with ``keep``, folder by folder, skipping what it refuses.

        An empty object without an ending is left out: obstore gives the console's folder ``logs/``
        the name of a file.
        """
        key = self._key(prefix + "/").rstrip("/")
        found = False
        try:
            for frame in self._below(key, keep):
                found = found or frame.height > 0
                yield from _objects(frame)
            for frame in self._named(key, asked_for=not found):
                yield from _objects(frame)
        except Exception as error:
            _explain(error, prefix)

    def _named(self, key: str, *, asked_for: bool) -> Iterator[pl.DataFrame]:
        """The object that has the prefix for its name; ``asked_for`` if nothing lies below it."""
        import obstore

        if not key:
            return
        try:
            meta = obstore.head(self._store, self._path(key))
            yield self._frame({name: [value] for name, value in meta.items()})
        except FileNotFoundError:
            return
        except obstore.exceptions.PermissionDeniedError:
            if asked_for:  # who may list a folder need not be allowed to ask for its name
                raise
        except _odd_path():
            yield self._frame_odd(o for o in self._first(key) if o["Key"] == key)

    def _below(self, key: str, keep: Keep | None) -> Iterator[pl.DataFrame]:
        import obstore

        last = ""
        try:
            path = self._path(key) or None
            if keep is None:
                pages = obstore.list(self._store, path, chunk_size=5000, return_arrow=True)
                for batch in pages:
                    if batch.num_rows:
                        if not (path or last) and self._first("/"):
                            raise ValueError("a key begins with a slash")
                        frame = self._frame(batch)
                        last = self._key(frame["url"][-1])
                        yield frame
                return
            level = obstore.list_with_delimiter(self._store, path, return_arrow=True)
            if "" in level["common_prefixes"]:
                raise ValueError("a key begins with a slash")
        except _odd_path():
            yield from self._below_odd(key and key + "/", keep, last)
            return
        if level["objects"].num_rows:
            yield self._frame(level["objects"])
        for folder in level["common_prefixes"]:
            if keep(f"{self._root}{folder}/"):
                yield from self._below(str(folder), keep)

    def _below_odd(self, folder: str, keep: Keep | None, last: str = "") -> Iterator[pl.DataFrame]:
        """The same, by botocore, from the key after ``last``."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Prefix=folder, StartAfter=last, Delimiter="" if keep is None else "/", **self._asked()
        )
        for page in pages:
            yield self._frame_odd(page.get("Contents", ()))
            for each in page.get("CommonPrefixes", ()):
                if keep is not None and keep(self._root + each["Prefix"]):
                    yield from self._below_odd(each["Prefix"], keep)

    def _first(self, prefix: str) -> tuple[dict[str, Any], ...]:
        page = self._client.list_objects_v2(Prefix=prefix, MaxKeys=1, **self._asked())
        return tuple(page.get("Contents", ()))

    def _frame_odd(self, listed: Iterable[dict[str, Any]]) -> pl.DataFrame:
        rows = [
            (self._root + o["Key"], o["Size"], o["ETag"].strip('"'), o["LastModified"])
            for o in listed
        ]
        return pl.DataFrame(rows, schema=LISTING, orient="row")

    @functools.cached_property
    def _client(self) -> Any:
        """Botocore's client, for the keys obstore cannot spell."""
        import botocore.config
        import botocore.session

        settings = aws_settings(self._access)
        return botocore.session.Session(profile=self._access.profile).create_client(
            "s3",
            region_name=settings.region or "us-east-1",
            endpoint_url=settings.endpoint,
            config=botocore.config.Config(
                connect_timeout=10, max_pool_connections=32, retries={"mode": "standard"}
            ),
        )

    def _asked(self) -> dict[str, str]:
        payer = {"RequestPayer": "requester"} if self._access.request_payer else {}
        return {"Bucket": self._bucket, **payer}

    def _frame(self, listed: Any) -> pl.DataFrame:
        return pl.DataFrame(listed).select(
            url=self._root + pl.col("path").cast(pl.String),
            size=pl.col("size").cast(pl.Int64),
            etag=pl.col("e_tag").cast(pl.String).str.strip_chars('"'),
            last_modified=pl.col("last_modified").cast(pl.Datetime("us", "UTC")),
        )

    def get(self, url: str, etag: str | None = None) -> bytes:
        """Fetch the object; with ``etag``, S3 itself refuses another version."""
        import obstore

        match = f'"{etag}"' if etag else None
        try:
            try:
                answer = obstore.get(
                    self._store, self._path(url), options={"if_match": match} if match else None
                )
                return bytes(answer.bytes())
            except _odd_path():
                same = {"IfMatch": match} if match else {}
                found = self._client.get_object(Key=self._key(url), **same, **self._asked())
                return bytes(found["Body"].read())
        except Exception as error:
            _explain(error, url)

    def put(self, url: str, body: Any) -> None:
        """Put the object, in parts when it is large."""
        import obstore

        try:
            obstore.put(self._store, self._path(url), memoryview(body).cast("B"))
        except Exception as error:
            _explain(error, url)

    def delete(self, urls: Iterable[str]) -> None:
        """Delete in batches."""
        import obstore

        try:
            obstore.delete(self._store, [self._path(url) for url in urls])
        except FileNotFoundError:
            return
        except Exception as error:
            _explain(error, self._root)


def _odd_path() -> tuple[type[Exception], ...]:
    """What obstore raises for a key it cannot spell, found in a listing or given."""
    import obstore

    return obstore.exceptions.InvalidPathError, ValueError


@functools.lru_cache(maxsize=8)
def aws_settings(access: Access) -> AwsSettings:
    """Ask botocore for region, endpoint and credentials, as the AWS CLI would.

    Raises:
        StorageError: when the profile does not exist or no credentials are found.
    """
    import botocore.configprovider
    import botocore.exceptions
    import botocore.session

    session = botocore.session.Session(profile=access.profile)
    try:
        endpoint = botocore.configprovider.ConfiguredEndpointProvider(
            session.full_config, session.get_scoped_config(), "s3"
        ).provide()
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        return AwsSettings(region, endpoint or None, Credentials(session))
    except botocore.exceptions.BotoCoreError as error:
        raise StorageError(
            f"The AWS settings cannot be used: {error}; check --profile, AWS_PROFILE and the "
            "files in ~/.aws."
        ) from error


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


def _explain(error: Exception, url: str) -> NoReturn:
    if isinstance(error, StorageError):
        raise error
    text = f"{type(error).__name__}: {error}"
    raise StorageError(f"Cannot use {url}: {explain(text)}.") from error
