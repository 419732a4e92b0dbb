"""Finding traces that do not think before they answer.

The reasoning announces the answer in its first sentence, or says nothing but the answer; or the answer only points
back at the reasoning. A student learns from such traces to look busy. It compares words, and does not judge whether a
step is a good one: what is only short passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from cot_distill.answers import boxes, final_answer, normalise
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._flaws import quote, where

__all__ = ["thinks_first"]

_FIRST_SENTENCE = re.compile(r"[^\n]{1,300}?(?:[.!?](?=\s|\Z)|[。！？]|(?=\n)|\Z)")
_ANNOUNCED = re.compile(
    r"(?:(?:the|my|our|so|okay|ok|well|final|correct|right)[ ,]+)*(?:answer|result|solution)(?: here)?"
    r"(?: is| will be| must be| should be)?[:=]? (?P<en>.+)"
    r"|(?:所以|因此)?(?:最终|正确|最后)?的?答案(?:应该)?[是为：:] ?(?P<zh>.+)"
    r"|(?:also )?(?:die |meine )?(?:richtige )?(?:antwort|lösung) (?:ist|lautet)[:]? (?P<de>.+)"
    r"|la (?:bonne )?réponse (?:est|:) (?P<fr>.+)"
    r"|la respuesta (?:correcta )?(?:es|:) (?P<es>.+)",
    re.IGNORECASE,
)
_DRESS = re.compile(r"[*_#>]")
_AND_WHY = re.compile(r",? (?:because|since|as|weil|denn|da|car|parce|porque|pues)\b|;|，因为")
_WORD = re.compile(r"[^\W\d_\u3041-\u9fff]+|\d|[\u3041-\u9fff]|[-+*/=<>^]")
_LONGEST_FINAL = 100
_AROUND_A_BOX = 14
"""Characters of ``$\\boxed{}$`` and its like."""
_LONGEST_NOTHING = 12
_LONGEST_POINTER = 15


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


_FILLERS = frozenset(
    _words(
        "so thus hence therefore then the a an answer result solution final correct is it its be equals must should "
        "will just simply okay ok well hm hmm um this that here easy simple trivial obviously clearly of course sure "
        "yes i we you get know think can see say give write output reply respond need to done let me now first s m "
        "ll also die der das antwort lösung ist la le réponse est respuesta es 答案是为所以因此最终的就我 = -"
    )
)
_POINTS = frozenset(
    _words(
        "see refer as same shown explained stated given described derived calculated computed discussed mentioned "
        "found siehe wie gezeigt voir comme véase ver como 见如"
    )
)
_BACK = frozenset(_words("above earlier previously before reasoning thinking thoughts oben dessus arriba 上"))
_POINTING = frozenset(
    _words(
        "my please in details detail work working steps code explanation proof already has have been was are for at "
        "by full thought process derivation calculation lösungsweg ci más 述面文所示"
    )
)


def thinks_first() -> Verifier:
    """Make a verifier that finds traces which answer before they think, or do not think at all.

    Three things fail: a reasoning whose first sentence announces the final answer ("The answer is 42. …"); a
    reasoning of a few words that holds nothing but the answer and fillers, or repeats the answer word for word; and
    an answer that only points back ("See above."). The rest passes, however short.

    Returns:
        A verifier named "thinks_first".

    Example:
        >>> hasty = Trace(reasoning="The answer is 42. Let me explain why.", answer="Answer: 42")
        >>> thinks_first()(Task(instruction="What is 6 * 7?"), hasty).reason
        "the answer comes before any reasoning: 'The answer is 42.' (reasoning, at character 0)"
    """
    return _ThinksFirst()


@dataclass(frozen=True)
class _ThinksFirst:
    name: ClassVar[str] = "thinks_first"
    __name__: ClassVar[str] = "thinks_first"

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        reason = _points_back(task, trace) or _says_nothing(trace) or _announces(trace)
        return Verdict(by=self.name, passed=reason is None, about="quality", reason=reason)


def _announces(trace: Trace) -> str | None:
    final = normalise(final_answer(trace.answer))
    start = len(trace.reasoning) - len(trace.reasoning.lstrip())
    first = _FIRST_SENTENCE.match(trace.reasoning, start)
    if first is None or not final or len(final) > _LONGEST_FINAL:
        return None
    sentence = first[0].strip()
    plain = _DRESS.sub("", sentence).strip().rstrip("。！？!?")
    announced = _ANNOUNCED.fullmatch(plain)
    said = plain if announced is None else next(filter(None, announced.groups()), "")
    values = [said]
    if announced is not None:
        values += [_AND_WHY.split(said)[0], said.partition(",")[0]]
    if len(said) <= len(final) + _AROUND_A_BOX:
        values += boxes(said)
    if final not in map(normalise, values):
        return None
    return f"the answer comes before any reasoning: {quote(sentence)} ({where('reasoning', start)})"


def _says_nothing(trace: Trace) -> str | None:
    if len(trace.reasoning) <= 2 * len(trace.answer) + 100 and normalise(trace.reasoning) == normalise(trace.answer):
        return f"the reasoning is the answer word for word: {quote(trace.reasoning)} ({where('reasoning', 0)})"
    said = _words(trace.reasoning[:_LONGEST_FINAL])
    if len(trace.reasoning) > _LONGEST_FINAL or len(said) > _LONGEST_NOTHING:
        return None
    if set(said) - _FILLERS - set(_words(trace.answer)):
        return None
    return f"the reasoning says nothing but the answer: {quote(trace.reasoning)} ({where('reasoning', 0)})"


def _points_back(task: Task, trace: Trace) -> str | None:
    said = _words(trace.answer[: 2 * _LONGEST_FINAL])
    if len(trace.answer) > 2 * _LONGEST_FINAL or len(said) > _LONGEST_POINTER:
        return None
    if set(said) - _POINTING - _FILLERS - _POINTS - _BACK or not set(said) & _POINTS or not set(said) & _BACK:
        return None
    if task.answer is not None and normalise(task.answer) == normalise(final_answer(trace.answer)):
        return None
    return f"the answer only points back: {quote(trace.answer)} ({where('answer', 0)})"
