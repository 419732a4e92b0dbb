"""Streams: whatever a provider streams, wherever it is cut, becomes the completion that would have come whole."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from cot_distill.errors import QuotaError, RateLimitError, RequestError, TeacherError, UnavailableError
from cot_distill.teachers import PRESETS
from cot_distill.teachers.faults import teacher_error
from cot_distill.teachers.streaming import AnswerUnderWay
from cot_distill.types import Completion

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

THOUGHT, ANSWER = "2 and 2 make\u2028 4 – 😀\n", "It is **4**, \u0085 or „vier“."


def under_way(provider: str, **options: Any) -> AnswerUnderWay:
    preset = PRESETS[provider]
    assert preset.format.streaming is not None
    return AnswerUnderWay(preset, preset.format.streaming, **options)


def assembled(provider: str, pieces: Iterable[bytes], **options: Any) -> Any:
    answer = under_way(provider, **options)
    for piece in pieces:
        answer.feed(piece)
    body = answer.body()
    try:
        return from_json(body)
    except ValueError:
        raise teacher_error(200, {}, body, provider=provider) from None


def streamed(provider: str, *pieces: bytes, **options: Any) -> Completion:
    preset = PRESETS[provider]
    return preset.format.decode(assembled(provider, pieces, **options), preset=preset)


def whole(provider: str, payload: Any) -> Completion:
    return PRESETS[provider].format.decode(copy.deepcopy(payload), preset=PRESETS[provider])


def sse(*events: Any, end: str = "\n", done: bool = False, named: bool = False) -> bytes:
    """Events as a server writes them."""
    text = ""
    for event in events:
        name = f"event: {event['type']}{end}" if named else ""
        text += f"{name}data: {json.dumps(event, ensure_ascii=False)}{end}{end}"
    return (text + (f"data: [DONE]{end}{end}" if done else "")).encode()


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


# --- chat completions ---

USAGE = {"prompt_tokens": 7, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}}


def chunk(delta: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish, **more}
    return {"id": "c-1", "object": "chat.completion.chunk", "model": "big-0711", "choices": [choice]}


def counts(usage: Any = None) -> dict[str, Any]:
    return {**chunk(), "choices": [], "usage": usage or USAGE}


def completion(message: Any, finish: Any = "stop", usage: Any = USAGE, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **more}
    return {"id": "c-1", "object": "chat.completion", "model": "big-0711", "choices": [choice], "usage": usage}


FIRST, SECOND = halves(THOUGHT)
THIRD, FOURTH = halves(ANSWER)
ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")

DEEPSEEK = sse(
    chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
    chunk({"content": None, "reasoning_content": FIRST}),
    chunk({"content": None, "reasoning_content": SECOND}),
    chunk({"content": THIRD, "reasoning_content": None}),
    chunk({"content": FOURTH, "reasoning_content": None}),
    {**chunk({"content": "", "reasoning_content": None}, "stop"), "usage": USAGE},
    done=True,
)
VLLM = sse(
    ROLE, chunk({"reasoning": FIRST}), chunk({"reasoning": SECOND}), chunk({"content": ANSWER}), STOP, counts()
)


def thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


MISTRAL = sse(  # a list, a text, a list, within one answer
    chunk({"role": "assistant", "content": [thinking(FIRST)]}),
    chunk({"content": [{**thinking(SECOND), "closed": True}]}),
    chunk({"content": THIRD}),
    {**chunk({"content": [{"type": "text", "text": FOURTH}]}, "stop"), "usage": USAGE},
    done=True,
)


def detail(text: str, kind: str = "reasoning.text", **more: Any) -> list[dict[str, Any]]:
    return [{"type": kind, "summary" if kind.endswith("summary") else "text": text, "index": 0, **more}]


OPENROUTER = b": OPENROUTER PROCESSING\n\n" + sse(
    chunk({"role": "assistant", "content": "", "reasoning": FIRST, "reasoning_details": detail(FIRST, format="v1")}),
    chunk({"content": "", "reasoning": SECOND, "reasoning_details": detail(SECOND, format="v1")}),
    chunk({"reasoning": None, "reasoning_details": [{"type": "reasoning.text", "signature": "x", "index": 0}]}),
    chunk({"content": ANSWER}),
    chunk({"content": ""}, "stop", native_finish_reason="completed"),
    counts(),
    done=True,
)
AZURE = sse(
    {"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    ROLE,
    chunk({"content": THIRD}, logprobs={"content": [{"token": "a", "logprob": -1.0}], "refusal": None}),
    chunk({"content": FOURTH}, logprobs={"content": [{"token": "b", "logprob": -2.0}], "refusal": None}),
    STOP,
    counts(),
    done=True,
)
CHAT = {
    "deepseek": (DEEPSEEK, completion({"reasoning_content": THOUGHT, "content": ANSWER})),
    "vllm": (VLLM, completion({"reasoning": THOUGHT, "content": ANSWER})),  # and no [DONE]
    "mistral": (
        MISTRAL,
        completion({"content": [{**thinking(THOUGHT), "closed": True}, {"type": "text", "text": ANSWER}]}),
    ),
    "openrouter": (
        OPENROUTER,
        completion(
            {
                "content": ANSWER,
                "reasoning": THOUGHT,
                "reasoning_details": detail(THOUGHT, format="v1", signature="x"),
            },
            native_finish_reason="completed",
        ),
    ),
    "azure": (
        AZURE,
        {
            **completion(
                {"content": ANSWER},
                logprobs={
                    "content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}],
                    "refusal": None,
                },
            ),
            "prompt_filter_results": [{"prompt_index": 0}],
        },
    ),
}

# --- the others ---


def block(number: int, start: Any, *deltas: Any) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": number, "content_block": start},
        *({"type": "content_block_delta", "index": number, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": number},
    ]


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-5"}
ANTHROPIC = [
    {
        "type": "message_start",
        "message": {
            **MESSAGE,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "cache_read_input_tokens": 3, "output_tokens": 1},
        },
    },
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": FIRST},
        {"type": "thinking_delta", "thinking": SECOND},
        {"type": "signature_delta", "signature": "EqQB"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "EmwK"}),
    *block(
        2, {"type": "text", "text": ""}, {"type": "text_delta", "text": THIRD}, {"type": "text_delta", "text": FOURTH}
    ),
    *block(
        3,
        {"type": "tool_use", "id": "t", "name": "n", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"a"'},
        {"type": "input_json_delta", "partial_json": ": 1}"},
    ),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 90, "output_tokens_details": {"thinking_tokens": 80}},
    },
    {"type": "message_stop"},
]
ANTHROPIC_WHOLE = {
    **MESSAGE,
    "content": [
        {"type": "thinking", "thinking": THOUGHT, "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "text", "text": ANSWER},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 12,
        "cache_read_input_tokens": 3,
        "output_tokens": 90,
        "output_tokens_details": {"thinking_tokens": 80},
    },
}


def generated(*parts: Any, **more: Any) -> dict[str, Any]:
    content = {"role": "model", **({"parts": list(parts)} if parts else {})}
    return {"candidates": [{"content": content, "index": 0, **more}], "modelVersion": "g-3", "responseId": "r-1"}


METADATA = {"promptTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 6, "totalTokenCount": 15}
LIKELY = [{"token": "It", "logProbability": -0.1}, {"token": " is", "logProbability": -0.2}]
GEMINI = [
    {
        **generated({"text": FIRST, "thought": True}),
        "usageMetadata": {"promptTokenCount": 4, "thoughtsTokenCount": 6},
    },
    generated({"text": SECOND, "thought": True}),
    generated({"text": THIRD}, logprobsResult={"chosenCandidates": LIKELY[:1]}),
    generated({"text": FOURTH}, logprobsResult={"chosenCandidates": LIKELY[1:]}),
    {
        **generated({"text": "", "thoughtSignature": "Ck"}, finishReason="STOP"),
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 5, "totalTokenCount": 15},
    },
]
GEMINI_WHOLE = {
    **generated(
        {"text": THOUGHT, "thought": True},
        {"text": ANSWER, "thoughtSignature": "Ck"},
        finishReason="STOP",
        logprobsResult={"chosenCandidates": LIKELY},
    ),
    "usageMetadata": METADATA,
}

THOUGHTS = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": FIRST}, {"type": "summary_text", "text": SECOND}],
}
SPOKEN = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": ANSWER, "annotations": []}]}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "m-5",
    "status": "completed",
    "incomplete_details": None,
    "error": None,
    "output": [THOUGHTS, SPOKEN],
    "usage": {"input_tokens": 3, "output_tokens": 8, "output_tokens_details": {"reasoning_tokens": 5}},
}
CREATED = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}


def spoken(kind: str, text: str) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "delta": text, "output_index": 0}


RESPONSES = [
    {"type": "response.created", "response": CREATED},
    {"type": "response.in_progress", "response": CREATED},
    {"type": "response.output_item.added", "output_index": 0, "item": {**THOUGHTS, "summary": []}},
    spoken("reasoning_summary_text", FIRST),
    spoken("reasoning_summary_text", SECOND),
    {"type": "response.output_item.done", "output_index": 0, "item": THOUGHTS},
    spoken("output_text", THIRD),
    spoken("output_text", FOURTH),
    {"type": "response.output_item.done", "output_index": 1, "item": SPOKEN},
    {"type": "response.completed", "response": RESPONSE},
]


def line(thinking: str = "", content: str = "", **more: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **({"thinking": thinking} if thinking else {})}
    return {"model": "qwq", "created_at": "2026-11-02", "message": said, "done": False, **more}


ENDED = {"done": True, "done_reason": "stop", "total_duration": 9, "prompt_eval_count": 3, "eval_count": 8}
OLLAMA = [
    line(FIRST),
    line(SECOND),
    line(content=THIRD, logprobs=[{"token": "a"}]),
    line(content=FOURTH, logprobs=[{"token": "b"}]),
    {**line(), **ENDED},
]
OLLAMA_WHOLE = {**line(THOUGHT, ANSWER), **ENDED, "logprobs": [{"token": "a"}, {"token": "b"}]}

STREAMS: dict[str, tuple[bytes, Any]] = {
    **CHAT,
    "anthropic": (sse(*ANTHROPIC, named=True), ANTHROPIC_WHOLE),
    "gemini": (sse(*GEMINI, end="\r\n"), GEMINI_WHOLE),
    "openai-responses": (sse(*RESPONSES, named=True), RESPONSE),
    "ollama": ("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in OLLAMA).encode(), OLLAMA_WHOLE),
}


def test_every_format_that_streams_is_here() -> None:
    formats = {preset.format.path for preset in PRESETS.values() if preset.format.streaming is not None}
    assert {PRESETS[name].format.path for name in STREAMS} == formats
    assert {preset.format.path for preset in PRESETS.values()} - formats == {PRESETS["bedrock"].format.path}


@pytest.mark.parametrize("provider", STREAMS)
def test_cut_at_every_byte_a_stream_is_the_whole_answer(provider: str) -> None:
    stream, payload = STREAMS[provider]
    expected = whole(provider, payload)
    assert expected.content == ANSWER
    assert expected.reasoning.replace("\n\n", "") == ("" if provider == "azure" else THOUGHT)
    assert expected.usage.total
    for cut in range(len(stream) + 1):
        assert streamed(provider, stream[:cut], stream[cut:]) == expected
    assert streamed(provider, *(stream[place : place + 1] for place in range(len(stream)))) == expected


@pytest.mark.parametrize("provider", STREAMS)
def test_what_is_assembled_has_the_shape_of_a_whole_answer(provider: str) -> None:
    """It is kept as the raw answer, to be read again."""
    stream, payload = STREAMS[provider]
    assert assembled(provider, [stream]) == payload


@pytest.mark.parametrize("provider", STREAMS)
def test_cut_off_anywhere_a_stream_is_no_answer_before_it_says_why_it_ended(provider: str) -> None:
    stream, payload = STREAMS[provider]
    expected = whole(provider, payload)
    reason = {"anthropic": b'"message_delta"', "gemini": b"finishReason", "ollama": b"done_reason"}
    ends = (
        stream.rindex(reason.get(provider, b"response.completed"))
        if provider not in CHAT
        else stream.rindex(b'"stop"')
    )
    for end in range(len(stream)):
        try:
            completion = streamed(provider, stream[:end])
        except UnavailableError as error:
            caught: UnavailableError | None = error
        else:
            caught = None
        if caught is not None:
            assert caught.provider == provider
            continue
        assert end > ends
        # All that may be missing is what comes behind the end: the counts.
        update = {"usage": expected.usage, "trace_kind": expected.trace_kind}
        assert completion.model_copy(update=update) == expected


def test_a_stream_without_a_finish_reason_says_so_and_is_asked_for_again() -> None:
    stream = sse(ROLE, chunk({"reasoning_content": THOUGHT}), chunk({"content": "4"}), done=True)
    with pytest.raises(UnavailableError, match="without a finish reason: the answer broke off after") as caught:
        streamed("deepseek", stream, request_id="req-1")
    error = caught.value
    assert (error.kind, error.status, error.request_id, error.provider) == ("malformed", None, "req-1", "deepseek")
    assert f"{len(THOUGHT) + 1:,} characters" in str(error)


# --- chat completions, in detail ---


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # A gateway that gives a reason with every chunk: only the last one counts.
        (
            [chunk({"content": "It "}, "stop"), chunk({"content": "is 4"}, "stop"), counts()],
            completion({"content": "It is 4"}),
        ),
        # One that gives it before the text.
        (
            [chunk({"reasoning_content": "So."}, "stop"), chunk({"content": "4"}), STOP, counts()],
            completion({"reasoning_content": "So.", "content": "4"}),
        ),
        ([chunk({"content": "4"}), {**STOP, "x_groq": {"usage": USAGE}}], completion({"content": "4"})),
        ([chunk({"content": "4"}), chunk({}, "stop", usage=USAGE)], completion({"content": "4"})),  # Kimi
        ([chunk({"content": "4"}), chunk({}, "length"), counts()], completion({"content": "4"}, "length")),
        (
            [chunk({"content": "4"}), chunk({}, "content_filter")],
            completion({"content": "4"}, "content_filter", None),
        ),
        (
            [chunk({"refusal": "I "}), chunk({"refusal": "won't"}), STOP],
            completion({"refusal": "I won't"}, usage=None),
        ),
        ([chunk({"content": None}), STOP, counts()], completion({"content": None})),
        # Several answers at once: the first is taken.
        (
            [chunk({"content": "4"}), chunk({"content": "5"}, index=1), chunk({}, "length", index=1), STOP, counts()],
            completion({"content": "4"}),
        ),
        (
            [chunk({"content": "4", "tool_calls": [{"index": 0}]}), chunk({}, "tool_calls"), counts()],
            completion({"content": "4", "tool_calls": [{"index": 0}]}, "tool_calls"),
        ),
        (
            [
                chunk(
                    {"content": "4"}, logprobs={"content": [{"token": "4"}], "reasoning_content": [{"token": "a"}]}
                ),
                chunk({}, "stop", logprobs={"content": [], "reasoning_content": [{"token": "b"}]}),
                counts(),
            ],
            completion(
                {"content": "4"},
                logprobs={"content": [{"token": "4"}], "reasoning_content": [{"token": "a"}, {"token": "b"}]},
            ),
        ),
        (
            [
                chunk({"content": "4"}, reasoning_logprobs={"content": [{"token": "a"}]}),
                chunk({}, "stop", reasoning_logprobs={"content": [{"token": "b"}]}),
                counts(),
            ],
            completion({"content": "4"}, reasoning_logprobs={"content": [{"token": "a"}, {"token": "b"}]}),
        ),
        # LiteLLM: two views of signed blocks.
        (
            [
                chunk({"reasoning_content": "A", "thinking_blocks": [{"type": "thinking", "thinking": "A"}]}),
                chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s"}]}),
                chunk({"reasoning_content": "B", "thinking_blocks": [{"type": "thinking", "thinking": "B"}]}),
                chunk({"content": "4", "thinking_blocks": [{"type": "redacted_thinking", "data": "x"}]}),
                chunk({}, "stop", provider_specific_fields={"native_finish_reason": "end_turn"}),
                counts(),
            ],
            completion(
                {
                    "content": "4",
                    "reasoning_content": "AB",
                    "thinking_blocks": [
                        {"type": "thinking", "thinking": "A", "signature": "s"},
                        {"type": "thinking", "thinking": "B"},
                        {"type": "redacted_thinking", "data": "x"},
                    ],
                },
                provider_specific_fields={"native_finish_reason": "end_turn"},
            ),
        ),
        (
            [
                chunk({"content": "4", "reasoning_details": detail("A", "reasoning.summary")}),
                chunk({"reasoning_details": detail("B", "reasoning.summary")}),
                chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "index": 1}]}),
                STOP,
                counts(),
            ],
            completion(
                {
                    "content": "4",
                    "reasoning_details": [
                        *detail("AB", "reasoning.summary"),
                        {"type": "reasoning.encrypted", "data": "x", "index": 1},
                    ],
                }
            ),
        ),
    ],
)
def test_chunks(events: list[Any], expected: Any) -> None:
    for done in (True, False):
        found = streamed("openrouter", sse(*events, done=done))
        assert found == whole("openrouter", expected)


def test_text_after_a_finish_reason_takes_it_back() -> None:
    with pytest.raises(UnavailableError, match="broke off"):
        streamed("vllm", sse(chunk({"content": "It "}, "stop"), chunk({"content": "is"})))


@calmly
@given(st.lists(st.tuples(st.sampled_from(["reasoning_content", "content"]), st.text(max_size=5)), max_size=12))
def test_whatever_is_cut_into_chunks_is_put_together_again(pieces: list[tuple[str, str]]) -> None:
    joined = {name: "".join(text for field, text in pieces if field == name) for name, _ in pieces}
    stream = sse(*(chunk({name: text}) for name, text in pieces), STOP, counts(), done=True)
    assert streamed("deepseek", stream) == whole("deepseek", completion(joined))


# --- the others, in detail ---


def test_a_response_without_output_has_the_items_that_came_one_by_one() -> None:
    last = {"type": "response.completed", "response": {**RESPONSE, "output": []}}
    assert streamed("openai-responses", sse(*RESPONSES[:-1], last)) == whole("openai-responses", RESPONSE)


def test_an_incomplete_response_is_cut() -> None:
    cut = {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    found = streamed("openai-responses", sse({"type": "response.incomplete", "response": cut}))
    assert (found.finish_reason, found) == ("length", whole("openai-responses", cut))


def test_a_reason_with_every_event_of_gemini_counts_with_the_last() -> None:
    events = [generated({"text": text}, finishReason="STOP") for text in ("It ", "is 4")]
    assert streamed("gemini", sse(*events)).content == "It is 4"
    with pytest.raises(UnavailableError, match="broke off"):
        streamed("gemini", sse(events[0], generated({"text": "is"})))


def test_a_blocked_prompt_of_gemini_is_whole() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    assert streamed("gemini", sse(blocked)) == whole("gemini", blocked)


def test_cut_inside_of_the_thoughts_gemini_has_no_parts() -> None:
    events = [generated({"text": THOUGHT, "thought": True}), generated(finishReason="MAX_TOKENS")]
    found = streamed("gemini", sse(*events))
    assert (found.finish_reason, found.reasoning, found.content) == ("length", THOUGHT, "")


def test_parts_of_one_event_stay_apart() -> None:
    events = [generated({"text": "A", "thought": True}, {"text": "B", "thought": True}, {"functionCall": {}})]
    last = generated({"text": "4"}, finishReason="STOP")
    found = streamed("gemini", sse(*events, last))
    assert (found.reasoning, found.content, found.finish_reason) == ("A\n\nB", "4", "tool_calls")


# --- errors ---

SPOKE: dict[str, list[Any]] = {
    "vllm": [ROLE, chunk({"reasoning": "So far "}), chunk({"content": "so good"})],
    "anthropic": ANTHROPIC[:5],
    "gemini": GEMINI[:2],
    "openai-responses": RESPONSES[:4],
    "ollama": OLLAMA[:2],
}


def as_stream(provider: str, *events: Any) -> bytes:
    if provider == "ollama":
        return "".join(json.dumps(event) + "\n" for event in events).encode()
    return sse(*events)


OVERLOADED = {"message": "Overloaded, try again", "type": "overloaded_error", "code": None}
REPORTS: list[tuple[str, Any]] = [
    ("vllm", {"error": {"message": "EngineDeadError", "type": "InternalServerError", "code": 500}}),
    ("vllm", {"error": {"message": "Provider returned error", "code": 502}, **chunk({"content": ""}, "error")}),
    ("vllm", chunk({}, "error", error={"message": "upstream is gone", "code": 502})),
    ("vllm", {"error": {"message": "no field of that name", "type": "BadRequestError", "code": 400}}),
    ("vllm", {"error": {"message": "wrong", "code": "invalid_api_key"}}),
    ("anthropic", {"type": "error", "error": OVERLOADED, "request_id": "req_011"}),
    ("gemini", {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}),
    ("openai-responses", {"type": "error", "code": "server_error", "message": "it broke", "param": None}),
    (
        "openai-responses",
        {
            "type": "response.failed",
            "response": {**CREATED, "status": "failed", "error": {"code": "server_error", "message": "it broke"}},
        },
    ),
    ("openai-responses", {"type": "response.failed", "response": {**CREATED, "status": "failed"}}),
    ("openai-responses", {"type": "error"}),
    ("ollama", {"error": "an error was encountered while running the model"}),
]


@pytest.mark.parametrize(("provider", "report"), REPORTS)
def test_an_error_in_mid_stream_breaks_the_answer_off(provider: str, report: Any) -> None:
    stream = as_stream(provider, *SPOKE[provider], report)
    for cut in range(0, len(stream), 7):
        with pytest.raises(UnavailableError, match="broke off after") as caught:
            streamed(provider, stream[:cut], stream[cut:])
        assert caught.value.transient
        assert caught.value.provider == provider
        assert caught.value.status is None  # with one it would count as free of charge


@pytest.mark.parametrize(
    ("error", "kind", "name"),
    [
        ({"message": "slow down", "code": "rate_limit_exceeded"}, RateLimitError, "rate_limited"),
        ({"message": "Insufficient credits", "code": 402}, QuotaError, "quota"),
        ({"message": "flagged", "code": "content_filter"}, RequestError, "refused"),
        ({"message": "maximum context length is 10", "code": 400}, RequestError, "too_long"),
    ],
)
def test_what_may_end_an_answer_keeps_its_name(error: Any, kind: type[TeacherError], name: str) -> None:
    with pytest.raises(kind, match="broke off after 14 characters") as caught:
        streamed("vllm", sse(*SPOKE["vllm"], {"error": error}))
    assert caught.value.kind == name


def test_an_error_before_all_else_is_the_error_of_a_whole_answer() -> None:
    report = {"error": {"message": "no such field", "type": "BadRequestError", "code": 400}}
    with pytest.raises(RequestError) as caught:
        streamed("vllm", sse(report))
    with pytest.raises(RequestError) as alone:
        whole("vllm", report)
    assert (str(caught.value), caught.value.status) == (str(alone.value), alone.value.status)


def test_an_error_after_the_finish_reason_is_an_error() -> None:
    with pytest.raises(UnavailableError, match="broke off"):
        streamed("vllm", sse(*SPOKE["vllm"], STOP, {"error": {"message": "gone", "code": 502}}))


def test_what_comes_after_the_end_is_not_looked_at() -> None:
    stream, payload = STREAMS["deepseek"]
    assert streamed("deepseek", stream, b"data: {nonsense\n\n") == whole("deepseek", payload)


def test_an_error_shows_no_secret() -> None:
    report = {"error": {"message": "no access with hunter2hunter2", "code": 500}}
    with pytest.raises(UnavailableError) as caught:
        streamed("vllm", sse(report), mask=lambda data: data.replace(b"hunter2hunter2", b"[secret]"))
    assert "hunter2" not in str(caught.value)
    assert "[secret]" in str(caught.value)


@pytest.mark.parametrize(
    "nonsense", [b"data: {\n\n", b"data: [1]\n\n", b"data: \xff\n\n", b'data: {"a": "\\ud800"}\n\n']
)
def test_an_event_that_cannot_be_read(nonsense: bytes) -> None:
    with pytest.raises(UnavailableError, match=r"sent an event .* broke off after 14 characters") as caught:
        streamed("vllm", sse(*SPOKE["vllm"]) + nonsense)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("vllm", b' \n{"choices": []}'),
        ("vllm", b'\xef\xbb\xbf{\n "a": 1\n}'),
        ("vllm", b"[1, 2]"),
        ("vllm", b"<!DOCTYPE html>\n<h1>Sign in</h1>"),
        ("ollama", b"<!DOCTYPE html>\n<h1>Sign in</h1>"),
        ("vllm", b"upstream connect error"),
        ("vllm", b"\n\n\n"),
        ("vllm", b": keep-alive\n\n"),
        ("vllm", b""),
        ("vllm", b"\xef\xbb"),
    ],
)
def test_what_is_no_stream_is_handed_on_as_it_is(provider: str, body: bytes) -> None:
    for cut in range(len(body) + 1):
        answer = under_way(provider)
        for piece in (body[:cut], body[cut:]):
            answer.feed(piece)
        assert answer.body() == body


def test_blank_bytes_without_an_end_fill_no_memory() -> None:
    answer = under_way("vllm")
    for _ in range(1000):
        answer.feed(b"\n" * 1000)
    answer.feed(STREAMS["vllm"][0])
    assert from_json(answer.body()) == STREAMS["vllm"][1]
    silent = under_way("vllm")
    for _ in range(1000):
        silent.feed(b": keep-alive\n" * 100)
    assert len(silent.body()) < 10_000


# --- guards ---

LONG = [chunk({"reasoning_content": "x" * 500}) for _ in range(20)]


def test_guards_look_now_and_then_at_all_that_came() -> None:
    seen: list[tuple[int, int]] = []

    def look(reasoning: str, answer: str) -> None:
        seen.append((len(reasoning), len(answer)))

    stream = sse(*LONG, chunk({"content": "y" * 2500}), STOP, counts(), done=True)
    for cut in (0, 700, 5000):
        seen.clear()
        streamed("deepseek", stream[:cut], stream[cut:], guards=[look])
        assert seen == [(4000, 0), (8000, 0), (10000, 2500)]


def test_a_guard_stops_an_answer() -> None:
    guards: list[Callable[[str, str], str | None]] = [
        lambda reasoning, answer: None,
        lambda reasoning, answer: "it \n goes on" if len(reasoning) > 4000 else None,
    ]
    answer = under_way("deepseek", guards=guards, request_id="req-1")
    with pytest.raises(RequestError, match="stopped after 8,000 characters of reasoning and 0 of") as caught:
        answer.feed(sse({**LONG[0], "usage": {"prompt_tokens": 7}}, *LONG))
    error = caught.value
    assert "(7 prompt tokens so far): it goes on" in str(error)
    assert (error.kind, error.status, error.request_id) == ("stopped", None, "req-1")
    assert not error.transient


def test_what_a_guard_raises_surfaces_as_it_is() -> None:
    def crash(reasoning: str, answer: str) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        streamed("deepseek", sse(*LONG), guards=[crash])


# --- whatever comes ---

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3))


def mangled(value: Any, draw: Any) -> Any:
    """A value of which a part is anything at all."""
    if draw(st.integers(0, 12)) == 0:
        return draw(JSON)
    if isinstance(value, dict):
        return {name: mangled(item, draw) for name, item in value.items() if draw(st.integers(0, 20))}
    return [mangled(item, draw) for item in value] if isinstance(value, list) else value


EVENTS: dict[str, list[Any]] = {
    "openrouter": [from_json(part[6:]) for part in OPENROUTER.split(b"\n\n")[1:-2]],
    "mistral": [from_json(part[6:]) for part in MISTRAL.split(b"\n\n")[:-2]],
    "azure": [from_json(part[6:]) for part in AZURE.split(b"\n\n")[:-2]],
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "openai-responses": RESPONSES,
    "ollama": OLLAMA,
}


@pytest.mark.parametrize("provider", EVENTS)
def test_whatever_comes_is_a_completion_or_a_teacher_error(provider: str) -> None:
    @calmly
    @given(st.data())
    def check(data: st.DataObject) -> None:
        events = [mangled(event, data.draw) for event in EVENTS[provider]]
        met = None
        try:
            completion = streamed(provider, as_stream(provider, *events))
        except TeacherError as error:
            met = error
        if met is None:
            assert completion.finish_reason != "error"
        else:
            assert str(met).startswith(provider)

    check()
