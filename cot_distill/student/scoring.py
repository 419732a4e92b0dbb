"""Measuring a student: let it solve tasks, and look at what it writes.

Training and measuring share one reading of the chat template, so that a student is asked exactly as it was trained.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import anyio
import torch
from pydantic import ValidationError
from torch import nn

from cot_distill import formatters
from cot_distill.asking_verifiers import ask_verifier
from cot_distill.blocking import run_blocking
from cot_distill.chat_parts import parts_reader
from cot_distill.encoding import encode, encode_parts
from cot_distill.errors import ConfigError, DistillError, TraceError, VerifierError
from cot_distill.identity import name_of
from cot_distill.protocols import Formatter, Verifier
from cot_distill.trace import KNOWN_TAGS, ThinkTags, split
from cot_distill.types import Sample, Task, Trace, Verdict
from cot_distill.workers import drive

__all__ = ["Score", "generate_and_score"]

_STAND_IN = Trace(reasoning="(the reasoning)", answer="(the answer)")
_AT_ONCE = 16

log = logging.getLogger("cot_distill")


@dataclass(frozen=True)
class Score:
    """How well a student did.

    Attributes:
        accuracy: The share of tasks with a right answer. An answer that was cut, or is not there, is wrong; a task
            that the verifier could not judge is left out.
        reasoning_tokens: The mean number of tokens that it thinks: 0 where it does not, all it wrote where its
            thinking never ends.
        well_formed: The share of completions that come to an end, with one block of reasoning and an answer behind.
        rows: For each task, in order: ``id``, ``prompt``, ``completion`` (without what ends it), ``reasoning``,
            ``answer``, ``passed``, ``reason``, ``well_formed``, ``problem``, ``reasoning_tokens``,
            ``completion_tokens``, ``finished``.
    """

    accuracy: float
    reasoning_tokens: float
    well_formed: float
    rows: tuple[dict[str, Any], ...]


class _Prompt(NamedTuple):
    ids: list[int]
    text: str
    tags: ThinkTags
    opened: bool
    """Whether it ends within the reasoning."""
    ends: tuple[int, ...]
    """What the student says when it is done."""


def generate_and_score(
    model: nn.Module,
    tokenizer: Any,
    tasks: Iterable[Task],
    verifier: Verifier,
    *,
    max_new_tokens: int,
    batch_size: int = 16,
    formatter: Formatter = formatters.messages,
    **generation: Any,
) -> Score:
    """Let a student solve tasks and measure its answers, its reasoning and its form.

    The answer is what stands behind the reasoning, or all of it where there is none: so a student that never learned
    to think is measured by the same rule. Decoding is greedy; a batch is padded on the left, and holds prompts of
    similar length.

    Args:
        model: The student, where it is to run. It is in the same mode afterwards.
        tokenizer: Its tokenizer, with a chat template.
        tasks: What to solve; best what the student has not seen.
        verifier: Says whether an answer is right: any of :mod:`cot_distill.verifiers`.
        max_new_tokens: Cap on a completion, reasoning and answer together. What it cuts is wrong.
        batch_size: Tasks to solve at a time.
        formatter: The one that made the training rows.
        **generation: Further arguments of ``model.generate``, such as ``do_sample=True, temperature=0.6``.

    Returns:
        The score.

    Raises:
        ConfigError: There are no tasks, the chat template loses the trace, or the verifier could judge nothing.
        VerifierError: The verifier crashes on everything.
    """
    tasks = list(tasks)
    if not tasks:
        raise ConfigError("there are no tasks to score a student by")
    prompts = _prompts(tokenizer, tasks, formatter)
    rows: list[dict[str, Any]] = [{} for _ in tasks]
    by_length = sorted(range(len(tasks)), key=lambda place: -len(prompts[place].ids))
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(tasks), batch_size):
            places = by_length[start : start + batch_size]
            written = _generate(model, tokenizer, [prompts[place] for place in places], max_new_tokens, generation)
            for place, ids in zip(places, written, strict=True):
                rows[place] = {"id": tasks[place].id, **_read(tokenizer, prompts[place], ids)}
    finally:
        model.train(was_training)
    _judge(verifier, tasks, rows)
    judged = [row for row in rows if row["passed"] is not None]
    if not judged:
        raise ConfigError(f"{name_of(verifier)} could judge none of {len(rows)} answers: have the tasks a reference?")
    return Score(
        accuracy=sum(row["passed"] for row in judged) / len(judged),
        reasoning_tokens=sum(row["reasoning_tokens"] for row in rows) / len(rows),
        well_formed=sum(row["well_formed"] for row in rows) / len(rows),
        rows=tuple(rows),
    )


def _prompts(tokenizer: Any, tasks: Sequence[Task], formatter: Formatter) -> list[_Prompt]:
    """The beginning of what would be a training row, and how such a row goes on."""
    read = parts_reader(tokenizer, formatter)
    prompts = []
    for task in tasks:
        sample = Sample(task=task, trace=_STAND_IN)
        reading = read(sample)
        parts = reading.parts
        if parts is None:
            encode(tokenizer, sample, formatter=formatter)  # says what is wrong
            raise ConfigError(f"task {task.id!r}: the chat template loses the trace")
        encoded = encode_parts(tokenizer, parts)
        tags = next((tags for tags in KNOWN_TAGS.values() if tags.close in parts.think), ThinkTags())
        ends = {tokenizer.eos_token_id, *encoded.ids[encoded.spans.eos][:1]} - {None}
        ids = list(encoded.ids[encoded.spans.prompt])
        prompts.append(_Prompt(ids, parts.prompt, tags, reading.opened is not None, tuple(sorted(ends))))
    return prompts


@torch.no_grad()  # type: ignore[untyped-decorator]
def _generate(
    model: Any, tokenizer: Any, prompts: Sequence[_Prompt], max_new_tokens: int, generation: dict[str, Any]
) -> list[tuple[list[int], bool]]:
    """What the student writes, without its end, and whether it came to one."""
    ends = sorted({end for prompt in prompts for end in prompt.ends})
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0] if ends else 0
    width = max(len(prompt.ids) for prompt in prompts)
    ids = [[pad] * (width - len(prompt.ids)) + prompt.ids for prompt in prompts]
    mask = [[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts]
    options = {"do_sample": False, "use_cache": True, "eos_token_id": ends or None, "pad_token_id": pad, **generation}
    made = model.generate(
        input_ids=torch.tensor(ids, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=max_new_tokens,
        **options,
    )
    found = []
    for row in made[:, width:].tolist():
        end = next((place for place, token in enumerate(row) if token in ends), None)
        found.append((row[:end], end is not None))
    return found


def _read(tokenizer: Any, prompt: _Prompt, written: tuple[list[int], bool]) -> dict[str, Any]:
    ids, finished = written
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    problem = None
    try:
        split(text, tags=prompt.tags, prefilled=prompt.opened, finish_reason="stop" if finished else "length")
    except TraceError as error:
        problem = error.kind
    before, closing, after = text.rpartition(prompt.tags.close)
    body = (before if closing else after).lstrip()
    thinks = bool(closing) or prompt.opened or body.startswith(prompt.tags.open)
    reasoning = body.removeprefix(prompt.tags.open).strip("\r\n") if thinks else ""
    answer = after.strip("\r\n") if closing or not thinks else ""
    return {
        "prompt": prompt.text,
        "completion": text,
        "reasoning": reasoning,
        "answer": answer if finished else "",
        "passed": False,
        "reason": None if finished else "cut before its end",
        "well_formed": problem is None,
        "problem": problem,
        "reasoning_tokens": len(tokenizer.encode(reasoning, add_special_tokens=False)) if reasoning else 0,
        "completion_tokens": len(ids),
        "finished": finished,
    }


def _judge(verifier: Verifier, tasks: Sequence[Task], rows: Sequence[dict[str, Any]]) -> None:
    """Ask the verifier about each answer, and write down what it says.

    Raises:
        VerifierError: It crashed on all of several.
    """
    traces = {place: trace for place, row in enumerate(rows) if (trace := _trace(row)) is not None}
    crashes: list[BaseException] = []

    async def judge_all() -> None:
        threads = anyio.CapacityLimiter(_AT_ONCE)

        async def judge(place: int) -> None:
            try:
                verdict = await ask_verifier(verifier, tasks[place], traces[place], threads)
            except DistillError:
                raise
            except (Exception, SystemExit) as error:  # a verifier may run what the student wrote
                log.warning("the verifier %s crashed on an answer", name_of(verifier), exc_info=error)
                crashes.append(error)
                verdict = Verdict(by=name_of(verifier), passed=None, reason=f"the verifier crashed: {error}")
            rows[place].update(passed=verdict.passed, reason=verdict.reason)

        await drive(_places(traces), judge, min(_AT_ONCE, len(traces)))

    if traces:
        run_blocking(judge_all)
    if len(crashes) == len(traces) > 1:
        raise VerifierError(f"the verifier {name_of(verifier)} crashes: {crashes[0]}") from crashes[0]


def _trace(row: dict[str, Any]) -> Trace | None:
    """What the verifier sees; None where there is no answer to judge."""
    reasoning = row["reasoning"].replace("<think>", " ").replace("</think>", " ")
    try:
        return Trace(reasoning=reasoning if reasoning.strip() else _STAND_IN.reasoning, answer=row["answer"])
    except ValidationError:
        row["reason"] = row["reason"] or "no answer"
        return None


async def _places(traces: Iterable[int]) -> AsyncIterator[int]:
    for place in traces:
        yield place
