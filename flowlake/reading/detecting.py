"""What the first lines of an object say: which format its records have, or that it has none."""

import re
from collections.abc import Sequence

from flowlake.errors import NotAFlowLog, ObjectUnreadable
from flowlake.fields import BY_NAME, DEFAULT_FORMAT, LAST_TIME, TRANSIT_GATEWAY_FORMAT
from flowlake.reading.foreign import kind_of
from flowlake.reading.formats import MISSING, WHOLE_NUMBER, Format, bounds, header, names_twice

LINES_TO_JUDGE = 20

MOST_DIGITS = 1000
"""Python turns no number of more than 4,300 digits into an int."""

LOG_STATUSES = ("OK", "NODATA", "SKIPDATA", "INCOMPLETEDATA")
"""The last is Cloud WAN's (AWS Cloud WAN guide, "Flow log records")."""

TELLING = re.compile(
    r"(?:OK|NODATA|SKIPDATA|INCOMPLETEDATA|ACCEPT|REJECT|(?:eni|vpc|tgw)-[0-9a-f]+)"
)
"""Tokens that a flow log record has and other text has not."""

STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z[ \t]+", re.MULTILINE)
"""What an export of a log group puts before each line: the event's time, which is ``start``."""

AWS_FORMATS: tuple[Format, ...] = tuple(
    tuple(BY_NAME[name] for name in names) for names in (DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT)
)
"""The formats of flow logs that were made without a format of their own."""


def first_format(text: bytes, formats: Sequence[Format] = ()) -> tuple[Format, int, int]:
    """The fields of the object, where their header begins, and where its first record begins.

    A header among the first lines decides. Without one, the first lines must fit one of the given
    formats or of AWS's own.

    Args:
        text: whole lines, the object's first.
        formats: what records without a header may be.

    Raises:
        NotAFlowLog: when nothing in the text looks like flow log records.
        ObjectUnreadable: when the header names a field twice, or the records' format is not known.
    """
    known = (*formats, *AWS_FORMATS)
    records: list[list[str]] = []
    headless = False
    at = 0
    while at < len(text) and len(records) < LINES_TO_JUDGE:
        end = text.index(b"\n", at)
        line = text[at:end]
        fields = None if headless else header(line)
        if fields is not None and _believed(fields, text, end + 1):
            if names_twice(fields):
                raise ObjectUnreadable("its header names a field twice")
            return fields, at, end + 1
        if tokens := [token.decode(errors="replace") for token in line.split()]:
            records.append(tokens)
            headless = headless or any(any(_fitting(each, [tokens])) for each in known)
        at = end + 1
    return _headerless(records, known, text), 0, 0


def _headerless(records: Sequence[Sequence[str]], formats: Sequence[Format], head: bytes) -> Format:
    """The format that the first records of an object without a header have."""
    scored = [(_fitting(each, records), each) for each in formats]
    fitting, best = max(scored, key=lambda each: each[0])
    if any(fitting):
        return best
    telling = sum(any(map(TELLING.fullmatch, tokens)) for tokens in records)
    if 2 * telling <= len(records):
        raise NotAFlowLog(kind_of(head))
    widths = sorted({len(tokens) for tokens in records})
    count = str(widths[0]) if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"
    raise ObjectUnreadable(
        f"records of {count} fields without a header, not the default format's "
        f"{len(DEFAULT_FORMAT)}: name them with --fields '…', in their order, and add --retry"
    )


def _believed(fields: Format, text: bytes, at: int) -> bool:
    """Whether words that could be a header are one: most are known fields, or a line has as many.

    Prose has words such as ``start`` too.
    """
    known = sum(field.version > 0 for field in fields)
    below = [line.split() for line in text[at : at + (64 << 10)].split(b"\n")[:LINES_TO_JUDGE]]
    widths = [len(tokens) for tokens in below if tokens]
    return 2 * known >= len(fields) or len(fields) in widths


def _fitting(fields: Format, records: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How many records fit a format in every value, and how many by their ``log-status`` alone."""
    wide = [tokens for tokens in records if len(tokens) == len(fields)]
    names = [field.name for field in fields]
    telling = len(wide)
    if "log-status" in names:
        at = names.index("log-status")
        telling = sum(tokens[at] in LOG_STATUSES for tokens in wide)
    whole = sum(_fits(fields, tokens) for tokens in wide) if telling else 0
    return whole, telling if "log-status" in names else whole


def _fits(fields: Format, tokens: Sequence[str]) -> bool:
    for field, token in zip(fields, tokens, strict=True):
        if field.type == "text" or token == MISSING:
            continue
        if WHOLE_NUMBER.fullmatch(token) is None or len(token) > MOST_DIGITS:
            return False
        least, most = bounds(field)
        if not least <= int(token) <= (LAST_TIME * 1000 + 999 if field.type == "time" else most):
            return False
    return True
