"""Finding phrases that no student should learn: those of a list, or those by which a model speaks of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cot_distill.arguments import check_text
from cot_distill.errors import ConfigError
from cot_distill.protocols import Verifier
from cot_distill.types import Task
from cot_distill.verifiers._asked import asked
from cot_distill.verifiers._flaws import Flaw, Flawless, Part, check_part, quote

__all__ = ["phrases", "self_reference"]

_SELF_REFERENCES = (
    "as an AI", "being an AI", "I'm an AI", "I am an AI", "I'm just an AI", "I am just an AI",
    "as an artificial intelligence", "as a language model", "as a large language model", "I'm a language model",
    "I am a language model", "I'm a large language model", "I am a large language model",
    "my training data", "I was trained on", "knowledge cutoff", "knowledge cut-off", "my training cutoff",
    "my last update", "my last training",
    "作为AI", "作为一个AI", "作为一名AI", "作为人工智能", "作为一个人工智能", "作为语言模型", "作为一个语言模型",
    "作为大型语言模型", "作为一个大型语言模型", "我是一个AI", "我是一个人工智能", "我是一个语言模型", "我的训练数据",
    "我的知识截止",
    "als KI", "als künstliche Intelligenz", "als Sprachmodell", "als großes Sprachmodell", "meine Trainingsdaten",
    "meinen Trainingsdaten", "meiner Trainingsdaten",
    "en tant qu'IA", "en tant qu'intelligence artificielle", "en tant que modèle de langage",
    "mes données d'entraînement",
    "como IA", "como una IA", "como inteligencia artificial", "como modelo de lenguaje", "como un modelo de lenguaje",
    "mis datos de entrenamiento",
)  # fmt: skip
_ABOUT_AI = re.compile(
    r"\bA\.?I\.?\b|\bKI\b|\bIA\b|artificial intelligence|language model|\bLLM|chat ?bot|chat ?gpt|machine learning"
    r"|neural|\brobot|android|künstliche|sprachmodell|inteligencia artificial|intelligence artificielle"
    r"|人工智能|语言模型|机器人"
)  # in the case that they have: "ai" is French for "have", and "ia" many a syllable
_APOSTROPHE = "['’]"
_LETTER = r"[0-9A-Za-z_\u00c0-\u024f]"


def phrases(*forbidden: str, part: Part = "both", name: str = "phrases") -> Verifier:
    """Make a verifier that finds phrases. What the task itself says may be said again.

    Args:
        forbidden: The phrases. Case does not matter, nor does how white space and apostrophes are written; "as an AI"
            is not found in "as an aim".
        part: Where to look: ``"reasoning"``, ``"answer"`` or ``"both"``.
        name: Under which its verdicts are booked.

    Returns:
        A verifier.

    Raises:
        ConfigError: There is no phrase, or a blank one.

    Example:
        >>> verify = phrases("to be honest", "at the end of the day")
        >>> from cot_distill.types import Trace
        >>> frank = Trace(reasoning="To be  honest, 2 and 2 make 4.", answer="4")
        >>> verify(Task(instruction="2 + 2?"), frank).reason
        "'To be  honest' (reasoning, at character 0)"
    """
    check_part(part)
    if not forbidden or not all(isinstance(phrase, str) and phrase.strip() for phrase in forbidden):
        raise ConfigError('phrases("…", "…") needs at least one phrase, and none that is blank')
    check_text(name, "phrases(name=…)")
    return Flawless(name, part, _Phrases(forbidden))


def self_reference(*more: str, part: Part = "both") -> Verifier:
    """Make a verifier that finds where a model speaks of itself: "as an AI", "my training data", "knowledge cutoff".

    The list has such phrases in English, Chinese, German, French and Spanish. A task about AI passes.

    Args:
        more: Phrases beside those of the list.
        part: Where to look: ``"reasoning"``, ``"answer"`` or ``"both"``.

    Returns:
        A verifier named "self_reference".

    Raises:
        ConfigError: A phrase is no text, or there is no such part.

    Example:
        >>> from cot_distill.types import Trace
        >>> said = Trace(reasoning="I have no taste.", answer="As an AI, I cannot choose.")
        >>> self_reference()(Task(instruction="Tea or coffee?"), said).reason
        "'As an AI' (answer, at character 0)"
    """
    check_part(part)
    for phrase in more:
        check_text(phrase, "self_reference()")
    return Flawless("self_reference", part, _Phrases((*_SELF_REFERENCES, *more), about_ai=True))


@dataclass(frozen=True)
class _Phrases:
    forbidden: tuple[str, ...]
    about_ai: bool = False

    def __call__(self, task: Task, _part: str, text: str) -> Flaw | None:
        folded = _folded(text)
        said = [phrase for phrase in self.forbidden if _folded(phrase) in folded]  # 50 times as fast as one pattern
        if not said:
            return None
        question = asked(task)
        if self.about_ai and _ABOUT_AI.search(question):
            return None
        said = [phrase for phrase in said if _folded(phrase) not in _folded(question)]
        places = [found for phrase in said if (found := re.search(_spelled(phrase), text, re.IGNORECASE)) is not None]
        first = min(places, key=re.Match.start, default=None)
        return None if first is None else Flaw(quote(first[0]), first.start())


def _spelled(phrase: str) -> str:
    words = re.sub(_APOSTROPHE, "'", phrase).split()
    text = r"\s+".join(re.escape(word).replace("'", _APOSTROPHE) for word in words)
    # Chinese has no spaces: only letters of an alphabet can be those of a longer word.
    before = f"(?<!{_LETTER})" if re.match(_LETTER, words[0]) else ""
    after = f"(?!{_LETTER})" if re.match(_LETTER, words[-1][-1]) else ""
    return f"{before}{text}{after}"


def _folded(text: str) -> str:
    return " ".join(text.casefold().replace("’", "'").split())
