"""A run: the directory that holds every answer, and the datasets that are views of it.

Reading asks nobody and costs nothing. A Run can be opened while another process is still writing to it: it shows what
was there at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cot_distill import formatters, writers
from cot_distill.arguments import check_text, check_verifiers
from cot_distill.blocking import run_blocking
from cot_distill.card import dataset_card
from cot_distill.choosing import check_parts, choose, why_nothing
from cot_distill.entering import entered
from cot_distill.errors import ConfigError, RunError
from cot_distill.formatters import ChatTokenizer
from cot_distill.funnel import Funnel
from cot_distill.identity import name_of
from cot_distill.judging import Judge, judge_places
from cot_distill.ledger import Ledger
from cot_distill.outcome import Outcome, crashed, read
from cot_distill.prices import dollars
from cot_distill.protocols import Filter, Formatter, Verifier, Writer
from cot_distill.recipe import Recipe
from cot_distill.records import Record
from cot_distill.report import Report, Tally
from cot_distill.run_lock import is_locked
from cot_distill.task_report import TaskReport, task_reports
from cot_distill.template_check import refuse_lost
from cot_distill.types import Completion, Failure, Sample

if TYPE_CHECKING:
    import datasets

__all__ = ["Run"]

T = TypeVar("T")


class Run:
    """A run directory, finished or half-finished. Get one from ``Distiller.run`` or :meth:`Run.open`.

    Attributes:
        path: The directory.
        recipe: What its answers were asked with.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe
        self._funnel = Funnel()

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Run:
        """Open a run directory for reading.

        Raises:
            RunError: There is no run, or its recipe cannot be read.
        """
        recipe = Recipe.load(Path(path))
        if recipe is None:
            raise RunError(f"{path} is no run directory: there is no run.json in it")
        return cls(Path(path), recipe)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, teacher={self.recipe.teacher!r})"

    def outcomes(self) -> Iterator[Outcome]:
        """Every attempt, as a Sample or a Failure, ordered by (task, attempt).

        Raises:
            RunError: A record is damaged; the message names the place.
        """
        with Ledger(self.path, writable=False) as ledger:
            for record in ledger.records():
                yield self._outcome(record)

    def samples(self) -> Iterator[Sample]:
        """The samples, ordered by (task, attempt); also those that a verifier called wrong."""
        return (outcome for outcome in self.outcomes() if isinstance(outcome, Sample))

    def failures(self) -> Iterator[Failure]:
        """The attempts that gave no sample, ordered by (task, attempt)."""
        return (outcome for outcome in self.outcomes() if isinstance(outcome, Failure))

    def tasks(self) -> Iterator[TaskReport]:
        """What became of each task over its attempts, in the order of the input.

        Example:
            The tasks that no attempt solved, and those whose reference answer is doubtful::

                never = [one.task.id for one in run.tasks() if one.solved is False]
                doubtful = [(one.task.id, one.task.answer, one.agreed) for one in run.tasks() if one.is_suspect]
        """
        return (report for report, _ in task_reports(self.outcomes()))

    def report(self) -> Report:
        """Count what became of every attempt, over all sessions."""
        tally = Tally()
        tally.outcomes(self.outcomes())
        with Ledger(self.path, writable=False) as ledger:
            spent = ledger.spent(tally.usage)
            running = is_locked(self.path)
            sessions = ledger.sessions(running=running)
        return Report(
            path=str(self.path),
            teacher=self.recipe.teacher,
            models=dict(tally.models.most_common()),
            tasks=tally.tasks,
            asked=tally.asked,
            samples=tally.samples,
            passed=tally.passed,
            wrong=tally.wrong,
            summaries=tally.summaries,
            unjudged=tally.samples - tally.passed - tally.wrong,
            rejected=dict(tally.rejected.most_common()),
            solved=tally.solved,
            unsolved=tally.unsolved,
            suspects=tally.suspects,
            failures=dict(tally.failures.most_common()),
            prompt_tokens=tally.prompt_tokens,
            completion_tokens=tally.completion_tokens,
            reasoning_tokens=tally.reasoning_tokens if tally.reasoning_known else None,
            answer_tokens=tally.answer_tokens if tally.reasoning_known else None,
            judging_tokens=spent.judging,
            cost=dollars(spent.cost),
            cut={limit: count for limit, (count, _) in spent.cuts.items()},
            cut_tokens={limit: tokens for limit, (_, tokens) in spent.cuts.items()},
            retries=spent.retries,
            asked_again=spent.superseded,
            skipped=sessions.skipped,
            sessions=sessions.number,
            running=running,
            killed=sessions.killed,
            abandoned=sessions.abandoned,
            seconds=sessions.seconds,
            funnel=self._funnel.stages,
        )

    def export(
        self,
        writer: Writer[T],
        *filters: Filter,
        formatter: Formatter = formatters.messages,
        include_wrong: bool = False,
        include_summaries: bool = False,
        check: ChatTokenizer | str | None = None,
    ) -> T:
        """Send the samples through filters and formatter into a writer. The same run gives the same rows.

        Args:
            writer: Such as ``writers.parquet("train.parquet")``.
            filters: Applied in this order.
            formatter: Makes a row of a sample.
            include_wrong: Let samples through that a verifier called wrong.
            include_summaries: Let samples through whose reasoning is a summary that the provider made
                (``trace_kind="summary"``). Some providers' terms say more about them: see ``docs/providers.md``.
            check: The student's tokenizer, or its chat template: refuse what it would spoil, as
                :func:`cot_distill.check_template` finds out.

        Returns:
            What the writer returns.

        Raises:
            ConfigError: Not one row is left: a dataset is never empty without a word. Or the student's chat template
                would lose or damage reasoning; the message names the formatter that works, and nothing is written.
                Or one of the arguments is something else.
        """
        check_parts(writer, filters, formatter)
        funnel = Funnel()
        samples = choose(
            self.samples(), filters, funnel, include_wrong=include_wrong, include_summaries=include_summaries
        )
        if check is not None:
            samples = refuse_lost(check, formatter=formatter)(samples)
        rows = map(formatter, samples)
        first = next(rows, None)
        if first is None:
            reason = why_nothing(funnel, filters, next(self.failures(), None))
            raise ConfigError(f"{self.path} has no row to write: {reason}")
        self._funnel = funnel  # before the writer runs: a card that it writes tells how the rows were chosen
        return writer(chain([first], rows))

    def to_jsonl(
        self,
        path: str | PathLike[str],
        *filters: Filter,
        formatter: Formatter = formatters.messages,
        include_wrong: bool = False,
        include_summaries: bool = False,
        check: ChatTokenizer | str | None = None,
    ) -> Path:
        """Write the samples as JSON Lines: whole or not at all. See :meth:`export`.

        Returns:
            The path.
        """
        return self.export(
            writers.jsonl(path),
            *filters,
            formatter=formatter,
            include_wrong=include_wrong,
            include_summaries=include_summaries,
            check=check,
        )

    def to_dataset(
        self,
        *filters: Filter,
        formatter: Formatter = formatters.messages,
        include_wrong: bool = False,
        include_summaries: bool = False,
        check: ChatTokenizer | str | None = None,
    ) -> datasets.Dataset:
        """Hand the samples over as a ``datasets.Dataset``. See :meth:`export`."""
        return self.export(
            writers.hugging_face(),
            *filters,
            formatter=formatter,
            include_wrong=include_wrong,
            include_summaries=include_summaries,
            check=check,
        )

    def push_to_hub(
        self,
        repo_id: str,
        *filters: Filter,
        formatter: Formatter = formatters.messages,
        private: bool = True,
        token: str | None = None,
        allow_demo: bool = False,
    ) -> datasets.Dataset:
        """Publish the samples as a dataset with a card that says how they were made.

        Args:
            repo_id: ``owner/name`` on the Hub.
            filters: Applied in this order.
            formatter: Makes a row of a sample.
            private: Whether only the owner may read it.
            token: Hub token; default: the one that ``huggingface-cli login`` stored.
            allow_demo: Publish even what the demo teacher wrote.

        Raises:
            ConfigError: The rows were written by the demo program, not by a model. Or there is no such name.
        """
        check_text(repo_id, "push_to_hub(repo_id)")
        writer = writers.hugging_face(
            push_to_hub=repo_id, card=self.card, private=private, token=token, allow_demo=allow_demo
        )
        return self.export(writer, *filters, formatter=formatter)

    def card(self) -> str:
        """A dataset card in Markdown: teacher, models, date, settings and counts."""
        return dataset_card(self.recipe, self.report())

    def judge(self, *verifiers: Verifier, keep: bool = True) -> Run:
        """Judge all samples by these verifiers, without asking the teacher.

        What verifiers of other names said before stays, so that one more may be added at any time. A verifier with
        the name of an earlier one takes its place.

        Args:
            verifiers: At least one.
            keep: Whether the verdicts of other verifiers stay. False: only these count from now on.

        Returns:
            This run.

        Raises:
            ConfigError: There is no verifier, or this is none.
            VerifierError: The verifiers crash on everything. What was booked before stays.
            RunError: Another process is writing to the run.
        """
        if not verifiers:
            raise ConfigError("judge() needs at least one verifier, such as verifiers.exact()")
        check_verifiers(verifiers, "judge()")
        self._funnel = Funnel()  # an export from before tells nothing of the verdicts of now
        run_blocking(partial(self._judge, verifiers, keep=keep))
        return self

    def reask(self, *kinds: str) -> int:
        """Let the next session ask failed attempts again that it would otherwise leave alone.

        Args:
            kinds: Of failure, as the report counts them: ``"no_reasoning"``, ``"refused"``… None: all kinds. An
                answer that a verifier crashed on is never asked again: the next session judges it again.

        Returns:
            The number of attempts that will be asked again.
        """
        count = 0
        with Ledger(self.path, writable=True) as ledger:
            for place in ledger.latest():
                outcome = self._outcome(ledger.record(place))
                if (
                    isinstance(outcome, Failure)
                    and outcome.stage != "verify"
                    and (not kinds or outcome.kind in kinds)
                ):
                    ledger.reopen(place.answer.head)
                    count += 1
        return count

    def compact(self) -> int:
        """Compress the journal, to a third or so of its size. All of it stays readable, and the run can go on.

        Takes some seconds a gigabyte, and room for the compressed copy of one segment at a time. Needs the extra
        "zstd" before Python 3.14, also for reading from then on.

        Returns:
            The number of bytes that are free now.

        Raises:
            RunError: Another process is writing to the run, or the disk is full. Whatever happens, nothing is lost.
            MissingExtraError: The package is not installed.
        """
        with Ledger(self.path, writable=True) as ledger:
            return ledger.journal.compact()

    def _outcome(self, record: Record) -> Outcome:
        if record.completion is None:
            assert record.failure is not None  # noqa: S101 - one of the two is always there
            return record.failure
        outcome = self._read(record, record.completion)
        if isinstance(outcome, Failure):
            return outcome
        if record.crash:
            return crashed(outcome, record.crash)
        return outcome.model_copy(update={"verdicts": record.verdicts}) if record.verdicts else outcome

    def _read(self, record: Record, completion: Completion) -> Outcome:
        recipe = self.recipe
        return read(
            record.task,
            record.attempt,
            completion,
            teacher=recipe.teacher,
            tags=recipe.tags,
            prefilled=recipe.prefilled,
            tries=record.tries,
            cost=record.cost,
        )

    async def _judge(self, verifiers: tuple[Verifier, ...], *, keep: bool = True) -> None:
        with Ledger(self.path, writable=True) as ledger:
            judge = Judge(verifiers, ledger, reading=(self.recipe.tags, self.recipe.prefilled), keep=keep)
            async with entered(*verifiers):
                await judge_places(judge, ledger, ledger.latest(), read=self._outcome)
            earlier = self.recipe.verifiers if keep else ()
            names = tuple(dict.fromkeys([*earlier, *map(name_of, verifiers)]))
            self.recipe = self.recipe.model_copy(update={"verifiers": names})
            self.recipe.save(self.path)
