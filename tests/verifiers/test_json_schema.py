"""JSON of the shape that was asked for, the place that does not fit, and no document fetched from anywhere."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import json_schema


class City(BaseModel):
    name: str
    people: int


SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "array", "items": {"type": "integer"}}}}


def ask(verifier: Any, answer: str, **metadata: object) -> Verdict:
    inner = getattr(verifier, "verifier", verifier)  # what runs inside, without a process for each case
    verdict = inner(Task(instruction="Q?", metadata=metadata), Trace(reasoning='{"n": [1]}', answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("json_schema", "quality")
    return verdict


@pytest.mark.parametrize(
    ("answer", "passed", "reason"),
    [
        ('{"n": [4]}', True, "fits"),
        ('Here:\n```json\n{"n": [4]}\n```\nDone.', True, "fits"),
        ('```json\n{"n": "no"}\n```\n```json\n{"n": [4]}\n```', True, "fits"),
        ('```\n{"n": []}\n```', True, "fits"),
        ('{"n": ["```json"]}', False, "at $.n[0]: '```json' is not of type 'integer'"),
        ('{"n": [1, 2, "3"]}', False, "at $.n[2]: '3' is not of type 'integer'"),
        ("{}", False, "at $: 'n' is a required property"),
        ("n = 4", False, "the answer is no JSON"),
        ('{"n": [NaN]}', False, "NaN is no JSON"),
        ("[" * 100_000, False, "nested too deeply"),
        ('{"n": [' + "9" * 5000 + "]}", False, "the answer is no JSON"),
    ],
)
def test_json_by_a_schema(answer: str, passed: bool, reason: str) -> None:
    pytest.importorskip("jsonschema")
    for verdict in (ask(json_schema(SCHEMA), answer), ask(json_schema(), answer, schema=SCHEMA)):
        assert verdict.passed is passed
        assert reason in (verdict.reason or "")


def test_json_by_a_model_needs_no_package() -> None:
    verify = json_schema(City)
    assert ask(verify, '{"name": "Oslo", "people": 4}').passed is True
    verdict = ask(verify, '{"name": "Oslo", "people": "many"}')
    assert verdict.passed is False
    assert (verdict.reason or "").startswith("at $.people: Input should be a valid integer")
    code = """
import sys
sys.modules["jsonschema"] = None
from pydantic import BaseModel
from cot_distill import verifiers
class Any_(BaseModel): ...
verifiers.json_schema(Any_)
try:
    verifiers.json_schema({})
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'cot_distill[schema]'" in done.stdout, done.stderr


@pytest.mark.parametrize("schema", [None, 5, {"type": "no such type"}, "{", {"$ref": "http://127.0.0.1:9/schema"}])
def test_a_task_without_a_schema_that_can_be_used_is_not_judged(schema: object) -> None:
    pytest.importorskip("jsonschema")
    verdict = ask(json_schema(), "{}", schema=schema)
    assert (verdict.passed, verdict.applies) == (None, False)


def test_a_schema_that_is_none_is_refused_at_once() -> None:
    pytest.importorskip("jsonschema")
    with pytest.raises(ConfigError, match=r"not a JSON schema, at \$\.type"):
        json_schema({"type": "no such type"})
    with pytest.raises(ConfigError, match="pydantic model"):
        json_schema(int)  # type: ignore[arg-type]


def test_documents_elsewhere_are_not_fetched() -> None:
    pytest.importorskip("jsonschema")
    with pytest.raises(ConfigError, match="nothing is fetched"):
        ask(json_schema({"$ref": "http://127.0.0.1:9/schema"}), "{}")


def test_it_runs_in_a_process_and_its_schema_is_its_identity() -> None:
    pytest.importorskip("jsonschema")
    verify: Any = json_schema(SCHEMA)
    with verify.pool:
        verdict = anyio.run(partial(verify, Task(instruction="Q?"), Trace(reasoning="r", answer='{"n": []}')))
    assert verdict.passed is True
    assert identity_of(verify) == identity_of(json_schema(dict(SCHEMA)))
    assert len({identity_of(json_schema(schema)) for schema in (SCHEMA, {}, None, City)}) == 4
