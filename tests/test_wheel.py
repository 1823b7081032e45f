"""What is built and installed: the package, the saved queries and the command."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build(source: Path, target: str, folder: Path) -> Path:
    """What hatchling makes of a source tree: the wheel, or the sdist."""
    hatchling = [sys.executable, "-m", "hatchling", "build", "--target", target]
    subprocess.run(
        [*hatchling, "--directory", str(folder)], cwd=source, check=True, capture_output=True
    )
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_carries_the_package_the_saved_queries_and_the_types(wheel: Path) -> None:
    names = {name for name in contents(wheel) if ".dist-info/" not in name}
    files = [file for file in (ROOT / "flowlake").rglob("*.*") if "__pycache__" not in file.parts]
    package = {file.relative_to(ROOT).as_posix() for file in files}
    saved = {f"flowlake/sql/{file.name}" for file in (ROOT / "queries").glob("*.sql")}
    assert saved
    assert names == {*package, *saved, "flowlake/sql/README.md"}
    assert "flowlake/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in contents(wheel))


def test_the_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert {path.name for path in unpacked.iterdir() if path.is_dir()} == {"flowlake", "queries"}
    assert contents(build(unpacked, "wheel", tmp_path / "wheel")) == contents(wheel)


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
