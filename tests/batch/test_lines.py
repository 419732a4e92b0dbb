"""Lines of results, of both families: whatever comes, reading it never raises, and never gives a line to another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.batch import anthropic_batches, openai_files
from cot_distill.batch.facts import FACTS
from cot_distill.batch.lines import Line, address_in, custom_id, loads
from cot_distill.batch.wire import wire_of
from cot_distill.errors import AuthError, RateLimitError, RequestError, TeacherError, UnavailableError
from cot_distill.teachers import PRESETS, open_teacher

READERS = (openai_files.read_line, anthropic_batches.read_line)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["custom_id", "response", "error", "status_code", "body", "code", "result", "type"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(address=st.binary(min_size=20, max_size=20))
def test_a_custom_id_holds_the_address(address: bytes) -> None:
    name = custom_id(address, "0123456789ab")
    assert address_in(name) == address
    assert len(name) <= 64
    assert name.replace("-", "").isalnum()
    assert name.isascii()


@given(value=json_values)
def test_reading_never_raises(value: Any) -> None:
    wire = wire_of(open_teacher("openai:m", api_key="k"))
    for read in READERS:
        line = read(json.dumps(value).encode())
        if line is None:
            continue
        assert isinstance(value, dict)
        assert line.id == value["custom_id"]
        assert 100 <= line.status < 600
        try:
            wire.decode(line)
        except TeacherError:
            continue
        assert line.payload["choices"]


@given(body=st.binary(max_size=60))
def test_what_is_no_json_is_no_line(body: bytes) -> None:
    for read in READERS:
        found = read(body)
        assert found is None or isinstance(found, Line)


@given(cut=st.integers(0, 200))
def test_a_torn_line_is_no_line(cut: int) -> None:
    whole = json.dumps({"custom_id": "a", "response": {"status_code": 200, "body": {"choices": []}}, "error": None})
    assert (loads(whole[:cut].encode()) is None) == (cut < len(whole))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"response": {"status_code": 200, "body": {"a": 1}}, "error": None}, ({"a": 1}, 200, False)),
        ({"response": {"status_code": 429, "body": {"error": {}}}}, ({"error": {}}, 429, False)),
        ({"response": None, "error": {"code": "batch_expired", "message": "m"}}, (None, 200, True)),
        ({"response": None, "error": {"code": "batch_cancelled", "message": "m"}}, (None, 200, True)),
        ({"response": None, "error": {"code": "x", "message": "m"}}, ({"error": {"code": "x", "message": "m"}}, 200)),
        (
            {"response": {"status_code": 500, "body": ""}, "error": {"message": "m"}},
            ({"error": {"message": "m"}}, 500),
        ),
        ({"error": "out of memory"}, ({"error": {"message": "out of memory"}}, 200)),
        ({"response": {"status_code": None, "body": {}}}, ({}, 200)),
        ({}, (None, 200)),
    ],
)
def test_lines_of_files(line: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert openai_files.read_line(json.dumps({"custom_id": "a", **line}).encode()) == Line("a", *expected)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("invalid_request_error", RequestError),
        ("authentication_error", AuthError),
        ("rate_limit_error", RateLimitError),
        ("overloaded_error", UnavailableError),
        ("request_too_large", RequestError),
        ("something_new", UnavailableError),
    ],
)
def test_an_error_of_anthropic_is_the_one_that_it_would_be_at_once(kind: str, error: type[TeacherError]) -> None:
    wire = wire_of(open_teacher("anthropic:m", api_key="k"))
    result = {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": "no"}}}
    line = anthropic_batches.read_line(json.dumps({"custom_id": "a", "result": result}).encode())
    assert line is not None
    with pytest.raises(error):
        wire.decode(line)


@pytest.mark.parametrize(
    ("job", "state", "results"),
    [
        ({"status": "validating"}, "under way", ()),
        ({"status": "finalizing"}, "under way", ()),
        ({"status": "cancelling"}, "under way", ()),
        ({"status": "a new word"}, "under way", ()),
        ({"status": "completed", "output_file_id": "o", "error_file_id": None}, "completed", ("o",)),
        ({"status": "expired", "output_file_id": "o", "error_file_id": "e"}, "expired", ("o", "e")),
        ({"status": "CANCELLED", "output_file_id": "o"}, "cancelled", ("o",)),
        ({"status": "SUCCESS", "output_file": "o", "error_file": "e"}, "completed", ("o", "e")),
        ({"status": "TIMEOUT_EXCEEDED", "output_file": "o"}, "expired", ("o",)),
        ({"status": "failed", "errors": {"data": [{"message": "bad line"}]}}, "failed", ()),
        ({"status": "FAILED", "error": "bad model"}, "failed", ()),
    ],
)
def test_states_of_jobs(job: dict[str, Any], state: str, results: tuple[str, ...]) -> None:
    said = openai_files.read_job({"id": "b", **job})
    assert said is not None
    assert (said.state, said.results) == (state, results)
    assert (said.reason != "") == (state == "failed")
    assert openai_files.read_job({"job": {"id": "b", **job}}) == said


def test_the_table_names_presets_that_exist() -> None:
    assert set(FACTS) <= set(PRESETS)
    for name, facts in FACTS.items():
        teacher = open_teacher(f"{name}:m", api_key="k", base_url="http://127.0.0.1:1/v1")
        wire = wire_of(teacher)
        assert wire.facts is facts
        assert "k" not in repr(wire).replace(name, "")


def test_a_line_asks_what_asking_at_once_would_but_for_the_stream() -> None:
    body = {"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    line = json.loads(openai_files.encode_line("a", body, path="/chat/completions", facts=FACTS["azure"]))
    assert line == {
        "custom_id": "a",
        "method": "POST",
        "url": "/chat/completions",
        "body": {"model": "m", "messages": []},
    }
    assert "model" not in json.loads(openai_files.encode_line("a", body, path="/x", facts=FACTS["mistral"]))["body"]
