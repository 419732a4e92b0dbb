"""What a task itself says: what it speaks of is no flaw in its solution."""

from __future__ import annotations

import re

from cot_distill.types import Task

_ABOUT_WRITING = re.compile(
    r"translat|language|alphabet|\bscripts?\b|unicode|\bemoji|transliterat|pronounc|pinyin|\bkanji|hiragana|katakana"
    r"|chinese|mandarin|cantonese|japanese|korean|russian|ukrainian|bulgarian|greek|hebrew|arabic|persian|urdu|hindi"
    r"|sanskrit|bengali|tamil|telugu|\bthai\b|armenian|georgian|cyrillic|hangul|devanagari|vietnamese|indonesian"
    r"|\bin english|german|french|spanish|italian|portuguese|\bdutch|polish|swedish|danish|norwegian|finnish|turkish"
    r"|\bczech|hungarian|romanian|\blatin\b"
    r"|übersetz|sprach|traduc|traduis|traduzi|langue|idioma|língua|lingua|перев[оеё]д|язык|翻译|翻訳|번역|语言|言語|语\b"
    r"|英语|英文|中文|汉语|日语|法语|德语",
    re.IGNORECASE,
)


def asked(task: Task) -> str:
    """All that the task says, its reference answer included."""
    return "\n".join([*(turn.content for turn in task.prompt()), task.answer or ""])


def is_about_languages(said: str) -> bool:
    """Whether a task speaks of languages or scripts, so that its solution may use several."""
    return _ABOUT_WRITING.search(said) is not None
