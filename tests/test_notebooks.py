"""Every notebook runs in Jupyter's kernel, from the top, beside a lake that was just converted."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from flowlake.converting import convert
from flowlake.samples import write_sample
from flowlake.storage import canonical, open_storage

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make convert`` leaves: a sample bucket and its lake, and a folder of notebooks."""
    root = tmp_path_factory.mktemp("checkout")
    bucket = root / "sample-bucket"
    write_sample(open_storage(str(bucket)), prefix=f"{canonical(bucket)}/")
    convert(str(bucket), lake=root / "lake", workers=1)
    (root / "notebooks").mkdir()
    return root / "notebooks"


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.reads(request.param.read_text(encoding="utf-8"), as_version=4)


def test_it_is_stored_without_outputs(notebook: Any) -> None:
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in codes), "strip outputs"


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_it_tells_its_story(notebook: Any, folder: Path) -> None:
    resources = {"metadata": {"path": str(folder)}}
    done = NotebookClient(notebook, timeout=120, resources=resources).execute()
    shown = [
        output.data
        for cell in done.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    tables = [data for data in shown if "shape: (" in data.get("text/plain", "")]
    assert tables
    assert not [data for data in tables if "shape: (0," in data["text/plain"]]
    assert [data for data in shown if "image/png" in data], "no chart"


def test_there_are_four() -> None:
    assert [path.stem.partition("-")[0] for path in NOTEBOOKS] == ["01", "02", "03", "04"]
