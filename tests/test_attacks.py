"""What the corpus of attacks promises: labels that agree with records, and traffic like in life."""

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import flowlake as fl
from flowlake.attacks import FORMATS, LABELS, MANY, AttackKnobs, attack_tables, labels
from flowlake.attacks.background import everyday
from flowlake.attacks.estates import as_text, dotted, estate, ipv4
from flowlake.attacks.recording import Recorder, Silence, talks
from flowlake.cli import app
from flowlake.errors import UsageError
from flowlake.fields import DEFAULT_FORMAT
from flowlake.layout import parse_key
from flowlake.samples import ACCOUNTS, REGIONS, START, object_bytes

KNOBS: AttackKnobs = {"records_per_object": 400}
TINY: AttackKnobs = {"hours": 1, "records_per_object": 20}
KINDS = {
    *("port_scan", "slow_scan", "host_sweep", "brute_force", "beacon", "egress_volume"),
    *("silent_interface", "reject_surge", "allowed"),
}
BACKGROUND = "the internet's background"
FIVE = ("srcaddr", "srcport", "dstaddr", "dstport", "protocol")


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return dict(attack_tables(**KNOBS))


@pytest.fixture(scope="module")
def flows(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Every record, with the fields of the default format, and times."""
    times = (pl.from_epoch(name, "s").dt.replace_time_zone("UTC") for name in ("start", "end"))
    return pl.concat(t.select(DEFAULT_FORMAT) for t in tables.values()).with_columns(*times)


@pytest.fixture(scope="module")
def labelled() -> pl.DataFrame:
    return labels(**KNOBS)


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, other = ({k: object_bytes(t) for k, t in attack_tables(**TINY)} for _ in range(2))
    assert one == other
    assert labels(**TINY).equals(labels(**TINY))


def test_another_seed_gives_other_attacks() -> None:
    one, other = (
        labels(hours=1, records_per_object=20, seed=seed)
        .filter(pl.col("kind") != "silent_interface")
        .drop("note")
        for seed in (1, 2)
    )
    assert one.join(other, on=one.columns, nulls_equal=True).is_empty()


def test_objects_are_those_of_aws(tables: dict[str, pl.DataFrame]) -> None:
    names = [parse_key(key) for key in tables]
    assert len(set(names)) > 4 * 24 * 12 - 4
    assert {tuple(table.columns) for table in tables.values()} == {*FORMATS}
    for name, table in zip(names, tables.values(), strict=True):
        assert name.slot is not None
        since = int(name.slot.timestamp())
        assert table["end"].is_between(since, since + 299).all()
        assert (table["account-id"] == name.account_id).all()


def test_there_is_every_kind_of_attack_and_few_records_are_of_one(
    labelled: pl.DataFrame, flows: pl.DataFrame
) -> None:
    assert labelled.schema == LABELS
    assert set(labelled["kind"]) == KINDS
    planted = labelled.filter(~pl.col("note").str.starts_with(BACKGROUND))
    assert 35 < planted.height < 60
    assert planted["flows"].sum() < 0.15 * flows.height
    assert labelled["flows"].sum() < 0.3 * flows.height


def test_labels_of_outsiders_count_each_record(labelled: pl.DataFrame, flows: pl.DataFrame) -> None:
    """An outsider does nothing but what its label says: all its records with the target count."""
    outside = labelled.filter(
        pl.col("who").str.contains(r"^(203\.0\.113|198\.18)\.\d+\.?\d*$")
        & ~pl.col("whom").str.contains("/")
    )
    assert outside.height > 200
    pair = ("who", "whom")
    there = flows.select("start", "end", who="srcaddr", whom="dstaddr")
    back = flows.select("start", "end", who="dstaddr", whom="srcaddr")
    found = (
        pl.concat([there, back])
        .group_by(pair)
        .agg(pl.col("start").min(), pl.col("end").max(), records=pl.len())
    )
    both = outside.join(found, on=pair, how="left")
    assert both["first_seen"].to_list() == both["start"].to_list()
    assert both["last_seen"].to_list() == both["end"].to_list()
    assert both["flows"].to_list() == both["records"].to_list()


def test_labels_of_a_network_count_each_record(labelled: pl.DataFrame, flows: pl.DataFrame) -> None:
    (label,) = labelled.filter(pl.col("who").str.ends_with("/24")).to_dicts()
    assert label["who"] == "198.51.100.0/24"
    found = flows.filter(pl.col("srcaddr").str.starts_with("198.51.100."))
    assert found.height == label["flows"]
    assert set(found["dstaddr"]) == {label["whom"]}
    assert found["srcaddr"].n_unique() == 30
    assert found["dstport"].n_unique() == 1000


def test_labels_of_insiders_have_records_within_their_times(
    labelled: pl.DataFrame, flows: pl.DataFrame
) -> None:
    inside = labelled.filter(pl.col("who").str.contains(r"^(10|172)\.\d"))
    assert inside.height > 10
    for label in inside.to_dicts():
        within = flows.filter(
            (pl.col("srcaddr") == label["who"])
            & (pl.col("start") >= label["first_seen"])
            & (pl.col("end") <= label["last_seen"])
        )
        if label["whom"] and "/" not in label["whom"]:
            within = within.filter(pl.col("dstaddr") == label["whom"])
        assert within.height >= label["flows"] // 8 > 0, label


def test_silent_interfaces_are_silent(labelled: pl.DataFrame, flows: pl.DataFrame) -> None:
    down = pl.col("note").str.starts_with("the host is down")
    silent = labelled.filter((pl.col("kind") == "silent_interface") | down).to_dicts()
    found = sorted((label["kind"], label["flows"] > 0) for label in silent)
    assert found == [("allowed", True), ("silent_interface", False)]
    for label in silent:
        own = flows.filter(pl.col("interface-id") == label["who"])
        within = own.filter(pl.col("start").is_between(label["first_seen"], label["last_seen"]))
        quiet = within.filter(pl.col("log-status") != "OK")
        assert quiet.height == label["flows"]
        late = label["first_seen"] + timedelta(seconds=60)
        rest = within.filter((pl.col("start") > late) & (pl.col("end") < label["last_seen"]))
        assert set(rest["log-status"]) <= {"NODATA", "SKIPDATA"}
        assert own.filter(pl.col("start") < label["first_seen"]).height > 200


def test_interfaces_say_so_in_each_interval_without_traffic(flows: pl.DataFrame) -> None:
    quiet = flows.filter(pl.col("log-status") != "OK")
    assert set(quiet["log-status"]) == {"NODATA", "SKIPDATA"}
    assert quiet.select("srcaddr", "dstaddr", "bytes", "action").null_count().row(0) == (
        (quiet.height,) * 4
    )
    lasts = (quiet["end"] - quiet["start"]).dt.total_seconds() + 1
    assert set(lasts) == {60, 600}


def test_sources_of_the_background_are_labelled_from_a_bound_on(
    labelled: pl.DataFrame, flows: pl.DataFrame
) -> None:
    own = pl.col("srcaddr").str.starts_with("198.18.")
    planted = pl.col("srcaddr").str.contains(r"^198\.18\.2[45]\d")
    sources = flows.filter(own & ~planted)
    ports = sources.group_by("srcaddr", "dstaddr").agg(ports=pl.col("dstport").n_unique())
    scans = labelled.filter(pl.col("kind").is_in(["port_scan", "slow_scan"]))
    known = scans.select(srcaddr="who", dstaddr="whom").unique()
    many = ports.filter(pl.col("ports") >= MANY)
    assert many.height == many.join(known, on=["srcaddr", "dstaddr"]).height > 100
    few = ports.filter(pl.col("ports") < MANY)
    assert few.join(known, on=["srcaddr", "dstaddr"]).is_empty()


def test_the_background_of_the_internet_is_as_measured(flows: pl.DataFrame) -> None:
    sources = flows.filter(pl.col("srcaddr").str.starts_with("198.18."))
    once = sources.group_by("srcaddr").agg(pl.col("packets").sum())
    assert once.height > 20_000
    assert 0.4 < (once["packets"].to_numpy() == 1).mean() < 0.8
    ports = sources.group_by("srcaddr", "dstaddr").agg(pl.col("dstport").n_unique())
    touched = ports["dstport"].to_numpy()
    assert 0.04 < (touched >= 5).mean() < 0.08
    assert 0.008 < (touched >= 15).mean() < 0.02


def test_few_talkers_have_most_of_the_traffic(flows: pl.DataFrame) -> None:
    talkers = flows.filter(pl.col("srcaddr").str.starts_with("198.19."))
    by_talker = talkers.group_by("srcaddr").agg(pl.col("bytes").sum(), records=pl.len())
    assert by_talker.height > 10_000
    for count, share in (("bytes", 0.5), ("records", 0.3)):
        each = by_talker[count].sort(descending=True).to_numpy()
        assert each[: len(each) // 100].sum() / each.sum() > share


def test_people_keep_hours(flows: pl.DataFrame) -> None:
    to_web = flows.filter((pl.col("dstport") == 443) & (pl.col("action") == "ACCEPT"))
    hours = dict(to_web.group_by(pl.col("start").dt.hour()).len().iter_rows())
    assert hours[14] > 3 * hours[2]
    world = estate(ACCOUNTS, REGIONS, FORMATS)
    thursday, saturday = (
        everyday(np.random.default_rng(1), world, int(day.timestamp()), 10_000).height
        for day in (START, START + timedelta(days=3))
    )
    assert saturday < 0.75 * thursday


def test_both_ends_record_and_nothing_twice(flows: pl.DataFrame) -> None:
    traffic = flows.filter(pl.col("log-status") == "OK")
    assert traffic.select("interface-id", *FIVE, "action", "start").is_duplicated().sum() < 100
    queries = traffic.filter(
        pl.col("srcaddr").str.starts_with("10.")
        & pl.col("dstaddr").str.starts_with("10.")
        & (pl.col("dstport") == 5432)
        & (pl.col("packets") > 50)
    )
    ends = queries.group_by(FIVE).agg(pl.col("interface-id").n_unique())["interface-id"]
    assert ends.len() > 5 and set(ends) == {2}


def test_a_long_connection_leaves_a_record_in_each_interval() -> None:
    world = estate(["012345678901"], ["us-east-1", "eu-west-1"], FORMATS)
    begins = int(START.timestamp())
    talk = talks(
        2,
        client=ipv4("192.0.2.1"),
        server_at=np.array([0, 64]),
        client_port=40_000,
        server_port=443,
        start=begins + 30.5,
        lasted=3000.0,
        packets=777,
        bytes=77_777,
        flags=3,
        reply_packets=1,
        reply_bytes=40,
        reply_flags=18,
    )
    recorder = Recorder(world, begins)
    parts = [recorder.until(talk, begins + 1000)]
    parts += [recorder.until(talk.clear(), begins + until) for until in (2000, 4300)]
    records = pl.concat(parts).filter((pl.col("status") == "OK") & ~pl.col("egress"))
    sums = records.group_by("at").agg(
        pl.len(), pl.col("packets").sum(), pl.col("bytes").sum(), pl.col("flags")
    )
    slow, fast = sums.sort("at").iter_rows()
    assert slow[:4] == (0, 6, 777, 77_777)
    assert fast[0] == 64 and fast[1] in (50, 51) and fast[2:4] == (777, 77_777)
    assert slow[4] == [2, 0, 0, 0, 0, 1]
    replies = pl.concat(parts).filter(pl.col("egress"))
    assert replies.select("at", "packets", "flags").rows() == [(0, 1, 18), (64, 1, 18)]


def test_a_silence_can_be_told_from_a_host_that_is_down() -> None:
    world = estate(["012345678901"], ["us-east-1"], FORMATS)
    begins = int(START.timestamp()) - int(START.timestamp()) % 600
    silences = [Silence(0, begins, begins + 3600, True), Silence(1, begins, begins + 3600, False)]
    records = Recorder(world, begins, silences).until(talks(0), begins + 4300)
    count = dict(records.group_by("at").len().iter_rows())
    assert count[0] == 7
    assert count[1] == 2  # the hour holds five of its intervals, whose borders lie elsewhere


def test_addresses_are_written_as_text() -> None:
    numbers = [ipv4("0.0.0.0"), ipv4("10.0.200.7"), ipv4("255.255.255.255")]
    texts = ["0.0.0.0", "10.0.200.7", "255.255.255.255"]
    assert pl.DataFrame({"n": numbers}).select(as_text(pl.col("n"))).to_series().to_list() == texts
    assert [dotted(number) for number in numbers] == texts


@pytest.mark.parametrize(
    "knobs",
    [{"start": datetime(2026, 1, 1)}, {"hours": 0}, {"records_per_object": 0}, {"formats": ()}],
)
def test_what_makes_no_corpus_is_refused(knobs: Any) -> None:
    with pytest.raises(UsageError):
        labels(**knobs)
    with pytest.raises(UsageError):
        next(attack_tables(**knobs))


COMMAND = ("sample", "--attacks", "--hours", "1", "--records", "20")


def test_the_command_writes_what_converts_without_a_reject(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*COMMAND, str(tmp_path / "bucket"), "--shape", "hive"])
    assert done.exit_code == 0, done.output
    assert "aws-region=" in str(next((tmp_path / "bucket").rglob("*.log.gz")))
    made = sum(table.height for _, table in attack_tables(**TINY))
    report = fl.convert(tmp_path / "bucket", lake=tmp_path / "lake", workers=1)
    assert (report.rows, report.rejected, len(report.skipped)) == (made, 0, 0)
    # Even listed together with the bucket, the labels are no flow log.
    again = fl.convert(tmp_path / "bucket*", lake=tmp_path / "lake", workers=1)
    assert (again.rows, again.rejected, len(again.unreadables)) == (0, 0, 0)


def test_the_command_writes_labels_beside_the_bucket(tmp_path: Path) -> None:
    CliRunner().invoke(app, [*COMMAND, str(tmp_path / "bucket")])
    with (tmp_path / "bucket-labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = labels(**TINY)
    assert [row["kind"] for row in rows] == expected["kind"].to_list()
    assert list(rows[0]) == list(LABELS)
    first = expected["first_seen"][0].strftime("%Y-%m-%dT%H:%M:%SZ")
    assert rows[0]["first_seen"] == first
    read = pl.read_csv(
        tmp_path / "bucket-labels.csv",
        try_parse_dates=True,
        schema_overrides={"who": pl.String, "whom": pl.String},
    )
    assert read.equals(expected)


def test_labels_of_a_bucket_lie_here(s3: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*COMMAND, f"{s3}/raw"])
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["raw-labels.csv"]
    listed, _ = fl.plan(s3, lake=tmp_path / "lake")
    assert listed.height == sum(1 for _ in attack_tables(**TINY))


@pytest.mark.parametrize(
    "words", [["sample", "--labels", "x.csv"], [*COMMAND, "--shape", "export"]]
)
def test_options_that_do_not_fit_are_refused(words: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*words, str(tmp_path / "bucket")])
    assert isinstance(done.exception, UsageError)
    assert not list(tmp_path.iterdir())
