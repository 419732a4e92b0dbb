"""Events in a stream of bytes: the same ones, wherever the network cuts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill.teachers import events
from cot_distill.teachers.events import Event, JSONLines, ServerSentEvents

calmly = settings(deadline=None)


def parsed(parser: Any, *pieces: bytes) -> list[Event]:
    return [event for piece in pieces for event in parser.feed(piece)] + parser.end()


def sse(*pieces: bytes) -> list[Event]:
    return parsed(ServerSentEvents(), *pieces)


def lines(*pieces: bytes) -> list[Event]:
    return parsed(JSONLines(), *pieces)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [Event(b"a"), Event(b"b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [Event(b"a"), Event(b"b")]),
        (b"data: a\r\rdata: b\r\r", [Event(b"a"), Event(b"b")]),
        (b"data: a\r\n\ndata: b\n\r", [Event(b"a"), Event(b"b")]),
        (b"data:a\n\n", [Event(b"a")]),
        (b"data:  a \n\n", [Event(b" a ")]),
        (b"data: a\ndata: b\ndata\n\n", [Event(b"a\nb\n")]),
        (b"event: ping\ndata: {}\n\ndata: x\n\n", [Event(b"{}", "ping"), Event(b"x")]),
        (b"event: ping\n\ndata: x\n\n", [Event(b"x")]),
        (b": keep-alive\n\n: OPENROUTER PROCESSING\n\ndata: a\n\n", [Event(b"a")]),
        (b"id: 7\nretry: 10\nwhatever\n: no\ndata: a\n\n", [Event(b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"a")]),
        (b"data: a\n\ndata: b", [Event(b"a"), Event(b"b")]),
        (b"data: a\n\ndata: b\n", [Event(b"a"), Event(b"b")]),
        (b"\n\n\r\n", []),
        (b"", []),
        ("data: a\u2028b\u0085c\x0bd\x0ce\x1cf\n\n".encode(), [Event("a\u2028b\u0085c\x0bd\x0ce\x1cf".encode())]),
        (b"data: \xff\xfe\n\n", [Event(b"\xff\xfe")]),
    ],
)
def test_server_sent_events(stream: bytes, expected: list[Event]) -> None:
    assert sse(stream) == expected
    for cut in range(len(stream) + 1):
        assert sse(stream[:cut], stream[cut:]) == expected
    assert sse(*(stream[index : index + 1] for index in range(len(stream)))) == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'{"a": 1}\n{"b": 2}\n', [b'{"a": 1}', b'{"b": 2}']),
        (b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"b": 2}', [b'{"a": 1}', b'{"b": 2}']),
        ('{"a": "\u2028\u0085ü"}\n'.encode(), ['{"a": "\u2028\u0085ü"}'.encode()]),
        (b"\n", []),
    ],
)
def test_lines_of_json(stream: bytes, expected: list[bytes]) -> None:
    for cut in range(len(stream) + 1):
        assert [event.data for event in lines(stream[:cut], stream[cut:])] == expected


# Hypothesis finds the cuts

FIELDS = [b"data:", b"data: ", b"event: e", b": c", b"retry: 1", b"{}", b"x", b" ", b""]
BREAKS = [b"\n", b"\r", b"\r\n", b"\n\n"]
LONGER = ["\u2028é€😀".encode(), b"\xef\xbb\xbf", b"\xc2", b"\x85"]
PIECES = st.sampled_from([*FIELDS, *BREAKS, *LONGER])


@calmly
@given(st.lists(PIECES, max_size=30).map(b"".join) | st.binary(max_size=60), st.data())
def test_any_cut_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    places = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert b"".join(pieces) == stream
    assert sse(*pieces) == sse(stream)
    assert lines(*pieces) == lines(stream)


TEXTS = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=20)


@calmly
@given(st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(["", "delta"]))), st.data())
def test_what_is_written_as_events_is_read_as_events(written: Any, data: st.DataObject) -> None:
    stream = b""
    for texts, name in written:
        end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
        fields = [*([f"event: {name}"] if name else []), *(f"data: {text}" for text in texts), ": comment"]
        stream += b"".join(field.encode() + end for field in fields) + end
    expected = [Event("\n".join(texts).encode(), name) for texts, name in written]
    assert sse(*(stream[index : index + 1] for index in range(len(stream)))) == expected


# Bounds


def test_a_line_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LONGEST", 10)
    for parser in (ServerSentEvents(), JSONLines()):
        with pytest.raises(ValueError, match="longer than 10 bytes"):
            for _ in range(3):
                parser.feed(b"12345")
    assert sse(b"data: 1234\n\n", b"data: 5678\n\n") == [Event(b"1234"), Event(b"5678")]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_so_is_an_event_of_too_many_lines_for_any_cut(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LONGEST", 10)
    stream = b"data:1234\n" * 3
    with pytest.raises(ValueError, match="an event is longer"):
        sse(*(stream[index : index + size] for index in range(0, len(stream), size)))


def test_a_long_line_in_many_pieces_is_not_copied_again_and_again() -> None:
    """Joined with every piece, 4 MB in pieces of 40 bytes would be 200 GB of copying."""
    pieces = [b"data: ", *[b"x" * 40] * 100_000, b"\n\n"]
    (event,) = sse(*pieces)
    assert len(event.data) == 4_000_000
