"""A teacher that spreads the questions over several, each its share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from pydantic_core import to_json

from cot_distill.answered_by import tell
from cot_distill.errors import ConfigError
from cot_distill.protocols import Teacher
from cot_distill.teachers._wrapper import Wrapper, check_teachers
from cot_distill.types import Completion, Message, Sampling

__all__ = ["mix"]


def mix(shares: Mapping[Teacher, float], *, seed: int = 0) -> Teacher:
    """Make a teacher that asks one of these, chosen by the question.

    The same question goes to the same teacher, in any process and at any time: so a run that goes on asks as before,
    and all attempts at a task are one teacher's. Errors are raised as they come, and a question never moves to
    another teacher; for that, mix teachers made by :func:`fallback`.

    Args:
        shares: How much each teacher is asked: ``{a: 0.7, b: 0.3}`` and ``{a: 7, b: 3}`` are the same.
        seed: Another one spreads the questions in another way.

    Returns:
        A Teacher. ``Sample.model`` begins with the name of the one that answered.

    Raises:
        ConfigError: One of them is no teacher, two have the same name, or a share is not above 0.

    Example:
        >>> from cot_distill import open_teacher
        >>> a, b = open_teacher("vllm:Qwen/QwQ-32B"), open_teacher("sglang:Qwen/Qwen3-235B")
        >>> mix({a: 7, b: 3}).name
        'mix(0.3 sglang:Qwen/Qwen3-235B, 0.7 vllm:Qwen/QwQ-32B, seed=0)'
    """
    if not isinstance(shares, Mapping):
        raise ConfigError(f"mix() takes a mapping of teachers to shares, such as {{a: 0.7, b: 0.3}}, not {shares!r}")
    check_teachers("mix()", tuple(shares))
    if len(shares) < 2:
        raise ConfigError("mix() needs two teachers or more")
    for teacher, share in shares.items():
        if not (isinstance(share, int | float) and 0 < share < math.inf):
            raise ConfigError(f"mix(): the share of {teacher.name} is {share!r}: it must be a number above 0")
    whole = math.fsum(shares.values())
    # By name, so that the order in which they were written makes no other recipe.
    sorted_shares = {one: shares[one] / whole for one in sorted(shares, key=lambda teacher: teacher.name)}
    return _Mix(sorted_shares, seed)


class _Mix(Wrapper):
    def __init__(self, shares: Mapping[Teacher, float], seed: int) -> None:
        parts = [f"{share:.6g} {teacher.name}" for teacher, share in shares.items()]
        super().__init__(f"mix({', '.join(parts)}, seed={seed})", *shares)
        self._shares = tuple(shares.values())
        self._seed = seed

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Ask the teacher whose question it is."""
        teacher = self.teachers[self._number(messages)]
        return tell(await teacher.complete(messages, sampling), teacher)

    def _number(self, messages: Sequence[Message]) -> int:
        digest = blake2b(to_json([self._seed, list(messages)]), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64
        for number, share in enumerate(self._shares[:-1]):
            place -= share
            if place < 0:
                return number
        return len(self._shares) - 1
