"""What an error body says: its words, its codes, and nothing that is secret.

This file knows the shapes in which providers put an error: an object, a text, flat fields, lists of validation
errors. What the codes mean is for :mod:`cot_distill.teachers.faults`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Said", "describe", "one_line", "read_error", "redact", "request_id"]


@dataclass(frozen=True, slots=True)
class Said:
    """What an error body says."""

    text: str = ""
    codes: frozenset[str] = frozenset()
    """In lower case, and each of them twice: bare, and as ``provider:code``, since providers reuse numbers."""
    status: int | None = None
    """A code that reads like an HTTP status: the true one where the error came at HTTP 200."""
    delay: str = ""
    """How long to wait, where a field says so (Google's ``"46.3s"``)."""


def read_error(payload: Any, provider: str) -> Said | None:
    """Find the error in a parsed body.

    Args:
        payload: The parsed body.
        provider: The provider's name, for codes that only it uses.

    Returns:
        What it says, or None if it carries no error.

    Example:
        >>> read_error({"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}, "mine").text
        'body.model: Field required'
        >>> read_error({"choices": [{}], "error": None}, "mine") is None
        True
    """
    if isinstance(payload, list):  # Google wraps it in a list
        payload = payload[0] if payload else None
    if not isinstance(payload, dict):
        return None
    base = payload.get("base_resp")
    if isinstance(base, dict) and base.get("status_code") not in (None, 0, "0"):
        return Said(_words(base), frozenset({f"minimax:{base['status_code']}"}))
    error = payload.get("error")
    if not error and (payload.get("choices") or not (_words(payload) or payload.get("object") == "error")):
        return None
    who = provider.partition(":")[0]  # teachers are named "provider:model"
    fields = [payload, *_nested(payload)]
    codes = [code for holder in fields for code in _codes(holder)]
    statuses = [int(code) for code in codes if re.fullmatch("[45][0-9][0-9]", code)]
    delays = [holder["retryDelay"] for holder in fields if isinstance(holder.get("retryDelay"), str)]
    return Said(
        text=_words(error) or _words(payload),
        codes=frozenset(codes) | {f"{who}:{code}" for code in codes},
        status=statuses[0] if statuses else None,
        delay=delays[0] if delays else "",
    )


def _nested(holder: dict[str, Any], depth: int = 3) -> Iterator[dict[str, Any]]:
    for name in ("error", "innererror", "details", "violations"):  # Azure nests the second, Google the other two
        inner = holder.get(name)
        for item in inner if isinstance(inner, list) else [inner]:
            if isinstance(item, dict):
                yield item
                yield from _nested(item, depth - 1) if depth else ()


def _codes(holder: dict[str, Any]) -> Iterator[str]:
    for name in ("code", "type", "status", "error_type", "http_code", "reason", "__type"):
        value = holder.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            yield str(value).strip().lower()[:100]
    if "perday" in str(holder.get("quotaId")).lower():
        yield "quota_per_day"


def _words(value: Any, depth: int = 5) -> str:
    if isinstance(value, str):
        return value
    if depth and isinstance(value, list):
        return "; ".join(filter(None, (_words(item, depth - 1) for item in value[:5])))
    if not depth or not isinstance(value, dict):
        return ""
    names = ("message", "Message", "msg", "detail", "status_msg")
    text = next(filter(None, (_words(value.get(name), depth - 1) for name in names)), "")
    if text and isinstance(value.get("loc"), list):  # FastAPI: which field
        text = f"{'.'.join(str(step) for step in value['loc'])}: {text}"
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("raw"), str):  # OpenRouter: what the upstream said
        text = f"{text}: {metadata['raw']}"
    return text


def describe(body: bytes) -> str:
    """Say in a few words what a body is that cannot be read as JSON.

    Args:
        body: The body of a response.

    Returns:
        A noun phrase, such as "an empty body".

    Example:
        >>> describe(b"<html><title>502 Bad Gateway</title>")
        'a web page (502 Bad Gateway)'
    """
    text = body[:4000].decode("utf-8", "replace").strip()
    if not text:
        return "an empty body"
    if text.startswith(("{", "[")):
        broken = f"JSON that is cut or broken ({len(body)} bytes)"
        return "text that is not Unicode" if _is_not_unicode(body) else broken
    if text.startswith("data:"):
        return "a stream of events"
    if not text.startswith("<"):
        return one_line(text)
    title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
    return f"a web page ({one_line(title[1])})" if title else "a web page"


def _is_not_unicode(body: bytes) -> bool:
    """Whether JSON holds a stray byte, or half a surrogate pair, which it can spell and no file can hold."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"  # that is a cut
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        pass
    return False


def one_line(text: str) -> str:
    """Fold white space, blank out secrets, and cut to a bearable length.

    Args:
        text: Whatever a server said.

    Returns:
        One line of at most 300 characters, which can be written anywhere.
    """
    text = text[:4000].encode("utf-8", "replace").decode()  # half a surrogate pair cannot be written anywhere
    line = redact(re.sub(r"[\x00-\x20\x7f-\x9f\s]+", " ", text)).strip()
    return line if len(line) <= 300 else f"{line[:299]}…"


_SECRET = re.compile(
    r"\bbearer\s+[^\s\"',;]{6,}"
    r"|\b(?:sk|pk|rk|gsk|xai|csk|fw|hf|tgp|nvapi|ak)[-_][\w*.-]{4,}"
    r"|\bAIza[\w*-]{8,}"  # Google's
    r"|\b(?:ABSK|bedrock-api-key-)[\w*+/=]{8,}"  # Amazon's
    r"|\beyJ[\w.*-]{8,}"  # a signed token: JSON in base64
    r"|[\w-]{0,60}\*{3,}[\w*-]*"  # a key that the server itself has masked in part
    r"|\b(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{32,}(?:\.[\w-]+)?",  # long and opaque
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Blank out whatever looks like a key or token.

    Args:
        text: Any text.

    Returns:
        The text with ``[redacted]`` in place of each.

    Example:
        >>> redact("Incorrect API key provided: sk-abc123def")
        'Incorrect API key provided: [redacted]'
    """
    return _SECRET.sub("[redacted]", text)


_REQUEST_IDS = (
    *("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid"),  # headers
    *("request_id", "requestId", "responseId", "id"),
)
_ANY_REQUEST_ID = frozenset(_REQUEST_IDS)


def request_id(headers: Mapping[str, str], payload: Any) -> str | None:
    """Find the provider's id of a request.

    Args:
        headers: The response's headers, names in lower case.
        payload: The parsed body, or None.

    Returns:
        The id, from the headers rather than the body, or None.
    """
    error = payload.get("error") if isinstance(payload, dict) else None
    for holder in (headers, payload, error):
        if isinstance(holder, Mapping) and not _ANY_REQUEST_ID.isdisjoint(holder):
            for name in _REQUEST_IDS:
                value = holder.get(name)
                if isinstance(value, str) and value and value.isascii():
                    return value[:200]
    return None
