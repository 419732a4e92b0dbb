"""Anthropic's Message Batches: requests, results and states. No input or output here.

The requests are the body of one POST, so there is no file, and a batch takes no word of ours: what tells it from
others are the custom ids in its results, which can be read once it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from cot_distill.batch.lines import Line, Said, loads

__all__ = ["AROUND", "count_of", "encode_line", "read_job", "read_line"]

AROUND = (b'{"requests":[\n', b",\n", b"\n]}\n")
"""What stands before, between and after the requests in the body."""

_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "api_error": 500,
    "overloaded_error": 529,
}


def encode_line(custom_id: str, body: Mapping[str, Any]) -> bytes:
    """Write one request.

    Args:
        custom_id: Comes back with the result.
        body: As the format wrote it.

    Returns:
        The object, without what stands around it.

    Example:
        >>> encode_line("a", {"model": "m"})
        b'{"custom_id":"a","params":{"model":"m"}}'
    """
    params = {name: value for name, value in body.items() if name != "stream"}
    return to_json({"custom_id": custom_id, "params": params})


def read_job(payload: Any) -> Said | None:
    """Read what the provider says of a batch; None where it is none.

    It says no more than that a batch has ended; what became of each request is in the results.

    Example:
        >>> read_job({"id": "msgbatch_1", "processing_status": "canceling"}).state
        'under way'
    """
    if not isinstance(payload, dict) or not isinstance(payload.get("id"), str):
        return None
    word = str(payload.get("processing_status") or "")
    url = payload.get("results_url")
    results = (url,) if isinstance(url, str) and url else ()
    return Said(payload["id"], "completed" if word == "ended" else "under way", word, results)


def count_of(payload: Any) -> int:
    """How many requests a batch holds.

    Example:
        >>> count_of({"request_counts": {"processing": 1, "succeeded": 2, "errored": 0}})
        3
    """
    counts = payload.get("request_counts") if isinstance(payload, dict) else None
    return sum(count for count in counts.values() if isinstance(count, int)) if isinstance(counts, dict) else 0


def read_line(line: bytes) -> Line | None:
    """Read one line of results.

    Returns:
        None where it is no result.

    Example:
        >>> read_line(b'{"custom_id": "a", "result": {"type": "expired"}}').left
        True
    """
    found = loads(line)
    if found is None or not isinstance(found.get("custom_id"), str):
        return None
    name, result = found["custom_id"], found.get("result")
    if not isinstance(result, dict):
        return Line(name)
    if result.get("type") in ("expired", "canceled"):
        return Line(name, left=True)
    if result.get("type") != "errored":
        return Line(name, result.get("message"))
    error = result.get("error")
    inner = error.get("error") if isinstance(error, dict) else None
    error = inner if isinstance(inner, dict) else error
    kind = error.get("type") if isinstance(error, dict) else None
    return Line(name, {"error": error}, _STATUSES.get(str(kind), 200))
