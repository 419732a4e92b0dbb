"""The options of a multiple-choice task, wherever the task lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cot_distill.answers import normalise
from cot_distill.types import Task

__all__ = ["options_of", "plain"]

_LATEX = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox|boldsymbol)\s*\{([^{}]*)\}")
_NOISE = re.compile(r"\*\*|__|`|\$|\\[()\[\]]|\\(?:left|right)(?![a-zA-Z])")


def plain(text: str) -> str:
    r"""A text without the LaTeX and Markdown that stands around letters: ``\text{(B)}`` is ``(B)``."""
    return _NOISE.sub("", _LATEX.sub(r"\1", text)).strip()


def options_of(task: Task, letters: str) -> dict[str, str]:
    """The options of a task, by letter, as :func:`plain` text that is folded; empty where it lists none.

    Looked for in ``metadata["choices"]``, which may be a list, a dict by letter, or a dict of the lists ``label`` and
    ``text``; else in the instruction, as lines or parts that begin with ``A)``, ``(A)``, ``A.`` or ``A:``.
    """
    found = _given(task.metadata.get("choices"), letters) or _written(task.instruction, letters)
    return {letter: normalise(plain(text)) for letter, text in found.items() if text.strip()}


def _given(choices: Any, letters: str) -> dict[str, str]:
    if isinstance(choices, Mapping):
        labels, texts = choices.get("label"), choices.get("text")
        if isinstance(labels, Sequence) and isinstance(texts, Sequence) and len(labels) == len(texts):
            choices = dict(zip(labels, texts, strict=True))
        by_label = {str(label).strip().upper(): str(text) for label, text in choices.items()}
        if by_label.keys() <= set(letters):
            return by_label
        choices = list(by_label.values()) if all(label.isdigit() for label in by_label) else []  # numbered instead
    if isinstance(choices, Sequence) and not isinstance(choices, str) and len(choices) <= len(letters):
        return dict(zip(letters, map(str, choices), strict=False))
    return {}


def _written(instruction: str, letters: str) -> dict[str, str]:
    """The last run of options in a text that begins with the first letter and leaves none out."""
    some = f"[{re.escape(letters)}]"
    marks = list(re.finditer(rf"(?:^|(?<=\s))[(\[]?(?P<letter>{some})[)\].:](?=\s)\s*", instruction))
    best: dict[str, str] = {}
    for number, first in enumerate(marks):
        if first["letter"] != letters[0]:
            continue
        run = [first]
        for mark in marks[number + 1 :]:
            if len(run) < len(letters) and mark["letter"] == letters[len(run)]:
                run.append(mark)
        if len(run) > 1:
            ends = [mark.start() for mark in run[1:]] + [len(instruction)]
            texts = [instruction[mark.end() : end] for mark, end in zip(run, ends, strict=True)]
            last = texts[-1].strip().partition("\n")[0]  # what follows the last option is not part of it
            best = dict(zip(letters, [*texts[:-1], last], strict=False))
    return best
