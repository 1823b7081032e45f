"""A log group of CloudWatch Logs, read where it is: an hour of its events is an object.

An hour's ETag says how settled the hour was when it was listed. CloudWatch Logs takes events that
are up to 14 days old (PutLogEvents in AWS's API reference), so an hour is read again as it
settles: by every run until an hour after its end, then an hour, a day and 14 days after it. The
last reading is final, by AWS's own limit.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import polars as pl

from flowlake.aws import Access, client, explain
from flowlake.errors import NothingThere, StorageError, UsageError
from flowlake.storage.places import HOUR, LOG_GROUP, Keep

SETTLED = (
    (timedelta(hours=1), "1h"),
    (timedelta(hours=24), "24h"),
    (timedelta(days=14), "14d"),
)
"""How long after its end an hour is read again, and its ETag from then on."""

OLDEST_EVENT = timedelta(days=14)
"""The age up to which CloudWatch Logs takes an event (PutLogEvents)."""

LEAD = timedelta(hours=1)
"""How far before the making of its log group a flow log's first event may lie, with room: an
aggregation interval is ten minutes at most."""

PAGE_EVENTS = 10_000
"""Events asked for at once: FilterLogEvents gives no more, nor more than 1 MB."""

ATTEMPTS = 8
"""How often a request is made before it fails. AWS's knowledge centre names a quota of five calls
of FilterLogEvents a second for an account and region: being throttled is normal."""

_EVENT: dict[str, pl.DataType] = {
    "timestamp": pl.Int64(),
    "logStreamName": pl.String(),
    "eventId": pl.String(),
    "message": pl.String(),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

logger = logging.getLogger(__name__)


class LogGroup:
    """One log group, by botocore; it can only be read."""

    requests_in_flight = 4

    def __init__(self, place: str, access: Access) -> None:
        self._place = place
        self._group, self._region = _names(place)
        self._client = client("logs", self._region, access, retries="adaptive", attempts=ATTEMPTS)

    def list(self, prefix: str, keep: Keep | None = None) -> Iterator[pl.DataFrame]:  # noqa: ARG002
        """The hours from the group's first, or the first its retention keeps, to this one.

        No event is read, but for a look whether there are imported ones, older than the group.
        ``size`` is an estimate: the group's bytes, spread over its hours. ``last_modified`` is
        when the hour reached its ETag, for an open hour now.
        """
        now = _now()
        try:
            group = self._described()
            created = _EPOCH + timedelta(milliseconds=group["creationTime"])
            first = self._first(created, group.get("retentionInDays"), now)
        except Exception as error:
            self._explain(error)
        account = group["arn"].split(":")[4]
        base = f"{prefix}&account={account}&created={_stamp(created, 'milliseconds')}&hour="
        hours = pl.select(hour=pl.datetime_range(first, _hour(now), "1h", time_unit="us"))
        five_minutes = now.replace(minute=now.minute - now.minute % 5)
        etag, modified = pl.lit(f"open-{_stamp(five_minutes, 'minutes')}"), pl.lit(now)
        for after, level in SETTLED:
            at = pl.col("hour") + timedelta(hours=1) + after
            etag = pl.when(at <= now).then(pl.lit(level)).otherwise(etag)
            modified = pl.when(at <= now).then(at).otherwise(modified)
        yield hours.select(
            url=pl.lit(base) + pl.col("hour").dt.strftime("%Y-%m-%dT%HZ"),
            size=pl.lit(max(1, group.get("storedBytes", 0) // max(1, hours.height)), pl.Int64),
            etag=etag,
            last_modified=modified,
        )

    def _described(self) -> dict[str, Any]:
        """What DescribeLogGroups says of the group, and not of those whose names go on."""
        pages = self._client.get_paginator("describe_log_groups").paginate(
            logGroupNamePrefix=self._group
        )
        for group in pages.search("logGroups[]"):
            if group["logGroupName"] == self._group:
                return dict(group)
        raise NothingThere(f"Cannot read {self._place}: {_NOT_THERE}.")

    def _first(self, created: datetime, retention: int | None, now: datetime) -> datetime:
        """The first hour to list. One that will have begun to expire within an hour is not."""
        oldest, own = created - OLDEST_EVENT, created - LEAD
        if retention:
            kept = now - timedelta(days=retention) + timedelta(hours=2)
            oldest, own = max(oldest, kept), max(own, kept)
        oldest, own = _hour(oldest), _hour(own)
        if oldest < own and any(page["events"] for page in self._pages(oldest, own, 1)):
            return oldest
        return own

    def _pages(self, begin: datetime, end: datetime, limit: int) -> Iterable[dict[str, Any]]:
        """The events from ``begin`` on and before ``end``; AWS would include its ``endTime``."""
        pages: Iterable[dict[str, Any]] = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=self._group,
            startTime=_milliseconds(begin),
            endTime=_milliseconds(end) - 1,
            PaginationConfig={"PageSize": limit},
        )
        return pages

    def get(self, url: str, etag: str | None = None) -> bytes:  # noqa: ARG002
        """The messages of an hour's events, a line each, by time, log stream and event id.

        An event that is given twice is taken once; a line end within a message becomes a space.
        Events that came after ``etag`` was listed are there too.
        """
        match = HOUR.match(url)
        if match is None:
            raise StorageError(f"{url} is not an hour of a log group.")
        begin = datetime.fromisoformat(match["slot"]).replace(tzinfo=UTC)
        try:
            pages = self._pages(begin, begin + timedelta(hours=1), PAGE_EVENTS)
            events = pl.concat(pl.DataFrame(page["events"], schema=_EVENT) for page in pages)
        except Exception as error:
            self._explain(error)
        messages = (
            events.unique("eventId")
            .sort("timestamp", "logStreamName", "eventId")["message"]
            .str.replace_all(r"\r?\n|\r", " ")
        )
        return "\n".join(messages).encode()

    def put(self, url: str, body: Any) -> None:  # noqa: ARG002
        """Refused: FlowLake only reads log groups."""
        raise UsageError(f"Nothing can be written to {url}: FlowLake only reads log groups.")

    def delete(self, urls: Iterable[str]) -> None:  # noqa: ARG002
        """Refused: FlowLake only reads log groups."""
        raise UsageError(
            f"Nothing can be deleted in {self._place}: FlowLake only reads log groups."
        )

    def _explain(self, error: Exception) -> NoReturn:
        if isinstance(error, StorageError):
            raise error
        text = f"{type(error).__name__}: {error}"
        cause = next((cause for pattern, cause in _CAUSES if re.search(pattern, text)), None)
        raise StorageError(f"Cannot read {self._place}: {cause or explain(text)}.") from error


def formats_of(place: str, access: Access = Access()) -> tuple[str, ...]:
    """The formats of the flow logs that deliver to a log group, each once, in order.

    A format is EC2's ``LogFormat``, such as ``${version} ${account-id} ${interface-id}``. There is
    none if no flow log delivers there, or if these credentials may not ask EC2
    (``ec2:DescribeFlowLogs``).

    Raises:
        StorageError: when the profile does not exist or no credentials are found.
    """
    import botocore.exceptions

    group, region = _names(place)
    # a private network may not reach it
    ec2 = client("ec2", region, access, retries="adaptive", attempts=2)
    try:
        pages = ec2.get_paginator("describe_flow_logs").paginate(
            Filters=[{"Name": "log-group-name", "Values": [group]}]
        )
        return tuple(sorted(set(pages.search("FlowLogs[].LogFormat"))))
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        logger.info("EC2 does not tell the formats of the flow logs in %s: %s", place, error)
        return ()


def _names(place: str) -> tuple[str, str]:
    """The group and the region of a canonical place."""
    match = LOG_GROUP.fullmatch(place)
    if match is None or match["region"] is None:
        raise UsageError(f"{place!r} is no log group and region.")
    return match["group"], match["region"]


_NOT_THERE = (
    "there is no such log group: check its name, its region (cloudwatch://GROUP?region=REGION) and "
    "whose account these credentials are of"
)
_CAUSES: tuple[tuple[str, str], ...] = (
    (r"ResourceNotFound", _NOT_THERE),
    (
        r"AccessDenied|UnauthorizedOperation",
        "access is denied: these credentials need logs:DescribeLogGroups and logs:FilterLogEvents",
    ),
    (
        r"UnrecognizedClient|InvalidSignature|InvalidClientTokenId|SignatureDoesNotMatch",
        "the credentials are not accepted: check AWS_PROFILE, the access key and its secret",
    ),
    (
        r"Throttl|RequestLimitExceeded|ServiceUnavailable",
        f"CloudWatch Logs asks to slow down, and {ATTEMPTS} attempts did not help: run again "
        "later, or with fewer --workers",
    ),
    (
        r"^\w*(Connect|Timeout)",
        "CloudWatch Logs cannot be reached: check the network, the region and AWS_ENDPOINT_URL",
    ),
)


def _now() -> datetime:
    return datetime.now(UTC)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _stamp(moment: datetime, precision: str) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"
