"""The command that keeps what interfaces are called: inventory."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowlake.cli.options import (
    AskedRegionsOption,
    FormatOption,
    LakeOption,
    OutputOption,
    PayerOption,
    ProfileOption,
    access,
    chosen_format,
    note,
    say,
    write,
)
from flowlake.errors import UsageError

if TYPE_CHECKING:
    import polars as pl


def inventory(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Read CSV or JSON, or what `aws ec2 describe-network-interfaces` printed.",
        ),
    ] = None,
    lake: LakeOption = "lake",
    region: AskedRegionsOption = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show what the lake knows; take no snapshot.")
    ] = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --show: as it was at this time.")
    ] = None,
    profile: ProfileOption = None,
    request_payer: PayerOption = False,
    style: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Keep what interfaces are called, and show what has changed.

    Each run asks EC2, or reads FILE, and adds to the lake what is new, renamed, changed or gone.
    `--names` of query, sql and hunt, and alarms about tags, go by it.

    Examples:
        flowlake inventory --region eu-west-1 --region us-east-1
        flowlake inventory interfaces.json
        flowlake inventory --show --at 2026-01-14
    """
    from flowlake import interfaces
    from flowlake.lake import open_lake

    chosen = chosen_format(style)
    reach = access(profile, request_payer)
    if show:
        if file is not None or region:
            raise UsageError("--show reads what the lake knows: leave out FILE and --region.")
        known = open_lake(lake, reach).inventory(at)
        there = known.filter(~known["gone"]).drop("gone")
        if chosen == "table":
            there = there.select("taken_at", "interface_id", "name", *_SHOWN)
        write(there, chosen, output)
        return
    if at is not None:
        raise UsageError("--at is for --show: an inventory is taken now.")
    if file is None:
        changes = interfaces.take_inventory(lake, reach, regions=region or ())
    elif region:
        raise UsageError("A file says which regions it has: leave out --region.")
    else:
        changes = interfaces.keep(lake, interfaces.read_inventory_file(file), reach)
    known = interfaces.inventory(lake, None, reach)
    if chosen == "table" and output is None:
        changes = changes.select(*("change", "interface_id", "name", "name_before"), *_SHOWN)
    if changes.height or chosen != "table":
        write(changes, chosen, output)
    (say if chosen == "table" else note)(_summary(changes, known))


_SHOWN = ("addresses", "instance_id", "subnet_name", "vpc_name", "account_id", "region")


def _summary(changes: "pl.DataFrame", known: "pl.DataFrame") -> str:
    from flowlake.rendering import some

    counts = [(each, changes["change"].to_list().count(each)) for each in _CHANGES]
    found = ", ".join(f"{count:,} {each}" for each, count in counts if count) or "nothing new"
    return f"{some(int((~known['gone']).sum()), 'interface')} known: {found}."


_CHANGES = ("new", "renamed", "changed", "gone")
