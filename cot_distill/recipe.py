"""``run.json``: what the answers of a run were asked with, and what may change from one session to the next.

Answers of different recipes must not mix: never a stale answer, never one paid for twice without a word. What only
adds to a run (more attempts, a higher cap, other verifiers) may change freely.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cot_distill._version import __version__
from cot_distill.errors import RunError
from cot_distill.trace import Prefilled
from cot_distill.types import Sampling, Task, ThinkTags

__all__ = ["Recipe", "TemplateMark"]

_FREE_SAMPLING = {"max_tokens", "max_tokens_limit"}
_NAME = "run.json"


class TemplateMark(BaseModel):
    """What a template made of one task: this is how a changed template is recognised, whatever it is made of."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    probe: Task


class Recipe(BaseModel):
    """The contents of ``run.json``."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    version: str = __version__
    created: str
    """Date and time in UTC, ISO 8601."""
    teacher: str
    template: TemplateMark
    sampling: Sampling
    attempts: int
    verifiers: tuple[str, ...] = ()
    tags: ThinkTags = ThinkTags()
    prefilled: Prefilled = "auto"

    def differences(self, new: Recipe) -> list[str]:
        """What a new session would ask in another way, in words. What may change freely is left out."""
        fields = [("the teacher", self.teacher, new.teacher), *_sampling_differences(self.sampling, new.sampling)]
        found = [f"{field} was {old!r} and is now {now!r}" for field, old, now in fields if old != now]
        if self.template.digest != new.template.digest:
            found.append(
                f"the template ({self.template.name}, now {new.template.name}) asks in other words than before"
            )
        return found

    def require_same(self, new: Recipe, path: Path) -> None:
        """Compare with the recipe of a new session.

        Raises:
            RunError: They would ask different things; it names every difference and the way out.
        """
        differences = self.differences(new)
        if differences:
            raise RunError(
                f"{path} holds answers to another recipe: {'; '.join(differences)}. Take another path for the new "
                "recipe, or restore the old one to go on here"
            )

    def save(self, path: Path) -> None:
        """Write ``run.json`` in the directory ``path``, whole or not at all.

        Raises:
            RunError: It cannot be written.
        """
        target = path / _NAME
        temporary = path / f"{_NAME}.tmp"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> Recipe | None:
        """Read ``run.json`` of the directory ``path``; None where there is none.

        Raises:
            RunError: It cannot be read, or is of a newer format.
        """
        try:
            text = (path / _NAME).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"cannot read {path / _NAME}: {error}") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise RunError(f"{path / _NAME} is no recipe that this version reads: {where}: {first['msg']}") from error


def _sampling_differences(old: Sampling, new: Sampling) -> list[tuple[str, Any, Any]]:
    fields = [field for field in Sampling.model_fields if field not in _FREE_SAMPLING]
    return [(field, getattr(old, field), getattr(new, field)) for field in fields]
