"""Who made, changed and deleted flow logs and what they need: CloudTrail's events as rows.

They are looked up in CloudTrail's event history, or read from the files that a trail delivers.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from flowlake.aws import Access, client, refusals, wanted_regions
from flowlake.errors import FlowLakeError
from flowlake.reading.compression import inflated
from flowlake.storage import Keep, canonical, open_source, open_storage
from flowlake.window import parse_time

EVENTS = pl.Schema(
    {
        "event_time": pl.Datetime("us", "UTC"),
        "event_name": pl.String(),
        "account_id": pl.String(),
        "region": pl.String(),
        "who": pl.String(),
        "source_address": pl.String(),
        "user_agent": pl.String(),
        "error_code": pl.String(),
        "resources": pl.List(pl.String()),
        "event_id": pl.String(),
    }
)
"""A row is a call (AWS CloudTrail User Guide, "CloudTrail record contents").

``event_time`` is UTC. ``who`` is the ARN of the identity that called, else the AWS service that
did. ``source_address`` is an IP address, or a service's name. ``error_code`` is null where the call
succeeded. ``resources`` are the ids of flow logs, networks and interfaces, the buckets and the log
groups that the call and its answer name.
"""

WATCHED: dict[str, tuple[str, ...]] = {
    "ec2.amazonaws.com": ("CreateFlowLogs", "DeleteFlowLogs"),
    "logs.amazonaws.com": ("DeleteLogGroup", "PutRetentionPolicy"),
    "s3.amazonaws.com": (
        *("DeleteBucket", "DeleteBucketPolicy", "PutBucketPolicy"),
        *("DeleteBucketLifecycle", "PutBucketLifecycle"),
    ),
}
"""The calls that are kept, by service: those that make and delete flow logs, and those that change
who may write to where they are delivered, or how long it is kept."""

HISTORY = "90d"
"""How far back CloudTrail's event history goes (AWS CloudTrail User Guide, "Working with
CloudTrail event history")."""

_DAMAGE = (*(FlowLakeError, ValueError, LookupError, TypeError, AttributeError, RecursionError),)
_NAMES = frozenset(name for names in WATCHED.values() for name in names)
_ANY = re.compile("|".join(sorted(_NAMES)).encode())
_IDS = re.compile(r"\b(?:fl|vpc|subnet|eni|tgw|tgw-attach|nat)-[0-9a-f]{8,}\b")
_FILE = re.compile(r"\.json(?:\.gz)?$")
_STAMP = re.compile(r"_CloudTrail_[a-z0-9-]+_(?P<stamp>[0-9]{8}T[0-9]{4})Z_[^/]*$")
_FOLDER = re.compile(
    r"/AWSLogs/(?:o-[a-z0-9]+/)?[0-9]{12}/(?P<kind>[A-Za-z-]+)/"
    r"(?:(?P<region>[a-z]+(?:-[a-z]+)+-[0-9]+)/"
    r"(?:(?P<year>[0-9]{4})/(?:(?P<month>[0-9]{2})/(?:(?P<day>[0-9]{2})/)?)?)?)?"
)


@dataclass(frozen=True, slots=True)
class Trail:
    """What was read of CloudTrail."""

    events: pl.DataFrame
    """Of ``EVENTS``, oldest first, each event once."""
    files: int | None = None
    """How many files were read; None of the event history."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """The files that could not be read, and why."""


def read_trail(
    place: str | os.PathLike[str],
    access: Access = Access(),
    *,
    since: datetime | None = None,
    regions: Sequence[str] = (),
) -> Trail:
    """Read the files that CloudTrail delivers, or that somebody saved of it.

    Folders of other regions, and of days before ``since``, are not listed: a file holds what was
    called before it was delivered, so files delivered earlier are not read either. A file has
    ``Records``, or is what ``aws cloudtrail lookup-events`` prints; gzip or not. Files of digests
    and of Insights are left out.

    Args:
        place: a folder, a file or ``s3://BUCKET/PREFIX``.
        access: AWS profile and requester-pays.
        since: only calls at or after this.
        regions: only these, by default all; events of a file that lies elsewhere count, too.

    Raises:
        UsageError: when this is no place.
        StorageError: when it cannot be listed, and NothingThere when it is not there.
    """
    where = canonical(place, access)
    listed = open_source(where, access).list(where, _keep(since, regions))
    urls = [url for page in listed for url in page["url"] if _wanted(url, since)]
    unreadable = []
    rows: list[dict[str, Any]] = []

    def read(url: str) -> tuple[str, list[dict[str, Any]] | str]:
        try:
            body = b"".join(inflated(open_storage(url, access).get(url))[0])
            return url, list(_rows(body)) if _ANY.search(body) else []
        except _DAMAGE as error:
            return url, str(error).rstrip(".")

    workers = open_storage(urls[0], access).requests_in_flight if urls else 1
    with ThreadPoolExecutor(workers, "trail") as pool:
        for url, found in pool.map(read, urls):
            if isinstance(found, str):
                unreadable.append((url, found))
            else:
                rows += found
    return Trail(_events(rows, since, regions), len(urls), tuple(unreadable))


def look_up_events(
    access: Access = Access(),
    regions: Sequence[str] = (),
    since: datetime | None = None,
) -> Trail:
    """Ask CloudTrail for the calls of the last 90 days, with LookupEvents.

    Args:
        access: AWS profile.
        regions: which to ask; by default the profile's or the environment's.
        since: only calls at or after this.

    Raises:
        UsageError: when no region is known.
        StorageError: when CloudTrail cannot be asked: it needs the right cloudtrail:LookupEvents.
    """
    rows: list[dict[str, Any]] = []
    chosen = {} if since is None else {"StartTime": since}
    for region in wanted_regions(access, regions):
        what = f"The events of CloudTrail in {region} cannot be looked up"
        with refusals(what, "cloudtrail:LookupEvents"):
            pages = client("cloudtrail", region, access).get_paginator("lookup_events")
            for name in sorted(_NAMES):
                wanted = [{"AttributeKey": "EventName", "AttributeValue": name}]
                for page in pages.paginate(LookupAttributes=wanted, **chosen):
                    rows += _rows(json.dumps({"Events": page["Events"]}, default=str).encode())
    return Trail(_events(rows, since, ()))


def _keep(since: datetime | None, regions: Sequence[str]) -> Keep:
    """Which folders of a trail can hold what is wanted, by their paths."""

    def keep(folder: str) -> bool:
        found = _FOLDER.search(folder)
        if found is None:
            return True
        if found["kind"] != "CloudTrail":
            return False
        if found["region"] and regions and found["region"] not in regions:
            return False
        if since is None or not found["year"]:
            return True
        last = (int(found["year"]), int(found["month"] or 12), int(found["day"] or 31))
        return last >= (since.year, since.month, since.day)

    return keep


def _wanted(url: str, since: datetime | None) -> bool:
    stamp = _STAMP.search(url)
    if stamp is None or since is None:
        return _FILE.search(url) is not None
    return stamp["stamp"] >= f"{since:%Y%m%dT%H%M}"


def _rows(body: bytes) -> Iterator[dict[str, Any]]:
    document = json.loads(body)
    if isinstance(document, dict) and isinstance(document.get("Events"), list):
        records = [json.loads(each["CloudTrailEvent"]) for each in document["Events"]]
    elif isinstance(document, dict) and isinstance(document.get("Records"), list):
        records = document["Records"]
    else:
        raise ValueError("it has neither Records nor Events of CloudTrail")
    for record in records:
        if record["eventName"] in WATCHED.get(record["eventSource"], ()):
            yield _row(record)


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    caller = record.get("userIdentity") or {}
    who = (caller.get(key) for key in ("arn", "invokedBy", "principalId", "type"))
    asked, answered = record.get("requestParameters") or {}, record.get("responseElements") or {}
    named = [_text(asked.get(key)) for key in ("bucketName", "logGroupName")]
    ids = _IDS.findall(json.dumps([asked, answered]))
    return {
        "event_time": parse_time(record["eventTime"], datetime.now(UTC)),
        "event_name": record["eventName"],
        "account_id": _text(record.get("recipientAccountId") or caller.get("accountId")),
        "region": _text(record.get("awsRegion")),
        "who": _text(next(filter(None, who), None)),
        "source_address": _text(record.get("sourceIPAddress")),
        "user_agent": _text(record.get("userAgent")),
        "error_code": _text(record.get("errorCode")),
        "resources": list(dict.fromkeys([*filter(None, named), *ids])),
        "event_id": _text(record.get("eventID")),
    }


def _text(value: Any) -> str | None:
    """A value that the caller may have chosen, as text that a frame can hold."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()


def _events(
    rows: Sequence[Mapping[str, Any]], since: datetime | None, regions: Sequence[str]
) -> pl.DataFrame:
    """The rows in order, an event that two trails deliver once."""
    events = pl.DataFrame(rows, schema=EVENTS).with_row_index("place")
    same = pl.coalesce("event_id", pl.col("place").cast(pl.String))
    if since is not None:
        events = events.filter(pl.col("event_time") >= since)
    if regions:
        events = events.filter(pl.col("region").is_in(regions))
    return (
        events.unique(same, keep="first", maintain_order=True)
        .sort("event_time", "place")
        .drop("place")
    )


def called(event: Mapping[str, Any]) -> str:
    """Who called what from where with what and when, in words, of a row of ``EVENTS``."""
    words = [f"{event['event_name']} by {event['who'] or 'somebody'}"]
    if event["source_address"]:
        words.append(f"from {event['source_address']}")
    words.append(f"at {event['event_time']:%Y-%m-%d %H:%M:%S} UTC")
    if event["user_agent"]:
        words.append(f"with {event['user_agent']}")
    if event["error_code"]:
        words.append(f"was refused: {event['error_code']}")
    return " ".join(words)
