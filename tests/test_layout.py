"""The grammar of names: AWS's keys in, the lake's folders out, where a listing may turn back."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlake.layout import (
    FILE_NAME,
    PARTITION_VALUE,
    UNKNOWN,
    ObjectName,
    hive_key,
    may_hold,
    object_key,
    parse_key,
    partition_path,
)
from flowlake.window import Window

ACCOUNT, REGION = "123456789010", "us-east-1"
SLOT = datetime(2026, 1, 14, 22, 5, tzinfo=UTC)
NAME = f"{ACCOUNT}_vpcflowlogs_{REGION}_fl-1234abcd_20260114T2205Z_fe123456.log.gz"
SAID = ObjectName(ACCOUNT, REGION, "fl-1234abcd", SLOT)

PLAIN = f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}/2026/01/14/"
HIVE = (
    f"AWSLogs/aws-account-id={ACCOUNT}/aws-service=vpcflowlogs/aws-region={REGION}/"
    "year=2026/month=01/day=14/"
)
LAYOUTS = {
    "default": PLAIN,
    "per hour": f"{PLAIN}22/",
    "hive": HIVE,
    "hive per hour": f"{HIVE}hour=22/",
    "hive of an older page": HIVE.replace("aws-service=", "service="),
    "hive, organization": HIVE.replace("AWSLogs/", "AWSLogs/o-a1b2c3d4e5/"),
    "organization": f"AWSLogs/o-a1b2c3d4e5/{ACCOUNT}/vpcflowlogs/{REGION}/2026/01/14/",
    "prefix": f"team a/logs=1/{PLAIN}",
    "prefix that looks alike": f"AWSLogs/{PLAIN}",
    "prefix with a year": f"2019/01/{HIVE}",
}
each_layout = pytest.mark.parametrize("folder", LAYOUTS.values(), ids=LAYOUTS)


def ancestors(folder: str, root: str = "s3://bucket") -> list[str]:
    """Every folder a listing asks about on its way down."""
    parts = folder.rstrip("/").split("/")
    return [f"{root}/{'/'.join(parts[:n])}/" for n in range(1, len(parts) + 1)]


@each_layout
def test_a_file_name_speaks_in_every_layout(folder: str) -> None:
    for place in ("s3://bucket/", "/data/", ""):
        assert parse_key(place + folder + NAME) == SAID


@pytest.mark.parametrize(
    "name",
    [
        *(NAME.replace(".log.gz", end) for end in (".log", ".log.parquet", "", ".log.gz.1")),
        NAME.replace(REGION, "us-gov-west-1"),
        NAME.replace("fl-1234abcd", "fl-0123456789abcdef0"),
        f"copy-of-{NAME}",
    ],
)
def test_names_that_speak(name: str) -> None:
    assert parse_key(name).slot == SLOT
    assert parse_key(name).account_id == ACCOUNT


@pytest.mark.parametrize(
    "name",
    [
        *("flows.log.gz", "", NAME + "/", NAME + "/part", NAME.replace("_fe123456.log.gz", "_")),
        NAME.replace(ACCOUNT, "12345678901"),
        NAME.replace(ACCOUNT, "9" + ACCOUNT),
        NAME.replace("vpcflowlogs", "CloudTrail"),
        NAME.replace("20260114", "20260230"),
        NAME.replace("T2205Z", "T2260Z"),
        NAME.replace("T2205Z", "T2205"),
    ],
)
def test_names_that_say_nothing(name: str) -> None:
    assert parse_key(f"s3://bucket/{PLAIN}{name}") == ObjectName()


def test_polars_reads_names_like_python() -> None:
    said = pl.Series([NAME, "flows.log.gz"]).str.extract_groups(FILE_NAME.pattern).struct.unnest()
    assert said.row(0) == (ACCOUNT, REGION, "fl-1234abcd", "20260114T2205")
    assert said.row(1) == (None,) * 4


slots = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)).map(
    lambda slot: slot.replace(second=0, microsecond=0)
)
accounts = st.from_regex(r"[0-9]{12}", fullmatch=True)
regions = st.sampled_from(["us-east-1", "eu-west-1", "ap-southeast-4", "us-gov-west-1"])


@given(
    accounts,
    regions,
    st.from_regex(r"fl-[0-9a-f]{8,17}", fullmatch=True),
    slots,
    st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    st.sampled_from(["", "logs/", "a/b=c/ü/"]),
)
def test_a_key_survives_being_read(
    account: str, region: str, flow_log: str, slot: datetime, digest: str, prefix: str
) -> None:
    key = object_key(account, region, flow_log, slot, digest, prefix=prefix)
    assert key.startswith(f"{prefix}AWSLogs/")
    assert parse_key(key) == ObjectName(account, region, flow_log, slot)
    assert f"/{slot:%Y/%m/%d}/" in key


def test_the_key_aws_gives() -> None:
    assert object_key(ACCOUNT, REGION, "fl-1234abcd", SLOT, "fe123456") == PLAIN + NAME


@given(
    slot=slots,
    account=accounts,
    region=regions,
    hive=st.booleans(),
    per_hour=st.booleans(),
    organization=st.booleans(),
    prefix=st.sampled_from(["", "logs/", "AWSLogs/", "2019/01/01/", "year=2019/", "ü b/"]),
    before=st.none() | st.integers(0, 10**9),
    after=st.none() | st.integers(1, 10**9),
    name_account=st.booleans(),
    name_region=st.booleans(),
)
def test_what_the_window_wants_is_never_pruned(
    slot: datetime,
    account: str,
    region: str,
    hive: bool,
    per_hour: bool,
    organization: bool,
    prefix: str,
    before: int | None,
    after: int | None,
    name_account: bool,
    name_region: bool,
) -> None:
    parts = [account, "vpcflowlogs", region, f"{slot:%Y}", f"{slot:%m}", f"{slot:%d}"]
    if per_hour:
        parts.append(f"{slot:%H}")
    if hive:
        keys = ("aws-account-id", "aws-service", "aws-region", "year", "month", "day", "hour")
        parts = [f"{key}={part}" for key, part in zip(keys, parts, strict=False)]
    folder = f"{prefix}AWSLogs/{'o-a1b2c3d4e5/' if organization else ''}{'/'.join(parts)}/"
    wanted = Window(
        None if before is None else slot - timedelta(seconds=before),
        None if after is None else slot + timedelta(seconds=after),
        ("999999999999", account) if name_account else (),
        (region,) if name_region else (),
    )
    for each in [*ancestors(folder), *ancestors(folder, "/data")]:
        assert may_hold(each, wanted), each


@each_layout
@pytest.mark.parametrize(
    ("wanted", "pruned_at"),
    [
        (Window(accounts=("999999999999",)), ACCOUNT),
        (Window(regions=("eu-west-1",)), REGION),
        (Window(since=datetime(2027, 1, 1, tzinfo=UTC)), "2026"),
        (Window(until=datetime(2025, 12, 31, 23, 59, tzinfo=UTC)), "2026"),
        (Window(since=datetime(2026, 2, 1, tzinfo=UTC)), "01"),
        (Window(since=datetime(2026, 1, 15, tzinfo=UTC)), "14"),
        (Window(until=datetime(2026, 1, 13, 23, 59, tzinfo=UTC)), "14"),
    ],
    ids=["account", "region", "later year", "earlier year", "later month", "later day", "earlier"],
)
def test_a_listing_turns_back_as_soon_as_it_can(
    folder: str, wanted: Window, pruned_at: str
) -> None:
    refused = [each for each in ancestors(folder) if not may_hold(each, wanted)]
    assert refused
    part = refused[0].rstrip("/").rpartition("/")[2]
    assert part.rpartition("=")[2] == pruned_at
    begun = ancestors(folder).index(refused[0])
    assert refused == ancestors(folder)[begun:]


@pytest.mark.parametrize(
    "folder",
    [
        "s3://bucket/",
        "s3://bucket/AWSLogs/",
        "s3://bucket/AWSLogs/o-a1b2c3d4e5/",
        "s3://bucket/my copies/2019/01/01/",
        f"s3://bucket/myAWSLogs/{ACCOUNT}/",
        "s3://bucket/AWSLogs/000000000000/vpcflowlogs/2019/01/01/",
        "s3://bucket/awslogs/999999999999/",
        "/data/",
    ],
)
def test_a_folder_that_is_not_awss_own_may_hold_anything(folder: str) -> None:
    assert may_hold(folder, Window(SLOT, SLOT + timedelta(days=1), ("000000000000",), ("x",)))


@pytest.mark.parametrize("prefix", ["", "team a/", "s3://bucket/"])
def test_hive_keys(prefix: str) -> None:
    plain = object_key(ACCOUNT, REGION, "fl-1234abcd", SLOT, "fe123456", prefix=prefix)
    assert hive_key(plain) == f"{prefix}{HIVE}hour=22/{NAME}"


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"date": date(2026, 1, 14)}, "date=2026-01-14"),
        (
            {"date": "2026-01-14", "region": REGION, "account_id": "000123456789"},
            f"date=2026-01-14/region={REGION}/account_id=000123456789",
        ),
        ({"region": "a/b c=d"}, "region=a%2Fb%20c%3Dd"),
    ],
)
def test_partition_paths(values: dict[str, str | date], path: str) -> None:
    assert partition_path(values) == path


def test_what_may_be_a_folder_of_the_lake() -> None:
    for good in (UNKNOWN, REGION, ACCOUNT, "a" * 64):
        assert PARTITION_VALUE.fullmatch(good)
    for bad in ("", ".", "..", ".hidden", "a/b", "-", "a b", "ü", "a" * 65, "x\n", "__NULL__"):
        assert not PARTITION_VALUE.fullmatch(bad)
