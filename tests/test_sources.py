"""Sources beyond a folder and a prefix: wildcards, standard input, lists of objects."""

import contextlib
import gzip
import json
import mmap
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import polars as pl
import pytest

import flowlake as fl
from flowlake.errors import StorageError, UsageError
from flowlake.planning import list_objects
from flowlake.reading.compression import FEED, line_chunks
from flowlake.storage import Access, canonical, open_source, open_storage
from flowlake.storage.wildcards import _fits
from flowlake.window import window
from tests.conftest import KEY, use_key
from tests.test_storage import FakeS3, fake_s3, fill

__all__ = ["fake_s3"]

LISTS = Path(__file__).parent / "data" / "lists"
LINE = "2 123456789012 eni-0a 10.0.0.5 10.0.0.9 {} 443 6 10 840 1768428000 1768428060 ACCEPT OK\n"
HIVE = (
    "AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=eu-west-1/"
    "year=2026/month=01/day=14/"
    "123456789012_vpcflowlogs_eu-west-1_fl-0123456789abcdef0_20260114T2220Z_85dc3470.log"
)
ODD = "odd/two words+100%.log"
BODIES = {HIVE: LINE.format(49152), ODD: LINE.format(49153) + LINE.format(49154)}
"""The objects that the lists in ``data/lists`` name; their sizes and ETags are in there."""


def listed(place: str, **asked: Any) -> list[str]:
    """What a source lists, without the folder that the test lies in."""
    keep = asked.get("keep")
    frames = [frame["url"] for frame in open_source(place).list(place, keep)]
    return sorted(pl.concat(frames).to_list()) if frames else []


def ports(lake: str) -> list[int]:
    """Which of the records are in the lake, as often as they are."""
    return sorted(fl.open_lake(lake).flows().collect()["srcport"].to_list())


# Wildcards

TREE = {
    "a": "AWSLogs/111111111111/vpcflowlogs/eu-west-1/2026/09/30/1.log.gz",
    "b": "AWSLogs/111111111111/vpcflowlogs/eu-west-1/2026/10/01/2.log.gz",
    "c": "AWSLogs/111111111111/vpcflowlogs/eu-west-1/2026/11/02/03/3.log.gz",
    "d": "AWSLogs/111111111111/vpcflowlogs/us-east-1/2026/10/01/4.log.gz",
    "e": "AWSLogs/111111111111/CloudTrail/eu-west-1/2026/10/01/5.json.gz",
    "f": "AWSLogs/222222222222/vpcflowlogs/eu-west-1/2026/12/31/6.log.gz",
    "g": "AWSLogs/222222222222/vpcflowlogs/eu-west-1/2025/12/31/7.log.gz",
    "h": "AWSLogs/notes.txt",
    "i": "AWSLogs/ab/c",
    "j": "AWSLogs/a/b/c",
    "k": "AWSLogs/[prod]/x",
}


PATTERNS = [
    ("AWSLogs/*/vpcflowlogs/eu-west-1/2026/1*", "bcf"),
    ("AWSLogs/*/vpcflowlogs/eu-west-1/2026/1*/", "bcf"),
    ("AWSLogs/*/vpcflowlogs/eu-west-1/2026/1[0-1]/*/*.gz", "b"),
    ("AWSLogs/*/vpcflowlogs/*/2026/10", "bd"),
    ("AWSLogs/*/*/*/*/1[!0]", "cfg"),
    ("AWSLogs/**/10", "bde"),
    ("AWSLogs/**/*.log.gz", "abcdfg"),
    ("AWSLogs/111111111111/**/2026/1?/**/?.log.gz", "bcd"),
    ("AWSLogs/2*", "fg"),
    ("AWSLogs/*/c", "i"),
    ("AWSLogs/**/c", "ij"),
    ("AWSLogs/a[!x]b", ""),
    ("AWSLogs/a[+-9]b", ""),
    ("AWSLogs/a?b", ""),
    ("AWSLogs/*.txt", "h"),
    ("A*s/notes*", "h"),
    ("*/[[]prod]", "k"),
    ("AWSLogs/**", "abcdefghijk"),
    ("*/*/none", ""),
]


def test_what_a_pattern_matches(place: str) -> None:
    fill(place, *TREE.values())
    for pattern, matched in PATTERNS:
        source = canonical(f"{place}/{pattern}")
        assert canonical(source) == source
        if matched:
            assert listed(source) == sorted(f"{place}/{TREE[name]}" for name in matched), pattern
        else:
            with pytest.raises(StorageError, match=f"^Nothing matches {re.escape(source)}: "):
                listed(source)


def test_a_window_leaves_folders_of_a_pattern_out(place: str) -> None:
    fill(place, *TREE.values())
    pattern = f"{place}/AWSLogs/*/vpcflowlogs/*/2026/1*"

    def found(**asked: Any) -> list[str]:
        wanted = window(**asked)
        listing = list_objects([pattern], wanted, Access())
        assert set(listing["source"]) <= {canonical(pattern)}
        return sorted(url[-8] for url in listing["url"])

    assert found() == ["2", "3", "4", "6"]
    assert found(since="2026-10-15") == ["3", "6"]
    assert found(account="333333333333") == [], "the window's doing, and no error"
    assert listed(pattern, keep=lambda folder: not folder.endswith("/11/")) == [
        f"{place}/{TREE[name]}" for name in "bdf"
    ]


def test_a_path_that_is_there_has_no_wildcards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "[prod]"
    for name in ("[ab]", "a", "b"):
        (here / name).mkdir(parents=True)
        (here / name / "x").write_text(name)
    monkeypatch.chdir(here)
    assert listed(canonical("[ab]")) == [f"{here}/[ab]/x"]
    assert listed(canonical("../[prod]")) == [f"{here}/{name}/x" for name in ("[ab]", "a", "b")]
    assert listed(canonical("[abc]")) == [f"{here}/a/x", f"{here}/b/x"]
    assert canonical(canonical("[abc]")) == f"{tmp_path}/[[]prod]/[abc]"
    with pytest.raises(StorageError, match="There is no folder or file at"):
        listed(canonical(tmp_path / "none" / "*"))
    top, *rest = here.parts[1:]
    from_the_top = canonical("/" + "/".join([f"{top[:-1]}?", *rest[:-1], "[[]prod]", "b"]))
    assert listed(from_the_top) == [f"{here}/b/x"]


def test_a_bucket_takes_no_wildcards() -> None:
    with pytest.raises(UsageError, match="a bucket's name takes no wildcards"):
        canonical("s3://logs-*/AWSLogs")


def test_odd_keys_match_too(fake_s3: FakeS3) -> None:
    keys = ["a//1/x", "a/../1/x", "a/b/1/x", "a/\x01/1/x", "/lead/1/x", "a/b/2/x"]
    fake_s3.objects = dict.fromkeys(keys, b"x")
    inside = [f"s3://b/{key}" for key in keys if key.startswith("a/")]
    assert listed("s3://b/a/*/1") == sorted(url for url in inside if "1/x" in url)
    assert listed("s3://b/a/**/x") == sorted(inside)
    assert listed("s3://b/*/lead/?") == ["s3://b//lead/1/x"]
    assert listed("s3://b/a/../*/x") == ["s3://b/a/../1/x"]


def test_a_pattern_lists_no_folder_that_it_leaves_out(fake_s3: FakeS3) -> None:
    fake_s3.objects = {
        f"AWSLogs/{account}/vpcflowlogs/eu-west-1/{month:02}/{day:02}/{n}.gz": b"x"
        for account in "12"
        for month in range(1, 13)
        for day in (1, 2)
        for n in range(3)
    }
    assert len(listed("s3://b/AWSLogs/*/vpcflowlogs/eu-west-1/1[12]")) == 24
    below = [prefix for prefix in fake_s3.listings if prefix.count("/") > 4]
    assert sorted(below) == [
        f"AWSLogs/{account}/vpcflowlogs/eu-west-1/{month}/"
        for account in "12"
        for month in (11, 12)
    ], "the folders that match are listed once, whole"
    fake_s3.asked.clear()
    assert len(listed("s3://b/AWSLogs/*/*/*/*/*/?*")) == 144
    assert len(fake_s3.listings) == 1 + 2 + 2 + 2 + 24 + 48
    for pattern, found in (("**/[12].gz", 96), ("*/*/*/*/*/[12].gz", 96), ("*/*", 144)):
        fake_s3.asked.clear()
        assert len(listed(f"s3://b/AWSLogs/{pattern}")) == found
        assert fake_s3.listings == ["AWSLogs/"], "nothing to choose by: one listing of all"


# Standard input


def started(lake: str, *words: str, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "flowlake", "convert", *words, "--lake", lake],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def piped(lake: str, *words: str, given: bytes) -> tuple[int, str, str]:
    """Exit code, output and errors of a conversion with something on its standard input."""
    process = started(lake, *words, stdin=subprocess.PIPE)
    out, err = process.communicate(given, timeout=120)
    assert b"Traceback" not in err
    return process.returncode, out.decode(), err.decode()


@contextlib.contextmanager
def stdin_is(file: int) -> Iterator[None]:
    """Make an open file this process's standard input."""
    with os.fdopen(file) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", opened)
        yield


def test_a_pipe_is_one_object_by_its_content(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    zipped = gzip.compress(BODIES[ODD].encode())
    for says in ("Converted 1 of 1 listed object", "Nothing new: 1 object listed, all of them in"):
        code, out, err = piped(lake, "-", given=zipped)
        assert (code, err) == (0, "")
        assert says in out
    (tmp_path / "plain").write_text(BODIES[HIVE])
    with stdin_is(os.open(tmp_path / "plain", os.O_RDONLY)):
        assert fl.convert("-", lake=lake, workers=2, executor=Executor()).rows == 1
    assert ports(lake) == [49152, 49153, 49154]
    ledger = fl.open_lake(lake).objects()
    assert set(ledger["source"]) == {"stdin:"}
    assert ledger["url"].str.contains("^stdin:[0-9a-f]{32}$").all()
    assert sorted(ledger["size"]) == sorted([len(zipped), len(BODIES[HIVE])])
    assert fl.verify(lake=lake).gaps.is_empty()


def test_an_empty_pipe_is_no_object(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with stdin_is(os.open(os.devnull, os.O_RDONLY)):
        assert fl.convert("-", lake=tmp_path / "lake").listed == 0
    assert caplog.messages == ["standard input is empty"]
    assert not (tmp_path / "lake").exists()


def test_a_gzip_that_breaks_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(gzip.compress(BODIES[ODD].encode())[:-9])
    with stdin_is(os.open(tmp_path / "cut", os.O_RDONLY)):
        report = fl.convert("-", lake=tmp_path / "lake")
    [(url, reason)] = report.unreadables
    assert (report.rows, url[:6]) == (0, "stdin:")
    assert "truncated" in reason


def test_standard_input_is_converted_alone(tmp_path: Path) -> None:
    for sources, objects_from in ((["-", tmp_path], None), (["-"], "-")):
        with pytest.raises(UsageError, match="Standard input is converted alone"):
            fl.convert(*sources, lake=tmp_path / "lake", objects_from=objects_from)


def test_what_standard_input_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main, terminal = pty.openpty()
    words = re.escape("pipe an object into it, as in `flowlake convert - < FILE`")
    with stdin_is(terminal), pytest.raises(UsageError, match=words):
        fl.convert("-", lake=tmp_path / "lake")
    os.close(main)
    write_only = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
    unreadable = r"Cannot read standard input into .*: Bad file descriptor\. TMPDIR chooses"
    with stdin_is(write_only), pytest.raises(StorageError, match=unreadable):
        fl.convert("-", lake=tmp_path / "lake")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match=words):
        fl.convert("-", lake=tmp_path / "lake")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_pipe_commits_nothing(tmp_path: Path, number: signal.Signals) -> None:
    lake, spool = tmp_path / "lake", tmp_path / "spool"
    spool.mkdir()
    process = started(
        str(lake), "-", stdin=subprocess.PIPE, env={**os.environ, "TMPDIR": str(spool)}
    )
    assert process.stdin
    process.stdin.write(BODIES[ODD].encode() * 40_000)
    process.stdin.flush()
    open_files = Path(f"/proc/{process.pid}/fd")
    deadline = time.monotonic() + 60
    while not any(str(spool) in str(link.readlink()) for link in open_files.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not list(spool.iterdir()), "the file has no name"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert b"Traceback" not in err
    assert not lake.exists()


def test_nothing_can_be_written_to_a_source(tmp_path: Path) -> None:
    for place in ("-", "objects-from:list"):
        with pytest.raises(UsageError, match="can only be read from"):
            fl.convert(tmp_path, lake=place)


@pytest.mark.parametrize("size", [0, 10, FEED - 1, 3 * FEED])
@pytest.mark.parametrize("members", [1, 30])
def test_a_file_reads_as_bytes_do(size: int, members: int) -> None:
    noise = os.urandom(size).hex().encode()
    text = b"\n".join(noise[at : at + 90] for at in range(0, len(noise), 90)) + b"\n"
    cuts = [len(text) * n // members for n in range(members + 1)]
    parts = [gzip.compress(text[a:b]) for a, b in pairwise(cuts)]
    for body in (text, b"\0".join(parts), parts[0][:-9]):
        with tempfile.TemporaryFile() as file:
            file.write(body)
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if body == parts[0][:-9]:
            with pytest.raises(fl.ObjectUnreadable, match="truncated"):
                line_chunks(mapped, 1000)
        else:
            for chunk in (1000, 1 << 26):
                pieces = list(line_chunks(mapped, chunk))
                assert b"".join(pieces) == text
                assert max(map(len, pieces)) <= 2 * chunk


# Lists of objects


def put_objects(place: str) -> None:
    for key, body in BODIES.items():
        open_storage(place).put(f"{place}/{key}", body.encode())


def list_file(name: str, place: str, folder: Path) -> Path:
    """One of ``data/lists`` for the test's own bucket, with the inventory it may speak of."""
    bucket = place.removeprefix("s3://")
    file = folder / name
    file.write_text((LISTS / name).read_text().replace("amzn-s3-demo-bucket", bucket))
    if name.startswith("manifest"):
        manifest = json.loads(file.read_text())
        rows = (LISTS / "inventory-versions.csv").read_text()
        body = gzip.compress(rows.replace("amzn-s3-demo-bucket", bucket).encode())
        if manifest["fileFormat"] == "Parquet":
            body = inventory_in_parquet(rows.replace("amzn-s3-demo-bucket", bucket))
        open_storage(place).put(f"{place}/{manifest['files'][0]['key']}", body)
    return file


def inventory_in_parquet(rows: str) -> bytes:
    """The CSV inventory as S3 writes it in Parquet: typed, and the keys as they are."""
    columns = [
        *("bucket", "key", "version_id", "is_latest", "is_delete_marker", "size"),
        *("last_modified_date", "e_tag", "storage_class", "is_multipart_uploaded"),
    ]
    text = pl.read_csv(rows.encode(), has_header=False, new_columns=columns, infer_schema=False)
    typed = text.with_columns(
        pl.Series("key", map(unquote_plus, text["key"])),
        pl.col("is_latest", "is_delete_marker") == "true",
        pl.col("size").cast(pl.Int64, strict=False),
        pl.col("last_modified_date")
        .str.to_datetime("%+", time_unit="ms")
        .dt.replace_time_zone(None),
    )
    sink = BytesIO()
    typed.write_parquet(sink)
    return sink.getvalue()


FORMS = sorted({file.name for file in LISTS.iterdir()} - {"test-event.json"})


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_list_names_its_objects(
    s3: str, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two objects, one twice or in an old version, and one that is gone."""
    put_objects(s3)
    file, lake = list_file(name, s3, tmp_path), str(tmp_path / "lake")
    report = fl.convert(objects_from=file, lake=lake, workers=1)
    assert (report.listed, report.objects, report.rows) == (2, 2, 3)
    assert (report.failures, report.rejected, report.unreadable) == ([], 0, 0)
    assert ports(lake) == [49152, 49153, 49154]
    ledger = fl.open_lake(lake).objects()
    assert set(ledger["url"]) == {f"{s3}/{key}" for key in BODIES}
    assert set(ledger["source"]) == {f"objects-from:{file}"}
    heads = pl.concat(open_storage(s3).list(s3)).select("url", "etag")
    assert ledger.join(heads, on=["url", "etag"]).height == 2
    assert fl.convert(objects_from=file, lake=lake, workers=1).new == 0
    gone = "1 ObjectRemoved:Delete" if "s3-event" in name or name[:3] in ("sns", "sqs") else ""
    gone = "1 Object Deleted" if name == "eventbridge.jsonl" else gone
    gone = "1 s3:TestEvent, 1 ObjectRemoved:Delete" if name == "sqs-receive-message.json" else gone
    words = f"left out of {file} what names no object to convert: {gone}"
    assert caplog.messages == ([words] * 2 if gone else [])


def test_an_inventory_is_believed_and_the_rest_is_asked_for(
    fake_s3: FakeS3, tmp_path: Path
) -> None:
    fake_s3.objects = {"a": b"x", "a//b": b"y"}
    row = '"my-bucket","{}","{}","2026-01-14T22:25:31.000Z","{}"\n'
    known = row.format("c%2Bd", 7, "0cc175b9c0f1b6a831c399e269772661")
    file = tmp_path / "inventory.csv.gz"
    file.write_bytes(gzip.compress(known.encode()))
    [frame] = [
        frame
        for frame in open_source(f"objects-from:{file}").list(f"objects-from:{file}")
        if frame.height
    ]
    moment = datetime(2026, 1, 14, 22, 25, 31, tzinfo=UTC)
    assert frame.rows() == [("s3://my-bucket/c+d", 7, "0cc175b9c0f1b6a831c399e269772661", moment)]
    assert fake_s3.asked == []
    file.write_text('"b","a"\n"b","a%2F%2Fb"\n')
    assert listed(f"objects-from:{file}") == ["s3://b/a", "s3://b/a//b"]
    file.write_text("s3://b/a//gone\ns3://b/gone\n")
    assert listed(f"objects-from:{file}") == ["s3://b/a//gone", "s3://b/gone"]
    assert {method for method, _, _ in fake_s3.asked} == {"HEAD"}


@pytest.mark.parametrize("ask", ["folder", "wildcards", "list", "file"])
@pytest.mark.parametrize("again", ["folder", "wildcards", "list", "file"])
def test_an_object_is_one_whatever_names_it(tmp_path: Path, ask: str, again: str) -> None:
    raw = tmp_path / "raw" / "sub"
    raw.mkdir(parents=True)
    (raw / "real.log").write_text(BODIES[HIVE])
    (tmp_path / "lines").write_text(f"{tmp_path}/raw/../raw/sub/real.log\n{raw}/real.log\n")
    sources: dict[str, dict[str, Any]] = {
        "folder": {"sources": [tmp_path / "raw"]},
        "wildcards": {"sources": [f"{tmp_path}/r*/**/*.log"]},
        "list": {"sources": [], "objects_from": tmp_path / "lines"},
        "file": {"sources": [raw / "real.log"]},
    }
    lake = str(tmp_path / "lake")
    for which, new in ((ask, 1), (again, 0)):
        given = dict(sources[which])
        report = fl.convert(*given.pop("sources"), lake=lake, workers=1, **given)
        assert (report.listed, report.new) == (1, new)
    assert ports(lake) == [49152]


def test_a_link_has_the_same_name_in_a_list_as_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "real").write_text(BODIES[HIVE])
    (tmp_path / "raw" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "lines").write_text(f"{tmp_path}/raw/link\n")
    assert listed(f"objects-from:{tmp_path}/lines") == listed(str(tmp_path / "raw"))


def test_all_kinds_of_source_in_one_run(s3: str, tmp_path: Path) -> None:
    place = s3
    put_objects(place)
    here = tmp_path / "here.log"
    here.write_text(LINE.format(50_000))
    lines = f"{here}\n{place}/{ODD}\n"
    code, out, err = piped(
        str(tmp_path / "lake"),
        *("--objects-from", "-", f"{place}/AWSLogs/*/*/aws-region=eu-*", f"{place}/odd"),
        given=lines.encode(),
    )
    assert (code, err) == (0, "")
    assert "Converted 3 of 3 listed objects" in out
    assert ports(str(tmp_path / "lake")) == [49152, 49153, 49154, 50000]
    sources = set(fl.open_lake(tmp_path / "lake").objects()["source"])
    assert sources == {
        f"{place}/AWSLogs/*/*/aws-region=eu-*",
        f"{place}/odd",
        "objects-from:stdin:",
    }


def test_what_a_list_names_and_is_not_there_fails_alone(place: str, tmp_path: Path) -> None:
    put_objects(place)
    gone = [f"{place}/{key}" for key in ("gone.log", "odd", "odd/gone")]
    file, lake = tmp_path / "lines", tmp_path / "lake"
    file.write_text("\n".join([*gone, f"{place}/{HIVE}", f"{place}/{ODD}"]))
    first = fl.convert(objects_from=file, lake=lake, workers=1)
    assert (first.objects, {url for url, _ in first.failures}) == (2, set(gone))
    assert ports(str(lake)) == [49152, 49153, 49154]
    assert re.search(r"No such file|it is not there", dict(first.failures)[gone[0]])
    for url in fl.open_lake(lake).objects()["url"]:
        open_storage(place).delete([url])
    again = fl.convert(objects_from=file, lake=lake, workers=1)
    assert {url for url, _ in again.failures} == set(gone), "what has expired is no failure"
    assert ports(str(lake)) == [49152, 49153, 49154]


def test_a_window_chooses_in_a_list_before_anything_is_asked(
    fake_s3: FakeS3, tmp_path: Path
) -> None:
    key = "AWSLogs/{0}/vpcflowlogs/{1}/2026/01/{2}/{0}_vpcflowlogs_{1}_fl-1_202601{2}T2220Z_x.log"
    keys = [
        key.format("111111111111", "eu-west-1", "14"),
        key.format("111111111111", "eu-west-1", "15"),
        key.format("222222222222", "eu-west-1", "15"),
        key.format("111111111111", "us-east-1", "15"),
    ]
    fake_s3.objects = dict.fromkeys(keys, b"x")
    file = tmp_path / "lines"
    file.write_text("".join(f"s3://b/{key}\n" for key in keys))
    wanted = window(since="2026-01-15", account="111111111111", region="eu-west-1")
    listing = list_objects([], wanted, Access(), objects_from=file)
    assert listing["url"].to_list() == [f"s3://b/{keys[1]}"]
    assert len(fake_s3.asked) == 1
    listing, new = fl.plan(objects_from=file, lake=tmp_path / "lake", since="2026-01-15")
    assert (listing.height, new.height) == (3, 3)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "it begins with nothing"),
        (b"\n# only a comment\n", "it begins with nothing"),
        (b"version account-id interface-id\n", "it begins with 'version account-id interface-id'"),
        (b"\x89PNG\r\n\x1a\n\xff", r"it begins with bytes that are no text \(89 50 4e 47"),
        (b"a\0b", "it begins with bytes that are no text"),
        (b'{"Records": [', "it begins with JSON, and Expecting value: line 1"),
        (b'{"events": []}', "it begins with JSON that is no S3 event notification"),
        (b'[{"version": "0", "detail": {}}]', "JSON that is no S3 event notification"),
        (b"ORC\1\2", "is an S3 Inventory in ORC, which FlowLake does not read"),
        (b"PAR1 and no more", "is damaged: "),
        (gzip.compress(b"s3://b/x\n" * 99, mtime=0)[:-12], "is damaged: "),
        (b"s3://b/x\nhttps://b/x\n", "line 2: 'https://b/x' is not a place FlowLake reads"),
        (b"s3://b/x\ns3://b/x/\n", "line 2: 's3://b/x/' names no object: write s3://BUCKET/KEY"),
        (b"s3://b/x\n\ns3://b\n", "line 3: 's3://b' names no object: write s3://BUCKET/KEY"),
        (b'"a-bucket","key","1"\n"a-bucket","key"\n"a-bucket","k","1","2"\n', "is damaged: "),
        (b'{"sourceBucket": "b", "files": []}', "manifest lacks 'fileFormat'"),
    ],
)
def test_what_is_no_list(tmp_path: Path, body: bytes, says: str) -> None:
    file = tmp_path / "list"
    file.write_bytes(body)
    with pytest.raises(UsageError, match=says) as error:
        fl.plan(objects_from=file, lake=tmp_path / "lake")
    assert "\n" not in str(error.value)


def test_an_inventory_in_orc_or_in_pieces_is_told(s3: str, tmp_path: Path) -> None:
    file = list_file("manifest.json", s3, tmp_path)
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {"fileFormat": "ORC"}))
    with pytest.raises(UsageError, match="in ORC, which FlowLake does not read: configure it as"):
        fl.plan(objects_from=file, lake=tmp_path / "lake")
    file.write_text(json.dumps(manifest | {"fileSchema": "Bucket, Key"}))
    with pytest.raises(StorageError, match=r"Cannot read the inventory's file .*10 columns, and"):
        fl.plan(objects_from=file, lake=tmp_path / "lake")
    open_storage(s3).delete([f"{s3}/{manifest['files'][0]['key']}"])
    file.write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="it is not there"):
        fl.plan(objects_from=file, lake=tmp_path / "lake")


@pytest.mark.parametrize("name", ["test-event.json", "empty"])
def test_messages_that_name_nothing_are_no_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").write_text('{"Messages": []}')
    file = LISTS / name if name != "empty" else tmp_path / name
    assert fl.convert(objects_from=file, lake=tmp_path / "lake").listed == 0


def test_a_list_may_lie_in_a_bucket(s3: str, tmp_path: Path) -> None:
    put_objects(s3)
    open_storage(s3).put(f"{s3}/lists/lines.txt", list_file("lines.txt", s3, tmp_path).read_bytes())
    report = fl.convert(objects_from=f"{s3}/lists/lines.txt", lake=tmp_path / "lake", workers=1)
    assert (report.objects, report.rows) == (2, 3)


def test_an_unreachable_server_is_no_missing_object(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_key(monkeypatch, KEY, "wrong")
    file = tmp_path / "lines"
    file.write_text(f"{s3}/x\n")
    report = fl.convert(objects_from=file, lake=tmp_path / "lake", workers=1)
    [(url, reason)] = report.failures
    assert url == f"{s3}/x"
    assert "credentials are not accepted" in reason


def test_many_wildcards_cost_no_more_than_the_names() -> None:
    """Whoever writes keys chooses their depth: trying each way through them took minutes."""
    names = ["a"] * 400
    assert not _fits(names, [*["**", "a*a*a"] * 6, "b"])
    assert _fits(names, [*["**", "a"] * 6])
