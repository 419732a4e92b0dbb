"""The package as a whole: what it exposes, what importing it loads, and what its errors promise."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
import types

import pytest

import cot_distill
from cot_distill import errors

MISSING = (
    "cot_distill.student",  # needs torch: tests/train/student/test_package.py has it
    *(() if importlib.util.find_spec("httptools") else ("cot_distill.http1._llhttp",)),
)
MODULES = [
    module.name
    for module in pkgutil.walk_packages(cot_distill.__path__, "cot_distill.")
    if not module.name.endswith("__main__") and not module.name.startswith(MISSING)
]


def test_all_is_sorted_and_is_what_the_package_exposes() -> None:
    exposed = {
        name
        for name, value in vars(cot_distill).items()
        if not name.startswith("_") and not (isinstance(value, types.ModuleType) and name not in cot_distill.__all__)
    }
    assert list(cot_distill.__all__) == sorted(cot_distill.__all__)
    assert set(cot_distill.__all__) - {"__version__"} == exposed


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring_and_a_true_all(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    names = getattr(module, "__all__", None)
    if names is None:
        assert name.rpartition(".")[2].startswith("_")
        return
    for public in names:
        assert hasattr(module, public)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if not getattr(value, "__module__", name).startswith("cot_distill"):
            continue
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public}"
        if inspect.isclass(value) and value.__module__ == name:
            for member, function in vars(value).items():
                if inspect.isfunction(function) and not member.startswith("_") and function.__module__ == name:
                    assert function.__doc__, f"{name}.{public}.{member}"


LIGHT = """
import socket, sys
def refuse(*_):
    raise AssertionError("network")
socket.socket.connect = socket.create_connection = refuse
import cot_distill, cot_distill.testing, cot_distill.__main__
from cot_distill import Distiller, open_teacher
Distiller(open_teacher("vllm:some/model"))
heavy = {"datasets", "pandas", "pyarrow", "torch", "transformers", "ray", "numpy", "tqdm", "huggingface_hub"}
print(sorted(heavy & set(sys.modules)))
"""


def test_importing_is_light_and_silent() -> None:
    result = subprocess.run([sys.executable, "-W", "error", "-c", LIGHT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[]\n"
    assert result.stderr == ""


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    drawn = errors.__doc__ or ""
    for name in errors.__all__:
        value = getattr(errors, name)
        if inspect.isclass(value):
            assert issubclass(value, errors.DistillError)
            assert f"{name}" in drawn.split(), name
    assert issubclass(errors.MissingExtraError, ImportError)
    fatal = {errors.AuthError, errors.QuotaError, errors.UnknownModelError}
    transient = {errors.RateLimitError, errors.UnavailableError}
    for error in (errors.TeacherError, *errors.TeacherError.__subclasses__()):
        assert error.fatal is (error in fatal)
        assert error.transient is (error in transient)


def test_a_missing_extra_says_the_pip_line() -> None:
    error = errors.MissingExtraError("Reading .zst files", "zstd")
    assert "pip install 'cot_distill[zstd]'" in str(error)
