"""OpenAI's chat completions: what we ask as a request body, and the answer as a Completion.

This file knows the format and the places where servers put reasoning, refusals, counts and log-probabilities. It
does no input or output: the endpoint sends the body and adds what only HTTP knows. Which fields a provider wants is
data in :mod:`cot_distill.teachers.presets`; what errors mean is in :mod:`cot_distill.teachers.faults`.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cot_distill.errors import ConfigError, UnavailableError
from cot_distill.teachers.faults import body_error
from cot_distill.teachers.presets import Preset
from cot_distill.trace import KNOWN_TAGS, ThinkTags
from cot_distill.types import Completion, FinishReason, Message, Sampling, TraceKind, Usage

__all__ = ["decode", "encode"]

log = logging.getLogger("cot_distill")


def encode(messages: Sequence[Message], sampling: Sampling, *, model: str, preset: Preset) -> dict[str, Any]:
    """Write the request body. What is None is not sent, and ``sampling.extra`` wins over everything else.

    A setting that the provider has no field for, or refuses to be told, is left out with one warning.

    Args:
        messages: The conversation.
        sampling: How to answer.
        model: As the provider names it.
        preset: The provider's ways.

    Returns:
        The body, to be written as JSON.

    Raises:
        ConfigError: ``extra`` asks for a stream or for several answers at once.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> ask = [Message(role="user", content="What is 2 + 2?")]
        >>> encode(ask, Sampling(max_tokens=9), model="m", preset=PRESETS["openai"])["max_completion_tokens"]
        9
    """
    if sampling.extra.get("stream") or sampling.extra.get("n") not in (None, 1):
        raise ConfigError(
            "Sampling(extra=…) must not hold `stream` or `n`: for several answers a task, use attempts=…"
        )
    body: dict[str, Any] = {
        "model": model,
        "messages": [message.model_dump() for message in messages],
        "stream": False,
        **copy.deepcopy(dict(preset.always)),
    }
    fields = {"max_tokens": preset.max_tokens_field, "seed": preset.seed_field}
    for setting in ("temperature", "top_p", "max_tokens", "seed"):
        value = getattr(sampling, setting)
        if value is not None and setting in preset.fixed:
            _warn_left_out(preset.name, setting)
        elif value is not None:
            body[fields.get(setting, setting)] = value
    body |= _thinking(sampling, preset)
    if sampling.top_logprobs is not None:
        body |= preset.logprobs(sampling.top_logprobs)
    return body | sampling.extra


def _thinking(sampling: Sampling, preset: Preset) -> dict[str, Any]:
    effort, budget = sampling.reasoning_effort, sampling.reasoning_budget
    fields = preset.thinking(effort, budget)
    # A setting that makes no difference has no field there. Asking beats a second list, which could get out of date.
    if effort is not None and fields == preset.thinking(None, budget):
        _warn_left_out(preset.name, "reasoning_effort")
    if budget is not None and fields == preset.thinking(effort, None):
        _warn_left_out(preset.name, "reasoning_budget")
    return fields


@functools.cache  # once, not once a request
def _warn_left_out(provider: str, setting: str) -> None:
    log.warning("%s takes no %s: it is left out", provider, setting)


def decode(payload: Any, *, preset: Preset) -> Completion:
    """Read the answer from a parsed body of HTTP 200.

    The reasoning is read from all fields that servers use. The same text in two of them is kept once. Two *different*
    texts are both kept, each between think tags of its own, so that no text is preferred or lost and
    :func:`~cot_distill.trace.parse_trace` refuses the completion as ``repeated``. Inline tags stay in the content.

    Args:
        payload: The parsed body. That its texts are Unicode is for the parser to see to (``from_json`` does).
        preset: The provider's ways.

    Returns:
        The completion, without what only HTTP knows: the latency and the headers.

    Raises:
        TeacherError: It is an error after all, or no completion.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> message = {"reasoning_content": "2+2 is 4.", "content": "4"}
        >>> payload = {"choices": [{"message": message, "finish_reason": "stop"}]}
        >>> decode(payload, preset=PRESETS["deepseek"]).reasoning
        '2+2 is 4.'
    """
    choice = _choice(payload, preset)
    message = choice["message"]
    content, thought, refusal = _content(message.get("content"))
    finish_reason, raw = _finish(choice, message, refused=bool(refusal or message.get("refusal")))
    if finish_reason == "error":
        raise _unavailable(preset, payload, f"gave up in the middle ({raw!r}): ask again later", kind="http")
    model = payload["model"] if isinstance(payload.get("model"), str) else None
    usage = _usage(payload.get("usage"), preset)
    reasoning, kind = _reasoning(message, thought)
    if kind == "none":
        kind = _unseen(content, usage, hides=preset.hides_reasoning(model or ""))
    return Completion(
        content=content,
        reasoning=reasoning,
        trace_kind=kind,
        finish_reason=finish_reason,
        raw_finish_reason=raw,
        usage=usage,
        model=model,
        logprobs=_logprobs(choice),
        request_id=_id(payload),
    )


def _choice(payload: Any, preset: Preset) -> dict[str, Any]:
    error = body_error(payload, provider=preset.name)
    if error is not None:
        raise error
    if not isinstance(payload, dict):
        raise _unavailable(preset, payload, "answered with JSON that is no object")
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise _unavailable(preset, payload, "answered without any choice")
    if choice.get("error"):
        error = body_error({"id": payload.get("id"), "error": choice["error"]}, provider=preset.name)
        if error is not None:
            raise error
    if not isinstance(choice.get("message"), dict):
        raise _unavailable(preset, payload, "answered without a message")
    return choice


def _unavailable(preset: Preset, payload: Any, what: str, *, kind: str = "malformed") -> UnavailableError:
    return UnavailableError(
        f"{preset.name} {what}", provider=preset.name, status=200, request_id=_id(payload), kind=kind
    )


def _id(payload: Any) -> str | None:
    found = payload.get("id") if isinstance(payload, dict) else None
    return found if isinstance(found, str) and found and found.isascii() else None


# --- why it ended ---

_BY_REASON: Mapping[FinishReason, str] = MappingProxyType(
    {
        "error": "insufficient_system_resource abort error network_error",
        "refused": "content_filter content_filtered sensitive refusal guardrail_intervened "
        "safety recitation blocklist prohibited_content spii",
        "length": "length max_tokens max_output_tokens model_length model_context_window_exceeded",
        "tool_calls": "tool_calls tool_use function_call",
        "stop": "stop eos eos_token stop_sequence end_turn",
    }
)
_REASONS: Mapping[str, FinishReason] = MappingProxyType(
    {raw: reason for reason, raws in _BY_REASON.items() for raw in raws.split()}
)


def _finish(choice: dict[str, Any], message: dict[str, Any], *, refused: bool) -> tuple[FinishReason, str | None]:
    """Why it ended. Gateways translate, and some call an unknown reason "stop": the worst that is named counts."""
    named = [choice.get("finish_reason"), choice.get("native_finish_reason")]
    for holder in (choice, message):
        extras = holder.get("provider_specific_fields")
        named.append(extras.get("native_finish_reason") if isinstance(extras, dict) else None)
    raws = [raw for raw in named if isinstance(raw, str) and raw]
    own = raws[0] if raws else None
    readings: dict[FinishReason, str] = {}
    for raw in raws:
        readings.setdefault(_REASONS.get(raw.lower(), "unknown"), raw)
    if "error" in readings:
        return "error", readings["error"]
    if refused or "refused" in readings:
        return "refused", readings.get("refused", own)
    if "length" in readings:
        return "length", readings["length"]
    return next(iter(readings.items())) if readings else ("unknown", None)


# --- the texts ---


def _text(value: Any) -> str:
    """Text of a field that may be null, a string, or a list of strings and parts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    parts = (part.get("text") if isinstance(part, dict) else part for part in value)
    return "".join(part for part in parts if isinstance(part, str))


def _content(content: Any) -> tuple[str, str, bool]:
    """Answer, reasoning, and whether there is a refusal, of content that may be a list of parts (Mistral)."""
    if not isinstance(content, list):
        return _text(content), "", False
    answer, thought, refused = [], [], False
    for part in content:
        kind = (isinstance(part, dict) and part.get("type")) or "text"
        if kind in ("thinking", "reasoning"):
            thought.append(_text(part.get("thinking")) or _text(part.get("reasoning")) or _text(part.get("text")))
        elif kind in ("text", "output_text"):
            answer.append(_text([part]))
        refused = refused or kind == "refusal"
    return "".join(answer), "".join(thought), refused


def _reasoning(message: dict[str, Any], thought: str) -> tuple[str, TraceKind]:
    """The reasoning that can be read, and what kind it is; ``none`` if nothing came."""
    details = list(_pieces(message))
    found = [_text(message.get(name)) for name in ("reasoning_content", "reasoning", "thinking")]
    found.append(thought)
    found += ["".join(text for source, text, _ in details if source == name) for name in _PIECES]
    texts = list(filter(str.strip, found))
    if len(texts) > 1:  # views of one text differ in white space
        texts = list({"".join(text.split()): text for text in reversed(texts)}.values())[::-1]
    kinds = {kind for _, _, kind in details}
    if not texts:
        return "", "encrypted" if "encrypted" in kinds else "none"
    # What lies beside something encrypted is not all that was thought.
    seen: TraceKind = "summary" if kinds & {"summary", "encrypted"} else "full"
    if len(texts) == 1:
        return texts[0], seen
    tags = ThinkTags()
    return "\n".join(f"{tags.open}\n{text}\n{tags.close}" for text in texts), seen


_PIECES = ("reasoning_details", "thinking_blocks")


def _pieces(message: dict[str, Any]) -> Iterator[tuple[str, str, TraceKind]]:
    """Pieces of reasoning that say their kind: OpenRouter's and MiniMax's details, LiteLLM's thinking blocks."""
    for source in _PIECES:
        pieces = message.get(source)
        for piece in pieces if isinstance(pieces, list) else ():
            if not isinstance(piece, dict):
                continue
            text = next((text for name in ("text", "summary", "thinking") if (text := _text(piece.get(name)))), "")
            if text:
                yield source, text, "summary" if _is_summary(source, piece) else "full"
            if piece.get("type") in ("reasoning.encrypted", "redacted_thinking"):
                yield source, "", "encrypted"


def _is_summary(source: str, piece: dict[str, Any]) -> bool:
    """Whether a piece is a rewritten one: it says so, or its maker is known to show nothing else."""
    if piece.get("type") == "reasoning.summary":
        return True
    if source == "thinking_blocks":
        return bool(piece.get("signature"))  # signed by Anthropic, which shows summaries
    return str(piece.get("format")).startswith(("anthropic", "google"))


def _unseen(content: str, usage: Usage, *, hides: bool) -> TraceKind:
    """The kind of trace where no field holds reasoning."""
    if any(tags.close in content for tags in KNOWN_TAGS.values()):
        return "full"
    if usage.reasoning_tokens is None:
        return "hidden" if hides else "none"
    return "hidden" if usage.reasoning_tokens > 0 else "none"


# --- the numbers ---


def _usage(given: Any, preset: Preset) -> Usage:
    if not isinstance(given, dict):
        return Usage()
    details = [given.get(name) for name in ("completion_tokens_details", "output_tokens_details")]
    holders = [holder for holder in (*details, given) if isinstance(holder, dict)]
    prompt = _count([given], "prompt_tokens", "input_tokens")
    completion = _count([given], "completion_tokens", "output_tokens")
    reasoning = _count(holders, "reasoning_tokens", "thinking_tokens")
    total = _count([given], "total_tokens")
    if preset.reasoning_outside_total and completion is not None and reasoning is not None:
        # Unless the sum shows that it is inside after all.
        inside = prompt is not None and total == prompt + completion
        completion += 0 if inside else reasoning
    return Usage(prompt_tokens=prompt, completion_tokens=completion, reasoning_tokens=reasoning)


def _count(holders: Sequence[dict[str, Any]], *names: str) -> int | None:
    """The first number that is one. Bounded, since JSON is not and the sums are stored as 64 bits."""
    for holder in holders:
        for name in names:
            value = holder.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
                return value
    return None


def _logprobs(choice: dict[str, Any]) -> dict[str, Any] | None:
    """The lists as they came, under ``content`` and ``reasoning``; another shape (Together's) is kept as it is."""
    given = choice.get("logprobs")
    lists: dict[str, Any] = {}
    if isinstance(given, dict):
        ours = {"content": given.get("content"), "reasoning": given.get("reasoning_content")}
        lists = {name: found for name, found in ours.items() if isinstance(found, list)}
        lists = lists or {name: found for name, found in given.items() if found is not None}
    apart = choice.get("reasoning_logprobs")  # Cerebras
    apart = apart.get("content") if isinstance(apart, dict) else apart
    if isinstance(apart, list):
        lists["reasoning"] = apart
    return lists or None
