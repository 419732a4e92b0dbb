"""Asking the verifiers, and booking what they say."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

import anyio

from cot_distill.asking_verifiers import ask_verifier
from cot_distill.errors import ConfigError, TeacherError, VerifierError
from cot_distill.identity import identity_of
from cot_distill.journal_index import Head
from cot_distill.ledger import Ledger
from cot_distill.outcome import Outcome, crashed
from cot_distill.protocols import Verifier
from cot_distill.records import Known, Place, Record, digest_of, verdict_mark
from cot_distill.types import Sample, Usage, Verdict
from cot_distill.workers import drive

__all__ = ["Judge", "judge_places"]

log = logging.getLogger("cot_distill")

Said = Mapping[str, Verdict]
"""Verdicts by the identity of the verifier."""

_CRASHES = 3
_AT_ONCE = 64
_THREADS = 8
"""For plain functions: enough to wait for files and processes; what computes gains nothing from threads."""


class Judge:
    """Judges samples, one verifier after the other.

    A crash on one sample is booked and the sample set aside, to be judged again next time: one odd trace must not
    end a night's run. Where nothing but crashes comes, the verifier itself is at fault, and that is raised.

    Args:
        verifiers: May be none: then samples pass through as they are.
        ledger: Where to book; None to book nothing.
        reading: How traces are read: under other tags an answer may be another trace, and is judged anew.
    """

    def __init__(self, verifiers: Sequence[Verifier], ledger: Ledger | None, *, reading: object = None) -> None:
        self._verifiers = verifiers
        self._ledger = ledger
        self._ids = [digest_of(identity_of(verifier)) for verifier in verifiers]
        self._mark = verdict_mark([*self._ids, repr(reading)])
        self._threads = anyio.CapacityLimiter(_THREADS)
        self.proven = False
        """Whether one answer could be judged: then a crash is that of one odd trace."""
        self._held: list[tuple[Head, Said, str]] = []
        self.waits = any(not getattr(verifier, "light", False) for verifier in verifiers)
        """Whether a verdict may take its time."""
        self.asks = any(map(_is_paid, verifiers))
        """Whether verdicts cost something, so that those of an earlier session are worth looking up."""

    def trust(self, marks: Iterable[int]) -> None:
        """Take it from the marks of earlier verdicts that these verifiers work, if they judged anything."""
        self.proven = self.proven or any(map(self.is_mark_of, marks))

    def is_due(self, known: Known) -> bool:
        """Whether an answer of an earlier session lacks a verdict of just these verifiers."""
        return bool(self._verifiers) and known.kind == "completion" and not self.is_mark_of(known.verdict)

    def is_mark_of(self, verdict: int) -> bool:
        """Whether a verdict with this mark is of just these verifiers."""
        return verdict >> 1 == self._mark

    async def __call__(self, head: Head, sample: Sample, earlier: Said | None = None) -> Outcome:
        """Return the sample with its verdicts, or a Failure where a verifier crashed on it.

        Args:
            head: Of the record that the sample was read from.
            sample: Without verdicts.
            earlier: What was said of it before, by identity of the verifier. Verdicts that cost something are not
                paid for again.

        Raises:
            VerifierError: The first ones all crashed. The crash is its ``__cause__``.
            ConfigError: A verifier cannot work here at all: a package or a sandbox is missing.
            TeacherError: A judge's key is wrong, or its quota used up.
            RunError: The journal cannot be written.
        """
        if not self._verifiers:
            return sample
        verdicts: dict[str, Verdict] = {}
        try:
            await self._ask_all(sample, earlier or {}, verdicts)
        except (Exception, SystemExit) as error:  # a verifier may run a model's code, and that may leave
            if isinstance(error, ConfigError) or (isinstance(error, TeacherError) and error.fatal):
                raise
            return self._crash(head, sample, verdicts, error)
        self.proven = True
        self.flush()
        judged = sample.model_copy(update={"verdicts": tuple(verdicts.values())})
        if self._ledger is not None:
            mark = self._mark << 1 | (judged.passed is True)
            self._ledger.verdicts(head, verdicts, mark=mark, used=_used(verdicts, earlier))
        return judged

    async def _ask_all(self, sample: Sample, earlier: Said, verdicts: dict[str, Verdict]) -> None:
        """Fill in the verdicts one by one, so that those before a crash are there."""
        for identity, verifier in zip(self._ids, self._verifiers, strict=True):
            paid = _is_paid(verifier)
            if paid and any(verdict.passed is False for verdict in verdicts.values()):
                continue  # it is wrong already: whoever costs something need not be asked
            known = earlier.get(identity) if paid else None
            if known is None or known.passed is None:
                known = await ask_verifier(verifier, sample.task, sample.trace, self._threads)
            verdicts[identity if identity not in verdicts else f"{identity}+{len(verdicts)}"] = known

    def flush(self) -> None:
        """Book the crashes that were held back until it was known whether the verifiers work at all."""
        for head, verdicts, message in self._held:
            if self._ledger is not None:
                self._ledger.verdicts(head, verdicts, mark=0, used=_used(verdicts, None), crash=message)
        self._held.clear()

    def _crash(self, head: Head, sample: Sample, verdicts: Said, error: BaseException) -> Outcome:
        # A verifier's words may hold what no file can: half a surrogate pair, say.
        message = f"{type(error).__name__}: {error}".encode("utf-8", "replace").decode()
        self._held.append((head, verdicts, message))
        if self.proven:
            self.flush()
        elif len(self._held) >= _CRASHES:
            self._held.clear()
            raise VerifierError(
                f"the verifiers crash: {message} (task {sample.task.id!r}). The completions are kept: mend the "
                "verifier and run again"
            ) from error
        log.warning("a verifier crashed on task %r", sample.task.id, exc_info=error)
        return crashed(sample, message)


async def judge_places(
    judge: Judge,
    ledger: Ledger,
    places: Iterable[Place],
    *,
    read: Callable[[Record], Outcome],
    emit: Callable[[Outcome], Awaitable[None]] | None = None,
) -> None:
    """Judge answers that are in the journal, many at once.

    Args:
        judge: Who judges.
        ledger: Where the answers are.
        places: Which answers. What has no trace is passed over.
        read: Makes a sample of a record.
        emit: Told of each outcome.

    Raises:
        As :class:`Judge`; the first error ends it.
    """

    async def samples() -> AsyncIterator[tuple[Place, Sample]]:
        for place in places:
            if place.answer.head.kind == "completion":
                outcome = read(ledger.record(place._replace(verdict=None)))
                if isinstance(outcome, Sample):
                    yield place, outcome

    async def work(job: tuple[Place, Sample]) -> None:
        place, sample = job
        outcome = await judge(place.answer.head, sample, ledger.said(place.verdict) if judge.asks else None)
        if emit is not None:
            await emit(outcome)

    await drive(samples(), work, _AT_ONCE if judge.waits else 1)
    judge.flush()


def _is_paid(verifier: Verifier) -> bool:
    return bool(getattr(verifier, "paid", False))


def _used(verdicts: Said, earlier: Said | None) -> int:
    """Tokens that these verdicts cost, without those that are taken over from before."""
    new = (one.usage for identity, one in verdicts.items() if one != (earlier or {}).get(identity))
    return sum((usage or Usage()).total or 0 for usage in new)
