"""Finding other scripts in the midst of a text: Chinese characters in English reasoning, say.

It knows scripts, by the ranges of Unicode, and not languages: German in an English text is for
:func:`cot_distill.verifiers.language`, which needs an optional package.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType

from cot_distill.errors import ConfigError
from cot_distill.protocols import Verifier
from cot_distill.types import Task
from cot_distill.verifiers._asked import asked, is_about_languages
from cot_distill.verifiers._flaws import Flaw, Flawless, Part, check_part, quote
from cot_distill.verifiers._prose import prose

__all__ = ["scripts"]

_RANGES = MappingProxyType(
    {
        "Greek": "\u0370-\u03ff\u1f00-\u1fff",
        "Cyrillic": "\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f",
        "Armenian": "\u0530-\u058f",
        "Hebrew": "\u0591-\u05f4\ufb1d-\ufb4f",
        "Arabic": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
        "Devanagari": "\u0900-\u0963\u0966-\u097f",
        "Bengali": "\u0980-\u09ff",
        "Gurmukhi": "\u0a00-\u0a7f",
        "Gujarati": "\u0a80-\u0aff",
        "Tamil": "\u0b80-\u0bff",
        "Telugu": "\u0c00-\u0c7f",
        "Kannada": "\u0c80-\u0cff",
        "Malayalam": "\u0d00-\u0d7f",
        "Sinhala": "\u0d80-\u0dff",
        "Thai": "\u0e00-\u0e7f",
        "Lao": "\u0e80-\u0eff",
        "Tibetan": "\u0f00-\u0fff",
        "Burmese": "\u1000-\u109f",
        "Georgian": "\u10a0-\u10ff\u1c90-\u1cbf",
        "Ethiopic": "\u1200-\u139f",
        "Khmer": "\u1780-\u17ff",
        "Hangul": "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3",
        "kana": "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f",
        "Han": "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    }
)
_OF_LANGUAGE = MappingProxyType(
    {
        **dict.fromkeys(("be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "uk"), ("Cyrillic",)),
        **dict.fromkeys(("ar", "fa", "ps", "ug", "ur"), ("Arabic",)),
        **dict.fromkeys(("hi", "mr", "ne", "sa"), ("Devanagari",)),
        **dict.fromkeys(("he", "yi"), ("Hebrew",)),
        **dict.fromkeys(("as", "bn"), ("Bengali",)),
        **dict.fromkeys(("am", "ti"), ("Ethiopic",)),
        "el": ("Greek",), "hy": ("Armenian",), "pa": ("Gurmukhi",), "gu": ("Gujarati",), "ta": ("Tamil",),
        "te": ("Telugu",), "kn": ("Kannada",), "ml": ("Malayalam",), "si": ("Sinhala",), "th": ("Thai",),
        "lo": ("Lao",), "bo": ("Tibetan",), "my": ("Burmese",), "ka": ("Georgian",), "km": ("Khmer",),
        "zh": ("Han",), "ja": ("kana", "Han"), "ko": ("Hangul", "Han"),
    }
)  # fmt: skip
"""The scripts of the languages that are not written in Latin letters, by their ISO 639 codes."""

_LETTER = re.compile("|".join(f"(?P<{name}>[{ranges}])" for name, ranges in _RANGES.items()))
_FOREIGN = re.compile(f"[{''.join(_RANGES.values())}]+")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]{3,}")
_CITED = re.compile(
    r"\([^()\n]{1,80}\)|（[^（）\n]{1,80}）|\[[^\[\]\n]{1,80}\]"
    r'|"[^"\n]{1,80}"|“[^“”\n]{1,80}”|‘[^‘’\n]{1,80}’|«[^«»\n]{1,80}»|„[^„“\n]{1,80}“|「[^「」\n]{1,80}」|『[^『』\n]{1,80}』'
)
_GREEK_WORD = 4
_ENOUGH = 20
"""Letters without which a text has no script of its own."""


def scripts(expected: str | None = None, *, part: Part = "both", stray: int = 4) -> Verifier:
    """Make a verifier that finds letters of a script that has no place in the text.

    Latin letters may stand everywhere, since formulas and names are written in them, and so may single Greek ones.
    Code, formulas and short passages in brackets or quotation marks are left out: a foreign name may be cited. A task
    that speaks of languages, or asks for a translation, passes.

    Args:
        expected: The language of the text, by its ISO 639 code: ``"en"``, ``"zh"``. Default: the scripts in which the
            task and its reference answer are written.
        part: Where to look: ``"reasoning"``, ``"answer"`` or ``"both"``.
        stray: How many letters of other scripts are let pass.

    Returns:
        A verifier named "scripts". It also finds that a text which should be Chinese, Russian… is for the most part
        in Latin letters.

    Raises:
        ConfigError: A setting is none.

    Example:
        >>> from cot_distill.types import Trace
        >>> verify = scripts()
        >>> mixed = Trace(reasoning="So x is 4. 因此答案是四。 Done.", answer="4")
        >>> verify(Task(instruction="What is 2 + 2?"), mixed).reason
        "6 letters of Han, the first in '因此答案是四' (reasoning, at character 11)"
    """
    check_part(part)
    is_code = isinstance(expected, str) and re.fullmatch(r"[a-z]{2,3}", expected)
    if expected is not None and not is_code:
        raise ConfigError(f"scripts({expected!r}) needs an ISO 639 code such as 'en' or 'zh'")
    if not isinstance(stray, int) or stray < 0:
        raise ConfigError(f"scripts(stray={stray!r}) needs a whole number, 0 or more")
    return Flawless("scripts", part, _Scripts(expected, stray))


@dataclass(frozen=True)
class _Scripts:
    expected: str | None
    stray: int

    def __call__(self, task: Task, _part: str, text: str) -> Flaw | None:
        question = asked(task)
        if text.isascii() and question.isascii() and self.expected not in _OF_LANGUAGE:
            return None  # the usual case, at once
        if is_about_languages(question):
            return None
        said = prose(text)
        own = _scripts_of(question)
        wanted = set(_OF_LANGUAGE.get(self.expected, ())) if self.expected is not None else set(own)
        main = wanted if self.expected is not None else _main(question, own)
        return _mostly_latin(said, main) or self._foreign(said, wanted | set(own))

    def _foreign(self, said: str, allowed: set[str]) -> Flaw | None:
        cited = _CITED.sub(lambda found: " " * len(found[0]), said)
        counts: Counter[str] = Counter()
        first: tuple[str, re.Match[str]] | None = None
        for run in _FOREIGN.finditer(cited):
            for name, number in _scripts_of(run[0]).items():
                if name in allowed or (name == "Greek" and number < _GREEK_WORD):
                    continue
                counts[name] += number
                first = first or (name, run)
        if first is None or counts.total() <= self.stray:
            return None
        names = " and ".join(sorted(counts))
        return Flaw(f"{counts.total():,} letters of {names}, the first in {quote(first[1][0])}", first[1].start())


def _scripts_of(text: str) -> Counter[str]:
    return Counter(str(letter.lastgroup) for letter in _LETTER.finditer(text))


def _main(text: str, scripts: Counter[str]) -> set[str]:
    """The scripts in which a text is written for the most part; none if that is Latin, or if it is hard to say."""
    letters = scripts.total()
    return set(scripts) - {"Greek"} if letters >= _ENOUGH and letters / 2 > len(_LATIN_WORD.findall(text)) else set()


def _mostly_latin(said: str, main: set[str]) -> Flaw | None:
    if not main:
        return None
    words = len(_LATIN_WORD.findall(said))
    own = sum(number for name, number in _scripts_of(said).items() if name in main)
    # A word of an alphabet is five letters or so, one of Chinese two. Twice as many: names and terms may be Latin.
    if words < _ENOUGH or words <= 2 * own / (2 if main & {"Han", "kana"} else 5):
        return None
    first = _LATIN_WORD.search(said)
    at = first.start() if first is not None else 0
    names = " and ".join(sorted(main))
    return Flaw(f"for the most part in Latin letters, where {names} is expected: {quote(said[at : at + 200])}", at)
