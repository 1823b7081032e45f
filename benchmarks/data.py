"""Seeded raw objects, made once for each size and kept until the run ends."""

import atexit
import functools
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import polars as pl

from flowlake.fields import DEFAULT_FORMAT
from flowlake.samples import START, object_bytes, sample_tables
from flowlake.shapes import parquet_bytes

RECORDS = 250_000
"""Records of a big object: 4 to 8 MB of gzip."""

RARE = "192.0.2.255"
"""An address that three records of every tenth object have, and no other."""

Names = tuple[str, ...]

_PER_HOUR = 12


@functools.cache
def folder() -> Path:
    """The folder of this run."""
    made = tempfile.TemporaryDirectory(prefix="flowlake-bench-")
    atexit.register(made.cleanup)
    return Path(made.name)


@functools.cache
def raw(
    header: Names, objects: int, records: int = RECORDS, parquet: bool = False, rare: bool = False
) -> Path:
    """A folder with so many objects of a format in ``text``; with ``parquet`` also as AWS's there.

    Both have AWS's names. With ``rare`` the records of ``RARE`` are among them.
    """
    made = folder() / f"{len(header)}-fields-{objects}-of-{records}{'-rare' * rare}"
    hours = -(-objects // _PER_HOUR)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(_make, made, header, hour, objects, records, parquet, rare)
            for hour in range(hours)
        ]
        for job in jobs:
            job.result()
    return made


def _make(
    made: Path, header: Names, hour: int, objects: int, records: int, parquet: bool, rare: bool
) -> None:
    """Make one hour's objects."""
    first = hour * _PER_HOUR
    for number, (key, sampled) in enumerate(tables(header, hour, records), first):
        if number >= objects:
            return
        table = _with_rare(sampled) if rare and number % 10 == 0 else sampled
        _put(made / "text" / key, object_bytes(table))
        if parquet:
            name = key.removesuffix(".log.gz") + ".log.parquet"
            _put(made / "parquet" / name, parquet_bytes(table))


def tables(header: Names, hour: int, records: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """Key and records of an hour's twelve objects, from one account and region."""
    sample = sample_tables(
        start=START + timedelta(hours=hour),
        hours=1,
        every=1,
        records_per_object=records,
        accounts=["123456789010"],
        regions=["us-east-1"],
        formats=[header],
    )
    return islice(sample, 1, None)  # the first holds two records of 2015


def small(moment: datetime, records: int) -> bytes:
    """A small object: so many records that start with this moment."""
    table = _sampled(records)
    later = int(moment.timestamp()) - pl.col("start").min()
    return object_bytes(table.with_columns(pl.col("start", "end") + later))


@functools.cache
def _sampled(records: int) -> pl.DataFrame:
    return next(tables(DEFAULT_FORMAT, 0, records))[1]


def _with_rare(table: pl.DataFrame) -> pl.DataFrame:
    row = pl.int_range(pl.len())
    return table.with_columns(
        srcaddr=pl.when(row == 1_000).then(pl.lit(RARE)).otherwise("srcaddr"),
        dstaddr=pl.when(row.is_in([1_001, 1_002])).then(pl.lit(RARE)).otherwise("dstaddr"),
    )


def _put(file: Path, body: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)


def size(place: Path, pattern: str = "*") -> float:
    """Megabytes of the files below a folder."""
    return sum(f.stat().st_size for f in place.rglob(pattern) if f.is_file()) / 1e6


def cores() -> int:
    return len(os.sched_getaffinity(0))
