"""CloudTrail's events: read from files of every shape, pruned by their names, and looked up."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import polars as pl
import pytest
from botocore.stub import Stubber

from flowlake.aws import Access
from flowlake.errors import NothingThere, StorageError, UsageError
from flowlake.setup import trails
from flowlake.setup.trails import EVENTS, WATCHED, called, look_up_events, read_trail
from flowlake.storage import open_storage

NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)
ALICE = "arn:aws:sts::123456789012:assumed-role/Admin/alice"


def record(name: str = "DeleteFlowLogs", at: datetime = NOON, **others: Any) -> dict[str, Any]:
    """A record as CloudTrail writes it; EC2's parameters of flow logs are nested like this."""
    (service,) = [service for service, names in WATCHED.items() if name in names]
    return {
        "eventVersion": "1.10",
        "userIdentity": {"type": "AssumedRole", "arn": ALICE, "accountId": "123456789012"},
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": service,
        "eventName": name,
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.7",
        "userAgent": "aws-cli/2.17.0",
        "requestParameters": {
            "DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": "fl-0a1b2c3d4e5f60718"}}
        },
        "responseElements": {"DeleteFlowLogsResponse": {"unsuccessful": ""}},
        "eventID": f"{name}-{at:%H%M%S}",
        "recipientAccountId": "123456789012",
    } | others


def body(*records: Any) -> bytes:
    return gzip.compress(json.dumps({"Records": records}).encode(), mtime=0)


def key(at: datetime, region: str = "eu-west-1", kind: str = "CloudTrail", extra: str = "a") -> str:
    return (
        f"AWSLogs/123456789012/{kind}/{region}/{at:%Y/%m/%d}/"
        f"123456789012_{kind}_{region}_{at:%Y%m%dT%H%MZ}_{extra}.json.gz"
    )


def put(place: str, name: str, content: bytes) -> None:
    open_storage(place).put(f"{place}/{name}", content)


def test_a_trail_is_read_where_it_lies(place: str) -> None:
    others = [record("DeleteFlowLogs") | {"eventName": "RunInstances"}]
    put(place, key(NOON), body(record(), *others))
    put(place, key(NOON, extra="b"), body(*others))
    put(place, "AWSLogs/123456789012/CloudTrail/eu-west-1/readme.txt", b"no trail")
    read = read_trail(place)
    assert (read.files, read.unreadable) == (2, ())
    assert read.events.schema == EVENTS
    assert read.events.to_dicts() == [
        {
            "event_time": NOON,
            "event_name": "DeleteFlowLogs",
            "account_id": "123456789012",
            "region": "eu-west-1",
            "who": ALICE,
            "source_address": "203.0.113.7",
            "user_agent": "aws-cli/2.17.0",
            "error_code": None,
            "resources": ["fl-0a1b2c3d4e5f60718"],
            "event_id": "DeleteFlowLogs-120000",
        }
    ]
    assert called(read.events.row(0, named=True)) == (
        f"DeleteFlowLogs by {ALICE} from 203.0.113.7 at 2026-01-14 12:00:00 UTC with aws-cli/2.17.0"
    )


def test_folders_and_files_that_cannot_hold_it_are_not_opened(place: str) -> None:
    """What is not to be opened is damaged, so that opening it would be told."""
    put(place, key(NOON), body(record()))
    put(place, key(NOON, extra="late"), body(record(at=NOON - timedelta(hours=2))))
    damaged = b"\x1f\x8bno gzip"
    put(place, key(NOON - timedelta(days=1)), damaged)
    put(place, key(NOON - timedelta(days=400)), damaged)
    unstamped = key(NOON - timedelta(days=2)).rpartition("/")[0]
    put(place, f"{unstamped}/saved.json.gz", damaged)
    put(place, key(NOON - timedelta(hours=5)), damaged)
    put(place, key(NOON, region="us-east-1"), damaged)
    put(place, key(NOON, kind="CloudTrail-Digest"), damaged)
    put(place, key(NOON, kind="CloudTrail-Insight"), damaged)
    put(place, key(NOON, kind="vpcflowlogs"), damaged)
    read = read_trail(place, since=NOON - timedelta(hours=1), regions=["eu-west-1"])
    assert (read.files, read.unreadable) == (2, ())
    assert read.events["event_time"].to_list() == [NOON]
    assert len(read_trail(place).unreadable) == 5


def test_an_organizations_trail_is_pruned_too(tmp_path: Path) -> None:
    for name in (key(NOON), key(NOON - timedelta(days=9))):
        put(str(tmp_path), name.replace("AWSLogs/", "AWSLogs/o-a1b2c3d4e5/"), body(record()))
    assert read_trail(tmp_path, since=NOON - timedelta(days=1)).files == 1
    assert read_trail(tmp_path).files == 2


def test_a_file_may_be_plain_or_what_the_aws_cli_prints(tmp_path: Path) -> None:
    events = [{"EventId": "1", "CloudTrailEvent": json.dumps(record())}]
    for name, content in (
        ("plain.json", json.dumps({"Records": [record()]}).encode()),
        ("printed.json", json.dumps({"Events": events}).encode()),
    ):
        (tmp_path / name).write_bytes(content)
        read = read_trail(tmp_path / name)
        assert (read.files, read.events.height) == (1, 1), name
    assert read_trail(tmp_path).events.height == 1  # the same event twice


def test_who_it_was_is_said_as_well_as_the_record_does(tmp_path: Path) -> None:
    service = {"type": "AWSService", "invokedBy": "delivery.logs.amazonaws.com"}
    records = [
        record("DeleteBucketPolicy", userIdentity=service, requestParameters={"bucketName": "b"}),
        record("CreateFlowLogs", errorCode="Client.UnauthorizedOperation", responseElements=None),
        record("DeleteLogGroup", userIdentity=None, requestParameters={"logGroupName": "/vpc"}),
    ]
    (tmp_path / "a.json.gz").write_bytes(body(*records))
    events = {row["event_name"]: row for row in read_trail(tmp_path).events.to_dicts()}
    assert events["DeleteBucketPolicy"]["who"] == "delivery.logs.amazonaws.com"
    assert events["DeleteBucketPolicy"]["resources"] == ["b"]
    assert events["DeleteLogGroup"]["resources"] == ["/vpc"]
    assert "by somebody from" in called(events["DeleteLogGroup"])
    refused = called(events["CreateFlowLogs"])
    assert refused.endswith("was refused: Client.UnauthorizedOperation")


def test_all_that_an_answer_names_is_a_resource(tmp_path: Path) -> None:
    """The shape is CloudTrail's, which repeats a value that stands alone as a mapping."""
    made = record(
        "CreateFlowLogs",
        requestParameters={
            "CreateFlowLogsRequest": {
                "ResourceType": "VPC",
                "ResourceId": {"tag": 1, "content": "vpc-0123456789abcdef0"},
                "LogDestination": "arn:aws:s3:::flow-logs",
                "DeliverLogsPermissionArn": "arn:aws:iam::123456789012:role/vpc-flow-logs",
            }
        },
        responseElements={"CreateFlowLogsResponse": {"flowLogIdSet": {"item": "fl-00112233"}}},
    )
    (tmp_path / "a.json").write_bytes(body(made))
    (resources,) = read_trail(tmp_path).events["resources"].to_list()
    assert resources == ["vpc-0123456789abcdef0", "fl-00112233"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8bno gzip",
        body(record())[:-9],
        b"DeleteFlowLogs, not JSON",
        b'["DeleteFlowLogs"]',
        body({"eventName": "DeleteFlowLogs"}),
        body("DeleteFlowLogs"),
        body(record(eventTime="noon")),
        json.dumps({"Events": [{"CloudTrailEvent": "{DeleteFlowLogs"}]}).encode(),
        b'{"Records": ' + b"[" * 100_000 + b"DeleteFlowLogs",
    ],
)
def test_a_damaged_file_is_told_and_the_others_are_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "good.json.gz").write_bytes(body(record()))
    (tmp_path / "bad.json.gz").write_bytes(content)
    read = read_trail(tmp_path)
    assert read.events.height == 1
    ((url, reason),) = read.unreadable
    assert url.endswith("bad.json.gz") and reason


def test_what_a_caller_chose_is_kept_as_text(tmp_path: Path) -> None:
    """CloudTrail itself writes texts; a record from elsewhere need not."""
    odd = record(userAgent="a\ud800b", errorCode=["x"], requestParameters={"bucketName": 7})
    (tmp_path / "a.json").write_bytes(body(odd))
    (row,) = read_trail(tmp_path).events.to_dicts()
    assert (row["user_agent"], row["error_code"], row["resources"]) == ("a?b", '["x"]', ["7"])


def test_times_without_a_zone_are_utc(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(body(record(eventTime="2026-01-14T12:00:00")))
    assert read_trail(tmp_path).events["event_time"].to_list() == [NOON]


def test_what_is_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingThere):
        read_trail(tmp_path / "nowhere")
    with pytest.raises(UsageError):
        read_trail("ftp://example.com")
    assert read_trail(tmp_path).events.equals(pl.DataFrame(schema=EVENTS))


class Stubs:
    """Clients of CloudTrail that answer as AWS would: moto has no LookupEvents."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        session = botocore.session.Session()
        session.set_credentials("key", "secret")
        self.cloudtrail = session.create_client("cloudtrail", region_name="eu-west-1")
        self.stubber = Stubber(self.cloudtrail)
        monkeypatch.setattr(trails, "client", lambda *_: self.cloudtrail)
        self.stubber.activate()

    def answer(self, name: str, *records: dict[str, Any], **asked: Any) -> None:
        attributes = [{"AttributeKey": "EventName", "AttributeValue": name}]
        events = [{"EventId": "1", "CloudTrailEvent": json.dumps(each)} for each in records]
        given = {"LookupAttributes": attributes, **asked}
        self.stubber.add_response("lookup_events", {"Events": events}, given)


def test_the_event_history_is_asked_for_each_call(
    monkeypatch: pytest.MonkeyPatch, moto: str
) -> None:
    stubs = Stubs(monkeypatch)
    since = NOON - timedelta(days=1)
    for name in sorted(name for names in WATCHED.values() for name in names):
        found = [record()] if name == "DeleteFlowLogs" else []
        stubs.answer(name, *found, StartTime=since)
    read = look_up_events(regions=["eu-west-1"], since=since)
    stubs.stubber.assert_no_pending_responses()
    assert read.files is None
    assert read.events["who"].to_list() == [ALICE]


def test_a_history_that_may_not_be_asked_says_which_right_is_missing(
    monkeypatch: pytest.MonkeyPatch, moto: str
) -> None:
    stubs = Stubs(monkeypatch)
    stubs.stubber.add_client_error("lookup_events", "AccessDeniedException", "no", 400)
    with pytest.raises(StorageError, match="need cloudtrail:LookupEvents"):
        look_up_events(Access())


def test_moto_cannot_look_up_events(moto: str) -> None:
    """Which is why the two tests above stub it; when this fails, they need not any more."""
    with pytest.raises(StorageError, match="cannot be looked up"):
        look_up_events(Access())
