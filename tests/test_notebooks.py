"""The notebooks run from top to bottom, in a kernel of their own and an empty directory.

That on the student trains models: ``tests/train/test_notebook_03.py`` runs it, where torch is installed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
TRAINS = "03_student.ipynb"
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").glob("*.ipynb") if path.name != TRAINS)


def read(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return notebook


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
    assert (ROOT / "notebooks" / TRAINS).exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    place = tmp_path / "place"
    place.mkdir()
    notebook = read(path)
    NotebookClient(
        notebook, kernel_name="python3", timeout=60, resources={"metadata": {"path": str(place)}}
    ).execute()  # raises what a cell raises
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    # What is written to stderr is the bar, and nothing that would make a reader wonder.
    shown = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
    assert "cot_distill: 100%" in shown
    assert "Warning" not in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_without_traces_of_a_run(path: Path) -> None:
    notebook = read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 15
    assert not re.search(r"/(?:home|root|tmp|Users|work)/|[A-Z]:\\\\", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    links = [link for text in texts for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert links
    assert all((path.parent / link).exists() for link in links)
