"""The dense loss: against a plain formula in float64 that autograd differentiates, and at every edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student import kd_loss  # noqa: E402
from cot_distill.student.rows import Mix, RowLosses, per_row  # noqa: E402

BATCH, SEQ, VOCAB = 2, 5, 11
INF = float("inf")


class Untouchable:
    """Stands in for a teacher that must not be used: whatever is done to it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the teacher was asked for {name}")


def logits(seed: int, vocab: int = VOCAB, dtype: Any = torch.float64, scale: float = 3.0) -> Tensor:
    made = torch.randn(BATCH, SEQ, vocab, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (made * scale).to(dtype).requires_grad_()


def some_labels(ignore: int = -100) -> Tensor:
    labels = torch.randint(0, VOCAB, (BATCH, SEQ), generator=torch.Generator().manual_seed(9))
    labels[0, :2] = labels[1, 3] = ignore
    return labels


def plain(student: Tensor, teacher: Tensor, labels: Tensor, gamma: float, t: float, name: str, beta: float) -> Tensor:
    """What the documentation says, for each position that counts."""
    valid = labels != -100
    s, p = student[valid], (teacher[valid] / t).softmax(-1)
    q = (s / t).softmax(-1)

    def kl(a: Tensor, b: Tensor) -> Tensor:
        return (a * (a / b).log()).sum(-1)

    m = beta * p + (1 - beta) * q
    kinds: dict[str, Callable[[], Tensor]] = {
        "forward_kl": lambda: kl(p, q),
        "reverse_kl": lambda: kl(q, p),
        "jsd": lambda: beta * kl(p, m) + (1 - beta) * kl(q, m),
    }
    return (1 - gamma) * F.cross_entropy(s, labels[valid], reduction="none") + gamma * t**2 * kinds[name]()


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


def close(one: Tensor, other: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "beta"), [("forward_kl", 0.5), ("reverse_kl", 0.5), ("jsd", 0.5), ("jsd", 0.1)])
@pytest.mark.parametrize("temperature", [1.0, 2.5, 0.7])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_value_and_gradient_are_those_of_the_formula(
    name: Any, beta: float, temperature: float, gamma: float
) -> None:
    student, teacher, labels = logits(1), logits(2), some_labels()
    found = kd_loss(
        student, teacher, labels, gamma=gamma, temperature=temperature, divergence=name, beta=beta
    )  # fmt: skip
    expected = plain(student, teacher, labels, gamma, temperature, name, beta).mean()
    close(found.loss, expected)
    close(gradient(found.loss, student), gradient(expected, student))
    close(found.loss.detach(), (1 - gamma) * found.ce + gamma * temperature**2 * found.kl)
    assert found.n_tokens == 7
    assert found.loss.dtype == torch.float64
    assert not found.ce.requires_grad
    assert not found.kl.requires_grad


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jsd"])
def test_gradcheck(name: Any) -> None:
    teacher, labels = logits(2).detach(), some_labels()

    def loss(student: Tensor) -> Tensor:
        return kd_loss(student, teacher, labels, gamma=0.4, temperature=3.0, divergence=name, beta=0.3).loss

    assert torch.autograd.gradcheck(loss, logits(1))


@pytest.mark.parametrize(("beta", "same"), [(0.0, "forward_kl"), (1.0, "reverse_kl")])
def test_beta_at_its_ends_is_the_kl_of_that_name(beta: float, same: Any) -> None:
    student, teacher, labels = logits(1), logits(2), some_labels()
    one = kd_loss(student, teacher, labels, divergence="jsd", beta=beta, temperature=2.0)
    other = kd_loss(student, teacher, labels, divergence=same, temperature=2.0)
    close(one.loss, other.loss)
    close(gradient(one.loss, student), gradient(other.loss, student))


def test_the_square_of_the_temperature_is_in_the_gradient_as_well() -> None:
    """At a high temperature the gradient tends to that of matching logits, (z_s - z_t) / V (Hinton, section 2.1)."""
    student, teacher, labels = logits(1, scale=0.1), logits(2, scale=0.1), some_labels()
    for_one = {
        t: kd_loss(student, teacher, labels, gamma=1.0, temperature=t, reduction="sum").loss for t in (1e3, 2e3)
    }
    centred = [x - x.mean(-1, keepdim=True) for x in (student, teacher)]
    matching = ((centred[0] - centred[1]) / VOCAB * (labels != -100)[..., None]).detach()
    for loss in for_one.values():
        torch.testing.assert_close(gradient(loss, student), matching, rtol=1e-2, atol=1e-4)


def test_gamma_0_is_what_a_causal_model_calls_its_loss() -> None:
    """...and nothing is asked of the teacher, not even its shape."""
    student, ids = logits(1), some_labels()
    found = kd_loss(student, Untouchable(), ids, gamma=0.0, shift=True, temperature=4.0)
    expected = F.cross_entropy(student[:, :-1].reshape(-1, VOCAB), ids[:, 1:].reshape(-1))
    close(found.loss, expected)
    close(gradient(found.loss, student), gradient(expected, student))
    assert found.kl == 0
    assert kd_loss(student, None, ids, gamma=0.0).n_tokens == 7


def test_gamma_0_is_the_loss_of_a_real_model() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=17, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 17, (2, 6))
    labels = ids.masked_fill(torch.arange(6) < 2, -100)
    output = model(ids, labels=labels)
    found = kd_loss(output.logits, None, labels, gamma=0.0, shift=True)
    torch.testing.assert_close(found.loss, output.loss)


def test_without_a_teacher_there_must_be_gamma_0() -> None:
    with pytest.raises(ConfigError, match="teacher_logits is None: only with gamma=0"):
        kd_loss(logits(1), None, some_labels())


def test_the_shift_compares_with_the_next_label_and_no_other() -> None:
    """Position i predicts token i + 1; where that is not trained on, position i gets no gradient."""
    student, teacher, ids = logits(1), logits(2), some_labels()
    weights = torch.rand(BATCH, SEQ, dtype=torch.float64)
    found = kd_loss(student, teacher, ids, shift=True, token_weights=weights)
    by_hand = kd_loss(student[:, :-1], teacher[:, :-1], ids[:, 1:], token_weights=weights[:, 1:])
    close(found.loss, by_hand.loss)
    moved = gradient(found.loss, student).abs().sum(-1) > 0
    assert moved.equal(torch.cat([ids[:, 1:] != -100, torch.zeros(BATCH, 1, dtype=torch.bool)], 1))
    assert found.per_token.shape == (BATCH, SEQ - 1)


def test_shift_needs_rows_of_text() -> None:
    with pytest.raises(ConfigError, match=r"shift=True needs labels of shape \(batch, seq\)"):
        kd_loss(logits(1).reshape(-1, VOCAB), None, some_labels().reshape(-1), gamma=0.0, shift=True)


def test_flat_and_batched_are_the_same() -> None:
    student, teacher, labels = logits(1), logits(2), some_labels()
    flat = kd_loss(student.reshape(-1, VOCAB), teacher.reshape(-1, VOCAB), labels.reshape(-1))
    close(kd_loss(student, teacher, labels).loss, flat.loss)


def test_reductions_agree() -> None:
    student, teacher, labels = logits(1), logits(2), some_labels()
    each = kd_loss(student, teacher, labels, reduction="none")
    assert each.loss.shape == each.ce.shape == each.kl.shape == labels.shape
    assert (each.loss[labels == -100] == 0).all()
    close(each.loss[labels != -100], plain(student, teacher, labels, 0.5, 1.0, "forward_kl", 0.5))
    total = kd_loss(student, teacher, labels, reduction="sum")
    close(total.loss, each.loss.sum())
    close(total.kl, each.kl.sum())
    close(kd_loss(student, teacher, labels).loss, total.loss / 7)
    upstream = torch.rand(BATCH, SEQ, dtype=torch.float64)
    expected = (plain(student, teacher, labels, 0.5, 1.0, "forward_kl", 0.5) * upstream[labels != -100]).sum()
    close(gradient((each.loss * upstream).sum(), student), gradient(expected, student))


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    student, teacher, labels = logits(1), logits(2), some_labels()
    whole = kd_loss(student, teacher, labels)
    items = (labels != -100).sum()
    parts = [
        kd_loss(student[i : i + 1], teacher[i : i + 1], labels[i : i + 1], num_items_in_batch=items)
        for i in range(BATCH)
    ]
    assert [part.n_tokens for part in parts] == [3, 4]  # so that the mean of the means would be another number
    close(sum(part.loss for part in parts), whole.loss)
    close(gradient(sum(part.loss for part in parts), student), gradient(whole.loss, student))
    close(sum(part.kl for part in parts), whole.kl)


def test_token_weights_weigh() -> None:
    student, teacher, labels = logits(1), logits(2), some_labels()
    weights = torch.rand(BATCH, SEQ)
    weights[1, 0] = 0.0
    found = kd_loss(student, teacher, labels, token_weights=weights)
    rows = plain(student, teacher, labels, 0.5, 1.0, "forward_kl", 0.5)
    expected = (rows * weights[labels != -100]).sum() / 7  # the number of tokens, as num_items_in_batch counts them
    close(found.loss, expected)
    close(gradient(found.loss, student), gradient(expected, student))
    close(found.loss.detach(), 0.5 * found.ce + 0.5 * found.kl)
    close(found.per_token[labels != -100], rows.detach())
    assert not found.per_token.requires_grad


def test_another_ignored_label() -> None:
    student, teacher = logits(1), logits(2)
    one = kd_loss(student, teacher, some_labels())
    other = kd_loss(student, teacher, some_labels(ignore=-7), ignore_index=-7)
    close(one.loss, other.loss)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd"])
def test_nothing_to_learn_is_0_with_a_graph(reduction: Any, divergence: Any) -> None:
    student = logits(1)
    nothing = torch.full((BATCH, SEQ), -100)
    found = kd_loss(student, logits(2), nothing, reduction=reduction, divergence=divergence)
    assert found.n_tokens == 0
    assert (found.loss == 0).all()
    found.loss.sum().backward()
    assert (student.grad == 0).all()
    assert kd_loss(student, logits(2), nothing, num_items_in_batch=0).loss == 0


def test_only_the_student_gets_a_gradient() -> None:
    student, teacher = logits(1), logits(2)
    kd_loss(student, teacher, some_labels()).loss.backward()
    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("ignored", [True, False])  # where all counts, rows are no copy of what was given
def test_nothing_given_is_written_on(ignored: bool) -> None:
    student, teacher, labels = logits(1), logits(2), some_labels().clamp(min=-100 if ignored else 0)
    before = [x.detach().clone() for x in (student, teacher, labels)]
    for name in ("forward_kl", "reverse_kl", "jsd"):
        for temperature in (1.0, 2.0):
            kd_loss(student, teacher, labels, divergence=name, temperature=temperature).loss.backward()
    assert all(x.equal(y) for x, y in zip((student, teacher, labels), before, strict=True))


def test_backward_twice_gives_twice() -> None:
    student = logits(1)
    loss = kd_loss(student, logits(2), some_labels()).loss
    loss.backward(retain_graph=True)
    once = student.grad.clone()
    loss.backward()
    close(student.grad, 2 * once)


def test_a_second_derivative_is_refused() -> None:
    student = logits(1)
    loss = kd_loss(student, logits(2), some_labels()).loss ** 2
    (first,) = torch.autograd.grad(loss, student, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


# --- numbers at the edge ---


def excluded(seed: int, tokens: list[int]) -> Tensor:
    made = logits(seed).detach()
    made[..., tokens] = -INF
    return made.requires_grad_()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_what_the_teacher_excludes_adds_nothing(temperature: float) -> None:
    """...to the value; in the gradient it pushes the student away from there."""
    student, teacher, labels = logits(1), excluded(2, [0, 4]), some_labels()
    found = kd_loss(student, teacher, labels, gamma=1.0, temperature=temperature)
    valid = labels != -100
    p = (teacher[valid] / temperature).softmax(-1)
    q = (student[valid] / temperature).log_softmax(-1)
    expected = temperature**2 * (torch.special.xlogy(p, p) - p * q).sum(-1).mean()
    close(found.loss, expected)
    close(gradient(found.loss, student), gradient(expected, student))
    assert (gradient(kd_loss(student, teacher, labels, gamma=1.0).loss, student)[valid][:, [0, 4]] > 0).all()


def test_the_reverse_kl_of_what_the_teacher_excludes_is_infinite() -> None:
    assert kd_loss(logits(1), excluded(2, [0]), some_labels(), divergence="reverse_kl").kl == INF


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd"])
def test_what_both_exclude_might_as_well_not_be_there(divergence: Any) -> None:
    labels = some_labels().masked_fill(some_labels() == 0, 1)
    student, teacher = excluded(1, [0]), excluded(2, [0])
    found = kd_loss(student, teacher, labels, divergence=divergence, temperature=2.0)
    without = kd_loss(
        student[..., 1:],
        teacher[..., 1:],
        labels.where(labels < 0, labels - 1),
        divergence=divergence,
        temperature=2.0,
    )
    close(found.loss, without.loss)
    close(gradient(found.loss, student), gradient(without.loss, student))


def test_jsd_is_finite_where_one_of_them_excludes() -> None:
    for student, teacher in ((logits(1), excluded(2, [0])), (excluded(1, [0]), logits(2))):
        found = kd_loss(student, teacher, some_labels(), gamma=1.0, divergence="jsd")
        assert 0 < found.kl < torch.log(torch.tensor(2.0))
        assert gradient(found.loss, student).isfinite().all()


def test_a_label_that_the_student_excludes_does_not_matter_where_labels_do_not() -> None:
    student, teacher = excluded(1, [3]), excluded(2, [3])
    labels = torch.full((BATCH, SEQ), 3)
    found = kd_loss(student, teacher, labels, gamma=1.0)
    assert found.loss.isfinite()
    assert found.ce == INF
    assert gradient(found.loss, student).isfinite().all()


@pytest.mark.parametrize("divergence", ["forward_kl", "jsd"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_huge_logits_in_float32(divergence: Any, temperature: float, offset: float) -> None:
    base = (torch.randn(BATCH, SEQ, VOCAB) * 8).round()  # whole numbers, so that float32 holds the sum as well
    far = base.clone().requires_grad_()
    near = base.double().clone().requires_grad_()
    teacher = (torch.randn(BATCH, SEQ, VOCAB) * 8).round()
    labels = some_labels()
    found = kd_loss(far + offset, teacher - offset, labels, divergence=divergence, temperature=temperature)
    exact = kd_loss(near, teacher.double(), labels, divergence=divergence, temperature=temperature)
    torch.testing.assert_close(found.loss.double(), exact.loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient(found.loss, far).double(), gradient(exact.loss, near), rtol=1e-4, atol=1e-6)


def test_a_certain_and_wrong_student() -> None:
    """All of the student's mass on one token, all of the teacher's on another: 2e4 nats, not infinity."""
    student = torch.zeros(1, 1, 4)
    student[..., 0] = 1e4
    student.requires_grad_()
    teacher = torch.zeros(1, 1, 4)
    teacher[..., 1] = 1e4
    found = kd_loss(student, teacher, torch.tensor([[1]]))
    assert found.ce == 1e4
    assert found.kl == 1e4
    assert gradient(found.loss, student).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_is_computed_in_float32(dtype: Any) -> None:
    student, teacher = logits(1, dtype=dtype), logits(2, dtype=dtype)
    found = kd_loss(student, teacher, some_labels(), temperature=2.0)
    exact_student = student.detach().double().requires_grad_()
    exact = kd_loss(exact_student, teacher.double(), some_labels(), temperature=2.0)
    assert found.loss.dtype == torch.float32
    torch.testing.assert_close(found.loss.double(), exact.loss, rtol=1e-5, atol=0.0)
    got = gradient(found.loss, student)
    assert got.dtype == dtype
    torch.testing.assert_close(got, gradient(exact.loss, exact_student).to(dtype), rtol=1e-2, atol=1e-6)


def test_under_autocast_as_well() -> None:
    student, teacher = logits(1, dtype=torch.float32), logits(2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = kd_loss(student, teacher, some_labels(), temperature=2.0, divergence="jsd")
    assert found.loss.dtype == torch.float32
    close(found.loss, kd_loss(student, teacher, some_labels(), temperature=2.0, divergence="jsd").loss, 1e-6)


def test_evaluation_computes_no_gradient() -> None:
    wanted = []

    def kernel(rows: Tensor, want_grad: bool) -> RowLosses:
        wanted.append(want_grad)
        return RowLosses(rows.sum(-1), rows.sum(-1), torch.ones_like(rows) if want_grad else None)

    rows = torch.ones(2, 3, requires_grad=True)
    per_row(rows, kernel, Mix(0.5, 1.0))
    with torch.no_grad():
        loss, _, _ = per_row(rows, kernel, Mix(0.5, 1.0))
    per_row(rows.detach(), kernel, Mix(0.5, 1.0))
    assert wanted == [True, False, False]
    assert not loss.requires_grad
    with torch.no_grad():
        assert kd_loss(logits(1), logits(2), some_labels()).loss > 0


# --- vocabularies that differ ---


@pytest.mark.parametrize(("ours", "theirs"), [(VOCAB, VOCAB + 3), (VOCAB + 3, VOCAB)])
def test_a_padded_vocabulary_is_an_error_unless_one_says_truncate(ours: int, theirs: int) -> None:
    student, teacher, labels = logits(1, ours), logits(2, theirs), some_labels()
    with pytest.raises(
        ConfigError, match=rf"student has {ours} logits, the teacher {theirs}.*vocab_policy='truncate'"
    ):
        kd_loss(student, teacher, labels)
    found = kd_loss(student, teacher, labels, gamma=0.3, temperature=2.0, vocab_policy="truncate")
    valid = labels != -100
    both = plain(student[..., :VOCAB], teacher[..., :VOCAB], labels, 1.0, 2.0, "forward_kl", 0.5).mean()
    expected = 0.7 * F.cross_entropy(student[valid], labels[valid]) + 0.3 * both  # of all the student's tokens
    close(found.loss, expected)
    close(gradient(found.loss, student), gradient(expected, student))


def test_truncate_without_a_temperature() -> None:
    student, teacher, labels = logits(1, VOCAB + 3), logits(2), some_labels()
    found = kd_loss(student, teacher, labels, gamma=1.0, vocab_policy="truncate")
    expected = plain(student[..., :VOCAB], teacher, labels, 1.0, 1.0, "forward_kl", 0.5).mean()
    close(found.loss, expected)
    close(gradient(found.loss, student), gradient(expected, student))


# --- what is refused ---


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gamma": 1.5}, r"gamma=1.5 is not from 0"),
        ({"gamma": float("nan")}, r"gamma=nan"),
        ({"temperature": 0.0}, r"temperature=0.0 is not above 0"),
        ({"temperature": INF}, r"temperature=inf"),
        ({"divergence": "kl"}, r"divergence='kl' is none of 'forward_kl', 'reverse_kl', 'jsd'"),
        ({"divergence": "jsd", "beta": 2.0}, r"beta=2.0"),
        ({"reduction": "batchmean"}, r"reduction='batchmean' is none of 'none', 'sum', 'mean'"),
        ({"vocab_policy": "pad"}, r"vocab_policy='pad'"),
        ({"reduction": "sum", "num_items_in_batch": 4}, r"num_items_in_batch goes with reduction='mean'"),
        ({"num_items_in_batch": 0}, r"num_items_in_batch must be above 0, and is 0.0; here alone are 7"),
        (
            {"token_weights": torch.ones(BATCH, SEQ - 1)},
            r"token_weights have shape \(2, 4\), the labels have \(2, 5\)",
        ),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        kd_loss(logits(1), logits(2), some_labels(), **settings)


@pytest.mark.parametrize("wrong", [VOCAB, -1])
def test_a_label_outside_the_vocabulary(wrong: int) -> None:
    labels = some_labels()
    labels[1, 1] = wrong
    with pytest.raises(ConfigError, match=rf"labels go from .*{wrong}.* knows the tokens 0 to 10"):
        kd_loss(logits(1), logits(2), labels)


def test_shapes_that_do_not_fit() -> None:
    student, teacher, labels = logits(1), logits(2), some_labels()
    with pytest.raises(
        ConfigError, match=r"student_logits has positions of shape \(2, 5\), the labels have \(2, 4\)"
    ):
        kd_loss(student, teacher, labels[:, 1:])
    with pytest.raises(
        ConfigError, match=r"teacher_logits has positions of shape \(2, 4\), the labels have \(2, 5\)"
    ):
        kd_loss(student, teacher[:, 1:], labels, shift=True)
