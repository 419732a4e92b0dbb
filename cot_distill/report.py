"""The report of a run: a ledger that adds up."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from cot_distill.funnel import Stage
from cot_distill.task_report import task_reports
from cot_distill.types import Failure, Sample, Usage

__all__ = ["Report", "Tally"]


class Report(BaseModel):
    """What became of every attempt: ``asked == samples + sum(failures.values())``."""

    model_config = ConfigDict(frozen=True)

    path: str
    teacher: str
    models: dict[str, int]
    """How many samples each model gave, as the server names it."""
    tasks: int
    asked: int
    """Attempts: one task asked once, however often the request had to be repeated."""
    samples: int
    passed: int
    """Samples that every verifier passed."""
    wrong: int
    """Samples that a verifier failed: they stay out of datasets."""
    unjudged: int
    """Samples without a verdict, or with one that cannot tell."""
    rejected: dict[str, int] = {}
    """How many samples each verifier called wrong, by its name; one sample may be wrong for several."""
    solved: int = 0
    """Tasks with at least one sample that passed."""
    unsolved: int = 0
    """Tasks none of whose attempts gave a right sample."""
    suspects: int = 0
    """Tasks whose reference answer is doubtful: see :attr:`cot_distill.TaskReport.is_suspect`."""
    summaries: int = 0
    """Samples whose reasoning is a summary by the provider; exports leave them out."""
    failures: dict[str, int]
    """By kind, the most frequent first."""
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None
    """None where the provider does not count them."""
    answer_tokens: int | None
    judging_tokens: int = 0
    """What verdicts of models cost."""
    cost: float | None = None
    """US dollars; None where the price is not known."""
    retries: int
    """Requests beyond the first of each attempt."""
    cut: dict[int, int] = {}
    """Answers that a token limit cut, by that limit: also those that were asked for again with more room."""
    cut_tokens: dict[int, int] = {}
    """What those took, by that limit."""
    asked_again: int
    """Answers that a later one replaced: cut ones, and ones asked again on demand."""
    skipped: int
    """Input rows that were skipped in the last session."""
    sessions: int
    killed: int
    """Sessions that did not end by themselves."""
    running: bool = False
    """Whether a process is writing to the run just now."""
    abandoned: int
    """At most so many requests were under way when sessions were interrupted or killed: paid for, perhaps, and asked
    again."""
    seconds: float
    """In all sessions, on the wall."""
    funnel: tuple[Stage, ...] = ()
    """What the last export of this Run object left of the samples, stage by stage."""

    @property
    def rate(self) -> float:
        """Attempts a second."""
        return self.asked / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_passed(self) -> float | None:
        """Tokens that one accepted trace cost, failures, wrong answers and judging included; None without any."""
        total = self.prompt_tokens + self.completion_tokens + self.judging_tokens
        return total / self.passed if self.passed else None

    @property
    def cost_per_passed(self) -> float | None:
        """US dollars that one accepted trace cost; None without any, or where prices are not known."""
        return self.cost / self.passed if self.passed and self.cost is not None else None

    def rows(self) -> list[tuple[str, str]]:
        """The report as pairs of a name and a value."""
        rows = [
            ("run", self.path),
            ("teacher", self.teacher + _models(self.models)),
            ("asked", f"{self.asked:,} attempts at {self.tasks:,} tasks"),
            ("samples", f"{self.samples:,}"),
        ]
        if self.summaries:
            rows.append(("  summaries", f"{self.summaries:,} show no reasoning in full: exports leave them out"))
        if self.passed or self.wrong:
            rows.append(("  verified", f"{self.passed:,} passed, {self.wrong:,} wrong, {self.unjudged:,} not judged"))
            rows += [(f"  wrong by {name}", f"{count:,}") for name, count in self.rejected.items()]
            rows.append(("tasks", self._tasks()))
        rows.append(("failures", f"{sum(self.failures.values()):,}"))
        rows += [(f"  {kind}", f"{count:,}") for kind, count in self.failures.items()]
        tokens = f"{self.prompt_tokens:,} prompt, {self.completion_tokens:,} completion{self._split()}"
        rows.append(("tokens", tokens))
        if self.judging_tokens:
            rows.append(("  for judging", f"{self.judging_tokens:,} more"))
        rows.append(("cost", "not known" if self.cost is None else f"${self.cost:,.4f}"))
        if self.tokens_per_passed is not None:
            dollars = "" if self.cost_per_passed is None else f", ${self.cost_per_passed:,.6f}"
            attempts = f"{self.asked / self.passed:,.2f} attempts"
            rows.append(("  per passed", f"{attempts}, {self.tokens_per_passed:,.0f} tokens{dollars}"))
        for limit, count in self.cut.items():
            rows.append((f"cut at {limit:,}", f"{count:,} answers, {self.cut_tokens[limit]:,} tokens"))
        rows.append(("retries", f"{self.retries:,}"))
        if self.asked_again:
            rows.append(("asked again", f"{self.asked_again:,}"))
        if self.skipped:
            rows.append(("skipped input", f"{self.skipped:,} rows"))
        if self.abandoned:
            rows.append(("given up", f"at most {self.abandoned:,} requests under way when a session was cut off"))
        rows.append(("time", f"{self.seconds:,.1f} s, {self.rate:,.1f} attempts/s{self._sessions()}"))
        if self.funnel:
            rows.append(("exported", f"{self.funnel[-1].went_out:,} of {self.funnel[0].came_in:,} samples"))
            rows += [(f"  {stage.name}", f"{stage.came_in:,} in, {stage.went_out:,} out") for stage in self.funnel]
        return rows

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.rows())

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td style='text-align:left;white-space:pre'>{html.escape(name)}</td>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self.rows()
        )
        return f"<table>{cells}</table>"

    def _tasks(self) -> str:
        suspects = f"; {self.suspects:,} with a doubtful reference answer" if self.suspects else ""
        return f"{self.solved:,} solved, {self.unsolved:,} never solved{suspects}"

    def _split(self) -> str:
        if self.reasoning_tokens is None or self.answer_tokens is None or not self.completion_tokens:
            return ""
        return f" ({self.reasoning_tokens:,} reasoning, {self.answer_tokens:,} answer)"

    def _sessions(self) -> str:
        sessions = f" in {self.sessions} sessions" if self.sessions > 1 else ""
        killed = f", {self.killed} of them killed" if self.killed else ""
        return f"{sessions}{killed}{', still running' if self.running else ''}"


class Tally:
    """Adds up outcomes and usage on the way to a :class:`Report`."""

    def __init__(self) -> None:
        self.tasks = self.asked = self.samples = self.passed = self.wrong = self.summaries = 0
        self.solved = self.unsolved = self.suspects = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.reasoning_tokens = self.answer_tokens = 0
        self.reasoning_known = True
        self.failures: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.models: Counter[str] = Counter()

    def outcomes(self, outcomes: Iterable[Sample | Failure]) -> None:
        """Count the latest outcome of every attempt. They must be ordered by task."""
        for task, attempts in task_reports(outcomes):
            self.tasks += 1
            self.solved += task.solved is True
            self.unsolved += task.solved is False
            self.suspects += task.is_suspect
            for outcome in attempts:
                self._count(outcome)

    def _count(self, outcome: Sample | Failure) -> None:
        self.asked += 1
        self.usage(outcome.usage)
        if isinstance(outcome, Failure):
            self.failures[outcome.kind] += 1
            return
        self.samples += 1
        self.models[outcome.model or "?"] += 1
        self.summaries += outcome.trace_kind == "summary"
        self.passed += outcome.passed is True
        self.wrong += outcome.passed is False
        self.rejected.update({verdict.by for verdict in outcome.verdicts if verdict.passed is False})

    def usage(self, usage: Usage) -> None:
        """Count the tokens of one answer."""
        self.prompt_tokens += usage.prompt_tokens or 0
        self.completion_tokens += usage.completion_tokens or 0
        if usage.completion_tokens is None:
            return
        if usage.reasoning_tokens is None or usage.answer_tokens is None:
            self.reasoning_known = False
        else:
            self.reasoning_tokens += usage.reasoning_tokens
            self.answer_tokens += usage.answer_tokens


def _models(models: dict[str, int]) -> str:
    names = [name for name in models if name != "?"]
    return f" ({', '.join(names)})" if names else ""
