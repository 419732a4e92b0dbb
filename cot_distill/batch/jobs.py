"""The jobs of a run on disk: what was intended, what was sent, what came back.

``batches/jobs.jsonl`` in the run directory takes one line an event, appended and synced before the next step is made,
so that a process that is killed between any two steps leaves behind how far it came:

=============  =======================================================================================================
``intended``   what is to be asked is on disk; nothing was sent
``uploaded``   the provider has the file; that asks nothing yet
``submitting`` the request that starts the job is about to go out. From here on it may exist, and must be looked for
``submitted``  it exists, under this id
``dropped``    it does not exist; what it held is planned anew
``collected``  its results are in the journal; what it left is planned anew
=============  =======================================================================================================

Only the writer of a run writes here, which the lock of the run sees to.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic_core import from_json, to_json

from cot_distill.errors import RunError
from cot_distill.segments import sync_directory

__all__ = ["BatchJob", "JobBook", "folder_of", "new_key", "open_jobs"]


@dataclass(slots=True)
class BatchJob:
    """A job that is not done with."""

    key: str
    """Ours: 12 hexadecimal digits, also part of each custom id."""
    provider: str
    lines: int
    """How many attempts it asks."""
    worst: int
    """Tokens that it may take at worst."""
    since: int
    """Records in the journal when the session began that made it: an answer of this job is a later one."""
    file: str = ""
    """The provider's id of the uploaded file, where there is one."""
    submitting: bool = False
    """The request that starts it may have gone out."""
    newest: str = ""
    """The newest job in the provider's list before that, where such a list is all there is to find it by."""
    id: str = ""
    """The provider's id of the job."""


class JobBook:
    """The jobs of one run. A context manager.

    Args:
        path: The run directory, which must be locked by this process.

    Raises:
        RunError: The file cannot be read or written, or a line in its middle is broken.
    """

    def __init__(self, path: Path) -> None:
        self.folder = folder_of(path)
        self._file = self.folder / "jobs.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.open, whole = _read(self._file)
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            os.ftruncate(self._descriptor, whole)  # a torn last line is a step that was not made
            sync_directory(self.folder)
            sync_directory(path)
        except OSError as error:
            raise RunError(f"cannot write to {self._file}: {error.strerror or error}") from error

    def __enter__(self) -> JobBook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    open: dict[str, BatchJob]
    """The jobs that are not done with, by our key, oldest first."""

    def intend(self, **fields: Any) -> BatchJob:
        """Note a new job, whose files must be on disk by now.

        Raises:
            RunError: The disk is full. So does :meth:`note`.
        """
        job = BatchJob(**fields)
        self._write({"event": "intended", "at": _now(), **fields})
        self.open[job.key] = job
        return job

    def note(self, job: BatchJob, event: str, **fields: Any) -> None:
        """Note a step of a job; ``fields`` become its attributes. When this returns, no power loss can undo it."""
        self._write({"event": event, "at": _now(), "key": job.key, **fields})
        _apply(self.open, job.key, event, fields)

    def _write(self, fields: Mapping[str, Any]) -> None:
        line = to_json(fields) + b"\n"
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            raise RunError(f"cannot write to {self._file}: {error.strerror}") from error


def folder_of(path: Path) -> Path:
    """Where the jobs of a run are."""
    return path / "batches"


def new_key() -> str:
    """A key that no other job has."""
    return secrets.token_hex(6)


def open_jobs(path: Path) -> list[str]:
    """The ids of jobs that a provider may be working on for this run.

    Args:
        path: The run directory. Nothing there is changed.

    Returns:
        The provider's ids; ``"?"`` for a job of which it is not known whether it was made.

    Raises:
        RunError: The list of jobs is damaged.
    """
    jobs, _ = _read(folder_of(path) / "jobs.jsonl")
    return [job.id or "?" for job in jobs.values() if job.id or job.submitting]


def _read(file: Path) -> tuple[dict[str, BatchJob], int]:
    """The open jobs, and how many bytes of the file are whole lines."""
    jobs: dict[str, BatchJob] = {}
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return jobs, 0
    whole = content.rfind(b"\n") + 1
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            fields = from_json(line)
            event, key, _ = fields.pop("event"), fields.pop("key"), fields.pop("at")
            if event == "intended":
                jobs[key] = BatchJob(key=key, **fields)
            else:
                _apply(jobs, key, event, fields)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise RunError(
                f"{file}, line {number} is damaged: {error}. Restore it from a copy. Without the file the jobs under "
                "way are given up, and what they asked is asked again"
            ) from error
    return jobs, whole


def _apply(jobs: dict[str, BatchJob], key: str, event: str, fields: Mapping[str, Any]) -> None:
    job = jobs[key]
    if event in ("dropped", "collected"):
        del jobs[key]
        return
    job.submitting = job.submitting or event == "submitting"
    for name, value in fields.items():
        setattr(job, name, value)


def _now() -> float:
    return round(time.time(), 3)
