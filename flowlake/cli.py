"""The command line: parse, one call of the library, render.

Exit codes: 0 done; 1 an object could not be read, ``verify`` found a gap, the lake or a bucket
cannot be used, or lines were rejected under ``--strict``; 2 wrong usage; 130 interrupted; 141 the
reader of the output went away.
"""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from flowlake.errors import FlowLakeError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from flowlake.converting import Report
    from flowlake.lake import Lake
    from flowlake.rendering import Format

app = typer.Typer(
    name="flowlake",
    epilog="Exit codes: 0 done; 1 something could not be read, or a gap was found; 2 wrong usage. "
    "Times are UTC: 2026-01-14, 2026-01-14T22:05Z, or an age such as 24h or 7d.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

FORMATS = ("table", "csv", "json", "parquet")

LakeOption = Annotated[
    str,
    typer.Option(envvar="FLOWLAKE_LAKE", metavar="LAKE", help="The lake: a folder or s3://…"),
]
SinceOption = Annotated[str | None, typer.Option(metavar="TIME", help="From this time on.")]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Before this time.")]
AccountOption = Annotated[
    list[str] | None,
    typer.Option("--account", metavar="ID", help="Only this account; may be repeated."),
]
RegionOption = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="REGION", help="Only this region; may be repeated."),
]
ProfileOption = Annotated[str | None, typer.Option(metavar="NAME", help="AWS profile to use.")]
PayerOption = Annotated[
    bool, typer.Option("--request-payer", help="Pay for requests to requester-pays buckets.")
]
FormatOption = Annotated[
    str, typer.Option("--format", metavar="|".join(FORMATS), help="How to write the answer.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead.")
]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        _say(f"flowlake {version('flowlake')}")
        raise typer.Exit


@app.callback()
def flowlake(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """AWS VPC Flow Logs as a lake of Parquet: convert them, ask in SQL, verify."""


@app.command()
def convert(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Folders, files or s3://BUCKET/PREFIX.")
    ],
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

    chosen = _format(style)
    given: dict[str, Any] = {
        "lake": lake,
        "since": since,
        "until": until,
        "account": account,
        "region": region,
        "access": _access(profile, request_payer),
    }
    if dry_run:
        listing, new = planning.plan(*sources, **given)
        _show_plan(listing, new, chosen)
        return
    with ProgressBar() as tell:
        report = converting.convert(
            *sources,
            workers=workers,
            partition_by=None if partition_by is None else partition_by.split(","),
            progress=tell,
            **given,
        )
    _show_report(report, lake, chosen)
    failed = report.failures or report.unreadables or (strict and report.rejected)
    raise typer.Exit(1 if failed else 0)


@app.command()
def status(
    lake: LakeOption = "lake",
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
) -> None:
    """Sum up what the lake holds, and what could not be read."""
    import polars as pl

    from flowlake.rendering import facts_text

    chosen = _format(style)
    opened = _open(lake, profile, request_payer)
    found = asdict(opened.status())
    if chosen == "table":
        _say(facts_text(found))
        unread = opened.rejects().filter(pl.col("line_number").is_null())
        if unread.height:
            _say("\nObjects that could not be read:")
            _write(unread.select("url", "reason"), chosen)
    else:
        flat = {k: " ".join(v) if isinstance(v, (tuple, list)) else v for k, v in found.items()}
        _write(pl.DataFrame([flat]), chosen)


@app.command()
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

    chosen = _format(style)
    found = verifying.verify(
        *(sources or []),
        lake=lake,
        grace=parse_age(grace),
        since=since,
        until=until,
        account=account,
        region=region,
        access=_access(profile, request_payer),
    )
    if chosen != "table" or found.gaps.height:
        _write(found.gaps, chosen)
    _note(
        f"{some(found.listed, 'object')} listed, {found.objects:,} in the ledger, "
        f"{some(found.rows, 'row')} in {some(found.files, 'file')}; {found.expired:,} expired, "
        f"{found.young:,} too young to miss, {found.unreadable:,} unreadable."
    )
    gaps = found.gaps.height
    _note(f"{some(gaps, 'gap')}." if gaps else "No gap: all of it agrees.")
    raise typer.Exit(1 if found.gaps.height else 0)


@app.command()
def queries(style: FormatOption = "table", output: OutputOption = None) -> None:
    """List the saved queries and their parameters."""
    import polars as pl

    from flowlake.queries import load_queries

    rows = [
        {
            "name": query.name,
            "title": query.title,
            "parameters": ", ".join(f"{p.name} {p.type} = {p.literal}" for p in query.params),
        }
        for query in load_queries()
    ]
    _write(pl.DataFrame(rows), _format(style), output)


@app.command()
def query(
    name: Annotated[str, typer.Argument(help="A saved query; `flowlake queries` lists them.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="Set one of its parameters."),
    ] = None,
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the SQL, the files and DuckDB's plan.")
    ] = False,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Answer a saved query over a window of the lake."""
    from flowlake.doors import collect
    from flowlake.queries import load_query

    chosen = _format(style)
    opened = _open(lake, profile, request_payer)
    wanted: Any = {"since": since, "until": until, "account": account, "region": region}
    parameters = _parameters(parameter or [])
    if taken := wanted.keys() & parameters.keys():
        raise UsageError(f"The window is not set by -p: write --{min(taken)}.")
    relation = opened.query(name, **wanted, **parameters)
    if explain:
        read, there = len(opened.files(**wanted)), len(opened.files())
        _say(load_query(name).sql.strip())
        _say(f"\n{read:,} of {there:,} files can hold the window.\n")
        _say(relation.explain())
        return
    _write(collect(relation), chosen, output)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT; `-` reads it from standard input.")],
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Run one SELECT of your own over flows, objects, rejects and protocols (DuckDB's SQL)."""
    from flowlake.doors import collect

    chosen = _format(style)
    opened = _open(lake, profile, request_payer)
    text = sys.stdin.read() if statement == "-" else statement
    relation = opened.sql(text, since=since, until=until, account=account, region=region)
    _write(collect(relation), chosen, output)


@app.command()
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
        open_storage(place, _access(profile, request_payer)),
        prefix=f"{place}/",
        seed=seed,
        hours=hours,
        records_per_object=records,
    )
    _note(f"{made.objects:,} objects with {made.records:,} records, {size(made.bytes)}: {place}")


def main() -> NoReturn:
    """Run the command line; every error on purpose becomes one sentence and an exit code."""
    try:
        app()
    except FlowLakeError as error:
        _note(f"flowlake: {error}")
        sys.exit(error.exit_code)
    except SystemExit as end:  # typer's own: it catches these two and says nothing
        if end.code == 130:
            _note("flowlake: interrupted. What was committed stays; run the same command again.")
        if isinstance(end.__context__, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        raise
    raise AssertionError("typer's application exits by itself")


def _access(profile: str | None, request_payer: bool) -> Any:
    from flowlake.storage import Access

    return Access(profile, request_payer)


def _open(lake: str, profile: str | None, request_payer: bool) -> "Lake":
    from flowlake.lake import open_lake

    return open_lake(lake, _access(profile, request_payer))


def _format(style: str) -> "Format":
    if style not in FORMATS:
        raise UsageError(f"--format is one of {', '.join(FORMATS)}, not {style!r}.")
    from flowlake.rendering import Format

    return Format(style)


def _parameters(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"-p takes NAME=VALUE, not {text!r}.")
        pairs[name] = value
    return pairs


def _write(frame: "pl.DataFrame", style: "Format", output: Path | None = None) -> None:
    from flowlake.rendering import write_frame

    write_frame(frame, style, output)


def _say(text: str) -> None:
    typer.echo(text)
    sys.stdout.flush()


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _show_plan(listing: "pl.DataFrame", new: "pl.DataFrame", style: "Format") -> None:
    import polars as pl

    from flowlake.rendering import size, some

    stamp = pl.coalesce("slot", "last_modified").dt.date()
    days = (
        new.group_by(date=stamp, account_id="account_id", region="region")
        .agg(objects=pl.len(), bytes=pl.col("size").sum(), changed=pl.col("replaces").count())
        .sort("date", "account_id", "region", nulls_last=True)
    )
    _write(days, style)
    _note(
        f"{some(listing.height, 'object')} ({size(int(listing['size'].sum()))}) listed, "
        f"{new.height:,} ({size(int(new['size'].sum()))}) to convert."
    )


def _show_report(report: "Report", lake: str, style: "Format") -> None:
    import polars as pl

    from flowlake.rendering import report_text

    for url, reason in (*report.failures, *report.unreadables):
        _note(f"could not read {url}: {reason}")
    if style != "table":
        facts = asdict(report)
        facts["failures"], facts["unreadables"] = len(report.failures), len(report.unreadables)
        _write(pl.DataFrame([facts]), style)
        return
    _say(report_text(report, lake))
