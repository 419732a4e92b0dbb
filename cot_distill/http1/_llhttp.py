"""HTTP/1.1 in words, by httptools: the parser of Node.js, in C. Part of the extra ``fast``.

It says and takes the same as the talk of h11, for a tenth of the CPU. What h11 looks after and httptools does not is
looked after here: the longest head, a response that ends with its connection, and what comes after a response. Only
a server that sends ``Content-Length`` twice is understood by h11 alone.
"""

from __future__ import annotations

import httptools

from cot_distill.http1._h11 import LONGEST_HEAD

__all__ = ["LlhttpTalk"]


class LlhttpTalk:
    """See :class:`cot_distill.http1.Talk`. The methods that begin with ``on_`` are called by httptools."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # What h11 takes as well. Dangerous is this to servers, where requests of several users share a connection.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.is_over = False
        self._heard = 0
        self._stays = False

    def ask(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        """The bytes of a request.

        Raises:
            ValueError: Something in it cannot be sent.
        """
        lines = [b"%s %s HTTP/1.1" % (method, target), *[b"%s: %s" % header for header in headers]]
        head = b"\r\n".join(lines)
        if head.count(b"\n") != len(headers):
            raise ValueError("a line break in a header")
        return b"%s\r\n\r\n%s" % (head, body)

    def hear(self, data: bytes) -> None:
        """Take what the server sent, or nothing where it ended the connection.

        Raises:
            ValueError: This is not HTTP, or not all of it.
        """
        if not data:
            self._end()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_over:
                raise ValueError(f"this is not HTTP/1.1: {error}") from error
            self._stays = False
        if not self.status:
            self._heard += len(data)
            if self._heard > LONGEST_HEAD:
                raise ValueError(f"the head of the response is longer than {LONGEST_HEAD:,} bytes")

    def _end(self) -> None:
        names = {name.lower() for name, _ in self.headers}
        if not self.is_over and (not self.status or names & {b"content-length", b"transfer-encoding"}):
            raise ValueError("the server closed the connection before the whole response was there")
        self.is_over, self._stays = True, False

    def renew(self) -> bool:
        """Get ready for the next request. False where this response was the last on its connection."""
        stays = self._stays
        self._begin()
        return stays

    def on_message_begin(self) -> None:
        """A response begins. Where one is over already, nobody has asked for this one."""
        self._stays = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there, or a field after the body, which is left out."""
        if not self.status:
            self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is there. An interim one (100 to 199) is forgotten: another follows."""
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
        elif not self.is_over:
            self.status = status

    def on_body(self, piece: bytes) -> None:
        """Some of the body is there."""
        if not self.is_over:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """The response is over."""
        if self.status and not self.is_over:
            self.is_over, self._stays = True, self._parser.should_keep_alive()
