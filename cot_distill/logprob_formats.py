"""Reading log-probabilities out of every shape that providers send them in.

This file knows the shapes, as ``Completion.logprobs`` keeps them, and makes tokens of them. It knows no completion
and no text: what the tokens cover is for :mod:`cot_distill.logprobs`.

===========================================  ==========================================================
lists of ``{token, bytes, logprob, …}``      OpenAI (chat, Responses), vLLM, SGLang, DeepSeek, Fireworks,
                                             Cerebras, Ollama, TGI; with ``id`` llama-server
``chosenCandidates``, ``topCandidates``      Gemini
``tokens``, ``token_logprobs``, …            Together, and all that follow the old completions
columns, see :func:`pack`                    our own, of the teachers in this process
===========================================  ==========================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Choice", "Token", "compact", "pack", "tokens_of"]

_AS_ID = re.compile(r"token_id:(\d+)")  # vLLM with return_tokens_as_token_ids
_FLOOR = -9999.0  # vLLM's word for "impossible", where JSON has no infinity
_UNKNOWN_CHARACTER = "\ufffd"  # stands for bytes that are no character by themselves
_PACKED = "columns"
_DIGITS = 5  # of a packed log-probability


class Choice(NamedTuple):
    """A token that could stand at a position."""

    text: bytes | None
    """Its bytes, which need not be whole characters; None where the provider does not tell them."""
    logprob: float | None
    id: int | None
    """In the vocabulary of the teacher, where the provider tells it."""


class Token(NamedTuple):
    """The token that was said, and the likeliest ones at its place, best first."""

    said: Choice
    top: tuple[Choice, ...]


def tokens_of(found: Mapping[str, Any]) -> dict[str, list[Token]]:
    r"""Read the lists of tokens.

    Args:
        found: ``Completion.logprobs``.

    Returns:
        The tokens under ``content``, and under ``reasoning`` where the provider has a list apart for it. Nothing
        where the shape is not known, or not whole: half a list could not be aligned with anything.

    Example:
        >>> said = {"token": "é", "bytes": [195, 169], "logprob": -0.5, "top_logprobs": []}
        >>> tokens_of({"content": [said]})["content"][0].said
        Choice(text=b'\xc3\xa9', logprob=-0.5, id=None)
    """
    if found.get("format") == _PACKED:
        lists = {"content": _packed(found)}
    elif "chosenCandidates" in found:
        lists = {"content": _gemini(found)}
    elif isinstance(found.get("tokens"), list):
        lists = {"content": _by_column(found)}
    else:
        lists = {name: _by_token(found.get(name)) for name in ("reasoning", "content")}
    return {name: tokens for name, tokens in lists.items() if tokens}


def _by_token(entries: Any) -> list[Token]:
    if isinstance(entries, dict) and entries.get("format") == _PACKED:
        return _packed(entries)
    tokens: list[Token] = []
    for entry in entries if isinstance(entries, list) else ():
        said = _choice(entry)
        if said is None:
            return []
        top = entry.get("top_logprobs")
        tokens.append(Token(said, _ranked(map(_choice, top) if isinstance(top, list) else ())))
    return tokens


def _gemini(found: Mapping[str, Any]) -> list[Token]:
    chosen, top = found.get("chosenCandidates"), found.get("topCandidates")
    if not isinstance(chosen, list):
        return []
    tops = top if isinstance(top, list) and len(top) == len(chosen) else [None] * len(chosen)
    tokens: list[Token] = []
    for entry, others in zip(chosen, tops, strict=True):
        said = _choice(entry)
        if said is None:
            return []
        candidates = others.get("candidates") if isinstance(others, dict) else None
        tokens.append(Token(said, _ranked(map(_choice, candidates) if isinstance(candidates, list) else ())))
    return tokens


def _by_column(found: Mapping[str, Any]) -> list[Token]:
    texts = found["tokens"]
    chances, ids, tops = (found.get(name) for name in ("token_logprobs", "token_ids", "top_logprobs"))
    if not isinstance(chances, list) or len(chances) != len(texts):
        return []
    ids = ids if isinstance(ids, list) and len(ids) == len(texts) else [None] * len(texts)
    tops = tops if isinstance(tops, list) and len(tops) == len(texts) else [None] * len(texts)
    tokens: list[Token] = []
    for text, chance, number, top in zip(texts, chances, ids, tops, strict=True):
        said = _choice({"token": text, "logprob": chance, "id": number})
        if said is None:
            return []
        pairs = top.items() if isinstance(top, dict) else ()
        tokens.append(Token(said, _ranked(_choice({"token": name, "logprob": value}) for name, value in pairs)))
    return tokens


def _choice(entry: Any) -> Choice | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return None
    token: str = entry["token"]
    chance = entry.get("logprob", entry.get("logProbability"))
    number = next((n for name in ("id", "token_id", "tokenId") if (n := _count(entry.get(name))) is not None), None)
    text = _bytes(entry.get("bytes"))
    as_id = _AS_ID.fullmatch(token)
    if as_id:
        number = int(as_id[1]) if number is None else number
        text = None if text == token.encode() else text  # then these are the bytes of the words "token_id:…"
    elif text is None and _UNKNOWN_CHARACTER not in token:
        text = token.encode()
    return Choice(text, _number(chance), number)


def _bytes(values: Any) -> bytes | None:
    if not isinstance(values, list) or not all(isinstance(value, int) and 0 <= value < 256 for value in values):
        return None
    return bytes(values)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None


def _ranked(choices: Iterable[Choice | None]) -> tuple[Choice, ...]:
    """The choices that are possible at all, best first."""
    possible = [(choice.logprob, choice) for choice in choices if choice is not None and choice.logprob is not None]
    return tuple(choice for chance, choice in sorted(possible, key=lambda pair: -pair[0]) if chance > _FLOOR)


def compact(found: Mapping[str, Any]) -> dict[str, Any]:
    """Write log-probabilities as columns, to be kept; :func:`tokens_of` reads the same tokens out of them.

    Args:
        found: ``Completion.logprobs``, of any provider.

    Returns:
        The columns of each list. What cannot be read, and what is columns already, stays as it is.
    """
    lists = tokens_of(found)
    if not lists or found.get("format") == _PACKED:
        return dict(found)
    if "reasoning" in lists:
        return {name: pack(tokens) for name, tokens in lists.items()}
    return pack(lists["content"])


def pack(tokens: Sequence[Token]) -> dict[str, Any]:
    """Write tokens as columns: a tenth of what lists of objects take.

    Where all ids are known, the bytes of the alternatives are left out: a vocabulary tells them.

    Args:
        tokens: The tokens.

    Returns:
        Plain values, for ``Completion.logprobs``. Log-probabilities are rounded to five decimals; bytes are text in
        which each character is one byte (Latin-1).

    Example:
        >>> four = Choice(b"4", -0.1234567, 19)
        >>> pack([Token(four, (four,))])["topk_logprobs"]
        [[-0.12346]]
    """
    said = [token.said for token in tokens]
    packed: dict[str, Any] = {
        "format": _PACKED,
        "tokens": [_as_text(choice) for choice in said],
        "logprobs": [_rounded(choice) for choice in said],
        "topk_logprobs": [[_rounded(choice) for choice in token.top] for token in tokens],
    }
    if all(choice.id is not None for token in tokens for choice in (token.said, *token.top)):
        packed["token_ids"] = [choice.id for choice in said]
        packed["topk_ids"] = [[choice.id for choice in token.top] for token in tokens]
    else:
        packed["topk_tokens"] = [[_as_text(choice) for choice in token.top] for token in tokens]
    return packed


def _packed(found: Mapping[str, Any]) -> list[Token]:
    texts, chances, top_chances = found["tokens"], found["logprobs"], found["topk_logprobs"]
    ids = found.get("token_ids") or [None] * len(texts)
    unknown = [[None] * len(top) for top in top_chances]
    top_texts, top_ids = found.get("topk_tokens") or unknown, found.get("topk_ids") or unknown
    tokens: list[Token] = []
    for said, *top in zip(zip(texts, chances, ids, strict=True), top_texts, top_chances, top_ids, strict=True):
        tokens.append(Token(_as_choice(*said), tuple(_as_choice(*other) for other in zip(*top, strict=True))))
    return tokens


def _as_text(choice: Choice) -> str | None:
    return None if choice.text is None else choice.text.decode("latin-1")


def _as_choice(text: str | None, chance: float | None, number: int | None) -> Choice:
    return Choice(None if text is None else text.encode("latin-1"), chance, number)


def _rounded(choice: Choice) -> float | None:
    return None if choice.logprob is None else round(choice.logprob, _DIGITS)
