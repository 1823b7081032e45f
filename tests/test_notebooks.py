"""Every code cell of every notebook runs, from the top, where nothing is yet."""

import ast
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))


def run(cell: str, names: dict[str, Any]) -> object:
    """Run a cell; its value is its last line's, as in Jupyter."""
    body = ast.parse(cell)
    last = body.body.pop() if isinstance(body.body[-1], ast.Expr) else None
    exec(compile(body, "cell", "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in codes), "strip outputs"
    names: dict[str, Any] = {}
    frames = [
        shown
        for cell in codes
        if isinstance(shown := run("".join(cell["source"]), names), pl.DataFrame)
    ]
    assert frames
    assert all(frame.height for frame in frames)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
