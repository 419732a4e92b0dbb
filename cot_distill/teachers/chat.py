"""OpenAI's chat completions: what we ask as a request body, and the answer as a Completion.

This file knows the format and the places where servers put reasoning, refusals, counts and log-probabilities. It
does no input or output: the endpoint sends the body and adds what only HTTP knows. Which fields a provider wants is
data in :mod:`cot_distill.teachers.presets`; what errors mean is in :mod:`cot_distill.teachers.faults`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cot_distill.teachers import harmony, reading, wire
from cot_distill.teachers.chat_stream import STREAMING
from cot_distill.teachers.faults import body_error
from cot_distill.teachers.reading import text_of, usage_of
from cot_distill.teachers.wire import Fields, Format
from cot_distill.trace import ThinkTags
from cot_distill.types import Completion, FinishReason, Message, Sampling, TraceKind

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = ["FORMAT", "decode", "encode"]


def encode(messages: Sequence[Message], sampling: Sampling, *, model: str, preset: Preset) -> Fields:
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
    names = {"max_tokens": preset.max_tokens_field, "seed": preset.seed_field}
    body: Fields = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "stream": False,
        **wire.always(preset),
        **wire.settings(sampling, preset, names),
        **wire.thinking(sampling, preset),
        **wire.logprobs(sampling, preset),
    }
    return body | sampling.extra


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
    payload = reading.checked(payload, preset)
    choice = _choice(payload, preset)
    message = choice["message"]
    content, thought, refusal = _content(message.get("content"))
    finish_reason, raw = _finish(choice, message, refused=bool(refusal or message.get("refusal")))
    if finish_reason == "error":
        raise reading.unavailable(preset, payload, f"gave up in the middle ({raw!r}): ask again later", kind="http")
    leaked = harmony.read(content)
    if leaked is not None:
        content = leaked.answer
    model = reading.name_of_model(payload)
    usage = usage_of(payload.get("usage"), outside=preset.reasoning_outside_total)
    reasoning, kind = _reasoning(message, thought, leaked.reasoning if leaked else "")
    if kind == "none":
        kind = reading.unseen(content, usage, hides=preset.hides_reasoning(model or ""))
    return Completion(
        content=content,
        reasoning=reasoning,
        trace_kind=kind,
        finish_reason=finish_reason,
        raw_finish_reason=raw,
        usage=usage,
        model=model,
        logprobs=_logprobs(choice),
        request_id=reading.identity(payload),
    )


def _choice(payload: Fields, preset: Preset) -> Fields:
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise reading.unavailable(preset, payload, "answered without any choice")
    if choice.get("error"):
        error = body_error({"id": payload.get("id"), "error": choice["error"]}, provider=preset.name)
        if error is not None:
            raise error
    if not isinstance(choice.get("message"), dict):
        raise reading.unavailable(preset, payload, "answered without a message")
    return choice


# --- why it ended ---


def _finish(choice: Fields, message: Fields, *, refused: bool) -> tuple[FinishReason, str | None]:
    """Why it ended. Gateways translate, and some call an unknown reason "stop": the worst that is named counts."""
    named = [choice.get("finish_reason"), choice.get("native_finish_reason")]
    for holder in (choice, message):
        extras = holder.get("provider_specific_fields")
        named.append(extras.get("native_finish_reason") if isinstance(extras, dict) else None)
    raws = [raw for raw in named if isinstance(raw, str) and raw]
    own = raws[0] if raws else None
    readings: dict[FinishReason, str] = {}
    for raw in raws:
        readings.setdefault(reading.ended(raw), raw)
    if "error" in readings:
        return "error", readings["error"]
    if refused or "refused" in readings:
        return "refused", readings.get("refused", own)
    if "length" in readings:
        return "length", readings["length"]
    return next(iter(readings.items())) if readings else ("unknown", None)


# --- the texts ---


def _content(content: Any) -> tuple[str, str, bool]:
    """Answer, reasoning, and whether there is a refusal, of content that may be a list of parts (Mistral)."""
    if not isinstance(content, list):
        return text_of(content), "", False
    answer, thought, refused = [], [], False
    for part in content:
        kind = (isinstance(part, dict) and part.get("type")) or "text"
        if kind in ("thinking", "reasoning"):
            thought.append(
                text_of(part.get("thinking")) or text_of(part.get("reasoning")) or text_of(part.get("text"))
            )
        elif kind in ("text", "output_text"):
            answer.append(text_of([part]))
        refused = refused or kind == "refusal"
    return "".join(answer), "".join(thought), refused


def _reasoning(message: Fields, thought: str, leaked: str) -> tuple[str, TraceKind]:
    """The reasoning that can be read, and what kind it is; ``none`` if nothing came."""
    details = list(_pieces(message)) if any(map(message.get, _PIECES)) else []
    found = [text_of(message.get(name)) for name in ("reasoning_content", "reasoning", "thinking")]
    found += [thought, leaked]
    if details:
        found += ["".join(text for source, text, _ in details if source == name) for name in _PIECES]
    texts = [text for text in found if text and not text.isspace()]  # to strip a long one would copy it
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


def _pieces(message: Fields) -> Iterator[tuple[str, str, TraceKind]]:
    """Pieces of reasoning that say their kind: OpenRouter's and MiniMax's details, LiteLLM's thinking blocks."""
    for source in _PIECES:
        pieces = message.get(source)
        for piece in pieces if isinstance(pieces, list) else ():
            if not isinstance(piece, dict):
                continue
            text = next((text for name in ("text", "summary", "thinking") if (text := text_of(piece.get(name)))), "")
            if text:
                yield source, text, "summary" if _is_summary(source, piece) else "full"
            if piece.get("type") in ("reasoning.encrypted", "redacted_thinking"):
                yield source, "", "encrypted"


def _is_summary(source: str, piece: Fields) -> bool:
    """Whether a piece is a rewritten one: it says so, or its maker is known to show nothing else."""
    if piece.get("type") == "reasoning.summary":
        return True
    if source == "thinking_blocks":
        return bool(piece.get("signature"))  # signed by Anthropic, which shows summaries
    return str(piece.get("format")).startswith(("anthropic", "google"))


def _logprobs(choice: Fields) -> Fields | None:
    """The lists as they came, under ``content`` and ``reasoning``; another shape (Together's) is kept as it is."""
    given = choice.get("logprobs")
    lists: Fields = {}
    if isinstance(given, dict):
        ours = {"content": given.get("content"), "reasoning": given.get("reasoning_content")}
        lists = {name: found for name, found in ours.items() if isinstance(found, list)}
        lists = lists or {name: found for name, found in given.items() if found is not None}
    apart = choice.get("reasoning_logprobs")  # Cerebras
    apart = apart.get("content") if isinstance(apart, dict) else apart
    if isinstance(apart, list):
        lists["reasoning"] = apart
    return lists or None


FORMAT = Format(path="/chat/completions", encode=encode, decode=decode, streaming=STREAMING)
