"""Where another library computes the same thing, the values and gradients agree.

Liger and torchtune are compared with where they are installed; they are no dependencies.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from cot_distill.student import TeacherHidden, fused_linear_kd_loss, hidden_state_loss, kd_loss  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of those libraries, about themselves

BATCH, SEQ, VOCAB, OURS, THEIRS = 2, 6, 17, 5, 7
LABELS = torch.randint(0, VOCAB, (BATCH, SEQ), generator=torch.Generator().manual_seed(3))
LABELS[0, :2] = -100


def values(*shape: int, seed: int, dtype: Any = torch.float64) -> Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    return made.to(dtype).requires_grad_()


def same(one: Tensor, other: Tensor, inputs: list[Tensor], tolerance: float) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(torch.autograd.grad(one, inputs), torch.autograd.grad(other, inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_trl_generalized_jsd(beta: float, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's has no factor T**2."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    gkd = pytest.importorskip("trl.experimental.gkd")
    student, teacher = values(BATCH, SEQ, VOCAB, seed=1), values(BATCH, SEQ, VOCAB, seed=2).detach()
    found = kd_loss(student, teacher, LABELS, gamma=1.0, temperature=temperature, divergence="jsd", beta=beta)
    theirs = gkd.GKDTrainer.generalized_jsd_loss(student, teacher, LABELS, beta=beta, temperature=temperature)
    same(found.loss, temperature**2 * theirs, [student], 1e-10)
    torch.testing.assert_close(found.kl, theirs.detach(), rtol=1e-10, atol=1e-10)


def test_trl_generalized_jsd_over_a_part_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    gkd = pytest.importorskip("trl.experimental.gkd")
    student, teacher = values(BATCH, SEQ, VOCAB, seed=1), values(BATCH, SEQ, VOCAB, seed=2).detach()
    found = kd_loss(student, teacher, LABELS, gamma=1.0, divergence="jsd", beta=0.3, num_items_in_batch=29)
    theirs = gkd.GKDTrainer.generalized_jsd_loss(student, teacher, LABELS, beta=0.3, num_items_in_batch=29)
    same(found.loss, theirs, [student], 1e-10)


@pytest.mark.parametrize("gamma", [0.3, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_liger_fused_jsd(gamma: float, beta: float, chunk: int) -> None:
    liger = pytest.importorskip("liger_kernel.chunked_loss")
    dtype = torch.float32
    hidden, weight = values(BATCH * SEQ, OURS, seed=1, dtype=dtype), values(VOCAB, OURS, seed=2, dtype=dtype)
    teacher = [values(BATCH * SEQ, THEIRS, seed=3, dtype=dtype), values(VOCAB, THEIRS, seed=4, dtype=dtype)]
    labels = LABELS.reshape(-1)
    loss = liger.LigerFusedLinearJSDLoss(
        weight_hard_loss=1 - gamma, weight_soft_loss=gamma, beta=beta, compiled=False, chunk_size=chunk
    )
    theirs = loss(hidden, weight, *(x.detach() for x in teacher), labels)
    found = fused_linear_kd_loss(
        hidden,
        weight,
        TeacherHidden(*teacher),
        labels,
        gamma=gamma,
        divergence="jsd",
        beta=beta,
        chunk_size=chunk,
    )
    same(found.loss, theirs, [hidden, weight], 1e-5)


def test_liger_cosine() -> None:
    """It compares logits; ours is the same function of other vectors."""
    liger = pytest.importorskip("liger_kernel.chunked_loss")
    hidden, weight = (values(*shape, seed=1, dtype=torch.float32) for shape in ((BATCH * SEQ, OURS), (VOCAB, OURS)))
    teacher = [
        values(BATCH * SEQ, THEIRS, seed=3, dtype=torch.float32),
        values(VOCAB, THEIRS, seed=4, dtype=torch.float32),
    ]
    loss = liger.LigerFusedLinearCosineSimilarityLoss(
        weight_hard_loss=0.0, weight_soft_loss=1.0, beta=1.0, compiled=False
    )  # fmt: skip
    theirs = loss(hidden, weight, *(x.detach() for x in teacher), torch.zeros(BATCH * SEQ, dtype=torch.long))
    found = hidden_state_loss((hidden @ weight.T)[None], (teacher[0] @ teacher[1].T)[None], kind="cosine")
    same(found, theirs, [hidden, weight], 1e-5)


@pytest.fixture
def torchtune_losses() -> Any:
    """Its file of losses alone, which needs torch only; the package wants more than this is worth."""
    found = importlib.util.find_spec("torchtune")
    if found is None or not found.submodule_search_locations:
        pytest.skip("torchtune is not installed")
    file = Path(found.submodule_search_locations[0]) / "modules" / "loss" / "kd_losses.py"
    spec = importlib.util.spec_from_file_location("kd_losses", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "divergence"), [("ForwardKLLoss", "forward_kl"), ("ReverseKLLoss", "reverse_kl")])
def test_torchtune(name: str, divergence: Any, torchtune_losses: Any) -> None:
    """Its forward KL leaves out the entropy of the teacher, a constant."""
    dtype = torch.float32
    student = values(BATCH * SEQ, VOCAB, seed=1, dtype=dtype)
    teacher = values(BATCH * SEQ, VOCAB, seed=2, dtype=dtype).detach()
    labels = LABELS.reshape(-1)
    theirs = getattr(torchtune_losses, name)()(student, teacher, labels)
    if divergence == "forward_kl":
        p = teacher[labels != -100].log_softmax(-1)
        theirs = theirs + (p.exp() * p).sum(-1).mean()
    same(kd_loss(student, teacher, labels, gamma=1.0, divergence=divergence).loss, theirs, [student], 1e-5)
