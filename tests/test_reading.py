"""Whatever the bytes, read_text finds the rows and the wrong lines that a slow oracle finds.

The oracle is written from AWS's rules and FlowLake's promises, one line at a time in plain
Python; it shares only the catalogue of fields with the code it judges.
"""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flowlake.errors import ObjectUnreadable
from flowlake.fields import BY_NAME, DEFAULT_FORMAT, Field, field_for
from flowlake.reading import Batch
from flowlake.reading import text as text_module
from flowlake.reading.careful import read_carefully
from flowlake.reading.compression import line_chunks
from flowlake.reading.text import _read_quickly, _survey, read_text
from flowlake.samples import sample_objects

RECORDS = Path(__file__).parent / "data" / "records"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_10000 = 253_402_300_800
SPACE = b" \t\r\x0b\x0c"


@dataclass
class Found:
    """What an object holds: rows by column, the numbers of wrong lines, and the count of both."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    lines: int = 0


def oracle(body: bytes) -> Found:
    found = Found()
    fields: list[Field] | None = None
    physical = body.split(b"\n")
    if physical[-1] == b"":
        physical.pop()
    for number, line in enumerate(physical, 1):
        if not line.strip(SPACE):
            continue
        tokens = re.split(rb"[ \t\r\x0b\x0c]+", line.strip(SPACE))
        named = names(tokens)
        if named is not None and (
            fields is None
            or named == fields
            or sum(each.name in BY_NAME for each in named) > len(named) / 2
        ):
            fields = named
            continue
        if fields is None:
            fields = [BY_NAME[name] for name in DEFAULT_FORMAT]
        found.lines += 1
        try:
            assert len(tokens) == len(fields)
            assert not any(code < 32 and code not in SPACE for code in line)
            cells = zip(fields, tokens, strict=True)
            row = {each.column: value(token, each) for each, token in cells}
        except (AssertionError, ValueError):
            found.wrong.append(number)
        else:
            found.rows.append(row)
    return found


def names(tokens: list[bytes]) -> list[Field] | None:
    if not all(re.fullmatch(rb"[a-z][a-z0-9-]*", token) for token in tokens):
        return None
    fields = [field_for(token.decode()) for token in tokens]
    return fields if any(each.name in BY_NAME for each in fields) else None


def value(token: bytes, each: Field) -> Any:
    text = token.decode()
    if text == "-":
        return None
    if each.type == "text":
        if each.name in ("account-id", "region"):
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text)
        return text
    assert re.fullmatch(r"[+-]?[0-9]+", text)
    number = int(text)
    if each.type == "time":
        assert 0 <= number < YEAR_10000 * 1000
        seconds = number < YEAR_10000
        return EPOCH + (timedelta(seconds=number) if seconds else timedelta(milliseconds=number))
    bits = 32 if each.type == "int32" else 64
    assert -(2 ** (bits - 1)) <= number < 2 ** (bits - 1)
    assert each.minimum is None or number >= each.minimum
    assert each.maximum is None or number <= each.maximum
    return number


def found_in(batches: Iterator[Batch]) -> Found:
    found = Found()
    for batch in batches:
        assert batch.lines == batch.flows.height + batch.rejects.height
        assert pl.String not in batch.flows.dtypes
        found.rows += batch.flows.cast({pl.Categorical: pl.String}).to_dicts()
        found.wrong += batch.rejects["line_number"].to_list()
        found.lines += batch.lines
        assert None not in batch.rejects["reason"].to_list()
    return found


def read(body: bytes, chunk: int = 1 << 20) -> Found:
    return found_in(read_text(line_chunks(body, chunk)))


# --- Random objects -------------------------------------------------------------------------

TEXTS = st.sampled_from(
    ["-", "10.0.0.1", "2001:db8::1", "eni-0a", "ACCEPT", "OK", "a%2Db%20c", '"', "x'y", "é", "-1"]
) | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9)
FOLDERS = st.sampled_from(["-", "000123456789", "unknown", "us-east-1"])
UNKNOWN_FIELDS = ["tomorrow", "x-new-2", "date", "object-id", "start-time"]


def numbers(each: Field) -> st.SearchStrategy[str]:
    half = 2**31 if each.type == "int32" else 2**63
    least = -half if each.minimum is None else each.minimum
    most = half - 1 if each.maximum is None else each.maximum
    edges = st.sampled_from([str(least), str(most), "-", "007" if least <= 7 else "-"])
    return edges | st.integers(least, most).map(str)


@st.composite
def formats(draw: st.DrawFn) -> list[str]:
    known = draw(st.lists(st.sampled_from(sorted(BY_NAME)), min_size=1, max_size=8, unique=True))
    unknown = draw(st.lists(st.sampled_from(UNKNOWN_FIELDS), max_size=2, unique=True))
    return draw(st.permutations(known + unknown))


@st.composite
def records(draw: st.DrawFn, names: list[str]) -> list[str]:
    tokens = []
    for name in names:
        each = field_for(name)
        if name in ("account-id", "region"):
            tokens.append(draw(FOLDERS))
        else:
            tokens.append(draw(TEXTS if each.type == "text" else numbers(each)))
    return tokens


HARM = {
    "drop": lambda line, token: line.rpartition(b" ")[0],
    "drop, then a space": lambda line, token: line.rpartition(b" ")[0] + b" ",
    "drop, then two spaces": lambda line, token: line.replace(b" ", b"  ", 1).rpartition(b" ")[0],
    "add": lambda line, token: line + b" " + token,
    "garble": lambda line, token: line.replace(b"1", token, 1),
    "first": lambda line, token: token + b" " + line.partition(b" ")[2],
    "last": lambda line, token: line.rpartition(b" ")[0] + b" " + token,
    "double": lambda line, token: line.replace(b" ", b"  "),
    "tabs": lambda line, token: line.replace(b" ", b"\t", 1),
    "lead": lambda line, token: b" " + line,
    "trail": lambda line, token: line + b" ",
    "carriage return": lambda line, token: line + b"\r",
    "two of them": lambda line, token: line + b"\r\r",
    "one inside": lambda line, token: line.replace(b" ", b" \r", 1),
    "blank": lambda line, token: line + b"\n",
    "white": lambda line, token: b" \t\n" + line,
}
TOKENS = [
    *(b"x", b"-", b"1.5", b"1e3", b"0x1F", b"+5", b"--5", b"-5", b"99999", b"2147483648"),
    *(b"9223372036854775807", b"9223372036854775808", b"1616729292123", b"253402300800"),
    *(b"\xff", b"\xc3", b"\x00", b"\x0b", b"a\x1fb", b"\xef\xbc\x95", b"\xed\xa0\x80", b"../x"),
    *(b"a\tb", b"version", b"NaN", b"true", b'"1"', b"1,5", b"\xc2\xa0"),
]


def half_known(names: list[str]) -> bool:
    """A first line with fewer known fields is a header only if the lines below it are as wide."""
    return 2 * sum(name in BY_NAME for name in names) >= len(names)


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, int]:
    """An object's text, maybe without a header, and the length of its longest line."""
    headed = draw(st.booleans())
    names = draw(formats().filter(half_known)) if headed else list(DEFAULT_FORMAT)
    lines = [b" ".join(name.encode() for name in names)] if headed else []
    if not headed:
        lines.append(b"2 123456789012 eni-0 - - - - - - - 1418530010 1418530070 - NODATA")
    for _ in range(draw(st.integers(0, 8))):
        line = " ".join(draw(records(names))).encode()
        event = draw(st.sampled_from([None, None, None, "header", "other", *HARM]))
        if event in HARM:
            line = HARM[event](line, draw(st.sampled_from(TOKENS)))
        elif event is not None:
            names = draw(formats()) if event == "other" else names
            line = b" ".join(name.encode() for name in names)
        lines.append(line)
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n"]))
    text = end.join(lines) + draw(st.sampled_from([b"", end]))
    return text, max(map(len, text.split(b"\n"))) + 1


@settings(max_examples=3 * settings().max_examples, suppress_health_check=[HealthCheck.too_slow])
@given(objects(), st.integers(0, 200), st.booleans())
def test_reads_what_the_oracle_reads(made: tuple[bytes, int], more: int, zipped: bool) -> None:
    body, longest = made
    expected = oracle(body)
    assert expected.lines == len(expected.rows) + len(expected.wrong)
    if zipped:
        body = gzip.compress(body)
    assert read(body) == expected
    assert read(body, chunk=longest + more) == expected


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_fast_path_and_the_careful_path_agree(data: st.DataObject) -> None:
    names = data.draw(formats().filter(lambda names: any(is_number(name) for name in names)))
    lines = data.draw(st.lists(records(names), min_size=1, max_size=9))
    text = "".join(" ".join(line) + "\n" for line in lines).encode()
    fields = tuple(field_for(name) for name in names)
    quick = _read_quickly(text, fields, _survey(text))
    if any(int(time) >= YEAR_10000 for time in times(names, lines)):
        return
    assert quick is not None, "clean text needs no second look"
    [(latest, careful)] = read_carefully(text, fields, 1)
    assert latest == fields
    assert quick.flows.schema == careful.flows.schema
    assert_frame_equal(quick.flows, careful.flows)
    assert careful.lines == quick.lines == len(lines)
    assert careful.fields == quick.fields == tuple(field.name for field in fields)


def is_number(name: str) -> bool:
    return field_for(name).type != "text"


def times(names: list[str], lines: list[list[str]]) -> list[str]:
    at = [index for index, name in enumerate(names) if field_for(name).type == "time"]
    return [line[index] for line in lines for index in at if line[index] != "-"]


def test_the_oracle_reads_the_samples_as_read_text_does() -> None:
    for _, body in sample_objects(hours=1, records_per_object=60):
        expected = oracle(gzip.decompress(body))
        assert expected.rows
        assert not expected.wrong
        assert read(body) == expected


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(objects(), st.integers(1, 300))
def test_doubtful_text_read_in_pieces_is_the_same(made: tuple[bytes, int], piece: int) -> None:
    body, _ = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "PIECE", piece)
        assert read(body) == oracle(body)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_text_is_surveyed_block_by_block(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [body for body, *_ in EXAMPLES.values() if len(body) < 9_999]
    whole = [_survey(text) for text in texts]
    assert {survey.plain for survey in whole} == {True, False}
    monkeypatch.setattr(text_module, "SURVEYED_AT_ONCE", size)
    assert [_survey(text) for text in texts] == whole


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.log")), ids=lambda path: path.stem)
def test_the_oracle_reads_real_records_as_read_text_does(path: Path) -> None:
    body = path.read_bytes()
    assert read(body) == oracle(body)
    assert read(body, chunk=600) == oracle(body)


# --- One example for each thing that can come ---------------------------------------------------

HEADER = b"account-id bytes start log-status\n"
GOOD = b"000123456789 52 1616729292 OK\n"
DEFAULT = (
    b"2 123456789010 eni-1 10.0.0.1 10.0.0.2 80 49152 6 3 180 1418530010 1418530070 ACCEPT OK\n"
)
NODATA = b"2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - NODATA\n"
SKIPDATA = b"2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - SKIPDATA\n"
SHORTER = b"bytes start\n"

EXAMPLES: dict[str, tuple[bytes, int, list[int]]] = {
    # name: the text, how many rows, which lines are wrong
    "nothing": (b"", 0, []),
    "one line end": (b"\n", 0, []),
    "blank lines only": (b"\n \n\r\n", 0, []),
    "header only": (HEADER, 0, []),
    "header without end": (HEADER[:-1], 0, []),
    "no final newline": (HEADER + GOOD + GOOD[:-1], 2, []),
    "headerless": (DEFAULT + NODATA + SKIPDATA, 3, []),
    "headerless, wrong first line": (b"# export\n" + DEFAULT, 1, [1]),
    "headerless, then a header": (DEFAULT + HEADER + GOOD, 2, []),
    "lines above the header": (GOOD + b"\n" + HEADER + GOOD, 1, [1]),
    "blank lines above the header": (b"\n\r\n" + HEADER + GOOD + b"x\n", 1, [5]),
    "spaces around the header": (b"  account-id  bytes start\tlog-status \r\n" + GOOD, 1, []),
    "repeated header": (HEADER + GOOD + HEADER + GOOD + HEADER, 2, []),
    "another header": (HEADER + GOOD + SHORTER + b"7 1616729292\n" + GOOD, 2, [5]),
    "words, then a header": (HEADER + GOOD + b"some words\n" + SHORTER + b"7 1\n", 2, [3]),
    "header, header": (HEADER + SHORTER + b"7 1616729292\n", 1, []),
    "inner header names twice": (HEADER + GOOD + b"start start bytes region\n" + GOOD, 1, [4]),
    "and a good one after": (HEADER + b"bytes bytes\n1 1\n" + HEADER + GOOD, 1, [3]),
    "all text, like a header": (b"instance-id instance-tag\ni-1 version\ni-2 region\n", 2, []),
    "all text, header repeated": (b"action region\nACCEPT eu-west-1\naction region\n", 1, []),
    "one field": (b"bytes\n1\n-\nx\n\n2\n", 3, [4]),
    "one text field": (b"srcaddr\n-\n10.0.0.1\n- -\n", 2, [4]),
    "too few fields": (HEADER + b"000123456789 52 1616729292\n" + GOOD, 1, [2]),
    "too few, then a space": (HEADER + b"000123456789 52 1616729292 \n" + GOOD, 1, [2]),
    "too few, doubled space": (HEADER + b"000123456789  52 1616729292\n" + GOOD, 1, [2]),
    "too few, a space before": (HEADER + b" 52 1616729292 OK\n" + GOOD, 1, [2]),
    "too few and too many": (HEADER + b"1 52 1616729292\n1 52 1616729292 OK OK\n", 0, [2, 3]),
    "too many fields": (HEADER + GOOD[:-1] + b" x\n" + GOOD, 1, [2]),
    "too many in the first": (HEADER + GOOD[:-1] + b" -\n" + GOOD[:-1] + b" -\n", 0, [2, 3]),
    "doubled space": (HEADER + GOOD.replace(b" ", b"  ") + GOOD, 2, []),
    "leading space": (HEADER + b" " + GOOD, 1, []),
    "trailing space": (HEADER + GOOD[:-1] + b" \n", 1, []),
    "tabs": (HEADER + GOOD.replace(b" ", b"\t"), 1, []),
    "tab within fields": (b"srcaddr bytes\na\tb 1\na\t1\n", 1, [2]),
    "CRLF": ((HEADER + GOOD + GOOD).replace(b"\n", b"\r\n"), 2, []),
    "CRLF in one line": (HEADER + GOOD[:-1] + b"\r\n" + GOOD, 2, []),
    "blank lines": (HEADER + b"\n" + GOOD + b"\n\nx\n" + GOOD, 2, [6]),
    "not a number": (HEADER + GOOD.replace(b"52", b"5x2"), 0, [2]),
    "a fraction": (HEADER + GOOD.replace(b"52", b"5.2"), 0, [2]),
    "negative bytes": (HEADER + GOOD.replace(b"52", b"-52"), 0, [2]),
    "negative bytes below": (HEADER + GOOD + GOOD.replace(b"52", b"-52"), 1, [3]),
    "beyond 2^31": (b"version tcp-flags\n2147483648 2\n2 2147483648\n", 0, [2, 3]),
    "greatest int64": (HEADER + GOOD.replace(b"52", b"9223372036854775807"), 1, []),
    "beyond 2^63": (HEADER + GOOD.replace(b"52", b"9223372036854775808"), 0, [2]),
    "beyond 2^64": (HEADER + GOOD.replace(b"52", b"18446744073709551617"), 0, [2]),
    "port 65536": (DEFAULT.replace(b" 80 ", b" 65536 ") + DEFAULT, 1, [1]),
    "int32 overflow": (DEFAULT.replace(b" 80 ", b" 4294967376 ") + DEFAULT, 1, [1]),
    "protocol 256": (DEFAULT.replace(b" 6 ", b" 256 "), 0, [1]),
    "year 9999": (HEADER + GOOD.replace(b"1616729292", b"253402300799"), 1, []),
    "milliseconds from 1978 on": (HEADER + GOOD.replace(b"1616729292", b"253402300800"), 1, []),
    "milliseconds of 9999": (HEADER + GOOD.replace(b"1616729292", b"253402300799999"), 1, []),
    "and one more": (HEADER + GOOD.replace(b"1616729292", b"253402300800000"), 0, [2]),
    "microseconds": (HEADER + GOOD.replace(b"1616729292", b"1616729292123456"), 0, [2]),
    "invalid UTF-8": (b"start srcaddr\n1 a\xff\n1 b\n", 1, [2]),
    "NUL in text": (b"start srcaddr\n1 a\0b\n1 b\n", 1, [2]),
    "NUL in a number": (b"start srcaddr\n1\0 a\n1 b\n", 1, [2]),
    "a block of NULs": (HEADER + GOOD + b"\0" * 4096 + b"\n" + GOOD, 2, [3]),
    "quotes": (b'start srcaddr dstaddr\n1 "a b"\n1 " "\n1 "a b\n2 x "y\n', 4, []),
    "a comma and a hash": (b"start srcaddr\n1 #a,b\n# b\n", 1, [3]),
    "percent-encoded tag": (b"start instance-tag\n1 a%2Db%20%C3%A9\n", 1, []),
    "a long value": (b"start srcaddr\n1 " + b"x" * 200_000 + b"\n", 1, []),
    "a long wrong line": (b"start srcaddr\n" + b"x" * 200_000 + b"\n1 a\n", 1, [2]),
    "account that climbs": (HEADER + GOOD.replace(b"000123456789", b"../../x"), 0, [2]),
    "account with a slash": (HEADER + GOOD.replace(b"000123456789", b"1/2") + GOOD, 1, [2]),
    "region of dots": (b"start region\n1 ..\n1 -\n1 us-east-1\n", 2, [2]),
    "IPv6": (DEFAULT.replace(b"10.0.0.1", b"2001:db8::1"), 1, []),
    "half of the fields known": (b"start x-ray\n", 0, []),
    "fewer known, a line as wide": (b"start x-ray x-new\n1 5\n1 5 6\n", 1, [2]),
    "field of tomorrow": (b"start x-ray\n1 5\n1 -\n1 a.b\n", 3, []),
}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_example(name: str, zipped: bool) -> None:
    body, rows, wrong = EXAMPLES[name]
    found = read(gzip.compress(body) if zipped else body)
    assert (len(found.rows), found.wrong) == (rows, wrong)
    assert found.lines == rows + len(wrong)


def test_a_header_that_names_twice_spoils_the_chunks_below_it() -> None:
    body = HEADER + GOOD + b"start start bytes region\n" + b"1 1 1 x\n" * 30 + HEADER + GOOD
    found = read(body, chunk=100)
    assert (len(found.rows), found.wrong) == (2, list(range(4, 34)))


HERE_THE_ORACLE_IS_TOO_SIMPLE = {
    "headerless, wrong first line",
    "lines above the header",
    "inner header names twice",
    "and a good one after",
}


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - HERE_THE_ORACLE_IS_TOO_SIMPLE))
def test_the_oracle_agrees_on_the_example(name: str) -> None:
    body = EXAMPLES[name][0]
    assert read(body) == oracle(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (GOOD, "records of 4 fields without a header"),
        (b"\n\n<html><body>403 Forbidden</body></html>\n", "HTML"),
        (b"\x1f", "binary data"),
        (b"\0" * 100, "binary data"),
        (b"start at the beginning\nand go on to the end of it\n", "text that is no flow log"),
        (b"bytes start bytes\n1 2 3\n", "names a field twice"),
        (b"start start-time end\n", None),
    ],
)
def test_what_is_no_flow_log_is_refused_as_a_whole(body: bytes, message: str | None) -> None:
    if message is None:
        assert read(body).rows == []  # an unknown field steps aside for the known one
        return
    with pytest.raises(ObjectUnreadable, match=message):
        next(read_text(line_chunks(body)))
