"""What went wrong at the teacher, as one of our errors: a table.

This file knows every status, code and phrase by which providers say no, and the hints on how long to wait. It knows
no HTTP client and no answers that succeed, and it retries nothing: the class of the error says whether asking again
may help.

The first rule of ``_RULES`` that fits decides. Statuses that leave no doubt come first, then the codes and phrases
that tell a quota from a rate limit and a refusal from a wrong key, then what a bare status means.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cot_distill.errors import (
    AuthError,
    QuotaError,
    RateLimitError,
    RequestError,
    TeacherError,
    UnavailableError,
    UnknownModelError,
)
from cot_distill.teachers.error_bodies import Said, describe, one_line, read_error, request_id
from cot_distill.teachers.waits import LONGEST_WAIT, retry_after

__all__ = ["body_error", "teacher_error"]


@dataclass(frozen=True, slots=True)
class _Rule:
    """Fits by status, and then by any of the codes or by the phrase, where it has some."""

    error: type[TeacherError]
    kind: str
    advice: str
    statuses: frozenset[int]
    codes: str = ""
    phrase: str = ""

    def fits(self, status: int, said: Said) -> bool:
        if status not in self.statuses:
            return False
        if not self.codes and not self.phrase:
            return True
        if not said.codes.isdisjoint(self.codes.split()):
            return True
        # Servers say what is wrong at once; further on there may be an echo of the user's own text.
        return bool(self.phrase) and re.search(self.phrase, said.text[:400], re.IGNORECASE) is not None


_CLIENT = frozenset({200, *range(400, 500)})
_SERVER = frozenset({408, 409, 424, 425, 498, *range(500, 600)})

_MOVED = "redirects are not followed, so that the key goes nowhere else; correct base_url"
_BUSY = "the server is overloaded or down; ask again later"
_SHORTER = "too long for this model or plan; shorten the task, or lower max_tokens"
_DECLINED = "declined by a content filter; leave the task out, do not rephrase it"
_SLOWER = "too many requests or tokens; lower concurrency or set a RateLimit"
_PAY = (
    "quota, balance or cap is used up; raise it or wait, then run the same command again: what was paid for is kept"
)
_KEY = "check the key, and that it may use this model"
_MODEL = "check the model id and base_url"
_STREAM = "this model answers, or thinks, only when it streams: open_teacher(…, stream=True)"
_AMEND = "the request is not accepted as it is; check Sampling and its `extra`"

_TOO_LONG_CODES = """
    context_length_exceeded exceed_context_size_error context_window_exceeded contextwindowexceedederror
    model_context_window_exceeded string_above_max_length request_too_large zhipu:1261"""
_TOO_LONG = (
    r"context.?(length|window|size)|maximum (context|prompt|input)|(prompt|input) (is |was )?too (long|large)"
    r"|exceeded model token limit|exceeds the maximum number of tokens|inputs`? tokens|range of input length"
)
_REFUSED_CODES = """
    content_filter content_policy_violation contentpolicyviolationerror responsibleaipolicyviolation invalid_prompt
    data_inspection_failed datainspectionfailed sensitive refusal guardrail_intervened
    zhipu:1301 minimax:1026 minimax:1027"""
_REFUSED = (
    r"content.?(management.?)?(policy|policies|filter)|moderation|\bflagged\b|usage polic(y|ies)"
    r"|safety (system|filter|reason|guideline)|inappropriate content"
)
_QUOTA_CODES = """
    insufficient_quota exceeded_current_quota_error billing_error billing_hard_limit_reached billing_not_active
    insufficient_balance insufficient_credits arrearage servicequotaexceededexception quota_per_day
    minimax:1008 zhipu:1113 zhipu:1304 zhipu:1308 zhipu:1309 zhipu:1310"""
_QUOTA = (
    r"insufficient (account )?(balance|quota|credit|fund)|credit balance|spend(ing)? (limit|cap)"
    r"|used all available credits|api usage limits"
    r"|per-day\b|too many tokens per day"  # else "per day" in words comes with a short wait: no quota
)
_MODEL_CODES = (
    "model_not_found model_not_exist model_decommissioned invalid_model not_found_error notfounderror zhipu:1211"
)
_NO_MODEL = (
    r"model\b.{0,80}\b(not exist|not found)|(invalid|unknown) model (name|id)|invalid model:|not a valid model"
    r"|no such model|server is pinned|model identifier is invalid"
)
_KEY_CODES = """
    invalid_api_key api_key_invalid authentication_error authenticationerror invalid_authentication_error
    unauthenticated permission_error permission_denied gemini:failed_precondition
    minimax:1004 minimax:2049"""
_NO_KEY = r"(incorrect|invalid|missing|no) api.?key|api.?key (is )?(not valid|invalid|incorrect|expired)"
_RATE_CODES = """
    rate_limit_exceeded rate_limit_reached_error rate_limit_error ratelimiterror rate_limited slow_down
    resource_exhausted too_many_requests throttlingexception minimax:1002 minimax:1039
    zhipu:1302 zhipu:1303 zhipu:1305 zhipu:1312"""

_RULES = (
    _Rule(UnknownModelError, "unknown_model", _MOVED, frozenset(range(300, 400))),
    _Rule(UnavailableError, "timeout", _BUSY, frozenset({408, 504, 522, 524})),
    _Rule(UnavailableError, "http", _BUSY, _SERVER),
    _Rule(RequestError, "too_long", _SHORTER, frozenset({413})),
    _Rule(AuthError, "auth", _KEY, frozenset({401})),
    # One request above the limit of a whole minute never gets through, however long one waits.
    _Rule(RequestError, "too_long", _SHORTER, frozenset({429}), phrase="request too large for"),
    _Rule(RequestError, "too_long", _SHORTER, frozenset({200, 400, 422}), _TOO_LONG_CODES, _TOO_LONG),
    _Rule(RequestError, "refused", _DECLINED, frozenset({200, 400, 403, 422, 451}), _REFUSED_CODES, _REFUSED),
    # DashScope calls its limit per minute a quota: it is over within the minute.
    _Rule(RateLimitError, "rate_limited", _SLOWER, frozenset({200, 429}), "dashscope:insufficient_quota"),
    _Rule(QuotaError, "quota", _PAY, frozenset({402, 412})),
    _Rule(QuotaError, "quota", _PAY, _CLIENT, _QUOTA_CODES, _QUOTA),
    _Rule(UnknownModelError, "unknown_model", _MODEL, frozenset({404, 405, 410})),
    _Rule(UnknownModelError, "unknown_model", _MODEL, frozenset({200, 400, 403, 422}), _MODEL_CODES, _NO_MODEL),
    _Rule(AuthError, "auth", _KEY, frozenset({403})),
    _Rule(AuthError, "auth", _KEY, frozenset({200, 400, 422}), _KEY_CODES, _NO_KEY),
    _Rule(RateLimitError, "rate_limited", _SLOWER, frozenset({429})),
    _Rule(RateLimitError, "rate_limited", _SLOWER, _CLIENT, _RATE_CODES),
    _Rule(RequestError, "bad_request", _STREAM, frozenset({400}), phrase="non-streaming calls|only support stream"),
    _Rule(RequestError, "bad_request", _AMEND, _CLIENT - {200}),
    # From here on: errors at HTTP 200 that brought no status of their own.
    _Rule(UnavailableError, "timeout", _BUSY, frozenset({200}), "timeout timeout_error minimax:1001"),
    _Rule(
        RequestError,
        "bad_request",
        _AMEND,
        frozenset({200}),
        "invalid_request_error badrequesterror invalid_argument minimax:2013",
    ),
)
_OTHERWISE = _Rule(UnavailableError, "http", _BUSY, frozenset())


def teacher_error(
    status: int, headers: Mapping[str, str], body: bytes, *, provider: str, now: float | None = None
) -> TeacherError:
    """Turn a response that is no completion into the error that fits.

    That includes a 200 with an empty, blank or cut body, with text that is not Unicode, or with a web page
    (``UnavailableError``, kind ``malformed``).

    Args:
        status: The HTTP status.
        headers: The response's headers, names in lower case.
        body: The response's body.
        provider: The provider's name, for the message and for codes that only it uses.
        now: Seconds since the epoch, for hints that are dates. Default: the clock.

    Returns:
        The error, to be raised.

    Example:
        >>> teacher_error(402, {}, b'{"error": {"message": "Insufficient Balance"}}', provider="deepseek").fatal
        True
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    said = read_error(payload, provider)
    said = _with_header(said, headers, provider) if status >= 400 else said
    if said is None and status < 300:
        return UnavailableError(
            f"{provider} answered {status} with {describe(body)}, not a completion: ask again, or check base_url",
            provider=provider,
            status=status,
            request_id=request_id(headers, payload),
            kind="malformed",
        )
    if said is None:
        text = body[:4000].decode("utf-8", "replace")
        said = Said(text=describe(body) if text.lstrip().startswith("<") else text)
    return _error(status, headers, payload, said, provider, now)


def _with_header(said: Said | None, headers: Mapping[str, str], provider: str) -> Said | None:
    """Add the code that Amazon puts into a header: ``ThrottlingException:http://…``."""
    code = headers.get("x-amzn-errortype", "").partition(":")[0].strip().lower()[:100]
    if not code:
        return said
    said = said or Said()
    return replace(said, codes=said.codes | {code, f"{provider.partition(':')[0]}:{code}"})


def body_error(payload: Any, *, provider: str) -> TeacherError | None:
    """Return the error that a body of HTTP 200 carries, if it carries one.

    Args:
        payload: The parsed body.
        provider: As for :func:`teacher_error`.

    Returns:
        The error, to be raised, or None.

    Example:
        >>> body_error({"base_resp": {"status_code": 1008, "status_msg": "balance"}}, provider="minimax").kind
        'quota'
        >>> body_error({"choices": [], "error": None}, provider="openai") is None
        True
    """
    said = read_error(payload, provider)
    return None if said is None else _error(200, {}, payload, said, provider, None)


def _error(
    status: int, headers: Mapping[str, str], payload: Any, said: Said, provider: str, now: float | None
) -> TeacherError:
    meant = said.status if status < 300 and said.status is not None else status
    rule = next((rule for rule in _RULES if rule.fits(meant, said)), _OTHERWISE)
    error, kind, advice = rule.error, rule.kind, rule.advice
    obey = headers.get("x-should-retry", "").strip().lower() if status >= 400 else ""
    if obey == "true" and not error.transient:
        error = RateLimitError if meant == 429 else UnavailableError
        kind, advice = error.default_kind, "the server says that asking again may help"
    elif obey == "false" and error is RateLimitError:
        error, kind, advice = QuotaError, "quota", _PAY
    elif obey == "false" and error.transient:
        error, advice = RequestError, "the server says that asking again will not help"
    wait = retry_after(headers, payload, now=time.time() if now is None else now, status=meant)
    if error.transient and wait is not None and wait > LONGEST_WAIT:
        error, kind, advice = QuotaError, "quota", f"it asks to wait {wait / 60:.0f} minutes; {_PAY}"
    words = one_line(said.text or " ".join(sorted(said.codes)))
    return error(
        f'{provider} answered {status} "{words}": {advice}' if words else f"{provider} answered {status}: {advice}",
        provider=provider,
        status=status,
        request_id=request_id(headers, payload),
        retry_after=wait,
        kind=kind,
    )
