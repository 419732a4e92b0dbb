"""Dropping what is in a benchmark, so that the student is tested on what it has not seen.

The benchmarks are remembered as hashes of runs of words, never as text.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from os import PathLike
from pathlib import Path
from typing import IO, Literal, NamedTuple, get_args

from cot_distill.arguments import shown
from cot_distill.errors import ConfigError, SourceError
from cot_distill.filters._benchmarks import Benchmark, Rows, open_benchmark, texts
from cot_distill.filters._dropping import Decisions, Dropping, OnDrop, at_least, log
from cot_distill.filters._text import check_part, text_of
from cot_distill.protocols import Filter
from cot_distill.types import Sample, Task

__all__ = ["Benchmark", "ContaminationPart", "decontaminate"]

ContaminationPart = Literal["instruction", "reasoning", "answer", "all"]
"""Where in a sample to look."""

_SHOWN = 200  # characters of a passage in a reason


class _Match(NamedTuple):
    part: str
    benchmark: str
    place: str
    row: int
    passage: str

    def reason(self) -> str:
        shown = self.passage if len(self.passage) <= _SHOWN else self.passage[: _SHOWN - 1] + "…"
        return f"the {self.part} has a passage of {self.benchmark}, {self.place} {self.row}: {shown!r}"


def decontaminate(
    *benchmarks: Benchmark,
    n: int = 13,
    fields: str | Sequence[str] | None = None,
    part: ContaminationPart = "instruction",
    matches: str | PathLike[str] | None = None,
    on_drop: OnDrop | None = None,
) -> Filter:
    """Drop samples that have ``n`` words in a row in common with a benchmark.

    Words are compared in lower case and without punctuation. An instruction of fewer words is compared with the
    short texts of the benchmark as a whole: it must be the same but for case, white space and the mark at its end.
    What is paraphrased or translated is not found. Boilerplate that your tasks share with a benchmark ("Put your
    final answer in…") is: look at the matches, and give the benchmark without it.

    Args:
        benchmarks: Each is one of these. They are read at once, one row at a time.

            - The path of a ``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet`` or ``.txt`` file (a text a line),
              also with ``.gz`` after that.
            - The id of a dataset on the Hugging Face Hub, such as ``"HuggingFaceH4/aime_2024"``, or a folder that
              ``datasets`` can load. It is streamed; of several splits the one called ``test`` is read.
            - A dataset of ``datasets``, a source of :mod:`cot_distill.sources`, or any iterable of texts, dicts or
              tasks.
            - A dict of these by name, for the names that the reasons give.
        n: Words in a row that make a match. 13 is usual (Brown et al., "Language models are few-shot learners",
            2020, appendix C).
        fields: Of the rows that are dicts, the fields to look at. Default: every text in them, at any depth.
        part: Where in a sample to look: ``"instruction"`` (the question, without the system prompt),
            ``"reasoning"``, ``"answer"``, or ``"all"`` three.
        matches: Path of a JSONL file to write, with one line for each sample that is dropped: ``task``, ``attempt``,
            ``part``, ``benchmark``, ``row`` and ``passage``. Written anew for each stream.
        on_drop: Is told of each sample that is dropped, and why; the reason names benchmark, row and passage.

    Returns:
        A filter. It holds 12 bytes for each different run of ``n`` words of the benchmarks: 12 MB a million. They
        are hashes of 64 bits: with a million of them, a passage is found by mistake with a chance of 5 in 10**14.

    Raises:
        ConfigError: There is no benchmark, or it is nothing that can be one.
        SourceError: A benchmark cannot be read, or has no text.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> samples = [Sample(task=Task(instruction=text), trace=trace) for text in ("What is 2 + 2?", "And 3 + 3?")]
        >>> keep = decontaminate({"tiny": ["what is 2+2"]}, on_drop=lambda _, reason: print(reason))
        >>> len(list(keep(samples)))
        the instruction has a passage of tiny, row 1: 'what is 2 2'
        1
    """
    at_least(1, n, "decontaminate(n=…)")
    check_part(part, "decontaminate(part=…)", get_args(ContaminationPart))
    if isinstance(fields, bytes) or not isinstance(fields, str | Sequence | None):
        raise ConfigError(
            f"decontaminate(fields=…) takes the name of a field, or a list of names, not {shown(fields)}"
        )
    if not isinstance(matches, str | PathLike | None) or matches == "":
        raise ConfigError(f"decontaminate(matches=…) takes a path, not {shown(matches)}")
    looked_at = None if fields is None else (fields,) if isinstance(fields, str) else tuple(fields)
    index = _Index(n)
    for number, benchmark in enumerate(benchmarks, start=1):
        for rows in open_benchmark(benchmark, f"benchmark {number}"):
            index.read(rows, looked_at)
    if not index.names:
        raise ConfigError("decontaminate needs at least one benchmark, such as the path of a file")
    parts = ("instruction", "reasoning", "answer") if part == "all" else (part,)

    def decide(samples: Iterator[Sample]) -> Decisions:
        with nullcontext() if matches is None else _opened(matches) as file:
            for sample, match in index.look(samples, parts):
                if match and file:
                    line = {"task": sample.task.id, "attempt": sample.attempt, "part": match.part}
                    line |= {"benchmark": match.benchmark, "row": match.row, "passage": match.passage}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                yield sample, match and match.reason()

    return Dropping(f"decontaminate({', '.join(index.names)})", decide, on_drop)


class _Index:
    """The benchmarks: their runs of words, and the rows that they stand in."""

    def __init__(self, n: int) -> None:
        from cot_distill.filters._overlap import Overlap  # here, since it loads numpy

        self.names: list[str] = []
        self._overlap = Overlap(n)
        self._units: list[str] = []
        self._starts: list[int] = []  # of each benchmark, the number of its first row in `_rows`
        self._rows = array("Q")

    def read(self, rows: Rows, fields: tuple[str, ...] | None) -> None:
        """Take a benchmark in."""
        self.names.append(rows.name)
        self._units.append(rows.unit)
        self._starts.append(len(self._rows))
        found = 0
        for place, row in rows.rows:
            for text in self._texts(row, fields, f"{rows.name}, {rows.unit} {place}"):
                self._overlap.add(text, len(self._rows))
                found += 1
            self._rows.append(place)
        if not found:
            raise SourceError(f"{rows.name}: there is no text in it")
        log.info("filters.decontaminate: %s: %d rows", rows.name, len(self._rows) - self._starts[-1])

    def look(self, samples: Iterator[Sample], parts: tuple[str, ...]) -> Iterator[tuple[Sample, _Match | None]]:
        """Give each sample with its first match."""
        latest: dict[str, tuple[str, _Match | None]] = {}  # attempts of a task ask the same
        for sample in samples:
            match = None
            for part in parts:
                text = text_of(sample, part)
                if part not in latest or latest[part][0] != text:
                    latest[part] = (text, self._match(text, part))
                match = latest[part][1]
                if match:
                    break
            yield sample, match

    def _match(self, text: str, part: str) -> _Match | None:
        # Short answers are the same for many questions, so elsewhere only runs of words count.
        found = self._overlap.find(text, whole=part == "instruction")
        if found is None:
            return None
        number, passage = found
        which = bisect_right(self._starts, number) - 1
        return _Match(part, self.names[which], self._units[which], self._rows[number], passage)

    @staticmethod
    def _texts(row: object, fields: tuple[str, ...] | None, place: str) -> list[str]:
        if not isinstance(row, str | Task | Mapping):
            raise SourceError(f"{place}: a row is text, a task, or an object with fields, not {row!r:.80}")
        try:
            return [text for text in texts(row, fields) if text.strip()]
        except KeyError as missing:
            there = ", ".join(map(repr, row)) if isinstance(row, Mapping) else ""
            raise SourceError(f"{place}: there is no field {missing}; there are {there}") from None


@contextmanager
def _opened(path: str | PathLike[str]) -> Iterator[IO[str]]:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    # Half a surrogate pair is written as its escape, which JSON reads.
    with place.open("w", encoding="utf-8", errors="backslashreplace") as file:
        yield file
