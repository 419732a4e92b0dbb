"""Filters are lazy, keep the order, and never empty a dataset in silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from cot_distill import filters
from cot_distill.errors import ConfigError
from cot_distill.types import Sample, Task, Trace, Verdict


def sample(*verdicts: bool | None, reasoning: str = "2 and 2 make 4.", answer: str = "4", number: int = 0) -> Sample:
    return Sample(
        task=Task(id=number, instruction="2 + 2?"),
        trace=Trace(reasoning=reasoning, answer=answer),
        verdicts=tuple(Verdict(by="v", passed=passed) for passed in verdicts),
    )


def test_passed_keeps_what_every_verifier_found_right() -> None:
    samples = [sample(True), sample(False), sample(None), sample(True, True), sample(True, False), sample(True, None)]
    assert list(filters.passed(samples)) == [samples[0], samples[3]]


def test_passed_refuses_samples_that_nobody_judged() -> None:
    kept = filters.passed([sample(True), sample(number=7)])
    assert next(kept).passed
    with pytest.raises(ConfigError, match=r"task 7 has no verdict.*verifiers="):
        next(kept)


def test_passed_says_which_verdict_was_in_the_way() -> None:
    unsure = sample(None)
    wrong = sample(True, None, False)
    wrong = wrong.model_copy(
        update={"verdicts": (*wrong.verdicts[:2], Verdict(by="exact", passed=False, reason="got 5"))}
    )
    reasons: list[str] = []
    keep = filters.passed(on_drop=lambda one, reason: reasons.append(reason))
    assert list(keep([wrong, sample(True), unsure])) == [sample(True)]
    assert reasons == ["wrong, says exact: got 5", "cannot tell, says v: no reason given"]
    assert list(filters.passed([wrong], on_drop=lambda one, reason: reasons.append(reason))) == []
    assert len(reasons) == 3


@pytest.mark.parametrize(("n", "kept"), [(0, 0), (2, 2), (9, 3)])
def test_limit_keeps_the_first(n: int, kept: int) -> None:
    samples = [sample(number=number) for number in range(3)]
    assert list(filters.limit(n)(samples)) == samples[:kept]


def test_limit_refuses_a_negative_number() -> None:
    with pytest.raises(ConfigError, match="-1"):
        filters.limit(-1)
    assert filters.limit(3).__name__ == "limit(3)"


def test_filters_read_no_further_than_they_are_asked_to() -> None:
    read = 0

    def endless() -> Iterator[Sample]:
        nonlocal read
        while True:
            read += 1
            yield sample(True, number=read)

    kept = list(filters.limit(3)(filters.clean(filters.passed(endless()))))
    assert [one.task.id for one in kept] == [1, 2, 3]
    assert read == 3


@pytest.mark.parametrize(
    "token",
    [
        "<|im_end|>",
        "<|im_start|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|channel>",
        "<｜Assistant｜>",
        "<｜end▁of▁sentence｜>",
        "<end_of_turn>",
        "<start_of_turn>",
        "<eos>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "</s>",
        "\ud83d",
    ],
)
def test_clean_drops_control_tokens_wherever_they_stand(token: str, caplog: pytest.LogCaptureFixture) -> None:
    good = sample()
    in_reasoning, in_answer = sample(reasoning=f"a {token} b"), sample(answer=f"a{token}")
    with caplog.at_level(logging.WARNING, "cot_distill"):
        assert list(filters.clean([in_reasoning, good, in_answer])) == [good]
    assert "dropped 2 samples" in caplog.text
    reasons: list[str] = []
    assert list(filters.clean(on_drop=lambda one, reason: reasons.append(reason))([in_reasoning, in_answer])) == []
    shown = token.encode("ascii", "backslashreplace").decode() if token == "\ud83d" else token
    assert [reason.replace("'", "") for reason in reasons] == [
        f"the reasoning holds {shown}",
        f"the answer holds {shown}",
    ]


@pytest.mark.parametrize(
    "text", ["a <| b |> c", "x | y", "List<int>", "[instance]", "<br>", "5 < 6 | 7 > 6", "<span>", "xs |> map", "😀"]
)
def test_clean_keeps_what_only_looks_alike(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert list(filters.clean([sample(reasoning=text, answer=text)]))
    assert not caplog.text
