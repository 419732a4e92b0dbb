"""Plain data as JSON, and back, exactly: the only thing that crosses between a program and its tests.

Values of exactly these types are copied: None, bool, int, float, complex, str, bytes, bytearray, list, tuple, set,
frozenset, dict, range, slice, named tuples, deque, OrderedDict, Counter, defaultdict, Decimal, Fraction, those of
datetime, these types themselves, and types and pure functions of builtins. Anything else stays where it is, and a
handle crosses in its place: what that means is the caller's part. Never pickle or marshal, which can be made to run
code.

Lists and other values that can change are numbered as they are met. So a value that occurs twice, or in itself,
arrives as one, and the content of arguments can be sent back.
"""

from __future__ import annotations

import base64
import builtins
import datetime
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from . import named

__all__ = ["MUTABLE", "PLAIN", "Reader", "UncrossableError", "Writer", "change"]

DEEPEST = 200
"""Levels of nesting that cross."""
_EXACT = 1 << 53  # JSON readers agree on integers up to here
_FACTORIES = {"list": list, "dict": dict, "set": set, "int": int, "str": str, "float": float, "tuple": tuple}
_PURE = (
    abs,
    all,
    any,
    ascii,
    bin,
    chr,
    divmod,
    format,
    hash,
    hex,
    iter,
    len,
    max,
    min,
    next,
    oct,
    ord,
    pow,
    repr,
    round,
)
_LIBRARY = (deque, OrderedDict, Counter, defaultdict, Decimal, Fraction, *vars(datetime).values())
_BUILTINS: dict[str, Any] = {
    **{kind.__name__: kind for kind in _LIBRARY if isinstance(kind, type) and kind is not datetime.tzinfo},
    **{name: value for name, value in vars(builtins).items() if isinstance(value, type) and name[0] != "_"},
    **{function.__name__: function for function in (*_PURE, sorted, sum)},
    "Ellipsis": ...,
    "NotImplemented": NotImplemented,
}
"""What may be named by the other side: types, and functions that do nothing but compute."""
_CONSTANTS = (type(...), type(NotImplemented))
MUTABLE = (list, dict, set, bytearray, deque, OrderedDict, Counter, defaultdict)
PLAIN = {
    *(bool, int, float, complex, str, bytes, tuple, frozenset, range, slice, *MUTABLE, Decimal, Fraction),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
}
"""Types of values that are copied, but for named tuples and what stands for itself."""


class UncrossableError(Exception):
    """This value cannot cross; the message says why."""


class Writer:
    """Makes JSON of values.

    Args:
        foreign: Called with what is not plain data; returns the JSON that stands for it.
        seen: Values that the other side has already, by number.
    """

    def __init__(self, foreign: Callable[[Any], Any], seen: list[Any] | None = None) -> None:
        self._foreign = foreign
        self.seen: list[Any] = list(seen or ())
        """The values that can change, by number. Held, so that no other value gets the address of one of them."""
        self._numbers = {id(value): number for number, value in enumerate(self.seen)}

    def write(self, value: Any, depth: int = 0) -> Any:
        """Return the JSON that stands for a value.

        Raises:
            UncrossableError: It cannot cross.
        """
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return (
                value if value.isascii() or not _has_surrogates(value) else {"u": [ord(letter) for letter in value]}
            )
        if kind is int:
            return value if -_EXACT < value < _EXACT else {"i": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"x": repr(value)}
        if depth > DEEPEST:
            raise UncrossableError(f"it is nested more than {DEEPEST} levels deep")
        if kind in MUTABLE and (kind is not defaultdict or _has_known_factory(value)):
            number = self._numbers.get(id(value))
            if number is not None:
                return {"a": number}
            self._numbers[id(value)] = len(self.seen)
            self.seen.append(value)
            return self.content(value, depth)
        return self._fixed(value, kind, depth)

    def content(self, value: Any, depth: int = 0) -> Any:
        """Return the JSON of a value that can change, whether the other side has it already or not."""
        kind: Any = type(value)
        if kind is list:
            return self._items(value, depth)
        if kind is bytearray:
            return {"B": base64.b64encode(value).decode()}
        if kind is deque:
            return {"e": [value.maxlen, self._items(value, depth)]}
        if kind is set:
            return {"s": self._items(value, depth)}
        flat = self._items([part for pair in value.items() for part in pair], depth)
        if kind is defaultdict:
            return {"z": [getattr(value.default_factory, "__name__", None), flat]}
        return {{dict: "d", OrderedDict: "o", Counter: "k"}[kind]: flat}

    def _more(self, value: Any, kind: type) -> Any:
        """What a named tuple has beyond its fields: a handle, and whether it has a text of its own."""
        if not named.has_more(kind):
            return None
        try:
            return [self._foreign(value), named.is_own(kind.__str__), named.is_own(kind.__repr__)]
        except UncrossableError:
            return None

    def _items(self, values: Any, depth: int) -> list[Any]:
        return [self.write(value, depth + 1) for value in values]

    def _fixed(self, value: Any, kind: type, depth: int) -> Any:
        if kind is tuple:
            return {"t": self._items(value, depth)}
        if kind is frozenset:
            return {"f": self._items(value, depth)}
        if kind is bytes:
            return {"b": base64.b64encode(value).decode()}
        if kind is complex:
            return {"c": [self.write(value.real), self.write(value.imag)]}
        if kind is range:
            return {"r": self._items((value.start, value.stop, value.step), depth)}
        if kind is slice:
            return {"l": self._items((value.start, value.stop, value.step), depth)}
        if kind is Decimal:
            return {"m": str(value)}
        if kind is Fraction:
            return {"q": self._items((value.numerator, value.denominator), depth)}
        when = _write_time(value, kind)
        if when is not None:
            return {"w": when}
        fields = named.fields_of(kind)
        if fields is not None:
            items = self._items(tuple(value), depth)
            return {"n": [kind.__name__, list(fields), items, self._more(value, kind)]}
        # By type and not by looking at the value: that may be a stub, whose attributes are far away.
        name = value.__name__ if kind in (type, type(len)) else repr(value) if kind in _CONSTANTS else None
        if name is not None and _BUILTINS.get(name) is value:
            return {"y": name}
        return self._foreign(value)


class Reader:
    """Makes values of JSON.

    Args:
        handle: Called with the JSON of what the other side's ``foreign`` made; returns what stands for it here.
        seen: Values that the other side may refer to, by number.
    """

    def __init__(self, handle: Callable[[str, Any], Any], seen: list[Any] | None = None) -> None:
        self._handle = handle
        self.seen: list[Any] = list(seen or ())

    def read(self, data: Any) -> Any:
        """Return the value that JSON stands for.

        Raises:
            Exception: Of many kinds, where it stands for nothing.
        """
        if data is None or isinstance(data, bool | int | float | str):
            return data
        if isinstance(data, list):
            return self.content(data, known=False)
        ((tag, rest),) = data.items()
        if tag == "a":
            return self.seen[rest]
        return self.content(data, known=False) if tag in _TAGS else self._fixed(tag, rest)

    def content(self, data: Any, *, known: bool = True) -> Any:
        """Return a value that can change, from what :meth:`Writer.content` made.

        Args:
            data: The JSON.
            known: Whether it is the content of a value that has a number already.
        """
        ((tag, rest),) = data.items() if isinstance(data, dict) else (("", data),)
        detail = None
        if tag in ("z", "e"):
            detail, rest = rest
        made: Any = _TAGS[tag](detail)
        if not known:
            self.seen.append(made)
        if tag == "B":
            made.extend(base64.b64decode(rest))
            return made
        items = [self.read(item) for item in rest]
        if isinstance(made, dict):
            _fill(made, zip(items[::2], items[1::2], strict=True))
        else:
            made.update(items) if isinstance(made, set) else made.extend(items)
        return made

    def _fixed(self, tag: str, rest: Any) -> Any:
        if tag == "u":
            return "".join(map(chr, rest))
        if tag == "i":
            return int(rest, 16)
        if tag == "x":
            return float(rest)
        if tag == "b":
            return base64.b64decode(rest)
        if tag == "m":
            return Decimal(rest)
        if tag == "y":
            return _BUILTINS[rest]
        if tag in ("h", "g"):
            return self._handle(tag, rest)
        if tag == "w":
            return _read_time(*rest)
        if tag == "n":
            name, fields, values, more = rest
            there = None if more is None else self.read(more[0])
            if more is not None and not hasattr(type(there), "_stub_"):
                return there  # it is back where it lives
            own = [False, False] if more is None else more[1:]
            kind = named.class_of(name, tuple(fields), there, own_str=own[0] is True, own_repr=own[1] is True)
            return kind(*[self.read(item) for item in values])
        items = [self.read(item) for item in rest]
        if tag in ("t", "f"):
            return tuple(items) if tag == "t" else frozenset(items)
        return {"c": complex, "r": range, "l": slice, "q": Fraction}[tag](*items)


_TAGS: dict[str, Callable[[Any], Any]] = {
    "": lambda _: [],
    "d": lambda _: {},
    "o": lambda _: OrderedDict(),
    "k": lambda _: Counter(),
    "s": lambda _: set(),
    "B": lambda _: bytearray(),
    "e": lambda length: deque(maxlen=length),
    "z": lambda factory: defaultdict(None if factory is None else _FACTORIES[factory]),
}
"""What makes an empty value of each type that can change, given its detail."""


def change(value: Any, new: Any) -> None:
    """Give a value that can change the content of another one of its type.

    Raises:
        TypeError: They are of different types.
    """
    if type(value) is not type(new) or type(value) not in MUTABLE:
        raise TypeError("a value cannot change its type")
    if isinstance(value, list | bytearray):
        value[:] = new
    elif isinstance(value, deque):
        held = list(new)
        value.clear()
        value.extend(held)
    elif isinstance(value, dict):
        pairs = list(new.items())
        value.clear()
        _fill(value, pairs)
    else:
        held = list(new)
        value.clear()
        value.update(held)


def _fill(mapping: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
    """What ``update`` does, but a Counter's would add."""
    for key, value in pairs:
        mapping[key] = value


def _has_known_factory(value: Any) -> bool:
    factory = value.default_factory
    return factory is None or any(factory is known for known in _FACTORIES.values())


def _has_surrogates(text: str) -> bool:
    """Whether JSON would mend it: two halves of a pair side by side arrive as one letter."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


_TIMES: Mapping[Any, str] = {
    datetime.datetime: "datetime",
    datetime.date: "date",
    datetime.time: "time",
    datetime.timedelta: "timedelta",
    datetime.timezone: "timezone",
}


def _write_time(value: Any, kind: Any) -> list[Any] | None:
    name = _TIMES.get(kind)
    if name is None:
        return None
    if name == "timedelta":
        return [name, value.days, value.seconds, value.microseconds]
    if name == "timezone":
        offset, *own_name = value.__getinitargs__()
        return [name, offset.days, offset.seconds, offset.microseconds, *own_name]
    zone = getattr(value, "tzinfo", None)
    if zone is not None and type(zone) is not datetime.timezone:
        return None  # a zone of its own: a handle
    if name == "date":
        return [name, value.isoformat()]
    return [name, value.replace(tzinfo=None).isoformat(), value.fold, zone and _write_time(zone, type(zone))]


def _read_time(name: str, *rest: Any) -> Any:
    if name == "timedelta":
        return datetime.timedelta(*rest)
    if name == "timezone":
        offset = datetime.timedelta(*rest[:3])
        return datetime.timezone(offset, *rest[3:])
    if name == "date":
        return datetime.date.fromisoformat(rest[0])
    kind: Any = {"datetime": datetime.datetime, "time": datetime.time}[name]
    zone = rest[2] and _read_time(*rest[2])
    return kind.fromisoformat(rest[0]).replace(fold=rest[1], tzinfo=zone or None)
