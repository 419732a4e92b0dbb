"""Traces: what is one, what is not, and that reading undoes writing."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from cot_distill.errors import TraceError
from cot_distill.trace import KNOWN_TAGS, Prefilled, StreamSplitter, join, parse_trace, split
from cot_distill.types import Completion, ThinkTags, Trace

HOSTILE = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("\n\r \t\u2028\u2029\u0085\x0b\x0c\x1c\ufeff\u200b\u202e<>/{}\\\"'`$"),
    ),
    min_size=1,
).map(lambda text: text.replace("<think>", "").replace("</think>", ""))


def a_trace() -> st.SearchStrategy[Trace]:
    def make(parts: tuple[str, str]) -> Trace:
        assume(all(part.strip("\r\n").strip() for part in parts))
        assume(not any(tag in part for part in parts for tag in ("<think>", "</think>")))
        return Trace(reasoning=parts[0], answer=parts[1])

    return st.tuples(HOSTILE, HOSTILE).map(make)


def test_join_is_byte_for_byte() -> None:
    assert join(Trace(reasoning="r1\nr2", answer="  a")) == "<think>\nr1\nr2\n</think>\n\n  a"


@given(a_trace())
def test_split_undoes_join(trace: Trace) -> None:
    assert split(join(trace)) == trace
    assert split(join(trace), prefilled=False) == trace


@given(a_trace())
def test_a_prefilled_trace_reads_the_same(trace: Trace) -> None:
    text = join(trace).removeprefix("<think>")
    assert split(text) == trace
    assert split(text, prefilled=True) == trace


@given(a_trace(), st.sampled_from(sorted(KNOWN_TAGS)))
def test_every_known_pair_of_tags_is_read(trace: Trace, family: str) -> None:
    tags = KNOWN_TAGS[family]
    assume(not any(tag in part for part in (trace.reasoning, trace.answer) for tag in (tags.open, tags.close)))
    assert split(f"{tags.open}\n{trace.reasoning}\n{tags.close}\n\n{trace.answer}", tags=tags) == trace


@given(a_trace(), st.lists(st.integers(1, 9), min_size=1), st.booleans())
def test_streaming_and_whole_give_the_same(trace: Trace, cuts: list[int], prefilled: bool) -> None:
    text = join(trace).removeprefix("<think>") if prefilled else join(trace)
    stream = StreamSplitter(prefilled=True if prefilled else "auto")
    pieces: list[tuple[str, str]] = []
    rest, turn = text, 0
    while rest:
        size = cuts[turn % len(cuts)]
        pieces += stream.feed(rest[:size])
        rest, turn = rest[size:], turn + 1
    assert stream.finish() == trace == split(text)
    shown = {part: "".join(piece for name, piece in pieces if name == part) for part in ("reasoning", "answer")}
    assert shown["reasoning"].strip("\r\n") == trace.reasoning
    assert shown["answer"].strip("\r\n") == trace.answer


def test_a_stream_without_tags_shows_nothing_before_it_is_known_what_it_is() -> None:
    stream = StreamSplitter()
    assert stream.feed("just") == []
    assert stream.feed(" text") == []
    with pytest.raises(TraceError) as caught:
        stream.finish()
    assert caught.value.kind == "no_reasoning"


@pytest.mark.parametrize(
    ("text", "prefilled", "kind"),
    [
        ("the answer alone", "auto", "no_reasoning"),
        ("the answer alone", False, "no_reasoning"),
        ("all of it is reasoning", True, "unbalanced"),
        ("<think>never closed", "auto", "unbalanced"),
        ("before <think>never closed", "auto", "unbalanced"),
        ("r</think>a", False, "unbalanced"),
        ("x<think>r</think>a", "auto", "unbalanced"),
        ("x<think>r</think>a", True, "unbalanced"),
        ("<think>r</think>", "auto", "no_answer"),
        ("<think>r</think>\n \n", "auto", "no_answer"),
        ("<think> \n </think>a", "auto", "no_reasoning"),
        ("</think>a", "auto", "no_reasoning"),
        ("<think>a</think><think>b</think>c", "auto", "repeated"),
        ("<think>r</think>a</think>b", "auto", "repeated"),
        ("<think>r<think>s</think>a", "auto", "repeated"),
        ("<think>r</think>a <think>", "auto", "repeated"),
        ("", "auto", "no_reasoning"),
    ],
)
def test_ambiguous_text_is_refused_with_its_kind(text: str, prefilled: Prefilled, kind: str) -> None:
    with pytest.raises(TraceError) as caught:
        split(text, prefilled=prefilled)
    assert caught.value.kind == kind
    assert str(caught.value)


def test_an_opening_tag_that_the_model_repeats_after_the_template_is_tolerated() -> None:
    assert split("<think>r</think>a", prefilled=True) == Trace(reasoning="r", answer="a")


@pytest.mark.parametrize(
    ("finish_reason", "kind"),
    [("length", "truncated"), ("refused", "refused"), ("tool_calls", "unfinished"), ("error", "unfinished")],
)
def test_only_a_normal_stop_gives_a_trace(finish_reason: str, kind: str) -> None:
    whole = "<think>r</think>a"
    with pytest.raises(TraceError) as caught:
        split(whole, finish_reason=finish_reason)  # type: ignore[arg-type]
    assert caught.value.kind == kind
    with pytest.raises(TraceError) as caught:
        parse_trace(Completion(reasoning="r", content="a", finish_reason=finish_reason))  # type: ignore[arg-type]
    assert caught.value.kind == kind


def test_other_tags_are_named_in_the_error() -> None:
    with pytest.raises(TraceError, match=r"ThinkTags\(open='\[THINK\]'"):
        split("[THINK]r[/THINK]a")


def test_the_field_alone() -> None:
    completion = Completion(reasoning="\nr\n", content="\n\na")
    assert parse_trace(completion) == Trace(reasoning="r", answer="a")


def test_inline_tags_alone() -> None:
    assert parse_trace(Completion(content="<think>r</think>a")) == Trace(reasoning="r", answer="a")


def test_the_same_text_in_field_and_tags_is_kept_once() -> None:
    completion = Completion(reasoning="r\n", content="<think>\nr</think>\n\na")
    assert parse_trace(completion) == Trace(reasoning="r", answer="a")


def test_different_texts_in_field_and_tags_are_refused() -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(Completion(reasoning="one", content="<think>other</think>a"))
    assert caught.value.kind == "repeated"


def test_tags_inside_the_reasoning_field_are_unwrapped() -> None:
    completion = Completion(reasoning="<think>\nr\n</think>", content="a")
    assert parse_trace(completion) == Trace(reasoning="r", answer="a")


def test_a_stray_tag_in_the_answer_is_refused_also_with_other_tags() -> None:
    with pytest.raises(TraceError) as caught:
        split("[THINK]r[/THINK]a</think>", tags=ThinkTags(open="[THINK]", close="[/THINK]"))
    assert caught.value.kind == "repeated"
    with pytest.raises(TraceError):
        parse_trace(Completion(reasoning="see <think>", content="a"))


def test_hidden_reasoning_is_said_to_be_hidden() -> None:
    with pytest.raises(TraceError, match="hidden") as caught:
        parse_trace(Completion(content="a", trace_kind="hidden"))
    assert caught.value.kind == "no_reasoning"


def test_the_completion_knows_better_than_auto() -> None:
    completion = Completion(content="r</think>a", prefilled=False)
    with pytest.raises(TraceError) as caught:
        parse_trace(completion)
    assert caught.value.kind == "unbalanced"
    assert parse_trace(completion, prefilled=True).reasoning == "r"


@pytest.mark.parametrize("part", ["", " ", "\n", "a <think> b", "</think>"])
def test_a_trace_that_is_not_whole_cannot_be_made(part: str) -> None:
    with pytest.raises(ValidationError):
        Trace(reasoning=part, answer="a")
    with pytest.raises(ValidationError):
        Trace(reasoning="r", answer=part)


@pytest.mark.parametrize(("opening", "closing"), [("", "x"), (" ", "x"), ("x", "x"), ("<a>", "</<a>>")])
def test_tags_that_cannot_be_told_apart_are_refused(opening: str, closing: str) -> None:
    with pytest.raises(ValidationError):
        ThinkTags(open=opening, close=closing)
