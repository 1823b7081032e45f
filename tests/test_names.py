"""Whatever an object is called, it is converted once, shown as it is, and the others with it."""

import contextlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote_plus

import polars as pl
import pytest
from botocore.exceptions import ClientError
from s3transfer.utils import OSUtils
from typer.testing import CliRunner

import flowlake as fl
from flowlake.cli import app
from flowlake.errors import visible
from tests.conftest import s3_client

RECORD = "2 123456789012 eni-{} 10.0.0.5 10.0.0.9 1 443 6 10 840 1768428000 1768428060 ACCEPT OK\n"
RUNNER = CliRunner()

NAMES = [
    *("a b", " ", "trailing ", "é", unicodedata.normalize("NFD", "é"), "日本", "😀", "\u202egol"),
    *("x..", "x.log.gz.", "-", "--help", "~", "a=b", "date=2026-01-01", "a:b", "s3:", "a,b"),
    *(
        "%41",
        "A",
        "%2F",
        "%2e%2e",
        "100%",
        "+",
        "a+b",
        "a%20b",
        "?",
        "?versionId=1",
        "#",
        "*",
        "[x]",
    ),
    *(
        "\\",
        "\\x41",
        "'",
        '"',
        "''",
        ";",
        "$HOME",
        "`id`",
        "{a}",
        "<b>",
        "&amp;",
        "|",
        "NUL",
        "NULL",
    ),
    *(
        "new\nline",
        "tab\t",
        "return\r",
        "\x1b]0;title\x07\x1b[31m",
        "\x01",
        "\x7f",
        "\x85",
        "\u2028",
    ),
    *("x" * 250, "é" * 120, "_delta_log", "a.tmp", "a.crc"),
]
DEEP = ["%2e%2e%2f/a", "e=f/c=d/e", "sp ace/é/x", "dir.log.gz/in.log", "/".join(["long" * 30] * 7)]
ONLY_IN_S3 = [
    "..x",
    ".hidden",
    "a.log.gz.Cab1deF9",
    "/lead",
    "//two",
    "in//side",
    "in/../up",
    "in/./here",
    "x" * 1010,
]
"""Keys that no path can be, and names that a file has while it is written."""


@pytest.fixture
def puts(place: str) -> Iterator[Callable[[str, str], None]]:
    """Writes a text under a key as it is, below ``raw``; S3's by boto3, which changes none."""
    if not place.startswith("s3://"):

        def write(key: str, text: str) -> None:
            path = Path(place, "raw", key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

        yield write
        return
    client = s3_client(os.environ["AWS_ENDPOINT_URL_S3"])
    bucket = place.removeprefix("s3://")

    def put(key: str, text: str) -> None:
        with contextlib.suppress(ClientError):  # this server takes not all that AWS's does
            client.put_object(Bucket=bucket, Key=f"raw/{key}", Body=text.encode())

    yield put
    client.close()


def there(place: str) -> list[str]:
    """Every key below ``raw``, by other means than FlowLake's."""
    if not place.startswith("s3://"):
        raw = Path(place, "raw")
        return sorted(str(p.relative_to(raw)) for p in raw.rglob("*") if p.is_file())
    client = s3_client(os.environ["AWS_ENDPOINT_URL_S3"])
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=place[5:], Prefix="raw/")
    keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
    client.close()
    return sorted(key.removeprefix("raw/") for key in keys if key != "raw/")


def test_any_name_is_converted_once_and_shown(
    place: str, puts: Callable[[str, str], None], tmp_path: Path
) -> None:
    keys = [*NAMES, *DEEP, *(ONLY_IN_S3 if place.startswith("s3://") else [])]
    for number, key in enumerate(keys):
        puts(key, RECORD.format(number) + "wrong\n")
    held = there(place)
    lake = f"{place}/lake"
    first = fl.convert(f"{place}/raw", lake=lake, workers=1)
    assert (first.failures, first.unreadables, first.skipped) == ([], [], [])
    assert (first.objects, first.rows, first.rejected) == (len(held), len(held), len(held))
    assert fl.convert(f"{place}/raw", lake=lake, workers=1).objects == 0
    found = fl.open_lake(lake)
    urls = dict(found.objects().select("url", "object_id").iter_rows())
    assert sorted(urls) == sorted(f"{place}/raw/{key}" for key in held)
    if not place.startswith("s3://"):
        assert held == sorted(keys)
    assert found.status().objects == len(held)
    verified = fl.verify(f"{place}/raw", lake=lake, deep="all", grace=timedelta(0))
    assert verified.gaps.is_empty(), verified.gaps
    assert verified.reread == len(held)
    for url in (each for each in urls if "title" in each or each.endswith("/raw/%41")):
        asked = found.sql(f"SELECT interface_id FROM flows WHERE object_id = {urls[url]}")
        number = keys.index(url.removeprefix(f"{place}/raw/"))
        assert asked.fetchall() == [(f"eni-{number}",)]
    assert fl.inspect(f"{place}/raw/%41").rows == 1


def test_a_list_may_name_them(place: str, puts: Callable[[str, str], None], tmp_path: Path) -> None:
    keys = [
        "a b",
        "é",
        "%41",
        "A",
        "+",
        "?x",
        "#",
        "*",
        "[x]",
        "'\"",
        "new\nline",
        "\x1b[31m",
    ]
    for number, key in enumerate(keys):
        puts(key, RECORD.format(number))
    urls = {f"{place}/raw/{key}" for key in keys}
    lines = tmp_path / "lines"
    lines.write_text("\n".join(url for url in urls if "\n" not in url))
    lists = {lines: len(keys) - 1}
    if place.startswith("s3://"):
        bucket, quoted = place[5:], [quote_plus(f"raw/{key}", safe="/") for key in keys]
        inventory = tmp_path / "inventory.csv"
        inventory.write_text("".join(f'"{bucket}","{key}"\n' for key in quoted))
        events = tmp_path / "events.json"
        records = [{"s3": {"bucket": {"name": bucket}, "object": {"key": key}}} for key in quoted]
        events.write_text(json.dumps({"Records": records}))
        lists |= {inventory: len(keys), events: len(keys)}
    for number, (file, count) in enumerate(lists.items()):
        lake = f"{place}/lake{number}"
        report = fl.convert(objects_from=file, lake=lake, workers=1)
        assert report.failures == []
        found = {*fl.open_lake(lake).objects()["url"]}
        assert found <= urls
        assert len(found) == report.rows == count, urls - found


def test_a_file_that_is_being_copied_is_converted_once_it_has_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "flowlake")
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    raw.mkdir()
    text = RECORD.format(1)
    by_aws = Path(OSUtils().get_temp_filename(str(raw / "a.log.gz")))
    by_rsync, by_flowlake = raw / ".b.log.gz.x8Qz0p", raw / ".c.log.gz.0a1b.tmp"
    coming = {by_aws: "a.log.gz", by_rsync: "b.log.gz", by_flowlake: "c.log.gz"}
    for file in coming:
        file.write_text(text)
    pattern = f"{raw}/*"
    for source in (raw, pattern):
        caplog.clear()
        assert fl.convert(source, lake=lake, workers=1).listed == 0
        assert "3 hidden or unfinished files left out" in caplog.text
    for file, name in coming.items():
        file.rename(raw / name)
    assert fl.convert(raw, lake=lake, workers=1).rows == 3
    assert fl.convert(pattern, lake=lake, workers=1).rows == 0
    (raw / ".named").write_text(text)
    assert fl.convert(raw / ".named", lake=lake, workers=1).rows == 1


def test_what_is_no_file_does_not_stop_a_folder(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "dir.log.gz").mkdir(parents=True)
    for number, name in enumerate(["a.log", "dir.log.gz/b.log"]):
        (raw / name).write_text(RECORD.format(number))
    Path(os.fsdecode(os.fsencode(raw) + b"/caf\xe9.log")).write_text(RECORD.format(3))
    os.mkfifo(raw / "pipe.log")
    for name, target in {
        "loop": "loop",
        "zero.log": "/dev/zero",
        "gone.log": "x",
        "up": "..",
    }.items():
        (raw / name).symlink_to(target)
    report = fl.convert(raw, lake=tmp_path / "lake", workers=1)
    assert (report.rows, len(report.failures)) == (2, 1)
    assert report.failures[0][1].endswith("caf\\xe9.log: its name is not UTF-8, rename it.")


@pytest.mark.parametrize("command", ["convert", "inspect", "status", "verify"])
def test_no_terminal_obeys_a_name(tmp_path: Path, command: str) -> None:
    name = "\x1b]0;title\x07\x9b31m\u202e.log"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_text("eni-1 10.0.0.5 ACCEPT OK\n")
    fl.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    given = {
        "convert": ["--retry", f"{tmp_path}/raw"],
        "inspect": [f"{tmp_path}/raw/{name}"],
        "status": [],
        "verify": ["--grace", "0m", f"{tmp_path}/raw/{name}", f"{tmp_path}/none\x1b[31m"],
    }[command]
    lake = [] if command == "inspect" else ["--lake", f"{tmp_path}/lake"]
    said = RUNNER.invoke(app, [command, *given, *lake]).output
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said) is None, repr(said)


def test_what_is_visible() -> None:
    assert visible("a\nb\x1b[31m\u202eé\x85") == "a\\nb\\x1b[31m\\u202eé\\x85"


FOLDERS = [
    "NULL",
    "null",
    "None",
    "nan",
    "true",
    "1e5",
    "012",
    "a.b",
    "a..",
    "2026-01-01",
    "z" * 64,
]
"""What a folder of the lake may be called, and a reader might take for something else."""

NO_FOLDERS = [
    *("..", "../../etc", "a/b", "a=b", "%2e%2e", "_x", "'\"", "é", "١٢", "z" * 65, "x" * 300),
    *("__HIVE_DEFAULT_PARTITION__", "a\x1bb", "a\\b", "~", "*"),
]


def test_a_value_becomes_a_folder_of_the_lake_or_a_reject(tmp_path: Path) -> None:
    values = [*FOLDERS, *NO_FOLDERS]
    lines = [f"{each} {each} 1768428000 {n}\n" for n, each in enumerate(values)]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.log").write_text("account-id region start bytes\n" + "".join(lines))
    before = {*tmp_path.iterdir()}
    report = fl.convert(tmp_path / "raw", lake=tmp_path / "lake", workers=1)
    assert (report.rows, report.rejected) == (len(FOLDERS), len(NO_FOLDERS))
    assert {*tmp_path.iterdir()} == {*before, tmp_path / "lake"}
    lake = fl.open_lake(tmp_path / "lake")
    expected = {(each, each, number) for number, each in enumerate(FOLDERS)}
    columns = ["account_id", "region", "bytes"]
    answers = [
        lake.sql(f"SELECT {', '.join(columns)} FROM flows").fetchall(),
        lake.flows().select(columns).collect().rows(),
        pl.read_delta(str(tmp_path / "lake/flows")).select(columns).rows(),
    ]
    assert [{*rows} for rows in answers] == [expected] * 3
    for each in FOLDERS:
        assert lake.flows().filter(account_id=each, region=each).collect().height == 1, each
