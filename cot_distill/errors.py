"""Every error the library raises, as one tree.

::

    DistillError
    ├─ ConfigError                bad spec, setting or missing key
    │  ├─ MissingExtraError       an optional package is not installed (also an ImportError)
    │  └─ SandboxUnavailableError nothing here can keep a program in that nobody trusts
    ├─ TeacherError               the teacher did not give a usable completion
    │  ├─ AuthError               fatal: the key is wrong or may not do this
    │  ├─ QuotaError              fatal: balance, quota or spending cap is used up
    │  ├─ UnknownModelError       fatal: no such model, or no such URL
    │  ├─ RateLimitError          transient: slow down, then ask again
    │  ├─ UnavailableError        transient: network, overload, a reply that is no reply
    │  └─ RequestError            this task only: too long, refused, bad parameter
    ├─ TraceError                 a completion that is not a trace (``kind`` says why)
    ├─ VerifierError              a verifier crashed; the completion is already in the journal
    ├─ SourceError                a piece of the input cannot be read (file, line, what was wrong)
    └─ RunError                   the run directory: locked, other recipe, corrupt, disk full

*Fatal* errors end a run at once, since every further request would fail in the same way. *Transient* ones are
retried. Anything that concerns one task only becomes a :class:`~cot_distill.types.Failure` in the ledger: data,
not a crash. Exceptions raised by a user's own template or teacher surface as they are.
"""

from __future__ import annotations

from typing import ClassVar, Literal

__all__ = [
    "AuthError",
    "ConfigError",
    "DistillError",
    "MissingExtraError",
    "QuotaError",
    "RateLimitError",
    "RequestError",
    "RunError",
    "SandboxUnavailableError",
    "SourceError",
    "TeacherError",
    "TraceError",
    "TraceErrorKind",
    "UnavailableError",
    "UnknownModelError",
    "VerifierError",
]

TraceErrorKind = Literal[
    "truncated",  # cut by a token limit: it may be right up to there, but it is no whole trace
    "refused",  # a content filter or the model itself declined
    "unfinished",  # ended in any other way than a normal stop
    "no_reasoning",
    "no_answer",
    "unbalanced",  # a tag without its partner, or text before the opening tag
    "repeated",  # more than one block, or the field and the tags disagree
]


class DistillError(Exception):
    """Base of every error that the library raises on purpose."""


class ConfigError(DistillError):
    """A setting, spec or key is missing or wrong; the message names it and the way out."""


class MissingExtraError(ConfigError, ImportError):
    """An optional package is needed.

    Args:
        feature: What the user asked for, as it should read at the start of a sentence.
        extra: The name of the extra that brings the package.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional package: pip install 'cot_distill[{extra}]'")
        self.extra = extra


class SandboxUnavailableError(ConfigError):
    """Programs that nobody trusts cannot be run here; the message says what is missing, and the ways out."""


class TeacherError(DistillError):
    """The teacher did not give a usable completion.

    Args:
        message: What happened, in words that a user can act on. Never holds a key.
        provider: Name of the provider or teacher.
        status: HTTP status, where there was one.
        request_id: The provider's id of the request, for a support ticket.
        retry_after: The server's own hint, in seconds from now.
        kind: The word under which the ledger books it.
    """

    transient: ClassVar[bool] = False
    """Asking again may help."""
    fatal: ClassVar[bool] = False
    """Every other request would fail in the same way."""
    default_kind: ClassVar[str] = "http"

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.kind = kind or self.default_kind


class AuthError(TeacherError):
    """The key is missing, wrong, or may not use this model."""

    fatal = True
    default_kind = "auth"


class QuotaError(TeacherError):
    """Balance, quota or spending cap is used up: waiting a little does not help."""

    fatal = True
    default_kind = "quota"


class UnknownModelError(TeacherError):
    """The endpoint knows no such model, or there is nothing at this URL."""

    fatal = True
    default_kind = "unknown_model"


class RateLimitError(TeacherError):
    """Too many requests or tokens: the whole client should wait, then ask again."""

    transient = True
    default_kind = "rate_limited"


class UnavailableError(TeacherError):
    """Network trouble, an overloaded server, or a reply that is no reply.

    The ``kind`` is ``unreachable``, ``timeout``, ``malformed``, or ``http`` for the rest.
    """

    transient = True


class RequestError(TeacherError):
    """The endpoint will not answer this task: too long, refused, or a parameter it does not take."""

    default_kind = "bad_request"


class TraceError(DistillError):
    """A completion that cannot become a trace.

    Args:
        kind: Why, in one word (see :data:`TraceErrorKind`).
        message: Why, in a sentence.
    """

    def __init__(self, kind: TraceErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: TraceErrorKind = kind


class VerifierError(DistillError):
    """A verifier crashed. The completion is already in the journal: mend the verifier and run again."""


class SourceError(DistillError):
    """A piece of the input cannot be read; the message names the file, the line and what was wrong."""


class RunError(DistillError):
    """The run directory cannot be used: locked, made with another recipe, corrupt, or the disk is full."""
