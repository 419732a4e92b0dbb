"""Answers that are kept in a file."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from cot_distill import Distiller
from cot_distill.errors import ConfigError, RateLimitError, TeacherError
from cot_distill.protocols import Teacher
from cot_distill.teachers.cached import cached
from cot_distill.testing import ScriptedTeacher, echo_answer
from cot_distill.types import Completion, Message, Sampling, Usage

pytestmark = pytest.mark.anyio


def ask(question: str = "What is 17 + 25?") -> list[Message]:
    return [Message(role="user", content=question)]


def echo(name: str = "a") -> ScriptedTeacher:
    return ScriptedTeacher(lambda messages: echo_answer(messages[-1].content), name=name)


async def answers(teacher: Teacher, *asked: tuple[list[Message], Sampling]) -> list[str]:
    """What one run is told."""
    async with teacher:  # type: ignore[attr-defined]
        return [(await teacher.complete(*one)).content for one in asked]


async def test_what_is_in_the_file_is_not_asked_again_and_comes_back_whole(tmp_path: Path) -> None:
    whole = Completion(
        content="42",
        reasoning="17 and 25\u2028make 42.",
        trace_kind="summary",
        usage=Usage(prompt_tokens=5, completion_tokens=9, reasoning_tokens=7),
        model="m-1",
        logprobs={"content": [{"token": "42", "logprob": -0.25}]},
        request_id="req-1",
        latency=1.5,
        raw='{"choices": []}\n',
    )
    path = tmp_path / "new" / "folder" / "answers.jsonl"
    async with cached(ScriptedTeacher([whole], name="a"), path) as teacher:  # type: ignore[attr-defined]
        assert await teacher.complete(ask(), Sampling()) == whole
    silent = ScriptedTeacher([], name="a")
    async with cached(silent, path) as teacher:  # type: ignore[attr-defined]
        assert await teacher.complete(ask(), Sampling()) == whole
    assert not silent.calls
    [line] = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert line["teacher"] == "a"


@pytest.mark.parametrize(
    ("name", "messages", "sampling"),
    [
        ("b", ask(), Sampling(seed=1)),
        ("a", ask("What is 17 + 26?"), Sampling(seed=1)),
        ("a", [Message(role="system", content="Be brief."), *ask()], Sampling(seed=1)),
        ("a", ask(), Sampling(seed=2)),
        ("a", ask(), Sampling()),
        ("a", ask(), Sampling(seed=1, max_tokens=100)),
        ("a", ask(), Sampling(seed=1, extra={"top_k": 3})),
    ],
)
async def test_another_teacher_question_or_setting_is_another_answer(
    name: str, messages: list[Message], sampling: Sampling, tmp_path: Path
) -> None:
    path = tmp_path / "answers.jsonl"
    await answers(cached(echo(), path), (ask(), Sampling(seed=1)))
    other = echo(name)
    await answers(cached(other, path), (messages, sampling), (ask(), Sampling(seed=1)))
    assert len(other.calls) == (2 if name == "b" else 1)


async def test_the_order_of_extra_settings_makes_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    await answers(cached(echo(), path), (ask(), Sampling(extra={"a": 1, "b": {"c": 1, "d": 2}})))
    other = echo()
    await answers(cached(other, path), (ask(), Sampling(extra={"b": {"d": 2, "c": 1}, "a": 1})))
    assert not other.calls


async def test_how_often_a_cut_answer_may_be_asked_again_makes_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    await answers(cached(echo(), path), (ask(), Sampling(max_tokens=100)))
    other = echo()
    await answers(cached(other, path), (ask(), Sampling(max_tokens=100, max_tokens_limit=800)))
    assert not other.calls


async def test_several_attempts_at_one_question_are_several_answers(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    once = (ask(), Sampling())
    teacher = cached(ScriptedTeacher(["one", "two"], name="a"), path)
    assert await answers(teacher, once, once) == ["one", "two"]
    assert await answers(teacher, once, once) == ["one", "two"]  # a second run, with the same object
    again = ScriptedTeacher(["three"], name="a")
    assert await answers(cached(again, path), once, once, once) == ["one", "two", "three"]
    assert len(again.calls) == 1


def test_a_run_with_more_attempts_pays_for_these_only(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for attempts, asked in [(2, 20), (2, 0), (3, 10)]:
        teacher = echo()
        run = Distiller(cached(teacher, path), attempts=attempts).run(
            [f"Question {number}" for number in range(10)], tmp_path / str((attempts, asked)), progress=False
        )
        assert len(list(run.samples())) == 10 * attempts
        assert len(teacher.calls) == asked


@pytest.mark.parametrize(
    "item",
    [
        RateLimitError("slow down"),
        Completion(content="half an ans", finish_reason="length"),
        Completion(content="I cannot help.", finish_reason="refused"),
        Completion(content="?", finish_reason="unknown"),
        Completion(content=" \n", reasoning="I think, and say nothing."),
    ],
)
async def test_errors_and_answers_that_are_none_are_not_kept(item: Any, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    teacher = ScriptedTeacher([item, "42"], name="a")
    for _ in range(2):
        with contextlib.suppress(TeacherError):
            await answers(cached(teacher, path), (ask(), Sampling()))
    assert len(teacher.calls) == 2
    assert await answers(cached(teacher, path), (ask(), Sampling())) == ["42"]


async def test_without_a_run_around_it_each_call_is_one(tmp_path: Path) -> None:
    inner = echo()
    teacher = cached(inner, tmp_path / "answers.jsonl")
    for _ in range(3):
        await teacher.complete(ask(), Sampling())
    assert len(inner.calls) == 1


async def test_two_runs_in_one_process_share_what_the_file_holds(tmp_path: Path) -> None:
    inner = ScriptedTeacher(["one", "two", "three"], name="a")
    teacher: Any = cached(inner, tmp_path / "answers.jsonl")
    async with teacher:
        await teacher.complete(ask(), Sampling())
        async with teacher:
            await teacher.complete(ask(), Sampling())
        await teacher.complete(ask(), Sampling())  # the file is still open
    assert await answers(teacher, *[(ask(), Sampling())] * 3) == ["one", "two", "three"]


async def test_a_file_that_was_emptied_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    teacher = cached(ScriptedTeacher(["one", "two"], name="a"), path)
    await answers(teacher, (ask(), Sampling()))
    path.write_bytes(b"")
    assert await answers(teacher, (ask(), Sampling())) == ["two"]
    assert await answers(teacher, (ask(), Sampling())) == ["two"]


# --- files that are damaged, and processes that end ---


async def test_a_record_that_was_cut_anywhere_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first, second = (ask("first"), Sampling()), (ask("second"), Sampling())
    await answers(cached(echo(), path), first)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        inner = echo()
        expected = await answers(cached(inner, path), first, second)
        # All but the last line break make a record; without it, somebody may be just writing it.
        assert [call.prompt for call in inner.calls] == ["first", "second"], cut
        silent = ScriptedTeacher([], name="a")
        assert await answers(cached(silent, path), first, second) == expected, cut


async def test_a_record_that_is_damaged_is_left_out_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "answers.jsonl"
    await answers(cached(echo(), path), (ask(), Sampling()))
    path.write_bytes(path.read_bytes().replace(b'"content"', b'"kontent"'))
    inner = echo()
    await answers(cached(inner, path), (ask(), Sampling()))
    assert len(inner.calls) == 1
    assert "the record at byte 1 cannot be read" in caplog.text


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "answers.jsonl"):
        with pytest.raises(ConfigError, match="as a cache"):
            await answers(cached(echo(), path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
async def test_on_a_full_disk_the_answer_is_given_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    teacher = cached(ScriptedTeacher(["42"], name="a"), "/dev/full")
    teacher._look = lambda: None  # type: ignore[attr-defined]  # that device can be read for ever
    assert await answers(teacher, (ask(), Sampling())) == ["42"]
    assert "the answer is not kept" in caplog.text


WRITER = """
import sys, anyio
from cot_distill.teachers.cached import cached
from cot_distill.testing import ScriptedTeacher, echo_answer
from cot_distill.types import Completion, Message, Sampling

def answer(messages):
    prompt = messages[-1].content
    return echo_answer(prompt)[0] * 300, echo_answer(prompt)[1]

async def main(path, first, count):
    async with cached(ScriptedTeacher(answer, name="a"), path) as teacher:
        for number in range(first, first + count):
            question = f"Question {number}"
            await teacher.complete([Message(role="user", content=question)], Sampling())
            print(number, flush=True)

anyio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


def writer(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kept(path: Path, numbers: range) -> set[int]:
    """The questions that need not be asked again, each with its own answer."""
    inner = ScriptedTeacher(lambda messages: Completion(content="asked", finish_reason="stop"), name="a")

    async def look() -> set[int]:
        found = set()
        async with cached(inner, path) as teacher:  # type: ignore[attr-defined]
            for number in numbers:
                content = (await teacher.complete(ask(f"Question {number}"), Sampling())).content
                if content != "asked":
                    assert content == echo_answer(f"Question {number}")[1]
                    found.add(number)
        return found

    return anyio.run(look)


def test_two_processes_write_at_once_and_no_answer_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    both = [writer(path, 0, 400), writer(path, 200, 400)]
    for one in both:
        one.communicate(timeout=60)
        assert one.returncode == 0
    assert kept(path, range(600)) == set(range(600))


@pytest.mark.slow
def test_what_is_killed_loses_nothing_that_it_had_answered(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    beside = writer(path, 10_000, 1500)
    told: set[int] = set()
    for round_ in range(4):
        victim = writer(path, 1000 * round_, 1000)
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(20 + 30 * round_)]
        victim.send_signal(signal.SIGKILL)
        lines += victim.stdout.read().splitlines()
        victim.stdout.close()
        assert victim.wait() == -signal.SIGKILL
        told |= {int(line) for line in lines}
    beside.communicate(timeout=60)
    assert beside.returncode == 0
    assert len(told) >= 260
    assert kept(path, range(4000)) >= told
    assert kept(path, range(10_000, 11_500)) == set(range(10_000, 11_500))
