"""Many small objects in a real S3 server: each command, and whether its memory stays flat.

To put them takes minutes, so it is measured only when it is named.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import obstore

from benchmarks import data, server
from benchmarks.measuring import Run, flowlake, goal, measure, say, table
from flowlake.layout import object_key
from flowlake.samples import START

ROWS = 20
A_SLOT = 70
"""Objects of the same five minutes, each of a flow log of its own."""

MEMORY = 1_000
"""Megabytes that the goal allows."""


def section(quick: bool = False) -> str:
    """Measure, and write the page."""
    objects = 2_000 if quick else 200_000
    fill(objects)
    server.bucket("many-lake")
    lake, part = "s3://many-lake/lake", "s3://many-lake/part"
    tenth = START + timedelta(minutes=5 * (objects // 10 // A_SLOT))
    commands = {
        "convert, a tenth": ("convert", "s3://many", "--until", f"{tenth:%FT%TZ}", "--lake", part),
        "convert, all": ("convert", "s3://many", "--lake", lake),
        "convert, nothing new": ("convert", "s3://many", "--lake", lake),
        "verify": ("verify", "--grace", "0m", "--lake", lake),
        "status": ("status", "--lake", lake),
        "sql, rows and objects": (
            *("sql", "SELECT count(*) AS n, count(DISTINCT object_id) AS of FROM flows"),
            *("--format", "csv", "--lake", lake),
        ),
    }
    found: dict[str, Run] = {}
    with server.reached_from(server.PLACES[0]):
        for name, command in commands.items():
            run = found[name] = measure(flowlake(*command))
            say(f"{name}: {run.wall:.1f} s, {run.cpu:.1f} s of processor, {run.memory:,.0f} MB")
    counted = found["sql, rows and objects"].output.split()[-1]
    assert counted == f"{objects * ROWS},{objects}", counted
    most = max(found, key=lambda name: found[name].memory)
    rows = [
        [name, f"{run.wall:.1f}", f"{run.cpu:.1f}", f"{run.memory:,.0f}"]
        for name, run in found.items()
    ]
    return "\n".join(
        [
            f"## {objects:,} small objects on S3",
            "",
            f"{ROWS} records each, in SeaweedFS on the same two cores, and a lake there. Whole "
            "processes, one run each, in this order. Each row is there once: "
            f"{objects * ROWS:,} of {objects:,} objects.",
            *table(["`flowlake`", "seconds", "processor seconds", "memory, MB"], rows),
            goal(
                f"No command takes more than {MEMORY:,} MB for {objects:,} objects on S3",
                f"{found[most].memory:,.0f} MB, `{most}`",
                found[most].memory <= MEMORY,
            ),
            "",
        ]
    )


def fill(objects: int) -> None:
    """Put the objects into the bucket ``many``."""
    store = server.bucket("many")

    def put(slot: int) -> None:
        moment = START + timedelta(minutes=5 * slot)
        body = data.small(moment, ROWS)
        for number in range(slot * A_SLOT, min(objects, (slot + 1) * A_SLOT)):
            flow_log = f"fl-{number % A_SLOT:017x}"
            key = object_key("123456789012", "us-east-1", flow_log, moment, f"{number:08x}")
            obstore.put(store, key, body)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(-(-objects // A_SLOT))))
