"""Projectors: what they begin as, and in which type they compute."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from cot_distill.errors import ConfigError  # noqa: E402
from cot_distill.student import Projector, hidden_state_loss  # noqa: E402


def test_identity_is_what_equal_widths_begin_as() -> None:
    hidden = torch.randn(2, 3, 5)
    for projector in (Projector(5, 5), Projector(5, 5, init="identity", bias=True)):
        assert projector(hidden).equal(hidden)
        assert projector.weight.requires_grad


def test_orthogonal_keeps_lengths_and_is_what_unequal_widths_begin_as() -> None:
    hidden = torch.randn(2, 3, 5)
    for projector in (Projector(5, 8), Projector(5, 8, init="orthogonal"), Projector(5, 5, init="orthogonal")):
        torch.testing.assert_close(projector(hidden).norm(dim=-1), hidden.norm(dim=-1))
    narrower = Projector(8, 5).weight
    torch.testing.assert_close(narrower @ narrower.T, torch.eye(5), rtol=1e-5, atol=1e-6)


def test_xavier_has_the_variance_of_its_name() -> None:
    weight = Projector(300, 500, init="xavier").weight
    assert weight.var().item() == pytest.approx(2 / (300 + 500), rel=0.02)
    assert weight.abs().max().item() <= (6 / (300 + 500)) ** 0.5


def test_a_bias_begins_at_0() -> None:
    assert Projector(3, 4).bias is None
    assert Projector(3, 4, bias=True).bias.equal(torch.zeros(4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_it_computes_in_its_own_type(dtype: Any) -> None:
    hidden = torch.randn(2, 3, 5, dtype=dtype, requires_grad=True)
    made = Projector(5, 8)(hidden)
    assert made.dtype == torch.float32
    made.sum().backward()
    assert hidden.grad.dtype == dtype


def test_it_learns_and_is_saved_by_itself() -> None:
    projector, target = Projector(4, 6), torch.randn(1, 20, 6)
    hidden = torch.randn(1, 20, 4)
    optimizer = torch.optim.SGD(projector.parameters(), lr=1.0)
    losses = []
    for _ in range(20):
        loss = hidden_state_loss(projector(hidden), target)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] * 0.9
    assert list(projector.state_dict()) == ["weight"]
    again = Projector(4, 6)
    again.load_state_dict(projector.state_dict())
    assert again(hidden).equal(projector(hidden))


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"init='identity' needs equal widths, and these are 4 and 6"):
        Projector(4, 6, init="identity")
    with pytest.raises(ConfigError, match=r"init='zeros' is none of 'identity', 'orthogonal', 'xavier'"):
        Projector(4, 6, init="zeros")  # type: ignore[arg-type]
