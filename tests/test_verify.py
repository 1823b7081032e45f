"""Verify as proof: by account, region and day; and raw objects read again, value by value."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from isal import igzip

import flowlake
from flowlake import accounting, planning, verifying
from flowlake.committing import Tables
from flowlake.converting import Progress
from flowlake.errors import StorageError, UsageError
from flowlake.fingerprints import fingerprints, merged
from flowlake.layout import object_key
from flowlake.storage import Access, delta_options, open_storage
from flowlake.verifying import Verification, verify
from tests.conftest import NOBODY, s3_client, use_key
from tests.test_cli import Run, run
from tests.test_exactly_once import DAY, HEADER, fill, put, raw_object, record
from tests.test_storage import FakeS3, fake_s3

__all__ = ["fake_s3", "run"]

A, B = "000000000001", "000000000002"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NODATA = "2 {account} eni-1 - - - - - - - {start} {start} - NODATA"


def put_object(
    place: str, account: str, region: str, slot: datetime, records: int = 5, wrong: int = 0
) -> str:
    """An object with records, one of them NODATA, and as many wrong lines as asked for."""
    start = int(slot.timestamp())
    lines = [
        f"2 {account} eni-1 10.0.0.{each} 198.51.100.7 {40_000 + each} 443 6 {each + 1} "
        f"{each * 100 + 40} {start + each} {start + 50 + each} ACCEPT OK"
        for each in range(records - 1)
    ]
    lines += [NODATA.format(account=account, start=start), *["one wrong line"] * wrong]
    body = igzip.compress("\n".join([HEADER, *lines, ""]).encode())
    return put(place, object_key(account, region, "fl-1", slot, f"{start % 9973:08x}"), body)


def put_estate(place: str) -> dict[str, str]:
    """Two accounts, two regions, two days; and an object that cannot be read."""
    urls = {
        "A west 1": put_object(place, A, "eu-west-1", NOON),
        "A west 1 too": put_object(place, A, "eu-west-1", NOON + timedelta(minutes=5), 7),
        "A west 2": put_object(place, A, "eu-west-1", NOON + timedelta(days=1), 6, wrong=2),
        "A east 1": put_object(place, A, "us-east-1", NOON),
        "B west 1": put_object(place, B, "eu-west-1", NOON, 3),
    }
    urls["broken"] = put(place, "broken.gz", b"\x1f\x8b but no gzip")
    return urls


def converted(place: str) -> str:
    flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    return f"{place}/lake"


def verified(lake: str, *sources: str, deep: Any = None, **options: Any) -> Verification:
    return verify(*sources, lake=lake, grace=timedelta(0), deep=deep, **options)


def days(found: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return found.select("account_id", "region", "date", *columns).rows()


def kinds(found: Verification) -> list[tuple[str, str]]:
    return found.gaps.select("gap", "url").rows()


@contextlib.contextmanager
def admin() -> Iterator[Any]:
    """Boto3's client of the test server."""
    with contextlib.closing(s3_client(os.environ["AWS_ENDPOINT_URL_S3"])) as client:
        yield client


def refusal(urls: str) -> str:
    """A bucket policy that lets nobody read some objects."""
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject"}
    resource = f"arn:aws:s3:::{urls.removeprefix('s3://')}"
    return json.dumps({"Version": "2012-10-17", "Statement": [{**denied, "Resource": resource}]})


def at_first(act: Callable[[], object]) -> Callable[[Progress], None]:
    """Something that happens between the listing and the first fetch."""

    def tell(done: Progress) -> None:
        if done.objects_done == 0:
            act()

    return tell


def test_a_lake_that_agrees_accounts_for_every_object(place: str) -> None:
    put_estate(place)
    found = verified(converted(place), deep="all")
    assert found.gaps.rows() == []
    assert (found.listed, found.objects, found.unreadable, found.reread) == (6, 6, 1, 5)
    first, second = NOON.date(), NOON.date() + timedelta(days=1)
    shown = ("listed", "converted", "lines", "rows", "rejected", "lake_rows")
    assert days(found.days, *shown) == [
        (A, "eu-west-1", first, 2, 2, 12, 12, 0, 12),
        (A, "eu-west-1", second, 1, 1, 8, 6, 2, 6),
        (A, "us-east-1", first, 1, 1, 5, 5, 0, 5),
        (B, "eu-west-1", first, 1, 1, 3, 3, 0, 3),
        ("unknown", "unknown", datetime.now(UTC).date(), 1, 0, 0, 0, 0, 0),
    ]
    assert found.days["unreadable"].to_list() == [0, 0, 0, 0, 1]
    none = ("skipped", "copies", "missing", "changed", "young", "expired", "difference")
    assert found.days.select(none).sum().row(0) == (0,) * len(none)
    assert found.differing_days.is_empty()


def test_the_days_say_where_something_is_missing(place: str) -> None:
    urls = put_estate(place)
    lake = converted(place)
    open_storage(place).delete([urls["A east 1"]])
    put_object(place, A, "eu-west-1", NOON, 9)
    new = put_object(place, B, "eu-west-1", NOON + timedelta(days=1))
    found = verified(lake, deep="all")
    assert kinds(found) == [("changed", urls["A west 1"]), ("not converted", new)]
    assert (found.listed, found.expired, found.young, found.reread) == (6, 1, 0, 3)
    first, second = NOON.date(), NOON.date() + timedelta(days=1)
    shown = ("listed", "converted", "missing", "changed", "expired", "lake_rows", "difference")
    assert days(found.days, *shown)[:-1] == [
        (A, "eu-west-1", first, 2, 2, 0, 1, 0, 12, 0),
        (A, "eu-west-1", second, 1, 1, 0, 0, 0, 6, 0),
        (A, "us-east-1", first, 0, 1, 0, 0, 1, 5, 0),
        (B, "eu-west-1", first, 1, 1, 0, 0, 0, 3, 0),
        (B, "eu-west-1", second, 1, 0, 1, 0, 0, 0, 0),
    ]
    assert days(found.differing_days) == [(A, "eu-west-1", first), (B, "eu-west-1", second)]

    young = verify(lake=lake)
    assert (young.gaps.rows(), young.young) == ([], 2)
    assert young.days["young"].to_list() == [1, 0, 0, 0, 1, 0]
    assert young.differing_days.is_empty()

    converted(place)  # the changed object's old rows are dead: only the live ones count
    found = verified(lake, deep="all")
    assert (found.gaps.rows(), found.expired, found.reread) == ([], 1, 5)
    assert days(found.days, "converted", "rows", "lake_rows")[0] == (
        *(A, "eu-west-1", first),
        *(2, 16, 16),
    )


def test_a_window_takes_its_own_days_only(tmp_path: Path) -> None:
    place = str(tmp_path)
    urls = put_estate(place)
    lake = converted(place)
    Path(urls["A west 1"]).unlink()
    windows: dict[str, dict[str, Any]] = {
        "since": {"since": NOON + timedelta(days=1), "account": A},
        "until": {"until": NOON + timedelta(minutes=3), "account": [A, B]},
        "region": {"region": "us-east-1"},
    }
    found = {name: verified(lake, **window) for name, window in windows.items()}
    assert days(found["since"].days, "listed", "expired") == [
        (A, "eu-west-1", NOON.date() + timedelta(days=1), 1, 0)
    ]
    assert days(found["until"].days, "listed", "expired") == [
        (A, "eu-west-1", NOON.date(), 0, 1),
        (A, "us-east-1", NOON.date(), 1, 0),
        (B, "eu-west-1", NOON.date(), 1, 0),
    ]
    assert days(found["region"].days, "listed", "expired") == [(A, "us-east-1", NOON.date(), 1, 0)]


def test_objects_of_ones_own_names_have_the_day_of_their_first_record(tmp_path: Path) -> None:
    place = str(tmp_path)
    path = Path(put(place, "flows.log", f"{HEADER}\n{record(1, DAY)}\n".encode()))
    lake = converted(place)
    path.write_text(f"{HEADER}\n{record(2, DAY)}\n{record(3, DAY)}\n")
    assert days(verified(lake).days, "listed", "changed", "rows") == [
        ("unknown", "unknown", DAY.date(), 1, 1, 1)
    ]


def test_copies_are_counted_apart(tmp_path: Path) -> None:
    place = str(tmp_path)
    put(place, *raw_object(0))
    lake = converted(place)
    put(f"{place}/copied", *raw_object(0))
    found = verified(lake, f"{place}/raw", f"{place}/copied", deep="all")
    assert (found.gaps.rows(), found.listed, found.reread) == ([], 2, 1)
    assert found.days.select("listed", "converted", "copies").rows() == [(2, 1, 1)]


def test_rows_that_are_gone_show_on_their_day(tmp_path: Path) -> None:
    place = str(tmp_path)
    urls = put_estate(place)
    lake = converted(place)
    DeltaTable(f"{lake}/flows").delete(f"account_id = '{B}' AND log_status = 'OK'")
    found = verified(lake, deep="all")
    assert kinds(found) == [
        ("rows differ", urls["B west 1"]),
        ("content differs", urls["B west 1"]),
    ]
    assert days(found.differing_days, "rows", "lake_rows", "difference") == [
        (B, "eu-west-1", NOON.date(), 3, 1, -2)
    ]
    assert found.gaps["detail"][1].startswith(
        "rows 3 in the object, 1 in the lake; bytes 180 in the object, 0 in the lake; packets 3 in"
    )


RAW = [
    f"2 {A} eni-1 10.0.0.1 198.51.100.7 40001 443 6 10 1000 1772366400 1772366410 ACCEPT OK",
    f"2 {A} eni-2 10.0.0.2 198.51.100.8 40002 443 6 20 2000 1772366401 1772366411 REJECT OK",
    f"2 {A} eni-3 - - - - - - - 1772366402 1772366412 - NODATA  ",
    f"2 {A} eni-4 10.0.0.3 198.51.100.9 40003 443 6 30 3000 1772366403 1772366413 ACCEPT OK",
]
"""An object's lines: 3 records, one NODATA."""

OTHERWISE: dict[str, tuple[str, str, str]] = {
    "a sum": (" 1000 ", " 1001 ", "bytes 6,001 in the object, 6,000 in the lake"),
    "two values of one column": (
        *("10 1000", "10 2000"),
        "bytes 7,000 in the object, 6,000 in the lake",
    ),
    "a time": (
        *("1772366403 1772366413", "1772366403 1772366414"),
        "greatest end_time 2026-03-01T12:00:14Z in the object, 2026-03-01T12:00:13Z in the lake",
    ),
    "an inner time": ("1772366401 ", "1772366402 ", "other values of start_time"),
    "a text": (
        "10.0.0.2 198.51.100.8",
        "10.0.0.4 198.51.100.6",
        "other values of dstaddr, srcaddr",
    ),
    "text of two rows": (
        *("eni-1 10.0.0.1|eni-2 10.0.0.2", "eni-2 10.0.0.1|eni-1 10.0.0.2"),
        "the same values, in other rows",
    ),
    "a value for none": ("eni-3 - ", "eni-3 1 ", "other values of srcaddr"),
    "a status": (
        *("NODATA  ", "SKIPDATA"),
        "nodata 0 in the object, 1 in the ledger; skipdata 1 in the object, 0 in the ledger; "
        "other values of log_status",
    ),
    "a line that is none": (
        *("eni-4 10.0.0.3", "eni-4/10.0.0.3"),
        "rows 3 in the object, 4 in the ledger; rejected 1 in the object, 0 in the ledger; "
        "rows 3 in the object, 4 in the lake; bytes 3,000 in the object, 6,000 in the lake; "
        "packets 30 in the object, 60 in the lake; greatest start_time 2026-03-01T12:00:02Z in the "
        "object, 2026-03-01T12:00:03Z in the lake; greatest end_time 2026-03-01T12:00:12Z in the "
        "object, 2026-03-01T12:00:13Z in the lake",
    ),
    "a header": (" action ", " axtion ", "other values of action, axtion"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_an_object_that_says_otherwise_now(tmp_path: Path, what: str) -> None:
    """Its file has the same length and time as when it was converted, so the same ETag."""
    body = "\n".join([HEADER, *RAW, ""])
    path = Path(put(str(tmp_path), "flows.log", body.encode()))
    lake = converted(str(tmp_path))
    was = path.stat()
    befores, afters, detail = OTHERWISE[what]
    for before, after in zip(befores.split("|"), afters.split("|"), strict=True):
        assert body.count(before) == 1
        body = body.replace(before, after)
    path.write_text(body)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert verified(lake).gaps.is_empty()
    assert verified(lake, deep="all").gaps.rows() == [("content differs", str(path), detail)]


def test_an_object_that_cannot_be_read_now(tmp_path: Path) -> None:
    path = Path(put(str(tmp_path), "flows.log", "\n".join([HEADER, *RAW, ""]).encode()))
    lake = converted(str(tmp_path))
    was = path.stat()
    path.write_bytes(b"\x1f\x8b" * (was.st_size // 2) + b"\0" * (was.st_size % 2))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    found = verified(lake, deep="all")
    assert kinds(found) == [("unreadable now", str(path))]
    assert "gzip" in found.gaps["detail"][0]


ALTERED = {
    "A west 1": ("packets", "packets + 1", "packets 10 in the object, 14 in the lake"),
    "A west 1 too": ("dstport", "442", "other values of dstport"),
    "A west 2": ("vpc_id", "'vpc-1'", "other values of vpc_id"),
    "A east 1": ("action", "NULL", "other values of action"),
    "B west 1": ("region", "'us-east-1'", "other values of region"),
}


def test_values_altered_in_the_lake(place: str) -> None:
    urls = put_estate(place)
    lake = converted(place)
    numbers = dict(Tables(lake).ledger().select("url", "object_id").iter_rows())
    for name, (column, value, _) in ALTERED.items():
        where = f"object_id = {numbers[urls[name]]} AND log_status = 'OK'"
        flows = DeltaTable(f"{lake}/flows", storage_options=delta_options(lake, Access()))
        assert flows.update(updates={column: value}, predicate=where)["num_updated_rows"] > 1
    assert verified(lake).gaps.is_empty(), "there are as many rows as there should be"
    found = verified(lake, deep="all")
    expected = [("content differs", urls[name], ALTERED[name][2]) for name in ALTERED]
    assert sorted(found.gaps.rows()) == sorted(expected)
    assert found.reread == 5


def test_a_field_of_tomorrow_and_lines_of_every_kind(place: str) -> None:
    fill(place, 5)
    put_object(place, A, "eu-west-1", NOON, wrong=3)
    put(place, "empty.log", f"{HEADER}\n".encode())
    put(place, "spaces.log", "\n".join([HEADER, *RAW, ""]).replace(" 443", "  443").encode())
    found = verified(converted(place), deep="all")
    assert (found.gaps.rows(), found.reread) == ([], 8)


def test_a_replaced_object_is_compared_with_its_live_rows(place: str) -> None:
    fill(place, 4)
    lake = converted(place)
    put(place, raw_object(0)[0], raw_object(0, records=9)[1])
    converted(place)
    found = verified(lake, deep="all")
    assert (found.gaps.rows(), found.objects, found.reread) == ([], 4, 4)
    assert found.days["rows"].sum() == found.days["lake_rows"].sum() == 27


def test_an_object_that_goes_while_it_is_verified_has_expired(s3: str) -> None:
    urls = put_estate(s3)
    lake = converted(s3)
    remove = at_first(lambda: open_storage(s3).delete([urls["A west 2"]]))
    found = verified(lake, deep="all", progress=remove)
    assert (found.gaps.rows(), found.listed, found.expired, found.reread) == ([], 6, 1, 4)
    assert days(found.days.filter(pl.col("expired") > 0)) == [
        (A, "eu-west-1", NOON.date() + timedelta(days=1))
    ]


def test_an_object_that_botocore_finds_gone_has_expired(fake_s3: FakeS3, tmp_path: Path) -> None:
    """It reads the names that obstore cannot spell."""
    body = "\n".join([HEADER, *RAW, ""]).encode()
    fake_s3.objects = {"raw/a//flows.log": body, "raw/flows.log": body}
    lake = str(tmp_path / "lake")
    flowlake.convert("s3://b/raw", lake=lake, workers=1)
    remove = at_first(lambda: fake_s3.objects.pop("raw/a//flows.log"))
    found = verified(lake, deep="all", progress=remove)
    assert (found.gaps.rows(), found.listed, found.expired, found.reread) == ([], 2, 1, 1)


def test_a_file_that_goes_while_it_is_verified_has_expired(tmp_path: Path) -> None:
    path = Path(put(str(tmp_path), *raw_object(0)))
    found = verified(converted(str(tmp_path)), deep="all", progress=at_first(path.unlink))
    assert (found.gaps.rows(), found.expired, found.reread) == ([], 1, 0)


def test_an_object_that_changes_while_it_is_verified(place: str) -> None:
    key, body = raw_object(0)
    url = put(place, key, body)
    lake = converted(place)
    other = raw_object(0, records=3)[1]
    found = verified(lake, deep="all", progress=at_first(lambda: put(place, key, other)))
    assert kinds(found) == [("unreadable now", url)]
    assert "changed while it was being read" in found.gaps["detail"][0]


def test_batches_that_land_while_it_looks_are_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger, which is read last, is ahead of the flows that were read before."""
    put(str(tmp_path), *raw_object(0))
    lake = converted(str(tmp_path))
    table, coming = Tables.table, [raw_object(number) for number in (1, 2, 3)]
    busy: list[bool] = []

    def landing(self: Tables, name: str) -> Any:
        if name == "objects" and coming and not busy:
            busy.append(True)
            put(str(tmp_path), *coming.pop())
            converted(str(tmp_path))
            busy.clear()
        return table(self, name)

    monkeypatch.setattr(Tables, "table", landing)
    monkeypatch.setattr(verifying, "SETTLING", 0)
    found = verified(lake)
    assert (found.gaps.rows(), found.objects, coming) == ([], 4, [])


def test_an_object_that_is_denied(s3: str) -> None:
    urls = put_estate(s3)
    lake = converted(s3)
    with admin() as client:
        client.put_bucket_policy(Bucket=s3[5:], Policy=refusal(urls["A west 2"]))
    assert verified(lake).gaps.is_empty()
    found = verified(lake, deep="all")
    assert (kinds(found), found.reread) == ([("unreadable now", urls["A west 2"])], 4)
    assert "access is denied" in found.gaps["detail"][0]


def test_a_source_that_is_denied_is_an_error(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, *raw_object(0))
    flowlake.convert(f"{s3}/raw", lake=tmp_path / "lake", workers=1)
    use_key(monkeypatch, *NOBODY)
    with pytest.raises(StorageError, match="access is denied"):
        verify(lake=tmp_path / "lake")


@pytest.mark.parametrize("where", ["footer", "object_id", "srcaddr"])
def test_a_data_file_that_was_damaged_in_its_place(tmp_path: Path, where: str) -> None:
    """It is as long as it was, and Polars does not say which of the files it cannot read."""
    urls = put_estate(str(tmp_path))
    lake = converted(str(tmp_path))
    [damaged] = flowlake.open_lake(lake).files(account=B)
    body = bytearray(Path(damaged).read_bytes())
    begin, end = len(body) - 500, len(body) - 8
    if where != "footer":
        file = pq.read_metadata(damaged)
        column = file.row_group(0).column(file.schema.names.index(where))
        begin = column.dictionary_page_offset or column.data_page_offset
        end = begin + column.total_compressed_size
    body[begin:end] = b"\xff" * (end - begin)
    Path(damaged).write_bytes(body)
    found = verified(lake, deep="all")
    url = urls["B west 1"]
    assert kinds(found)[0] == ("file damaged", damaged)
    assert kinds(found)[1:] == [
        *([] if where == "srcaddr" else [("rows differ", url)]),
        ("content differs", url),
    ]


def test_a_lake_that_cannot_be_reached_is_an_error(s3: str) -> None:
    put_estate(s3)
    lake = converted(s3)
    with admin() as client:
        client.put_bucket_policy(Bucket=s3[5:], Policy=refusal(f"{lake}/flows/date=*"))
    with pytest.raises(StorageError, match="cannot be read: access is denied"):
        verify(lake=lake)


def test_an_empty_lake(place: str) -> None:
    Tables(f"{place}/lake").create(["date"])
    found = verified(f"{place}/lake", deep="all")
    assert (found.gaps.height, found.days.height, found.objects, found.reread) == (0, 0, 0, 0)


def test_objects_that_are_no_flow_logs_are_counted(tmp_path: Path) -> None:
    place = str(tmp_path)
    put(place, *raw_object(0))
    put(place, "empty.log", f"{HEADER}\n".encode())
    lake = converted(place)
    DeltaTable(f"{lake}/objects").update(new_values={"state": "skipped"}, predicate="lines = 0")
    found = verified(lake, deep="all")
    assert (found.gaps.rows(), found.skipped, found.reread) == ([], 1, 1)
    assert found.days["skipped"].to_list() == [0, 1]


def test_a_list_names_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of objects gives such a name the ETag ""."""
    place = str(tmp_path)
    for number in range(3):
        put(place, *raw_object(number))
    converted(place)
    other = put(place, *raw_object(3))

    def list_objects(*arguments: Any, **options: Any) -> pl.DataFrame:
        gone = pl.col("url").str.contains("T1205Z|T1215Z")
        return planning.list_objects(*arguments, **options).with_columns(
            etag=pl.when(gone).then(pl.lit("")).otherwise("etag")
        )

    monkeypatch.setattr(verifying, "list_objects", list_objects)
    found = verify(f"{place}/raw", lake=f"{place}/lake", deep="all")
    assert found.gaps.rows() == [("not converted", other, "a list names it, and it is not there")]
    assert (found.listed, found.expired, found.young, found.reread) == (2, 1, 0, 2)
    assert found.days.select("listed", "converted", "missing", "expired").rows() == [(2, 3, 1, 1)]


@pytest.mark.parametrize("source", ["raw", "r*/**", "raw/t?day", "list.txt"])
def test_a_source_that_is_gone_has_expired(place: str, source: str, tmp_path: Path) -> None:
    for number in range(2):
        key, body = raw_object(number)
        put(place, f"today/{key}", body)
    lake = f"{place}/lake"
    if source == "list.txt":
        listed = pl.concat(open_storage(place).list(f"{place}/raw"))["url"]
        (tmp_path / source).write_text("\n".join(listed))
        flowlake.convert(objects_from=tmp_path / source, lake=lake, workers=1)
        (tmp_path / source).unlink()
    else:
        flowlake.convert(f"{place}/{source}", lake=lake, workers=1)
    urls = pl.concat(open_storage(place).list(f"{place}/raw"))["url"].to_list()
    open_storage(place).delete(urls)
    if not place.startswith("s3://"):
        shutil.rmtree(Path(place, "raw"))
    found = verify(lake=lake, grace=timedelta(0))
    assert (found.gaps.rows(), found.expired, found.listed) == ([], 2, 0)
    assert flowlake.open_lake(lake).flows().select(pl.len()).collect().item() == 12


def test_a_sample_is_another_each_time(tmp_path: Path) -> None:
    place = str(tmp_path)
    fill(place)
    lake = converted(place)
    assert [verified(lake, deep=number).reread for number in (3, 14, 100)] == [3, 14, 14]
    told: list[tuple[int, int, int]] = []
    verified(lake, deep=3, progress=lambda d: told.append((d.objects, d.objects_done, d.rows)))
    assert told == [(3, 0, 0), (3, 1, 6), (3, 2, 12), (3, 3, 18)]
    live = Tables(lake).view().live
    chosen = {
        url
        for _ in range(30)
        for url in verifying._chosen(live, live.drop("state"), 3)["url"].to_list()
    }
    assert len(chosen) > 7


@pytest.mark.parametrize("deep", [0, -1, "some", 2.5])
def test_a_sample_that_cannot_be(tmp_path: Path, deep: Any) -> None:
    with pytest.raises(UsageError, match="Read a number of objects again, or all"):
        verify(lake=tmp_path, deep=deep)


def test_the_command_shows_days_and_gaps(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path)
    put_estate(place)
    run("convert", "raw")
    fine = run("verify", "--grace", "0m", "--deep", "--sample", "3")
    assert (fine.code, fine.out) == (0, "")
    assert "1 unreadable, 0 skipped.\n3 objects read again.\nNo gap" in fine.err
    assert "again" not in run("verify").err
    assert "5 objects read again." in run("verify", "--deep").err

    new = put_object(place, B, "eu-west-1", NOON + timedelta(days=1))
    gap = run("verify", "--grace", "0m", "--deep", "--sample", "all")
    assert gap.code == 1
    lines = gap.out.splitlines()
    header = "account_id region date listed converted missing rows lake_rows"
    assert lines[0].split() == header.split()
    assert lines[2].split() == [B, "eu-west-1", "2026-03-02", "1", "0", "1", "0", "0"]
    assert lines[3] == ""
    assert lines[-1].split()[:3] == ["not", "converted", new]

    by_day = run("verify", "--grace", "0m", "--by-day")
    assert by_day.code == 1
    assert [line.split()[0] for line in by_day.out.splitlines()[2:]] == [A] * 3 + [B] * 2 + [
        "unknown"
    ]
    every = run("verify", "--grace", "0m", "--by-day", "--format", "json").json()
    assert [day["missing"] for day in every] == [0, 0, 0, 0, 1, 0]
    assert list(every[0]) == [*accounting.DAY, *accounting.COUNTS, "difference"]
    gaps = run("verify", "--grace", "0m", "--format", "json").json()
    assert [each["gap"] for each in gaps] == ["not converted"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sample", "3"), "add --deep"),
        (("--deep", "--sample", "some"), "a number of objects, or all, not 'some'"),
        (("--deep", "--sample", "0"), "a number of objects, or all, not '0'"),
    ],
)
def test_samples_that_cannot_be(run: Run, words: tuple[str, ...], says: str) -> None:
    done = run("verify", *words)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


ROWS = pl.DataFrame(
    {
        "object_id": [1] * 6,
        "srcport": [1, 2, 2, None, 5, 6],
        "dstport": [2, 1, 2, None, 6, 5],
        "action": ["ACCEPT", None, "REJECT", "REJECT", "-", ""],
        "bytes": [10, None, 30, 40, 50, 60],
        "start_time": [DAY + timedelta(seconds=each) for each in (5, 3, 9, 1, 7, 2)],
    }
)


def fingerprint(rows: pl.DataFrame) -> dict[str, Any]:
    return fingerprints(rows.lazy()).collect().row(0, named=True)


def test_a_fingerprint_does_not_depend_on_order_parts_or_spelling() -> None:
    whole = fingerprint(ROWS)
    assert (whole["rows"], whole["sum of bytes"]) == (6, 190)
    assert whole["greatest start_time"] - whole["least start_time"] == timedelta(seconds=8)
    same = (
        ROWS.reverse(),
        ROWS.sample(fraction=1, shuffle=True),
        pl.concat([ROWS[:2], ROWS[2:3], ROWS[3:]], rechunk=False),
        ROWS.select(reversed(ROWS.columns)),
        ROWS.with_columns(pl.col("action").cast(pl.Categorical).cast(pl.String)),
    )
    for other in same:
        assert fingerprint(other) == whole
    parts = [fingerprints(part.lazy()).collect() for part in (ROWS[:1], ROWS[1:1], ROWS[1:])]
    assert merged(parts).row(0, named=True) == whole
    streamed = fingerprints(ROWS.lazy()).collect(engine="streaming")
    assert streamed.row(0, named=True) == whole


def test_a_column_of_nulls_is_an_absent_column() -> None:
    more = fingerprint(ROWS.with_columns(vpc_id=pl.lit(None, pl.String)))
    assert more.pop("hash of vpc_id") == 0
    assert more == fingerprint(ROWS)


@pytest.mark.parametrize(
    "change",
    [
        pl.col("srcport").alias("dstport"),
        pl.col("srcport").reverse(),
        pl.col("srcport").fill_null(0),
        pl.col("action").fill_null("-"),
        pl.col("action").replace("", None),
        pl.col("action").shift(1, fill_value=""),
        pl.col("bytes").fill_null(0),
        pl.when(pl.col("bytes") == 10).then(30).otherwise("bytes").alias("bytes"),
    ],
    ids=str,
)
def test_any_other_value_is_another_fingerprint(change: pl.Expr) -> None:
    assert fingerprint(ROWS.with_columns(change)) != fingerprint(ROWS)


def test_values_that_change_places_are_another_fingerprint() -> None:
    columns = ROWS.rename({"srcport": "dstport", "dstport": "srcport"})
    rows = ROWS.with_columns(pl.col("srcport").reverse())
    for other in (columns, rows, pl.concat([ROWS, ROWS]), ROWS[:5], pl.concat([ROWS, ROWS[:1]])):
        assert fingerprint(other)["hash of whole rows"] != fingerprint(ROWS)["hash of whole rows"]
    assert fingerprint(rows)["hash of srcport"] == fingerprint(ROWS)["hash of srcport"]
