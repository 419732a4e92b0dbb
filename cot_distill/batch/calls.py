"""Requests about jobs: made again where that does no harm, and read as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from pydantic_core import from_json

from cot_distill.batch.jobs import BatchJob
from cot_distill.batch.lines import Said
from cot_distill.batch.wire import Wire
from cot_distill.errors import RunError, TeacherError, UnavailableError
from cot_distill.http_files import Files
from cot_distill.retry import Tries, build_retrying
from cot_distill.transport import Reply

__all__ = ["Calls", "pauses"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0


class Calls:
    """Requests to one provider, with the errors that fit.

    Args:
        wire: How the provider is spoken to.
        retries: How often a request is made again after a transient error.
    """

    def __init__(self, wire: Wire, retries: int) -> None:
        self.files = Files(wire.base_url, headers=wire.headers)
        self._wire = wire
        self._retrying = build_retrying(retries)

    async def again(self, send: Callable[[], Awaitable[Reply]]) -> Any:
        """The parsed body, asked for until there is one."""
        return await self._retrying(self._once, Tries(), send)

    async def _once(self, tries: Tries, send: Callable[[], Awaitable[Reply]]) -> Any:
        tries.made += 1
        try:
            return self.read(await send())
        except TeacherError as error:
            tries.count(error, 0.0)
            raise

    def read(self, reply: Reply) -> Any:
        """The parsed body of a good reply; None where it is empty."""
        if not 200 <= reply.status < 300:
            raise self._wire.error(reply)
        try:
            return from_json(reply.body) if reply.body else None
        except ValueError as error:
            raise self._wire.error(reply) from error

    def job(self, said: Said | None) -> Said:
        """What was said of a job.

        Raises:
            UnavailableError: It was none.
        """
        if said is None:
            name = self._wire.preset.name
            raise UnavailableError(f"{name} answered with something that is no job", provider=name, kind="malformed")
        return said

    async def look(self, path: str, job: BatchJob) -> Any:
        """What the provider holds of a job.

        Raises:
            RunError: It holds none of this id.
        """
        try:
            return await self.again(lambda: self.files.get(f"{path}/{job.id}"))
        except TeacherError as error:
            if error.status != 404:
                raise
            raise RunError(
                f"{self._wire.preset.name} knows no job {job.id}: was it made with another key or account? To give "
                "it up, and ask again what it held, delete the folder `batches` of the run"
            ) from error


def pauses() -> Iterator[float]:
    """Seconds to wait between two looks at a job: half a second at first, a minute in the end."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(_LONGEST_PAUSE, 1.5 * pause)
