"""Log-probabilities of every provider's shape: aligned by bytes, wherever a token cuts a character."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cot_distill.errors import ConfigError, TraceError
from cot_distill.logprob_formats import Choice, Token, compact, pack, tokens_of
from cot_distill.logprobs import CEILINGS, check_top_logprobs, read_logprobs, topk_columns
from cot_distill.teachers import PRESETS
from cot_distill.trace import parse_trace
from cot_distill.types import Completion, Sampling, Usage

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)
PARTS = TEXTS.filter(lambda text: text.strip("\r\n").strip() and "<" not in text)
CHANCES = st.floats(-20, 0, allow_nan=False)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[bytes]:
    """A text as tokens that may end inside of a character."""
    data = text.encode()
    places = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8)))
    return [
        piece for start, stop in zip([0, *places], [*places, len(data)], strict=True) if (piece := data[start:stop])
    ]


def openai(pieces: Sequence[bytes], *, top: int = 0, ids: bool = False) -> list[dict[str, Any]]:
    """As chat completions write tokens; half a character is written as the sign for what is unknown."""

    def entry(piece: bytes, number: int) -> dict[str, Any]:
        written = {"token": piece.decode("utf-8", "replace"), "bytes": list(piece), "logprob": -0.5 - number}
        return {**written, "id": 7 + number} if ids else written

    return [
        {**entry(piece, 0), "top_logprobs": [entry(piece if n == 0 else b"x" * n, n) for n in range(top)]}
        for piece in pieces
    ]


# --- aligned with the text ---


@given(st.data(), PARTS, PARTS)
def test_bytes_of_all_tokens_join_to_the_text(data: st.DataObject, reasoning: str, answer: str) -> None:
    text = f"<think>\n{reasoning}\n</think>\n\n{answer}"
    completion = Completion(content=text, logprobs={"content": openai(data.draw(cut(text)))})
    try:
        trace = parse_trace(completion)
    except TraceError:
        assume(False)
    found = read_logprobs(completion)
    assert found is not None
    assert found.text == text.encode()
    assert found.covers == "all"
    assert found.reasoning is not None
    assert found.answer is not None
    for part, said in ((found.reasoning, trace.reasoning), (found.answer, trace.answer)):
        joined = b"".join(token.said.text or b"" for token in found.tokens[part])
        assert said.encode().strip() in joined
        # And not a token more than it takes.
        inner = b"".join(token.said.text or b"" for token in found.tokens[part][1:-1])
        assert inner in said.encode().strip()


@given(st.data(), PARTS, PARTS)
def test_a_list_of_the_answer_alone(data: st.DataObject, reasoning: str, answer: str) -> None:
    """OpenAI's, say: the same list that holds all elsewhere."""
    assume(reasoning.encode().strip() not in answer.encode())
    completion = Completion(
        reasoning=reasoning, content=answer, trace_kind="full", logprobs={"content": openai(data.draw(cut(answer)))}
    )
    found = read_logprobs(completion)
    assert found is not None
    assert (found.covers, found.reasoning) == ("answer", None)
    assert found.text == answer.encode()


def test_an_answer_that_repeats_the_reasoning() -> None:
    both = Completion(
        reasoning="4", content="4", logprobs={"content": openai([b"<think>", b"4", b"</think>", b"4", b"<eos>"])}
    )
    alone = both.model_copy(update={"logprobs": {"content": openai([b"4"])}})
    found, answer_only = read_logprobs(both), read_logprobs(alone)
    assert found is not None
    assert answer_only is not None
    assert (found.covers, found.reasoning, found.answer) == ("all", slice(1, 2), slice(3, 4))
    assert (answer_only.covers, answer_only.answer) == ("answer", slice(0, 1))


def test_lists_apart() -> None:
    """DeepSeek and Cerebras: there are no tags between the two."""
    lists = {"content": openai([b"4"]), "reasoning": openai([b"2 and ", b"2."])}
    found = read_logprobs(Completion(reasoning="2 and 2.", content="4", logprobs=lists))
    assert found is not None
    assert (found.covers, found.reasoning, found.answer) == ("all", slice(0, 2), slice(2, 3))
    assert found.text == b"2 and 2.4"


def test_what_does_not_add_up_is_not_guessed_at() -> None:
    found = read_logprobs(Completion(reasoning="2 and 2.", content="4", logprobs={"content": openai([b"something"])}))
    assert found is not None
    assert found.covers == "unknown"


def test_a_cut_completion_is_aligned_as_far_as_it_goes() -> None:
    lists = {"content": openai([b"<think>", "2 → 4".encode()[:3]])}
    found = read_logprobs(Completion(reasoning="2 ", finish_reason="length", logprobs=lists))
    assert found is not None
    assert found.reasoning == slice(1, 2)


@pytest.mark.parametrize(("generated", "missing"), [(None, None), (2, 0), (3, 1), (1, 0)])
def test_how_many_are_missing(generated: int | None, missing: int | None) -> None:
    usage = Usage(completion_tokens=generated)
    found = read_logprobs(Completion(content="42", usage=usage, logprobs={"content": openai([b"4", b"2"])}))
    assert found is not None
    assert found.missing == missing


def test_none() -> None:
    assert read_logprobs(Completion(content="4")) is None
    assert read_logprobs(Completion(content="4", logprobs={"content": []})) is None


# --- the shapes, as they come over the wire ---


def decoded(provider: str, payload: Any) -> Completion:
    preset = PRESETS[provider]
    return preset.format.decode(payload, preset=preset)


def chat(logprobs: Any, content: str = "é!") -> dict[str, Any]:
    choice = {"message": {"content": content}, "finish_reason": "stop", "logprobs": logprobs}
    return {"choices": [choice]}


HALVES = [b"\xc3", b"\xa9", b"!"]
IDS = [12, 13, 0]


@pytest.mark.parametrize(
    ("provider", "payload", "ids"),
    [
        ("openai", chat({"content": openai(HALVES, top=2)}), None),
        ("llamacpp", chat({"content": openai(HALVES, top=2, ids=True)}), [7, 7, 7]),
        (
            "vllm",  # return_tokens_as_token_ids, with the bytes of the tokens
            chat(
                {
                    "content": [
                        {"token": f"token_id:{number}", "bytes": list(piece), "logprob": -0.5, "top_logprobs": []}
                        for number, piece in zip(IDS, HALVES, strict=True)
                    ]
                }
            ),
            IDS,
        ),
        (
            "openai-responses",
            {
                "status": "completed",
                "incomplete_details": None,
                "output": [
                    {
                        "type": "message",
                        "content": [{"type": "output_text", "text": "é!", "logprobs": openai(HALVES, top=2)}],
                    }
                ],
            },
            None,
        ),
        (
            "ollama",
            {
                "message": {"role": "assistant", "content": "é!"},
                "done": True,
                "done_reason": "stop",
                "logprobs": openai(HALVES, top=2),
            },
            None,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_shapes_that_tell_bytes(provider: str, payload: Any, ids: list[int] | None) -> None:
    found = read_logprobs(decoded(provider, json.loads(json.dumps(payload))))
    assert found is not None
    assert found.text == "é!".encode()
    assert found.covers == "answer"
    assert [token.said.text for token in found.tokens] == HALVES
    assert [token.said.id for token in found.tokens] == list(ids or (None, None, None))
    assert found.has_ids is (ids is not None)


def test_gemini() -> None:
    payload = {
        "candidates": [
            {
                "content": {"parts": [{"text": "4!"}]},
                "finishReason": "STOP",
                "logprobsResult": {
                    "topCandidates": [
                        {
                            "candidates": [
                                {"token": "5", "tokenId": 6, "logProbability": -2.5},
                                {"token": "4", "tokenId": 5, "logProbability": -0.1},
                            ]
                        },
                        {"candidates": [{"token": "!", "tokenId": 0, "logProbability": -0.2}]},
                    ],
                    "chosenCandidates": [
                        {"token": "4", "tokenId": 5, "logProbability": -0.1},
                        {"token": "!", "tokenId": 0, "logProbability": -0.2},
                    ],
                },
            }
        ]
    }
    found = read_logprobs(decoded("gemini", payload))
    assert found is not None
    assert found.covers == "answer"
    assert topk_columns(found) == {
        "token_ids": [5, 0],
        "topk_ids": [[5, 6], [0]],
        "topk_logprobs": [[-0.1, -2.5], [-0.2]],
    }


def test_together() -> None:
    given = {
        "tokens": ["4", "!"],
        "token_logprobs": [-0.1, -0.2],
        "token_ids": [5, 0],
        "top_logprobs": [{"4": -0.1, "5": -2.5}, {"!": -0.2}],
    }
    found = read_logprobs(decoded("together", chat(given, content="4!")))
    assert found is not None
    assert found.covers == "answer"
    assert [token.said.id for token in found.tokens] == [5, 0]
    assert not found.has_ids  # of what it calls the alternatives by text only
    assert topk_columns(found) == {
        "token_bytes": ["34", "21"],
        "topk_bytes": [["34", "35"], ["21"]],
        "topk_logprobs": [[-0.1, -2.5], [-0.2]],
    }


def test_no_bytes_and_half_a_character() -> None:
    """TGI and others: what half a character is nobody can tell, but the ids are good."""
    half = {"token": "\ufffd", "logprob": -0.5, "top_logprobs": []}
    entries = [{**half, "token_id": number} for number in (12, 13)]
    found = read_logprobs(Completion(content="é", logprobs={"content": entries}))
    assert found is not None
    assert (found.text, found.covers) == (None, "unknown")
    assert found.has_ids


def test_vllm_writes_ids_for_tokens_and_for_their_bytes() -> None:
    """Then the bytes are those of the words "token_id:…", and tell nothing."""
    entry = {"token": "token_id:42", "bytes": list(b"token_id:42"), "logprob": -0.5, "top_logprobs": []}
    (token,) = tokens_of({"content": [entry]})["content"]
    assert token.said == Choice(None, -0.5, 42)


def test_what_is_impossible_is_no_alternative() -> None:
    """-9999 is vLLM's word for minus infinity."""
    entry = openai([b"4"], top=2)[0]
    entry["top_logprobs"][1]["logprob"] = -9999.0
    (token,) = tokens_of({"content": [entry]})["content"]
    assert [choice.text for choice in token.top] == [b"4"]


FIELDS = (
    *("content", "reasoning", "tokens", "token_logprobs", "token_ids", "top_logprobs", "token", "bytes", "logprob"),
    *("id", "tokenId", "chosenCandidates", "topCandidates", "candidates", "logProbability"),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(st.sampled_from(["content", "reasoning", "tokens", "token_logprobs", "chosenCandidates"]), JUNK)
)
def test_whatever_a_server_sends_is_read_or_left(junk: dict[str, Any]) -> None:
    found = read_logprobs(Completion(content="4", logprobs=junk))
    assert found is None or found.tokens


# --- packed ---

CHOICES = st.builds(Choice, st.none() | st.binary(), CHANCES, st.none() | st.integers(0, 10**6))
TOKENS = st.lists(st.builds(Token, CHOICES, st.lists(CHOICES).map(tuple)))


@given(TOKENS)
def test_packed_and_back(tokens: list[Token]) -> None:
    packed = json.loads(json.dumps(pack(tokens)))
    found = tokens_of(packed).get("content", [])
    has_ids = all(choice.id is not None for token in tokens for choice in (token.said, *token.top))
    assert len(found) == len(tokens)
    for there, token in zip(found, tokens, strict=True):
        assert there.said.text == token.said.text
        assert there.said.id == (token.said.id if has_ids else None)
        for mine, theirs in zip(there.top, token.top, strict=True):
            assert mine.logprob == pytest.approx(theirs.logprob, abs=1e-5)
            assert mine[::2] == ((None, theirs.id) if has_ids else (theirs.text, None))


def test_compact_is_small() -> None:
    lists = {"content": openai([b"four"] * 1000, top=20, ids=True)}
    assert len(json.dumps(compact(lists))) < len(json.dumps(lists)) / 5


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("apart", [False, True])
def test_compact_says_the_same(apart: bool, ids: bool) -> None:
    lists: dict[str, Any] = {"content": openai(HALVES, top=2, ids=ids)}
    if apart:
        lists["reasoning"] = openai([b"Voil", b"\xc3", b"\xa0"], top=2, ids=ids)
    wire = Completion(content="é!", reasoning="Voilà", logprobs=lists)
    kept = json.loads(json.dumps(compact(lists)))
    assert compact(kept) == kept
    before, after = read_logprobs(wire), read_logprobs(wire.model_copy(update={"logprobs": kept}))
    assert before is not None
    assert after is not None
    assert topk_columns(after) == topk_columns(before)
    assert (after.covers, after.reasoning, after.answer, after.text) == (
        *(before.covers, before.reasoning, before.answer, before.text),
    )


def test_compact_keeps_what_it_cannot_read() -> None:
    assert compact({"sampled": [1, 2]}) == {"sampled": [1, 2]}


# --- columns, and what can be asked for ---


def test_columns_need_alternatives_and_a_way_to_name_them() -> None:
    plain = read_logprobs(Completion(content="4", logprobs={"content": openai([b"4"])}))
    assert plain is not None
    with pytest.raises(ConfigError, match=r"Sampling\(top_logprobs=k\)"):
        topk_columns(plain)
    nameless = {"token": "\ufffd", "logprob": -0.5, "top_logprobs": [{"token": "\ufffd", "logprob": -0.5}]}
    unknown = read_logprobs(Completion(content="é", logprobs={"content": [nameless]}))
    assert unknown is not None
    with pytest.raises(ConfigError, match="neither the ids nor the bytes"):
        topk_columns(unknown)


@pytest.mark.parametrize("provider", sorted(CEILINGS))
def test_ceilings(provider: str) -> None:
    ceiling = CEILINGS[provider]
    assert provider in PRESETS
    assert check_top_logprobs(provider, None) is None
    if ceiling:
        assert check_top_logprobs(provider, ceiling) is None
    if provider in ("vllm", "tgi"):
        warning = check_top_logprobs(provider, ceiling + 1)
        assert warning is not None
        assert "--max-" in warning
    else:
        with pytest.raises(ConfigError, match=f"{provider} gives (at most {ceiling}|no) log-probabilities"):
            check_top_logprobs(provider, ceiling + 1)


@pytest.mark.parametrize("provider", sorted(name for name, ceiling in CEILINGS.items() if ceiling == 0))
def test_no_logprobs_where_there_are_none(provider: str) -> None:
    """Zero alternatives are still the log-probability of the token itself."""
    with pytest.raises(ConfigError, match="gives no log-probabilities: leave out"):
        check_top_logprobs(provider, Sampling(top_logprobs=0).top_logprobs)


def test_a_provider_that_publishes_no_ceiling() -> None:
    assert check_top_logprobs("cerebras", 1000) is None
