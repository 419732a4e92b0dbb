"""How to read answers of any format, in which any value may be anything.

This file knows what providers have in common: errors at HTTP 200, words for the end of an answer, counts, and what
kind of reasoning it is that they show. It knows the fields of no format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cot_distill.errors import UnavailableError
from cot_distill.teachers.faults import body_error
from cot_distill.teachers.wire import Fields
from cot_distill.trace import KNOWN_TAGS
from cot_distill.types import FinishReason, TraceKind, Usage

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = [
    "checked",
    "count",
    "ended",
    "finished",
    "gather",
    "identity",
    "name_of_model",
    "objects",
    "text_of",
    "total",
    "unavailable",
    "unseen",
    "usage_of",
]


def checked(payload: Any, preset: Preset) -> Fields:
    """Return the payload if it is an object that carries no error; raise the TeacherError that fits if not."""
    error = body_error(payload, provider=preset.name)
    if error is not None:
        raise error
    if not isinstance(payload, dict):
        raise unavailable(preset, payload, "answered with JSON that is no object")
    return payload


def unavailable(preset: Preset, payload: Any, what: str, *, kind: str = "malformed") -> UnavailableError:
    """Make the error of an answer at HTTP 200 that is none."""
    return UnavailableError(
        f"{preset.name} {what}", provider=preset.name, status=200, request_id=identity(payload), kind=kind
    )


def identity(payload: Any) -> str | None:
    """The id that the answer has, under any of the names in use."""
    found = (payload.get(name) for name in ("id", "responseId")) if isinstance(payload, dict) else ()
    return next((name for name in found if isinstance(name, str) and name and name.isascii()), None)


def name_of_model(payload: Fields, field: str = "model") -> str | None:
    """The model that answered, as the server names it."""
    name = payload.get(field)
    return name if isinstance(name, str) else None


def text_of(value: Any) -> str:
    """Text of a field that may be null, a string, or a list of strings and parts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    parts = (part.get("text") if isinstance(part, dict) else part for part in value)
    return "".join(part for part in parts if isinstance(part, str))


def objects(value: Any) -> list[Fields]:
    """The objects in a list; nothing where there is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def count(holders: Sequence[Any], *names: str) -> int | None:
    """The first number that is one. Bounded, since JSON is not and the sums are stored as 64 bits."""
    for holder in holders:
        for name in names if isinstance(holder, dict) else ():
            value = holder.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
                return value
    return None


def total(*counts: int | None) -> int | None:
    """The sum of what was told; None if nothing was."""
    told = [number for number in counts if number is not None]
    return sum(told) if told else None


def usage_of(given: Any, *, outside: bool = False) -> Usage:
    """Read the counts of OpenAI's formats.

    Args:
        given: The field ``usage``.
        outside: The total of the completion does not count the reasoning.

    Returns:
        The counts; None for what is not told.
    """
    if not isinstance(given, dict):
        return Usage()
    details = [given.get(name) for name in ("completion_tokens_details", "output_tokens_details")]
    prompt = count([given], "prompt_tokens", "input_tokens")
    completion = count([given], "completion_tokens", "output_tokens")
    reasoning = count([*details, given], "reasoning_tokens", "thinking_tokens")
    total = count([given], "total_tokens")
    if outside and completion is not None and reasoning is not None:
        # Unless the sum shows that it is inside after all.
        inside = prompt is not None and total == prompt + completion
        completion += 0 if inside else reasoning
    details = [given.get(name) for name in ("prompt_tokens_details", "input_tokens_details")]
    cached = count(details, "cached_tokens")
    cached = count([given], "prompt_cache_hit_tokens") if cached is None else cached  # DeepSeek
    return Usage(prompt_tokens=prompt, completion_tokens=completion, reasoning_tokens=reasoning, cached_tokens=cached)


# --- why it ended ---

_BY_REASON: Mapping[FinishReason, str] = MappingProxyType(
    {
        "error": "insufficient_system_resource abort error network_error",
        "refused": "content_filter content_filtered sensitive refusal guardrail_intervened "
        "safety recitation language blocklist prohibited_content spii",
        "length": "length max_tokens max_output_tokens model_length model_context_window_exceeded",
        "tool_calls": "tool_calls tool_use function_call",
        "stop": "stop eos eos_token stop_sequence end_turn",
    }
)
_REASONS: Mapping[str, FinishReason] = MappingProxyType(
    {raw: reason for reason, raws in _BY_REASON.items() for raw in raws.split()}
)


def ended(raw: Any) -> FinishReason:
    """What any provider's word for the end of an answer means.

    Example:
        >>> ended("MAX_TOKENS"), ended("end_turn"), ended("pause_turn")
        ('length', 'stop', 'unknown')
    """
    return _REASONS.get(raw.lower(), "unknown") if isinstance(raw, str) else "unknown"


def finished(raw: Any, payload: Any, preset: Preset) -> tuple[FinishReason, str | None]:
    """Why an answer ended, normalised and as the provider says it; an UnavailableError if the server gave up."""
    reason = ended(raw)
    if reason == "error":
        raise unavailable(preset, payload, f"gave up in the middle ({raw!r}): ask again later", kind="http")
    return reason, raw if isinstance(raw, str) and raw else None


# --- what was shown of the thinking ---


def gather(pieces: Iterable[tuple[str, TraceKind]]) -> tuple[str, TraceKind]:
    r"""Put reasoning that came in pieces together, and say what kind it is.

    Args:
        pieces: Text and kind of each in their order. A blank ``summary`` is one that was withheld, a blank ``full``
            is no piece at all.

    Returns:
        The reasoning, and ``none`` if there are no pieces.

    Example:
        >>> gather([("First.", "summary"), ("Second.", "summary"), ("", "encrypted")])
        ('First.\n\nSecond.', 'summary')
        >>> gather([("", "encrypted")])
        ('', 'encrypted')
    """
    pieces = list(pieces)
    text = "\n\n".join(piece for piece, _ in pieces if piece.strip())
    kinds = {kind for _, kind in pieces}
    if text:
        # What lies beside something withheld is not all that was thought.
        return text, "summary" if kinds & {"summary", "encrypted", "hidden"} else "full"
    if "encrypted" in kinds:
        return "", "encrypted"
    return "", "hidden" if kinds & {"hidden", "summary"} else "none"


def unseen(content: str, usage: Usage, *, hides: bool = False) -> TraceKind:
    """The kind of trace where no field holds reasoning."""
    if any(tags.close in content for tags in KNOWN_TAGS.values()):
        return "full"
    if usage.reasoning_tokens is None:
        return "hidden" if hides else "none"
    return "hidden" if usage.reasoning_tokens > 0 else "none"
