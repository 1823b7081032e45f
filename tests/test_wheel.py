"""What is built and installed: the package, the saved queries and the command."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *options], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_carries_the_saved_queries_the_types_and_the_reports_page(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    saved = {f"flowlake/sql/{file.name}" for file in (ROOT / "queries").glob("*.sql")}
    assert saved
    assert saved <= names
    assert "flowlake/py.typed" in names
    assert {f"flowlake/report/page.{kind}" for kind in ("css", "html", "js")} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_it_converts_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    """Installed alone into an empty folder, away from the checkout, with the same libraries."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--target", str(site), str(wheel)], check=True)
    env = {**os.environ, "PYTHONPATH": str(site)}

    def flowlake(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, str(site / "bin" / "flowlake"), *words],
            cwd=tmp_path,
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    where = "import flowlake; print(flowlake.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(site))
    flowlake("sample", "bucket", "--hours", "1")
    assert "Converted" in flowlake("convert", "bucket")
    assert "TCP" in flowlake("query", "protocol_breakdown")
