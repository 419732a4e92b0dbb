"""Teachers in this process, as far as that goes without their packages."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from cot_distill import open_teacher
from cot_distill.errors import ConfigError, MissingExtraError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither torch nor vLLM were installed."""
    find = importlib.util.find_spec

    def found(name: str, *rest: Any) -> Any:
        return None if name in ("torch", "vllm") else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", found)


def test_without_torch(bare: None) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'cot_distill\[local\]'") as caught:
        open_teacher("transformers:Qwen/Qwen3-0.6B")
    assert caught.value.extra == "local"


def test_without_vllm(bare: None) -> None:
    with pytest.raises(ConfigError, match="there is no vllm here"):
        open_teacher("vllm-engine:Qwen/Qwen3-0.6B")


@pytest.mark.parametrize("provider", ["transformers", "vllm-engine"])
def test_a_spec_that_is_none(provider: str) -> None:
    with pytest.raises(ConfigError, match=f"names no model: write {provider}:MODEL"):
        open_teacher(f"{provider}:")
    options: list[dict[str, Any]] = [
        {"base_url": "http://127.0.0.1:8000/v1"},
        {"api_key": "sk-1"},
        {"headers": {"a": "b"}},
        {"stream": True},
    ]
    for option in options:
        with pytest.raises(ConfigError, match="runs in this process: it takes no base_url"):
            open_teacher(f"{provider}:m", **option)


def test_nothing_heavy_is_imported() -> None:
    """Not before somebody asks for a teacher in this process."""
    script = "import cot_distill.teachers, sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "vllm", "cot_distill.teachers.local"} & set(result.stdout.split())
