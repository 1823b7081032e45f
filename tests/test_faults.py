"""Faults on the way to S3: a request is made again, or its object is named and the rest is done.

Never is a row wrong, lost or there twice.
"""

import contextlib
import gzip
from collections.abc import Callable, Iterator

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import flowlake as fl
from flowlake.samples import sample_objects
from flowlake.storage import open_storage

from .conftest import forget_s3
from .faults import NETWORK, Fault, Rule, Way, faulty

OBJECTS = dict(list(sample_objects())[:12])
RAW, LISTS = "^GET /[^/]+/raw/", r"^GET /[^/]+/?\?.*prefix=raw"
ALWAYS = 1000
HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start "
    "end action log-status\n"
)


@pytest.fixture
def way(s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """The way to the server, which all of FlowLake takes; some objects are in the bucket."""
    storage = open_storage(s3)
    for key, body in OBJECTS.items():
        storage.put(f"{s3}/raw/{key}", body)
    with faulty(s3_server) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", way.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.endpoint)
        forget_s3()
        yield way


def totals(lake: str, source: str) -> pl.DataFrame:
    """What the ledger says of each object, and what is there of it."""
    relation = fl.open_lake(lake).sql(
        "SELECT o.url, o.state, o.lines, o.rows, o.rejected, count(f.object_id) AS there, "
        "sum(f.bytes) AS bytes, sum(f.packets) AS packets "
        "FROM objects o LEFT JOIN flows f USING (object_id) GROUP BY ALL"
    )
    rows: pl.DataFrame = relation.pl()
    return rows.with_columns(pl.col("url").str.strip_prefix(source)).sort("url")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The totals of the same objects on a good day."""
    place = str(tmp_path_factory.mktemp("clean"))
    storage = open_storage(place)
    for key, body in OBJECTS.items():
        storage.put(f"{place}/raw/{key}", body)
    fl.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    found = totals(f"{place}/lake", f"{place}/raw/")
    assert found.height == len(OBJECTS)
    assert (found["rows"] == found["there"]).all()
    return found


def assert_right(place: str, expected: pl.DataFrame) -> None:
    assert_frame_equal(totals(f"{place}/lake", f"{place}/raw/"), expected)
    assert fl.verify(lake=f"{place}/lake").gaps.is_empty()


ALL = (*NETWORK, Fault.TRICKLE)


def test_what_befalls_each_object_once_costs_nothing(
    way: Way, s3: str, expected: pl.DataFrame
) -> None:
    way.spoil(Rule(ALL, RAW))
    report = fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    done = way.spoil()
    assert len(done) == len(OBJECTS)
    assert {fault for _, fault in done} == set(ALL)
    assert (report.objects, report.failures, report.unreadable) == (len(OBJECTS), [], 0)
    assert_right(s3, expected)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.CUT_OFF,
        *(pytest.param(each, marks=pytest.mark.long) for each in (Fault.INTERNAL, Fault.SHORT)),
    ],
    ids=lambda fault: fault.name,
)
def test_an_object_that_never_comes_is_named_and_the_rest_is_done(
    way: Way, s3: str, expected: pl.DataFrame, fault: Fault
) -> None:
    one = list(OBJECTS)[5]
    way.spoil(Rule((fault,), f"{RAW}{one}", times=ALWAYS))
    report = fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    assert 2 < len(way.spoil()) < 20, "it is tried again, and not for ever"
    assert report.objects == len(OBJECTS) - 1
    assert [url for url, _ in report.failures] == [f"{s3}/raw/{one}"]
    assert report.unreadable == 0
    assert f"{s3}/raw/{one}" not in fl.open_lake(f"{s3}/lake").objects()["url"]
    assert fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1).objects == 1
    assert_right(s3, expected)


def test_what_befalls_a_listing_costs_nothing(way: Way, s3: str, expected: pl.DataFrame) -> None:
    way.spoil(Rule(ALL, LISTS, times=len(ALL)))
    assert fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1).objects == len(OBJECTS)
    assert [fault for _, fault in way.spoil()] == list(ALL)
    assert_right(s3, expected)


@pytest.mark.parametrize("fault", [Fault.INTERNAL, Fault.SHORT], ids=lambda fault: fault.name)
def test_a_listing_that_never_comes_is_an_error(way: Way, s3: str, fault: Fault) -> None:
    way.spoil(Rule((fault,), LISTS, times=ALWAYS))
    with pytest.raises(fl.StorageError, match=f"Cannot use {s3}/raw") as error:
        fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    assert "\n" not in str(error.value)


def test_credentials_that_expire_on_the_way_are_an_error_and_the_next_run_goes_on(
    way: Way, s3: str, expected: pl.DataFrame
) -> None:
    way.spoil(Rule((Fault.EXPIRED,), "", times=ALWAYS, skip=25))
    with pytest.raises(fl.StorageError, match="credentials have expired"):
        fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    assert way.spoil()
    fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    assert_right(s3, expected)


@pytest.mark.parametrize(
    "faults",
    [NETWORK, pytest.param(NETWORK[::-1], marks=pytest.mark.long), (Fault.UNANSWERED,)],
)
def test_what_befalls_the_lakes_own_files_once(
    way: Way, s3: str, expected: pl.DataFrame, faults: tuple[Fault, ...]
) -> None:
    """An answer to a commit that is lost looks as if another process had been faster."""
    way.spoil(Rule(faults, "^(PUT|POST) /[^/]+/lake/"))
    for _ in faults:
        with contextlib.suppress(fl.StorageError):
            fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    assert {fault for _, fault in way.spoil()} == set(faults)
    fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    assert_right(s3, expected)


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 3])
def test_an_answer_is_right_or_an_error(way: Way, s3: str, every: int) -> None:
    fl.convert(f"{s3}/raw", lake=f"{s3}/lake", workers=1)
    lake = fl.open_lake(f"{s3}/lake")
    asks: dict[str, Callable[[], pl.DataFrame]] = {
        "query": lambda: lake.query("top_talkers").pl(),
        "twin": lambda: fl.analyses.top_talkers(lake.flows()).collect(),
        "hunt": lambda: lake.hunt("10.0.0.14").pl(),
        "ledger": lake.objects,
        "opened": lambda: fl.open_lake(lake).objects(),
    }
    answers = 0
    refusals = (fl.FlowLakeError, duckdb.Error, pl.exceptions.PolarsError, OSError)
    for name, ask in asks.items():
        right = ask()
        for fault in ALL[::every]:
            way.spoil(Rule((fault,), "^GET /[^/]+/lake/"))
            with contextlib.suppress(*refusals):
                assert ask().equals(right), (name, fault)
                answers += 1
            assert way.spoil(), (name, fault)
    assert answers >= len(asks) * 4 // every, "what S3 refuses, or what is slow, is asked for again"


@pytest.mark.parametrize("objects", [500, pytest.param(2000, marks=pytest.mark.long)])
def test_many_objects_on_a_bad_day(way: Way, s3: str, objects: int) -> None:
    storage = open_storage(s3)
    record = "2 123456789012 eni-1 10.0.0.5 10.0.0.9 49152 443 6 10 {} {} {} ACCEPT OK\n"
    for n in range(objects):
        start = 1_768_428_300 + n
        lines = "".join(record.format(n, start, start + 1) for _ in range(1 + n % 5))
        storage.put(f"{s3}/many/{n:04}.log.gz", gzip.compress((HEADER + lines).encode(), 1))
    fl.convert(f"{s3}/many", lake=f"{s3}/clean", workers=1)
    way.spoil(Rule(ALL, "/many", share=0.1))
    report = fl.convert(f"{s3}/many", lake=f"{s3}/lake", workers=1)
    done = way.spoil()
    assert len(done) > 0.075 * objects
    assert {fault for _, fault in done} == set(ALL)
    assert (report.objects, report.failures, report.unreadable) == (objects, [], 0)
    assert_frame_equal(totals(f"{s3}/lake", ""), totals(f"{s3}/clean", ""))
    assert fl.verify(lake=f"{s3}/lake").gaps.is_empty()
