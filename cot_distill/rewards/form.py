"""Rewards for form: one think block, and an answer that holds nothing of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cot_distill.control_tokens import CONTROL_TOKENS
from cot_distill.errors import TraceError
from cot_distill.rewards.reading import CLOSE, OPEN, Reward, check_batch, check_prefilled, is_opened_by, said, spans
from cot_distill.trace import KNOWN_TAGS, Prefilled, split

__all__ = ["no_leak", "think_format"]

_TAGS = re.compile("|".join(re.escape(tag) for pair in KNOWN_TAGS.values() for tag in (pair.open, pair.close)))
_THINKING_ALOUD = re.compile(
    r"^[ \t>*_#-]*(?:"
    r"(?:wait|hold on|no wait)[,.!…:—]|hmm+\b|(?:actually|okay|ok),? (?:wait|so|let me)\b|on second thought\b"
    r"|let me (?:think|reconsider|re-?check|double[ -]check|try again)\b"
    r"|(?:thinking|thought process|chain of thought|scratchpad)[*_]*:"
    r")",
    re.IGNORECASE | re.MULTILINE,
)
_LEAKS = (_TAGS, CONTROL_TOKENS, _THINKING_ALOUD)


def think_format(*, prefilled: Prefilled = "auto") -> Reward:
    r"""Reward exactly one think block with something in it, at the beginning, and an answer after it: 1 or 0.

    Args:
        prefilled: Whether the prompt already opened the tag, so that the completion must not open it again.
            ``"auto"`` sees that in prompts that are text. Of messages nobody can see what the chat template writes
            after them, and both forms pass: say True or False there to be strict.

    Returns:
        A reward named "think_format". Reasoning that comes in a field of its own counts as a block.

    Raises:
        ConfigError: ``prefilled`` is something else.

    Example:
        >>> reward = think_format()
        >>> reward(["2 + 2? <think>\n", "2 + 2?", "2 + 2?"], ["Easy.</think>4", "Easy.</think>4", "<think></think>4"])
        [1.0, 0.0, 0.0]
    """
    check_prefilled(prefilled)
    return _ThinkFormat(prefilled)


@dataclass(frozen=True, eq=False)
class _ThinkFormat:
    prefilled: Prefilled
    __name__: ClassVar[str] = "think_format"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **_columns: Any) -> list[float | None]:
        check_batch(prompts, completions)
        return [float(self._holds(*pair)) for pair in zip(prompts, completions, strict=True)]

    def _holds(self, prompt: object, completion: object) -> bool:
        found = said(completion)
        if found is None:
            return False
        if found.field:
            return bool(found.text.strip()) and not any(tag in part for part in found for tag in (OPEN, CLOSE))
        opened = is_opened_by(prompt, self.prefilled)
        if opened and OPEN in found.text:
            return False
        try:
            split(found.text, prefilled="auto" if opened is None else opened)
        except TraceError:
            return False
        return True


def no_leak() -> Reward:
    """Reward an answer that holds no tags, no control tokens of a chat format, and no thinking aloud: 1 or 0.

    Thinking aloud is what begins a line with "Wait,", "Hmm", "Let me think", "Okay, so", "Scratchpad:" and their
    kind. It is 0 where there is no answer. For more than that there are ``from_verifier(verifiers.leaks())`` and its
    kin.

    Returns:
        A reward named "no_leak".

    Example:
        >>> no_leak()(["2 + 2?"] * 2, ["<think>Easy.</think>It is 4.", "<think>Easy.</think>Hmm, it is 4."])
        [1.0, 0.0]
    """
    return _NoLeak()


@dataclass(frozen=True, eq=False)
class _NoLeak:
    __name__: ClassVar[str] = "no_leak"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **_columns: Any) -> list[float | None]:
        check_batch(prompts, completions)
        answers = (spans(*pair).answer or "" for pair in zip(prompts, completions, strict=True))
        return [float(bool(answer.strip()) and not any(leak.search(answer) for leak in _LEAKS)) for answer in answers]
