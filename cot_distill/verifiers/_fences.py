"""Fenced blocks of Markdown: where they begin, in which language they are, and what is in them."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?:>[ \t]?)*(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^\n]*)$", re.MULTILINE)
_ALIASES = {
    "py": "python", "python3": "python", "py3": "python", "js": "javascript", "node": "javascript", "yml": "yaml",
    "ts": "typescript", "sh": "bash", "shell": "bash", "zsh": "bash", "c++": "cpp", "cxx": "cpp", "cs": "csharp",
    "c#": "csharp", "golang": "go", "rs": "rust", "rb": "ruby", "tex": "latex",
}  # fmt: skip


class Fence(NamedTuple):
    """One fenced block."""

    language: str
    """In lower case and by its usual name; empty where none is given."""
    text: str
    line: int
    """Of its first line of text in the answer, from 1."""


def usual_name(language: str) -> str:
    """The name of a language by which blocks are found."""
    language = language.strip().lower()
    return _ALIASES.get(language, language)


def fences(text: str) -> list[Fence]:
    """Find the fenced blocks of a text. One that is never closed goes on to the end."""
    found: list[Fence] = []
    opened: re.Match[str] | None = None
    line, counted = 1, 0  # counted on from block to block: an answer may hold very many
    for fence in _FENCE.finditer(text):
        if opened is None:
            if fence["fence"][0] == "~" or "`" not in fence["info"]:  # else it is code within a line
                opened = fence
                line, counted = line + text.count("\n", counted, fence.end()), fence.end()
        elif not fence["info"].strip() and fence["fence"].startswith(opened["fence"]):
            found.append(_fence(text, opened, fence.start(), line + 1))
            opened = None
    if opened is not None:
        found.append(_fence(text, opened, len(text), line + 1))
    return found


def _fence(text: str, opened: re.Match[str], end: int, line: int) -> Fence:
    words = opened["info"].strip("{}. \t\r").split()
    indent = opened["indent"]
    lines = text[opened.end() + 1 : end].splitlines(keepends=True)
    code = "".join(line.removeprefix(indent) for line in lines)
    return Fence(usual_name(words[0]) if words else "", code, line)


def parse_json(text: str) -> Any:
    """Parse JSON by its standard, so without ``NaN``.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
