"""Findings on their way: SNS and SQS on moto, webhooks to a real server, files, full disks."""

import json
import logging
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.core import enable_iam_authentication

import flowlake as fl
from flowlake import delivering
from flowlake.delivering import SETTINGS, Delivery, Kind, deliver, message, subject
from flowlake.errors import DeliveryFailed, UsageError
from flowlake.wording import revision
from tests.conftest import forget_s3

ACCOUNT = "123456789012"
FINDING: dict[str, Any] = {
    "id": "0123456789abcdef",
    "alarm": "ssh-scan",
    "kind": "port_scan",
    "severity": "high",
    "state": "new",
    "account_ids": [ACCOUNT],
    "regions": ["eu-west-1"],
    "who": "203.0.113.9",
    "whom": "10.0.0.4",
    "who_name": None,
    "whom_name": "web",
    "first_seen": datetime(2026, 1, 14, 22, 20, 7, tzinfo=UTC),
    "last_seen": datetime(2026, 1, 14, 22, 40, tzinfo=UTC),
    "flows": 1234,
    "packets": 2000,
    "bytes": 88_000,
    "peak": 120.0,
    "counts": {"ports": 120, "reject_share": 0.5},
    "why": "203.0.113.9 tried 120 ports of 10.0.0.4 in 5 minutes; 118 were refused.",
    "condition": "srcaddr = '203.0.113.9' AND dstport < 1024",
    "lake": "s3://lake/flows",
    "evidence": "flowlake sql \"SELECT * FROM flows WHERE srcaddr = '203.0.113.9'\""
    " --since 2026-01-14T22:20Z --until 2026-01-14T22:41Z",
}
SECRET = "T0KEN-of-nobody"


# In words


def test_a_message_says_what_a_person_needs() -> None:
    text = message(FINDING)
    assert text.startswith(FINDING["why"] + "\n\n")
    assert text.rstrip().endswith(FINDING["evidence"])
    lines = {line.split(":")[0]: line.split(":", 1)[1].strip() for line in text.splitlines()[2:17]}
    assert lines["alarm"] == "ssh-scan (port_scan), severity high, new"
    assert lines["whom"] == "10.0.0.4 (web)"
    assert lines["first seen"] == "2026-01-14 22:20:07 UTC"
    assert lines["bytes"] == "88,000"
    assert lines["peak"] == "120"
    assert lines["reject share"] == "0.5"
    assert lines["finding"] == FINDING["id"]
    assert all(line == line.rstrip() for line in text.splitlines())


def test_times_are_utc_wherever_they_come_from() -> None:
    from zoneinfo import ZoneInfo

    there = FINDING["first_seen"].astimezone(ZoneInfo("Asia/Tokyo"))
    assert "first seen:    2026-01-14 22:20:07 UTC" in message({**FINDING, "first_seen": there})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "[high] ssh-scan: 203.0.113.9 -> 10.0.0.4 (web)"),
        ({"state": "grown"}, "[high, grown] ssh-scan: 203.0.113.9 -> 10.0.0.4 (web)"),
        ({"state": "test", "whom": None}, "[high, test] ssh-scan: 203.0.113.9"),
        (
            {"whom_name": "wéb\r\nBcc: 日本"},
            "[high] ssh-scan: 203.0.113.9 -> 10.0.0.4 (web  Bcc: ??)",
        ),
    ],
)
def test_a_subject_is_one_line_of_ascii(changes: dict[str, Any], said: str) -> None:
    assert subject({**FINDING, **changes}) == said


def test_a_subject_is_as_short_as_sns_wants_it() -> None:
    assert len(subject({**FINDING, "alarm": "a" * 200})) == 99
    exact = subject(
        {**FINDING, "alarm": "a" * (99 - len("[high] : 203.0.113.9 -> 10.0.0.4 (web)"))}
    )
    assert len(exact) == 99
    assert exact.endswith("(web)")


def test_a_revision_changes_as_the_finding_grows_and_only_then() -> None:
    assert revision(FINDING).startswith(FINDING["id"] + "-")
    assert revision({**FINDING, "state": "grown", "whom_name": "www"}) == revision(FINDING)
    assert revision({**FINDING, "flows": 1235}) != revision(FINDING)
    later = FINDING["last_seen"] + timedelta(seconds=1)
    assert revision({**FINDING, "last_seen": later}) != revision(FINDING)


# Settings


def test_the_settings_are_those_of_the_kinds() -> None:
    assert set(SETTINGS) == set(Kind.__args__)  # type: ignore[attr-defined]
    assert all(setting.meaning for settings in SETTINGS.values() for setting in settings)


@pytest.mark.parametrize(
    ("kind", "settings", "problem"),
    [
        ("pigeon", {}, "its kind is one of sns, webhook, file, stdout, not 'pigeon'"),
        ("stdout", {"path": "x"}, "path cannot be set: kind stdout has shape"),
        ("file", {}, "set path: the file to append to"),
        ("file", {"path": " "}, "path is text that is not empty"),
        ("file", {"path": 7}, "path is text that is not empty"),
        ("file", {"path": "x", "shape": "slack"}, "shape is one of json, text, not 'slack'"),
        ("sns", {"topic_arn": "alarms"}, "topic_arn has the form arn:aws:sns:"),
        ("webhook", {}, "set url or url_env, one of them"),
        ("webhook", {"url": "https://h/", "url_env": "U"}, "set url or url_env, one of them"),
        ("webhook", {"url": f"ftp://h/{SECRET}"}, "url begins with https://"),
        ("webhook", {"url": f"https://h:{SECRET}/"}, "url is no URL"),
        ("webhook", {"url": f"https://u:{SECRET}@h/"}, "url has a user or a password"),
        ("webhook", {"url": f"https://h/{SECRET} x"}, "url has a character that no URL has"),
        ("webhook", {"url": "https://h/", "header": "X-Key"}, "header goes with header_env"),
        (
            "webhook",
            {"url": "https://h/", "header": "X Key", "header_env": "K"},
            "header is the name of a request header",
        ),
    ],
)
def test_settings_that_cannot_be(kind: Any, settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        Delivery("pager", kind, settings)
    assert str(caught.value).startswith(f"[delivery.pager]: {problem}")
    assert SECRET not in str(caught.value)


# SNS


@pytest.fixture
def sns(moto: str) -> Iterator[Any]:
    client = boto3.client("sns")
    yield client
    client.close()


class Queue:
    """A queue that is subscribed to a topic."""

    def __init__(self, sns: Any, name: str, **attributes: str) -> None:
        fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        self.topic = sns.create_topic(Name=name, Attributes=fifo)["TopicArn"]
        self._sqs = boto3.client("sqs")
        fifo = {"FifoQueue": "true"} if fifo else {}
        self._url = self._sqs.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]
        arn = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{name}"
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)

    def received(self) -> list[dict[str, Any]]:
        got = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, AttributeNames=["All"]
        )
        self._sqs.close()
        return list(got.get("Messages", []))


def test_a_queue_receives_what_a_topic_is_told(sns: Any) -> None:
    queue = Queue(sns, "alarms")
    deliver(FINDING, Delivery("security", "sns", {"topic_arn": queue.topic}))
    (received,) = queue.received()
    told = json.loads(received["Body"])
    assert told["Subject"] == subject(FINDING)
    attributes = {name: value["Value"] for name, value in told["MessageAttributes"].items()}
    assert attributes == {name: FINDING[name] for name in ("severity", "kind", "alarm", "id")}
    assert json.loads(told["Message"]) == {
        **FINDING,
        "first_seen": "2026-01-14T22:20:07Z",
        "last_seen": "2026-01-14T22:40:00Z",
        "revision": revision(FINDING),
    }


def test_a_subscription_may_ask_for_the_severe_ones(sns: Any) -> None:
    queue = Queue(sns, "severe", FilterPolicy='{"severity": ["critical"]}')
    to = Delivery("security", "sns", {"topic_arn": queue.topic})
    deliver(FINDING, to)
    deliver({**FINDING, "severity": "critical", "id": "f" * 16}, to)
    (received,) = queue.received()
    assert json.loads(json.loads(received["Body"])["Message"])["id"] == "f" * 16


def test_e_mail_gets_the_text(sns: Any) -> None:
    from moto.sns.models import sns_backends

    topic = sns.create_topic(Name="people")["TopicArn"]
    deliver(FINDING, Delivery("security", "sns", {"topic_arn": topic}))
    ((_, sent, said, *_),) = sns_backends[ACCOUNT]["eu-west-1"].topics[topic].sent_notifications
    assert json.loads(sent)["default"] == message(FINDING)
    assert said == json.loads(sent)["sms"] == subject(FINDING)


def test_a_fifo_topic_keeps_the_order_and_drops_what_comes_twice(sns: Any) -> None:
    queue = Queue(sns, "alarms.fifo", RawMessageDelivery="true")
    to = Delivery("security", "sns", {"topic_arn": queue.topic})
    other = {**FINDING, "id": "00000000000000ff", "flows": 2000}
    for finding in (FINDING, {**FINDING, "flows": 1500}, other):  # grown before it was sent again
        deliver(finding, to)
    received = queue.received()
    assert [json.loads(each["Body"])["flows"] for each in received] == [1234, 2000]
    groups = [each["Attributes"]["MessageGroupId"] for each in received]
    assert groups == [FINDING["id"], other["id"]]


def test_a_finding_that_is_too_long_for_sns_is_cut_and_says_so(sns: Any) -> None:
    queue = Queue(sns, "long", RawMessageDelivery="true")
    finding = {**FINDING, "condition": "srcaddr IN (" + "'192.0.2.1', " * 20_000 + ")"}
    deliver(finding, Delivery("security", "sns", {"topic_arn": queue.topic}))
    (received,) = queue.received()
    told = json.loads(received["Body"])
    assert len(told["condition"]) < 8_100
    assert told["condition"].endswith("252,013 more characters: ask the lake)")
    assert told["why"] == FINDING["why"]


def test_the_region_is_the_topics(sns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(sns, "there")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    forget_s3()
    deliver(FINDING, Delivery("security", "sns", {"topic_arn": queue.topic}))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert len(queue.received()) == 1


def test_a_topic_that_is_not_there(moto: str) -> None:
    to = Delivery("security", "sns", {"topic_arn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:gone"})
    with pytest.raises(DeliveryFailed, match=r"^\[delivery.security\].*:gone did.*no such topic"):
        deliver(FINDING, to)


def test_a_topic_that_is_denied(sns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = sns.create_topic(Name="closed")["TopicArn"]
    iam = boto3.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    iam.close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    forget_s3()
    to = Delivery("security", "sns", {"topic_arn": topic})
    with enable_iam_authentication(), pytest.raises(DeliveryFailed, match="allow sns:Publish"):
        deliver(FINDING, to)


def test_sns_without_credentials(no_aws: None) -> None:
    to = Delivery("security", "sns", {"topic_arn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"})
    with pytest.raises(DeliveryFailed, match=r"\[delivery.security\]: No AWS credentials"):
        deliver(FINDING, to)
    with pytest.raises(DeliveryFailed, match="profile"):
        deliver(FINDING, to, fl.Access("nobody"))


# Webhooks

Answer = Callable[["Handler"], object]


class Server(ThreadingHTTPServer):
    """Answers with what it was given, one after the other, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int | tuple[int, dict[str, str]] | Answer] = []
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.done = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/services/{SECRET}?key={SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if callable(answer):
            answer(self)
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        said = f"Cannot POST {self.path}".encode()  # as servers do: it is no secret to them
        self.send_response(status, f"for {SECRET}")
        for name, value in {**headers, "Content-Length": str(len(said))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def do_GET(self) -> None:
        self.server.got.append(("GET", {}, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(delivering, "FIRST_WAIT", 0.01)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.done.set()
        server.shutdown()
        thread.join()


def failure(to: Delivery) -> str:
    """Why it failed; with no secret in it, nor in what led to it."""
    with pytest.raises(DeliveryFailed) as caught:
        deliver(FINDING, to)
    error: BaseException | None = caught.value
    assert str(error).startswith("[delivery.pager]: ")
    while error is not None:
        assert SECRET not in str(error)
        assert SECRET not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert SECRET not in repr(to)
    return str(caught.value)


def test_a_webhook_is_posted_the_finding(server: Server) -> None:
    deliver(FINDING, Delivery("pager", "webhook", {"url": server.url}))
    ((path, headers, body),) = server.got
    assert path == f"/services/{SECRET}?key={SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == FINDING["id"]
    assert headers["X-Flowlake-Id"] == FINDING["id"]
    assert json.loads(body)["first_seen"] == "2026-01-14T22:20:07Z"


def test_secrets_come_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"url_env": "PAGER_URL", "header": "X-Key", "header_env": "PAGER_KEY"}
    to = Delivery("pager", "webhook", settings)
    assert "PAGER_URL (url_env) is not set" in failure(to)
    monkeypatch.setenv("PAGER_URL", f"gopher://{SECRET}")
    assert "the URL in PAGER_URL begins with https://" in failure(to)
    monkeypatch.setenv("PAGER_URL", server.url + "\n")
    assert "PAGER_KEY (header_env) is not set" in failure(to)
    monkeypatch.setenv("PAGER_KEY", f"{SECRET}\r\nX-Other: 1")
    assert "PAGER_KEY (header_env) has a character" in failure(to)
    monkeypatch.setenv("PAGER_KEY", f"Bearer {SECRET}")
    assert server.got == []
    deliver(FINDING, to)
    assert server.got[0][1]["X-Key"] == f"Bearer {SECRET}"


def test_slack_reads_it_and_calls_nobody(server: Server) -> None:
    finding = {
        **FINDING,
        "whom_name": "<!channel> & ``` @here",
        "why": "&" * 4_000,
        "evidence": "<" * 4_000,
    }
    deliver(finding, Delivery("pager", "webhook", {"url": server.url, "shape": "slack"}))
    said = json.loads(server.got[0][2])
    assert said["text"].startswith("[high] ssh-scan: 203.0.113.9 -&gt; 10.0.0.4")
    texts = [block["text"]["text"] for block in said["blocks"]]
    assert all(len(text) <= 3_000 for text in texts)
    assert texts[0].endswith("&amp;…")
    assert texts[1].endswith("&lt;…```")
    assert texts[1].count("```") == 2
    assert not any("<" in text for text in texts)


def test_a_webhook_that_falters_is_tried_again(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [500, lambda each: each.connection.shutdown(socket.SHUT_RDWR), 503, 200]
    deliver(FINDING, Delivery("pager", "webhook", {"url": server.url}))
    assert len(server.got) == 4
    assert len({headers["Idempotency-Key"] for _, headers, _ in server.got}) == 1
    assert len({body for *_, body in server.got}) == 1
    assert SECRET not in caplog.text


def test_a_webhook_that_is_down_is_given_up(server: Server) -> None:
    server.answers = [500] * 9
    said = failure(Delivery("pager", "webhook", {"url": server.url}))
    host = server.url.split("/services")[0]
    assert f"{host}/… answered 500 Internal Server Error, after 5 attempts: check" in said
    assert len(server.got) == 5


def test_waits_grow_and_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(delivering, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    server.answers = [500] * 5
    failure(Delivery("pager", "webhook", {"url": server.url}))
    assert all(0.5 * 2**n <= wait <= 2**n for n, wait in enumerate(waits))
    assert len(waits) == 4
    assert waits != [1, 2, 4, 8]


def test_a_webhook_says_when_to_come_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    server.answers = [(429, {"Retry-After": "7"}), (503, {"Retry-After": soon}), 200]
    deliver(FINDING, Delivery("pager", "webhook", {"url": server.url}))
    assert waits[0] == 7
    assert 15 < waits[1] <= 20
    server.answers = [(429, {"Retry-After": "3600"}), 200]
    said = failure(Delivery("pager", "webhook", {"url": server.url}))
    assert "429 Too Many Requests, after 1 attempt, and asks to wait 3,600 seconds" in said
    server.answers = [(429, {"Retry-After": "soon"}), 200]
    deliver(FINDING, Delivery("pager", "webhook", {"url": server.url}))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "it does not take findings as they are sent"),
        (403, "it wants other credentials"),
        (404, "it is not there: check its URL"),
        (499, "answered 499: it does not take findings"),
    ],
)
def test_a_webhook_that_refuses_is_not_asked_again(
    server: Server, status: int, advice: str
) -> None:
    server.answers = [status]
    assert advice in failure(Delivery("pager", "webhook", {"url": server.url}))
    assert len(server.got) == 1


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_delivers_nothing(server: Server, status: int) -> None:
    server.answers = [(status, {"Location": server.url})]
    assert "it has moved" in failure(Delivery("pager", "webhook", {"url": server.url}))
    assert [path for path, *_ in server.got] != ["GET"]
    assert len(server.got) == 1


def test_a_webhook_that_hangs_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "TIMEOUT", 0.1)
    monkeypatch.setattr(delivering, "ATTEMPTS", 2)
    server.answers = [lambda _: server.done.wait(10)] * 2
    begun = time.monotonic()
    said = failure(Delivery("pager", "webhook", {"url": server.url}))
    assert "cannot be reached (timed out), after 2 attempts" in said
    assert time.monotonic() - begun < 5


def test_who_speaks_no_http(server: Server) -> None:
    server.answers = [lambda each: each.wfile.write(SECRET.encode() + b"\r\n\r\n")] * 5
    said = failure(Delivery("pager", "webhook", {"url": server.url}))
    assert "cannot be reached (BadStatusLine), after 5 attempts" in said


def test_nobody_listens(server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{SECRET}"
    said = failure(Delivery("pager", "webhook", {"url": url}))
    assert "cannot be reached (Connection refused), after 5 attempts" in said
    url = f"http://.nowhere.invalid/{SECRET}"
    assert "cannot be reached" in failure(Delivery("pager", "webhook", {"url": url}))


def test_who_speaks_no_tls(server: Server) -> None:
    url = server.url.replace("http:", "https:")
    assert "cannot be reached" in failure(Delivery("pager", "webhook", {"url": url}))
    assert server.got == []


# Files and standard output


def test_a_file_gets_a_line_for_each(tmp_path: Path) -> None:
    file = tmp_path / "findings.jsonl"
    to = Delivery("log", "file", {"path": str(file)})
    deliver({**FINDING, "why": "a\nb\u2028c"}, to)
    deliver({**FINDING, "id": "f" * 16}, to)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["id"] for line in lines] == [FINDING["id"], "f" * 16]
    assert lines[0]["why"] == "a\nb\u2028c"


def test_a_file_of_text(tmp_path: Path) -> None:
    file = tmp_path / "findings.txt"
    deliver(FINDING, Delivery("log", "file", {"path": str(file), "shape": "text"}))
    assert file.read_text() == message(FINDING) + "\n"


def test_many_write_one_file_and_mix_no_lines(tmp_path: Path) -> None:
    file = tmp_path / "findings.jsonl"
    to = Delivery("log", "file", {"path": str(file)})
    finding = {**FINDING, "why": "x" * 100_000}

    def write() -> None:
        for _ in range(10):
            deliver(finding, to)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = file.read_text().splitlines()
    assert len(lines) == 40
    assert len(set(lines)) == 1


def test_a_folder_is_not_made(tmp_path: Path) -> None:
    to = Delivery("log", "file", {"path": str(tmp_path / "typo" / "findings.jsonl")})
    with pytest.raises(DeliveryFailed, match=r"cannot be written \(No such file or directory\)"):
        deliver(FINDING, to)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DeliveryFailed, match=r"cannot be written \(Is a directory\)"):
        deliver(FINDING, Delivery("log", "file", {"path": str(tmp_path)}))
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(DeliveryFailed, match=r"cannot be written \(No space left on device\)"):
        deliver(FINDING, Delivery("log", "file", {"path": str(full)}))


def test_a_line_that_is_written_in_part_is_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "findings.jsonl"
    to = Delivery("log", "file", {"path": str(file)})
    deliver(FINDING, to)
    before = file.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limit[1]))
    try:
        with pytest.raises(DeliveryFailed, match="did not take all of it"):
            deliver(FINDING, to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert file.read_bytes() == before


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    deliver(FINDING, Delivery("here", "stdout", {}))
    deliver(FINDING, Delivery("here", "stdout", {"shape": "text"}))
    first, rest = capsys.readouterr().out.split("\n", 1)
    assert json.loads(first)["id"] == FINDING["id"]
    assert rest == message(FINDING) + "\n"


def test_standard_output_may_be_full_and_may_be_ascii() -> None:
    program = (
        "from flowlake.delivering import *; from tests.test_delivering import FINDING\n"
        "try: deliver({**FINDING, 'why': 'é'}, Delivery('here', 'stdout', {'shape': 'text'}))\n"
        "except Exception as error: import sys, os; sys.stderr.write(str(error)); os._exit(3)"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, r"\xe9")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert "standard output cannot be written (No space left on device)" in done.stderr
