"""Bodies of chat completions: what a limit and a fault make of a trace, and what a refusal holds."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.testing.replies import BAD_REQUEST, REFUSALS, completion, refusal, text_of, tokens
from cot_distill.testing.server import FAULTS, ReasoningField
from cot_distill.trace import parse_trace
from cot_distill.types import Completion, Trace

TRACE = ("I think, at some length.", "It is 42.")  # 6 and 3 tokens


def made(**options: Any) -> tuple[dict[str, Any], str]:
    body = completion(TRACE, **{"limit": None, "fault": None, "where": "reasoning", **options})
    (choice,) = body["choices"]
    return choice["message"], choice["finish_reason"]


@pytest.mark.parametrize(
    ("limit", "reasoning", "content", "reason"),
    [
        (None, TRACE[0], TRACE[1], "stop"),
        (9, TRACE[0], TRACE[1], "stop"),
        (8, TRACE[0], "It is 42", "length"),
        (6, TRACE[0], "", "length"),
        (1, "I th", "", "length"),
    ],
)
def test_a_limit_cuts(limit: int | None, reasoning: str, content: str, reason: str) -> None:
    assert made(limit=limit) == ({"role": "assistant", "content": content, "reasoning": reasoning}, reason)


@pytest.mark.parametrize(
    ("fault", "reasoning", "content", "reason"),
    [
        ("no_reasoning", None, TRACE[1], "stop"),
        ("no_answer", TRACE[0], "", "stop"),
        ("refused", TRACE[0], "", "content_filter"),
        ("length", TRACE[0][:12], "", "length"),
    ],
)
def test_a_fault_of_the_content(fault: str, reasoning: str | None, content: str, reason: str) -> None:
    message, finish_reason = made(fault=fault)
    assert (message.get("reasoning"), message["content"], finish_reason) == (reasoning, content, reason)


@pytest.mark.parametrize("where", ["inline", "prefilled"])
def test_tags_can_be_read(where: str) -> None:
    message, _ = made(where=where)
    assert parse_trace(Completion(content=message["content"])) == Trace(reasoning=TRACE[0], answer=TRACE[1])
    assert "reasoning" not in message


@pytest.mark.parametrize("where", get_args(ReasoningField))
def test_the_reasoning_is_somewhere_whatever_the_place(where: str) -> None:
    assert TRACE[0] in json.dumps(made(where=where)[0])


def test_refusals_are_of_known_faults() -> None:
    assert REFUSALS.keys() < FAULTS.keys()
    reply = refusal(*REFUSALS["429"], "slow down")
    error = {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    assert (reply.status, json.loads(reply.body)) == (429, {"error": error})
    assert refusal(*BAD_REQUEST, "no").status == 400


@pytest.mark.parametrize(
    ("content", "text"),
    [("a", "a"), (None, ""), ([], ""), ([{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}], "ab")],
)
def test_the_text_of_a_turn(content: Any, text: str) -> None:
    assert text_of(content) == text


@given(st.text())
def test_four_characters_are_a_token(text: str) -> None:
    assert 4 * tokens(text) - 4 < len(text) <= 4 * tokens(text)
