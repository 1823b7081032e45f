"""The careful path: lines looked at one by one, the wrong ones set aside, the rest kept."""

import re
from collections.abc import Iterator

import polars as pl

from flowlake.fields import Field
from flowlake.reading.formats import HEADER_LINE, REJECTS, Batch, header, names_twice, parse, types
from flowlake.reading.values import LONGEST_REJECT, typed

CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Control characters that are no white space."""


def read_carefully(
    text: bytes, fields: tuple[Field, ...], line_number: int
) -> Iterator[tuple[tuple[Field, ...], Batch]]:
    """Read section by section, each with its fields: another header in the middle starts a new one.

    Args:
        text: whole lines.
        fields: those of the header above the text.
        line_number: the first line's, in the object.
    """
    at = 0
    section: list[bytes] = []
    for match in HEADER_LINE.finditer(text):
        found = header(match[0], fields)
        if found is None:
            continue
        section.append(text[at : match.start()])
        at = match.end()  # its line end stays: a repeated header is a blank line
        if found != fields:
            above = b"".join(section)
            yield fields, _read_section(above, fields, line_number)
            line_number += above.count(b"\n")
            section, fields = [], found
    section.append(text[at:])
    yield fields, _read_section(b"".join(section), fields, line_number)


def refuse(text: bytes, fields: tuple[Field, ...], line_number: int, reason: str) -> Batch:
    """Reject every line of a text that is not blank, all for the same reason."""
    return _batch(
        pl.DataFrame(),
        [
            (line_number + index, reason, _shown(line))
            for index, line in enumerate(_lines(text))
            if line.strip()
        ],
        fields,
    )


def _lines(text: bytes) -> list[bytes]:
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _read_section(text: bytes, fields: tuple[Field, ...], line_number: int) -> Batch:
    if names_twice(fields):
        return refuse(text, fields, line_number, "the header above it names a field twice")
    rejects: list[tuple[int, str, str]] = []
    kept: list[bytes] = []
    kept_lines: list[tuple[int, bytes]] = []
    for number, line in enumerate(_lines(text), line_number):
        tokens = line.split()
        if not tokens:
            continue
        if (reason := _wrong(line, len(tokens), len(fields))) is not None:
            rejects.append((number, reason, _shown(line)))
        else:
            kept.append(b" ".join(tokens))
            kept_lines.append((number, line))
    flows, wrong = _parse_values(kept, fields)
    for row, reason in wrong.items():
        number, line = kept_lines[row]
        rejects.append((number, reason, _shown(line)))
    return _batch(flows, rejects, fields)


def _wrong(line: bytes, tokens: int, width: int) -> str | None:
    if tokens != width:
        return f"{tokens} fields, not the format's {width}"
    if CONTROL.search(line):
        return "a control character in it"
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError:
            return "not UTF-8 text"
    return None


def _shown(line: bytes) -> str:
    return line[: 4 * LONGEST_REJECT].decode(errors="backslashreplace")[:LONGEST_REJECT]


def _batch(
    flows: pl.DataFrame, rejects: list[tuple[int, str, str]], fields: tuple[Field, ...]
) -> Batch:
    return Batch(
        flows,
        pl.DataFrame(sorted(rejects), schema=REJECTS, orient="row"),
        flows.height + len(rejects),
        tuple(field.name for field in fields),
    )


def _parse_values(
    lines: list[bytes], fields: tuple[Field, ...]
) -> tuple[pl.DataFrame, dict[int, str]]:
    """Parse lines of the right width; also the rows that are wrong, each with its first reason."""
    schema = types(fields)
    as_text = {c: t if isinstance(t, pl.Categorical) else pl.String() for c, t in schema.items()}
    texts = pl.DataFrame(schema=as_text)
    if lines:
        texts = parse(b"\n".join(lines) + b"\n", as_text)
    if texts.height != len(lines):
        raise AssertionError(f"{len(lines)} lines gave {texts.height} rows")
    reasons: dict[int, str] = {}
    columns: list[pl.Series] = []
    for field in fields:
        column, wrong = typed(texts[field.column], field)
        columns.append(column)
        reasons = wrong | reasons
    keep = pl.Series([row not in reasons for row in range(len(lines))], dtype=pl.Boolean)
    return pl.DataFrame(columns).filter(keep), reasons
