"""The command that looks whether flow logs do what they should: check."""

from typing import TYPE_CHECKING, Annotated

import typer

from flowlake.cli.options import (
    AskedRegionsOption,
    FormatOption,
    OutputOption,
    PayerOption,
    ProfileOption,
    access,
    chosen_format,
    note,
    say,
    write,
)

if TYPE_CHECKING:
    from flowlake.setup.checking import Check


def check(
    flow_log_id: Annotated[
        list[str] | None,
        typer.Argument(metavar="FLOW_LOG_ID", help="Tell only of these flow logs."),
    ] = None,
    lake: Annotated[
        str | None,
        typer.Option(
            envvar="FLOWLAKE_LAKE",
            metavar="LAKE",
            help="The lake that should have their records; else the destinations are looked into.",
        ),
    ] = None,
    region: AskedRegionsOption = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Compare with the flow logs approved in FILE or s3://…."),
    ] = None,
    save_baseline: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Approve the flow logs as they are: write FILE."),
    ] = None,
    trail: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="CloudTrail's files, a folder or s3://…, that say who did it."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Look at CloudTrail's events from this time on, not of 90 days."
        ),
    ] = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Check that flow logs deliver, serve the queries, cover the networks, and are as approved.

    It looks for the newest of each flow log in the lake, else at its destination. Approve what
    there is with --save-baseline, and later --baseline tells what was changed, and CloudTrail who
    did it. Exits with 3 if a flow log is not as approved, else with 1 if one does not deliver.

    Examples:
        flowlake setup check --lake s3://my-lake/flows
        flowlake setup check --save-baseline approved.json
        flowlake setup check --baseline approved.json --trail s3://my-trail/AWSLogs
    """
    from flowlake.setup.checking import check_flow_logs

    chosen = chosen_format(style)
    done = check_flow_logs(
        *(flow_log_id or ()),
        lake=lake,
        regions=region or (),
        baseline=baseline,
        save=save_baseline,
        trail=trail,
        since=since,
        access=access(profile, request_payer),
    )
    if done.advice.height or chosen != "table":
        shown = done.advice
        if chosen == "table" and shown["account_id"].drop_nulls().n_unique() < 2:
            shown = shown.drop("account_id")
        write(shown, chosen, output)
    (say if chosen == "table" and output is None else note)(_summary(done))
    if save_baseline is not None:
        note(f"Approved as they are: {save_baseline}")
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def _summary(done: "Check") -> str:
    from flowlake.rendering import some
    from flowlake.setup.advice import LEVELS

    levels = done.advice["level"].to_list()
    counts = [(level, levels.count(level)) for level in LEVELS[:-1]]
    found = ", ".join(some(count, level) for level, count in counts if count)
    return f"{some(done.flow_logs.height, 'flow log')} checked: {found or 'all is well'}."
