"""What all wire formats share: the shape of a format, and how settings become fields of a request.

This file knows no provider and no format. A format is a module beside this one, with an ``encode``, a ``decode`` and
a ``FORMAT`` that names where requests go; it does no input or output. What formats share in reading answers is in
:mod:`cot_distill.teachers.reading`.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote

from cot_distill.errors import ConfigError
from cot_distill.teachers.events import Events, ServerSentEvents
from cot_distill.types import Completion, Message, Sampling

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = [
    "Assembler",
    "ErrorEventError",
    "Fields",
    "Format",
    "Said",
    "Streaming",
    "always",
    "as_stream",
    "logprobs",
    "overlay",
    "settings",
    "thinking",
]

log = logging.getLogger("cot_distill")

Fields = dict[str, Any]


class _Encode(Protocol):
    def __call__(
        self, messages: Sequence[Message], sampling: Sampling, /, *, model: str, preset: Preset
    ) -> Fields: ...


class _Decode(Protocol):
    def __call__(self, payload: Any, /, *, preset: Preset) -> Completion: ...


class Said(NamedTuple):
    """The text that one event brought."""

    reasoning: str = ""
    answer: str = ""


class ErrorEventError(Exception):
    """An event says that something went wrong. Internal to the teachers.

    Args:
        payload: The error, in the shape of a body that carries one.
    """

    def __init__(self, payload: Fields) -> None:
        super().__init__("an event carries an error")
        self.payload = payload


class Assembler(Protocol):
    """Puts the events of one answer together again. Any value in them may be anything."""

    @property
    def finished(self) -> bool:
        """It was said why the answer ended, and no text came after that."""

    @property
    def over(self) -> bool:
        """Nothing can follow that matters."""

    def add(self, event: Fields, name: str, /) -> Said:
        """Take an event, with the name that it has on the wire. Raises an ErrorEventError if it reports one."""

    def payload(self) -> Fields:
        """What came so far, in the shape of a whole answer, as :attr:`Format.decode` reads it."""


class Streaming(NamedTuple):
    """How a format streams."""

    assembler: Callable[[], Assembler]
    ask: Callable[[Fields, Preset], Fields]
    """Turns the body of a request into one that asks for a stream."""
    events: Callable[[], Events] = ServerSentEvents
    path: str | None = None
    """In place of that of the format, where it is another one."""


def as_stream(body: Fields, _preset: Preset) -> Fields:
    """Ask for a stream in the way of most formats."""
    return {**body, "stream": True}


class Format(NamedTuple):
    """A wire format: where a request goes, how it is written, and how the answer is read.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> PRESETS["gemini"].format.url_path("gemini-pro")
        '/models/gemini-pro:generateContent'
    """

    path: str
    """Appended to the base URL; ``{model}`` is replaced."""
    encode: _Encode
    decode: _Decode
    key_header: str = "Authorization"
    """The header that holds the key: as a bearer token where it is ``Authorization``, bare in any other."""
    headers: Mapping[str, str] = MappingProxyType({})
    """Sent with every request."""
    streaming: Streaming | None = None
    """None where answers come whole only."""

    def url_path(self, model: str, *, stream: bool = False) -> str:
        """Where to ask a model, with whatever its name holds (colons, slashes) escaped."""
        path = self.streaming.path if stream and self.streaming is not None else None
        return (path or self.path).format(model=quote(model, safe=""))

    def credentials(self, key: str) -> dict[str, str]:
        """The header that holds the key."""
        return {self.key_header: f"Bearer {key}" if self.key_header == "Authorization" else key}


def always(preset: Preset) -> Fields:
    """The fields that go into every request, as a copy: a request that is changed leaves the table alone."""
    return copy.deepcopy(dict(preset.always)) if preset.always else {}


_SETTINGS = ("temperature", "top_p", "max_tokens", "seed")


def settings(sampling: Sampling, preset: Preset, names: Mapping[str, str | None]) -> Fields:
    """Collect the settings that are made, under their names on the wire.

    Args:
        sampling: What the user wants.
        preset: The provider's ways.
        names: What the format calls a setting, where it is another name; None where it has no field for it.

    Returns:
        The fields. A setting without a field, or which the provider fixes itself, is left out with one warning.

    Raises:
        ConfigError: ``extra`` asks for a stream or for several answers at once.
    """
    if sampling.extra.get("stream") or sampling.extra.get("n") not in (None, 1):
        raise ConfigError(
            "Sampling(extra=…) must not hold `stream` or `n`: for several answers a task, use attempts=…"
        )
    found: Fields = {}
    for setting in _SETTINGS:
        value = getattr(sampling, setting)
        if value is None:
            continue
        name = names.get(setting, setting)
        if name is None or setting in preset.fixed:
            _warn_left_out(preset.name, setting)
        else:
            found[name] = value
    return found


def thinking(sampling: Sampling, preset: Preset) -> Fields:
    """The fields that say how hard to think; a warning for what makes no difference there."""
    effort, budget = sampling.reasoning_effort, sampling.reasoning_budget
    fields = preset.thinking(effort, budget)
    # A setting that makes no difference has no field there. Asking beats a second list, which could get out of date.
    if effort is not None and fields == preset.thinking(None, budget):
        _warn_left_out(preset.name, "reasoning_effort")
    if budget is not None and fields == preset.thinking(effort, None):
        _warn_left_out(preset.name, "reasoning_budget")
    return fields


def logprobs(sampling: Sampling, preset: Preset) -> Fields:
    """The fields that ask for log-probabilities; a warning where there are none to be had."""
    if sampling.top_logprobs is None:
        return {}
    fields = preset.logprobs(sampling.top_logprobs)
    if not fields:
        _warn_left_out(preset.name, "top_logprobs")
    return fields


def overlay(body: Fields, extra: Mapping[str, Any], *holders: str) -> Fields:
    """Lay the user's ``extra`` over a body: field by field, also inside of the objects that only hold settings."""
    merged = {
        name: {**body[name], **extra[name]}
        for name in holders
        if isinstance(body.get(name), dict) and isinstance(extra.get(name), dict)
    }
    return {**body, **extra, **merged}


@functools.cache  # once, not once a request
def _warn_left_out(provider: str, setting: str) -> None:
    log.warning("%s takes no %s: it is left out", provider, setting)
