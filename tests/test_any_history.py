"""A lake with any history has what a plain model of it has: the rows of each object, once.

Objects come, change, are copied, expire and are repaired; conversions, compactions and vacuums
run, die before one of their writes, or meet another one there. A model of a few dictionaries says
what must be in the lake, and what ``verify`` and ``status`` must say of it.
"""

import contextlib
import gzip
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import deltalake
import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import flowlake
from flowlake import committing, compacting, converting, files, verifying
from flowlake.committing import SCHEMAS, Tables
from flowlake.compacting import compact
from flowlake.doors import collect
from flowlake.fields import DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT
from flowlake.files import file_urls
from flowlake.lake import Lake
from flowlake.layout import object_key
from flowlake.shapes import parquet_bytes
from flowlake.storage import open_storage
from flowlake.storage.bucket import Bucket
from flowlake.storage.folder import Folder
from flowlake.vacuuming import vacuum
from flowlake.verifying import verify

DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
ACCOUNTS = ("000000000001", "123456789012")
SOURCES = ("a", "b")
SHORT = ("srcaddr", "bytes", "packets")
NOW = timedelta(0)

EXAMPLES = {"folder": 400, "s3": 60}
"""How many histories the long test makes."""

SEEDS = st.integers(0, 10**9)
CHOICE = st.integers(0, 50)
SOME = st.sampled_from([SOURCES, SOURCES[::-1], ("a",), ("b",)])

REFUSALS = (flowlake.FlowLakeError, pl.exceptions.PolarsError, duckdb.Error, OSError)


@dataclass(frozen=True)
class Record:
    """What the lake must know of a record."""

    gateway: bool
    start: datetime | None
    account: str
    bytes: int
    packets: int
    nodata: bool


@dataclass(frozen=True, eq=False)
class Content:
    """An object's bytes and what they say. No other content has its ``address``."""

    address: str
    name: str
    body: bytes
    state: str = "converted"
    records: tuple[Record, ...] = ()
    wrong: tuple[str, ...] = ()
    field: str | None = None

    def has(self, address: str) -> bool:
        """Whether it has records of that address."""
        return self.address == address and self.records != ()

    @property
    def last_date(self) -> date:
        """The date of its last record; of its name, where there is no other."""
        named = slot_of(self.name) or datetime.now(UTC)
        starts = [record.start or named for record in self.records]
        return max(starts, default=named).date()

    @property
    def by_aws(self) -> bool:
        return "_vpcflowlogs_" in self.name


@dataclass(frozen=True)
class Version:
    """What an object is at one time: its etag tells it from others of its URL."""

    etag: str
    content: Content


def made(number: int, seed: int, name: str | None = None) -> Content:
    """The content of that number; its name too, unless an object of that name is overwritten."""
    chance = random.Random(seed)
    shape = chance.choice(["text"] * 5 + ["plain", "parquet", "messages", "gateway", "short"])
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    if name is None:
        slot = chance.choice(DAYS) + timedelta(minutes=5 * chance.randrange(288))
        account = chance.choice(ACCOUNTS)
        name = object_key(account, "eu-west-1", "fl-0abc", slot, f"{number:08x}")
        if chance.random() < 0.15:
            name = f"own/{number}.log"
    slot = slot_of(name) or chance.choice(DAYS)
    fate = chance.random()
    if fate < 0.06:
        state = "unreadable" if slot_of(name) else "skipped"  # by its name it is a flow log
        return Content(address, name, b'{"of": "another"}' * (number + 1), state)
    own = chance.choice(ACCOUNTS)
    lines, records = [], []
    for each in range(chance.randint(1, 8)):
        start = slot + timedelta(seconds=chance.choice([each, each, 90_000]))
        counted = chance.random() < 0.9
        amounts = (number * 10 + each, each + 1) if counted else ("-", "-")
        values: dict[str, Any] = {
            "version": 2,
            "account-id": own,
            "interface-id": "eni-1",
            "srcaddr": address,
            "dstaddr": f"198.51.100.{each}",
            "srcport": 1024 + each,
            "dstport": 443,
            "protocol": 6,
            "bytes": amounts[0],
            "packets": amounts[1],
            "start": int(start.timestamp()),
            "end": int(start.timestamp()) + 60,
            "action": "ACCEPT",
            "log-status": "OK" if counted else "NODATA",
            "resource-type": "TransitGateway",
            "tgw-id": "tgw-1",
        }
        lines.append(values)
        inside = start if shape != "short" else None
        account = own if shape != "short" else account_of(name)
        size, packets = (number * 10 + each, each + 1) if counted else (0, 0)
        nodata = not counted and shape != "short"
        records.append(Record(shape == "gateway", inside, account, size, packets, nodata))
    header = {"gateway": TRANSIT_GATEWAY_FORMAT, "short": SHORT}.get(shape, DEFAULT_FORMAT)
    if shape == "parquet":
        table = pl.DataFrame(
            [{key: None if line[key] == "-" else line[key] for key in header} for line in lines],
            infer_schema_length=None,
        )
        return Content(address, name, parquet_bytes(table), records=tuple(records))
    field = f"tomorrow-{chance.randrange(6)}" if shape == "text" and chance.random() < 0.3 else None
    texts = [" ".join(str(line.get(n, "-")) for n in header) for line in lines]
    texts = [f"{text} x" if field else text for text in texts]
    wrong = tuple(f"wrong {each} of {number}" for each in range(chance.choice([0, 0, 1, 3])))
    for text in wrong:
        texts.insert(chance.randint(1, len(texts)), text)
    if shape == "messages":
        body = "".join(json.dumps({"message": text}) for text in texts).encode()
    else:
        names = " ".join(header) + (f" {field}" if field else "")
        body = "\n".join([names, *texts, ""]).encode()
    if shape != "plain":
        body = gzip.compress(body, mtime=0)
    if fate > 0.92 and shape != "plain":
        return Content(address, name, body[: len(body) - 9], "unreadable")
    return Content(address, name, body, "converted", tuple(records), wrong, field)


def slot_of(name: str) -> datetime | None:
    if not name.startswith("AWSLogs"):
        return None
    return datetime.strptime(name.split("_")[4], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)


def account_of(name: str) -> str:
    return name.split("/")[1] if name.startswith("AWSLogs") else "unknown"


Sums = dict[str, tuple[int, int, int]]
"""Rows, bytes and packets of each address."""


def sums(lake: Lake, **window: Any) -> Sums:
    """By Polars, of both kinds of record."""
    both = pl.concat([lake.flows(**window), lake.transit_gateway_flows(**window)])
    found = both.group_by("srcaddr").agg(pl.len(), pl.sum("bytes", "packets")).collect()
    return {address: (rows, *more) for address, rows, *more in found.rows()}


def sums_by_sql(lake: Lake, **window: Any) -> Sums:
    """By DuckDB."""
    amounts = "count(*), coalesce(sum(bytes), 0)::BIGINT, coalesce(sum(packets), 0)::BIGINT"
    both = "(SELECT * FROM flows UNION ALL SELECT * FROM transit_gateway_flows)"
    found = collect(lake.sql(f"SELECT srcaddr, {amounts} FROM {both} GROUP BY ALL", **window))
    return {address: (rows, *more) for address, rows, *more in found.rows()}


def summed(contents: Iterator[Content], keep: Callable[[Record], bool] = lambda _: True) -> Sums:
    """By the model."""
    totals: dict[str, list[int]] = {}
    for content in contents:
        for record in filter(keep, content.records):
            has = totals.setdefault(content.address, [0, 0, 0])
            for at, amount in enumerate((1, record.bytes, record.packets)):
                has[at] += amount
    return {address: (has[0], has[1], has[2]) for address, has in totals.items()}


class Killed(BaseException):
    """Raised by the write before which a process died, and by all that it tries after."""


@contextlib.contextmanager
def before_write(number: int, happens: Callable[[], None]) -> Iterator[list[str]]:
    """Let something happen before one of the writes; the list has the writes so far.

    If it kills, nothing is written or deleted any more, as by a process that is dead.
    """
    done: list[str] = []
    state = {"dead": False, "busy": False}

    def written(name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if state["dead"]:
                raise Killed
            if not state["busy"]:
                if len(done) == number:
                    state["busy"] = True
                    try:
                        happens()
                    except Killed:
                        state["dead"] = True
                        raise
                    finally:
                        state["busy"] = False
                done.append(name)
            return write(*args, **kwargs)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            *((kind, name) for kind in (Folder, Bucket) for name in ("put", "delete")),
            (Tables, "_commit_table"),
            (Tables, "shorten_log"),
            (deltalake.table.TableAlterer, "add_columns"),
        ):
            patch.setattr(owner, name, written(name, getattr(owner, name)))
        create = staticmethod(written("create", deltalake.DeltaTable.create))
        patch.setattr(deltalake.DeltaTable, "create", create)
        yield done


def die() -> None:
    raise Killed


counted: Counter[str] = Counter()
"""What the runs of this process did: steps, rows compared, …"""


class History(RuleBasedStateMachine):
    """The lake and its model."""

    below: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.place = f"{self.below}/{uuid.uuid4().hex[:12]}"
        self.lake = f"{self.place}/lake"
        self.storage = open_storage(self.place)
        self.raw: dict[str, Version] = {}
        self.there: dict[str, Version] = {}
        """What the lake has, by URL."""
        self.may_be: dict[str, set[Version | None]] = {}
        """… and what it may have, where something was cut off."""
        self.seen: dict[tuple[str, str], Version] = {}
        self.replaced: int | None = 0
        self.opened: list[tuple[Lake, Sums]] = []
        self.numbers = 0
        self.made = self.settled = False
        counted["examples"] += 1

    @initialize()
    def places(self) -> None:
        if not self.place.startswith("s3://"):
            for source in SOURCES:
                Path(self.place, source).mkdir(parents=True)

    # --- What happens to raw objects ---

    def content(self, seed: int, name: str | None = None) -> Content:
        self.numbers += 1
        return made(self.numbers, seed, name)

    def put(self, url: str, content: Content) -> None:
        before = self.raw.get(url)
        while True:
            self.storage.put(url, content.body)
            etag = pl.concat(self.storage.list(url))["etag"][0]
            if before is None or before.etag != etag or url.startswith("s3://"):
                break
            time.sleep(0.004)  # it was put within one tick of the disk's clock
        self.raw[url] = self.seen[url, etag] = Version(etag, content)

    def one(self, choice: int, keep: Callable[[str], bool] = lambda _: True) -> str | None:
        urls = sorted(filter(keep, self.raw))
        return urls[choice % len(urls)] if urls else None

    @rule(seeds=st.lists(SEEDS, min_size=1, max_size=5), source=st.sampled_from(SOURCES))
    def add(self, seeds: list[int], source: str) -> None:
        for seed in seeds:
            content = self.content(seed)
            self.put(f"{self.place}/{source}/{content.name}", content)

    @precondition(lambda self: self.raw)
    @rule(choice=CHOICE, seed=SEEDS)
    def overwrite(self, choice: int, seed: int) -> None:
        if url := self.one(choice):
            self.put(url, self.content(seed, self.raw[url].content.name))

    @precondition(lambda self: self.raw)
    @rule(choice=CHOICE)
    def overwrite_with_the_same(self, choice: int) -> None:
        if url := self.one(choice):
            self.put(url, self.raw[url].content)

    @precondition(lambda self: any(v.content.state == "unreadable" for v in self.raw.values()))
    @rule(choice=CHOICE, seed=SEEDS)
    def repair(self, choice: int, seed: int) -> None:
        if url := self.one(choice, lambda url: self.raw[url].content.state == "unreadable"):
            content = self.content(seed, self.raw[url].content.name)
            self.put(url, content)

    @precondition(lambda self: self.raw)
    @rule(choice=CHOICE)
    def deliver_again(self, choice: int) -> None:
        """A copy in the other source, under the same name."""
        if url := self.one(choice):
            content = self.raw[url].content
            other = SOURCES[url.startswith(f"{self.place}/a/")]
            self.put(f"{self.place}/{other}/{content.name}", content)

    @precondition(lambda self: self.raw)
    @rule(choices=st.lists(CHOICE, min_size=1, max_size=4))
    def expire_objects(self, choices: list[int]) -> None:
        for choice in choices:
            if url := self.one(choice):
                self.storage.delete([url])
                del self.raw[url]

    # --- What is done to the lake ---

    def listed(self, sources: tuple[str, ...], **window: Any) -> list[str]:
        """The URLs of the sources that the window wants, in the order of the listing."""
        return [
            url
            for source in sources
            for url in sorted(self.raw)
            if url.startswith(f"{self.place}/{source}/")
            and inside(self.raw[url].content.name, **window)
        ]

    def plan(self, listed: list[str], *, retry: bool = False) -> list[str]:
        """Those that are to be converted."""
        has = {named(version) for version in self.there.values()}
        new: list[str] = []
        seen: set[tuple[str, int]] = set()
        for url in listed:
            version, old = self.raw[url], self.there.get(url)
            again = retry and old is not None and old.content.state in ("unreadable", "skipped")
            if old is not None and old.etag == version.etag and not again:
                continue
            if version.content.by_aws and (old is None or not old.content.records):
                holding = {
                    named(other)
                    for place, other in self.there.items()
                    if place != url and other.content.records
                }
                if named(version) in seen | (has if old is None else holding):
                    continue
                seen.add(named(version))
            new.append(url)
        return new

    def convert(self, sources: tuple[str, ...], **more: Any) -> converting.Report:
        places = [f"{self.place}/{source}" for source in sources]
        return flowlake.convert(*places, lake=self.lake, workers=1, commit_seconds=0, **more)

    @rule(sources=SOME, data=st.data(), retry=st.sampled_from([False, False, True]))
    def conversion(self, sources: tuple[str, ...], data: st.DataObject, retry: bool) -> None:
        window: dict[str, Any] = {}
        if data.draw(st.integers(0, 2)) == 0:
            window = data.draw(windows())
        self.settle()
        new = self.plan(self.listed(sources, **window), retry=retry)
        report = self.convert(sources, retry=retry, **window)
        contents = [self.raw[url].content for url in new]
        assert report.failures == []
        assert report.new == report.objects == len(new)
        assert report.replaced == sum(url in self.there for url in new)
        assert report.rows == sum(len(content.records) for content in contents)
        assert report.rejected == sum(len(content.wrong) for content in contents)
        assert {url for url, _ in report.unreadables} == {
            url for url in new if self.raw[url].content.state == "unreadable"
        }
        if self.replaced is not None:
            self.replaced += report.replaced
        self.landed(new)
        counted["conversions"] += 1

    def landed(self, new: list[str]) -> None:
        self.there.update((url, self.raw[url]) for url in new)
        self.made = self.made or bool(new) or self.exists()

    def exists(self) -> bool:
        return Tables(self.lake).exist()

    @precondition(lambda self: self.made)
    @rule()
    def compaction(self) -> None:
        done = compact(self.lake, commit_seconds=0)
        assert (done.failures, done.overtaken) == ([], 0)
        self.settled = True
        counted["compactions"] += 1
        counted["files merged"] += done.files

    @precondition(lambda self: self.made)
    @rule()
    def vacuuming(self) -> None:
        vacuum(self.lake, retention=NOW, no_writers=True)
        self.settled = True
        assert self.orphans() == set()
        self.opened = []  # what they had planned to read may be gone
        counted["vacuums"] += 1

    def orphans(self) -> set[str]:
        """The Parquet files that no log names."""
        tables = Tables(self.lake)
        lie: set[str] = set()
        live: set[str] = set()
        for name in ("flows", *SCHEMAS):
            lie |= set(pl.concat(tables.storage.list(tables.table_url(name)))["url"])
            live |= {url.removeprefix("file://") for url in file_urls(tables.table(name))}
        data = {url for url in lie if "/_delta_log/" not in url}
        assert live <= data
        return data - live

    @precondition(lambda self: self.made)
    @rule(first_kept=st.sampled_from(DAYS[1:]))
    def expire_records(self, first_kept: datetime) -> None:
        self.settle()
        gone = {
            url: Version(old.etag, replace(old.content, state="removed", records=(), wrong=()))
            for url, old in self.there.items()
            if old.content.state != "removed" and old.content.last_date < first_kept.date()
        }
        done = flowlake.expire(self.lake, older_than=first_kept)
        assert done["objects"].sum() == len(gone)
        assert done["rows"].sum() == sum(len(self.there[url].content.records) for url in gone)
        self.there.update(gone)
        counted["objects expired"] += len(gone)

    # --- What cuts it off, and what comes between ---

    def uncertain(self, new: list[str]) -> None:
        """Each of these may be in the lake as it is now, or as it was."""
        for url in new:
            was = self.may_be.get(url, {self.there.get(url)})
            self.may_be[url] = was | {self.raw[url]}
        self.replaced = None
        self.made, self.settled = self.exists(), False

    def settle(self) -> None:
        """Learn what has become of what was cut off, once its commit is finished."""
        if self.made and not self.settled:
            Tables(self.lake).head()
            self.settled = True
        if not (self.may_be and self.made):
            return
        ledger = Tables(self.lake).head().live
        has = dict(ledger.select("url", "etag").iter_rows())
        for url, versions in self.may_be.items():
            was = self.there.get(url)
            version = self.seen[url, has[url]] if url in has else None
            if was is not None and url in has and was.etag == has[url]:
                version = was
            assert version in versions, url
            if version is not None:
                self.there[url] = version
        self.may_be = {}

    @rule(sources=SOME, number=st.integers(0, 30), retry=st.booleans())
    def conversion_killed(self, sources: tuple[str, ...], number: int, retry: bool) -> None:
        self.settle()
        new = self.plan(self.listed(sources), retry=retry)
        with before_write(number, die):
            try:
                self.convert(sources, retry=retry)
            except Killed:
                counted["crashes"] += 1
        self.uncertain(new)

    @precondition(lambda self: self.made)
    @rule(number=st.integers(0, 8), what=st.sampled_from(["compact", "vacuum"]))
    def maintenance_killed(self, number: int, what: str) -> None:
        with before_write(number, die):
            try:
                if what == "compact":
                    compact(self.lake, commit_seconds=0)
                else:
                    self.opened = []
                    vacuum(self.lake, retention=NOW, no_writers=True)
            except Killed:
                counted["crashes"] += 1

    @precondition(lambda self: self.made)
    @rule(
        first=st.sampled_from(["convert", "compact"]),
        second=st.sampled_from(["convert", "compact", "overwrite", "expire"]),
        number=st.integers(0, 20),
        data=st.data(),
    )
    def one_comes_between(self, first: str, second: str, number: int, data: st.DataObject) -> None:
        """Before one of its writes another does all its work."""
        self.settle()
        new = self.plan(self.listed(SOURCES))
        failures: list[tuple[str, str]] = []

        def run(what: str) -> None:
            if what == "convert":
                failures.extend(self.convert(SOURCES).failures)
            elif what == "compact":
                assert compact(self.lake, commit_seconds=0).failures == []
            elif what == "overwrite":
                self.uncertain(new)
                self.overwrite(data.draw(CHOICE), data.draw(SEEDS))
            else:
                self.expire_objects([data.draw(CHOICE)])

        self.uncertain(new)
        with before_write(number, lambda: run(second)) as writes:
            run(first)
        if len(writes) > number:
            counted["met"] += 1
        self.uncertain([url for url in new if url in self.raw])
        converted = first == "convert" or (second == "convert" and len(writes) > number)
        if converted and second not in ("overwrite", "expire"):
            assert failures == []
            self.may_be = {url: {self.raw[url]} for url in new}
        self.settle()

    # --- What is read ---

    @precondition(lambda self: self.made)
    @rule()
    def open(self) -> None:
        lake = flowlake.open_lake(self.lake)
        self.opened = [*self.opened[-2:], (lake, sums(lake))]

    @precondition(lambda self: self.opened)
    @rule(choice=CHOICE, by=st.sampled_from([sums, sums_by_sql]))
    def read_what_was_opened_before(self, choice: int, by: Callable[[Lake], Sums]) -> None:
        lake, expected = self.opened[choice % len(self.opened)]
        assert by(lake) == expected
        counted["old handles read"] += 1

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def ask_of_a_window(self, data: st.DataObject) -> None:
        self.settle()
        window = data.draw(windows())
        since, until, account = (window.get(name) for name in ("since", "until", "account"))

        def keep(record: Record) -> bool:
            if account and record.account not in account:
                return False
            if not since and not until:
                return True
            return record.start is not None and (
                (not since or record.start >= since) and (not until or record.start < until)
            )

        expected = summed((version.content for version in self.there.values()), keep)
        lake = flowlake.open_lake(self.lake)
        assert sums(lake, **window) == expected
        assert sums_by_sql(lake, **window) == expected
        counted["rows compared"] += 2 * sum(rows for rows, *_ in expected.values())
        if expected:
            address = sorted(expected)[data.draw(CHOICE) % len(expected)]
            content = next(v.content for v in self.there.values() if v.content.has(address))
            if not any(record.gateway for record in content.records):
                found = collect(lake.hunt(address, top=None, **window))
                assert found.height == expected[address][0]

    @invariant()
    def has_the_rows(self) -> None:
        counted["steps"] += 1
        if not self.made:
            return
        found = sums(flowlake.open_lake(self.lake))
        if not self.may_be:
            expected = summed(version.content for version in self.there.values())
            assert found == expected
            counted["rows compared"] += sum(rows for rows, *_ in expected.values())
            return
        contents: dict[str, Content] = {v.content.address: v.content for v in self.seen.values()}
        for address, (rows, *_) in found.items():
            whole = summed(iter([contents[address]]))[address]
            times = rows // whole[0]
            assert found[address] == tuple(times * each for each in whole), "an object in part"
            least = most = 0
            for url in {*self.there, *self.may_be}:
                can_be = self.may_be.get(url, {self.there.get(url)})
                is_it = [v is not None and v.content.has(address) for v in can_be]
                least, most = least + all(is_it), most + any(is_it)
            assert least <= times <= most

    @precondition(lambda self: self.made)
    @rule()
    def look_at_everything(self) -> None:
        self.settle()
        lake = flowlake.open_lake(self.lake)
        contents = [version.content for version in self.there.values()]
        assert sums_by_sql(lake) == summed(iter(contents))
        counted["rows compared"] += sum(len(content.records) for content in contents)
        self.compare_ledger(lake)
        self.compare_status(lake)
        self.compare_verification()

    def compare_ledger(self, lake: Lake) -> None:
        live = Tables(self.lake).view().live
        columns = ("url", "etag", "state", "lines", "rows", "rejected")
        assert sorted(live.select(columns).rows()) == sorted(
            (url, version.etag, state, rows + rejects, rows, rejects)
            for url, version in self.there.items()
            for state in [version.content.state]
            for rows, rejects in [(len(version.content.records), len(version.content.wrong))]
        )
        per_object = pl.concat([lake.flows(), lake.transit_gateway_flows()])
        rows = dict(per_object.group_by("object_id").agg(pl.len()).collect().iter_rows())
        said = dict(live.filter(pl.col("rows") > 0).select("object_id", "rows").iter_rows())
        assert rows == said
        expected: Counter[tuple[str, str | None]] = Counter()
        for url, version in self.there.items():
            expected.update((url, text) for text in version.content.wrong)
            if version.content.state == "unreadable":
                expected[url, None] += 1
        assert Counter(lake.rejects().select("url", "text").iter_rows()) == expected

    def compare_status(self, lake: Lake) -> None:
        status = lake.status()
        contents = [version.content for version in self.there.values()]
        records = [record for content in contents for record in content.records]
        assert status.rows == len(records)
        assert status.transit_gateway_rows == sum(record.gateway for record in records)
        assert status.rejected == sum(len(content.wrong) for content in contents)
        assert status.lines == status.rows + status.rejected
        assert status.nodata == sum(record.nodata for record in records)
        assert status.objects == len(contents)
        assert status.objects_bytes == sum(len(content.body) for content in contents)
        assert status.unreadable == sum(c.state == "unreadable" for c in contents)
        assert status.skipped == sum(c.state == "skipped" for c in contents)
        assert self.replaced is None or status.replaced == self.replaced
        fields = {content.field.replace("-", "_") for content in contents if content.field}
        assert fields <= set(status.unknown_fields)

    def compare_verification(self) -> None:
        listed = self.listed(SOURCES)
        new = self.plan(listed)
        expected = {(("changed" if url in self.there else "not converted"), url) for url in new}
        names = {named(self.raw[url]) for url in listed if self.raw[url].content.by_aws}
        expired = [
            url
            for url, version in self.there.items()
            if url not in self.raw and not (version.content.by_aws and named(version) in names)
        ]
        places = [f"{self.place}/{source}" for source in SOURCES]
        found = verify(*places, lake=self.lake, grace=NOW)
        gaps = {(gap, url) for gap, url in found.gaps.select("gap", "url").iter_rows()}
        assert {each for each in gaps if each[0] != "nothing there"} == expected
        assert (found.listed, found.objects) == (len(listed), len(self.there))
        assert found.expired == len(expired)
        assert found.rows == sum(len(version.content.records) for version in self.there.values())
        if self.numbers % 3 == 0:
            deep = verify(*places, lake=self.lake, grace=NOW, deep="all")
            assert deep.gaps.equals(found.gaps)
            counted["objects read again"] += deep.reread or 0
        counted["verifications"] += 1

    def teardown(self) -> None:
        """In the end everything is converted, and nothing else is left."""
        self.settle()
        report = self.convert(SOURCES)
        assert report.failures == []
        self.settled = True
        self.may_be = {}
        new = self.plan(self.listed(SOURCES))
        if self.replaced is not None:
            self.replaced += sum(url in self.there for url in new)
        self.landed(new)
        if not self.made:
            return
        self.look_at_everything()
        compact(self.lake)
        vacuum(self.lake, retention=NOW, no_writers=True)
        assert self.orphans() == set()
        self.has_the_rows()
        self.look_at_everything()


def named(version: Version) -> tuple[str, int]:
    return version.content.name.rpartition("/")[2], len(version.content.body)


def inside(name: str, **window: Any) -> bool:
    stamp = slot_of(name) or datetime.now(UTC)
    since, until, account = (window.get(key) for key in ("since", "until", "account"))
    return (
        (since is None or stamp >= since)
        and (until is None or stamp < until)
        and (account is None or account_of(name) in account)
    )


def windows() -> st.SearchStrategy[dict[str, Any]]:
    moments: st.SearchStrategy[Any] = st.sampled_from(
        [day + timedelta(hours=h) for day in DAYS for h in (0, 7, 23)]
    )
    return st.fixed_dictionaries(
        {},
        optional={"since": moments, "until": moments, "account": st.sampled_from(ACCOUNTS)},
    ).filter(lambda w: not ("since" in w and "until" in w) or w["since"] < w["until"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several batches a conversion, several levels of merged files, checkpoints now and then."""
    monkeypatch.setattr(converting, "TASK_OBJECTS", 2)
    monkeypatch.setattr(files, "READ_ROWS", 7)
    monkeypatch.setattr(verifying, "SETTLING", 0)
    monkeypatch.setitem(committing.CONFIGURATION, "delta.checkpointInterval", "5")
    for name, rows in (("flows", 40), ("rejects", 12), ("objects", 12)):
        monkeypatch.setitem(compacting.TARGET_ROWS, name, rows)


def live(place: str, examples: int, steps: int, **more: Any) -> None:
    class Here(History):
        below = place

    counted.clear()
    try:
        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                **more,
            ),
        )
    finally:
        print(dict(counted))


def test_any_history(tmp_path: Path, small: None) -> None:
    live(str(tmp_path), 6, 14, derandomize=True)
    assert counted["conversions"]
    assert counted["rows compared"]


@pytest.mark.long
def test_many_histories(place: str, small: None) -> None:
    live(place, EXAMPLES["s3" if place.startswith("s3://") else "folder"], 25)
