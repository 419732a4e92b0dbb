"""What of a text is prose: without code, formulas and addresses, and with every other character in its place."""

from __future__ import annotations

import re

# Each alternative ends at the latest where it would begin again, so that what is never closed costs no time.
_CODE = r"```(?:(?!```).)*(?:```|\Z)|`[^`\n]{1,500}`"
_NO_PROSE = re.compile(
    _CODE
    + r"|\$\$[^$]{1,5000}\$\$|\$[^$\n]{1,500}\$"
    + r"|\\\((?:(?!\\\().){0,2000}?\\\)|\\\[(?:(?!\\\[).){0,5000}?\\\]"
    + r"|\\[A-Za-z]+"
    + r"|https?://[^\s)]{1,500}",
    re.DOTALL,
)
_FENCED_OR_INLINE = re.compile(_CODE, re.DOTALL)


def without_code(text: str) -> str:
    """The text with code, fenced or inline, made blank: every other character keeps its index."""
    return _FENCED_OR_INLINE.sub(_blank, text) if "`" in text else text


def prose(text: str) -> str:
    """The text with code, formulas, commands of LaTeX and addresses made blank."""
    return _NO_PROSE.sub(_blank, text)


def _blank(found: re.Match[str]) -> str:
    return " " * (found.end() - found.start())
