"""The forms that tests come in, made one: nothing else in the library knows them.

Of Python only what can be seen without running it. Whether tests are any good is found where they run.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from cot_distill.sandbox.inside.wire import UncrossableError, Writer

__all__ = ["Calls", "Nothing", "Programs", "Script", "named_in", "normalised"]


@dataclass(frozen=True)
class Script:
    """Tests that are Python: run beside the program."""

    sources: tuple[str, ...]
    """Several are one test each."""
    entry_point: str | None = None

    def payload(self) -> dict[str, Any]:
        """What the process of the tests is told."""
        return {"sources": list(self.sources), "entry_point": self.entry_point}


@dataclass(frozen=True)
class Calls:
    """Arguments for a function, and what it should return."""

    name: str
    cases: tuple[tuple[Sequence[Any], Any], ...]
    wrapped: bool = False
    """Whether an expected value may stand in a list of its own: some collections do so."""

    def payload(self) -> dict[str, Any]:
        """What the process of the tests is told.

        Raises:
            UncrossableError: A value is no plain data.
        """

        def refuse(value: object) -> None:
            raise UncrossableError(f"the tests hold a {type(value).__name__}, which is no plain data")

        cases = [[list(arguments), expected] for arguments, expected in self.cases]
        return {"name": self.name, "cases": Writer(refuse).write(cases), "wrapped": self.wrapped}


@dataclass(frozen=True)
class Programs:
    """Texts for standard input, and what should be printed. The program runs once for each."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Nothing:
    """No tests that can be used, and why."""

    reason: str


def normalised(tests: object) -> Script | Calls | Programs | Nothing:
    """Return tests in one of four forms.

    Args:
        tests: One of

            - Python: asserts, ``check(candidate)``, test functions, ``unittest`` cases;
            - a list of such pieces, each a test of its own (MBPP);
            - ``{"test": …, "entry_point": …}`` (HumanEval) or ``{"test_list": […], "test_setup_code": …}``;
            - a list of ``{"input": …, "output": …}`` or of pairs, or ``{"inputs": […], "outputs": […]}`` (APPS, TACO,
              LiveCodeBench): texts for standard input, or arguments where ``fn_name`` names the function;
            - any of these as JSON.

    Returns:
        The tests.

    Example:
        >>> normalised(["assert double(2) == 4"])
        Script(sources=('assert double(2) == 4',), entry_point=None)
        >>> normalised({"inputs": ["2"], "outputs": ["4"]})
        Programs(pairs=(('2', '4'),))
        >>> normalised("")
        Nothing(reason='there are no tests')
    """
    try:
        return _normalised(_from_json(tests), {})
    except _UnusableError as error:
        return Nothing(str(error))


def named_in(tests: Script | Calls | Programs | Nothing) -> frozenset[str]:
    """Names that the tests may use of a program: at least all that they do use.

    Args:
        tests: As :func:`normalised` gave them.

    Returns:
        Names; none where the program is run as a whole.

    Example:
        >>> sorted(named_in(normalised(["assert double(2) == 4  # not half"])))
        ['double']
    """
    if isinstance(tests, Calls):
        return frozenset({tests.name, "Solution"})
    if not isinstance(tests, Script):
        return frozenset()
    if tests.entry_point:
        return frozenset(re.findall(r"^\w+", tests.entry_point))
    text = _STRING_OR_COMMENT.sub(" ", "\n".join(tests.sources))
    names = {found["name"] for found in _NAME.finditer(text) if not found["dot"]}
    return frozenset(names - set(re.findall(r"\b(?:def|class)\s+(\w+)", text)) - set(keyword.kwlist))


_STRING_OR_COMMENT = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|' r"'''(?:[^\\]|\\.)*?'''|" r'"(?:[^"\\\n]|\\.)*"|' r"'(?:[^'\\\n]|\\.)*'|#[^\n]*",
    re.DOTALL,
)
_NAME = re.compile(r"(?P<dot>\.\s*)?\b(?P<name>[^\W\d]\w*)")
_ENTRY = ("entry_point", "fn_name", "func_name", "function_name")
_SOURCE = ("test", "tests", "test_list", "test_code")
_SETUP = ("test_imports", "test_setup_code")


class _UnusableError(Exception):
    """These are no tests, and why."""


def _normalised(tests: object, told: Mapping[str, Any]) -> Script | Calls | Programs:
    """Tests in one form; ``told`` is what is known of them from outside."""
    if isinstance(tests, str) and tests.strip():
        return Script((_setup(told) + tests,), _entry(told))
    if isinstance(tests, Mapping) and tests:
        return _of_mapping(tests, told)
    if isinstance(tests, Sequence) and tests and not isinstance(tests, str | bytes):
        if all(isinstance(test, str) for test in tests):
            setup = _setup(told)
            return Script(tuple(setup + test for test in tests), _entry(told))
        return _of_pairs([_pair(test) for test in tests], told)
    if not tests or isinstance(tests, str):
        raise _UnusableError("there are no tests")
    raise _UnusableError(f"tests of the type {type(tests).__name__} are not known")


def _of_mapping(tests: Mapping[str, Any], told: Mapping[str, Any]) -> Script | Calls | Programs:
    told = {**told, **tests}
    for inputs, outputs in (("inputs", "outputs"), ("input", "output")):
        if inputs in tests and outputs in tests:
            given, expected = tests[inputs], tests[outputs]
            if inputs == "input":
                given, expected = [given], [expected]
            if not _is_list(given) or not _is_list(expected) or len(given) != len(expected):
                raise _UnusableError(f"there must be as many {inputs} as {outputs}, in two lists")
            return _of_pairs(list(zip(given, expected, strict=True)), told)
    source = next((name for name in _SOURCE if tests.get(name)), None)
    if source is None:
        raise _UnusableError(f"there are no tests among {', '.join(map(str, tests)) or 'nothing'}")
    return _normalised(_from_json(tests[source]), told)


def _of_pairs(pairs: list[tuple[Any, Any]], told: Mapping[str, Any]) -> Calls | Programs:
    if not pairs:
        raise _UnusableError("there are no tests")
    name = next((told[key] for key in _ENTRY[1:] if told.get(key)), None)
    texts = [(_text(given), _text(expected)) for given, expected in pairs]
    if name is None and all(given is not None and expected is not None for given, expected in texts):
        return Programs(tuple((given or "", expected or "") for given, expected in texts))
    name = name or _entry(told)
    if not isinstance(name, str) or not name.isidentifier():
        raise _UnusableError("the inputs are no text, and fn_name names no function to call with them")
    # As text, each line is an argument in JSON; otherwise the argument list itself.
    cases = [_case(given, expected) for given, expected in pairs]
    return Calls(name, tuple(cases), wrapped=not any(isinstance(given, str) for given, _ in pairs))


def _case(given: Any, expected: Any) -> tuple[Sequence[Any], Any]:
    try:
        if isinstance(given, str):
            expected = json.loads(expected) if isinstance(expected, str) else expected
            return [json.loads(line) for line in given.splitlines() if line.strip()], expected
    except ValueError as error:
        raise _UnusableError(f"an argument or expected value is no JSON: {error}") from None
    if not _is_list(given):
        raise _UnusableError("the arguments of a call must be a list")
    return given, expected


def _pair(test: object) -> tuple[Any, Any]:
    if isinstance(test, Mapping) and "input" in test and "output" in test:
        return test["input"], test["output"]
    if isinstance(test, Sequence) and not isinstance(test, str) and len(test) == 2:
        return test[0], test[1]
    raise _UnusableError(f"a test must be Python, or an input and an output: {str(test)[:80]!r}")


def _text(value: object) -> str | None:
    """What stands for a text: a text, or its lines."""
    if isinstance(value, str):
        return value
    if _is_list(value) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return None


def _setup(told: Mapping[str, Any]) -> str:
    parts = [told.get(key) for key in _SETUP]
    lines = [line for part in parts if part for line in ([part] if isinstance(part, str) else part)]
    return "".join(f"{line}\n" for line in lines)


def _entry(told: Mapping[str, Any]) -> str | None:
    return next((str(told[key]) for key in _ENTRY if told.get(key)), None)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _from_json(tests: object) -> object:
    """Collections often hold tests as a text of JSON."""
    if isinstance(tests, str) and tests.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(tests)
        except (ValueError, RecursionError):  # Python that begins with a list
            return tests
    return tests
