"""A teacher behind an HTTP endpoint: puts a wire format and the transport together."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from pydantic import SecretStr
from pydantic_core import from_json, to_json

from cot_distill.errors import ConfigError, TeacherError
from cot_distill.guards import Fails, Guard
from cot_distill.teachers import error_bodies, faults, waits
from cot_distill.teachers.presets import Preset
from cot_distill.teachers.streaming import AnswerUnderWay
from cot_distill.teachers.wire import Fields, Streaming
from cot_distill.transport import Incoming, Reply, Transport
from cot_distill.types import Completion, Message, Sampling

__all__ = ["Endpoint"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SECRET_LENGTH = 8  # what is shorter is a placeholder, and a part of other words


class Endpoint:
    """A Teacher that speaks the wire format of its preset. Made by :func:`cot_distill.teachers.open_teacher`.

    Args:
        name: Identity in the recipe.
        model: As the endpoint names it.
        preset: The provider's ways, its wire format among them.
        base_url: Such as ``https://api.example.com/v1``.
        api_key: Sent in the header of the format; None sends none.
        headers: Sent with every request, beside those of the format.
        timeout: Seconds an answer may take in all.
        stream: Have answers sent as a stream.
        guards: Look at answers while they come.

    Raises:
        ConfigError: The base URL is none, or a stream is wanted where answers come whole only.
    """

    def __init__(
        self,
        *,
        name: str,
        model: str,
        preset: Preset,
        base_url: str,
        api_key: SecretStr | None,
        headers: Mapping[str, str],
        timeout: float,
        stream: bool = False,
        guards: Sequence[Guard] = (),
    ) -> None:
        self.name = name
        self._model = model
        self._preset = preset
        self._streaming = preset.format.streaming if stream and preset.streams else None
        if stream and self._streaming is None:
            raise ConfigError(f"answers of {preset.name} are not streamed here: leave out stream=True")
        self._guards = guards
        self._path = preset.format.url_path(model, stream=stream)
        self._base_url = base_url
        self._key = api_key
        self._headers = headers
        self._timeout = timeout
        # Connections belong to the event loop that opened them, and `Distiller.run` has one in its own thread.
        self._local = threading.local()
        self._transport()  # a URL that is none shows here, not at the first request

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, base_url={self._base_url.partition('?')[0]!r})"

    async def __aenter__(self) -> Endpoint:
        users = getattr(self._local, "users", 0)
        if users == 0:
            self._local.transport = self._transport()
        self._local.users = users + 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._local.users -= 1
        if self._local.users == 0:
            await self._local.transport.__aexit__(kind, error, trace)

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Ask once. Outside ``async with``, a connection is opened for this one request.

        Raises:
            TeacherError: The one that fits what the endpoint said.
        """
        fields = self._preset.format.encode(messages, sampling, model=self._model, preset=self._preset)
        if getattr(self._local, "users", 0):
            reply = await self._ask(self._local.transport, fields, messages)
        else:
            async with self._transport() as transport:
                reply = await self._ask(transport, fields, messages)
        return self._decode(reply)

    async def _ask(self, transport: Transport, fields: Fields, messages: Sequence[Message]) -> Reply:
        """Ask, and return the whole reply: as it came, or as it would have come without a stream."""
        if self._streaming is None:
            return await transport.post(self._path, to_json(fields))
        asked = to_json(self._streaming.ask(fields, self._preset))
        started = time.monotonic()
        async with transport.stream(self._path, asked) as incoming:
            status, headers = incoming.status, incoming.headers
            if 200 <= status < 300:
                body = await self._assembled(self._streaming, incoming, messages)
            else:
                body = b"".join([piece async for piece in incoming])
        return Reply(status, headers, body, time.monotonic() - started)

    async def _assembled(self, streaming: Streaming, incoming: Incoming, messages: Sequence[Message]) -> bytes:
        answer = AnswerUnderWay(
            self._preset,
            streaming,
            guards=[guard.about(messages) if isinstance(guard, Fails) else guard for guard in self._guards],
            request_id=error_bodies.request_id(incoming.headers, None),
            mask=self._masked,
        )
        async for piece in incoming:
            answer.feed(piece)
            if answer.over:
                await incoming.rest()
                break
        return answer.body()

    def _transport(self) -> Transport:
        wire = self._preset.format
        usual = dict(wire.headers)
        if self._key is not None:
            usual |= wire.credentials(self._key.get_secret_value())
        own = {name.lower() for name in self._headers}
        headers = {name: value for name, value in usual.items() if name.lower() not in own} | dict(self._headers)
        return Transport(self._base_url, headers=headers, timeout=self._timeout)

    def _decode(self, reply: Reply) -> Completion:
        if not 200 <= reply.status < 300:
            raise self._error(reply)
        try:
            payload = from_json(reply.body.removeprefix(_BYTE_ORDER_MARK))
        except ValueError as error:
            raise self._error(reply) from error
        completion = self._preset.format.decode(payload, preset=self._preset)
        return completion.model_copy(
            update={
                "latency": reply.seconds,
                "raw": reply.body.decode("utf-8", "replace"),
                "request_id": error_bodies.request_id(reply.headers, payload),
                "allowance": waits.allowance(reply.headers, now=time.time()),
            }
        )

    def _error(self, reply: Reply) -> TeacherError:
        return faults.teacher_error(reply.status, reply.headers, self._masked(reply.body), provider=self._preset.name)

    def _masked(self, body: bytes) -> bytes:
        secrets = [*self._headers.values(), *([] if self._key is None else [self._key.get_secret_value()])]
        for secret in secrets:  # some servers echo what they refuse
            if len(secret) >= _SECRET_LENGTH:
                body = body.replace(secret.encode(), b"[secret]")
        return body
