"""An AWS Lambda function that converts new objects as S3 tells a queue of them.

The handler is ``flowlake.aws_lambda.handler``; its event source is an SQS queue with S3 event
notifications, straight from S3, through SNS or through EventBridge, and with
``ReportBatchItemFailures``. Environment: ``FLOWLAKE_LAKE``, and ``FLOWLAKE_ALARMS``, a file or
``s3://`` object with alarms to run afterwards.
"""

import json
import logging
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowlake.converting import convert
from flowlake.errors import FlowLakeError, UsageError
from flowlake.memory import MIB
from flowlake.storage.events import OTHER, documents, named_in

RESERVE = 20.0
"""Seconds that are to be left before a further piece of work begins."""

SHARE = 0.75
"""The part of the function's memory that a conversion may take."""

_OBJECT = re.compile(r"s3://[A-Za-z0-9._-]+/")

logger = logging.getLogger(__name__)


def handler(event: Mapping[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Convert the objects that a batch of SQS messages names, then run the alarms.

    Objects that the lake has are not converted again, so a message may come any number of times.
    Messages that name nothing to convert, such as S3's test event, succeed.

    Args:
        event: the batch, as Lambda gets it from SQS.
        context: Lambda's; its memory bounds the conversion, its time what is begun.

    Returns:
        The messages to be given again: those that are no S3 event, or name an object that could
        not be fetched or committed.

    Raises:
        UsageError: when the environment or the event source is not set up as it must be.
        FlowLakeError: when the alarms cannot be run. All messages are then given again, which
            converts nothing twice.
    """
    lake = os.environ.get("FLOWLAKE_LAKE")
    if not lake:
        raise UsageError("Set FLOWLAKE_LAKE in the function's environment: the lake, s3://….")
    try:
        bodies = {record["messageId"]: record["body"] for record in event["Records"]}
    except (KeyError, TypeError) as error:
        raise UsageError(
            "This is no batch of SQS messages: let S3's notifications go to a queue, and make the "
            "queue the function's event source."
        ) from error
    named = {each: _named(each, body) for each, body in bodies.items()}
    failed = {each for each, urls in named.items() if urls is None}
    if wanted := {each: urls for each, urls in named.items() if urls}:
        failed |= _convert(wanted, lake, context)
        _run_alarms(lake, context)
    return {"batchItemFailures": [{"itemIdentifier": each} for each in bodies if each in failed]}


def _named(message: str, body: str) -> list[str] | None:
    """The objects that a message names; None for one that is no event of S3."""
    try:
        found = named_in(documents(body))
    except ValueError:
        found = None
    if found is None or found[1][OTHER] or not all(map(_OBJECT.match, found[0])):
        logger.error("message %s is no S3 event notification: %.200r", message, body)
        return None
    return found[0]


def _convert(named: Mapping[str, list[str]], lake: str, context: Any) -> set[str]:
    """Convert what the messages name; the messages that failed.

    What fails for all is tried for each message alone: it may be the fault of one.
    """
    try:
        with _file(_events(url for urls in named.values() for url in urls)) as objects_from:
            report = convert(
                lake=lake,
                objects_from=objects_from,
                workers=1,  # Lambda has no shared memory for processes
                memory=int(int(context.memory_limit_in_mb) * MIB * SHARE),
            )
    except FlowLakeError as error:
        logger.error("could not convert %s: %s", ", ".join(named), error)
        if len(named) == 1:
            return set(named)
        failed: set[str] = set()
        for each, urls in named.items():
            failed |= _convert({each: urls}, lake, context) if _time_left(context) else {each}
        return failed
    logger.info("converted %d objects into %d rows", report.objects, report.rows)
    for url, reason in report.failures:
        logger.error("could not fetch %s: %s", url, reason)
    failures = {url for url, _ in report.failures}
    return {each for each, urls in named.items() if failures.intersection(urls)}


def _events(urls: Iterable[str]) -> str:
    """Events of EventBridge, which has keys as they are: a list of lines would end in some."""
    places = (url.removeprefix("s3://").split("/", 1) for url in urls)
    details = ({"bucket": {"name": bucket}, "object": {"key": key}} for bucket, key in places)
    return json.dumps([{"detail": detail} for detail in details])


def _run_alarms(lake: str, context: Any) -> None:
    alarms = os.environ.get("FLOWLAKE_ALARMS")
    if not alarms:
        return
    if not _time_left(context):
        logger.error("no time is left for the alarms: the next batch runs them")
        return
    from flowlake.alarms import run_alarms  # takes a second, and is not always asked for

    done = run_alarms(lake, alarms)
    logger.info("%d new findings, %d messages sent", len(done.new), done.sent)
    for finding, name, reason in done.failed:
        logger.error("finding %s was not delivered to %s: %s", finding, name, reason)


def _time_left(context: Any) -> bool:
    return bool(context.get_remaining_time_in_millis() >= RESERVE * 1000)


@contextmanager
def _file(text: str) -> Iterator[str]:
    """A file with the text, for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        file.write_text(text)
        yield str(file)
