"""A teacher that keeps its answers in a file, and gives them again to whoever asks the same.

A run directory keeps the answers of one recipe already. A cache is for what several runs have in common, and for
teachers that are asked without a run.

The file holds one record a line, is only ever appended to, and may be read and copied at any time. A record is one
write, with a line break before and after it. So half a record, which a process that is killed may leave, spoils no
other one, and no lock is needed between processes; but it must lie on a disk of this machine.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from hashlib import blake2b
from pathlib import Path

import anyio.to_thread
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json

from cot_distill.errors import ConfigError
from cot_distill.protocols import Teacher
from cot_distill.teachers._wrapper import Wrapper, check_teachers
from cot_distill.types import Completion, Message, Sampling

__all__ = ["cached"]

log = logging.getLogger("cot_distill")

_HEAD = b'{"key":"'
_KEY_BYTES = 16
_KEY = slice(len(_HEAD), len(_HEAD) + 2 * _KEY_BYTES)


def cached(teacher: Teacher, path: str | os.PathLike[str]) -> Teacher:
    """Make a teacher that looks into a file before it asks this one.

    An answer is found by the teacher's name, the messages and the whole sampling. Kept are answers that ended by
    themselves and say something: no errors, nothing cut, nothing declined.

    Several attempts at a task are several answers: the n-th time that one run asks a question, it gets the n-th
    answer in the file, or a new one. A run is what is between entering and leaving the teacher; calls of
    ``Distiller.attempt`` are a run each, and need a ``seed`` in their sampling to get different answers.

    Args:
        teacher: Who is asked what is not in the file.
        path: The file; made if it is missing, with the folders above it. Two processes may use it at the same time;
            on Windows, one. It may hold answers of several teachers. About 200 bytes of memory an answer are taken.

    Returns:
        A Teacher of the same name: the answers are that teacher's.

    Raises:
        ConfigError: It is no teacher; on entering: the file cannot be opened.

    Example:
        >>> from cot_distill import open_teacher
        >>> cached(open_teacher("vllm:Qwen/QwQ-32B"), "answers.jsonl").name
        'vllm:Qwen/QwQ-32B'
    """
    check_teachers("cached()", (teacher,))
    return _Cached(teacher, Path(path))


class _Cached(Wrapper):
    def __init__(self, teacher: Teacher, path: Path) -> None:
        super().__init__(teacher.name, teacher)
        self._path = path
        self._lock = threading.Lock()  # runs may share this from several threads
        self._users = 0
        self._descriptor = -1
        self._places: dict[bytes, list[int]] = {}
        """Where the records of each key begin."""
        self._seen = 0
        """Bytes of the file that have been looked at."""
        self._given: Counter[bytes] = Counter()
        """How many of the records of each key this run has had."""

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Give the answer in the file, or ask for one and keep it.

        Raises:
            TeacherError: As the teacher raises it.
        """
        if not self._users:
            async with self:
                return await self.complete(messages, sampling)
        key = _key(self.name, messages, sampling)
        found = self._find(key)
        if found is not None:
            return found
        completion = await self.teachers[0].complete(messages, sampling)
        if completion.finish_reason == "stop" and completion.content.strip():
            self._keep(key, completion)
        return completion

    async def _enter(self, stack: AsyncExitStack) -> None:
        await anyio.to_thread.run_sync(self._open)  # large files take a while
        stack.callback(self._close)
        await super()._enter(stack)

    def _open(self) -> None:
        with self._lock:
            if self._users == 0:
                try:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
                    self._look()
                except OSError as error:
                    raise ConfigError(f"cannot use {self._path} as a cache: {error.strerror or error}") from error
                self._given.clear()
            self._users += 1

    def _close(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                os.close(self._descriptor)

    def _look(self) -> None:
        """Find the records that were appended since the last time."""
        if self._path.stat().st_size < self._seen:  # somebody has emptied it
            self._places.clear()
            self._seen = 0
        with self._path.open("rb") as file:
            file.seek(self._seen)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # another process is just writing it, or was killed
                if line.startswith(_HEAD) and line.endswith(b"}\n"):
                    try:
                        key = bytes.fromhex(line[_KEY].decode("ascii"))
                    except ValueError:  # half a record
                        key = b""
                    if len(key) == _KEY_BYTES:
                        self._places.setdefault(key, []).append(self._seen)
                self._seen += len(line)

    def _find(self, key: bytes) -> Completion | None:
        with self._lock:
            places = self._places.get(key, ())
            while self._given[key] < len(places):
                place = places[self._given[key]]
                self._given[key] += 1
                with self._path.open("rb") as file:
                    file.seek(place)
                    line = file.readline()
                try:
                    return Completion.model_validate(from_json(line)["completion"])
                except (ValueError, KeyError, ValidationError):
                    log.warning("%s: the record at byte %d cannot be read, and is left out", self._path, place)
        return None

    def _keep(self, key: bytes, completion: Completion) -> None:
        try:
            body = completion.model_dump_json(exclude_defaults=True)
        except PydanticSerializationError:
            return  # text that is no Unicode, which the run will not take either
        name = json.dumps(self.name)
        record = f'\n{_HEAD.decode()}{key.hex()}","teacher":{name},"completion":{body}}}\n'.encode()
        try:
            written = os.write(self._descriptor, record)
        except OSError as error:
            log.warning("cannot write to %s: %s; the answer is not kept", self._path, error.strerror)
        else:
            if written < len(record):
                log.warning("cannot write to %s: the disk is full; the answer is not kept", self._path)


def _key(name: str, messages: Sequence[Message], sampling: Sampling) -> bytes:
    # Left out is what a teacher never sees, and what is at its default: so a setting that is new in a later version
    # changes no key.
    turns = [[message.role, message.content] for message in messages]
    settings = sampling.model_dump(mode="json", exclude_defaults=True, exclude={"max_tokens_limit"})
    text = json.dumps([name, turns, settings], sort_keys=True)
    return blake2b(text.encode(), digest_size=_KEY_BYTES).digest()
