"""`cot_distill.student` as a whole; the first tests need no torch, and say what there is without it."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from cot_distill import student

FILE = Path(student.__file__)
MODULES = [f"cot_distill.student.{module.name}" for module in pkgutil.iter_modules(student.__path__)]
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from cot_distill import student
from cot_distill.errors import MissingExtraError
print(student.LayerMap.last(1).pairs)
for name in ("kd_loss", "Projector", "hidden_state_loss", "fused_linear_kd_loss"):
    try:
        getattr(student, name)
    except MissingExtraError as error:
        assert error.extra == "train" and name in str(error), error
        print(error)
"""
LIGHT = """
import sys
import cot_distill, cot_distill.student
assert "torch" not in sys.modules
from cot_distill.student import LayerMap
assert "torch" not in sys.modules
"""
TORCH_ONLY = """
import sys
from cot_distill import student
for name in student.__all__:
    if name not in ("DistillationConfig", "DistillationTrainer"):
        getattr(student, name)
assert "torch" in sys.modules
print(sorted({"transformers", "trl", "accelerate", "peft"} & set(sys.modules)))
"""


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_without_torch_every_loss_names_the_extra() -> None:
    lines = python(WITHOUT_TORCH).splitlines()
    assert lines[0] == "((-1, -1),)"
    assert len(lines) == 5
    assert all("pip install 'cot_distill[train]'" in line for line in lines[1:])


def test_importing_it_is_light() -> None:
    python(LIGHT)


def test_the_losses_need_torch_only() -> None:
    pytest.importorskip("torch")
    assert python(TORCH_ONLY) == "[]\n"


def test_the_three_lists_of_names_agree() -> None:
    assert student.__all__ == sorted(student.__all__)
    assert set(student.__all__) == set(student._HOMES)
    for_types = {
        name.name: (node.module or "").rpartition(".")[2]
        for block in ast.parse(FILE.read_text(encoding="utf-8")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert for_types == student._HOMES
    assert set(student.__all__) <= set(dir(student))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'kd_los'"):
        _ = student.kd_los


@pytest.mark.parametrize("name", student.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    pytest.importorskip("torch")
    assert inspect.getdoc(getattr(student, name))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    pytest.importorskip("torch")
    module = importlib.import_module(name)
    assert module.__doc__
    assert all(hasattr(module, public) for public in module.__all__)
    report: list[str] = []
    for test in doctest.DocTestFinder().find(module, name):
        doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)
