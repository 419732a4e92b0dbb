"""The fused loss: the same numbers as the plain one, and no tensor larger than a chunk of logits."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student import (  # noqa: E402
    Head,
    TeacherHidden,
    TeacherTopK,
    fused_linear_kd_loss,
    kd_loss,
    sparse_kd_loss,
)

BATCH, SEQ, OURS, THEIRS, VOCAB, K = 3, 7, 4, 6, 23, 5
CHUNKS = [1, 7, 10**6]
LABELS = torch.randint(0, VOCAB, (BATCH, SEQ), generator=torch.Generator().manual_seed(3))
LABELS[0, :3] = LABELS[2, 5:] = -100
N = int((LABELS != -100).sum())


def values(*shape: int, seed: int, dtype: Any = torch.float64) -> Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.to(dtype).requires_grad_()


def our_head(dtype: Any = torch.float64, **more: Any) -> Head:
    return Head(values(VOCAB, OURS, seed=2, dtype=dtype), values(VOCAB, seed=3, dtype=dtype), **more)


def their_head(vocab: int = VOCAB, dtype: Any = torch.float64, **more: Any) -> Head:
    return Head(values(vocab, THEIRS, seed=5, dtype=dtype), values(vocab, seed=6, dtype=dtype), **more)


def our_hidden(dtype: Any = torch.float64) -> Tensor:
    return values(BATCH, SEQ, OURS, seed=1, dtype=dtype)


def their_hidden(dtype: Any = torch.float64) -> Tensor:
    return values(BATCH, SEQ, THEIRS, seed=4, dtype=dtype)


def by_hand(hidden: Tensor, head: Head) -> Tensor:
    """Logits, as the models that have these make them."""
    logits = hidden @ head.weight.T
    if head.bias is not None:
        logits = logits + head.bias
    logits = logits * head.scale
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def same(one: Any, other: Any, inputs: list[Tensor], tolerance: float = 1e-10) -> None:
    for name in ("loss", "ce", "kl", "per_token"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)
    assert one.n_tokens == other.n_tokens == N
    grads = [torch.autograd.grad(found.loss, inputs, retain_graph=True) for found in (one, other)]
    for mine, expected in zip(*grads, strict=True):
        torch.testing.assert_close(mine, expected, rtol=tolerance, atol=tolerance)


HEADS: list[dict[str, Any]] = [{}, {"scale": 0.3}, {"softcap": 2.0}, {"scale": 1.7, "softcap": 3.0}]


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("more", HEADS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gamma": 1.0, "temperature": 3.0},
        {"gamma": 0.3, "temperature": 2.0, "divergence": "reverse_kl"},
        {"gamma": 0.9, "divergence": "jsd", "beta": 0.2, "reduction": "sum"},
        {"num_items_in_batch": 31},
        {"token_weights": torch.rand(BATCH, SEQ), "temperature": 2.0},
    ],
)
def test_equals_the_plain_loss(chunk: int, more: dict[str, Any], settings: dict[str, Any]) -> None:
    hidden, head = our_hidden(), our_head(**more)
    teacher = TeacherHidden(their_hidden(), their_head(**more))
    fused = fused_linear_kd_loss(hidden, head, teacher, LABELS, chunk_size=chunk, **settings)
    plain = kd_loss(by_hand(hidden, head), by_hand(teacher.hidden, teacher.head), LABELS, **settings)
    same(fused, plain, [hidden, head.weight, head.bias])


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("residual", ["renormalize", "bucket", "uniform_tail"])
@pytest.mark.parametrize("settings", [{}, {"gamma": 1.0, "token_weights": torch.rand(BATCH, SEQ)}])
def test_equals_the_sparse_loss(chunk: int, residual: Any, settings: dict[str, Any]) -> None:
    hidden, head = our_hidden(), our_head()
    logprobs, ids = by_hand(their_hidden(), their_head()).detach().log_softmax(-1).topk(K)
    logprobs[0, 4, 2:] = logprobs[1, 1] = -float("inf")
    how = {"residual": residual, **settings}
    fused = fused_linear_kd_loss(hidden, head, TeacherTopK(ids, logprobs), LABELS, chunk_size=chunk, **how)
    plain = sparse_kd_loss(by_hand(hidden, head), ids, logprobs, LABELS, **how)
    same(fused, plain, [hidden, head.weight, head.bias])


def test_a_temperature_with_stored_top_k() -> None:
    hidden, head = our_hidden(), our_head()
    logprobs, ids = by_hand(their_hidden(), their_head()).detach().log_softmax(-1).topk(K)
    how: dict[str, Any] = {"residual": "uniform_tail", "temperature": 2.0}
    fused = fused_linear_kd_loss(hidden, head, TeacherTopK(ids, logprobs), LABELS, chunk_size=4, **how)
    same(fused, sparse_kd_loss(by_hand(hidden, head), ids, logprobs, LABELS, **how), [hidden, head.weight, head.bias])


@pytest.mark.parametrize("chunk", CHUNKS)
def test_gradcheck(chunk: int) -> None:
    teacher = TeacherHidden(their_hidden(), their_head())

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        head = Head(weight, bias, scale=0.5, softcap=4.0)
        return fused_linear_kd_loss(hidden, head, teacher, LABELS, temperature=2.0, chunk_size=chunk).loss

    head = our_head()
    assert torch.autograd.gradcheck(loss, (our_hidden(), head.weight, head.bias))


def test_the_shift() -> None:
    hidden, head, teacher = our_hidden(), our_head(), TeacherHidden(their_hidden(), their_head())
    fused = fused_linear_kd_loss(hidden, head, teacher, LABELS, shift=True, chunk_size=4)
    plain = kd_loss(by_hand(hidden, head), by_hand(teacher.hidden, teacher.head), LABELS, shift=True)
    torch.testing.assert_close(fused.loss, plain.loss)
    assert fused.per_token.shape == (BATCH, SEQ - 1)


def test_a_head_in_all_its_forms() -> None:
    hidden, linear = our_hidden(), nn.Linear(OURS, VOCAB, bias=False, dtype=torch.float64)
    other = nn.Linear(THEIRS, VOCAB, dtype=torch.float64)
    found = [
        fused_linear_kd_loss(hidden, ours, TeacherHidden(their_hidden(), theirs), LABELS).loss
        for ours in (linear, linear.weight, Head(linear.weight))
        for theirs in (other, Head(other.weight, other.bias))
    ]
    assert all(torch.equal(found[0], loss) for loss in found)
    found[0].backward()
    assert linear.weight.grad is not None
    assert other.weight.grad is None


def test_a_head_with_an_adapter_is_refused() -> None:
    """Its weight alone would leave the adapter out, and nobody would notice."""
    peft = pytest.importorskip("peft")
    model = nn.Sequential(nn.Linear(OURS, VOCAB))
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["0"], r=2)).base_model.model[0]
    with pytest.raises(ConfigError, match=r"student_head is a Linear, of which it is not known.*adapter"):
        fused_linear_kd_loss(our_hidden(torch.float32), wrapped, None, LABELS, gamma=0.0)


def test_what_needs_no_gradient_gets_none() -> None:
    """A frozen head, as with adapters elsewhere; and a frozen body."""
    teacher = TeacherHidden(their_hidden(), their_head())
    frozen = our_head().detached()
    hidden = our_hidden()
    fused_linear_kd_loss(hidden, frozen, teacher, LABELS).loss.backward()
    assert hidden.grad is not None
    assert frozen.weight.grad is None
    head = our_head()
    fused_linear_kd_loss(hidden.detach(), head, teacher, LABELS).loss.backward()
    assert head.weight.grad is not None
    assert teacher.hidden.grad is None
    assert teacher.head.weight.grad is None  # type: ignore[union-attr]


def test_a_head_that_is_tied_to_the_embeddings() -> None:
    weight = values(VOCAB, OURS, seed=2)
    grads = []
    for fused in (True, False):
        hidden = torch.tanh(weight[LABELS.clamp(min=0)])
        if fused:
            loss = fused_linear_kd_loss(hidden, weight, None, LABELS, gamma=0.0, chunk_size=4).loss
        else:
            loss = kd_loss(hidden @ weight.T, None, LABELS, gamma=0.0).loss
        grads.append(torch.autograd.grad(loss, weight)[0])
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


class Untouchable:
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the teacher was asked for {name}")


@pytest.mark.parametrize("kind", ["none", "anything", "hidden", "top k"])
def test_gamma_0_never_touches_the_teacher(kind: str) -> None:
    hidden, head = our_hidden(), our_head()
    never: Any = Untouchable()
    teacher: Any = {
        "none": None,
        "anything": never,
        "hidden": TeacherHidden(never, never),
        "top k": TeacherTopK(never, never),
    }[kind]
    fused = fused_linear_kd_loss(hidden, head, teacher, LABELS, gamma=0.0, chunk_size=4)
    same(fused, kd_loss(by_hand(hidden, head), None, LABELS, gamma=0.0), [hidden, head.weight, head.bias])


def test_nothing_to_learn_is_0_with_a_graph() -> None:
    hidden, head = our_hidden(), our_head()
    found = fused_linear_kd_loss(
        hidden, head, TeacherHidden(their_hidden(), their_head()), torch.full_like(LABELS, -100)
    )
    assert found.loss == 0
    assert found.n_tokens == 0
    found.loss.backward()
    assert (hidden.grad == 0).all()
    assert (head.weight.grad == 0).all()


def test_backward_twice_gives_twice_and_another_factor_another_gradient() -> None:
    hidden, head = our_hidden(), our_head()
    loss = fused_linear_kd_loss(hidden, head, None, LABELS, gamma=0.0, chunk_size=4).loss
    loss.backward(retain_graph=True)
    once = head.weight.grad.clone()
    (3 * loss).backward()
    torch.testing.assert_close(head.weight.grad, 4 * once)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_gradients_are_added_up_in_float32(dtype: Any) -> None:
    """As good in a thousand chunks as in one, though bfloat16 has but 8 bits for a sum."""
    n = 1000
    hidden, weight = values(n, OURS, seed=1, dtype=dtype), values(VOCAB, OURS, seed=2, dtype=dtype)
    labels = torch.randint(0, VOCAB, (n,), generator=torch.Generator().manual_seed(0))
    grads = []
    for chunk in (1, n):
        loss = fused_linear_kd_loss(hidden, weight, None, labels, gamma=0.0, chunk_size=chunk).loss
        assert loss.dtype == torch.float32
        grads.append(torch.autograd.grad(loss, (hidden, weight)))
    for one, other in zip(*grads, strict=True):
        assert one.dtype == dtype
        difference = (one.double() - other.double()).norm() / other.double().norm()
        assert difference < (0.01 if dtype == torch.bfloat16 else 1e-5)


def test_under_autocast() -> None:
    """The product in bfloat16, as the model's own head would make it; the rest in float32."""
    hidden, head = our_hidden(torch.float32), our_head(torch.float32)
    teacher = TeacherHidden(their_hidden(torch.float32), their_head(dtype=torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = fused_linear_kd_loss(hidden, head, teacher, LABELS, chunk_size=4)
        ours = nn.functional.linear(hidden, head.weight, head.bias)
        assert ours.dtype == torch.bfloat16
        theirs = nn.functional.linear(teacher.hidden, teacher.head.weight, teacher.head.bias)  # type: ignore[union-attr]
        plain = kd_loss(ours, theirs, LABELS)
    torch.testing.assert_close(fused.loss, plain.loss, rtol=1e-5, atol=0.0)
    for one, other in zip(
        torch.autograd.grad(fused.loss, (hidden, head.weight)),
        torch.autograd.grad(plain.loss, (hidden, head.weight)),
        strict=True,
    ):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=2e-3)


def test_vocabularies_that_differ() -> None:
    hidden, head = our_hidden(), our_head()
    teacher = TeacherHidden(their_hidden(), their_head(VOCAB + 4))
    with pytest.raises(ConfigError, match=r"student has 23 logits, the teacher 27.*vocab_policy='truncate'"):
        fused_linear_kd_loss(hidden, head, teacher, LABELS)
    how: dict[str, Any] = {"vocab_policy": "truncate", "temperature": 2.0}
    fused = fused_linear_kd_loss(hidden, head, teacher, LABELS, chunk_size=4, **how)
    plain = kd_loss(by_hand(hidden, head), by_hand(teacher.hidden, teacher.head), LABELS, **how)  # type: ignore[arg-type]
    same(fused, plain, [hidden, head.weight, head.bias])


# --- how large it gets ---


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


BIG_N, BIG_V, BIG_CHUNK = 96, 600, 8


def big(kind: str) -> tuple[Tensor, Head, Any, Tensor]:
    hidden = values(2, BIG_N // 2, OURS, seed=1, dtype=torch.float32)
    head = Head(values(BIG_V, OURS, seed=2, dtype=torch.float32), softcap=5.0)
    labels = torch.randint(0, BIG_V, (2, BIG_N // 2))
    if kind == "hidden":
        teacher: Any = TeacherHidden(torch.randn(2, BIG_N // 2, THEIRS), Head(torch.randn(BIG_V, THEIRS)))
    else:
        ids = torch.rand(2, BIG_N // 2, BIG_V).topk(K).indices
        teacher = TeacherTopK(ids, torch.full(ids.shape, 0.9 / K).log())
    return hidden, head, teacher, labels


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("hidden", {}),
        ("hidden", {"temperature": 2.0}),
        ("hidden", {"divergence": "reverse_kl"}),
        ("hidden", {"divergence": "jsd"}),
        ("hidden", {"gamma": 0.0}),
        ("top k", {"residual": "renormalize", "temperature": 2.0}),
        ("top k", {"residual": "bucket"}),
        ("top k", {"residual": "uniform_tail"}),
    ],
)
def test_no_tensor_is_larger_than_a_chunk_of_logits(kind: str, settings: dict[str, Any]) -> None:
    hidden, head, teacher, labels = big(kind)
    with Largest() as forward:
        loss = fused_linear_kd_loss(hidden, head, teacher, labels, chunk_size=BIG_CHUNK, **settings).loss
    with Largest() as backward:
        loss.backward()
    assert forward.elements == BIG_CHUNK * BIG_V  # it is the measure that is bounded, not nothing that was seen
    assert 0 < backward.elements <= BIG_V * OURS  # only the gradient of the head
    assert hidden.grad.shape == hidden.shape


def test_the_measure_sees_the_logits_of_the_plain_loss() -> None:
    hidden, head, _, labels = big("hidden")
    with Largest() as seen:
        kd_loss(head.logits(hidden), None, labels, gamma=0.0).loss.backward()
    assert seen.elements >= BIG_N * BIG_V


def test_only_positions_that_count_are_projected() -> None:
    hidden, head, teacher, labels = big("hidden")
    labels[:, 3:] = -100
    with Largest() as seen:
        fused_linear_kd_loss(hidden, head, teacher, labels, chunk_size=10**6).loss.backward()
    assert seen.elements == 6 * BIG_V


def test_evaluation_computes_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, teacher, labels = big("hidden")

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a gradient was computed")

    trained = fused_linear_kd_loss(hidden, head, teacher, labels)
    monkeypatch.setattr(torch.autograd, "grad", never)
    with torch.no_grad():
        found = fused_linear_kd_loss(hidden, head, teacher, labels)
    assert not found.loss.requires_grad
    torch.testing.assert_close(found.loss, trained.loss.detach())
    with pytest.raises(AssertionError, match="a gradient was computed"):
        fused_linear_kd_loss(hidden, head, teacher, labels)


# --- what is refused ---


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reduction": "none"}, r"not reduction='none': see per_token"),
        ({"chunk_size": 0}, r"chunk_size=0 is below 1"),
        ({"gamma": -0.1}, r"gamma=-0.1"),
        ({"vocab_policy": "pad"}, r"vocab_policy='pad'"),
        ({"teacher": torch.zeros(3)}, r"teacher is Tensor, neither TeacherHidden nor TeacherTopK"),
        ({"teacher": None}, r"teacher is NoneType"),
        (
            {"teacher": TeacherTopK(LABELS[..., None], LABELS[..., None]), "divergence": "reverse_kl"},
            r"divergence='reverse_kl' needs a teacher's hidden states",
        ),
        (
            {
                "teacher": TeacherTopK(LABELS[..., None], LABELS[..., None]),
                "residual": "bucket",
                "temperature": 2.0,
            },
            r"residual='bucket' needs temperature=1",
        ),
        (
            {"teacher": TeacherHidden(our_hidden(), their_head())},
            r"teacher.hidden is 4 wide, and its head takes 6: .*hidden_states\[-1\]",
        ),
        (
            {"teacher": TeacherHidden(their_hidden()[:, 1:], their_head())},
            r"teacher.hidden has positions of shape \(3, 6\), the labels have \(3, 7\)",
        ),
    ],
)
def test_what_does_not_fit(settings: dict[str, Any], words: str) -> None:
    teacher = settings.pop("teacher", TeacherHidden(their_hidden(), their_head()))
    with pytest.raises(ConfigError, match=words):
        fused_linear_kd_loss(our_hidden(), our_head(), teacher, LABELS, **settings)


def test_heads_that_are_none() -> None:
    with pytest.raises(ConfigError, match=r"weight of a head is \(vocab, width\); this one has \(3,\)"):
        Head(torch.zeros(3))
    with pytest.raises(ConfigError, match=r"bias of this head has shape \(4,\), its weight \(3, 2\)"):
        Head(torch.zeros(3, 2), torch.zeros(4))
    with pytest.raises(ConfigError, match=r"softcap=0 is not above 0"):
        Head(torch.zeros(3, 2), softcap=0)
    with pytest.raises(ConfigError, match=r"student_hidden is 6 wide, and its head takes 4"):
        fused_linear_kd_loss(their_hidden(), our_head(), None, LABELS, gamma=0.0)
