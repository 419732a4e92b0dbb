r"""Finding what does not belong into any text: control tokens, tags, tool calls, and places that nobody filled in.

What a task itself speaks of is no leak, but for control tokens of chat formats, which do harm wherever they stand. In
code and formulas brackets and braces have other meanings, so there only control tokens, broken characters and notes
of things left to do are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cot_distill.answers import boxes, normalise
from cot_distill.control_tokens import CONTROL_TOKENS
from cot_distill.protocols import Verifier
from cot_distill.trace import KNOWN_TAGS
from cot_distill.types import Task
from cot_distill.verifiers._asked import asked
from cot_distill.verifiers._flaws import Flaw, Flawless, Part, check_part, quote
from cot_distill.verifiers._prose import prose, without_code

__all__ = ["leaks"]

_NO_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
_TAGS = [tag for pair in KNOWN_TAGS.values() for tag in (pair.open, pair.close)]
# By their first characters, so that `re` need not try each tag at each character.
_TAG = re.compile(
    f"[{re.escape(''.join(sorted({tag[0] for tag in _TAGS})))}](?:{'|'.join(re.escape(tag[1:]) for tag in _TAGS)})"
)
_TOOL_CALL = re.compile(
    r"</?(?:tool_calls?|tool_response|tool_result|function_calls?|function_results)\b[^>\n]{0,80}>"
    r"|<function=[\w.-]{1,64}>|\[/?(?:TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\]"
)
_SOLUTION = r"(?:answer|solution|result|response|reasoning|explanation|text|content)s?"
_PLACEHOLDER = re.compile(
    r"[\[<](?i:(?:insert|fill in)\b[^\[\]<>\n]{1,60}[\]>]"
    r"|(?:enter|add|put|type|write)\b[^\[\]<>\n]{1,60} here\]"
    rf"|your (?:\w+ ){{0,3}}{_SOLUTION}(?: here)?[\]>](?!\()"
    rf"|(?:the |final |correct ){{0,2}}{_SOLUTION} (?:goes |comes )?here[\]>](?!\()"
    r"|(?:placeholder|to be (?:filled|completed|determined)|tbd)[\]>](?!\())"
    r"|[Ll](?i:orem ipsum\b)|LOREM IPSUM"
)
# Two letters at least: in {{x}} the braces are those of sets, and after a letter or a sign those of LaTeX.
_FIELD = re.compile(r"(?<![\\\w}^_{$])\{\{[ \t]*[A-Za-z_]\w+(?:\.\w+)*[ \t]*\}\}(?!\})")
_LEFT_TO_DO = re.compile(r"(?:TODO|FIXME|TBD)\b(?!-)")
_NOTE = re.compile(r"(?:^|\n|#|//|/\*|<!--|--)[ \t]*\Z")
"""What stands before a note, as opposed to a list of things to do."""
_ABOUT_TEMPLATES = re.compile(r"templat|jinja|mustache|handlebars|\bvue\b|angular|liquid|\bhelm\b", re.IGNORECASE)
_BOX_DRESS = re.compile(r"\\(?:text|mathrm|mathbf)(?:bf|it|rm)?\b|[{}\s$_*]+")
_EMPTY_BOXES = frozenset(
    ("", "...", "…", r"\ldots", r"\dots", "?", "??", "answer", "final answer", "the answer", "the final answer",
     "your answer", "your final answer", "answer here", "your answer here", "final result", "your result")
)  # fmt: skip
_LONGEST_EMPTY_BOX = 60
_BEFORE_NOTE = 12


def leaks(*, part: Part = "both") -> Verifier:
    r"""Make a verifier that finds leaked control tokens and tags, tool calls, broken characters and placeholders.

    Found are ``<|im_end|>`` and its kind, the think tags of :data:`cot_distill.trace.KNOWN_TAGS`, ``<tool_call>``,
    "[INSERT ANSWER HERE]", "Lorem ipsum", fields such as ``{{answer}}`` outside of code and formulas; and in the
    answer also ``TODO`` as a note, and a last box that holds nothing: ``\boxed{}``, ``\boxed{your answer}``.

    Args:
        part: Where to look: ``"reasoning"``, ``"answer"`` or ``"both"``.

    Returns:
        A verifier named "leaks".

    Example:
        >>> from cot_distill.types import Trace
        >>> unfilled = Trace(reasoning="The user wants {{instruction}}.", answer="4")
        >>> leaks()(Task(instruction="2 + 2?"), unfilled).reason
        "a field of a template: '{{instruction}}' (reasoning, at character 15)"
    """
    check_part(part)
    return Flawless("leaks", part, _find_leak)


def _find_leak(task: Task, part: str, text: str) -> Flaw | None:
    for what, pattern in (("a broken character", _NO_CHARACTER), ("a control token", CONTROL_TOKENS)):
        if (found := pattern.search(text)) is not None:
            return Flaw(f"{what}: {quote(found[0])}", found.start())
    question = asked(task).casefold()
    for what, found in _suspects(part, text, question):
        if found[0].casefold() not in question:
            return Flaw(f"{what}: {quote(found[0])}", found.start())
    return _empty_box(task, text) if part == "answer" else None


def _suspects(part: str, text: str, question: str) -> Iterator[tuple[str, re.Match[str]]]:
    """What would be a leak, if the task did not speak of it."""
    plain = without_code(text)
    for what, pattern in (("a tag of reasoning", _TAG), ("a tool call", _TOOL_CALL)):
        yield from ((what, found) for found in pattern.finditer(plain))
    if part == "answer":
        for found in _LEFT_TO_DO.finditer(text):
            if _NOTE.search(text, max(0, found.start() - _BEFORE_NOTE), found.start()):
                yield "a note of something left to do", found
    if not _ABOUT_TEMPLATES.search(question):
        yield from (("a place that was not filled in", found) for found in _PLACEHOLDER.finditer(plain))
        if "{{" in plain:
            written = prose(text)
            for found in _FIELD.finditer(text):
                if written[found.start()] == "{":
                    yield "a field of a template", found


def _empty_box(task: Task, text: str) -> Flaw | None:
    """A last box that holds nothing but the words of the prompt."""
    last = next(reversed(boxes(text)), None)
    if last is None or len(last) > _LONGEST_EMPTY_BOX:
        return None
    held = " ".join(_BOX_DRESS.sub(" ", last).casefold().split())
    if held not in _EMPTY_BOXES or (task.answer is not None and normalise(task.answer) == normalise(last)):
        return None
    return Flaw(f"the last box holds no answer: {quote(last)}", text.rfind(r"\boxed"))
