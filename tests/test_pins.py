"""What is installed is pinned by version and by hash, and no file says from where."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETS = {path.stem: path.read_text() for path in sorted((ROOT / "constraints").glob("*.txt"))}
EXTRAS = PROJECT["project"]["optional-dependencies"]
PIN = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[\w.]+)(?: ; [^\\\n]+)?"
    r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+"
)


def pinned(*names: str) -> dict[str, str]:
    """Name to version."""
    return {pin["name"]: pin["version"] for name in names for pin in PIN.finditer(SETS[name])}


@pytest.mark.parametrize("name", SETS)
def test_a_pin_has_hashes_and_nothing_else(name: str) -> None:
    assert PIN.search(SETS[name])
    assert PIN.sub("", SETS[name]).strip() == ""


def test_a_name_has_one_version() -> None:
    sets = [name for name in SETS if name not in ("oldest", "tools")]
    for name in sets:
        for other in sets:
            ours, theirs = pinned(name), pinned(other)
            assert not {each for each in ours.keys() & theirs if ours[each] != theirs[each]}


@pytest.mark.parametrize("extra", ["", *sorted(EXTRAS.keys() & SETS)])
def test_what_the_project_needs_is_pinned_within_its_bounds(extra: str) -> None:
    asked = EXTRAS[extra] if extra else PROJECT["project"]["dependencies"]
    sets = {"": ["base"], "bench": ["base", "dev", "bench"]}.get(extra, ["base", extra])
    versions = pinned(*sets)
    for each in map(Requirement, [*asked, *PROJECT["build-system"]["requires"]]):
        assert each.specifier.contains(versions[each.name]), each
