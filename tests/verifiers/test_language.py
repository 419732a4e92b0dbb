"""Passages in another language are found, and too little text is no ground for a verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cot_distill import verifiers
from cot_distill.demo_problems import make_problem, solve
from cot_distill.errors import ConfigError
from cot_distill.types import Task, Trace, Verdict

pytest.importorskip("py3langid")

TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in (Path(__file__).parent / "texts").glob("??.txt")}
TASK = Task(instruction="When do they meet?")


def judge(reasoning: str, *, task: Task = TASK, answer: str = "4", **settings: Any) -> Verdict:
    verdict = verifiers.language(**settings)(task, Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("language", "quality")
    return verdict


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_every_language_is_told_from_english(language: str) -> None:
    assert judge(TEXTS[language]).passed is True
    assert judge(TEXTS[language], expected=language).passed is True
    assert judge(TEXTS[language], task=Task(instruction=TEXTS[language])).passed is True
    if language != "en":
        assert judge(TEXTS[language], expected="en").passed is False
        assert judge(TEXTS["en"], task=Task(instruction=TEXTS[language])).passed is False


def test_a_passage_in_the_midst_of_a_text() -> None:
    verdict = judge(TEXTS["en"] + TEXTS["de"] + TEXTS["en"])
    assert verdict.passed is False
    assert str(verdict.reason).startswith("'de' where 'en' is expected: '")
    at = int(str(verdict.reason).rpartition(" ")[2].rstrip(")"))
    assert len(TEXTS["en"]) - 300 < at < len(TEXTS["en"]) + len(TEXTS["de"])
    assert judge(TEXTS["en"], answer=TEXTS["fr"]).passed is False
    assert judge(TEXTS["en"], answer=TEXTS["fr"], part="reasoning").passed is True


def test_a_quotation_of_one_sentence_passes() -> None:
    assert judge(TEXTS["en"] + "As Goethe says, es irrt der Mensch, solang er strebt. " + TEXTS["en"]).passed is True


def test_formulas_and_code_are_no_language() -> None:
    latex, python = (
        (Path(__file__).parent / "texts" / f"{name}.txt").read_text(encoding="utf-8") for name in ("latex", "python")
    )
    for text in (latex, python):
        assert judge(TEXTS["en"] + text, expected="en").passed is True
        assert (
            judge(TEXTS["de"] + "\n" + "```python\n" + "def solve(values): return sum(values)\n" * 30 + "```").passed
            is True
        )


@pytest.mark.parametrize(
    "text", ["2 + 2 = 4", "So it is 4.", "```\n" + "x = y\n" * 200 + "```", r"\frac{a}{b} " * 50]
)
def test_too_little_text_is_no_ground(text: str) -> None:
    verdict = judge(text)
    assert (verdict.passed, verdict.applies) == (None, False)
    assert verdict.reason == "too little text to tell its language"


def test_the_demo_teacher_speaks_english() -> None:
    for index in range(60):
        solution = solve(make_problem(index).instruction)
        assert solution is not None
        assert judge(*solution[:1], expected="en").passed is not False


def test_a_task_about_languages_passes() -> None:
    verdict = judge(TEXTS["en"] + TEXTS["fr"], task=Task(instruction="Translate this text into French."))
    assert verdict.passed is True
    assert verdict.reason == "the task itself speaks of languages"


@pytest.mark.parametrize(
    ("settings", "says"), [({"expected": "English"}, "none of af, ar,"), ({"part": "a"}, "part='a'")]
)
def test_nonsense_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        verifiers.language(**settings)


WITHOUT = """
import sys
sys.modules["py3langid"] = None
from cot_distill import verifiers
from cot_distill.errors import MissingExtraError
verifiers.scripts("en")
try:
    verifiers.language("en")
except MissingExtraError as error:
    print(error)
"""


def test_without_the_package_the_error_says_the_pip_line() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert "pip install 'cot_distill[lang]'" in done.stdout, done.stderr


def test_importing_the_verifiers_does_not_load_the_model() -> None:
    code = (
        "import sys; from cot_distill import verifiers; verifiers.language('en'); print('py3langid' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
