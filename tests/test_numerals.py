"""Numbers in text are read exactly, in every way of writing them, and nothing else is taken for one."""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.numerals import cleaned, is_formula, read_numeral, read_numerals


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", "42"), (" 42. ", "42"), ("(42)", "42"), ("**42**", "42"), ("`42`", "42"), ("$42$", "42"),
        (r"\(42\)", "42"),
        ("-5", "-5"), ("\u22125", "-5"), ("\u20135", "-5"), ("+5", "5"), ("- 5", "-5"),
        ("1,234.5", "1234.5"), ("1,234,567", "1234567"), ("1 234,5", "1234.5"), ("1 000 000", "1000000"),
        ("1'234", "1234"), ("1\u2019234", "1234"), ("1_000", "1000"), ("1.234,5", "1234.5"), ("1.234.567", "1234567"),
        ("1{,}234", "1234"), (r"1\,234\,567", "1234567"), ("1\u202f234", "1234"), ("1\u00a0234", "1234"),
        ("3/4", "3/4"), ("3 / 4", "3/4"), ("3\u20444", "3/4"), (r"\frac{3}{4}", "3/4"), (r"-\dfrac34", "-3/4"),
        (r"\frac{-3}{4}", "-3/4"), (r"\frac{1,000}{3}", "1000/3"), ("1.5/2", "3/4"),
        ("1 1/2", "3/2"), (r"1\frac{1}{2}", "3/2"), (r"-1 \tfrac{1}{2}", "-3/2"), ("½", "1/2"), ("-2½", "-5/2"),
        ("3.2e5", "320000"), ("3.2E-2", "0.032"), (r"3.2 \times 10^5", "320000"), (r"3.2\cdot10^{-5}", "0.000032"),
        ("3.2×10⁵", "320000"), ("3.2 x 10^5", "320000"), ("3.2*10**5", "320000"), ("10^5", "100000"),
        ("1.5 million", "1500000"), ("2 dozen", "24"), ("three", None), ("42nd", "42"), (".5", "0.5"),
        ("50%", "50"), (r"50\%", "50"), ("50 percent", "50"), ("$42", "42"), (r"\$1,234.50", "1234.5"),
        ("-$5.20", "-5.2"),
        ("US$ 5", "5"), ("5 €", "5"), ("42 km", "42"), (r"42\text{ km}", "42"), ("42 km/h", "42"),
        ("30^\\circ", "30"),
        ("12 cm^2", "12"), ("5 square meters", "5"),
        ("1,5", None), ("0,123", None), ("3, 4", None), ("3,4,5", None), ("3-4", None),
        ("2021-03-04", None), ("3:30", None),
        ("1/2/2021", None), ("1/0", None), ("12 7/3", None), ("2x", None), ("x2", None), (r"2\sqrt{3}", None),
        ("2^10", None), (r"2\pi", None), ("5!", None), ("0.333...", None), ("±5", None), ("", None),
        ("about 42", None),
        ("1e999999999", None), ("1e-999999999", None), ("10^999999999", None), ("9" * 1001, None),
        ("42 apples", None),
    ],
)  # fmt: skip
def test_what_is_a_number(text: str, value: str | None) -> None:
    numeral = read_numeral(text)
    assert (numeral.value if numeral else None) == (None if value is None else Fraction(value))


def test_what_is_known_of_a_number() -> None:
    numeral = read_numeral("-1,234 km")
    assert numeral is not None
    assert numeral.unit is not None
    assert (numeral.text, numeral.is_integer, numeral.is_percent) == ("-1,234 km", True, False)
    assert numeral.unit.dimension == (("m", 1),)
    wholes = {text: read_numeral(text).is_integer for text in ("5", "5.0", "4/2", "5e0", "10^2", "1,000")}  # type: ignore[union-attr]
    assert wholes == {"5": True, "5.0": False, "4/2": False, "5e0": False, "10^2": False, "1,000": True}
    assert [one.is_certain for one in read_numerals("1,5 and 1,500 and 1.5")] == [False, True, True]
    assert [one.is_percent for one in read_numerals("5 % of 7 percent of 8")] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("There are 42 apples in 3 boxes.", ["42", "3"]),
        ("1. First 7\n2. Then 8", ["7", "8"]),  # numbers of a list
        ("42. That is it.", ["42"]),
        ("- 7 of these\n- 8 of those", ["7", "8"]),  # bullets
        ("H2O, x2, A4 and 5", ["5"]),
        ("It costs $5, not $6.", ["5", "6"]),
        ("no number", []),
    ],
)
def test_all_the_numbers_of_a_text(text: str, values: list[str]) -> None:
    assert [str(numeral.value) for numeral in read_numerals(text)] == values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", False), ("42 km^2", False), ("10^5", False), ("about 42 apples (in 3 boxes)", False),
        ("H2O weighs 18", False),
        ("2x", True), ("3 + 4", True), ("3 - 4", True), (r"2\pi", True), ("2^5", True), ("3:30", True), ("±5", True),
        ("√2", True), ("< 5", True), ("1e999999999", True),
    ],
)  # fmt: skip
def test_what_is_a_formula(text: str, expected: bool) -> None:
    assert is_formula(text) is expected


@pytest.mark.parametrize(
    "text",
    ["9" * 100_000, "1," * 50_000, "1 " * 50_000, "-" * 100_000, "{" * 100_000, r"\frac{" * 20_000, "1/2 " * 20_000,
     "1 234" * 20_000, " " * 100_000 + "1", "5" + " " * 100_000 + "x", "**" * 50_000, "1.234" * 20_000,
     "$" * 100_000],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    read_numerals(text)
    read_numeral(text)
    assert time.process_time() - start < 5


# --- whatever is written is read back ---

decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=6)
naturals = st.integers(min_value=1, max_value=10**9)


def grouped(number: Decimal, thousands: str, point: str) -> str:
    return f"{number:,f}".replace(",", "T").replace(".", point).replace("T", thousands)


MARKS = [(",", "."), (" ", ","), (" ", "."), ("'", "."), ("\u202f", ","), ("{,}", "."), (r"\,", ".")]
AROUND = ["{}", "${}$", "**{}**", "({})", r"\text{{{}}}", "{} km", "{}%", "{} dollars", "{}."]


@given(decimals, st.sampled_from(MARKS), st.sampled_from(AROUND))
def test_decimals(number: Decimal, marks: tuple[str, str], around: str) -> None:
    text = grouped(number, *marks)
    numeral = next(iter(read_numerals(around.format(text))))
    assert numeral.value == Fraction(number)


@given(
    st.integers(-(10**9), 10**9),
    naturals,
    st.sampled_from(["{}/{}", "{} / {}", r"\frac{{{}}}{{{}}}", r"\dfrac{{{}}}{{{}}}"]),
)
def test_fractions(over: int, under: int, form: str) -> None:
    numeral = read_numeral(form.format(over, under))
    assert numeral is not None
    assert numeral.value == Fraction(over, under)


@given(
    st.booleans(), naturals, naturals, naturals, st.sampled_from(["{} {}/{}", r"{}\frac{{{}}}{{{}}}", "{}  {} / {}"])
)
def test_mixed_numbers(negative: bool, whole: int, part: int, of: int, form: str) -> None:
    part, of = sorted((part, part + of))
    numeral = read_numeral("-" * negative + form.format(whole, part, of))
    assert numeral is not None
    assert numeral.value == (-1 if negative else 1) * (whole + Fraction(part, of))


POWERS = ["{}e{}", "{}E{}", r"{} \times 10^{{{}}}", r"{}\cdot 10^{{{}}}", "{} × 10^{}", "{}*10**{}"]


@given(st.decimals(min_value=-1000, max_value=1000, places=5), st.integers(-300, 300), st.sampled_from(POWERS))
def test_scientific_notation(number: Decimal, exponent: int, form: str) -> None:
    numeral = read_numeral(form.format(f"{number:f}", exponent))
    assert numeral is not None
    assert numeral.value == Fraction(number) * Fraction(10) ** exponent


@given(st.text(max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    read_numeral(text)
    is_formula(text)
    for numeral in read_numerals(text):
        assert numeral.text
        assert isinstance(cleaned(text), str)
