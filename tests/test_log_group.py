"""A live log group as a source: real requests to moto, which stands in for CloudWatch Logs.

What moto does not do as AWS does: it never expires an event, never throttles, gives no empty page
before the last, and stamps a group with the time it was made. So the clock of the listing is set
by hand, the group's stamp behind moto's back, and the rest by a door in front of moto.
"""

import json
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from moto.core import enable_iam_authentication
from moto.logs.models import logs_backends

import flowlake
from flowlake.cli import main
from flowlake.committing import Tables
from flowlake.errors import NothingThere, StorageError, UsageError
from flowlake.planning import plan
from flowlake.storage import Access, canonical, formats_of, log_group, open_storage
from flowlake.verifying import verify
from tests import crashing
from tests.conftest import forget_s3, use_key

ACCOUNT = "123456789012"
GROUP = "/aws/vpc/flow-logs"
PLACE = f"cloudwatch://{GROUP}?region=eu-west-1"
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
NOON = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 30 * HOUR
"""An hour for which moto still takes events, far enough back for a day to follow it."""

Put = Callable[..., None]
Made = Callable[..., None]
Clock = Callable[[datetime], None]


def record(moment: datetime, *, status: str = "OK", eni: str = "eni-1") -> str:
    start = int(moment.timestamp())
    if status == "NODATA":
        return f"2 {ACCOUNT} {eni} - - - - - - - {start} {start + 50} - NODATA"
    flow = f"10.0.0.1 192.0.2.7 {start % 60000} 443 6 3 180"
    return f"2 {ACCOUNT} {eni} {flow} {start} {start + 50} ACCEPT OK"


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@pytest.fixture
def logs(moto: str) -> Iterator[Any]:
    client = boto3.client("logs")
    yield client
    client.close()


@pytest.fixture
def made(logs: Any) -> Made:
    """Make the group, as of a moment."""

    def made(moment: datetime, name: str = GROUP) -> None:
        logs.create_log_group(logGroupName=name)
        group = logs_backends[ACCOUNT]["eu-west-1"].groups[name]
        group.creation_time = moment.replace(tzinfo=None)

    return made


@pytest.fixture
def put(logs: Any) -> Put:
    """Put a record for each moment, or another message, into a log stream."""

    def put(*moments: datetime, stream: str = "eni-1-all", message: str | None = None) -> None:
        streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=stream)
        if not streams["logStreams"]:
            logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        events = [
            {
                "timestamp": milliseconds(moment),
                "message": message or record(moment, eni=stream.removesuffix("-all")),
            }
            for moment in sorted(moments)
        ]
        answer = logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)
        assert "rejectedLogEventsInfo" not in answer

    return put


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the time of the listing."""

    def clock(moment: datetime) -> None:
        monkeypatch.setattr(log_group, "_now", lambda: moment)

    return clock


@pytest.fixture
def group(made: Made, clock: Clock) -> None:
    """A group made at half past eleven; it is ten to one."""
    made(NOON - 30 * MINUTE)
    clock(NOON + 50 * MINUTE)


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


def convert(lake: str, source: str = PLACE, **wanted: Any) -> flowlake.Report:
    report = flowlake.convert(source, lake=lake, workers=1, **wanted)
    assert (report.failures, report.unreadables) == ([], [])
    return report


def starts(lake: str) -> list[datetime]:
    """When the flows in the lake start."""
    flows = flowlake.open_lake(lake).flows().select("start_time").collect()
    return sorted(flows["start_time"].to_list())


def hours(lake: str) -> list[tuple[datetime, str, int]]:
    """The hours in the ledger as they stand, with their ETags and lines."""
    live = Tables(lake).view().live.sort("slot")
    return live.select("slot", pl.col("etag").str.replace("-.*", ""), "lines").rows()


def listed() -> pl.DataFrame:
    return pl.concat(open_storage(PLACE).list(PLACE))


# Converted, and again


def test_a_group_becomes_a_lake(group: None, put: Put, lake: str) -> None:
    moments = [NOON - 10 * MINUTE, NOON, NOON + 5 * MINUTE, NOON + 6 * MINUTE]
    put(*moments[:2])
    put(*moments[2:], stream="eni-2-all")
    put(NOON + 7 * MINUTE, message=record(NOON + 7 * MINUTE, status="NODATA"))
    report = convert(lake)
    assert (report.listed, report.objects, report.rows, report.rejected) == (3, 3, 5, 0)
    assert starts(lake) == [*moments, NOON + 7 * MINUTE]
    opened = flowlake.open_lake(lake)
    flows = opened.flows().select("account_id", "region", "interface_id").unique().collect()
    assert sorted(flows.rows()) == [
        (ACCOUNT, "eu-west-1", "eni-1"),
        (ACCOUNT, "eu-west-1", "eni-2"),
    ]
    objects = opened.objects().sort("slot")
    assert objects["slot"].to_list() == [NOON - 2 * HOUR + HOUR * each for each in range(3)]
    assert objects["nodata"].to_list() == [0, 0, 1]
    assert objects["size"].to_list() == [
        0,
        len(record(moments[0])),
        len("\n".join(map(record, moments[1:]))) + 1 + len(record(NOON, status="NODATA")),
    ]
    assert objects["source"].unique().to_list() == [PLACE]
    found = verify(lake=lake, grace=timedelta(0))
    assert found.gaps.rows() == []
    assert (found.listed, found.objects, found.expired) == (3, 3, 0)
    assert convert(lake).new == 0


def test_what_another_region_is_said_to_be_does_not_matter(
    group: None, put: Put, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(NOON)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    forget_s3()
    assert convert(lake).rows == 1
    with pytest.raises(
        StorageError, match=r"in us-east-1|region=us-east-1.*check its name, its re"
    ):
        convert(lake, f"cloudwatch://{GROUP}")


def test_an_event_is_in_one_hour(group: None, put: Put) -> None:
    edges = [NOON, NOON + HOUR - timedelta(milliseconds=1), NOON + HOUR]
    for number, moment in enumerate(edges):
        put(moment, message=f"event {number}")
    storage = open_storage(PLACE)
    base = f"{PLACE}&account={ACCOUNT}&created=2026-01-01T00:00:00.000Z&hour="
    texts = [storage.get(f"{base}{NOON + HOUR * each:%Y-%m-%dT%H}Z") for each in (-1, 0, 1, 2)]
    assert texts == [b"", b"event 0\nevent 1", b"event 2", b""]


def test_an_hour_is_read_again_as_it_settles(
    group: None, put: Put, lake: str, clock: Clock
) -> None:
    """The late come while the hour is open, in its first day, and before its 14 days are over."""

    def level_of(hour: datetime) -> str:
        return next(etag for slot, etag, _ in hours(lake) if slot == hour)

    first = NOON + MINUTE
    put(first)
    convert(lake)
    assert hours(lake)[-1] == (NOON, "open", 1)
    late = first + MINUTE
    put(late)
    assert convert(lake).new == 0, "five minutes have not passed"
    clock(NOON + 55 * MINUTE)
    report = convert(lake)
    assert (report.new, report.replaced) == (2, 2), "the hour before has not settled either"
    assert starts(lake) == [first, late]
    for now, level in (
        (NOON + 119 * MINUTE, "open"),
        (NOON + 2 * HOUR, "1h"),
        (NOON + 24 * HOUR + 59 * MINUTE, "1h"),
        (NOON + 25 * HOUR, "24h"),
        (NOON + HOUR + 14 * DAY - MINUTE, "24h"),
        (NOON + HOUR + 14 * DAY, "14d"),
    ):
        late += MINUTE
        put(late)
        before = level_of(NOON)
        clock(now)
        convert(lake)
        assert level_of(NOON) == level
        again = before != level or level == "open"
        assert (late in starts(lake)) == again
        assert len(starts(lake)) == len(set(starts(lake)))
        assert verify(lake=lake, grace=timedelta(0)).gaps.rows() == []
    assert len(starts(lake)) == 8
    clock(NOON + 60 * DAY)
    assert dict(listed().select("url", "etag").rows())[listed()["url"][2]] == "14d"


def test_an_hour_counts_from_when_it_was_settled(group: None, clock: Clock) -> None:
    clock(NOON + 90 * MINUTE)
    assert listed().select(pl.col("url").str.tail(14), "last_modified").rows()[1:] == [
        (f"{NOON - HOUR:%Y-%m-%dT%HZ}", NOON + HOUR),
        (f"{NOON:%Y-%m-%dT%HZ}", NOON + 90 * MINUTE),
        (f"{NOON + HOUR:%Y-%m-%dT%HZ}", NOON + 90 * MINUTE),
    ]


def test_an_open_hour_is_not_missed(made: Made, lake: str, clock: Clock) -> None:
    now = datetime.now(UTC)
    made(now)
    clock(now - 6 * MINUTE)
    convert(lake)
    clock(now)
    found = verify(lake=lake)
    assert (found.gaps.rows(), found.listed, found.young) == ([], 2, 2)
    assert set(verify(lake=lake, grace=timedelta(0)).gaps["gap"]) >= {"changed"}


def test_a_late_event_is_found_where_nothing_was(
    group: None, put: Put, lake: str, clock: Clock
) -> None:
    convert(lake)
    assert starts(lake) == []
    put(NOON - 5 * MINUTE)
    clock(NOON + 3 * HOUR)
    assert convert(lake).rows == 1
    assert starts(lake) == [NOON - 5 * MINUTE]


# Pages


@pytest.fixture
def door(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["Door"]:
    """Something between us and moto, which behaves as AWS may."""
    with Door(moto) as door:
        thread = threading.Thread(target=door.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{door.server_address[1]}")
        forget_s3()
        yield door
        door.shutdown()
        thread.join()


class Door(ThreadingHTTPServer):
    """Forwards to moto; throttles, gives an empty page first, or every event twice, when told."""

    def __init__(self, moto: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.moto = moto
        self.calls: list[dict[str, Any]] = []
        self.throttles: Callable[[dict[str, Any]], bool] = lambda _: False
        self.empty_first = False
        self.twice = False


class Handler(BaseHTTPRequestHandler):
    server: Door

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)
        if not self.headers["X-Amz-Target"].endswith(".FilterLogEvents"):
            return self._answer(200, self._forward(body))
        self.server.calls.append(asked)
        if self.server.throttles(asked):
            return self._answer(400, b'{"__type": "ThrottlingException", "message": "Rate"}')
        if self.server.empty_first:
            if "nextToken" not in asked:
                return self._answer(200, b'{"events": [], "nextToken": "go on"}')
            if asked["nextToken"] == "go on":
                del asked["nextToken"]
        found = json.loads(self._forward(json.dumps(asked).encode()))
        if self.server.twice:
            found["events"] += found["events"]
        return self._answer(200, json.dumps(found).encode())

    def _forward(self, body: bytes) -> bytes:
        headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Content-Length")}
        request = urllib.request.Request(self.server.moto, body, headers)
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the tests' output."""


def fill(put: Put, hour: datetime = NOON, events: int = 12) -> None:
    """Events of one hour, some of them of the same moment, in three log streams."""
    for stream in ("eni-2-all", "eni-1-all", "eni-3-all"):
        put(*(hour + timedelta(seconds=each // 2) for each in range(events)), stream=stream)


def test_every_page_is_read(
    group: None, put: Put, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(put)
    url = listed()["url"][-1]
    whole = bytes(open_storage(PLACE).get(url))
    assert whole.count(b"\n") + 1 == 36
    assert [line.split()[2] for line in whole.splitlines()[:6]] == [
        *(b"eni-1", b"eni-1", b"eni-2", b"eni-2", b"eni-3", b"eni-3")
    ]
    door.calls.clear()
    monkeypatch.setattr(log_group, "PAGE_EVENTS", 5)
    door.empty_first = door.twice = True
    assert open_storage(PLACE).get(url) == whole
    assert len(door.calls) == 1 + 8
    assert {call["limit"] for call in door.calls} == {5}


def test_more_events_than_a_page_holds(
    group: None, put: Put, door: Door, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_group, "PAGE_EVENTS", 1_000)
    put(*(NOON + timedelta(milliseconds=250 * each) for each in range(1_001)))
    assert convert(lake).rows == 1_001
    of_noon = [call for call in door.calls if call["startTime"] == milliseconds(NOON)]
    assert len(of_noon) == 2


def test_a_line_end_within_a_message_is_a_space(group: None, put: Put) -> None:
    put(NOON, message="one\ntwo\r\nthree\n")
    assert open_storage(PLACE).get(listed()["url"][-1]) == b"one two three "


def test_being_throttled_is_waited_out(
    group: None, put: Put, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(NOON)
    url = listed()["url"][-1]
    door.calls.clear()
    door.throttles = lambda _: len(door.calls) == 1
    assert open_storage(PLACE).get(url) == record(NOON).encode()
    assert len(door.calls) == 2


def test_an_hour_that_cannot_be_read_is_tried_again(
    group: None, put: Put, door: Door, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(NOON - MINUTE, NOON, NOON + MINUTE)
    monkeypatch.setattr(log_group, "ATTEMPTS", 1)
    door.throttles = lambda asked: asked["startTime"] == milliseconds(NOON - HOUR)
    report = flowlake.convert(PLACE, lake=lake, workers=1)
    ((url, reason),) = report.failures
    assert url.endswith(f"{NOON - HOUR:%Y-%m-%dT%HZ}")
    assert "CloudWatch Logs asks to slow down" in reason
    assert starts(lake) == [NOON, NOON + MINUTE]
    door.throttles = lambda _: False
    assert convert(lake).objects == 1
    assert starts(lake) == [NOON - MINUTE, NOON, NOON + MINUTE]


# Killed


@pytest.mark.parametrize("step", [4, pytest.param(9, marks=pytest.mark.long)])
def test_killed_and_run_again(made: Made, put: Put, logs: Any, step: int, tmp_path: Path) -> None:
    for each in range(12):
        if each == 0:
            made(NOON - 30 * MINUTE)
        fill(put, NOON + HOUR * each, events=4)
    clean, broken = str(tmp_path / "clean"), str(tmp_path / "broken")
    assert convert(clean).rows == 144
    assert crashing.run("convert", PLACE, broken, kill_before=step) == -signal.SIGKILL
    convert(broken)
    columns = ["interface_id", "start_time", "srcport", "bytes"]
    tables = [
        flowlake.open_lake(lake).flows().select(columns).sort(columns).collect()
        for lake in (clean, broken)
    ]
    assert tables[0].equals(tables[1])
    assert verify(lake=broken).gaps.rows() == []


# The first hour


def test_the_edge_of_the_retention(made: Made, logs: Any, clock: Clock, door: Door) -> None:
    made(NOON - 400 * DAY)
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=7)
    for minute, first in ((0, 2), (1, 2), (59, 2)):
        clock(NOON + minute * MINUTE)
        slots = listed()["url"].str.extract(r"hour=(.*)$").to_list()
        assert slots[0] == f"{NOON - 7 * DAY + first * HOUR:%Y-%m-%dT%HZ}"
        assert len(slots) == 7 * 24 + 1 - first
    assert door.calls == [], "no event is older than the group and kept"
    logs.delete_retention_policy(logGroupName=GROUP)
    clock(NOON)
    assert listed().height == 400 * 24 + 2


def test_what_has_expired_stays_in_the_lake(
    group: None, put: Put, logs: Any, lake: str, clock: Clock
) -> None:
    put(NOON)
    convert(lake)
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
    clock(NOON + 2 * DAY)
    convert(lake)
    assert starts(lake) == [NOON]
    found = verify(lake=lake, grace=timedelta(0))
    assert (found.gaps.rows(), found.expired) == ([], 3)


def test_imported_events_older_than_the_group(
    made: Made, put: Put, logs: Any, lake: str, clock: Clock
) -> None:
    made(NOON)
    clock(NOON + 30 * MINUTE)
    put(NOON - 61 * MINUTE, stream="of-the-hour-before-the-lead")
    assert listed().height == 14 * 24 + 1
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
    assert listed().height == 23
    assert convert(lake).rows == 1


def test_an_empty_group(group: None, lake: str) -> None:
    assert convert(lake).rows == 0
    assert verify(lake=lake).gaps.rows() == []


# Never fewer


def test_an_hour_that_has_lost_events_keeps_its_rows(
    group: None, put: Put, logs: Any, lake: str, clock: Clock
) -> None:
    put(NOON, NOON + MINUTE)
    put(NOON + 2 * MINUTE, stream="eni-2-all")
    convert(lake)
    logs.delete_log_stream(logGroupName=GROUP, logStreamName="eni-1-all")
    clock(NOON + 55 * MINUTE)
    report = flowlake.convert(PLACE, lake=lake, workers=1)
    assert [reason for _, reason in report.failures] == [
        "its events were 3 when it was converted and are 1 now: were they deleted in the log "
        "group? The rows are kept."
    ]
    assert len(starts(lake)) == 3


def test_a_group_made_again_is_another(
    group: None, put: Put, logs: Any, made: Made, lake: str, clock: Clock
) -> None:
    put(NOON + MINUTE)
    convert(lake)
    logs.delete_log_group(logGroupName=GROUP)
    made(NOON + 51 * MINUTE)
    put(NOON + 52 * MINUTE, NOON + 53 * MINUTE)
    clock(NOON + 55 * MINUTE)
    convert(lake)
    assert starts(lake) == [NOON + each * MINUTE for each in (1, 52, 53)]


# Chosen


def test_a_window_chooses_hours(group: None, put: Put, lake: str, clock: Clock) -> None:
    put(NOON - MINUTE, NOON + MINUTE)
    clock(NOON + HOUR + 10 * MINUTE)

    def chosen(**wanted: Any) -> list[datetime]:
        found: list[datetime] = plan(PLACE, lake=lake, **wanted)[0]["slot"].to_list()
        return found

    every = [NOON + HOUR * each for each in (-2, -1, 0, 1)]
    assert chosen() == every
    assert chosen(region="eu-west-1", account=ACCOUNT) == every
    assert chosen(region="us-east-1") == chosen(account="000000000000") == []
    assert chosen(since=NOON) == every[2:]
    assert chosen(since=NOON + 59 * MINUTE) == every[2:], "the hour goes on after it"
    assert chosen(since=NOON + HOUR) == every[3:]
    assert chosen(until=NOON) == every[:2]
    assert chosen(until=NOON + MINUTE) == every[:3]
    convert(lake, since=NOON + 30 * MINUTE)
    assert starts(lake) == [NOON + MINUTE]


# The formats


def test_ec2_tells_the_formats(group: None, moto: str, caplog: pytest.LogCaptureFixture) -> None:
    short = "${version} ${interface-id} ${srcaddr} ${dstaddr} ${bytes} ${start} ${end}"
    assert formats_of(PLACE) == ()
    client = boto3.client("ec2")
    try:
        for name, form in ((GROUP, short), (GROUP, short), (GROUP, None), ("other", "${bytes}")):
            vpc = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
            client.create_flow_logs(
                ResourceIds=[vpc],
                ResourceType="VPC",
                TrafficType="ALL",
                LogGroupName=name,
                DeliverLogsPermissionArn=f"arn:aws:iam::{ACCOUNT}:role/flow-logs",
                **({"LogFormat": form} if form else {}),
            )
    finally:
        client.close()
    default, own = formats_of(PLACE)
    assert own == short
    assert default.startswith("${version} ${account-id} ${interface-id} ${srcaddr}")
    with enable_iam_authentication(), caplog.at_level("INFO"):
        assert formats_of(PLACE) == ()
    assert "EC2 does not tell the formats" in caplog.text


def test_a_group_that_is_deleted_has_expired(group: None, put: Put, logs: Any, lake: str) -> None:
    put(NOON)
    convert(lake)
    logs.delete_log_group(logGroupName=GROUP)
    found = verify(lake=lake)
    assert (found.gaps.rows(), found.listed, found.expired) == ([], 0, 3)
    assert starts(lake) == [NOON]
    with pytest.raises(NothingThere, match="no such log group"):
        verify(PLACE, lake=lake)


def test_records_in_the_format_of_their_flow_log(group: None, put: Put, lake: str) -> None:
    custom = "${interface-id} ${srcaddr} ${bytes} ${start} ${tcp-flags}"
    start = int(NOON.timestamp())
    put(NOON, message=f"eni-1 10.0.0.1 180 {start} 2")
    report = flowlake.convert(PLACE, lake=lake, workers=1)
    assert [reason[:19] for _, reason in report.unreadables] == ["records of 5 fields"]
    client = boto3.client("ec2")
    try:
        client.create_flow_logs(
            ResourceIds=[client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]],
            ResourceType="VPC",
            TrafficType="ALL",
            LogGroupName=GROUP,
            DeliverLogsPermissionArn=f"arn:aws:iam::{ACCOUNT}:role/flow-logs",
            LogFormat=custom,
        )
    finally:
        client.close()
    report = flowlake.convert(PLACE, lake=lake, workers=1, retry=True, fields="bytes start")
    assert len(report.unreadables) == 1, "what is given is not asked of EC2"
    report = convert(lake, retry=True)
    assert (report.rows, report.rejected) == (1, 0)
    [row] = flowlake.open_lake(lake).flows().collect().to_dicts()
    assert (row["interface_id"], row["bytes"], row["tcp_flags"]) == ("eni-1", 180, 2)
    assert (row["account_id"], row["region"]) == (ACCOUNT, "eu-west-1")
    assert starts(lake) == [NOON]
    found = verify(lake=lake, deep="all")
    assert (found.reread, found.gaps.rows()) == (3, []), "two hours are empty"


# Refused


def test_a_group_that_is_not_there(made: Made, logs: Any, lake: str) -> None:
    made(NOON - 400 * DAY, f"{GROUP}-of-another")
    logs.put_retention_policy(logGroupName=f"{GROUP}-of-another", retentionInDays=1)
    with pytest.raises(StorageError, match=r"no such log group: check its name, its region"):
        convert(lake)
    storage = open_storage(PLACE)
    base = f"{PLACE}&account={ACCOUNT}&created=2026-01-01T00:00:00.000Z&hour="
    with pytest.raises(StorageError, match="no such log group"):
        storage.get(f"{base}2026-01-01T00Z")
    with pytest.raises(StorageError, match="not an hour of a log group"):
        storage.get(PLACE)


def test_who_may_not_read(
    group: None, put: Put, moto: str, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IAM as moto plays it: a user without a policy, one who may list, an unknown key."""
    put(NOON)
    iam = boto3.client("iam")
    keys = {}
    for name, action in (("nobody", None), ("lister", "logs:DescribeLogGroups"), ("all", "logs:*")):
        iam.create_user(UserName=name)
        if action:
            statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=policy)
        keys[name] = iam.create_access_key(UserName=name)["AccessKey"]
    iam.close()
    refusal = r"access is denied: .* need logs:DescribeLogGroups and logs:FilterLogEvents\.$"
    with enable_iam_authentication():
        for name in ("nobody", "lister"):
            key = keys[name]
            use_key(monkeypatch, key["AccessKeyId"], key["SecretAccessKey"])
            with pytest.raises(StorageError, match=refusal):
                convert(lake)
        use_key(monkeypatch, keys["all"]["AccessKeyId"], keys["all"]["SecretAccessKey"])
        assert convert(lake).rows == 1
        use_key(monkeypatch, keys["all"]["AccessKeyId"], "not the secret")
        with pytest.raises(StorageError, match="credentials are not accepted"):
            convert(lake)
        use_key(monkeypatch, "AKIAIOSFODNN7EXAMPLE", "unknown")
        with pytest.raises(StorageError, match="credentials are not accepted"):
            convert(lake)


def test_without_credentials(no_aws: None, lake: str) -> None:
    with pytest.raises(StorageError, match=r"No AWS credentials were found: set AWS_PROFILE"):
        convert(lake)
    with pytest.raises(StorageError, match=r"profile \(nope\) could not be found"):
        formats_of(PLACE, Access(profile="nope"))


def test_a_server_that_is_not_there(
    moto: str, door: Door, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_group, "ATTEMPTS", 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    forget_s3()
    with pytest.raises(StorageError, match="CloudWatch Logs cannot be reached: check the network"):
        convert(lake)


def test_a_lake_cannot_lie_there(
    group: None, lake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["convert", PLACE, "--lake", PLACE],
        ["status", "--lake", PLACE],
        ["sample", PLACE],
    ):
        monkeypatch.setattr("sys.argv", ["flowlake", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith(("flowlake: A lake cannot lie in a log group", "flowlake: Nothing"))
    with pytest.raises(UsageError, match="only reads log groups"):
        open_storage(PLACE).delete([PLACE])


# The name


def test_a_place_has_one_spelling(
    no_aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert canonical(PLACE) == PLACE
    assert canonical("cloudwatch://flow#logs?region=us-east-1").endswith(
        "flow#logs?region=us-east-1"
    )
    use_key(monkeypatch, "any-key", "any-secret")
    with pytest.raises(UsageError, match=r"has no region: write cloudwatch://g\?region=REGION"):
        canonical("cloudwatch://g")
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = eu-north-1\n[profile audit]\nregion = sa-east-1\n"
        "aws_access_key_id = a-key\naws_secret_access_key = a-secret\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    forget_s3()
    assert canonical("cloudwatch://g") == "cloudwatch://g?region=eu-north-1"
    assert canonical("cloudwatch://g", Access("audit")) == "cloudwatch://g?region=sa-east-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    forget_s3()
    assert canonical("cloudwatch:///g") == "cloudwatch:///g?region=eu-west-1"


@pytest.mark.parametrize(
    "place",
    [
        "cloudwatch://",
        "cloudwatch://?region=eu-west-1",
        "cloudwatch://g?region=",
        "cloudwatch://g?zone=eu-west-1",
        "cloudwatch://g?region=eu-west-1&hour=2026-01-01T00Z",
        "cloudwatch://g?region=eu-west-1&region=eu-west-2",
        "cloudwatch://g h?region=eu-west-1",
        "cloudwatch://g?region=EU WEST",
    ],
)
def test_other_spellings_are_refused(place: str) -> None:
    with pytest.raises(UsageError, match=r"names no log group: write cloudwatch://GROUP\?region"):
        canonical(place)
