"""Anthropic's Message Batches, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio

from cot_distill.batch import anthropic_batches, openai_files
from cot_distill.batch.calls import Calls, pauses
from cot_distill.batch.jobs import BatchJob
from cot_distill.batch.lines import Line, Said
from cot_distill.batch.wire import Wire

__all__ = ["MessageBatches"]

_PAGE = 100


class MessageBatches:
    """Anthropic's batches. Use as an async context manager. Args as for :class:`FileJobs`."""

    around = anthropic_batches.AROUND
    """What stands before, between and after the requests."""

    def __init__(self, wire: Wire, retries: int) -> None:
        self._wire, self._path = wire, wire.facts.jobs
        self._calls = Calls(wire, retries)

    async def __aenter__(self) -> MessageBatches:
        await self._calls.files.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._calls.files.__aexit__(kind, error, trace)

    def encode(self, custom_id: str, body: Mapping[str, Any]) -> bytes:
        """Write one request."""
        return anthropic_batches.encode_line(custom_id, body)

    def read_lines(self, file: Path) -> Iterator[Line | None]:
        """Read results that were downloaded; None for a line that is none."""
        with file.open("rb") as lines:
            yield from (anthropic_batches.read_line(line) for line in lines if line.strip())

    async def upload(self, requests: Path) -> str:  # noqa: ARG002 - they are the body of the request that starts it
        """Nothing: there is no file."""
        return ""

    async def newest(self) -> str:
        """The id of the newest batch there is: ours will be a newer one."""
        payload = await self._calls.again(lambda: self._calls.files.get(self._path, {"limit": "1"}))
        return next((str(one.get("id")) for one in openai_files.jobs_in(payload)), "")

    async def create(self, job: BatchJob, requests: Path) -> Said:  # noqa: ARG002 - it takes no word of ours
        """Start the batch. Each call makes one."""
        payload = self._calls.read(await self._calls.files.post_file(self._path, requests))
        return self._calls.job(anthropic_batches.read_job(payload))

    async def find(self, job: BatchJob, taken: frozenset[str], target: Path) -> Said | None:
        """Look for the batch among those that are newer than what was there before.

        One that has as many requests may be ours. Its custom ids say so, which can be read once it has ended: until
        then this waits, rather than ask twice.
        """
        async for one in self._newer_than(job.newest):
            said = anthropic_batches.read_job(one)
            if said is None or said.id in taken or anthropic_batches.count_of(one) != job.lines:
                continue
            for pause in pauses():
                said = self._calls.job(
                    anthropic_batches.read_job(await self._calls.look(self._path, replace(job, id=said.id)))
                )
                if said.state != "under way":
                    break
                await anyio.sleep(pause)
            if await self._is_of(said, job, target):
                return said
        return None

    async def look(self, job: BatchJob) -> Said:
        """Ask how the batch is doing."""
        return self._calls.job(anthropic_batches.read_job(await self._calls.look(self._path, job)))

    async def download(self, said: Said, target: Path) -> list[Path]:
        """Fetch the results of a batch that has ended."""
        place = target.with_suffix(".results-0")
        # Not the URL that it names: behind a gateway, that is an address that the key of the gateway does not fit.
        path = f"{self._path}/{said.id}/results"
        await self._calls.again(lambda: self._calls.files.download(path, place))
        return [place]

    async def _newer_than(self, newest: str) -> AsyncIterator[Any]:
        params = {"limit": str(_PAGE)}
        while True:
            payload = await self._calls.again(lambda params=params: self._calls.files.get(self._path, params))  # type: ignore[misc]
            for one in openai_files.jobs_in(payload):
                if newest and isinstance(one, dict) and one.get("id") == newest:
                    return
                yield one
            last = payload.get("last_id")
            if not payload.get("has_more") or not isinstance(last, str):
                return
            params = {**params, "after_id": last}

    async def _is_of(self, said: Said, job: BatchJob, target: Path) -> bool:
        if not said.results:
            return False
        ending = f"-{job.key}"
        files = await self.download(said, target)
        return any(line is not None and line.id.endswith(ending) for file in files for line in self.read_lines(file))
