"""The client for a provider of batch jobs: one of the two families, with the same methods.

Nothing else in the library knows which of the two it talks to. What is asked for again after an error is what may be
asked for twice: everything but ``create``, which makes a job each time. How a job is made once and only once is in
:mod:`cot_distill.batch.submitting`.
"""

from __future__ import annotations

from cot_distill.batch.file_jobs import FileJobs
from cot_distill.batch.message_batches import MessageBatches
from cot_distill.batch.wire import Wire

__all__ = ["BatchClient", "client_of"]

BatchClient = FileJobs | MessageBatches


def client_of(wire: Wire, retries: int) -> BatchClient:
    """Choose the client.

    Args:
        wire: How the provider is spoken to.
        retries: How often a request is made again after a transient error.

    Returns:
        The client, to be used as an async context manager.
    """
    return MessageBatches(wire, retries) if wire.facts.family == "messages" else FileJobs(wire, retries)
