"""The command line: parse, one call of the library, render.

Exit codes: 0 done; 1 an object could not be read, ``verify`` found a gap, the lake or a bucket
cannot be used, or lines were rejected under ``--strict``; 2 wrong usage; 3 an alarm found
something; 130 interrupted; 141 the
reader of the output went away.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

from flowlake.cli.alarms import app as alarms
from flowlake.cli.asking import connect, hunt, queries, query, sql
from flowlake.cli.inventory import inventory
from flowlake.cli.keeping import convert, inspect, status, verify
from flowlake.cli.options import note, say
from flowlake.cli.sampling import sample
from flowlake.cli.setup import app as setup
from flowlake.cli.tending import compact, vacuum
from flowlake.cli.translating import ddl, translate
from flowlake.errors import FlowLakeError

app = typer.Typer(
    name="flowlake",
    epilog="Exit codes: 0 done; 1 something could not be read, or a gap was found; 2 wrong usage; "
    "3 an alarm found something. "
    "Times are UTC: 2026-01-14, 2026-01-14T22:05Z, or an age such as 24h or 7d.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"flowlake {version('flowlake')}")
        raise typer.Exit


@app.callback()
def flowlake(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """AWS VPC Flow Logs as a lake of Parquet: convert them, ask in SQL, verify."""


for _command in (
    *(convert, inspect, status, verify, compact, vacuum, inventory),
    *(queries, query, sql, hunt, connect, translate, ddl, sample),
):
    app.command()(_command)
app.add_typer(alarms)
app.add_typer(setup)


def main() -> NoReturn:
    """Run the command line; every error on purpose becomes one sentence and an exit code."""
    try:
        app()
    except FlowLakeError as error:
        note(f"flowlake: {error}")
        sys.exit(error.exit_code)
    except SystemExit as end:  # typer's own: it catches these two and says nothing
        if end.code == 130:
            note("flowlake: interrupted. What was committed stays; run the same command again.")
        if isinstance(end.__context__, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        raise
    raise AssertionError("typer's application exits by itself")
