"""The units that people write behind numbers: which ones are the same, and how those of one kind convert.

A short list, for comparing answers: what is not in it is no unit here, just a word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

__all__ = ["CURRENCIES", "Unit", "read_unit"]

CURRENCIES = "$€£¥₹"
"""The signs of which one may stand before a number."""


class Unit(NamedTuple):
    """A unit. Numbers can be compared where the dimensions are the same.

    Example:
        >>> unit, end = read_unit(" km/h on average")
        >>> unit.dimension, unit.factor, end
        ((('m', 1), ('s', -1)), Fraction(5, 18), 5)
    """

    text: str
    """As it is written."""
    dimension: tuple[tuple[str, int], ...]
    """Base units and their powers."""
    factor: Fraction
    """How many of the base units it is."""


_TABLE = """
m1: m=1 meter=1 metre=1 mm=1/1000 millimeter=1/1000 millimetre=1/1000 cm=1/100 centimeter=1/100 centimetre=1/100
    km=1000 kilometer=1000 kilometre=1000 µm=1/1000000 nm=1/1000000000 inch=127/5000 inches=127/5000 ft=381/1250
    foot=381/1250 feet=381/1250 yd=1143/1250 yard=1143/1250 mi=201168/125 mile=201168/125
m3: l=1/1000 L=1/1000 liter=1/1000 litre=1/1000 ml=1/1000000 mL=1/1000000 milliliter=1/1000000 millilitre=1/1000000
g1: g=1 gram=1 mg=1/1000 milligram=1/1000 kg=1000 kilogram=1000 tonne=1000000
lb1: lb=1 lbs=1 pound=1 oz=1/16 ounce=1/16
s1: s=1 sec=1 second=1 ms=1/1000 millisecond=1/1000 min=60 mins=60 minute=60 h=3600 hr=3600 hrs=3600 hour=3600
    day=86400 days=86400 week=604800
year1: year=1 yr=1 yrs=1 month=1/12
gallon1: gallon=1 quart=1/4 pint=1/8
°1: °=1 degree=1 deg=1
rad1: rad=1 radian=1
°C1: °C=1
°F1: °F=1
K1: K=1 kelvin=1
N1: N=1 newton=1 kN=1000
J1: J=1 joule=1 kJ=1000
W1: W=1 watt=1 kW=1000
V1: V=1 volt=1
Hz1: Hz=1 hertz=1 kHz=1000
Pa1: Pa=1 pascal=1 kPa=1000
mol1: mol=1 mole=1
$1: $=1 dollar=1 USD=1 cent=1/100 ¢=1/100
€1: €=1 euro=1 EUR=1
£1: £=1 GBP=1
¥1: ¥=1 yen=1 JPY=1
₹1: ₹=1 rupee=1 INR=1
"""


def _entries() -> Iterator[tuple[str, tuple[str, int, Fraction]]]:
    base, power = "", 0
    for entry in _TABLE.split():
        if entry.endswith(":"):
            base, power = entry[:-2], int(entry[-2])
            continue
        name, _, factor = entry.partition("=")
        value = base, power, Fraction(factor)
        yield name, value
        if len(name) > 3 and name.isalpha() and not name.endswith("s"):  # words, which unlike symbols have a plural
            yield f"{name}s", value


_UNITS = dict(_entries())
_NAME = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_FACTOR = (
    rf"(?:(?P<power#>square|sq\.?|cubic)\s+)?(?P<name#>{_NAME})(?![^\W_])(?:\s*\^\s*(?P<exponent#>[+-]?[1-9])(?!\d))?"
)
_PATTERN = re.compile(rf"(?:\s*|-){_FACTOR.replace('#', '1')}(?:\s*(?:/|\bper\b)\s*{_FACTOR.replace('#', '2')})?")
_POWERS = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3}


def read_unit(text: str, start: int = 0) -> tuple[Unit, int] | None:
    """Read the unit that stands at a place of a text, after blanks.

    Args:
        text: The text.
        start: Where to look.

    Returns:
        The unit and where it ends; None where there is no unit of the list.

    Example:
        >>> read_unit("42 km^2 of land", 2)[0].dimension
        (('m', 2),)
    """
    found = _PATTERN.match(text, start)
    if found is None:
        return None
    dimension: Counter[str] = Counter()
    factor = Fraction(1)
    for number, sign in (("1", 1), ("2", -1)):
        if found[f"name{number}"]:
            base, power, scale = _UNITS[found[f"name{number}"]]
            times = sign * _POWERS.get(found[f"power{number}"] or "", 1) * int(found[f"exponent{number}"] or 1)
            dimension[base] += power * times
            factor *= scale**times
    powers = tuple(sorted((base, power) for base, power in dimension.items() if power))
    return Unit(found[0].strip(" \t\n-"), powers, factor), found.end()
