"""Finding passages in another language than the one that is expected. Needs the extra ``lang``.

A naive Bayes model over groups of letters names the language of a passage (py3langid). It is good from a few dozen
words on; what is shorter is not judged. It knows languages, and not why a text may use two: a task that speaks of
languages passes.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._asked import asked, is_about_languages
from cot_distill.verifiers._flaws import Part, check_part, quote, texts, where
from cot_distill.verifiers._prose import prose

__all__ = ["language"]

_LANGUAGES = frozenset(
    ("af", "ar", "az", "be", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "eo", "es", "et", "eu",
     "fa", "fi", "fr", "ga", "gl", "gu", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk",
     "km", "kn", "ko", "ku", "ky", "lo", "lt", "lv", "mk", "ml", "mn", "mr", "ms", "my", "ne", "nl", "no",
     "pa", "pl", "ps", "pt", "ro", "ru", "sa", "si", "sk", "sl", "so", "sq", "sr", "sv", "sw", "ta", "te",
     "th", "tl", "tr", "uk", "ur", "uz", "vi", "zh")
)  # fmt: skip
"""The model knows twice as many; the rare ones would only be mistaken for their neighbours."""
_KIN = (
    frozenset({"da", "no"}), frozenset({"hr", "sl", "sr"}), frozenset({"id", "ms"}), frozenset({"cs", "sk"}),
    frozenset({"es", "gl", "pt"}), frozenset({"af", "nl"}), frozenset({"bg", "mk"}), frozenset({"be", "ru", "uk"}),
)  # fmt: skip
"""Languages that are taken for one another now and then."""
_PASSAGE = 200
"""Bytes of letters that are named together."""
_SURE = 0.9
_UNLIKELY = 0.05
_WORD = re.compile(r"[^\W\d_]{2,}(?:['’-][^\W\d_]+)*")
_LOADING = threading.Lock()
_loaded: Any = None


def language(expected: str | None = None, *, part: Part = "both") -> Verifier:
    """Make a verifier that finds passages in another language.

    Code, formulas and addresses are left out. A passage is some 40 words; a quotation of one sentence passes. A task
    that speaks of languages, or asks for a translation, passes too.

    Args:
        expected: The language of the text, by its ISO 639 code: ``"en"``, ``"de"``. Default: that of the task, or,
            where the task is too short to tell, that of most of the trace.
        part: Where to look: ``"reasoning"``, ``"answer"`` or ``"both"``.

    Returns:
        A verifier named "language". Of a trace with fewer than some 20 words it cannot tell, and does not apply.

    Raises:
        MissingExtraError: ``py3langid`` is not installed.
        ConfigError: This is no language that it knows.

    Example:
        ::

            verify = language("en")
            verify(task, trace).reason  # "'de' where 'en' is expected: 'Ich überlege…' (reasoning, at character 0)"
    """
    check_part(part)
    if expected is not None and (not isinstance(expected, str) or expected not in _LANGUAGES):
        raise ConfigError(f"language({expected!r}): this is none of {', '.join(sorted(_LANGUAGES))}")
    if importlib.util.find_spec("py3langid") is None:
        raise MissingExtraError("Telling languages apart", "lang")
    return _Language(expected, part)


class _Passage(NamedTuple):
    part: str
    at: int
    """Index of its first character."""
    words: str
    """All that the model is asked about."""
    text: str
    """How it begins, as it stands."""


@dataclass(frozen=True)
class _Language:
    expected: str | None
    part: Part
    name: ClassVar[str] = "language"
    __name__: ClassVar[str] = "language"

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        question = asked(task)
        if is_about_languages(question):
            return Verdict(by=self.name, passed=True, about="quality", reason="the task itself speaks of languages")
        passages = [passage for part, text in texts(trace, self.part) for passage in _passages(part, text)]
        named = [(passage, _chances(passage.words)) for passage in passages]
        sure = [(passage, chances, found) for passage, chances in named if (found := _sure(chances)) is not None]
        if not sure:
            reason = "too little text to tell its language"
            return Verdict(by=self.name, passed=None, about="quality", applies=False, reason=reason)
        most = Counter(found for _, _, found in sure).most_common(1)[0][0]
        expected = self.expected or _language_of(question) or most
        for passage, chances, found in sure:
            if chances[expected] < _UNLIKELY and not _are_kin(found, expected):
                place = where(passage.part, passage.at)
                reason = f"{found!r} where {expected!r} is expected: {quote(passage.text)} ({place})"
                return Verdict(by=self.name, passed=False, about="quality", reason=reason)
        return Verdict(by=self.name, passed=True, about="quality")


def _passages(part: str, text: str) -> Iterator[_Passage]:
    """Cut a text into passages of about the same length, by letters."""
    words: list[str] = []
    start = size = 0
    for word in _WORD.finditer(prose(text)):
        if not words:
            start = word.start()
        words.append(word[0])
        size += len(word[0].encode("utf-8", "replace"))
        if size >= _PASSAGE:
            yield _Passage(part, start, " ".join(words), text[start : start + _PASSAGE])
            words, size = [], 0
    if size >= _PASSAGE // 2:
        yield _Passage(part, start, " ".join(words), text[start : start + _PASSAGE])


def _language_of(text: str) -> str | None:
    """The language of a text as a whole, if that can be told."""
    words = " ".join(_WORD.findall(prose(text)))
    if len(words.encode("utf-8", "replace")) < _PASSAGE // 2:
        return None
    return _sure(_chances(words))


def _chances(words: str) -> dict[str, float]:
    return dict(_identifier().rank(words))


def _sure(chances: dict[str, float]) -> str | None:
    """The likeliest language, if it is by far the likeliest."""
    best = max(chances, key=chances.__getitem__)
    return best if chances[best] >= _SURE else None


def _are_kin(one: str, other: str) -> bool:
    return any({one, other} <= kin for kin in _KIN)


def _identifier() -> Any:
    """Loads the model once, which takes most of a second."""
    global _loaded
    with _LOADING:
        if _loaded is None:
            langid = importlib.import_module("py3langid.langid")
            identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
            identifier.set_languages(sorted(_LANGUAGES))
            _loaded = identifier
        return _loaded
