"""Commands that keep a lake: convert, status, verify, and a sample to try them on."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowlake.cli.options import (
    AccountOption,
    FormatOption,
    LakeOption,
    PayerOption,
    ProfileOption,
    RegionOption,
    SinceOption,
    UntilOption,
    access,
    chosen_format,
    note,
    opened_lake,
    say,
    write,
)

if TYPE_CHECKING:
    import polars as pl

    from flowlake.converting import Report
    from flowlake.rendering import Format


def convert(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Folders, files or s3://BUCKET/PREFIX, with wildcards if quoted; - for "
            "standard input.",
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
    partition_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS", help="For a new lake: date, date,region or date,region,account_id."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a line is rejected.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is and what is new.")
    ] = False,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Convert what is new in SOURCE into the lake, exactly once.

    --since, --until, --account and --region choose objects by their own names: the time stamp in
    a name (last modified, if the name has none), the account and the region. Run it again at any
    time: only new and changed objects are read.
    """
    from flowlake import converting, planning
    from flowlake.progress import ProgressBar

    chosen = chosen_format(style)
    given: dict[str, Any] = {
        "lake": lake,
        "since": since,
        "until": until,
        "account": account,
        "region": region,
        "objects_from": objects_from,
        "access": access(profile, request_payer),
    }
    if dry_run:
        listing, new = planning.plan(*(sources or []), **given)
        _show_plan(listing, new, chosen)
        return
    with ProgressBar() as tell:
        report = converting.convert(
            *(sources or []),
            workers=workers,
            partition_by=None if partition_by is None else partition_by.split(","),
            progress=tell,
            **given,
        )
    _show_report(report, lake, chosen)
    failed = report.failures or report.unreadables or (strict and report.rejected)
    raise typer.Exit(1 if failed else 0)


def status(
    lake: LakeOption = "lake",
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Sum up what the lake holds, and what could not be read."""
    import polars as pl

    from flowlake.rendering import facts_text

    chosen = chosen_format(style)
    opened = opened_lake(lake, profile, request_payer)
    found = asdict(opened.status())
    if chosen == "table":
        say(facts_text(found))
        unread = opened.rejects().filter(pl.col("line_number").is_null())
        if unread.height:
            say("\nObjects that could not be read:")
            write(unread.select("url", "reason"), chosen)
    else:
        flat = {k: " ".join(v) if isinstance(v, (tuple, list)) else v for k, v in found.items()}
        write(pl.DataFrame([flat]), chosen)


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
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Prove that listing, ledger and lake agree; print every gap and exit 1 if they do not.

    Raw objects that have expired from the bucket are reported and are no gap.
    """
    from flowlake import verifying
    from flowlake.rendering import some
    from flowlake.window import parse_age

    chosen = chosen_format(style)
    found = verifying.verify(
        *(sources or []),
        lake=lake,
        grace=parse_age(grace),
        since=since,
        until=until,
        account=account,
        region=region,
        access=access(profile, request_payer),
    )
    if chosen != "table" or found.gaps.height:
        write(found.gaps, chosen)
    note(
        f"{some(found.listed, 'object')} listed, {found.objects:,} in the ledger, "
        f"{some(found.rows, 'row')} in {some(found.files, 'file')}; {found.expired:,} expired, "
        f"{found.young:,} too young to miss, {found.unreadable:,} unreadable."
    )
    gaps = found.gaps.height
    note(f"{some(gaps, 'gap')}." if gaps else "No gap: all of it agrees.")
    raise typer.Exit(1 if found.gaps.height else 0)


def sample(
    target: Annotated[str, typer.Argument(metavar="DIR|s3://…", help="Where to put the bucket.")],
    seed: Annotated[int, typer.Option(help="The same seed makes the same bytes.")] = 7,
    hours: Annotated[int, typer.Option(min=1, help="How many hours it covers.")] = 4,
    records: Annotated[int, typer.Option(min=1, metavar="N", help="Records in each object.")] = 500,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
) -> None:
    """Make a small seeded sample bucket, laid out as AWS does."""
    from flowlake.rendering import size
    from flowlake.samples import write_sample
    from flowlake.storage import canonical, open_storage

    place = canonical(target)
    made = write_sample(
        open_storage(place, access(profile, request_payer)),
        prefix=f"{place}/",
        seed=seed,
        hours=hours,
        records_per_object=records,
    )
    note(f"{made.objects:,} objects with {made.records:,} records, {size(made.bytes)}: {place}")


def _show_plan(listing: "pl.DataFrame", new: "pl.DataFrame", style: "Format") -> None:
    import polars as pl

    from flowlake.rendering import size, some

    stamp = pl.coalesce("slot", "last_modified").dt.date()
    days = (
        new.group_by(date=stamp, account_id="account_id", region="region")
        .agg(objects=pl.len(), bytes=pl.col("size").sum(), changed=pl.col("replaces").count())
        .sort("date", "account_id", "region", nulls_last=True)
    )
    write(days, style)
    note(
        f"{some(listing.height, 'object')} ({size(int(listing['size'].sum()))}) listed, "
        f"{new.height:,} ({size(int(new['size'].sum()))}) to convert."
    )


def _show_report(report: "Report", lake: str, style: "Format") -> None:
    import polars as pl

    from flowlake.rendering import report_text

    for url, reason in (*report.failures, *report.unreadables):
        note(f"could not read {url}: {reason}")
    if style != "table":
        facts = asdict(report)
        facts["failures"], facts["unreadables"] = len(report.failures), len(report.unreadables)
        write(pl.DataFrame([facts]), style)
        return
    say(report_text(report, lake))
