"""Judging whether the answer is JSON of the shape that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from cot_distill.arguments import shown
from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._fences import fences, parse_json
from cot_distill.verifiers._verdicts import short
from cot_distill.verifiers.isolated import isolated

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["json_schema"]

_SECONDS = 10.0


def json_schema(schema: Mapping[str, Any] | type[BaseModel] | None = None) -> Verifier:
    """Make a verifier that wants JSON of a certain shape: the whole answer, or else its last block of JSON.

    It is about the form, and needs no reference. JSON schemas are checked in worker processes.

    Args:
        schema: A JSON schema (needs the extra ``schema``), or a pydantic model. Default: the JSON schema in
            ``task.metadata["schema"]``; to tasks without one the verifier does not apply. References to other
            documents are not followed: nothing is fetched.

    Returns:
        A verifier named "json_schema". Its reason names the place that does not fit.

    Raises:
        ConfigError: The schema is none.
        MissingExtraError: The package jsonschema is not installed.

    Example:
        >>> from pydantic import BaseModel
        >>> class City(BaseModel):
        ...     name: str
        ...     people: int
        >>> verify = json_schema(City)
        >>> verify(Task(instruction="Q?"), Trace(reasoning="Hm.", answer='{"name": "Oslo", "people": "many"}')).reason
        'at $.people: Input should be a valid integer, unable to parse string as an integer'
    """
    if isinstance(schema, type):
        if not issubclass(schema, BaseModel):
            raise ConfigError("json_schema() takes a JSON schema or a pydantic model")
        return _JsonSchema(None, schema)
    if schema is not None and not isinstance(schema, Mapping):
        raise ConfigError(f"json_schema() takes a JSON schema as a dict, or a pydantic model, not {shown(schema)}")
    try:
        import jsonschema  # noqa: F401
    except ImportError:
        raise MissingExtraError("verifiers.json_schema() with a JSON schema", "schema") from None
    text = None if schema is None else to_json(dict(schema)).decode()
    if text is not None:
        _validator(text)
    # The patterns in a schema are regular expressions, and those of a data set nobody has looked at.
    return isolated(_JsonSchema(text, None), timeout=_SECONDS)


@dataclass(frozen=True)
class _JsonSchema:
    schema: str | None
    """As text: it can be compared, hashed, and sent to another process."""
    model: type[BaseModel] | None
    name: ClassVar[str] = "json_schema"
    __name__: ClassVar[str] = "json_schema"
    about: ClassVar[Literal["quality"]] = "quality"

    @property
    def digest(self) -> str:
        """Changes with the schema, also with that of a model that keeps its name."""
        return self.schema or (to_json(self.model.model_json_schema()).decode() if self.model else "by task")

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        given = self.schema if self.schema or self.model else task.metadata.get("schema")
        if self.model is None and not isinstance(given, Mapping | bool | str):
            return self._verdict(None, "the task has no schema in its metadata", applies=False)
        try:
            value = _value(trace.answer)
        except ValueError as error:
            return self._verdict(False, f"the answer is no JSON: {error}")
        try:
            fault = _fault_of_model(self.model, value) if self.model else _fault_of_schema(given, value)
        except ConfigError as error:
            if self.schema:
                raise
            return self._verdict(None, f"the schema of the task cannot be used: {error}", applies=False)
        return self._verdict(fault is None, fault or "the JSON fits the schema")

    def _verdict(self, passed: bool | None, reason: str, *, applies: bool = True) -> Verdict:
        return Verdict(by=self.name, passed=passed, about=self.about, applies=applies, reason=reason)


def _value(answer: str) -> Any:
    """The JSON in an answer: all of it, or else the last block."""
    blocks = fences(answer)
    tagged = [block for block in blocks if block.language == "json"]
    try:
        return parse_json(answer)
    except ValueError:
        if not blocks:
            raise
    return parse_json((tagged or blocks)[-1].text)


def _fault_of_model(model: type[BaseModel], value: Any) -> str | None:
    try:
        model.model_validate_json(to_json(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        return f"at {_path(first['loc'])}: {first['msg']}"
    return None


def _path(place: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)


def _fault_of_schema(given: Any, value: Any) -> str | None:
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        schema = given if isinstance(given, str) else to_json(given).decode()
        error = best_match(_validator(schema).iter_errors(value))
    except Unresolvable as unresolvable:
        raise ConfigError(
            f"the schema refers to another document, {unresolvable}: nothing is fetched"
        ) from unresolvable
    return None if error is None else f"at {error.json_path}: {short(error.message, 300)[1:-1]}"


@lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    """A validator that fetches nothing.

    Raises:
        ConfigError: It is no JSON schema.
    """
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    try:
        content = from_json(schema)
        kind = validator_for(content)
        kind.check_schema(content)
    except SchemaError as error:
        raise ConfigError(f"json_schema(): not a JSON schema, at {error.json_path}: {error.message}") from error
    except ValueError as error:
        raise ConfigError(f"json_schema(): not a JSON schema: {error}") from error
    registry: Registry[Any] = Registry()
    validator: Validator = kind(content, registry=registry)
    return validator
