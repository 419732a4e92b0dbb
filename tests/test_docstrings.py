"""Every example in a docstring runs, and gives what it shows."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
from pathlib import Path

import pytest

import cot_distill

MISSING = (
    "cot_distill.student",  # needs torch: tests/train/student/test_package.py has it
    *(() if importlib.util.find_spec("httptools") else ("cot_distill.http1._llhttp",)),
)
MODULES = [
    "cot_distill",
    *(
        module.name
        for module in pkgutil.walk_packages(cot_distill.__path__, "cot_distill.")
        if not module.name.endswith("__main__") and not module.name.startswith(MISSING)
    ),
]


def examples(name: str) -> list[doctest.DocTest]:
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module, name) if test.examples]


WITH_EXAMPLES = [name for name in MODULES if examples(name)]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    for number, test in enumerate(examples(name)):
        place = tmp_path / str(number)
        place.mkdir()
        test.globs["tmp_path"] = place  # as in a test of pytest: a directory to write to
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert not report, "".join(report)


def test_there_are_examples_in_most_public_modules() -> None:
    assert len(WITH_EXAMPLES) >= 20
