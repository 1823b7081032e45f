"""S3 Inventory -> frames of ``LISTING``: a manifest's files, or one such file by itself.

Manifest and columns: Amazon S3 User Guide, "Locating your inventory list" and "Amazon S3 Inventory
list". Keys are URL-encoded in CSV, with ``+`` for a space, and not in Parquet.
"""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_plus

import polars as pl

from flowlake.errors import StorageError, UsageError
from flowlake.storage.places import LISTING, Body

PARQUET, ORC = b"PAR1", b"ORC"

NO_ORC = "an S3 Inventory in ORC, which FlowLake does not read: configure it as CSV or Parquet"

DAMAGE = pl.exceptions.PolarsError, OSError, EOFError, zlib.error
"""What reading a damaged list or file of an inventory raises."""


def plain(body: Body) -> bytes:
    """The bytes, out of their gzip if they are in one."""
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else bytes(body)


def from_manifest(manifest: dict[str, Any], get: Callable[[str], Body]) -> Iterator[pl.DataFrame]:
    """The objects in the files that an inventory's ``manifest.json`` names, file by file.

    Raises:
        UsageError: for a manifest FlowLake cannot follow.
        StorageError: for a file that is not what the manifest says.
    """
    try:
        kind, schema = manifest["fileFormat"], manifest["fileSchema"]
        bucket = manifest["destinationBucket"].rpartition(":")[2]
        keys = [file["key"] for file in manifest["files"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"The S3 Inventory's manifest lacks {error}: give the whole of it."
        ) from error
    if kind not in ("CSV", "Parquet"):
        raise UsageError(
            f"This is {NO_ORC if kind == 'ORC' else f'an S3 Inventory in {kind}: choose CSV'}."
        )
    for url in (f"s3://{bucket}/{key}" for key in keys):
        body = get(url)
        try:
            csv = kind == "CSV"
            yield from_csv(plain(body), schema.split(",")) if csv else from_parquet(body)
        except DAMAGE as error:
            raise StorageError(f"Cannot read the inventory's file {url}: {error}.") from error


def from_parquet(body: Body) -> pl.DataFrame:
    """The current objects in one Parquet file of an inventory."""
    return _listing(pl.read_parquet(io.BytesIO(body)), encoded=False)


def from_csv(text: bytes, schema: list[str] | None = None) -> pl.DataFrame:
    """The current objects in one CSV file of an inventory.

    Without ``schema``, the columns after bucket and key are known by a line of names, or by what
    they hold.
    """
    if not text.strip():
        return pl.DataFrame(schema=LISTING)
    frame = pl.read_csv(text, has_header=False, infer_schema=False)
    first = list(frame.row(0))
    if schema is None and {"bucket", "key"} <= set(map(_plain, map(str, first))):
        schema, frame = list(map(str, first)), frame[1:]
    names = schema or _recognised(frame)
    if len(names) != frame.width:
        raise pl.exceptions.SchemaError(f"{frame.width} columns, and names for {len(names)}")
    return _listing(frame.rename(dict(zip(frame.columns, names, strict=True))), encoded=True)


_KINDS = {
    "Size": r"^[0-9]+$",
    "LastModifiedDate": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$",
    "ETag": r"^[0-9a-f]{32}(-[0-9]+)?$",
}
_FLAG = r"^(?i:true|false)$"


def _recognised(frame: pl.DataFrame) -> list[str]:
    """Names for columns without a schema; the first of a kind is meant.

    AWS puts IsLatest and IsDeleteMarker fourth and fifth, where there are versions.
    """
    names = [f"column {number}" for number in range(frame.width)]
    names[:2] = "Bucket", "Key"
    looks = frame.head(10_000)
    for number in range(2, frame.width):
        values = looks.to_series(number).drop_nulls()
        values = values.filter(values != "")
        for name, kind in _KINDS.items():
            if len(values) and name not in names and values.str.contains(kind).all():
                names[number] = name
    if frame.width > 4 and all(looks.to_series(n).str.contains(_FLAG).all() for n in (3, 4)):
        names[3:5] = "IsLatest", "IsDeleteMarker"
    return names


_KNOWN = ("bucket", "key", "islatest", "isdeletemarker", "size", "lastmodifieddate", "etag")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _listing(inventory: pl.DataFrame, *, encoded: bool) -> pl.DataFrame:
    """The rows of ``LISTING`` for the latest versions; null where the inventory does not say."""
    known = {_plain(name): name for name in inventory.columns if _plain(name) in _KNOWN}
    frame = inventory.select(**known)
    for missing in {"bucket", "key"} - set(known):
        raise pl.exceptions.SchemaError(f"no column {missing}")
    for flag, gone in (("islatest", "false"), ("isdeletemarker", "true")):
        if flag in frame.columns:
            value = pl.col(flag).cast(pl.String).str.to_lowercase()
            frame = frame.filter(value.ne_missing(gone))
    if encoded:
        frame = frame.with_columns(key=pl.Series(map(unquote_plus, frame["key"]), dtype=pl.String))
    modified = pl.col("lastmodifieddate")
    if frame.schema.get("lastmodifieddate") == pl.String:
        modified = modified.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
    columns = {
        "size": pl.col("size").cast(pl.Int64, strict=False),
        "etag": pl.col("etag").cast(pl.String).str.strip_chars('"').replace("", None),
        "lastmodifieddate": modified.cast(pl.Datetime("us", "UTC")),
    }
    size, etag, date = (
        value if name in frame.columns else pl.lit(None) for name, value in columns.items()
    )
    url = pl.concat_str(pl.lit("s3://"), "bucket", pl.lit("/"), "key")
    return frame.select(url=url, size=size, etag=etag, last_modified=date).cast(LISTING)  # type: ignore[arg-type]
