"""The benchmarks run, and compare like with like. How fast anything is, no test says."""

import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

import flowlake
from benchmarks import __main__ as benchmarks
from benchmarks import again, data, measuring, peers, queries
from benchmarks.convert import same
from flowlake.catalog import questions
from flowlake.committing import Tables
from flowlake.fields import DEFAULT_FORMAT
from flowlake.layout import parse_key
from flowlake.planning import plan
from flowlake.samples import ALPHABETICAL_FORMAT, EVERY_FIELD_FORMAT

OBJECTS, RECORDS = 2, 300


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """Two objects of each format that is measured, as text and as Parquet."""
    folder = tmp_path_factory.mktemp("made")
    for header in (DEFAULT_FORMAT, ALPHABETICAL_FORMAT, EVERY_FIELD_FORMAT):
        data._make(folder / str(len(header)), header, 0, OBJECTS, RECORDS, parquet=True, rare=False)
    return {
        header: folder / str(len(header))
        for header in (DEFAULT_FORMAT, ALPHABETICAL_FORMAT, EVERY_FIELD_FORMAT)
    }


@pytest.mark.parametrize("name", benchmarks.SECTIONS)
def test_every_section_can_be_imported(name: str) -> None:
    assert callable(import_module(f"benchmarks.{name}").section)


@pytest.mark.parametrize("name", [*peers.LOCAL, "flowlogs-reader"])
def test_peers_convert_every_record(
    name: str, made: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    pytest.importorskip(
        {"chDB INSERT": "chdb", "flowlogs-reader": "flowlogs_reader"}.get(name, "os")
    )
    target, source = tmp_path / "target", made[ALPHABETICAL_FORMAT] / "text"
    measuring.measure(peers.command(name, str(source), str(target), ALPHABETICAL_FORMAT))
    if name == "flowlogs-reader":
        assert (target / "count").read_text() == str(OBJECTS * RECORDS)
        return
    lake = tmp_path / "lake"
    flowlake.convert(source, lake=lake)
    expected = same("FlowLake", f"{lake}/flows/**/*.parquet", (OBJECTS * RECORDS, None))
    assert same(name, f"{target}/**/*.parquet", expected) == expected
    kinds = pl.read_parquet_schema(next(target.rglob("*.parquet")))
    assert [kinds[each] for each in ("srcaddr", "srcport", "bytes", "start")] == [
        pl.String(),
        pl.Int32(),
        pl.Int64(),
        pl.Int64(),
    ]


def test_what_lacks_a_record_ends_the_benchmarks(
    made: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    source = f"{made[DEFAULT_FORMAT]}/text"
    peers.polars_sink(source, f"{tmp_path}/target", DEFAULT_FORMAT)
    with pytest.raises(SystemExit, match="wrote 600 records"):
        same("Polars", f"{tmp_path}/target/*.parquet", (OBJECTS * RECORDS + 1, None))
    with pytest.raises(SystemExit, match="expected"):
        same("Polars", f"{tmp_path}/target/*.parquet", (OBJECTS * RECORDS, 1))


def test_text_and_parquet_answer_as_the_lake_does(
    made: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    place = made[EVERY_FIELD_FORMAT]
    flowlake.convert(place / "text", lake=tmp_path / "lake")
    lake = flowlake.open_lake(tmp_path / "lake")
    files = sorted(str(file) for file in place.rglob("*.gz"))
    flow_log = parse_key(files[0]).flow_log_id or ""
    text = queries.open_text(files, flow_log)
    delivered = queries.open_parquet(f"{place}/parquet/**/*.parquet", flow_log)
    asked = [each for each in questions() if each.name in ("data_quality", "new_destinations")]
    assert len(asked) == 2
    for each in asked:
        in_sql, in_polars = queries._lake(lake, each)
        for answer in (in_polars, queries._raw(text, each), queries._raw(delivered, each)):
            queries._agree(each.name, in_sql(), answer())
        assert in_sql().height
    with pytest.raises(SystemExit, match="differs"):
        queries._agree("a query", pl.DataFrame({"bytes": 1}), pl.DataFrame({"bytes": 2}))


def test_a_made_ledger_leaves_nothing_new(tmp_path: Path) -> None:
    again._touch(tmp_path / "raw", 50)
    lake = str(tmp_path / "lake")
    _, new = plan(tmp_path / "raw", lake=lake)
    again.enter(Tables(lake), new)
    listing, new = plan(tmp_path / "raw", lake=lake)
    assert (listing.height, new.height) == (50, 0)


def test_a_process_is_measured_with_its_children() -> None:
    child = "import time; kept = bytearray(b'x') * 60_000_000; time.sleep(0.5)"
    parent = (
        "import subprocess, sys\n"
        f"two = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)]\n"
        "print(*(each.wait() for each in two))"
    )
    run = measuring.measure([sys.executable, "-c", parent])
    assert run.output == "0 0\n"
    assert run.wall >= 0.5
    assert 125 < run.memory < 250
    with pytest.raises(SystemExit, match="failed with 3"):
        measuring.measure([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_page_begins_with_the_goals_and_keeps_what_did_not_run() -> None:
    goals = [
        measuring.goal("`flowlake: --help` under 250 ms", "1 (1 to 2) ms", met=True),
        measuring.goal("5 times `s3fs.cat`", "3 times", met=False),
    ]
    page = benchmarks.page({"start": f"## B\n\n{goals[1]}\n", "convert": f"## A\n\n{goals[0]}\n"})
    assert "1 met, 1 missed." in page
    assert "| `flowlake: --help` under 250 ms | 1 (1 to 2) ms | **met** |" in page
    assert benchmarks.TRIED.read_text().strip() in page
    kept = dict(benchmarks.SECTION.findall(page))
    assert list(kept) == ["convert", "start"]
    assert benchmarks.page(kept) == page


def test_start_is_a_section_with_goals() -> None:
    assert len(benchmarks.GOAL.findall(benchmarks.section("start", quick=True))) == 2


def test_the_proxy_passes_everything_on_and_holds_back_each_answer() -> None:
    body = bytes(range(256)) * 4_000

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, "-m", "benchmarks.delay", str(server.server_port), "0.2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
            try:
                assert proxy.stdout is not None
                port = int(proxy.stdout.readline())
                started = time.monotonic()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                    assert answer.read() == body
                assert time.monotonic() - started >= 0.2
            finally:
                proxy.kill()
                server.shutdown()
