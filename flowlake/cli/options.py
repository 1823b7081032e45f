"""What the commands share: their options, and how they speak."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowlake.cli.completing import FORMATS, one_of
from flowlake.cli.verbosity import remarks, told
from flowlake.errors import UsageError, visible

if TYPE_CHECKING:
    import polars as pl

    from flowlake.lake import Lake
    from flowlake.rendering import Format

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
AskedRegionsOption = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="REGION", help="Ask this region; may be repeated."),
]
ProfileOption = Annotated[str | None, typer.Option(metavar="NAME", help="AWS profile to use.")]
PayerOption = Annotated[
    bool, typer.Option("--request-payer", help="Pay for requests to requester-pays buckets.")
]
FieldsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fields",
        metavar="FORMAT",
        help="Fields of records without a header, in order, or a LogFormat; may be repeated.",
    ),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="|".join(FORMATS),
        help="How to write the answer.",
        autocompletion=one_of(*FORMATS),
    ),
]
AsnOption = Annotated[
    Path | None,
    typer.Option(
        envvar="FLOWLAKE_ASN", metavar="FILE", help="ASN ranges, for asn() and as_name()."
    ),
]
AwsRangesOption = Annotated[
    Path | None,
    typer.Option(
        envvar="FLOWLAKE_AWS_RANGES",
        metavar="FILE",
        help="AWS's ip-ranges.json, for aws_service() and aws_region().",
    ),
]
NamesOption = Annotated[
    bool,
    typer.Option("--names", help="Add the names of interfaces and addresses, by the inventory."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead.")
]


def access(profile: str | None, request_payer: bool) -> Any:
    """How to reach AWS, as the options say."""
    from flowlake.storage import Access

    return Access(profile, request_payer)


def opened_lake(
    lake: str,
    profile: str | None,
    request_payer: bool,
    asn: Path | None = None,
    aws_ranges: Path | None = None,
) -> "Lake":
    """The lake that the options name, open."""
    from flowlake.enrichment import enrichment
    from flowlake.lake import open_lake

    return open_lake(lake, access(profile, request_payer), enrichment(asn, aws_ranges))


def with_names(answer: "pl.DataFrame", lake: "Lake", at: str | None) -> "pl.DataFrame":
    """The answer with names beside its ids and addresses, as they were at that time."""
    from flowlake.interfaces import named

    return named(answer, lake.inventory(at))


def chosen_format(style: str) -> "Format":
    """The format that ``--format`` names, or a UsageError."""
    if style not in FORMATS:
        raise UsageError(f"--format is one of {', '.join(FORMATS)}, not {style!r}.")
    from flowlake.rendering import Format

    return Format(style)


def write(frame: "pl.DataFrame", style: "Format", output: Path | None = None) -> None:
    """Write an answer to where the options say."""
    from flowlake.rendering import write_frame

    write_frame(frame, style, output)


def say(text: str) -> None:
    """Tell on standard output, at once."""
    typer.echo(visible(text, but="\n\t"))
    sys.stdout.flush()


def note(text: str) -> None:
    """Remark something on standard error, beside the answer; ``--quiet`` leaves it out."""
    if remarks():
        complain(text)


def complain(text: str) -> None:
    """Tell on standard error what is wrong, also where ``--quiet`` is asked for."""
    typer.echo(told(text), err=True)
