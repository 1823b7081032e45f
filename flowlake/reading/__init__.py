"""One raw object -> canonical frames and rejects.

``compression`` makes content of bytes; its first bytes say what shape it has: ``text``,
``messages`` (JSON) or ``parquet``, each a module that makes typed columns and rejects.
``detecting`` finds the format of text, ``careful`` reads the lines that ``text`` does not trust,
``foreign`` names what is no flow log, ``naming`` adds what only the object's name knows, and
``together`` reads many small objects as one. A new input shape is a new module beside them.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from flowlake.errors import NotAFlowLog, ObjectUnreadable
from flowlake.reading.compression import CHUNK, GZIP_MAGIC, inflated, whole_lines
from flowlake.reading.detecting import STAMP
from flowlake.reading.foreign import kind_of, signature_of
from flowlake.reading.formats import REJECTS, Batch, Format, parse_format
from flowlake.reading.messages import JSON, read_messages
from flowlake.reading.naming import RawObject, named, names_of
from flowlake.reading.parquet import MAGIC, read_parquet
from flowlake.reading.text import read_text
from flowlake.reading.together import Together, read_together
from flowlake.storage import Body

__all__ = [
    "REJECTS",
    "Batch",
    "Format",
    "RawObject",
    "Together",
    "parse_format",
    "read_object",
    "read_together",
]

HEAD = 1 << 16
"""Bytes that tell what an object is when it is no flow log."""


def read_object(
    raw: RawObject, body: Body, formats: Sequence[Format] = (), *, chunk: int = CHUNK
) -> Iterator[Batch]:
    """Read an object's bytes into batches whose flows have every column a lake needs of them.

    They are the record's own and those that ``naming`` adds.

    Args:
        raw: what is known of the object.
        body: its bytes.
        formats: what records without a header may be, besides AWS's default formats.
        chunk: bytes of text that are parsed at once, and the longest that a line may be.

    Raises:
        NotAFlowLog: when the object is something else, and not named as a flow log.
        ObjectUnreadable: when the object as a whole is not a readable flow log.
    """
    names = names_of(raw)
    try:
        for batch in _read(body, formats, min(chunk, CHUNK)):
            flows, misdated = named(batch.flows, batch.fields, names)
            yield replace(batch, flows=flows, misdated=int(misdated.sum()))
    except NotAFlowLog as error:
        if raw.flow_log_id is None:
            raise
        raise ObjectUnreadable(f"it is named as a flow log, and holds: {error}") from error


def _read(body: Body, formats: Sequence[Format], chunk: int) -> Iterator[Batch]:
    """Read an object by what it holds, whatever its name says."""
    pieces, longest = inflated(body, chunk)
    head = next(pieces, b"")
    pieces = itertools.chain([head], pieces)
    if (kind := signature_of(head)) is not None:
        raise NotAFlowLog(kind)
    if head.startswith(MAGIC):
        return read_parquet(b"".join(pieces) if body[:2] == GZIP_MAGIC else body)
    if JSON.match(head):
        return read_messages(pieces, head[:HEAD], formats)
    chunks = whole_lines(pieces, longest, chunk)
    if STAMP.match(head.lstrip()):
        return _read_export(chunks, head[:HEAD], formats)
    return read_text(chunks, formats)


def _read_export(
    chunks: Iterator[bytes], head: bytes, formats: Sequence[Format]
) -> Iterator[Batch]:
    """Read lines without their stamps; other logs have stamps too, and are named by them."""
    try:
        for batch in read_text((STAMP.sub(b"", chunk) for chunk in chunks), formats):
            yield replace(batch, shape="export")
    except NotAFlowLog as error:
        raise NotAFlowLog(kind_of(head)) from error
