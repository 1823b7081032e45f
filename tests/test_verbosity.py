"""`--verbose`, `--quiet`, colours and terminals: what is said beside the answer."""

import logging
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

import flowlake
from flowlake.cli.verbosity import LOGGER, without_secrets
from flowlake.samples import write_sample
from flowlake.storage import open_storage
from tests.conftest import SECRET, forget_s3
from tests.test_cli import Run, bucket, command, lake, run
from tests.test_exactly_once import put, raw_object

__all__ = ["bucket", "lake", "run"]

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING) flowlake\.[a-z_.]+: \S"
)


def told(err: str) -> list[str]:
    """The lines of the loggers, without their times."""
    return [line.partition("Z ")[2] for line in err.splitlines() if LINE.match(line)]


@pytest.mark.parametrize("before", [True, False])
def test_verbose_tells_each_step(run: Run, bucket: Path, before: bool) -> None:
    def verbose(*words: str | Path) -> str:
        done = run("--verbose", *words) if before else run(*words, "-v")
        assert done.code == 0
        return "\n".join(told(done.err))

    converted = verbose("convert", bucket)
    assert f"INFO flowlake.planning: listing {bucket}" in converted
    assert "INFO flowlake.planning: 49 objects listed" in converted
    assert "INFO flowlake.converting: 49 objects to convert, 0 of them changed" in converted
    assert re.search(r"INFO flowlake.converting: \d+ tasks for \d+ workers", converted)
    assert "DEBUG flowlake.converting: read " in converted
    assert "INFO flowlake.committing: committed batch 1: 49 objects, " in converted
    again = verbose("convert", bucket)
    assert "0 objects to convert" in again
    assert "committed" not in again
    asked = verbose("query", "top_talkers", "--since", "2026-01-15", "--format", "csv")
    assert re.search(r"flowlake.lake: flows: [1-9] of \d+ files are wanted", asked)
    assert "are read by DuckDB, from local files" in asked
    assert "DEBUG flowlake.committing: opened " in asked
    assert "comparing 49 listed with 49 of the ledger" in verbose("verify", "--grace", "0m")
    assert "files that no snapshot needs" in verbose("vacuum")


def test_what_compacting_and_alarms_do_is_told(run: Run, tmp_path: Path) -> None:
    for number in range(3):
        put(str(tmp_path), *raw_object(number))
        assert run("convert", "raw").code == 0
    done = run("compact", "-v")
    assert re.search(r"flowlake.compacting: flows: merged \d+ files, \d+ rows", done.err)
    assert "flowlake.compacting: committed to flows: 1 files for " in done.err
    Path("alarms.toml").write_text('[[alarm]]\nname = "scans"\nkind = "port_scan"\n')
    assert "flowlake.alarms: scans: 1 spans of time" in run("alarms", "run", "-v").err


def test_without_it_nothing_of_that_is_told(run: Run, bucket: Path) -> None:
    for words in (("convert", bucket), ("query", "top_talkers"), ("compact",), ("vacuum",)):
        assert told(run(*words).err) == []
    assert LOGGER.level == logging.NOTSET, "what a program that imports flowlake finds"
    assert LOGGER.handlers == []


def test_quiet_leaves_the_answer_and_errors(run: Run, tmp_path: Path) -> None:
    assert run("sample", "bucket", "--records", "5", "--quiet").err == ""
    assert run("-q", "convert", "bucket").err == ""
    for words in (
        ("verify", "--grace", "0m"),
        ("convert", "bucket", "--dry-run"),
        ("hunt", "203.0.113.250"),
        ("vacuum",),
        ("compact", "--dry-run"),
    ):
        loud, quiet = run(*words), run(*words, "-q")
        assert loud.err
        assert quiet.err == ""
        assert (quiet.code, quiet.out) == (loud.code, loud.out)
    assert run("-q", "query", "nonsense").err.startswith("flowlake: There is no saved query")
    assert run("status", "-q", "--lake", "none").err.startswith("flowlake: There is no lake")
    key, body = raw_object(1)
    put(str(tmp_path), key, body[: len(body) // 2])
    done = run("convert", "raw", "--quiet")
    assert done.code == 1
    assert done.err.startswith("could not read ")


def test_the_last_of_both_counts(run: Run, lake: Path) -> None:
    words = ("hunt", "203.0.113.250", "--lake", lake)
    assert run("-q", *words, "-v").err.count("flowlake.lake: ") == 1
    assert run("-v", *words, "-q").err == ""


def test_warnings_of_the_library(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("convert", "-", "--lake", "lake")
    warning = "standard input is empty"
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert run(*words).err == f"flowlake: {warning}\n"
        assert f"WARNING flowlake.storage.stdin: {warning}" in run(*words, "-v").err
        assert run(*words, "-q").err == ""


def test_an_error_cannot_steer_the_terminal(run: Run) -> None:
    done = run("status", "--lake", "no\x1b]0;title\x07\u202elake")
    assert r"no\x1b]0;title\x07\u202elake" in done.err


PRESIGNED = (
    "https://bucket.s3.amazonaws.com/key?X-Amz-Credential=AKIAEXAMPLE%2F20260114&"
    "X-Amz-Security-Token=FwoGtoken&X-Amz-Signature=5d672d79c15b13162d9279b0855cfba6"
)


def test_no_secret_is_told(run: Run, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample(open_storage(f"{s3}/raw"), prefix=f"{s3}/raw/", records_per_object=9, hours=1)
    forget_s3()
    errs = [
        run("convert", f"{s3}/raw", "--lake", f"{s3}/lake", "-v").err,
        run("query", "top_talkers", "--lake", f"{s3}/lake", "-v").err,
        run("verify", "--lake", f"{s3}/lake", "-v").err,
        run("convert", PRESIGNED, "-v").err,
        run("convert", "https://user:password@example.com/x", "-v").err,
        run("convert", f"nothing/{SECRET}", "-v").err,
    ]
    assert re.search(r"flowlake.aws: S3 is http://\S+, in region us-east-1; .* by env", errs[0])
    assert "X-Amz-Signature=…" in errs[3]
    assert "not a place FlowLake reads" in errs[3]
    for err in errs:
        for secret in (SECRET, "5d672d79", "FwoGtoken", "AKIAEXAMPLE", "password"):
            assert secret not in err
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-some-length")
    assert without_secrets("x a-token-of-some-length y") == "x … y"
    monkeypatch.setenv("AWS_SESSION_TOKEN", "day")
    assert without_secrets("each day") == "each day"


def on_a_terminal(*words: str | Path, columns: int = 80, **environment: str) -> str:
    """What somebody at a terminal sees, both streams together."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    plain = {"TERM": "xterm-256color", **environment}
    gone = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "FLOWLAKE_LAKE", "TTY_COMPATIBLE")
    env = {name: value for name, value in os.environ.items() if name not in gone}
    process = subprocess.Popen(
        [sys.executable, "-m", "flowlake", *map(str, words)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, **plain},
    )
    os.close(theirs)
    seen = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert process.wait(60) == 0, seen.decode()
    return seen.decode().replace("\r\n", "\n")


COLOUR = re.compile(r"\x1b\[[0-9;]*m")
QUERY = "SELECT action, count(*) AS flows FROM flows GROUP BY ALL ORDER BY 1"


def test_colours_are_for_terminals_that_want_them(run: Run, lake: Path) -> None:
    words = ("sql", QUERY, "--lake", lake)
    coloured = on_a_terminal(*words, columns=40)
    assert COLOUR.search(coloured)
    assert max(map(len, COLOUR.sub("", coloured).splitlines())) <= 40
    assert "\x1b" not in on_a_terminal(*words, TERM="dumb")
    assert "\x1b[3" not in on_a_terminal(*words, NO_COLOR="1"), "no colour; it leaves bold"
    piped = run(*words).out
    assert "\x1b" not in piped
    assert COLOUR.sub("", coloured).split() == piped.split()
    assert COLOUR.search(run(*words, FORCE_COLOR="1").out)


def test_a_bar_is_drawn_where_it_can_be(bucket: Path, tmp_path: Path) -> None:
    words = ("convert", bucket, "--lake", tmp_path / "lake")
    assert "objects" in on_a_terminal(*words, columns=120).partition("Converted")[0]
    again = ("convert", bucket, "--lake")
    dumb = on_a_terminal(*again, tmp_path / "dumb", TERM="dumb")
    quiet = on_a_terminal(*again, tmp_path / "quiet", "--quiet")
    assert dumb.startswith("Converted")
    assert quiet.startswith("Converted")
    forced = command(*again, tmp_path / "log", env={**os.environ, "FORCE_COLOR": "1"})
    assert forced.communicate()[1] == b"", "a log file is no terminal"


def test_loggers_are_silent_in_programs(
    bucket: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flowlake.convert(bucket, lake=tmp_path / "lake", workers=1)
    assert tuple(capfd.readouterr()) == ("", "")
