"""A lake of a million objects, as three months of runs leave it: each command, and its memory.

It takes minutes to make, so it is measured only when it is named.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks import data
from benchmarks.again import ledger
from benchmarks.measuring import flowlake, goal, measure, say, table
from flowlake.committing import Change, Tables
from flowlake.converting import PARTITIONS
from flowlake.fields import DEFAULT_FORMAT
from flowlake.layout import object_key
from flowlake.planning import named
from flowlake.samples import object_bytes
from flowlake.storage import OBJECTS_FROM
from flowlake.storage.inventory import from_parquet
from flowlake.writing import write_flows

ACCOUNTS = ("123456789010", "123456789011", "123456789012")
REGION = "us-east-1"
RUNS_A_DAY = 4
ROWS = 2
"""Of each object: what is measured grows with objects and files, not with rows."""

FIRST = datetime(2026, 1, 1, tzinfo=UTC)

STATUS, MEMORY = 3, 1_500
"""Seconds, and megabytes, that the goals allow."""

ALARMS = """
[[alarm]]
name = "scans"
kind = "port_scan"
"""


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    objects, days = (20_000, 2) if quick else (1_000_000, 90)
    listed, lake, new = (
        data.folder() / name for name in ("inventory.parquet", "million", "hundred")
    )
    rules = data.folder() / "million.toml"
    rules.write_text(ALARMS)
    fill(str(lake), inventory(listed, objects, days), days)
    hundred(new, days)
    day = f"{FIRST + timedelta(days=days - 1):%F}"
    plan = ("convert", "--objects-from", str(listed))
    commands = {
        "status": ("status",),
        "convert --dry-run": (*plan, "--dry-run"),
        "convert, nothing new": plan,
        "convert, 100 new": (*plan, str(new)),
        "verify": ("verify", "--grace", "0m"),
        "verify --by-day": ("verify", "--grace", "0m", "--by-day"),
        "query top_talkers, a day": ("query", "top_talkers", "--since", day),
        "hunt an address": ("hunt", "10.1.0.7"),
        "sql, a count of objects": ("sql", "SELECT count(*) FROM objects"),
        "alarms run, all of it new": ("alarms", "run", "--config", str(rules)),
        "alarms run, nothing new": ("alarms", "run", "--config", str(rules)),
        "compact": ("compact",),
        "status, after that": ("status",),
        "convert, nothing new, after that": (*plan, str(new)),
        "vacuum": ("vacuum", "--retention", "0d", "--no-writers"),
    }
    found = {}
    for name, command in commands.items():
        run = found[name] = measure(flowlake(*command, "--lake", str(lake)))
        say(f"{name}: {run.wall:.1f} s, {run.cpu:.1f} s of processor, {run.memory:,.0f} MB")
    rows = [
        [name, f"{run.wall:.1f}", f"{run.cpu:.1f}", f"{run.memory:,.0f}"]
        for name, run in found.items()
    ]
    most = max(found, key=lambda name: found[name].memory)
    return "\n".join(
        [
            f"## {objects:,} objects",
            "",
            f"{days} days of {len(ACCOUNTS)} accounts, {RUNS_A_DAY} runs a day, {ROWS} records of "
            "an object; what is listed is an S3 Inventory in Parquet. Whole processes, one run "
            "each, in this order.",
            *table(["`flowlake`", "seconds", "processor seconds", "memory, MB"], rows),
            goal(
                f"`status` of {objects:,} objects: at most {STATUS} s of processor",
                f"{found['status'].cpu:.1f} s",
                found["status"].cpu <= STATUS,
            ),
            goal(
                f"No command takes more than {MEMORY:,} MB for {objects:,} objects",
                f"{found[most].memory:,.0f} MB, `{most}`",
                found[most].memory <= MEMORY,
            ),
            "",
        ]
    )


def hundred(folder: Path, day: int) -> None:
    """A hundred objects that the inventory does not have."""
    _, records = next(data.tables(DEFAULT_FORMAT, 0, 20))
    body = object_bytes(records)
    for number in range(100):
        moment = FIRST + timedelta(days=day, minutes=5 * number)
        file = folder / object_key(ACCOUNTS[0], REGION, "fl-0a", moment, f"{number:08x}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


def inventory(path: Path, objects: int, days: int) -> pl.DataFrame:
    """Write an S3 Inventory of so many objects; returns its listing, in the order of time."""
    flow_logs = pl.DataFrame({"account": ACCOUNTS, "flow_log": [f"fl-{n:017x}" for n in range(3)]})
    slots = pl.DataFrame({"slot": [FIRST + timedelta(minutes=5 * n) for n in range(days * 288)]})
    names = slots.join(flow_logs, how="cross")
    keys = [
        object_key(account, REGION, flow_log, slot, "{}")
        for slot, account, flow_log in names.iter_rows()
    ]
    number = pl.int_range(objects)
    place = number * names.height // objects
    digest = number.hash(1).cast(pl.String).str.slice(0, 8)
    listing = (
        pl.select(number=number, place=place, digest=digest)
        .with_columns(key=pl.Series(keys).gather(pl.select(place).to_series()))
        .select(
            bucket=pl.lit("flow-logs"),
            key=pl.col("key").str.replace("{}", pl.col("digest"), literal=True),
            size=1_000 + pl.col("number") % 9_000,
            last_modified_date=pl.Series(names["slot"]).gather(pl.select(place).to_series())
            + timedelta(minutes=5),
            e_tag=pl.concat_str(
                pl.col("number").hash(seed).cast(pl.String).str.pad_start(16, "0").str.tail(16)
                for seed in (2, 3)
            ),
        )
    )
    listing.write_parquet(path)
    source = pl.lit(OBJECTS_FROM + str(path)).alias("source")
    return from_parquet(path.read_bytes()).with_columns(source)


def fill(url: str, listing: pl.DataFrame, days: int) -> None:
    """Convert the listing as runs would, without reading text: each run's objects, one commit."""
    tables = Tables(url)
    tables.create(PARTITIONS)
    runs = days * RUNS_A_DAY
    for run in range(runs):
        begin, end = (listing.height * n // runs for n in (run, run + 1))
        objects = named(listing[begin:end]).with_columns(
            object_id=(pl.col("url").hash() // 2).cast(pl.Int64),
            date=pl.col("slot").dt.date(),
        )
        head = tables.head()
        change = Change(
            objects=[ledger(objects, ROWS)],
            flows=write_flows(
                [_records(objects, run)],
                schema=pa.schema(head.flows.schema()).remove_metadata(),
                partition_by=PARTITIONS,
                table_url=tables.table_url("flows"),
                storage=tables.storage,
            ),
        )
        tables.commit(head, change)


def _records(objects: pl.DataFrame, seed: int) -> pl.DataFrame:
    """So many records of each object."""
    random = np.random.default_rng(seed)
    frame = objects.select("object_id", "account_id", "region", "date", start_time="slot")
    frame = pl.concat([frame] * ROWS)
    count = frame.height

    def address(net: str) -> pl.Series:
        host = pl.Series(random.integers(0, 65_536, count))
        parts = pl.DataFrame({"a": host // 256, "b": host % 256})
        return parts.select(pl.format(net + "{}.{}", "a", "b")).to_series()

    return frame.with_columns(
        end_time=pl.col("start_time") + timedelta(seconds=60),
        interface_id="eni-"
        + pl.Series(random.integers(10**16, 10**16 + 500, count)).cast(pl.String),
        srcaddr=address("10.1."),
        dstaddr=address("10.2."),
        srcport=pl.Series(random.integers(1_024, 60_000, count), dtype=pl.Int32),
        dstport=pl.Series(random.choice([22, 53, 80, 443], count), dtype=pl.Int32),
        protocol=pl.lit(6, pl.Int32),
        packets=pl.Series(random.integers(1, 1_000, count)),
        bytes=pl.Series(random.integers(40, 1_000_000, count)),
        action=pl.Series(random.choice(["ACCEPT", "REJECT"], count)),
        log_status=pl.lit("OK"),
    ).with_columns(pl.col(pl.String).cast(pl.Categorical))
