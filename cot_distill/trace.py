"""Reading a trace out of a completion, and writing it back as text.

Everything here is a pure function of text. A completion that is cut, half-tagged, or carries two blocks raises
:class:`~cot_distill.errors.TraceError` with its kind: ambiguous text is never guessed at, since a student learns
from whatever gets through.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from cot_distill.errors import TraceError
from cot_distill.types import SEAM, Completion, FinishReason, ThinkTags, Trace

__all__ = ["KNOWN_TAGS", "Prefilled", "StreamSplitter", "ThinkTags", "join", "parse_trace", "split"]

Prefilled = bool | Literal["auto"]
"""Whether the chat template already opened the tag, so that the completion starts inside the reasoning.

``"auto"`` believes the text: an opening tag, or a closing tag without one, settles it.
"""

KNOWN_TAGS: Mapping[str, ThinkTags] = MappingProxyType(
    {
        "think": ThinkTags(),  # DeepSeek, Qwen, GLM, Magistral 2506 and most others
        "thinking": ThinkTags(open="<thinking>", close="</thinking>"),
        "reasoning": ThinkTags(open="<reasoning>", close="</reasoning>"),  # Kimi K2 on Bedrock
        "thought": ThinkTags(open="<thought>", close="</thought>"),
        "mistral": ThinkTags(open="[THINK]", close="[/THINK]"),
        "kimi": ThinkTags(open="◁think▷", close="◁/think▷"),
        "minimax": ThinkTags(open="<mm:think>", close="</mm:think>"),
        "seed": ThinkTags(open="<seed:think>", close="</seed:think>"),
        "gemma": ThinkTags(open="<|channel>thought", close="<channel|>"),
        "cohere": ThinkTags(open="<|START_THINKING|>", close="<|END_THINKING|>"),
        "harmony": ThinkTags(
            open="<|channel|>analysis<|message|>",
            close="<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
    }
)
"""Tag pairs in use, by family."""

_DEFAULT = ThinkTags()
_IN_BOTH = "think>"


def join(trace: Trace) -> str:
    r"""Write a trace as the text that the student learns.

    This is byte for byte what the Qwen3 and R1 chat templates render.

    Args:
        trace: The trace.

    Returns:
        The text, with think tags.

    Example:
        >>> join(Trace(reasoning="2 and 2 make 4.", answer="4"))
        '<think>\n2 and 2 make 4.\n</think>\n\n4'
    """
    return f"<think>\n{trace.reasoning}\n</think>\n\n{trace.answer}"


def split(
    text: str,
    *,
    tags: ThinkTags = _DEFAULT,
    prefilled: Prefilled = "auto",
    finish_reason: FinishReason = "stop",
) -> Trace:
    r"""Read a trace from text with inline tags. ``split(join(trace)) == trace`` for every trace.

    The first closing tag wins, so that streaming and whole text agree; whatever still holds a tag after that is
    refused.

    Args:
        text: The completion.
        tags: The pair of tags to look for; see :data:`KNOWN_TAGS`.
        prefilled: Whether the prompt ended with the opening tag.
        finish_reason: Why the completion ended; anything but ``"stop"`` is no trace.

    Returns:
        The trace, both parts without the newlines at the seams.

    Raises:
        TraceError: With the ``kind`` that the ledger counts it under.

    Example:
        >>> split("<think>\n2 and 2 make 4.\n</think>\n\n4").answer
        '4'
    """
    _require_stop(finish_reason)
    body = text.lstrip()
    opened = body.startswith(tags.open)
    body = body[len(tags.open) :] if opened else text
    reasoning, closing, answer = body.partition(tags.close)
    if not closing:
        _raise_unclosed(body, tags, opened=opened, prefilled=prefilled)
    if not opened:
        if tags.open in reasoning:
            raise TraceError("unbalanced", f"there is text before {tags.open}")
        if prefilled is False:
            raise TraceError("unbalanced", f"{tags.close} without {tags.open}")
    for part in (reasoning, answer):
        if tags.open in part or tags.close in part:
            raise TraceError("repeated", f"more than one {tags.open} block, or a stray tag")
    return _trace(reasoning, answer)


def parse_trace(completion: Completion, *, tags: ThinkTags = _DEFAULT, prefilled: Prefilled = "auto") -> Trace:
    """Read a trace from a completion: from the reasoning field, from inline tags, or from both if they agree.

    Args:
        completion: What the teacher gave.
        tags: The inline tags to look for.
        prefilled: Used for inline tags only; what the completion itself knows goes before ``"auto"``.

    Returns:
        The trace.

    Raises:
        TraceError: It is cut, refused, has no reasoning or no answer, or is ambiguous.

    Example:
        >>> parse_trace(Completion(reasoning="2 and 2 make 4.", content="4")).reasoning
        '2 and 2 make 4.'
    """
    _require_stop(completion.finish_reason)
    if prefilled == "auto" and completion.prefilled is not None:
        prefilled = completion.prefilled
    if _is_blank(completion.reasoning):
        if completion.trace_kind in ("hidden", "encrypted") and tags.close not in completion.content:
            raise TraceError("no_reasoning", f"the provider keeps the reasoning {completion.trace_kind}")
        return split(completion.content, tags=tags, prefilled=prefilled)
    reasoning = _unwrap(completion.reasoning, tags)
    if tags.open not in completion.content and tags.close not in completion.content:
        return _trace(reasoning, completion.content)
    inline = split(completion.content, tags=tags, prefilled=prefilled)
    if inline.reasoning.strip() != reasoning.strip():
        raise TraceError("repeated", "the reasoning field and the inline tags hold different texts")
    return inline


class StreamSplitter:
    """Splits a completion while it arrives, for live display and guards.

    Example:
        >>> stream = StreamSplitter()
        >>> [stream.feed(chunk) for chunk in ("<thi", "nk>ok</th", "ink>4")]
        [[], [('reasoning', 'ok')], [('answer', '4')]]
        >>> stream.finish().answer
        '4'
    """

    def __init__(self, *, tags: ThinkTags = _DEFAULT, prefilled: Prefilled = "auto") -> None:
        self._tags = tags
        self._prefilled = prefilled
        self._chunks: list[str] = []
        self._held = ""
        self._part: Literal["start", "reasoning", "answer"] = "start"

    def feed(self, chunk: str) -> list[tuple[Literal["reasoning", "answer"], str]]:
        """Take the next piece of text; return what is now known to be reasoning or answer.

        Text that may still turn out to be a tag, or whose part is not known yet, is held back.

        Args:
            chunk: Text of any length.

        Returns:
            Pieces in their order, each with the part that it belongs to; often none.
        """
        self._chunks.append(chunk)
        self._held += chunk
        pieces: list[tuple[Literal["reasoning", "answer"], str]] = []
        if self._part == "start":
            self._begin()
        if self._part != "answer":
            before, closing, after = self._held.partition(self._tags.close)
            if closing:
                pieces.append(("reasoning", before))
                self._part, self._held = "answer", after
            elif self._part == "reasoning":
                keep = _overlap(self._held, self._tags.close)
                pieces.append(("reasoning", self._held[: len(self._held) - keep]))
                self._held = self._held[len(self._held) - keep :]
        if self._part == "answer":
            pieces.append(("answer", self._held))
            self._held = ""
        return [piece for piece in pieces if piece[1]]

    def finish(self, finish_reason: FinishReason = "stop") -> Trace:
        """Return the trace of all that was fed: the same as :func:`split` of the whole text.

        Args:
            finish_reason: Why the completion ended.

        Returns:
            The trace.

        Raises:
            TraceError: As :func:`split`.
        """
        return split("".join(self._chunks), tags=self._tags, prefilled=self._prefilled, finish_reason=finish_reason)

    def _begin(self) -> None:
        head = self._held.lstrip()
        if head.startswith(self._tags.open):
            self._part, self._held = "reasoning", head[len(self._tags.open) :]
        elif self._prefilled is True and not self._tags.open.startswith(head):
            self._part = "reasoning"


def _overlap(text: str, tag: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``tag``."""
    return next((n for n in range(min(len(text), len(tag) - 1), 0, -1) if text.endswith(tag[:n])), 0)


def _unwrap(reasoning: str, tags: ThinkTags) -> str:
    """Drop a pair of tags around the reasoning field: some servers leave them there."""
    return reasoning.strip().removeprefix(tags.open).removesuffix(tags.close) if tags.open in reasoning else reasoning


def _trace(reasoning: str, answer: str) -> Trace:
    if _is_blank(reasoning):
        raise TraceError("no_reasoning", "the reasoning is blank")
    if _is_blank(answer):
        raise TraceError("no_answer", "there is reasoning but no answer")
    for part in (reasoning, answer):
        # Nearly always one search is enough.
        if _IN_BOTH in part and (_DEFAULT.open in part or _DEFAULT.close in part):
            raise TraceError("repeated", f"a stray {_DEFAULT.open} or {_DEFAULT.close} inside the text")
    # What Trace itself would check has just been checked, and searching long texts twice takes as long as all else.
    return Trace.model_construct(reasoning=reasoning.strip(SEAM), answer=answer.strip(SEAM))


def _is_blank(text: str) -> bool:
    """Whether there is nothing but white space. Unlike ``strip``, it copies nothing."""
    return not text or text.isspace()


def _require_stop(finish_reason: FinishReason) -> None:
    if finish_reason == "length":
        raise TraceError("truncated", "cut by the token limit: raise Sampling(max_tokens=…) and run again")
    if finish_reason == "refused":
        raise TraceError("refused", "declined by the model or by a content filter")
    if finish_reason != "stop":
        raise TraceError("unfinished", f"ended with {finish_reason!r}, not with a normal stop")


def _raise_unclosed(body: str, tags: ThinkTags, *, opened: bool, prefilled: Prefilled) -> None:
    if opened or prefilled is True or tags.open in body:
        raise TraceError("unbalanced", f"the reasoning never ends: no {tags.close}")
    found = next((known for known in KNOWN_TAGS.values() if known != tags and known.close in body), None)
    if found is None:
        raise TraceError("no_reasoning", f"neither a reasoning field nor {tags.open} tags")
    hint = f"ThinkTags(open={found.open!r}, close={found.close!r})"
    raise TraceError("no_reasoning", f"no {tags.open} tags, but there is {found.close}: pass tags={hint}")
