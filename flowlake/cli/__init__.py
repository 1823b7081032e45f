"""The command line: parse, one call of the library, render.

Exit codes: 0 done; 1 an object could not be read, ``verify`` found a gap, the lake or a bucket
cannot be used, or lines were rejected under ``--strict``; 2 wrong usage; 3 an alarm found
something, or a flow log is not as asked or approved; 130 interrupted; 141 the reader of the output
went away.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

from flowlake.cli.alarms import app as alarms
from flowlake.cli.asking import connect, hunt, queries, query, sql
from flowlake.cli.command import SETTINGS, Group, equip
from flowlake.cli.inventory import inventory
from flowlake.cli.keeping import convert, inspect, status, verify
from flowlake.cli.options import complain, say
from flowlake.cli.reporting import report
from flowlake.cli.sampling import sample
from flowlake.cli.setup import app as setup
from flowlake.cli.tending import compact, expire, vacuum
from flowlake.cli.translating import ddl, translate
from flowlake.cli.verbosity import telling
from flowlake.errors import FlowLakeError

app = typer.Typer(
    name="flowlake",
    cls=Group,
    context_settings=SETTINGS,
    epilog="Exit codes: 0 done; 1 something could not be read, or a gap was found; 2 wrong usage; "
    "3 an alarm found something, or a flow log is not as asked or approved. "
    "Times are UTC: 2026-01-14, 2026-01-14T22:05Z, or an age such as 24h or 7d.",
    invoke_without_command=True,
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
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """AWS VPC Flow Logs as a lake of Parquet: convert them, ask in SQL, verify.

    `flowlake` alone says what is here and what to do next; `flowlake COMMAND --help` explains a
    command.

    Examples:
        flowlake sample sample-bucket
        flowlake convert sample-bucket
        flowlake query top_talkers -p top=5
    """
    if context.invoked_subcommand is None:
        _next_steps()


COMMANDS = {
    "Make a lake and keep it": (sample, convert, inspect, status, verify, compact, expire, vacuum),
    "Ask it": (queries, query, sql, hunt, report, inventory),
    "Ask it elsewhere": (connect, translate, ddl),
}
for _heading, _commands in COMMANDS.items():
    for _command in _commands:
        app.command(rich_help_panel=_heading)(_command)
app.add_typer(alarms, rich_help_panel="Be told")
app.add_typer(setup, rich_help_panel="Begin in AWS")
equip(app)


def _next_steps() -> None:
    """Say what is here, and what to do next."""
    from flowlake.first_steps import first_steps

    found = first_steps()
    say(found.here)
    width = max(len(step.command) for step in found.steps)
    say("\n".join(("", *(f"  {step.command:{width}}  {step.why}" for step in found.steps))))
    say("\nflowlake --help lists the commands; flowlake COMMAND --help explains one.")


def main() -> NoReturn:
    """Run the command line; every error on purpose becomes one sentence and an exit code."""
    with telling():
        try:
            app(prog_name="flowlake")
        except FlowLakeError as error:
            complain(f"flowlake: {error}")
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, RuntimeError) as error:
            # Typer does not hear of the first while it puts the commands together; DuckDB says the
            # second instead.
            if isinstance(error, RuntimeError) and str(error) != "Query interrupted":
                raise
            complain(INTERRUPTED)
            sys.exit(130)
        except SystemExit as end:  # typer's own: it catches these two and says nothing
            if end.code == 130:
                complain(INTERRUPTED)
            if isinstance(end.__context__, BrokenPipeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(141)
            raise
    raise AssertionError("typer's application exits by itself")


INTERRUPTED = "flowlake: interrupted. What was committed stays; run the same command again."
