"""What refusals do to the limit."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.adaptive_refusals import Refusals, Sent


class Endpoint:
    """Sends requests one by one, and has some refused."""

    def __init__(self, size: float) -> None:
        self.refusals = Refusals()
        self.size = size
        self.numbers = itertools.count(1)
        self.now = 0.0

    def send(self, in_flight: int) -> Sent:
        number = next(self.numbers)
        self.refusals.sent(number)
        return Sent(number, self.now, in_flight)

    def refuse(self, sent: Sent, in_flight: int = 1, hint: float = 0.0, *, absent: bool = True) -> float:
        self.size = self.refusals.refused(self.now, sent, self.size, in_flight, hint, absent)
        return self.size

    def answer(self, times: int = 1) -> None:
        for _ in range(times):
            self.refusals.answered(Sent(0, self.now, 1))


def test_the_limit_comes_down_to_what_was_accepted() -> None:
    endpoint = Endpoint(100)
    assert endpoint.refuse(endpoint.send(97)) == 96


@given(size=st.integers(2, 2000), accepted=st.integers(1, 2000))
def test_a_burst_is_one_episode(size: int, accepted: int) -> None:
    endpoint = Endpoint(size)
    burst = [endpoint.send(number + 1) for number in range(size)]
    for sent in burst[accepted:]:
        endpoint.refuse(sent)
    expected = max(accepted, size / 2, 1) if accepted < size else size
    assert endpoint.size == expected  # to what was accepted, but by no more than half at once


def test_refusals_that_go_on_cut_deeper_each_time() -> None:
    endpoint = Endpoint(300)
    sizes = [endpoint.refuse(endpoint.send(int(endpoint.size))) for _ in range(12)]
    cuts = [later / earlier for earlier, later in itertools.pairwise(sizes)]
    assert cuts[0] > 0.99
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(cuts[2:]) if earlier > 0.5)
    assert 0.5 <= min(cuts) < 0.6
    assert sizes[-1] < 30


def test_a_refusal_now_and_then_costs_one_slot() -> None:
    endpoint = Endpoint(300)
    endpoint.answer(300)
    for _ in range(10):
        endpoint.refuse(endpoint.send(int(endpoint.size)))
        endpoint.answer(150)
    assert endpoint.size == 290


def test_hints_are_waited_out_and_never_shortened() -> None:
    endpoint = Endpoint(10)
    endpoint.refuse(endpoint.send(5), hint=20.0)
    endpoint.refuse(endpoint.send(5), hint=5.0)
    assert endpoint.refusals.blocked_until == 20.0
    endpoint.now = 18.0
    endpoint.refuse(endpoint.send(5), hint=60.0)
    assert endpoint.refusals.blocked_until == 78.0


def creep(endpoint: Endpoint, answers: int) -> list[int]:
    """The answers at which slots come; the last is where creeping is over."""
    slots: list[int] = []
    for answer in range(1, answers + 1):
        endpoint.now += 1.0
        more = endpoint.refusals.creep(endpoint.now, endpoint.size)
        if more is None:
            return [*slots, answer]
        if more:
            slots.append(answer)
            endpoint.size += more
    return slots


def test_slots_come_one_by_one_and_then_ever_faster() -> None:
    endpoint = Endpoint(300)
    endpoint.refuse(endpoint.send(300))
    assert creep(endpoint, 1000) == [100, 150, 175, 187, 193, 196, 197]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_small_limit_does_not_wait_for_long(size: int) -> None:
    endpoint = Endpoint(size + 1)
    endpoint.refuse(endpoint.send(size + 1))
    assert endpoint.size == size
    assert creep(endpoint, 1000)[-1] <= 64 * size


def test_the_pause_that_a_try_costs_makes_tries_rare() -> None:
    endpoint = Endpoint(300)
    endpoint.refuse(endpoint.send(300), hint=10.0)
    assert creep(endpoint, 1000)[0] == 200  # a second each: a twentieth of the time


def test_after_a_collapse_it_starts_anew() -> None:
    endpoint = Endpoint(300)
    for _ in range(20):
        endpoint.refuse(endpoint.send(int(endpoint.size)))
    assert endpoint.size < 20
    assert creep(endpoint, 1000) == [int(endpoint.size) + 1]


def test_nothing_accepted_means_longer_and_longer_pauses_with_one_try_each() -> None:
    endpoint = Endpoint(64)
    pauses: list[float] = []
    while endpoint.refusals.broken is None:
        endpoint.refuse(endpoint.send(1), in_flight=0)
        pauses.append(endpoint.refusals.blocked_until - endpoint.now)
        endpoint.now = endpoint.refusals.blocked_until
    assert pauses[:5] == [0.5] * 5
    assert all(later >= earlier for earlier, later in itertools.pairwise(pauses))
    for number, pause in enumerate(pauses):  # a quarter of the time that it has lasted
        assert pause == min(60, max(0.5, sum(pauses[:number]) / 4))
    assert sum(pauses) > 300
    assert 20 < len(pauses) < 40
    assert endpoint.size == 1
    assert endpoint.refusals.broken.startswith("it has accepted no request for")


def test_long_hints_alone_do_not_make_it_broken() -> None:
    endpoint = Endpoint(64)
    tries = 0
    while endpoint.refusals.broken is None:
        endpoint.refuse(endpoint.send(1), in_flight=0, hint=400.0)
        tries += 1
        endpoint.now = endpoint.refusals.blocked_until
    assert tries == 4


def test_an_answer_forgives() -> None:
    endpoint = Endpoint(64)
    for _ in range(20):
        endpoint.refuse(endpoint.send(1), in_flight=0)
        endpoint.now = endpoint.refusals.blocked_until
        endpoint.answer()
    assert endpoint.refusals.broken is None
    assert not endpoint.refusals.storm
    assert endpoint.refusals.blocked_until - endpoint.now < 1


def test_trying_again_after_it_was_broken_begins_anew() -> None:
    endpoint = Endpoint(64)
    while endpoint.refusals.broken is None:
        endpoint.refuse(endpoint.send(1), in_flight=0)
        endpoint.now = endpoint.refusals.blocked_until
    endpoint.refuse(endpoint.send(1), in_flight=0)
    assert endpoint.refusals.broken is None
    assert endpoint.refusals.blocked_until == endpoint.now + 0.5


def test_a_server_that_still_works_off_what_it_has_is_not_broken() -> None:
    endpoint = Endpoint(64)
    for _ in range(100):
        endpoint.now += 60.0
        endpoint.refuse(endpoint.send(3), in_flight=2)
    assert endpoint.refusals.broken is None
    assert not endpoint.refusals.storm


def test_giving_up_waiting_says_nothing_of_absence() -> None:
    endpoint = Endpoint(64)
    for _ in range(100):
        endpoint.now += 600.0
        endpoint.refuse(endpoint.send(1), in_flight=0, absent=False)
    assert endpoint.refusals.broken is None
    assert endpoint.size == 1
