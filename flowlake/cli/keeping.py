"""Commands that keep a lake: convert, inspect, status, verify."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowlake.cli.alarms import FOUND, check, told
from flowlake.cli.completing import PARTITIONS, one_of
from flowlake.cli.options import (
    AccountOption,
    FieldsOption,
    FormatOption,
    LakeOption,
    PayerOption,
    ProfileOption,
    RegionOption,
    SinceOption,
    UntilOption,
    access,
    chosen_format,
    complain,
    note,
    opened_lake,
    say,
    write,
)
from flowlake.cli.tending import compacted
from flowlake.errors import UsageError, visible

if TYPE_CHECKING:
    import polars as pl

    from flowlake.converting import Report
    from flowlake.estimating import Estimate
    from flowlake.rendering import Format
    from flowlake.verifying import Verification


SHOWN = 200
"""Characters of a rejected line on a screen; the other formats have all that was kept."""


def convert(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Folders, files or s3://BUCKET/PREFIX, with wildcards if quoted; "
            "cloudwatch://LOG-GROUP?region=REGION; - for standard input.",
        ),
    ] = None,
    objects_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A list of objects: lines, an S3 Inventory, or S3 event notifications.",
        ),
    ] = None,
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes [default: one a core].")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Stay below it, all processes together [default: half of it all]."
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Convert on the workers of a Dask scheduler, such as tcp://HOST:8786; they must "
            "reach sources and lake as this machine does.",
        ),
    ] = None,
    partition_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="For a new lake: date, date,region or date,region,account_id.",
            autocompletion=one_of(*PARTITIONS),
        ),
    ] = None,
    fields: FieldsOption = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Read unreadable and skipped objects again.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a line is rejected.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is and what is new.")
    ] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Merge small files afterwards: `flowlake compact`.")
    ] = False,
    alarms: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Evaluate these rules afterwards: `flowlake alarms run`."
        ),
    ] = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Convert what is new in SOURCE into the lake, exactly once.

    --since, --until, --account and --region choose objects by their own names: the time stamp in
    a name (last modified, if the name has none), the account and the region. Run it again at any
    time: only new and changed objects are read. Interrupted or cut off, it goes on where it was.

    Exit codes: 0 done; 1 an object could not be read; 2 wrong usage; 3 an alarm of --alarms found
    something.

    Examples:
        flowlake convert s3://my-flow-logs/AWSLogs/ --lake s3://my-lake/flows
        flowlake convert sample-bucket --dry-run
        flowlake convert 's3://my-flow-logs/AWSLogs/*/vpcflowlogs/' --since 7d
        flowlake convert 'cloudwatch:///vpc/flow-logs?region=eu-west-1'
        flowlake convert s3://my-flow-logs/ --compact --alarms alarms.toml
    """
    from flowlake import converting, estimating, planning
    from flowlake.dask import dask_executor
    from flowlake.progress import ProgressBar
    from flowlake.rendering import compaction_text

    chosen = chosen_format(style)
    if dask is not None and workers is not None:
        raise UsageError("--workers counts processes of this machine: leave it out with --dask.")
    if dask is not None and "-" in (sources or []):
        raise UsageError("Standard input is converted on this machine: leave out --dask.")
    given: dict[str, Any] = {
        "lake": lake,
        "since": since,
        "until": until,
        "account": account,
        "region": region,
        "retry": retry,
        "objects_from": objects_from,
        "access": access(profile, request_payer),
    }
    if alarms is not None:
        check(alarms, given["access"])
    by = None if partition_by is None else partition_by.split(",")
    with nullcontext() if dask is None else dask_executor(dask) as executor:
        if dry_run:
            listing, new = planning.plan(*(sources or []), **given)
            cores = workers or converting.threads(executor) or converting.cores()
            found = estimating.estimate(
                listing, new, lake=lake, cores=cores, partition_by=by, access=given["access"]
            )
            _show_plan(new, found, chosen)
            return
        with ProgressBar() as tell:
            report = converting.convert(
                *(sources or []),
                fields=fields,
                workers=workers,
                memory=memory,
                executor=executor,
                partition_by=by,
                progress=tell,
                **given,
            )
    _show_report(report, lake, chosen)
    failed: object = report.failures or report.unreadables or (strict and report.rejected)
    if compact and report.listed:
        merged = compacted(lake, given["access"])
        (say if chosen == "table" else note)(compaction_text(merged, lake))
        failed = failed or merged.failures
    found_any = bool(alarms and report.listed) and told(str(alarms), lake, profile, request_payer)
    raise typer.Exit(1 if failed else FOUND if found_any else 0)


def status(
    lake: LakeOption = "lake",
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Sum up what the lake holds, and what could not be read.

    It reads the log and the ledger, and no data file.

    Examples:
        flowlake status
        flowlake status --lake s3://my-lake/flows --format json
    """
    import polars as pl

    from flowlake.rendering import facts_text
    from flowlake.status import rejects

    chosen = chosen_format(style)
    opened = opened_lake(lake, profile, request_payer)
    found = asdict(opened.status())
    if chosen == "table":
        say(facts_text(found))
        if found["small_files"]:
            say(
                f"\n{found['small_files']:,} small files can be merged into "
                f"{found['small_files_into']:,}: flowlake compact --lake {lake}"
            )
        if found["unreadable"]:  # their reasons alone: there may be millions of rejected lines
            say("\nObjects that could not be read:")
            unread = rejects(opened.tables).filter(pl.col("line_number").is_null())
            write(unread.select("url", "reason").sort("url").collect(), chosen)
        if found["skipped"]:
            say("\nSkipped, because they are no flow logs:")
            ledger = opened.tables.ledger("object_id", "replaces", "state", "shape", "url")
            live = ledger.join(ledger, left_on="object_id", right_on="replaces", how="anti")
            kinds = (
                live.filter(pl.col("state") == "skipped")
                .group_by("shape")
                .agg(objects=pl.len(), such_as=pl.col("url").min())
                .sort("objects", "shape", descending=[True, False])
            )
            write(kinds, chosen)
    else:
        flat = {k: " ".join(v) if isinstance(v, (tuple, list)) else v for k, v in found.items()}
        write(pl.DataFrame([flat]), chosen)


def inspect(
    place: Annotated[
        str,
        typer.Argument(metavar="OBJECT", help="A file or s3://BUCKET/KEY; - is standard input."),
    ],
    fields: FieldsOption = None,
    rows: Annotated[
        int, typer.Option(min=0, metavar="N", help="First records and rejected lines to show.")
    ] = 5,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Say what one object is: its shape, fields, records and rejects.

    It is read to its end, as a conversion would read it. Exits 1 if it is no readable flow log.

    Examples:
        flowlake inspect flow.log.gz
        flowlake inspect s3://my-flow-logs/odd.log.gz --rows 20
        flowlake inspect - --fields 'srcaddr dstaddr action' < records.txt
    """
    import polars as pl

    from flowlake import inspecting
    from flowlake.rendering import facts_text

    chosen = chosen_format(style)
    found = inspecting.inspect(
        place, fields=fields, rows=rows, access=access(profile, request_payer)
    )
    facts = {
        name: value
        for name in found.__slots__
        if not isinstance(value := getattr(found, name), pl.DataFrame)
    }
    if chosen == "table":
        empty = (None, ()) if found.lines else (None, (), 0)
        say(facts_text({name: value for name, value in facts.items() if value not in empty}))
        rejects = found.rejects.with_columns(pl.col("text").str.slice(0, SHOWN))
        for title, frame in (("First records", found.first_rows), ("Rejected", rejects)):
            if frame.height:
                say(f"\n{title}:")
                write(
                    frame[[each.name for each in frame if each.null_count() < frame.height]], chosen
                )
    else:
        lists = {name: list(v) if isinstance(v, tuple) else v for name, v in facts.items()}
        whole = pl.DataFrame([lists]).with_columns(
            pl.Series("first_rows", [found.first_rows.to_dicts()]),
            pl.Series("rejects", [found.rejects.to_dicts()]),
        )
        write(whole, chosen)
    raise typer.Exit(0 if found.state == "flow log" else 1)


def verify(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="What to list [default: the ledger's sources]."),
    ] = None,
    lake: LakeOption = "lake",
    grace: Annotated[
        str, typer.Option(metavar="AGE", help="Objects younger than this may still be coming.")
    ] = "15m",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    by_day: Annotated[
        bool, typer.Option("--by-day", help="Show each account, region and day, not the gaps.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read raw objects again and compare every value.")
    ] = False,
    sample: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="How many objects --deep reads again [default: 100]."),
    ] = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Prove that listing, ledger and lake agree; print every gap.

    Raw objects that have expired from the bucket are reported and are no gap. Exits 1 if there is
    a gap.

    Examples:
        flowlake verify
        flowlake verify s3://my-flow-logs/AWSLogs/ --since 7d --by-day
        flowlake verify --deep --sample 500
    """
    from flowlake import verifying
    from flowlake.progress import ProgressBar
    from flowlake.window import parse_age

    chosen = chosen_format(style)
    with ProgressBar() if deep else nullcontext() as tell:
        found = verifying.verify(
            *(sources or []),
            lake=lake,
            grace=parse_age(grace),
            since=since,
            until=until,
            account=account,
            region=region,
            deep=_to_reread(deep, sample),
            progress=tell,
            access=access(profile, request_payer),
        )
    _show_verification(found, by_day, chosen)
    raise typer.Exit(1 if found.gaps.height else 0)


def _to_reread(deep: bool, sample: str | None) -> "int | Literal['all'] | None":
    if not deep:
        if sample is not None:
            raise UsageError("--sample says how many objects --deep reads again: add --deep.")
        return None
    if sample == "all":
        return "all"
    if sample is not None and (not sample.isdecimal() or int(sample) == 0):
        raise UsageError(f"--sample is a number of objects, or all, not {sample!r}.")
    return int(sample or 100)


def _show_verification(found: "Verification", by_day: bool, style: "Format") -> None:
    from flowlake.rendering import some

    gaps = found.gaps.height
    if by_day:
        write(_without_zeros(found.days) if style == "table" else found.days, style)
    elif style != "table":
        write(found.gaps, style)
    elif gaps:
        if found.differing_days.height:
            write(_without_zeros(found.differing_days), style)
            say("")
        write(found.gaps, style)
    note(
        f"{some(found.listed, 'object')} listed, {found.objects:,} in the ledger, "
        f"{some(found.rows, 'row')} in {some(found.files, 'file')}; {found.expired:,} expired, "
        f"{found.young:,} too young to miss, {found.unreadable:,} unreadable, "
        f"{found.skipped:,} skipped" + (f", {found.removed:,} removed." if found.removed else ".")
    )
    if found.reread is not None:
        note(f"{some(found.reread, 'object')} read again.")
    note(f"{some(gaps, 'gap')}." if gaps else "No gap: all of it agrees.")


def _without_zeros(days: "pl.DataFrame") -> "pl.DataFrame":
    """The days for a screen: without the counts that are zero on all of them."""
    kept = {"account_id", "region", "date", "listed", "converted", "rows", "lake_rows"}
    return days.select(c for c in days if c.name in kept or (c != 0).any())


def _show_plan(new: "pl.DataFrame", found: "Estimate", style: "Format") -> None:
    import polars as pl

    from flowlake.planning import DAY
    from flowlake.rendering import estimate_text, size, some

    days = (
        new.group_by(DAY, "account_id", "region")
        .agg(objects=pl.len(), bytes=pl.col("size").sum(), changed=pl.col("replaces").count())
        .sort("date", "account_id", "region", nulls_last=True)
    )
    if style in ("table", "csv"):
        write(days, style)
    else:
        facts = {name: getattr(found, name) for name in found.__slots__}
        facts["partition_by"] = ",".join(found.partition_by)
        frames = {"layouts": found.layouts.to_dicts(), "days": days.to_dicts()}
        write(pl.DataFrame([{**facts, **frames}]), style)
    note(
        f"{some(found.listed, 'object')} ({size(found.listed_bytes)}) listed, "
        f"{found.objects:,} ({size(found.bytes)}) to convert."
    )
    if style == "table" and found.listed:
        say("")
        write(found.layouts, style)
        note(estimate_text(found))


def _show_report(report: "Report", lake: str, style: "Format") -> None:
    import polars as pl

    from flowlake.rendering import report_text

    for url, reason in (*report.failures, *report.unreadables):
        complain(visible(f"could not read {url}: {reason}"))
    if style != "table":
        facts = asdict(report)
        for name in ("failures", "unreadables", "skipped"):
            facts[name] = len(facts[name])
        write(pl.DataFrame([facts]), style)
        return
    say(report_text(report, lake))
