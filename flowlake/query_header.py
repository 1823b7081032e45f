"""Where query files lie, and the lines of their headers: what is known of them without DuckDB.

`flowlake.query_file` says what the header of a query file is.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from flowlake.errors import LakeError, UsageError

FOLDERS = (Path(__file__).parent / "sql", Path(__file__).parent.parent / "queries")
"""Where the files lie: inside an installed wheel, or beside the package in a checkout."""

HEADER_LINE = re.compile(r"--(?P<indent>\s*)(?P<text>.*?)\s*$")
KEY = re.compile(r"(?P<key>[a-z]+):\s*(?P<value>.*)$")
PARAM = re.compile(
    r"(?P<name>[a-z]\w*)\s+(?P<type>[^=]+?)"
    r"(?:\s*=\s*(?P<literal>(?:'(?:[^']|'')*'|[^'])+?))?"
    r"(?:\s+e\.g\.\s+(?P<example>(?:'(?:[^']|'')*'|[^'])+?))?"
    r"\s+--\s+(?P<help>\S.*)$"
)


def _folder() -> Path:
    for folder in FOLDERS:
        if folder.is_dir():
            return folder
    raise LakeError(f"The saved queries are missing: neither {FOLDERS[0]} nor {FOLDERS[1]} exists.")


def query_files(folder: str | os.PathLike[str] | None) -> dict[str, Path]:
    """The files of FlowLake's queries, and of a folder of one's own, by the names of queries."""
    files = {path.stem: path for path in _folder().glob("*.sql")}
    if folder is not None:
        own = Path(folder)
        if not own.is_dir():
            raise UsageError(
                f"There is no folder of queries {own}: name one that is there with --queries."
            )
        for path in own.glob("*.sql"):
            if path.stem in files:
                raise UsageError(f"{path}: FlowLake has a query of this name: rename yours.")
            files[path.stem] = path
    return dict(sorted(files.items()))


def wrong(path: Path, line: int, what: str) -> LakeError:
    """The error for a line of a query file."""
    return LakeError(f"{path}:{line}: {what}.")


def header_entries(lines: list[str], path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, key and whole value of each header entry."""
    entry: tuple[int, str, str] | None = None
    for number, line in enumerate(lines, 1):
        match = HEADER_LINE.match(line)
        if match is None:
            break
        if entry and len(match["indent"]) > 1:
            entry = (entry[0], entry[1], f"{entry[2]} {match['text']}".strip())
            continue
        key = KEY.match(match["text"])
        if key is None:
            raise wrong(path, number, f"a header line is '-- key: value', not {line!r}")
        if entry:
            yield entry
        entry = (number, key["key"], key["value"])
    if entry:
        yield entry
