"""Asking a real lake: each question by both its doors, looking back, hunting, connecting."""

import io
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import flowlake
from flowlake.catalog import Question, questions
from flowlake.errors import UsageError
from flowlake.queries import bind
from flowlake.samples import write_sample
from flowlake.storage import open_storage
from tests.test_cli import Run, bucket, lake, run

__all__ = ["bucket", "lake", "run"]

SINCE = "2026-01-15"
CSV = ("--format", "csv")


@pytest.mark.parametrize("asked", questions(), ids=[asked.name for asked in questions()])
def test_both_doors_of_a_lake(lake: Path, asked: Question) -> None:
    opened = flowlake.open_lake(lake)
    values = bind(asked.query, {})
    frames = [opened.flows(since=SINCE)]
    if asked.query.history is not None:
        frames.append(opened.history(SINCE, values[asked.query.history]))
    answer = opened.query(asked.name, since=SINCE).pl()
    assert_frame_equal(asked.twin(*frames, **values).collect(), answer, check_exact=True)
    assert answer.height or asked.name in EMPTY, "nothing asked"


EMPTY = {"refused_replies"}
"""Questions that the sample answers only in its part of 2015."""


def test_both_doors_of_a_lake_on_s3(s3: str, bucket: Path) -> None:
    place = f"{s3}/lake"
    flowlake.convert(bucket, lake=place, workers=1)
    opened = flowlake.open_lake(place)
    for name in ("top_conversations", "public_inbound", "refused_replies"):
        twin = getattr(flowlake.analyses, name)(opened.flows()).collect()
        assert_frame_equal(twin, opened.query(name).pl(), check_exact=True)
        assert twin.height
    frames = [opened.flows(since=SINCE), opened.history(SINCE, 7)]
    twin = flowlake.analyses.new_destinations(*frames).collect()
    assert_frame_equal(twin, opened.query("new_destinations", since=SINCE).pl(), check_exact=True)
    assert opened.hunt("203.0.113.1", top=None).pl().height > 10


def test_history_is_what_was_before(lake: Path) -> None:
    opened = flowlake.open_lake(lake)
    whole, window = opened.flows().collect(), opened.flows(since=SINCE).collect()
    day_before = opened.history(SINCE, 1).collect()
    assert day_before.height + window.height == whole.height - 2  # of 2015
    begin = datetime.fromisoformat(f"{SINCE}T00:00Z")
    assert (day_before["start_time"] < begin).all()
    assert (window["start_time"] >= begin).all()
    assert opened.history(SINCE, 10_000).collect().height == whole.height - window.height
    assert opened.history(SINCE, 2**32 - 1).collect().height == whole.height - window.height
    assert opened.history(SINCE, 0).collect().is_empty()
    some = opened.history(SINCE, 1, account="012345678901").collect()
    assert set(some["account_id"]) == {"012345678901"}


def test_what_looks_back_must_know_from_where(run: Run, lake: Path) -> None:
    for name in ("new_destinations", "coverage_gaps"):
        done = run("query", name, "--lake", lake)
        assert (done.code, done.out) == (2, "")
        assert f"{name} compares a window with the days before it" in done.err
        assert "--since" in done.err
    new = run("query", "new_destinations", "--lake", lake, "--since", SINCE, *CSV, "-p", "top=999")
    old = run(
        "query",
        "new_destinations",
        "--lake",
        lake,
        "--since",
        SINCE,
        *CSV,
        "-p",
        "top=999",
        "-p",
        "days=0",
    )
    assert 1 < len(new.out.splitlines()) < len(old.out.splitlines())


def test_an_empty_answer_names_the_fields_it_lacks(run: Run, lake: Path) -> None:
    where = ("--lake", lake, "--account", "012345678901", "--region", "us-east-1")
    done = run("query", "tcp_flags_breakdown", *where)
    assert done.code == 0
    assert done.err == (
        "No record of this window has tcp_flags, which tcp_flags_breakdown needs.\n"
    )
    assert run("query", "tcp_flags_breakdown", "--lake", lake).err == ""
    egress = run("query", "top_talkers", *where, "-p", "count=egress")
    assert egress.err == "No record of this window has flow_direction, which top_talkers needs.\n"
    nobody = run("query", "top_talkers", "--lake", lake, "--since", "2030-01-01")
    assert (nobody.code, nobody.err) == (0, "")


def test_networks_of_ones_own(run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = ("query", "egress_destinations", "--lake", lake, "-p", "top=9999", *CSV)
    usual = pl.read_csv(run(*ask).body)
    assert usual["dstaddr"].str.starts_with("198.51.100.").any()
    given = ("--internal", "198.51.100.0/24, 2001:db8::/32")
    fewer = pl.read_csv(run(*ask, *given).body)
    assert not fewer["dstaddr"].str.starts_with("198.51.100.").any()
    monkeypatch.setenv("FLOWLAKE_INTERNAL", given[1])
    assert pl.read_csv(run(*ask).body).equals(fewer)
    own = pl.read_csv(run(*ask, "-p", "internal=203.0.113.0/24").body)
    assert own["dstaddr"].str.starts_with("198.51.100.").any()
    assert run("query", "top_talkers", "--lake", lake).code == 0
    wrong = run(*ask, "--internal", "10.0.0.0/33")
    assert (wrong.code, wrong.out) == (2, "")
    assert "'10.0.0.0/33' is not a network" in wrong.err


def test_a_wrong_value_is_told_in_one_sentence(run: Run, lake: Path) -> None:
    done = run("query", "top_talkers", "--lake", lake, "-p", "count=ingress")
    assert done.code == 2
    assert done.err == (
        "flowlake: count is records, egress or the id of an interface, not ingress.\n"
    )
    with pytest.raises(UsageError, match=r"^count is records, egress"):
        flowlake.analyses.top_talkers(flowlake.open_lake(lake).flows(), count="ingress")
    networks = run("query", "port_access", "--lake", lake, "-p", "addresses=10.0.0.0/40")
    assert networks.err.startswith("flowlake: 10.0.0.0/40 is not a network: write 10.0.0.0/8")
    side = run("query", "top_talkers", "--lake", lake, "-p", "side=sideways")
    assert side.code == 2
    assert "side is source, destination or both, not sideways" in side.err


def test_queries_of_ones_own(run: Run, lake: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "lonely.sql").write_text(
        "-- name: lonely\n-- title: Ports asked for once\n-- description: d\n"
        "-- param: ports INTEGER[] = [] -- only these\n-- returns: dstport INTEGER\n\n"
        "SELECT dstport FROM flows WHERE list_contains($ports, dstport) GROUP BY ALL ORDER BY 1"
    )
    done = run("query", "lonely", "--queries", own, "--lake", lake, "-p", "ports=443,22", *CSV)
    assert done.out.split() == ["dstport", "22", "443"]
    opened = flowlake.open_lake(lake)
    assert opened.query("lonely", queries=own, ports=[443]).pl().item() == 443
    assert "lonely" in run("queries", "--queries", own).out
    assert "lonely" not in run("queries").out
    (own / "wrong.sql").write_text("SELECT 1")
    done = run("queries", "--queries", own)
    assert (done.code, done.out) == (1, "")
    assert "wrong.sql:1: the header has no 'name'" in done.err
    assert "There is no folder of queries" in run("queries", "--queries", "none").err


def test_sql_with_its_values_runs_as_it_is(run: Run, lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "lake.duckdb"
    assert run("connect", file, "--lake", lake).code == 0
    for name in ("top_ports", "uncaptured", "transfer_cost"):
        printed = run("query", name, "--sql").out
        with duckdb.connect(file, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.execute(printed).fetchall()
            by_macro = connection.execute(f"FROM {name}()").fetchall()
        assert rows == by_macro == flowlake.open_lake(lake).query(name).fetchall()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_completes_names(shell: str) -> None:
    words = {"COMP_WORDS": "flowlake query top_t", "COMP_CWORD": "2"}
    words |= {"_TYPER_COMPLETE_ARGS": "flowlake query top_t"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("flowlake"))],
        env={**os.environ, **words, "_FLOWLAKE_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "top_talkers" in done.stdout
    assert "rejected_flows" not in done.stdout


def hunted(run: Run, *words: object) -> pl.DataFrame:
    done = run("hunt", *words, "--format", "parquet")
    assert done.code == 0, done.err
    return pl.read_parquet(io.BytesIO(done.body))


def test_hunting(run: Run, lake: Path, tmp_path: Path) -> None:
    flows = flowlake.open_lake(lake).flows().collect()
    sent = flows.filter(pl.col("srcaddr") == "203.0.113.1")
    found = hunted(run, "203.0.113.1", "--lake", lake, "--top", 0)
    assert found.height == sent.height > 10
    assert set(found["side"]) == {"source"}
    assert found["start_time"].is_sorted(descending=True)
    some = run("hunt", "203.0.113.1", "--lake", lake, "--top", "3")
    assert len(some.out.splitlines()) == 2 + 3
    assert some.err == "Only the first 3 rows: --top 0 keeps all, --summary sums them up.\n"
    interface = flows["interface_id"].drop_nulls()[0]
    by_interface = hunted(run, interface, "--lake", lake, "--top", 0)
    assert by_interface.height == (flows["interface_id"] == interface).sum()
    listed = tmp_path / "iocs.txt"
    listed.write_text(f"# found in the night\n203[.]0[.]113[.]1\n{interface},from the ticket\n")
    together = hunted(run, "--file", listed, "--lake", lake, "--top", 0)
    assert together.height == found.height + by_interface.height
    summary = hunted(run, "203.0.113.1", "--lake", lake, "--summary", "--top", 0)
    assert summary["flows"].sum() == found.height
    assert summary["bytes_out"].sum() == sent["bytes"].sum()
    window = hunted(run, "203.0.113.1", "--lake", lake, "--since", SINCE, "--action", "REJECT")
    assert 0 < window.height < found.height


def test_hunting_in_vain_and_wrongly(run: Run, lake: Path, tmp_path: Path) -> None:
    nothing = run("hunt", "192.0.2.255", "--lake", lake, "--format", "json")
    assert (nothing.code, json.loads(nothing.out)) == (0, [])
    assert nothing.err == "Nothing found: no record of this window has any of them.\n"
    for words, complaint in (
        (["example.com"], "'example.com' cannot be hunted"),
        ([], "There is nothing to hunt"),
        (["--file", tmp_path / "none"], "cannot be read"),
        (["10.0.0.1'; DROP VIEW flows; --"], "cannot be hunted"),
    ):
        done = run("hunt", *words, "--lake", lake)
        assert (done.code, done.out) == (2, "")
        assert complaint in done.err


def test_a_hunt_enriched(run: Run, lake: Path, tmp_path: Path) -> None:
    asn = tmp_path / "asn.csv"
    asn.write_text('203.0.113.0,203.0.113.127,64496,"Example, Inc."\n')
    found = hunted(run, "203.0.113.1", "--lake", lake, "--enrich", "--asn", asn)
    assert set(found["srcaddr_asn"]) == {64496}
    assert set(found["srcaddr_as_name"]) == {"Example, Inc."}
    assert set(found["dstaddr_asn"]) == {None}
    assert found.columns.index("srcaddr_country") == found.columns.index("srcaddr") + 1
    done = run(
        *("sql", "SELECT as_name('203.0.113.1') AS name, country('8.8.8.8') AS country"),
        *("--lake", lake, "--asn", asn, *CSV),
    )
    assert done.out.splitlines()[1] == '"Example, Inc.",US'
    missing = run("sql", "SELECT asn('8.8.8.8')", "--lake", lake)
    assert missing.code == 2
    assert "FLOWLAKE_ASN" in missing.err
    assert "Traceback" not in missing.err
    assert "UDF" not in missing.err


def test_a_database_for_other_programs(run: Run, lake: Path, tmp_path: Path) -> None:
    done = run("connect", "lake.duckdb", "--lake", lake, "--since", SINCE)
    assert (done.code, done.err) == (0, "")
    with duckdb.connect(tmp_path / "lake.duckdb", read_only=True) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM flows").fetchall()
        [(before,)] = connection.execute("SELECT count(*) FROM history").fetchall()
        assert connection.execute("FROM top_talkers(top := 2)").fetchall()
    opened = flowlake.open_lake(lake)
    assert count == opened.flows(since=SINCE).collect().height
    assert count + before == opened.flows().collect().height
    (tmp_path / "notes.txt").write_text("not a database")
    refused = run("connect", "notes.txt", "--lake", lake)
    assert (refused.code, refused.out) == (2, "")
    assert (tmp_path / "notes.txt").read_text() == "not a database"


def test_a_bad_window_of_a_hunt(lake: Path) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        flowlake.open_lake(lake).hunt("10.0.0.1", since="yesterday")
    empty = flowlake.open_lake(lake).hunt("10.0.0.1", since="2030-01-01").pl()
    assert empty.is_empty()


def test_a_sample_has_all_three_generations(tmp_path: Path) -> None:
    write_sample(open_storage(str(tmp_path / "b")), prefix=f"{tmp_path}/b/", records_per_object=40)
    flowlake.convert(tmp_path / "b", lake=tmp_path / "lake", workers=1)
    cost = flowlake.open_lake(tmp_path / "lake").query("transfer_cost", since="2026-01-01").pl()
    assert {"internet", "unknown", "gateway_endpoint"} <= set(cost["path"])
    assert "flow_direction, traffic_path" in set(cost["needs"])
