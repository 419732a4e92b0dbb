"""Showing how a run goes: a bar on a terminal and in a notebook, else a plain line now and then."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from cot_distill.outcome import Outcome
from cot_distill.types import Failure

__all__ = ["Progress", "show_progress"]

_LINE_SECONDS = 30.0


class Progress:
    """Counts outcomes and shows them.

    Args:
        total: Attempts in all, where it is known.
    """

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.earlier = self.samples = self.passed = self.wrong = self.failed = self.tokens = 0
        self.changed: Callable[[int], None] = lambda _: None
        """Called after attempts were counted, with how many of them earlier sessions finished."""
        self.tick: Callable[[], None] = lambda: None
        """Called about once a second, also while nothing comes back."""
        self.waiting: Callable[[], float] = lambda: 0.0
        """Says for how many seconds no request may be sent."""
        self._started = time.monotonic()

    @property
    def done(self) -> int:
        """Attempts that need nothing more, of this session and of earlier ones."""
        return self.earlier + self.samples + self.failed

    def count(self, outcome: Outcome) -> None:
        """Take note of one more attempt."""
        self.tokens += (outcome.usage.completion_tokens or 0) + (outcome.usage.prompt_tokens or 0)
        if isinstance(outcome, Failure):
            self.failed += 1
        else:
            self.samples += 1
            passed = outcome.passed
            self.passed += passed is True
            self.wrong += passed is False
        self.changed(0)

    def count_earlier(self, number: int) -> None:
        """Take note of attempts that earlier sessions finished."""
        if number:
            self.earlier += number
            self.changed(number)

    def _pause(self) -> str:
        seconds = self.waiting()
        return f"; waiting {seconds:.0f} s for the endpoint" if seconds > 1 else ""

    def __str__(self) -> str:
        judged = f" ({self.passed} passed, {self.wrong} wrong)" if self.passed or self.wrong else ""
        earlier = f", {self.earlier} from earlier" if self.earlier else ""
        samples = f"{self.samples} samples{judged}{earlier}"
        return f"{self.failed} failed, {samples}, {_short(self.tokens)} tokens{self._pause()}"

    def line(self) -> str:
        """All of it in one line, for a log file."""
        seconds = max(1e-9, time.monotonic() - self._started)
        rate = (self.samples + self.failed) / seconds
        of = f" of {self.total}" if self.total is not None else ""
        left = (self.total or 0) - self.done
        until = f", {left / rate:.0f} s left" if left > 0 and rate else ""
        return f"cot_distill: {self.done}{of} attempts: {self}, {rate:.1f}/s{until}"


class _Stream:
    """Standard error, which may go away (a terminal that is closed, a pipe that ends): no reason to end a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        self._try(lambda: self._stream.write(text))

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, write: Callable[[], object]) -> None:
        if not self._gone:
            try:
                write()
            except (OSError, ValueError):
                self._gone = True


@contextmanager
def show_progress(progress: Progress, shown: bool | None) -> Iterator[Progress]:
    """Show ``progress`` while the block runs.

    Args:
        progress: What to show.
        shown: True for a bar, False for nothing, None for a bar where one can be seen and else a line now and then.
    """
    if shown is False or sys.stderr is None:  # a daemon has no standard error
        yield progress
    elif shown or _in_notebook() or sys.stderr.isatty():
        with _bar(progress):
            yield progress
    else:
        with _lines(progress):
            yield progress


@contextmanager
def _bar(progress: Progress) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a notebook lacks ipywidgets: the bar is then plain text, which will do
        from tqdm.auto import tqdm

    stream = None if _in_notebook() else _Stream(sys.stderr)
    bar = tqdm(
        total=progress.total, initial=progress.earlier, file=stream, unit="", desc="cot_distill", dynamic_ncols=True
    )

    def changed(earlier: int) -> None:
        bar.set_postfix_str(str(progress), refresh=False)
        bar.initial += earlier  # what cost no time shall not count for the rate
        bar.update(earlier or 1)

    def tick() -> None:
        bar.set_postfix_str(str(progress), refresh=True)

    progress.changed, progress.tick = changed, tick
    try:
        yield
    finally:
        bar.refresh()
        bar.close()


@contextmanager
def _lines(progress: Progress) -> Iterator[None]:
    due = time.monotonic() + _LINE_SECONDS
    stream = _Stream(sys.stderr)

    def changed(earlier: int) -> None:  # noqa: ARG001
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_SECONDS
            stream.write(progress.line() + "\n")

    progress.changed, progress.tick = changed, lambda: changed(0)
    try:
        yield
    finally:
        stream.write(progress.line() + "\n")


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None


def _short(number: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)
