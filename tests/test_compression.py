"""Damaged gzip gives no line; sound gzip gives every line, in pieces, in bounded memory."""

import gzip
import subprocess
import sys
import zlib
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlake.errors import ObjectUnreadable
from flowlake.reading import compression
from flowlake.reading.compression import line_chunks
from flowlake.reading.parquet import read_parquet
from flowlake.reading.text import read_text

TEXT = b"version account-id start\n" + b"".join(
    b"2 123456789012 %d\n" % (1616729292 + number) for number in range(30)
)
ZIPPED = gzip.compress(TEXT, mtime=5)
CHUNKS = pytest.mark.parametrize("chunk", [100, 400, 1 << 20])


def text_of(body: bytes, chunk: int = 1 << 20) -> bytes:
    return b"".join(line_chunks(body, chunk))


@CHUNKS
def test_every_truncation_is_refused_before_the_first_line(chunk: int) -> None:
    for length in range(2, len(ZIPPED)):
        with pytest.raises(ObjectUnreadable, match="truncated"):
            line_chunks(ZIPPED[:length], chunk)
        with pytest.raises(ObjectUnreadable, match="truncated"):
            line_chunks(ZIPPED + ZIPPED[:length], chunk)
        with pytest.raises(ObjectUnreadable):
            next(read_text(line_chunks(ZIPPED[:length], chunk)))
    with pytest.raises(ObjectUnreadable):
        next(read_text(line_chunks(ZIPPED[:1], chunk)))
    assert list(read_text(line_chunks(b"", chunk))) == []


@CHUNKS
def test_every_flipped_bit_is_refused_or_harmless(chunk: int) -> None:
    harmless = set()
    for at in range(len(ZIPPED)):
        for bit in range(8):
            body = bytearray(ZIPPED)
            body[at] ^= 1 << bit
            try:
                if at < 2:  # no longer looks like gzip
                    next(read_text(line_chunks(bytes(body), chunk)))
                    pytest.fail(f"binary text was read, bit {bit} of byte {at}")
                assert text_of(bytes(body), chunk) == TEXT
                harmless.add(at)
            except ObjectUnreadable:
                pass
    trailer = set(range(len(ZIPPED) - 8, len(ZIPPED)))
    assert not harmless & trailer, "the CRC and the length are checked"
    # Flags, time and system of the header; the bits that pad the last byte of the data.
    assert harmless <= {*range(3, 10), len(ZIPPED) - 9}


@given(
    st.lists(st.integers(0, len(TEXT)), max_size=5),
    st.integers(60, 900),
    st.integers(0, 9),
    st.sampled_from([b"", b"\0" * 700]),
)
def test_members_joined_anywhere_give_the_text(
    cuts: list[int], chunk: int, level: int, padding: bytes
) -> None:
    ends = [0, *sorted(cuts), len(TEXT)]
    parts = [TEXT[start:end] for start, end in pairwise(ends)]
    body = padding.join(gzip.compress(part, level) for part in parts) + padding
    pieces = list(line_chunks(body, chunk))
    assert b"".join(pieces) == TEXT
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert max(map(len, pieces)) <= 2 * chunk
    assert list(line_chunks(body)) == [TEXT]


def test_many_small_members_are_one_piece_and_inflated_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    gunzip = compression._gunzip

    def counted(body: bytes, chunk: int) -> Iterator[bytes]:
        calls.append(len(body))
        return gunzip(body, chunk)

    monkeypatch.setattr(compression, "_gunzip", counted)
    body = b"".join(gzip.compress(line) for line in TEXT.splitlines(keepends=True))
    assert list(line_chunks(body)) == [TEXT]
    assert calls == [len(body)]


@pytest.mark.parametrize("chunk", [1 << 15, 1 << 26])
def test_members_longer_than_a_window_follow_short_ones(chunk: int) -> None:
    noise = Random(5).randbytes(5 * compression.FEED)
    parts = [b"", b"x", noise, b"y" * len(noise), b"z", noise[: compression.FEED], b"last"]
    body = b"\0".join(map(gzip.compress, parts))
    pieces, _ = compression.inflated(body, chunk)
    assert b"".join(pieces) == b"".join(parts)
    for cut in (3, compression.FEED, 3 * compression.FEED):
        with pytest.raises(ObjectUnreadable, match="truncated"):
            compression.inflated(body[:-cut], chunk)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_more_than_flow_logs_can_be_is_refused(
    levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "ANY_RATIO", 1 << 20)
    body = b"\n" * (compression.ANY_RATIO + 1)
    for _ in range(levels):
        body = gzip.compress(body, 1 if levels == 1 else 9)
    with pytest.raises(ObjectUnreadable, match=r"bytes of gzip hold more than 1,048,576"):
        compression.inflated(body)


def test_parquet_of_more_rows_than_bytes_is_refused() -> None:
    rows, column = 1 << 23, pa.array(["10.0.0.1"]).dictionary_encode()
    alike = pa.chunked_array([column.take(pa.array([0] * (1 << 20)))] * 8)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"srcaddr": alike, "dstaddr": alike}), sink)
    with pytest.raises(ObjectUnreadable, match=f"bytes of Parquet hold {rows:,} rows"):
        next(read_parquet(sink.getvalue().to_pybytes()))


def test_how_well_a_flow_log_may_compress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "ANY_RATIO", 1000)
    small, well, too_well = (gzip.compress(b"x" * size) for size in (1000, 3000, 9000))
    assert text_of(small) == b"x" * 1000
    assert text_of(well) == b"x" * 3000 < b"x" * (compression.MOST_RATIO * len(well))
    with pytest.raises(ObjectUnreadable, match="bytes of gzip hold more than"):
        text_of(too_well)


def test_gzip_in_gzip_is_held_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Random(5).randbytes(3000)
    body = gzip.compress(gzip.compress(noise))
    held = []

    def on_disk(pieces: Iterator[bytes], url: str) -> bytes:
        held.append(url)
        return b"".join(pieces)

    monkeypatch.setattr(compression, "on_disk", on_disk)
    assert text_of(body, 4000) == noise
    assert held == []
    assert b"".join(compression.inflated(body, 1000)[0]) == noise
    assert held
    monkeypatch.setattr(compression, "NESTED_MOST", 2000)
    with pytest.raises(ObjectUnreadable, match=r"gzip in gzip of more than 2,000 bytes"):
        compression.inflated(body, 1000)


def test_header_fields_and_empty_members() -> None:
    named = b"\x1f\x8b\x08\x1c" + bytes(6) + b"\x03\0abc" + b"name.log\0" + b"comment\0"
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    trailer = zlib.crc32(TEXT).to_bytes(4, "little") + len(TEXT).to_bytes(4, "little")
    assert text_of(named + raw.compress(TEXT) + raw.flush() + trailer) == TEXT
    empty = gzip.compress(b"")
    assert text_of(empty) == b""
    assert text_of(empty + ZIPPED + empty) == TEXT


@pytest.mark.parametrize("garbage", [b"x", b"\n", b"\x1f", b"\0\0x", TEXT])
@CHUNKS
def test_garbage_after_gzip_is_refused(garbage: bytes, chunk: int) -> None:
    with pytest.raises(ObjectUnreadable):
        line_chunks(ZIPPED + garbage, chunk)


def test_a_wrong_length_in_the_trailer_is_refused() -> None:
    for wrong in (0, len(TEXT) - 1, len(TEXT) + 1, 2**32 - 1):
        with pytest.raises(ObjectUnreadable, match="corrupt"):
            line_chunks(ZIPPED[:-4] + wrong.to_bytes(4, "little"))


@CHUNKS
def test_plain_text_needs_no_gzip(chunk: int) -> None:
    pieces = list(line_chunks(TEXT, chunk))
    assert b"".join(pieces) == TEXT
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert text_of(TEXT + b"no end", chunk) == TEXT + b"no end"
    assert list(line_chunks(b"", chunk)) == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("at", [0, 5, 31])
def test_a_line_without_end_is_refused_before_the_first_line(pack: type[bytes], at: int) -> None:
    lines = TEXT.splitlines(keepends=True)
    lines.insert(at, b"x" * 600 + b"\n")
    with pytest.raises(ObjectUnreadable, match="a line of more than 200 bytes"):
        line_chunks(pack(b"".join(lines)), 200)
    assert text_of(pack(b"".join(lines)), 600) == b"".join(lines)


STREAM = """
import gzip, io, os, resource, sys
from flowlake.reading.compression import line_chunks

line = b"2 123456789012 1616729292 %s\\n" % (b"x" * 70)
sink = io.BytesIO()
with gzip.GzipFile(fileobj=sink, mode="wb", compresslevel=1) as file:
    for _ in range(300):
        file.write(os.urandom(2**13).hex().encode() + b"\\n")  # or it were a bomb
        file.write(line * (2**20 // len(line)))
body = sink.getvalue()
del sink
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
length = sum(len(piece) for piece in line_chunks(body, 8 << 20))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(length, (after - before) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
def test_memory_stays_near_the_chunk_whatever_the_object_s_length() -> None:
    run = subprocess.run([sys.executable, "-c", STREAM], capture_output=True, text=True, check=True)
    length, grown = map(int, run.stdout.split())
    assert length > 290 << 20
    assert grown < 64, f"{grown} MB for chunks of 8 MB"
