"""What an endpoint says about time: how long to wait after a refusal, and what is left of an account's allowance.

This file knows the headers and phrases that do it. Nothing here waits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from cot_distill.teachers.error_bodies import Said, read_error
from cot_distill.types import Allowance, Quota

__all__ = ["LONGEST_WAIT", "allowance", "retry_after"]

LONGEST_WAIT = 15 * 60.0
"""Seconds. What asks for more is a quota, not a rate."""

_AMOUNT = (
    r"(\d+(?:\.\d+)?)\s*"
    r"(ms|milliseconds?|d(?:ays?)?|h(?:ours?|rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)(?![a-z])"
)
_DURATION = re.compile(rf"(?:{_AMOUNT}[\s,]*)+", re.IGNORECASE)
_ASKED = re.compile(rf"\b(?:try again|retry|wait)(?: in| after| for)? ({_DURATION.pattern})", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def retry_after(headers: Mapping[str, str], payload: Any, *, now: float, status: int = 429) -> float | None:
    """How long the server asks to wait, in seconds, or None where it does not say.

    The first that is there counts: ``retry-after-ms``, ``retry-after`` (seconds or a date), a delay in the body,
    and for a 429 the reset time of the window that is fullest.

    Args:
        headers: Names in lower case.
        payload: The parsed body, or None.
        now: Seconds since the epoch.
        status: The HTTP status.

    Returns:
        Seconds, 0 or more, or None.

    Example:
        >>> retry_after({"retry-after": "2.5"}, None, now=0.0)
        2.5
        >>> retry_after({}, {"error": {"message": "Please try again in 1m30s."}}, now=0.0)
        90.0
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    wait = _number(headers.get("retry-after"))
    if wait is None:
        wait = _until(headers.get("retry-after"), now)
    if wait is None:
        said = read_error(payload, "") or Said()
        asked = _ASKED.search(said.text[:2000])
        wait = _duration(said.delay) or _duration(asked[1] if asked else "")
    if wait is None and status == 429:
        wait = _fullest_window(headers, now)
    return None if wait is None else max(0.0, wait)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _until(date: str | None, now: float) -> float | None:
    try:
        then = parsedate_to_datetime(date or "")
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _duration(text: str) -> float | None:
    """Seconds in ``6m0s``, ``17ms``, ``3 seconds``."""
    if _DURATION.fullmatch(text.strip()) is None:
        return None
    amounts = re.findall(_AMOUNT, text.lower())
    return sum(float(n) * (0.001 if unit.startswith(("ms", "mil")) else _SECONDS[unit[0]]) for n, unit in amounts)


def _fullest_window(headers: Mapping[str, str], now: float) -> float | None:
    windows = []
    for name, value in headers.items():
        if not name.startswith("x-ratelimit-reset"):
            continue
        wait = _span(value, now)
        if wait is None:
            continue
        limit, left = (_number(headers.get(name.replace("reset", what))) for what in ("limit", "remaining"))
        share = left / limit if limit and left is not None and left >= 0 else 1.0
        if share == 0 or wait <= LONGEST_WAIT:  # a day's window that still has room is not what stopped us
            windows.append((share, wait))
    return min(windows)[1] if windows else None


# --- what is left ---

_KINDS = ("requests", "tokens")
_PARTS = ("remaining", "limit", "reset")
_FAMILIES = tuple(
    tuple(tuple(pattern.format(part, kind) for part in _PARTS) for kind in _KINDS)
    for pattern in ("x-ratelimit-{}-{}", "anthropic-ratelimit-{1}-{0}")
)
"""The names of the headers, by family and kind."""


def allowance(headers: Mapping[str, str], *, now: float) -> Allowance | None:
    """What the headers of a reply say is left of the account's allowance.

    Read are ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}`` (OpenAI and those who follow it) and
    ``anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}``. Windows of a day and the like are left out:
    they are quotas, and whoever meets their end is told so.

    Args:
        headers: Names in lower case.
        now: Seconds since the epoch.

    Returns:
        What is left; None where nothing is said.

    Example:
        >>> allowance({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "1s"}, now=0.0)
        Allowance(requests=Quota(remaining=3.0, limit=None, resets_in=1.0), tokens=None)
    """
    for requests, tokens in _FAMILIES:
        if requests[0] in headers or tokens[0] in headers:
            quotas = _quota(headers, requests, now), _quota(headers, tokens, now)
            return Allowance(*quotas) if any(quotas) else None
    return None


def _quota(headers: Mapping[str, str], names: tuple[str, ...], now: float) -> Quota | None:
    left, whole, reset = map(headers.get, names)
    remaining, limit, resets_in = _number(left), _number(whole), _span(reset, now)
    if remaining is None or remaining < 0 or resets_in is None or not 0 < resets_in <= LONGEST_WAIT:
        return None
    return Quota(remaining, limit if limit is not None and limit > 0 else None, resets_in)


def _span(text: str | None, now: float) -> float | None:
    """Seconds from now: of a duration, a number of seconds, a moment since the epoch, or a date."""
    if text is None:
        return None
    seconds = _number(text)
    if seconds is None:
        seconds = _duration(text)
    if seconds is None:
        try:
            then = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now
    if seconds > 1e9:  # a moment, not a span: seconds or milliseconds since the epoch
        return (seconds / 1000 if seconds > 1e11 else seconds) - now
    return seconds
