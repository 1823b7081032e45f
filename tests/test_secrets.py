"""No key, secret, token or password is told, written or passed on a command line."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import flowlake as fl
from tests.conftest import SECRET, use_key
from tests.test_alarms import deliver_object, knocks
from tests.test_cli import Run, run
from tests.test_exactly_once import fill

__all__ = ["run"]

WRONG = "wrong/Secret+Key0123456789abcdefghijklmno"
TOKEN = "IQoJb3JpZ2luX2VjTOKEN//////////wEaCXVz"
PASSWORD = "pass-word-of-a-proxy"
HOOK = "T0000/B0000/token-of-a-webhook"
SECRETS = (SECRET, WRONG, TOKEN, PASSWORD, HOOK)

RULES = f"""
[delivery.people]
kind = "webhook"
url = "http://127.0.0.1:1/services/{HOOK}"

[[alarm]]
name = "scans"
kind = "port_scan"
deliver = ["people"]
"""


class CommandLines(threading.Thread):
    """What the arguments of every process are, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_text(errors="replace"))
                except OSError:
                    continue


def assert_silent(where: str, text: str) -> None:
    for secret in SECRETS:
        assert secret not in text, f"{where} has {secret}"


ASKED = (
    ("sql", "FROM duckdb_secrets()", "--format", "json"),
    ("connect", "lake.duckdb"),
    ("alarms", "run", "--config", "alarms.toml"),
)
MORE = (
    ("status",),
    ("verify",),
    ("query", "top_talkers", "--explain"),
    ("sql", "FROM duckdb_settings()", "--format", "json"),
    ("hunt", "10.0.0.1", "--format", "csv", "-o", "found.csv"),
    ("compact",),
    ("vacuum",),
)


@pytest.mark.parametrize("asked", [ASKED, pytest.param(MORE, marks=pytest.mark.long)])
def test_secrets_are_kept(
    run: Run,
    s3: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[tuple[str, ...], ...],
) -> None:
    monkeypatch.setattr("flowlake.delivering.ATTEMPTS", 1)
    fill(s3, 3)
    deliver_object(s3, 3, knocks("203.0.113.9", range(1, 60), 5))
    lake = f"{s3}/lake"
    Path("alarms.toml").write_text(RULES)
    processes = CommandLines()
    processes.start()
    try:
        done = [run("convert", f"{s3}/raw", "--lake", lake, "--workers", "2", "-v")]
    finally:
        processes.done.set()
        processes.join()
    assert any("spawn_main" in line or "forkserver" in line for line in processes.seen)
    assert_silent("a command line", "\n".join(processes.seen))
    done += [run(*words, "--lake", lake, "-v") for words in asked]
    assert [each.code for each in done] == [0, *(3 * (words[0] == "alarms") for words in asked)]
    if asked is ASKED:
        assert "http://127.0.0.1:1/… cannot be reached" in done[-1].err
    opened = fl.open_lake(lake)
    for frame in (opened.objects(), opened.rejects(), opened.findings()):
        assert_silent("the lake", frame.write_json())
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    use_key(monkeypatch, "AKIAWRONG", WRONG)
    done += [run("status", "--lake", lake, "-v"), run("convert", f"{s3}/raw", "--lake", lake, "-v")]
    assert [each.code for each in done[-2:]] == [1, 1]
    if asked is MORE:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:{PASSWORD}@127.0.0.1:1")
        use_key(monkeypatch, "AKIAWRONG", WRONG)
        done.append(run("status", "--lake", lake, "-v"))
    for each in done:
        assert_silent("what is told", f"{each.err}{each.out}")
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "alarms.toml":
            assert_silent(str(path), path.read_bytes().decode(errors="replace"))


@pytest.mark.long
def test_no_library_tells_them(s3: str) -> None:
    """Loggers of Rust and Polars are set loose, in a process of its own."""
    fill(s3, 1)
    loud = {"RUST_LOG": "trace", "POLARS_VERBOSE": "1", "OBSTORE_LOG": "trace"}
    done = subprocess.run(
        [sys.executable, "-m", "flowlake", "-v", "convert", f"{s3}/raw", "--lake", f"{s3}/lake"],
        env={**os.environ, **loud},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "committed batch 1" in done.stderr
    assert_silent("what is told", done.stdout + done.stderr)
