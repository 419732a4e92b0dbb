"""What the two families of batch formats share: a line of results, and what a provider says of a job."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json

__all__ = ["Line", "Said", "State", "address_in", "custom_id", "loads"]


State = Literal[
    "under way",
    "completed",  # every line has an answer or an error
    "expired",  # the time was up: what was finished is there
    "cancelled",  # somebody stopped it: what was finished is there
    "failed",  # the job was refused as a whole
]
"""What became of a job."""


class Said(NamedTuple):
    """What a provider says of a job."""

    id: str
    state: State
    word: str
    """The state, in the provider's word."""
    results: tuple[str, ...] = ()
    """Where the results are: ids of files, or a URL."""
    reason: str = ""
    """Why it failed, in the provider's words."""


class Line(NamedTuple):
    """One line of results."""

    id: str
    """The custom id."""
    payload: Any = None
    """The parsed body: a completion, or an error."""
    status: int = 200
    """HTTP status that belongs to the body. An error that came without one has 200."""
    left: bool = False
    """It was never asked: the job expired or was cancelled before."""


def custom_id(address: bytes, key: str) -> str:
    """Name a line: by the address of its attempt and the key of its job.

    Args:
        address: 20 bytes, of :func:`cot_distill.records.address`.
        key: Of the job; with it an answer can be told from that of any other job.

    Returns:
        At most 64 characters, of letters, digits and dashes: what every provider takes.

    Example:
        >>> len(custom_id(bytes(20), "0123456789ab"))
        53
    """
    return f"{address.hex()}-{key}"


def address_in(name: str) -> bytes:
    """The address in a custom id of ours."""
    return bytes.fromhex(name.partition("-")[0])


def loads(line: bytes) -> dict[str, Any] | None:
    r"""Parse a line of results.

    A text that is no Unicode spoils its own answer, and not the line: the body is then left out, which reads as an
    answer that is none.

    Returns:
        The object, or None where the line is none.

    Example:
        >>> loads(b'{"custom_id": "a", "response": {"status_code": 200, "body": {"x": "\\ud800"}}}')
        {'custom_id': 'a'}
        >>> loads(b'{"custom_id":') is None
        True
    """
    try:
        found = from_json(line)
    except ValueError:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if isinstance(found, dict):
            found = {"custom_id": found.get("custom_id")}
    return found if isinstance(found, dict) else None
