"""Frames as text: what a person reads and what a program can trust."""

import io
import json
import os
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from flowlake.converting import Report
from flowlake.errors import StorageError, UsageError
from flowlake.rendering import (
    SLICE_ROWS,
    TABLE_ROWS,
    Format,
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
