"""The command that prints a template: `flowlake setup template`."""

from typing import Annotated

import typer

from flowlake.cli.options import OutputOption
from flowlake.cli.setup.policies import print_document
from flowlake.errors import UsageError


def template(
    language: Annotated[str, typer.Argument(metavar="cloudformation|terraform")],
    run: Annotated[
        str,
        typer.Option(
            metavar="lambda|schedule",
            help="Convert as objects arrive, or on a schedule, with ECS on Fargate.",
        ),
    ] = "lambda",
    file_format: Annotated[
        str, typer.Option(metavar="text|parquet", help="What AWS writes.")
    ] = "text",
    hive: Annotated[
        bool, typer.Option("--hive", help="Keys name their parts: year=2026/month=01/….")
    ] = False,
    hourly: Annotated[bool, typer.Option("--hourly", help="A folder for each hour.")] = False,
    output: OutputOption = None,
) -> None:
    """Print a template of all of it: buckets, flow log, conversion, alarms, and their roles.

    What a stack differs in from the next, such as names and the VPC, are its parameters.

    Examples:
        flowlake setup template cloudformation -o flowlake.yaml
        flowlake setup template terraform --run schedule --hive
    """
    from flowlake.setup import templates

    write = {"cloudformation": templates.cloudformation, "terraform": templates.terraform}
    if language not in write:
        raise UsageError(f"A template is one of {', '.join(write)}, not {language!r}.")
    stack = templates.Stack(run, file_format, hive, hourly)  # type: ignore[arg-type]  # it checks
    print_document(write[language](stack).rstrip("\n"), output)
