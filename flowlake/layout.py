"""The grammar of names: what an object's key says of its records, and where the lake puts them.

Keys of flow logs in S3 (Amazon VPC User Guide, "Flow log files")::

    [prefix/]AWSLogs/[o-…/]<account>/vpcflowlogs/<region>/YYYY/MM/DD/[HH/]
        <account>_vpcflowlogs_<region>_<fl-…>_YYYYMMDDTHHMMZ_<hash>.log.gz

The Hive-compatible form spells the folders ``aws-account-id=…/aws-service=…/aws-region=…/
year=…/month=…/day=…/[hour=…/]``; an older page of the guide has ``service=…``. Parquet ends in
``.log.parquet``. The file name is the same in all, so the file name alone decides; the folders
only steer the listing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import quote

from flowlake.window import Window

UNKNOWN = "unknown"
"""The partition value where neither the record nor the key says better."""

FILE_NAME = re.compile(
    r"(?:^|[^0-9])(?P<account_id>[0-9]{12})_vpcflowlogs_(?P<region>[a-z0-9-]+)"
    r"_(?P<flow_log_id>fl-[0-9a-z]+)_(?P<slot>[0-9]{8}T[0-9]{4})Z_[^_/]+$"
)

PARTITION_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What an ``account_id`` or ``region`` must look like to become a folder of the lake."""


@dataclass(frozen=True, slots=True)
class ObjectName:
    """What an object's file name says: a key that is not AWS's own says nothing (all None).

    ``slot`` is the time stamp in the name, UTC: the records inside end in the five minutes
    that start there (AWS's example), so it prunes listings but never dates a record.
    """

    account_id: str | None = None
    region: str | None = None
    flow_log_id: str | None = None
    slot: datetime | None = None


def parse_key(key: str) -> ObjectName:
    """Read account, region, flow log id and time slot from an object's key or path."""
    match = FILE_NAME.search(key)
    if match is None:
        return ObjectName()
    try:
        slot = datetime.strptime(match["slot"], "%Y%m%dT%H%M").replace(tzinfo=UTC)
    except ValueError:
        return ObjectName()
    return ObjectName(match["account_id"], match["region"], match["flow_log_id"], slot)


def object_key(
    account_id: str,
    region: str,
    flow_log_id: str,
    slot: datetime,
    digest: str,
    *,
    prefix: str = "",
) -> str:
    """The key AWS gives a text flow log object, in the default (not Hive) layout."""
    day = f"{slot:%Y/%m/%d}"
    name = f"{account_id}_vpcflowlogs_{region}_{flow_log_id}_{slot:%Y%m%dT%H%M}Z_{digest}.log.gz"
    return f"{prefix}AWSLogs/{account_id}/vpcflowlogs/{region}/{day}/{name}"


def hive_key(key: str) -> str:
    """The key of the same object where Hive-compatible prefixes and per-hour folders are chosen.

    Args:
        key: one of ``object_key``.
    """
    prefix, _, below = key.partition("AWSLogs/")
    name = parse_key(below)
    return (
        f"{prefix}AWSLogs/aws-account-id={name.account_id}/aws-service=vpcflowlogs/"
        f"aws-region={name.region}/{name.slot:year=%Y/month=%m/day=%d/hour=%H}/"
        + below.rpartition("/")[2]
    )


def partition_path(values: Mapping[str, str | date]) -> str:
    """The lake's Hive folder for partition values, in their order: ``date=…/region=…``."""
    return "/".join(f"{column}={quote(str(value), safe='')}" for column, value in values.items())


FOLDER = re.compile(
    r"/AWSLogs/(?:o-[a-z0-9]+/)?(?:aws-account-id=)?(?P<account_id>[0-9]{12})/"
    r"(?:(?:aws-)?(?:service=)?vpcflowlogs/(?:(?:aws-region=)?(?P<region>[a-z]+(?:-[a-z]+)+-[0-9]+)/"
    r"(?:(?:year=)?(?P<year>[0-9]{4})/(?:(?:month=)?(?P<month>[0-9]{2})/"
    r"(?:(?:day=)?(?P<day>[0-9]{2})/)?)?)?)?)?"
)


def may_hold(folder: str, wanted: Window) -> bool:
    """Whether objects of the window can lie below a folder, by what its path says.

    The day folders hold the objects whose names carry that day's slots; a folder that is not
    AWS's own may hold anything.
    """
    match = FOLDER.search(folder)
    if match is None:
        return True
    if wanted.accounts and match["account_id"] not in wanted.accounts:
        return False
    if wanted.regions and match["region"] and match["region"] not in wanted.regions:
        return False
    if not match["year"]:
        return True
    year, month, day = (int(match[part] or 0) for part in ("year", "month", "day"))
    first = (year, month or 1, day or 1)
    last = (year, month or 12, day or 31)
    since, until = wanted.since, wanted.until
    return (since is None or last >= (since.year, since.month, since.day)) and (
        until is None or first <= (until.year, until.month, until.day)
    )
