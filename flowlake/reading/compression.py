"""Bytes as delivered -> chunks of whole text lines, in bounded memory."""

import re
from collections.abc import Iterable, Iterator

from isal import igzip_lib

from flowlake.errors import ObjectUnreadable
from flowlake.storage import Body

CHUNK = 64 << 20
"""Text is parsed in pieces of about this many bytes."""

GZIP_MAGIC = b"\x1f\x8b"

FEED = 1 << 18


def line_chunks(body: Body, chunk: int = CHUNK) -> Iterator[bytes]:
    """Yield the object's text in pieces that end at a line's end.

    A gzip body may have several members. A body that is longer than a chunk is first read through
    to its end, so that a damaged object is refused before its first line is handed out.

    Raises:
        ObjectUnreadable: for gzip that is truncated or corrupt, and for a line without end.
    """
    pieces = _pieces(body, chunk)
    head, size = [], 0
    for piece in pieces:
        head.append(piece)
        size += len(piece)
        if size > chunk:
            head.clear()
            _refuse_endless_line(_pieces(body, chunk), chunk)
            pieces = _pieces(body, chunk)
            break
    else:
        pieces = iter(head)
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


def _refuse_endless_line(pieces: Iterable[bytes], longest: int) -> None:
    """Read to the end, which proves the gzip, and find the lines too long for a chunk."""
    length = 0
    for piece in pieces:
        end = piece.find(b"\n")
        length += len(piece) if end < 0 else end
        if length > longest:
            raise ObjectUnreadable(f"not a flow log: a line of more than {longest:,} bytes")
        if end >= 0:
            length = len(piece) - 1 - piece.rfind(b"\n")


def _pieces(body: Body, chunk: int) -> Iterator[bytes]:
    if body[:2] == GZIP_MAGIC:
        return _gunzip(body, chunk)
    return (body[at : at + chunk] for at in range(0, len(body), chunk))


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
            except igzip_lib.error as error:  # type: ignore[misc]  # the stub calls it an instance
                raise ObjectUnreadable(f"the gzip stream is corrupt: {error}") from error
            at = _after_zeros(body, min(at, len(body)) - len(member.unused_data))
            feed = FEED
            if body[at : at + 2] not in (b"", GZIP_MAGIC):
                raise ObjectUnreadable("the gzip stream is followed by bytes that are not gzip")


def _after_zeros(body: Body, at: int) -> int:
    zeros = re.compile(rb"\0*").match(body, at)
    return zeros.end() if zeros else at
