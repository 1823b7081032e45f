"""The documentation is true: its commands run, its code works, its links lead somewhere.

Each document is run from its top in an empty folder. A ``text`` block right after a block is that
block's output. A block that cannot run says why in its info string, ``no-run="…"``; what can be
checked without running it still is. ``exit=1`` is the exit code of each command in a block.
"""

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import typer

from flowlake.cli import app, main
from flowlake.fields import FIELDS, LAKE_COLUMNS, SQL_TYPES, Field, LakeColumn
from flowlake.protocols import ENCRYPTION_STATUS, TCP_FLAGS, TRAFFIC_PATHS
from flowlake.queries import bind, load_query, query_names
from flowlake.query_file import parse_query
from tests.conftest import forget_s3

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "CHANGELOG.md"]


def commands_of(group: Any, before: str = "") -> dict[str, Any]:
    """The commands by name; those of a group as in ``alarms run``."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        more = commands_of(command, f"{before}{name} ") if inner else {before + name: command}
        found.update(more)
    return found


COMMANDS = commands_of(typer.main.get_command(app))

EVERYWHERE = {"--verbose", "-v", "--quiet", "-q", "--help", "-h"}
"""Options that stand before a command's name or after it."""

ALONE = {"--version", "--install-completion", "--show-completion"}
"""Options that stand without a command."""

FENCE = re.compile(r"^```(?P<kind>\w+) *(?P<info>.*)\n(?P<body>(?:.*\n)*?)```$", re.MULTILINE)
OPERATORS = {"|", "||", "&&", ";", ">", ">>", "<", "&"}
SHELL = re.compile(r"^(?!flowlake )|[|&;<>$~]|\*\.")
"""What makes a line more than one flowlake command."""

MASKED = (
    (re.compile(r"\b\d+(\.\d+)? ([KMG]iB|B)\b"), "SIZE"),
    (re.compile(r"\bin \d+\.\d s\b"), "in SECONDS"),
    (re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z (?=DEBUG|INFO)"), "TIME "),
    (re.compile(r"\b[\d,]+ (minutes?|hours|days) old\b"), "AGE old"),
    (re.compile(r"[─\s]+"), " "),
)
"""What may differ from one run, machine and library to the next: sizes, times, widths."""


@dataclass(frozen=True)
class Block:
    """One fenced block, and the output that stands below it."""

    page: Path
    line: int
    kind: str
    body: str
    no_run: str | None
    exit: int
    output: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        return self.body.replace("\\\n", " ").splitlines()


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are code."""
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(FENCE.findall(text)), f"{page}: a fence without its kind"
    found = []
    fences = list(FENCE.finditer(text))
    for fence, after in zip_longest(fences, fences[1:]):
        if fence["kind"] == "text":
            continue
        below = after and after["kind"] == "text" and not text[fence.end() : after.start()].strip()
        info = dict(each.split("=", 1) for each in shlex.split(fence["info"]))
        assert info.keys() <= {"no-run", "exit"}, f"{page}: {fence['info']}"
        found.append(
            Block(
                page,
                text.count("\n", 0, fence.start()) + 1,
                fence["kind"],
                fence["body"],
                info.get("no-run"),
                int(info.get("exit", 0)),
                after["body"] if after and below else None,
            )
        )
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]


def ids(given: Block | Path) -> str:
    return given.place if isinstance(given, Block) else given.name


def plain(line: str) -> str:
    for pattern, word in MASKED:
        line = pattern.sub(word, line)
    return line.strip()


def assert_shown(block: Block, printed: str, folder: Path) -> None:
    """Each line that the page shows was printed, in that order."""
    lines = iter([plain(line) for line in printed.replace(str(folder), "HOME").splitlines()])
    for shown in (block.output or "").splitlines():
        if (wanted := plain(shown)) not in ("", "…"):
            assert wanted in lines, f"{block.place}: no line {shown!r} in\n{printed}"


@pytest.fixture(autouse=True)
def plain_environment() -> Iterator[None]:
    """No AWS settings, no lake, and the flowlake beside this Python; a page may set more."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "FLOWLAKE_")):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["PATH"] = f"{sysconfig.get_path('scripts')}{os.pathsep}{before['PATH']}"
    forget_s3()
    yield
    os.environ.clear()
    os.environ.update(before)
    forget_s3()


def run_lines(block: Block, folder: Path) -> str:
    """Run each line of the block; those of the README, and what needs a shell, by a shell."""
    printed = ""
    for command in block.commands:
        by_shell = SHELL.search(command) or block.page.name == "README.md"
        code, output = (by_bash if by_shell else in_process)(command, folder)
        assert code == block.exit, f"{block.place}: {command}\n{output}"
        assert "Traceback" not in output, f"{block.place}: {command}\n{output}"
        printed += output
    return printed


def by_bash(command: str, folder: Path) -> tuple[int, str]:
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.returncode, ran.stdout


def in_process(command: str, folder: Path, given: str = "") -> tuple[int, str]:
    """What main() does with the words: it saves the start of a process for each command."""
    body = io.BytesIO()
    out = io.TextIOWrapper(body, encoding="utf-8", write_through=True)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr("sys.argv", shlex.split(command))
        patch.setattr("sys.stdin", io.StringIO(given))
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", out)
        with pytest.raises(SystemExit) as end:
            main()
    code = end.value.code or 0
    assert isinstance(code, int)
    return code, body.getvalue().decode()


def run_python(block: Block, folder: Path, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    code = compile(block.body, block.place, "exec")
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_page_runs_from_its_top(page: Path, tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.no_run is not None:
            assert len(block.no_run) > 10, f"{block.place}: say why it does not run"
        elif block.kind == "python":
            assert_shown(block, run_python(block, folder, names), folder)
        elif block.kind == "sql":
            code, printed = in_process("flowlake sql -", folder, block.body)
            assert code == block.exit, f"{block.place}\n{printed}"
            assert_shown(block, printed, folder)
        else:
            assert block.kind == "sh", f"{block.place}: {block.kind} is not checked by this test"
            assert_shown(block, run_lines(block, folder), folder)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "sh"], ids=ids)
def test_command_lines_parse(block: Block) -> None:
    """Those that do not run here too: command, options, and the Makefile's names."""
    for command in block.commands:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for words in simple_commands(lexer):
            if "flowlake" in words:
                check_flowlake(words[words.index("flowlake") + 1 :], block.place)
            elif words[0] == "make":
                check_make(words[1:], block)


def simple_commands(words: Iterator[str]) -> Iterator[list[str]]:
    current: list[str] = []
    for word in words:
        if word in OPERATORS:
            yield current
            current = []
        else:
            current.append(word)
    yield current


def check_flowlake(words: list[str], place: str) -> None:
    name, rest = split_command([word for word in words if word not in EVERYWHERE])
    if not name or name in ALONE:
        return
    assert name in COMMANDS, f"{place}: there is no command {name}"
    try:
        COMMANDS[name].make_context(name, rest, resilient_parsing=False)
    except Exception as error:
        raise AssertionError(f"{place}: flowlake {' '.join(words)}: {error!r}") from error


def split_command(words: list[str]) -> tuple[str, list[str]]:
    """A command's name, which is of several words in a group, and what follows it."""
    for length in range(1, len(words) + 1):
        if (name := " ".join(words[:length])) in COMMANDS:
            return name, words[length:]
    return " ".join(words), []


def check_make(words: list[str], block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, equals, _ = word.partition("=")
        pattern = rf"^{name}\s*\?=" if equals else rf"^{name}:.*## "
        assert re.search(pattern, makefile, re.MULTILINE), f"{block.place}: make {word}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.no_run and b.kind != "sh"], ids=ids)
def test_code_that_does_not_run_parses(block: Block) -> None:
    if block.kind == "python":
        ast.parse(block.body)
    else:
        name = block.body.split()[2]
        assert parse_query(block.body, Path(f"{name}.sql")).name == name


@pytest.mark.parametrize("page", LINKED, ids=ids)
def test_commands_in_prose_exist(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for words in re.findall(r"`flowlake ([a-z][^`]*)`", text):
        name, rest = split_command(words.split())
        if any(command.startswith(f"{name} ") for command in COMMANDS):
            continue  # a group
        assert name in COMMANDS, f"{page.name}: flowlake {name}"
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", " ".join(rest)):
            assert option in options(name) | EVERYWHERE, f"{page.name}: flowlake {name} {option}"
    for target in re.findall(r"`make ([a-z]+)", text):
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def options(command: str) -> set[str]:
    params = COMMANDS[command].params
    given = [param for param in params if param.param_type_name == "option"]
    named = [[*param.opts, *param.secondary_opts] for param in given]
    return {option for opts in named for option in opts}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_section_with_all_its_options(command: str) -> None:
    """And with no option that it does not have."""
    heading = rf"^## `flowlake {command}`$(.*?)(?=^## |\Z)"
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")]
    sections = [found for page in pages for found in re.findall(heading, page, re.M | re.S)]
    assert len(sections) == 1
    rows = re.findall(r"^\| (`-.*?) \|", sections[0], re.MULTILINE)
    documented = {option for row in rows for option in re.findall(r"`(--?[a-z-]+)`", row)}
    assert documented == options(command)


def test_every_saved_query_is_mentioned() -> None:
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    names = query_names()
    for name in names:
        assert f"`{name}`" in text
    readme, changes = (page.read_text(encoding="utf-8") for page in (LINKED[0], LINKED[-1]))
    assert f"There are {len(names)} questions" in readme
    assert f"answers {len(names)} saved queries" in changes


def test_athenas_queries_have_counterparts() -> None:
    page = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (VpcFlowLogs.*?) \| (.*) \|$", page, re.MULTILINE)
    assert len([name for names, _ in rows for name in names.split(", ")]) == 16
    for _, counterparts in rows:
        for counterpart in re.findall(r"`(.*?)`", counterparts):
            name, *options = shlex.split(counterpart)
            if name != "hunt":
                given = [word for word in options if word != "-p"]
                assert bind(load_query(name), dict(word.split("=", 1) for word in given))


@pytest.mark.parametrize("page", LINKED, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors GitHub gives the headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]:
        assert f"]({page.relative_to(ROOT).as_posix()})" in readme
    assert readme.count("\n") <= 150


def test_the_house_is_drawn_with_every_room() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {path.name for path in (ROOT / "flowlake").glob("*.py")} - {"__main__.py"}
    rooms |= {f"{path.parent.name}/" for path in (ROOT / "flowlake").glob("*/__init__.py")}
    drawn = page.split("```text\n", 1)[1].split("queries/ ")[0]
    assert rooms == set(re.findall(r"[a-z_]+(?:[.]py|/)", drawn))


def test_the_readme_starts_with_two_commands_of_the_makefile() -> None:
    first = next(block for block in BLOCKS if block.page.name == "README.md")
    assert first.commands == ["make convert", "make test"]


def field_row(field: Field) -> str:
    """A field's row in docs/fields.md: add it there when you add the field."""
    meaning = field.meaning
    if field.values:
        meaning += f" Values: {', '.join(f'`{value}`' for value in field.values)}."
    return f"| `{field.name}` | `{field.column}` | {field.type} | {field.version} | {meaning} |"


def own_row(column: LakeColumn) -> str:
    return f"| `{column.column}` | {column.type} | {column.meaning} |"


def test_the_page_of_fields_is_complete() -> None:
    page = (ROOT / "docs" / "fields.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in page if line.startswith("| `")]
    assert rows == [*map(field_row, FIELDS), *map(own_row, LAKE_COLUMNS)]
    for meanings in (TRAFFIC_PATHS, ENCRYPTION_STATUS):
        for number, meaning in meanings.items():
            assert f"| {number} | {meaning} |" in page
    for bit in (1, 2, 4, 16):
        assert f"| {bit} | {TCP_FLAGS[bit]} |" in page


def test_types_are_the_lakes() -> None:
    page = (ROOT / "docs" / "lake.md").read_text(encoding="utf-8")
    for name, sql in SQL_TYPES.items():
        assert re.search(rf"^\| {name} \|.*\| {sql} \|", page, re.MULTILINE), name


def test_the_ledger_is_described() -> None:
    from flowlake.committing import OBJECTS, REJECTED

    page = (ROOT / "docs" / "lake.md").read_text(encoding="utf-8")
    for title, schema in (("The ledger, `objects`", OBJECTS), ("Rejects", REJECTED)):
        section = page.split(f"## {title}\n")[1].split("\n## ")[0]
        first = "\n".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
        named = re.findall(r"`(\w+)`", first)
        assert [name for name in named if name != "url" or "url" in schema.names] == schema.names


def test_gaps_are_described() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "flowlake").glob("*.py")]
    gaps = set(re.findall(r'gaps\.append\(\s*\("([a-z ]+)", ', "".join(sources)))
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    table = page.split("| gap |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert gaps == set(re.findall(r"`([a-z ]+)`", " ".join(cells)))


def test_troubles_are_quoted_from_the_code() -> None:
    """Each heading of troubleshooting.md is what some message says, word for word."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    page = page.split("\n## Odd, and no error")[0]
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "flowlake").rglob("*.py")]
    words = re.sub(r'"\s+(?:rf|f|r)?"', "", "\n".join(sources)) + os.strerror(28)
    for title in re.findall(r"^### (.*)$", page, re.MULTILINE):
        assert title in words, title


def test_the_changelog_has_what_is_unreleased() -> None:
    page = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]\n\n### Added\n" in page
    for command in COMMANDS:
        assert f"`flowlake {command}`" in page


def test_a_stale_page_fails(tmp_path: Path) -> None:
    """The checks are not blind: each of them refuses a page that is wrong."""

    def block(body: str, output: str = "") -> Block:
        return Block(ROOT / "README.md", 1, "sh", body, None, 0, output)

    right = block("echo 24,002 rows, 3.1 KiB", "…\n24,002 rows,  2.9 KiB\n")
    printed = run_lines(right, tmp_path)
    assert_shown(right, printed, tmp_path)
    with pytest.raises(AssertionError):
        assert_shown(block(right.body, "24,003 rows, 3.1 KiB\n"), printed, tmp_path)
    with pytest.raises(AssertionError):
        run_lines(block("exit 3"), tmp_path)
    for words in (["covert", "x"], ["query"], ["convert", "x", "--lak"], ["status", "--strict"]):
        with pytest.raises(AssertionError):
            check_flowlake(words, right.place)
    with pytest.raises(AssertionError):
        check_make(["convrt"], right)
