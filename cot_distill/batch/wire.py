"""A teacher taken apart: how it is spoken to, and how its provider takes jobs.

The request of a line and its answer are those of the teacher's own format, so that a batch asks just what asking at
once would, and reads it in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import to_json

from cot_distill.batch.facts import FACTS, Facts
from cot_distill.batch.lines import Line
from cot_distill.errors import ConfigError, TeacherError
from cot_distill.teachers import faults
from cot_distill.teachers.endpoint import Endpoint
from cot_distill.teachers.error_bodies import request_id
from cot_distill.teachers.presets import Preset
from cot_distill.transport import Reply
from cot_distill.types import Completion, Message, Sampling

__all__ = ["Wire", "wire_of"]

_SECRET_LENGTH = 8  # what is shorter is a placeholder, and a part of other words


class Wire(NamedTuple):
    """How a teacher is spoken to, and how its provider takes jobs."""

    preset: Preset
    facts: Facts
    model: str
    base_url: str
    headers: Mapping[str, str]
    """With the key: never to be shown."""

    def __repr__(self) -> str:
        return f"Wire({self.preset.name!r}, {self.model!r})"

    def encode(self, messages: tuple[Message, ...], sampling: Sampling) -> dict[str, Any]:
        """The body of a request, as for asking at once."""
        return self.preset.format.encode(messages, sampling, model=self.model, preset=self.preset)

    def decode(self, line: Line) -> Completion:
        """Read the answer of a line.

        Raises:
            TeacherError: It is an error, or no answer.
        """
        body = b"" if line.payload is None else to_json(line.payload)
        if not 200 <= line.status < 300 or not isinstance(line.payload, dict):
            raise self.error(Reply(line.status, {}, body, 0.0))
        completion = self.preset.format.decode(line.payload, preset=self.preset)
        return completion.model_copy(
            update={"raw": body.decode("utf-8", "replace"), "request_id": request_id({}, line.payload)}
        )

    def error(self, reply: Reply) -> TeacherError:
        """What a reply that is none means."""
        body = reply.body
        for secret in self.headers.values():  # some servers echo what they refuse
            for part in (secret, secret.rpartition(" ")[2]):
                if len(part) >= _SECRET_LENGTH:
                    body = body.replace(part.encode(), b"[secret]")
        return faults.teacher_error(reply.status, reply.headers, body, provider=self.preset.name)


def wire_of(teacher: object) -> Wire:
    """Take a teacher apart.

    Raises:
        ConfigError: It is no endpoint of a provider that takes jobs.
    """
    preset = teacher._preset if isinstance(teacher, Endpoint) else None
    if preset is None or preset.name not in FACTS:
        name = getattr(teacher, "name", type(teacher).__name__)
        raise ConfigError(
            f"{name} takes no batch jobs: {', '.join(sorted(FACTS))} do. For a server of another name that has "
            "OpenAI's files and batches use open_teacher('openai:MODEL', base_url=…); or ask at once, with run()"
        )
    assert isinstance(teacher, Endpoint)  # noqa: S101 - it has a preset
    usual = dict(preset.format.headers)
    if teacher._key is not None:
        usual |= preset.format.credentials(teacher._key.get_secret_value())
    own = {name.lower() for name in teacher._headers}
    headers = {name: value for name, value in usual.items() if name.lower() not in own} | dict(teacher._headers)
    return Wire(preset, FACTS[preset.name], teacher._model, teacher._base_url, headers)
