"""The notebook on the student: stored with what it printed, and run here from top to bottom with fewer steps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03_student.ipynb"
FULL, SHORT = "STEPS = 400", "STEPS = 100"
# After so few steps a student may not think in its first answers, for which a run would be stopped.
SURE, UNSURE = "concurrency=128)", "concurrency=128, require_reasoning=False)"


def cells(kind: str) -> list[dict[str, Any]]:
    """Those of the notebook; read as JSON, since what runs notebooks is not installed in this part of the tests."""
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.timeout(600)
def test_the_notebook_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    script = "\n".join(source(cell) for cell in cells("code"))
    assert script.count(FULL) == script.count(SURE) == 1
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::DeprecationWarning:__main__",
            "-c",
            script.replace(FULL, SHORT).replace(SURE, UNSURE),
        ],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # How much a student learns in so few steps is left to chance; what it learns from is not.
    names = (
        "answers only",
        "answers only, 4 x larger",
        "reasoning",
        "text",
        "text and logits",
        "text and hidden states",
    )
    for name in names:
        assert re.search(rf"^{re.escape(name)} [01]\.\d+", done.stdout, re.MULTILINE), done.stdout
    thought = re.search(r"with ([\d.]+) tokens of reasoning", done.stdout)
    assert thought is not None
    assert float(thought[1]) > 10
    assert len(re.findall(r"^\d+ right, \d+ wrong", done.stdout, re.MULTILINE)) == 2
    assert (tmp_path / "runs" / "model").is_dir()


def test_it_is_stored_with_its_outputs_and_nothing_else_of_a_run() -> None:
    code = cells("code")
    shown = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in shown} <= {"stream", "execute_result"}
    assert all(output["name"] == "stdout" for output in shown if output["output_type"] == "stream")
    assert sum("image/svg+xml" in output.get("data", {}) for output in shown) == 2
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))  # in one go
    assert FULL in source(code[0])
    assert all(len(source(cell).splitlines()) <= 15 for cell in code)
    assert not re.search(r"/(?:home|root|tmp|Users|work)/|[A-Z]:\\\\", NOTEBOOK.read_text("utf-8"))


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#\s]+)", "".join(source(cell) for cell in cells("markdown")))
    assert links
    assert all((NOTEBOOK.parent / link).exists() for link in links)
