"""The site, built from the pages where they lie in the repository.

The settings' pages, and whatever they link to, are copied as they are laid out in the repository,
so that one relative link serves a code forge and the site. Every warning is an error.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SETTINGS = Path(__file__).with_name("zensical.toml")

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INFO = re.compile(r"^(```\w+) .*$", re.MULTILINE)
"""What a fence says to the tests after its language, such as ``exit=1``: it is not for readers."""

LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")


def nav(entries: Any = None) -> Iterator[str]:
    """The pages that the settings name, in their order."""
    given = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["project"]["nav"]
    for entry in given if entries is None else entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from nav([below] if isinstance(below, str) else below)


def linked(page: Path) -> Iterator[Path]:
    """What of the repository a page links to."""
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in target:
            yield (page.parent / target).resolve()


def stage(folder: Path) -> None:
    """Copy the pages and what they lead to into the folder, as they lie in the repository."""
    wanted = [ROOT / name for name in nav()] + [SETTINGS.with_name("site.css")]
    seen: set[Path] = set()
    while wanted:
        if (source := wanted.pop()) in seen or source.is_dir():
            continue
        seen.add(source)
        copy = folder / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            wanted.extend(linked(source))
            copy.write_text(INFO.sub(r"\1", source.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            shutil.copyfile(source, copy)


def build(site: Path) -> None:
    """Build the site into a folder, in place of one that was there; a warning raises."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        stage(folder / "pages")
        shutil.copy(SETTINGS, folder)
        zensical = [sys.executable, "-m", "zensical", "build", "--strict"]
        subprocess.run(zensical, cwd=folder, check=True)
        shutil.rmtree(site, ignore_errors=True)
        shutil.move(folder / "site", site)
