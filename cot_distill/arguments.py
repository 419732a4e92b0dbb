"""Looking at the parts that a user gives, so that a wrong one shows before anything is asked, judged or written.

This file knows how parts are called, and what a function that makes one looks like. It knows no part.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterable, Mapping
from os import PathLike

from cot_distill.errors import ConfigError

__all__ = [
    "check_count",
    "check_function",
    "check_number",
    "check_path",
    "check_samples",
    "check_text",
    "check_verifier",
    "check_verifiers",
    "shown",
    "takes",
    "uncalled",
]

_SHOWN = 60


def check_verifiers(verifiers: Iterable[object], where: str) -> None:
    """Refuse what cannot judge a trace.

    Args:
        verifiers: What was given.
        where: The name of the argument, or of the function with its brackets.

    Raises:
        ConfigError: One of them is no verifier.
    """
    for verifier in verifiers:
        if isinstance(verifier, list | tuple):
            raise ConfigError(
                f"{where} was given a {type(verifier).__name__} where a verifier should be: put a star before it, as "
                "in verifiers=[verifiers.exact(), *verifiers.quality()] or run.judge(*verifiers.quality())"
            )
        check_verifier(verifier, where)


def check_verifier(verifier: object, where: str) -> None:
    """Refuse what cannot judge a trace.

    Args:
        verifier: What was given.
        where: As for :func:`check_verifiers`.

    Raises:
        ConfigError: It is no verifier.
    """
    if (name := uncalled(verifier, "verifiers")) is not None:
        raise ConfigError(f"{where} was given {name}, which makes a verifier: call it, as in {name}(…)")
    if not callable(verifier):
        raise ConfigError(
            f"{where} was given {shown(verifier)}, which is no verifier: give one such as verifiers.exact(), or a "
            "function of a task and a trace"
        )
    if not takes(verifier, 2):
        raise ConfigError(
            f"{where} was given {shown(verifier)}, which cannot be called with a task and a trace: a verifier is a "
            "function of these two. If this is one that makes a verifier, call it"
        )


def uncalled(part: object, package: str) -> str | None:
    """Find a function of this library that makes parts, where the part itself should be.

    Args:
        part: What was given.
        package: The one that makes such parts, such as ``"verifiers"``.

    Returns:
        What it is called, such as ``"verifiers.exact"``; None where it is something else.
    """
    if not inspect.isfunction(part):
        return None
    module = sys.modules.get(f"{__package__}.{package}")  # a part of it was given, so it is loaded
    public = getattr(module, "__all__", ())
    is_public = part.__name__ in public and getattr(module, part.__name__) is part
    return f"{package}.{part.__name__}" if is_public else None


def takes(function: object, count: int) -> bool:
    """Whether something can be called with so many arguments. What does not show how it is called is believed.

    Args:
        function: Any callable.
        count: How many, by position.

    Returns:
        True, unless it is seen that it cannot.
    """
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def check_count(value: object, setting: str, least: int = 1) -> None:
    """Refuse what is no whole number, or too small. ``True`` is no number.

    Args:
        value: What was given.
        setting: Its name, such as ``dpo(per_task=…)``.
        least: The smallest that makes sense.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{setting} takes a whole number from {least} on, not {shown(value)}")


def check_number(value: object, setting: str) -> None:
    """Refuse what is no number, or no finite one. ``True`` is no number.

    Args:
        value: What was given.
        setting: Its name.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"{setting} takes a number, not {shown(value)}")


def check_text(value: object, setting: str) -> None:
    """Refuse what is no text, or blank.

    Args:
        value: What was given.
        setting: Its name.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{setting} takes text, not {shown(value)}")


def check_function(value: object, setting: str, *takes_what: str) -> None:
    """Refuse what cannot be called in a certain way.

    Args:
        value: What was given.
        setting: Its name.
        takes_what: What it is called with, in words, an argument each.

    Raises:
        ConfigError: It is something else.
    """
    if not callable(value) or not takes(value, len(takes_what)):
        raise ConfigError(f"{setting} takes a function of {' and '.join(takes_what)}, not {shown(value)}")


def check_samples(samples: object, where: str) -> None:
    """Refuse what cannot be gone through for samples.

    Args:
        samples: What was given.
        where: The name of the function, with its brackets.

    Raises:
        ConfigError: It is no iterable, or a text; it says what to write.
    """
    if hasattr(samples, "samples"):
        raise ConfigError(f"{where} was given {shown(samples)}, and takes samples: pass run.samples()")
    if isinstance(samples, str | bytes | Mapping) or not isinstance(samples, Iterable):
        raise ConfigError(f"{where} was given {shown(samples)}, and takes samples: run.samples() has them")


def shown(value: object) -> str:
    """A value as it should stand in a message: short, and without the address of an object.

    Args:
        value: Anything.

    Returns:
        Text or a number as it is written, the name of a function, the kind of anything else.
    """
    if value is None or isinstance(value, bool | int | float | str | bytes):
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    if inspect.isfunction(value) or inspect.isclass(value):
        return f"{'class' if inspect.isclass(value) else 'function'} {value.__name__}"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def check_path(path: object) -> None:
    """Refuse what is no path of a run directory.

    Raises:
        ConfigError: It is none, or empty, which would be the current directory.
    """
    if not isinstance(path, str | PathLike) or not str(path).strip() or "\0" in str(path):
        raise ConfigError(f"path={path!r}: give the path of a directory for the run, such as 'runs/r1'")
