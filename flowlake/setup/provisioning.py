"""Flow logs made and ended: what would be created, as a value; then CreateFlowLogs, DeleteFlowLogs.

What is recorded to the same place already is found first, on the resource itself or on what it lies
in: a record that is written twice is counted twice.
"""

import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from flowlake.aws import Access, cause_of, client, refusals, wanted_regions
from flowlake.errors import UsageError
from flowlake.setup.covering import LOOKING, Existing, existing, interfaces, lies_in
from flowlake.setup.flow_logs import batches, destination_place, flow_logs_in
from flowlake.setup.recording import Parameters, Recording, requests

OUTCOMES = pl.Schema(
    {
        "resource_id": pl.String(),
        "outcome": pl.String(),
        "flow_log_id": pl.String(),
        "detail": pl.String(),
    }
)
"""A row is a resource, or a flow log, and what became of it.

``outcome`` is ``created``; ``exists``, where a flow log of this resource or of what it lies in
records the same traffic to the same place; ``differs``, where one does but not as asked;
``deleted``; or ``failed``. ``detail`` says why, or how it differs. ``resource_id`` is null where
EC2 does not say yet which resource a new flow log is of.
"""

_IDS_A_DELETION = 1_000
"""Flow logs that one DeleteFlowLogs may name."""

_MAKING = (
    "ec2:CreateFlowLogs, logs:CreateLogDelivery, with tags ec2:CreateTags, with a role "
    "iam:PassRole, and for the fields of ECS, which --version 5 leaves out, ecs:List…: `flowlake "
    "setup policy setup` prints them"
)
_ENDING = "ec2:DeleteFlowLogs and logs:DeleteLogDelivery"


@dataclass(frozen=True, slots=True)
class FlowLogPlan:
    """What would be created, and what is there."""

    region: str | None
    """None if nobody said which; EC2 was not asked then."""
    requests: tuple[Parameters, ...]
    """The calls of CreateFlowLogs."""
    existing: tuple[Existing, ...]
    """What is not created, since it would be recorded twice."""
    place: str
    """Where records will be, as `flowlake convert` takes it."""


def plan_flow_logs(
    resources: Iterable[str],
    recording: Recording,
    *,
    region: str | None = None,
    access: Access = Access(),
    overlapping: bool = False,
    ask: bool = True,
) -> FlowLogPlan:
    """Plan flow logs of some resources; nothing is created.

    Args:
        resources: ids of VPCs, subnets, interfaces, instances (of which each interface is
            recorded), transit gateways and their attachments.
        recording: what to record, and where to.
        region: theirs; by default the profile's or the environment's.
        access: AWS profile.
        overlapping: create also what another flow log records to the same place already.
        ask: whether to ask EC2 what is there. Without, nothing is known to exist, and instances
            cannot be resolved; no credentials are needed then.

    Raises:
        UsageError: for ids or settings that cannot be.
        NothingThere: for a resource that is not there.
        StorageError: when EC2 cannot be asked.
    """
    wanted = list(dict.fromkeys(resources))
    if not wanted:
        raise UsageError("Name what to record: a VPC, a subnet, an interface, an instance, ….")
    instances = [each for each in wanted if re.fullmatch(r"i-[0-9a-z]+", each)]
    requests([each for each in wanted if each not in instances], recording, region)
    if not ask:
        if instances:
            raise UsageError(
                f"Which interfaces {instances[0]} has can only be asked of EC2: name them with "
                "--interface, or use credentials that may ask."
            )
        said = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return FlowLogPlan(said, requests(wanted, recording, said), (), recording.place(said))
    where = wanted_regions(access, [region] if region else [])[0]
    place = recording.place(where)
    with refusals(f"What there is in {where} cannot be listed", LOOKING):
        ec2 = client("ec2", where, access)
        of = {each: interfaces(ec2, each, where) for each in instances}
        wanted = list(dict.fromkeys(each for one in wanted for each in of.get(one, [one])))
        wider = lies_in(ec2, wanted, where)
        there = [each for each in flow_logs_in(ec2, where) if destination_place(each) == place]
    found = [] if overlapping else existing(wanted, wider, there, recording)
    left_out = {each.resource_id for each in found}
    kept = [each for each in wanted if each not in left_out]
    return FlowLogPlan(where, requests(kept, recording, where), tuple(found), place)


def create_flow_logs(plan: FlowLogPlan, access: Access = Access()) -> pl.DataFrame:
    """Create what was planned, and say what became of each resource: a frame of ``OUTCOMES``.

    A call that fails does not end the others. Each call has a token of its own, so that botocore's
    retries create nothing twice.

    Raises:
        UsageError: when no region is known.
        StorageError: when there are no credentials.
    """
    region = wanted_regions(access, [plan.region] if plan.region else [])[0]
    ec2 = client("ec2", region, access)
    rows: list[dict[str, Any]] = [outcome_of(each) for each in plan.existing]
    created: list[str] = []
    for call in plan.requests:
        try:
            answer = ec2.create_flow_logs(**call, ClientToken=str(uuid.uuid4()))
        except Exception as error:  # botocore makes its errors at run time
            why = _why(error, _MAKING)
            rows += [_failed(resource_id=each, detail=why) for each in call["ResourceIds"]]
        else:
            created += answer.get("FlowLogIds", [])
            for each in answer.get("Unsuccessful", []):
                rows.append(_failed(resource_id=each["ResourceId"], detail=_problem(each["Error"])))
    known = _resources_of(created, ec2, region)
    rows += [
        {"resource_id": known.get(each), "outcome": "created", "flow_log_id": each, "detail": None}
        for each in created
    ]
    return pl.DataFrame(rows, schema=OUTCOMES)


def delete_flow_logs(
    flow_log_ids: Iterable[str], *, region: str | None = None, access: Access = Access()
) -> pl.DataFrame:
    """Delete flow logs, and say what became of each: a frame of ``OUTCOMES``.

    What they delivered stays where it is.

    Raises:
        UsageError: for what is no id, and when no region is known.
        StorageError: when there are no credentials.
    """
    wanted = checked_ids(flow_log_ids)
    ec2 = client("ec2", wanted_regions(access, [region] if region else [])[0], access)
    failed: dict[str, str] = {}
    for ids in batches(wanted, _IDS_A_DELETION):
        try:
            answer = ec2.delete_flow_logs(FlowLogIds=ids)
        except Exception as error:  # botocore makes its errors at run time
            failed |= dict.fromkeys(ids, _why(error, _ENDING))
        else:
            for each in answer.get("Unsuccessful", []):
                failed[each["ResourceId"]] = _problem(each["Error"])
    rows = [
        _failed(flow_log_id=each, detail=failed[each])
        if each in failed
        else {"flow_log_id": each, "outcome": "deleted"}
        for each in wanted
    ]
    return pl.DataFrame(rows, schema=OUTCOMES)


def checked_ids(flow_log_ids: Iterable[str]) -> list[str]:
    """The ids of flow logs, each once.

    Raises:
        UsageError: for what is none.
    """
    wanted = list(dict.fromkeys(flow_log_ids))
    for each in wanted:
        if not re.fullmatch(r"fl-[0-9a-z]+", each):
            raise UsageError(f"{each!r} is no flow log: `flowlake setup list` shows their ids.")
    return wanted


def _resources_of(flow_log_ids: Sequence[str], ec2: Any, region: str) -> dict[str, str]:
    """Which resource each is of, as far as EC2 says so already."""
    if not flow_log_ids:
        return {}
    try:
        return {each["flow_log_id"]: each["resource_id"] for each in flow_logs_in(ec2, region)}
    except Exception:  # they are made all the same; botocore makes its errors at run time
        return {}


def outcome_of(there: Existing) -> dict[str, Any]:
    """What is not created, as a row of ``OUTCOMES``."""
    details = list(there.differences)
    if there.by != there.resource_id:
        same = "which this creates" if there.flow_log_id is None else "which it lies in"
        details.insert(0, f"recorded by {there.by}, {same}")
    return {
        "resource_id": there.resource_id,
        "outcome": "differs" if there.differences else "exists",
        "flow_log_id": there.flow_log_id,
        "detail": "; ".join(details) or None,
    }


def _failed(**known: str) -> dict[str, Any]:
    return {"outcome": "failed", **known}


def _why(error: Exception, rights: str) -> str:
    """What AWS says against a call as a whole, in words, and what to do."""
    answer = getattr(error, "response", {}).get("Error", {})
    return _problem(answer) if _advice(answer) else cause_of(error, rights)


def _problem(answer: Mapping[str, str]) -> str:
    """What AWS says against one resource of a call, in words, and what to do."""
    text = " ".join(answer.get("Message", "").split())[:300].rstrip(".")
    text = text or answer.get("Code", "AWS does not say why")
    advice = _advice(answer)
    return f"{text}: {advice}" if advice else text


def _advice(answer: Mapping[str, str]) -> str | None:
    text = f"{answer.get('Code', '')}: {answer.get('Message', '')}"
    return next((advice for pattern, advice in _ADVICE if re.search(pattern, text)), None)


_ADVICE = (
    (
        r"(?i)denied for LogDestination",
        "the bucket's policy must let AWS deliver, `flowlake setup policy bucket` prints it",
    ),
    (r"(?i)LogDestination.*does not exist|NoSuchBucket", "make the bucket, or correct --to"),
    (r"FlowLogAlreadyExists", "`flowlake setup list` shows it"),
    (
        r"(?<!Request)LimitExceeded",
        "delete flow logs that nobody needs (`flowlake setup list`), or ask AWS for a higher quota",
    ),
    (r"NotFound|does not exist", "check the id, --region and --profile"),
    (r"(?i)unknown field|LogFormat", "a lower --version leaves out what this region does not know"),
    (
        r"(?i)DeliverLogsPermissionArn|assume",
        "check --role, `flowlake setup policy cloudwatch` prints what it needs",
    ),
)
"""What AWS says when it creates or deletes no flow log, and what to do."""
