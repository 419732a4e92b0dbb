"""Losses on hidden states and attention maps: by formula, under masks, and on real models."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student import LayerMap, Projector, attention_loss, hidden_state_loss  # noqa: E402

BATCH, SEQ, WIDTH, HEADS = 2, 5, 6, 4
MASK = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]])
HIDDEN_KINDS: list[Any] = ["mse", "cosine", "normalized_mse"]
ATTENTION_KINDS: list[Any] = ["mse", "kl"]


def states(seed: int, dtype: Any = torch.float64) -> Tensor:
    made = torch.randn(BATCH, SEQ, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.to(dtype).requires_grad_()


def maps(seed: int, heads: int = HEADS, mask: Tensor = MASK, dtype: Any = torch.float64) -> Tensor:
    """Causal attention that leaves masked keys out, as a model makes it."""
    scores = torch.randn(BATCH, heads, SEQ, SEQ, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    seen = torch.ones(SEQ, SEQ).tril().bool() & mask[:, None, None].bool()
    return scores.masked_fill(~seen, torch.finfo(torch.float64).min).softmax(-1).to(dtype).detach().requires_grad_()


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


def close(one: Tensor, other: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


# --- hidden states ---


def by_formula(s: Tensor, t: Tensor, kind: str) -> Tensor:
    """Of one position."""
    if kind == "cosine":
        return 1 - s @ t / (s.norm() * t.norm())
    return (s - t) @ (s - t) / (WIDTH if kind == "mse" else t @ t)


@pytest.mark.parametrize("kind", HIDDEN_KINDS)
@pytest.mark.parametrize("mask", [None, MASK, MASK.bool(), MASK.double()])
def test_hidden_states_by_formula(kind: Any, mask: Tensor | None) -> None:
    student, teacher = states(1), states(2)
    found = hidden_state_loss(student, teacher, mask, kind=kind)
    places = torch.nonzero(torch.ones_like(MASK) if mask is None else MASK).tolist()
    expected = sum(by_formula(student[a, b], teacher[a, b], kind) for a, b in places) / len(places)
    close(found, expected)
    close(gradient(found, student), gradient(expected, student))


@pytest.mark.parametrize("kind", HIDDEN_KINDS)
def test_gradcheck_of_hidden_states(kind: Any) -> None:
    assert torch.autograd.gradcheck(lambda x: hidden_state_loss(x, states(2), MASK, kind=kind), states(1))


@pytest.mark.parametrize("kind", HIDDEN_KINDS)
def test_a_student_that_is_its_teacher(kind: Any) -> None:
    assert hidden_state_loss(states(1), states(1), kind=kind).abs() < 1e-12
    assert hidden_state_loss(states(1), states(2), kind=kind) > 0.1


def test_what_the_kinds_do_not_see() -> None:
    student, teacher = states(1), states(2)
    for kind, same in (("mse", False), ("cosine", True), ("normalized_mse", False)):
        one = hidden_state_loss(student, teacher, kind=kind)  # type: ignore[arg-type]
        longer = hidden_state_loss(7 * student, teacher, kind=kind)  # type: ignore[arg-type]
        assert torch.isclose(one, longer).item() is same
    for kind, same in (("mse", False), ("cosine", True), ("normalized_mse", True)):
        one = hidden_state_loss(student, teacher, kind=kind)  # type: ignore[arg-type]
        both = hidden_state_loss(7 * student, 7 * teacher, kind=kind)  # type: ignore[arg-type]
        assert torch.isclose(one, both).item() is same


@pytest.mark.parametrize("kind", HIDDEN_KINDS)
def test_what_is_masked_may_be_anything(kind: Any) -> None:
    student, teacher = states(1).detach(), states(2).detach()
    expected = hidden_state_loss(student, teacher, MASK, kind=kind)
    student[MASK == 0], teacher[MASK == 0] = float("nan"), float("inf")
    found = hidden_state_loss(student.requires_grad_(), teacher, MASK, kind=kind)
    close(found, expected)
    got = gradient(found, student)
    assert (got[MASK == 0] == 0).all()
    assert got.isfinite().all()


@pytest.mark.parametrize("kind", HIDDEN_KINDS)
def test_states_of_length_0(kind: Any) -> None:
    for student, teacher in (
        (torch.zeros(1, 2, 3), torch.ones(1, 2, 3)),
        (torch.ones(1, 2, 3), torch.zeros(1, 2, 3)),
    ):
        if kind == "normalized_mse" and not teacher.any():
            continue  # of nothing there is no share
        found = hidden_state_loss(student.requires_grad_(), teacher, kind=kind)
        assert found.isfinite()
        assert gradient(found, student).isfinite().all()


@pytest.mark.parametrize("kind", HIDDEN_KINDS)
def test_hidden_states_in_lower_precision(kind: Any) -> None:
    student, teacher = states(1, torch.bfloat16), states(2, torch.bfloat16)
    found = hidden_state_loss(student, teacher, kind=kind)
    assert found.dtype == torch.float32
    close(found.double(), hidden_state_loss(student.double(), teacher.double(), kind=kind), 1e-6)
    assert gradient(found, student).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", HIDDEN_KINDS)
def test_hidden_states_of_which_none_counts(kind: Any) -> None:
    student = states(1)
    loss = hidden_state_loss(student, states(2), torch.zeros_like(MASK), kind=kind)
    assert loss == 0
    loss.backward()
    assert (student.grad == 0).all()


def test_layers_are_averaged_and_only_the_student_learns() -> None:
    ours, theirs = [states(1), states(2)], [states(3), states(4)]
    found = hidden_state_loss(ours, tuple(theirs), MASK)
    close(found, sum(hidden_state_loss(s, t, MASK) for s, t in zip(ours, theirs, strict=True)) / 2)
    found.backward()
    assert all(x.grad is not None for x in ours)
    assert all(x.grad is None for x in theirs)


def test_hidden_states_that_do_not_fit() -> None:
    wide = torch.zeros(BATCH, SEQ, 9)
    with pytest.raises(ConfigError, match=r"are 6 wide, the teacher's 9: put a Projector\(6, 9\) between them"):
        hidden_state_loss(states(1), wide)
    with pytest.raises(ConfigError, match=r"shapes \(2, 5, 6\) and \(2, 4, 6\)"):
        hidden_state_loss(states(1), states(2)[:, 1:])
    with pytest.raises(ConfigError, match=r"mask has shape \(2, 4\), the positions have \(2, 5\)"):
        hidden_state_loss(states(1), states(2), MASK[:, 1:])
    with pytest.raises(ConfigError, match="2 layers of the student, 1 of the teacher: pick with a LayerMap"):
        hidden_state_loss([states(1)] * 2, [states(2)])
    with pytest.raises(ConfigError, match="kind='l2' is none of"):
        hidden_state_loss(states(1), states(2), kind="l2")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"student gave no hidden states: .*output_hidden_states=True"):
        hidden_state_loss((), states(2))


# --- attention maps ---


def attention_by_formula(student: Tensor, teacher: Tensor, mask: Tensor, kind: str) -> Tensor:
    """With maps of one head each that are to be compared, (batch, heads, seq, seq)."""
    total: Any = 0.0
    count = 0
    for row in range(BATCH):
        keys = mask[row].bool()
        for query in torch.nonzero(mask[row])[:, 0].tolist():
            for head in range(student.shape[1]):
                s, t = student[row, head, query][keys], teacher[row, head, query][keys]
                if kind == "mse":
                    total, count = total + ((s - t) ** 2).sum(), count + len(s)
                else:
                    there = t > 0
                    total, count = total + (t[there] * (t[there] / s[there]).log()).sum(), count + 1
    return total / count


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
@pytest.mark.parametrize("given", [None, MASK, MASK.bool()])
def test_attention_by_formula(kind: Any, given: Tensor | None) -> None:
    mask = torch.ones_like(MASK) if given is None else MASK
    student, teacher = maps(1, mask=mask), maps(2, heads=8, mask=mask)
    found = attention_loss(student, teacher, given, kind=kind)
    expected = attention_by_formula(student.mean(1, keepdim=True), teacher.mean(1, keepdim=True), mask, kind)
    close(found, expected)
    pairs = [(0, 7), (3, 3), (3, 0)]
    found = attention_loss(student, teacher, given, kind=kind, heads=pairs)
    expected = attention_by_formula(student[:, [0, 3, 3]], teacher[:, [7, 3, 0]], mask, kind)
    close(found, expected)
    if kind == "mse":
        close(gradient(found, student), gradient(expected, student))


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_the_gradient_reaches_the_scores_behind_the_maps(kind: Any) -> None:
    scores = torch.randn(BATCH, HEADS, SEQ, SEQ, dtype=torch.float64, requires_grad=True)
    teacher = maps(2, mask=torch.ones_like(MASK))

    def loss(x: Tensor) -> Tensor:
        return attention_loss(x.softmax(-1), teacher, MASK, kind=kind)

    assert torch.autograd.gradcheck(loss, scores)
    assert gradient(loss(scores), scores).abs().max() > 0


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_the_same_attention(kind: Any) -> None:
    assert attention_loss(maps(1), maps(1), MASK, kind=kind).abs() < 1e-12
    assert attention_loss(maps(1), maps(2), MASK, kind=kind) > 1e-3


def test_attention_of_layers_is_averaged_and_only_the_student_learns() -> None:
    ours, theirs = [maps(1), maps(2)], [maps(3), maps(4)]
    found = attention_loss(ours, tuple(theirs), MASK)
    close(found, sum(attention_loss(s, t, MASK) for s, t in zip(ours, theirs, strict=True)) / 2)
    found.backward()
    assert all(x.grad is not None for x in ours)
    assert all(x.grad is None for x in theirs)


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_masked_queries_and_masked_keys_may_be_anything(kind: Any) -> None:
    expected = attention_loss(maps(1), maps(2), MASK, kind=kind)
    student, teacher = maps(1).detach(), maps(2).detach()
    for side in (student, teacher):
        side.masked_fill_((MASK == 0)[:, None, :, None], float("nan"))
        side.masked_fill_((MASK == 0)[:, None, None, :], float("nan"))
    found = attention_loss(student.requires_grad_(), teacher, MASK, kind=kind)
    close(found, expected)
    assert gradient(found, student).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_what_rounding_makes_0_is_not_infinitely_wrong(dtype: Any) -> None:
    student = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]], dtype=dtype)
    found = attention_loss(student, teacher, kind="kl")
    assert found.dtype == torch.float32
    assert 1 < found < 100
    assert gradient(found, student).isfinite().all()


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_attention_of_which_none_counts(kind: Any) -> None:
    student = maps(1)
    loss = attention_loss(student, maps(2), torch.zeros_like(MASK), kind=kind)
    assert loss == 0
    loss.backward()
    assert (student.grad == 0).all()


@pytest.mark.parametrize("nothing", [(), None, (None, None)])
def test_no_attention_maps_is_an_error_and_not_0(nothing: Any) -> None:
    there = [maps(1)]
    for student, teacher, whose in ((nothing, there, "student"), (there, nothing, "teacher")):
        with pytest.raises(
            ConfigError, match=rf'the {whose} gave no attention maps: .*set_attn_implementation\("eager"\)'
        ):
            attention_loss(student, teacher)


def test_attention_that_does_not_fit() -> None:
    for heads in ([], [(4, 0)], [(0, -1)]):
        with pytest.raises(ConfigError, match="they have 4 and 4 heads"):
            attention_loss(maps(1), maps(2), heads=heads)
    with pytest.raises(ConfigError, match="heads='max' is none of 'mean'"):
        attention_loss(maps(1), maps(2), heads="max")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"attention maps of shapes"):
        attention_loss(maps(1), maps(2)[..., 1:])
    with pytest.raises(ConfigError, match="as many queries as keys; there are 5 and 4"):
        attention_loss(maps(1)[..., 1:], maps(2)[..., 1:], MASK)
    assert attention_loss(maps(1)[..., 1:], maps(2)[..., 1:]) > 0


# --- real models ---


def model(layers: int, width: int, attention: str) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(layers)
    config = transformers.LlamaConfig(
        vocab_size=19,
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=layers,
        num_attention_heads=2,
        attn_implementation=attention,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.filterwarnings("ignore")  # of transformers, about what it does not return
def test_the_default_attention_gives_nothing_and_eager_helps() -> None:
    ids = torch.randint(0, 19, (2, 5))
    student, teacher = model(2, 8, "sdpa"), model(4, 12, "eager")
    theirs = teacher(ids, output_attentions=True, output_hidden_states=True)
    with pytest.raises(ConfigError, match="eager"):
        attention_loss(student(ids, output_attentions=True).attentions, theirs.attentions)
    student.set_attn_implementation("eager")
    ours = student(ids, attention_mask=MASK, output_attentions=True, output_hidden_states=True)
    layers = LayerMap.even(2, 4)
    loss = attention_loss(*layers.attentions(ours.attentions, theirs.attentions), MASK, kind="kl")
    assert loss > 0
    loss.backward()
    assert student.model.layers[1].self_attn.q_proj.weight.grad.abs().max() > 0


def test_hidden_states_of_a_model_that_is_its_own_teacher() -> None:
    ids = torch.randint(0, 19, (2, 5))
    student, teacher = model(2, 8, "eager"), model(2, 8, "eager")
    with torch.no_grad():
        theirs = teacher(ids, output_hidden_states=True).hidden_states
    ours = student(ids, output_hidden_states=True).hidden_states
    layers = LayerMap.even(2, 2)
    picked = layers.hidden(ours, theirs)
    projectors = [Projector(8, 8) for _ in layers.pairs]
    for kind in HIDDEN_KINDS:
        same = hidden_state_loss([p(s) for p, s in zip(projectors, picked[0], strict=True)], picked[1], kind=kind)
        assert same.abs() < 1e-6
        assert hidden_state_loss(picked[0], picked[1][::-1], kind=kind) > 1e-3


def test_the_last_hidden_state_is_what_the_head_is_given() -> None:
    """So that hidden_states[-1] is what the fused loss takes."""
    ids = torch.randint(0, 19, (2, 5))
    student = model(2, 8, "eager")
    output = student(ids, output_hidden_states=True)
    assert len(output.hidden_states) == 3
    torch.testing.assert_close(student.lm_head(output.hidden_states[-1]), output.logits)
    torch.testing.assert_close(output.hidden_states[0], student.model.embed_tokens(ids))
