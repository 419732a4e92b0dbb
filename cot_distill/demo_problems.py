r"""Generated problems, and a program that works them out in prose: what the demo teacher is made of.

This file knows five families of small problems and nothing of servers, sources or runs. :func:`make_problem` writes
a problem; :func:`solve` reads the text of one, with nothing else to go by, and derives the answer step by step.
It is a program, not a language model: right by construction, and of little worth as training data.

Everything is deterministic: a problem depends on its index and seed, a solution on the text of the problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import gcd
from operator import add, mul, sub
from random import Random
from typing import NamedTuple

from cot_distill.types import Task

__all__ = ["make_problem", "solve"]

_Problem = tuple[str, str | None, list[str]]  # instruction, reference answer, tests
_Solution = tuple[str, str]  # reasoning, answer


class _Family(NamedTuple):
    name: str
    make: Callable[[Random, int], _Problem]  # from dice and a level
    pattern: re.Pattern[str]
    solve: Callable[[re.Match[str], Random, bool], _Solution | None]  # match, dice for the wording, whether to slip


def make_problem(index: int, *, seed: int = 0) -> Task:
    """Write one problem. Families take turns; the level goes from 1 (easy) to 3.

    Args:
        index: Number of the problem, from 0. Its id is ``demo-<index>``.
        seed: Another seed gives other problems under the same ids.

    Example:
        >>> task = make_problem(0)
        >>> task.id, task.metadata
        ('demo-0', {'family': 'arithmetic', 'level': 1})
    """
    family = _FAMILIES[index % len(_FAMILIES)]
    level = 1 + index // len(_FAMILIES) % 3
    instruction, answer, tests = family.make(_dice(f"{seed}:{index}"), level)
    metadata = {"family": family.name, "level": level}
    return Task(id=f"demo-{index}", instruction=instruction, answer=answer, tests=tests or None, metadata=metadata)


def solve(instruction: str, *, mistake: bool = False) -> _Solution | None:
    r"""Work out a problem from its text. The problem may stand inside a longer prompt.

    Args:
        instruction: The text to read.
        mistake: Make a plausible slip, so that the final answer is wrong.

    Returns:
        The reasoning and the answer, or None if the text holds no problem of a known family with a whole-number
        result. The answer ends with a line ``Answer: 42``, or holds a fenced Python block where code was asked for.

    Example:
        >>> solve("What is the greatest common divisor of 12 and 18?")[1]
        'The greatest common divisor is 6.\n\nAnswer: 6'
        >>> solve("Who wrote Faust?") is None
        True
    """
    for family in _FAMILIES:
        if found := family.pattern.search(instruction):
            return family.solve(found, _dice(found.group()), mistake)
    return None


def _dice(text: str) -> Random:
    return Random(text)  # noqa: S311 - repeatable on purpose, nothing secret


def _told(voice: Random, steps: list[str], check: str | None, sentence: str, value: object) -> _Solution:
    shrug = voice.choice(("That looks about right.", "Nothing else is left to do.", "It fits, so I leave it there."))
    reasoning = voice.choice((" ", "\n", "\n\n")).join([*steps, check or shrug])
    return reasoning, f"{sentence}\n\nAnswer: {value}"


# --- Arithmetic: one operation at a time, by the usual order of operations ---

_OPERATIONS = {"+": add, "-": sub, "*": mul}
_OPERAND = r"(?:\d+|\(\d+(?: [-+*] \d+)+\))"
_ARITHMETIC = re.compile(rf"(?:Work out|Calculate|Evaluate) (?P<expression>{_OPERAND}(?: [-+*] {_OPERAND})+)\.")


def _make_arithmetic(dice: Random, level: int) -> _Problem:
    tokens = [str(dice.randint(3, 30))]
    for _ in range(level + 1):
        tokens += [dice.choice("++-**"), str(dice.randint(2, 12))]
    if level > 1:
        start = 2 * dice.randint(0, level)
        tokens = [*tokens[:start], "(", *tokens[start : start + 3], ")", *tokens[start + 3 :]]
    ask = dice.choice(("Work out", "Calculate", "Evaluate"))
    return f"{ask} {_written(tokens)}.", _evaluate(tokens)[-1].value, []


class _Step(NamedTuple):
    left: str
    operator: str
    right: str
    value: str
    rest: str  # the whole expression after this step


def _written(tokens: list[str]) -> str:
    return " ".join(tokens).replace("( ", "(").replace(" )", ")")


def _next_operator(tokens: list[str]) -> int:
    """Index of the operator to apply next: brackets first, then products, then from left to right."""
    end = tokens.index(")") if ")" in tokens else len(tokens)
    start = max((i for i in range(end) if tokens[i] == "("), default=-1) + 1
    operators = [i for i in range(start, end) if tokens[i] in _OPERATIONS]
    return next((i for i in operators if tokens[i] == "*"), operators[0])


def _evaluate(tokens: list[str], slip_at: int = -1) -> list[_Step]:
    """Every step of an evaluation, with a slip in one of them if asked for."""
    steps: list[_Step] = []
    while len(tokens) > 1:
        i = _next_operator(tokens)
        left, operator, right = tokens[i - 1 : i + 2]
        result = _OPERATIONS[operator](int(left), int(right))
        value = str(result + (len(steps) == slip_at) * (10 if result > 20 else 1))
        low, high = i - 1, i + 2
        if tokens[low - 1 : low] == ["("] and tokens[high : high + 1] == [")"]:
            low, high = low - 1, high + 1
        tokens = [*tokens[:low], value, *tokens[high:]]
        steps.append(_Step(left, operator, right, value, _written(tokens)))
    return steps


def _solve_arithmetic(found: re.Match[str], voice: Random, mistake: bool) -> _Solution:
    tokens = re.findall(r"\d+|[-+*()]", found["expression"])
    steps = _evaluate(tokens)
    if mistake:
        # A slip early on may cancel out (times zero); one in the last step never does.
        slips = (_evaluate(tokens, slip_at) for slip_at in range(len(steps)))
        steps = next(wrong for wrong in slips if wrong[-1].value != steps[-1].value)
    rule = "Brackets come first, then products, then sums and differences from left to right."
    told = [voice.choice((f"{rule} So step by step:", f"I take it one operation at a time. {rule}", rule))]
    for number, step in enumerate(steps):
        link = voice.choice(("Next", "Then", "After that", "Now")) if number else "First"
        rest = f", which leaves {step.rest}." if step.rest != step.value else "."
        told.append(f"{link}, {step.left} {step.operator} {step.right} = {step.value}{rest}")
    left, operator, right, value, _ = steps[-1]
    check = f"Check: with the factors swapped, {right} * {left} = {value}, the same again."
    if operator != "*":
        undo = "-" if operator == "+" else "+"
        check = f"Check: undoing the last step, {value} {undo} {right} = {left}, as it should be."
    return _told(voice, told, None if mistake else check, f"{found['expression']} comes to {value}.", value)


# --- Linear equations: each side is a number, ax + b, or a(x + b) ---

_SIDE = re.compile(r"(\d*)(\()?[a-z](?: ([+-]) (\d+))?\)?")
_SIDES = r"(?:\d+\((?P=name) [+-] \d+\)|\d*(?P=name)(?: [+-] \d+)?|-?\d+)"
_LINEAR = re.compile(
    r"(?:Solve for|Find the value of|Which number) (?P<name>[a-z])(?::| if| satisfies) "
    rf"(?P<left>{_SIDES}) = (?P<right>{_SIDES})[.?]"
)


def _make_linear(dice: Random, level: int) -> _Problem:
    x, a, b = dice.randint(-9, 20), dice.randint(2, 9), dice.choice((-1, 1)) * dice.randint(1, 15)
    name, c = dice.choice("xynt"), dice.randint(1, a - 1)
    equation = {
        1: f"{_linear(a, name, b)} = {a * x + b}",
        2: f"{a}({_linear(1, name, b)}) = {a * (x + b)}",
        3: f"{_linear(a, name, b)} = {_linear(c, name, (a - c) * x + b)}",
    }[level]
    ask = dice.choice(("Solve for {}: {}.", "Find the value of {} if {}.", "Which number {} satisfies {}?"))
    return ask.format(name, equation), str(x), []


def _linear(a: int, name: str, b: int) -> str:
    head = f"{'' if a == 1 else a}{name}"
    return f"{head} {'-' if b < 0 else '+'} {abs(b)}" if b else head


def _side(text: str) -> tuple[int, int]:
    """Coefficient and constant of one side."""
    found = _SIDE.fullmatch(text)
    if found is None:
        return 0, int(text)
    coefficient, bracket, sign, constant = found.groups()
    a = int(coefficient or 1)
    return a, int(f"{sign}{constant}") * (a if bracket else 1) if constant else 0


def _solve_linear(found: re.Match[str], voice: Random, mistake: bool) -> _Solution | None:
    name, left, right = found.group("name", "left", "right")
    (a, b), (c, d) = _side(left), _side(right)
    slope, rest = a - c, d - b
    if slope == 0 or rest % slope:
        return None
    rest += slope if mistake else 0
    value = rest // slope
    told = [voice.choice((f"I want {name} alone on one side.", f"The plan is to isolate {name}, step by step."))]
    if "(" in left:
        told.append(f"Multiplied out, {left} is {_linear(a, name, b)}, so {_linear(a, name, b)} = {right}.")
    if c:
        told.append(f"Taking {_linear(c, name, 0)} from both sides gives {_linear(slope, name, b)} = {d}.")
    if b:
        verb, sign = ("Subtracting", "-") if b > 0 else ("Adding", "+")
        told.append(f"{verb} {abs(b)} on both sides, {d} {sign} {abs(b)} = {rest}, so {slope} * {name} is {rest}.")
    if slope != 1:
        told.append(f"Dividing by {slope} gives {name} = {value}, since {slope} * {value} = {rest}.")
    put = voice.choice(("To verify, I put it back", "Check, with this value"))
    check = f"{put}: the left side is {a} * {value} + {b} = {a * value + b}".replace("+ -", "- ")
    check += f", and the right side is {c * value + d} as well."
    return _told(voice, told, None if mistake else check, f"The solution is {name} = {value}.", value)


# --- Greatest common divisor: Euclid's algorithm ---

_GCD = re.compile(r"greatest common divisor of (?P<a>[1-9]\d*) and (?P<b>[1-9]\d*)[.?]")


def _make_gcd(dice: Random, level: int) -> _Problem:
    common = dice.randint(2, 6 * level)
    a, b = (common * factor for factor in dice.sample(range(2, 8 * 3**level), 2))
    ask = dice.choice(("What is the {} of {} and {}?", "Find the {} of {} and {}.", "Determine the {} of {} and {}."))
    return ask.format("greatest common divisor", a, b), str(gcd(a, b)), []


def _solve_gcd(found: re.Match[str], voice: Random, mistake: bool) -> _Solution:
    big, small = sorted((int(found["a"]), int(found["b"])), reverse=True)
    a, b, before = big, small, big
    told = [voice.choice(("Euclid's algorithm will do: divide, keep the remainder, repeat.", "I use Euclid's way."))]
    while b:
        told.append(f"{a} = {a // b} * {b} + {a % b}, so the remainder is {a % b}.")
        before, a, b = a, b, a % b
    value = a if not mistake else before if before != a else 2 * a
    wanted = voice.choice(("the answer", "what I am looking for", "the greatest common divisor"))
    told.append(f"The remainder is now 0, so {wanted} is {value}.")
    check = f"Check: {big} = {big // a} * {a} and {small} = {small // a} * {a}, and nothing larger divides both, "
    check += f"since {big // a} and {small // a} have no common divisor but 1."
    return _told(voice, told, None if mistake else check, f"The greatest common divisor is {value}.", value)


# --- Rates: so much in so long, or two that meet ---

_RATE = re.compile(
    r"A \w+ \w+ (?P<amount>[1-9]\d*) (?P<what>\w+) in (?P<before>[1-9]\d*) (?P<unit>\w+)\. "
    r"At the same rate, how many (?P=what) does the \w+ \w+ in (?P<after>\d+) (?P=unit)\?"
    r"|Two (?P<who>\w+) are (?P<apart>\d+) km apart and move towards each other, one at (?P<fast>[1-9]\d*) km/h and "
    r"the other at (?P<slow>[1-9]\d*) km/h\. After how many hours do they meet\?"
)
_WORKERS = ("machine fills bottles minutes", "printer prints pages minutes", "cyclist rides kilometres hours")


def _make_rate(dice: Random, level: int) -> _Problem:
    fast, slow = dice.randint(11 * level, 40 * level), dice.randint(3, 10 * level)
    if level == 2:
        who, hours = dice.choice(("trains", "boats", "lorries", "riders")), dice.randint(2, 9)
        meet = f"Two {who} are {hours * (fast + slow)} km apart and move towards each other, one at {fast} km/h and "
        return f"{meet}the other at {slow} km/h. After how many hours do they meet?", str(hours), []
    who, does, what, unit = dice.choice(_WORKERS).split()
    before, after = dice.sample(range(2, 15 * level), 2)
    question = f"how many {what} does the {who} {does[:-1]} in {after} {unit}?"
    text = f"A {who} {does} {fast * before} {what} in {before} {unit}. At the same rate, {question}"
    return text, str(fast * after), []


def _solve_rate(found: re.Match[str], voice: Random, mistake: bool) -> _Solution | None:
    told = [voice.choice(("I start from one unit of time.", "The question is about rates, so: what happens in one?"))]
    if found["apart"]:
        apart, fast, slow, unit = int(found["apart"]), int(found["fast"]), int(found["slow"]), "hours"
        value, over = divmod(apart, fast + slow)
        value += mistake
        told.append(
            f"The {found['who']} approach each other, so their speeds add up: {fast} + {slow} = {fast + slow}."
        )
        told.append(f"The gap closes by {fast + slow} km every hour, and {apart} / {fast + slow} = {value}.")
        check = f"Check: {fast} * {value} + {slow} * {value} = {apart}, the whole distance."
    else:
        amount, before, after, unit = int(found["amount"]), int(found["before"]), int(found["after"]), found["what"]
        rate, over = divmod(amount, before)
        value = rate * (after + mistake)
        told.append(f"In {before} {found['unit']} it is {amount} {unit}, and {amount} / {before} = {rate}.")
        told.append(f"So {after} {found['unit']} give {rate} * {after} = {value}.")
        check = f"Check: {rate} * {before} = {amount}, as the text says, and {after} times the rate is {value}."
    if over:
        return None
    return _told(voice, told, None if mistake else check, f"The result is {value} {unit}.", value)


# --- Code: one function over a list, with tests ---

_CONDITIONS: dict[str, tuple[str, str, Callable[[int, int], bool]]] = {  # as code, with a slip, as a fact
    "divisible by": ("value % {k} == 0", "value % {k} == 0 and value > 0", lambda value, k: value % k == 0),
    "greater than": ("value > {k}", "value >= {k}", lambda value, k: value > k),
    "less than": ("value < {k}", "value <= {k}", lambda value, k: value < k),
}
_RESULTS: dict[str, tuple[str, Callable[[list[int]], int]]] = {
    "sum": ("sum(chosen)", sum),
    "count": ("len(chosen)", len),
    "largest": ("max(chosen, default=0)", lambda chosen: max(chosen, default=0)),
}
_CODE = re.compile(
    r"function `(?P<function>\w+)\(values\)` that takes a list of integers and returns the "
    rf"(?P<result>{'|'.join(_RESULTS)}) of those that are (?P<condition>{'|'.join(_CONDITIONS)}) (?P<k>[1-9]\d*)\."
)


def _make_code(dice: Random, level: int) -> _Problem:
    result, condition, k = list(_RESULTS)[level - 1], dice.choice(list(_CONDITIONS)), dice.randint(2, 9)
    name = dice.choice(("measure", "pick", "tally", "summary", "digest"))
    text = f"Write a Python function `{name}(values)` that takes a list of integers and returns the {result} of those"
    # The borders, each alone, are where a slip shows.
    cases = [[], [k], [-k], *([dice.randint(-20, 30) for _ in range(size)] for size in (5, 8))]
    holds, compute = _CONDITIONS[condition][-1], _RESULTS[result][-1]
    expected = [compute([value for value in case if holds(value, k)]) for case in cases]
    tests = [f"assert {name}({case}) == {value}" for case, value in zip(cases, expected, strict=True)]
    return f"{text} that are {condition} {k}. If there are none, it returns 0.", None, tests


def _solve_code(found: re.Match[str], voice: Random, mistake: bool) -> _Solution:
    result, condition, k = found["result"], found["condition"], int(found["k"])
    right, slipped, holds = _CONDITIONS[condition]
    test, (expression, compute) = (slipped if mistake else right).format(k=k), _RESULTS[result]
    example = [k, *(voice.randint(-10, 25) for _ in range(4))]
    chosen = [value for value in example if holds(value, k)]
    trial = f"By hand on {example}: it keeps {chosen}, and the {result} is {compute(chosen)}. That is right."
    told = [
        voice.choice(("I filter first and reduce afterwards.", "Two parts: choose the numbers, then reduce them.")),
        f"A number counts if it is {condition} {k}; in Python, `{test}`.",
        f"The {result} of the chosen ones is `{expression}`, and for an empty list that gives 0, as asked.",
        "That covers everything, so I write it down." if mistake else trial,
    ]
    head = f"def {found['function']}(values):\n    chosen = [value for value in values if {test}]"
    intro = voice.choice(("The function filters and then reduces:", "Here is the function:"))
    return " ".join(told), f"{intro}\n\n```python\n{head}\n    return {expression}\n```"


_FAMILIES = (
    _Family("arithmetic", _make_arithmetic, _ARITHMETIC, _solve_arithmetic),
    _Family("linear", _make_linear, _LINEAR, _solve_linear),
    _Family("gcd", _make_gcd, _GCD, _solve_gcd),
    _Family("rate", _make_rate, _RATE, _solve_rate),
    _Family("code", _make_code, _CODE, _solve_code),
)
