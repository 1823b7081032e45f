"""The command line as its user meets it: words in, text and an exit code out."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import flowlake
from flowlake.cli import main
from flowlake.committing import Tables
from flowlake.samples import write_sample
from flowlake.storage import open_storage
from tests.test_exactly_once import children, put, raw_object

RECORDS = 60
ROWS = 48 * RECORDS + 2
SINCE_2015 = ("--since", "2015-05-29", "--until", "2015-05-30")


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    body: bytes
    err: str

    @property
    def out(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        """The output as JSON, by the letter: no NaN and no Infinity."""

        def refuse(constant: str) -> None:
            raise ValueError(constant)

        return json.loads(self.body, parse_constant=refuse)


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample bucket of 49 objects, to be read only."""
    folder = tmp_path_factory.mktemp("sample") / "bucket"
    write_sample(open_storage(str(folder)), prefix=f"{folder}/", records_per_object=RECORDS)
    return folder


@pytest.fixture(scope="module")
def lake(bucket: Path) -> Path:
    """A lake made of ``bucket``, to be read only."""
    folder = bucket.parent / "lake"
    flowlake.convert(bucket, lake=folder, workers=1)
    return folder


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
) -> Run:
    """Call ``main`` as the console script does, in an empty folder, with FLOWLAKE_LAKE unset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWLAKE_LAKE", raising=False)

    def run(*words: str | Path, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["flowlake", *map(str, words)])
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsysbinary.readouterr()
        assert end.value.code is None or isinstance(end.value.code, int)
        err = captured.err.decode()
        assert "Traceback" not in err
        return Done(end.value.code or 0, captured.out, err)

    return run


def command(*words: str | Path, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "flowlake", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def files_below(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_from_sample_to_answer(run: Run) -> None:
    made = run("sample", "bucket", "--records", "60")
    assert (made.code, made.out) == (0, "")
    assert f"49 objects with {ROWS:,} records" in made.err
    converted = run("convert", "bucket")
    assert converted.code == 0
    assert "Converted 49 of 49 listed objects" in converted.out
    assert f"into {ROWS:,} rows" in converted.out
    assert "0 lines rejected." in converted.out
    again = run("convert", "bucket")
    assert again.code == 0
    assert again.out == "Nothing new: 49 objects listed, all of them in lake.\n"
    status = run("status")
    assert re.search(rf"^rows +{ROWS:,}$", status.out, re.MULTILINE)
    assert re.search(r"^objects +49$", status.out, re.MULTILINE)
    verified = run("verify", "--grace", "0m")
    assert (verified.code, verified.out) == (0, "")
    assert "No gap" in verified.err
    assert "rejected_flows" in run("queries").out
    answer = run("query", "rejected_flows", *SINCE_2015)
    assert (answer.code, answer.err) == (0, "")
    header, _, row = answer.out.splitlines()
    assert header.split()[:3] == ["srcaddr", "dstaddr", "dstport"]
    assert row.split()[:2] == ["172.31.16.139", "203.0.113.12"]
    counted = run("sql", "SELECT count(*) AS n FROM flows")
    assert counted.out.split()[-1] == f"{ROWS:,}"


@pytest.mark.parametrize("style", ["csv", "json", "parquet"])
@pytest.mark.parametrize("to_file", [False, True])
def test_answers_in_every_format(run: Run, lake: Path, style: str, to_file: bool) -> None:
    words = ["query", "rejected_flows", "-p", "top=3", "--lake", lake, "--format", style]
    done = run(*words, *(["-o", "answer"] if to_file else []))
    assert (done.code, done.err) == (0, "")
    body = Path("answer").read_bytes() if to_file else done.body
    assert bool(done.body) != to_file
    expected = flowlake.open_lake(lake).query("rejected_flows", top=3).pl()
    if style == "parquet":
        read = pl.read_parquet(io.BytesIO(body))
        assert read.equals(expected)
        return
    if style == "json":
        rows = Done(0, body, "").json()
    else:
        rows = pl.read_csv(io.BytesIO(body), infer_schema=False).to_dicts()
    assert [row["srcaddr"] for row in rows] == expected["srcaddr"].to_list()
    assert [int(row["bytes"]) for row in rows] == expected["bytes"].to_list()
    assert [row["first_seen"] for row in rows] == [
        f"{seen:%Y-%m-%dT%H:%M:%SZ}" for seen in expected["first_seen"]
    ]


ODD = """
SELECT 'nan'::DOUBLE AS nan, ['inf'::DOUBLE, 1] AS list, {'a': 'nan'::DOUBLE, 'b': 'é'} AS struct,
    MAP {'k': '-inf'::DOUBLE} AS map, '\\xAA'::BLOB AS blob, 1.50::DECIMAL(9, 2) AS price,
    [TIMESTAMPTZ '2026-01-14 22:05:00Z'] AS times, TIMESTAMPTZ '2026-01-14 22:05:00Z' AS moment,
    TIMESTAMPTZ '2026-01-15 03:05:00+05' AS elsewhere, DATE '2026-01-14' AS day, NULL AS nothing,
    'a "quoted", line' AS words, true AS yes, 170141183460469231731687303715884105727 AS huge
"""


def test_odd_values_survive_each_format(run: Run, lake: Path) -> None:
    [row] = run("sql", ODD, "--lake", lake, "--format", "json").json()
    assert (row["nan"], row["list"], row["struct"]) == (None, [None, 1.0], {"a": None, "b": "é"})
    assert row["moment"] == row["elsewhere"] == row["times"][0] == "2026-01-14T22:05:00Z"
    assert (row["day"], row["blob"], row["nothing"]) == ("2026-01-14", "aa", None)
    flat = run("sql", ODD, "--lake", lake, "--format", "csv")
    [cells] = pl.read_csv(io.BytesIO(flat.body), infer_schema=False).to_dicts()
    assert json.loads(cells["list"]) == [None, 1.0]
    assert json.loads(cells["times"]) == ["2026-01-14T22:05:00Z"]
    assert (cells["moment"], cells["price"]) == ("2026-01-14T22:05:00Z", "1.50")
    assert cells["words"] == 'a "quoted", line'
    for style in ("table", "parquet"):
        assert run("sql", ODD, "--lake", lake, "--format", style).code == 0


def test_empty_answers_have_a_header(run: Run, lake: Path) -> None:
    words = ["sql", "SELECT srcaddr, bytes FROM flows WHERE false", "--lake", lake, "--format"]
    assert run(*words, "csv").out == "srcaddr,bytes\n"
    assert run(*words, "json").json() == []
    assert run(*words, "table").out.split()[:2] == ["srcaddr", "bytes"]
    assert pl.read_parquet(io.BytesIO(run(*words, "parquet").body)).height == 0


def test_long_tables_say_what_they_leave_out(run: Run, lake: Path) -> None:
    cut = run("sql", "SELECT object_id FROM flows", "--lake", lake).out
    assert cut.splitlines()[-1] == f"… {ROWS - 500:,} more rows: --format csv has them all"
    whole = run("sql", "SELECT object_id FROM flows", "--lake", lake, "--format", "csv").out
    assert len(whole.splitlines()) == ROWS + 1


def test_reports_are_for_programs_too(run: Run, bucket: Path, lake: Path) -> None:
    [report] = run("convert", bucket, "--format", "json").json()
    assert (report["new"], report["objects"], report["rows"]) == (49, 49, ROWS)
    assert (report["failures"], report["unreadables"]) == (0, 0)
    [status] = run("status", "--format", "json").json()
    assert (status["rows"], status["sources"]) == (ROWS, str(bucket))
    assert status["first"] == "2015-05-29T16:30:27Z"
    queries = run("queries", "--format", "json").json()
    [asked] = [each for each in queries if each["name"] == "rejected_flows"]
    assert asked["parameters"][-1] == {
        "name": "top",
        "type": "UINTEGER",
        "default": "20",
        "example": "20",
        "help": "how many rows to keep",
    }
    assert asked["columns"][0] == {"name": "srcaddr", "type": "VARCHAR"}


def test_times_in_csv_of_every_command_are_iso(run: Run, lake: Path) -> None:
    text = run("sql", "SELECT * FROM objects", "--lake", lake, "--format", "csv").out
    assert not re.search(r"\d{4}-\d\d-\d\d \d", text)
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)


def test_rejects_are_counted_and_shown(run: Run, tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    done = run("convert", "raw")
    assert done.code == 0
    assert "1 line rejected: `flowlake sql" in done.out
    shown = re.search(r"`flowlake sql \"(.*)\" --lake lake`", done.out)
    assert shown
    assert run("sql", shown[1], "--format", "json").json()[0]["count_star()"] == 1
    put(str(tmp_path), *raw_object(1))
    strict = run("convert", "raw", "--strict")
    assert strict.code == 1
    assert "6 rows" in strict.out
    assert run("convert", "raw", "--strict").code == 0


def test_a_truncated_object_is_told_once(run: Run, tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    key, body = raw_object(1)
    url = put(str(tmp_path), key, body[: len(body) // 2])
    first = run("convert", "raw")
    assert first.code == 1
    assert f"could not read {url}: " in first.err
    assert "into 6 rows" in first.out
    second = run("convert", "raw")
    assert (second.code, second.err) == (0, "")
    assert url in run("status").out
    assert run("verify", "--grace", "0m").code == 0


def test_dry_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    for number in range(3):
        put(str(tmp_path), *raw_object(number))
    empty = run("convert", "raw", "--dry-run", "--format", "json")
    [estimate] = empty.json()
    assert [(day["objects"], day["changed"]) for day in estimate["days"]] == [(3, 0)]
    assert (estimate["objects"], estimate["files"], estimate["dollars"]) == (3, 1, 0)
    assert estimate["partition_by"] == "date,region,account_id"
    assert [each["files_a_day"] for each in estimate["layouts"]] == [24, 1] * 3
    wrong = run("convert", "raw", "--dry-run", "--partition-by", "region")
    assert (wrong.code, "partitioned by date, region, account_id" in wrong.err) == (2, True)
    assert not Path("lake").exists()
    assert run("convert", "raw").code == 0
    put(str(tmp_path), raw_object(1)[0], raw_object(1, records=9)[1])
    put(str(tmp_path), *raw_object(7))
    before = files_below(tmp_path)
    plan = run("convert", "raw", "--dry-run", "--format", "json")
    assert files_below(tmp_path) == before
    [[day]] = [estimate["days"] for estimate in plan.json()]
    assert (day["date"], day["account_id"]) == ("2026-03-01", "000123456789")
    assert (day["objects"], day["changed"]) == (2, 1)
    assert plan.err.startswith("4 objects (")
    assert ", 2 (" in plan.err
    done = run("convert", "raw")
    assert "Converted 2 of 4" in done.out
    assert "1 changed object: the old rows were replaced." in done.out


@pytest.mark.parametrize(
    ("words", "objects"),
    [
        (("--since", "2026-01-15"), 24),
        (("--since", "2026-01-14T23:40Z", "--until", "2026-01-15T00:00Z"), 4),
        (("--until", "2026-01-01"), 1),
        (("--account", "012345678901"), 24),
        (("--account", "012345678901", "--account", "123456789010"), 49),
        (("--region", "eu-west-1"), 24),
        (("--region", "eu-west-1", "--account", "123456789010", "--since", "2026-01-15"), 6),
        (("--account", "999999999999"), 0),
        (("--since", "1m"), 0),
    ],
)
def test_objects_are_chosen_by_their_names(
    run: Run, bucket: Path, words: tuple[str, ...], objects: int
) -> None:
    """In AWS's folders, which are skipped while listing, and all in one folder."""
    Path("flat").mkdir()
    for path in bucket.rglob("*.log.gz"):
        Path("flat", path.name).symlink_to(path)
    for source in (bucket, "flat"):
        done = run("convert", source, *words, "--dry-run")
        assert done.code == 0
        assert re.match(rf"{objects} objects? \(", done.err)


def test_what_was_left_out_comes_later(run: Run, bucket: Path) -> None:
    assert "Converted 24 of 24" in run("convert", bucket, "--since", "2026-01-15").out
    assert run("verify", "--grace", "0m", "--since", "2026-01-15").code == 0
    gaps = run("verify", "--grace", "0m", "--format", "csv")
    assert gaps.code == 1
    assert gaps.out.count("not converted") == 25
    assert "Converted 25 of 49" in run("convert", bucket).out
    assert run("verify", "--grace", "0m").code == 0


def test_verify_counts_what_is_young(run: Run, tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    assert run("convert", "raw").code == 0
    put(str(tmp_path), *raw_object(1))
    young = run("verify")
    assert (young.code, young.out) == (0, "")
    assert "1 too young to miss" in young.err
    gap = run("verify", "--grace", "0m")
    assert gap.code == 1
    assert "not converted" in gap.out
    assert "1 gap." in gap.err


def test_verify_of_a_source_that_is_not_there(run: Run, tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    assert run("convert", "raw").code == 0
    assert run("verify", "rwa").code == 1
    (tmp_path / "raw").rename(tmp_path / "gone")
    expired = run("verify", "--grace", "0m")
    assert expired.code == 0
    assert "1 expired" in expired.err


def test_the_lake_can_be_named_by_the_environment(run: Run, lake: Path) -> None:
    words = ("sql", "SELECT count(*) FROM flows", "--format", "csv")
    assert run(*words).code == 1
    assert run(*words, FLOWLAKE_LAKE=str(lake)).out.split() == ["count_star()", str(ROWS)]
    assert run(*words, "--lake", "other").code == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nonsense",), "No such command"),
        (("convert",), "Name at least one source"),
        (("convert", "{bucket}", "--workers", "0"), "--workers"),
        (("convert", "{bucket}", "--format", "xml"), "not 'xml'"),
        (("convert", "{bucket}", "--since", "yesterday"), "'yesterday' is not a time"),
        (("convert", "{bucket}", "--account", "12"), "not an AWS account id"),
        (("convert", "{bucket}", "--partition-by", "region"), "not by region"),
        (("convert", "{bucket}", "--partition-by", ""), "not by"),
        (("convert", "gs://bucket"), "not a place FlowLake reads"),
        (("convert", "s3://"), "names no bucket"),
        (("status", "--lake", "{lake}", "--format", "xml"), "not 'xml'"),
        (("verify", "--lake", "{lake}", "--grace", "soon"), "'soon' is not an age"),
        (("query",), "Missing argument"),
        (("query", "rejected_flow", "--lake", "{lake}"), "Did you mean 'rejected_flows'?"),
        (("query", "rejected_flows", "--lake", "{lake}", "-p", "top"), "takes NAME=VALUE"),
        (("query", "rejected_flows", "--lake", "{lake}", "-p", "pot=1"), "no parameter 'pot'"),
        (("query", "rejected_flows", "--lake", "{lake}", "-p", "top=few"), "not 'few'"),
        (("query", "rejected_flows", "--lake", "{lake}", "-p", "since=1"), "write --since"),
        (("query", "rejected_flows", "--lake", "{lake}", "-p", "name=1"), "no parameter 'name'"),
        (
            *[("query", "rejected_flows", "--lake", "{lake}", "--since", "1h", "--until", "2h")],
            "before it begins",
        ),
        (("query", "rejected_flows", "--lake", "{lake}", "--account", "x"), "account id"),
        (("sql", "SELEC 1", "--lake", "{lake}"), "syntax error"),
        (("sql", "", "--lake", "{lake}"), "Write one SELECT"),
        (("sql", "SELECT 1; SELECT 2", "--lake", "{lake}"), "Write one SELECT"),
        (("sql", "COPY flows TO 'x.csv'", "--lake", "{lake}"), "Write one SELECT"),
        (("sql", "SELECT nothing FROM flows", "--lake", "{lake}"), "nothing"),
        (("sql", "SELECT CAST(action AS INT) FROM flows", "--lake", "{lake}"), "Could not conv"),
        (("sql", "SELECT * FROM read_text('/etc/hostname')", "--lake", "{lake}"), "Permission"),
        (("sql", "SELECT INTERVAL 1 DAY", "--lake", "{lake}"), "CAST it"),
        (("sample", "gs://bucket"), "not a place FlowLake reads"),
    ],
)
def test_wrong_usage_is_2(
    run: Run, bucket: Path, lake: Path, words: tuple[str, ...], says: str
) -> None:
    done = run(*(word.format(bucket=bucket, lake=lake) for word in words))
    assert done.code == 2
    assert says in done.err
    assert done.out == ""
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("convert", "missing"), "There is no folder or file at"),
        (("convert", "{bucket}", "missing"), "There is no folder or file at"),
        (("convert", "{bucket}", "--lake", "a-file"), "Not a directory"),
        (("convert", "{bucket}", "--lake", "a-file/lake"), "Not a directory"),
        (("status",), "There is no lake at"),
        (("status", "--lake", "a-file"), "There is no lake at"),
        (("verify",), "There is no lake at"),
        (("query", "rejected_flows"), "There is no lake at"),
        (("sql", "SELECT 1"), "There is no lake at"),
        (("query", "rejected_flows", "--lake", "{lake}", "-o", "no/such/file"), "no such folder"),
        (("query", "rejected_flows", "--lake", "{lake}", "-o", "a-file/x"), "Not a directory"),
        (("query", "rejected_flows", "--lake", "{lake}", "-o", "."), "Is a directory"),
        (("sample", "a-file"), "Not a directory"),
    ],
)
def test_what_cannot_be_used_is_1(
    run: Run, bucket: Path, lake: Path, words: tuple[str, ...], says: str
) -> None:
    Path("a-file").write_text("not a lake\n")
    done = run(*(word.format(bucket=bucket, lake=lake) for word in words))
    assert done.code == 1
    assert says in done.err
    assert done.err.startswith("flowlake: ")
    assert len(done.err.splitlines()) == 1
    assert done.out == ""


def test_a_lakes_partitions_are_chosen_once(run: Run, bucket: Path) -> None:
    assert run("convert", bucket, "--partition-by", "date,region").code == 0
    other = run("convert", bucket, "--partition-by", "date")
    assert other.code == 2
    assert "chosen once" in other.err
    assert run("convert", bucket, "--partition-by", "date,region").code == 0
    assert run("convert", bucket).code == 0


def test_one_source_by_many_names(run: Run, bucket: Path) -> None:
    Path("link").symlink_to(bucket)
    relative = os.path.relpath(bucket)
    first = run("convert", bucket, relative, bucket / "AWSLogs", "link", f"{bucket}/")
    assert "Converted 49 of 49" in first.out
    for source in (bucket, relative, "link", f"file://{bucket}", f"{bucket}/../bucket/AWSLogs"):
        assert run("convert", source).out.startswith("Nothing new: 49 objects")
    one = next(bucket.rglob("*.log.gz"))
    assert run("convert", one).out.startswith("Nothing new: 1 object listed")
    assert run("verify", "--grace", "0m").code == 0


def test_a_lake_inside_its_source(run: Run, tmp_path: Path) -> None:
    put(str(tmp_path), *raw_object(0))
    for _ in range(3):
        done = run("convert", "raw", "--lake", "raw/lake")
        assert done.code == 0
        assert re.search(r" of 1 listed object |Nothing new: 1 object ", done.out)
    assert run("verify", "--lake", "raw/lake", "--grace", "0m").code == 0
    assert run("sql", "SELECT url FROM objects", "--lake", "raw/lake").out.count(".log.gz") == 1


@pytest.mark.parametrize("source", ["lake", "lake/flows", "lake/raw"])
def test_a_source_inside_the_lake_is_not_silently_done(
    run: Run, tmp_path: Path, source: str
) -> None:
    put(str(tmp_path / "lake"), *raw_object(0))
    put(str(tmp_path), *raw_object(1))
    assert run("convert", "raw").code == 0
    done = run("convert", source)
    assert done.code != 0 or "no object was listed" in done.out
    assert run("sql", "SELECT url FROM objects").out.count(".log.gz") == 1


def test_an_empty_source_makes_no_lake(run: Run, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    done = run("convert", "raw")
    assert (done.code, done.out) == (0, "Nothing to convert: no object was listed.\n")
    assert not (tmp_path / "lake").exists()


def test_an_empty_lake_answers(run: Run, tmp_path: Path) -> None:
    Tables(str(tmp_path / "lake")).create(["date"])
    assert run("verify").code == 0
    assert run("query", "top_talkers", "--format", "json").json() == []
    assert run("status", "--format", "json").json()[0]["rows"] == 0


def test_explain_shows_what_is_pruned(run: Run, lake: Path) -> None:
    done = run("query", "rejected_flows", "--lake", lake, *SINCE_2015, "--explain")
    assert done.code == 0
    assert "WITH refused AS" in done.out
    assert re.search(r"^1 of [1-9][0-9]? files can hold the window\.$", done.out, re.MULTILINE)
    assert "GROUP" in done.out


def test_sql_from_standard_input(run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("-- a question\nSELECT 40 + 2 AS n;\n"))
    assert run("sql", "-", "--lake", lake, "--format", "csv").out == "n\n42\n"


def test_the_window_of_an_answer(run: Run, lake: Path) -> None:
    words = ("sql", "SELECT count(*) AS n FROM flows", "--lake", lake, "--format", "json")

    def count(*more: str) -> int:
        return int(run(*words, *more).json()[0]["n"])

    assert count(*SINCE_2015) == 2
    ours, theirs = count("--account", "012345678901"), count("--account", "123456789010")
    assert (ours, theirs) == (24 * RECORDS, 24 * RECORDS + 2)
    assert count("--account", "012345678901", "--account", "123456789010") == ROWS
    assert count("--region", "us-east-1") == 24 * RECORDS + 2
    assert count("--since", "24h") == 0


def test_help_names_every_command(run: Run) -> None:
    text = run("--help").out
    commands = ("convert", "status", "verify", "queries", "query", "sql", "sample")
    for name in commands:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
        page = run(name, "--help")
        assert page.code == 0
        assert page.out.startswith("Usage: ")


@pytest.mark.parametrize(
    "style",
    ["table", "csv", *(pytest.param(s, marks=pytest.mark.long) for s in ("json", "parquet"))],
)
def test_a_closed_pipe_is_no_error_of_ours(lake: Path, style: str) -> None:
    query = "SELECT uuid() AS noise, flows.* FROM flows"
    for unbuffered in ("", "1"):
        process = command(
            "sql",
            query,
            "--lake",
            lake,
            "--format",
            style,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
        assert process.stdout
        assert process.stderr
        os.read(process.stdout.fileno(), 10)
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(), err) == (141, b"")
        process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_answer(run: Run, lake: Path) -> None:
    for style in ("table", "csv", "json", "parquet"):
        words = ("sql", "SELECT * FROM protocols", "--lake", lake, "--format", style)
        done = run(*words, "-o", "/dev/full")
        assert done.code == 1
        assert done.err == "flowlake: Cannot write /dev/full: No space left on device.\n"


def test_as_a_module_with_exit_codes(bucket: Path, tmp_path: Path) -> None:
    expected: list[tuple[tuple[str | Path, ...], int, bytes]] = [
        (("convert", bucket), 0, b""),
        (("convert", bucket), 0, b""),
        (("convert", "missing"), 1, b"flowlake: There is no folder"),
        (("query", "missing"), 2, b"flowlake: There is no saved query"),
        (("missing",), 2, b"Usage: "),
    ]
    for words, code, says in expected:
        process = command(*words, cwd=tmp_path)
        _, err = process.communicate()
        assert process.returncode == code
        assert err.startswith(says)
        assert b"Traceback" not in err


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket that takes some seconds to convert."""
    folder = tmp_path_factory.mktemp("large")
    write_sample(open_storage(str(folder)), prefix=f"{folder}/", records_per_object=12_000)
    return folder


def _interrupted(source: Path, lake: Path, *words: str) -> tuple[int, str]:
    process = command("convert", source, "--lake", lake, *words, start_new_session=True)
    deadline = time.monotonic() + 60
    while not any(lake.glob("flows/date=*/**/*.parquet")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: the workers get it too
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


def test_interrupted_and_continued(run: Run, large: Path, tmp_path: Path) -> None:
    code, err = _interrupted(large, tmp_path / "lake", "--workers", "1")
    assert code == 130
    assert err.splitlines()[-1].startswith("flowlake: interrupted.")
    gaps = run("verify", large, "--grace", "0m", "--format", "csv")
    assert gaps.code == 1
    assert {line.split(",")[0] for line in gaps.out.splitlines()[1:]} == {"not converted"}
    assert run("convert", large).code == 0
    assert run("verify", "--grace", "0m").code == 0
    [status] = run("status", "--format", "json").json()
    assert (status["objects"], status["rows"]) == (49, 48 * 12_000 + 2)


def test_interrupted_with_workers(run: Run, large: Path, tmp_path: Path) -> None:
    code, err = _interrupted(large, tmp_path / "lake", "--workers", "2")
    assert code == 130
    assert err.splitlines()[-1].startswith("flowlake: interrupted.")
    assert "Traceback" not in err
    assert run("convert", large).code == 0
    assert run("verify", "--grace", "0m").code == 0


def test_interrupted_while_workers_start(large: Path, tmp_path: Path) -> None:
    words = ("convert", large, "--lake", tmp_path / "lake", "--workers", "2")
    process = command(*words, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(children(process.pid)) < 3:  # two workers, and multiprocessing's own tracker
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err.decode()
