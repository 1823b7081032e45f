"""Objects that are read together say what each of them says when it is read alone."""

import gzip
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flowlake.errors import ObjectUnreadable
from flowlake.fields import DEFAULT_FORMAT, field_for
from flowlake.reading import Batch, RawObject, Together, read_object, read_together, together
from tests import shapes

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEADERS: tuple[tuple[str, ...], ...] = (
    tuple(DEFAULT_FORMAT),
    ("srcaddr", "end", "region", "log-status", "account-id"),
    ("version", "resource-type", "tgw-id", "start", "bytes", "tomorrow"),
    ("interface-id", "packets"),
)
SPOILS = ("", "", "", "", "", "", "wrong", "crlf", "cut", "header", "headerless", "json", "empty")
"""What is done to an object; most are as AWS makes them."""


def record(random: Random, names: Sequence[str], at: datetime) -> bytes:
    line = shapes.good_line(random, [field_for(name) for name in names]).text
    tokens = line.split()
    for name, seconds in (("start", 0), ("end", 60)):
        if name in names and tokens[names.index(name)] != b"-":
            tokens[names.index(name)] = b"%d" % (at.timestamp() + seconds)
    return b" ".join(tokens)


def made(number: int, seed: int) -> tuple[RawObject, bytes, bool]:
    """An object, and whether nothing is wrong with it."""
    random = Random(seed)
    names = random.choice(HEADERS)
    far = random.choice([0, 0, 0, 0, 3, 30])
    lines = [" ".join(names).encode()]
    days = [random.choice([0, far]) for _ in range(random.randint(1, 8))]
    lines += [record(random, names, DAY + timedelta(days=day)) for day in days]
    spoil = random.choice(SPOILS)
    if spoil == "wrong":
        lines.insert(random.randint(1, len(lines)), b"one two three")
    elif spoil == "header":
        lines = lines[:1]
    elif spoil == "headerless":
        lines = lines[1:]
    body = b"\n".join(lines) + random.choice([b"", b"\n"])
    body = {
        "crlf": body.replace(b"\n", b"\r\n"),
        "json": b'{"messageType": "CONTROL_MESSAGE", "logEvents": []}',
        "empty": b"",
    }.get(spoil, body)
    if spoil == "cut" or random.random() < 0.7:
        middle = random.choice([0, len(body) // 2])  # of one member, or of two
        body = b"".join(gzip.compress(part, mtime=0) for part in (body[:middle], body[middle:]))
    if spoil == "cut":
        body = body[:-5]
    raw = RawObject(
        number,
        f"/{number}",
        "e",
        len(body),
        DAY + timedelta(hours=number),
        "/",
        account_id=random.choice([None, "000000000001", "123456789012"]),
        region=random.choice([None, "eu-west-1"]),
        flow_log_id=random.choice([None, "fl-1", "fl-2"]),
        slot=random.choice([None, DAY, DAY + timedelta(days=1)]),
    )
    return raw, body, spoil == ""


def as_text(flows: pl.DataFrame) -> pl.DataFrame:
    return flows.with_columns(pl.col(pl.Categorical).cast(pl.String))


def alone(raw: RawObject, body: bytes) -> list[Batch] | str:
    try:
        return list(read_object(raw, body))
    except ObjectUnreadable as error:
        return str(error)


@given(seeds=st.lists(st.integers(0, 10**9), max_size=25), held=st.sampled_from([1, 500, 8 << 20]))
def test_they_say_what_each_says_alone(seeds: list[int], held: int) -> None:
    objects = [made(number, seed) for number, seed in enumerate(seeds)]
    bodies = {raw.object_id: body for raw, body, _ in objects}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "TOGETHER", held)
        read = list(read_together((raw, body) for raw, body, _ in objects))
    seen = []
    for each in read:
        if not isinstance(each, Together):
            raw, body = each
            assert bodies[raw.object_id] == body
            seen.append(raw.object_id)
            continue
        assert len(each.objects) > 1
        assert each.counts.height == len(each.objects)
        at = 0
        for raw, count in zip(each.objects, each.counts.to_dicts(), strict=True):
            batches = alone(raw, bodies[raw.object_id])
            assert isinstance(batches, list)
            [batch] = batches
            rows = each.flows[at : at + count["rows"]]
            assert_frame_equal(as_text(rows), as_text(batch.flows), check_column_order=False)
            assert (batch.fields, batch.shape, batch.rejects.height) == (each.fields, "text", 0)
            assert count == {
                "rows": batch.flows.height,
                "nodata": batch.having("NODATA"),
                "skipdata": batch.having("SKIPDATA"),
                "misdated": batch.misdated,
                "first_date": batch.flows["date"].min(),
                "last_date": batch.flows["date"].max(),
            }
            at += count["rows"]
            seen.append(raw.object_id)
        assert at == each.flows.height
    assert sorted(seen) == list(range(len(objects))), "each object once"


def test_clean_objects_of_one_header_are_read_together() -> None:
    random = Random(5)
    bodies = []
    for number in range(40):
        names = HEADERS[number % 2]
        lines = [" ".join(names).encode(), *(record(random, names, DAY) for _ in range(5))]
        if number == 20:
            lines.append(b"one two three")
        bodies.append(gzip.compress(b"\n".join(lines)))
    raws = [RawObject(n, f"/{n}", "e", 1, DAY, "/") for n in range(40)]
    read = list(read_together(zip(raws, bodies, strict=True)))
    alone = [each[0].object_id for each in read if not isinstance(each, Together)]
    assert 20 in alone
    assert len(alone) <= 2, "one wrong line costs its object its company, and one neighbour"
    assert sum(len(each.objects) for each in read if isinstance(each, Together)) >= 38


def test_a_large_object_is_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "SMALL", 400)
    header = " ".join(HEADERS[3]).encode()
    small, large = header + b"\neni-1 1\n", header + b"\neni-1 1" * 60 + b"\n"
    for body in (large, gzip.compress(large), gzip.compress(small) + gzip.compress(large[22:])):
        raws = [RawObject(n, f"/{n}", "e", 1, DAY, "/") for n in range(3)]
        [apart, both] = read_together(zip(raws, (small, body, small), strict=True))
        assert apart == (raws[1], body)
        assert isinstance(both, Together)
        assert [raw.object_id for raw in both.objects] == [0, 2]
        assert both.counts["first_date"].to_list() == [date(2026, 3, 1)] * 2
