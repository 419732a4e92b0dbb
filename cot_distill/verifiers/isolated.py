"""Running any verifier in a process that can be killed.

It knows nothing of what the verifier does. This is against verifiers that take long, hang or crash, not against
hostile code, which belongs into :mod:`cot_distill.sandbox`.
"""

from __future__ import annotations

import pickle
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import blake2b
from types import TracebackType
from typing import Literal

import anyio

from cot_distill.arguments import check_count, check_number, check_verifier
from cot_distill.identity import identity_of, name_of
from cot_distill.processes import WorkerDiedError, WorkerPool, WorkerTimeoutError, packed
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict

__all__ = ["isolated"]


def isolated(
    verifier: Verifier, *, timeout: float = 30.0, workers: int | None = None, memory: int | None = None
) -> Isolated:
    """Run a verifier in worker processes of low priority, beside the requests and each other.

    For what computes for long, or may hang: each verdict has a clock of its own, and when it runs out the process is
    killed. The workers start with the run and end with it; outside of a run, ``async with`` does that.

    Args:
        verifier: Any verifier that can be pickled: one of this library, or a function of a module. One that is
            defined in a script or notebook cannot be. Each worker has a copy of its own, which it keeps.
        timeout: Seconds a verdict may take.
        workers: How many processes. Default: one per CPU that this process may use, but at least 2 and at most 8.
        memory: MiB of address space a worker may have. Default: no limit.

    Returns:
        A verifier with the same name. What takes too long, or ends its process, could not be told
        (``passed=None``), with the reason. What the verifier raises is raised.

    Raises:
        ConfigError: The verifier cannot be sent to another process, or a number is not positive.

    Example:
        >>> from cot_distill.verifiers import exact
        >>> verify = isolated(exact(), timeout=5)
        >>> async def judged():
        ...     async with verify:
        ...         return await verify(Task(instruction="2 + 2?", answer="4"), Trace(reasoning="Hm.", answer="4"))
        >>> anyio.run(judged).passed
        True
    """
    check_verifier(verifier, "isolated(verifier)")
    check_number(timeout, "isolated(timeout=…)")
    for name, value in (("workers", workers), ("memory", memory)):
        if value is not None:
            check_count(value, f"isolated({name}=…)")
    payload = packed(verifier)
    pool = WorkerPool(timeout=timeout, workers=workers, memory=memory, warm=partial(_loaded, payload))
    return Isolated(verifier, timeout, memory, pool, payload)


@dataclass(frozen=True)
class Isolated:
    """A verifier in a process of its own. Made by :func:`isolated`."""

    verifier: Verifier
    timeout: float
    memory: int | None
    pool: WorkerPool = field(repr=False, compare=False)
    payload: bytes = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """That of the verifier inside."""
        return name_of(self.verifier)

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def digest(self) -> str:
        """Changes with the verifier inside, and with what may make a verdict of "cannot tell"."""
        settings = repr((identity_of(self.verifier), self.timeout, self.memory))
        return blake2b(settings.encode(), digest_size=12).hexdigest()

    async def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        """Ask a worker."""
        try:
            return await self.pool.acall(_judged, self.payload, task, trace)
        except (WorkerTimeoutError, WorkerDiedError) as error:
            reason = str(error)
        except MemoryError:
            reason = (
                "needed more memory than there is" if self.memory is None else f"needed more than {self.memory} MiB"
            )
        about: Literal["answer", "quality"] | None = getattr(self.verifier, "about", None)
        return Verdict(by=self.name, passed=None, about=about, reason=reason)

    async def __aenter__(self) -> Isolated:
        self.pool.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.__exit__(kind, error, trace)


# --- inside the worker ---


@lru_cache(maxsize=8)
def _loaded(payload: bytes) -> Verifier:
    """The verifier, once a worker: it may have loaded a model."""
    verifier: Verifier = pickle.loads(payload)  # noqa: S301 - pickled above
    return verifier


def _judged(payload: bytes, task: Task, trace: Trace) -> Verdict:
    verifier = _loaded(payload)
    found = verifier(task, trace)
    verdict = anyio.run(_awaited, found) if isinstance(found, Awaitable) else found
    if not isinstance(verdict, Verdict):
        raise TypeError(f"{name_of(verifier)} returned {type(verdict).__name__}, not a Verdict")
    return verdict


async def _awaited(found: Awaitable[Verdict]) -> Verdict:
    return await found
