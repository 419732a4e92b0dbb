"""Harmony: channels that leaked into the content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.teachers.harmony import Channels, read

PLAIN = st.text(max_size=20).filter(lambda text: "<|" not in text)


def thought(text: str) -> str:
    return f"<|channel|>analysis<|message|>{text}<|end|>"


def said(text: str) -> str:
    return f"<|start|>assistant<|channel|>final<|message|>{text}"


@given(PLAIN, PLAIN, st.sampled_from(["", "<|return|>", "<|end|>", "<|return|>\n"]), st.booleans())
def test_channels_come_back(reasoning: str, answer: str, end: str, started: bool) -> None:
    text = ("<|start|>assistant" if started else "") + thought(reasoning) + said(answer) + end
    assert read(text) == Channels(reasoning, answer)


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        (thought("a") + "<|start|>assistant" + thought("b") + said("c"), Channels("a\n\nb", "c")),
        (said("c"), Channels("", "c")),
        ("<|channel|>analysis<|message|>a", Channels("a", "")),  # cut
        (thought("a") + said(""), Channels("a", "")),
        ("\n " + thought("a") + "\n" + said("c"), Channels("a", "c")),
    ],
)
def test_what_is_read(text: str, channels: Channels) -> None:
    assert read(text) == channels


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "4",
        "What does <|channel|>analysis<|message|> mean?",
        "<|channel|>analysis",
        "<|channel|>analysis<|mess",
        "analysis 2 and 2assistantfinal4",  # without its tokens it cannot be told from an answer
        thought("a") + "4",
        thought("a") + said("b<|end|>") + said("c"),  # two answers
        thought("a") + said("b<|channel|>c"),
        thought("a<|start|>b"),
        "<|channel|>commentary<|message|>I will look.<|end|>" + said("c"),
        "<|start|>assistant to=functions.f<|channel|>commentary<|constrain|>json<|message|>{}<|call|>",
        thought("a") + "<|start|>assistant<|channel|>commentary to=functions.f<|message|>{}<|call|>",
        "<|start|>user<|message|>2+2?<|end|>" + thought("a") + said("c"),
    ],
)
def test_what_is_left_as_it_is(text: str) -> None:
    assert read(text) is None


@given(
    st.lists(
        st.sampled_from(
            [
                "<|start|>assistant",
                "<|channel|>analysis",
                "<|channel|>final",
                "<|message|>",
                "<|end|>",
                "<|return|>",
                "<|call|>",
                "x",
                " ",
            ]
        ),
        max_size=12,
    )
)
def test_no_token_of_the_format_gets_through(tokens: list[str]) -> None:
    channels = read("".join(tokens))
    if channels is not None:
        assert "<|" not in channels.reasoning + channels.answer
