"""Records of any format, right and wrong, and objects of every shape that hold them.

All of it is made from the catalogue of fields and plain Python, and nothing of it by the reader:
what a line must become is known before an object is written.
"""

import gzip
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Literal
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from flowlake.fields import (
    BY_NAME,
    DEFAULT_FORMAT,
    LAST_TIME,
    TRANSIT_GATEWAY_FORMAT,
    Field,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNKNOWN = ("x-new-2", "tomorrow", "date", "object-id", "start-time", "flow-hash", "y")
FOLDERS = ("account-id", "region")
WORD = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Line:
    """A record: its text, and what must become of it. ``row`` is None where it must be rejected."""

    text: bytes
    row: dict[str, Any] | None
    tokens: tuple[str, ...] | None = None
    """Its fields, where it has as many as the format."""
    event: Any = None
    """What stands in JSON instead of a message."""


@dataclass(frozen=True)
class Made:
    """An object, and the number that each of its lines must have."""

    body: bytes
    numbers: list[int] = field(default_factory=list)


# --- Values -------------------------------------------------------------------------------------


def moment(number: int) -> datetime:
    """Seconds, and milliseconds where they would be after the year 9999."""
    thousandths = number if number > LAST_TIME else number * 1000
    return EPOCH + timedelta(milliseconds=thousandths)


def good_token(random: Random, of: Field, plain: bool) -> str:
    if random.random() < 0.12:
        return "-"
    if of.type == "text":
        return text_token(random, of, plain)
    half = 2 ** (31 if of.type == "int32" else 63)
    least = -half if of.minimum is None else of.minimum
    most = half - 1 if of.maximum is None else of.maximum
    if of.type == "time":
        most = LAST_TIME * 1000 + 999
        seconds = random.randint(1_400_000_000, 1_900_000_000)
        usual = random.choice([seconds, seconds, seconds * 1000 + random.randint(0, 999)])
    else:
        usual = random.randint(max(least, 0), min(most, 70_000))
    number = random.choice([usual, usual, least, most, random.randint(least, most)])
    return random.choice(["{}", "{}", "{}", "{}", "{:+}", "{:05}"]).format(number)


def text_token(random: Random, of: Field, plain: bool) -> str:
    if of.name in FOLDERS:
        digits = f"{random.randrange(10**12):012}"
        return random.choice([digits, digits, "000123456789", "us-east-1", "unknown", "A.b_c-9"])
    if of.name == "log-status":
        return random.choice(["OK", "OK", "NODATA", "SKIPDATA", "INCOMPLETEDATA"])
    if "addr" in of.name:
        return random.choice(["10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1", "203.0.113.255"])
    if of.values and random.random() < 0.7:
        return random.choice([*of.values, "ALLOW", "ip-in-ip"])
    letters = "".join(
        random.choices("aZ09é日😀\x7f\xa0\x85\u2028\ufeff\u200b'\",;#\\{}[]%=/|&<", k=6)
    )
    return random.choice(
        [
            f"eni-{random.getrandbits(32):x}",
            quote(letters),
            *(["region", "end", "version"] if of.version else []),
            f"a{letters}" if plain else letters[: random.randint(1, 6)],
        ]
    )


def value_of(token: str, of: Field) -> Any:
    if token == "-":
        return None
    if of.type == "text":
        return token
    return moment(int(token)) if of.type == "time" else int(token)


def wrong_numbers(of: Field) -> list[int]:
    """Whole numbers that no column of this field may hold."""
    half = 2 ** (31 if of.type == "int32" else 63)
    numbers = [half, -half - 1, 2**63, 2**64 + 1]
    if of.type == "time":
        numbers = [-1, LAST_TIME * 1000 + 1000, 10**16, -(2**63), 2**63]
    if of.minimum is not None:
        numbers += [of.minimum - 1]
    if of.maximum is not None and of.type != "time":
        numbers += [of.maximum + 1]
    return numbers


GARBAGE = ("X", "1.5", "0x1F", "--5", "1e3", "5%", "1_000", "\u0665", "4" * 5000)
"""What no whole number is, nor a missing one in any writer's Parquet."""

FOLDERS_NOT = ("../x", "a/b", ".", "X" * 65, "é")

Kind = Literal["text", "message", "parquet", "foreign"]
"""What holds a record: bytes, a string in JSON, AWS's columns, or columns of any type."""


# --- Lines --------------------------------------------------------------------------------------


def some_format(random: Random, size: int) -> tuple[str, ...]:
    """Known fields of either kind of flow log in any order, and up to three of tomorrow."""
    known = random.sample(sorted(BY_NAME), min(size, len(BY_NAME)))
    unknown = random.sample(UNKNOWN, random.choice([0, 0, 1, 2, 3]))
    names = known + unknown
    if random.random() < 0.2:
        names = list(random.choice([DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT, sorted(BY_NAME)]))
    random.shuffle(names)
    return tuple(names)


def good_line(random: Random, fields: Sequence[Field], *, plain: bool = False) -> Line:
    """A record that must become a row; ``plain``: its beginning is not that of JSON."""
    while True:
        tokens = tuple(
            good_token(random, each, plain=plain and not index) for index, each in enumerate(fields)
        )
        if not like_a_header(tokens):
            break
    row = {each.column: value_of(token, each) for each, token in zip(fields, tokens, strict=True)}
    return Line(spaced(random, tokens), row, tokens)


def like_a_header(tokens: Sequence[str]) -> bool:
    """Whether a record may be taken for a header: words alone, and some are names of fields."""
    words = all(WORD.fullmatch(token) for token in tokens)
    return words and any(token in BY_NAME for token in tokens)


def spaced(random: Random, tokens: Sequence[str]) -> bytes:
    """Join fields as AWS does, and at times as AWS's guide and other hands do."""
    line = " ".join(tokens).encode()
    if random.random() < 0.9:
        return line
    return random.choice(
        [
            b" " + line,
            line + b" ",
            line + b"\t ",
            line.replace(b" ", b"  ", 1),
            b"\t\t" + line,
            line.replace(b" ", b" \t \x0b\x0c"),
            line + b"\r",
        ]
    )


def wrong_line(
    random: Random, fields: Sequence[Field], kind: Kind, *, widths: Sequence[int] = ()
) -> Line | None:
    """A record that must be rejected, or None where such a format cannot have one.

    ``widths``: the numbers of fields it must not have, unless it has as many as the format.
    """
    wrong: dict[int, list[str]] = {}
    for index, each in enumerate(fields):
        if each.name in FOLDERS:
            wrong[index] = [*FOLDERS_NOT]
        elif each.type != "text":
            fit = [n for n in wrong_numbers(each) if kind != "parquet" or -(2**63) <= n < 2**63]
            wrong[index] = [str(number) for number in fit] + [*GARBAGE] * (kind != "parquet")
    if kind == "message" and random.random() < 0.2:
        return Line(b"", None, event=random.choice(NO_MESSAGE))
    tokens = list(good_line(random, fields, plain=True).tokens or ())
    columns = kind in ("parquet", "foreign")
    if wrong and (columns or random.random() < 0.6):
        index = random.choice(sorted(wrong))
        tokens[index] = random.choice(wrong[index])
        return Line(spaced(random, tokens), None, tuple(tokens))
    if columns:
        return None
    width = len(fields)
    texts = {width + more: " ".join([*tokens, *"@" * more]).encode() for more in (1, 2, 40)}
    if width > 1:
        texts[width - 1] = " ".join(["@", *tokens[2:]]).encode()
        texts[1] = b"@" * random.choice([1, 9000])
    damage = [bytes([code]) for code in (0, 1, 8, 14, 27, 28, 29, 30, 31)]
    damage += [b"\xff", b"\xc3", b"\xed\xa0\x80"] * (kind == "text")
    rest = "".join(f" {token}" for token in tokens[1:]).encode()
    harm = random.choice(damage)
    return Line(
        random.choice(
            [text for count, text in texts.items() if count not in widths]
            + [b"A" + harm + b"B" + rest, harm + b"A" + rest, b"A" + harm + rest, harm * 9 + rest]
        ),
        None,
    )


NO_MESSAGE = (
    {"id": "5"},
    {"timestamp": 5, "message": None},
    {"message": 5},
    {"message": ["2 123456789012"]},
    {"timestamp": 5, "text": "\ud800"},
)


# --- Shapes -------------------------------------------------------------------------------------


def text_object(random: Random, header: bytes | None, lines: Sequence[Line]) -> Made:
    """Text, with blank lines and repeated headers here and there."""
    texts: list[bytes] = []
    if header is not None:
        texts += [b""] * (random.random() < 0.05) + [header]
    numbers = []
    for line in lines:
        while random.random() < 0.04:
            texts.append(random.choice([b"", b"  \t", header or b""]))
        texts.append(line.text)
        numbers.append(len(texts))
    end = random.choice([b"\n", b"\n", b"\n", b"\r\n"])
    mark = b"\xef\xbb\xbf" if random.random() < 0.05 else b""
    return Made(mark + end.join(texts) + random.choice([end, end, b""]), numbers)


def _gzip(content: bytes, level: int = 9) -> bytes:
    return gzip.compress(content, level, mtime=0)


def zipped(random: Random, made: Made) -> Made:
    return Made(_gzip(made.body, random.randint(0, 9)), made.numbers)


def members(random: Random, made: Made) -> Made:
    """Gzip of several members, cut anywhere, with the padding that tape archives add."""
    cuts = sorted(random.randint(0, len(made.body)) for _ in range(random.randint(1, 4)))
    ends = [0, *cuts, len(made.body)]
    parts = [_gzip(made.body[at:end]) for at, end in itertools.pairwise(ends)]
    return Made(random.choice([b"", b"", b"\0" * 9]).join(parts), made.numbers)


def export(random: Random, lines: Sequence[Line]) -> Made:
    """A log group exported to S3: each line begins with the time of its event."""
    stamps = ["2026-01-14T22:05:00.000Z", "2026-01-14T22:05:00.123Z", "1999-12-31T23:59:59Z"]
    texts = [random.choice(stamps).encode() + b" " + line.text for line in lines]
    made = Made(b"\n".join(texts) + random.choice([b"\n", b""]), list(range(1, len(lines) + 1)))
    return zipped(random, made) if random.random() < 0.5 else made


def _events(random: Random, lines: Sequence[Line], keys: Callable[[str], Any]) -> list[Any]:
    end = random.choice(["", "", "\n", "\r\n"])
    return [keys(line.text.decode() + end) if line.event is None else line.event for line in lines]


def _split(random: Random, events: list[Any]) -> Iterator[list[Any]]:
    while events:
        count = random.choice([1, 2, 5, 100])
        yield events[:count]
        events = events[count:]


def subscription(random: Random, lines: Sequence[Line]) -> Made:
    """What a log group's subscription delivers: documents of events, without a separator."""
    events = _events(
        random,
        lines,
        lambda text: {
            "id": f"{random.getrandbits(180):056}",
            "timestamp": 1_700_000_000_000,
            "message": text,
            "extractedFields": {"log_status": "OK", "srcaddr": "-"},
        },
    )
    about = {"owner": "123456789012", "logGroup": "a", "subscriptionFilters": ["all"]}
    kept = list(_split(random, events))
    control = {
        "messageType": "CONTROL_MESSAGE",
        **about,
        "logEvents": [{"id": "", "timestamp": 1, "message": "CWL CONTROL MESSAGE: Checking"}],
    }
    documents: list[Any] = []
    for each in kept:
        documents += [control] * (random.random() < 0.2)
        documents.append({"messageType": "DATA_MESSAGE", **about, "logEvents": each})
    texts = _written(random, documents)
    separator = random.choice([b"", b"", b"\n"])
    whole = separator.join(texts)
    each_zipped = b"".join(map(_gzip, texts))
    body = random.choice([whole, _gzip(whole), each_zipped, _gzip(each_zipped)])
    return Made(body, list(range(1, len(lines) + 1)))


def messages(random: Random, lines: Sequence[Line]) -> Made:
    """What a flow log delivers to Firehose: ``{"message": …}``, one after the other."""
    texts = _written(random, _events(random, lines, lambda text: {"message": text}))
    body = random.choice([b"", b"\n", b"\r\n", b" "]).join(texts)
    if random.random() < 0.2:
        body = b"[" + b",".join(texts) + b"]"
    return Made(
        random.choice([body, _gzip(body)]),
        list(range(1, len(lines) + 1)),
    )


def events(random: Random, lines: Sequence[Line]) -> Made:
    """What the AWS CLI prints, of ``filter-log-events`` or ``get-log-events``."""
    more = random.choice([{}, {"logStreamName": "eni-1-all", "eventId": "5"}])
    found = _events(
        random,
        lines,
        lambda text: {**more, "timestamp": 1, "message": text, "ingestionTime": 2},
    )
    [text] = _written(random, [{"events": found, "searchedLogStreams": []}])
    return Made(text + random.choice([b"", b"\n"]), list(range(1, len(lines) + 1)))


def _written(random: Random, documents: Sequence[Any]) -> list[bytes]:
    indent, ascii_only = random.choice([None, None, 2, 4]), random.choice([True, False])
    return [
        json.dumps(each, indent=indent, ensure_ascii=ascii_only).encode(errors="backslashreplace")
        for each in documents
    ]


def parquet(random: Random, fields: Sequence[Field], lines: Sequence[Line]) -> Made:
    """Parquet as AWS writes it: a missing text is ``-``, a missing number is null."""
    columns = {}
    types = {"text": pa.string(), "int32": pa.int32(), "int64": pa.int64(), "time": pa.int64()}
    for index, each in enumerate(fields):
        tokens = [line.tokens[index] for line in lines if line.tokens]
        cells: list[Any] = list(tokens)
        if each.type != "text":
            cells = [None if token == "-" else int(token) for token in tokens]
        wide = any(cell and abs(cell) >= 2**31 for cell in cells if each.type == "int32")
        columns[each.name.replace("-", "_")] = pa.array(
            cells, pa.int64() if wide else types[each.type]
        )
    return _parquet(random, pa.table(columns), "gzip", len(lines))


def foreign_parquet(random: Random, fields: Sequence[Field], lines: Sequence[Line]) -> Made:
    """Parquet as other tools rewrote it: other types, and other words for what is missing."""
    columns = {}
    for index, each in enumerate(fields):
        tokens = [line.tokens[index] for line in lines if line.tokens]
        columns[each.name.replace("-", "_")] = random.choice(_representations(each, tokens, random))
    compression = random.choice(["none", "snappy", "zstd", "gzip"])
    return _parquet(random, pa.table(columns), compression, len(lines))


def _representations(of: Field, tokens: Sequence[str], random: Random) -> list[pa.Array]:
    """Every Arrow array that says what the tokens say."""
    missing = ["-", None] if of.type == "text" else ["-", None, "None", "null", "NaN", ""]
    gap = random.choice(missing)
    strings = [gap if token == "-" else token for token in tokens]
    types = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary())
    found = [pa.array(strings, type_) for type_ in types]
    found.append(found[0].dictionary_encode())
    if of.type == "text":
        if of.name == "account-id" and all(re.fullmatch("[0-9]{12}|-", each) for each in tokens):
            found.append(pa.array([None if t == "-" else int(t) for t in tokens], pa.int64()))
        return found
    if not all(re.fullmatch(r"[+-]?[0-9]{1,20}(\.5)?|-", token) for token in tokens):
        return found
    decimals = [None if token == "-" else Decimal(token) for token in tokens]
    found.append(pa.array(decimals, pa.decimal128(38, 2)))
    nan = random.choice([None, float("nan")])
    if all(each is None or abs(each) <= 2**53 for each in decimals):
        floats = [nan if each is None else float(each) for each in decimals]
        found.append(pa.array(floats, pa.float64()))
    if any("." in token for token in tokens):
        return found
    numbers = [None if token == "-" else int(token) for token in tokens]
    present = [number for number in numbers if number is not None]
    least, most = min(present, default=0), max(present, default=0)
    if least >= -(2**63) and most < 2**63:
        found.append(pa.array(numbers, pa.int64()))
    if least >= 0 and most < 2**64:
        found.append(pa.array(numbers, pa.uint64()))
    if of.type == "time" and least >= 0 and most <= LAST_TIME * 1000 + 999:
        found += _timestamps(numbers)
    return found


def _timestamps(numbers: Sequence[int | None]) -> list[pa.Array]:
    times = [None if number is None else moment(number) for number in numbers]
    units = ["us", "ms"]
    if all(time is None or not time.microsecond for time in times):
        units.append("s")
    if all(time is None or time.year < 2262 for time in times):
        units.append("ns")
    naive = [None if time is None else time.replace(tzinfo=None) for time in times]
    return [pa.array(naive, pa.timestamp(unit)) for unit in units] + [
        pa.array(times, pa.timestamp(unit, zone))
        for unit in units
        for zone in ("UTC", "Asia/Tokyo")
    ]


def _parquet(random: Random, table: pa.Table, compression: str, rows: int) -> Made:
    sink = io.BytesIO()
    group = random.choice([1 if rows < 4 else 7, 20, 1000])
    pq.write_table(table, sink, compression=compression, row_group_size=group)
    return Made(sink.getvalue(), list(range(1, rows + 1)))
