"""Which layers are paired. Needs no torch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.errors import ConfigError
from cot_distill.student import LayerMap

# Of a student with 3 blocks and a teacher with 6: what stands for each layer is its own number.
STUDENT, TEACHER = tuple(range(4)), tuple(range(7))
STUDENT_MAPS, TEACHER_MAPS = STUDENT[1:], TEACHER[1:]


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (3, 6, ((1, 2), (2, 4), (3, 6))),
        (4, 4, ((1, 1), (2, 2), (3, 3), (4, 4))),
        (2, 5, ((1, 2), (2, 5))),
        (5, 2, ((2, 1), (5, 2))),
        (1, 9, ((1, 9),)),
    ],
)
def test_even(student: int, teacher: int, pairs: object) -> None:
    assert LayerMap.even(student, teacher).pairs == pairs


@given(st.integers(1, 100), st.integers(1, 100))
def test_even_is_in_order_and_ends_with_the_last_blocks(student: int, teacher: int) -> None:
    pairs = LayerMap.even(student, teacher).pairs
    assert len(pairs) == min(student, teacher)
    assert pairs[-1] == (student, teacher)
    for side, blocks in ((0, student), (1, teacher)):
        layers = [pair[side] for pair in pairs]
        assert layers == sorted(set(layers))
        assert layers[0] >= 1
        assert layers[-1] <= blocks
    LayerMap.even(student, teacher).hidden(range(student + 1), range(teacher + 1))
    LayerMap.even(student, teacher).attentions(range(student), range(teacher))


def test_hidden_states_are_counted_from_the_embeddings() -> None:
    assert LayerMap.even(3, 6).hidden(STUDENT, TEACHER) == ([1, 2, 3], [2, 4, 6])
    assert LayerMap.last(2).hidden(STUDENT, TEACHER) == ([2, 3], [5, 6])
    assert LayerMap.explicit([[0, 0], [1, -2]]).hidden(STUDENT, TEACHER) == ([0, 1], [0, 5])


def test_the_attention_map_of_a_block_is_that_of_its_hidden_state() -> None:
    for layers in (LayerMap.even(3, 6), LayerMap.last(3), LayerMap.explicit([(1, 6), (-3, 1)])):
        assert layers.attentions(STUDENT_MAPS, TEACHER_MAPS) == layers.hidden(STUDENT, TEACHER)


def test_embeddings_have_no_attention_map() -> None:
    with pytest.raises(ConfigError, match="layer 0 of the student, which has the layers 1 to 3"):
        LayerMap.explicit([(0, 1)]).attentions(STUDENT_MAPS, TEACHER_MAPS)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ((4, 1), "layer 4 of the student, which has the layers 0 to 3"),
        ((1, 7), "layer 7 of the teacher, which has the layers 0 to 6"),
        ((-4, 1), "layer -4 of the student"),
        ((1, -7), "layer -7 of the teacher"),
    ],
)
def test_a_layer_that_is_not_there(pair: tuple[int, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LayerMap.explicit([pair]).hidden(STUDENT, TEACHER)


@pytest.mark.parametrize("nothing", [(), None])
def test_models_that_gave_nothing(nothing: tuple[()] | None) -> None:
    with pytest.raises(ConfigError, match=r'student gave no attentions: .*set_attn_implementation\("eager"\)'):
        LayerMap.last(1).attentions(nothing, TEACHER_MAPS)
    with pytest.raises(ConfigError, match=r"teacher gave no hidden_states: .*output_hidden_states=True"):
        LayerMap.last(1).hidden(STUDENT, nothing)


def test_maps_that_are_none() -> None:
    for wrong in ([], [(1, 1), (1, 1)], [(1,)], [(1, 2, 3)], [(1, "2")]):
        with pytest.raises(ConfigError):
            LayerMap.explicit(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"LayerMap.last\(0\) pairs nothing"):
        LayerMap.last(0)
    with pytest.raises(ConfigError, match="at least one block, not 0 and 4"):
        LayerMap.even(0, 4)
