"""Readers beside converters, compactions and vacuums: each sees a lake as some commit left it.

Objects are added and overwritten all the while. Every record says of which version of which object
it is, and each version has its own number of records and its own sum of bytes. So a reader can see
an object in part, twice, in two versions, or gone; and the log tells afterwards which versions each
snapshot must have had.
"""

import contextlib
import json
import logging
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from isal import igzip

import flowlake
from flowlake import compacting, converting
from flowlake.committing import APPLICATION, SCHEMAS, Tables
from flowlake.compacting import compact
from flowlake.doors import collect
from flowlake.fields import DEFAULT_FORMAT
from flowlake.files import file_urls
from flowlake.lake import Lake
from flowlake.layout import object_key
from flowlake.report import write_report
from flowlake.storage import open_storage
from flowlake.vacuuming import vacuum
from flowlake.verifying import verify
from tests.crashing import CONTEXT

SECONDS = 150
"""How long the objects of one long test come: four of them, ten minutes."""

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HEADER = " ".join(DEFAULT_FORMAT)


def address(number: int, version: int) -> str:
    return f"10.{version}.{number >> 8}.{number & 255}"


def records(number: int, version: int) -> int:
    return 1 + (number * 7 + version * 3) % 9


def size(number: int, version: int) -> int:
    """The bytes of each record."""
    return 1 + number * 50 + version


def raw_object(number: int, version: int) -> tuple[str, bytes]:
    moment = DAY + timedelta(minutes=5 * number)
    start = int(moment.timestamp())
    line = (
        f"2 000123456789 eni-1 {address(number, version)} 198.51.100.1 49152 443 6 1 "
        f"{size(number, version)} {start} {start + 50} ACCEPT OK"
    )
    text = "\n".join([HEADER, *[line] * records(number, version), "one wrong line", ""])
    key = object_key("000123456789", "eu-west-1", "fl-0abc", moment, f"{number:08x}")
    return key, igzip.compress(text.encode())


@dataclass
class Seen:
    """What a reader saw, or what another process did."""

    who: str
    read: Counter[str] = field(default_factory=Counter)
    snapshots: dict[int, set[int]] = field(default_factory=dict)
    """The ``object_id`` of all rows, by the version of ``flows``."""
    wrong: list[str] = field(default_factory=list)


Rows = pl.DataFrame
"""``object_id``, ``srcaddr``, ``rows`` and ``bytes``."""

SUMS = "object_id, srcaddr, count(*) AS rows, sum(bytes)::BIGINT AS bytes"


def by_polars(lake: Lake) -> Rows:
    grouped = lake.flows().group_by("object_id", "srcaddr")
    return grouped.agg(pl.len().alias("rows"), pl.sum("bytes")).collect()


def by_duckdb(lake: Lake) -> Rows:
    return collect(lake.sql(f"SELECT {SUMS} FROM flows GROUP BY ALL"))


def by_hunt(lake: Lake) -> Rows:
    found = lake.hunt("10.0.0.0/8", top=None)
    assert found.columns
    return collect(found.aggregate("srcaddr, count(*) AS rows, sum(bytes)::BIGINT AS bytes"))


class Reader:
    """It asks again and again, and compares with what it saw before."""

    def __init__(self, lake: str, seen: Seen) -> None:
        self.lake, self.seen = lake, seen
        self.newest: dict[int, int] = {}
        self.objects = 0
        self.held: tuple[Lake, Rows] | None = None

    def flows(self, ask: Callable[[Lake], Rows]) -> None:
        lake = flowlake.open_lake(self.lake)
        rows = ask(lake)
        self.seen.read["rows"] += int(rows["rows"].sum())
        now: dict[int, int] = {}
        for source, count, amount in rows.select("srcaddr", "rows", "bytes").iter_rows():
            _, version, high, low = map(int, source.split("."))
            number = high << 8 | low
            assert number not in now, f"object {number} in versions {version} and {now[number]}"
            now[number] = version
            whole = records(number, version)
            assert (count, amount) == (whole, whole * size(number, version)), source
        for number, version in self.newest.items():
            assert now.get(number, -1) >= version, f"object {number} was newer before"
        self.newest = now
        if "object_id" in rows.columns:
            self.seen.snapshots.setdefault(lake.version, set(rows["object_id"]))
            assert self.seen.snapshots[lake.version] == set(rows["object_id"])
            if self.held is None:
                self.held = (lake, rows.sort(pl.all()))
            elif self.seen.read["all"] % 10 == 0:
                held, before = self.held
                assert ask(held).sort(pl.all()).equals(before), "an open lake has changed"
                self.held = None

    def one(self) -> None:
        """One object's address: all of it, or none of it once it has another version."""
        if self.newest:
            number = list(self.newest)[self.seen.read["all"] % len(self.newest)]
            version = self.newest[number]
            found = flowlake.open_lake(self.lake).hunt(address(number, version), top=None)
            assert collect(found).height in (0, records(number, version))

    def status(self) -> None:
        status = flowlake.open_lake(self.lake).status()
        assert status.lines - status.rejected >= 0
        assert status.objects >= self.objects
        assert status.rejected == status.objects, "each has one wrong line"
        self.objects = status.objects

    def rejects(self) -> None:
        rejects = flowlake.open_lake(self.lake).rejects()
        assert rejects["url"].is_unique().all()
        assert rejects.height >= self.objects - 50, "the newest batch may be on its way"

    def report(self) -> None:
        lake = flowlake.open_lake(self.lake)
        page = Path(os.environ["TMPDIR"], f"report-{os.getpid()}.html")
        assert write_report(lake, page).failed == ()
        total = collect(lake.sql("SELECT count(*) AS n FROM flows")).item()
        assert f"{total:,} row" in page.read_text()

    def verify(self) -> None:
        found = verify(lake=self.lake, grace=timedelta(hours=1))
        gaps = set(found.gaps["gap"]) - {"changed"}
        assert gaps <= {"ledger behind", "rows of no object"}, found.gaps.rows()


def read(
    kinds: tuple[str, ...], lake: str, stop: Any, told: Any, rounds: Any, env: dict[str, str]
) -> None:
    with _telling(", ".join(kinds), told, env) as seen:
        reader = Reader(lake, seen)
        asks: dict[str, Callable[[], None]] = {
            "polars": lambda: reader.flows(by_polars),
            "duckdb": lambda: reader.flows(by_duckdb),
            "hunt": lambda: reader.flows(by_hunt),
            **{n: getattr(reader, n) for n in ("one", "status", "rejects", "report", "verify")},
        }
        while not stop.is_set():
            for kind in kinds:
                try:
                    asks[kind]()
                except Exception:
                    seen.wrong.append(f"{kind}: {traceback.format_exc()}")
                seen.read[kind] += 1
                seen.read["all"] += 1
            with rounds.get_lock():
                rounds.value += 1


def convert(source: str, lake: str, stop: Any, told: Any, rounds: Any, env: dict[str, str]) -> None:
    with _telling("convert", told, env) as seen:
        while not stop.is_set():
            try:
                report = flowlake.convert(source, lake=lake, workers=1, commit_seconds=0)
            except Exception:
                seen.wrong.append(f"convert: {traceback.format_exc()}")
                continue
            seen.read.update(
                runs=1,
                batches=report.batches,
                objects=report.objects,
                overtaken=report.elsewhere,
                changed=len(report.failures),
            )
            for url, reason in report.failures:
                if "changed while it was being read" not in reason:
                    seen.wrong.append(f"convert: {url}: {reason}")


def tend(lake: str, stop: Any, told: Any, rounds: Any, env: dict[str, str]) -> None:
    with _telling("compact", told, env) as seen:
        while not stop.is_set():
            try:
                done = compact(lake, commit_seconds=0)
                seen.read.update(compactions=1, merged=done.files, overtaken=done.overtaken)
                assert done.failures == []
                if seen.read["compactions"] % 5 == 0:
                    vacuum(lake)
                    seen.read["vacuums"] += 1
            except Exception:
                seen.wrong.append(f"compact: {traceback.format_exc()}")


@contextlib.contextmanager
def _telling(who: str, told: Any, env: dict[str, str]) -> Iterator[Seen]:
    """Tell what a process saw when it ends; conversions have several batches a run."""
    os.environ.clear()
    os.environ.update(env)
    converting.TASK_OBJECTS = 4
    compacting.TARGET_ROWS.update(flows=400, rejects=100, objects=100)
    seen = Seen(who)

    class Conflicts(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "another process committed first" in record.getMessage():
                seen.read["conflicts"] += 1
            if "finishing batch" in record.getMessage():
                seen.read["finished for others"] += 1

    log = logging.getLogger("flowlake")
    log.setLevel(logging.INFO)
    log.addHandler(Conflicts())
    try:
        yield seen
    finally:
        told.put(seen)


def expected_snapshots(lake: str) -> dict[int, set[int]]:
    """Which objects have rows in each version of ``flows``, by its log and the ledger's files."""
    tables = Tables(lake)
    snapshots: dict[int, set[int]] = {}
    live: set[int] = set()
    for entry in reversed(tables.table("flows").history()):
        if APPLICATION in entry:
            for file in json.loads(entry[APPLICATION])["objects"]:
                body = tables.storage.get(f"{tables.table_url('objects')}/{file['path']}")
                ledger = pl.read_parquet(bytes(body))
                live -= set(ledger["replaces"].drop_nulls())
                live |= set(ledger["object_id"])
        snapshots[entry["version"]] = set(live)
    return snapshots


def no_orphans(lake: str) -> None:
    vacuum(lake, retention=timedelta(0), no_writers=True)
    tables = Tables(lake)
    for name in ("flows", *SCHEMAS):
        there = set(pl.concat(tables.storage.list(tables.table_url(name)))["url"])
        live = {url.removeprefix("file://") for url in file_urls(tables.table(name))}
        assert {url for url in there if "/_delta_log/" not in url} == live


def meanwhile(
    place: str, scratch: Path, *, converters: int, seconds: float, readers: list[tuple[str, ...]]
) -> Counter[str]:
    """Run all of them while objects come, and prove what they saw; what was done."""
    source, lake = f"{place}/raw", f"{place}/lake"
    storage = open_storage(place)
    has: dict[int, int] = {}

    def put(number: int) -> None:
        has[number] = has.get(number, -1) + 1
        key, body = raw_object(number, has[number])
        storage.put(f"{source}/{key}", body)

    for number in range(20):
        put(number)
    flowlake.convert(source, lake=lake, workers=1)
    stop, told = CONTEXT.Event(), CONTEXT.Queue()
    rounds = CONTEXT.Value("i", 0)
    env = {**os.environ, "TMPDIR": str(scratch)}
    shared = (lake, stop, told, rounds, env)
    running = [
        *(CONTEXT.Process(target=convert, args=(source, *shared)) for _ in range(converters)),
        CONTEXT.Process(target=tend, args=shared),
        *(CONTEXT.Process(target=read, args=(kinds, *shared)) for kinds in readers),
    ]
    for process in running:
        process.start()
    deadline = time.monotonic() + seconds
    pause = max(0.05, seconds / 300)
    came = 0
    while time.monotonic() < deadline or rounds.value < 4:
        assert all(process.is_alive() for process in running)
        time.sleep(pause)
        came += 1
        if came % 3 == 0:
            number = came * 37 % len(has)
            if has[number] < 250:
                put(number)
        else:
            put(len(has))
    stop.set()
    seen = [told.get(timeout=900) for _ in running]
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    wrong = [each for one in seen for each in one.wrong]
    assert wrong == [], "\n".join(wrong[:3]) + f"\n{len(wrong)} in all"
    flowlake.convert(source, lake=lake, workers=1)
    snapshots = expected_snapshots(lake)
    for one in seen:
        for version, objects in one.snapshots.items():
            assert objects == snapshots[version], f"{one.who} at version {version}"
    found = by_duckdb(flowlake.open_lake(lake)).select("srcaddr", "rows", "bytes")
    assert sorted(found.rows()) == sorted(
        (address(n, v), records(n, v), records(n, v) * size(n, v)) for n, v in has.items()
    )
    assert verify(lake=lake, grace=timedelta(0)).gaps.rows() == []
    no_orphans(lake)
    assert verify(lake=lake, grace=timedelta(0), deep=50).gaps.rows() == []
    done: Counter[str] = Counter(
        versions=len(snapshots), raw=len(has), puts=sum(has.values()) + len(has)
    )
    for one in seen:
        done.update({f"{one.who}: {what}": count for what, count in one.read.items()})
        done["snapshots compared"] += len(one.snapshots)
    print(dict(done))
    return done


def test_readers_meanwhile(tmp_path: Path) -> None:
    done = meanwhile(
        str(tmp_path / "place"),
        tmp_path,
        converters=2,
        seconds=2,
        readers=[("polars", "duckdb", "one", "status", "hunt", "rejects")],
    )
    assert done["snapshots compared"]


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("converters", [2, 8])
def test_readers_of_all_kinds_meanwhile(place: str, tmp_path: Path, converters: int) -> None:
    readers = [("polars", "one"), ("duckdb", "status"), ("hunt", "rejects", "verify"), ("report",)]
    meanwhile(place, tmp_path, converters=converters, seconds=SECONDS, readers=readers)
