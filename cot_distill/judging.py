"""Asking the verifiers, and booking what they say."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Sequence

from cot_distill.errors import VerifierError
from cot_distill.identity import identity_of, name_of
from cot_distill.journal_index import Head
from cot_distill.ledger import Known, Ledger, verdict_mark
from cot_distill.outcome import Outcome, crashed
from cot_distill.protocols import Verifier
from cot_distill.types import Sample, Verdict

__all__ = ["Judge"]

log = logging.getLogger("cot_distill")

_CRASHES = 3


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
        self._mark = verdict_mark([*map(identity_of, verifiers), repr(reading)])
        self._proven = False
        self._held: list[tuple[Head, str]] = []

    def trust(self, known: Iterable[Known]) -> None:
        """Take it from earlier sessions that these verifiers work, if they judged anything."""
        self._proven = self._proven or any(one.verdict >> 1 == self._mark for one in known)

    def is_due(self, known: Known) -> bool:
        """Whether an answer of an earlier session lacks a verdict of just these verifiers."""
        return bool(self._verifiers) and known.kind == "completion" and known.verdict >> 1 != self._mark

    async def __call__(self, head: Head, sample: Sample) -> Outcome:
        """Return the sample with its verdicts, or a Failure where a verifier crashed on it.

        Args:
            head: Of the record that the sample was read from.
            sample: Without verdicts.

        Raises:
            VerifierError: The first ones all crashed. The crash is its ``__cause__``.
            RunError: The journal cannot be written.
        """
        if not self._verifiers:
            return sample
        try:
            verdicts = await self._verdicts(sample)
        except (Exception, SystemExit) as error:  # a verifier may run a model's code, and that may leave
            return self._crash(head, sample, error)
        self._proven = True
        self.flush()
        judged = sample.model_copy(update={"verdicts": verdicts})
        if self._ledger is not None:
            self._ledger.verdicts(head, verdicts, mark=self._mark << 1 | (judged.passed is True))
        return judged

    async def _verdicts(self, sample: Sample) -> tuple[Verdict, ...]:
        verdicts = []
        for verifier in self._verifiers:
            verdict = verifier(sample.task, sample.trace)
            if inspect.isawaitable(verdict):
                verdict = await verdict
            if not isinstance(verdict, Verdict):
                raise TypeError(f"{name_of(verifier)} returned {type(verdict).__name__}, not a Verdict")
            verdicts.append(verdict)
        return tuple(verdicts)

    def flush(self) -> None:
        """Book the crashes that were held back until it was known whether the verifiers work at all."""
        for head, message in self._held:
            if self._ledger is not None:
                self._ledger.verdicts(head, (), mark=0, crash=message)
        self._held.clear()

    def _crash(self, head: Head, sample: Sample, error: BaseException) -> Outcome:
        # A verifier's words may hold what no file can: half a surrogate pair, say.
        message = f"{type(error).__name__}: {error}".encode("utf-8", "replace").decode()
        self._held.append((head, message))
        if self._proven:
            self.flush()
        elif len(self._held) >= _CRASHES:
            self._held.clear()
            raise VerifierError(
                f"the verifiers crash: {message} (task {sample.task.id!r}). The completions are kept: mend the "
                "verifier and run again"
            ) from error
        log.warning("a verifier crashed on task %r", sample.task.id, exc_info=error)
        return crashed(sample, message)
