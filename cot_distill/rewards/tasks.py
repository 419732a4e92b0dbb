"""Tasks out of what a trainer passes to a reward: prompts, and the columns of its dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cot_distill.rewards.reading import content_of
from cot_distill.types import Message, Task

__all__ = ["NO_COLUMNS", "tasks_of"]

NO_COLUMNS = frozenset({"completion_ids", "environments", "log_extra", "log_metric", "trainer_state"})
"""What TRL passes beside the columns of the dataset."""


def tasks_of(prompts: Sequence[Any], columns: Mapping[str, Any], *, answer: str, tests: str) -> Iterator[Task]:
    """Make a task of each prompt.

    Args:
        prompts: Messages, of which those after the last question are left out, or text as it is.
        columns: What came with them. Columns without a special meaning become metadata.
        answer: The column with reference answers.
        tests: The column with tests, as such or as JSON.

    Yields:
        The tasks.
    """
    names = [
        name
        for name, values in columns.items()
        if name not in NO_COLUMNS and isinstance(values, list | tuple) and len(values) == len(prompts)
    ]
    for place, prompt in enumerate(prompts):
        row = {name: columns[name][place] for name in names}
        number, reference, given = row.pop("id", ""), row.pop(answer, None), row.pop(tests, None)
        turns = _turns(prompt)
        yield Task(
            id=number if isinstance(number, int | str) else "",
            instruction="" if turns else "(no question)",
            messages=turns,
            answer=reference if reference is None or isinstance(reference, str | int | float) else str(reference),
            tests=_parsed(given),
            metadata=row,
        )


def _turns(prompt: object) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),) if prompt.strip() else ()
    turns: list[Message] = []
    for turn in prompt if isinstance(prompt, Sequence) else ():
        content = content_of(turn) if isinstance(turn, Mapping) else None
        if content and content.strip() and turn.get("role") in ("system", "user", "assistant"):
            turns.append(Message(role=turn["role"], content=content))
    while turns and turns[-1].role != "user":
        turns.pop()
    return tuple(turns)


def _parsed(tests: Any) -> Any:
    if not isinstance(tests, str):
        return tests if isinstance(tests, list | dict) else None
    try:
        parsed = json.loads(tests)
    except ValueError:
        return tests
    return parsed if isinstance(parsed, str | list | dict) else tests
