"""Commands that tend a lake's files: compact, expire, vacuum."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from flowlake.cli.options import (
    FormatOption,
    LakeOption,
    PayerOption,
    ProfileOption,
    access,
    chosen_format,
    complain,
    note,
    say,
    write,
)

if TYPE_CHECKING:
    from flowlake.compacting import Compaction
    from flowlake.rendering import Format
    from flowlake.storage import Access


def compact(
    lake: LakeOption = "lake",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be merged.")
    ] = False,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Merge the small files that many runs leave behind.

    No answer changes. It may run at any time, also beside a conversion. What is merged is compared
    with what was there, value by value, before it takes its place. Files that are large enough are
    left alone, so run it as often as you like; once a day is plenty. The old files stay on the disk
    until `flowlake vacuum` removes them.

    Examples:
        flowlake compact --dry-run
        flowlake compact --lake s3://my-lake/flows
    """
    chosen = chosen_format(style)
    done = compacted(lake, access(profile, request_payer), dry_run=dry_run)
    if dry_run:
        _show_plan(done, chosen)
    else:
        _show_compaction(done, lake, chosen)
    raise typer.Exit(1 if done.failures else 0)


def expire(
    older_than: Annotated[
        str,
        typer.Option(metavar="AGE|DATE", help="The first date (UTC) to keep, or an age: 400d."),
    ],
    lake: LakeOption = "lake",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Remove the records of days that are older than wanted.

    They are removed by raw object, with its rejected lines, once its last record is old enough.
    The ledger remembers the object, so that it is not converted again while it still lies in the
    bucket; raw objects are never touched. It may run at any time. The files stay on the disk until
    `flowlake vacuum` removes them.

    Examples:
        flowlake expire --older-than 400d --dry-run
        flowlake expire --older-than 2025-01-01 --lake s3://my-lake/flows
    """
    from flowlake import expiring
    from flowlake.rendering import some

    chosen = chosen_format(style)
    gone = expiring.expire(
        lake, older_than=older_than, dry_run=dry_run, access=access(profile, request_payer)
    )
    if dry_run or chosen != "table":
        write(gone, chosen)
    rows, objects = int(gone["rows"].sum()), int(gone["objects"].sum())
    what = f"{some(rows, 'row')} of {some(objects, 'object')}"
    note(f"{what} to remove." if dry_run else f"Removed {what}.")


def vacuum(
    lake: LakeOption = "lake",
    retention: Annotated[
        str, typer.Option(metavar="AGE", help="Keep what was replaced or written since then.")
    ] = "7d",
    no_writers: Annotated[
        bool,
        typer.Option(
            "--no-writers",
            help="Nothing else works on the lake now: allow a retention of less than 7d.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be removed.")
    ] = False,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Remove files that were replaced, and those of runs cut off.

    A file stays as long as a reader or a converter that began within the retention may need it.
    Nothing is removed but Parquet files of the lake's tables, and what a killed process left
    unfinished in their logs.

    Examples:
        flowlake vacuum --dry-run
        flowlake vacuum --retention 3d --no-writers
    """
    from flowlake import vacuuming
    from flowlake.rendering import size, some
    from flowlake.window import parse_age

    chosen = chosen_format(style)
    found = vacuuming.vacuum(
        lake,
        retention=parse_age(retention),
        no_writers=no_writers,
        dry_run=dry_run,
        access=access(profile, request_payer),
    )
    if dry_run or chosen != "table":
        write(found, chosen)
    what = f"{some(found.height, 'file')} ({size(int(found['bytes'].sum()))})"
    note(f"{what} to remove." if dry_run else f"Removed {what}.")


def compacted(lake: str, reach: "Access", *, dry_run: bool = False) -> "Compaction":
    """Compact the lake behind a progress bar, and name what could not be read."""
    from flowlake import compacting
    from flowlake.progress import ProgressBar

    with ProgressBar("files") as tell:
        done = compacting.compact(lake, dry_run=dry_run, access=reach, progress=tell)
    for partition, reason in done.failures:
        complain(f"could not merge {partition}: {reason}")
    return done


def _show_plan(done: "Compaction", style: "Format") -> None:
    from flowlake.rendering import some

    plan = done.plan
    write(plan.filter(plan["to_merge"] > 0) if style == "table" else plan, style)
    note(
        f"{some(int(plan['files'].sum()), 'file')}, of which {plan['to_merge'].sum():,} can be "
        f"merged into {plan['into'].sum():,}."
    )


def _show_compaction(done: "Compaction", lake: str, style: "Format") -> None:
    import polars as pl

    from flowlake.rendering import compaction_text

    if style == "table":
        say(compaction_text(done, lake))
        return
    facts = {each.name: getattr(done, each.name) for each in fields(done) if each.name != "plan"}
    write(pl.DataFrame([{**facts, "failures": len(done.failures)}]), style)
