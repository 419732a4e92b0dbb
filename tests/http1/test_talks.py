"""Both talks take the same bytes for the same thing, however these are cut into pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cot_distill.http1 import Talk
from cot_distill.http1._h11 import LONGEST_HEAD, H11Talk

llhttp = pytest.importorskip("cot_distill.http1._llhttp", exc_type=ImportError)
TALKS: list[type[Talk]] = [H11Talk, llhttp.LlhttpTalk]
HEADERS = [(b"Host", b"example.com"), (b"Content-Length", b"2")]

both = pytest.mark.parametrize("kind", TALKS)


class Heard(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    is_over: bool
    stays: bool


def hear(kind: type[Talk], pieces: list[bytes]) -> Heard | None:
    """What was understood; None where it was no HTTP."""
    talk = kind()
    talk.ask(b"POST", b"/v1", HEADERS, b"{}")
    try:
        for piece in pieces:
            if not talk.is_over:
                talk.hear(piece)
    except ValueError:
        return None
    headers = [(name.lower(), value) for name, value in talk.headers]
    return Heard(talk.status, headers, b"".join(talk.pieces), talk.is_over, talk.is_over and talk.renew())


names = st.sampled_from([b"X-One", b"x-two", b"Retry-After", b"SET-COOKIE"])
values = st.sampled_from([b"a", b"two words", b"7", b"", b"\xe9", b"spaces  "])
bodies = st.binary(max_size=300)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([b"200 OK", b"429 Too Many Requests", b"503 ", b"204 No Content", b"307 Moved"]))
    lines = [b"HTTP/1.%d " % draw(st.sampled_from([1, 1, 1, 0])) + status]
    lines += [b"%s: %s" % pair for pair in draw(st.lists(st.tuples(names, values), max_size=4))]
    if draw(st.booleans()):  # an HTTP/1.0 connection that is kept alive is used again by one of the two only
        ways = [b"close"] if lines[0].startswith(b"HTTP/1.0") else [b"close", b"keep-alive", b"Keep-Alive"]
        lines.append(b"Connection: " + draw(st.sampled_from(ways)))
    body = b"" if status.startswith(b"204") else draw(bodies)
    framing = draw(st.sampled_from(["length", "chunked", "to the end"]))
    if framing == "length" and not status.startswith(b"204"):
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked" and not status.startswith((b"204",)) and lines[0].startswith(b"HTTP/1.1"):
        lines.append(b"Transfer-Encoding: chunked")
        cut = draw(st.integers(0, len(body)))
        parts = [part for part in (body[:cut], body[cut:]) if part]
        body = b"".join([b"%x\r\n%s\r\n" % (len(part), part) for part in parts]) + b"0\r\n\r\n"
    early = draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nX-One: early\r\n\r\n"])
    )
    return early + b"\r\n".join(lines) + b"\r\n\r\n" + body


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]


@given(responses(), st.lists(st.integers(0, 500), max_size=5), st.booleans())
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [], False)
def test_the_same_response(data: bytes, cuts: list[int], ends: bool) -> None:
    pieces = [*cut_up(data, cuts), *([b""] if ends else [])]
    heard = hear(H11Talk, pieces)
    assert hear(llhttp.LlhttpTalk, pieces) == heard
    assert heard is not None
    assert heard.is_over or not ends


@given(responses(), st.data())
def test_the_same_part_of_a_response(data: bytes, draw: st.DataObject) -> None:
    """The connection ends at any place."""
    part = data[: draw.draw(st.integers(1, len(data)))]
    assert hear(llhttp.LlhttpTalk, [part, b""]) == hear(H11Talk, [part, b""])


@both
def test_one_response_after_the_other(kind: type[Talk]) -> None:
    talk = kind()
    for number in range(3):
        assert talk.ask(b"POST", b"/v1", HEADERS, b"{}").endswith(b"\r\n\r\n{}")
        talk.hear(b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nContent-Length: 1\r\n\r\n" % number)
        assert (talk.status, talk.is_over) == (200, False)
        assert (b"X-Number", b"%d" % number) in talk.headers
        talk.hear(b"%d" % number)
        assert (talk.pieces, talk.is_over) == ([b"%d" % number], True)
        assert talk.renew()
        assert (talk.status, talk.headers, talk.pieces, talk.is_over) == (0, [], [], False)


@both
def test_both_say_the_same(kind: type[Talk]) -> None:
    said = kind().ask(b"POST", b"/v1/chat", HEADERS, b"{}")
    assert said == b"POST /v1/chat HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\n{}"


@both
@pytest.mark.parametrize(
    "more", [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 2", b"nonsense", b"\0"]
)
def test_what_nobody_asked_for_ends_the_connection_and_is_no_part_of_the_answer(
    kind: type[Talk], more: bytes
) -> None:
    heard = hear(kind, [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour" + more])
    assert heard == Heard(200, [(b"content-length", b"4")], b"four", is_over=True, stays=False)


@both
@pytest.mark.parametrize(
    "data",
    [
        b"220 mail ready\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfour\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * LONGEST_HEAD,
    ],
)
def test_what_is_not_http(kind: type[Talk], data: bytes) -> None:
    assert hear(kind, cut_up(data, [*range(0, len(data), 65536)])) is None


@both
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 4\n\nfour",
        b"HTTP/1.1 200\r\nX: a\r\n folded\r\nContent-Length: 4\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 4\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4 \r\nfour\r\n0\r\nX-After: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n04;a=b\r\nfour\r\n0\r\n\r\n",
        b"HTTP/1.1 200 Gut \xe9\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 4\r\n\r\nfour",
    ],
)
def test_what_sloppy_servers_send(kind: type[Talk], data: bytes) -> None:
    heard = hear(kind, [data])
    assert heard is not None
    assert (heard.status, heard.body, heard.is_over, heard.stays) == (200, b"four", True, True)
    assert b"x-after" not in dict(heard.headers)


@both
def test_line_breaks_in_a_header_are_not_sent(kind: type[Talk]) -> None:
    with pytest.raises(ValueError, match="header"):
        kind().ask(b"POST", b"/", [(b"Host", b"a"), (b"X", b"a\r\nY: b")], b"")
