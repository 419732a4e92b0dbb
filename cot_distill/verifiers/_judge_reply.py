"""Reading what a judge says: its own last lines, and nothing that it quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cot_distill.trace import KNOWN_TAGS
from cot_distill.types import Completion, Usage

_LAST_LINES = 4
"""A verdict stands at the end; lines with a score or a full stop may stand about it."""
_EXPLANATION = 400


def final_text(completion: Completion) -> str:
    """What a judge says after it has thought, whatever tags it thinks in."""
    text = completion.content
    for tags in KNOWN_TAGS.values():
        text = text.rpartition(tags.close)[2]
        if text.lstrip().startswith(tags.open):
            return ""  # it never came to an end
    return text


def is_forgeable(word: str, values: str, shown: Iterable[str]) -> bool:
    """Whether what a judge is shown holds a line that could be taken for its own."""
    plain = _line(word, values, "")
    return any(plain.search(text) for text in shown)


def read_line(text: str, word: str, values: str, code: str, *, strict: bool) -> str | None:
    """The value of the line ``word code: value`` among the last lines of a reply.

    Args:
        text: The reply.
        word: Of the line: "verdict", "score"…
        values: A pattern.
        code: Of this question. A judge that leaves it out is understood nevertheless, unless ``strict``.
        strict: Whether the code must be there, since a line without it may be a quotation.

    Returns:
        The value in small letters; None where there is no such line.
    """
    end = "\n".join([line for line in text.splitlines() if line.strip()][-_LAST_LINES:])
    for form in (code,) if strict else (code, ""):
        found = list(_line(word, values, form).finditer(end))
        if found:
            return found[-1]["value"].lower()
    return None


def explanation(text: str, code: str) -> str:
    """What a judge says before its last lines, in one line, and not too long."""
    lines = [line for line in text.splitlines() if not re.match(r"\W*(?:verdict|score|better)\b.*:", line, re.I)]
    words = " ".join(" ".join(lines).replace(code, "").split()).encode("utf-8", "replace").decode()
    return words if len(words) <= _EXPLANATION else "…" + words[1 - _EXPLANATION :]


def total(usages: Iterable[Usage]) -> Usage:
    """What several replies used together; a count that one of them does not tell is not told."""
    counted = list(usages)

    def add(counts: list[int | None]) -> int | None:
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None

    return Usage(
        prompt_tokens=add([usage.prompt_tokens for usage in counted]),
        completion_tokens=add([usage.completion_tokens for usage in counted]),
        reasoning_tokens=add([usage.reasoning_tokens for usage in counted]),
    )


def _line(word: str, values: str, code: str) -> re.Pattern[str]:
    mark = rf"[ \t]*[\[(<]?{re.escape(code)}[\])>]?" if code else ""
    return re.compile(
        rf"^[ \t*_#>`-]*{word}{mark}[ \t*_`]*[:：][ \t*_`\"'<]*(?P<value>{values})(?!\w)",
        re.IGNORECASE | re.MULTILINE,
    )
