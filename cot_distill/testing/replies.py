"""What a server of chat completions says: answers, cut ones too, and refusals.

This file knows the shape of the bodies. Which of them a request gets is for :mod:`cot_distill.testing.server`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cot_distill.loopback import Reply

__all__ = ["BAD_REQUEST", "REFUSALS", "completion", "refusal", "text_of", "tokens"]

BAD_REQUEST = (400, "invalid_request_error", None)
REFUSALS: Mapping[str, tuple[int, str, str | None]] = {
    "429": (429, "rate_limit_error", "rate_limit_exceeded"),
    "429-ms": (429, "rate_limit_error", "rate_limit_exceeded"),
    "429-bare": (429, "rate_limit_error", None),
    "quota": (429, "insufficient_quota", "insufficient_quota"),
    "400": (400, "invalid_request_error", "context_length_exceeded"),
    "401": (401, "invalid_request_error", "invalid_api_key"),
    "404": (404, "invalid_request_error", "model_not_found"),
    "500": (500, "server_error", None),
    "503": (503, "unavailable_error", None),
    "529": (529, "overloaded_error", None),
    "error-200": (200, "server_error", None),
}
"""Status, type and code of the error object, by fault."""


def completion(trace: tuple[str, str], *, limit: int | None, fault: str | None, where: str) -> dict[str, Any]:
    """Make the part of a chat completion that the trace decides.

    Args:
        trace: Reasoning and answer.
        limit: Tokens after which it is cut; None never cuts.
        fault: The fault that this answer shall have, as far as its content goes.
        where: Where the reasoning is put.

    Returns:
        ``choices`` and ``usage``, the latter without what only the prompt can tell.
    """
    reasoning, answer = trace
    if fault == "no_reasoning":
        reasoning = ""
    if fault in ("no_answer", "refused"):
        answer = ""
    reason = "content_filter" if fault == "refused" else "stop"
    thought = tokens(reasoning)
    if fault == "length":
        limit = thought // 2
    if limit is not None and limit < thought + tokens(answer):
        reason = "length"
        reasoning, answer = reasoning[: 4 * limit], answer[: 4 * max(0, limit - thought)]
    details = {"reasoning_tokens": tokens(reasoning)}
    usage = {"completion_tokens": tokens(reasoning) + tokens(answer), "completion_tokens_details": details}
    closed = answer != "" or reason == "stop"
    message = _message(reasoning, answer, "inline" if fault == "inline" else where, closed=closed)
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage}


def _message(reasoning: str, answer: str, where: str, *, closed: bool) -> dict[str, Any]:
    content: Any = answer
    fields: tuple[str, ...] = (where,) if reasoning else ()
    if reasoning and where == "parts":
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": reasoning}], "closed": closed}
        content, fields = [thinking, {"type": "text", "text": answer}], ()
    elif reasoning and where in ("inline", "prefilled", "legacy"):
        content = ("" if where == "prefilled" else "<think>\n") + reasoning
        content += f"\n</think>\n\n{answer}" if closed else ""
        fields = ("reasoning_content",) if where == "legacy" else ()
    return {"role": "assistant", "content": content} | dict.fromkeys(fields, reasoning)


def refusal(status: int, kind: str, code: str | None, message: str) -> Reply:
    """Make a reply that says no.

    Args:
        status: Of HTTP.
        kind: ``type`` of the error object.
        code: ``code`` of the error object.
        message: ``message`` of the error object.

    Returns:
        The reply.
    """
    return Reply.json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status)


def text_of(content: Any) -> str:
    """Read the text of a turn.

    Args:
        content: ``content`` of a message: a text, a list of parts, or None.

    Returns:
        The text, empty if there is none.
    """
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


def tokens(text: str) -> int:
    """Count tokens, at four characters each.

    Args:
        text: Any text.

    Returns:
        Tokens, rounded up.
    """
    return -(-len(text) // 4)
