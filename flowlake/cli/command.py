"""What every command of FlowLake has: examples in its help, ``--verbose`` and ``--quiet``.

A command's docstring ends in a section ``Examples:`` of whole command lines, which stand as they
are written at the end of the help. `equip` gives all of that to an application and to the groups in
it, so a command is written as Typer has it. Those of a group are shown below their
``rich_help_panel``.
"""

import functools
import inspect
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from flowlake.cli.verbosity import Verbosity, speak

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
"""What Typer's commands are told besides."""

HEAD = "\n\nExamples:\n"


def _loud(asked: bool) -> None:
    if asked:
        speak(Verbosity.VERBOSE)


def _soft(asked: bool) -> None:
    if asked:
        speak(Verbosity.QUIET)


@functools.cache
def _everywhere() -> tuple[Any, ...]:
    """The options that stand before a command's name or after it."""
    scratch = typer.Typer(add_completion=False)

    @scratch.command()
    def _(
        verbose: Annotated[  # noqa: ARG001
            bool,
            typer.Option(
                "--verbose",
                "-v",
                callback=_loud,
                expose_value=False,
                help="Say on standard error what is done, with times.",
            ),
        ] = False,
        quiet: Annotated[  # noqa: ARG001
            bool,
            typer.Option(
                "--quiet",
                "-q",
                callback=_soft,
                expose_value=False,
                help="Only the answer and errors: no progress, no remarks.",
            ),
        ] = False,
    ) -> None:
        raise AssertionError("only its options are of use")

    return tuple(typer.main.get_command(scratch).params)


def parted(text: str | None) -> tuple[str, tuple[str, ...]]:
    """A docstring as what it tells and the lines of its examples."""
    about, _, examples = inspect.cleandoc(text or "").partition(HEAD)
    return about, tuple(line.strip() for line in examples.splitlines() if line.strip())


class _Ours:
    """Help whose examples stand at its end, and the options that stand anywhere."""

    help: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options, those that stand anywhere, and ``--help`` as the last."""
        *own, helping = super().get_params(ctx)  # type: ignore[misc]
        return [*own, *_everywhere(), helping]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write what the command does."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(parted(self.help)[0])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the epilog, and the examples below it."""
        super().format_epilog(ctx, formatter)  # type: ignore[misc]
        if examples := parted(self.help)[1]:
            with formatter.section("Examples"):
                for line in examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(_Ours, TyperCommand):
    """A command."""


class Group(_Ours, TyperGroup):
    """A group of commands, shown by what they are for."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a list of commands for each heading."""
        shown = {name: self.commands[name] for name in self.list_commands(ctx)}
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, command in shown.items():
            if not command.hidden:
                heading = getattr(command, "rich_help_panel", None) or "Commands"
                row = (name, command.get_short_help_str(limit=200))
                headings.setdefault(heading, []).append(row)
        width = max(map(len, shown), default=0)
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), about) for name, about in rows])


def equip(app: typer.Typer) -> None:
    """Make all commands and groups of an application those of this module."""
    for command in app.registered_commands:
        command.cls = Command
        command.context_settings = SETTINGS
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.typer_instance.info.cls = Group
            group.context_settings = SETTINGS
            equip(group.typer_instance)
