"""JSON that carries records as messages -> chunks of text lines, one message a line.

CloudWatch Logs delivers through a subscription: objects with ``logEvents``, one after the other
without a separator (CloudWatch Logs User Guide, "Subscription filters"). Firehose delivers flow
logs as ``{"message": …}`` objects. The AWS CLI prints ``{"events": […]}``.
"""

import codecs
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from flowlake.errors import NotAFlowLog, ObjectUnreadable
from flowlake.reading.compression import CHUNK
from flowlake.reading.foreign import kind_of
from flowlake.reading.formats import REJECTS, Batch, Format, Shape
from flowlake.reading.text import read_text
from flowlake.reading.values import LONGEST_REJECT

JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*[\[{]")
"""How JSON begins, and no flow log record does."""

NEXT = re.compile(r'\n|\{\s*"(?:message|messageType|logEvents|events|id|timestamp|logStreamName)"')
"""Where reading goes on after a piece that is not JSON: a line, a document, an event in it."""

LINE = re.compile(r"\n")
IN_VAIN = 8 * CHUNK
"""Characters that are read in vain for documents that do not end; then only lines are tried."""

DEEP = 1 << 16
"""Characters that nesting too deep counts for: how far it was read is not known."""

OBJECT = 64
"""Bytes that a text takes in memory besides its own."""

WITHOUT = 1000
"""Documents without a message after which none is looked for."""

BETWEEN = re.compile(r"[\s,\ufeff]*")
NOT_JSON = "not JSON"
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class _Broken:
    """A piece of the object that is no message, and why."""

    reason: str
    text: str


def read_messages(
    pieces: Iterable[bytes], head: bytes, formats: Sequence[Format] = ()
) -> Iterator[Batch]:
    """Read the records in an object's messages; a line's number is that of its message.

    Args:
        pieces: the object's content.
        head: its first bytes, to name what it is when it has no message.
        formats: what the records may be, besides AWS's default formats.

    Raises:
        NotAFlowLog: before the first batch, when it has no message, or none like a record.
        ObjectUnreadable: before the first batch, when no format fits the messages, and when the
            JSON breaks off before the first of them.
    """
    messages = _Messages(pieces, head)
    found = False
    try:
        for batch in read_text(messages.chunks(), formats):
            found = True
            yield messages.with_broken(batch)
    except NotAFlowLog as error:
        if messages.shape is None:
            raise
        raise NotAFlowLog("JSON with messages that are no flow log records") from error
    if messages.broken or not found:
        nothing = Batch(pl.DataFrame(), pl.DataFrame(schema=REJECTS), 0, ())
        yield messages.with_broken(nothing)


class _Messages:
    """The messages of an object, and what of it is none."""

    def __init__(self, pieces: Iterable[bytes], head: bytes) -> None:
        self._pieces = pieces
        self._head = head
        self._number = 0
        self.shape: Shape | None = None
        self.broken: list[tuple[int, str, str]] = []

    def chunks(self) -> Iterator[bytes]:
        """The messages as lines, and a blank line for what is none, so that numbers agree."""
        lines: list[str] = []
        size = 0
        for document in self._documents():
            for found in self._found(document):
                self._number += 1
                if isinstance(found, _Broken):
                    self.broken.append((self._number, found.reason, found.text[:LONGEST_REJECT]))
                    size += len(self.broken[-1][2]) + OBJECT
                lines.append("" if isinstance(found, _Broken) else found)
                size += len(lines[-1]) + OBJECT
            if self.shape is None and len(self.broken) >= WITHOUT:
                break
            if size > CHUNK and self.shape is not None:
                yield _text(lines)
                lines, size = [], 0
        if self.shape is None and self.broken:
            if self.broken[0][1] == NOT_JSON and MESSAGE.match(self._head):
                raise ObjectUnreadable("its JSON is cut off or damaged before the first message")
            raise NotAFlowLog(kind_of(self._head))
        if lines:
            yield _text(lines)

    def with_broken(self, batch: Batch) -> Batch:
        """The batch with what was found so far that is no message, and with the shape."""
        broken = pl.DataFrame(self.broken, schema=REJECTS, orient="row")
        self.broken.clear()
        return replace(
            batch,
            rejects=pl.concat([batch.rejects, broken]).sort("line_number"),
            lines=batch.lines + broken.height,
            shape=self.shape or "messages",
        )

    def _found(self, document: Any) -> Iterator["str | _Broken"]:
        for each in document if isinstance(document, list) else [document]:
            yield from self._found_in(each)

    def _found_in(self, document: Any) -> Iterator["str | _Broken"]:
        inside = document if isinstance(document, dict) else {}
        for name, shape in EVENTS.items():
            if isinstance(inside.get(name), list):
                self.shape = shape
                if inside.get("messageType") != "CONTROL_MESSAGE":
                    yield from map(_message, inside[name])
                return
        message = _message(document)
        if isinstance(message, str):
            self.shape = self.shape or "messages"
        yield message

    def _documents(self) -> Iterator[Any]:
        decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        text, at, vain = "", 0, 0
        more, size = io.StringIO(), 0
        for piece in itertools.chain(self._pieces, [b""]):
            size += more.write(decode(piece, final=not piece))
            if piece and size < len(text) - at:
                continue  # else what is broken would be read again with each small piece
            text, at = text[at:] + more.getvalue(), 0
            more, size = io.StringIO(), 0
            while (at := _end(BETWEEN, text, at)) < len(text):
                try:
                    document, at = _document(text, at)
                except (ValueError, RecursionError) as error:  # ValueError: of too many digits, too
                    if piece and len(text) - at < CHUNK:
                        break
                    begin = at
                    vain += getattr(error, "pos", begin + DEEP) - begin
                    match = (NEXT if vain < IN_VAIN else LINE).search(text, at + 1)
                    at = match.start() if match else len(text)
                    document = _Broken(NOT_JSON, text[begin:at])
                yield document


EVENTS: dict[str, Shape] = {"logEvents": "subscription", "events": "events"}
"""Where a document has its events, and the shape that says."""

MESSAGE = re.compile(rb'(?:\xef\xbb\xbf)?[\s\[]*\{\s*"(?:message|messageType|logEvents|events)"')
"""How JSON with messages begins."""


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _document(text: str, at: int) -> tuple[Any, int]:
    """The document that begins here, and where it ends; a text or number alone would be a scrap."""
    if text[at] not in "{[":
        raise ValueError
    return _DECODER.raw_decode(text, at)


def _message(event: Any) -> str | _Broken:
    if isinstance(event, _Broken):
        return event
    message = event.get("message") if isinstance(event, dict) else None
    if isinstance(message, str):
        return message.rstrip("\r\n").replace("\n", " ")
    try:
        return _Broken("no message in it", json.dumps(event))
    except RecursionError:
        return _Broken("no message in it, and nested too deep to be shown", "")


def _text(lines: Iterable[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode(errors="backslashreplace")
