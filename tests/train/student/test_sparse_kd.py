"""The loss of stored top k: equal to the dense one wherever that knows the same, and honest about all the rest."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student import kd_loss, sparse_kd_loss  # noqa: E402

BATCH, SEQ, VOCAB, K = 2, 4, 13, 4
INF = float("inf")
MODES: list[Any] = ["renormalize", "bucket", "uniform_tail"]
LABELS = torch.tensor([[-100, 3, 0, 12], [5, -100, 7, 7]])


def logits(seed: int, dtype: Any = torch.float64) -> Tensor:
    made = torch.randn(BATCH, SEQ, VOCAB, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    return made.to(dtype).requires_grad_()


def top(teacher: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What an API would give."""
    logprobs, ids = teacher.detach().log_softmax(-1).topk(k)
    return ids, logprobs


def ragged(seed: int, filling: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of 1 to K tokens; `filling` is the id where there is none."""
    ids, logprobs = top(logits(seed), K)
    there = torch.arange(K) < torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])[..., None]
    return ids.where(there, filling), logprobs.where(there, -INF), there


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


def close(one: Tensor, other: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def same(one: Any, other: Any, student: Tensor) -> None:
    close(one.loss, other.loss)
    close(one.kl, other.kl)
    close(gradient(one.loss, student), gradient(other.loss, student))


@pytest.mark.parametrize(
    ("residual", "temperature"), [*((mode, 1.0) for mode in MODES), ("renormalize", 2.5), ("uniform_tail", 2.5)]
)
def test_all_of_the_vocabulary_is_the_dense_loss(residual: Any, temperature: float) -> None:
    student, teacher = logits(1), logits(2)
    found = sparse_kd_loss(student, *top(teacher, VOCAB), LABELS, residual=residual, temperature=temperature)
    same(found, kd_loss(student, teacher, LABELS, temperature=temperature), student)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_renormalize_is_a_teacher_that_excludes_all_others(temperature: float) -> None:
    student, (ids, logprobs) = logits(1), top(logits(2), K)
    teacher = torch.full((BATCH, SEQ, VOCAB), -INF, dtype=torch.float64).scatter(-1, ids, logprobs)
    found = sparse_kd_loss(student, ids, logprobs, LABELS, temperature=temperature, gamma=0.7)
    same(found, kd_loss(student, teacher, LABELS, temperature=temperature, gamma=0.7), student)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_uniform_tail_is_a_teacher_that_knows_no_difference_between_all_others(temperature: float) -> None:
    student, (ids, logprobs) = logits(1), top(logits(2), K)
    each = ((1 - logprobs.exp().sum(-1, keepdim=True)) / (VOCAB - K)).log()
    teacher = each.expand(BATCH, SEQ, VOCAB).scatter(-1, ids, logprobs)
    found = sparse_kd_loss(
        student, ids, logprobs, LABELS, temperature=temperature, residual="uniform_tail", gamma=0.7
    )  # fmt: skip
    same(found, kd_loss(student, teacher, LABELS, temperature=temperature, gamma=0.7), student)


def test_bucket_is_a_divergence_of_k_plus_one_outcomes() -> None:
    student, (ids, logprobs) = logits(1), top(logits(2), K)
    valid = LABELS != -100
    q = student.softmax(-1).gather(-1, ids)[valid]
    p = logprobs.exp()[valid]
    outcomes = [torch.cat([x, 1 - x.sum(-1, keepdim=True)], -1) for x in (p, q)]
    expected = (outcomes[0] * (outcomes[0] / outcomes[1]).log()).sum(-1).mean()
    found = sparse_kd_loss(student, ids, logprobs, LABELS, residual="bucket", gamma=1.0)
    close(found.loss, expected)
    close(gradient(found.loss, student), gradient(expected, student))


@pytest.mark.parametrize("residual", MODES)
def test_gradcheck(residual: Any) -> None:
    ids, logprobs, _ = ragged(2, filling=0)
    temperature = 1.0 if residual == "bucket" else 1.7

    def loss(student: Tensor) -> Tensor:
        return sparse_kd_loss(
            student, ids, logprobs, LABELS, residual=residual, temperature=temperature, gamma=0.6
        ).loss  # fmt: skip

    assert torch.autograd.gradcheck(loss, logits(1))


@pytest.mark.parametrize("residual", MODES)
@pytest.mark.parametrize("filling", [0, 3, -1, 10**6])
def test_rows_of_unequal_length(residual: Any, filling: int) -> None:
    """The filling may be any id, one that is no token as well as one that is: it marks nothing."""
    student = logits(1)
    ids, logprobs, there = ragged(2, filling)
    found = sparse_kd_loss(student, ids, logprobs, LABELS, residual=residual, reduction="sum", gamma=1.0)
    alone = [
        sparse_kd_loss(
            student[place][None],
            ids[place][there[place]][None],
            logprobs[place][there[place]][None],
            LABELS[place][None],
            residual=residual,
            gamma=1.0,
        ).loss
        for place in zip(*torch.nonzero(LABELS != -100, as_tuple=True), strict=True)
    ]
    assert len(alone) == 6
    close(found.loss, sum(alone))
    close(gradient(found.loss, student), gradient(sum(alone), student))


@pytest.mark.parametrize("residual", MODES)
def test_a_position_of_which_nothing_is_stored_has_only_its_label(residual: Any) -> None:
    student, (ids, logprobs) = logits(1), top(logits(2), K)
    logprobs[0, 1] = -INF
    found = sparse_kd_loss(student, ids, logprobs, LABELS, residual=residual, reduction="none", gamma=0.25)
    assert found.kl[0, 1] == 0
    assert found.kl[0, 2] > 0
    expected = 0.75 * F.cross_entropy(student[0, 1], LABELS[0, 1])
    close(found.loss[0, 1], expected)
    close(gradient(found.loss[0, 1], student), gradient(expected, student))


@pytest.mark.parametrize("residual", MODES)
def test_the_student_is_not_renormalised_to_what_the_teacher_named(residual: Any) -> None:
    """Nearly all of its mass is on a token that the teacher did not name; among the named it agrees."""
    ids, logprobs = torch.tensor([[1, 2]]), torch.tensor([[0.75, 0.25 - 1e-9]], dtype=torch.float64).log()
    student = torch.full((1, 8), -20.0, dtype=torch.float64)
    student[0, 5] = 15.0
    student[0, 1], student[0, 2] = 0.0, torch.tensor(1 / 3).log()
    found = sparse_kd_loss(student.requires_grad_(), ids, logprobs, torch.tensor([1]), residual=residual, gamma=1.0)
    assert found.kl == pytest.approx(14.71, abs=0.02)
    assert gradient(found.loss, student)[0, 5] > 0.99


@pytest.mark.parametrize("residual", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_k_tokens_that_carry_all_the_mass(residual: Any, dtype: Any) -> None:
    """Of teacher and student both, to the last digit of float32 and beyond: nothing is infinite."""
    student = torch.full((3, 6), -40.0, dtype=dtype)
    student[:, :2] = torch.tensor([30.0, 29.0])
    student.requires_grad_()
    ids = torch.tensor([[0, 1]] * 3)
    share = torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.75, 0.2500002]])  # the last ones make up more than 1
    found = sparse_kd_loss(student, ids, share.log(), torch.tensor([0, 0, 0]), residual=residual, gamma=1.0)
    assert found.loss.isfinite()
    assert found.loss > 0
    assert gradient(found.loss, student).isfinite().all()


def test_bucket_sees_a_tail_below_the_digits_of_float32() -> None:
    """1 - sum(q) is 0 there; the loss is nevertheless that of float64."""
    student = torch.zeros(1, 5)
    student[0, 0] = 60.0
    student[0, 1] = 59.0
    ids, logprobs = torch.tensor([[0, 1]]), torch.tensor([[0.6, 0.3]]).log()
    one, other = student.requires_grad_(), student.detach().double().requires_grad_()
    found = sparse_kd_loss(one, ids, logprobs, torch.tensor([0]), residual="bucket", gamma=1.0)
    exact = sparse_kd_loss(other, ids, logprobs.double(), torch.tensor([0]), residual="bucket", gamma=1.0)
    assert found.kl > 5
    torch.testing.assert_close(found.loss.double(), exact.loss, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(gradient(found.loss, one).double(), gradient(exact.loss, other), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("residual", MODES)
def test_tokens_that_the_student_excludes(residual: Any) -> None:
    """Where the teacher excludes them as well, or counts them with all others, nothing comes of it."""
    made = logits(1).detach()
    ids, logprobs = top(logits(2), K)
    made.scatter_(-1, logits(2).argmin(-1, keepdim=True), -INF)
    made.requires_grad_()
    labels = logits(2).argmax(-1)
    found = sparse_kd_loss(made, ids, logprobs, labels, residual=residual)
    if residual == "uniform_tail":
        assert found.kl == INF  # it says that the teacher may say them
    else:
        assert found.loss.isfinite()
        assert gradient(found.loss, made).isfinite().all()


@pytest.mark.parametrize("residual", MODES)
def test_everything_in_the_vocabulary_and_a_token_that_both_exclude(residual: Any) -> None:
    student, teacher = logits(1).detach(), logits(2).detach()
    student[..., 1] = teacher[..., 1] = -INF
    found = sparse_kd_loss(student.requires_grad_(), *top(teacher, VOCAB), LABELS, residual=residual)
    same(found, kd_loss(student, teacher, LABELS), student)


@pytest.mark.parametrize("residual", MODES)
def test_lower_precision(residual: Any) -> None:
    student = logits(1, torch.bfloat16)
    ids, logprobs = top(logits(2), K)
    found = sparse_kd_loss(student, ids, logprobs.float(), LABELS, residual=residual)
    exact = sparse_kd_loss(student.double(), ids, logprobs, LABELS, residual=residual)
    assert found.loss.dtype == torch.float32
    torch.testing.assert_close(found.loss.double(), exact.loss, rtol=1e-5, atol=0.0)
    assert gradient(found.loss, student).dtype == torch.bfloat16
    stored = sparse_kd_loss(student, ids, logprobs.bfloat16(), LABELS, residual=residual)
    torch.testing.assert_close(stored.loss, found.loss, rtol=0.05, atol=0.0)


@pytest.mark.parametrize("residual", MODES)
def test_a_whole_vocabulary_whose_rounded_probabilities_do_not_add_up(residual: Any) -> None:
    """Something seems to be left over, and there is no token for it."""
    ids, logprobs = top(logits(2), VOCAB)
    student = logits(1)
    rounded = sparse_kd_loss(student, ids, logprobs - 0.01, LABELS, residual=residual)
    torch.testing.assert_close(rounded.loss, kd_loss(student, logits(2), LABELS).loss, rtol=0.05, atol=0.0)
    assert gradient(rounded.loss, student).isfinite().all()


@pytest.mark.parametrize("residual", MODES)
def test_huge_logits(residual: Any) -> None:
    base = (torch.randn(BATCH, SEQ, VOCAB) * 8).round().requires_grad_()
    ids, logprobs = top(logits(2), K)
    found = sparse_kd_loss(base + 1e4, ids, logprobs, LABELS, residual=residual)
    exact = sparse_kd_loss(base.double(), ids, logprobs, LABELS, residual=residual)
    torch.testing.assert_close(found.loss.double(), exact.loss, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(gradient(found.loss, base), gradient(exact.loss, base), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("residual", MODES)
def test_nothing_to_learn_is_0_with_a_graph(residual: Any) -> None:
    student = logits(1)
    found = sparse_kd_loss(student, *top(logits(2), K), torch.full_like(LABELS, -100), residual=residual)
    assert found.loss == 0
    found.loss.backward()
    assert (student.grad == 0).all()


def test_gamma_0_does_not_look_at_the_teacher() -> None:
    student = logits(1)
    found = sparse_kd_loss(student, None, None, LABELS, gamma=0.0)
    close(found.loss, F.cross_entropy(student.reshape(-1, VOCAB), LABELS.reshape(-1)))
    nonsense = torch.tensor([[10**9]])
    close(sparse_kd_loss(student, nonsense, nonsense, LABELS, gamma=0.0).loss, found.loss)


def test_weights_shift_and_number_of_items_are_as_in_the_dense_loss() -> None:
    student, teacher = logits(1), logits(2)
    how: dict[str, Any] = {"token_weights": torch.rand(BATCH, SEQ), "shift": True, "num_items_in_batch": 19}
    same(
        sparse_kd_loss(student, *top(teacher, VOCAB), LABELS, **how),
        kd_loss(student, teacher, LABELS, **how),
        student,
    )


@pytest.mark.parametrize("labels", [LABELS, LABELS.clamp(min=0)])
def test_what_is_given_is_not_written_on(labels: Tensor) -> None:
    student, (ids, logprobs) = logits(1), top(logits(2), K)
    before = [x.detach().clone() for x in (student, ids, logprobs)]
    for residual in MODES:
        temperature = 1.0 if residual == "bucket" else 2.0
        for t in (1.0, temperature):
            sparse_kd_loss(student, ids, logprobs, labels, residual=residual, temperature=t).loss.backward()
    assert all(x.equal(y) for x, y in zip((student, ids, logprobs), before, strict=True))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_divergence_is_never_below_0_and_is_0_for_a_student_that_agrees(data: Any) -> None:
    vocab = data.draw(st.integers(2, 9))
    k = data.draw(st.integers(1, vocab))
    numbers = st.floats(-30, 30, width=32)
    rows = [data.draw(st.lists(numbers, min_size=vocab, max_size=vocab)) for _ in range(2)]
    student, teacher = (torch.tensor([row], dtype=torch.float64) for row in rows)
    ids, logprobs = top(teacher, k)
    for residual in MODES:
        found = sparse_kd_loss(student.requires_grad_(), ids, logprobs, ids[:, 0], residual=residual, gamma=1.0)
        assert found.kl >= -1e-9
        assert gradient(found.loss, student).sum().abs() < 1e-9  # adding a number to all logits changes nothing
    agreeing = sparse_kd_loss(teacher, ids, logprobs, ids[:, 0], residual="bucket", gamma=1.0)
    assert abs(agreeing.kl) < 1e-9


# --- what is refused ---


def test_bucket_knows_only_temperature_1() -> None:
    with pytest.raises(ConfigError, match=r"residual='bucket' needs temperature=1, not 2.0.*'uniform_tail'"):
        sparse_kd_loss(logits(1), *top(logits(2), K), LABELS, residual="bucket", temperature=2.0)


def test_no_divergence_but_the_forward_one_is_offered() -> None:
    with pytest.raises(TypeError, match="divergence"):
        sparse_kd_loss(logits(1), *top(logits(2), K), LABELS, divergence="reverse_kl")  # type: ignore[call-arg]


@pytest.mark.parametrize("wrong", [VOCAB, -1])
@pytest.mark.parametrize("residual", MODES)
def test_an_id_outside_the_vocabulary(wrong: int, residual: Any) -> None:
    ids, logprobs = top(logits(2), K)
    ids[1, 2, 3] = wrong
    with pytest.raises(ConfigError, match=rf"topk_ids go from .*{wrong}.* knows the tokens 0 to 12: .*tokenizer"):
        sparse_kd_loss(logits(1), ids, logprobs, LABELS, residual=residual)


def test_an_id_outside_the_vocabulary_where_nothing_is_learned() -> None:
    ids, logprobs = top(logits(2), K)
    ids[0, 0, 0] = VOCAB  # its label is ignored: what stands there may be anything
    assert sparse_kd_loss(logits(1), ids, logprobs, LABELS).loss.isfinite()


def test_numbers_that_are_no_log_probabilities() -> None:
    ids, logprobs = top(logits(2), K)
    for wrong in (logits(2).topk(K)[0].detach(), logprobs.exp(), torch.full_like(logprobs, float("nan"))):
        with pytest.raises(ConfigError, match=r"topk_logprobs are no log-probabilities"):
            sparse_kd_loss(logits(1), ids, wrong, LABELS)


def test_a_token_named_twice() -> None:
    ids, logprobs = top(logits(2), K)
    ids[1, 2, 3] = ids[1, 2, 0]
    with pytest.raises(ConfigError, match="topk_ids name a token twice"):
        sparse_kd_loss(logits(1), ids, logprobs, LABELS)


def test_shapes_that_do_not_fit() -> None:
    ids, logprobs = top(logits(2), K)
    with pytest.raises(ConfigError, match=r"topk_ids have shape \(2, 4, 4\), topk_logprobs \(2, 4, 3\)"):
        sparse_kd_loss(logits(1), ids, logprobs[..., :3], LABELS)
    with pytest.raises(ConfigError, match=r"topk_ids has positions of shape \(2, 3\)"):
        sparse_kd_loss(logits(1), ids[:, 1:], logprobs[:, 1:], LABELS)
    with pytest.raises(ConfigError, match="only with gamma=0"):
        sparse_kd_loss(logits(1), ids, None, LABELS)
    with pytest.raises(ConfigError, match=r"residual='tail' is none of"):
        sparse_kd_loss(logits(1), ids, logprobs, LABELS, residual="tail")  # type: ignore[arg-type]
