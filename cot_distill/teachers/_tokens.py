"""From messages to the tokens of a prompt, and from the tokens of an answer to a Completion.

This is what teachers in this process do themselves, and servers do for the others. It knows the tokenizers of
transformers, and runs no model.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from cot_distill.chat_rendering import opened_tag
from cot_distill.errors import ConfigError, MissingExtraError, RequestError
from cot_distill.logprob_formats import Token, pack
from cot_distill.teachers import harmony, reading
from cot_distill.trace import KNOWN_TAGS
from cot_distill.types import Completion, Message, Sampling, Usage

__all__ = ["Prompt", "check_extra", "completion_of", "prompt_of", "require_template", "token_bytes"]

_EXTRA = frozenset({"chat_template_kwargs", "top_k"})


class Prompt(NamedTuple):
    """What the model reads."""

    ids: list[int]
    prefilled: bool
    """It ends with an opening think tag."""


def require_template(tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer that cannot write a conversation.

    Raises:
        ConfigError: It has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            f"the tokenizer of {name} has no chat template, so no conversation can be written for it: take the "
            'one that was made for chat ("-Instruct", "-Thinking"), or set tokenizer.chat_template and pass both '
            "as objects"
        )


def check_extra(sampling: Sampling) -> None:
    """Refuse settings that would be left out silently.

    Raises:
        ConfigError: ``extra`` holds something that is not known here.
    """
    unknown = sorted(set(sampling.extra) - _EXTRA)
    if unknown:
        raise ConfigError(
            f"Sampling(extra=…) of a teacher in this process takes {' and '.join(sorted(_EXTRA))}, not {unknown[0]!r}"
        )


def prompt_of(tokenizer: Any, messages: Sequence[Message], sampling: Sampling, *, name: str) -> Prompt:
    """Write a conversation with the chat template, and the generation prompt behind it.

    ``reasoning_effort`` and ``extra["chat_template_kwargs"]`` go to the template; the effort ``"none"`` is what
    templates call ``enable_thinking=False``. What a template does not ask for makes no difference.

    Args:
        tokenizer: With a chat template.
        messages: The conversation.
        sampling: How to answer.
        name: Of the teacher, for errors.

    Returns:
        The prompt.

    Raises:
        RequestError: The template refuses the conversation: a system prompt, say.
        MissingExtraError: Jinja is not installed.
    """
    effort = sampling.reasoning_effort
    options: dict[str, Any] = {}
    if effort is not None:
        options = {"enable_thinking": False} if effort == "none" else {"reasoning_effort": effort}
    options |= sampling.extra.get("chat_template_kwargs") or {}
    turns = [message.model_dump() for message in messages]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **options)
    except ImportError as error:
        raise MissingExtraError("A chat template", "local") from error
    except Exception as error:  # a template raises what it likes: TemplateError, TypeError…
        raise RequestError(
            f"{name}: the chat template refuses this conversation: {error}", provider=name, kind="bad_request"
        ) from error
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Prompt(list(ids), prefilled=opened_tag(text) is not None)


def completion_of(
    tokenizer: Any,
    prompt: Prompt,
    ids: Sequence[int],
    *,
    ended: bool,
    logprobs: Sequence[Token] = (),
    model: str,
    latency: float,
) -> Completion:
    """Make a Completion of the tokens of an answer.

    Special tokens stay in the text, since some models think between such; only the token that ended it is left out.

    Args:
        tokenizer: As that of the prompt.
        prompt: The prompt.
        ids: What was said, with the token that ended it.
        ended: The last one is such a token. Else the answer was cut.
        logprobs: As many; the bytes of what was said are filled in here.
        model: Name of the model.
        latency: In seconds.

    Returns:
        The completion. The reasoning is inline, as the model wrote it, unless it is harmony.
    """
    said = list(ids[:-1] if ended else ids)
    content = tokenizer.decode(said, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    content, parts = _aligned(content, [token_bytes(tokenizer, token) for token in said])
    usage = Usage(
        prompt_tokens=len(prompt.ids),
        completion_tokens=len(ids),
        reasoning_tokens=None if parts is None else _thinking(parts, content),
    )
    if logprobs:
        texts: list[bytes | None] = [None] * len(said) if parts is None else list(parts)
        texts += [b""] * (len(ids) - len(said))  # what ends the answer is no part of its text
        named = zip(logprobs, texts, strict=True)
        logprobs = [token._replace(said=token.said._replace(text=text)) for token, text in named]
    leaked = harmony.read(content)
    return Completion(
        content=content if leaked is None else leaked.answer,
        reasoning="" if leaked is None else leaked.reasoning,
        trace_kind="full" if leaked and leaked.reasoning else reading.unseen(content, Usage()),
        finish_reason="stop" if ended else "length",
        raw_finish_reason="stop" if ended else "length",
        usage=usage,
        model=model,
        logprobs=pack(logprobs) if logprobs else None,
        prefilled=prompt.prefilled,
        latency=latency,
    )


def _thinking(parts: Sequence[bytes], content: str) -> int | None:
    """How many tokens there are up to the first closing tag, and with it."""
    places = [content.find(tags.close) + len(tags.close) for tags in KNOWN_TAGS.values() if tags.close in content]
    if not places:
        return None
    size = len(content[: min(places)].encode())
    count = 0
    for part in parts:
        if size <= 0:
            break
        size -= len(part)
        count += 1
    return count


def _aligned(content: str, parts: Sequence[bytes | None]) -> tuple[str, list[bytes] | None]:
    """The text, and the bytes of its tokens if they add up to it."""
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return content, None
    ways = [found]
    if found and found[0][:1] == b" ":  # decoders of the SentencePiece kind drop the first space
        ways.append([found[0][1:], *found[1:]])
    texts = [b"".join(way).decode("utf-8", "replace") for way in ways]
    for way, text in zip(ways, texts, strict=True):
        if text == content:
            return content, way
    if "\ufffd" in content:
        # Cut inside of a character, such decoders give up all characters around it that are spelt out in bytes: then
        # ours is the better text.
        return (texts[0], ways[0]) if content.startswith(" ") else (texts[-1], ways[-1])
    return content, None


def token_bytes(tokenizer: Any, token: int) -> bytes | None:
    """The bytes that a token stands for, which need not be whole characters.

    Args:
        tokenizer: A fast one of transformers: byte-level (GPT-2 and most after it) or of the SentencePiece kind.
        token: Its id.

    Returns:
        The bytes; None where the tokenizer is of another kind.
    """
    added = tokenizer.added_tokens_decoder.get(token)
    if added is not None:
        return str(added.content).encode()
    name = tokenizer.convert_ids_to_tokens(token)
    if not isinstance(name, str):
        return None
    kind = _kind(tokenizer)
    if kind == "bytes":
        table = _byte_of_character()
        return bytes(table[sign] for sign in name) if all(sign in table for sign in name) else None
    if kind == "pieces":
        byte = name.startswith("<0x") and name.endswith(">") and len(name) == 6
        return bytes.fromhex(name[3:5]) if byte else name.replace("▁", " ").encode()
    return None


def _kind(tokenizer: Any) -> str | None:
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    state = decoder.__getstate__() if decoder is not None else b""
    if b'"ByteLevel"' in state:
        return "bytes"
    return "pieces" if b'"Metaspace"' in state or "▁".encode() in state else None


@functools.cache
def _byte_of_character() -> dict[str, int]:
    """Byte-level BPE writes each byte as a visible character: itself where it is one, else one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + place): byte for place, byte in enumerate(hidden)}
