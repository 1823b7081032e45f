"""Whether the setup is right: flow logs that deliver, serve, cover, and are as approved."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from flowlake.aws import Access, account_of, wanted_regions
from flowlake.describing import described, described_networks
from flowlake.errors import StorageError, UsageError
from flowlake.lake import open_lake
from flowlake.rendering import some
from flowlake.setup.advice import advice, advise
from flowlake.setup.arrivals import deliveries, newest_there, received, stale
from flowlake.setup.baseline import Region, drift, read_baseline, save_baseline
from flowlake.setup.flow_logs import described_flow_logs
from flowlake.setup.serving import lacking, unlike
from flowlake.setup.trails import HISTORY, Trail, called, look_up_events, read_trail
from flowlake.setup.watching import idle, left_behind, overlapping, place_of, unrecorded
from flowlake.window import parse_time


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found."""

    flow_logs: pl.DataFrame
    """Those that were checked: of ``flowlake.setup.flow_logs.FLOW_LOGS``."""
    advice: pl.DataFrame
    """What there is to say, the gravest first: of ``flowlake.setup.advice.ADVICE``."""

    @property
    def exit_code(self) -> int:
        """What the command exits with: 3 for a drift from the baseline, else 1 for an error."""
        levels = {*self.advice["level"]}
        return 3 if "drift" in levels else 1 if "error" in levels else 0


def check_flow_logs(
    *flow_log_ids: str,
    lake: str | os.PathLike[str] | None = None,
    regions: Sequence[str] = (),
    baseline: str | os.PathLike[str] | None = None,
    save: str | os.PathLike[str] | None = None,
    trail: str | os.PathLike[str] | None = None,
    since: datetime | str | None = None,
    access: Access = Access(),
) -> Check:
    """Check the flow logs of an account: whether they deliver, serve, cover, and are as approved.

    Args:
        flow_log_ids: tell only of these; by default of all, and of what none of them records.
        lake: a lake that should have their records. What it lacks, and without a lake all, is
            looked for at the destinations.
        regions: which to look at; by default the profile's or the environment's.
        baseline: compare with the flow logs that this file has, of ``save``.
        save: write the flow logs as they are now to this file, as approved, after comparing.
        trail: a folder or ``s3://…`` with CloudTrail's files, that say who did it; by default
            CloudTrail is asked where there is a drift from the baseline.
        since: from when on CloudTrail's events are looked at; ISO 8601 or an age (UTC). By default
            as far back as its event history goes.
        access: AWS profile and requester-pays.

    Raises:
        UsageError: when no region is known, for what is no baseline, no place or no time, and for
            ids beside ``save``.
        LakeError: when there is no such lake.
        StorageError: when EC2, the lake, the baseline or the trail cannot be read.
    """
    if save is not None and flow_log_ids:
        raise UsageError("A baseline is of all flow logs: leave out the ids, or --save-baseline.")
    now = datetime.now(UTC)
    begin = parse_time(since or HISTORY, now)
    asked = wanted_regions(access, regions)
    approved = read_baseline(baseline, access) if baseline is not None else None
    there = open_lake(lake, access) if lake is not None else None
    flow_logs = described_flow_logs(access, asked)
    looked_at = _looked_at(access, asked)
    interfaces, _ = described(access, asked)
    networks = described_networks(access, asked)
    in_lake = received(there) if there is not None else None
    missed = flow_logs if in_lake is None else stale(flow_logs, in_lake, now)
    newest = newest_there(_chosen(missed, flow_log_ids), access, now)
    found = [
        *deliveries(flow_logs, newest, in_lake, now, idle(flow_logs, interfaces)),
        *lacking(_chosen(flow_logs, flow_log_ids)),
        *unlike(flow_logs),
        *unrecorded(flow_logs, networks, interfaces),
        *overlapping(flow_logs, networks, interfaces),
    ]
    if in_lake is not None:
        found += left_behind(in_lake, flow_logs, interfaces, looked_at)
    changes = drift(approved, flow_logs, looked_at) if approved is not None else None
    changed = changes is not None and changes.height > 0
    read, trouble = _trail(trail, access, asked, begin, needed=changed)
    if changes is not None:
        found += drifted(changes, read, trouble)
    if read is not None:
        found += of_trail(read, flow_logs, looked_at, changes)
    if flow_log_ids:
        found = list(_about(found, flow_log_ids, looked_at))
    if save is not None:
        save_baseline(save, flow_logs, looked_at, access)
    return Check(_chosen(flow_logs, flow_log_ids), advice(found))


def drifted(
    changes: pl.DataFrame, trail: Trail | None = None, trouble: str | None = None
) -> Iterator[dict[str, Any]]:
    """Tell what is not as the baseline has it, and who did it.

    Args:
        changes: of ``flowlake.setup.baseline.DRIFT``.
        trail: CloudTrail's events; None where they could not be had.
        trouble: why not.
    """
    events = trail.events.to_dicts() if trail is not None else []
    files = trail.files if trail is not None else None
    read = "its event history" if files is None else some(files, "file")
    for row in changes.iter_rows(named=True):
        now, before = row["flow_log_id"], row["flow_log_id_before"]
        words = {
            "added": f"It records {row['resource_id']}, and the baseline does not have it.",
            "deleted": f"The baseline has it for {row['resource_id']}; it is not there any more.",
            "made again": f"It records {row['resource_id']} in place of {before}, {_unlike(row)}.",
            "changed": f"It is not as the baseline has it: {_unlike(row)}.",
        }
        wanted = {"deleted": {"DeleteFlowLogs": before}, "added": {"CreateFlowLogs": now}}
        wanted["made again"] = {"DeleteFlowLogs": before, "CreateFlowLogs": now}
        calls = wanted.get(row["change"], {})
        who = [words[row["change"]]]
        for name, flow_log_id in calls.items():
            done = [each for each in events if _did(each, name, flow_log_id)]
            who += [f"{called(each)}." for each in done]
            if not done and trail is not None:
                who.append(f"CloudTrail has no {name} of {flow_log_id} in {read}.")
        if calls and trouble:
            who.append(f"Who did it is not known: {trouble}.")
        yield advise(
            "drift",
            row["change"],
            row,
            " ".join(who),
            "Put it back as approved, or approve it with --save-baseline.",
            resource=now or before,
        )


_ENDING = ("DeleteBucket", "DeleteBucketPolicy", "DeleteLogGroup")
_FLOW_LOGS = ("CreateFlowLogs", "DeleteFlowLogs")


def of_trail(
    trail: Trail,
    flow_logs: pl.DataFrame,
    looked_at: Collection[Region],
    changes: pl.DataFrame | None = None,
) -> Iterator[dict[str, Any]]:
    """Tell of calls that a drift does not tell of.

    They are calls that were refused, calls on the buckets and log groups where flow logs deliver,
    and without a baseline those that made and deleted flow logs.

    Args:
        trail: CloudTrail's events.
        flow_logs: of ``flowlake.setup.flow_logs.FLOW_LOGS``.
        looked_at: the accounts and regions that were looked at.
        changes: of ``flowlake.setup.baseline.DRIFT``; None without a baseline.
    """
    destinations = {*flow_logs["log_group"].drop_nulls()}
    destinations |= {str(place_of(each)).split(":")[-1] for each in flow_logs["destination"]}
    for event in trail.events.iter_rows(named=True):
        of_flow_logs = event["event_name"] in _FLOW_LOGS
        named = [each for each in event["resources"] if each in destinations]
        if of_flow_logs and (event["account_id"], event["region"]) in looked_at:
            ids = [each for each in event["resources"] if each.startswith("fl-")]
            resource = next(iter([*ids, *event["resources"]]), event["event_name"])
        elif named:
            resource = named[0]
        else:
            continue
        why = f"{called(event)}."
        if event["error_code"]:
            yield advise("warning", "refused call", event, why, _LOOK, resource=resource)
        elif not of_flow_logs:
            level = "warning" if event["event_name"] in _ENDING else "note"
            yield advise(level, "destination", event, why, _LOOK, resource=resource)
        elif changes is None:
            yield advise("note", "call", event, why, resource=resource)
    for url, reason in trail.unreadable:
        nowhere = {"account_id": None, "region": None}
        why = f"This file of CloudTrail cannot be read: {reason}."
        yield advise("warning", "trail", nowhere, why, "Fetch it again.", resource=url)


_LOOK = "See that this was meant."


def _looked_at(access: Access, regions: Sequence[str]) -> list[Region]:
    return [(account_of(region, access), region) for region in regions]


def _chosen(flow_logs: pl.DataFrame, ids: Collection[str]) -> pl.DataFrame:
    return flow_logs.filter(pl.col("flow_log_id").is_in(list(ids))) if ids else flow_logs


def _about(
    found: Sequence[dict[str, Any]], ids: Sequence[str], looked_at: Sequence[Region]
) -> Iterator[dict[str, Any]]:
    """What is about these flow logs; one that is not there is an error."""
    told = [
        row
        for row in found
        if row["resource"] in ids
        or (row["level"] == "drift" and any(each in row["why"] for each in ids))
    ]
    yield from told
    words = " ".join(f"{row['resource']} {row['why']}" for row in told)
    for each in sorted(each for each in {*ids} if each not in words):
        regions = ", ".join(region for _, region in looked_at)
        yield advise(
            "error",
            "delivery",
            {"account_id": looked_at[0][0], "region": None},
            f"There is no such flow log in {regions}.",
            "See `aws ec2 describe-flow-logs`, or name its --region.",
            resource=each,
        )


def _trail(
    place: str | os.PathLike[str] | None,
    access: Access,
    regions: Sequence[str],
    since: datetime,
    *,
    needed: bool,
) -> tuple[Trail | None, str | None]:
    """CloudTrail's events, or why there are none."""
    if place is not None:
        return read_trail(place, access, since=since, regions=regions), None
    if not needed:
        return None, None
    try:
        return look_up_events(access, regions, since), None
    except StorageError as error:
        return None, str(error).rstrip(".")


def _did(event: Mapping[str, Any], name: str, flow_log_id: str) -> bool:
    done = event["event_name"] == name and event["error_code"] is None
    return done and flow_log_id in event["resources"]


def _unlike(row: Mapping[str, Any]) -> str:
    if not row["differences"]:
        return "as it was"
    return "; ".join(
        f"{each['what']} was {each['before'] or 'nothing'}, is {each['now'] or 'nothing'}"
        for each in row["differences"]
    )
