"""The verifiers of quality that suit any task, together."""

from __future__ import annotations

from cot_distill.protocols import Verifier
from cot_distill.verifiers.leaks import leaks
from cot_distill.verifiers.phrases import self_reference
from cot_distill.verifiers.refusal import refusal
from cot_distill.verifiers.repetition import repetition
from cot_distill.verifiers.scripts import scripts
from cot_distill.verifiers.thinks_first import thinks_first

__all__ = ["quality"]


def quality() -> tuple[Verifier, ...]:
    """Make the verifiers of quality that need no setting and no optional package.

    ``length`` needs bounds, and ``language`` needs a package: add them to the list.

    Returns:
        :func:`refusal`, :func:`leaks`, :func:`thinks_first`, :func:`self_reference`, :func:`scripts` and
        :func:`repetition`, each with its defaults.

    Example:
        >>> from cot_distill import verifiers
        >>> [verifier.__name__ for verifier in [verifiers.exact(), *quality(), verifiers.length(minimum=20)]]
        ['exact', 'refusal', 'leaks', 'thinks_first', 'self_reference', 'scripts', 'repetition', 'length']
    """
    return refusal(), leaks(), thinks_first(), self_reference(), scripts(), repetition()
