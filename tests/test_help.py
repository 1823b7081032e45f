"""Help that teaches: every command has examples that parse, headings, and the same options."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from flowlake.cli import app
from flowlake.cli.command import parted
from tests.test_cli import Run, run
from tests.test_docs import COMMANDS, check_flowlake, simple_commands

__all__ = ["run"]

WIDTH = 80


def groups_of(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, group
    for inner, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from groups_of(command, f"{name} {inner}".strip())


GROUPS = dict(groups_of(typer.main.get_command(app)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_that_parse(command: str) -> None:
    """The rule for a new command: its docstring ends in ``Examples:``, one command a line."""
    about, examples = parted(COMMANDS[command].help)
    assert about.split("\n\n")[0].endswith("."), "a first sentence for the list of commands"
    assert examples, f"flowlake {command}: no example in its docstring"
    for example in examples:
        assert len(example) <= WIDTH - 2, f"{example}: longer than a line of a terminal"
        lexer = shlex.shlex(example, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = next(simple_commands(lexer))
        assert " ".join(words).startswith(f"flowlake {command}")
        check_flowlake(words[1:], example)


def test_a_wrong_example_is_seen() -> None:
    for wrong in (["covert", "x"], ["query"], ["status", "--strict"], ["convert", "-x"]):
        with pytest.raises(AssertionError):
            check_flowlake(wrong, "an example")


@pytest.mark.parametrize("command", [*COMMANDS, *filter(None, GROUPS)])
def test_help_is_whole_on_narrow_terminals(run: Run, command: str) -> None:
    page = run(*command.split(), "-h", COLUMNS=str(WIDTH)).out
    assert page == run(*command.split(), "--help").out
    assert max(map(len, page.splitlines())) <= WIDTH
    for option in ("-h, --help", "-v, --verbose", "-q, --quiet"):
        assert page.count(option) == 1
    if command in COMMANDS:
        shown = page.partition("\nExamples:\n")[2].splitlines()
        assert [line.strip() for line in shown] == list(parted(COMMANDS[command].help)[1])
    narrow = run(*command.split(), "-h", COLUMNS="40").out
    assert "".join(narrow.split()) == "".join(page.split())


def test_commands_stand_below_headings(run: Run) -> None:
    page = run("--help").out
    listed = re.findall(r"^  ([a-z]+) +[A-Z]", page.partition("Options:")[2], re.MULTILINE)
    assert listed == list(GROUPS[""].commands)
    headings = re.findall(r"^([A-Z].*):$", page, re.MULTILINE)
    assert headings[:2] == ["Options", "Make a lake and keep it"]
    assert "..." not in page.partition("Options:")[2]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("covert",), "Did you mean 'convert'"),
        (("alarms", "rnu"), "Did you mean 'run'?"),
        (("convert", "--lak", "x"), "--lake"),
        (("queries", "--verbos"), "--verbose"),
        (("query", "top_talker"), "Did you mean 'top_talkers'?"),
    ],
)
def test_typos_are_answered_with_what_was_meant(
    run: Run, words: tuple[str, ...], says: str
) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
