"""What an error body says, whatever its shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.teachers.error_bodies import describe, one_line, read_error


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
