"""The entries of a journal's index: a fixed number of bytes for each record, saying what it is and where.

It knows how an entry is packed and how to make one from a line of the journal; no file is opened here. Whole runs of
entries are looked at by their columns: see :data:`COLUMNS`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pydantic_core import from_json

__all__ = [
    "COLUMNS",
    "ENTRY_BYTES",
    "KINDS",
    "KIND_AT",
    "NO_KIND",
    "Entry",
    "Head",
    "chain_of",
    "entries_of",
    "entry_at",
    "fields_of",
    "head_of",
    "known_fields",
    "order_in",
    "pack",
    "place_at",
]

KINDS = (
    *("completion", "cut", "failure", "refusal", "verdict", "task", "reopened"),  # of an attempt
    *("started", "ended", "level", "input"),  # of a session
)
"""The kinds of record, in the order of their numbers in the index. Append only."""

_PACKED = struct.Struct("<16sQI8s8sIB3xIQII")
_CHAIN = struct.Struct("<48xB3xIQI4x")
_KNOWN = struct.Struct("<28x8s8sIB")

ENTRY_BYTES = _PACKED.size

COLUMNS = {
    "first": ("u1", 0),
    "high": (">u8", 0),
    "low": (">u8", 8),
    "order": ("<u8", 16),
    "attempt": ("<u4", 24),
    "prompt": ("<u8", 28),
    "mark": ("<u4", 44),
    "kind": ("u1", 48),
}
"""Type and offset of fields within an entry, as numpy names types. ``high`` and ``low`` are the halves of the key."""

KIND_AT = 48
"""Where in an entry the number of the kind is."""

NO_KIND = 255
"""No kind has this number."""


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


def place_at(entry: bytes) -> bytes:
    """Which attempt a packed entry is about: 20 bytes, the key of the task and the number of the attempt.

    They sort as tasks and attempts do.
    """
    return entry[:16] + entry[27:23:-1]


def known_fields(entry: bytes) -> tuple[str, bytes, bytes, int]:
    """Kind, prompt, content and mark in a packed entry."""
    prompt, content, mark, kind = _KNOWN.unpack_from(entry)
    return KINDS[kind], prompt, content, mark


def order_in(entry: bytes) -> int:
    """The position of the task in the input, in a packed entry."""
    return int.from_bytes(entry[16:24], "little")


def chain_of(index: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Number of the kind, segment, offset and length of all entries, in order: what shows whether they fit."""
    return _CHAIN.iter_unpack(index)


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
