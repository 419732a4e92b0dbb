"""Running model-written programs against tests, without trusting them.

::

    from cot_distill.sandbox import run_python

    run_python("def double(x): return 2 * x", ["assert double(2) == 4"]).status  # "passed"

The program and its tests are two processes, and only plain data crosses between them. Both are kept in by what
:func:`isolation` names. What is not on Linux, or has neither bubblewrap nor Landlock, raises
:class:`~cot_distill.errors.SandboxUnavailableError`.
"""

from __future__ import annotations

from cot_distill.sandbox.local import LocalSandbox, run_python
from cot_distill.sandbox.outcome import Outcome, Sandbox, Status
from cot_distill.sandbox.probing import isolation, probe

__all__ = ["LocalSandbox", "Outcome", "Sandbox", "Status", "isolation", "probe", "run_python"]
