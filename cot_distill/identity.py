"""What a callable is, as text that is the same in every process: to notice when a verifier was changed.

Seen are its code, defaults, closure and settings; not what it calls elsewhere, for which a ``digest`` attribute can
speak. To judge once too often costs nothing but time, so where in doubt this says "changed".
"""

from __future__ import annotations

import functools
from types import CodeType, FunctionType, MethodType
from typing import Any

__all__ = ["identity_of", "name_of"]

_DEPTH = 4


def name_of(part: object) -> str:
    """The name under which a callable is known: its own, or that of its class."""
    return str(getattr(part, "__name__", None) or type(part).__name__)


def identity_of(part: object) -> str:
    """Everything about a callable that can be seen from here."""
    return repr(_seen(part, _DEPTH))


def _seen(value: Any, depth: int) -> object:
    """A value as plain data: no addresses, no hash order, no line numbers."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    digest = getattr(value, "digest", None)
    if isinstance(digest, str | int):
        return name, digest
    if depth == 0 or isinstance(value, type):
        return name
    parts = [_seen(part, depth - 1) for part in _parts(value)]
    return name, sorted(parts, key=repr) if isinstance(value, set | frozenset) else parts


def _parts(value: Any) -> list[Any]:
    """What a value is made of, as far as that tells two of them apart."""
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_consts, value.co_names]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
        # A list or dict that a function closes over is more often its memory than its settings.
        settings = [type(held) if isinstance(held, list | dict | set) else held for held in cells]
        return [value.__code__, value.__defaults__, value.__kwdefaults__, settings]
    return [getattr(type(value).__call__, "__code__", None) if callable(value) else None, _state(value)]


def _state(value: object) -> dict[str, Any]:
    slots = [slot for kind in type(value).__mro__ for slot in _names(kind.__dict__.get("__slots__", ()))]
    held = {slot: getattr(value, slot) for slot in slots if slot != "__dict__" and hasattr(value, slot)}
    return {**getattr(value, "__dict__", {}), **held}


def _names(slots: str | tuple[str, ...]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_full(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - empty cells raise
    except ValueError:
        return False
    return True
