"""The setup checked: as a user does it, against moto, and each judgement on frames of its own."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from moto.logs.models import logs_backends
from typer.testing import CliRunner

import flowlake as fl
from flowlake.catalog import questions
from flowlake.cli import app
from flowlake.detections import DETECTIONS
from flowlake.errors import LakeError, StorageError, UsageError
from flowlake.fields import BY_NAME, DEFAULT_FORMAT
from flowlake.layout import hive_key, object_key
from flowlake.samples import EVERY_FIELD_FORMAT
from flowlake.setup.advice import ADVICE, LEVELS, advice
from flowlake.setup.arrivals import deliveries, newest_there, stale
from flowlake.setup.arrivals import received as received_by
from flowlake.setup.baseline import DRIFT
from flowlake.setup.checking import Check, check_flow_logs, drifted, of_trail
from flowlake.setup.serving import WEAKNESSES, WITHOUT_ACCEPT, WITHOUT_REJECT, lacking, unlike
from flowlake.setup.trails import Trail, read_trail
from flowlake.setup.watching import idle, left_behind, overlapping, unrecorded
from tests.setups import (
    ACCOUNT,
    FRESH,
    NOW,
    OLD,
    REGION,
    flow_log,
    flow_logs,
    in_lake,
    interfaces,
    networks,
    newest,
    received,
)
from tests.test_trails import ALICE, body, record

HEADER = " ".join(DEFAULT_FORMAT)


def told(rows: Iterator[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(row["level"], row["what"], row["resource"]) for row in advice(rows).to_dicts()]


def whys(rows: Iterator[dict[str, Any]]) -> list[str]:
    return advice(rows)["why"].to_list()


# Whether it delivers.


@pytest.mark.parametrize(
    ("of_it", "words", "to_do"),
    [
        ({"status": "INACTIVE"}, "its status is INACTIVE", "Make it anew"),
        ({"deliver_status": "FAILED"}, "its delivery FAILED", "Make it anew"),
        ({"deliver_error": "Access error"}, "may not write to arn:aws:s3:::flow-logs", "policy"),
        (
            {
                "deliver_error": "Access error",
                "destination_type": "cloud-watch-logs",
                "role_arn": "arn:aws:iam::123456789012:role/logs",
            },
            "as arn:aws:iam::123456789012:role/logs",
            "vpc-flow-logs.amazonaws.com",
        ),
        (
            {"deliver_error": "Access error", "destination_type": "kinesis-data-firehose"},
            "may not write",
            "delivery stream",
        ),
        ({"deliver_error": "Rate limited"}, "takes no more", "quota"),
        ({"deliver_error": "Unknown error"}, "AWS's own", "AWS Support"),
        ({"deliver_error": "Too blue"}, "'Too blue': AWS says no more", "destination"),
    ],
)
def test_what_ec2_says_of_a_delivery_is_put_in_words(
    of_it: dict[str, Any], words: str, to_do: str
) -> None:
    """Though something new lies there: EC2's word counts."""
    rows = flow_logs(flow_log(1, **of_it))
    (row,) = deliveries(rows, newest(("fl-00000001", FRESH, None)), None, NOW)
    assert (row["level"], row["what"]) == ("error", "delivery")
    assert words in row["why"] and to_do in row["to_do"]


@pytest.mark.parametrize(
    ("there", "lake", "level", "words"),
    [
        ((FRESH, None), None, "ok", "newest is of 2026-01-14 11:50 UTC"),
        ((OLD, None), None, "error", "Nothing has arrived since 2026-01-14 07:00 UTC"),
        ((None, None), None, "error", "Nothing has arrived at arn:aws:s3:::flow-logs for 2 days"),
        ((None, "it is dark"), None, "warning", "not known: it is dark"),
        (None, [FRESH], "ok", "newest is of 2026-01-14 11:50"),
        ((FRESH, None), [], "warning", "but the lake has nothing of it"),
        ((FRESH, None), [OLD], "warning", "but the lake has it until 2026-01-14 07:00"),
        ((None, None), [OLD], "error", "Nothing has arrived since 2026-01-14 07:00"),
        ((None, "it is dark"), [OLD], "warning", "The lake ends at 2026-01-14 07:00"),
        ((None, "it is dark"), [OLD, FRESH], "error", "and others until 2026-01-14 11:50"),
        ((NOW - timedelta(minutes=60), None), None, "ok", "11:00"),
        ((NOW - timedelta(minutes=61), None), None, "error", "10:59"),
    ],
)
def test_whether_it_delivers_goes_by_the_newest_in_lake_and_destination(
    there: tuple[datetime | None, str | None] | None,
    lake: list[datetime] | None,
    level: str,
    words: str,
) -> None:
    """The second in the lake is of another flow log, which EC2 need not know."""
    known = [in_lake(f"fl-{number:08x}", at) for number, at in enumerate(lake or (), 1)]
    (row,) = deliveries(
        flow_logs(flow_log(1)),
        newest(("fl-00000001", *there)) if there else newest(),
        None if lake is None else received(*known),
        NOW,
    )
    assert row["level"] == level
    assert words in row["why"]


def test_a_young_flow_log_may_have_delivered_nothing() -> None:
    young = flow_log(1, created_at=NOW - timedelta(minutes=20))
    nothing = newest(("fl-00000001", None, None))
    (row,) = deliveries(flow_logs(young), nothing, None, NOW)
    assert (row["level"], "not an hour old" in row["why"]) == ("note", True)


def test_of_a_network_without_interfaces_nothing_can_arrive() -> None:
    rows = [flow_log(1, "vpc-1"), flow_log(2, "subnet-a"), flow_log(3, "eni-1")]
    logs = flow_logs(*rows, flow_log(4, "vpc-2"), flow_log(5, "eni-9"), flow_log(6, "tgw-1"))
    empty = idle(logs, interfaces(("eni-1", "subnet-a", "vpc-1")))
    assert empty == {"vpc-2", "eni-9"}
    nothing = newest(*((row["flow_log_id"], None, None) for row in logs.to_dicts()))
    told_of = list(deliveries(logs, nothing, None, NOW, empty))
    assert [row["level"] for row in told_of] == ["error", "error", "error", "note", "note", "error"]
    assert told_of[3]["why"].endswith("There is no interface in vpc-2 now.")
    (fails,) = deliveries(flow_logs(flow_log(4, "vpc-2", status="?")), newest(), None, NOW, empty)
    assert fails["level"] == "error"


def test_a_log_groups_records_are_its_flow_logs_in_that_account_and_region() -> None:
    to_group = flow_log(1, destination_type="cloud-watch-logs", log_group="/vpc")
    elsewhere = flow_log(2, region="us-east-1", log_group="/vpc")
    logs = flow_logs(to_group, elsewhere)
    lake = received(in_lake(None, FRESH, group="/vpc"))
    assert stale(logs, lake, NOW)["flow_log_id"].to_list() == ["fl-00000002"]
    first, _ = deliveries(logs, newest(), lake, NOW)
    assert first["level"] == "ok"


def test_only_what_the_lake_has_nothing_new_of_is_looked_for() -> None:
    logs = flow_logs(flow_log(1), flow_log(2), flow_log(3))
    lake = received(in_lake("fl-00000001", FRESH), in_lake("fl-00000002", OLD))
    assert stale(logs, lake, NOW)["flow_log_id"].to_list() == ["fl-00000002", "fl-00000003"]


# What is recorded.


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ((), [("warning", "not recorded", "vpc-1"), ("note", "not recorded", "vpc-2")]),
        (("vpc-1", "vpc-2"), []),
        (
            ("vpc-2", "subnet-a"),
            [("warning", "not recorded", "subnet-b")],
        ),
        (("vpc-2", "subnet-a", "subnet-b"), []),
        (
            ("vpc-2", "eni-1"),
            [("warning", "not recorded", "eni-2"), ("warning", "not recorded", "subnet-b")],
        ),
        (("vpc-2", "eni-1", "eni-2", "eni-3"), []),
        (("vpc-2", "eni-1", "eni-2", "subnet-b"), []),
    ],
)
def test_what_nobody_records_is_told_at_its_highest_level(
    recorded: tuple[str, ...], expected: list[tuple[str, str, str]]
) -> None:
    logs = flow_logs(*(flow_log(n, resource) for n, resource in enumerate(recorded, 1)))
    there = networks(("vpc-1", None), ("vpc-1", "subnet-a"), ("vpc-1", "subnet-b"), ("vpc-2", None))
    inside = interfaces(
        ("eni-1", "subnet-a", "vpc-1"),
        ("eni-2", "subnet-a", "vpc-1"),
        ("eni-3", "subnet-b", "vpc-1"),
    )
    assert told(unrecorded(logs, there, inside)) == expected


def test_a_flow_log_that_is_not_active_records_nothing() -> None:
    logs = flow_logs(flow_log(1, status="INACTIVE"))
    there, inside = networks(("vpc-1", None)), interfaces(("eni-1", "subnet-a", "vpc-1"))
    assert told(unrecorded(logs, there, inside)) == [("warning", "not recorded", "vpc-1")]
    assert "1 interface in 0 subnets" in whys(unrecorded(logs, there, inside))[0]


@pytest.mark.parametrize(
    ("above", "own", "part"),
    [
        ((), ("REJECT",), "refused"),
        ((), ("ACCEPT",), "accepted"),
        ((), ("REJECT", "ACCEPT"), None),
        ((), ("ALL",), None),
        (("ALL",), ("REJECT",), None),
        (("ACCEPT",), ("REJECT",), None),
    ],
)
def test_traffic_that_is_recorded_in_part_is_told_of(
    above: tuple[str, ...], own: tuple[str, ...], part: str | None
) -> None:
    rows = [flow_log(n, "vpc-1", traffic_type=t) for n, t in enumerate(above, 1)]
    rows += [flow_log(n, "subnet-a", traffic_type=t) for n, t in enumerate(own, 5)]
    there = networks(("vpc-1", None), ("vpc-1", "subnet-a"))
    found = [
        row["why"]
        for row in unrecorded(flow_logs(*rows), there, interfaces())
        if row["what"] == "traffic in part" and row["resource"] == "fl-00000005"
    ]
    assert found == ([f"Only {part} traffic of subnet-a is recorded."] if part else [])


BUCKET, OTHER = "arn:aws:s3:::flow-logs/a", "arn:aws:s3:::others"


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        (("vpc-1", BUCKET, "ALL"), ("subnet-a", "arn:aws:s3:::flow-logs", "ALL"), "warning"),
        (("vpc-1", BUCKET, "ALL"), ("eni-1", BUCKET, "REJECT"), "warning"),
        (("subnet-a", BUCKET, "ALL"), ("eni-1", BUCKET, "ALL"), "warning"),
        (("vpc-1", BUCKET, "ALL"), ("vpc-1", BUCKET, "ACCEPT"), "warning"),
        (("vpc-1", BUCKET, "ALL"), ("eni-1", OTHER, "ALL"), "note"),
        (("vpc-1", BUCKET, "ACCEPT"), ("eni-1", BUCKET, "REJECT"), None),
        (("vpc-2", BUCKET, "ALL"), ("eni-1", BUCKET, "ALL"), None),
        (("subnet-b", BUCKET, "ALL"), ("eni-1", BUCKET, "ALL"), None),
    ],
)
def test_what_two_flow_logs_record_is_counted_twice(
    one: tuple[str, str, str], other: tuple[str, str, str], level: str | None
) -> None:
    rows = [
        flow_log(n, resource, destination=destination, traffic_type=traffic)
        for n, (resource, destination, traffic) in enumerate((one, other), 1)
    ]
    there = networks(
        *((vpc, None) for vpc in ("vpc-1", "vpc-2")), ("vpc-1", "subnet-a"), ("vpc-1", "subnet-b")
    )
    inside = interfaces(("eni-1", "subnet-a", "vpc-1"))
    expected = [(level, "recorded twice", "fl-00000002")] if level else []
    for order in (rows, rows[::-1]):
        assert told(overlapping(flow_logs(*order), there, inside)) == expected
    inactive = flow_logs(rows[0] | {"status": "INACTIVE"}, rows[1])
    assert told(overlapping(inactive, there, inside)) == []


def test_flow_logs_that_only_the_lake_knows_are_told_with_what_is_dark_now() -> None:
    lake = received(
        in_lake("fl-00000001", FRESH, "eni-1"),
        in_lake("fl-00000008", OLD, "eni-1", "eni-7"),
        in_lake("fl-00000009", OLD, "eni-1", "eni-2"),
        in_lake("fl-0000000a", OLD, "eni-2") | {"region": "us-east-1"},
        in_lake(None, OLD, group="/vpc"),
    )
    logs = flow_logs(flow_log(1, "eni-1"))
    inside = interfaces(("eni-1", "subnet-a", "vpc-1"), ("eni-2", "subnet-a", "vpc-1"))
    rows = list(left_behind(lake, logs, inside, [(ACCOUNT, REGION)]))
    assert told(iter(rows)) == [
        ("warning", "flow log gone", "fl-00000009"),
        ("note", "flow log gone", "fl-00000008"),
    ]
    (dark,) = [row for row in rows if row["level"] == "warning"]
    assert dark["why"].endswith("Nobody records these interfaces of it now: eni-2.")


# Whether the fields serve, and are alike.


def test_the_default_format_lacks_what_queries_say_they_need() -> None:
    rows = list(lacking(flow_logs(flow_log(1))))
    assert {row["level"] for row in rows} == {"note"}
    (queries,) = [row["why"] for row in rows if row["what"] == "queries"]
    for each in questions():
        assert (f"{each.name} (" in queries) == bool(each.query.needs), each.name
    assert "inter_az_traffic (az-id, flow-direction)" in queries


def test_all_fields_serve_all_queries_and_alarms() -> None:
    every = flow_log(1, fields=EVERY_FIELD_FORMAT)
    assert told(lacking(flow_logs(every, flow_log(2, "tgw-1")))) == []


@pytest.mark.parametrize("weakness", WEAKNESSES, ids=lambda weakness: weakness.fields[0])
def test_each_field_that_alarms_want_is_missed_by_itself(weakness: Any) -> None:
    for name in weakness.fields:
        fields = [each for each in EVERY_FIELD_FORMAT if each != name]
        found = list(lacking(flow_logs(flow_log(1, fields=fields))))
        (alarms,) = [row["why"] for row in found if row["what"] == "alarms"]
        assert alarms.startswith(f"Without {name}, {weakness.words}: ")


def test_what_is_said_of_fields_and_alarms_is_of_those_there_are() -> None:
    kinds = {each.kind for each in DETECTIONS}
    for weakness in WEAKNESSES:
        assert kinds.issuperset(weakness.kinds) and BY_NAME.keys() >= {*weakness.fields}
    assert kinds.issuperset({*WITHOUT_ACCEPT, *WITHOUT_REJECT})


def test_flow_logs_of_one_format_are_told_of_once() -> None:
    turned = flow_log(2, fields=DEFAULT_FORMAT[::-1])
    others = [flow_log(3, region="us-east-1"), flow_log(4, fields=EVERY_FIELD_FORMAT)]
    rows = list(lacking(flow_logs(turned, flow_log(1), *others)))
    assert {row["resource"] for row in rows} == {"fl-00000001", "fl-00000003"}
    same = {row["why"].endswith(" The same of fl-00000002.") for row in rows}
    assert same == {True, False}


def test_a_format_without_the_usual_fields_is_a_warning() -> None:
    bare = flow_log(1, fields=["srcaddr", "dstaddr", "bytes"])
    rows = [row for row in lacking(flow_logs(bare)) if row["what"] == "fields"]
    assert [row["level"] for row in rows] == ["warning"]
    assert "version, account-id, interface-id, srcport" in rows[0]["why"]


@pytest.mark.parametrize(
    ("traffic", "kinds"), [("REJECT", WITHOUT_ACCEPT), ("ACCEPT", WITHOUT_REJECT)]
)
def test_alarms_that_find_nothing_in_half_the_traffic_are_named(
    traffic: str, kinds: tuple[str, ...]
) -> None:
    logs = flow_logs(flow_log(1, traffic_type=traffic, fields=EVERY_FIELD_FORMAT))
    (why,) = whys(lacking(logs))
    assert why == f"It records only {traffic}: {', '.join(kinds)} find nothing in it."


@pytest.mark.parametrize(
    ("of_it", "words"),
    [
        ({"fields": DEFAULT_FORMAT[:-1]}, "this one lacks log-status."),
        ({"fields": (*DEFAULT_FORMAT, "vpc-id")}, "this one also has vpc-id."),
        (
            {"fields": (*DEFAULT_FORMAT[1:], "vpc-id")},
            "this one lacks version and also has vpc-id.",
        ),
        ({"max_aggregation_interval": 60}, "(seconds) of 600; this one has 60."),
        ({"traffic_type": "REJECT"}, "a traffic type of ALL; this one has REJECT."),
        ({"file_format": "parquet"}, "a file format of plain-text; this one has parquet."),
    ],
)
def test_the_one_that_is_unlike_the_others_is_told(of_it: dict[str, Any], words: str) -> None:
    rows = list(unlike(flow_logs(flow_log(1, **of_it), flow_log(2), flow_log(3))))
    assert told(iter(rows)) == [("warning", "unlike others", "fl-00000001")]
    assert rows[0]["why"].startswith("2 of 3 flow logs have ")
    assert rows[0]["why"].endswith(words)


def test_flow_logs_that_are_alike_in_another_order_are_alike() -> None:
    turned = flow_log(2, fields=DEFAULT_FORMAT[::-1])
    to_group = flow_log(3, destination_type="cloud-watch-logs", file_format=None)
    other_kind = flow_log(4, "tgw-1", max_aggregation_interval=60)
    assert told(unlike(flow_logs(flow_log(1), turned, to_group, other_kind))) == []
    pair = flow_logs(flow_log(1), flow_log(2, fields=EVERY_FIELD_FORMAT))
    assert told(unlike(pair)) == [("warning", "unlike others", "fl-00000001")]


# As a user does it.


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A VPC with an interface and a flow log to a bucket, another without; moto has a third."""
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    ec2, s3 = boto3.client("ec2"), boto3.client("s3")
    s3.create_bucket(
        Bucket="flow-logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    made: dict[str, Any] = {"ec2": ec2, "s3": s3}
    for name, cidr in (("web", "10.0.0.0/16"), ("lab", "10.1.0.0/16")):
        vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
        ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": name}])
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]
        interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
        made |= {name: vpc, f"{name}-eni": interface["NetworkInterfaceId"]}
    made["flow_log"] = create(ec2, made["web"])
    yield made
    ec2.close()
    s3.close()


def create(ec2: Any, vpc: str, **others: Any) -> str:
    made = ec2.create_flow_logs(
        ResourceType="VPC",
        ResourceIds=[vpc],
        **{
            "TrafficType": "ALL",
            "LogDestinationType": "s3",
            "LogDestination": "arn:aws:s3:::flow-logs",
            **others,
        },
    )
    return str(made["FlowLogIds"][0])


def deliver(aws: dict[str, Any], at: datetime, *, hive: bool = False) -> None:
    """Put an object of the flow log, with a record of its interface, as AWS does."""
    end = int(at.timestamp())
    line = f"2 {ACCOUNT} {aws['web-eni']} 10.0.0.4 10.0.0.5 50000 443 6 5 840 {end - 60} {end}"
    key = object_key(ACCOUNT, REGION, aws["flow_log"], at, "0a1b2c3d")
    text = gzip.compress(f"{HEADER}\n{line} ACCEPT OK\n".encode())
    aws["s3"].put_object(Bucket="flow-logs", Key=hive_key(key) if hive else key, Body=text)


def run(*arguments: str, code: int) -> str:
    done = CliRunner().invoke(app, ["setup", "check", *arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def rows_of(*arguments: str, code: int, tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "answer.json"
    run(*arguments, "--format", "json", "--output", str(file), code=code)
    return list(json.loads(file.read_text()))


def test_a_bucket_without_anything_is_a_note_for_an_hour(
    aws: dict[str, Any], tmp_path: Path
) -> None:
    rows = rows_of(code=0, tmp_path=tmp_path)
    levels = {row["resource"]: row["level"] for row in rows if row["what"] == "delivery"}
    assert levels == {aws["flow_log"]: "note"}


def test_delivery_is_seen_in_the_bucket_and_what_nobody_records_too(
    aws: dict[str, Any], tmp_path: Path
) -> None:
    deliver(aws, datetime.now(UTC) - timedelta(minutes=10))
    rows = {(row["what"], row["resource"]): row for row in rows_of(code=0, tmp_path=tmp_path)}
    assert rows["delivery", aws["flow_log"]]["level"] == "ok"
    lab = rows["not recorded", aws["lab"]]
    assert (lab["level"], lab["account_id"], lab["region"]) == ("warning", ACCOUNT, REGION)
    assert lab["why"] == "No flow log records it (lab), and no part of it: 1 interface in 1 subnet."
    others = [level for (what, _), level in rows.items() if what == "not recorded"]
    assert [row["level"] for row in others] == ["warning", "note"]  # moto's default VPC is empty
    table = run(code=0)
    assert "1 flow log checked: 1 warning, " in table and "account_id" not in table


def test_a_silent_flow_log_is_an_error_and_exit_1(aws: dict[str, Any], tmp_path: Path) -> None:
    deliver(aws, datetime.now(UTC) - timedelta(hours=30))
    (row,) = [r for r in rows_of(code=1, tmp_path=tmp_path) if r["what"] == "delivery"]
    assert row["level"] == "error" and "Nothing has arrived since" in row["why"]


def test_hive_folders_and_folders_of_the_destination_are_looked_into(aws: dict[str, Any]) -> None:
    """Moto forgets DestinationOptions, and refuses a folder: so the rows are made here."""
    now = datetime.now(UTC)
    slot = (now - timedelta(days=1)).replace(second=0, microsecond=0)
    deliver(aws, slot, hive=True)
    row = flow_log(1, flow_log_id=aws["flow_log"], hive=True)
    assert newest_there(flow_logs(row), now=now).row(0) == (aws["flow_log"], slot, None)
    plain = flow_logs(row | {"hive": False})
    assert newest_there(plain, now=now)["newest"].to_list() == [None]
    below = row | {"destination": "arn:aws:s3:::flow-logs/of/vpcs/", "hive": False}
    key = object_key(ACCOUNT, REGION, aws["flow_log"], slot, "0a1b2c3d", prefix="of/vpcs/")
    aws["s3"].put_object(Bucket="flow-logs", Key=key, Body=b"x")
    assert newest_there(flow_logs(below), now=now)["newest"].to_list() == [slot]


def test_log_groups_are_looked_into_and_streams_of_firehose_are_not(moto: str) -> None:
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName="/vpc")
    row = flow_log(1, destination_type="cloud-watch-logs", log_group="/vpc")
    assert newest_there(flow_logs(row)).row(0) == ("fl-00000001", None, None)
    at = datetime.now(UTC).replace(microsecond=0)
    for stream, age in (("eni-1-all", 60), ("eni-2-all", 0)):
        logs.create_log_stream(logGroupName="/vpc", logStreamName=stream)
        stamp = int((at - timedelta(minutes=age)).timestamp() * 1000)
        event = {"timestamp": stamp, "message": "2 …"}
        logs.put_log_events(logGroupName="/vpc", logStreamName=stream, logEvents=[event])
    logs.close()
    others = [
        flow_log(2, destination_type="cloud-watch-logs", log_group="/none"),
        flow_log(3, destination_type="kinesis-data-firehose"),
        flow_log(4, destination="arn:aws:s3:::no-such-bucket"),
        flow_log(5, destination="flow-logs"),
    ]
    first, *rest = newest_there(flow_logs(row, *others)).to_dicts()
    assert (first["newest"], first["trouble"]) == (at, None)
    assert [each["newest"] for each in rest] == [None] * 4
    for each, words in zip(
        rest,
        ("/none cannot be", "delivery stream", "bucket does not exist", "is no bucket"),
        strict=True,
    ):
        assert words in each["trouble"]


def test_the_lake_is_held_against_what_is_switched_on(
    aws: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(aws, datetime.now(UTC) - timedelta(minutes=10))
    lake = str(tmp_path / "lake")
    fl.convert("s3://flow-logs", lake=lake)
    summed = received_by(fl.open_lake(lake)).to_dicts()
    assert [(row["flow_log_id"], row["objects"], row["interfaces"]) for row in summed] == [
        (aws["flow_log"], 1, [aws["web-eni"]])
    ]
    second = create(aws["ec2"], aws["lab"])
    rows = {
        row["resource"]: row
        for row in rows_of("--lake", lake, code=0, tmp_path=tmp_path)
        if row["what"] in ("delivery", "flow log gone")
    }
    assert rows[aws["flow_log"]]["level"] == "ok"
    assert rows[second]["level"] == "note"
    aws["ec2"].delete_flow_logs(FlowLogIds=[aws["flow_log"]])
    monkeypatch.setenv("FLOWLAKE_LAKE", lake)
    gone = [r for r in rows_of(code=0, tmp_path=tmp_path) if r["what"] == "flow log gone"]
    assert [(row["level"], row["resource"]) for row in gone] == [("warning", aws["flow_log"])]
    assert aws["web-eni"] in gone[0]["why"]


def test_an_hour_of_a_log_group_counts_to_its_end(moto: str, tmp_path: Path) -> None:
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName="/vpc")
    logs.create_log_stream(logGroupName="/vpc", logStreamName="eni-1-all")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
    group = logs_backends[ACCOUNT][REGION].groups["/vpc"]
    group.creation_time = hour.replace(tzinfo=None)  # moto stamps a group with now
    end = int(hour.timestamp()) + 60
    line = f"2 {ACCOUNT} eni-1 10.0.0.4 10.0.0.5 50000 443 6 5 840 {end - 60} {end} ACCEPT OK"
    event = {"timestamp": int(hour.timestamp() * 1000), "message": line}
    logs.put_log_events(logGroupName="/vpc", logStreamName="eni-1-all", logEvents=[event])
    logs.close()
    fl.convert("cloudwatch:///vpc", lake=tmp_path / "lake")
    (row,) = received_by(fl.open_lake(tmp_path / "lake")).to_dicts()
    assert (row["flow_log_id"], row["log_group"], row["region"]) == (None, "/vpc", REGION)
    assert row["newest"] == hour + timedelta(hours=1)


def test_a_lake_with_nothing_in_it_has_received_nothing(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.log").write_text(f"{HEADER}\n")
    fl.convert(tmp_path / "raw", lake=tmp_path / "lake")
    assert received_by(fl.open_lake(tmp_path / "lake")).is_empty()


def trail_of(folder: Path, *records: dict[str, Any]) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "trail.json.gz").write_bytes(body(*records))
    return str(folder)


def deleted(flow_log_id: str, **others: Any) -> dict[str, Any]:
    asked = {"DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": flow_log_id}}}
    return record(at=datetime.now(UTC), requestParameters=asked, **others)


def test_a_deletion_outside_the_template_is_found_and_who_did_it(
    aws: dict[str, Any], tmp_path: Path
) -> None:
    file = str(tmp_path / "baseline.json")
    assert f"Approved as they are: {file}" in run("--save-baseline", file, code=0)
    run("--baseline", file, code=0)
    aws["ec2"].delete_flow_logs(FlowLogIds=[aws["flow_log"]])
    trail = trail_of(tmp_path / "trail", deleted(aws["flow_log"]))
    rows = rows_of("--baseline", file, "--trail", trail, code=3, tmp_path=tmp_path)
    (row,) = [row for row in rows if row["level"] == "drift"]
    assert (row["what"], row["resource"]) == ("deleted", aws["flow_log"])
    assert f"DeleteFlowLogs by {ALICE} from 203.0.113.7 at " in row["why"]
    only = rows_of(aws["flow_log"], "--baseline", file, "--trail", trail, code=3, tmp_path=tmp_path)
    assert only == [row]
    run("--baseline", file, "--save-baseline", file, code=3)
    run("--baseline", file, code=0)


def test_a_drift_is_found_though_nobody_knows_who_it_was(
    aws: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudTrail is asked, and moto has no LookupEvents."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    file = str(tmp_path / "baseline.json")
    check_flow_logs(save=file)
    aws["ec2"].delete_flow_logs(FlowLogIds=[aws["flow_log"]])
    again = create(aws["ec2"], aws["web"], TrafficType="REJECT")
    done = check_flow_logs(baseline=file)
    (row,) = done.advice.filter(level="drift").to_dicts()
    assert (row["what"], row["resource"], done.exit_code) == ("made again", again, 3)
    assert f"in place of {aws['flow_log']}, traffic_type was ALL, is REJECT." in row["why"]
    assert "Who did it is not known: The events of CloudTrail in eu-west-1" in row["why"]


def test_drift_goes_before_what_does_not_deliver() -> None:
    rows = [dict.fromkeys(ADVICE) | {"level": level} for level in LEVELS]
    codes = [Check(flow_logs(), advice([row])).exit_code for row in rows]
    assert codes == [1, 3, 0, 0, 0]
    assert Check(flow_logs(), advice(rows)).exit_code == 3
    assert advice(reversed(rows))["level"].to_list() == list(LEVELS)


def test_a_flow_log_that_is_not_there_is_an_error(aws: dict[str, Any], tmp_path: Path) -> None:
    (row,) = rows_of("fl-00000009", code=1, tmp_path=tmp_path)
    assert (row["level"], row["why"]) == ("error", "There is no such flow log in eu-west-1.")
    rows = rows_of(aws["flow_log"], code=0, tmp_path=tmp_path)
    assert {row["resource"] for row in rows} == {aws["flow_log"]}
    assert {row["what"] for row in rows} == {"delivery", "queries", "alarms"}


def test_a_trail_tells_of_calls_that_no_drift_does(aws: dict[str, Any], tmp_path: Path) -> None:
    named = {"requestParameters": {"bucketName": "flow-logs"}}
    at = datetime.now(UTC)
    records = [
        deleted("fl-00000007"),
        deleted("fl-00000008", eventID="2", errorCode="Client.UnauthorizedOperation"),
        record("DeleteBucketPolicy", at, **named),
        record("PutBucketLifecycle", at, **named),
        record("DeleteBucketPolicy", at, eventID="3", requestParameters={"bucketName": "other"}),
        deleted("fl-00000006", eventID="4", recipientAccountId="210987654321"),
        deleted("fl-00000005", eventID="5", awsRegion="us-east-1"),
    ]
    trail = trail_of(tmp_path / "trail", *records)
    (tmp_path / "trail" / "b.json.gz").write_bytes(b"\x1f\x8b")
    found = [
        (row["level"], row["what"], row["resource"])
        for row in rows_of("--trail", trail, code=0, tmp_path=tmp_path)
        if row["what"] in ("call", "refused call", "destination", "trail")
    ]
    assert found == [
        ("warning", "destination", "flow-logs"),
        ("warning", "refused call", "fl-00000008"),
        ("warning", "trail", f"{trail}/b.json.gz"),
        ("note", "call", "fl-00000007"),
        ("note", "destination", "flow-logs"),
    ]


def test_a_call_that_a_drift_tells_of_is_told_once(tmp_path: Path) -> None:
    trail = read_trail(trail_of(tmp_path / "trail", deleted("fl-00000001")))
    changes = pl.DataFrame(schema=DRIFT)
    assert list(of_trail(trail, flow_logs(), [(ACCOUNT, REGION)], changes)) == []
    assert len(list(of_trail(trail, flow_logs(), [(ACCOUNT, REGION)]))) == 1


def test_a_refused_deletion_deleted_nothing(tmp_path: Path) -> None:
    refused = deleted("fl-00000001", errorCode="Client.UnauthorizedOperation")
    trail = read_trail(trail_of(tmp_path / "trail", refused))
    row = {
        "change": "deleted",
        "account_id": ACCOUNT,
        "region": REGION,
        "flow_log_id_before": "fl-00000001",
        "resource_id": "vpc-1",
        "differences": [],
    }
    changes = pl.DataFrame([row], schema=DRIFT)
    (found,) = drifted(changes, trail)
    assert found["why"].endswith("CloudTrail has no DeleteFlowLogs of fl-00000001 in 1 file.")
    (asked,) = drifted(changes, Trail(trail.events))
    assert asked["why"].endswith("no DeleteFlowLogs of fl-00000001 in its event history.")
    (unknown,) = drifted(changes, None, "it is dark")
    assert unknown["why"].endswith("Who did it is not known: it is dark.")


def test_what_cannot_be_is_refused_in_words(moto: str, tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    with pytest.raises(UsageError, match="A baseline is of all flow logs"):
        check_flow_logs("fl-1", save=none)
    with pytest.raises(UsageError, match="is not a time"):
        check_flow_logs(since="noon")
    with pytest.raises(LakeError, match="There is no lake"):
        check_flow_logs(lake=none)
    with pytest.raises(StorageError, match="Cannot read"):
        check_flow_logs(baseline=none)
    with pytest.raises(StorageError, match="There is no folder or file"):
        check_flow_logs(trail=none)
    with pytest.raises(UsageError, match="--format is one of"):
        run("--format", "xml", code=2)
    file = str(tmp_path / "baseline.json")
    check_flow_logs(save=file)
    with pytest.raises(UsageError, match="does not speak of us-east-1"):
        check_flow_logs(baseline=file, regions=["us-east-1"])
