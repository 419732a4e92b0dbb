"""Making a job once and only once.

The request that starts a job cannot be made again like others: whoever is cut off while making it does not know
whether the job exists. So it is noted on disk before it goes out, and after anything but a clear answer the list of
the provider is searched first: by our key, by our file, or (Anthropic) by the custom ids in the results. The list is
read twice, some time apart, since a request that was cut off on its way may still be worked on.
"""

from __future__ import annotations

from pathlib import Path

import anyio

from cot_distill.batch.batch_client import BatchClient
from cot_distill.batch.jobs import BatchJob, JobBook
from cot_distill.batch.lines import Said
from cot_distill.errors import TeacherError
from cot_distill.retry import Tries, build_retrying

__all__ = ["resolve", "submit"]

SETTLE_SECONDS = 20.0
"""How long a request may still be worked on after its sender is gone."""


async def submit(client: BatchClient, book: JobBook, job: BatchJob, *, retries: int) -> None:
    """Upload what a job asks, and start it.

    Args:
        client: Of the provider.
        book: Where each step is noted before the next one is made.
        job: Intended.
        retries: How often the request that starts it is made again after a transient error.

    Raises:
        TeacherError: It was refused, and is dropped; or the endpoint cannot be reached, and it is for :func:`resolve`
            to find out.
    """
    requests = _requests(book, job)
    try:
        book.note(job, "uploaded", file=await client.upload(requests))
        book.note(job, "submitting", newest=await client.newest())
        said: Said = await build_retrying(retries)(_create, Tries(), client, book, job)
    except TeacherError as error:
        if not error.transient:
            book.note(job, "dropped")
        raise
    book.note(job, "submitted", id=said.id)
    requests.unlink(missing_ok=True)


async def resolve(client: BatchClient, book: JobBook) -> None:
    """Find out what became of jobs that an earlier session was about to start."""
    for job in list(book.open.values()):
        if job.id:
            continue
        said = await _find(client, book, job) if job.submitting else None
        if said is None:
            book.note(job, "dropped")
        else:
            book.note(job, "submitted", id=said.id)


async def _create(tries: Tries, client: BatchClient, book: JobBook, job: BatchJob) -> Said:
    if tries.made:  # what became of the request before is not known
        found = await _find(client, book, job)
        if found is not None:
            return found
    tries.made += 1
    try:
        return await client.create(job, _requests(book, job))
    except TeacherError as error:
        tries.count(error, 0.0)
        raise


async def _find(client: BatchClient, book: JobBook, job: BatchJob) -> Said | None:
    taken = frozenset(other.id for other in book.open.values() if other.id)
    found = await client.find(job, taken, _requests(book, job))
    if found is None:
        await anyio.sleep(SETTLE_SECONDS)
        found = await client.find(job, taken, _requests(book, job))
    return found


def _requests(book: JobBook, job: BatchJob) -> Path:
    return book.folder / f"{job.key}.requests"
