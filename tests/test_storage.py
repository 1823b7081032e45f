"""Storage: list, read and write, in folders, on a real S3 server, and what S3 can answer."""

import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import polars as pl
import pytest

from flowlake.aws import explain
from flowlake.errors import FlowLakeError, StorageError, UsageError
from flowlake.layout import object_key
from flowlake.planning import list_objects
from flowlake.storage import (
    LISTING,
    Access,
    aws_settings,
    bucket,
    canonical,
    delta_options,
    is_remote,
    open_storage,
    s3_filesystem,
)
from flowlake.window import Window, window

from .conftest import KEY, NOBODY, READER, SECRET, forget_s3, s3_client, use_key

Keep = Callable[[str], bool]


def listing(url: str, keep: Keep | None = None, access: Access = Access()) -> pl.DataFrame:
    frames = list(open_storage(url, access).list(url, keep))
    return pl.concat([pl.DataFrame(schema=LISTING), *frames]).sort("url")


def names(url: str, keep: Keep | None = None, below: str | None = None) -> list[str]:
    return [u.removeprefix(f"{below or url}/") for u in listing(url, keep)["url"]]


def fill(place: str, *keys: str) -> None:
    storage = open_storage(place)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: storage.put(f"{place}/{key}", key.encode()), keys))


class FakeS3(ThreadingHTTPServer):
    """As much of S3 as listing and reading take, for what the real test server cannot play.

    It keeps any key as it is (SeaweedFS makes ``a//b`` ``a/b``), pages by ``page`` keys, answers
    ``refusal`` if there is one (after ``granted`` requests), and records what it was asked.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.objects: dict[str, bytes] = {}
        self.page = 1000
        self.delay = 0.0
        self.at_once = self.most_at_once = 0
        self.counting = Lock()
        self.refusal: tuple[int, dict[str, str], str] | None = None
        self.granted = 0
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    @property
    def listings(self) -> list[str]:
        """The prefixes that were listed, one for each request."""
        asked = [parse_qs(urlsplit(path).query) for _, path, _ in self.asked]
        return [query.get("prefix", [""])[0] for query in asked if "list-type" in query]

    def list_objects(self, query: dict[str, str]) -> str:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = bytes.fromhex(query.get("continuation-token", "")).decode()
        after = after or query.get("start-after", "")
        encode = query.get("encoding-type") == "url"
        entries: dict[str, str] = {}
        for key in sorted(self.objects, key=str.encode):
            if not key.startswith(prefix):
                continue
            rest, cut, _ = key.removeprefix(prefix).partition(delimiter or "\0")
            name = prefix + rest + delimiter if cut else key
            if name <= after or name in entries:
                continue
            spelt = _quoted(name) if encode else escape(name)
            if cut:
                text = f"<CommonPrefixes><Prefix>{spelt}</Prefix></CommonPrefixes>"
            else:
                text = (
                    f"<Contents><Key>{spelt}</Key><Size>{len(self.objects[key])}</Size>"
                    f"<LastModified>2026-01-14T22:00:00.000Z</LastModified>"
                    f"<ETag>&quot;{etag(self.objects[key])}&quot;</ETag></Contents>"
                )
            entries[name] = text
        page = dict(list(entries.items())[: self.page])
        more = len(page) < len(entries)
        token = ""
        if more:
            token = f"<NextContinuationToken>{max(page).encode().hex()}</NextContinuationToken>"
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
            + ("<EncodingType>url</EncodingType>" if encode else "")
            + f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            + "".join(page.values())
            + "</ListBucketResult>"
        )


def etag(body: bytes) -> str:
    return f"{len(body)}-{body[:8].hex()}"


def _quoted(key: str) -> str:
    return "".join(c if c.isalnum() or c in "/._-" else f"%{ord(c):02X}" for c in key)


class _Answer(BaseHTTPRequestHandler):
    server: FakeS3

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(
            (self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
        )
        with server.counting:
            server.at_once += 1
            server.most_at_once = max(server.at_once, server.most_at_once)
        time.sleep(server.delay)
        with server.counting:
            server.at_once -= 1
        url = urlsplit(self.path)
        key = unquote(url.path).removeprefix("/b").removeprefix("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        headers: dict[str, str] = {}
        if server.refusal is not None and len(server.asked) > server.granted:
            status, headers, text = server.refusal
            body = text.encode()
        elif "list-type" in query:
            status, body = 200, server.list_objects(query).encode()
        elif key not in server.objects:
            status, body = 404, b"<Error><Code>NoSuchKey</Code><Message>No</Message></Error>"
        else:
            status, body = 200, server.objects[key]
            headers = {
                "ETag": f'"{etag(body)}"',
                "Last-Modified": "Wed, 14 Jan 2026 22:00:00 GMT",
            }
            if self.headers.get("If-Match", headers["ETag"]) != headers["ETag"]:
                status, body = 412, b"<Error><Code>PreconditionFailed</Code></Error>"
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def fake_s3(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    with FakeS3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        use_key(monkeypatch, "key", "secret")
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


# Names of places


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("s3://b", "s3://b"),
        ("s3://b/", "s3://b"),
        ("s3://b/raw//", "s3://b/raw"),
        ("s3://b/a b/ü=1", "s3://b/a b/ü=1"),
        ("/x/../y/", "/y"),
        ("file:///y", "/y"),
        (Path("/y"), "/y"),
    ],
)
def test_a_place_has_one_spelling(given: str | Path, place: str) -> None:
    assert canonical(given) == place
    assert canonical(place) == place
    assert is_remote(place) == str(given).startswith("s3:")


@pytest.mark.parametrize(
    "given", ["s3://", "s3:///raw", "S3://b", "https://b/x", "gs://b", "s3a://b"]
)
def test_what_is_no_place(given: str) -> None:
    with pytest.raises(UsageError, match="s3://"):
        canonical(given)


# Both places

ODD_NAMES = [
    "two words",
    "year=2026/day=14/x",
    "a+b",
    "a%20b",
    "ünï-漢字-🦀",
    "q?x#y",
    "100%",
    "~!@$&'()*,;:[]{}^|<>\"`",
    ".hidden",
    "tab\tand\nnewline",
]


def test_an_empty_place_lists_nothing(place: str) -> None:
    assert listing(place).is_empty()
    assert listing(place, lambda _: True).is_empty()
    assert listing(place).schema == LISTING


def test_listing_says_what_is_there(place: str) -> None:
    before = datetime.now(UTC)
    fill(place, "raw/one", "raw/sub/three")
    found = listing(f"{place}/raw")
    assert found["url"].to_list() == [f"{place}/raw/one", f"{place}/raw/sub/three"]
    assert found["size"].to_list() == [7, 13]
    assert found["etag"].n_unique() == 2
    assert found.schema == LISTING
    for modified in found["last_modified"]:
        assert abs((modified - before).total_seconds()) < 60


@pytest.mark.parametrize("keep", [None, lambda _: True], ids=["all", "keep"])
def test_any_name_survives_listing_and_reading(
    place: str, keep: Keep | None, s3_server: str
) -> None:
    if is_remote(place):  # obstore writes no control characters
        client = s3_client(s3_server)
        for name in ODD_NAMES:
            client.put_object(Bucket=place[5:], Key=f"raw/{name}", Body=name.encode())
        client.close()
    else:
        fill(place, *(f"raw/{name}" for name in ODD_NAMES))
    assert sorted(names(f"{place}/raw", keep)) == sorted(ODD_NAMES)
    storage = open_storage(place)
    for url, tag in listing(place).select("url", "etag").iter_rows():
        body = bytes(storage.get(url, tag)).decode()
        assert f"{place}/raw/{body.removeprefix('raw/')}" == url


def test_a_listing_goes_on_past_its_pages(place: str) -> None:
    keys = [f"raw/{n % 3}/{n:04}" for n in range(2_500)]
    fill(place, *keys)
    assert names(place) == sorted(keys)
    assert names(place, lambda _: True) == sorted(keys)


def test_a_place_ends_at_a_slash(place: str) -> None:
    fill(place, "raw/x", "raw2/y", "raw.log", "ra")
    assert names(f"{place}/raw", below=place) == ["raw/x"]
    assert names(canonical(f"{place}/raw/"), below=place) == ["raw/x"]
    assert names(f"{place}/raw.log", below=place) == ["raw.log"]
    assert names(f"{place}/raw.log", lambda _: False, below=place) == ["raw.log"]


def test_keep_prunes_folders(place: str) -> None:
    fill(place, "a/1", "a/deep/2", "b/3", "top")
    asked: list[str] = []

    def keep(folder: str) -> bool:
        asked.append(folder.removeprefix(place))
        return not folder.endswith("/a/")

    assert names(place, keep) == ["b/3", "top"]
    assert asked == ["/a/", "/b/"]


def test_what_changed_since_it_was_listed_is_refused(place: str) -> None:
    fill(place, "x")
    storage, url = open_storage(place), f"{place}/x"
    tag = listing(place)["etag"][0]
    assert storage.get(url, tag) == storage.get(url) == b"x"
    storage.put(url, b"other")
    with pytest.raises(StorageError, match=f"{re.escape(url)}.*changed.*run again"):
        storage.get(url, tag)
    assert storage.get(url) == b"other"


def test_what_is_gone_cannot_be_read(place: str) -> None:
    with pytest.raises(
        StorageError, match=f"{re.escape(place)}/gone: (No such file|it is not there)"
    ):
        open_storage(place).get(f"{place}/gone", "etag")


def test_delete(place: str) -> None:
    fill(place, "a", "b", "c/d")
    storage = open_storage(place)
    storage.delete([])
    storage.delete(f"{place}/{name}" for name in ("a", "gone", "c/d"))
    assert names(place) == ["b"]
    storage.delete([f"{place}/{name}" for name in ("gone", "gone/too")])
    assert names(place) == ["b"]


def test_many_are_deleted_at_once(place: str) -> None:
    keys = [f"{n:04}" for n in range(1_100)]
    fill(place, *keys, "left")
    open_storage(place).delete(f"{place}/{key}" for key in keys)
    assert names(place) == ["left"]


def test_a_large_object(place: str) -> None:
    body = os.urandom(12 << 20)  # more than obstore puts in one part
    storage = open_storage(place)
    storage.put(f"{place}/large", body)
    assert listing(place)["size"].to_list() == [len(body)]
    assert storage.get(f"{place}/large", listing(place)["etag"][0]) == body


# Folders


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"There is no folder or file at .*/nope"):
        listing(str(tmp_path / "nope"))


def test_links_to_files_are_followed_and_to_folders_not(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/x").write_bytes(b"x")
    place = tmp_path / "here"
    place.mkdir()
    (place / "file").symlink_to(tmp_path / "there/x")
    (place / "folder").symlink_to(tmp_path / "there")
    (place / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(place / "pipe")
    assert names(str(place)) == ["file"]
    assert open_storage(str(place)).get(str(place / "file")) == b"x"


def test_what_vanishes_while_listing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(str(tmp_path), "a/stays", "b/gone", "c/d/folder gone")
    walk = os.walk

    def vanishing(*args: Any, **more: Any) -> Iterator[Any]:
        for folder, folders, files in walk(*args, **more):
            if folder.endswith("/b"):
                (tmp_path / "b/gone").unlink()
            if folder.endswith("/c"):
                (tmp_path / "c/d").rename(tmp_path / "moved")
            yield folder, folders, files

    monkeypatch.setattr(os, "walk", vanishing)
    assert names(str(tmp_path)) == ["a/stays"]


def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(str(tmp_path), "a/x", "locked/x")
    scandir = os.scandir

    def locked(path: str) -> Any:
        if path.endswith("/locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(StorageError, match=r"Cannot list .*/locked: Permission denied"):
        listing(str(tmp_path))


def test_a_name_that_is_no_text_is_listed_and_cannot_be_read(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_bytes(b"x")
    [row] = listing(str(tmp_path)).to_dicts()
    assert (row["url"], row["etag"]) == (f"{tmp_path}/caf\\xe9", "")
    with pytest.raises(StorageError, match=r"caf\\xe9: its name is not UTF-8, rename it"):
        open_storage(row["url"]).get(row["url"], row["etag"])


def test_links_that_lead_nowhere_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.log").write_bytes(b"x")
    (tmp_path / "link.log").symlink_to("a.log")
    assert [Path(url).name for url in listing(str(tmp_path))["url"]] == ["a.log", "link.log"]


def test_a_file_that_cannot_be_looked_at_is_listed_and_the_others_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"x")
    stat = os.stat

    def denied(path: Any, **named: Any) -> Any:
        if str(path).endswith("/a.log"):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **named)

    monkeypatch.setattr(os, "stat", denied)
    assert listing(str(tmp_path))["etag"].to_list()[0] == ""
    assert listing(str(tmp_path)).height == 2


@pytest.mark.parametrize("body", ["text, not bytes", b"x"], ids=["fails writing", "fails renaming"])
def test_a_failed_put_leaves_nothing(tmp_path: Path, body: Any) -> None:
    (tmp_path / "target").mkdir()  # in the way of the name
    with pytest.raises((TypeError, StorageError)):
        open_storage(str(tmp_path)).put(str(tmp_path / "target"), body)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_local_failures_are_the_houses_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    storage = open_storage(str(tmp_path))
    for act, url, words in (
        (lambda url: storage.put(url, b"x"), "file/x", "Cannot write .*file/x: "),
        (storage.get, "folder", "Cannot read .*folder: Is a directory"),
        (lambda url: storage.delete([url]), "folder", "Cannot delete .*folder: "),
        (listing, "n" * 300, "Cannot list .*nnn: File name too long"),
    ):
        with pytest.raises(StorageError, match=words):
            act(str(tmp_path / url))


# S3: what the real server refuses


@pytest.mark.parametrize("keep", [None, lambda _: True], ids=["all", "keep"])
def test_a_missing_bucket_is_an_error(s3: str, keep: Keep | None) -> None:
    with pytest.raises(StorageError, match=r"s3://no-such-bucket.*does not exist: check its name"):
        listing("s3://no-such-bucket/raw", keep)
    with pytest.raises(StorageError, match="bucket does not exist"):
        open_storage("s3://no-such-bucket").get("s3://no-such-bucket/x")


@pytest.mark.parametrize(
    ("key", "may_read", "words"),
    [
        ((KEY, "wrong"), False, "not accepted: check AWS_PROFILE, the access key and its secret"),
        (("unknown", SECRET), False, "not accepted: check AWS_PROFILE"),
        (NOBODY, False, "access is denied: .*s3:ListBucket.*s3:GetObject"),
        (READER, True, "access is denied: .*s3:PutObject, s3:DeleteObject"),
    ],
    ids=["wrong secret", "unknown key", "no rights", "reader"],
)
def test_a_refused_key_is_told_what_to_do(
    s3: str, monkeypatch: pytest.MonkeyPatch, key: tuple[str, str], may_read: bool, words: str
) -> None:
    place = f"s3://lake/{s3[5:]}"
    fill(place, "x")
    use_key(monkeypatch, *key)
    storage = open_storage(place)
    acts: list[Callable[[], object]] = [
        lambda: storage.put(f"{place}/y", b"y"),
        lambda: storage.delete([f"{place}/x"]),
        lambda: listing(s3),
        lambda: listing(s3, lambda _: True),
    ]
    if may_read:
        assert names(place) == ["x"]
        assert storage.get(f"{place}/x") == b"x"
    else:
        acts += [lambda: listing(place), lambda: storage.get(f"{place}/x")]
    for act in acts:
        with pytest.raises(StorageError, match=words) as error:
            act()
        assert "\n" not in str(error.value)
        assert str(error.value).endswith(".")
    use_key(monkeypatch, KEY, SECRET)
    assert names(place) == ["x"]


def test_obstore_and_s3fs_see_the_same(s3: str) -> None:
    fill(s3, "raw/a b", "raw/ü/x")
    found = s3_filesystem(Access()).find(s3)
    assert [f"s3://{name}" for name in found] == listing(s3)["url"].to_list()


def test_a_key_may_be_an_object_and_a_folder(fake_s3: FakeS3) -> None:
    fake_s3.objects = {"raw": b"1", "raw/x": b"2"}
    assert names("s3://b/raw", below="s3://b") == ["raw", "raw/x"]
    assert names("s3://b") == ["raw", "raw/x"]


# S3: keys and answers the real server cannot play

ODD_KEYS = ["a/1", "a//2", "a//b/3", "a/../4", "a/./5", "a/\x01/6", "b/7", "z"]


@pytest.mark.parametrize("keep", [None, lambda _: True], ids=["all", "keep"])
@pytest.mark.parametrize("page", [1, 3, 1000])
def test_keys_that_are_no_paths(fake_s3: FakeS3, keep: Keep | None, page: int) -> None:
    fake_s3.objects = {key: key.encode() for key in ODD_KEYS} | {"/lead": b"/lead"}
    fake_s3.page = page
    everything = sorted([*ODD_KEYS, "/lead"])
    assert names("s3://b", keep) == everything
    assert names("s3://b/a", keep, below="s3://b") == [k for k in everything if k[:2] == "a/"]
    assert names("s3://b/a//b", keep, below="s3://b") == ["a//b/3"]
    assert names("s3://b/a//2", keep, below="s3://b") == ["a//2"]
    storage = open_storage("s3://b")
    for url, tag in listing("s3://b").select("url", "etag").iter_rows():
        key = url.removeprefix("s3://b/")
        assert storage.get(url, tag) == key.encode()
        fake_s3.objects[key] = b"other"
        with pytest.raises(StorageError, match=r"changed.*run again"):
            storage.get(url, tag)


@pytest.mark.parametrize("keep", [None, lambda _: True], ids=["all", "keep"])
def test_a_leading_slash_is_part_of_the_key(fake_s3: FakeS3, keep: Keep | None) -> None:
    """Obstore would call it ``lead``, and not find it; `s3://b//…` is a common slip."""
    fake_s3.objects = {"/lead/1": b"1", "lead/2": b"2"}
    assert names("s3://b", keep) == ["/lead/1", "lead/2"]
    assert names("s3://b//lead", keep) == ["1"]
    assert names("s3://b/lead", keep) == ["2"]


def test_odd_keys_are_pruned_too(fake_s3: FakeS3) -> None:
    fake_s3.objects = dict.fromkeys(["a//no/1", "a//yes/2", "b/3"], b"x")
    assert names("s3://b", lambda folder: "no" not in folder) == ["a//yes/2", "b/3"]


def test_nothing_is_listed_twice_when_an_odd_key_comes_late(fake_s3: FakeS3) -> None:
    keys = [f"a/{n:05}" for n in range(6_000)]
    fake_s3.objects = dict.fromkeys([*keys, "b//x"], b"x")
    assert names("s3://b") == [*keys, "b//x"]


@pytest.mark.parametrize("keep", [None, lambda _: True], ids=["all", "keep"])
def test_a_listing_refused_on_its_way_is_no_short_listing(
    fake_s3: FakeS3, keep: Keep | None
) -> None:
    """Some of the objects were listed already: their silence on the rest would be a lie."""
    fake_s3.objects = {f"raw/{n // 6_000}/{n:05}.gz": b"x" for n in range(12_000)}
    fake_s3.refusal = (403, {}, _error("AccessDenied", "Access Denied"))
    fake_s3.granted = 9
    with pytest.raises(StorageError, match="access is denied"):
        listing("s3://b/raw", keep)


def test_who_may_list_a_folder_need_not_be_allowed_to_ask_for_its_name(fake_s3: FakeS3) -> None:
    fake_s3.objects = {"raw/x.gz": b"x"}
    fake_s3.refusal = (403, {}, _error("AccessDenied", "Access Denied"))
    fake_s3.granted = 1
    assert names("s3://b/raw") == ["x.gz"]


def test_a_gone_odd_key_and_a_refusal(fake_s3: FakeS3) -> None:
    with pytest.raises(StorageError, match="it is not there"):
        open_storage("s3://b").get("s3://b/a//gone")
    fake_s3.refusal = (403, {}, _error("AccessDenied", "Access Denied"))
    with pytest.raises(StorageError, match="access is denied"):
        open_storage("s3://b").get("s3://b/a//x")
    with pytest.raises(StorageError, match="access is denied"):
        listing("s3://b/a//x")
    with pytest.raises(StorageError, match="cannot have empty"):
        open_storage("s3://b").put("s3://b/a//x", b"x")


@pytest.mark.parametrize("keep", [None, lambda _: True], ids=["all", "keep"])
def test_folders_made_in_the_console_are_no_objects(fake_s3: FakeS3, keep: Keep | None) -> None:
    fake_s3.objects = {"raw/": b"", "raw/2026/": b"", "raw/2026/x": b"x", "empty/": b""}
    assert names("s3://b", keep) == ["raw/2026/x"]
    assert names("s3://b/raw", keep) == ["2026/x"]
    assert names("s3://b/empty", keep) == []


@pytest.mark.parametrize("pays", [False, True])
def test_the_requester_pays_when_told(fake_s3: FakeS3, pays: bool) -> None:
    fake_s3.objects = {"raw/x": b"x", "raw//y": b"y"}
    access = Access(request_payer=pays)
    storage = open_storage("s3://b", access)
    assert storage.get("s3://b/raw/x") == b"x"
    assert storage.get("s3://b/raw//y") == b"y"
    assert listing("s3://b/raw", access=access).height == 2
    assert listing("s3://b/raw", lambda _: True, access).height == 2
    paid = {headers.get("x-amz-request-payer") for _, _, headers in fake_s3.asked}
    assert paid == {"requester" if pays else None}
    assert ("aws_request_payer" in delta_options("s3://b", access)) == pays
    assert s3_filesystem(access).cat_file("s3://b/raw/x") == b"x"
    assert fake_s3.asked[-1][2].get("x-amz-request-payer") == ("requester" if pays else None)


def _error(code: str, message: str, more: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
        f"<Message>{message}</Message>{more}<RequestId>KMSNoSuchBucketK</RequestId>"
        "<HostId>KMS.Forbidden+SlowDown=</HostId></Error>"
    )


NOT_AUTHORIZED = (
    "User: arn:aws:iam::123456789010:user/reader is not authorized to perform: kms:Decrypt on "
    "resource: arn:aws:kms:us-east-1:123456789010:key/1 because no identity-based policy allows "
    "the kms:Decrypt action"
)
ANSWERS = {
    "another region, redirected": (
        301,
        _error(
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified "
            "endpoint. Please send all future requests to this endpoint.",
            "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint><Bucket>b</Bucket>",
        ),
        "bucket is in another region: set AWS_REGION",
    ),
    "another region, refused": (
        400,
        _error(
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting "
            "'eu-west-1'",
            "<Region>eu-west-1</Region>",
        ),
        "bucket is in another region: set AWS_REGION",
    ),
    "key denied": (403, _error("AccessDenied", NOT_AUTHORIZED), "allow kms:Decrypt"),
    "key disabled": (
        400,
        _error("KMS.DisabledException", "arn:aws:kms:us-east-1:1:key/1 is disabled."),
        "KMS key",
    ),
    "token expired": (
        400,
        _error("ExpiredToken", "The provided token has expired."),
        "credentials have expired: log in again",
    ),
    "token of nobody": (
        400,
        _error("InvalidToken", "The provided token is malformed or otherwise invalid."),
        "not accepted: check AWS_PROFILE",
    ),
    "clock": (
        403,
        _error(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        "clock is wrong",
    ),
    "archived": (
        403,
        _error("InvalidObjectState", "The operation is not valid for the object's storage class"),
        "archived .*restore it",
    ),
    "denied": (403, _error("AccessDenied", "Access Denied"), "access is denied: .*s3:GetObject"),
    "slow down": (
        503,
        _error("SlowDown", "Please reduce your request rate."),
        "slow down, and retries did not help: run again later",
    ),
    "something new": (
        400,
        _error("TeapotError", "I am a teapot."),
        r"Cannot use s3://b/x: TeapotError: I am a teapot\.$",
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_s3_answers_is_explained(fake_s3: FakeS3, answer: str) -> None:
    status, text, words = ANSWERS[answer]
    fake_s3.refusal = (status, {}, text)
    with pytest.raises(StorageError, match=words):
        open_storage("s3://b").get("s3://b/x")
    with pytest.raises(StorageError, match=words.replace("/x", "")):
        listing("s3://b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Server returned non-2xx status code: 403 Forbidden: ", "access is denied"),
        ("Object at location x not found: 404 Not Found: ", "not there"),
        ("HTTP error: error sending request", "cannot be reached: check the network"),
        ("Connect timeout on endpoint URL", "cannot be reached"),
        ("An error occurred (ExpiredToken) when calling GetObject", "log in again"),
        ("first\n  second.", "first second"),
    ],
)
def test_texts_without_a_body_are_explained(text: str, words: str) -> None:
    assert words in explain(text)
    assert "\n" not in explain(text)


def test_an_unreachable_server_is_told_soon(fake_s3: FakeS3) -> None:
    fake_s3.shutdown()
    fake_s3.server_close()
    started = time.monotonic()
    with pytest.raises(StorageError, match="cannot be reached: check the network"):
        open_storage("s3://b").get("s3://b/x")
    assert time.monotonic() - started < 15


# Who we are


def test_no_credentials_is_told_at_once(no_aws: None) -> None:
    started = time.monotonic()
    with pytest.raises(StorageError, match=r"No AWS credentials .*AWS_PROFILE.*aws sso login"):
        open_storage("s3://b")
    assert time.monotonic() - started < 5


def test_a_missing_profile_is_told(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match=r"profile \(nope\) could not be found; check --profile"):
        open_storage("s3://b", Access(profile="nope"))
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(StorageError, match=r"\(gone\) could not be found.*AWS_PROFILE"):
        open_storage("s3://b")


@pytest.fixture
def aws_files(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without keys and endpoint, and two files that have them."""
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name in ("ENDPOINT_URL", "ENDPOINT_URL_S3", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        f"[default]\naws_access_key_id = {NOBODY[0]}\naws_secret_access_key = {NOBODY[1]}\n"
        f"[audit]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
        f"[reader]\naws_access_key_id = {READER[0]}\naws_secret_access_key = {READER[1]}\n"
    )
    config = Path(os.environ["AWS_CONFIG_FILE"])
    config.write_text(
        f"[default]\nregion = eu-west-1\nendpoint_url = {endpoint}\n"
        f"[profile audit]\nregion = eu-central-1\nservices = here\n"
        f"[profile reader]\nendpoint_url = {endpoint}\n"
        f"[services here]\ns3 =\n  endpoint_url = {endpoint}\n"
    )
    forget_s3()
    return config


def test_a_profile_says_who_and_where(
    s3: str, aws_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Access(profile="audit")
    open_storage(s3, audit).put(f"{s3}/raw/x", b"x")
    assert listing(s3, access=audit)["url"].to_list() == [f"{s3}/raw/x"]
    assert s3_filesystem(audit).cat_file(f"{s3}/raw/x") == b"x"
    assert aws_settings(audit).region == "eu-central-1"
    options = delta_options(s3, audit)
    assert options["aws_access_key_id"] == KEY
    assert options["aws_endpoint_url"] == aws_settings(audit).endpoint
    with pytest.raises(StorageError, match="access is denied"):
        listing(s3)  # the default profile's key, at the endpoint of the AWS config file
    assert aws_settings(Access()).region == "eu-west-1"
    monkeypatch.setenv("AWS_PROFILE", "audit")
    forget_s3()
    assert listing(s3).height == 1
    use_key(monkeypatch, *READER)
    assert delta_options(s3, audit)["aws_access_key_id"] == KEY  # a named profile wins


def test_a_session_token_is_passed_on(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    use_key(monkeypatch, "key", "secret")
    assert delta_options("s3://b", Access()) == {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
        "aws_region": "us-east-1",
    }
    assert delta_options("/folder", Access()) == {}


def test_credentials_that_cannot_be_refreshed(
    fake_s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stale:
        def get_frozen_credentials(self) -> None:
            raise OSError("the SSO session has expired")

    monkeypatch.setattr(aws_settings(Access()).credentials, "_credentials", Stale())
    for act in (lambda: delta_options("s3://b", Access()), lambda: listing("s3://b")):
        with pytest.raises(FlowLakeError, match="cannot be refreshed: the SSO session has exp"):
            act()


# What a window lists


def test_a_window_does_not_list_other_years(fake_s3: FakeS3) -> None:
    days = [
        datetime(year, month, day, 12, tzinfo=UTC)
        for year in range(2021, 2027)
        for month in range(1, 13)
        for day in (1, 14, 28)
    ]
    keys = [
        object_key(account, region, "fl-1", day, "0", prefix="logs/")
        for day in days
        for account in ("111111111111", "222222222222")
        for region in ("us-east-1", "eu-west-1")
    ]
    fake_s3.objects = dict.fromkeys(keys, b"x")

    def listed(wanted: Window) -> int:
        fake_s3.asked.clear()
        return list_objects(["s3://b/logs"], wanted, Access()).height

    assert listed(Window()) == len(keys)
    assert len(fake_s3.listings) <= 2
    assert listed(window("2026-12-14", account="111111111111", region="us-east-1")) == 2
    # logs, AWSLogs, account, vpcflowlogs, region, year, month, two days
    assert len(fake_s3.listings) == 9
    assert listed(window("2026-12-14")) == 8
    folders = [re.search(r"/(\d{4})/", prefix) for prefix in fake_s3.listings]
    assert {match[1] for match in folders if match} == {"2026"}


# Many keys are listed side by side

LOGS = [
    f"{place}/2026/{day}/{name}"
    for place in ("AWSLogs/1/vpcflowlogs/eu-west-1", "AWSLogs/1/vpcflowlogs/us-east-1", "b-a")
    for day in ("01/02", "01/03", "02/01")
    for name in ("0.log.gz", "1.log.gz", "1.log.gz.d/x.gz", "2.log.gz", "2.log.gz-1")
]
TREES: dict[str, list[str]] = {
    "flow logs": LOGS,
    "flat": [f"{n:03}.gz" for n in range(60)],
    "folders between objects": [f"{n:02}{e}" for n in range(20) for e in ("", "-a", "/x", "0")][1:],
    "an object above": ["AWSLogs", *LOGS, "z"],
    "empty names deep inside": [*LOGS, f"{LOGS[8]}//x", f"{LOGS[30]}/../y"],
    "empty names above": [*LOGS, "AWSLogs//x", "AWSLogs/1//x", "b-a//x", "b-a/./x"],
    "empty names first": ["//x", "/y", *LOGS],
}


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "FLAT", 6)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    "keep",
    [pytest.param(None, id="all", marks=pytest.mark.long), pytest.param(lambda _: True, id="keep")],
)
@pytest.mark.parametrize("tree", TREES)
def test_a_long_listing_has_each_object_once(fake_s3: FakeS3, tree: str, keep: Keep | None) -> None:
    fake_s3.page = 3
    fake_s3.objects = dict.fromkeys(TREES[tree], b"x")
    found = names("s3://b", keep)
    assert found == sorted(TREES[tree])
    orders = [
        [url for frame in open_storage("s3://b").list("s3://b", keep) for url in frame["url"]]
        for _ in range(2)
    ]
    assert orders[0] == orders[1]


@pytest.mark.usefixtures("small_pages")
def test_a_server_that_sorts_by_folders_is_listed_whole(s3: str) -> None:
    keys = [*LOGS, *(f"AWSLogs/1{end}/{n}" for end in ("", "-a", "!b") for n in range(9))]
    fill(s3, *keys)
    assert names(s3) == sorted(keys)


@pytest.mark.usefixtures("small_pages")
def test_a_listing_refused_anywhere_is_an_error(fake_s3: FakeS3) -> None:
    fake_s3.page = 3
    fake_s3.objects = dict.fromkeys(LOGS, b"x")
    whole = len(listing("s3://b/AWSLogs")), len(fake_s3.listings)
    assert whole == (30, len(fake_s3.asked) - 1)  # one asks for an object AWSLogs
    assert len(set(fake_s3.listings)) > 5, "folder by folder"
    fake_s3.refusal = 403, {}, "<Error><Code>AccessDenied</Code></Error>"
    for fake_s3.granted in range(whole[1]):
        fake_s3.asked.clear()
        with pytest.raises(StorageError, match="s3:ListBucket"):
            listing("s3://b/AWSLogs")


def test_few_keys_are_listed_page_by_page(fake_s3: FakeS3) -> None:
    fake_s3.objects = {f"AWSLogs/{n % 50}/{n}": b"x" for n in range(bucket.FLAT - 1)}
    assert listing("s3://b/AWSLogs").height == bucket.FLAT - 1
    assert set(fake_s3.listings[:-1]) == {"AWSLogs/"}
    assert len([prefix for prefix in fake_s3.listings if prefix]) == 5


def test_many_folders_are_asked_for_at_once(fake_s3: FakeS3) -> None:
    fake_s3.objects = dict.fromkeys((f"{n:02}/{m}" for n in range(60) for m in range(3)), b"x")
    fake_s3.delay = 0.1
    assert listing("s3://b", lambda _: True).height == 180
    assert 8 < fake_s3.most_at_once <= bucket.Bucket.requests_in_flight
