"""The command that makes a page to look at: `flowlake report`."""

from pathlib import Path
from typing import Annotated

import typer

from flowlake.cli.asking import InternalOption, QueriesOption
from flowlake.cli.options import (
    AccountOption,
    AsnOption,
    AwsRangesOption,
    LakeOption,
    NamesOption,
    PayerOption,
    ProfileOption,
    RegionOption,
    SinceOption,
    UntilOption,
    complain,
    opened_lake,
    say,
)


def report(
    file: Annotated[Path, typer.Argument(metavar="OUT.html", help="The page to write.")],
    lake: LakeOption = "lake",
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    region: RegionOption = None,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="What stands at the top of the page.")
    ] = "VPC flow logs",
    internal: InternalOption = None,
    own_queries: QueriesOption = None,
    names: NamesOption = False,
    asn: AsnOption = None,
    aws_ranges: AwsRangesOption = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
) -> None:
    """Write one HTML page of charts and tables, to look at without a network.

    It answers the saved queries that take part in it, each with the command that gives the same.
    A question that fails says so on the page, and the exit code is 1.

    Examples:
        flowlake report week.html --since 7d
        flowlake report account.html --account 123456789012 --title "Shop, production"
    """
    from flowlake.progress import steps
    from flowlake.rendering import size, some
    from flowlake.report import write_report

    opened = opened_lake(lake, profile, request_payer, asn, aws_ranges)
    with steps("asking") as tell:
        written = write_report(
            opened,
            file,
            since=since,
            until=until,
            account=account,
            region=region,
            title=title,
            internal=[cidr.strip() for cidr in (internal or "").split(",") if cidr.strip()],
            names=names,
            queries=own_queries,
            progress=tell,
        )
    say(
        f"Wrote {written.path} ({size(written.bytes)}): {some(written.answered, 'answer')}, "
        f"in {written.seconds:.1f} s"
    )
    for name, reason in written.failed:
        complain(f"{name} failed: {reason}")
    raise typer.Exit(1 if written.failed else 0)
