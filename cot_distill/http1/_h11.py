"""HTTP/1.1 in words, by h11: pure Python, and always there, since httpx needs it as well."""

from __future__ import annotations

import h11

__all__ = ["LONGEST_HEAD", "H11Talk"]

LONGEST_HEAD = 100 * 1024
"""Bytes that the head of a response may have. One that never ends must not fill the memory."""


class H11Talk:
    """See :class:`cot_distill.http1.Talk`."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.is_over = False

    def ask(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        """The bytes of a request.

        Raises:
            ValueError: Something in it cannot be sent.
        """
        try:
            head = h11.Request(method=method, target=target, headers=headers)
            return b"".join(
                [self._http.send(event) or b"" for event in (head, h11.Data(data=body), h11.EndOfMessage())]
            )
        except h11.LocalProtocolError as error:
            raise ValueError(str(error)) from error

    def hear(self, data: bytes) -> None:
        """Take what the server sent, or nothing where it ended the connection.

        Raises:
            ValueError: This is not HTTP, or not all of it.
        """
        try:
            self._http.receive_data(data)
            while not self.is_over and (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self.status, self.headers = event.status_code, event.headers.raw_items()
                elif isinstance(event, h11.Data):
                    self.pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self.is_over = True
        except h11.RemoteProtocolError as error:
            raise ValueError(str(error)) from error

    def renew(self) -> bool:
        """Get ready for the next request. False where this response was the last on its connection."""
        http = self._http
        nothing_more = http.trailing_data == (b"", False)  # no bytes, and no end
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE or not nothing_more:
            return False
        http.start_next_cycle()
        self._begin()
        return True
