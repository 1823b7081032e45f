"""Commands that make flow logs, show them and end them: `flowlake setup enable, list, disable`."""

import re
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowlake.cli.options import (
    AskedRegionsOption,
    FormatOption,
    OutputOption,
    ProfileOption,
    access,
    chosen_format,
    complain,
    note,
    say,
    write,
)
from flowlake.errors import NothingThere, StorageError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from flowlake.setup.provisioning import FlowLogPlan
    from flowlake.setup.recording import Recording

RegionOption = Annotated[
    str | None, typer.Option(metavar="REGION", help="Where; by default AWS_REGION or the profile.")
]


_RECORDED = {
    "--vpc": ("vpc-", "a VPC"),
    "--subnet": ("subnet-", "a subnet"),
    "--interface": ("eni-", "a network interface"),
    "--instance": ("i-", "an instance"),
    "--transit-gateway": ("tgw-", "a transit gateway"),
    "--transit-gateway-attachment": ("tgw-attach-", "a transit gateway's attachment"),
}


def _ids(option: str, more: str = "") -> Any:
    begins, what = _RECORDED[option]
    return typer.Option(
        option, metavar="ID", help=f"Record {what}{more}, {begins}…; may be repeated."
    )


def enable(
    to: Annotated[
        str,
        typer.Option(metavar="PLACE", help="s3://BUCKET/PREFIX, or cloudwatch://GROUP."),
    ],
    vpc: Annotated[list[str] | None, _ids("--vpc")] = None,
    subnet: Annotated[list[str] | None, _ids("--subnet")] = None,
    interface: Annotated[list[str] | None, _ids("--interface")] = None,
    instance: Annotated[list[str] | None, _ids("--instance", " by its interfaces")] = None,
    transit_gateway: Annotated[list[str] | None, _ids("--transit-gateway")] = None,
    transit_gateway_attachment: Annotated[
        list[str] | None, _ids("--transit-gateway-attachment")
    ] = None,
    role: Annotated[
        str | None, typer.Option(metavar="ARN", help="The role that delivers to CloudWatch Logs.")
    ] = None,
    traffic: Annotated[
        str, typer.Option(metavar="all|accept|reject", help="Which traffic to record.")
    ] = "all",
    interval: Annotated[
        int, typer.Option(metavar="60|600", help="Seconds that a record may sum up.")
    ] = 60,
    fields: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Fields, '${version} ${srcaddr} …'; by default all but those of tags.",
        ),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Only the fields of a VPC's records of this version, such as 5."
        ),
    ] = None,
    tag_field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OF=KEY",
            help="Record a tag too: instance=KEY, interface=KEY or asg=KEY; may be repeated.",
        ),
    ] = None,
    file_format: Annotated[
        str, typer.Option(metavar="text|parquet", help="What AWS writes to S3.")
    ] = "text",
    hive: Annotated[
        bool, typer.Option("--hive", help="Keys in S3 name their parts: year=2026/month=01/….")
    ] = False,
    hourly: Annotated[bool, typer.Option("--hourly", help="A folder in S3 for each hour.")] = False,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The flow log's tag Name.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A tag of the flow log; may be repeated."),
    ] = None,
    overlapping: Annotated[
        bool,
        typer.Option(
            "--overlapping", help="Also where another flow log records the same to the same place."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the AWS CLI's commands; create nothing.")
    ] = False,
    region: RegionOption = None,
    profile: ProfileOption = None,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Create flow logs on VPCs, subnets, interfaces, instances or transit gateways.

    What is recorded to the same place already, of the resource itself or of what it lies in, is
    shown and not created again. Exit codes: 1 a flow log could not be created, 3 one that is there
    is not as asked.

    Examples:
        flowlake setup enable --vpc vpc-0a1 --to s3://my-flow-logs --hive --dry-run
        flowlake setup enable --subnet subnet-0a1 --to cloudwatch://flows --role $ROLE
    """
    from flowlake.setup.provisioning import create_flow_logs, plan_flow_logs

    chosen = chosen_format(style)
    if dry_run and (chosen != "table" or output is not None):
        raise UsageError("--dry-run prints commands: leave out --format and --output.")
    given = (vpc, subnet, interface, instance, transit_gateway, transit_gateway_attachment)
    resources = _checked(given)
    recording = _recording(
        name,
        tag or (),
        tag_field or (),
        to=to,
        traffic=traffic,
        interval=interval,
        fields=fields,
        version=version,
        file_format=file_format,
        hive=hive,
        hourly=hourly,
        role=role,
    )
    asked: dict[str, Any] = {"region": region, "access": access(profile, False)}
    if dry_run:
        try:
            plan = plan_flow_logs(resources, recording, overlapping=overlapping, **asked)
        except NothingThere:
            raise
        except StorageError as error:
            note(f"What is recorded already is not known. {error}")
            plan = plan_flow_logs(resources, recording, ask=False, **asked)
        _show_commands(plan, profile)
        return
    plan = plan_flow_logs(resources, recording, overlapping=overlapping, **asked)
    outcomes = create_flow_logs(plan, asked["access"])
    write(outcomes, chosen, output)
    (say if chosen == "table" else note)(_made(outcomes, plan))
    became = outcomes["outcome"].to_list()
    raise typer.Exit(1 if "failed" in became else 3 if "differs" in became else 0)


def list_(
    region: AskedRegionsOption = None,
    profile: ProfileOption = None,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """List the flow logs there are: of what, where to, and whether they are delivered.

    The table shows what is asked most; the other formats have every column.

    Examples:
        flowlake setup list --region eu-west-1 --region us-east-1
    """
    from flowlake.aws import wanted_regions
    from flowlake.rendering import some
    from flowlake.setup.flow_logs import described_flow_logs

    chosen = chosen_format(style)
    reach = access(profile, False)
    regions = wanted_regions(reach, region or ())
    found = described_flow_logs(reach, regions)
    if chosen != "table":
        write(found, chosen, output)
        return
    if found.height or output is not None:
        write(_in_short(found), chosen, output)
    counted = some(found.height, "flow log") if found.height else "No flow log"
    hint = "" if found.height else ": `flowlake setup enable --help` says how to make one"
    say(f"{counted} in {', '.join(regions)}{hint}.")


def disable(
    flow_log_ids: Annotated[
        list[str], typer.Argument(metavar="FLOW_LOG_ID...", help="As `setup list` shows them.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Delete flow logs, after showing them and asking. What they delivered stays.

    Exit codes: 1 one is not there or could not be deleted, or the answer was no.

    Examples:
        flowlake setup disable fl-0a1b2c3d4e5f60718
        flowlake setup disable fl-0a1b2c3d4e5f60718 --yes
    """
    from flowlake.aws import wanted_regions
    from flowlake.rendering import Format, some
    from flowlake.setup.flow_logs import described_flow_logs, destination_place
    from flowlake.setup.provisioning import checked_ids, delete_flow_logs

    wanted = checked_ids(flow_log_ids)
    if not yes and not _can_ask():
        raise UsageError("Nobody can be asked here: add --yes to delete them.")
    reach = access(profile, False)
    where = wanted_regions(reach, [region] if region else [])[0]
    known = described_flow_logs(reach, [where])
    found = known.filter(known["flow_log_id"].is_in(wanted))
    if missing := [each for each in wanted if each not in found["flow_log_id"]]:
        raise NothingThere(
            f"There is no flow log {missing[0]} in {where}: `flowlake setup list` shows what there "
            "is. Nothing was deleted."
        )
    write(_in_short(found), Format.table)
    if not yes and not typer.confirm(f"Delete {some(found.height, 'flow log')}?"):
        note("Nothing was deleted.")
        raise typer.Exit(1)
    outcomes = delete_flow_logs(wanted, region=where, access=reach)
    failed = outcomes.filter(outcomes["outcome"] == "failed")
    for row in failed.to_dicts():
        complain(f"flowlake: {row['flow_log_id']} was not deleted. {row['detail']}.")
    if gone := outcomes.height - failed.height:
        places = sorted({destination_place(each) for each in found.to_dicts()})
        say(
            f"{some(gone, 'flow log')} deleted. What was delivered stays in {', '.join(places)}, "
            "and the lake keeps what was converted."
        )
    raise typer.Exit(1 if failed.height else 0)


def _checked(given: Iterable[list[str] | None]) -> list[str]:
    """The ids of all options, each of the kind that its option is for."""
    ids = []
    for (option, (begins, what)), those in zip(_RECORDED.items(), given, strict=True):
        for each in those or ():
            if not re.fullmatch(f"{begins}[0-9a-z]+", each):
                raise UsageError(f"{option} takes the id of {what}, {begins}…, not {each!r}.")
            ids.append(each)
    return ids


def _recording(
    name: str | None, tags: Iterable[str], tag_fields: Iterable[str], **settings: Any
) -> "Recording":
    from flowlake.setup.recording import Recording

    named = dict(_pair("--tag", each) for each in tags)
    if name is not None:
        if "Name" in named:
            raise UsageError("--name is the tag Name: leave out one of the two.")
        named = {"Name": name, **named}
    carried: dict[str, list[str]] = {}
    for whose, key in (_pair("--tag-field", each) for each in tag_fields):
        carried.setdefault(whose, []).append(key)
    return Recording(tags=named, tag_fields=carried, **settings)


def _pair(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        form = "KEY=VALUE" if option == "--tag" else "OF=KEY, such as instance=Name"
        raise UsageError(f"{option} is written {form}, not {text!r}.")
    return key, value


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _show_commands(plan: "FlowLogPlan", profile: str | None) -> None:
    from flowlake.setup.provisioning import outcome_of
    from flowlake.setup.recording import aws_command

    for each in map(outcome_of, plan.existing):
        told = f"{each['flow_log_id'] or ''} {each['detail'] or ''}".strip()
        note(f"{each['resource_id']} {each['outcome']}: {told}")
    for call in plan.requests:
        say(aws_command(call, plan.region, profile))


def _made(outcomes: "pl.DataFrame", plan: "FlowLogPlan") -> str:
    """What became of it all, and what to do next."""
    became = outcomes["outcome"].to_list()
    counts = [(each, became.count(each)) for each in ("created", "exists", "differs", "failed")]
    lines = [", ".join(f"{count:,} {each}" for each, count in counts if count) + "."]
    if "differs" in became:
        lines.append(
            "A flow log cannot be changed: make another with --overlapping, then disable the one "
            "that differs."
        )
    if "failed" in became:
        lines.append("What failed can be tried again: what was created is not created twice.")
    if "created" in became:
        late = "10 minutes" if plan.place.startswith("s3:") else "5 minutes"
        lines += [
            f"AWS delivers about {late} after a record's interval, at its best effort. Then:",
            f"  flowlake setup check --region {plan.region}",
            f"  flowlake convert {shlex.quote(plan.place)} --lake lake",
        ]
    return "\n".join(lines)


def _in_short(found: "pl.DataFrame") -> "pl.DataFrame":
    """What is asked most, for a table."""
    import polars as pl

    from flowlake.setup.flow_logs import destination_place

    places = [destination_place(each) for each in found.to_dicts()]
    return found.select(
        *("flow_log_id", "name", "resource_id", "traffic_type"),
        pl.Series("delivers_to", places, pl.String),
        pl.col("fields").list.len().cast(pl.Int64),
        *("file_format", "max_aggregation_interval", "deliver_status", "deliver_error"),
    )
