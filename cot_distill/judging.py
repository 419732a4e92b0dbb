"""Asking the verifiers, and booking what they say."""

from __future__ import annotations

import functools
import inspect
import logging
import re
from collections.abc import Sequence

from cot_distill.errors import VerifierError
from cot_distill.journal_index import Head
from cot_distill.ledger import Known, Ledger, verdict_mark
from cot_distill.outcome import Outcome, crashed
from cot_distill.protocols import Verifier
from cot_distill.types import Sample, Verdict

__all__ = ["Judge", "identity_of", "name_of"]

log = logging.getLogger("cot_distill")

_CRASHES = 3


class Judge:
    """Judges samples, one verifier after the other.

    A crash on one sample is booked and the sample set aside, to be judged again next time: one odd trace must not
    end a night's run. Where nothing but crashes comes, the verifier itself is at fault, and that is raised.

    Args:
        verifiers: May be none: then samples pass through as they are.
        ledger: Where to book; None to book nothing.
    """

    def __init__(self, verifiers: Sequence[Verifier], ledger: Ledger | None) -> None:
        self._verifiers = verifiers
        self._ledger = ledger
        self._mark = verdict_mark([identity_of(verifier) for verifier in verifiers])
        self._judged = self._crashed = 0

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
        except Exception as error:
            return self._crash(head, sample, error)
        self._judged += 1
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

    def _crash(self, head: Head, sample: Sample, error: Exception) -> Outcome:
        message = f"{type(error).__name__}: {error}"
        if self._ledger is not None:
            self._ledger.verdicts(head, (), mark=0, crash=message)
        self._crashed += 1
        if self._crashed >= _CRASHES and not self._judged:
            raise VerifierError(
                f"the verifiers crash: {message} (task {sample.task.id!r}). The completions are kept: mend the "
                "verifier and run again"
            ) from error
        log.warning("a verifier crashed on task %r", sample.task.id, exc_info=error)
        return crashed(sample, message)


def name_of(part: object) -> str:
    """The name under which a callable is known: its own, or that of its class."""
    return str(getattr(part, "__name__", None) or type(part).__name__)


def identity_of(verifier: Verifier) -> str:
    """Name, code and settings of a verifier, as far as they can be seen: when this changes, it judges anew.

    What it cannot see (code that is called from there, a model) a ``digest`` attribute can say. To judge once too
    often costs nothing but time.
    """
    function = verifier.func if isinstance(verifier, functools.partial) else verifier
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    seen = [
        getattr(verifier, "digest", None),
        *((code.co_code.hex(), code.co_consts, code.co_names) if code is not None else ()),
        getattr(function, "__defaults__", None),
        (verifier.args, verifier.keywords) if isinstance(verifier, functools.partial) else vars(verifier),
    ]
    # Addresses differ from one process to the next.
    return f"{name_of(verifier)} {re.sub(' at 0x[0-9a-f]+', '', repr(seen))}"
