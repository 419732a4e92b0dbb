"""Refusals that say nothing of our load."""

from __future__ import annotations

import random

import pytest

from cot_distill.adaptive_noise import Noise


def feed(noise: Noise, shares: dict[int, float], count: int = 100, seed: int = 1) -> None:
    """So many requests at each number in flight, of which a share is refused."""
    dice = random.Random(seed)
    for in_flight, share in shares.items():
        for _ in range(count):
            noise.count(in_flight, refused=dice.random() < share)


@pytest.mark.parametrize("share", [0.06, 0.15, 0.3])
def test_the_same_share_with_few_and_with_many_in_flight_is_noise(share: float) -> None:
    noise = Noise()
    feed(noise, {2: share, 8: share, 64: share})
    assert noise.is_found()
    assert share / 2 < noise.share < share * 2


@pytest.mark.parametrize(
    "shares",
    [
        {2: 0.0, 8: 0.0, 64: 0.2},  # a limit on requests at once
        {2: 0.02, 8: 0.1, 64: 0.3},  # an allowance per minute
        {2: 0.6, 8: 0.6, 64: 0.6},  # hardly anything is accepted
        {64: 0.1, 32: 0.1},  # nothing is known of few in flight
    ],
)
def test_what_depends_on_us_is_none(shares: dict[int, float]) -> None:
    noise = Noise()
    feed(noise, shares)
    assert not noise.is_found()
    assert noise.share == 0


def test_one_at_a_time_is_as_few_as_there_can_be() -> None:
    noise = Noise()
    feed(noise, {1: 0.1})
    assert noise.is_found()


def test_what_was_taken_for_noise_wrongly_is_not_so_soon_again() -> None:
    noise = Noise()
    feed(noise, {1: 0.1, 16: 0.1})
    assert noise.is_found()
    noise.lost()
    assert (noise.share, noise.is_found()) == (0, False)
    feed(noise, {1: 0.1, 16: 0.1})
    assert not noise.is_found()
    for _ in range(12):
        feed(noise, {1: 0.1, 16: 0.1})
    assert noise.is_found()
