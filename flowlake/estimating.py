"""What a conversion will take and leave: minutes, dollars, files, reckoned from a listing alone.

``RATES`` are what was measured and what S3 asks; the rest is arithmetic, shown in docs/scale.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from flowlake.committing import Tables
from flowlake.converting import (
    COMMIT_OBJECTS,
    FILES_A_DAY,
    HOURLY,
    PARTITIONS,
    TASK_OBJECTS,
    partitions,
    task_bytes,
)
from flowlake.planning import CLOCK_HOUR, DAY
from flowlake.storage import Access, canonical, is_remote
from flowlake.tasks import ROWS_PER_FILE


class Rates(NamedTuple):
    """What converting takes, and what S3 charges."""

    start: float
    """Processor seconds of a run that converts next to nothing."""
    object: float
    """Processor seconds for each object: fetched, opened, entered in the ledger."""
    megabyte: float
    """Processor seconds for each 10⁶ bytes of gzip text, from there to sorted Parquet."""
    plan: float
    """Processor seconds for each object on the machine that plans and commits, whoever converts."""
    record: float
    """Bytes of gzip text that a record takes."""
    parquet: float
    """Bytes of Parquet for each byte of gzip text."""
    file: float
    """Bytes of a Parquet file that holds next to nothing: what it says of its columns."""
    put: float
    """Dollars for a PUT or LIST request."""
    get: float
    """Dollars for a GET request."""


RATES = Rates(0.9, 0.0003, 0.1, 0.00007, 25, 0.6, 4_000, 0.005 / 1000, 0.0004 / 1000)
"""Measured in November 2026 on two cores of an AMD EPYC, seeded flow logs on a local disk.

Start: an object of ten records. Object: 2,000 objects of ten records, 0.15 ms, and 0.3 ms for
obstore to fetch one from S3. Megabyte: four objects of 250,000 records, 0.08 s in the default
format, 0.11 in the alphabetical one, 0.13 in all fields of version 11. Plan: 8,000 objects against
2,000, on a Dask cluster. Record: those of 250,000 records, 17, 29 and 29 bytes; 45 in objects of
ten. Parquet: the same, 0.58, 0.43 and 0.44; 0.8 in objects of a hundred. File: one of ten records.

Prices: S3 Standard in us-east-1, as https://c3x.dev/blog/s3-request-fees-explained repeats them
from AWS's page; read in November 2026."""

KEYS = 1_000
"""Keys that one LIST request returns."""

COMMIT_PUTS = 4
"""PUT requests of a commit: the ledger's file, and an entry in the log of each of three tables."""


class Work(NamedTuple):
    """Objects to convert: those of a run, or those that come in a day."""

    objects: int
    bytes: int
    """As stored, compressed."""
    folders: tuple[int, int, int]
    """Folders of the lake they fill, if it is partitioned by the first one, two or three of
    ``PARTITIONS``: days; days and regions; days, regions and accounts."""

    @property
    def rows(self) -> int:
        """About how many records they hold."""
        return round(self.bytes / RATES.record)

    def part(self, runs: int) -> "Work":
        """The share of each of so many runs a day, if all find some of every folder."""
        return Work(self.objects // runs, self.bytes // runs, self.folders)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take and leave, and what a day will."""

    listed: int
    listed_bytes: int
    objects: int
    """Those to convert."""
    bytes: int
    rows: int
    cores: int
    cpu_seconds: float
    minutes: float
    """On so many cores, all of them busy."""
    files: int
    parquet_bytes: int
    list_requests: int
    get_requests: int
    put_requests: int
    """Requests of S3; what lies in a folder needs none. Those that read the lake's log, some
    dozens a run, are left out."""
    dollars: float
    partition_by: tuple[str, ...]
    """How the lake is partitioned, or will be."""
    layouts: pl.DataFrame
    """Files a day, as ``layouts`` says, from the busiest hour and the busiest day listed."""
    advice: str | None
    """What to do about a lake that is not partitioned for this."""


def estimate(
    listing: pl.DataFrame,
    new: pl.DataFrame,
    *,
    lake: str,
    cores: int,
    partition_by: Sequence[str] | None = None,
    access: Access = Access(),
) -> Estimate:
    """Estimate the run that ``planning.plan`` planned.

    Args:
        listing: what is listed, and
        new: what of it is to be converted, as ``plan`` returns them.
        lake: the lake, which need not be there.
        cores: how many cores convert.
        partition_by: how a new lake is to be partitioned.
        access: AWS profile and requester-pays.

    Raises:
        UsageError: for a ``partition_by`` that cannot be.
    """
    tables = Tables(canonical(lake), access)
    by = partitions(tables, listing, partition_by)
    run = _work(new)
    count = files(run, by, cores)
    in_s3 = pl.col("url").str.starts_with("s3://")
    lists = -(-listing.filter(in_s3).height // KEYS)
    gets = new.filter(in_s3).height
    puts = put_requests(run, count) if is_remote(tables.url) else 0
    days = layouts(_busiest(listing, CLOCK_HOUR), _busiest(listing, DAY), by, cores)
    seconds = cpu_seconds(run)
    return Estimate(
        listed=listing.height,
        listed_bytes=int(listing["size"].sum()),
        objects=run.objects,
        bytes=run.bytes,
        rows=run.rows,
        cores=cores,
        cpu_seconds=round(seconds, 1),
        minutes=round(seconds / cores / 60, 2),
        files=count,
        parquet_bytes=round(run.bytes * RATES.parquet + count * RATES.file),
        list_requests=lists,
        get_requests=gets,
        put_requests=puts,
        dollars=round(dollars(lists, gets, puts), 4),
        partition_by=by,
        layouts=days,
        advice=_advice(days) if tables.exist() else None,
    )


def cpu_seconds(work: Work) -> float:
    """Processor seconds that one run over this work takes; divide by the cores for its time."""
    return RATES.start + RATES.object * work.objects + RATES.megabyte * work.bytes / 1e6


def put_requests(run: Work, made: int) -> int:
    """PUT requests of a run that makes so many files."""
    return made + COMMIT_PUTS * -(-run.objects // COMMIT_OBJECTS)


def dollars(lists: int, gets: int, puts: int) -> float:
    """What S3 charges for so many requests."""
    return (lists + puts) * RATES.put + gets * RATES.get


def files(run: Work, partition_by: tuple[str, ...], cores: int) -> int:
    """Data files that one run makes.

    A task writes a file for each folder of the lake that its objects fill, and again after a
    million rows. Tasks are cut from the objects in the order of account, region and time, so one
    cut makes at most one file more of one account's and region's day.
    """
    if not run.objects:
        return 0
    size = max(1, run.bytes // run.objects)
    in_task = max(1, min(TASK_OBJECTS, task_bytes(run.bytes, cores) // size))
    tasks = -(-run.objects // in_task)
    writes = tasks * max(1, -(-run.rows // (tasks * ROWS_PER_FILE)))
    return min(writes * run.folders[len(partition_by) - 1], run.folders[-1] + writes - 1)


def layouts(hour: Work, day: Work, partition_by: tuple[str, ...], cores: int) -> pl.DataFrame:
    """Files that come in a day, for each partitioning, at hourly runs and at one run a day.

    Columns: ``partition_by`` (text), ``runs_a_day``, ``files_a_day``, ``rows_per_file``, and
    ``chosen``, whether it is this ``partition_by``.
    """
    rows = []
    for by in (PARTITIONS[:count] for count in (3, 2, 1)):
        for runs, run in ((HOURLY, hour), (1, day)):
            count = files(run, by, cores)
            each = run.rows // max(1, count)
            rows.append((",".join(by), runs, runs * count, each, by == partition_by))
    names = ("partition_by", "runs_a_day", "files_a_day", "rows_per_file", "chosen")
    return pl.DataFrame(rows, schema=names, orient="row")


def _busiest(listing: pl.DataFrame, period: pl.Expr) -> Work:
    counted = listing.group_by(period.alias("period")).len().sort("len", "period")
    return _work(listing.filter(period.is_in(counted["period"].tail(1).implode())))


def _work(objects: pl.DataFrame) -> Work:
    by = (DAY, pl.col("region"), pl.col("account_id"))
    days, regions, places = (
        objects.select(pl.struct(by[:count]).n_unique()).item() for count in (1, 2, 3)
    )
    return Work(objects.height, int(objects["size"].sum()), (days, regions, places))


def _advice(days: pl.DataFrame) -> str | None:
    hourly = days.filter(pl.col("runs_a_day") == HOURLY)
    mine = hourly.filter("chosen")
    least = hourly.sort("files_a_day").head(1)
    if mine.is_empty() or mine["files_a_day"].item() <= max(
        FILES_A_DAY, least["files_a_day"].item()
    ):
        return None
    return (
        f"This lake is partitioned by {mine['partition_by'].item()}, which makes "
        f"{mine['files_a_day'].item():,} files a day at hourly runs: convert once a day, or into a "
        f"new lake with --partition-by {least['partition_by'].item()}."
    )
