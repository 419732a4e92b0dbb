"""Finding answers that decline to answer.

It knows how models put it in English, Chinese, German, French and Spanish, and looks only at how the answer begins. A
story in which somebody is sorry, and a number that cannot be divided, are no refusals.
"""

from __future__ import annotations

import re

from cot_distill.protocols import Verifier
from cot_distill.types import Task
from cot_distill.verifiers._asked import asked
from cot_distill.verifiers._flaws import Flaw, Flawless, quote

__all__ = ["refusal"]

_BEGINNING = 400
_SENTENCE = r"(?:\A|(?<=[.!?。！？\n]))[\s*_#>]*(?P<refusal>"
_TO_DO = (
    r"(?:help|assist|comply|fulfil|provide|create|write|generate|produce|discuss|answer|respond|share|offer|give|support"
    r"|engage|participate|continue|complete|process|do (?:that|this)|recommend|advise|access|browse|open|view|see)"
)
_CANNOT = (
    r"I(?:['’]m| am)? (?:just |simply |really )?"
    r"(?:can(?:['’]t| ?not)|could(?:n['’]t| not)|won['’]t|will not|unable to|not able to|not allowed to"
    r"|not comfortable)(?: be able to)?(?: with)?"
)
_PATTERNS = (
    # English
    r"(?:(?:I['’]m|I am)(?: (?:very|so|truly|really|terribly))? sorry|sorry|(?:I|my) apologi[sz]e|my apologies"
    rf"|unfortunately|I['’]m afraid)\b[^.!?\n]{{0,80}}?\b{_CANNOT} {_TO_DO}(?!\w* but\b)",
    rf"{_CANNOT} (?:help|assist)(?:ing)?(?: you)? (?:with|in) (?:that|this|your|the|any|such|creating|making"
    r"|writing)\b",
    rf"{_CANNOT} (?:comply|fulfil+)\w*\b",
    rf"{_CANNOT} (?:do|discuss|answer|continue with|engage in) (?:that|this|such)\b",
    rf"{_CANNOT} provid\w+ (?:you )?(?:with )?(?:[a-z]+ ){{0,2}}(?:information|instructions|assistance"
    r"|advice|guidance|help|support|details)\b",
    r"I (?:must|have to|need to|will have to)(?: respectfully| politely)? (?:decline|refuse)\b",
    r"as an? (?:AI|artificial intelligence|(?:large )?language model)\b[^.!?\n]{0,80}?\b"
    r"(?:cannot|can['’]t|unable|not able|don['’]t have|do not have|not appropriate|not allowed)\b",
    r"(?:this|that|your|the) request (?:goes against|is against|violates|falls outside)\b"
    r"|(?:this|that)(?: is|['’]s)(?: not|n['’]t) something (?:that )?I(?:['’]m| am| can)\b",
    # Chinese
    r"(?:很|非常|十分|真的)?(?:抱歉|对不起|不好意思|遗憾)[^。！？\n]{0,30}(?:不能|无法|没办法|不可以|不便)"
    r"[^。！？\n]{0,12}(?:提供|回答|帮|协助|满足|完成|处理|讨论|执行|生成|继续|给出|答复|参与|写|创作)",
    r"我(?:不能|无法|没办法|不可以)(?:为[您你])?(?:提供|协助|帮助|满足|讨论|回答(?:这|该|此|您|你|关于))",
    r"[^。！？\n]{0,12}这个问题我(?:暂时)?(?:不能|无法)回答",
    r"作为[^。！？\n]{0,6}(?:AI|人工智能|语言模型|智能助手)[^。！？\n]{0,40}(?:不能|无法|没有|不会)",
    # German
    r"(?:(?:es )?tut mir (?:sehr |wirklich )?leid|entschuldigung|leider)\b[^.!?\n]{0,60}?"
    r"\b(?:(?:kann|darf|werde|möchte) ich|ich (?:kann|darf|werde|möchte))\b[^.!?\n]{0,60}?\b(?:nicht|kein\w*)\b"
    r"[^.!?\n]{0,60}?(?:helf|unterstütz|beantwort|bereitstell|anbiet|nachkomm|erfüll|geben|erstell|schreib|liefer|diskutier|dienen)",
    r"(?:dabei|damit|hierbei) (?:kann|darf|werde) ich (?:dir |ihnen |euch )?(?:leider )?nicht (?:weiter)?helfen",
    r"ich (?:kann|darf|werde) (?:dir |ihnen |euch )?(?:dabei|damit|hierbei) (?:leider )?nicht (?:weiter)?helfen",
    r"als (?:KI|künstliche Intelligenz|(?:großes )?Sprachmodell)\b[^.!?\n]{0,80}?\b(?:nicht|kein\w*)\b",
    # French
    r"(?:je suis (?:vraiment |sincèrement |navrée? )?désolée?|désolée?|je m['’]excuse|malheureusement)\b"
    r"[^.!?\n]{0,60}?\bje ne (?:peux|puis|suis|pourrai|saurais)\b[^.!?\n]{0,40}?"
    r"(?:aider|répondre|fournir|assister|satisfaire|créer|écrire|générer|donner|traiter|discuter|accéder)",
    r"je ne (?:peux|suis) pas (?:en mesure de |capable de )?(?:vous |t['’])?"
    r"(?:aider|fournir|répondre à (?:cette|votre|ta))\b",
    r"en tant qu(?:['’](?:IA|intelligence artificielle|assistant)|e modèle (?:de langage|linguistique))\b"
    r"[^.!?\n]{0,80}?\bje n(?:e |['’])",
    # Spanish
    r"(?:lo (?:siento|lamento)|disculp[ae]|perdón|lamentablemente|desafortunadamente)\b[^.!?\n]{0,40}?"
    r"\bno (?:puedo|podré|me es posible|estoy en condiciones de)\b[^.!?\n]{0,30}?"
    r"(?:ayud|respond|proporcion|ofrec|cumpl|crear|escribir|generar|brindar|asist|hablar|discut|dar(?:te|le)?\b)",
    r"no puedo (?:ayudar(?:te|le|los)?|cumplir)\b",
    r"como (?:un |una )?(?:modelo de lenguaje|IA|inteligencia artificial)\b[^.!?\n]{0,80}?\bno\b",
)
_REFUSAL = re.compile(_SENTENCE + "|".join(_PATTERNS) + ")", re.IGNORECASE)
_ASKED_FOR = re.compile(
    r"declin|refus|reject|apolog|turn(?:ing)? down|ablehn|absag|entschuldig|excus|rechaz|disculp|拒绝|道歉|婉拒",
    re.IGNORECASE,
)


def refusal() -> Verifier:
    r"""Make a verifier that finds answers which decline to answer.

    It looks at the first sentences of the answer, in English, Chinese, German, French and Spanish. A task that asks
    for a refusal or an apology passes.

    Returns:
        A verifier named "refusal".

    Example:
        >>> from cot_distill.types import Trace
        >>> sorry = Trace(reasoning="Not this.", answer="I'm sorry, but I can't help with that.")
        >>> refusal()(Task(instruction="How do I pick a lock?"), sorry).reason
        'declined: "I\'m sorry, but I can\'t help" (answer, at character 0)'
    """
    return Flawless("refusal", "answer", _find_refusal, light=True)


def _find_refusal(task: Task, _part: str, text: str) -> Flaw | None:
    found = _REFUSAL.search(text[:_BEGINNING])
    if found is None or _ASKED_FOR.search(asked(task)):
        return None
    return Flaw(f"declined: {quote(found['refusal'])}", found.start("refusal"))
