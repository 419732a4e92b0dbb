"""The entries of a journal's index: a fixed number of bytes for each record, saying what it is and where.

It knows how an entry is packed and how to make one from a line of the journal; no file is opened here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pydantic_core import from_json

__all__ = ["ENTRY_BYTES", "KINDS", "Entry", "Head", "entries_of", "entry_at", "fields_of", "head_of", "pack"]

KINDS = ("completion", "cut", "failure", "refusal", "verdict", "task", "reopened", "started", "ended")
"""The kinds of record, in the order of their numbers in the index. Append only."""

_PACKED = struct.Struct("<16sQI8s8sIB3xIQII")

ENTRY_BYTES = _PACKED.size


class Head(NamedTuple):
    """The fields that a record and its entry have in common. What they mean is up to the caller."""

    kind: str
    """One of :data:`KINDS`."""
    key: bytes = bytes(16)
    """16 bytes: which task."""
    order: int = 0
    """Position of the task in the input."""
    attempt: int = 0
    prompt: bytes = bytes(8)
    """8 bytes: digest of what was asked."""
    content: bytes = bytes(8)
    """8 bytes: digest of the whole task, with its reference answer and tests."""
    mark: int = 0
    """A number below 2**32 that goes with the kind."""


class Entry(NamedTuple):
    """Where a record is, and its head."""

    head: Head
    segment: int
    offset: int
    length: int
    checksum: int
    """CRC-32 of the line."""


def pack(entry: Entry) -> bytes:
    """An entry as :data:`ENTRY_BYTES` bytes."""
    head = entry.head
    kind = KINDS.index(head.kind)
    return _PACKED.pack(*head[1:], kind, *entry[1:])


def entry_at(index: bytes, number: int) -> Entry:
    """The entry of a record, counted from 0."""
    return _entry(*_PACKED.unpack_from(index, number * ENTRY_BYTES))


def entries_of(index: bytes) -> Iterator[Entry]:
    """All entries, in order."""
    return (_entry(*fields) for fields in _PACKED.iter_unpack(index))


def fields_of(head: Head) -> dict[str, str | int]:
    """A head as the first fields of its line."""
    return head._asdict() | {"key": head.key.hex(), "prompt": head.prompt.hex(), "content": head.content.hex()}


def head_of(line: bytes) -> Head | None:
    """The head of a line of the journal, or None where the line is not a whole record."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = from_json(line)
        return Head(
            KINDS[KINDS.index(record["kind"])],
            bytes.fromhex(record["key"]),
            record["order"],
            record["attempt"],
            bytes.fromhex(record["prompt"]),
            bytes.fromhex(record["content"]),
            record["mark"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def _entry(
    key: bytes,
    order: int,
    attempt: int,
    prompt: bytes,
    content: bytes,
    mark: int,
    kind: int,
    segment: int,
    offset: int,
    length: int,
    checksum: int,
) -> Entry:
    # The number of a kind that a newer version wrote is out of range: the index is then rebuilt from the lines.
    name = KINDS[kind] if kind < len(KINDS) else ""
    return Entry(Head(name, key, order, attempt, prompt, content, mark), segment, offset, length, checksum)
