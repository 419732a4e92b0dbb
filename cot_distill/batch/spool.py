"""What the jobs ask, on disk: the file that is sent, and the attempts that its lines belong to.

``KEY.requests`` is what the provider gets, byte for byte; it is there until the job exists. ``KEY.slots.jsonl`` says
which attempt each line is, with its task, so that what was paid for can be booked even if the input is another one by
then; it is there until the job is done with. No more than a line is held in memory, and of the slots their places.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from pydantic_core import from_json, to_json

from cot_distill.batch.lines import address_in, custom_id
from cot_distill.errors import RunError
from cot_distill.records import Slot, address
from cot_distill.types import Message, Task

__all__ = ["Ask", "Draft", "SlotFile", "remove"]


class Ask(NamedTuple):
    """An attempt that is to be asked, and with what cap."""

    slot: Slot
    cap: int | None
    """Tokens that the answer may have; None where the endpoint decides."""


class Draft:
    """Two files that are being filled.

    Args:
        folder: Where they go.
        key: Of the job.
        lines: How many requests fit.
        size: How many bytes.
        around: What stands before, between and after the requests.
    """

    def __init__(
        self, folder: Path, key: str, *, lines: int, size: int, around: tuple[bytes, bytes, bytes] = (b"", b"", b"")
    ) -> None:
        self.key = key
        self.requests = folder / f"{key}.requests"
        self.count = 0
        self.worst = 0
        self._lines, self._size, self._around = lines, size, around
        self._bytes = len(around[0]) + len(around[2])
        self._files: list[BinaryIO] = [self.requests.open("wb"), (folder / f"{key}.slots.jsonl").open("wb")]
        self._files[0].write(around[0])

    def fits(self, request: bytes) -> bool:
        """Whether one more request goes in."""
        return self.count < self._lines and self._bytes + len(self._around[1]) + len(request) <= self._size

    def add(self, ask: Ask, request: bytes, worst: int) -> None:
        """Add a request, which must fit. ``worst``: tokens that it may take."""
        request = request if not self.count else self._around[1] + request
        self._files[0].write(request)
        self._files[1].write(_line_of(ask))
        self._bytes += len(request)
        self.count += 1
        self.worst += worst

    def close(self) -> None:
        """Finish both files. When this returns, no power loss can undo it."""
        self._files[0].write(self._around[2])
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        self.drop()

    def drop(self) -> None:
        """Let go of both files, as they are."""
        for file in self._files:
            file.close()


class SlotFile:
    """The attempts of a job, looked up by the custom ids of its lines. Slots are read in a ``with`` block.

    Args:
        folder: Where it is.
        key: Of the job.

    Raises:
        RunError: It is not there.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.slots.jsonl"
        self._places: dict[str, tuple[int, int]] = {}
        self._file: BinaryIO | None = None
        offset = 0
        if not self.path.exists():
            raise RunError(
                f"{self.path} is missing: restore it from a copy. To give its job up, and ask again what it held, "
                f"delete the folder {folder}"
            )
        with self.path.open("rb") as file:
            for line in file:
                self._places[custom_id(bytes.fromhex(from_json(line)["address"]), key)] = (offset, len(line))
                offset += len(line)

    def __enter__(self) -> SlotFile:
        self._file = self.path.open("rb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def addresses(self) -> Iterator[bytes]:
        """The addresses of all attempts."""
        return map(address_in, self._places)

    def ask(self, name: str) -> Ask:
        """The attempt of a line. Only in a ``with`` block."""
        if self._file is None:
            raise RuntimeError("read slots in a `with` block")
        offset, length = self._places[name]
        self._file.seek(offset)
        return _ask_of(self._file.read(length))

    def asks(self, lines: Iterable[tuple[str, int | None]]) -> Iterator[Ask]:
        """The attempts of these lines with these caps, read as they are wanted; then the file is removed."""
        with self:
            for name, cap in lines:
                yield self.ask(name)._replace(cap=cap)
        self.path.unlink(missing_ok=True)


def remove(folder: Path, keep: Iterable[str] = ()) -> None:
    """Delete the files of all jobs but these."""
    kept = set(keep)
    for file in folder.iterdir():
        if file.name != "jobs.jsonl" and file.name.partition(".")[0] not in kept:
            file.unlink()


def _line_of(ask: Ask) -> bytes:
    slot = ask.slot
    fields = {
        "address": address(slot).hex(),
        "attempt": slot.attempt,
        "order": slot.order,
        "key": slot.key.hex(),
        "prompt": slot.prompt.hex(),
        "content": slot.content.hex(),
        "task": slot.task,
        "messages": slot.messages,
        "cap": ask.cap,
    }
    return to_json(fields) + b"\n"


def _ask_of(line: bytes) -> Ask:
    fields = from_json(line)
    # The digests as they were, not worked out again: text in the task may have been something else, such as a date.
    key, prompt, content = (bytes.fromhex(fields[name]) for name in ("key", "prompt", "content"))
    messages = tuple(Message.model_validate(message) for message in fields["messages"])
    task = Task.model_validate(fields["task"])
    return Ask(Slot(task, fields["attempt"], fields["order"], messages, key, prompt, content), fields["cap"])
