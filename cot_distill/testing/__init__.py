"""Parts for testing what you build on cot_distill: teachers with a script, a server with faults, and proofs.

This file only gathers the public names. ``check_teacher`` and ``check_writer`` prove a teacher or writer of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cot_distill.testing.teacher_checks import check_teacher
from cot_distill.testing.teachers import Call, FlakyTeacher, ScriptedTeacher, echo_answer
from cot_distill.testing.writer_checks import check_writer

if TYPE_CHECKING:
    from cot_distill.testing.server import FaultServer, LoggedRequest

__all__ = [
    "Call",
    "FaultServer",
    "FlakyTeacher",
    "LoggedRequest",
    "ScriptedTeacher",
    "check_teacher",
    "check_writer",
    "echo_answer",
]


def __getattr__(name: str) -> Any:
    # Loaded late, since `python -m cot_distill.testing.server` warns if its module is there before it runs.
    if name in ("FaultServer", "LoggedRequest"):
        from cot_distill.testing import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
