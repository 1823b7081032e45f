"""Bytes as delivered -> chunks of whole text lines, in bounded memory."""

from collections.abc import Iterator

from isal import igzip_lib

from flowlake.errors import ObjectUnreadable

CHUNK = 64 << 20
"""Text is parsed in pieces of about this many bytes."""

GZIP_MAGIC = b"\x1f\x8b"


def line_chunks(body: bytes, chunk: int = CHUNK) -> Iterator[bytes]:
    """Yield the object's text in pieces that end at a line's end.

    A gzip body may have several members. One that is longer than a chunk is first read through
    to its end, so that a truncated object is refused before its first line is handed out.

    Raises:
        ObjectUnreadable: for gzip that is truncated or corrupt, and for a line without end.
    """
    pieces: Iterator[bytes]
    if not body.startswith(GZIP_MAGIC):
        pieces = (body[at : at + chunk] for at in range(0, len(body), chunk))
    else:
        pieces = _gunzip(body, chunk)
        head = next(pieces)
        if (following := next(pieces, None)) is None:
            pieces = iter((head,))
        else:
            del following
            for _ in pieces:
                pass
            pieces = _gunzip(body, chunk)
    rest = b""
    for piece in pieces:
        text = rest + piece if rest else piece
        end = text.rfind(b"\n") + 1
        if end == len(text):
            rest = b""
        else:
            rest, text = text[end:], text[:end]
            if len(rest) > chunk:
                raise ObjectUnreadable(f"not a flow log: a line of more than {chunk:,} bytes")
        if text:
            yield text
    if rest:
        yield rest


def _gunzip(body: bytes, chunk: int) -> Iterator[bytes]:
    data = body
    while data:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        try:
            piece = member.decompress(data, chunk)
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
