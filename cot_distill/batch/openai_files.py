"""Jobs over files, as OpenAI has them and others took over: requests, results and states. No input or output here.

Order is not kept, errors come in a file of their own, and a line that succeeded as a line may hold a 429: so every
line is read for itself. Where the providers differ is in :mod:`cot_distill.batch.facts`; what they call things in
answers, where there is no harm in reading all of it everywhere, is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from cot_distill.batch.facts import Facts
from cot_distill.batch.lines import Line, Said, State, loads

__all__ = ["encode_job", "encode_line", "is_ours", "jobs_in", "read_job", "read_line"]

_STATES: Mapping[str, State] = {
    "completed": "completed",
    "success": "completed",
    "expired": "expired",
    "timeout_exceeded": "expired",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "failed": "failed",
    "error": "failed",
}
_NEVER_ASKED = frozenset({"batch_expired", "batch_cancelled", "batch_canceled"})


def encode_line(custom_id: str, body: Mapping[str, Any], *, path: str, facts: Facts) -> bytes:
    r"""Write one request.

    Args:
        custom_id: Comes back with the result.
        body: As the format wrote it.
        path: Of the format, such as ``/chat/completions``.
        facts: The provider's.

    Returns:
        The line, with its line feed.

    Example:
        >>> from cot_distill.batch.facts import FACTS
        >>> encode_line("a", {"model": "m"}, path="/chat/completions", facts=FACTS["together"])
        b'{"custom_id":"a","body":{"model":"m"}}\n'
    """
    left_out = {"stream", "stream_options", *(("model",) if facts.model_in_job else ())}
    body = {name: value for name, value in body.items() if name not in left_out}
    line: dict[str, Any] = {"custom_id": custom_id}
    if not facts.lean:
        line |= {"method": "POST", "url": facts.prefix + path}
    return to_json({**line, "body": body}) + b"\n"


def encode_job(file: str, key: str, *, path: str, model: str, facts: Facts) -> dict[str, Any]:
    """Write the request that starts a job.

    Args:
        file: The id of the uploaded file.
        key: Ours, by which the job is found again.
        path: Of the format.
        model: As the provider names it.
        facts: The provider's.

    Returns:
        The body.
    """
    body: dict[str, Any] = {"input_files": [file]} if facts.inputs_are_many else {"input_file_id": file}
    body |= {"endpoint": facts.prefix + path, **facts.window}
    if facts.model_in_job:
        body["model"] = model
    if facts.key_field is not None:
        body["metadata"] = {facts.key_field: key}
    return body


def is_ours(job: Any, *, key: str, file: str, facts: Facts) -> bool:
    """Whether a job of the provider's list is the one with our key, or that of our file."""
    if not isinstance(job, dict):
        return False
    metadata = job.get("metadata")
    if facts.key_field is not None and isinstance(metadata, dict) and metadata.get(facts.key_field) == key:
        return True
    inputs = job.get("input_files")
    named = [job.get("input_file_id"), *(inputs if isinstance(inputs, list) else ())]
    return bool(file) and file in named


def jobs_in(payload: Any) -> Sequence[Any]:
    """The jobs of one page of the list."""
    if isinstance(payload, dict):
        payload = next((payload[name] for name in ("data", "jobs") if isinstance(payload.get(name), list)), [])
    return payload if isinstance(payload, list) else []


def read_job(payload: Any) -> Said | None:
    """Read what the provider says of a job.

    Returns:
        None where it is no job. A state that nobody knows counts as under way.

    Example:
        >>> read_job({"job": {"id": "b1", "status": "COMPLETED", "output_file_id": "f1"}}).results
        ('f1',)
    """
    if isinstance(payload, dict) and isinstance(payload.get("job"), dict):  # Together
        payload = payload["job"]
    if not isinstance(payload, dict) or not isinstance(payload.get("id"), str):
        return None
    word = str(payload.get("status") or "")
    names = ("output_file_id", "output_file", "error_file_id", "error_file")
    files = [payload[name] for name in names if isinstance(payload.get(name), str) and payload[name]]
    state = _STATES.get(word.lower(), "under way")
    return Said(payload["id"], state, word, tuple(dict.fromkeys(files)), _reason(payload))


def _reason(job: Mapping[str, Any]) -> str:
    errors = job.get("errors") or job.get("error") or ()
    if isinstance(errors, dict):
        errors = errors.get("data") or [errors]
    said = [
        str(error.get("message") or error.get("code") or "") if isinstance(error, dict) else str(error)
        for error in (errors if isinstance(errors, list) else [errors] if errors else ())
    ]
    return "; ".join(filter(None, said[:3]))


def read_line(line: bytes) -> Line | None:
    """Read one line of results, of the file of answers or that of errors.

    Returns:
        None where it is no result.

    Example:
        >>> read_line(b'{"custom_id": "a", "response": {"status_code": 429, "body": {}}, "error": null}').status
        429
    """
    found = loads(line)
    if found is None or not isinstance(found.get("custom_id"), str):
        return None
    name = found["custom_id"]
    response, error = found.get("response"), found.get("error")
    code = str(error.get("code")).lower() if isinstance(error, dict) else ""
    if code in _NEVER_ASKED:
        return Line(name, left=True)
    if isinstance(response, dict) and response.get("body") not in (None, ""):
        return Line(name, response["body"], _status(response.get("status_code")))
    if error:
        status = _status(response.get("status_code")) if isinstance(response, dict) else 200
        return Line(name, {"error": error if isinstance(error, dict) else {"message": str(error)}}, status)
    return Line(name)


def _status(given: Any) -> int:
    return given if isinstance(given, int) and not isinstance(given, bool) and 100 <= given < 600 else 200
