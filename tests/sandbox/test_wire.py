"""What crosses between a program and its tests arrives as it was, or not at all."""

from __future__ import annotations

import datetime
import json
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.sandbox.inside.wire import Reader, UncrossableError, Writer, change


def refuse(value: object) -> Any:
    raise UncrossableError(type(value).__name__)


def crossed(value: Any) -> Any:
    writer, reader = Writer(refuse), Reader(refuse)
    found = reader.read(json.loads(json.dumps(writer.write(value))))
    assert len(writer.seen) == len(reader.seen)
    return found


text = st.text(st.characters(), max_size=8)  # with lone surrogates
zones = st.none() | st.timedeltas(datetime.timedelta(hours=-20), datetime.timedelta(hours=20)).map(datetime.timezone)
fixed = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(1 << 200, 1 << 300),
    st.floats(allow_nan=False),
    text,
    st.binary(max_size=8),
    st.complex_numbers(allow_nan=False),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(timezones=zones),
    st.timedeltas(),
    st.sampled_from([int, str, ValueError, len, ..., NotImplemented, range(3), range(5, 1, -2)]),
)
hashable = st.recursive(fixed, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=3), max_leaves=4)
values = st.recursive(
    fixed | st.sets(hashable, max_size=3) | st.builds(bytearray, st.binary(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(hashable, inner, max_size=3),
        st.builds(deque, st.lists(inner, max_size=3), st.integers(3, 5)),
        st.builds(OrderedDict, st.dictionaries(text, inner, max_size=3)),
        st.builds(defaultdict, st.sampled_from([None, int, list, dict]), st.dictionaries(text, inner, max_size=3)),
        st.builds(Counter, st.lists(text, max_size=4)),
    ),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    """A value with the types of all its parts: 1, True and 1.0 are equal, but not the same."""
    if isinstance(value, dict):
        return type(value), getattr(value, "default_factory", None), [(shape(k), shape(v)) for k, v in value.items()]
    if isinstance(value, set | frozenset):
        return type(value), sorted((shape(item) for item in value), key=repr)
    if isinstance(value, list | tuple | deque):
        return type(value), getattr(value, "maxlen", None), [shape(item) for item in value]
    return type(value), repr(value)


@given(values)
def test_every_value_arrives_as_it_was(value: Any) -> None:
    found = crossed(value)
    assert shape(found) == shape(value)


def test_what_is_one_stays_one() -> None:
    row = [0]
    found = crossed([row, row, {"row": row}])
    assert found[0] is found[1] is found[2]["row"]
    row.append(row)
    assert (found := crossed(row))[1] is found


def test_a_named_tuple_keeps_its_names() -> None:
    found = crossed(namedtuple("Pair", "left right")(1, [2]))
    assert (found.left, found.right, found) == (1, [2], (1, [2]))
    assert type(found).__name__ == "Pair"


class Text(str):
    """No text to be trusted."""


class Lists(list):  # type: ignore[type-arg]
    """No list to be trusted."""


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Text("x"),
        Lists(),
        Text,
        lambda: 1,
        print,
        open,
        [object()],
        {1: {2: (Text("x"),)}},
        defaultdict(Lists),
        datetime.datetime(2026, 1, 1, tzinfo=type("Zone", (datetime.tzinfo,), {})()),
    ],
)
def test_nothing_else_crosses(value: object) -> None:
    with pytest.raises(UncrossableError):
        crossed(value)


def test_what_is_nested_too_deeply_does_not_cross() -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(UncrossableError, match="200"):
        crossed(deep)


@pytest.mark.parametrize(
    "data",
    [
        {"?": 1},
        {},
        {"t": [], "s": []},
        {"y": "open"},
        {"y": "eval"},
        {"y": "__import__"},
        {"a": 7},
        {"i": "x"},
        {"d": [1]},
        {"s": [[]]},
        {"z": ["open", []]},
        {"n": ["x", ["class"], [1]]},
        {"n": ["x", ["a"] * 200, []]},
        {"w": ["now"]},
        {"m": "x"},
        {"q": [1, 0]},
        {"e": 5},
        {"h": 1},
    ],
)
def test_what_stands_for_nothing_is_refused(data: object) -> None:
    with pytest.raises(Exception):  # noqa: B017 - whatever it is, the caller takes it for the program's fault
        Reader(lambda *_: 1 / 0).read(data)


@pytest.mark.parametrize(
    ("value", "new"),
    [
        ([1], [2, 3]),
        ({1: 2}, {3: 4}),
        ({1}, {2}),
        (bytearray(b"a"), bytearray(b"bc")),
        (deque([1], 3), deque([2], 3)),
        (Counter("a"), Counter("bb")),
        (OrderedDict(a=1), OrderedDict(b=1)),
        (defaultdict(int, a=1), defaultdict(int)),
    ],
)
def test_a_value_takes_on_the_content_of_another(value: Any, new: Any) -> None:
    change(value, new)
    assert value == new
    with pytest.raises(TypeError):
        change(value, (1,))


def test_numbers_and_fractions_of_any_size() -> None:
    for value in (10**5000, -(10**5000), Fraction(10**400, 3), Decimal("1e-400"), [Decimal("NaN")]):
        assert repr(crossed(value)) == repr(value) if not isinstance(value, int) else crossed(value) == value
