"""A thousand accounts at hourly runs: files a day, and the time to open, plan and ask.

The lake is synthetic, and smaller than thirty days: a few records an account, written and
committed run by run as a conversion does, without reading text.
"""

import functools
import json
import statistics
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

import flowlake
from benchmarks import data
from benchmarks.again import ledger
from benchmarks.measuring import flowlake as command
from benchmarks.measuring import goal, measure, table, timed
from flowlake.committing import Change, Tables
from flowlake.converting import PARTITIONS
from flowlake.layout import object_key
from flowlake.planning import new_objects
from flowlake.samples import START, object_bytes, sample_tables
from flowlake.writing import write_flows

ACCOUNTS = [f"{number:012}" for number in range(100_000_000_000, 100_000_001_000)]
RECORDS = 5
"""Of an account in an hour."""
DAYS, MOST = 30, 1_000_000
BY_ACCOUNT, BY_DATE = PARTITIONS, PARTITIONS[:1]


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    chosen, written = _a_run(100 if quick else len(ACCOUNTS))
    shapes = {BY_DATE: 2 if quick else 120, BY_ACCOUNT: 1 if quick else 3}
    rows, ask = [], list[list[str]]()
    for partition_by, hours in shapes.items():
        url = str(data.folder() / f"accounts-{'-'.join(partition_by)}")
        seconds = timed(functools.partial(_fill, url, partition_by, hours, written))
        lake = flowlake.open_lake(url)
        files = len(lake.files())
        per_day = 24 * files / hours
        rows.append(
            [
                *(", ".join(partition_by), f"{hours:,}", f"{files:,}", f"{per_day:,.0f}"),
                *(f"{per_day * DAYS:,.0f}", f"{1000 * seconds / hours:,.0f}"),
            ]
        )
        ask.append([", ".join(partition_by), f"{files:,}", *_asked(url, hours)])
    by_default = next(row for row in rows if row[0] == ", ".join(chosen))
    expected = int(by_default[4].replace(",", ""))
    columns = ["partitioned by", "runs measured", "files", "files a day", f"files in {DAYS} days"]
    return "\n".join(
        [
            f"## {len(ACCOUNTS):,} accounts, hourly runs",
            "",
            f"A real conversion of an hour of {len(ACCOUNTS):,} accounts chose to partition by "
            f"{', '.join(chosen)} and wrote {written} files. The lakes below are synthetic, "
            f"{RECORDS} records of each account an hour, in as many files a run or in one an "
            "account, and not thirty days long: files grow with the number of runs, and what is "
            "measured on them grows with the files.",
            *table([*columns, "milliseconds a run"], rows),
            "Milliseconds, medians of 3, each on a lake opened anew; the plan is for a listing of "
            "all objects and an hour's new ones; the query asks for the last 24 hours, the hunt "
            "for all of it.",
            *table(
                [
                    *("partitioned by", "files", "objects in the ledger"),
                    *("open", "status", "plan", "`top_talkers`", "hunt"),
                ],
                ask,
            ),
            goal(
                f"{len(ACCOUNTS):,} accounts, hourly runs for {DAYS} days, default partitioning: "
                f"fewer than {MOST:,} files",
                f"{expected:,} files",
                expected < MOST,
            ),
            "",
        ]
    )


def _a_run(accounts: int) -> tuple[tuple[str, ...], int]:
    """Convert an hour of so many accounts; the partitioning that was chosen, and the files."""
    folder = data.folder() / "accounts-raw"
    sample = sample_tables(
        start=START,
        hours=1,
        every=12,
        records_per_object=200,
        accounts=ACCOUNTS[:accounts],
        regions=["us-east-1"],
    )
    for key, records in sample:
        file = folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(object_bytes(records))
    lake = str(data.folder() / "accounts-lake")
    run = measure(command("convert", str(folder), "--lake", lake, "--format", "json"))
    return flowlake.open_lake(lake).partition_by, int(json.loads(run.output)[0]["files"])


def _fill(url: str, partition_by: Sequence[str], hours: int, files: int) -> None:
    """Make a lake of hourly runs; each writes so many files, or one for each account."""
    tables = Tables(url)
    tables.create(partition_by)
    random = np.random.default_rng(7)
    for hour in range(hours):
        head = tables.head()
        schema = pa.schema(head.flows.schema()).remove_metadata()
        change = Change(objects=[ledger(_objects(hour))])
        flows = _records(random, hour)
        parts = (
            [flows] if "account_id" in partition_by else flows.iter_slices(flows.height // files)
        )
        for part in parts:
            change.flows += write_flows(
                [part],
                schema=schema,
                partition_by=partition_by,
                table_url=tables.table_url("flows"),
                storage=tables.storage,
            )
        tables.commit(head, change)


def _objects(hour: int) -> pl.DataFrame:
    """An hour's objects as they are listed and named, one an account."""
    moment = _moment(hour)
    keys = [object_key(each, "us-east-1", "fl-0a", moment, f"{hour:08x}") for each in ACCOUNTS]
    rows = {
        "url": [f"/raw/{key}" for key in keys],
        "size": 1,
        "etag": "etag",
        "last_modified": moment,
    }
    named = {
        "source": "/raw",
        "account_id": ACCOUNTS,
        "region": "us-east-1",
        "flow_log_id": "fl-0a",
    }
    numbers = range(hour * len(ACCOUNTS), (hour + 1) * len(ACCOUNTS))
    times = pl.Datetime("us", "UTC")
    return pl.DataFrame({**rows, **named, "slot": moment, "object_id": numbers}).with_columns(
        pl.col("last_modified", "slot").cast(times), pl.col("size", "object_id").cast(pl.Int64)
    )


def _moment(hour: int) -> datetime:
    return START.replace(hour=0) + timedelta(hours=hour)


def _records(random: np.random.Generator, hour: int) -> pl.DataFrame:
    count = len(ACCOUNTS) * RECORDS
    moment = _moment(hour)
    host = pl.Series(random.integers(0, 16_384, count)).cast(pl.String)
    start = pl.Series(random.integers(0, 3_000, count) * 1_000_000).cast(pl.Duration("us")) + moment
    frame = pl.DataFrame(
        {
            "account_id": np.repeat(ACCOUNTS, RECORDS),
            "interface_id": pl.Series(np.repeat(ACCOUNTS, RECORDS)).str.replace("^", "eni-0000"),
            "srcaddr": "10.1." + host.str.slice(0, 2) + "." + host.str.slice(2, 2).replace("", "0"),
            "dstaddr": "10.2.0.1",
            "region": "us-east-1",
            "action": "ACCEPT",
            "log_status": "OK",
            "start_time": start,
            "end_time": start + timedelta(seconds=60),
            "date": moment.date(),
            "object_id": np.repeat(np.arange(len(ACCOUNTS)) + hour * len(ACCOUNTS), RECORDS),
            "bytes": random.integers(40, 1_000_000, count),
            "packets": random.integers(1, 1_000, count),
        }
    )
    numbers = pl.DataFrame(
        {
            name: pl.Series(random.integers(1, 60_000, count), dtype=pl.Int32)
            for name in ("srcport", "dstport")
        }
    )
    return pl.concat([frame, numbers], how="horizontal").with_columns(
        pl.col(pl.String).cast(pl.Categorical), protocol=pl.lit(6, pl.Int32)
    )


def _asked(url: str, hours: int) -> list[str]:
    """The ledger's size, and milliseconds to open, sum up, plan, query and hunt."""
    listing = pl.concat(_objects(hour) for hour in range(hours + 1)).drop("object_id")

    def plan() -> None:
        new = new_objects(listing, Tables(url).view().live)
        assert new.height == len(ACCOUNTS)

    def query() -> None:
        flowlake.open_lake(url).query("top_talkers", since=_moment(hours - 24)).to_arrow_table()

    work: list[Callable[[], object]] = [
        lambda: flowlake.open_lake(url),
        lambda: flowlake.open_lake(url).status(),
        plan,
        query,
        lambda: flowlake.open_lake(url).hunt("10.1.16.38").to_arrow_table(),
    ]
    times = [statistics.median(timed(each) for _ in range(3)) for each in work]
    return [f"{hours * len(ACCOUNTS):,}", *(f"{1000 * seconds:,.0f}" for seconds in times)]
