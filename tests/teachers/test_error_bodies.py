"""What an error body says, whatever its shape."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.teachers.error_bodies import describe, one_line, read_error, redact


@pytest.mark.parametrize(
    ("payload", "text", "codes", "status"),
    [
        ({"error": "plain"}, "plain", set(), None),
        ({"error": {"message": "m", "type": "T", "code": 503}}, "m", {"t", "503"}, 503),
        ({"error": {"code": "E1"}, "message": "outside"}, "outside", {"e1"}, None),
        ({"error": {"message": {"detail": [{"msg": "a"}, {"msg": "b"}]}}}, "a; b", set(), None),
        ({"object": "error", "message": "flat", "code": 400}, "flat", {"400"}, 400),
        ({"detail": "d"}, "d", set(), None),
        (
            {"detail": [{"loc": ["body", "messages", 0], "msg": "no", "input": "secret"}]},
            "body.messages.0: no",
            set(),
            None,
        ),
        ({"code": "sentence", "error": "why"}, "why", {"sentence"}, None),
        ({"type": "error", "error": {"type": "api_error", "message": "m"}}, "m", {"error", "api_error"}, None),
        ({"error": {"message": "m", "code": True, "type": None, "status": ["x"]}}, "m", set(), None),
        ({"error": {"message": "m", "innererror": {"code": "Inner"}}}, "m", {"inner"}, None),
        ({"error": {"message": "m", "metadata": {"raw": "upstream"}}}, "m: upstream", set(), None),
        ([{"error": {"message": "in a list"}}], "in a list", set(), None),
    ],
)
def test_shapes(payload: Any, text: str, codes: set[str], status: int | None) -> None:
    said = read_error(payload, "mine:model")
    assert said is not None
    assert (said.text, said.status) == (text, status)
    assert said.codes == codes | {f"mine:{code}" for code in codes}


def test_google_says_how_long_in_a_field() -> None:
    said = read_error({"error": {"details": [{}, {"retryDelay": "46.3s"}]}}, "gemini")
    assert said is not None
    assert said.delay == "46.3s"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "an empty body"),
        (b" \n\n", "an empty body"),
        (b'{"choices": [{"mess', "JSON that is cut or broken (19 bytes)"),
        ('{"choices": "caf\u00e9'.encode()[:-1], "JSON that is cut or broken (17 bytes)"),
        (rb'{"content": "\ud83d', "JSON that is cut or broken (19 bytes)"),
        (rb'{"content": "\ud83d\ude00"', "JSON that is cut or broken (26 bytes)"),
        (b"[" * 100_000, "JSON that is cut or broken (100000 bytes)"),
        (rb'{"content": "\ud83d"}', "text that is not Unicode"),
        (b'{"content": "caf\xe9"}', "text that is not Unicode"),
        (b"data: {}\n\ndata: [DONE]", "a stream of events"),
        (b"<html><head><TITLE>\n Login </TITLE>", "a web page (Login)"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"upstream connect error", "upstream connect error"),
        (b"\xff\xfe", "��"),
    ],
)
def test_what_is_no_json(body: bytes, text: str) -> None:
    assert describe(body) == text


@given(st.text(max_size=6000))
def test_one_line_is_one_short_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 300
    assert line == " ".join(line.split())
    assert line.isprintable() or not any(ord(char) < 32 for char in line)


def test_masked_keys_and_any_bearer_token_go_too() -> None:
    assert redact("provided: sk-ab***********xyz. Find") == "provided: [redacted] Find"
    assert redact("provided: xa***J7") == "provided: [redacted]"
    assert redact("authorization: Bearer hunter-22") == "authorization: [redacted]"


@pytest.mark.parametrize(
    "text", ["Bearer token is missing", "model deepseek-ai/DeepSeek-V4-Pro", "risk-free", "ask-me"]
)
def test_plain_words_stay(text: str) -> None:
    assert redact(text) == text


@given(st.text("abcdef0123456789-_*. skBearer", max_size=4000))
def test_no_text_hides_a_key(text: str) -> None:
    assert not re.search(r"(?<!\w)sk-\w{6,}", redact(text))
