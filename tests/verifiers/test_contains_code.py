"""A fenced block that can be read: found as Markdown has it, parsed where possible, the line of an error told."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import anyio
import pytest

from cot_distill.errors import ConfigError
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import contains_code


def ask(language: str, answer: str) -> Verdict:
    verifier: Any = contains_code(language)
    inner = getattr(verifier, "verifier", verifier)  # what runs inside, without a process for each case
    verdict = inner(Task(instruction="Q?"), Trace(reasoning="```python\nprint(1)\n```", answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about, verdict.applies) == ("contains_code", "quality", True)
    return verdict


@pytest.mark.parametrize(
    ("language", "answer"),
    [
        ("python", "Here:\n\n```python\nprint(1)\n```\nThat is all."),
        ("python", "```py\nprint(1)\n```"),
        ("python", "```Python title='a.py'\nprint(1)\n```"),
        ("python", "~~~python\nprint('```')\n~~~"),
        ("python", "````python\nprint('''\n```\n''')\n````"),
        ("python", "- so\n  ```python\n  def f():\n      return 1\n  ```"),
        ("python", "```python\nprint(1)"),  # never closed
        ("python", "```\nprint(1)\n```"),
        ("python", "```text\nnot (python\n```\n```python\nprint(1)\n```"),
        ("python", "```python\nprint(1\n```\nBetter:\n```python\nprint(1)\n```"),
        ("python", "```python\nprint('\\d')\n```"),  # which is worth a warning
        ("py", "```python\nprint(1)\n```"),
        ("json", '```json\n{"a": 1}\n```'),
        ("rust", "```rust\nfn main() {}\n```"),
        ("c++", "```cpp\nint main() {}\n```"),
    ],
)
def test_code_that_is_there(language: str, answer: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verdict = ask(language, answer)
    assert verdict.passed is True, verdict.reason


@pytest.mark.parametrize(
    ("language", "answer", "reason"),
    [
        ("python", "print(1)", "there is no fenced block of python"),
        ("python", "`print(1)`", "there is no fenced block of python"),
        ("python", "```python\n\n```", "there is no fenced block of python"),
        ("python", "```\nthat was no code\n```", "there is no fenced block of python"),
        ("python", "```rust\nfn main() {}\n```", "there is no fenced block of python"),
        ("python", "So:\n```python\nx = 1\nprint(x\n```", "'(' was never closed (line 4 of the answer)"),
        ("python", "```python\n" + "-" * 100_000 + "1\n```", "nested too deeply"),
        ("python", "```python\nx = '\0'\n```", "null bytes"),
        ("json", '```json\n{"a": NaN}\n```', "NaN is no JSON"),
        ("json", "```json\n" + "[" * 100_000 + "\n```", "nested too deeply"),
        ("rust", "```python\nprint(1)\n```", "there is no fenced block of rust"),
        ("rust", "```rust\n \n```", "there is no fenced block of rust"),
    ],
)
def test_code_that_is_not_there_or_does_not_parse(language: str, answer: str, reason: str) -> None:
    verdict = ask(language, answer)
    assert verdict.passed is False
    assert reason in (verdict.reason or "")


def test_python_is_parsed_in_a_process() -> None:
    verify: Any = contains_code()
    task, trace = Task(instruction="Q?"), Trace(reasoning="r", answer="```python\nprint(1)\n```")
    with verify.pool:
        assert anyio.run(partial(verify, task, trace)).passed is True
    assert contains_code("json").light is True  # type: ignore[attr-defined]


def test_a_language_has_a_name() -> None:
    with pytest.raises(ConfigError, match="name of a language"):
        contains_code(" ")
