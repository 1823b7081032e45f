"""Objects that change or vanish after they were listed: one version or none, never a mixture."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import flowlake
from flowlake.planning import plan
from flowlake.storage import bucket, folder, open_storage
from flowlake.storage.bucket import Bucket
from flowlake.storage.folder import Folder
from flowlake.storage.places import Body
from flowlake.verifying import verify
from tests.conftest import forget_s3
from tests.faults import Fault, Rule, faulty
from tests.test_exactly_once import clean, fill, put, raw_object, totals

KEY, BODY = raw_object(3)
CHANGES: dict[str, bytes | None] = {
    "as long": BODY[:-12] + bytes(12),
    "shorter": raw_object(3, records=1)[1],
    "longer": raw_object(3, records=40)[1],
    "empty": b"",
    "gone": None,
}
"""What becomes of the object; of two of them nothing can be read."""

rarely = pytest.mark.long
some_changes = pytest.mark.parametrize(
    "to", [to if to in ("as long", "gone") else pytest.param(to, marks=rarely) for to in CHANGES]
)


def change(place: str, to: str) -> None:
    body = CHANGES[to]
    if body is None:
        open_storage(place).delete([f"{place}/raw/{KEY}"])
    else:
        put(place, KEY, body)


def at_first_get(
    monkeypatch: pytest.MonkeyPatch, url: str, happens: Callable[[], None]
) -> list[str]:
    """Let it happen before the object is asked for the first time; the list has what was got."""
    got: list[str] = []

    def held(get: Callable[..., Body]) -> Callable[..., Body]:
        def wrapped(self: Any, asked: str, etag: str | None = None) -> Body:
            if asked == url and url not in got:
                got.append(url)
                happens()
            got.append(asked)
            return get(self, asked, etag)

        return wrapped

    for kind in (Folder, Bucket):
        monkeypatch.setattr(kind, "get", held(kind.get))
    return got


def reason(to: str) -> str:
    return "No such file|it is not there" if to == "gone" else "changed while it was being read"


@some_changes
def test_between_listing_and_reading(
    place: str, tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place, 6)
    url, lake = f"{place}/raw/{KEY}", f"{place}/lake"
    at_first_get(monkeypatch, url, lambda: change(place, to))
    report = flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    [(failed, why)] = report.failures
    assert failed == url
    assert re.search(reason(to), why), why
    assert "\n" not in why
    assert (report.objects, report.unreadable) == (5, 0)
    gaps = verify(lake=lake, grace=timedelta(0)).gaps
    assert gaps["gap"].to_list() == ([] if to == "gone" else ["not converted"])
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert totals(lake).equals(clean(place, tmp_path))
    assert verify(lake=lake, grace=timedelta(0), deep="all").gaps.rows() == []


@some_changes
def test_a_changed_object_that_changes_again(
    place: str, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the version before stay until those of a later one are there."""
    fill(place, 6)
    url, lake = f"{place}/raw/{KEY}", f"{place}/lake"
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    before = totals(lake)
    put(place, KEY, raw_object(3, records=20)[1])
    at_first_get(monkeypatch, url, lambda: change(place, to))
    report = flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert (report.objects, [failed for failed, _ in report.failures]) == (0, [url])
    assert totals(lake).equals(before)


@some_changes
def test_between_listing_and_inspecting(
    place: str, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(place, KEY, BODY)
    at_first_get(monkeypatch, url, lambda: change(place, to))
    with pytest.raises(flowlake.StorageError, match=reason(to)):
        flowlake.inspect(url)


@some_changes
def test_between_listing_and_reading_again(
    place: str, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place, 6)
    url, lake = f"{place}/raw/{KEY}", f"{place}/lake"
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    at_first_get(monkeypatch, url, lambda: change(place, to))
    found = verify(lake=lake, grace=timedelta(0), deep="all")
    gaps = [] if to == "gone" else [("unreadable now", url)]
    assert list(found.gaps.select("gap", "url").iter_rows()) == gaps
    assert (found.expired, found.reread) == (int(to == "gone"), 5)


def test_a_dry_run_reads_no_object(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing can change under it: it says what was listed."""
    fill(place, 6)
    url = f"{place}/raw/{KEY}"
    got = at_first_get(monkeypatch, url, lambda: change(place, "gone"))
    listing, new = plan(f"{place}/raw", lake=f"{place}/lake")
    assert (listing.height, new.height, got) == (6, 6, [])


# --- In the middle of a large one ---------------------------------------------------------------

OLD, NEW = os.urandom(1 << 20) * 9, os.urandom(1 << 20) * 9


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held on disk is smaller here."""
    for module in (bucket, folder):
        monkeypatch.setattr(module, "LARGE", 4 << 20)
        monkeypatch.setattr(module, "PIECE", 64 << 10)


def after_first_piece(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any]) -> None:
    def pieces(coming: Iterable[bytes]) -> Iterator[bytes]:
        for number, piece in enumerate(coming):
            if number == 1:
                happens()
            yield piece

    for module in (bucket, folder):
        kept = module.on_disk
        monkeypatch.setattr(module, "on_disk", lambda got, url, kept=kept: kept(pieces(got), url))


def listed(url: str) -> pl.DataFrame:
    return pl.concat(open_storage(url).list(url))


def middle(place: str, to: bytes | None) -> Callable[[], Any]:
    url, storage = f"{place}/large", open_storage(place)
    return (lambda: storage.put(url, to)) if to is not None else (lambda: storage.delete([url]))


@pytest.mark.parametrize(
    "to",
    [
        pytest.param(NEW, id="as long"),
        pytest.param(NEW[:99], id="shorter", marks=rarely),
        pytest.param(None, id="gone", marks=rarely),
    ],
)
def test_in_the_middle_of_a_large_one(
    place: str, to: bytes | None, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes is all of the version that was listed, or an error."""
    url, storage = f"{place}/large", open_storage(place)
    storage.put(url, OLD)
    etag = listed(url)["etag"][0]
    after_first_piece(monkeypatch, middle(place, to))
    try:
        body = storage.get(url, etag)
    except flowlake.StorageError as error:
        assert "\n" not in str(error)
    else:
        assert hashlib.sha256(body).digest() == hashlib.sha256(OLD).digest()


@pytest.mark.parametrize(
    "to",
    [
        pytest.param(NEW, id="as long"),
        pytest.param(NEW[:99], id="shorter", marks=rarely),
        pytest.param(None, id="gone", marks=rarely),
    ],
)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.CUT_OFF, marks=rarely),
        pytest.param(Fault.SHORT, marks=rarely),
        Fault.RESET_MIDWAY,
    ],
)
def test_in_the_middle_of_a_large_one_whose_connection_breaks(
    s3: str,
    s3_server: str,
    to: bytes | None,
    fault: Fault,
    large: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest is asked for as the rest of that version, not of whatever is there now."""
    open_storage(s3).put(f"{s3}/large", OLD)
    etag = listed(f"{s3}/large")["etag"][0]
    meanwhile = middle(s3, to)
    with faulty(s3_server) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", way.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.endpoint)
        forget_s3()
        after_first_piece(monkeypatch, meanwhile)
        way.spoil(Rule((fault,), "^GET /[^/]+/large"))
        try:
            body = open_storage(s3).get(f"{s3}/large", etag)
        except flowlake.StorageError as error:
            assert "\n" not in str(error)
        else:
            assert bytes(body) == OLD[: len(body)], "of two versions"
            assert len(body) == len(OLD) or fault is Fault.SHORT
        assert way.spoil()


def test_a_file_that_is_written_into_while_it_is_read(
    tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    path.write_bytes(OLD)
    etag = listed(str(path))["etag"][0]

    def write_into() -> None:
        with path.open("r+b") as file:
            file.seek(len(OLD) // 2)
            file.write(NEW[:99])

    after_first_piece(monkeypatch, write_into)
    with pytest.raises(flowlake.StorageError, match="changed while it was being read"):
        open_storage(str(path)).get(str(path), etag)
