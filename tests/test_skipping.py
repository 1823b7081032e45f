"""Objects that are no flow logs, or cannot be read: counted, named, and read again when asked."""

import json
import re
from datetime import timedelta
from pathlib import Path

import deltalake
import polars as pl
import pyarrow as pa
import pytest

import flowlake
from flowlake import committing, tasks
from flowlake.errors import StorageError, UsageError
from flowlake.status import rejects
from flowlake.verifying import verify
from tests.test_cli import Run, run
from tests.test_exactly_once import put, raw_object

__all__ = ["run"]

FIELDS = "interface-id srcaddr dstaddr action log-status"
CUSTOM = b"eni-1 10.0.0.5 203.0.113.9 ACCEPT OK\neni-1 10.0.0.5 203.0.113.9 REJECT OK\n"
TRAIL = b'{"Records":[{"eventVersion":"1.08"}]}'
ROWS_OF_ONE = 6


def stage(place: str) -> None:
    """A flow log, records without a header, CloudTrail's JSON twice and a PDF."""
    put(place, *raw_object(0))
    put(place, "custom.log", CUSTOM)
    put(place, "trail/1.json", TRAIL)
    put(place, "trail/2.json", TRAIL)
    put(place, "guide.pdf", b"%PDF-1.7")


def states(lake: str) -> list[tuple[str, str | None, int]]:
    ledger = flowlake.open_lake(lake).objects()
    live = ledger.join(ledger, left_on="object_id", right_on="replaces", how="anti")
    return sorted(live.select("state", "shape", "rows").rows(), key=str)


def test_a_bucket_with_other_things_in_it(place: str) -> None:
    stage(place)
    lake = f"{place}/lake"
    report = flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert (report.listed, report.objects, report.rows) == (5, 5, ROWS_OF_ONE)
    assert [reason[:19] for _, reason in report.unreadables] == ["records of 5 fields"]
    kinds = ["CloudTrail log", "CloudTrail log", "PDF document"]
    assert sorted(kind for _, kind in report.skipped) == kinds
    assert states(lake) == [
        ("converted", "text", ROWS_OF_ONE),
        ("skipped", "CloudTrail log", 0),
        ("skipped", "CloudTrail log", 0),
        ("skipped", "PDF document", 0),
        ("unreadable", None, 0),
    ]
    assert flowlake.open_lake(lake).rejects().height == 2
    again = flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    assert (again.new, again.known_unreadable, again.known_skipped) == (0, 1, 3)
    assert verify(lake=lake, grace=timedelta(0)).gaps.is_empty()


def test_retry_reads_them_again_and_nothing_else(place: str) -> None:
    stage(place)
    lake = f"{place}/lake"
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    listing, new = flowlake.plan(f"{place}/raw", lake=lake, retry=True)
    assert (listing.height, new.height) == (5, 4)
    report = flowlake.convert(f"{place}/raw", lake=lake, workers=1, fields=FIELDS, retry=True)
    assert (report.new, report.objects, report.rows, report.replaced) == (4, 4, 2, 4)
    assert report.unreadables == []
    assert ("converted", "text", 2) in states(lake)
    assert flowlake.open_lake(lake).flows().select(pl.len()).collect().item() == ROWS_OF_ONE + 2
    assert flowlake.open_lake(lake).rejects().height == 1, "the line in the flow log"
    once_more = flowlake.convert(f"{place}/raw", lake=lake, workers=1, fields=FIELDS, retry=True)
    assert (once_more.new, once_more.rows, len(once_more.skipped)) == (3, 0, 3)
    assert flowlake.open_lake(lake).flows().select(pl.len()).collect().item() == ROWS_OF_ONE + 2
    assert verify(lake=lake, grace=timedelta(0)).gaps.is_empty()


def test_two_that_retry_at_once_convert_it_once(tmp_path: Path) -> None:
    place, lake = str(tmp_path), str(tmp_path / "lake")
    stage(place)
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    overtaken = False

    def overtake(progress: flowlake.Progress) -> None:
        nonlocal overtaken
        if progress.objects_done and not overtaken:
            overtaken = True
            flowlake.convert(f"{place}/raw", lake=lake, workers=1, fields=FIELDS, retry=True)

    report = flowlake.convert(
        f"{place}/raw", lake=lake, workers=1, fields=FIELDS, retry=True, progress=overtake
    )
    assert overtaken
    assert (report.objects, report.elsewhere) == (0, 4)
    assert flowlake.open_lake(lake).flows().select(pl.len()).collect().item() == ROWS_OF_ONE + 2
    assert verify(lake=lake, grace=timedelta(0)).gaps.is_empty()


def test_what_the_command_says_of_them(run: Run, tmp_path: Path) -> None:
    stage(str(tmp_path))
    done = run("convert", "raw")
    assert done.code == 1
    assert "custom.log: records of 5 fields without a header" in done.err
    assert "3 objects skipped: 2 CloudTrail log, 1 PDF document." in done.out
    done = run("convert", "raw", "--retry", "--fields", FIELDS)
    assert done.code == 0, "what is no flow log is no failure"
    done = run("convert", "raw")
    assert "3 objects skipped before" in done.out
    assert run("convert", "raw", "--format", "json").json()[0]["known_skipped"] == 3
    shown = run("status").out
    assert re.search(r"^skipped +3$", shown, re.MULTILINE)
    table = shown.split("no flow logs:\n")[1]
    assert [line.split()[:3] for line in table.splitlines()[2:]] == [
        ["CloudTrail", "log", "2"],
        ["PDF", "document", "1"],
    ]
    assert "trail/1.json" in table
    assert run("status", "--format", "json").json()[0]["skipped"] == 3
    assert run("convert", "raw", "--fields", "no such").code == 2


def test_a_lake_made_before_there_were_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, lake = str(tmp_path), str(tmp_path / "lake")
    put(place, *raw_object(0))
    older = pa.schema([column for column in committing.OBJECTS if column.name != "shape"])
    with monkeypatch.context() as patch:
        patch.setattr(committing, "OBJECTS", older)
        patch.setattr(tasks, "OBJECTS", older)
        patch.setitem(committing.SCHEMAS, "objects", older)
        flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    columns = [each.name for each in deltalake.DeltaTable(f"{lake}/objects").schema().fields]
    assert "shape" not in columns
    assert states(lake) == [("converted", None, ROWS_OF_ONE)]
    put(place, *raw_object(1))
    flowlake.convert(f"{place}/raw", lake=lake, workers=1)
    columns = [each.name for each in deltalake.DeltaTable(f"{lake}/objects").schema().fields]
    assert "shape" in columns
    assert {shape for _, shape, _ in states(lake)} == {None, "text"}
    assert deltalake.DeltaTable(f"{lake}/objects").to_pyarrow_table().num_rows == 2
    assert verify(lake=lake, grace=timedelta(0)).gaps.is_empty()


# --- flowlake inspect ---------------------------------------------------------------------------


def test_inspecting_an_object(place: str) -> None:
    url = put(place, *raw_object(0))
    found = flowlake.inspect(url, rows=2)
    assert (found.state, found.shape, found.reason) == ("flow log", "text", None)
    assert (found.lines, found.rows, found.rejected) == (ROWS_OF_ONE + 1, ROWS_OF_ONE, 1)
    assert found.flow_log_id is not None
    assert found.flow_log_id.startswith("fl-")
    assert found.first_rows.height == 2
    assert found.rejects.height == 1
    listed = flowlake.convert(f"{place}/raw", lake=f"{place}/lake", workers=1)
    assert (listed.rows, listed.rejected) == (found.rows, found.rejected)
    [ledger] = flowlake.open_lake(f"{place}/lake").objects().to_dicts()
    for name in ("shape", "lines", "rows", "nodata", "skipdata", "rejected", "misdated"):
        assert ledger[name] == getattr(found, name)
    assert ledger["fields"] == " ".join(found.fields)
    with pytest.raises((UsageError, StorageError), match=r"no (object|folder)"):
        flowlake.inspect(f"{place}/raw/nothing.log")


def test_inspecting_several_sections(tmp_path: Path) -> None:
    (tmp_path / "two.log").write_text(
        "version bytes start x-new\n2 7 1768428000 a\n2 8 1768428100 b\n"
        "version region end\n3 eu-west-1 1768428200\n3 eu-west-1 x\n"
    )
    found = flowlake.inspect(tmp_path / "two.log")
    assert found.fields == ("version", "bytes", "start", "x-new", "region", "end")
    assert found.unknown_fields == ("x-new",)
    assert (found.versions, found.regions) == ((2, 3), ("eu-west-1", "unknown"))
    assert found.first is not None
    assert found.last is not None
    assert (found.last - found.first).seconds == 200
    assert found.first_rows.columns == [
        *("version", "bytes", "start_time", "x_new", "region", "end_time")
    ]
    assert found.first_rows["bytes"].to_list() == [7, 8, None]


def test_the_inspect_command(run: Run, tmp_path: Path) -> None:
    stage(str(tmp_path))
    raw = tmp_path / "raw"
    done = run("inspect", raw / "custom.log", "--fields", FIELDS)
    assert done.code == 0
    assert re.search(r"^rows +2$", done.out, re.MULTILINE)
    assert "First records:\n" in done.out
    assert "Rejected" not in done.out
    done = run("inspect", raw / "custom.log")
    assert done.code == 1
    assert "unreadable" in done.out
    assert "records of 5 fields without a header" in done.out
    done = run("inspect", raw / "guide.pdf", "--format", "json")
    assert done.code == 1
    assert [done.json()[0][name] for name in ("state", "shape")] == ["skipped", "PDF document"]
    done = run("inspect", raw / "custom.log", "--fields", FIELDS, "--rows", "1", "--format", "csv")
    cells = pl.read_csv(done.body, infer_schema=False).row(0, named=True)
    assert json.loads(cells["first_rows"])[0]["action"] == "ACCEPT"
    assert len(json.loads(cells["first_rows"])) == 1
    assert cells["rows"] == "2"
    done = run("inspect", raw)
    assert done.code == 2
    assert "more than one object" in done.err
    assert run("inspect", raw / "none.log").code == 1


def test_status_reads_no_rejected_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be millions: of the rejects it reads what stands for objects, and no text."""
    put(str(tmp_path), "custom.log", CUSTOM)
    lake = str(tmp_path / "lake")
    flowlake.convert(tmp_path / "raw", lake=lake, workers=1)
    monkeypatch.setattr(flowlake.Lake, "rejects", pytest.fail)
    assert "custom.log   records of 5 fields" in run("status", "--lake", lake).out
    wanted = rejects(committing.Tables(lake)).filter(pl.col("line_number").is_null())
    plan = wanted.select("url", "reason").explain()
    assert "PROJECT 3/4 COLUMNS" in plan
    assert 'SELECTION: col("line_number").is_null()' in plan
