"""Frames as text: what a person reads and what a program can trust."""

import csv
import io
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlake.converting import Report
from flowlake.errors import StorageError, UsageError
from flowlake.rendering import (
    SLICE_ROWS,
    TABLE_ROWS,
    Format,
    _flat,
    cell,
    facts_text,
    report_text,
    size,
    table_text,
    terminal_text,
    write_frame,
)

FLOWS = pl.DataFrame(
    {
        "srcaddr": ["10.0.0.1", None],
        "dstport": [65535, 443],
        "bytes": [1234567, 0],
        "start_time": [datetime(2026, 1, 14, 22, 5, tzinfo=UTC), None],
    }
)


def test_a_table() -> None:
    assert table_text(FLOWS).splitlines() == [
        " srcaddr    dstport       bytes   start_time",
        " ────────────────────────────────────────────────────",
        " 10.0.0.1     65535   1,234,567   2026-01-14 22:05:00",
        "                443           0",
    ]


ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def test_a_narrow_terminal_folds_cells() -> None:
    text = ESCAPES.sub("", terminal_text(FLOWS, 30))
    assert max(map(len, text.splitlines())) <= 30
    assert "1.2" in text


def test_a_terminal_gets_human_units_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    verdicts = FLOWS.with_columns(
        action=pl.Series(["ACCEPT", "REJECT"]), share_of_bytes=pl.Series([0.875, None])
    )
    text = terminal_text(verdicts, 200)
    assert "\x1b[31mREJECT" in text
    assert "\x1b[32mACCEPT" in text
    plain = ESCAPES.sub("", text).splitlines()
    assert plain[2].split() == [
        *("10.0.0.1", "65535", "1.2", "MiB", "2026-01-14", "22:05:00", "ACCEPT", "87.5%")
    ]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in terminal_text(verdicts, 200)


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_gets_them(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, tmp_path: Path
) -> None:
    """A pseudo-terminal of the system's, not a thing that says it is one."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as screen:
        monkeypatch.setattr("sys.stdout", screen)
        write_frame(FLOWS, Format.table, None if terminal else tmp_path / "table.txt")
    shown = os.read(ours, 65_536) if terminal else (tmp_path / "table.txt").read_bytes()
    os.close(ours)
    assert (b"1.2 MiB" in shown) == terminal
    assert (b"1,234,567" in shown) != terminal


def test_a_table_of_nothing() -> None:
    assert table_text(FLOWS.clear()).splitlines()[0].split() == FLOWS.columns
    assert table_text(pl.DataFrame()).strip() == ""


def test_a_table_has_an_end() -> None:
    long = pl.DataFrame({"n": range(TABLE_ROWS + 12_000)})
    lines = table_text(long).splitlines()
    assert len(lines) == 2 + TABLE_ROWS + 1
    assert lines[-1] == "… 12,000 more rows: --format csv has them all"


def test_a_raw_line_cannot_steer_the_terminal() -> None:
    assert cell("a\x1b[2Jb\nc\x9b") == "a\\x1b[2Jb\\nc\\x9b"
    assert len(table_text(pl.DataFrame({"text": ["a\nb"]})).splitlines()) == 3


@pytest.mark.parametrize("drawn", [table_text, lambda frame: terminal_text(frame, 200)])
def test_a_name_or_a_cell_cannot_steer_the_terminal(drawn: Callable[[pl.DataFrame], str]) -> None:
    hostile = "\x1b]0;title\x07 \u202e [red]a[/red] [link=http://192.0.2.1]b[/link] :smile:"
    text = ESCAPES.sub("", drawn(pl.DataFrame({f"x{hostile}": [f"y{hostile}"]})))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert text.count("[red]a[/red] [link=http://192.0.2.1]b[/link] :smile:") == 2


def written_csv(frame: pl.DataFrame, tmp_path: Path) -> str:
    """What `--format csv` writes of a frame."""
    write_frame(frame, Format.csv, tmp_path / "frame.csv")
    return (tmp_path / "frame.csv").read_bytes().decode()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b"])
def test_a_spreadsheet_runs_no_cell(start: str, tmp_path: Path) -> None:
    hostile = f"{start}cmd|' /C calc'!A0"
    frame = pl.DataFrame({"plain": [hostile], "kind": [hostile], start + "name": [1]})
    frame = frame.with_columns(pl.col("kind").cast(pl.Categorical))
    names, cells = csv.reader(io.StringIO(written_csv(frame, tmp_path), newline=""))
    assert names == ["plain", "kind", f"'{start}name"]
    assert cells == [f"'{hostile}", f"'{hostile}", "1"]


@settings(deadline=None, max_examples=5)
@given(texts=st.lists(st.text(max_size=12) | st.from_regex(r"[=+@\t\r-].{0,5}"), min_size=20))
def test_what_a_spreadsheet_would_not_run_is_as_it_was(texts: list[str]) -> None:
    for text, put in zip(texts, _flat(pl.DataFrame({"text": texts}))["text"], strict=True):
        runs = text.startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
        harmless = not runs or re.fullmatch(r"[+-][0-9.]*", text)
        assert put == (text if harmless else f"'{text}")


def test_ordinary_values_in_csv_are_as_they_were(tmp_path: Path) -> None:
    values = ["-", "-1", "+1.5", "10.0.0.1", "2001:db8::1", "eni-1", "a=b", "", None, "ACCEPT"]
    frame = pl.DataFrame({"text": values, "number": [-1] * len(values)})
    assert pl.read_csv(io.StringIO(written_csv(frame, tmp_path))).equals(frame)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (999, "999"),
        (Decimal(6843768), "6,843,768"),
        (10_000, "10,000"),
        (-10_000, "-10,000"),
        (0.123456, "0.1235"),
        (12345.678, "12,345.7"),
        (datetime(2026, 1, 14, 22, 5, tzinfo=UTC), "2026-01-14 22:05:00"),
        ("é", "é"),
    ],
)
def test_one_value(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 30, "5.0 GiB"),
        (9 << 50, "9216.0 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_facts() -> None:
    text = facts_text({"file_bytes": 2048, "sources": ("a", "b"), "unknown": (), "rows": 10_000})
    assert [line.split(maxsplit=1)[-1].strip() for line in text.splitlines()[1:3]] == [
        "a, b",
        "none",
    ]
    assert "2.0 KiB" in text
    assert text.endswith("10,000")


def test_a_report() -> None:
    report = Report(listed=9, new=3, objects=2, rows=20_000, rejected=0, seconds=1.26, files=1)
    assert report_text(report, "lake").splitlines() == [
        "Converted 2 of 9 listed objects (0 B) into 20,000 rows, 1 file (0 B), in 1.3 s: lake",
        "0 lines rejected.",
    ]
    report.replaced, report.elsewhere, report.rejected, report.misdated = 1, 2, 3, 4
    lines = report_text(report, "lake").splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4"]
    assert "no object was listed" in report_text(Report(), "lake")


def test_csv_in_slices(tmp_path: Path) -> None:
    long = pl.DataFrame({"n": range(2 * SLICE_ROWS + 1)})
    write_frame(long, Format.csv, tmp_path / "long.csv")
    assert pl.read_csv(tmp_path / "long.csv").equals(long)


def test_csv_cells(tmp_path: Path) -> None:
    frame = FLOWS.with_columns(
        list=pl.Series([[1.0, float("nan")], None]), blob=pl.Series([b"\xaa", None])
    )
    write_frame(frame, Format.csv, tmp_path / "cells.csv")
    first, second = pl.read_csv(tmp_path / "cells.csv", infer_schema=False).to_dicts()
    assert json.loads(first["list"]) == [1.0, None]
    assert (first["blob"], first["start_time"]) == ("aa", "2026-01-14T22:05:00Z")
    assert (second["list"], second["blob"], second["start_time"]) == (None, None, None)


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_parquet_is_not_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    with pytest.raises(UsageError, match="not for a terminal"):
        write_frame(FLOWS, Format.parquet)


class Reluctant(io.RawIOBase):
    """An unbuffered file that takes a few bytes at a time."""

    def __init__(self) -> None:
        self.body = b""

    def writable(self) -> bool:
        return True

    def write(self, body: object) -> int:
        taken = bytes(body)[:7]  # type: ignore[call-overload]
        self.body += taken
        return len(taken)


@pytest.mark.parametrize("style", Format)
def test_an_unbuffered_output_gets_all_of_it(
    monkeypatch: pytest.MonkeyPatch, style: Format, tmp_path: Path
) -> None:
    reluctant = Reluctant()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(reluctant))  # type: ignore[type-var]
    write_frame(FLOWS, style)
    write_frame(FLOWS, style, tmp_path / "whole")
    assert reluctant.body == (tmp_path / "whole").read_bytes()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such folder"):
        write_frame(FLOWS, Format.csv, tmp_path / "no" / "file.csv")
