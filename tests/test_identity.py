"""What tells two callables apart, the same in every process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

from cot_distill import verifiers
from cot_distill.identity import identity_of, name_of


def at_least(number: int) -> Callable[[int], bool]:
    def verifier(value: int) -> bool:
        return value >= number

    return verifier


class Slotted:
    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, value: int) -> bool:
        return value >= self.number

    def method(self, value: int) -> bool:
        return value < self.number


class Digested:
    def __init__(self, digest: str) -> None:
        self.digest = digest

    def __call__(self) -> None: ...


def keyword(value: int, *, number: int = 1) -> bool:
    return value > number


def test_settings_are_seen_wherever_they_are() -> None:
    for make in (
        at_least,
        Slotted,
        lambda number: Slotted(number).method,
        lambda number: partial(keyword, number=number),
        lambda number: Digested(str(number)),
    ):
        assert identity_of(make(1)) == identity_of(make(1))
        assert identity_of(make(1)) != identity_of(make(2))


def test_code_and_defaults_are_seen() -> None:
    def keyword(value: int, *, number: int = 2) -> bool:
        return value > number

    assert name_of(keyword) == "keyword"
    first, second = (lambda value: value > 1), (lambda value: value > 2)
    assert identity_of(first) != identity_of(second)


def test_what_a_function_remembers_is_no_setting() -> None:
    seen: list[int] = []

    def verifier(value: int) -> None:
        seen.append(value)

    before = identity_of(verifier)
    verifier(1)
    assert identity_of(verifier) == before


def test_anything_callable_has_one() -> None:
    for part in (print, len, str.upper, int, verifiers.exact(), test_anything_callable_has_one):
        assert identity_of(part)
        assert name_of(part)


CODE = """
from cot_distill import verifiers
from cot_distill.identity import identity_of

def verifier(value, among=frozenset({"a", "b", "c"})):
    return value in {"x", "y", "z", "w"} and [part for part in among]

print(identity_of(verifier), identity_of(verifiers.exact()), identity_of(lambda: None))
"""


def test_it_is_the_same_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", CODE], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
