"""Which teacher answered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.answered_by import sources_of, tell, told
from cot_distill.types import Completion, Message, Sampling


class Named:
    def __init__(self, name: str, *teachers: Named) -> None:
        self.name = name
        self.teachers = teachers

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        raise NotImplementedError


A, B = Named("openai:gpt-5"), Named("vllm:Qwen/QwQ-32B")
BOTH = Named("fallback(…)", Named("cache", A), Named("mix(…)", A, B))


def test_sources_are_found_through_wrappers_and_each_counts_once() -> None:
    assert sources_of(A) == (A,)
    assert sources_of(BOTH) == (A, B)
    assert sources_of(Named("cache", A)) == (A,)


@pytest.mark.parametrize(
    ("teacher", "model", "label"),
    [
        (A, "gpt-5-2025-08-07", "openai:gpt-5 (gpt-5-2025-08-07)"),
        (B, "Qwen/QwQ-32B", "vllm:Qwen/QwQ-32B"),
        (A, None, "openai:gpt-5"),
        (A, "", "openai:gpt-5"),
        (BOTH, "openai:gpt-5 (gpt-5-2025-08-07)", "openai:gpt-5 (gpt-5-2025-08-07)"),
        (BOTH, None, None),
    ],
)
def test_an_answer_is_marked_once_by_the_teacher_that_gave_it(
    teacher: Named, model: str | None, label: str | None
) -> None:
    assert tell(Completion(model=model), teacher).model == label


def test_what_is_not_marked_is_not_guessed() -> None:
    assert told("gpt-5-2025-08-07", BOTH) is None
    assert told(None, BOTH) is None
    assert told("gpt-5-2025-08-07", A) == ("openai:gpt-5", "gpt-5-2025-08-07")
    assert told(None, A) == ("openai:gpt-5", None)


@given(
    names=st.lists(st.text("ab ():", min_size=1), min_size=2, max_size=5, unique=True),
    model=st.none() | st.text("ab ():-"),
    data=st.data(),
)
def test_the_name_is_read_back_whatever_others_are_called(
    names: list[str], model: str | None, data: st.DataObject
) -> None:
    teachers = [Named(name) for name in names]
    one = data.draw(st.sampled_from(teachers))
    label = tell(Completion(model=model), one).model
    found = told(label, Named("all", *teachers))
    assert found is not None
    if not any(other != one.name and other.startswith(f"{one.name} (") for other in names):
        assert found[0] == one.name
