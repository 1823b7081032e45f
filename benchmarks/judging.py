"""What must hold however an object is damaged: judged by its bytes, without the reader."""

import itertools
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowlake.errors import ObjectUnreadable
from flowlake.fields import BY_COLUMN, BY_NAME, LAST_TIME, field_for
from flowlake.reading import Batch, RawObject, read_object

RAW = RawObject(7, "/x", "e", 1, datetime(2026, 5, 6, tzinfo=UTC), "/")
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z[ \t]+")
WORDS = re.compile(rb"[a-z][a-z0-9-]*([ \t]+[a-z][a-z0-9-]*)*")
KNOWN = {name.encode() for name in BY_NAME}
BETWEEN = re.compile(r"[\s,\ufeff]*")

Row = frozenset[tuple[str, Any]]


@dataclass(frozen=True)
class Seed:
    """An undamaged object, the fields it is read with, and the row of each record by its text."""

    name: str
    body: bytes
    formats: tuple[tuple[str, ...], ...] = ()
    fields: tuple[str, ...] = ()
    rows: dict[bytes, Row] = field(default_factory=dict)


def check(seed: Seed, body: bytes) -> None:
    """Read an object that was made of the seed, and compare what is read with what its bytes say.

    - Only ``ObjectUnreadable`` may be raised, and only before the first batch.
    - Rows and rejects are the lines, no line is rejected twice, and each row has what a lake needs,
      in the catalogue's types and limits.
    - Text: the lines are those that are not blank, without the headers; how many of them are
      headers is between none and the lines of words alone with a field's name among them.
      JSON that is sound has a line for each event, Parquet as many as its footer says.
    - Records that are whole have the rows they had, when the object has the fields it had.

    Raises:
        AssertionError: when one of these does not hold; and whatever the reader raised.
    """
    found = read(seed, body)
    if not found:
        return
    rows = Counter(row for batch in found for row in whole_rows(batch))
    rejected = [number for batch in found for number in batch.rejects["line_number"]]
    assert None not in rejected, "a reject without a number"
    assert len({*rejected}) == len(rejected), "a line is rejected twice"
    lines = sum(batch.lines for batch in found)
    shape = found[0].shape
    assert {batch.shape for batch in found} == {shape}, "two shapes"
    content = inflated(body)
    if shape == "parquet":
        file = pq.ParquetFile(pa.BufferReader(content))
        assert lines == file.metadata.num_rows, f"{lines} lines of {file.metadata.num_rows} rows"
        return
    units = records(content, shape)
    if units is not None:
        most = sum(unit != b"" for unit in units)
        headers = sum(like_a_header(unit) for unit in units) if shape in ("text", "export") else 0
        assert most - headers <= lines <= most, f"{lines} lines of {most}, {headers} headers"
    if {batch.fields for batch in found} <= {seed.fields, ()}:
        keys = [key(unit) for unit in (sound_lines(content) if units is None else units)]
        header = " ".join(seed.fields).encode()
        if header in keys:
            keys = keys[keys.index(header) :]  # what stands above is rejected
        expected = Counter(seed.rows[each] for each in keys if each in seed.rows)
        assert not expected - rows, f"rows of whole records are missing: {expected - rows}"


def read(seed: Seed, body: bytes) -> list[Batch]:
    """Every batch, or none of an object that cannot be read."""
    batches = read_object(RAW, body, [tuple(map(field_for, names)) for names in seed.formats])
    try:
        first = next(batches, None)
    except ObjectUnreadable:
        return []
    return [] if first is None else [first, *batches]


def whole_rows(batch: Batch) -> Iterator[Row]:
    """A batch's rows, once it is sure that its counts agree and that no value is out of range."""
    flows = batch.flows
    assert batch.lines == flows.height + batch.rejects.height, "lines are not rows and rejects"
    assert batch.rejects["reason"].null_count() == 0, "a reject without a reason"
    for column in ("account_id", "region", "object_id", "date"):
        assert flows[column].null_count() == 0, f"a row without {column}"
    for field_ in (BY_COLUMN[name] for name in flows.columns if name in BY_COLUMN):
        values = flows[field_.column]
        expected = {"text": pl.Categorical(), "int32": pl.Int32(), "int64": pl.Int64()}
        assert values.dtype == expected.get(field_.type, pl.Datetime("us", "UTC")), field_.name
        if field_.type != "text" and values.count():
            last = LAST_TIME * 1_000_000 + 999_999 if field_.type == "time" else field_.maximum
            low, high = values.to_physical().min(), values.to_physical().max()
            assert isinstance(low, int), field_.name
            assert isinstance(high, int), field_.name
            assert field_.minimum is None or low >= field_.minimum, f"{field_.name} {low}"
            assert last is None or high <= last, f"{field_.name} {high}"
    plain = flows.cast({pl.Categorical: pl.String})
    return (frozenset(row.items()) for row in plain.iter_rows(named=True))


def understood(seed: Seed) -> Seed:
    """The seed with its fields and the row of each record, as the undamaged object is read."""
    check(seed, seed.body)
    found = read(seed, seed.body)
    if not found or found[0].shape == "parquet" or len({batch.fields for batch in found}) > 1:
        return seed
    [fields] = {batch.fields for batch in found}
    header = " ".join(fields).encode()
    rejected = {number for batch in found for number in batch.rejects["line_number"]}
    units = records(inflated(seed.body), found[0].shape)
    if units is None:
        return seed
    keys = [key(unit) for number, unit in enumerate(units, 1) if number not in rejected]
    good = [each for each in keys if each not in (None, b"", header)]
    rows = dict(zip(good, (row for batch in found for row in whole_rows(batch)), strict=True))
    return replace(seed, fields=fields, rows=rows)


# --- What the bytes say -------------------------------------------------------------------------


def inflated(body: bytes) -> bytes:
    while body.startswith(GZIP):
        text = b""
        while body:
            member = zlib.decompressobj(31)
            flags = body[3:4] and bytes([body[3] & 0x1F])  # zlib minds those that mean nothing
            text += member.decompress(body[:3] + flags + body[4:])
            assert member.eof, "damaged gzip was read"
            body = member.unused_data.lstrip(b"\0")
        body = text
    return body


def records(content: bytes, shape: str) -> list[bytes | None] | None:
    """What has a line number: lines of text, blank ones too, or the messages of JSON.

    A message that is none is None, as is JSON as a whole if any of it is broken.
    """
    if shape not in ("text", "export"):
        documents = json_documents(content)
        return None if documents is None else [*messages(documents)]
    lines = content.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    stamp = STAMP if shape == "export" else re.compile(b"^")
    return [stamp.sub(b"", line).strip() for line in lines]


def like_a_header(unit: bytes | None) -> bool:
    words = unit is not None and WORDS.fullmatch(unit) is not None
    return words and not KNOWN.isdisjoint((unit or b"").split())


def json_documents(content: bytes) -> list[Any] | None:
    decoder = json.JSONDecoder(strict=False)
    found: list[Any] = []
    at = 0
    try:
        text = content.decode()
        while (between := BETWEEN.match(text, at)) and between.end() < len(text):
            if text[between.end()] not in "{[":
                return None  # a text or a number alone is a scrap of something
            document, at = decoder.raw_decode(text, between.end())
            found.append(document)
    except (ValueError, RecursionError):
        return None
    return found


def messages(documents: Sequence[Any]) -> Iterator[bytes | None]:
    for each in itertools.chain.from_iterable(d if isinstance(d, list) else [d] for d in documents):
        inside = each if isinstance(each, dict) else {}
        lists = [inside[name] for name in ("logEvents", "events") if name in inside]
        events = next((found for found in lists if isinstance(found, list)), None)
        if events is None:
            yield message(each)
        elif inside.get("messageType") != "CONTROL_MESSAGE":
            yield from map(message, events)


def message(event: Any) -> bytes | None:
    text = event.get("message") if isinstance(event, dict) else None
    return text.encode(errors="replace").strip() if isinstance(text, str) else None


def sound_lines(content: bytes) -> Iterator[bytes | None]:
    """The messages of lines that are documents, in JSON that is broken elsewhere."""
    for line in content.split(b"\n"):
        if line.startswith(b'{"message"'):
            yield from messages(json_documents(line) or [])


def key(unit: bytes | None) -> bytes | None:
    """A record's text, however its fields are spaced."""
    return None if unit is None else b" ".join(unit.split())
