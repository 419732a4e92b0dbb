"""What it takes to go on with a large run, and to export one: ``python tests/benchmarks/resume.py``.

Run directories of finished tasks, each with an answer and a verdict, are written by the library's own ledger, a
megabyte at a time. Then each measurement is a process of its own. Memory is the peak above what the process held
after its imports. The reference is what a script would do: read the lines with ``json`` and keep a set of ids.

- *open*: take the lock, check the index against the segments, find what is left of each attempt.
- *plan*: make a job of each task, or find that there is nothing to do: template, digests and look-up. The tasks come
  from a generator; making them takes longer than that, is the source's business, and is not counted.
- *other verifiers*: the same where all answers are to be judged anew, so that every task becomes a job.
- *session*: ``Distiller.run`` from start to end with nothing left to ask. Of a file that has not changed, the rows of
  finished tasks are passed over; of a generator, each task is made, compared with the others, and planned.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cot_distill import Distiller, Run, Task, Verdict, templates
from cot_distill.input_mark import MarkedInput
from cot_distill.journal import Journal
from cot_distill.judging import Judge
from cot_distill.ledger import Ledger
from cot_distill.planning import Planner, Settings
from cot_distill.records import Slot
from cot_distill.retry import Tries
from cot_distill.sources import TaskInput
from cot_distill.testing import ScriptedTeacher
from cot_distill.trace import Trace
from cot_distill.types import Completion, Sampling, ThinkTags, Usage

_BUFFER = 1 << 20


def task(number: int) -> Task:
    return Task(id=number, instruction=f"What is question {number} about?", answer="7")


def right(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="right", passed=True, about="answer")


def other(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="other", passed=trace.answer != "", about="answer")


def distiller(verifier: Callable[[Task, Trace], Verdict] = right) -> Distiller:
    return Distiller(ScriptedTeacher(lambda _: ("Thinking.", "Answer: 7")), verifiers=[verifier])


# Writing a run


class BulkJournal(Journal):
    """Writes the same bytes, many records at a time."""

    def start(self) -> BulkJournal:
        self._lines = bytearray()
        return self

    def _write_whole(self, line: bytes) -> None:
        self._lines += line
        if len(self._lines) > _BUFFER:
            self.flush()

    def _write_entries(self) -> None:
        if len(self._entries) > _BUFFER:
            super()._write_entries()

    def _open_segment(self, number: int) -> None:
        if self._file >= 0:
            self.flush()
        super()._open_segment(number)

    def flush(self) -> None:
        while self._lines:
            del self._lines[: os.write(self._file, self._lines)]


def write_tasks(path: Path, tasks: int) -> Path:
    """The tasks of a run as a file beside it."""
    source = path.with_suffix(".tasks.jsonl")
    with source.open("w", encoding="utf-8") as file:
        file.writelines(
            f'{{"id": {n}, "instruction": "What is question {n} about?", "answer": "7"}}\n' for n in range(tasks)
        )
    return source


def write_run(path: Path, tasks: int, size: int, *, whole: bool = True) -> None:
    """A finished run. Without ``whole`` as an ordinary journal writes it, record by record: for comparing."""
    distiller().run([task(0)], path, progress=False)  # so that the recipe is a real one
    source = write_tasks(path, tasks)
    judge = Judge((right,), None, reading=(ThinkTags(), "auto"))
    mark = judge._mark << 1 | 1
    words = "Let me see: so it goes on and on. "
    text = (words * (size // len(words) + 1))[:size]
    answer = Completion(
        content="Answer: 7",
        reasoning=text,
        trace_kind="full",
        model="bench",
        usage=Usage(prompt_tokens=20, completion_tokens=500, reasoning_tokens=490),
    )
    said = {judge._ids[0]: Verdict(by="right", passed=True, about="answer")}
    with Ledger(path, writable=True) as ledger:
        ledger.note("started", workers=0)
        given = MarkedInput(source, templates.solve)
        given.mark()
        given.begin(ledger)
        if whole:
            ledger.journal.close()
            ledger.journal = bulk = BulkJournal(path, writable=True).start()
        for number in range(1, tasks):
            one = task(number)
            slot = Slot.make(one, 0, number, one.prompt())
            ledger.completion(slot, answer, Sampling(), Tries(1, used=520))
            ledger.verdicts(slot.head("verdict"), said, mark=mark)
        if whole:
            bulk.flush()


# Measuring, each in a process of its own


def memory(field: str) -> float:
    """Megabytes: ``VmRSS``, what is held now, or ``VmHWM``, the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def measure_resume(path: Path, tasks: int, verifier: Callable[[Task, Trace], Verdict] = right) -> dict[str, Any]:
    before, started = memory("VmRSS"), time.perf_counter()
    with Ledger(path, writable=True) as ledger:
        known = ledger.known()
        opened = time.perf_counter()
        held = memory("VmRSS") - before
        settings = Settings(
            teacher=ScriptedTeacher([]),
            template=templates.solve,
            verifiers=(verifier,),
            sampling=Sampling(),
            attempts=1,
            until_passed=None,
            concurrency=64,
            retries=0,
            require_reasoning=True,
            tags=ThinkTags(),
            prefilled="auto",
        )
        judge = Judge((verifier,), ledger, reading=(ThinkTags(), "auto"))
        planner = Planner(settings, judge, ledger, known, earlier=lambda _: None)
        jobs, planning = 0, 0.0
        for number in range(tasks):
            one = task(number)
            begun = time.perf_counter()
            for _ in planner.jobs(one, number):
                jobs += 1
            planning += time.perf_counter() - begun
    peak = memory("VmHWM") - before
    return {"open": opened - started, "plan": planning, "peak": peak, "held": held, "jobs": jobs}


def measure_other_verifiers(path: Path, tasks: int) -> dict[str, Any]:
    return measure_resume(path, tasks, other)


def measure_reference(path: Path, tasks: int) -> dict[str, Any]:
    before, started = memory("VmRSS"), time.perf_counter()
    seen = set()
    for segment in sorted(path.glob("journal-*.jsonl")):
        with segment.open(encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if record["kind"] == "completion":
                    seen.add(record["task"]["id"])
    opened, jobs = time.perf_counter(), 0
    for number in range(tasks):
        jobs += number not in seen
    return {
        "open": opened - started,
        "plan": time.perf_counter() - opened,
        "peak": memory("VmHWM") - before,
        "held": memory("VmRSS") - before,
        "jobs": jobs,
    }


def measure_session(path: Path, tasks: int) -> dict[str, Any]:
    return measure_run(path, (task(number) for number in range(tasks)))


def measure_session_of_file(path: Path, tasks: int) -> dict[str, Any]:
    return measure_run(path, path.with_suffix(".tasks.jsonl"))


def measure_run(path: Path, tasks: TaskInput) -> dict[str, Any]:
    before, started = memory("VmRSS"), time.perf_counter()
    distiller().run(tasks, path, progress=False)
    seconds = time.perf_counter() - started
    return {"open": None, "plan": None, "total": seconds, "peak": memory("VmHWM") - before, "held": None, "jobs": 0}


def measure_export(path: Path, tasks: int) -> dict[str, Any]:
    before, started = memory("VmRSS"), time.perf_counter()
    written = Run.open(path).to_jsonl(path.with_suffix(".jsonl"))
    seconds, peak = time.perf_counter() - started, memory("VmHWM") - before
    with written.open("rb") as file:
        rows = sum(1 for _ in file)
    written.unlink()
    return {"total": seconds, "peak": peak, "rows": rows}


MEASURES: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "json lines, set of ids": measure_reference,
    "cot_distill": measure_resume,
    "  other verifiers": measure_other_verifiers,
    "  session, a file": measure_session_of_file,
    "  session, a generator": measure_session,
    "export": measure_export,
}


def measured(name: str, path: Path, tasks: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", name, "--path", str(path), "--tasks", str(tasks)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# Tables


def shown(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def runs(folder: Path, sizes: list[int], size: int) -> Iterator[tuple[int, Path]]:
    for tasks in sizes:
        path = folder / str(tasks)
        write_run(path, tasks, size)
        yield tasks, path


def resume_table(folder: Path, sizes: list[int], size: int, *, session: bool) -> None:
    print(f"Going on with a finished run: an answer of {size:,} bytes and a verdict for each task\n")
    names = ("open s", "plan s", "total s", "peak MB", "held MB", "jobs")
    print(f"{'tasks':>12}  {'':<24}" + "".join(f"{name:>11}" for name in names))
    for tasks, path in runs(folder, sizes, size):
        for name in list(MEASURES)[: 5 if session else 4]:
            found = measured(name, path, tasks)
            total = found.get("total", (found["open"] or 0) + (found["plan"] or 0))
            cells = [shown(found["open"]), shown(found["plan"]), shown(total), shown(found["peak"], 1)]
            cells += [shown(found["held"], 1), f"{found['jobs']:,}"]
            print(f"{tasks:>12,}  {name:<24}" + "".join(f"{cell:>11}" for cell in cells), flush=True)


def export_table(folder: Path, sizes: list[int], size: int) -> None:
    print("\nExporting a finished run to JSONL: peak memory above the imports\n")
    print(f"{'samples':>12}{'peak MB':>11}{'MB per 1,000 more':>20}{'rows/s':>11}")
    before: tuple[int, float] | None = None
    for tasks, path in runs(folder, sizes, size):
        found = measured("export", path, tasks)
        assert found["rows"] == tasks
        growth = "-" if before is None else f"{(found['peak'] - before[1]) / (tasks - before[0]) * 1000:.3f}"
        print(f"{tasks:>12,}{found['peak']:>11.1f}{growth:>20}{tasks / found['total']:>11,.0f}", flush=True)
        before = before or (tasks, found["peak"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--samples", type=int, nargs="*", default=[2_000, 20_000, 100_000], help="of the exports")
    parser.add_argument("--bytes", type=int, default=2000, help="of reasoning in each answer")
    parser.add_argument("--session", action="store_true", help="also a session over a generator")
    parser.add_argument("--folder", type=Path, help="where to write the runs; 3 GB for a million tasks")
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(MEASURES[options.measure](options.path, options.tasks[0])))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        resume_table(Path(folder) / "resume", options.tasks, options.bytes, session=options.session)
        export_table(Path(folder) / "export", options.samples, options.bytes)


if __name__ == "__main__":
    main()
