"""What stands in the tests' process for objects of the program that are no plain data.

A stub passes on calls, attributes, items, iteration and the like, and gets data back, which the tests then compare
here, with operators that the program cannot change. What would leave the decision to the program (``==``, truth,
order, ``in``, arithmetic with a value of the tests) ends the tests as unverifiable.
"""

from __future__ import annotations

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
    _stub_: tuple[Peer, int, str]

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
        # Not asked of the program: it would be told the expected value and believed.
        return any(value is mine or value == mine for mine in self)

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
        return self._stub_[0].ask("call", self, *args, **kwargs)


def exception_stub(peer: Peer, number: int, name: str, base: type) -> type:
    """Make a class that stands for a class of exceptions of the program: the tests can expect it."""

    def refuse(*_: Any, **__: Any) -> None:
        raise SpoiledError("unverifiable", f"the tests make an instance of {name}, which is the program's")

    def text(self: Any) -> str:
        return str(getattr(self, "_text_", None) or BaseException.__str__(self))

    # A real __init__ stays far away; stubs are made without it.
    return type(name, (base,), {"__init__": refuse, "__str__": text, "_stub_": (peer, number, name)})


def module_stub(module: Any, names: Callable[[list[str]], dict[str, Any]]) -> Any:
    """Make a module whose names are looked up in the program, for tests that import it."""

    def look_up(name: str) -> Any:
        found = names([name])
        if name not in found:
            raise AttributeError(f"the program does not define {name}")
        return found[name]

    module.__getattr__ = look_up
    return module


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
