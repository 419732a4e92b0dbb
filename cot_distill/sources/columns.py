"""From a row to a task: which column is which, and what a value must look like.

This file knows rows and tasks. It does not know where a row comes from: it raises :class:`BadRow` (this row is no
task) or :class:`BadInput` (the columns do not fit at all), and :class:`~cot_distill.sources.source.Source` adds the
line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any, TypedDict

from pydantic import ValidationError
from pydantic_core import to_json

from cot_distill.errors import ConfigError
from cot_distill.sources.conversations import is_conversation, read_turns
from cot_distill.types import Message, Task

__all__ = ["BadInput", "BadRow", "Columns", "TaskMaker", "kind"]

log = logging.getLogger("cot_distill")


class Columns(TypedDict, total=False):
    """Which column holds what. A field left out is looked for; ``None`` means that no column holds it."""

    instruction: str | None
    """The question: text, or a list of messages."""
    answer: str | None
    """The reference answer that verifiers compare with."""
    id: str | None
    """Identity of the task. Without one it is a hash of the content."""
    system: str | None
    tests: str | None
    """Tests for code, in the form that the verifier wants."""
    messages: str | None
    """A conversation, in the OpenAI or the ShareGPT layout."""


class BadRow(ValueError):  # noqa: N818 - says what it is about; users see a SourceError
    """This row is no task; the next one may be."""


class BadInput(BadRow):
    """Nothing more can be read from this input."""


# The usual names, the most telling first: a conversation goes before names that often mean something else.
_QUESTION = (
    *("instruction", "problem", "question", "prompt", "query"),
    *("messages", "conversations", "conversation"),
    *("task", "text", "input", "user", "content"),
)
_OTHERS = {
    "answer": (
        *("answer", "final_answer", "expected_answer", "reference_answer", "correct_answer", "ground_truth"),
        *("gold", "solution", "target", "output"),
    ),
    "id": ("id", "task_id", "uid", "uuid", "idx", "index", "unique_id", "question_id", "problem_id"),
    "system": ("system", "system_prompt"),
    "tests": ("tests", "test", "test_list", "test_cases", "unit_tests"),
}
_FITS: dict[str, Callable[[object], bool]] = {
    "answer": lambda value: value is None or _is_scalar(value),
    "id": lambda value: _is_id(_as_written(value)),
    "system": lambda value: isinstance(value, str | None),
    "tests": lambda value: isinstance(value, str | list | dict | None),
}
_EXACT = 2**53  # from here on a float need not be the integer that it was
_WAY_OUT = "name columns with instruction=, answer=, id=, system=, tests= or messages="


class TaskMaker:
    """Turns the rows of one input into tasks. The first row settles which column holds the question.

    Args:
        named: The columns that the user names.

    Raises:
        ConfigError: A setting that is none.
    """

    def __init__(self, named: Columns) -> None:
        if unknown := sorted(named.keys() - Columns.__annotations__.keys()):
            raise ConfigError(f"there is no setting {unknown[0]!r}: {_WAY_OUT}")
        self._required = {field: column for field, column in named.items() if isinstance(column, str)}
        self._absent = named.keys() - self._required.keys()
        self._found: dict[str, str] = {}
        self._keys: tuple[object, ...] = ()

    def __call__(self, row: object) -> Task:
        """Make a task of a mapping of columns, of a text (the instruction), or of a task (as it is).

        Args:
            row: The row.

        Returns:
            The task.

        Raises:
            BadInput: A named column does not exist, or no column looks like a question.
            BadRow: This row cannot be a task.
        """
        if isinstance(row, Task):
            _check_storable({name: getattr(row, name) for name in Task.model_fields})
            # A subclass may have fields of its own, and could not be read back.
            return row if type(row) is Task else Task(**{name: getattr(row, name) for name in Task.model_fields})
        if isinstance(row, str):
            return _task({"instruction": row})
        if not isinstance(row, Mapping):
            raise BadRow(f"not an object with columns but {kind(row)}")
        if not row:
            raise BadRow("an object without columns")
        self._settle(row)
        return _task(self._read(row))

    def look_at(self, row: object) -> None:
        """Let a row settle which column is which, and make no task of it."""
        if isinstance(row, Mapping):
            self._settle(row)

    def _settle(self, row: Mapping[str, Any]) -> None:
        if (keys := tuple(row)) != self._keys:
            self._find(row)
            self._keys = keys

    def _find(self, row: Mapping[str, Any]) -> None:
        """Match fields with the columns of this row, where that is not settled yet."""
        first = not self._found
        for field, column in self._required.items():
            if column not in row:
                raise (BadInput if first else BadRow)(f"no column {column!r} for the {field}; {_columns(row)}")
        if not self._required.keys() & {"instruction", "messages"}:
            question = _match(row, _QUESTION, self._is_question, self._required.values())
            if question is None:
                raise BadInput(f"no column looks like a question; {_columns(row)}; {_WAY_OUT}")
            self._required["instruction"] = question
        self._found |= self._required
        for field, usual in _OTHERS.items():
            if field in self._found or field in self._absent:
                continue
            # Until one is found a later row may bring it: rows of JSON need not be alike.
            match = _match(row, usual, _FITS[field], self._found.values())
            self._found |= {} if match is None else {field: match}
        if first:
            log.info("columns: %s", ", ".join(f"{field} from {column!r}" for field, column in self._found.items()))

    def _is_question(self, value: object) -> bool:
        if is_conversation(value):
            return "messages" not in self._absent
        return "instruction" not in self._absent and isinstance(value, str | None)

    def _read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a task."""
        found = {field: column for field, column in self._found.items() if column in row}
        rest = {column: value for column, value in row.items() if column not in found.values()}
        fields: dict[str, Any] = {}
        for field, column in found.items():
            value = row[column]
            if field == "messages" or (field == "instruction" and is_conversation(value)):
                fields["messages"] = _conversation(value, column)
            elif field == "instruction":
                fields[field] = _question(value, column, rest)
            elif not _is_missing(value):
                fields[field] = _answer(value, column) if field == "answer" else _as_written(value)
        if isinstance(rest.get("metadata"), Mapping):  # as Task.model_dump writes it
            rest |= rest.pop("metadata")
        _check_storable(row)
        return fields | {"metadata": rest}


def _task(fields: Mapping[str, Any]) -> Task:
    try:
        return Task(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        raise BadRow(where + first["msg"].removeprefix("Value error, ")) from None


def _match(
    row: Mapping[str, Any], names: Iterable[str], fits: Callable[[object], bool], taken: Collection[str]
) -> str | None:
    """The first column with one of the usual names and a value that fits; rather one that is not null."""
    columns = {str(column).lower(): column for column in row if column not in taken}
    fitting = [columns[name] for name in names if name in columns and fits(row[columns[name]])]
    return next((column for column in fitting if row[column] is not None), fitting[0] if fitting else None)


def _question(value: object, column: str, rest: dict[str, Any]) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRow(f"column {column!r} is empty: a task needs an instruction")
    if not isinstance(value, str):
        raise BadRow(f"column {column!r} holds {kind(value)}, not text")
    # The Alpaca layout: the instruction says what to do with the input.
    extra = next((key for key in rest if str(key).lower() == "input"), None)
    if column.lower() != "instruction" or extra is None or not isinstance(rest[extra], str | None):
        return value
    given = rest.pop(extra) or ""
    return f"{value}\n\n{given}" if given.strip() else value


def _conversation(value: object, column: str) -> tuple[Message, ...]:
    if not is_conversation(value):
        raise BadRow(f"column {column!r} holds {kind(value)}, not a list of messages with role and content")
    try:
        return read_turns(value)
    except ValueError as error:
        raise BadRow(f"the conversation in column {column!r} cannot be used: {error}") from None


def _is_scalar(value: object) -> bool:
    """A text, a number, or a list that holds just one (some data sets wrap their answers)."""
    return isinstance(_unwrapped(value), str | int | float | Decimal)


def _answer(value: object, column: str) -> str:
    if not _is_scalar(value):
        raise BadRow(f"column {column!r} holds {kind(value)}: a reference answer is text or a number")
    return str(_as_written(_unwrapped(value)))


def _unwrapped(value: object) -> object:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _as_written(value: object) -> object:
    """A whole float as the integer that it was: a table turns 4 into 4.0 where another row holds nothing."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def _is_id(value: object) -> bool:
    return (isinstance(value, str | int) and not isinstance(value, bool)) or _is_missing(value)


def _is_missing(value: object) -> bool:
    # NaN is how pandas says null.
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _check_storable(values: Mapping[str, Any]) -> None:
    try:
        to_json(values)
    except ValueError:
        for column, value in values.items():
            try:
                to_json(value)
            except ValueError:
                text = f"column {column!r} holds {kind(value)} that cannot be written as JSON: convert or drop it"
                raise BadRow(text) from None
        raise


def kind(value: object) -> str:
    """A value's type in the words of the file, not of Python.

    Args:
        value: Any value.

    Returns:
        Such as "a number".
    """
    if value is None:
        return "null"
    words = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return words.get(type(value), f"a value of type {type(value).__name__}")


def _columns(row: Mapping[str, Any]) -> str:
    return f"the columns are {', '.join(map(repr, list(row)[:30]))}"
