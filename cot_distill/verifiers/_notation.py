r"""Turning the ways in which answers are written into LaTeX that math-verify reads rightly.

Each rule mends something that it is known to read wrongly, or not at all: plain ``sqrt(2)`` and ``exp(x)``, ``1.5e3``
(a product with e), ``1\,000`` (a product with 0), ``0.\overline{3}`` (0), ``\langle 1,2 \rangle`` (the number 1.2), …
It looks at notation only; nothing is computed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["FORMULA", "is_prose", "is_text", "to_latex"]

_SIGNS = {
    "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "×": r"\times ", "·": r"\cdot ",
    "⋅": r"\cdot ", "÷": "/", "±": r"\pm ", "°": r"^\circ ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}",
    "ℂ": r"\mathbb{C}", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ",
    "μ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ", "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
    "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "√": " sqrt", "∛": " cbrt", "\u00a0": " ", "\u2009": r"\,",
    "\u202f": r"\,", "\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-",
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|lg|det|gcd|max|min"
_WORDS = f"{_FUNCTIONS}|sqrt|cbrt|exp|abs|pi|inf|infty|infinity|oo|theta|alpha|beta|or|and|percent|degrees?|mod|in"
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")

_Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def _repeating(found: re.Match[str]) -> str:
    r"""``0.1\overline{6}`` as a fraction: all digits less the ones that do not repeat, over nines and zeros."""
    whole, once, again = found[1] or "0", found[2], found[3]
    over = int(whole + once + again) - int(whole + once)
    return rf"\frac{{{over}}}{{{'9' * len(again)}{'0' * len(once)}}}"


def _matrix(found: re.Match[str]) -> str:
    rows = re.findall(r"\[([^\[\]]*)\]", found[0][1:-1])
    return r"\begin{pmatrix}" + r"\\".join(row.replace(",", "&") for row in rows) + r"\end{pmatrix}"


_RULES: list[_Rule] = [
    (r"\\(?:displaystyle|textstyle|limits|!)|\\left\.|\\right\.|\\(?:q?quad)(?![a-zA-Z])", " "),
    (r"\\math(?:rm|it|sf)\{([ie])\}|\\([ij])math(?![a-zA-Z])", r" \1\2 "),
    (r"^\s*\\(?:text|mathrm)\{[^{}]*[a-z] [^{}]*\}\s*(?=[^\s=<>])", ""),  # "the answer is"
    (r"\\(?:varnothing|O)(?![a-zA-Z])", r"\\emptyset "),
    (r"\\(?:lor|vee)(?![a-zA-Z])|\|\|", r" \\text{ or } "),
    (r"\\(?:land|wedge)(?![a-zA-Z])", r" \\text{ and } "),
    (r"\\(?:text|mathrm)\{\s*(?:percent|pct)\s*\}|\bper ?cent\b", r"\\%"),
    # numbers
    (r"(?<=\d)(?:\\,|\{,\}|\{\\,\})(?=\d{3}(?!\d))", ""),
    (r"(?<![\w.])(\d*)\.(\d*)\\(?:overline|bar)\s*\{(\d+)\}", _repeating),
    (r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![\w.])", r"\1 \\cdot 10^{\2}"),
    # plain notation
    (r"\*\*|\^\^", "^"),
    (r"\*", r" \\cdot "),
    (r"<=|=<", r"\\le "),
    (r">=", r"\\ge "),
    (r"!=|<>|=/=", r"\\ne "),
    (r"\+/?-(?=\s*[\d\\(a-z])", r"\\pm "),
    (r"(?<![a-zA-Z\\])(?:inf|infty|infinity|oo)(?![a-zA-Z])", r"\\infty "),
    (rf"(?<![a-zA-Z\\])({_FUNCTIONS}|pi|theta|alpha|beta)(?![a-zA-Z])", r"\\\1 "),
    (r"(?<![a-zA-Z])lg(?![a-zA-Z])", "log"),
    (r"(?<![a-zA-Z\\])sqrt\s*(\d+|[a-z](?![a-z]))", r"\\sqrt{\1}"),
    (r"(?<![a-zA-Z\\])degrees?(?![a-zA-Z])", r"^\\circ "),
    (r"\^\s*([+-]?\d{2,}|[+-]\d+)", r"^{\1}"),
    (r"(?<=[\d)}\]])\s+(?:[a-zA-Z]{3,}\s*)+$|(?<=\d)\s+(?:of|in|per)\s+[a-zA-Z ]+$", ""),
    # things that have several parts
    (r"\\langle(.*?)\\rangle|(?<![\w)])<([^<>=]*,[^<>=]*)>", r"(\1\2)"),
    (r"^\s*\[\s*\[[^\[\]]*\](?:\s*,\s*\[[^\[\]]*\])*\s*\]\s*$", _matrix),
    (r"^\s*\\?\{\s*([a-zA-Z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\\mid|\\vert|:|\|)\s*(?=.*\1)(.*?)\\?\}\s*$", r"\2"),
]
_COMPILED = [(re.compile(pattern), to) for pattern, to in _RULES]


def to_latex(text: str, *, radians: bool = False) -> str:
    r"""Write an answer as LaTeX.

    Args:
        text: LaTeX or plain notation, without words around.
        radians: Degrees become multiples of pi, as they do in any case within sines and the like.

    Example:
        >>> to_latex("sqrt(2)/2 + 1.5e3 * x^12")
        '\\sqrt{2}/2 + 1.5 \\cdot 10^{3}  \\cdot  x^{12}'
    """
    text = _unwrapped(text)
    for sign, latex in _SIGNS.items():
        text = text.replace(sign, latex)
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda found: f"^{{{found[0].translate(_RAISED)}}}", text)
    text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda found: f"_{{{found[0].translate(_LOWERED)}}}", text)
    for opening, before, after in _CALLS:
        text = _rewritten(text, opening, before, after)
    for pattern, to in _COMPILED:
        text = pattern.sub(to, text)
    if radians or _TRIGONOMETRIC.search(text):
        degrees = r"([\d.]+|\\frac\{\d+\}\{\d+\})\s*\^\s*\{?\s*\\circ\s*\}?"
        text = re.sub(degrees, r"(\1 \\cdot \\frac{\\pi}{180})", text)
    return text.strip()


_CALLS = [
    (re.compile(r"(?<![a-zA-Z\\])sqrt\s*\("), r"\sqrt{", "}"),
    (re.compile(r"(?<![a-zA-Z\\])cbrt\s*\("), r"\sqrt[3]{", "}"),
    (re.compile(r"\\?(?<![a-zA-Z])exp\s*\("), "e^{", "}"),
    (re.compile(r"(?<![a-zA-Z\\])abs\s*\("), "|", "|"),
    (re.compile(r"\^\s*\("), "^{", "}"),
]


def _rewritten(text: str, opening: re.Pattern[str], before: str, after: str) -> str:
    """Replace what opens a bracket, and the bracket that closes it."""
    parts: list[str] = []
    closing: list[bool] = []  # of each open bracket, whether it is one of ours
    at = 0
    for bracket in re.finditer(r"[()]", text):
        if bracket[0] == "(":
            call = next((one for one in opening.finditer(text, max(at, bracket.start() - 8), bracket.end())
                         if one.end() == bracket.end()), None)  # fmt: skip
            closing.append(call is not None)
            if call is not None:
                parts += [text[at : call.start()], before]
                at = call.end()
        elif closing and closing.pop():
            parts += [text[at : bracket.start()], after]
            at = bracket.end()
    return text if any(closing) else "".join([*parts, text[at:]])


_AROUND = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))


def _unwrapped(text: str) -> str:
    text = text.strip()
    while True:
        text = text.rstrip(" .;,\n") or text
        for opening, closing in _AROUND:
            inner = text[len(opening) : len(text) - len(closing)].strip()
            if inner and text.startswith(opening) and text.endswith(closing) and opening not in inner:
                text = inner
                break
        else:
            return text.replace("$", " ").replace("\n", " ")


_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox)\s*\{([^{}]*)\}")


def is_text(text: str, *, shortest: int = 3) -> bool:
    r"""Whether an answer is made of words and not of mathematics: ``\text{even}``, "no solution", "Paris".

    Letters in a row would be read as a product, in which ``dog`` and ``god`` are the same.

    Args:
        text: An answer.
        shortest: Letters that make a word.
    """
    plain = _TEXT.sub(r" \1 ", _unwrapped(text))
    if re.search(r"[\\\d=<>^_+*/|]", plain):
        return False
    words = re.findall(r"[^\W\d_]+", plain)
    return any(len(word) >= shortest and not re.fullmatch(_WORDS, word) for word in words)


FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$((?:\\.|[^$\n\\])+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
"""What is set as mathematics within a text."""
_LATEX = re.compile(r"\\[a-zA-Z]+")


def is_prose(text: str) -> bool:
    """Whether there are words around the mathematics, beside those that belong to it, such as "x = 1 or x = 2"."""
    plain = _LATEX.sub(" ", _TEXT.sub(" ", FORMULA.sub(" ", text)))
    return any(not re.fullmatch(_WORDS, word.lower()) for word in re.findall(r"[^\W\d_]{2,}", plain))
