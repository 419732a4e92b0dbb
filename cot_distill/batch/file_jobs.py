"""Jobs over files, over HTTP: OpenAI, and those who took its way over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio

from cot_distill.batch import openai_files
from cot_distill.batch.calls import Calls, pauses
from cot_distill.batch.jobs import BatchJob
from cot_distill.batch.lines import Line, Said
from cot_distill.batch.wire import Wire
from cot_distill.errors import RequestError, UnavailableError
from cot_distill.transport import Reply

__all__ = ["FileJobs"]

_PAGE = 100


class FileJobs:
    """Jobs over files. Use as an async context manager.

    Args:
        wire: How the provider is spoken to.
        retries: How often a request is made again after a transient error.
    """

    around = (b"", b"", b"")
    """What stands before, between and after the requests."""

    def __init__(self, wire: Wire, retries: int) -> None:
        self._wire, self._facts = wire, wire.facts
        self._path = wire.preset.format.url_path(wire.model)
        self._calls = Calls(wire, retries)

    async def __aenter__(self) -> FileJobs:
        await self._calls.files.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._calls.files.__aexit__(kind, error, trace)

    def encode(self, custom_id: str, body: Mapping[str, Any]) -> bytes:
        """Write one request."""
        return openai_files.encode_line(custom_id, body, path=self._path, facts=self._facts)

    def read_lines(self, file: Path) -> Iterator[Line | None]:
        """Read results that were downloaded; None for a line that is none."""
        with file.open("rb") as lines:
            yield from (openai_files.read_line(line) for line in lines if line.strip())

    async def upload(self, requests: Path) -> str:
        """Hand the file over, which asks nothing yet; returns its id."""
        name = f"cot_distill-{requests.stem}.jsonl"
        fields = {"purpose": self._facts.purpose}
        files = self._calls.files
        if self._facts.signed_upload:
            file = await self._upload_signed(requests, {**fields, "file_name": name, "file_type": "jsonl"})
        else:
            file = _id_of(await self._calls.again(lambda: files.upload("/files", requests, name, fields)), self._wire)
        if self._facts.waits_for_file:
            await self._processed(file)
        return file

    async def newest(self) -> str:
        """Nothing: a job is found by its key or its file."""
        return ""

    async def create(self, job: BatchJob, requests: Path) -> Said:  # noqa: ARG002 - the file was uploaded
        """Start the job. Each call makes one."""
        wire = self._wire
        body = openai_files.encode_job(job.file, job.key, path=self._path, model=wire.model, facts=self._facts)
        payload = self._calls.read(await self._calls.files.post(self._facts.jobs, body))
        return self._calls.job(openai_files.read_job(payload))

    async def find(self, job: BatchJob, taken: frozenset[str], target: Path) -> Said | None:  # noqa: ARG002
        """Look for the job in the provider's list, by our key or our file."""
        async for one in self._listed():
            if openai_files.is_ours(one, key=job.key, file=job.file, facts=self._facts):
                return openai_files.read_job(one)
        return None

    async def look(self, job: BatchJob) -> Said:
        """Ask how the job is doing."""
        return self._calls.job(openai_files.read_job(await self._calls.look(self._facts.jobs, job)))

    async def download(self, said: Said, target: Path) -> list[Path]:
        """Fetch the results of a job that has ended, answers before errors."""
        files = self._calls.files
        found = []
        for number, file in enumerate(said.results):
            place = target.with_suffix(f".results-{number}")
            await self._calls.again(lambda file=file, place=place: files.download(f"/files/{file}/content", place))  # type: ignore[misc]
            found.append(place)
        return found

    async def _listed(self) -> AsyncIterator[Any]:
        paging = self._facts.paging
        params: dict[str, str] = {"after": {"limit": str(_PAGE)}, "page": {"page_size": str(_PAGE)}}.get(paging, {})
        for page in range(1_000_000):
            now = params | ({"page": str(page)} if paging == "page" else {})
            payload = await self._calls.again(lambda now=now: self._calls.files.get(self._facts.jobs, now))  # type: ignore[misc]
            jobs = openai_files.jobs_in(payload)
            for one in jobs:
                yield one
            more = payload.get("has_more") if paging == "after" else len(jobs) >= _PAGE
            last = jobs[-1].get("id") if jobs and isinstance(jobs[-1], dict) else None
            if paging == "none" or not more or not last:
                return
            if paging == "after":
                params["after"] = str(last)

    async def _upload_signed(self, requests: Path, fields: Mapping[str, str]) -> str:
        files = self._calls.files
        held: list[Reply] = []

        async def announce() -> Reply:
            reply = await files.post_form("/files", fields)
            held.append(reply)
            signed = reply.status in (302, 303, 307) and "location" in reply.headers
            return reply._replace(status=200, body=b"") if signed else reply

        payload = await self._calls.again(announce)
        headers = held[-1].headers
        if "location" not in headers:
            return _id_of(payload, self._wire)
        file = headers.get("x-together-file-id", "")
        await self._calls.again(lambda: _empty(files.put(headers["location"], requests)))
        await self._calls.again(lambda: files.post(f"/files/{file}/preprocess", {}))
        return file

    async def _processed(self, file: str) -> None:
        for pause in pauses():
            payload = await self._calls.again(lambda: self._calls.files.get(f"/files/{file}"))
            status = str(payload.get("status") if isinstance(payload, dict) else "").lower()
            if status in ("error", "failed"):
                detail = payload.get("status_details") or payload.get("error") or status
                raise RequestError(f"{self._wire.preset.name} refuses the file of requests: {detail}")
            if status not in ("pending", "running", "uploading", "notrunning"):
                return
            await anyio.sleep(pause)


def _id_of(payload: Any, wire: Wire) -> str:
    found = payload.get("id") if isinstance(payload, dict) else None
    if not isinstance(found, str):
        name = wire.preset.name
        raise UnavailableError(f"{name} took the file and named no id", provider=name, kind="malformed")
    return found


async def _empty(reply: Awaitable[Reply]) -> Reply:
    """A reply whose body says nothing: what a signed address answers is no JSON."""
    found = await reply
    return found._replace(body=b"") if 200 <= found.status < 300 else found
