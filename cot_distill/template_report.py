"""What a check of a chat template found: numbers for programs, and the same as text for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cot_distill.errors import ConfigError
from cot_distill.template_advice import NO_FORMATTER

__all__ = ["Problem", "TemplateReport"]


class Problem(NamedTuple):
    """One thing that is wrong."""

    kind: str
    message: str
    """Goes on from "the chat template", or for the kind ``cut`` from "a row"."""
    rows: int
    """How many rows have it."""
    tasks: tuple[int | str, ...]
    """The ids of the first few."""


@dataclass(frozen=True)
class TemplateReport:
    """What :func:`cot_distill.template_check.check_template` found.

    The fields from ``refused`` to ``cut_before_answer`` count rows; 0 is good.

    Attributes:
        rows: How many rows were looked at.
        problems: What is wrong, each with the tasks where it shows.
        refused: The template or the formatter raises an error.
        dropped: Question, reasoning or answer is not in the text.
        repeated: One of them is there more than once.
        misplaced: In another order, in the wrong channel, or with nothing between reasoning and answer.
        doubled: There is more than one think block.
        changed: The text of the trace is rewritten.
        closed: The generation prompt ends the thinking before it began.
        not_a_prefix: The training text does not begin with the prompt that the student will see, so that the loss
            begins in the wrong place.
        outside_loss: The template has ``{% generation %}`` blocks, and the trace is not in them.
        endless: Nothing is written behind the answer: the student never learns to stop.
        cut: ``max_length`` would cut into the trace or its end.
        cut_before_answer: Of these, so early that nothing of the answer is left.
        opened: The think tag that the generation prompt opens, so that the student does not have to; None if none.
        trained: Of the first row, the text that the loss falls on.
        max_length: What was asked about, in tokens.
        longest: Tokens of the longest row that holds its trace; None without ``max_length``.
        estimated: Whether tokens are estimated, for want of a tokenizer.
        advice: The formatter to use instead, as code; None if none is needed, or none works.
    """

    rows: int
    problems: tuple[Problem, ...]
    refused: int
    dropped: int
    repeated: int
    misplaced: int
    doubled: int
    changed: int
    closed: int
    not_a_prefix: int
    outside_loss: int
    endless: int
    cut: int
    cut_before_answer: int
    opened: str | None
    trained: str
    max_length: int | None
    longest: int | None
    estimated: bool
    advice: str | None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with any row."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise if anything is wrong.

        Raises:
            ConfigError: The report, as text.
        """
        if not self.ok:
            raise ConfigError(str(self))

    def __str__(self) -> str:
        verdict = "all well" if self.ok else "not to be trained on"
        lines = [f"{_rows(self.rows)} through the chat template: {verdict}"]
        lines += [f"  {self._line(problem)}" for problem in self.problems]
        if self.ok:
            lines.append("  reasoning and answer are there once, in place, and inside the loss")
        if self.opened is not None:
            lines.append(f"  the generation prompt opens {self.opened}: the loss begins behind it")
        if self.longest is not None:
            lines.append(f"  the longest has {self._about}{self.longest:,} tokens")
        lines.append(f"  trained on, in the first row: {_short(self.trained)}")
        return "\n".join([*lines, *self._ways_out()])

    def _line(self, problem: Problem) -> str:
        tasks = ", ".join(map(repr, problem.tasks)) + (", …" if problem.rows > len(problem.tasks) else "")
        if problem.kind != "cut":
            return f"{_rows(problem.rows)}: the chat template {problem.message} (task {tasks})"
        early = f", {self.cut_before_answer:,} of them before the answer" if self.cut_before_answer else ""
        return f"{self._about}{_rows(problem.rows)}: a row {problem.message} and would be cut{early} (task {tasks})"

    @property
    def _about(self) -> str:
        return "about " if self.estimated else ""

    def _ways_out(self) -> list[str]:
        lines = []
        if self.advice is not None:
            lines.append(f"Use {self.advice}, which keeps the trace.")
        elif any(problem.kind != "cut" for problem in self.problems):
            lines.append(NO_FORMATTER)
        if self.cut:
            lines.append(
                f"Raise max_length to {self._about}{self.longest}, or leave long samples out: "
                f'filters.within_tokens(maximum=…, tokenizer=tokenizer, part="both").'
            )
        return lines


def _rows(count: int) -> str:
    return f"{count:,} row" + ("s" if count != 1 else "")


def _short(text: str, width: int = 100) -> str:
    """Both ends of a text, on one line."""
    half = width // 2
    return repr(text if len(text) <= width else f"{text[:half]} … {text[-half:]}")
