"""The server with faults, asked over real HTTP: every fault, the books it keeps, and the separate process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cot_distill.testing
from cot_distill.errors import ConfigError, TraceError
from cot_distill.loopback import Request
from cot_distill.testing import FaultServer, echo_answer
from cot_distill.testing.server import FAULTS, ReasoningField
from cot_distill.trace import join, parse_trace, split
from cot_distill.types import Completion, Trace


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10) as client:
        yield client


def chat(prompt: str = "2 + 2?", **extra: Any) -> dict[str, Any]:
    return {"model": "m-1", "messages": [{"role": "user", "content": prompt}], **extra}


def ask(client: httpx.Client, server: FaultServer, prompt: str = "2 + 2?", **extra: Any) -> httpx.Response:
    return client.post(f"{server.base_url}/chat/completions", json=chat(prompt, **extra))


def message(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["choices"][0]["message"]
    return found


def trace(prompt: str) -> Trace:
    reasoning, answer = echo_answer(prompt)
    return Trace(reasoning=reasoning, answer=answer)


# Answers


def test_an_answer_has_the_shape_of_a_chat_completion(client: httpx.Client) -> None:
    with FaultServer() as server:
        response = ask(client, server)
    body = response.json()
    assert response.status_code == 200
    assert response.headers["x-request-id"] == "req-0"
    assert (body["object"], body["model"], len(body["choices"])) == ("chat.completion", "m-1", 1)
    assert body["choices"][0]["finish_reason"] == "stop"
    reasoning, answer = echo_answer("2 + 2?")
    assert message(response) == {"role": "assistant", "content": answer, "reasoning_content": reasoning}
    usage = body["usage"]
    assert usage["prompt_tokens"] == 2
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_an_answer_of_your_own(client: httpx.Client) -> None:
    with FaultServer(lambda prompt: (f"thinking of {prompt}", prompt.upper())) as server:
        assert message(ask(client, server, "abc"))["content"] == "ABC"


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_answer_that_is_no_trace_is_not_counted(client: httpx.Client, content: str) -> None:
    with FaultServer(lambda _: ("hm", content)) as server:
        assert message(ask(client, server))["content"] == content
        assert server.answered == Counter()


def test_an_error_in_the_answer_surfaces_at_the_end(client: httpx.Client) -> None:
    def answer(prompt: str) -> tuple[str, str]:
        raise KeyError(prompt)

    server = FaultServer(answer).__enter__()
    assert ask(client, server, "who?").status_code == 500
    with pytest.raises(KeyError, match=r"who\?"):
        server.__exit__(None, None, None)


def test_a_conversation_in_parts_is_read(client: httpx.Client) -> None:
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "2 + "}, {"type": "text", "text": "2?"}]},
    ]
    with FaultServer() as server:
        response = client.post(f"{server.base_url}/chat/completions", json={"messages": turns})
        assert server.log[0].prompt == "2 + 2?"
    assert response.json()["model"] == "fault-teacher"
    assert response.json()["usage"]["prompt_tokens"] == 4


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_prompt_gets_its_own_trace(client: httpx.Client, module_server: FaultServer, prompt: str) -> None:
    found = message(ask(client, module_server, prompt))
    assert (found["reasoning_content"], found["content"]) == echo_answer(prompt)
    assert module_server.answered[prompt] >= 1


@pytest.fixture(scope="module")
def module_server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def test_a_lone_surrogate_is_survived(client: httpx.Client) -> None:
    body = b'{"messages": [{"role": "user", "content": "\\ud800"}]}'
    with FaultServer(faults={"500": 1e-9}) as server:
        assert client.post(f"{server.base_url}/chat/completions", content=body).status_code == 200
        assert server.answered == Counter({"\ud800": 1})


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_is_obeyed(client: httpx.Client, name: str) -> None:
    reasoning, answer = echo_answer("2 + 2?")
    with FaultServer() as server:
        whole = ask(client, server).json()["usage"]
        tokens, thought = whole["completion_tokens"], whole["completion_tokens_details"]["reasoning_tokens"]
        enough = ask(client, server, "2 + 2?", **{name: tokens})
        assert (message(enough)["content"], enough.json()["choices"][0]["finish_reason"]) == (answer, "stop")
        for limit in (1, thought, tokens - 1):
            response = ask(client, server, "2 + 2?", **{name: limit})
            choice = response.json()["choices"][0]
            assert choice["finish_reason"] == "length"
            assert reasoning.startswith(choice["message"]["reasoning_content"])
            assert answer.startswith(choice["message"]["content"])
            assert choice["message"]["content"] != answer
            assert response.json()["usage"]["completion_tokens"] == limit
        assert server.answered["2 + 2?"] == 2


# Where the reasoning is


@pytest.mark.parametrize("where", ["reasoning_content", "reasoning", "thinking"])
def test_the_reasoning_is_in_that_field(client: httpx.Client, where: ReasoningField) -> None:
    with FaultServer(reasoning_field=where) as server:
        reasoning, answer = echo_answer("2 + 2?")
        assert message(ask(client, server)) == {"role": "assistant", "content": answer, where: reasoning}


def test_the_reasoning_is_inline(client: httpx.Client) -> None:
    with FaultServer(reasoning_field="inline") as server:
        found = message(ask(client, server))
    assert found == {"role": "assistant", "content": join(trace("2 + 2?"))}


def test_the_opening_tag_was_prefilled(client: httpx.Client) -> None:
    with FaultServer(reasoning_field="prefilled") as server:
        text = message(ask(client, server))["content"]
    assert "<think>" not in text
    assert split(text, prefilled=True) == trace("2 + 2?")


def test_the_reasoning_is_in_the_field_and_inline(client: httpx.Client) -> None:
    with FaultServer(reasoning_field="legacy") as server:
        found = message(ask(client, server))
    completion = Completion(content=found["content"], reasoning=found["reasoning_content"])
    assert "<think>" in completion.content
    assert parse_trace(completion) == trace("2 + 2?")


def test_the_content_is_a_list_of_parts(client: httpx.Client) -> None:
    with FaultServer(reasoning_field="parts") as server:
        thinking, text = message(ask(client, server))["content"]
    reasoning, answer = echo_answer("2 + 2?")
    assert thinking == {"type": "thinking", "thinking": [{"type": "text", "text": reasoning}], "closed": True}
    assert text == {"type": "text", "text": answer}


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("reasoning_content", "truncated"),
        ("inline", "truncated"),
        ("prefilled", "truncated"),
        ("legacy", "truncated"),
    ],
)
def test_cut_in_thought(client: httpx.Client, where: ReasoningField, kind: str) -> None:
    with FaultServer(faults=["length"], reasoning_field=where) as server:
        response = ask(client, server)
        assert server.answered == Counter()
    choice = response.json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert "</think>" not in choice["message"]["content"]
    found = choice["message"].get("reasoning_content") or choice["message"]["content"].removeprefix("<think>\n")
    assert 0 < len(found) < len(echo_answer("2 + 2?")[0])
    assert echo_answer("2 + 2?")[0].startswith(found)


# Faults

STATUS = {"quota": 429, "429-ms": 429, "429-bare": 429}
CODES = {
    "quota": "insufficient_quota",
    "400": "context_length_exceeded",
    "401": "invalid_api_key",
    "404": "model_not_found",
}


@pytest.mark.parametrize("fault", ["429", "429-ms", "429-bare", "quota", "400", "401", "404", "500", "503", "529"])
def test_refusals(client: httpx.Client, fault: str) -> None:
    with FaultServer(faults=[fault], latency=5, retry_after=2.5) as server:
        response = ask(client, server)
        assert server.answered == Counter()
    assert response.elapsed.total_seconds() < 2
    assert response.status_code == STATUS.get(fault) or int(fault)
    error = response.json()["error"]
    assert error["message"]
    if fault in CODES:
        assert error["code"] == CODES[fault]
    hints = {name: value for name, value in response.headers.items() if name.startswith("retry-after")}
    assert hints == {"429": {"retry-after": "2.5"}, "429-ms": {"retry-after-ms": "2500"}}.get(fault, {})


def test_retry_after_is_a_whole_number_by_default(client: httpx.Client) -> None:
    with FaultServer(faults=["429"]) as server:
        assert ask(client, server).headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("fault", "error"),
    [("reset", httpx.ReadError), ("cut", httpx.RemoteProtocolError), ("hang", httpx.ReadTimeout)],
)
def test_connections_that_fail(client: httpx.Client, fault: str, error: type[Exception]) -> None:
    with FaultServer(faults=[fault]) as server:
        with pytest.raises(error), httpx.Client(timeout=0.3 if fault == "hang" else 10) as impatient:
            ask(impatient, server)
        assert ask(client, server).status_code == 200
        assert server.answered == Counter({"2 + 2?": 1})


def test_blank_forever_defeats_a_read_timeout() -> None:
    with FaultServer(faults=["blank-forever"]) as server, httpx.Client(timeout=1.0) as client:
        url, began = f"{server.base_url}/chat/completions", time.monotonic()
        with client.stream("POST", url, json=chat()) as response:
            for piece in response.iter_bytes():
                assert piece.strip() == b""
                if time.monotonic() - began > 1.2:
                    break


@pytest.mark.parametrize("fault", ["malformed", "html", "blank"])
def test_200_that_is_no_json(client: httpx.Client, fault: str) -> None:
    with FaultServer(faults=[fault]) as server:
        response = ask(client, server)
        assert server.answered == Counter()
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert response.headers["content-type"] == ("text/html" if fault == "html" else "application/json")
    assert (response.content.strip() == b"") == (fault == "blank")


def test_200_that_is_no_answer(client: httpx.Client) -> None:
    with FaultServer(faults=["error-200", "empty"]) as server:
        first, second = ask(client, server), ask(client, server)
        assert server.answered == Counter()
    assert (first.status_code, list(first.json())) == (200, ["error"])
    assert (second.status_code, second.json()["choices"]) == (200, [])


@pytest.mark.parametrize(
    ("fault", "finish", "kind"),
    [
        ("no_reasoning", "stop", "no_reasoning"),
        ("no_answer", "stop", "no_answer"),
        ("refused", "content_filter", "refused"),
    ],
)
def test_200_that_is_no_trace(client: httpx.Client, fault: str, finish: str, kind: str) -> None:
    with FaultServer(faults=[fault]) as server:
        choice = ask(client, server).json()["choices"][0]
        assert server.answered == Counter()
    assert choice["finish_reason"] == finish
    completion = Completion(
        content=choice["message"]["content"],
        reasoning=choice["message"].get("reasoning_content", ""),
        finish_reason="refused" if finish == "content_filter" else "stop",
    )
    with pytest.raises(TraceError) as caught:
        parse_trace(completion)
    assert caught.value.kind == kind


def test_odd_yet_whole(client: httpx.Client) -> None:
    with FaultServer(faults=["blank-first", "inline"], latency=0.15) as server:
        blank, inline = ask(client, server), ask(client, server)
        assert server.answered == Counter({"2 + 2?": 2})
    assert blank.content.startswith(b"\n")
    assert message(blank)["content"] == trace("2 + 2?").answer
    assert split(message(inline)["content"]) == trace("2 + 2?")


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"blank-forever"}))
def test_no_fault_is_without_effect(fault: str) -> None:
    clean = {"role": "assistant", "content": echo_answer("2 + 2?")[1], "reasoning_content": echo_answer("2 + 2?")[0]}
    found: object = None
    with FaultServer(faults=[fault]) as server, httpx.Client(timeout=0.3 if fault == "hang" else 10) as client:
        with suppress(httpx.TransportError, ValueError, LookupError):
            found = message(ask(client, server))
        assert (found == clean) == (fault == "blank-first")
        assert server.answered.total() == (fault in ("blank-first", "inline"))


# Which request meets which fault


def statuses(client: httpx.Client, server: FaultServer, prompts: list[str]) -> dict[str, int]:
    return {prompt: ask(client, server, prompt).status_code for prompt in prompts}


def test_a_script_goes_by_the_order_of_requests(client: httpx.Client) -> None:
    with FaultServer(faults=["500", None, "503"]) as server:
        client.get(f"{server.base_url}/models")  # does not use the script up
        assert [ask(client, server).status_code for _ in range(5)] == [500, 200, 503, 200, 200]
        assert [logged.fault for logged in server.log] == ["500", None, "503", None, None]


def test_shares_depend_on_seed_and_prompt_and_not_on_the_order(client: httpx.Client) -> None:
    prompts = [f"question {number}" for number in range(200)]
    shares = {"500": 0.2, "503": 0.1}
    with FaultServer(faults=shares, seed=3) as server:
        first = statuses(client, server, prompts)
    with FaultServer(faults=shares, seed=3) as server:
        assert statuses(client, server, prompts[::-1]) == first
        retried = statuses(client, server, [prompt for prompt in prompts if first[prompt] != 200])
    with FaultServer(faults=shares, seed=4) as server:
        assert statuses(client, server, prompts) != first
    counts = Counter(first.values())
    assert 25 <= counts[500] <= 55
    assert 10 <= counts[503] <= 32
    assert Counter(retried.values())[200] >= len(retried) / 2  # a retry is drawn anew


def test_a_share_of_one_is_every_request(client: httpx.Client) -> None:
    with FaultServer(faults={"401": 1.0}) as server:
        assert {ask(client, server, str(number)).status_code for number in range(30)} == {401}


def test_a_function_of_the_request_decides(client: httpx.Client) -> None:
    def choose(request: Request) -> str | None:
        assert server.answered.total() >= 0  # the books may be read from here
        return "400" if b"long" in request.body else None

    with FaultServer(faults=choose) as server:
        assert statuses(client, server, ["short", "long"]) == {"short": 200, "long": 400}


def test_a_function_that_names_no_fault_surfaces(client: httpx.Client) -> None:
    server = FaultServer(faults=lambda _: "flood").__enter__()
    assert ask(client, server).status_code == 500
    with pytest.raises(ConfigError, match="no fault is called 'flood'; known are 429, 429-ms"):
        server.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"418": 0.1}, "no fault is called '418'; known are 429"),
        (["429", "teapot"], "no fault is called 'teapot'"),
        ("429", "faults must be shares .* or a script .*, not '429'"),
        (7, "faults must be shares"),
        ({"429": 0.7, "500": 0.4}, "at most 1"),
        ({"429": -0.1}, "must be 0 or more"),
    ],
)
def test_impossible_faults_are_refused(faults: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        FaultServer(faults=faults)


def test_an_unknown_reasoning_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="no reasoning_field is called 'thoughts'; known are reasoning_content"):
        FaultServer(reasoning_field="thoughts")  # type: ignore[arg-type]


# Other requests


def test_only_chat_and_models_are_there(client: httpx.Client) -> None:
    with FaultServer() as server:
        root = server.base_url.removesuffix("/v1")
        assert client.get(f"{root}/v1/models").json()["data"][0]["id"] == "fault-teacher"
        assert client.post(f"{root}/any/where/chat/completions?x=1", json=chat()).status_code == 200
        for method, path in [("GET", "/v1/chat/completions"), ("POST", "/v1/models"), ("POST", "/v1/completions")]:
            response = client.request(method, root + path)
            assert (response.status_code, response.json()["error"]["message"]) == (
                404,
                f"Nothing at {method} {path}.",
            )
        assert server.requests == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"messages": []}', b'{"messages": [{"role": "user"}]}', b"7"]
)
def test_what_is_no_chat_request_is_a_400(client: httpx.Client, body: bytes) -> None:
    with FaultServer() as server:
        response = client.post(f"{server.base_url}/chat/completions", content=body)
        assert (response.status_code, server.requests) == (400, 0)
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_stream_is_a_list_of_events_that_say_the_same(client: httpx.Client) -> None:
    with FaultServer() as server:
        told = ask(client, server, stream=True, stream_options={"include_usage": True})
        silent = ask(client, server, stream=True)
        whole = ask(client, server, stream=False)
        assert server.answered == Counter({"2 + 2?": 3})
    assert told.headers["content-type"] == "text/event-stream"
    *events, done, rest = told.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole.json()["usage"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    for name in ("reasoning_content", "content"):
        assert "".join(delta.get(name, "") for delta in deltas) == message(whole)[name]
    assert silent.text.count("data: ") == told.text.count("data: ") - 1


# The books


def test_answered_is_exact_as_soon_as_a_client_has_its_answer(client: httpx.Client) -> None:
    with FaultServer() as server:
        for number in range(1, 200):
            ask(client, server)
            assert server.answered["2 + 2?"] == number


def test_answered_leaves_out_what_nobody_waited_for() -> None:
    with FaultServer(latency=0.5) as server:
        with httpx.Client(timeout=0.1) as client, pytest.raises(httpx.ReadTimeout):
            ask(client, server)
        time.sleep(0.7)
        assert (server.requests, server.answered) == (1, Counter())


def test_the_log_holds_what_was_sent_and_shows_no_key(client: httpx.Client) -> None:
    with FaultServer() as server:
        headers = {"Authorization": "Bearer sk-very-secret"}
        client.post(f"{server.base_url}/chat/completions", json=chat(temperature=0.5), headers=headers)
        ask(client, server)
        first, second = server.log
    assert first.body["temperature"] == 0.5
    assert first.headers["authorization"] == "Bearer sk-very-secret"
    assert "secret" not in repr(first)
    assert first.time <= second.time <= time.monotonic()


def test_many_threads_are_counted_right(client: httpx.Client) -> None:
    with FaultServer(faults={"429": 0.3, "reset": 0.05}, seed=1) as server:

        def until_answered(number: int) -> None:
            while True:
                try:
                    if ask(client, server, f"question {number % 50}").status_code == 200:
                        return
                except httpx.TransportError:
                    pass

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(until_answered, range(100)))
        assert server.answered == Counter({f"question {number}": 2 for number in range(50)})
        assert server.requests > 100


@pytest.mark.anyio
async def test_async_clients_get_their_own_traces() -> None:
    found: dict[str, tuple[str, str]] = {}
    with FaultServer(latency=0.1) as server:
        began = time.monotonic()
        async with httpx.AsyncClient(timeout=30) as client, anyio.create_task_group() as group:

            async def one(prompt: str) -> None:
                response = await client.post(f"{server.base_url}/chat/completions", json=chat(prompt))
                found[prompt] = (message(response)["reasoning_content"], message(response)["content"])

            for number in range(40):
                group.start_soon(one, f"question {number}")
        assert time.monotonic() - began < 3  # one after the other they would take 4 s
        assert server.answered == dict.fromkeys(found, 1)
    assert found == {prompt: echo_answer(prompt) for prompt in (f"question {number}" for number in range(40))}


# A process of its own


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-W", "error", "-m", "cot_distill.testing.server", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server, server.stdout.readline().strip()
        finally:
            server.kill()


def billed(bill: Path) -> Counter[str]:
    return Counter(json.loads(line)["prompt"] for line in bill.read_text().splitlines())


def test_a_process_prints_its_url_and_bills_whole_answers(client: httpx.Client, tmp_path: Path) -> None:
    bill = tmp_path / "bill.jsonl"
    bill.write_text('{"number": 0, "prompt": "from before"}\n')
    options = (
        "--faults",
        '["429", "length", null]',
        "--retry-after",
        "0.5",
        "--latency",
        "0.05",
        "--bill",
        str(bill),
    )
    with process("--port", "0", *options) as (server, url):
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")
        replies = [client.post(f"{url}/chat/completions", json=chat(prompt)) for prompt in "abc\u2028"]
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=10)
    assert [reply.status_code for reply in replies] == [429, 200, 200, 200]
    assert replies[0].headers["retry-after"] == "0.5"
    assert (server.returncode, out, err) == (0, "", "")
    assert billed(bill) == Counter({"from before": 1, "c": 1, "\u2028": 1})


def test_a_process_puts_the_reasoning_where_it_is_told(client: httpx.Client) -> None:
    with process("--reasoning-field", "inline") as (_, url):
        reply = client.post(f"{url}/chat/completions", json=chat())
    assert split(message(reply)["content"]) == trace("2 + 2?")


def test_a_bill_of_many_threads_has_whole_lines(client: httpx.Client, tmp_path: Path) -> None:
    bill = tmp_path / "bill.jsonl"
    with FaultServer(bill=bill) as server:

        def some(worker: int) -> None:
            for number in range(20):
                ask(client, server, f"{worker} {number} " + "x" * 5000)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(some, range(8)))
    assert billed(bill) == server.answered
    assert server.answered.total() == 160


def test_a_bill_that_cannot_be_written_surfaces(client: httpx.Client, tmp_path: Path) -> None:
    server = FaultServer(bill=tmp_path / "missing" / "bill.jsonl").__enter__()
    assert ask(client, server).status_code == 200
    with pytest.raises(FileNotFoundError):
        server.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--faults", '{"418": 1}'], "no fault is called '418'"),
        (["--faults", "{429: 0.1}"], "argument --faults: this is not JSON: '{429: 0.1}' (Expecting property name"),
        (["--faults", '{"429": "often"}'], "the shares of faults must be numbers"),
        (["--faults", "7"], "faults must be shares"),
        (["--reasoning-field", "elsewhere"], "argument --reasoning-field: invalid choice: 'elsewhere'"),
    ],
)
def test_bad_options_end_the_process_with_a_sentence(options: list[str], reason: str) -> None:
    with process(*options) as (server, line):
        _, err = server.communicate(timeout=10)
    assert (server.returncode, line) == (2, "")
    assert reason in err
    assert "Traceback" not in err


# The package


def test_the_package_names_what_it_exports() -> None:
    names = cot_distill.testing.__all__
    assert names == sorted(names)
    assert all(getattr(cot_distill.testing, name) is not None for name in names)
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        cot_distill.testing.Nonsense  # noqa: B018
