"""The log-probabilities of a completion: one typed reading, whoever the teacher was.

Lists of tokens are aligned with the texts by their bytes, never by the length of a text: a token may be half a
character. So it is known which tokens are reasoning and which are answer. This file is pure: it knows completions and
traces, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Literal

from cot_distill.errors import ConfigError, TraceError
from cot_distill.logprob_formats import Choice, Token, tokens_of
from cot_distill.trace import Prefilled, parse_trace
from cot_distill.types import Completion, Row, ThinkTags

__all__ = ["CEILINGS", "Covers", "Logprobs", "check_top_logprobs", "read_logprobs", "topk_columns"]

Covers = Literal["all", "answer", "reasoning", "unknown"]
"""Which part of a completion there are log-probabilities for. ``unknown``: the tokens do not add up to the texts."""


@dataclass(frozen=True, kw_only=True)
class Logprobs:
    """Log-probabilities at temperature 1, as a rule; a provider may say otherwise.

    Attributes:
        tokens: What was said, in order. With a list apart for it, the reasoning comes first.
        reasoning: Which tokens hold reasoning; None if the list does not cover it.
        answer: Which tokens hold the answer; None if the list does not cover it.
        missing: How many tokens were generated beyond these, as the provider counts; None where it does not tell. One
            is the token that ends the answer, as a rule. More are missing where the list does not cover everything,
            and from llama-server over a stream: it leaves out those that are no text of either part.
    """

    tokens: tuple[Token, ...]
    reasoning: slice | None
    answer: slice | None
    missing: int | None

    @property
    def covers(self) -> Covers:
        """Which part of the completion these are."""
        if self.reasoning is not None:
            return "all" if self.answer is not None else "reasoning"
        return "answer" if self.answer is not None else "unknown"

    @property
    def text(self) -> bytes | None:
        """What the tokens add up to; None where the bytes of one are not known."""
        return _joined(self.tokens)

    @property
    def has_ids(self) -> bool:
        """Whether the provider told the ids of all tokens, and of all alternatives."""
        return all(choice.id is not None for token in self.tokens for choice in (token.said, *token.top))


def read_logprobs(
    completion: Completion, *, tags: ThinkTags = ThinkTags(), prefilled: Prefilled = "auto"
) -> Logprobs | None:
    """Read the log-probabilities of a completion, and find out what they cover.

    Args:
        completion: What the teacher gave.
        tags: As for :func:`cot_distill.trace.parse_trace`.
        prefilled: Likewise.

    Returns:
        The log-probabilities; None where there are none, or none that can be read.

    Example:
        >>> said = [{"token": token, "logprob": -0.1} for token in ("<think>", "2 and 2", "</think>", "4")]
        >>> found = read_logprobs(Completion(content="<think>2 and 2</think>4", logprobs={"content": said}))
        >>> found.covers, found.reasoning, found.answer
        ('all', slice(1, 2, None), slice(3, 4, None))
    """
    if not completion.logprobs:
        return None
    lists = tokens_of(completion.logprobs)
    apart, said = lists.get("reasoning", []), lists.get("content", [])
    if not apart and not said:
        return None
    try:
        trace = parse_trace(completion, tags=tags, prefilled=prefilled)
        reasoning, answer = trace.reasoning, trace.answer
    except TraceError:  # cut, say: what there is can be aligned all the same
        reasoning, answer = completion.reasoning, completion.content
    tokens = (*apart, *said)
    thought, told = _spans(said, reasoning, answer)
    if apart:
        thought, told = slice(0, len(apart)), slice(len(apart), len(tokens)) if said else None
    generated = completion.usage.completion_tokens
    missing = None if generated is None else max(0, generated - len(tokens))
    return Logprobs(tokens=tokens, reasoning=thought, answer=told, missing=missing)


# --- aligning by bytes ---


def _joined(tokens: Sequence[Token]) -> bytes | None:
    parts = [token.said.text for token in tokens]
    return None if None in parts else b"".join(part for part in parts if part is not None)


def _spans(tokens: Sequence[Token], reasoning: str, answer: str) -> tuple[slice | None, slice | None]:
    """Where reasoning and answer are, as spans of tokens; white space at their ends may differ between servers."""
    whole = _joined(tokens)
    if whole is None:
        return None, None
    ends = list(accumulate(len(token.said.text or b"") for token in tokens))
    thought, told = reasoning.encode().strip(), answer.encode().strip()
    if thought and (start := whole.find(thought)) >= 0:
        stop = start + len(thought)
        if told and (place := whole.find(told, stop)) >= 0:
            return _tokens_at(ends, start, stop), _tokens_at(ends, place, place + len(told))
        if not told:  # cut inside of the reasoning
            return _tokens_at(ends, start, stop), None
    # Else it is a list of one part alone, which then is all of it but for the token that ends it.
    last = ends[-2] if len(ends) > 1 else 0
    for part in (told, thought):
        start = len(whole) - len(whole.lstrip())
        stop = start + len(part)
        if part and whole.startswith(part, start) and (stop >= last or not whole[stop:].strip()):
            found = _tokens_at(ends, start, stop)
            return (None, found) if part is told else (found, None)
    return None, None


def _tokens_at(ends: Sequence[int], start: int, stop: int) -> slice:
    """The tokens that hold the bytes from start to stop: those at the seams may hold more than that."""
    first = next(number for number, end in enumerate(ends) if end > start)
    last = next(number for number, end in enumerate(ends) if end >= stop)
    return slice(first, last + 1)


# --- handing on ---


def topk_columns(logprobs: Logprobs) -> Row:
    """Write log-probabilities as columns of a dataset, for logits distillation.

    All columns run over the tokens of the completion, which are N. What a provider gives beyond the answer's text,
    such as the token that ends it, is among them.

    * ``token_ids``: N ids, what was said.
    * ``topk_ids``: for each of the N tokens, up to k ids, the likeliest first. Fewer than k where the provider gave
      fewer or called some impossible. The token that was said is among them only if it is one of the k likeliest.
    * ``topk_logprobs``: as many natural logarithms.

    Ids are those of the *teacher's* vocabulary: they fit a student that has the same tokenizer. Where the provider
    tells no ids, ``token_bytes`` and ``topk_bytes`` take the place of the two id columns: bytes as hexadecimal text,
    for the student's vocabulary to look up.

    Args:
        logprobs: The log-probabilities.

    Returns:
        The columns.

    Raises:
        ConfigError: There is no list of alternatives, or neither ids nor bytes are known.

    Example:
        >>> top = [{"token": "4", "id": 19, "logprob": -0.1}, {"token": "5", "id": 20, "logprob": -2.4}]
        >>> said = {"token": "4", "id": 19, "logprob": -0.1, "top_logprobs": top}
        >>> topk_columns(read_logprobs(Completion(content="4", logprobs={"content": [said]})))
        {'token_ids': [19], 'topk_ids': [[19, 20]], 'topk_logprobs': [[-0.1, -2.4]]}
    """
    if not any(token.top for token in logprobs.tokens):
        raise ConfigError("the teacher gave no alternatives beside its tokens: ask with Sampling(top_logprobs=k)")
    chances = [[choice.logprob for choice in token.top] for token in logprobs.tokens]
    if logprobs.has_ids:
        said: list[Any] = [token.said.id for token in logprobs.tokens]
        top: list[Any] = [[choice.id for choice in token.top] for token in logprobs.tokens]
        return {"token_ids": said, "topk_ids": top, "topk_logprobs": chances}
    try:
        said = [_hex(token.said) for token in logprobs.tokens]
        top = [[_hex(choice) for choice in token.top] for token in logprobs.tokens]
    except ValueError:
        raise ConfigError(
            "this teacher tells neither the ids nor the bytes of its tokens, so nobody can say which ones they are"
        ) from None
    return {"token_bytes": said, "topk_bytes": top, "topk_logprobs": chances}


def _hex(choice: Choice) -> str:
    if choice.text is None:
        raise ValueError(choice)
    return choice.text.hex()


# --- what can be asked for ---

CEILINGS: Mapping[str, int] = MappingProxyType(
    {
        "openai": 20,  # its reasoning models refuse them altogether
        "openai-responses": 20,
        "azure": 20,
        "deepseek": 20,
        "ollama": 20,
        "together": 20,
        "gemini": 20,
        "fireworks": 5,
        "vllm": 20,  # --max-logprobs
        "tgi": 5,  # --max-top-n-tokens
        "anthropic": 0,
        "bedrock": 0,
        "groq": 0,
    }
)
"""The largest ``top_logprobs`` that a provider takes, by the name of its preset; 0 where there are none to be had.
A provider that is not here publishes none."""

_RAISED_BY: Mapping[str, str] = MappingProxyType({"vllm": "--max-logprobs", "tgi": "--max-top-n-tokens"})
"""Servers of one's own whose ceiling is an option of the server."""


def check_top_logprobs(provider: str, count: int | None) -> str | None:
    """Find out before anything is asked whether a provider gives so many log-probabilities.

    Args:
        provider: The name of its preset.
        count: ``Sampling.top_logprobs``.

    Returns:
        A sentence to warn with, where only whoever started the server can tell; else None.

    Raises:
        ConfigError: It gives fewer, or none.

    Example:
        >>> check_top_logprobs("openai", 20)
        >>> check_top_logprobs("vllm", 50)
        'vllm gives at most 20 log-probabilities a token unless started with a larger --max-logprobs'
    """
    ceiling = CEILINGS.get(provider)
    if count is None or ceiling is None or max(1, count) <= ceiling:
        return None
    if provider in _RAISED_BY:
        option = _RAISED_BY[provider]
        return f"{provider} gives at most {ceiling} log-probabilities a token unless started with a larger {option}"
    if ceiling == 0:
        raise ConfigError(f"{provider} gives no log-probabilities: leave out Sampling(top_logprobs={count})")
    raise ConfigError(
        f"{provider} gives at most {ceiling} log-probabilities a token: Sampling(top_logprobs={ceiling})"
    )
