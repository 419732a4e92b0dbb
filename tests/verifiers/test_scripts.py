"""Letters of a script that has no place in a text are found; names, formulas, code and quotations are let pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cot_distill import verifiers
from cot_distill.errors import ConfigError
from cot_distill.types import Message, Task, Trace, Verdict

TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in (Path(__file__).parent / "texts").glob("??.txt")}
LATIN = sorted(set(TEXTS) - {"ar", "ja", "ko", "ru", "zh"})
TASK = Task(instruction="How many are there?")


def judge(reasoning: str, *, task: Task = TASK, answer: str = "4", **settings: Any) -> Verdict:
    verdict = verifiers.scripts(**settings)(task, Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("scripts", "quality")
    assert verdict.passed is not False or verdict.reason
    return verdict


def test_texts_are_there() -> None:
    assert len(TEXTS) == 13


@pytest.mark.parametrize("language", ["ar", "ja", "ko", "ru", "zh"])
def test_another_script_in_the_midst_of_a_text(language: str) -> None:
    mixed = TEXTS["en"] + TEXTS[language][:60] + TEXTS["en"]
    verdict = judge(mixed)
    assert verdict.passed is False
    assert judge(mixed, expected="en").passed is False
    assert judge("So it is.", answer=mixed).passed is False
    assert judge("So it is.", answer=mixed, part="reasoning").passed is True
    at = int(str(verdict.reason).rpartition(" ")[2].rstrip(")"))
    assert at >= len(TEXTS["en"])


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_in_the_script_of_its_task_passes(language: str) -> None:
    task = Task(instruction=TEXTS[language])
    assert judge(TEXTS[language], task=task).passed is True
    assert judge(TEXTS[language], task=TASK, expected=language).passed is True


def test_the_reason_counts_names_and_quotes() -> None:
    assert judge("So x is 4. 因此答案是四。 Done.").reason == (
        "6 letters of Han, the first in '因此答案是四' (reasoning, at character 11)"
    )
    both = judge("So x is 4. Поэтому да. 因此答案是四。").reason
    assert both == "15 letters of Cyrillic and Han, the first in 'Поэтому' (reasoning, at character 11)"


@pytest.mark.parametrize(
    "text",
    [
        "The capital is Beijing (北京市朝阳区), as everybody knows.",
        "The sign said «Выход на улицу» and nothing else.",
        'It reads "出口在左边这里" on the map.',
        "The string `ключ = значение` is the key.",
        "```python\nprint('Привет, мир и все остальные')\n```\nThat is all.",
        "Let α, β and γ be the angles, with α + β + γ = π, and δ > ε.",
        "The sum $\\sum_{ж=1}^{нагрузка} ж$ has that many terms.",
        "∀x ∈ ℝ: x² ≥ 0 → √x ≤ ∞, that is ≈ 3 × 4 ÷ 2.",
        "I pass 10 ℃ and 5 Ω, thus 50 %, naïve café Straße.",
        "Great! 😀 👍 That is it.",
        "It is 北京 of course.",
    ],
)
def test_what_has_its_place_in_english(text: str) -> None:
    assert judge(text).passed is True
    assert judge(text, expected="en").passed is True


def test_a_greek_word_is_no_symbol() -> None:
    assert judge("So x is 4, δηλαδή τέσσερα.").passed is False


def test_stray_letters_are_counted() -> None:
    text = "So 所以 x is 4, 因此 y is 5."
    assert judge(text).passed is True
    assert judge(text, stray=3).passed is False
    assert judge(text, stray=0).reason == "4 letters of Han, the first in '所以' (reasoning, at character 3)"


@pytest.mark.parametrize(
    "instruction",
    ["Translate 'good morning' into Chinese.", "用英语翻译这句话。", "Übersetze: guten Morgen",
     "Name the letters of the Russian alphabet."],
)  # fmt: skip
def test_a_task_about_languages_passes(instruction: str) -> None:
    assert (
        judge("早上好的意思是这样的 means good morning. Доброе утро.", task=Task(instruction=instruction)).passed
        is True
    )


def test_what_the_task_writes_may_be_written() -> None:
    task = Task(instruction="What does 塞翁失马 mean?", answer="A blessing in disguise: 塞翁失马焉知非福")
    assert judge("The saying is 塞翁失马焉知非福, and it means this.", task=task).passed is True
    earlier = Task(messages=(Message(role="user", content="这是我的问题"), Message(role="user", content="And now?")))
    assert judge("So 这是我的问题 was asked before.", task=earlier).passed is True
    assert judge("So 这是我的问题 was asked before. Это так.", task=earlier).passed is False


def test_an_english_text_where_another_script_is_expected() -> None:
    verdict = judge(TEXTS["en"], task=Task(instruction=TEXTS["zh"]))
    assert verdict.passed is False
    assert "for the most part in Latin letters, where Han is expected: 'Let me think" in str(verdict.reason)
    assert judge(TEXTS["en"], expected="ru").passed is False
    names = (
        TEXTS["zh"] + " Harry Potter, Ron Weasley, Hermione Granger, Neville Longbottom, Draco Malfoy, Luna Lovegood"
    )
    assert judge(names, task=Task(instruction=TEXTS["zh"])).passed is True
    code = TEXTS["zh"] + "\n```python\n" + "print('hello there, my friend')\n" * 50 + "```"
    assert judge(code, task=Task(instruction=TEXTS["zh"])).passed is True


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"expected": "English"}, "'English'"),
        ({"stray": -1}, "stray=-1"),
        ({"stray": 0.5}, "stray=0.5"),
        ({"part": ""}, "part=''"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        verifiers.scripts(**settings)
