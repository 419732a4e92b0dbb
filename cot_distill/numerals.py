r"""Reading numbers out of text, exactly: ``1,234.5``, ``-2 1/2``, ``\frac{3}{4}``, ``3.2 \times 10^5``, ``42 km``.

This file knows how people and models write a number. It knows no formulas (``2\sqrt{3}`` is none of its numbers) and
does not judge: what a difference means is for whoever compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from cot_distill.units import CURRENCIES, Unit, read_unit

__all__ = ["Numeral", "cleaned", "is_formula", "read_numeral", "read_numerals"]

_LONGEST = 1000
"""Digits that a number may have, and its largest exponent. More is no answer, and could be made to cost minutes."""


class Numeral(NamedTuple):
    """A number as it stands in a text."""

    value: Fraction
    """Without the unit; 50 % has the value 50."""
    text: str
    """As it is written, with its unit."""
    is_percent: bool = False
    unit: Unit | None = None
    """None where there is none, or none that is known."""
    is_integer: bool = False
    """Whether it is written as a whole number; ``2.0`` and ``4/2`` are not."""
    is_certain: bool = True
    """False where it may be more than one number: ``1,5``."""


# --- one way of writing ---

_THIN = "\u2009"
"""Stands for any space that does not separate words."""
_FOLDED = str.maketrans(
    dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-")
    | dict.fromkeys("\u202f\u00a0\u2008", _THIN)
    | dict.fromkeys("\u2044\u2215", "/")
    | {"\u2019": "'", "\u00b7": "×", "\u22c5": "×", "μ": "µ"}
)
_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")


def _apart(found: re.Match[str], fraction: str) -> str:
    """A fraction that keeps clear of what is around it: ``1½`` is ``1 1/2``, but ``-½`` is ``-1/2``."""
    before = found.string[found.start() - 1] if found.start() else ""
    return f"{' ' if before.isdigit() else ''}{fraction} "


_PART = r"\s*(?:\{\s*([-+]?[\d.,]+)\s*\}|(\d))"
_REWRITTEN = [
    (re.compile(pattern), to)
    for pattern, to in (
        (r"(?<!\d)\*\*|\*\*(?!-?\d)|__|`|\\[()\[\]]", " "),
        (r"\\(?:left|right|displaystyle|textstyle)(?![a-zA-Z])|\\!", ""),
        (r"\{,\}", ","),
        (
            r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox|operatorname|boldsymbol)\s*\{([^{}]*)\}",
            r" \1 ",
        ),
        (rf"\\[dtc]?frac{_PART}{_PART}", lambda found: _apart(found, "{}{}/{}{}".format(*found.groups("")))),
        (r"\{\s*([-+]?\d+)\s*\}", r"\1"),
        (r"\\[,:;]|\\ (?=\d)|(?<=\d)~(?=\d)", _THIN),
        (r"\\q?quad(?![a-zA-Z])|\\ |~", " "),
        (r"\^\s*\{?\s*\\(?:circ|degree)(?![a-zA-Z])\s*\}?|\\degree(?![a-zA-Z])", "°"),
        (r"\\(?:times|cdot)(?![a-zA-Z])", "×"),
        (r"\\approx(?![a-zA-Z])|[≈≃≅]", "="),
        (r"\\%", "%"),
        (r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda found: f"^{found[0].translate(_RAISED)}"),
        (rf"[{''.join(_VULGAR)}]", lambda found: _apart(found, _VULGAR[found[0]])),
        (r"\\\$|US\$", "¤"),
    )
]


def cleaned(text: str) -> str:
    r"""Write in one way what LaTeX, Markdown and typographers write in many.

    Args:
        text: Any text.

    Returns:
        The text to look for numbers in.

    Example:
        >>> cleaned(r"$\text{about } 3\frac{1}{2}\%$").split()
        ['about', '3', '1/2', '%']
    """
    text = text.translate(_FOLDED)
    for pattern, to in _REWRITTEN:
        text = pattern.sub(to, text)
    # An even number of dollars encloses formulas; an odd one cannot, so it is money.
    return text.replace("$", "¤" if text.count("$") % 2 else " ").replace("¤", "$")


# --- numbers ---

_DIGITS = (
    r"(?:[1-9]\d{0,2}(?:,\d{3})+(?!,?\d)(?:\.\d+)?"  # 1,234.5
    rf"|[1-9]\d{{0,2}}(?P<gap#>[{_THIN}' _])\d{{3}}(?:(?P=gap#)\d{{3}})*(?!(?P=gap#)?\d)(?:[.,]\d+)?"  # 1 234,5
    r"|[1-9]\d{0,2}(?:\.\d{3})+,\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}(?![\d.])"  # 1.234,5
    r"|\d+,\d+(?!,?\d)"  # 1,5
    r"|\d+(?:\.\d+)?|\.\d+)"
)
_EXPONENT = r"(?:[eE]|\s*[×x*]\s*10\s*(?:\^|\*\*)\s*)(?P<exponent>[+-]?\d+)(?!\d)"
_NUMBER = re.compile(
    rf"(?<![\w.^:/\\{{])(?<!\d[,'])(?P<money>[{CURRENCIES}]\s*)?"
    rf"(?:(?<![\d)\]}}%°])(?P<sign>[+-])\s*)?(?P<dollars>[{CURRENCIES}]\s*)?"
    rf"(?:(?P<whole>\d+)[\s{_THIN}]+(?P<part>\d+)\s*/\s*(?P<of>\d+)"  # 1 1/2
    rf"|10\s*(?:\^|\*\*)\s*(?P<power>[+-]?\d+)(?!\d)"
    rf"|(?P<over>{_DIGITS.replace('#', '1')})(?:{_EXPONENT}|\s*/\s*(?P<under>{_DIGITS.replace('#', '2')}))?)"
)
_PERCENT = re.compile(r"\s*(?:%|(?:percentage points?|percent|per cent|pct)\b)")
_SCALE = re.compile(r"\s*-?(hundred|thousand|million|billion|trillion|dozen)s?\b", re.IGNORECASE)
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_GOES_ON = re.compile(r"[\w^!(\\√π]|\.\d|:\d|/\s*[\w(]|\*\*|\.\.|…")
"""What behind a number shows that it is but a part of something."""
_MARKER = re.compile(r"^[ \t]*(?:[-+*] |(?P<number>\d{1,2}[.)])\s+(?=\S))", re.MULTILINE)
_HOLE = "\0"
_FORMULA = re.compile(rf"\\[a-zA-Z]|[√π∞±≤≥<>]|(?<![A-Za-z_])\d|{_HOLE}\s*[-+*×/^!]\s*|[-+*×/^]\s*{_HOLE}")


def read_numerals(text: str) -> list[Numeral]:
    r"""Find all the numbers in a text.

    Args:
        text: Any text.

    Returns:
        The numbers, in the order in which they stand there.

    Example:
        >>> [str(numeral.value) for numeral in read_numerals(r"about 1,200 or $1\frac{1}{2} \times x$, 3e-2 km")]
        ['1200', '3/2', '3/100']
    """
    return [numeral for numeral, _, _ in _found(cleaned(text))]


def read_numeral(text: str) -> Numeral | None:
    """Read a text that is a number, perhaps with a unit, and nothing else.

    Args:
        text: Any text.

    Returns:
        The number; None where the text is anything else, or may be two numbers.

    Example:
        >>> read_numeral(" 1,234.50 km. ").value
        Fraction(2469, 2)
        >>> read_numeral("about 42") is None
        True
    """
    if len(text) > 2 * _LONGEST:
        return None
    plain = cleaned(text)
    found = list(_found(plain))
    if len(found) != 1:
        return None
    numeral, start, end = found[0]
    rest = plain[:start] + plain[end:]
    return numeral if numeral.is_certain and not rest.strip(" \t\r\n.,;:()[]\"'" + _THIN) else None


def is_formula(text: str) -> bool:
    r"""Whether a text holds something that is made of numbers and is none: ``2\pi``, ``3 + 4``, ``2x``, ``1:2``.

    Args:
        text: Any text.

    Example:
        >>> [is_formula(text) for text in ("42 km^2", "2x", "10^5", "2^5")]
        [False, True, False, True]
    """
    plain = cleaned(text)
    rest, begin = "", 0
    for _, start, end in _found(plain):
        rest += plain[begin:start] + _HOLE
        begin = end
    return _FORMULA.search(rest + plain[begin:]) is not None


def _found(text: str) -> Iterator[tuple[Numeral, int, int]]:
    markers = list(_MARKER.finditer(text))
    skipped = {marker.start("number") for marker in markers} if len(markers) > 1 else set()
    bullets = {marker.end() - 2 for marker in markers if not marker["number"]} if "\n" in text.strip() else set()
    for match in _NUMBER.finditer(text):
        if match.start() in skipped:
            continue
        found = _read(text, match, is_bullet=match.start("sign") in bullets)
        if found is not None:
            yield found


def _is_operator(text: str, match: re.Match[str]) -> bool:
    """Whether what looks like a sign stands between two things: ``3 - 4``, ``x - 4``."""
    start = before = match.start("sign")
    while before > 0 and text[before - 1] in (" ", _THIN):
        before -= 1
    last = text[before - 1] if before > 0 else " "
    return last.isdigit() or last in ")]}%°" or (last.isalpha() and text[start + 1].isspace())


def _read(text: str, match: re.Match[str], *, is_bullet: bool) -> tuple[Numeral, int, int] | None:
    value = _value(match)
    if value is None:
        return None
    start = match.start()
    if match["sign"] and not is_bullet:
        if _is_operator(text, match):
            start = match.end("sign")
        elif match["sign"] == "-":
            value = -value
    end = match.end()
    scale = _SCALE.match(text, end)
    if scale:
        value *= _SCALES[scale[1].lower()]
        end = scale.end()
    ordinal = _ORDINAL.match(text, end)
    percent = _PERCENT.match(text, end)
    money = (match["money"] or match["dollars"] or "").strip()
    unit = read_unit(money if money else text, 0 if money else end)
    if ordinal or percent:
        end = (ordinal or percent).end()  # type: ignore[union-attr]
    elif unit and not money:
        end = unit[1]
    if _GOES_ON.match(text, end):
        return None
    numeral = Numeral(
        value=value,
        text=text[start:end].strip(),
        is_percent=percent is not None,
        unit=unit[0] if unit and not percent and not ordinal else None,
        is_integer=bool(match["over"]) and not match["exponent"] and not match["under"] and _is_whole(match["over"]),
        is_certain=not any(part and _is_doubtful(part) for part in (match["over"], match["under"])),
    )
    return numeral, start, end


_ENGLISH = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > _LONGEST or abs(int(match["exponent"] or match["power"] or 0)) > _LONGEST:
        return None
    try:
        if match["whole"]:
            part = Fraction(int(match["part"]), int(match["of"]))
            return int(match["whole"]) + part if part < 1 else None
        if match["power"]:
            return Fraction(10) ** int(match["power"])
        value = Fraction(_point(match["over"])) * Fraction(10) ** int(match["exponent"] or 0)
        return value / Fraction(_point(match["under"])) if match["under"] else value
    except ZeroDivisionError:
        return None


def _point(digits: str) -> str:
    """Digits with nothing but a decimal point."""
    digits = re.sub(rf"[{_THIN}' _]", "", digits)
    if _ENGLISH.fullmatch(digits) and digits[0] != "0":
        return digits.replace(",", "")
    return digits.replace(".", "").replace(",", ".") if "," in digits or digits.count(".") > 1 else digits


def _is_whole(digits: str) -> bool:
    return "." not in _point(digits)


def _is_doubtful(digits: str) -> bool:
    return re.fullmatch(r"\d+,\d+", digits) is not None and not (_ENGLISH.fullmatch(digits) and digits[0] != "0")
