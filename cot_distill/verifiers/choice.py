r"""Judging multiple choice: which letters an answer selects, also where it writes out the option instead.

It knows how models say which option they take. It takes no word for a letter: "A cat" selects nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

from cot_distill.answers import final_answer, normalise
from cot_distill.arguments import check_text
from cot_distill.errors import ConfigError
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._options import options_of, plain
from cot_distill.verifiers._verdicts import inapplicable, short, without_reference

__all__ = ["choice"]

_LONGEST = 5_000
"""Characters of an answer, from its end, that are looked through."""


def choice(options: str = "ABCDE") -> Verifier:
    r"""Make a verifier that compares the selected option with the one in ``Task.answer``.

    Read are ``B``, ``(B)``, ``B.``, ``**B**``, ``B) Paris``, ``Option B``, ``The answer is B``,
    ``\boxed{\text{(B)}}`` and the like. Where the task lists its options, in the instruction (``A) Paris``) or in
    ``metadata["choices"]`` (a list, or a dict by letter), the text of an option stands for its letter, in the answer
    and in the reference. Several letters are compared as a set.

    Args:
        options: The letters, in their order.

    Returns:
        A verifier named "choice". An answer that selects nothing is wrong; one that selects this and then that, or a
        letter together with the text of another option, could not be told.

    Raises:
        ConfigError: ``options`` are not different single letters.

    Example:
        >>> verify = choice()
        >>> task = Task(instruction="Capital of France?\nA) Lyon\nB) Paris", answer="B")
        >>> [verify(task, Trace(reasoning="Hm.", answer=text)).passed for text in ("(B)", "It is Paris.", "A city")]
        [True, True, False]
    """
    check_text(options, "choice(options)")
    letters = options.upper()
    if len(set(letters)) != len(letters) or len(letters) < 2 or not letters.isalpha():
        raise ConfigError("choice() takes the letters of the options, such as 'ABCD'")
    return _Choice(letters)


@dataclass(frozen=True)
class _Choice:
    letters: str
    name: ClassVar[str] = "choice"
    __name__: ClassVar[str] = "choice"
    light: ClassVar[bool] = True

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        if (verdict := without_reference(task, self.name)) is not None:
            return verdict
        texts = options_of(task, self.letters)
        expected = _selected(final_answer(task.answer or "")[-_LONGEST:], self.letters, texts)
        if not isinstance(expected, frozenset) or not expected or (texts and not expected <= texts.keys()):
            known = " ".join(texts or self.letters)
            reason = f"the reference answer {short(task.answer or '')} is none of the options {known}"
            return inapplicable(self.name, reason)
        got = _selected(final_answer(trace.answer)[-_LONGEST:], self.letters, texts)
        wanted = _listed(expected)
        if isinstance(got, str):
            return Verdict(by=self.name, passed=None, about="answer", reason=f"expected {wanted}; {got}")
        reason = f"expected {wanted}, " + (f"got {_listed(got)}" if got else "but the answer selects nothing")
        return Verdict(by=self.name, passed=got == expected, about="answer", reason=reason)


def _listed(letters: Iterable[str]) -> str:
    return " and ".join(sorted(letters))


def _selected(raw: str, letters: str, texts: Mapping[str, str]) -> frozenset[str] | str:
    """The letters that a text selects, none if it selects nothing; or why that cannot be told."""
    text = "\n".join(
        " ".join(line.split()) for line in plain(raw).splitlines()
    )  # single blanks: patterns stay linear
    patterns = _patterns(letters)
    folded = normalise(text)
    by_text = [letter for letter, option in texts.items() if option == folded]
    if len(by_text) == 1:
        return frozenset(by_text)
    if found := patterns.only.fullmatch(text):
        return frozenset(found["run"] or re.findall(rf"\b[{letters}]\b", found["letters"].upper()))
    unsure = ""
    for pattern in (patterns.stated, patterns.judged, patterns.bold, patterns.label, patterns.bracketed):
        where = raw if pattern is patterns.bold else text
        said = {mark["letter"]: mark.end() for mark in pattern.finditer(where)}
        if len(said) == 1:
            [(letter, end)] = said.items()
            return _consistent(letter, where[end:] if pattern is patterns.label else "", texts)
        if said:
            unsure = f"the answer names {_listed(said)}"
            if pattern is patterns.stated:  # the others may well be a discussion of all the options
                return unsure
    return unsure or _written_out(folded, texts) or _mentioned(set(patterns.alone.findall(text)))


def _consistent(letter: str, rest: str, texts: Mapping[str, str]) -> frozenset[str] | str:
    """A letter with a text behind it, which must not be that of another option."""
    written = normalise(rest.partition("\n")[0])
    others = [other for other, option in texts.items() if option == written]
    if others and letter not in others:
        return f"the answer names {letter}, but writes out {others[0]}"
    return frozenset(letter)


def _written_out(folded: str, texts: Mapping[str, str]) -> frozenset[str] | str:
    """The one option whose text is in a text that denies nothing."""
    found = [letter for letter, option in texts.items() if re.search(rf"(?<!\w){re.escape(option)}(?!\w)", folded)]
    found = [one for one in found if not any(texts[one] != texts[two] and texts[one] in texts[two] for two in found)]
    if len(found) > 1:
        return f"the answer writes out {_listed(found)}"
    return "the answer denies something" if found and _DENIAL.search(folded) else frozenset(found)


def _mentioned(letters: set[str]) -> frozenset[str] | str:
    return f"the answer mentions {_listed(letters)} and does not say which it takes" if letters else frozenset()


_DENIAL = re.compile(r"\b(?:not|no|never|neither|nor|except|incorrect|wrong|false|rather than|instead of)\b|n't\b")


class _Patterns(NamedTuple):
    only: re.Pattern[str]
    """Nothing but letters."""
    stated: re.Pattern[str]
    """"The answer is B", "option B"."""
    judged: re.Pattern[str]
    """"B is correct"."""
    bold: re.Pattern[str]
    """"**B**"."""
    label: re.Pattern[str]
    """At the beginning of a line, a letter that is set off from what follows: "B) Paris"."""
    bracketed: re.Pattern[str]
    """"(B)"."""
    alone: re.Pattern[str]
    """A capital that is no word of English."""


@lru_cache(maxsize=16)
def _patterns(letters: str) -> _Patterns:
    upper = f"[{letters}]"
    letter = rf"[(\[]?(?P<letter>{upper})(?![\w'’]|[-/]\w)"
    lead = r"(?:(?:the )?(?:(?:correct|right|best|final) )?(?:answer|option|choice)s?(?: is| are)?:? ?)*"
    bare = rf"[(\[]?{upper}[)\]]?"
    several = rf"{bare}(?:(?: ?[,;/&+] ?(?:and )?| and | ){bare})*"
    is_ = r"(?: ?(?:is|are|would be|should be|must be|[:=])){1,2}:? ?"
    says = rf"(?:(?:answer|option|choice|solution){is_}|(?:choose|pick|select|go with|going with|opt for) )"
    return _Patterns(
        only=re.compile(rf"(?i:\W*{lead}(?P<letters>{several}|(?P<run>(?-i:{upper}{{2,}})))[\s.:,!]*)"),
        stated=re.compile(rf"(?i:\b{says}(?:indeed |clearly |therefore )?(?:(?:option|choice|answer) )?){letter}"),
        judged=re.compile(rf"(?<![\w'’]){letter}[)\]]? (?:is|must be) (?:the )?(?:correct|right|best|true|answer)\b"),
        bold=re.compile(rf"\*\*(?i:{lead}){letter}(?:[)\]])?(?:[.:]| ?[-–—:.)] ?[^*\n]*)?\*\*"),
        label=re.compile(rf"^\W{{0,3}}(?i:{lead})(?:{letter})(?:[)\].:]| [-–—])(?: |$)", re.MULTILINE),
        bracketed=re.compile(rf"[(\[](?P<letter>{upper})[)\]]"),
        alone=re.compile(rf"(?<![\w'’.-])(?:(?<=[a-z,;] ){upper}|{upper}(?!(?<=[AI]) [a-z]))(?![\w'’-])"),
    )
