"""Bytes as delivered -> chunks of whole text lines, in bounded memory."""

from collections.abc import Iterable, Iterator

from isal import igzip_lib

from flowlake.errors import ObjectUnreadable

CHUNK = 64 << 20
"""Text is parsed in pieces of about this many bytes."""

GZIP_MAGIC = b"\x1f\x8b"


def line_chunks(body: bytes, chunk: int = CHUNK) -> Iterator[bytes]:
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


def _pieces(body: bytes, chunk: int) -> Iterator[bytes]:
    if body.startswith(GZIP_MAGIC):
        return _gunzip(body, chunk)
    return (body[at : at + chunk] for at in range(0, len(body), chunk))


def _gunzip(body: bytes, chunk: int) -> Iterator[bytes]:
    """Inflate every member; isal checks each one's CRC and length."""
    # The last member's length, and one more to meet its end: a buffer of the right size from the
    # start halves the time. It is a hint, which may be wrong.
    room = min(chunk, max(len(body), 1 + int.from_bytes(body[-4:], "little")))
    data = body
    while data:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        try:
            piece = member.decompress(data, room)
            yield piece
            while not member.eof:
                if not piece and member.needs_input:
                    raise ObjectUnreadable("the gzip stream ends before its end: truncated")
                piece = member.decompress(b"", chunk)
                if piece:
                    yield piece
        except igzip_lib.error as error:  # type: ignore[misc]  # the stub calls it an instance
            raise ObjectUnreadable(f"the gzip stream is corrupt: {error}") from error
        data = member.unused_data.lstrip(b"\0")
        if data and not data.startswith(GZIP_MAGIC):
            raise ObjectUnreadable("the gzip stream is followed by bytes that are not gzip")
