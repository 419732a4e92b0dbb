"""One answer while it comes: bytes of a stream go in, and the body that would have come whole comes out.

It does no input or output, and knows no format: how events are cut and put together is in the format's
:class:`~cot_distill.teachers.wire.Streaming`. Its rules:

* An answer of which it was not said why it ended is none: the stream broke off.
* An event that reports an error ends the answer, whatever came before.
* What is no stream after all (an error body, a web page, an answer that came whole) is handed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic_core import from_json, to_json

from cot_distill.errors import QuotaError, RequestError, TeacherError, UnavailableError
from cot_distill.guards import Guard
from cot_distill.teachers.error_bodies import one_line
from cot_distill.teachers.events import Event, JSONLines
from cot_distill.teachers.faults import body_error
from cot_distill.teachers.presets import Preset
from cot_distill.teachers.wire import ErrorEventError, Fields, Streaming

__all__ = ["AnswerUnderWay"]

_EVERY = 4_000
"""Characters between two looks of the guards."""
_DONE = b"[DONE]"
_SHOWN = 4_000
"""Bytes to keep of what may be no stream, for the error."""
_MAY_END = ("refused", "too_long")
"""Kinds of error, other than those that asking again may help, that can hit a request in the midst of its answer."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class AnswerUnderWay:
    """Takes the bytes of one response of HTTP 200.

    Args:
        preset: The provider's ways.
        streaming: How its format streams.
        guards: Asked every 4,000 characters whether to stop.
        request_id: As the headers say it.
        mask: Blanks out what must be in no message.
    """

    def __init__(
        self,
        preset: Preset,
        streaming: Streaming,
        *,
        guards: Sequence[Guard] = (),
        request_id: str | None = None,
        mask: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._preset = preset
        self._events = streaming.events()
        # What begins like this is no stream: a body in JSON, or a web page.
        self._none = b"<" if isinstance(self._events, JSONLines) else b"{[<"
        self._assembler = streaming.assembler()
        self._guards = guards
        self._request_id = request_id
        self._mask = mask
        self._done = False
        self._started = False
        self._head = bytearray()
        self._is_stream: bool | None = None
        self._characters = [0, 0]
        self._texts: tuple[list[str], list[str]] = ([], [])
        self._next_look = _EVERY

    @property
    def over(self) -> bool:
        """Nothing follows that matters."""
        return self._done or self._assembler.over

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Args:
            data: Whatever came.

        Raises:
            TeacherError: An event reports an error or cannot be read.
            RequestError: A guard stopped the answer (kind ``stopped``).
        """
        if not self._started:
            self._look_at_head(data)
        if self._is_stream is False:
            return
        try:
            events = self._events.feed(data)
        except ValueError as error:
            raise self._broken_off(f"sent what is no stream of events ({error})") from error
        for event in events:
            self._take(event)

    def body(self) -> bytes:
        """Take the end of the stream.

        Returns:
            The body of the answer, in the shape in which it would have come whole; or what came, if that was no
            stream.

        Raises:
            TeacherError: The answer is not whole.
        """
        for event in self._events.end() if self._is_stream is not False else ():
            self._take(event)
        if not self._started:
            return bytes(self._head)
        if not self._assembler.finished:
            raise self._broken_off("ended its stream without a finish reason")
        return to_json(self._assembler.payload())

    # --- reading ---

    def _look_at_head(self, data: bytes) -> None:
        """Find out whether this is a stream at all, and keep its beginning, for an error, until the first event."""
        if self._is_stream is not True:
            self._head += data
        elif len(self._head) < _SHOWN:
            self._head += data[:_SHOWN]
        if self._is_stream is None:
            first = self._head.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
            if not first or _BYTE_ORDER_MARK.startswith(self._head):
                del self._head[_SHOWN:]  # all of it blank
            else:
                self._is_stream = first not in self._none

    def _take(self, event: Event) -> None:
        data = event.data.strip()
        if not data or self.over:
            return
        if data == _DONE:
            self._done = self._started = True
            return
        try:
            payload = from_json(data)
        except ValueError as error:
            raise self._broken_off(f"sent an event of {len(data):,} bytes that is no JSON") from error
        if not isinstance(payload, dict):
            raise self._broken_off("sent an event that is no object")
        if payload.get("error") or "base_resp" in payload or "error" in (event.name, payload.get("type")):
            self._raise_error(from_json(self._mask(data)))
            if "base_resp" not in payload:
                raise self._broken_off("reported an error without a word")
        self._started = True
        try:
            said = self._assembler.add(payload, event.name)
        except ErrorEventError as error:
            self._raise_error(from_json(self._mask(to_json(error.payload))))
            raise self._broken_off("failed") from None
        for number, text in enumerate(said):
            self._characters[number] += len(text)
            if text and self._guards:
                self._texts[number].append(text)
        if self._guards and sum(self._characters) >= self._next_look:
            self._look()

    # --- what goes wrong ---

    def _raise_error(self, payload: Fields) -> None:
        """Raise the error that an event reports. Does nothing where it reports none after all."""
        error = body_error(payload, provider=self._preset.name)
        if error is None:
            return
        error.request_id = self._request_id or error.request_id
        if not self._started:
            raise error
        may_end = error.transient or isinstance(error, QuotaError) or error.kind in _MAY_END
        raise (type(error) if may_end else UnavailableError)(
            f"{error} (the answer broke off after {sum(self._characters):,} characters)",
            provider=error.provider,
            request_id=error.request_id,
            retry_after=error.retry_after,
            kind=error.kind if may_end else "http",
        )

    def _broken_off(self, what: str) -> UnavailableError:
        # With a status it would count as free of charge; but what was generated so far was probably billed.
        return UnavailableError(
            f"{self._preset.name} {what}: the answer broke off after {sum(self._characters):,} characters",
            provider=self._preset.name,
            status=None if self._started else 200,
            request_id=self._request_id,
            kind="malformed",
        )

    # --- the guards ---

    def _look(self) -> None:
        reasoning, answer = ("".join(texts) for texts in self._texts)
        self._texts = ([reasoning], [answer])
        self._next_look = len(reasoning) + len(answer) + _EVERY
        reason = next(filter(None, (guard(reasoning, answer) for guard in self._guards)), None)
        if reason is not None:
            raise RequestError(
                f"stopped after {len(reasoning):,} characters of reasoning and {len(answer):,} of the answer"
                f"{self._told()}: {one_line(str(reason))}",
                provider=self._preset.name,
                request_id=self._request_id,
                kind="stopped",
            )

    def _told(self) -> str:
        """What the provider has said of the cost so far. Most say it at the end only."""
        try:
            usage = self._preset.format.decode(self._assembler.payload(), preset=self._preset).usage
        except TeacherError:
            return ""
        counts = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
        told = [f"{number:,} {name} tokens" for name, number in counts.items() if number is not None]
        return f" ({', '.join(told)} so far)" if told else ""
