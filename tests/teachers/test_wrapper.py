"""What all teachers that ask other teachers have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import anyio
import pytest

from cot_distill import Distiller, RateLimit
from cot_distill.errors import ConfigError
from cot_distill.protocols import Teacher
from cot_distill.teachers.cached import cached
from cot_distill.teachers.fallback import fallback
from cot_distill.teachers.mix import mix
from cot_distill.teachers.throttled import throttled
from cot_distill.testing import ScriptedTeacher, check_teacher, echo_answer
from cot_distill.types import Completion, Message, Sampling

FAST = RateLimit(requests_per_minute=100_000)


class Counted:
    """Counts how often it is entered and left, and refuses to answer outside."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.name = name
        self.fails = fails
        self.entered = self.left = 0
        self.teacher = ScriptedTeacher(lambda messages: echo_answer(messages[-1].content), name=name, latency=0.01)

    async def __aenter__(self) -> Counted:
        if self.fails:
            raise OSError("no socket")
        self.entered += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left += 1

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        assert self.entered > self.left
        return await self.teacher.complete(messages, sampling)


Make = Callable[[Teacher, Teacher, Path], Teacher]
RECIPES: dict[str, Make] = {
    "fallback": lambda a, b, _: fallback(a, b),
    "mix": lambda a, b, _: mix({a: 1, b: 2}),
    "cached": lambda a, b, path: cached(fallback(a, b), path / "answers.jsonl"),
    "throttled": lambda a, b, _: throttled(mix({a: 1, b: 2}), FAST),
    "nested": lambda a, b, path: fallback(
        throttled(cached(a, path / "answers.jsonl"), FAST), mix({b: 1, ScriptedTeacher([], name="c"): 1e-9})
    ),
}


@pytest.mark.anyio
@pytest.mark.parametrize("recipe", RECIPES)
async def test_it_is_a_teacher_like_any_other_and_enters_the_others_once_a_run(recipe: str, tmp_path: Path) -> None:
    a, b = Counted("a"), Counted("b")
    teacher = RECIPES[recipe](a, b, tmp_path)
    await check_teacher(teacher)
    assert (a.entered, a.left) == (b.entered, b.left) == (2, 2)  # it proves that a teacher can be entered again


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_says_of_every_sample_which_teacher_gave_it(recipe: str, tmp_path: Path) -> None:
    a, b = Counted("a"), Counted("b")
    teacher = RECIPES[recipe](a, b, tmp_path)
    run = Distiller(teacher).run([f"Question {number}" for number in range(30)], tmp_path / "run", progress=False)
    told = [sample.model for sample in run.samples()]
    assert len(told) == 30
    assert {sample.teacher for sample in run.samples()} == {teacher.name}
    assert told.count("a") == len(a.teacher.calls)
    assert told.count("b") == len(b.teacher.calls)
    assert (a.entered, a.left) == (b.entered, b.left) == (1, 1)


@pytest.mark.anyio
async def test_what_was_entered_is_left_if_the_next_cannot_be() -> None:
    a = Counted("a")
    with pytest.raises(OSError, match="no socket"):
        async with mix({a: 1, Counted("b", fails=True): 1}):  # type: ignore[attr-defined]
            pass
    assert (a.entered, a.left) == (1, 1)


@pytest.mark.anyio
async def test_two_runs_may_share_one_and_end_in_any_order() -> None:
    a, b = Counted("a"), Counted("b")
    teacher = fallback(a, b)
    first, second = teacher, teacher
    await first.__aenter__()  # type: ignore[attr-defined]
    await second.__aenter__()  # type: ignore[attr-defined]
    await first.__aexit__(None, None, None)  # type: ignore[attr-defined]
    assert (a.entered, a.left) == (2, 1)
    assert (await teacher.complete([Message(role="user", content="?")], Sampling())).model == "a"
    await second.__aexit__(None, None, None)  # type: ignore[attr-defined]
    assert (a.entered, a.left) == (b.entered, b.left) == (2, 2)


def test_the_name_holds_the_whole_recipe(tmp_path: Path) -> None:
    a, b, c = (ScriptedTeacher([], name=name) for name in "abc")
    assert fallback(a, mix({c: 1, b: 3}, seed=7)).name == "fallback(a, mix(0.75 b, 0.25 c, seed=7))"
    assert mix({a: 0.7, b: 0.3}).name == mix({b: 3, a: 7}).name
    assert cached(throttled(a, FAST), tmp_path / "answers.jsonl").name == "a"
    assert repr(fallback(a, b)) == "<fallback teacher 'fallback(a, b)'>"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a: fallback(a, "deepseek:x"), r"write open_teacher\('deepseek:x'\)"),
        (lambda a: fallback(a), "two teachers or more"),
        (lambda a: fallback(a, 3), "3, which is no Teacher"),
        (lambda a: fallback(a, ScriptedTeacher([], name="a")), "two teachers with the name 'a'"),
        (lambda a: mix([a]), "takes a mapping"),
        (lambda a: mix({a: 1}), "two teachers or more"),
        (lambda a: mix({a: 1, ScriptedTeacher([], name="b"): 0}), "share of b is 0: it must be a number above 0"),
        (lambda a: mix({a: float("nan"), ScriptedTeacher([], name="b"): 1}), "share of a is nan"),
        (lambda a: throttled(a, 3), r"give RateLimit\("),
        (lambda a: throttled("demo", FAST), r"open_teacher\('demo'\)"),
        (lambda a: cached(3, "x"), "no Teacher"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(make: Callable[[Teacher], Teacher], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(ScriptedTeacher([], name="a"))


@pytest.mark.anyio
async def test_a_cancelled_call_leaves_at_once_whatever_is_around_it(tmp_path: Path) -> None:
    slow = ScriptedTeacher([("thought", "answer")], name="slow", latency=60)
    teacher = throttled(cached(fallback(slow, ScriptedTeacher([], name="b")), tmp_path / "answers.jsonl"), FAST)
    async with teacher:  # type: ignore[attr-defined]
        with anyio.move_on_after(0.05) as scope:
            await teacher.complete([Message(role="user", content="?")], Sampling())
        assert scope.cancelled_caught
    assert not (tmp_path / "answers.jsonl").read_bytes()
