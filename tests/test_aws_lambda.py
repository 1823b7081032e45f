"""The Lambda handler, on batches as SQS gives them and objects in a real bucket."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

import flowlake as fl
from flowlake.aws_lambda import handler
from flowlake.errors import LakeError, UsageError
from flowlake.samples import sample_objects
from flowlake.storage import open_storage

OBJECTS = dict(list(sample_objects())[:4])
REFUSED = "raw//../key"
"""What the S3 server does not even say of whether it is there."""


class Context:
    """What Lambda says of the invocation."""

    memory_limit_in_mb = "1769"

    def __init__(self, seconds: float = 60) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return round(self._seconds * 1000)


def created(url: str, name: str = "ObjectCreated:Put") -> str:
    """S3's event, as S3 itself puts it into a queue."""
    bucket, key = url.removeprefix("s3://").split("/", 1)
    s3 = {"bucket": {"name": bucket}, "object": {"key": quote_plus(key), "size": 1}}
    return json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": name, "s3": s3}]})


def by_sns(url: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": created(url)})


def by_eventbridge(url: str) -> str:
    bucket, key = url.removeprefix("s3://").split("/", 1)
    detail = {"bucket": {"name": bucket}, "object": {"key": key}}
    return json.dumps({"detail-type": "Object Created", "source": "aws.s3", "detail": detail})


def batch(*bodies: str) -> dict[str, Any]:
    return {
        "Records": [
            {"messageId": f"m{n}", "body": body, "eventSource": "aws:sqs", "attributes": {}}
            for n, body in enumerate(bodies)
        ]
    }


def failed(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


@pytest.fixture
def urls(s3: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Objects in a bucket, one with an odd name, and a lake there in the environment."""
    monkeypatch.setenv("FLOWLAKE_LAKE", f"{s3}/lake")
    storage = open_storage(s3)
    urls = [f"{s3}/{key}" for key in OBJECTS]
    urls[-1] = f"{s3}/raw/a +%2B[1]é "
    for url, body in zip(urls, OBJECTS.values(), strict=True):
        storage.put(url, body)
    return urls


def ledger() -> dict[str, int]:
    """The rows in the lake of each object."""
    lake = fl.open_lake(os.environ["FLOWLAKE_LAKE"])
    flows = lake.sql("SELECT count(*) FROM flows").fetchall()[0][0]
    objects = dict(lake.sql("SELECT url, rows FROM objects").fetchall())
    assert flows == sum(objects.values())
    return objects


def test_a_batch_is_converted(urls: list[str]) -> None:
    ways = (created, by_sns, by_eventbridge, by_sns)
    event = batch(*(way(url) for way, url in zip(ways, urls, strict=True)))
    assert handler(event, Context()) == {"batchItemFailures": []}
    assert sorted(ledger()) == sorted(urls)
    assert all(ledger().values())


def test_a_message_may_come_twice(urls: list[str]) -> None:
    event = batch(created(urls[0]), by_sns(urls[0]))
    assert failed(handler(event, Context())) == []
    before = ledger()
    assert failed(handler(event, Context())) == []
    assert failed(handler(batch(created(urls[0]), created(urls[1])), Context())) == []
    assert {url: rows for url, rows in ledger().items() if url == urls[0]} == before
    assert len(ledger()) == 2


def test_messages_that_are_no_events_fail_and_no_others(urls: list[str]) -> None:
    no_bucket = {"detail": {"bucket": {"name": "no bucket!"}, "object": {"key": "key"}}}
    bodies = [
        *("no JSON", '{"some": "thing"}', '"', "null", '{"Records": 5}', "[" * 100_000),
        json.dumps(no_bucket),
        created(urls[2]) + '{"some": "thing"}',
    ]
    event = batch(created(urls[0]), *bodies, created(urls[1]))
    assert failed(handler(event, Context())) == [f"m{n + 1}" for n in range(len(bodies))]
    assert sorted(ledger()) == sorted(urls[:2])


def test_messages_that_name_nothing_succeed(urls: list[str]) -> None:
    test = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})
    gone = created(urls[0], "ObjectRemoved:Delete")
    assert failed(handler(batch(test, gone), Context())) == []
    with pytest.raises(LakeError):
        ledger()


def test_an_object_that_is_gone_fails_its_message(
    urls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    open_storage(urls[0]).delete([urls[1]])
    assert failed(handler(batch(*map(created, urls[:3])), Context())) == ["m1"]
    assert sorted(ledger()) == sorted([urls[0], urls[2]])
    assert f"could not fetch {urls[1]}" in caplog.text


def test_an_object_that_is_gone_but_was_converted_is_no_failure(urls: list[str]) -> None:
    assert failed(handler(batch(created(urls[0])), Context())) == []
    open_storage(urls[0]).delete([urls[0]])
    assert failed(handler(batch(created(urls[0])), Context())) == []


def test_a_file_of_the_lake_is_not_converted(urls: list[str]) -> None:
    lake = os.environ["FLOWLAKE_LAKE"]
    own = created(f"{lake}/flows/date=2026-01-14/part.parquet")
    assert failed(handler(batch(own, created(urls[0])), Context())) == []
    assert list(ledger()) == [urls[0]]


def test_what_spoils_a_batch_spoils_one_message(urls: list[str], s3: str) -> None:
    event = batch(created(urls[0]), created(f"{s3}/{REFUSED}"), created(urls[1]))
    assert failed(handler(event, Context())) == ["m1"]
    assert sorted(ledger()) == sorted(urls[:2])


def test_without_time_the_rest_is_given_again(urls: list[str], s3: str) -> None:
    event = batch(created(f"{s3}/{REFUSED}"), created(urls[0]))
    assert failed(handler(event, Context(seconds=5))) == ["m0", "m1"]


def test_a_lake_that_cannot_be_written_fails_them_all(
    urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWLAKE_LAKE", "s3://no-such-bucket-here/lake")
    event = batch(created(urls[0]), created(urls[1]))
    assert failed(handler(event, Context())) == ["m0", "m1"]


def test_too_little_memory(urls: list[str], caplog: pytest.LogCaptureFixture) -> None:
    context = Context()
    context.memory_limit_in_mb = "128"
    assert failed(handler(batch(created(urls[0])), context)) == ["m0"]
    assert "too little memory" in caplog.text


def test_a_function_that_is_not_set_up(urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no batch of SQS messages"):
        handler(json.loads(created(urls[0])), Context())
    with pytest.raises(UsageError, match="no batch of SQS messages"):
        handler(json.loads(by_eventbridge(urls[0])), Context())
    monkeypatch.delenv("FLOWLAKE_LAKE")
    with pytest.raises(UsageError, match="Set FLOWLAKE_LAKE"):
        handler(batch(created(urls[0])), Context())


# Alarms


RULES = """
[delivery.log]
kind = "file"
path = "{path}"

[[alarm]]
name = "anything at all"
kind = "forbidden_endpoint"
servers = ["private"]
allow = []
deliver = ["log"]
"""


@pytest.fixture
def told(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the alarms of a file in the bucket deliver to."""
    path = tmp_path / "told.jsonl"
    path.touch()
    open_storage(s3).put(f"{s3}/alarms.toml", RULES.format(path=path).encode())
    monkeypatch.setenv("FLOWLAKE_ALARMS", f"{s3}/alarms.toml")
    return path


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def test_alarms_run_after_a_conversion(urls: list[str], told: Path) -> None:
    handler(batch(created(urls[1])), Context())
    first = lines(told)
    assert first == fl.open_lake(os.environ["FLOWLAKE_LAKE"]).findings().height > 0
    handler(batch(created(urls[1])), Context())
    assert lines(told) == first
    handler(batch(created(urls[2])), Context())
    assert lines(told) > first


def test_alarms_in_a_file(
    urls: list[str], told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alarms.toml").write_text(RULES.format(path=told))
    monkeypatch.setenv("FLOWLAKE_ALARMS", str(tmp_path / "alarms.toml"))
    handler(batch(created(urls[1])), Context())
    assert lines(told) > 0


def test_alarms_do_not_run_for_nothing_or_without_time(urls: list[str], told: Path) -> None:
    handler(batch(created(urls[1], "ObjectRemoved:Delete")), Context())
    handler(batch(created(urls[1])), Context(seconds=5))
    assert lines(told) == 0
    assert len(ledger()) == 1


def test_alarms_that_fail_fail_the_invocation(
    urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWLAKE_ALARMS", "/no/such/alarms.toml")
    with pytest.raises(UsageError, match=r"Cannot read /no/such/alarms.toml"):
        handler(batch(created(urls[1])), Context())
    assert len(ledger()) == 1


# A function's process


def test_no_process_is_started(urls: list[str]) -> None:
    """Lambda has no shared memory, so that Python's pools of processes cannot be made."""
    program = (
        "import json, sys, _multiprocessing\n"
        "def refused(*_, **__): raise OSError(38, 'Function not implemented')\n"
        "_multiprocessing.SemLock = refused\n"
        "from flowlake.aws_lambda import handler\n"
        "from tests.test_aws_lambda import Context\n"
        "print(json.dumps(handler(json.load(sys.stdin), Context())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(batch(*map(created, urls))),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"batchItemFailures": []}
    assert len(ledger()) == len(urls)
