"""In a process that can be killed: what hangs, what dies, and what cannot be sent there."""

from __future__ import annotations

import pickle
import re
import time

import pytest
from pydantic import BaseModel

from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import contains_code, exact, isolated, json_schema, regex

pytestmark = pytest.mark.anyio

TASK = Task(instruction="Q?", answer="4")


async def ask(verifier: Verifier, answer: str, task: Task = TASK, reasoning: str = "Hm.") -> Verdict:
    found = verifier(task, Trace(reasoning=reasoning, answer=answer))
    return found if isinstance(found, Verdict) else await found


@pytest.fixture(scope="module")
def words() -> Verifier:
    return isolated(exact(), workers=1)


async def test_the_verdict_is_that_of_the_verifier_inside(words: Verifier) -> None:
    assert (await ask(words, "Answer: 4")) == exact()(TASK, Trace(reasoning="Hm.", answer="Answer: 4"))
    assert (await ask(words, "5")).passed is False


async def test_what_takes_too_long_is_killed_and_the_next_is_judged() -> None:
    evil = regex(r"(a+)+b", timeout=0.5)
    began = time.monotonic()
    verdict = await ask(evil, "a" * 60)
    assert verdict.passed is None
    assert "0.5 s" in str(verdict.reason)
    assert time.monotonic() - began < 30
    assert (await ask(evil, "aab")).passed is True


async def test_a_lambda_cannot_be_sent_and_the_error_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="module"):
        await ask(isolated(lambda task, trace: Verdict(by="l", passed=True)), "4")


def test_it_is_pickled_without_its_processes_and_known_by_what_is_inside() -> None:
    one, same, other = isolated(exact()), isolated(exact()), isolated(exact(), timeout=1)
    assert identity_of(one) == identity_of(same) == identity_of(pickle.loads(pickle.dumps(one)))
    assert identity_of(one) != identity_of(other)
    assert one.__name__ == "exact"  # type: ignore[attr-defined]


# regex


@pytest.mark.parametrize(
    ("pattern", "settings", "answer", "passed"),
    [
        (r"\d", {}, "the 4th", True),
        (r"\d", {}, "none", False),
        (r"[A-E]", {"full": True}, " B\n", True),
        (r"[A-E]", {"full": True}, "B.", False),
        (r"^#### (?P<answer>.+)$", {"flags": re.MULTILINE}, "so\n#### 4", True),
        (r"^#### (?P<answer>.+)$", {"flags": re.MULTILINE}, "#### 4\n#### 5", False),
        (r"^#### (?P<answer>.+)$", {"flags": re.MULTILINE}, "4", False),
    ],
)
async def test_a_pattern(pattern: str, settings: dict[str, bool], answer: str, passed: bool) -> None:
    verdict = await ask(regex(pattern, timeout=20, **settings), answer, reasoning="#### 4")  # type: ignore[arg-type]
    assert verdict.passed is passed
    assert verdict.about == ("answer" if "answer" in pattern else "quality")


def test_a_pattern_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="no regular expression"):
        regex("(")


# json_schema


class City(BaseModel):
    name: str
    people: int


SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1}}}


@pytest.mark.parametrize(
    ("answer", "passed", "place"),
    [
        ('{"n": 4}', True, ""),
        ('Here:\n```json\n{"n": 4}\n```\nDone.', True, ""),
        ('{"n": 0}', False, "$.n"),
        ("{}", False, "'n'"),
        ("n = 4", False, "JSON"),
    ],
)
async def test_json_by_a_schema(answer: str, passed: bool, place: str) -> None:
    pytest.importorskip("jsonschema")
    for verifier, task in (
        (json_schema(SCHEMA), TASK),
        (json_schema(), Task(instruction="Q?", metadata={"schema": SCHEMA})),
    ):
        verdict = await ask(verifier, answer, task)
        assert (verdict.passed, verdict.about) == (passed, "quality")
        assert place in str(verdict.reason)


async def test_json_by_a_model() -> None:
    assert (await ask(json_schema(City), '{"name": "Oslo", "people": 4}')).passed is True
    verdict = await ask(json_schema(City), '{"name": "Oslo", "people": "many"}')
    assert verdict.passed is False
    assert "$.people" in str(verdict.reason)


async def test_without_a_schema_it_does_not_apply() -> None:
    pytest.importorskip("jsonschema")
    assert (await ask(json_schema(), "{}")).applies is False


# contains_code


@pytest.mark.parametrize(
    ("language", "answer", "passed"),
    [
        ("python", "```python\nprint(1)\n```", True),
        ("python", "```\nprint(1)\n```", True),
        ("python", "```py\nprint(1\n```", False),
        ("python", "print(1)", False),
        ("python", "```python\n\n```", False),
        ("json", '```json\n{"a": 1}\n```', True),
        ("json", '```json\n{"a" 1}\n```', False),
        ("rust", "```rust\nfn main() {}\n```", True),
        ("rust", "```python\nprint(1)\n```", False),
    ],
)
async def test_code_that_must_be_there_and_parse(language: str, answer: str, passed: bool) -> None:
    verdict = await ask(contains_code(language), answer, reasoning="```python\nprint(1)\n```")
    assert (verdict.passed, verdict.about) == (passed, "quality"), verdict.reason
