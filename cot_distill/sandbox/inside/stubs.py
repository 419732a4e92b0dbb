"""What stands in the tests' process for objects of the program that are no plain data.

A stub passes on calls, attributes, items, iteration and the like, and gets data back, which the tests then compare
here, with operators that the program cannot change. What would leave the decision to the program (``==``, truth,
order, ``in``, arithmetic with a value of the tests) ends the tests as unverifiable.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from .peer import EndedError, Peer

__all__ = ["CallableStub", "SpoiledError", "Stub", "exception_stub", "module_stub", "waiting"]


_END = object()


class SpoiledError(EndedError):
    """The tests cannot go on.

    Args:
        status: The word of the verdict.
        reason: Why, in a sentence.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Stub:
    """An object of the program.

    Args:
        peer: Where it lives.
        number: How it is known there.
        name: What its type, or itself, is called.
    """

    __slots__ = ("_stub_",)
    _stub_: Any  # who knows it, its number there, and its name

    def __init__(self, peer: Peer, number: int, name: str) -> None:
        object.__setattr__(self, "_stub_", (peer, number, name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array"):  # numpy, which takes what is no array for a value that differs
            _spoil(self, "the tests make an array of")
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "setattr", name, value)

    def __delattr__(self, name: str) -> None:
        _ask(self, "delattr", name)

    def __getitem__(self, key: Any) -> Any:
        return _ask(self, "getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _ask(self, "setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        _ask(self, "delitem", key)

    def __iter__(self) -> Iterator[Any]:
        steps = _ask(self, "iter")
        if not issubclass(type(steps), Stub):
            raise self._stub_[0].malformed(TypeError())
        while (value := _step(steps)) is not _END:
            yield value

    def __next__(self) -> Any:
        value = _step(self)
        if value is _END:
            raise StopIteration
        return value

    def __contains__(self, value: Any) -> bool:
        peer, number, _ = self._stub_
        if number in peer.made:
            found = _ask(self, "contains", value)
            if type(found) is not bool:
                raise peer.malformed(TypeError())
            return found
        # Not asked of the program: where data are due it would be told the expected value and believed.
        try:
            items = iter(self)
            return any(value is mine or value == mine for mine in items)
        except TypeError:
            _spoil(self, "the tests look for something in")

    def __enter__(self) -> Any:
        return _ask(self, "enter")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            if isinstance(error, EndedError):
                return
            _spoil(self, "the tests raise inside a context manager of the program,")
        _ask(self, "exit")

    def __instancecheck__(self, value: Any) -> bool:
        return bool(_ask(self, "isinstance", value, turned=True))

    @property
    def __class__(self) -> Any:  # read by isinstance() where the type itself does not settle it
        _spoil(self, "the tests ask for the type of")

    @__class__.setter
    def __class__(self, kind: Any) -> NoReturn:
        _spoil(self, "the tests change the type of")


class CallableStub(Stub):
    """A function, class or other callable of the program."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it there."""
        peer, number, _ = self._stub_
        found = peer.ask("call", self, *args, **kwargs)
        if number in peer.classes and issubclass(type(found), Stub):
            peer.made.add(found._stub_[1])
        return found


def exception_stub(peer: Peer, number: int, name: str, base: type) -> type:
    """Make a class that stands for a class of exceptions of the program: the tests can expect it."""

    def refuse(*_: Any, **__: Any) -> None:
        raise SpoiledError("unverifiable", f"the tests make an instance of {name}, which is the program's")

    def look_up(self: Any, attribute: str) -> Any:
        received = peer.received.get(id(self))
        if received is None or attribute[:1] == "_":
            raise AttributeError(attribute)
        return peer.ask("of error", received[1], attribute)

    def text(self: Any) -> str:
        return str(getattr(self, "_text_", None) or BaseException.__str__(self))

    # A real __init__ stays far away; stubs are made without it.
    more = {"__init__": refuse, "__str__": text, "__getattr__": look_up, "_stub_": (peer, number, name)}
    return type(name, (base,), more)


def module_stub(names: Callable[[list[str]], dict[str, Any]], put: Callable[[str, Any], object]) -> Any:
    """Make a module whose names are looked up in the program, for tests that import it.

    Args:
        names: Gives those of some names that the program defines.
        put: Gives a name of the program another value.
    """

    class Module(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            found = names([name])
            if name not in found:
                raise AttributeError(f"the program does not define {name}")
            return found[name]

        def __setattr__(self, name: str, value: Any) -> None:
            put(name, value)

    return Module("solution")


async def waiting(stub: Stub) -> Any:
    """Stands for a coroutine of the program."""
    return _ask(stub, "await")


def _ask(stub: Stub, operation: str, *args: Any, turned: bool = False) -> Any:
    peer = stub._stub_[0]
    return peer.ask(operation, *args, stub) if turned else peer.ask(operation, stub, *args)


def _step(stub: Stub) -> Any:
    """The next item, or the end."""
    found = _ask(stub, "step")
    if type(found) is not tuple or len(found) != 2 or type(found[0]) is not bool:
        raise stub._stub_[0].malformed(TypeError())
    return found[1] if found[0] else _END


def _spoil(stub: Stub, what: str) -> NoReturn:
    raise SpoiledError("unverifiable", f"{what} {stub._stub_[2]}, which is not plain data")


def _passes_on(operation: str) -> Any:
    def method(self: Stub, *args: Any) -> Any:
        return _ask(self, operation, *args)

    return method


def _with_another(operation: str, *, turned: bool = False) -> Any:
    def method(self: Stub, other: Any) -> Any:
        if not issubclass(type(other), Stub):
            _spoil(self, "the tests compute with")
        return _ask(self, operation, other, turned=turned)

    return method


def _refuses(what: str) -> Any:
    def method(self: Stub, *_: Any) -> NoReturn:
        _spoil(self, what)

    return method


_ALONE = """
    len reversed str repr format int float complex round bytes index neg pos invert abs
"""
_PAIRS = """
    add sub mul truediv floordiv mod pow matmul and_ or_ xor lshift rshift
"""
for _name in _ALONE.split():
    setattr(Stub, f"__{_name}__", _passes_on(_name))
for _name in _PAIRS.split():
    _plain = _name.rstrip("_")
    setattr(Stub, f"__{_plain}__", _with_another(_name))
    setattr(Stub, f"__r{_plain}__", _with_another(_name, turned=True))
    setattr(Stub, f"__i{_plain}__", _with_another(f"i{_plain}"))


def _passes_on_name(name: str) -> Any:
    return property(lambda self: _ask(self, "getattr", name))


for _name in ("__doc__", "__annotations__"):  # else those of the class Stub would be found
    setattr(Stub, _name, _passes_on_name(_name))
    setattr(CallableStub, _name, _passes_on_name(_name))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Stub, f"__{_name}__", _refuses("the tests compare"))
for _name, _what in {
    "bool": "the tests ask for the truth of",
    "hash": "the tests put into a set or dict",
    "reduce_ex": "the tests copy",
    "aiter": "the tests iterate over the asynchronous",
    "await": "the tests wait for",
    "aenter": "the tests enter the asynchronous",
    "subclasscheck": "the tests ask for subclasses of",
    "dir": "the tests list the names of",
}.items():
    setattr(Stub, f"__{_name}__", _refuses(_what))
setattr(CallableStub, "__mro_entries__", _refuses("the tests make a subclass of"))  # noqa: B010 - nobody calls it
