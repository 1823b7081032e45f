"""Bytes as delivered -> the content in pieces, or chunks of whole text lines, in bounded memory."""

import itertools
import mmap
import re
from collections.abc import Iterable, Iterator

from isal import igzip_lib

from flowlake.errors import ObjectUnreadable
from flowlake.storage import Body, on_disk

CHUNK = 64 << 20
"""Text is parsed in pieces of about this many bytes."""

GZIP_MAGIC = b"\x1f\x8b"

FEED = 1 << 16
"""Bytes of gzip that are inflated at once, of a file and of the members after the first."""

NESTED_LEVELS = 2
NESTED_MOST = 512 << 20
"""Bytes of gzip inside gzip that are held to be inflated once more."""

MOST_RATIO = 100
"""Flow logs are 5 to 20 times as long as their gzip, and deflate can make that 1,032 times."""

ANY_RATIO = 256 << 20
"""Bytes of content up to which it does not matter how small their gzip is."""


def inflated(body: Body, chunk: int = CHUNK) -> tuple[Iterator[bytes], int]:
    """The object's content in pieces of about a chunk, and its longest line's length.

    A gzip body may have several members, and may hold gzip again, as Firehose delivers what a
    subscription has compressed. A body that is longer than a chunk is first read through to its
    end, so that a damaged object is refused before any of it is handed out. Only then is the
    length of a line that crosses pieces measured: else it is 0, and no line is longer than a chunk.

    Raises:
        ObjectUnreadable: for gzip that is truncated or corrupt, or holds more than flow logs can.
    """
    pieces = _pieces(body, chunk)
    head, size = [], 0
    for piece in pieces:
        head.append(piece)
        size += len(piece)
        if size > chunk:
            head.clear()
            return _pieces(body, chunk), _longest_line(_pieces(body, chunk))
    return iter(head), 0


def line_chunks(body: Body, chunk: int = CHUNK) -> Iterator[bytes]:
    """Yield the object's text in pieces that end at a line's end.

    Raises:
        ObjectUnreadable: for gzip that is truncated or corrupt, and for a line without end.
    """
    return whole_lines(*inflated(body, chunk), chunk)


def whole_lines(pieces: Iterable[bytes], longest: int, chunk: int = CHUNK) -> Iterator[bytes]:
    """Cut pieces anew, at the ends of lines.

    Raises:
        ObjectUnreadable: at once, when the longest line is longer than a chunk.
    """
    if longest > chunk:
        raise ObjectUnreadable(f"not a flow log: a line of more than {chunk:,} bytes")
    return _whole_lines(pieces, chunk)


def _whole_lines(pieces: Iterable[bytes], chunk: int) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size < chunk:
            continue
        text = b"".join(held) if len(held) > 1 else piece
        end = text.rfind(b"\n") + 1
        held = [text[end:]]
        size = len(held[0])
        if end:
            yield text[:end]
    if size:
        yield b"".join(held)


def _longest_line(pieces: Iterable[bytes]) -> int:
    """Read to the end, which proves the gzip; a line inside one piece is not worth measuring."""
    longest = length = 0
    for piece in pieces:
        end = piece.find(b"\n")
        length += len(piece) if end < 0 else end
        longest = max(longest, length)
        if end >= 0:
            length = len(piece) - 1 - piece.rfind(b"\n")
    return max(longest, length)


def _pieces(body: Body, chunk: int) -> Iterator[bytes]:
    if body[:2] != GZIP_MAGIC:
        return _slices(body, chunk)
    most = max(ANY_RATIO, MOST_RATIO * len(body))
    bomb = f"no flow log: {len(body):,} bytes of gzip hold more than {most:,}"
    for _ in range(NESTED_LEVELS + 1):
        pieces = _at_most(most, _gunzip(body, chunk), bomb)
        first = next(pieces, b"")
        pieces = itertools.chain([first], pieces)
        if not first.startswith(GZIP_MAGIC):
            return pieces
        inner = f"gzip in gzip of more than {NESTED_MOST:,} bytes"
        body = _held(_at_most(NESTED_MOST, pieces, inner), chunk)
    raise ObjectUnreadable("gzip in gzip in gzip without end")


def _at_most(most: int, pieces: Iterable[bytes], reason: str) -> Iterator[bytes]:
    for piece in pieces:
        most -= len(piece)
        if most < 0:
            raise ObjectUnreadable(reason)
        yield piece


def _held(pieces: Iterator[bytes], chunk: int) -> Body:
    """Gzip that lay in gzip: on disk, if it is longer than the text that is parsed at once."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > chunk:
            return on_disk(itertools.chain(held, pieces), "gzip in gzip")
    return b"".join(held)


def _slices(body: Body, chunk: int) -> Iterator[bytes]:
    for at in range(0, len(body), chunk):
        yield body[at : at + chunk]
        _let_go(body)


def _let_go(body: Body) -> None:
    """What was read of a file need not stay in memory."""
    if isinstance(body, mmap.mmap):
        body.madvise(mmap.MADV_DONTNEED)


def _gunzip(body: Body, chunk: int) -> Iterator[bytes]:
    """Inflate every member; isal checks each one's CRC and length."""
    # The last member's length, and one more to meet its end: a buffer of the right size from the
    # start halves the time. It is a hint, which may be wrong.
    room = min(chunk, max(len(body), 1 + int.from_bytes(body[-4:], "little")))
    # What a decompressor is fed and does not use is copied, so that a file is fed in pieces, and
    # so are the members after the first, which may be many.
    feed = len(body) if isinstance(body, bytes) else FEED
    at = 0
    with memoryview(body) as view:
        while at < len(body):
            member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            try:
                piece = member.decompress(view[at : at + feed], room)
                at += feed
                yield piece
                while not member.eof:
                    more: bytes | memoryview = b""
                    if not piece and member.needs_input:
                        if at >= len(body):
                            raise ObjectUnreadable("the gzip stream ends before its end: truncated")
                        more = view[at : at + feed]
                        at += feed
                    piece = member.decompress(more, chunk)
                    if piece:
                        yield piece
                        _let_go(body)
            except igzip_lib.error as error:  # type: ignore[misc]  # the stub calls it an instance
                raise ObjectUnreadable(f"the gzip stream is corrupt: {error}") from error
            at = _after_zeros(body, min(at, len(body)) - len(member.unused_data))
            feed = FEED
            if body[at : at + 2] not in (b"", GZIP_MAGIC):
                raise ObjectUnreadable("the gzip stream is followed by bytes that are not gzip")


def _after_zeros(body: Body, at: int) -> int:
    zeros = re.compile(rb"\0*").match(body, at)
    return zeros.end() if zeros else at
