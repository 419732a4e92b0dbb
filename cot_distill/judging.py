"""Asking the verifiers, and booking what they say."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

import anyio

from cot_distill.asking_verifiers import ask_verifier
from cot_distill.errors import ConfigError, TeacherError, VerifierError
from cot_distill.identity import identity_of, name_of
from cot_distill.journal_index import Head
from cot_distill.ledger import Ledger
from cot_distill.outcome import Outcome, crashed
from cot_distill.printable import printable
from cot_distill.protocols import Verifier
from cot_distill.records import Known, Place, Record, digest_of, verdict_mark
from cot_distill.types import Sample, Usage, Verdict
from cot_distill.workers import drive

__all__ = ["Judge", "judge_places"]

log = logging.getLogger("cot_distill")

_TOLD = 4000
"""Characters of a traceback that are logged: its end says most."""

Said = Mapping[str, Verdict]
"""Verdicts by the identity of the verifier."""

_CRASHES = 3
_LONGEST_CRASH = 2000
"""Characters of what a crash says that are kept."""
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
        keep: What verifiers of other names said of an answer before stays, beside what these say.
    """

    def __init__(
        self, verifiers: Sequence[Verifier], ledger: Ledger | None, *, reading: object = None, keep: bool = False
    ) -> None:
        self._verifiers = verifiers
        self._ledger = ledger
        self._ids = [digest_of(identity_of(verifier)) for verifier in verifiers]
        self._names = frozenset(map(name_of, verifiers))
        self._reading = repr(reading)
        self._mark = self._mark_with(())
        self._threads = anyio.CapacityLimiter(_THREADS)
        self.proven = False
        """Whether one answer could be judged: then a crash is that of one odd trace."""
        self._held: list[tuple[Head, Said, int, str]] = []
        self.waits = any(not getattr(verifier, "light", False) for verifier in verifiers)
        """Whether a verdict may take its time."""
        self.keeps = keep
        self.asks = keep or any(map(_is_paid, verifiers))
        """Whether what was said before is of use: it stays, or it cost something."""

    def trust(self, marks: Iterable[int]) -> None:
        """Take it from the marks of earlier verdicts that these verifiers work, if they judged anything."""
        self.proven = self.proven or any(map(self.is_mark_of, marks))

    def is_due(self, known: Known) -> bool:
        """Whether an answer of an earlier session lacks a verdict of just these verifiers."""
        return bool(self._verifiers) and known.kind == "completion" and not self.is_mark_of(known.verdict)

    def is_left(self, place: Place, ledger: Ledger) -> bool:
        """Whether an answer has no verdict yet, or only one of an earlier session by others than these verifiers."""
        verdict = place.verdict
        return verdict is None or (ledger.was_there(verdict) and not self.is_mark_of(verdict.head.mark))

    def is_mark_of(self, verdict: int) -> bool:
        """Whether a verdict with this mark is of just these verifiers."""
        return verdict >> 1 == self._mark

    async def __call__(
        self, head: Head, sample: Sample, earlier: Said | None = None, crash: str | None = None
    ) -> Outcome:
        """Return the sample with its verdicts, or a Failure where a verifier crashed on it.

        Args:
            head: Of the record that the sample was read from.
            sample: Without verdicts.
            earlier: What was said of it before, by identity of the verifier. Verdicts that cost something are not
                paid for again.
            crash: What verifiers that crashed on it before said. Where verdicts of others are kept, so is the crash
                of another: a sample that it did not judge must not pass for one that was.

        Raises:
            VerifierError: The first ones all crashed. The crash is its ``__cause__``.
            ConfigError: A verifier cannot work here at all: a package or a sandbox is missing.
            TeacherError: A judge's key is wrong, or its quota used up.
            RunError: The journal cannot be written.
        """
        if not self._verifiers:
            return sample
        kept = self._of_others(earlier or {})
        verdicts: dict[str, Verdict] = {}
        crash = self._crash_of_others(crash)
        try:
            await self._ask_all(sample, earlier or {}, kept, verdicts)
        except _CrashError as error:
            message = str(error) if crash is None else f"{crash}\n{error}"
            return self._crash(head, sample, kept | verdicts, _used(verdicts, earlier), message, error.__cause__)
        self.proven = True
        self.flush()
        used = _used(verdicts, earlier)
        verdicts = kept | verdicts
        if crash is not None:
            self._book(head, verdicts, mark=0, used=used, crash=crash)
            return crashed(sample, crash)
        judged = sample.model_copy(update={"verdicts": tuple(verdicts.values())})
        self._book(head, verdicts, mark=self._mark_with(kept) << 1 | (judged.passed is True), used=used)
        return judged

    async def _ask_all(
        self, sample: Sample, earlier: Said, kept: dict[str, Verdict], verdicts: dict[str, Verdict]
    ) -> None:
        """Fill in the verdicts one by one, so that those before a crash are there, and drop what they replace."""
        for identity, verifier in zip(self._ids, self._verifiers, strict=True):
            paid = _is_paid(verifier)
            known = earlier.get(identity) if paid else None
            if known is None or known.passed is None:
                if paid and any(verdict.passed is False for verdict in (*kept.values(), *verdicts.values())):
                    continue  # it is wrong already: whoever costs something need not be asked
                try:
                    known = _plain(await ask_verifier(verifier, sample.task, sample.trace, self._threads))
                except (Exception, SystemExit) as error:  # a verifier may run a model's code, and that may leave
                    if isinstance(error, ConfigError) or (isinstance(error, TeacherError) and error.fatal):
                        raise
                    raise _CrashError(_one_line(f"{name_of(verifier)}: {type(error).__name__}: {error}")) from error
            for other in [other for other, verdict in kept.items() if verdict.by == known.by]:
                del kept[other]
            verdicts[identity if identity not in verdicts else f"{identity}+{len(verdicts)}"] = known

    def _of_others(self, earlier: Said) -> dict[str, Verdict]:
        """The verdicts that stay. Those of verifiers that judge anew do not, whatever their settings were."""
        if not self.keeps:
            return {}
        own = self._names
        return {one: said for one, said in earlier.items() if said.by not in own and _bare(one) not in self._ids}

    def _crash_of_others(self, crash: str | None) -> str | None:
        """Of what is said of crashes, a line each, the lines that are not of these verifiers."""
        if crash is None or not self.keeps:
            return None
        own = tuple(f"{name}: " for name in self._names)
        return "\n".join(line for line in crash.split("\n") if not line.startswith(own)) or None

    def _mark_with(self, kept: Iterable[str]) -> int:
        """The mark of these verifiers and those whose verdicts stay: that of a session that has them all."""
        return verdict_mark([*map(_bare, kept), *self._ids, self._reading])

    def _book(self, head: Head, verdicts: Said, *, mark: int, used: int, crash: str | None = None) -> None:
        if self._ledger is not None:
            self._ledger.verdicts(head, verdicts, mark=mark, used=used, crash=crash)

    def flush(self) -> None:
        """Book the crashes that were held back until it was known whether the verifiers work at all."""
        for head, verdicts, used, message in self._held:
            self._book(head, verdicts, mark=0, used=used, crash=message)
        self._held.clear()

    def _crash(
        self, head: Head, sample: Sample, verdicts: Said, used: int, message: str, error: BaseException | None
    ) -> Outcome:
        self._held.append((head, verdicts, used, message))
        if self.proven:
            self.flush()
        elif len(self._held) >= _CRASHES:
            self._held.clear()
            raise VerifierError(
                f"the verifiers crash: {message} (task {sample.task.id!r}). The completions are kept: mend the "
                "verifier and run again"
            ) from error
        # Not with exc_info: what a program said may be in it, which no terminal should be told as it is.
        told = printable("".join(traceback.format_exception(error))[-_TOLD:]) if error is not None else message
        log.warning("a verifier crashed on task %r\n%s", sample.task.id, told.rstrip())
        return crashed(sample, message)


class _CrashError(Exception):
    """A verifier crashed. It says which one, and how; the exception itself is the cause."""


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
        earlier = ledger.said(place.verdict) if judge.asks else None
        was_crash = judge.keeps and place.verdict is not None and place.verdict.head.mark == 0
        crash = ledger.record(place).crash if was_crash else None
        outcome = await judge(place.answer.head, sample, earlier, crash)
        if emit is not None:
            await emit(outcome)

    await drive(samples(), work, _AT_ONCE if judge.waits else 1)
    judge.flush()


def _is_paid(verifier: Verifier) -> bool:
    return bool(getattr(verifier, "paid", False))


def _bare(identity: str) -> str:
    """The identity of a verifier, without the number of one that is in the list twice."""
    return identity.partition("+")[0]


def _plain(verdict: Verdict) -> Verdict:
    """The verdict as the journal will give it back: copies were never checked, and a subclass may have more fields.

    Raises:
        pydantic.ValidationError: It is no verdict.
    """
    return Verdict.model_validate({name: getattr(verdict, name) for name in Verdict.model_fields})


def _one_line(message: str) -> str:
    return printable(" ".join(message.split()))[:_LONGEST_CRASH]


def _used(verdicts: Said, earlier: Said | None) -> int:
    """Tokens that these verdicts cost, without those that are taken over from before."""
    new = (one.usage for identity, one in verdicts.items() if one != (earlier or {}).get(identity))
    return sum((usage or Usage()).total or 0 for usage in new)
