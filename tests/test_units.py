"""Units are recognised where they stand behind a number, and convert within their kind."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cot_distill.units import read_unit


@pytest.mark.parametrize(
    ("one", "factor", "other"),
    [
        ("km", 1000, "m"), ("meters", 1, "metre"), ("m", 100, "cm"), ("inches", Fraction(254, 100), "centimetres"),
        ("kg", 1000, "grams"), ("pounds", 16, "oz"), ("hours", 60, "min"), ("weeks", 7, "days"), ("L", 1000, "ml"),
        ("liter", 1000, "cm^3"), ("km^2", 10**6, "square meters"), ("cubic meters", 1000, "L"),
        ("km/h", Fraction(5, 18), "m/s"),
        ("miles per hour", Fraction(1609344, 3600000), "m/s"), ("years", 12, "months"),
        ("dollars", 100, "cents"), ("$", 1, "USD"),
        ("°", 1, "degrees"), ("kN", 1000, "newtons"),
    ],
)  # fmt: skip
def test_units_of_one_kind(one: str, factor: int | Fraction, other: str) -> None:
    first, second = read_unit(one), read_unit(other)
    assert first is not None
    assert second is not None
    assert (first[1], second[1]) == (len(one), len(other))
    assert first[0].dimension == second[0].dimension
    assert first[0].factor / second[0].factor == factor


@pytest.mark.parametrize(
    ("one", "other"),
    [("m", "m^2"), ("m", "g"), ("$", "€"), ("°C", "°F"), ("°", "rad"), ("m/s", "m"), ("pounds", "£")],
)
def test_units_of_different_kinds(one: str, other: str) -> None:
    first, second = read_unit(one), read_unit(other)
    assert first is not None
    assert second is not None
    assert first[0].dimension != second[0].dimension


@pytest.mark.parametrize("text", ["", "apples", "in total", "minus", "sheep", "x", "mm2x", "more", "gross", "is"])
def test_what_is_no_unit(text: str) -> None:
    assert read_unit(text) is None


def test_a_unit_is_read_where_it_stands() -> None:
    found = read_unit("it is 42 km away", 8)
    assert found is not None
    assert found[0].text == "km"
    assert found[1] == 11
    assert read_unit("a 5-mile run", 3) is not None
