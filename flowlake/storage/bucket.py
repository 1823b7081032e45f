"""An S3 bucket.

Bulk work goes through obstore (measured seven times s3fs on small objects); botocore lists and
reads the rare keys obstore cannot spell (``//``, ``..``, control characters); PyArrow's own
filesystem is DuckDB's door to a remote lake.
"""

import functools
import random
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import polars as pl

from flowlake.aws import Access, aws_settings, explain
from flowlake.errors import StorageError
from flowlake.storage.places import LARGE, LISTING, PIECE, Body, Keep, Listed, is_remote, on_disk

if TYPE_CHECKING:
    import pyarrow.fs
    import s3fs


FLAT = 5000
"""So many keys of a prefix are listed at once; what lies beyond, folder by folder side by side."""

PAUSES = (0.2, 0.5, 1.0)
"""Seconds, about, before a listing whose answer was cut off is asked for again."""


class _Part(NamedTuple):
    """A part of a listing: all below a prefix, or one level of it."""

    prefix: str
    """Empty, or ending in a slash."""
    odd: bool = False
    """Whether obstore could not spell what lies here."""
    after: str = ""
    """Only the keys after this one."""
    without: frozenset[str] | None = None
    """One level only, and of that not these names; a folder's ends in a slash."""


_Found = tuple[list[pl.DataFrame], list[_Part]]
"""What listing a part gives: objects, and the parts still to be listed."""


def _objects(listed: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A listing without the empty names that stand for folders; nothing if nothing is left."""
    named = pl.col("url").str.contains(r"\.[^/]*$")
    if (objects := listed.filter((pl.col("size") > 0) | named)).height:
        yield objects


class Bucket:
    """One S3 bucket, by obstore."""

    requests_in_flight = 64

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
        """List by pages of 1,000, from ``FLAT`` keys on folder by folder side by side.

        With ``keep`` it goes folder by folder from the start, and skips what that refuses. The
        order is the same each time. An empty object without an ending is left out: obstore gives
        the console's folder ``logs/`` the name of a file.
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
        """What lies below: each part is listed by a thread, and taken in the order it was found."""
        first = _Part(key and key + "/", without=None if keep is None else frozenset())
        pool = ThreadPoolExecutor(self.requests_in_flight, "list")
        try:
            listings = deque([pool.submit(self._list_part, first)])
            while listings:
                frames, parts = listings.popleft().result()
                yield from frames
                for part in parts:
                    if keep is None:
                        listings.append(pool.submit(self._list_part, part))
                    elif keep(self._root + part.prefix):
                        level = part._replace(without=frozenset())
                        listings.append(pool.submit(self._list_part, level))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _list_part(self, part: _Part) -> _Found:
        """List a part, once more if an answer is cut off: obstore makes only requests again."""
        import obstore

        for pause in PAUSES:
            try:
                return self._list_once(part)
            except obstore.exceptions.GenericError as error:
                if "list response" not in str(error):
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))
        return self._list_once(part)

    def _list_once(self, part: _Part) -> _Found:
        if part.odd:
            return self._list_odd(part)
        return self._list_all(part) if part.without is None else self._list_level(part)

    def _list_all(self, part: _Part) -> _Found:
        import obstore

        frames: list[pl.DataFrame] = []
        last = part.after
        try:
            path = self._path(part.prefix[:-1]) or None
            pages = obstore.list(
                self._store, path, offset=last or None, chunk_size=FLAT, return_arrow=True
            )
            for batch in pages:
                if batch.num_rows:
                    if not (path or last) and self._first("/"):
                        raise ValueError("a key begins with a slash")
                    frames.append(self._frame(batch))
                    last = self._key(frames[-1]["url"][-1])
                many = len(frames) == 1 and batch.num_rows == FLAT
                if many and not part.after:
                    keys = frames[0]["url"].str.strip_prefix(self._root)
                    if parts := _beyond(part.prefix, keys):
                        return frames, parts
        except _odd_path():
            rest, _ = self._list_odd(part._replace(after=last))
            frames += rest
        return frames, []

    def _list_level(self, part: _Part) -> _Found:
        import obstore

        assert part.without is not None
        try:
            path = self._path(part.prefix[:-1]) or None
            level = obstore.list_with_delimiter(self._store, path, return_arrow=True)
            folders = [f"{folder}/" for folder in level["common_prefixes"]]
            if "/" in folders:
                raise ValueError("a key begins with a slash")
        except _odd_path():
            return self._list_odd(part)
        frames = [self._frame(level["objects"])] if level["objects"].num_rows else []
        return _left(part, self._root, frames, [_Part(folder) for folder in folders])

    def _list_odd(self, part: _Part) -> _Found:
        """The same as for other parts, by botocore."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Prefix=part.prefix,
            StartAfter=part.after,
            Delimiter="" if part.without is None else "/",
            **self._asked(),
        )
        frames, parts = [], []
        for page in pages:
            frames.append(self._frame_odd(page.get("Contents", ())))
            folders = page.get("CommonPrefixes", ())
            parts += [_Part(folder["Prefix"], odd=True) for folder in folders]
        return _left(part, self._root, frames, parts)

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

    def head(self, url: str) -> Listed | None:
        """The row that a listing has of the object; None if it is not there, or denied."""
        import botocore.exceptions
        import obstore

        try:
            try:
                meta = obstore.head(self._store, self._path(url))
                return url, meta["size"], (meta["e_tag"] or "").strip('"'), meta["last_modified"]
            except _odd_path():
                found = self._client.head_object(Key=self._key(url), **self._asked())
                size, etag = found["ContentLength"], found["ETag"].strip('"')
                return url, size, etag, found["LastModified"]
        except (FileNotFoundError, obstore.exceptions.PermissionDeniedError):
            return None  # reading it will say which
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
                return None
            _explain(error, url)
        except Exception as error:
            _explain(error, url)

    def get(self, url: str, etag: str | None = None) -> Body:
        """Fetch the object; with ``etag``, S3 itself refuses another version."""
        import obstore

        match = f'"{etag}"' if etag else None
        try:
            try:
                answer = obstore.get(
                    self._store, self._path(url), options={"if_match": match} if match else None
                )
                if answer.range[1] > LARGE:
                    return on_disk(map(bytes, answer.stream(min_chunk_size=PIECE)), url)
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


def _beyond(prefix: str, keys: pl.Series) -> list[_Part]:
    """The parts of a prefix that its first keys leave; none if the last lies right in it.

    A folder that the first keys name has been listed whole, unless the last key lies in it. That
    holds also for a server that sorts by folders and not, as S3, by whole keys.
    """
    last = str(keys[-1])
    within = last[: last.rfind("/") + 1]
    above, parts = prefix, []
    while above != within:
        names = keys.filter(keys.str.starts_with(above)).str.strip_prefix(above)
        seen = names.str.extract("^([^/]*/?)").unique().to_list()
        parts.append(_Part(above, without=frozenset(seen)))
        above = last[: last.index("/", len(above)) + 1]
    return [*parts, _Part(within, after=last)] if parts else []


def _left(part: _Part, root: str, frames: list[pl.DataFrame], parts: list[_Part]) -> _Found:
    """What is found of a part, without the names that it leaves out."""
    if not part.without:
        return frames, parts
    known = {part.prefix + name for name in part.without}
    urls = [root + key for key in known]
    frames = [frame.filter(~pl.col("url").is_in(urls)) for frame in frames]
    return frames, [each for each in parts if each.prefix not in known]


def _odd_path() -> tuple[type[Exception], ...]:
    """What obstore raises for a key it cannot spell, found in a listing or given."""
    import obstore

    return obstore.exceptions.InvalidPathError, ValueError


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
    """The s3fs filesystem with the same settings, for fsspec users."""
    import s3fs

    settings = aws_settings(access)
    return s3fs.S3FileSystem(
        profile=access.profile,
        requester_pays=access.request_payer,
        endpoint_url=settings.endpoint,
        client_kwargs={"region_name": settings.region} if settings.region else {},
    )


def arrow_filesystem(access: Access) -> "pyarrow.fs.FileSystem":
    """PyArrow's filesystem for S3, with credentials good for now.

    It is PyArrow's own, three times as fast as s3fs; that one alone knows of requester-pays.
    """
    import pyarrow.fs

    if access.request_payer:
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(s3_filesystem(access)))
    settings = aws_settings(access)
    key = settings.credentials()
    return pyarrow.fs.S3FileSystem(
        access_key=key["access_key_id"],
        secret_key=key["secret_access_key"],
        session_token=key["token"],
        region=settings.region or "us-east-1",
        endpoint_override=settings.endpoint,
    )


def _explain(error: Exception, url: str) -> NoReturn:
    if isinstance(error, StorageError):
        raise error
    text = f"{type(error).__name__}: {error}"
    raise StorageError(f"Cannot use {url}: {explain(text)}.") from error
