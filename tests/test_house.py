"""The house: imports only go down, the face is a list, and the command line starts light."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flowlake

PACKAGE = Path(flowlake.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
FACE = "__init__"

ROOMS = ("traffic", "talkers", "refusals", "reach", "cost", "quality")
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "fields", "protocols"),
    ("query_header",),
    ("aws", "addresses", "indicators", "reference", "dask"),
    ("storage.places", "engines"),
    (
        *("storage.bucket", "storage.folder", "storage.log_group", "storage.stdin"),
        *("storage.wildcards", "storage.events", "storage.inventory"),
    ),
    ("storage.object_list",),
    ("window", "storage", "memory", "query_file", "macros", "analyses.counting", "scopes"),
    ("layout", "queries", "wording", "describing", "detections.incidents", "detections.wording"),
    ("detections.connections",),
    ("detections.contacts", "detections.evidence"),
    ("detections.crowds",),
    (
        *("detections.scans", "detections.logins", "detections.beacons"),
        *("detections.volumes", "detections.silence"),
        "samples",
        "reading.formats",
        "reading.compression",
        "reading.foreign",
        "reading.naming",
        "writing",
        "enrichment",
    ),
    ("shapes", "attacks.estates", "detections.access", "reading.detecting", "reading.values"),
    ("attacks.recording", "reading.careful", "reading.parquet"),
    ("attacks.drawing", "attacks.radiation", "reading.text"),
    ("attacks.machines", "attacks.scenes"),
    ("attacks.background", "attacks.scans", "attacks.intrusions"),
    ("attacks",),
    ("reading.messages", "reading.together"),
    ("reading",),
    ("explaining", "files"),
    ("committing",),
    ("findings",),
    ("tasks", "fingerprints"),
    ("executing", "planning", "inspecting", "vacuuming"),
    (
        *("converting", "doors"),
        *(f"analyses.{room}" for room in ROOMS),
    ),
    ("analyses", "compacting", "detections", "expiring", "interfaces"),
    (
        *("hunting", "catalog", "rereading", "accounting", "status", "estimating"),
        *("rewriting", "registering", "delivering", "ocsf"),
    ),
    ("lake", "translating", "rules"),
    ("verifying", "rendering", "connecting", "spans"),
    ("first_steps",),
    ("progress", "alarms", "report.answers", "report.tables"),
    ("backtesting", "report.charts", "report.findings"),
    ("report.headline",),
    ("report.page",),
    ("report",),
    ("setup", "setup.advice", "setup.arns", "setup.flow_logs", "setup.trails"),
    (
        *("setup.baseline", "setup.policies", "setup.recording", "setup.serving"),
        "setup.watching",
    ),
    ("setup.arrivals", "setup.covering", "setup.log_delivery", "setup.roles"),
    ("setup.checking", "setup.provisioning", "setup.templates.stack"),
    ("setup.templates.cloudformation", "setup.templates.terraform"),
    ("setup.templates",),
    (FACE,),
    ("cli.completing", "cli.verbosity"),
    ("cli.options", "cli.command", "aws_lambda"),
    ("cli.tending", "cli.alarms", "cli.inventory"),
    ("cli.keeping", "cli.asking", "cli.sampling"),
    ("cli.translating", "cli.reporting", "cli.setup.checking"),
    ("cli.setup.policies", "cli.setup.flow_logs"),
    ("cli.setup.templating",),
    ("cli.setup",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {module: number for number, floor in enumerate(FLOORS) for module in floor}
LINES = 450
ENGINES = (
    "polars",
    "duckdb",
    "pyarrow",
    "deltalake",
    "numpy",
    "botocore",
    "obstore",
    "s3fs",
    "distributed",
)


def imports_of(source: str) -> set[str]:
    """The modules of the package that a module's source imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "flowlake":
            names = [f"flowlake.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name for name in inner if name.removeprefix("flowlake.") in MODULES]
            names = known if len(known) == len(inner) else [node.module or "", *known]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == "flowlake":
                module = name.partition(".")[2]
                found.add(module if module in MODULES else FACE)
    return found


def too_high(module: str, source: str) -> list[str]:
    """What a module imports from its own floor or above."""
    return sorted(m for m in imports_of(source) if FLOOR_OF[m] >= FLOOR_OF[module])


def test_every_module_has_a_floor() -> None:
    assert set(FLOOR_OF) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_go_down(module: str) -> None:
    assert too_high(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import flowlake.cli",
        "from flowlake.cli import main",
        "from flowlake import cli",
        "from flowlake import open_lake",
        "if TYPE_CHECKING:\n    from flowlake.cli import main",
        "def f():\n    from flowlake.cli import main",
    ],
)
def test_the_test_sees_every_kind_of_import(source: str) -> None:
    assert too_high("lake", source)


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_of_a_size_and_named_for_what_they_do(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= LINES
    words = module.replace(".", "_").split("_")
    assert not {"util", "utils", "helper", "helpers", "manager", "common", "misc"} & set(words)


@pytest.mark.parametrize("module", MODULES)
def test_what_is_public_says_what_it_is(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    bare = [] if ast.get_docstring(tree) else [module]
    holders: list[ast.Module | ast.ClassDef] = [tree]
    holders += [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for holder in holders:
        if isinstance(holder, ast.ClassDef) and holder.name.startswith("_"):
            continue
        bare += [
            node.name
            for node in holder.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert bare == []


def test_the_face_is_a_sorted_list() -> None:
    assert flowlake.__all__ == sorted(flowlake.__all__)
    assert dir(flowlake) == flowlake.__all__
    for name in flowlake.__all__:
        assert getattr(flowlake, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        flowlake.nothing  # noqa: B018


def test_type_checkers_see_the_same_face() -> None:
    tree = ast.parse(MODULES[FACE].read_text())
    named = [
        alias.name
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(named) == flowlake.__all__


def test_errors_are_one_tree() -> None:
    errors = importlib.import_module("flowlake.errors")
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, Exception):
            assert issubclass(error, errors.FlowLakeError)
            assert name in (errors.__doc__ or "")
            assert name in flowlake.__all__


@pytest.mark.parametrize("module", ["flowlake", "flowlake.cli"])
def test_importing_it_loads_no_engine(module: str) -> None:
    program = f"import sys, {module}; print(*(e for e in {ENGINES!r} if e in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_reliability_names_tests_that_are_there() -> None:
    page = (PACKAGE.parent / "docs" / "reliability.md").read_text()
    code = "".join(path.read_text() for path in (PACKAGE.parent / "tests").glob("*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 50
    assert [name for name in sorted(named) if f"def {name}(" not in code] == []
    assert all((PACKAGE.parent / path).exists() for path in re.findall(r"`(tests/[\w/.]+)`", page))
